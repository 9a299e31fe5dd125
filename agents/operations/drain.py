"""Waits until everything on the way has come to its end: no fold and no ledger behind, while no input is taken."""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from agents.ledger.queries import Ledger
from agents.ledger.writer import TOPICS
from agents.places import NotThere, places
from topics.registry import STAGES, Registry, fold_topic

QUIET_ROUNDS: Final = 3
"""Rounds in a row, a second apart, in which nothing is behind and intake has taken nothing: what one fold says to the next is in the log by then,
and every worker has seen the act long ago (agents/operations/holding.py)."""
ROUND_S: Final = 1.0
LOOK_S: Final = 10.0
"""For looking whether more than markers stands before the ends of partitions."""


Places = Mapping[TopicPartition, int]


class Behind(msgspec.Struct, frozen=True, kw_only=True):
    """How far behind a running system is, in records. `input` waits in the inbound topics: while drained that is what should wait."""

    folds: dict[str, int]
    """Input topic of a fold -> records that it has not worked off."""
    ledger: int
    """-1: the ledger has never written, or cannot be asked."""
    input: int
    taken: int = 0
    """Sum of the inbound positions: it stands still when intake takes nothing."""

    @property
    def nothing(self) -> bool:
        return not any(self.folds.values()) and self.ledger == 0


async def committed(admin: AIOKafkaAdminClient, prefix: str) -> dict[TopicPartition, int]:
    """The furthest committed position of each partition, over the groups of this deployment's stages (not the ledger's, not a shadow's)."""
    found: dict[TopicPartition, int] = {}
    for group, *_ in await admin.list_consumer_groups():
        tail = group.removeprefix(f"{prefix}-")
        if tail == group or "-" in tail or tail == "ledger":
            continue
        for tp, at in (await admin.list_consumer_group_offsets(group)).items():
            found[tp] = max(found.get(tp, -1), at.offset)
    return found


async def unread(consumer: AIOKafkaConsumer, ends: Places, at: Places) -> dict[TopicPartition, int]:
    """Records between a position and the end. Where only markers of transactions stand in between, nothing is unread; whether that is so is asked of all
    partitions at once, for `LOOK_S` at most."""
    behind = {tp: end - max(at.get(tp, 0), 0) for tp, end in ends.items() if end > max(at.get(tp, 0), 0)}
    if not behind:
        return {}
    consumer.assign(list(behind))
    for tp in behind:
        consumer.seek(tp, max(at.get(tp, 0), 0))
    asked, end = set(behind), time.monotonic() + LOOK_S
    while asked and time.monotonic() < end:
        found = {tp for tp, records in (await consumer.getmany(*asked, timeout_ms=300)).items() if records}
        passed = {tp for tp in asked - found if await consumer.position(tp) >= ends[tp]}
        behind = {tp: n for tp, n in behind.items() if tp not in passed}
        asked -= found | passed
        consumer.pause(*found)
    return behind


class Gauge:
    """Asks Kafka, and the ledger where it can be asked, how far behind everybody is."""

    def __init__(
        self, registry: Registry, group: str, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, outlook: AIOKafkaConsumer, ledger: Ledger | None
    ) -> None:
        """`consumer` looks at records; `outlook` only asks where topics end."""
        self.registry, self.group, self.admin, self.consumer, self.outlook, self.ledger = registry, group, admin, consumer, outlook, ledger
        self._places: dict[str, list[TopicPartition]] = {}
        self.folds = tuple(fold_topic(stage) for stage in STAGES if stage != "intake")
        self.inbound = tuple(spec.name for spec in registry.inbound)
        self.own = {party.inbound for party in registry.parties.values() if party.role == "operations"}

    async def measure(self) -> Behind:
        """Raises NotThere, aiokafka's errors, asyncpg's."""
        at = await committed(self.admin, self.group)
        ends = await self._ends(self.folds)
        behind = await unread(self.consumer, ends, at)
        folds = {topic: sum(n for tp, n in behind.items() if tp.topic == topic) for topic in self.folds}
        waiting = await self._ends(self.inbound)
        own = await unread(self.consumer, {tp: end for tp, end in waiting.items() if tp.topic in self.own}, at)
        taken = sum(max(at.get(tp, 0), 0) for tp in waiting)
        return Behind(folds=folds | {tp.topic: n for tp, n in own.items()}, ledger=await self._ledger(), taken=taken,
                      input=sum(max(0, end - max(at.get(tp, 0), 0)) for tp, end in waiting.items() if tp.topic not in self.own))

    async def _ledger(self) -> int:
        topics = (*TOPICS, *(f"outcomes.{stage}" for stage in STAGES))
        if self.ledger is not None:
            at = {TopicPartition(*place): offset for place, offset in (await self.ledger.offsets()).items()}
        else:
            at = {tp: one.offset for tp, one in (await self.admin.list_consumer_group_offsets(f"{self.group}-ledger")).items()}
        return sum((await unread(self.consumer, await self._ends(topics), at)).values()) if at else -1

    async def _ends(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        if new := [topic for topic in topics if topic not in self._places]:
            for tp in await places(self.outlook, new):
                self._places.setdefault(tp.topic, []).append(tp)
        found: dict[TopicPartition, int] = await self.outlook.end_offsets([tp for topic in topics for tp in self._places[topic]])
        return found


async def drained(gauge: Gauge, seconds: float, say: Callable[[Behind], Any]) -> Behind | None:
    """Wait until nothing is behind for some rounds; the last measure, or None when the time is over. `say` is told of every round."""
    end, quiet, taken = time.monotonic() + seconds, 0, -1
    while True:
        now = await gauge.measure()
        say(now)
        quiet = quiet + 1 if now.nothing and now.taken == taken else 0
        taken = now.taken
        if quiet >= QUIET_ROUNDS:
            return now
        if time.monotonic() > end:
            return None
        await asyncio.sleep(ROUND_S)


__all__ = ["Behind", "Gauge", "NotThere", "committed", "drained", "unread"]
