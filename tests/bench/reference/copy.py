"""The limit of a ledger: rows that lie ready in memory go by asyncpg's COPY into the same tables with the same indexes, a transaction for each part.

Nothing is read from Kafka, decoded, hashed, looked up or checked for being there already. The tables are in a database of their own, which is dropped.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec

from agents.ledger import schema
from agents.ledger.rows import COLUMNS, PARTITIONED, Rows

DATABASE = "bench_copy"
Table = tuple[str, tuple[str, ...], list[tuple[Any, ...]]]


def tables_of(rows: Rows, shift: int = 0) -> list[Table]:
    """(table, columns, rows) of those tables that only grow, as COPY wants them; `shift` is added to the offsets, so that the same rows are others."""
    found: list[Table] = []
    for table in PARTITIONED:
        columns = tuple(COLUMNS[table])
        off, key = columns.index("off"), columns.index("key") if table == "fact" else -1
        made = []
        for row in rows.tables[table]:
            values = list(row)
            values[off] += shift
            if key >= 0:
                values[key] = msgspec.json.decode(values[key])
            made.append(tuple(values))
        if made:
            found.append((table, columns, made))
    return found


async def measured(dsn: str, rows: Rows, times: int) -> float:
    """Rows a second: all of them so many times over."""
    admin = await asyncpg.connect(dsn)
    try:
        await admin.execute(f"create database {DATABASE}")
        try:
            return await _copied(dsn, rows, times)
        finally:
            await admin.execute(f"drop database {DATABASE}")
    finally:
        await admin.close()


async def _copied(dsn: str, rows: Rows, times: int) -> float:
    connection = await asyncpg.connect(dsn, database=DATABASE)
    try:
        await schema.create(connection)
        for year, month in sorted(rows.months()):
            await schema.ensure_month(connection, year, month)
        most = 1 + max(row[list(COLUMNS[table]).index("off")] for table in PARTITIONED for row in rows.tables[table])
        seconds = 0.0
        for n in range(times):
            seconds += await _part(connection, tables_of(rows, n * most))
        return rows.count() * times / seconds
    finally:
        await connection.close()


async def _part(connection: Any, tables: Sequence[Table]) -> float:
    begun = time.monotonic()
    async with connection.transaction():
        for table, columns, rows in tables:
            await connection.copy_records_to_table(table, columns=columns, records=rows)
    return time.monotonic() - begun
