"""Where the ledger begins to read: nothing that was deleted unread is skipped, no other topic of the same name is taken for the one that was read."""
from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import UnknownTopicOrPartitionError

from agents.embedded import EmbeddedServers
from agents.ledger import gaps
from agents.ledger import writer as writer_module
from agents.ledger.origin import Bounds, Known, LedgerRefused, start_of
from agents.ledger.writer import LedgerWriter
from agents.metrics import Published, Watched, registry_for
from agents.transport.fatal import EXIT_REFUSED, REFUSALS
from agents.transport.hub import Hub
from streams.effects import Send
from tests.agents.ledger_world import LONG, World, create_topics, database, notice, until
from topics import codec

LINK = b"l" * 32


@pytest.mark.parametrize(("known", "bounds", "goes_on"), [
    (None, Bounds(0, 0, "a"), Known(0, topic_id="a")),
    (None, Bounds(7, 9, "a"), Known(7, topic_id="a")),
    (Known(7, LINK, "a"), Bounds(0, 9, "a"), Known(7, LINK, "a")),
    (Known(7, LINK, "a"), Bounds(7, 7, "a"), Known(7, LINK, "a")),
    (Known(7, LINK, ""), Bounds(7, 9, "a"), Known(7, LINK, "a")),
    (Known(7, LINK, "a"), Bounds(7, 9, ""), Known(7, LINK, "a")),
    (Known(7, LINK, "a", read_to=8), Bounds(8, 8, "a"), Known(8, LINK, "a", read_to=8)),
    (Known(7, LINK, "a", read_to=8), Bounds(3, 8, "a"), Known(7, LINK, "a", read_to=8)),
], ids=["first", "first, and its oldest are deleted", "restart", "all read, then deleted", "row of before", "a broker without ids", "marker deleted", "marker"])
def test_it_goes_on_where_it_was(known: Known | None, bounds: Bounds, goes_on: Known) -> None:
    assert start_of("t", 1, known, bounds) == goes_on


@pytest.mark.parametrize(("known", "bounds", "why"), [
    (Known(7, LINK, "a"), Bounds(9, 12, "a"), "t/1 begins at offset 9: offsets 7 to 8 were deleted before the ledger has read them"),
    (Known(7, LINK, ""), Bounds(8, 12, "a"), "offsets 7 to 7 were deleted"),
    (Known(7, LINK, "a", read_to=8), Bounds(9, 12, "a"), "offsets 8 to 8 were deleted"),
    (Known(0, LINK, "a"), Bounds(1, 1, "a"), "offsets 0 to 0 were deleted"),
    (Known(7, LINK, "a"), Bounds(0, 90, "b"), "the ledger has read t with id a, but now it has id b: the topic was deleted and made anew, or mirrored"),
    (Known(7, LINK, "a"), Bounds(0, 6, "a"), "t/1 ends at 6, but the ledger has read it to 7"),
    (Known(7, LINK, ""), Bounds(0, 6, ""), "t/1 ends at 6, but the ledger has read it to 7"),
])
def test_it_refuses(known: Known, bounds: Bounds, why: str) -> None:
    with pytest.raises(LedgerRefused, match=why) as refused:
        start_of("t", 1, known, bounds)
    assert refused.value.place == "t/1"
    assert isinstance(refused.value, REFUSALS)


@pytest.mark.parametrize("missed", [0, 12])
def test_what_the_ledger_went_on_without_is_a_metric(missed: int) -> None:
    writer = LedgerWriter("127.0.0.1:1", "postgresql://nobody@127.0.0.1:1/none", "g", ())
    writer.records_missed = missed
    assert registry_for(Watched(Hub(), {}, Published(), writer, "p")).get_sample_value("railclear_ledger_missed_records") == missed


LAST_WORDS = """
import logging, sys
from types import SimpleNamespace
from prometheus_client import CollectorRegistry
from agents.http.health import HealthServer, Verdict
from agents.transport.fatal import Refuses, fatal
logging.basicConfig(level="INFO", stream=sys.stderr, format="%(levelname)s %(message)s")
HealthServer(SimpleNamespace(live=lambda: Verdict(True, ()), ready=lambda: Verdict(True, ())), CollectorRegistry(), "127.0.0.1", 0).start()
fatal("the ledger's writer", Refuses("offsets 3 to 4 were deleted"))
"""


def test_the_last_line_of_a_process_with_health_is_not_lost() -> None:
    """Of a ledger alone: Faust, which sets the logging of other workers, is not there."""
    ended = subprocess.run([sys.executable, "-c", LAST_WORDS], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=LONG, check=False)
    assert (ended.returncode, ended.stderr) == (EXIT_REFUSED, "CRITICAL REFUSED to start: the ledger's writer: offsets 3 to 4 were deleted\n")


# -- on Kafka and PostgreSQL -------------------------------------------------------------------------------------------------
integration = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


class Log:
    """One topic of one partition, and a ledger that reads it."""

    def __init__(self, world: World) -> None:
        self.world, self.topic = world, f"t{uuid.uuid4().hex[:8]}.in"
        self.told: list[str] = []
        self.make()

    def _alert(self, where: str, why: str) -> Send:
        self.told.append(where)
        return Send("ops.alerts", where.encode(), codec.encode({"where": where, "why": why}))

    def writing(self) -> Any:
        return self.world.writing(topics=(self.topic,), alert=self._alert)

    @contextlib.contextmanager
    def admin(self) -> Any:
        made = KafkaAdminClient(bootstrap_servers=self.world.bootstrap)
        try:
            yield made
        finally:
            made.close()

    def make(self) -> None:
        with self.admin() as admin:
            admin.create_topics([NewTopic(self.topic, 1, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})], wait_for_metadata=True)

    async def make_anew(self) -> None:
        with self.admin() as admin:
            admin.delete_topics([self.topic])

            async def gone() -> bool:
                return bool(admin.describe_topics([self.topic])[0]["error_code"] == UnknownTopicOrPartitionError.errno)

            await until(gone, "the topic does not go")
        self.make()

    def delete(self, before: int) -> None:
        with self.admin() as admin:
            admin.delete_records({TopicPartition(self.topic, 0): before})

    async def send(self, records: int) -> None:
        for _ in range(records):
            await self.world.send(self.topic, "k", notice("N"))

    async def offsets(self) -> list[int]:
        return [r["off"] for r in await self.world.sql("select off from event where topic = $1 order by off", self.topic)]

    async def has(self, *offsets: int) -> None:
        async def there() -> bool:
            with contextlib.suppress(asyncpg.UndefinedTableError):
                return await self.offsets() == list(offsets)
            return False

        await until(there, f"the ledger does not come to {offsets}")

    async def row(self) -> dict[str, Any]:
        found = await self.world.sql("select next_offset, read_to, topic_id from ledger_offset where topic = $1", self.topic)
        return dict(found[0]) if found else {}

    async def until_row(self, **wanted: Any) -> None:
        async def there() -> bool:
            with contextlib.suppress(asyncpg.UndefinedTableError):
                return wanted.items() <= (await self.row()).items()
            return False

        await until(there, f"the row does not come to {wanted}")

    async def refuses(self, why: str) -> None:
        """Start a writer: it refuses, tells people, and changes nothing."""
        before, offsets = await self.row(), await self.offsets()
        writer = LedgerWriter(self.world.bootstrap, self.world.dsn, self.world.group, (), topics=(self.topic,), alert=self._alert)
        with pytest.raises(LedgerRefused, match=why):
            await asyncio.wait_for(writer.run(), LONG)
        assert (await self.row(), await self.offsets()) == (before, offsets)
        await self.was_told(why)

    async def was_told(self, why: str) -> None:
        assert self.told == [f"ledger/{self.topic}/0"]
        found = await self.world.producer.partitions_for("ops.alerts")
        assert found == {0}
        async with self.reader() as consumer:
            tp = TopicPartition("ops.alerts", 0)
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            said: list[bytes] = []
            while await consumer.position(tp) < end:
                said += [r.value for records in (await consumer.getmany(tp, timeout_ms=500)).values() for r in records if r.key == self.told[0].encode()]
        assert len(said) == 1
        assert msgspec.json.decode(said[0])["where"] == self.told[0]

    @contextlib.asynccontextmanager
    async def reader(self) -> AsyncIterator[Any]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.world.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    @contextlib.asynccontextmanager
    async def run_until_refused(self, why: str) -> AsyncIterator[LedgerWriter]:
        """A writer that runs while the body goes on, and then refuses."""
        writer = LedgerWriter(self.world.bootstrap, self.world.dsn, self.world.group, (), topics=(self.topic,), alert=self._alert, command_timeout_s=LONG)
        task = asyncio.create_task(writer.run())
        try:
            yield writer
            with pytest.raises(LedgerRefused, match=why):
                await asyncio.wait_for(asyncio.shield(task), LONG)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, LedgerRefused):
                await task


@pytest_asyncio.fixture(loop_scope="session")
async def log(embedded: EmbeddedServers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Log]:
    create_topics(embedded.bootstrap)
    monkeypatch.setattr(writer_module, "TOPICS_EVERY_S", 0.3)
    producer = AIOKafkaProducer(bootstrap_servers=embedded.bootstrap, acks="all")
    await producer.start()
    yield Log(World(embedded.bootstrap, await database(embedded.dsn), producer))
    await producer.stop()


def on_servers(test: Callable[..., Any]) -> Callable[..., Any]:
    for mark in integration:
        test = mark(test)
    return test


@on_servers
async def test_records_that_were_deleted_before_a_start_are_refused_until_a_person_accepts_it(log: Log) -> None:
    await log.send(3)
    async with log.writing():
        await log.has(0, 1, 2)
    await log.send(3)
    log.delete(5)
    await log.refuses("offsets 3 to 4 were deleted before the ledger has read them")
    async with log.world.ledger() as ledger, ledger.pool.acquire() as connection:
        assert not await gaps.accept(connection, log.topic, 0, 2, 5, "me", "no such gap")
        assert await gaps.accepted(connection) == []
        assert await gaps.accept(connection, log.topic, 0, 3, 5, "duty officer", "down for two weeks")
        assert not await gaps.accept(connection, log.topic, 0, 3, 5, "duty officer", "a second time")
        gap, = await gaps.accepted(connection)
        assert (gap.topic, gap.partition, gap.first, gap.last, gap.by, gap.reason) == (log.topic, 0, 3, 4, "duty officer", "down for two weeks")
    async with log.writing() as writer:
        await log.has(0, 1, 2, 5)
        assert writer.records_missed == 2
    async with log.world.ledger() as ledger:
        found = await ledger.verify()
        assert (found.broken, found.gaps) == ((), (gap,))


@on_servers
async def test_records_that_were_read_and_then_deleted_are_no_gap_running_or_not(log: Log) -> None:
    await log.send(3)
    async with log.writing():
        await log.has(0, 1, 2)
        log.delete(3)
        await asyncio.sleep(1)
        await log.send(1)
        await log.has(0, 1, 2, 3)
    log.delete(4)
    async with log.writing() as writer:
        await log.send(1)
        await log.has(0, 1, 2, 3, 4)
        assert writer.records_missed == 0
    assert log.told == []


@on_servers
async def test_a_topic_that_is_read_for_the_first_time_begins_with_what_is_there(log: Log) -> None:
    await log.send(5)
    log.delete(3)
    async with log.writing():
        await log.has(3, 4)
    assert log.told == []


@on_servers
async def test_where_a_first_start_found_nothing_is_known_and_what_comes_later_is_not_taken_for_another_first_start(log: Log) -> None:
    await log.send(5)
    log.delete(5)
    async with log.writing():
        await log.until_row(next_offset=5)
    await log.send(2)
    log.delete(6)
    await log.refuses("offsets 5 to 5 were deleted before the ledger has read them")


@on_servers
async def test_records_that_are_deleted_under_a_running_writer_are_refused(log: Log) -> None:
    """It waits for PostgreSQL with one batch in hand and another one fetched; what is behind these is deleted."""
    await log.send(3)
    async with log.run_until_refused(r"offsets \d+ to 7 were deleted before the ledger has read them"):
        await log.has(0, 1, 2)
        blocker = await asyncpg.connect(log.world.dsn)
        try:
            async with blocker.transaction():
                await blocker.execute("lock table event in access exclusive mode")
                await log.send(1)
                await asyncio.sleep(1.5)
                await log.send(1)
                await asyncio.sleep(1.5)
                await log.send(4)
                log.delete(8)
        finally:
            await blocker.close()
    have = await log.offsets()
    assert have == list(range(len(have))), "all before the gap, nothing behind it"
    assert 3 <= len(have) <= 7
    assert (await log.row())["next_offset"] == len(have)
    await log.was_told("")


@on_servers
async def test_a_topic_that_was_made_anew_is_refused_although_it_is_longer_than_before(log: Log) -> None:
    await log.send(3)
    async with log.writing():
        await log.has(0, 1, 2)
    await log.make_anew()
    await log.send(20)
    await log.refuses(f"the ledger has read {log.topic} with id .*: the topic was deleted and made anew, or mirrored")


@on_servers
async def test_a_topic_that_is_made_anew_under_a_running_writer_is_refused_although_it_is_longer_than_before(log: Log) -> None:
    await log.send(3)
    async with log.run_until_refused("the topic was deleted and made anew, or mirrored"):
        await log.has(0, 1, 2)
        await log.make_anew()
        await log.send(20)
    await log.was_told("")


@on_servers
async def test_a_ledger_of_before_is_read_on_once_and_knows_its_topics_from_then_on(log: Log) -> None:
    await log.send(3)
    async with log.writing():
        await log.has(0, 1, 2)
    await log.world.sql("alter table ledger_offset drop column topic_id, drop column read_to")
    await log.world.sql("drop table ledger_gap")
    await log.send(1)
    async with log.writing():
        await log.has(0, 1, 2, 3)
        with log.admin() as admin:
            assert (await log.row())["topic_id"] == str(admin.describe_topics([log.topic])[0]["topic_id"])
    async with log.writing():
        await log.send(1)
        await log.has(0, 1, 2, 3, 4)
    await log.make_anew()
    await log.refuses("the topic was deleted and made anew, or mirrored")


@on_servers
async def test_the_marker_of_a_transaction_at_the_end_of_a_log_that_was_deleted_is_no_gap(log: Log) -> None:
    upstream = AIOKafkaProducer(bootstrap_servers=log.world.bootstrap, transactional_id=f"{log.topic}-up")
    await upstream.start()
    try:
        async with upstream.transaction():
            await upstream.send(log.topic, codec.encode(notice("N")), key=b"k")
        async with log.writing():
            await log.until_row(next_offset=1, read_to=2)
        log.delete(2)
        async with log.writing():
            async with upstream.transaction():
                await upstream.send(log.topic, codec.encode(notice("N")), key=b"k")
            await log.has(0, 2)
    finally:
        await upstream.stop()
    assert log.told == []
    async with log.world.ledger() as ledger:
        assert (await ledger.verify()).broken == ()
