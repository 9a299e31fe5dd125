"""Creates the ledger's tables and its monthly partitions."""
from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources

import asyncpg

PARTITIONED = ("event", "fact", "status", "alert", "outcome")
_LOCK = 0x7261696C  # "rail": several workers may create the schema at once


def month_of(at: datetime) -> tuple[int, int]:
    return at.year, at.month


def _start(year: int, month: int) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


def _next(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)


async def create(connection: asyncpg.Connection) -> None:
    """Idempotent: tables and indexes, under an advisory lock."""
    sql = resources.files("agents.ledger").joinpath("sql/001_schema.sql").read_text(encoding="utf-8")
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(sql)


async def ensure_month(connection: asyncpg.Connection, year: int, month: int) -> None:
    """The partition of one month in every partitioned table. Must be called before rows of that month are written."""
    start, end = _start(year, month), _start(*_next(year, month))
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
        for table in PARTITIONED:
            await connection.execute(
                f"create table if not exists {table}_{year:04d}_{month:02d} partition of {table} "
                f"for values from ('{start.isoformat()}') to ('{end.isoformat()}')"
            )
