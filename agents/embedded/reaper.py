"""Cleans up after a starter that was killed: stops its servers, frees their shared memory, removes their temporary directories.

Run as a script, by path, with `python -I -S`; standard library only. It waits on a pipe that the starter holds and on the starter's pid, and
ends by itself when either ends. It is the second line of defence: servers also get a signal from the kernel when their starter dies, but that
frees no directory, and a crashed postmaster's shared memory neither.
"""
from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

QUIT_S = 2.0
"""Time for a server to end on its own signal before it is killed."""
REMOVE_S = 5.0
"""How long removing a directory is tried again: a dying server may still create files."""
IPC_RMID = 0


def started(pid: int) -> int | None:
    """When this process started, in clock ticks since boot: with the pid, its identity. None if there is no such process (or only a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def alive(pid: int, start: int) -> bool:
    """Whether exactly this process still runs: the same pid with another start time is a stranger."""
    return started(pid) == start


def postgres_in(data: Path) -> list[int]:
    """Pids of every PostgreSQL process whose data directory this is: a backend's working directory is its data directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.readlink(entry / "cwd") == str(data) and (entry / "comm").read_text().startswith("postgres"):
                found.append(int(entry.name))
        except OSError:  # gone meanwhile, or another user's
            continue
    return found


def signal_to(pid: int, number: int) -> None:
    """Send a signal; a process that is gone is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill_group(pid: int, start: int) -> None:
    """Kill a process with the group it leads (Java forks a helper while it writes its cache), unless the pid is a stranger's by now."""
    if started(pid) in (start, None):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def clear_postgres(data: Path) -> None:
    """Kill what a crashed postmaster left behind and free its shared memory, which the kernel keeps for ever otherwise."""
    end = time.monotonic() + QUIT_S
    while (left := postgres_in(data)) and time.monotonic() < end:
        for pid in left:
            signal_to(pid, signal.SIGKILL)
        time.sleep(0.01)
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return
    if len(lines) < 7 or not lines[6].split():
        return
    segment, owner = int(lines[6].split()[-1]), abs(int(lines[0]))  # negative: the single process that initdb runs
    for row in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        columns = row.split()
        if int(columns[1]) == segment and int(columns[4]) == owner:  # an id is reused; the creator's pid says whose it is
            ctypes.CDLL(None).shmctl(segment, IPC_RMID, None)


def remove(directory: Path) -> None:
    """Remove a directory with all in it, trying again while somebody still writes into it."""
    end = time.monotonic() + REMOVE_S
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)
        if time.monotonic() > end:
            return
        if directory.exists():
            time.sleep(0.05)


def clean(watched: dict[str, dict[str, Any]]) -> None:
    """Stop every watched server by its own signal, then by force; then free and remove what they used."""
    servers = [w for w in watched.values() if "pid" in w]
    for w in servers:
        if alive(w["pid"], w["start"]):
            signal_to(w["pid"], w["signal"])
    end = time.monotonic() + QUIT_S
    while any(alive(w["pid"], w["start"]) for w in servers) and time.monotonic() < end:
        time.sleep(0.02)
    for w in servers:
        kill_group(w["pid"], w["start"])
        if w["postgres"]:
            clear_postgres(Path(w["postgres"]))
    for w in watched.values():
        if "remove" in w:
            remove(Path(w["remove"]))


def read(pipe: int, rest: bytes, watched: dict[str, dict[str, Any]]) -> bytes | None:
    """Take in what the starter says, one JSON object a line; returns the unfinished line, None at the end of the pipe."""
    chunk = os.read(pipe, 65536)
    if not chunk:
        return None
    *lines, rest = (rest + chunk).split(b"\n")
    for line in lines:
        said = json.loads(line)
        if said.pop("watch"):
            watched[said["key"]] = said
        else:
            watched.pop(said["key"], None)
    return rest


def main(parent: int) -> None:
    """Wait for the starter's end, then clean."""
    watched: dict[str, dict[str, Any]] = {}
    waiting = select.poll()
    waiting.register(0, select.POLLIN)
    end = -1
    try:
        end = os.pidfd_open(parent)  # a forked child of the starter may hold the pipe open after it
    except OSError:  # dead already or an old kernel: the pipe alone must do
        pass
    else:
        waiting.register(end, select.POLLIN)
    rest: bytes | None = b""
    while rest is not None:
        ready = {fd for fd, _ in waiting.poll()}
        if 0 in ready:
            rest = read(0, rest, watched)
        elif end in ready:
            rest = None
    clean(watched)


if __name__ == "__main__":
    main(int(sys.argv[1]))
