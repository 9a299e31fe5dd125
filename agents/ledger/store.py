"""One transaction: rows into their tables and how far the log is read. All SQL that writes is here."""
from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Protocol

import asyncpg
import msgspec

from agents.ledger.rows import COLUMNS, LOOKUPS, Rows

Offset = tuple[str, int, int, bytes]
"""Topic, partition, next offset to read, last link."""


class Writes(Protocol):
    """What is needed of a connection."""

    async def execute(self, statement: str, *columns: Any) -> object: ...

    async def copy_records_to_table(self, table: str, *, columns: tuple[str, ...], records: list[tuple[Any, ...]]) -> object: ...


class Bounded:
    """A connection of asyncpg's whose COPY comes to an end whatever the server does.

    asyncpg writes a COPY in parts of half a mebibyte. Before the second it waits until the server has taken what sockets do not hold, and neither its time
    limit nor the end of the connection ends that wait; cancelled there, it waits for the server's answer. So it is left behind with its connection.
    """

    def __init__(self, connection: asyncpg.Connection, seconds_max: float) -> None:
        self._connection, self._seconds_max = connection, seconds_max

    async def execute(self, statement: str, *columns: Any) -> object:
        return await self._connection.execute(statement, *columns)

    async def copy_records_to_table(self, table: str, *, columns: tuple[str, ...], records: list[tuple[Any, ...]]) -> object:
        """Raises TimeoutError, the connection being closed, when the server takes longer."""
        copying = asyncio.ensure_future(self._connection.copy_records_to_table(table, columns=columns, records=records))
        try:
            await asyncio.wait({copying}, timeout=self._seconds_max)
        finally:
            if not copying.done():
                self._connection.terminate()
                copying.add_done_callback(_left)
                copying.cancel()
        if not copying.done():
            raise TimeoutError(f"COPY into {table} took longer than {self._seconds_max:g} s")
        return copying.result()


def _left(copying: asyncio.Future[Any]) -> None:
    """Whatever it raises at last, it was given up."""
    if not copying.cancelled():
        copying.exception()


def _insert(table: str) -> str:
    """One statement per table: arrays in, rows out; what is there already stays as it is. Look-ups always come so."""
    columns = COLUMNS[table]
    arrays = ", ".join(f"${i}::{kind}[]" for i, kind in enumerate(columns.values(), 1))
    names = ", ".join(columns)
    chosen = ", ".join("array(select json_array_elements_text(u.key))" if table == "fact" and name == "key" else f"u.{name}" for name in columns)
    return f"insert into {table} ({names}) select {chosen} from unnest({arrays}) as u({names}) on conflict do nothing"


INSERTS: Final = {table: _insert(table) for table in COLUMNS}
OFFSETS: Final = (
    "insert into ledger_offset (topic, part, next_offset, hash) select * from unnest($1::text[], $2::int4[], $3::int8[], $4::bytea[]) "
    "on conflict (topic, part) do update set next_offset = excluded.next_offset, hash = excluded.hash, updated = now() "
    "where ledger_offset.next_offset < excluded.next_offset"
)
PLACED: Final = (
    "insert into ledger_offset (topic, part, next_offset, hash, topic_id) "
    "select * from unnest($1::text[], $2::int4[], $3::int8[], $4::bytea[], $5::text[]) "
    "on conflict (topic, part) do update set topic_id = excluded.topic_id where ledger_offset.topic_id = ''"
)
"""A partition that is read for the first time begins here, or the deletion of its records could not be told from a first start. Of one that is known only
the missing id is filled in."""
READ_TO: Final = (
    "update ledger_offset o set read_to = u.read_to from unnest($1::text[], $2::int4[], $3::int8[]) as u(topic, part, read_to) "
    "where o.topic = u.topic and o.part = u.part and o.read_to < u.read_to"
)


def _columns(table: str, rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows to columns. Look-ups: each key once, and sorted, so that two writers lock in the same order."""
    if table in LOOKUPS:
        width = LOOKUPS[table]
        rows = [row for _, row in sorted({row[:width]: row for row in reversed(rows)}.items())]
    return [list(column) for column in zip(*rows, strict=True)]


def _copied(table: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows as COPY takes them: a fact's key is an array there."""
    if table != "fact":
        return rows
    at = list(COLUMNS[table]).index("key")
    return [(*row[:at], msgspec.json.decode(row[at]), *row[at + 1:]) for row in rows]


async def store(connection: Writes, rows: Rows, offsets: Iterable[Offset]) -> None:
    """All or nothing. A writer that was overtaken by another (a rebalance) changes nothing: both derive the same rows from the same records.

    Rows are copied into the tables that only grow, which takes half of what inserting them takes; COPY knows no `on conflict`, so where another writer had
    some of them in already, they are inserted.

    After an exception the connection is only good for being closed, unless it is a data error: then the transaction is rolled back.
    """
    ordered = sorted(offsets)
    try:
        await _stored(connection, rows, ordered, copy=True)
    except asyncpg.UniqueViolationError:
        await _stored(connection, rows, ordered, copy=False)


async def _copy(connection: Writes, table: str, rows: list[tuple[Any, ...]]) -> None:
    try:
        await connection.copy_records_to_table(table, columns=tuple(COLUMNS[table]), records=_copied(table, rows))
    except (OverflowError, TypeError) as error:          # of a statement's argument asyncpg says itself that it is a data error
        raise asyncpg.DataError(f"{table}: {error}") from error


async def _stored(connection: Writes, rows: Rows, offsets: list[Offset], *, copy: bool) -> None:
    await connection.execute("begin")
    try:
        for table, statement in INSERTS.items():
            if not (mine := rows.tables[table]):
                continue
            if copy and table not in LOOKUPS:
                await _copy(connection, table, mine)
            else:
                await connection.execute(statement, *_columns(table, mine))
        if offsets:
            await connection.execute(OFFSETS, *(list(column) for column in zip(*offsets, strict=True)))
    except (asyncpg.DataError, asyncpg.UniqueViolationError, ValueError):  # ValueError: asyncpg refuses a value before it is sent
        await connection.execute("rollback")
        raise
    await connection.execute("commit")
