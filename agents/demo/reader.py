"""The independent reader: waits until the log is drained, then reads all of it and adds up what became of every record."""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from agents.places import ends, places
from streams.audit import Account, Auditor
from topics.events.outputs import BatchOutcomes, DeadLetter
from topics.registry import Registry

DRAIN_SECONDS_MAX = 180.0
STEADY_ROUNDS = 3
"""Nothing new may appear in any input for so many looks in a row."""


class NotDrained(Exception):
    """Records are still unread after the time limit; says how many, where."""


def stage_of(registry: Registry) -> dict[str, str]:
    """Which stage must account for which topic."""
    found = {spec.name: "intake" for spec in registry.inbound}
    found |= {spec.name: spec.name.removesuffix(".in") for spec in registry.by_kind("fold_in")}
    return found


class Reader:
    """Reads a cluster from outside: no group, no counters of railclear's."""

    def __init__(self, bootstrap: str, registry: Registry, groups: tuple[str, ...], ledger_topics: tuple[str, ...],
                 security: dict[str, Any] | None = None) -> None:
        self.bootstrap, self.registry, self.groups, self.ledger_topics = bootstrap, registry, groups, ledger_topics
        self.security = security or {}

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
                                isolation_level="read_committed", fetch_max_wait_ms=50, max_partition_fetch_bytes=8 << 20, **self.security)

    async def drained(self, say: Callable[[int], None] = lambda _: None, seconds_max: float = DRAIN_SECONDS_MAX) -> None:
        """Until every record of every input is committed by its stage and nothing new comes. Raises NotDrained."""
        consumer, admin = self._consumer(), AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, **self.security)
        try:
            await consumer.start()
            await admin.start()
            limit, steady, before = time.monotonic() + seconds_max, 0, -1
            inputs = await places(consumer, stage_of(self.registry))
            while steady < STEADY_ROUNDS:
                wanted: dict[TopicPartition, int] = await consumer.end_offsets(inputs)
                committed: dict[TopicPartition, int] = {}
                for group in self.groups:
                    committed |= {tp: meta.offset for tp, meta in (await admin.list_consumer_group_offsets(group)).items()}
                left = {tp: end - max(0, committed.get(tp, 0)) for tp, end in wanted.items() if end - max(0, committed.get(tp, 0)) > 0}
                total = sum(wanted.values())
                steady = steady + 1 if not left and total == before else 0
                before = total
                say(sum(left.values()))
                if time.monotonic() > limit:
                    where = ", ".join(f"{tp.topic}/{tp.partition}: {n}" for tp, n in list(left.items())[:8])
                    raise NotDrained(f"{sum(left.values())} records unread after {seconds_max:.0f} s: {where}")
                await asyncio.sleep(0.3)
        finally:
            await consumer.stop()
            await admin.close()

    async def account(self, seen: Callable[[str, bytes], None] = lambda _t, _v: None, skip: tuple[str, int, int] | None = None) -> Account:
        """Reads every input, internal, outcome and dead-letter topic whole. `skip` pretends that one outcome record is not there (a test)."""
        stages = stage_of(self.registry)
        outcomes = [spec.name for spec in self.registry.by_kind("outcomes")]
        letters = [spec.name for spec in self.registry.by_kind("dead_letters")]
        also = [n for n in ("clearance.history",) if n in self.registry.topics]
        auditor = Auditor(stages)
        consumer = self._consumer()
        try:
            await consumer.start()
            last = await ends(consumer, [*stages, *outcomes, *letters, *also])
            wanted = {tp: end for tp, end in last.items() if end > 0}
            consumer.assign(list(wanted))
            for tp in last:
                if tp.topic in stages:
                    auditor.partition(tp.topic, tp.partition)
            for tp, first in (await consumer.beginning_offsets([tp for tp in wanted if tp.topic in stages])).items():
                auditor.begins(tp.topic, tp.partition, first)
            while any([await consumer.position(tp) < end for tp, end in wanted.items()]):
                for tp, records in (await consumer.getmany(timeout_ms=500, max_records=5000)).items():
                    for record in records:
                        if (tp.topic, tp.partition, record.offset) == skip:
                            continue
                        if tp.topic in stages:
                            auditor.record(tp.topic, tp.partition, record.offset, record.key, record.value)
                        elif tp.topic in outcomes:
                            auditor.outcome(msgspec.json.decode(record.value, type=BatchOutcomes))
                        elif tp.topic in letters:
                            auditor.dead_letter(msgspec.json.decode(record.value, type=DeadLetter))
                        else:
                            seen(tp.topic, record.value)
        finally:
            await consumer.stop()
        return auditor.account()

    async def ledger_behind(self, dsn: str, seconds_max: float = 60.0) -> int:
        """Records of the ledger's topics that PostgreSQL has not, after waiting for it; 0 when it has all."""
        consumer = self._consumer()
        try:
            await consumer.start()
            connection = await asyncpg.connect(dsn, timeout=10, command_timeout=30)
            try:
                return await self._behind(consumer, connection, seconds_max)
            finally:
                await connection.close()
        finally:
            await consumer.stop()

    async def _unread(self, consumer: AIOKafkaConsumer, spans: dict[TopicPartition, tuple[int, int]]) -> int:
        """Offsets between where the ledger stands and the end that hold a record: markers of transactions are none."""
        left = {tp: span for tp, span in spans.items() if span[0] < span[1]}
        if not left:
            return 0
        consumer.assign(list(left))
        for tp, (have, _) in left.items():
            consumer.seek(tp, have)
        found = await consumer.getmany(timeout_ms=500)
        behind = 0
        for tp, (have, end) in left.items():
            behind += end - have if found.get(tp) else max(0, end - await consumer.position(tp))
        return behind

    async def _behind(self, consumer: AIOKafkaConsumer, connection: asyncpg.Connection, seconds_max: float) -> int:
        limit = time.monotonic() + seconds_max
        while True:
            wanted = await ends(consumer, self.ledger_topics)
            rows = await connection.fetch("select topic, part, next_offset from ledger_offset")
            have = {(row["topic"], row["part"]): row["next_offset"] for row in rows}
            behind = await self._unread(consumer, {tp: (have.get((tp.topic, tp.partition), 0), end) for tp, end in wanted.items()})
            if behind == 0 or time.monotonic() > limit:
                return behind
            await asyncio.sleep(0.3)
