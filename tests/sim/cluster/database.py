"""A database with the ledger's transactions and unique keys, that can be away, and a writer that fills it from the log.

The rows (`agents.ledger.rows`) and the transaction (`agents.ledger.store`) are railclear's own; only the server is simulated, because SQL itself
is tested on the real one.
"""
from __future__ import annotations

import random
from collections import Counter
from typing import Any

import asyncpg

from agents.ledger.rows import COLUMNS, GENESIS, LOOKUPS, LogRecord, Rows
from agents.ledger.store import INSERTS, OFFSETS, Offset, store
from agents.ledger.writer import TOPICS
from streams.effects import Send
from tests.sim.cluster.broker import Log, Place
from topics import codec
from topics.events.outputs import DeadLetter
from topics.registry import DEAD_LETTERS, STAGES

PRIMARY = {"event": ("recorded", "topic", "part", "off"), "fact": ("recorded", "topic", "part", "off", "idx"),
           "status": ("recorded", "topic", "part", "off"), "alert": ("recorded", "topic", "part", "off"), "outcome": ("recorded", "topic", "part", "off")}
"""Unique keys of the tables that only grow (agents/ledger/sql/001_schema.sql); those of the look-ups are their first columns."""
READ = (*TOPICS, *(f"outcomes.{stage}" for stage in STAGES))
RECORDS_MAX = 200
Table = dict[tuple[Any, ...], tuple[Any, ...]]


class Away(ConnectionError):
    """The server does not answer."""


class Database:
    """Tables by primary key. A connection works on a copy of nothing: its changes are kept apart until `commit`."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {name: {} for name in COLUMNS}
        self.offsets: dict[Place, tuple[int, bytes]] = {}
        self.away = False

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table, by column."""
        return [dict(zip(COLUMNS[table], row, strict=True)) for row in self.tables[table].values()]


class Connection:
    """What `agents.ledger.store` needs of asyncpg's connection: `execute` of its own statements, and COPY. `lose` breaks it off before a statement, or
    after the commit, when nobody knows whether it happened."""

    def __init__(self, database: Database, lose: int = -1) -> None:
        self.database, self.lose = database, lose
        self._rows: list[tuple[str, list[tuple[Any, ...]]]] = []
        self._offsets: list[Offset] = []
        self._said = 0
        self._aborted = False

    async def execute(self, statement: str, *columns: Any) -> None:
        if self.database.away or self._said == self.lose:
            raise Away("connection lost")
        self._said += 1
        assert not self._aborted or statement == "rollback", "current transaction is aborted"
        if statement == "begin":
            self._rows, self._offsets = [], []
        elif statement == OFFSETS:
            self._offsets = list(zip(*columns, strict=True))
        elif statement in _TABLE_OF:
            self._rows.append((_TABLE_OF[statement], list(zip(*columns, strict=True))))
        elif statement == "rollback":
            self._rows, self._offsets, self._aborted = [], [], False
        elif statement == "commit":
            self._commit()
            if self._said == self.lose:
                raise Away("connection lost after the commit")
        else:
            raise AssertionError(f"a statement that the simulated server does not know: {statement}")

    async def copy_records_to_table(self, table: str, *, columns: tuple[str, ...], records: list[tuple[Any, ...]]) -> None:
        if self.database.away or self._said == self.lose:
            raise Away("connection lost")
        self._said += 1
        assert columns == tuple(COLUMNS[table])
        rows = [_inserted(table, row) for row in records]
        names = [key_of(table, row) for row in rows]
        self._aborted = True
        if len(set(names)) < len(names) or not self.database.tables[table].keys().isdisjoint(names):
            raise asyncpg.UniqueViolationError(f"a row of {table} is there already")
        self._aborted = False
        self._rows.append((table, rows))

    def _commit(self) -> None:
        """On conflict do nothing; an offset only grows."""
        for table, rows in self._rows:
            held = self.database.tables[table]
            for row in rows:
                held.setdefault(key_of(table, row), row)
        for topic, partition, following, link in self._offsets:
            if self.database.offsets.get((topic, partition), (-1, b""))[0] < following:
                self.database.offsets[topic, partition] = following, link


_TABLE_OF = {statement: table for table, statement in INSERTS.items()}


def _inserted(table: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row that is copied, as it is inserted: a fact's key travels as JSON there."""
    if table != "fact":
        return row
    at = list(COLUMNS[table]).index("key")
    return (*row[:at], codec.encode(tuple(row[at])).decode(), *row[at + 1:])


def key_of(table: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The primary key of a row."""
    if table in LOOKUPS:
        return row[: LOOKUPS[table]]
    names = list(COLUMNS[table])
    return tuple(row[names.index(column)] for column in PRIMARY[table])


class LedgerTask:
    """A ledger writer: records of all partitions, their rows and offsets in one transaction, from where the database's rows end."""

    def __init__(self, log: Log, database: Database, rng: random.Random, seen: Counter[str]) -> None:
        self.log, self.database, self.rng, self.seen = log, database, rng, seen
        self.links: dict[Place, tuple[int, bytes]] | None = None
        self.lossy = False
        """Connections break off now and then."""

    def restart(self) -> None:
        """Killed, or its partitions were taken over: it asks the database anew."""
        self.links = None

    def run(self) -> bool:
        """One transaction; False = nothing to write, or the server is away."""
        if self.database.away:
            self.seen["ledger waits for the database"] += 1
            return False
        if self.links is None:
            self.links = dict(self.database.offsets)
        fresh = self._fresh(self.links)
        if not fresh:
            return False
        rows, links = Rows(), dict(self.links)
        parked: list[Send] = []
        for record in fresh:
            link = links.get(record.place, (0, GENESIS))[1]
            try:
                link = rows.add(record, link)
            except codec.Refused as refused:
                parked.append(_letter(record, refused.refusal))
            links[record.place] = record.offset + 1, link
        for letter in parked:
            self.log.write(letter)
        offsets = [(topic, part, following, link) for (topic, part), (following, link) in links.items()]
        connection = Connection(self.database, self.rng.randint(0, 24) if self.lossy and self.rng.random() < 0.4 else -1)
        try:
            _complete(store(connection, rows, offsets))
        except Away:
            self.seen["ledger transactions broken off"] += 1
            if self.rng.random() < 0.5:  # the same records again with the same rows; else from where the database says
                self.restart()
            return True
        self.links = links
        self.seen["ledger transactions"] += 1
        return True

    def _fresh(self, links: dict[Place, tuple[int, bytes]]) -> list[LogRecord]:
        found: list[LogRecord] = []
        for topic in READ:
            for n in range(self.log.partitions(topic)):
                if self.log.reachable(topic, n):
                    read = self.log.read(topic, n, links.get((topic, n), (0, GENESIS))[0], self.rng.randint(1, RECORDS_MAX))
                    found += [LogRecord(r.topic, r.partition, r.offset, r.timestamp * 1000, r.key, r.value, r.headers) for r in read]
        return found


def _letter(record: LogRecord, why: codec.Refusal) -> Send:
    letter = DeadLetter(stage="ledger", topic=record.topic, partition=record.partition, offset=record.offset, timestamp=record.timestamp // 1000,
                        key=record.key, value=record.value, headers=record.headers, code=why.code, path=why.path, reason=why.reason or why.value)
    return Send(DEAD_LETTERS, f"{record.topic}-{record.partition}-{record.offset}".encode(), codec.encode(letter))


def _complete(coroutine: Any) -> None:
    """Run a coroutine that never waits for anything."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("a simulated transaction does not wait")
