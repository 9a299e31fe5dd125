"""Starting servers so that none outlives its starter, and ports, directories and logs for them."""
from __future__ import annotations

import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

from agents.embedded.reaper import remove, started

HERE = Path(__file__).parent
PYTHON = (sys.executable, "-I", "-S")
PORTS = range(20_000, 32_000)
"""Below the ports that the kernel gives to outgoing connections, so that none is taken between our look and the server's start."""
TAIL_BYTES = 2_000


class EmbeddedError(Exception):
    """An embedded server could not be fetched, started or stopped; the text says why, with the end of its log."""


class _Spawner:
    """One thread for the life of this process does all the starting: the kernel's death signal comes when the forking *thread* ends."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._wanted: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], Sequence[str], dict[str, Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="embedded-spawner", daemon=True).start()

    def popen(self, command: Sequence[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
        done: Future[subprocess.Popen[bytes]] = Future()
        self._wanted.put((done, command, options))
        return done.result()

    def _run(self) -> None:
        while True:
            done, command, options = self._wanted.get()
            try:
                done.set_result(subprocess.Popen(command, **options))
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                done.set_exception(error)


_lock = threading.RLock()
_spawner: _Spawner | None = None


def spawn(
    command: Sequence[str | Path], *, cwd: Path, out: IO[bytes] | int, env: Mapping[str, str], stdin: int = subprocess.DEVNULL, who: str = "-",
    death: int = signal.SIGKILL, nice: int = 0,
) -> subprocess.Popen[bytes]:
    """Start a program in its own session; it gets the signal `death` when this process ends, however it ends. `who`: see `launch.become`."""
    global _spawner
    with _lock:
        if _spawner is None or _spawner.owner != os.getpid():
            _spawner = _Spawner()
        spawner = _spawner
    launch = (*PYTHON, str(HERE / "launch.py"), str(int(death)), str(os.getpid()), who, str(nice), *map(str, command))
    return spawner.popen(launch, {"cwd": cwd, "stdin": stdin, "stdout": out, "stderr": subprocess.STDOUT, "env": dict(env), "start_new_session": True})


class _Reaper:
    """This process's hold on its reaper: what to stop and remove if we are killed. The reaper runs while anything is watched."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._watched: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def watch(self, key: str, **what: Any) -> None:
        self._watched[key] = json.dumps({"watch": True, "key": key, **what})
        self._say(self._watched[key])

    def forget(self, key: str) -> None:
        if self._watched.pop(key, None) is None:
            return
        self._say(json.dumps({"watch": False, "key": key}))
        if not self._watched and self._process is not None:
            process, self._process = self._process, None
            process.communicate()  # closes the pipe and waits: nothing is left for it to do

    def _say(self, line: str) -> None:
        try:
            self._write(line)
        except (BrokenPipeError, ProcessLookupError):  # somebody killed the reaper: a new one learns everything
            self._process = None
            for known in self._watched.values():
                self._write(known)

    def _write(self, line: str) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                (*PYTHON, str(HERE / "reaper.py"), str(os.getpid())), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                bufsize=0, cwd="/", start_new_session=True)
        if self._process.poll() is not None or self._process.stdin is None:
            raise ProcessLookupError(self._process.pid)
        self._process.stdin.write(line.encode() + b"\n")


_reaper: _Reaper | None = None


def _reap() -> _Reaper:
    global _reaper
    if _reaper is None or _reaper.owner != os.getpid():
        _reaper = _Reaper()
    return _reaper


def reaper_pid() -> int | None:
    """The process that cleans up if this one is killed; None while there is nothing to clean up."""
    with _lock:
        return _reap().pid


def temporary(prefix: str = "railclear-") -> Path:
    """A new temporary directory that goes away when this process is killed; `discard` removes it before."""
    directory = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
    with _lock:
        _reap().watch(f"dir {directory}", remove=str(directory))
    return directory


def discard(directory: Path) -> None:
    """Remove a directory that `temporary` made."""
    remove(directory)
    with _lock:
        _reap().forget(f"dir {directory}")


def watch(process: subprocess.Popen[bytes], *, stop: int = signal.SIGKILL, postgres: Path | None = None) -> None:
    """Have this server stopped by the reaper if we are killed. `postgres`: its data directory, if it is one."""
    start = started(process.pid)
    if start is not None:
        with _lock:
            _reap().watch(f"pid {process.pid}", pid=process.pid, start=start, signal=int(stop), postgres=str(postgres) if postgres else "")


def finish(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    """Exit code of a program that ends by itself; killed with all it started, and so not 0, when it takes longer."""
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def unwatch(process: subprocess.Popen[bytes]) -> None:
    """The server has ended."""
    with _lock:
        _reap().forget(f"pid {process.pid}")


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now, all different."""
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if len(found) == count:
            return found
        if is_free(port):
            found.append(port)
    raise EmbeddedError(f"no {count} free ports between {PORTS.start} and {PORTS.stop}")


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def tail(log: Path) -> str:
    """The end of a log file, for the message of a failure; empty if there is none."""
    try:
        return log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        return ""
