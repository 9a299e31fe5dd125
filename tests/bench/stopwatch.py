"""One yardstick for every program: how fast its consumer group's committed offsets move over a topic.

Read from outside, the same way for all. A program starts with a few records waiting; once it has committed them it is up and idle, and only then does it
get the rest. The watch runs from the moment before the first of these is appended until the last is committed: nothing is left out, neither what a program
does while it grows warm nor the wait for its last commit. What is not committed does not count.
"""
from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

import msgspec
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

POLL_S = 0.05
START_S = 120.0
"""A program that has committed nothing for so long will not."""
STUCK_S = 20.0
"""A program that commits nothing new for so long stands still, and is not slow: programs commit every half second."""
LIMIT_S = 120.0
TICKS = os.sysconf("SC_CLK_TCK")


class Timing(msgspec.Struct, frozen=True):
    """What was seen of one run."""

    events: int
    """Committed while the watch ran."""
    seconds: float
    cpu_s: float
    """Of the program and its children, user and system, while the watch ran."""
    rss_mb: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def us_cpu(self) -> float:
        """Microseconds of CPU per event."""
        return self.cpu_s / self.events * 1e6


class NoProgress(Exception):
    """The program ended or stands still."""


def run(command: Sequence[str], bootstrap: str, topic: str, group: str, waiting: int, give: Callable[[], int] | None, *, partitions: int, before: int = 0,
        env: Mapping[str, str] | None = None, limit_s: float = LIMIT_S, stuck_s: float = STUCK_S, cwd: str | None = None) -> Timing:
    """Start a program; once it has committed the `waiting` records beyond `before`, `give` it more and watch until they are committed; stop it.

    `give` appends and returns how many it gave. Without it the watch runs over what waits, from the first commit seen: a start with a backlog. A program
    that is too slow for `limit_s` is measured over what it did until then. Raises NoProgress.
    """
    admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=20_000)
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryDirectory(prefix="railclear-bench-") as scratch:  # it is stopped before it can tidy up
        child = subprocess.Popen(command, env={**os.environ, **(env or {}), "TMPDIR": scratch}, stdout=subprocess.DEVNULL, stderr=errors, cwd=cwd, text=True)
        try:
            looks = Looks(child, errors, admin, group, [TopicPartition(topic, p) for p in range(partitions)], stuck_s)
            return given(looks, before + waiting, give, limit_s) if give is not None else found_waiting(looks, before, waiting, limit_s)
        finally:
            admin.close()
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


class Looks:
    """Looks at a running program. Raises NoProgress when it has ended, and when nothing new was committed for too long."""

    def __init__(self, child: subprocess.Popen[str], errors: IO[str], admin: KafkaAdminClient, group: str, parts: Sequence[TopicPartition],
                 stuck_s: float = STUCK_S) -> None:
        self._child, self._errors, self._admin, self._group, self._parts, self._stuck_s = child, errors, admin, group, parts, stuck_s
        self.done = committed(admin, group, parts)
        """Committed at the last look."""
        self._begun, self._moved = time.monotonic(), 0.0

    def look(self) -> tuple[float, float]:
        """(monotonic seconds, CPU seconds of the program), and `done`."""
        if self._child.poll() is not None:
            self._errors.seek(0)
            raise NoProgress(f"{self._group} ended with {self._child.returncode}: {self._errors.read()[-2000:]}")
        done, now = committed(self._admin, self._group, self._parts), time.monotonic()
        if done > self.done:
            self.done, self._moved = done, now
        if not self._moved and now - self._begun > START_S:
            raise NoProgress(f"{self._group} committed nothing in {START_S:.0f} s")
        if self._moved and now - self._moved > self._stuck_s:
            raise NoProgress(f"{self._group} stands still: {self.done} records committed and none more in {self._stuck_s:.0f} s")
        return now, cpu_seconds(self._child.pid)

    def until(self, target: int, limit_s: float = float("inf")) -> tuple[float, float]:
        """Looks until so many are committed, or for so long."""
        begun = time.monotonic()
        while True:
            now, cpu = self.look()
            if self.done >= target or now - begun > limit_s:
                return now, cpu
            time.sleep(POLL_S)

    def rested(self) -> None:
        """It may have had nothing to do until now."""
        self._moved = time.monotonic()

    def rss_mb(self) -> float:
        return rss_mb(self._child.pid)


def given(looks: Looks, ready: int, give: Callable[[], int], limit_s: float) -> Timing:
    """Up and idle first; then from before the first record until the last is committed."""
    _, cpu = looks.until(ready)
    begun = time.monotonic()
    events = give()
    looks.rested()
    ended, then = looks.until(ready + events, max(0.0, limit_s - (time.monotonic() - begun)))
    done = min(events, looks.done - ready)
    if done <= 0:
        raise NoProgress(f"nothing of {events} records in {limit_s:.0f} s")
    return Timing(done, ended - begun, then - cpu, looks.rss_mb())


def found_waiting(looks: Looks, before: int, waiting: int, limit_s: float) -> Timing:
    """From the first commit until the last of what waited, as fast as a program with a backlog starts."""
    begun, cpu = looks.until(before + 1)
    first = looks.done
    ended, then = looks.until(before + waiting, limit_s)
    if looks.done == first:
        raise NoProgress(f"all {waiting} records were committed between two looks: give it more")
    return Timing(looks.done - first, ended - begun, then - cpu, looks.rss_mb())


def committed(admin: KafkaAdminClient, group: str, parts: Sequence[TopicPartition]) -> int:
    """Sum of a group's committed offsets; 0 as long as it has none."""
    try:
        found = admin.list_group_offsets({group: list(parts)})[group]
    except KafkaError:
        return 0
    return sum(max(0, held.offset) for held in found.values())


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        try:
            with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
        except OSError:
            continue
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time so far of a process and its descendants."""
    total = 0
    for one in family(pid):
        try:
            with open(f"/proc/{one}/stat", encoding="ascii") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def rss_mb(pid: int) -> float:
    """Resident memory of a process and its descendants, MB (2**20)."""
    total = 0
    for one in family(pid):
        try:
            with open(f"/proc/{one}/statm", encoding="ascii") as file:
                total += int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total / 2**20
