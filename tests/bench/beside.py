"""The reference programs on the records of a benchmark, in the same run on the same broker: what other stream processors make of the same bytes.

Each decodes and keeps the last value of each key, and commits; how fast, its committed offsets tell (tests/bench/stopwatch.py). None does what railclear does
with the records. A program that is through too soon gets the same records more often. One that is not there, or fails, is named with the reason; the
others, and railclear's own figures, are none the worse for it.
"""
from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

import msgspec
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from tests.bench import stopwatch
from tests.bench.on_kafka import FIRST, PARTITIONS, ROOT, Filler, Input, Row, fill
from tests.bench.reference import kafka_streams

QUIX = ROOT / ".venv-bench" / "bin" / "python"
HERE = ROOT / "tests" / "bench" / "reference"
ALONE = ("-P",)
"""The programs beside it are no modules of its own: copy.py would be taken for Python's."""
COMMANDS: dict[str, Callable[[str], Callable[[str, str], Sequence[str]]]] = {
    "raw": lambda b: lambda topic, group: [sys.executable, "-m", "tests.bench.reference.raw", b, topic, group],
    "stock Faust": lambda b: lambda topic, group: [sys.executable, "-m", "tests.bench.reference.stock_faust", b, topic, group, str(PARTITIONS), "worker"],
    "Quix Streams": lambda b: lambda topic, group: [str(QUIX), *ALONE, str(HERE / "quix.py"), b, topic, group],
    "Kafka Streams": lambda b: lambda topic, group: [sys.executable, "-m", "tests.bench.reference.kafka_streams", b, topic, group],
}
QUIX_WANTED = "not installed: make .venv-bench/.setup"
SLOW = {"stock Faust": 40_000}
"""Programs that get fewer records: so many."""
LEAST = 150_000
"""Records that the others get at first."""
ENOUGH_S, AMPLE = 5.0, 1.3
"""A run is no shorter: the last commit comes up to half a second late, and Java grows warm. Whoever is through sooner gets as many records as would take
it so long, and a third more."""
BYTES_MAX = 400 << 20
LIMIT_S = 20.0
"""A program that is slower is measured over what it did until then."""
KEPT = {"file.delete.delay.ms": "1000"}
"""Every run has a topic of its own, which is gone after it."""
REASON_MAX = 160
NOTE = "the reference programs keep the last value of each key only: no route, milestone, ETA, status or account of every record"


def missing() -> dict[str, str]:
    """Programs that are not there -> how to get them."""
    return {} if QUIX.exists() else {"Quix Streams": QUIX_WANTED}


class References(msgspec.Struct, frozen=True):
    """What was seen of the reference programs."""

    best: dict[str, stopwatch.Timing]
    """Of each the round with the most records a second."""
    failed: dict[str, str] = {}
    """Program -> why it has no figure, or one of fewer rounds."""

    @property
    def rates(self) -> dict[str, float]:
        """Records a second."""
        return {name: timing.per_second for name, timing in self.best.items()}

    @property
    def us_cpu(self) -> dict[str, float]:
        """Microseconds of CPU per record, in the same round."""
        return {name: timing.us_cpu for name, timing in self.best.items()}

    @property
    def rss_mb(self) -> dict[str, float]:
        """Resident memory at the end of the same round."""
        return {name: timing.rss_mb for name, timing in self.best.items()}

    def noted(self, note: str) -> str:
        """The note of a figure that they stand beside."""
        words = [f"{name} {'failed in a later round' if name in self.best else 'not measured'}: {why}" for name, why in self.failed.items()]
        return "; ".join([note, *words])


def enough(rows: Sequence[Row], count: int) -> list[Row]:
    """So many records: the same again and again."""
    return list(islice(cycle(rows), count))


def reason(error: Exception) -> str:
    """In a line of a note, without the paths of this machine; the whole is said where it happens."""
    text = " ".join("..." if "/" in word else word for word in str(error).split())
    return f"{type(error).__name__} {text}"[:REASON_MAX].strip()


class Beside:
    """Runs of the reference programs on one broker."""

    def __init__(self, bootstrap: str, admin: Any, say: Callable[[str], None]) -> None:
        self.bootstrap, self.admin, self.say = bootstrap, admin, say
        self._runs = 0

    def run(self, name: str, topic: str, rows: Sequence[Row], count: int) -> stopwatch.Timing:
        """A program that is up and idle gets so many records, in a topic and a group of its own."""
        self._runs += 1
        topic = f"{topic}.{self._runs}"
        group = f"bench-{name.lower().replace(' ', '-')}-{topic}"
        first = min(FIRST, count)
        self.admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=KEPT)], wait_for_metadata=True)
        try:
            asyncio.run(fill(self.bootstrap, topic, enough(rows, first)))
            with Filler(self.bootstrap, Input({topic: enough(rows, count)}, count), lambda _: PARTITIONS) as filler:
                timing = stopwatch.run(COMMANDS[name](self.bootstrap)(topic, group), self.bootstrap, topic, group, first, filler.give, partitions=PARTITIONS,
                                       limit_s=LIMIT_S, cwd=str(ROOT))
        finally:
            self._drop(topic)
        self.say(f"{name}: {timing.per_second:,.0f}/s in {timing.seconds:.1f} s, {timing.us_cpu:.1f} us CPU")
        return timing

    def _drop(self, topic: str) -> None:
        try:
            self.admin.delete_topics([topic])
        except KafkaError as error:
            self.say(f"{topic} stays: {error!r}")

    def long_enough(self, name: str, topic: str, rows: Sequence[Row], count: int) -> tuple[stopwatch.Timing, int]:
        """A run that is no shorter than `ENOUGH_S`, and of how many records: `count` or more."""
        most = max(count, BYTES_MAX * len(rows) // max(1, sum(len(key) + len(value) for key, value in rows)))
        while True:
            timing = self.run(name, topic, rows, count)
            if timing.seconds >= ENOUGH_S or count >= most:
                return timing, count
            count = min(most, math.ceil(count * AMPLE * ENOUGH_S / timing.seconds))

    def best(self, topic: str, rows: Sequence[Row], rounds: int, *, names: Sequence[str] = tuple(COMMANDS)) -> References:
        """The best of so many rounds of each program, each once per round in turn. Whoever fails is not tried again."""
        failed = {name: why for name, why in missing().items() if name in names}
        found: dict[str, stopwatch.Timing] = {}
        counts = {name: SLOW.get(name, LEAST) for name in names}
        for _ in range(rounds):
            for name in names:
                if name in failed:
                    continue
                try:
                    if name == "Kafka Streams":
                        kafka_streams.prepare()
                    timing, counts[name] = self.long_enough(name, topic, rows, counts[name])
                except Exception as error:  # noqa: BLE001  whatever ails a reference, what was measured of railclear stands
                    self.say(f"{name} has no figure: {error!r}")
                    failed[name] = reason(error)
                    continue
                found[name] = max(found.get(name, timing), timing, key=lambda one: one.per_second)
        return References(found, failed)
