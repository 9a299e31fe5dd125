"""Fills the ledger from the log: rows and the input offset in one transaction, so that a crash repeats nothing and loses nothing.

An own consumer, not a Faust agent: while PostgreSQL is away it waits here, and no status waits with it (docs/decisions.md).
"""
from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from agents.ledger import gaps, schema
from agents.ledger.origin import Bounds, Known, LedgerRefused, another, start_of
from agents.ledger.rows import LogRecord, Rows
from agents.ledger.store import PLACED, READ_TO, Bounded, Offset, store
from agents.transport.census import Observer
from streams.effects import Send
from topics import codec
from topics.events.outputs import DeadLetter
from topics.registry import DEAD_LETTERS

log = logging.getLogger(__name__)
T = TypeVar("T")

TOPICS: Final = ("trains.in", "documents.in", "custody.in", "clearance.in", "clearance.history", "ops.alerts", "operations.acts")
RECORDS_A_TRANSACTION_MAX: Final = 4000
CONNECT_SECONDS_MAX: Final = 10.0
POSITION_SECONDS_MAX: Final = 1.0
STOP_SECONDS_MAX: Final = 10.0
BACKOFF_SECONDS_MAX: Final = 10.0
COMMIT_EVERY_S: Final = 2.0
"""Kafka's own offsets only show others how far we are; the database's decide."""
TOPICS_SECONDS_MAX: Final = 120.0
"""So long the broker is asked which topics there are; then the process ends, and the next one asks."""
TOPICS_EVERY_S: Final = 10.0
"""How often it is asked whether they are still those that were read."""
LOOK_AGAIN_S: Final = 1.0
"""Before a refusal: a former owner's last transaction may be under way still, or a broker may have just started."""
ALERT_SECONDS_MAX: Final = 5.0
AWAY: Final = (
    OSError, asyncio.TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.exceptions.OperatorInterventionError,
    asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.ReadOnlySQLTransactionError, asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError, asyncpg.LockNotAvailableError, asyncpg.InternalClientError,
)
"""PostgreSQL is away, overloaded or being reconfigured, or the client lost track of a connection that was cut off: wait. Everything else is a bug or a
value that it cannot hold."""


class LedgerWriter:
    """Consumes the ledger's topics and writes them. `run()` ends only by cancellation, a refusal or a bug."""

    def __init__(self, bootstrap: str, dsn: str, group: str, stages: tuple[str, ...], *, command_timeout_s: float = 30.0,
                 security: dict[str, Any] | None = None, topics: tuple[str, ...] = TOPICS,
                 alert: Callable[[str, str], Send] | None = None) -> None:
        """`alert`: what people are told of a refusal, from its place and reason."""
        self.bootstrap, self.dsn, self.group = bootstrap, dsn, group
        self.topics = (*topics, *(f"outcomes.{s}" for s in stages))
        self.command_timeout_s = command_timeout_s
        self.security = security or {}
        self.rows_written = 0
        self.records_read = 0
        self.records_parked = 0
        self.records_missed = 0
        """Of the whole ledger: offsets that Kafka deleted before they were read, and that a person has accepted to go on without."""
        self.failures = 0
        self.connected = False
        self.lag = 0
        self.unplaced: set[TopicPartition] = set()
        """Assigned, but the database has not yet been asked where to go on."""
        self.alert = alert
        self._links: dict[TopicPartition, tuple[int, bytes]] = {}
        self._read_to: dict[TopicPartition, int] = {}
        """As the database has it: only where there are markers of transactions behind the last record."""
        self._ids: dict[str, str] = {}
        """Topics that partitions were placed in, by name."""
        self._observer = Observer(lambda: {"bootstrap_servers": bootstrap.split(","), **self.security}, f"{group}-ledger")
        self._months: set[tuple[int, int]] = set()
        self._connection: asyncpg.Connection | None = None
        self._producer: AIOKafkaProducer | None = None
        self._committed_at = 0.0
        self._letters: set[tuple[str, int, int]] = set()
        """Parked already: a batch that is tried again in halves does not park twice."""

    async def run(self) -> None:
        """Read, write, commit, for ever. While PostgreSQL is away the records stay in Kafka.

        Raises LedgerRefused, after people were told, when records were deleted before they were read, or a topic was made anew under a ledger that
        knows the old one.
        """
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=f"{self.group}-ledger", enable_auto_commit=False, auto_offset_reset="none",
            isolation_level="read_committed", max_partition_fetch_bytes=1 << 20, fetch_max_wait_ms=200, max_poll_interval_ms=3_600_000,
            session_timeout_ms=10_000, **self.security,
        )
        self._producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True, max_request_size=9 << 20, **self.security)
        watching = asyncio.create_task(self._watch(consumer))
        try:
            await consumer.start()
            await self._producer.start()
            await self._patiently(_nothing)
            consumer.subscribe(list(self.topics), listener=_Assigned(self))
            while True:
                if watching.done():
                    watching.result()
                await self._round(consumer)
        except LedgerRefused as refused:
            await self._tell(refused)
            raise
        finally:
            watching.cancel()
            self._observer.close()
            self._hang_up()
            for client in (consumer, self._producer):
                await _stopped(client)

    async def _round(self, consumer: AIOKafkaConsumer) -> None:
        if self.unplaced:
            await self._place(consumer)
        try:
            batch = await consumer.getmany(timeout_ms=500, max_records=RECORDS_A_TRANSACTION_MAX)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
            # Newly assigned and not placed yet, or the log has lost what we want to read: placing tells, and refuses if it is so.
            log.info("asking anew where to go on: %r", error)
            self.unplaced |= consumer.assignment()
            await asyncio.sleep(0.1)
            return
        await self._write([_log_record(r) for tp, records in batch.items() if tp not in self.unplaced for r in records])
        self._letters.clear()
        if time.monotonic() >= self._committed_at + COMMIT_EVERY_S:
            self._committed_at = time.monotonic()
            await self._commit(consumer)
            await self._keep_markers(consumer)
        await self._measure_lag(consumer)

    # -- PostgreSQL --------------------------------------------------------------------------------------------------------
    async def _connect(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self.dsn, timeout=CONNECT_SECONDS_MAX, command_timeout=self.command_timeout_s)
            self._months.clear()
            await schema.create(self._connection)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        self.connected = False

    async def _patiently(self, act: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Connect and act; wait and try again while PostgreSQL is away. Everything else goes up: a bug, or a value that it cannot hold."""
        pause = 0.2
        while True:
            try:
                result = await act(await self._connect())
            except AWAY as error:
                if isinstance(error, ValueError):  # asyncpg's own data error is an InterfaceError, too
                    raise
                self.failures += 1
                self._hang_up()
                log.warning("PostgreSQL is away (%s: %s); trying again in %.1f s", type(error).__name__, error, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_SECONDS_MAX)
            else:
                self.connected = True
                return result

    # -- where to go on ----------------------------------------------------------------------------------------------------
    async def _place(self, consumer: AIOKafkaConsumer) -> None:
        """Go to where the database's rows end, whatever Kafka remembers of us. Raises LedgerRefused, TimeoutError, KafkaError."""
        try:
            starts = await self._starts(consumer)
        except LedgerRefused as refused:
            log.warning("looking again: %s", refused)
            await asyncio.sleep(LOOK_AGAIN_S)
            starts = await self._starts(consumer)
        for tp, start in starts.items():
            try:
                consumer.seek(tp, start.next_offset)
            except IllegalStateError:  # taken away meanwhile
                continue
            self._links[tp], self._read_to[tp], self._ids[tp.topic] = (start.next_offset, start.link), start.read_to, start.topic_id
            self.unplaced.discard(tp)

    async def _starts(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, Known]:
        """Where to go on with each partition that is not placed, and the database knows it: topics that are gone for now are left out."""
        places = await self._patiently(gaps.known)
        mine = sorted(self.unplaced & consumer.assignment())
        if not mine:
            return {}
        seen = await self._observer.topics({tp.topic for tp in mine}, TOPICS_SECONDS_MAX)
        wanted = [tp for tp in mine if not seen[tp.topic].gone]
        first, last = await consumer.beginning_offsets(wanted), await consumer.end_offsets(wanted)
        starts = {tp: start_of(tp.topic, tp.partition, places.get((tp.topic, tp.partition)), Bounds(first[tp], last[tp], seen[tp.topic].id)) for tp in wanted}
        said = [(tp.topic, tp.partition, start.next_offset, start.link, start.topic_id) for tp, start in starts.items()
                if (was := places.get((tp.topic, tp.partition))) is None or was.topic_id != start.topic_id]
        if said:
            await self._patiently(lambda connection: connection.execute(PLACED, *(list(column) for column in zip(*said, strict=True))))
        self.records_missed = sum(gap.last + 1 - gap.first for gap in await self._patiently(gaps.accepted))
        return starts

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        """A topic that is made anew while it is read may be long enough for nobody to notice: partitions of another topic are placed anew, and refused."""
        while True:
            await asyncio.sleep(TOPICS_EVERY_S)
            if not self._ids:
                continue
            try:
                seen = await self._observer.topics(self._ids, TOPICS_EVERY_S)
            except TimeoutError:
                continue
            self.unplaced |= {tp for tp in consumer.assignment() if tp.topic in seen and another(self._ids.get(tp.topic, ""), seen[tp.topic].id)}

    async def _tell(self, refused: LedgerRefused) -> None:
        """People, before the process ends; the refusal does not depend on it."""
        if self.alert is None or self._producer is None:
            return
        send = self.alert(f"ledger/{refused.place}", str(refused))
        try:
            async with asyncio.timeout(ALERT_SECONDS_MAX):
                await self._producer.send_and_wait(send.topic, send.value, key=send.key)
        except (TimeoutError, KafkaError) as error:
            log.warning("the alert of the refusal is not sent: %r", error)

    # -- writing -----------------------------------------------------------------------------------------------------------
    async def _write(self, records: list[LogRecord]) -> None:
        """Records of any partitions, each partition's in order. What PostgreSQL cannot hold is parked; the rows around it are written."""
        fresh = [r for r in records if r.offset >= self._links[TopicPartition(*r.place)][0]]
        if not fresh:
            return
        rows, links, parked = self._rows(fresh)
        offsets: list[Offset] = [(tp.topic, tp.partition, next_offset, link) for tp, (next_offset, link) in links.items()]
        try:
            for record, why in parked:
                await self._park(record, why)
            await self._patiently(lambda connection: self._store(connection, rows, offsets))
        except (asyncpg.DataError, ValueError) as error:
            if len(fresh) > 1:
                half = len(fresh) // 2
                await self._write(fresh[:half])
                await self._write(fresh[half:])
                return
            await self._store_without(fresh[0], error)
            return
        self._links |= links
        self.rows_written += rows.count()
        self.records_read += len(fresh)

    def _rows(self, records: list[LogRecord]) -> tuple[Rows, dict[TopicPartition, tuple[int, bytes]], list[tuple[LogRecord, codec.Refusal]]]:
        rows, parked = Rows(), []
        links: dict[TopicPartition, tuple[int, bytes]] = {}
        for record in records:
            tp = TopicPartition(*record.place)
            link = (links.get(tp) or self._links[tp])[1]
            try:
                link = rows.add(record, link)
            except codec.Refused as refused:
                parked.append((record, refused.refusal))
            links[tp] = (record.offset + 1, link)
        return rows, links, parked

    async def _store(self, connection: asyncpg.Connection, rows: Rows, offsets: list[Offset]) -> None:
        for month in sorted(rows.months() - self._months):
            await schema.ensure_month(connection, *month)
            self._months.add(month)
        await store(Bounded(connection, self.command_timeout_s), rows, offsets)

    async def _store_without(self, record: LogRecord, error: Exception) -> None:
        """The dead letter first: it must be durable before the offset passes it."""
        tp = TopicPartition(*record.place)
        await self._park(record, codec.Refusal("LEDGER_DATA", "$", "", str(error)))
        link = self._links[tp][1]
        offsets: list[Offset] = [(tp.topic, tp.partition, record.offset + 1, link)]
        await self._patiently(lambda connection: store(Bounded(connection, self.command_timeout_s), Rows(), offsets))
        self._links[tp] = (record.offset + 1, link)
        self.records_read += 1

    async def _park(self, record: LogRecord, why: codec.Refusal) -> None:
        if (record.topic, record.partition, record.offset) in self._letters:
            return
        letter = DeadLetter(stage="ledger", topic=record.topic, partition=record.partition, offset=record.offset, timestamp=record.timestamp // 1000,
                            key=record.key, value=record.value, headers=record.headers, code=why.code, path=why.path, reason=why.reason or why.value)
        assert self._producer is not None, "the ledger writer is not started"
        await self._producer.send_and_wait(DEAD_LETTERS, codec.encode(letter), key=f"{record.topic}-{record.partition}-{record.offset}".encode())
        self._letters.add((record.topic, record.partition, record.offset))
        self.records_parked += 1
        log.error("%s/%d/%d is not in the ledger: %s %s", record.topic, record.partition, record.offset, why.code, letter.reason)

    # -- for those who watch -----------------------------------------------------------------------------------------------
    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        mine = {tp: OffsetAndMetadata(n, "") for tp, (n, _) in self._links.items() if tp in consumer.assignment()}
        try:
            if mine:
                await consumer.commit(mine)
        except (KafkaError, IllegalStateError) as error:  # a rebalance under way; the next one will do
            log.info("offsets not shown to Kafka this time: %r", error)

    async def _keep_markers(self, consumer: AIOKafkaConsumer) -> None:
        """Markers of transactions behind the last record were read as well, and the database must know: when they are deleted, too, that is no gap."""
        read: list[tuple[str, int, int]] = []
        for tp in sorted(consumer.assignment() - self.unplaced):
            try:
                async with asyncio.timeout(POSITION_SECONDS_MAX):
                    position = await consumer.position(tp)
            except (TimeoutError, KafkaError, IllegalStateError):  # a rebalance under way: the next round will do
                return
            if tp in self._links and tp not in self.unplaced and position > max(self._links[tp][0], self._read_to[tp]):
                read.append((tp.topic, tp.partition, position))
        if read:
            await self._patiently(lambda connection: connection.execute(READ_TO, *(list(column) for column in zip(*read, strict=True))))
            self._read_to |= {TopicPartition(topic, partition): position for topic, partition, position in read}

    async def _measure_lag(self, consumer: AIOKafkaConsumer) -> None:
        """Everything handed over is written by now, so the consumer's position counts: transaction markers behind the last record are no lag."""
        lag = 0
        for tp in consumer.assignment() - self.unplaced:
            if tp not in consumer.assignment():  # a rebalance came in while another one was asked for
                return
            end = consumer.highwater(tp)
            if end is not None:
                try:
                    async with asyncio.timeout(POSITION_SECONDS_MAX):
                        lag += max(0, end - await consumer.position(tp))
                except (TimeoutError, KafkaError, IllegalStateError):  # a rebalance under way: the next round measures again
                    return
        self.lag = lag


class _Assigned(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """Another member may write meanwhile: nothing of a partition counts until the database was asked anew."""

    def __init__(self, writer: LedgerWriter) -> None:
        self.writer = writer

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        self.writer.unplaced |= set(revoked)

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        self.writer.unplaced = set(assigned)


async def _stopped(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await client.stop()
    except (TimeoutError, KafkaError) as error:
        log.warning("a client of the ledger's does not stop and is left: %r", error)


async def _nothing(_: asyncpg.Connection) -> None:
    """Only connect."""


def _log_record(record: ConsumerRecord) -> LogRecord:
    return LogRecord(record.topic, record.partition, record.offset, record.timestamp * 1000, record.key, record.value, tuple(record.headers))


def security_of(protocol: str, username: str, password: str, cafile: str) -> dict[str, Any]:
    """aiokafka's keyword arguments for SASL_SSL with SCRAM-SHA-512; empty for PLAINTEXT on loopback."""
    if protocol == "PLAINTEXT":
        return {}
    return {"security_protocol": protocol, "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": username, "sasl_plain_password": password,
            "ssl_context": ssl.create_default_context(cafile=cafile)}
