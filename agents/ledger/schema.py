"""Creates the ledger's tables and its monthly partitions."""
from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources

import asyncpg

from agents.ledger.rows import PARTITIONED

_LOCK = 0x7261696C  # "rail": several workers may create the schema at once
FILES = ("001_schema.sql", "002_origin.sql")


def _start(year: int, month: int) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


def _next(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)


async def create(connection: asyncpg.Connection) -> None:
    """Idempotent: tables and indexes, those that have come later as well, under an advisory lock."""
    texts = [resources.files("agents.ledger").joinpath(f"sql/{name}").read_text(encoding="utf-8") for name in FILES]
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute("set local client_min_messages = warning")  # "already exists" is what we expect
        for text in texts:
            await connection.execute(text)


async def ensure_month(connection: asyncpg.Connection, year: int, month: int) -> None:
    """The partition of one month in every partitioned table. Must be called before rows of that month are written."""
    names = [f"{table}_{year:04d}_{month:02d}" for table in PARTITIONED]
    # Asked first: creating locks the parent table against everybody, even if there is nothing to create.
    if await connection.fetchval("select bool_and(to_regclass(name) is not null) from unnest($1::text[]) as name", names):
        return
    # The year after 9999 cannot be written in ISO form; open ends say the same.
    end = "maxvalue" if (year, month) == (9999, 12) else f"'{_start(*_next(year, month)).isoformat()}'"
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute("set local client_min_messages = warning")
        for table, name in zip(PARTITIONED, names, strict=True):
            await connection.execute(f"create table if not exists {name} partition of {table} for values from ('{_start(year, month).isoformat()}') to ({end})")
