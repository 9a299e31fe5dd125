"""Positions through TRAINS on the embedded Kafka; the reference programs read the same bytes in the same run (tests/bench/beside.py)."""
from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from agents import provisioning
from agents.embedded.jars import aot_file, cache_directory, class_path
from agents.embedded.kafka import Broker
from agents.intake import intake_process
from agents.runner.partition import LOST_RECORDS_MAX
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


async def fill(bootstrap: str, topic: str, rows: Sequence[Row], *, partitions: int = PARTITIONS) -> None:
    """Put records into a topic, by key as every producer does, in large batches."""
    parts, choose = list(range(partitions)), DefaultPartitioner()
    by_part: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_part[choose(row[0], parts, parts)].append(row)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_batch_size=256 << 10)
    await producer.start()
    try:
        for part, mine in by_part.items():
            batch, sent = producer.create_batch(), []
            for key, value in mine:
                if batch.append(key=key, value=value, timestamp=None) is None:
                    sent.append(await producer.send_batch(batch, topic, partition=part))
                    batch = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None)
            sent.append(await producer.send_batch(batch, topic, partition=part))
            await asyncio.gather(*sent)
    finally:
        await producer.stop()


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

    def close(self) -> None:
        self.admin.close()

    def part(self, n: int) -> list[tuple[str, PositionReported]]:
        """The positions of the n-th run."""
        return self.said.positions[n * self.each : (n + 1) * self.each]

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

    def worker(self, stages: str, topic: str, before: int, events: int, *more: str) -> stopwatch.Timing:
        """`railclear worker` over what waits in the topic."""
        command = [sys.executable, "-m", "agents.cli", "worker", "--stages", stages, "--bootstrap", self.bootstrap, "--partitions", str(PARTITIONS),
                   "--http-port", "0", *more]
        timing = stopwatch.run(command, self.bootstrap, topic, group_of("railclear", tuple(stages.split(","))), events, partitions=PARTITIONS, before=before,
                               env=SESSION, cwd=str(ROOT))
        self.say(f"railclear {stages}: {timing.per_second:,.0f}/s, {timing.us_cpu:.1f} us CPU, {timing.rss_mb:.0f} MB")
        return timing


SINGLY = LOST_RECORDS_MAX * PARTITIONS
"""What a worker steps input by input after its start, because nobody knows how they were cut into batches before (agents.runner.partition)."""


def through_trains(runs: Positions, rounds: int) -> stopwatch.Timing:
    """Each round's positions come after those of the round before, on trains that are under way already. The watch begins behind what a worker steps one
    by one after its start."""
    asyncio.run(fill(runs.bootstrap, "trains.in", runs.before))
    runs.worker("trains", "trains.in", 0, len(runs.before))
    known = len(runs.before)
    best: stopwatch.Timing | None = None
    for n in range(rounds):
        rows = rows_of(load.stamped(runs.part(n), runs.said.begins + load.MINUTE))
        asyncio.run(fill(runs.bootstrap, "trains.in", rows))
        singly = min(SINGLY, len(rows) // 2)
        timing = runs.worker("trains", "trains.in", known + singly, len(rows) - singly)
        known += len(rows)
        best = timing if best is None or timing.per_second > best.per_second else best
    assert best is not None, "at least one round"
    return best


def through_intake(runs: Positions, rounds: int) -> stopwatch.Timing:
    """From the railways' topics through intake and TRAINS in one worker; the watch looks at what TRAINS has committed."""
    known, best = len(runs.before) + rounds * len(runs.rows), None
    runs.go_on("intake,trains", "trains", "trains.in")
    for n in range(rounds, 2 * rounds):
        by_topic: dict[str, list[Row]] = defaultdict(list)
        for key, event in runs.part(n):
            by_topic[f"rail.trains.{event.source}"].append((key.encode(), codec.encode(event)))
        events = sum(runs.handed_on(topic, rows) for topic, rows in by_topic.items())
        for topic, rows in by_topic.items():
            asyncio.run(fill(runs.bootstrap, topic, rows, partitions=runs.partitions_of(topic)))
        timing = runs.worker("intake,trains", "trains.in", known, events)
        known += events
        best = timing if best is None or timing.per_second > best.per_second else best
    assert best is not None, "at least one round"
    return best
