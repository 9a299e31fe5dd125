"""One yardstick for every program: how fast its consumer group's committed offsets move over a topic that is full before it starts.

Read from outside, the same way for all: start-up does not count (the watch starts at the first commit seen), what is not committed does not count.
"""
from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO

import msgspec
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

POLL_S = 0.05
START_S = 120.0
"""A program that has committed nothing for so long will not."""
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


def run(command: Sequence[str], bootstrap: str, topic: str, group: str, events: int, *, partitions: int, before: int = 0,
        env: Mapping[str, str] | None = None, limit_s: float = 120.0, cwd: str | None = None) -> Timing:
    """Start a program, watch its group until `events` records of the topic are committed beyond `before`, stop it. Raises NoProgress.

    A program that is too slow for `limit_s` is measured over what it did until then.
    """
    admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=20_000)
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryDirectory(prefix="railclear-bench-") as scratch:  # it is stopped before it can tidy up
        child = subprocess.Popen(command, env={**os.environ, **(env or {}), "TMPDIR": scratch}, stdout=subprocess.DEVNULL, stderr=errors, cwd=cwd, text=True)
        try:
            return _watch(child, errors, admin, group, [TopicPartition(topic, p) for p in range(partitions)], before, events, limit_s)
        finally:
            admin.close()
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _watch(child: subprocess.Popen[str], errors: IO[str], admin: KafkaAdminClient, group: str, parts: Sequence[TopicPartition], before: int, events: int,
           limit_s: float) -> Timing:
    begun = time.monotonic()
    first: tuple[float, int, float] | None = None
    while True:
        if child.poll() is not None:
            errors.seek(0)
            raise NoProgress(f"{child.args!r} ended with {child.returncode}: {errors.read()[-2000:]}")
        done, now = committed(admin, group, parts) - before, time.monotonic()
        cpu = cpu_seconds(child.pid)
        if first is None and done > 0:
            first = now, done, cpu
        elif first is not None and (done >= events or (now - first[0] > limit_s and done > first[1])):
            if done == first[1]:
                raise NoProgress(f"{child.args!r} did all {events} events between two looks: give it more")
            return Timing(done - first[1], now - first[0], cpu - first[2], rss_mb(child.pid))
        if first is None and now - begun > START_S:
            raise NoProgress(f"{child.args!r} committed nothing in {START_S:.0f} s")
        time.sleep(POLL_S)


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
