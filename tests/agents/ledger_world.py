"""What the tests of the ledger share: a database of one's own, topics, records, a writer that runs meanwhile."""
from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

from agents.ledger.queries import Ledger
from agents.ledger.writer import TOPICS, LedgerWriter
from agents.places import ends
from topics import codec
from topics.events.customs import CustomsNotice
from topics.events.internal import Movement, ShipmentFacts
from topics.events.outputs import Alert, BasisSaid, BatchOutcomes, ClearanceUpdate, DeadLetter, ExceptionalOutcome
from topics.facts import Fact, Rank

LONG = 60.0
"""Patience on a busy machine."""
STAGES = ("documents",)
AT = 1_772_600_000_000_000  # 2026-03-04, microseconds UTC


def shipment() -> str:
    """A shipment id that no other test has: the topics are shared."""
    return "S" + uuid.uuid4().hex[:12].upper().replace("0", "A").replace("1", "B").replace("8", "C").replace("9", "D")


def create_topics(bootstrap: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        for topic in (*TOPICS, *(f"outcomes.{s}" for s in STAGES), "dead.letters"):
            with contextlib.suppress(TopicAlreadyExistsError):
                admin.create_topics([NewTopic(topic, 2 if topic.endswith(".in") else 1, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})],
                                    wait_for_metadata=True)
    finally:
        admin.close()


async def database(dsn: str, template: str = "template1") -> str:
    """A fresh database on this server, or a copy of another; its address."""
    name = f"t{uuid.uuid4().hex[:10]}"
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"create database {name} template {template}")
    finally:
        await connection.close()
    return dsn.rpartition("/")[0] + f"/{name}"


def update(ship: str, side: str, revision: int, state: str = "LODGED", at: int = AT, order: int = 0, **more: Any) -> ClearanceUpdate:
    return ClearanceUpdate(shipment=ship, side=side, revision=revision, state=state, basis=BasisSaid(kind="INFERRED"), assessed_at=at, order=order,
                           pack="pack-1", **more)


def fact(side: str, *key: str, value: Any = True, at: int = AT, source: str = "KZ", event: str = "", **more: Any) -> Fact:
    return Fact(side=side, key=key, at=at, source=source, rank=Rank.AUTHORITY, id=event, value=value, **more)


def facts(ship: str, *said: Fact) -> ShipmentFacts:
    return ShipmentFacts(shipment=ship, facts=said)


def notice(number: str, *aliases: str, event_id: str = "", container: str = "") -> CustomsNotice:
    return msgspec.convert({
        "type": "customs.notice", "source": "customs-kz", "id": event_id or uuid.uuid4().hex, "event_time": "2026-03-04T10:00:00+05:00", "authority": "KZ",
        "system": "EAEU-TD", "code": "10", "document": {"kind": "td", "number": number}, "container": container,
        "aliases": [{"kind": "td", "number": a} for a in aliases]}, CustomsNotice)


def movement(container: str, run: str, number: str, wagon: str) -> Movement:
    return Movement(container=container, run=run, railway="ktz", number=number, date="2026-03-03", seq=1, aboard_from=AT, wagon=wagon)


def alert(ship: str, state: str, seq: int, name: str = "BorderStatusStale") -> Alert:
    return Alert(key=f"{name}/{ship}", name=name, severity="warning", state="open" if state == "open" else "resolved", seq=seq, at=AT, shipment=ship)


def outcomes(topic: str, first: int, last: int) -> BatchOutcomes:
    return BatchOutcomes(stage="documents", topic=topic, partition=0, first=first, last=last, count=last - first + 1,
                         exceptions=(ExceptionalOutcome(offset=first, fate="duplicate"),))


class World:
    """One test's view: servers, producer, ledger."""

    def __init__(self, bootstrap: str, dsn: str, producer: AIOKafkaProducer) -> None:
        self.bootstrap, self.dsn, self.producer = bootstrap, dsn, producer
        self.group = f"g{uuid.uuid4().hex[:8]}"
        self.writer: LedgerWriter | None = None

    async def send(self, topic: str, key: str, value: Any, partition: int | None = None) -> tuple[int, int]:
        """Partition and offset."""
        data = value if isinstance(value, bytes) else codec.encode(value)
        put = await self.producer.send_and_wait(topic, data, key=key.encode(), partition=partition)
        return put.partition, put.offset

    async def publish(self, *updates: ClearanceUpdate) -> None:
        for one in updates:
            await self.send("clearance.history", one.shipment, one)

    @contextlib.asynccontextmanager
    async def writing(self, **more: Any) -> AsyncIterator[LedgerWriter]:
        """A writer that runs meanwhile; a failure of it fails the test."""
        writer = self.writer = LedgerWriter(self.bootstrap, self.dsn, self.group, STAGES, **more)
        task = asyncio.create_task(writer.run())
        try:
            yield writer
            if task.done():
                await task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @contextlib.asynccontextmanager
    async def ledger(self) -> AsyncIterator[Ledger]:
        opened = await Ledger.open(self.dsn)
        try:
            yield opened
        finally:
            await opened.close()

    async def sql(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.dsn, timeout=LONG)
        try:
            found: list[asyncpg.Record] = await connection.fetch(query, *arguments)
            return found
        finally:
            await connection.close()

    async def caught_up(self) -> None:
        """Until the ledger has everything that is in its topics now."""
        wanted = await self.ends((*TOPICS, *(f"outcomes.{s}" for s in STAGES)))

        async def there() -> bool:
            try:
                rows = await self.sql("select topic, part, next_offset from ledger_offset")
            except (asyncpg.UndefinedTableError, OSError, asyncpg.PostgresError):
                return False
            have = {(r["topic"], r["part"]): r["next_offset"] for r in rows}
            return all(have.get((tp.topic, tp.partition), 0) >= end for tp, end in wanted.items())

        await until(there, "the ledger did not catch up")

    async def ends(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            return await ends(consumer, topics)
        finally:
            await consumer.stop()

    async def dead_letters(self) -> list[DeadLetter]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            tp = TopicPartition("dead.letters", 0)
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            await consumer.seek_to_beginning(tp)
            found: list[DeadLetter] = []
            while await consumer.position(tp) < end:
                for records in (await consumer.getmany(tp, timeout_ms=500)).values():
                    found += [msgspec.json.decode(r.value, type=DeadLetter) for r in records if r.offset < end]
            return found
        finally:
            await consumer.stop()


async def until(done: Callable[[], Awaitable[bool]], what: str, seconds: float = LONG) -> None:
    end = time.monotonic() + seconds
    while not await done():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.1)
