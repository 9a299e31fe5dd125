"""Reads the ledger: which shipments an identifier means, what was published when, on which facts and events."""
from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from agents.ledger.identifiers import lookup
from agents.ledger.rows import micros
from agents.ledger.verify import Verified, verify
from topics.events.outputs import Alert, ClearanceUpdate
from topics.facts import Fact, Rank

MATCHES_MAX: Final = 200
_FIND: Final = """
with asked as (select $1::text as lookup union select other from alias where lookup = $1),
runs as (select run, railway || '/' || number || '/' || date as name from run where number = $7 or (railway = $3 and number = $4 and date = $5)),
found as (
    select i.shipment, i.kind, i.value, i.since from identifier i where i.lookup in (select lookup from asked) and ($2 = '' or i.kind = $2)
    union all select i.shipment, 'train', r.name, i.since from runs r join identifier i on i.lookup = upper(r.run) and i.kind = 'run' and i.value = r.run
    union all select i.shipment, 'wagon', c.wagon, i.since from carried c join identifier i on i.lookup = upper(c.run) and i.kind = 'run'
        join identifier b on b.lookup = c.container and b.kind = 'container' and b.shipment = i.shipment where c.wagon = $1
    union all select shipment, 'shipment', shipment, since from identifier where shipment = $1
    union all select shipment, 'shipment', shipment, assessed_at from status where shipment = $1
)
select shipment, kind, value, max(since) as since from found group by shipment, kind, value order by since desc, shipment limit $6
"""


class Ledger:
    """A connection pool with the questions that people ask."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    @classmethod
    async def open(cls, dsn: str, command_timeout_s: float = 30.0) -> Ledger:
        """Raises OSError or asyncpg's errors when the database cannot be reached."""
        return cls(await asyncpg.create_pool(dsn, min_size=1, max_size=4, command_timeout=command_timeout_s, timeout=10))

    async def close(self) -> None:
        await self.pool.close()

    async def find(self, identifier: str) -> list[tuple[str, str, str]]:
        """(shipment, kind, value) of every shipment that an outside identifier may mean, newest first.

        An identifier is a shipment id, a container, any number of a document (`kind:number` to say which), a train as `RAILWAY/NUMBER/DATE`
        or by its number alone, a train run id, a wagon.
        """
        found = await self._find(identifier.strip(), "")
        kind, _, number = identifier.strip().partition(":")
        return found or (await self._find(number, kind) if number else [])

    async def _find(self, identifier: str, kind: str) -> list[tuple[str, str, str]]:
        found: dict[str, tuple[str, str, str]] = {}
        for row in await self.pool.fetch(_FIND, lookup(identifier), kind, *_train(identifier), MATCHES_MAX, identifier.upper()):
            found.setdefault(row["shipment"], (row["shipment"], row["kind"], row["value"]))
        return list(found.values())

    async def statuses(self, shipment: str, as_of: datetime | None = None) -> list[ClearanceUpdate]:
        """The latest status of every side of a shipment, or what was the latest at `as_of` (railclear's time), in order of the route."""
        rows = await self.pool.fetch(
            "select distinct on (side) body from status where shipment = $1 and ($2::timestamptz is null or assessed_at <= $2) "
            "order by side, revision desc", shipment, as_of)
        found = [msgspec.json.decode(row["body"], type=ClearanceUpdate) for row in rows]
        return sorted(found, key=lambda u: (u.order, u.side))

    async def everywhere(self) -> list[ClearanceUpdate]:
        """The latest status of every side of every shipment: for a ledger that holds a file's worth, not a year's."""
        rows = await self.pool.fetch("select distinct on (shipment, side) body from status order by shipment, side, revision desc")
        return [msgspec.json.decode(row["body"], type=ClearanceUpdate) for row in rows]

    async def first_statuses(self, shipment: str) -> list[ClearanceUpdate]:
        """What was published first of every side."""
        rows = await self.pool.fetch("select distinct on (side) body from status where shipment = $1 order by side, revision, recorded", shipment)
        return [msgspec.json.decode(row["body"], type=ClearanceUpdate) for row in rows]

    async def history(self, shipment: str, side: str) -> list[ClearanceUpdate]:
        """Every revision of one side, oldest first; one that was published twice counts once."""
        rows = await self.pool.fetch("select distinct on (revision) body from status where shipment = $1 and side = $2 order by revision, recorded",
                                     shipment, side)
        return [msgspec.json.decode(row["body"], type=ClearanceUpdate) for row in rows]

    async def facts(self, shipment: str, before: datetime | None = None) -> list[Fact]:
        """Facts of a shipment, recorded until `before` (broker time), in the order of the log."""
        rows = await self.pool.fetch(
            "select * from fact where shipment = $1 and ($2::timestamptz is null or recorded <= $2) order by recorded, topic, part, off, idx",
            shipment, before)
        return [fact_of(row) for row in rows]

    async def recorded_at(self, shipment: str, as_of: datetime) -> datetime | None:
        """Broker time of the last status of this shipment published at or before `as_of` (railclear's time)."""
        found: datetime | None = await self.pool.fetchval("select max(recorded) from status where shipment = $1 and assessed_at <= $2", shipment, as_of)
        return found

    async def events(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        """The messages behind evidence ids (`source/type/id`), each with its body as a dict. Of copies the first."""
        rows = await self.pool.fetch("select distinct on (event_id) event_id, type, source, event_time, recorded, inserted, body from event "
                                     "where event_id = any($1) order by event_id, recorded, topic, part, off", ids)
        return {row["event_id"]: {**row, "body": msgspec.json.decode(row["body"])} for row in rows}

    async def on_run(self, run: str) -> list[str]:
        """Shipments whose containers were ever on a train run."""
        rows = await self.pool.fetch("select distinct shipment from identifier where kind = 'run' and lookup = $1 and value = $2 order by shipment",
                                     lookup(run), run)
        return [row["shipment"] for row in rows]

    async def runs_named(self, railway: str, number: str, date: str) -> list[str]:
        """Run ids of trains of this name, whatever their origin. Without railway and date: of every train of this number."""
        rows = await self.pool.fetch("select run from run where number = $2 and ($1 = '' or railway = $1) and ($3 = '' or date = $3) order by date desc, run",
                                     railway, number, date)
        return [row["run"] for row in rows]

    async def names_of(self, runs: Iterable[str]) -> dict[str, str]:
        """Train runs as people call them, RAILWAY/NUMBER/DATE."""
        rows = await self.pool.fetch("select run, railway, number, date from run where run = any($1)", list(runs))
        return {row["run"]: f"{row['railway']}/{row['number']}/{row['date']}" for row in rows}

    async def at_side(self, side: str) -> list[ClearanceUpdate]:
        """The latest status of every shipment that has this side on its route."""
        rows = await self.pool.fetch("select distinct on (shipment) body from status where side = $1 order by shipment, revision desc", side)
        return [msgspec.json.decode(row["body"], type=ClearanceUpdate) for row in rows]

    async def sides_like(self, text: str) -> list[str]:
        """Side ids that contain a text, for a side given in short."""
        rows = await self.pool.fetch("select distinct side from status where position(upper($1) in upper(side)) > 0 order by side limit 100", text)
        return [row["side"] for row in rows]

    async def alerts(self, shipment: str = "", *, open_only: bool = True) -> list[Alert]:
        """The last word of every alert, of one shipment or of all."""
        rows = await self.pool.fetch(
            "select body from (select distinct on (key) body, state, at from alert where $1 = '' or shipment = $1 order by key, seq desc) a "
            "where not $2 or state = 'open' order by at", shipment, open_only)
        return [msgspec.json.decode(row["body"], type=Alert) for row in rows]

    async def offsets(self) -> dict[tuple[str, int], int]:
        """How far the ledger has read: (topic, partition) -> next offset."""
        rows = await self.pool.fetch("select topic, part, next_offset from ledger_offset")
        return {(row["topic"], row["part"]): row["next_offset"] for row in rows}

    async def verify(self) -> Verified:
        """Recompute the hash chain and the rows: see agents/ledger/verify.py."""
        async with self.pool.acquire() as connection:
            return await verify(connection)


def _train(identifier: str) -> tuple[str, str, str]:
    """Railway, number and day of `RAILWAY/NUMBER/DATE`; a number may contain slashes itself."""
    railway, _, rest = identifier.strip().partition("/")
    number, _, date = rest.rpartition("/")
    return (railway.lower(), number.upper(), date) if number else ("", "", "")


def fact_of(row: Any) -> Fact:
    """A fact as it was said."""
    value = None if row["value"] is None else msgspec.json.decode(row["value"])
    return Fact(side=row["side"], key=tuple(row["key"]), at=micros(row["at"]), source=row["source"], rank=Rank(row["rank"]), record=row["record"],
                version=row["version"], id=row["event_id"], scope=row["scope"], value=value, code=row["code"], dated=row["dated"])
