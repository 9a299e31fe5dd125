"""Gaps of the ledger that a person accepts: records which Kafka deleted before they were read. Kept for ever, with who, why and when."""
from __future__ import annotations

from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from agents.ledger.origin import Known

_MOVE: Final = (
    "update ledger_offset set next_offset = $4, updated = now() where topic = $1 and part = $2 and greatest(next_offset, read_to) = $3 returning topic_id"
)
_KEEP: Final = "insert into ledger_gap (topic, part, first_off, last_off, topic_id, by, reason) values ($1, $2, $3, $4, $5, $6, $7)"


class Gap(msgspec.Struct, frozen=True):
    """Offsets `first` to `last` of a partition are not in the ledger. They may have been markers of transactions as well as records."""

    topic: str
    partition: int
    first: int
    last: int
    by: str
    reason: str
    at: datetime


async def accepted(connection: asyncpg.Connection | asyncpg.Pool) -> list[Gap]:
    """All gaps that were ever accepted, oldest first."""
    rows = await connection.fetch("select topic, part, first_off, last_off, by, reason, at from ledger_gap order by at, topic, part")
    return [Gap(*row) for row in rows]


async def known(connection: asyncpg.Connection | asyncpg.Pool) -> dict[tuple[str, int], Known]:
    """How far the ledger has read each partition."""
    rows = await connection.fetch("select topic, part, next_offset, hash, topic_id, read_to from ledger_offset")
    return {(row["topic"], row["part"]): Known(row["next_offset"], row["hash"], row["topic_id"], row["read_to"]) for row in rows}


async def accept(connection: asyncpg.Connection, topic: str, partition: int, first: int, begin: int, by: str, reason: str) -> bool:
    """Go on at `begin` without what is missing before it. False: the ledger is no longer at `first`, and nothing was changed.

    The hash chain goes on from the last record before the gap: it proves what is there, not that everything is.
    """
    async with connection.transaction():
        topic_id = await connection.fetchval(_MOVE, topic, partition, first, begin)
        if topic_id is None:
            return False
        await connection.execute(_KEEP, topic, partition, first, begin - 1, topic_id, by, reason)
    return True
