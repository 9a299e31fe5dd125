"""Positions through TRAINS on the embedded Kafka; the reference programs read the same bytes in the same run (tests/bench/beside.py)."""
from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from agents import provisioning
from agents.embedded.jars import aot_file, cache_directory, class_path
from agents.embedded.kafka import Broker
from agents.intake import intake_process
from agents.settings import group_of
from streams.effects import LogRecord, Publish
from streams.reference.model import Reference
from tests.bench import positions as load
from tests.bench import stopwatch
from topics import codec, registry
from topics.events.rail import PositionReported

PARTITIONS = 4
ROOT = Path(__file__).resolve().parent.parent.parent
SESSION_S = 10
SESSION = {"RAILCLEAR_SESSION_TIMEOUT_S": str(SESSION_S), "RAILCLEAR_COMMIT_INTERVAL_S": "0.5"}
Row = tuple[bytes, bytes]


@contextmanager
def broker() -> Iterator[Broker]:
    """One embedded broker, temporary."""
    cache = cache_directory()
    path = class_path(cache)
    aot = aot_file(cache, path)
    with Broker(path, aot=aot, heap_mb=512) as made:
        made.wait()
        yield made


def _producer(bootstrap: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_batch_size=256 << 10)


def _batches(producer: AIOKafkaProducer, rows: Sequence[Row], partitions: int) -> dict[int, list[Any]]:
    """Large batches of each partition, by key as every producer does."""
    parts, choose = list(range(partitions)), DefaultPartitioner()
    by_part: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_part[choose(row[0], parts, parts)].append(row)
    found: dict[int, list[Any]] = {}
    for part, mine in by_part.items():
        found[part] = [producer.create_batch()]
        for key, value in mine:
            if found[part][-1].append(key=key, value=value, timestamp=None) is None:
                found[part].append(producer.create_batch())
                found[part][-1].append(key=key, value=value, timestamp=None)
    return found


async def fill(bootstrap: str, topic: str, rows: Sequence[Row], *, partitions: int = PARTITIONS) -> None:
    """Put records into a topic, partition by partition."""
    producer = _producer(bootstrap)
    await producer.start()
    try:
        for part, batches in _batches(producer, rows, partitions).items():
            sent = [await producer.send_batch(batch, topic, partition=part) for batch in batches]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()


class Input(NamedTuple):
    """What a program gets at one time."""

    by_topic: Mapping[str, Sequence[Row]]
    events: int
    """So many records come of it in the topic that is watched."""


class Filler:
    """Records in batches that are made beforehand: giving them takes little from the program that is measured meanwhile. All partitions side by side."""

    def __init__(self, bootstrap: str, given: Input, partitions_of: Callable[[str], int]) -> None:
        self._bootstrap, self._given, self._partitions_of = bootstrap, given, partitions_of
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        try:
            self._runner.run(self._prepared())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._runner.run(self._producer.stop())
        finally:
            self._runner.close()

    def give(self) -> int:
        """Append all. Returns how many records that makes in the topic that is watched."""
        self._runner.run(self._send())
        return self._given.events

    async def _prepared(self) -> None:
        self._producer = _producer(self._bootstrap)
        await self._producer.start()
        self._batches = {topic: _batches(self._producer, rows, self._partitions_of(topic)) for topic, rows in self._given.by_topic.items()}

    async def _send(self) -> None:
        await asyncio.gather(*(self._partition(topic, part, batches) for topic, parts in self._batches.items() for part, batches in parts.items()))

    async def _partition(self, topic: str, part: int, batches: Sequence[Any]) -> None:
        sent = [await self._producer.send_batch(batch, topic, partition=part) for batch in batches]
        await asyncio.gather(*sent)


FIRST, FIRST_SHARE = 2_000, 10
"""Records, at most that part of all, that wait when a program starts: once they are committed it is up."""


def split(rows: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """(what waits for a program, what it gets when it is up)."""
    first = max(1, min(FIRST, len(rows) // FIRST_SHARE))
    return rows[:first], rows[first:]


def rows_of(events: Sequence[tuple[str, object]]) -> list[Row]:
    """Keys and encoded values."""
    return [(key.encode(), codec.encode(event)) for key, event in events]


class Positions:
    """One broker's worth of runs: each takes the next part of the positions, so that trains go on."""

    def __init__(self, bootstrap: str, reference: Reference, said: load.Load, each: int, say: Callable[[str], None]) -> None:
        """`each`: positions of one run."""
        self.bootstrap, self.reference, self.said, self.each, self.say = bootstrap, reference, said, each, say
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=20_000)
        known = registry.build(reference.parties.values(), reference.authorities.values(), reference.crossings.values(), partitions=PARTITIONS)
        self._intake = intake_process(reference, known)
        self._partitions = {spec.name: spec.partitions for spec in known.topics.values()}
        provisioning.apply(self.admin, provisioning.plan(self.admin, known.topics.values(), replication=1))
        at = said.begins
        self.before = rows_of(load.stamped(said.before, at))
        self.rows = rows_of(load.stamped(self.part(0), at + load.MINUTE))
        """As trains.in has them, for programs beside TRAINS."""
        self.inbound = rows_of(self.part(0))
        """As the railways say them, in one topic for programs that read one."""
        self.known = 0
        """Records of trains.in that were worked on."""
        self._taken = 0

    def close(self) -> None:
        self.admin.close()

    def part(self, n: int) -> list[tuple[str, PositionReported]]:
        """The positions of the n-th run."""
        return self.said.positions[n * self.each : (n + 1) * self.each]

    def next_part(self) -> list[tuple[str, PositionReported]]:
        """Those that come after all that were taken before, on trains that are under way already."""
        self._taken += 1
        return self.part(self._taken - 1)

    def for_trains(self, part: Sequence[tuple[str, PositionReported]]) -> list[Row]:
        """As intake hands them on."""
        return rows_of(load.stamped(part, self.said.begins + load.MINUTE))

    def for_intake(self, part: Sequence[tuple[str, PositionReported]]) -> Input:
        """As the railways say them."""
        by_topic: dict[str, list[Row]] = defaultdict(list)
        for key, event in part:
            by_topic[f"rail.trains.{event.source}"].append((key.encode(), codec.encode(event)))
        return Input(by_topic, sum(self.handed_on(topic, rows) for topic, rows in by_topic.items()))

    def partitions_of(self, topic: str) -> int:
        return self._partitions[topic]

    def handed_on(self, topic: str, rows: Sequence[Row]) -> int:
        """So many of these records intake gives to TRAINS: what lies far from everything is refused."""
        now = time.time_ns() // 1_000_000
        effects = self._intake([LogRecord(topic, 0, n, now, key, value) for n, (key, value) in enumerate(rows)])
        return sum(1 for effect in effects if isinstance(effect, Publish) for send in effect.sends if send.topic == "trains.in")

    def go_on(self, stages: str, others: str, topic: str) -> None:
        """Workers with the first set of stages, another group, begin at this topic where those with the other set have ended."""
        parts = [TopicPartition(topic, n) for n in range(PARTITIONS)]
        group, known = (group_of("railclear", tuple(names.split(","))) for names in (stages, others))
        self.admin.alter_group_offsets(group, self.admin.list_group_offsets({known: parts})[known])

    def worker(self, stages: str, waiting: Input, more: Input | None) -> stopwatch.Timing:
        """`railclear worker` that is up and idle gets `more`; without that it starts with a backlog."""
        command = [sys.executable, "-m", "agents.cli", "worker", "--stages", stages, "--bootstrap", self.bootstrap, "--partitions", str(PARTITIONS),
                   "--http-port", "0"]
        group = group_of("railclear", tuple(stages.split(",")))
        for topic, rows in waiting.by_topic.items():
            asyncio.run(fill(self.bootstrap, topic, rows, partitions=self.partitions_of(topic)))
        with Filler(self.bootstrap, more or Input({}, 0), self.partitions_of) as filler:
            timing = stopwatch.run(command, self.bootstrap, TRAINS_IN, group, waiting.events, filler.give if more is not None else None, partitions=PARTITIONS,
                                   before=self.known, env=SESSION, stuck_s=stopwatch.STUCK_S if more is not None else stopwatch.START_S, cwd=str(ROOT))
        self.known += waiting.events + (more.events if more is not None else 0)
        self.say(f"railclear {stages}: {timing.per_second:,.0f}/s, {timing.us_cpu:.1f} us CPU, {timing.rss_mb:.0f} MB")
        return timing


TRAINS_IN = "trains.in"


def through_trains(runs: Positions, rounds: int) -> stopwatch.Timing:
    """Each round's positions come after those of the round before. The first worker is told of the trains before it is up."""
    found = []
    for n in range(rounds):
        first, rest = split(runs.for_trains(runs.next_part()))
        waiting = first if n else [*runs.before, *first]
        found.append(runs.worker("trains", Input({TRAINS_IN: waiting}, len(waiting)), Input({TRAINS_IN: rest}, len(rest))))
    return max(found, key=lambda timing: timing.per_second)


def through_intake(runs: Positions, rounds: int) -> stopwatch.Timing:
    """From the railways' topics through intake and TRAINS in one worker; the watch looks at what TRAINS has committed."""
    runs.go_on("intake,trains", "trains", TRAINS_IN)
    found = []
    for _ in range(rounds):
        first, rest = split(runs.next_part())
        found.append(runs.worker("intake,trains", runs.for_intake(first), runs.for_intake(rest)))
    return max(found, key=lambda timing: timing.per_second)


def after_restart(runs: Positions) -> stopwatch.Timing:
    """All wait when the worker starts. It steps the first of them one by one, because nobody knows how they were cut into batches if a worker before it had
    them in hand (agents.runner.partition). After `through_intake`."""
    runs.go_on("trains", "intake,trains", TRAINS_IN)
    rows = runs.for_trains(runs.next_part())
    return runs.worker("trains", Input({TRAINS_IN: rows}, len(rows)), None)
