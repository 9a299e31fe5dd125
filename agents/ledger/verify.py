"""Proves that the ledger is what was written: recomputes the hash chain of every topic partition and the rows that its records give.

What is found is named by topic, partition and offset. Not found: a tail that was cut off together with its offset row; for that the last
hashes (`ledger_offset`) must be kept elsewhere, too.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import asyncpg
import msgspec

from agents.ledger.gaps import Gap, accepted
from agents.ledger.rows import COLUMNS, GENESIS, LogRecord, Rows, micros, table_of
from topics.codec import Refused

CHUNK: Final = 500
_EXTRA: Final = (
    "select f.off from fact f where f.topic = $1 and f.part = $2 and not exists "
    "(select from event e where e.recorded = f.recorded and e.topic = f.topic and e.part = f.part and e.off = f.off) order by f.off limit 1"
)


class Broken(msgspec.Struct, frozen=True):
    """The first place of a topic partition at which the ledger is not what was written."""

    topic: str
    partition: int
    offset: int
    reason: str


class Verified(msgspec.Struct, frozen=True):
    """The result: everything is well when `broken` is empty."""

    partitions: int
    records: int
    broken: tuple[Broken, ...] = ()
    gaps: tuple[Gap, ...] = ()
    """What people went on without: no fault of the ledger's, but not in it either."""


async def verify(connection: asyncpg.Connection) -> Verified:
    """Check all of the ledger, as it is at one moment; a writer may go on meanwhile."""
    broken: list[Broken] = []
    records = partitions = 0
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for row in await connection.fetch("select topic, part, hash from ledger_offset order by topic, part"):
            count, fault = await _partition(connection, row["topic"], row["part"], row["hash"])
            partitions, records = partitions + 1, records + count
            if fault is not None:
                broken.append(fault)
        known = "select from ledger_offset o where o.topic = t.topic and o.part = t.part"
        for table in ("event", "status", "alert", "outcome"):
            found = await connection.fetch(f"select topic, part, min(off) as off from {table} t where not exists ({known}) group by topic, part")
            broken += [Broken(row["topic"], row["part"], row["off"], "no offset is kept for this partition") for row in found]
        gaps = await accepted(connection) if await connection.fetchval("select to_regclass('ledger_gap')") else []
    return Verified(partitions, records, tuple(broken), tuple(gaps))


async def _partition(connection: asyncpg.Connection, topic: str, part: int, last: bytes) -> tuple[int, Broken | None]:
    """Records seen, and the first fault."""
    table, link, count, offset = table_of(topic), GENESIS, 0, -1
    names = ", ".join(COLUMNS[table])
    cursor = await connection.cursor(f"select {names} from {table} where topic = $1 and part = $2 order by off", topic, part)
    while rows := await cursor.fetch(CHUNK):
        facts = await _facts(connection, topic, part, offset, rows[-1]["off"]) if table == "event" else {}
        for row in rows:
            count, offset = count + 1, row["off"]
            if reason := _fault(table, row, link, facts.get(offset, [])):
                return count, Broken(topic, part, offset, reason)
            link = row["hash"]
    if link != last:
        return count, Broken(topic, part, offset, "the records after this one are gone: its link is not the last that was written")
    if table == "event" and (extra := await connection.fetchval(_EXTRA, topic, part)) is not None:
        return count, Broken(topic, part, extra, "facts without the record that says them")
    return count, None


async def _facts(connection: asyncpg.Connection, topic: str, part: int, after: int, until: int) -> dict[int, list[tuple[Any, ...]]]:
    names = ", ".join("array_to_json(key)::text as key" if name == "key" else name for name in COLUMNS["fact"])
    found: dict[int, list[tuple[Any, ...]]] = {}
    for row in await connection.fetch(f"select {names} from fact where topic = $1 and part = $2 and off > $3 and off <= $4 order by off, idx",
                                      topic, part, after, until):
        found.setdefault(row["off"], []).append(tuple(row))
    return found


def _fault(table: str, row: asyncpg.Record, link: bytes, facts: list[tuple[Any, ...]]) -> str:
    record = LogRecord(row["topic"], row["part"], row["off"], micros(row["recorded"]), row["key"].encode() if table == "event" else None, row["body"].encode())
    rows = Rows()
    try:
        following = rows.add(record, link)
    except Refused as refused:
        return f"the body is no longer what a contract describes: {refused}"
    if following != row["hash"]:
        return "the link does not follow from the one before and the record: one of them was changed, or a record between was taken out"
    made, = rows.tables[table]
    if differs := next(_differences(made, tuple(row), list(COLUMNS[table])), ""):
        return f"column {differs} does not say what the body says"
    if [_plain(fact) for fact in rows.tables["fact"]] != [_plain(fact) for fact in facts]:
        return "the fact rows do not say what the record says"
    return ""


def _differences(made: tuple[Any, ...], kept: tuple[Any, ...], names: list[str]) -> Iterator[str]:
    yield from (name for name, a, b in zip(names, made, kept, strict=True) if a != b)


def _plain(fact: tuple[Any, ...]) -> tuple[Any, ...]:
    """A fact's key is an array in one place and JSON in the other."""
    at = list(COLUMNS["fact"]).index("key")
    return (*fact[:at], tuple(msgspec.json.decode(fact[at])), *fact[at + 1:])
