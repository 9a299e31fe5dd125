"""The demo's worker processes: started so that none outlives the demo, asked for their readiness over HTTP."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import msgspec

from agents.embedded.processes import free_ports, spawn, tail

SPLIT = (("intake", "trains", "sources", "custody", "documents"), ("clearance", "readiness", "ledger"))
"""Two processes for two cores: what comes in, moves and is filed; what it means. CUSTODY and DOCUMENTS share one, so that neither tells CLEARANCE its
half of the story long before the other: a box that moves ahead of its papers looks as if it had left without a release."""
READY_SECONDS_MAX = 60.0
STOP_SECONDS = 2.0


class CrewError(Exception):
    """A worker did not become ready or ended; the text has the end of its log."""


class Member(msgspec.Struct):
    """One worker process."""

    stages: tuple[str, ...]
    port: int
    log: Path
    process: subprocess.Popen[bytes]


class Crew:
    """Worker processes of one deployment on this machine."""

    def __init__(self, directory: Path, arguments: list[str], secret: dict[str, str]) -> None:
        """`arguments` go to every `railclear worker`; `secret` holds settings that must not be on a command line."""
        self.directory = directory
        self._arguments, self._secret = arguments, secret
        self.members: list[Member] = []

    def start(self) -> None:
        """Start every process; returns at once."""
        self.directory.mkdir(parents=True, exist_ok=True)
        ports = free_ports(len(SPLIT))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAILCLEAR_")} | self._secret
        for stages, port in zip(SPLIT, ports, strict=True):
            log = self.directory / f"worker-{stages[0]}.log"
            with log.open("ab") as out:
                data = {"RAILCLEAR_DATA_DIR": str(self.directory / f"faust-{stages[0]}")}  # goes with the demo's data, also after a kill
                process = spawn([sys.executable, "-m", "agents.cli", "worker", "--stages", ",".join(stages), "--http-port", str(port), *self._arguments],
                                cwd=Path.cwd(), out=out, env=environment | data)
            self.members.append(Member(stages, port, log, process))

    def wait(self) -> None:
        """Until all are ready. Raises CrewError."""
        end = time.monotonic() + READY_SECONDS_MAX
        for member in self.members:
            while not _ok(member.port, "ready"):
                self.check()
                if time.monotonic() > end:
                    raise CrewError(f"the worker with {', '.join(member.stages)} is not ready after {READY_SECONDS_MAX:.0f} s:\n{tail(member.log)}")
                time.sleep(0.1)

    def check(self) -> None:
        """Raises CrewError when a worker has ended by itself."""
        for member in self.members:
            code = member.process.poll()
            if code is not None:
                raise CrewError(f"the worker with {', '.join(member.stages)} ended with {code}:\n{tail(member.log)}")

    def stop(self, *, kill: bool = False) -> None:
        """End all: politely, then by force."""
        for member in self.members:
            if member.process.poll() is None:
                member.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        for member in self.members:
            try:
                member.process.wait(max(0.05, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
        self.members = []


def _ok(port: int, what: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{what}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
