"""Fills the ledger from the log: rows and the input offset in one transaction, so that a crash repeats nothing and loses nothing.

An own consumer, not a Faust agent: while PostgreSQL is away it waits here, and no status waits with it (docs/decisions.md).
"""
from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from agents.ledger import schema
from agents.ledger.rows import GENESIS, LogRecord, Rows, rows_of
from topics import codec
from topics.events.outputs import DeadLetter

log = logging.getLogger(__name__)

TOPICS = ("documents.in", "custody.in", "clearance.in", "clearance.history", "ops.alerts")
RECORDS_A_TRANSACTION_MAX = 4000
BACKOFF_SECONDS_MAX = 10.0
TRANSIENT = (OSError, asyncio.TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.exceptions.OperatorInterventionError,
             asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.ReadOnlySQLTransactionError, asyncpg.exceptions.InsufficientResourcesError)

COLUMNS = {
    "event": ("topic text,part int4,off int8,key text,type text,source text,event_id text,event_time timestamptz,recorded timestamptz,body jsonb,hash bytea"),
    "fact": ("shipment text,side text,key jsonb,scope text,source text,record text,version int8,rank int2,at timestamptz,event_id text,code text,value jsonb,"
             "dated bool,recorded timestamptz,topic text,part int4,off int8,idx int4,hash bytea"),
    "status": ("shipment text,side text,visit int4,revision int8,state text,basis text,assessed_at timestamptz,recorded timestamptz,pack text,body jsonb,"
               "topic text,part int4,off int8,hash bytea"),
    "alert": ("key text,seq int8,"
              "name text,severity text,state text,shipment text,side text,at timestamptz,recorded timestamptz,body jsonb,topic text,part int4,"
              "off int8,hash bytea"),
    "outcome": ("stage text,topic text,"
                "part int4,first_off int8,last_off int8,records int4,exceptions jsonb,recorded timestamptz,from_topic text,from_part int4,"
                "from_off int8,hash bytea"),
    "identifier": "kind text,value text,shipment text,since timestamptz",
}


def _insert(table: str) -> str:
    """One statement per table: arrays in, rows out; what is there already stays as it is."""
    named = [c.split() for c in COLUMNS[table].split(",")]
    arrays = ", ".join(f"${i}::{kind}[]" for i, (_, kind) in enumerate(named, 1))
    names = ", ".join(name for name, _ in named)
    # Arrays cannot nest in unnest: a fact's key comes as JSON.
    chosen = ", ".join("array(select jsonb_array_elements_text(u.key))" if table == "fact" and name == "key" else f"u.{name}" for name, _ in named)
    return f"insert into {table} ({names}) select {chosen} from unnest({arrays}) as u({names}) on conflict do nothing"


INSERTS = {table: _insert(table) for table in COLUMNS}


class LedgerWriter:
    """Consumes the ledger's topics and writes them. `run()` ends only by cancellation or a bug."""

    def __init__(self, bootstrap: str, dsn: str, group: str, stages: tuple[str, ...], *, command_timeout_s: float = 30.0,
                 security: dict[str, Any] | None = None) -> None:
        self.bootstrap, self.dsn, self.group = bootstrap, dsn, group
        self.topics = (*TOPICS, *(f"outcomes.{s}" for s in stages))
        self.command_timeout_s = command_timeout_s
        self.security = security or {}
        self.rows_written = 0
        self.records_read = 0
        self.records_parked = 0
        self.failures = 0
        self.connected = False
        self.lag = 0
        self._months: set[tuple[int, int]] = set()
        self._links: dict[TopicPartition, tuple[int, bytes]] = {}
        self._pool: asyncpg.Pool | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._producer: AIOKafkaProducer | None = None

    async def run(self) -> None:
        """Read, write, commit, for ever. Transient failures of PostgreSQL are waited out; records stay in Kafka meanwhile."""
        consumer = self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=f"{self.group}-ledger", enable_auto_commit=False, auto_offset_reset="earliest",
            isolation_level="read_committed", max_partition_fetch_bytes=1 << 20, fetch_max_wait_ms=200, max_poll_interval_ms=3_600_000,
            session_timeout_ms=30_000, **self.security,
        )
        self._producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True, max_request_size=8 << 20, **self.security)
        await consumer.start()
        await self._producer.start()
        try:
            await self._patiently(self._connect)
            consumer.subscribe(list(self.topics), listener=_Reset(self))
            while True:
                batch = await consumer.getmany(timeout_ms=500, max_records=RECORDS_A_TRANSACTION_MAX)
                for tp, records in batch.items():
                    if records:
                        await self._write_partition(tp, records)
                if batch:
                    await self._commit(consumer)
                self._measure_lag(consumer)
        finally:
            await asyncio.wait_for(consumer.stop(), 10)
            await asyncio.wait_for(self._producer.stop(), 10)
            if self._pool is not None:
                self._pool.terminate()

    async def _connect(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
        self._pool = await asyncpg.create_pool(self.dsn, min_size=1, max_size=2, command_timeout=self.command_timeout_s, timeout=10)
        async with self._pool.acquire(timeout=10) as connection:
            await schema.create(connection)
        self.connected = True

    async def _patiently(self, act: Callable[[], Awaitable[None]]) -> None:
        """Retry what is transient, with growing pauses. Everything else goes up: a bug."""
        pause = 0.2
        while True:
            try:
                await act()
            except TRANSIENT as error:
                self.failures += 1
                self.connected = False
                log.warning("PostgreSQL is away (%s: %s); trying again in %.1f s", type(error).__name__, error, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_SECONDS_MAX)
            else:
                self.connected = True
                return

    async def _link(self, tp: TopicPartition) -> tuple[int, bytes]:
        """Next offset and last hash of a partition, as the database knows them."""
        if tp not in self._links:
            pool = _there(self._pool)
            row = await pool.fetchrow("select next_offset, hash from ledger_offset where topic = $1 and part = $2", tp.topic, tp.partition)
            self._links[tp] = (row["next_offset"], row["hash"]) if row else (0, GENESIS)
        return self._links[tp]

    async def _write_partition(self, tp: TopicPartition, records: list[ConsumerRecord]) -> None:
        async def act() -> None:
            next_offset, link = await self._link(tp)
            fresh = [_log_record(r) for r in records if r.offset >= next_offset]
            if not fresh:
                return
            rows, last, parked = self._rows(fresh, link)
            await self._park(parked)
            await self._store(tp, fresh[-1].offset + 1, rows, last)
            self._links[tp] = (fresh[-1].offset + 1, last)
            self.rows_written += rows.count()
            self.records_read += len(fresh)
        try:
            await self._patiently(act)
        except asyncpg.DataError as error:
            log.error("data error in %s, writing its records one by one: %s", tp, error)
            await self._one_by_one(tp, records)

    def _rows(self, records: list[LogRecord], link: bytes) -> tuple[Rows, bytes, list[tuple[LogRecord, codec.Refused]]]:
        try:
            rows, last = rows_of(records, link)
        except codec.Refused:
            rows, last, parked = Rows(), link, []
            for record in records:
                try:
                    more, last = rows_of([record], last)
                except codec.Refused as error:
                    parked.append((record, error))
                    continue
                for table in COLUMNS:
                    getattr(rows, table).extend(getattr(more, table))
            return rows, last, parked
        return rows, last, []

    async def _one_by_one(self, tp: TopicPartition, records: list[ConsumerRecord]) -> None:
        """A value that PostgreSQL cannot hold must not stop the rows around it."""
        for record in map(_log_record, records):
            async def act(record: LogRecord = record) -> None:
                next_offset, link = await self._link(tp)
                if record.offset < next_offset:
                    return
                rows, last, parked = self._rows([record], link)
                try:
                    await self._store(tp, record.offset + 1, rows, last)
                except asyncpg.DataError as error:
                    parked.append((record, codec.Refused("LEDGER_DATA", "$", "", str(error))))
                    await self._store(tp, record.offset + 1, Rows(), last)
                await self._park(parked)
                self._links[tp] = (record.offset + 1, last)
            await self._patiently(act)

    async def _park(self, parked: list[tuple[LogRecord, codec.Refused]]) -> None:
        for record, error in parked:
            letter = DeadLetter(stage="ledger", topic=record.topic, partition=record.partition, offset=record.offset, timestamp=record.timestamp,
                                key=record.key, value=record.value, code=error.refusal.code, path=error.refusal.path, reason=error.refusal.reason)
            await _there(self._producer).send_and_wait("dead.letters", codec.encode(letter), key=record.key)
            self.records_parked += 1

    async def _store(self, tp: TopicPartition, next_offset: int, rows: Rows, link: bytes) -> None:
        pool = _there(self._pool)
        async with pool.acquire(timeout=10) as connection:
            for month in rows.months() - self._months:
                await schema.ensure_month(connection, *month)
                self._months.add(month)
            async with connection.transaction():
                for table, statement in INSERTS.items():
                    if values := _columns(table, getattr(rows, table)):
                        await connection.execute(statement, *values)
                await connection.execute(
                    "insert into ledger_offset (topic, part, next_offset, hash) values ($1, $2, $3, $4) "
                    "on conflict (topic, part) do update set next_offset = excluded.next_offset, hash = excluded.hash, updated = now() "
                    "where ledger_offset.next_offset < excluded.next_offset",
                    tp.topic, tp.partition, next_offset, link,
                )

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        """Kafka's own offsets only spare re-reading; the database's decide."""
        mine = {tp: OffsetAndMetadata(n, "") for tp, (n, _) in self._links.items() if tp in consumer.assignment()}
        if mine:
            await consumer.commit(mine)

    def _measure_lag(self, consumer: AIOKafkaConsumer) -> None:
        lag = 0
        for tp in consumer.assignment():
            end = consumer.highwater(tp)
            if end is not None:
                lag += max(0, end - self._links.get(tp, (0, b""))[0])
        self.lag = lag


class _Reset(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """Another member may have written meanwhile: ask the database anew."""

    def __init__(self, writer: LedgerWriter) -> None:
        self.writer = writer

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        for tp in revoked:
            self.writer._links.pop(tp, None)

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        for tp in assigned:
            self.writer._links.pop(tp, None)


def _there(thing: Any) -> Any:
    assert thing is not None, "the ledger writer is not started"
    return thing


def _log_record(record: ConsumerRecord) -> LogRecord:
    return LogRecord(record.topic, record.partition, record.offset, record.timestamp * 1000, record.key, record.value)


def _columns(table: str, rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows to columns, sorted so that two writers lock in the same order; a key twice in one statement is sent once."""
    if not rows:
        return []
    if table == "identifier":
        rows = sorted({row[:3]: row for row in rows}.values())
    columns = [list(column) for column in zip(*rows, strict=True)]
    if table == "fact":
        columns[2] = [codec.encode(key).decode() for key in columns[2]]
    return columns


def security_of(protocol: str, username: str, password: str, cafile: str) -> dict[str, Any]:
    """aiokafka's keyword arguments for SASL_SSL with SCRAM-SHA-512; empty for PLAINTEXT on loopback."""
    if protocol == "PLAINTEXT":
        return {}
    return {"security_protocol": protocol, "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": username, "sasl_plain_password": password,
            "ssl_context": ssl.create_default_context(cafile=cafile)}
