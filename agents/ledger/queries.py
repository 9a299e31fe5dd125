"""Reads the ledger: which shipments an identifier means, what was published when, on which facts and events."""
from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from agents.ledger.rows import micros
from topics.events.outputs import Alert, ClearanceUpdate
from topics.facts import Fact, Rank


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
        """(shipment, kind, value) of every shipment that an outside identifier may mean, newest first."""
        rows = await self.pool.fetch(
            "select shipment, kind, value, max(since) as since from identifier where upper(value) = upper($1) or shipment = upper($1) "
            "group by shipment, kind, value order by since desc limit 200", identifier)
        found: dict[str, tuple[str, str, str]] = {}
        for row in rows:
            kind = "shipment" if row["shipment"] == identifier.upper() else row["kind"]
            found.setdefault(row["shipment"], (row["shipment"], kind, row["value"]))
        return list(found.values())

    async def statuses(self, shipment: str, as_of: datetime | None = None) -> list[ClearanceUpdate]:
        """The latest status of every side of a shipment, or what was the latest at `as_of` (railclear's time)."""
        rows = await self.pool.fetch(
            "select distinct on (side) body from status where shipment = $1 and ($2::timestamptz is null or assessed_at <= $2) "
            "order by side, revision desc", shipment, as_of)
        found = [msgspec.json.decode(row["body"], type=ClearanceUpdate) for row in rows]
        return sorted(found, key=lambda u: (u.order, u.side))

    async def history(self, shipment: str, side: str) -> list[ClearanceUpdate]:
        """Every revision of one side, oldest first."""
        rows = await self.pool.fetch("select body from status where shipment = $1 and side = $2 order by revision", shipment, side)
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
        """The messages behind evidence ids."""
        rows = await self.pool.fetch("select distinct on (event_id) event_id, type, source, event_time, recorded, body from event "
                                     "where event_id = any($1) order by event_id, recorded", ids)
        return {row["event_id"]: dict(row) for row in rows}

    async def on_run(self, run: str) -> list[str]:
        """Shipments whose containers were ever on a train run."""
        rows = await self.pool.fetch("select distinct shipment from identifier where kind = 'run' and value = $1", run)
        return [row["shipment"] for row in rows]

    async def runs_named(self, railway: str, number: str, date: str) -> list[str]:
        """Run ids of trains of this name, whatever their origin."""
        rows = await self.pool.fetch("select distinct body->>'run' as run from event where type = 'movement' and body->>'railway' = $1 "
                                     "and body->>'number' = $2 and body->>'date' = $3", railway, number, date)
        return [row["run"] for row in rows if row["run"]]

    async def at_side(self, side: str) -> list[ClearanceUpdate]:
        """The latest status of every shipment that has this side on its route."""
        rows = await self.pool.fetch("select distinct on (shipment) body from status where side = $1 order by shipment, revision desc", side)
        return [msgspec.json.decode(row["body"], type=ClearanceUpdate) for row in rows]

    async def sides_like(self, text: str) -> list[str]:
        """Side ids that contain a text, for a side given in short."""
        rows = await self.pool.fetch("select distinct side from status where upper(side) like '%' || upper($1) || '%' order by side limit 100", text)
        return [row["side"] for row in rows]

    async def alerts(self, shipment: str = "", *, open_only: bool = True) -> list[Alert]:
        """The last word of every alert."""
        rows = await self.pool.fetch(
            "select body from (select distinct on (key) body, state from alert where $1 = '' or shipment = $1 order by key, seq desc) a "
            "where not $2 or state = 'open'", shipment, open_only)
        return [msgspec.json.decode(row["body"], type=Alert) for row in rows]

    async def offsets(self) -> dict[tuple[str, int], int]:
        """How far the ledger has read: (topic, partition) -> next offset."""
        rows = await self.pool.fetch("select topic, part, next_offset from ledger_offset")
        return {(row["topic"], row["part"]): row["next_offset"] for row in rows}


def fact_of(row: Any) -> Fact:
    """A fact as it was said."""
    value = None if row["value"] is None else msgspec.json.decode(row["value"])
    return Fact(side=row["side"], key=tuple(row["key"]), at=micros(row["at"]), source=row["source"], rank=Rank(row["rank"]), record=row["record"],
                version=row["version"], id=row["event_id"], scope=row["scope"], value=value, code=row["code"], dated=row["dated"])
