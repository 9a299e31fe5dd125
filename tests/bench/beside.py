"""The reference programs on the records of a benchmark, in the same run on the same broker: what other stream processors make of the same bytes.

Each decodes and keeps the last value of each key, and commits; how fast, its committed offsets tell (tests/bench/stopwatch.py). None does what railclear does
with the records. A program that is through before it can be watched gets the same records again, so many times.
"""
from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Any

from kafka.admin import NewTopic

from tests.bench import stopwatch
from tests.bench.on_kafka import PARTITIONS, ROOT, Row, fill
from tests.bench.reference import kafka_streams

QUIX = ROOT / ".venv-bench" / "bin" / "python"
HERE = ROOT / "tests" / "bench" / "reference"
COMMANDS: dict[str, Callable[[str], Callable[[str, str], Sequence[str]]]] = {
    "raw": lambda b: lambda topic, group: [sys.executable, "-m", "tests.bench.reference.raw", b, topic, group],
    "stock Faust": lambda b: lambda topic, group: [sys.executable, "-m", "tests.bench.reference.stock_faust", b, topic, group, str(PARTITIONS), "worker"],
    "Quix Streams": lambda b: lambda topic, group: [str(QUIX), str(HERE / "quix.py"), b, topic, group],
    "Kafka Streams": lambda b: lambda topic, group: [sys.executable, "-m", "tests.bench.reference.kafka_streams", b, topic, group],
}
SLOW = {"stock Faust": 40_000}
"""Programs that get a part of the input only: so many records."""
LEAST = 150_000
"""Records that the others get at least: raw aiokafka is through with as many in little more than a second."""
LIMIT_S = 20.0
"""A program that is slower is measured over what it did until then."""
NOTE = "the reference programs keep the last value of each key only: no route, milestone, ETA, status or account of every record"


def programs() -> list[str]:
    """Those that are there."""
    return [name for name in COMMANDS if name != "Quix Streams" or QUIX.exists()]


def enough(rows: Sequence[Row], least: int) -> list[Row]:
    """The records whole, again and again, until they are so many at least."""
    return list(chain.from_iterable(repeat(rows, max(1, -(-least // max(1, len(rows))))))) if rows else []


class Beside:
    """Runs of the reference programs on one broker."""

    def __init__(self, bootstrap: str, admin: Any, say: Callable[[str], None]) -> None:
        self.bootstrap, self.admin, self.say = bootstrap, admin, say
        self._runs = 0

    def topic(self, name: str, rows: Sequence[Row]) -> str:
        """A topic of its own with these records."""
        self.admin.create_topics([NewTopic(name, PARTITIONS, 1)], wait_for_metadata=True)
        asyncio.run(fill(self.bootstrap, name, rows))
        return name

    def run(self, name: str, topic: str, events: int) -> stopwatch.Timing:
        """A program over the whole topic, in a new group."""
        self._runs += 1
        group = f"bench-{name.lower().replace(' ', '-')}-{topic}-{self._runs}"
        timing = stopwatch.run(COMMANDS[name](self.bootstrap)(topic, group), self.bootstrap, topic, group, events, partitions=PARTITIONS, limit_s=LIMIT_S,
                               cwd=str(ROOT))
        self.say(f"{name}: {timing.per_second:,.0f}/s, {timing.us_cpu:.1f} us CPU")
        return timing

    def best(self, topic: str, rows: Sequence[Row], rounds: int, *, least: int = LEAST, names: Sequence[str] | None = None) -> dict[str, float]:
        """Records a second of each program, the best of so many rounds, each once per round in turn."""
        names = programs() if names is None else names
        if "Kafka Streams" in names:
            kafka_streams.prepare()
        whole = enough(rows, least)
        self.topic(topic, whole)
        parts = {name: whole[: SLOW[name]] for name in names if name in SLOW and SLOW[name] < len(whole)}
        topics = {name: self.topic(f"{topic}.part.{n}", part) for n, (name, part) in enumerate(parts.items())}
        best: dict[str, float] = {}
        for _ in range(rounds):
            for name in names:
                timing = self.run(name, topics.get(name, topic), len(parts.get(name, whole)))
                best[name] = max(best.get(name, 0.0), timing.per_second)
        return best
