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
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from agents.ledger import schema
from agents.ledger.rows import GENESIS, LogRecord, Rows
from agents.ledger.store import Offset, store
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
AWAY: Final = (
    OSError, asyncio.TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.exceptions.OperatorInterventionError,
    asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.ReadOnlySQLTransactionError, asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError, asyncpg.LockNotAvailableError, asyncpg.InternalClientError,
)
"""PostgreSQL is away, overloaded or being reconfigured, or the client lost track of a connection that was cut off: wait. Everything else is a bug or a
value that it cannot hold."""


class LedgerRefused(Exception):
    """The ledger and the log do not belong together: the text says what to do. Ends the process rather than mix two histories."""


class LedgerWriter:
    """Consumes the ledger's topics and writes them. `run()` ends only by cancellation, a refusal or a bug."""

    def __init__(self, bootstrap: str, dsn: str, group: str, stages: tuple[str, ...], *, command_timeout_s: float = 30.0,
                 security: dict[str, Any] | None = None, topics: tuple[str, ...] = TOPICS) -> None:
        self.bootstrap, self.dsn, self.group = bootstrap, dsn, group
        self.topics = (*topics, *(f"outcomes.{s}" for s in stages))
        self.command_timeout_s = command_timeout_s
        self.security = security or {}
        self.rows_written = 0
        self.records_read = 0
        self.records_parked = 0
        self.records_missed = 0
        """Gone from Kafka before the ledger read them: it was away for longer than the topics keep."""
        self.failures = 0
        self.connected = False
        self.lag = 0
        self.unplaced: set[TopicPartition] = set()
        """Assigned, but the database has not yet been asked where to go on."""
        self._links: dict[TopicPartition, tuple[int, bytes]] = {}
        self._months: set[tuple[int, int]] = set()
        self._connection: asyncpg.Connection | None = None
        self._producer: AIOKafkaProducer | None = None
        self._committed_at = 0.0
        self._letters: set[tuple[str, int, int]] = set()
        """Parked already: a batch that is tried again in halves does not park twice."""

    async def run(self) -> None:
        """Read, write, commit, for ever. While PostgreSQL is away the records stay in Kafka.

        Raises LedgerRefused when a topic was made anew under a ledger that knows the old one.
        """
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=f"{self.group}-ledger", enable_auto_commit=False, auto_offset_reset="earliest",
            isolation_level="read_committed", max_partition_fetch_bytes=1 << 20, fetch_max_wait_ms=200, max_poll_interval_ms=3_600_000,
            session_timeout_ms=10_000, **self.security,
        )
        self._producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True, max_request_size=9 << 20, **self.security)
        try:
            await consumer.start()
            await self._producer.start()
            await self._patiently(_nothing)
            consumer.subscribe(list(self.topics), listener=_Assigned(self))
            while True:
                if self.unplaced:
                    await self._place(consumer)
                batch = await consumer.getmany(timeout_ms=500, max_records=RECORDS_A_TRANSACTION_MAX)
                await self._write([_log_record(r) for tp, records in batch.items() if tp not in self.unplaced for r in records])
                self._letters.clear()
                await self._commit(consumer)
                await self._measure_lag(consumer)
        finally:
            self._hang_up()
            for client in (consumer, self._producer):
                await _stopped(client)

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
        """Go to where the database's rows end, whatever Kafka remembers of us."""
        wanted = sorted(self.unplaced)

        async def known(connection: asyncpg.Connection) -> dict[tuple[str, int], tuple[int, bytes]]:
            found = await connection.fetch("select topic, part, next_offset, hash from ledger_offset")
            return {(row["topic"], row["part"]): (row["next_offset"], row["hash"]) for row in found}

        places = await self._patiently(known)
        first, last = await consumer.beginning_offsets(wanted), await consumer.end_offsets(wanted)
        for tp in wanted:
            next_offset, link = places.get((tp.topic, tp.partition), (0, GENESIS))
            if next_offset > last[tp]:
                raise LedgerRefused(f"{tp.topic}/{tp.partition} ends at {last[tp]}, but the ledger has read it to {next_offset}: the topic was made anew. "
                                    "Give this deployment a new database, or the topics of the old one")
            if first[tp] > next_offset:
                self.records_missed += first[tp] - next_offset
                log.error("%s/%d: records %d to %d are gone from Kafka and not in the ledger", tp.topic, tp.partition, next_offset, first[tp] - 1)
            try:
                consumer.seek(tp, max(first[tp], next_offset))
            except IllegalStateError:  # taken away meanwhile
                continue
            self._links[tp] = (next_offset, link)
            self.unplaced.discard(tp)

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
        await store(connection, rows, offsets)

    async def _store_without(self, record: LogRecord, error: Exception) -> None:
        """The dead letter first: it must be durable before the offset passes it."""
        tp = TopicPartition(*record.place)
        await self._park(record, codec.Refusal("LEDGER_DATA", "$", "", str(error)))
        link = self._links[tp][1]
        await self._patiently(lambda connection: store(connection, Rows(), [(tp.topic, tp.partition, record.offset + 1, link)]))
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
        if time.monotonic() < self._committed_at + COMMIT_EVERY_S:
            return
        self._committed_at = time.monotonic()
        mine = {tp: OffsetAndMetadata(n, "") for tp, (n, _) in self._links.items() if tp in consumer.assignment()}
        try:
            if mine:
                await consumer.commit(mine)
        except (KafkaError, IllegalStateError) as error:  # a rebalance under way; the next one will do
            log.info("offsets not shown to Kafka this time: %r", error)

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
    """Another member may have written meanwhile: ask the database anew."""

    def __init__(self, writer: LedgerWriter) -> None:
        self.writer = writer

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        self.writer.unplaced -= set(revoked)

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
