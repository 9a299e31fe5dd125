"""What a retraction masks, and what it had overwritten: counted and read from the ledger, sent again to the folds after the mask.

A slot that keeps the highest word only has forgotten the one before; the ledger has not. For every key of a fold that a masked event reached, all
outside events of that key that are not masked are sent again. What the fold still holds is a repeat and changes nothing.
"""
from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
from aiokafka import AIOKafkaProducer

from topics.registry import fold_topic

FOLDS: Final = tuple(fold_topic(fold) for fold in ("trains", "custody", "documents"))
HEADER: Final = "railclear-resent"
"""Header of a record that is sent again: the id of the act."""
IN_FLIGHT_MAX: Final = 500
QUERY_SECONDS_MAX: Final = 900.0
_MASKED: Final = "e.source = $1 and e.event_time between $2 and $3 and e.event_id <> '' and e.topic = any($4::text[])"
_KEYS: Final = f"select distinct e.topic, e.key from event e where {_MASKED}"
_AGAIN: Final = (
    f"with reached as ({_KEYS}) select distinct on (e.topic, e.key, e.event_id, md5(e.body::text)) e.topic, e.key, e.body, e.recorded, e.part, e.off "
    "from event e join reached r on r.topic = e.topic and r.key = e.key where e.event_id <> '' "
    "and not (e.source = $1 and e.event_time between $2 and $3) order by e.topic, e.key, e.event_id, md5(e.body::text), e.recorded, e.part, e.off"
)
_COUNT: Final = (
    f"select count(distinct e.event_id) as events, count(distinct (e.topic, e.key)) as keys, min(e.event_time) as first, max(e.event_time) as last "
    f"from event e where {_MASKED}"
)
_SHIPMENTS: Final = "select count(distinct shipment) from fact where source = any($1::text[]) and at between $2 and $3"


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What a retraction would do, by what the ledger holds now. Positions between stations are not in the ledger and not counted."""

    events: int
    """Events that count as absent."""
    keys: int
    """Train names, containers and documents that they reached."""
    shipments: int
    """Shipments with facts of this source in that time."""
    resent: int
    """Events of those keys that are sent again because a masked one may have overwritten them."""
    first: datetime | None = None
    last: datetime | None = None


class Retraction(msgspec.Struct, frozen=True, kw_only=True):
    """A feed and a closed interval of event times."""

    feed: str
    since: datetime
    until: datetime

    @property
    def speakers(self) -> list[str]:
        """How facts name this source: an authority speaks under its code."""
        return [self.feed, self.feed.removeprefix("customs-").upper()] if self.feed.startswith("customs-") else [self.feed]


async def reach(pool: asyncpg.Pool, what: Retraction) -> Reach:
    """Counts, without changing anything."""
    span: tuple[Any, ...] = (what.feed, what.since, what.until, list(FOLDS))
    found = await pool.fetchrow(_COUNT, *span, timeout=QUERY_SECONDS_MAX)
    resent = await pool.fetchval(f"select count(*) from ({_AGAIN}) as again", *span, timeout=QUERY_SECONDS_MAX)
    shipments = await pool.fetchval(_SHIPMENTS, what.speakers, what.since, what.until, timeout=QUERY_SECONDS_MAX)
    return Reach(events=found["events"], keys=found["keys"], shipments=shipments, resent=resent, first=found["first"], last=found["last"])


async def again(pool: asyncpg.Pool, what: Retraction) -> AsyncIterator[tuple[str, str, bytes]]:
    """Topic, key and bytes of every event to send again."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        async for row in connection.cursor(_AGAIN, what.feed, what.since, what.until, list(FOLDS), prefetch=500, timeout=QUERY_SECONDS_MAX):
            yield row["topic"], row["key"], row["body"].encode()


async def resend(pool: asyncpg.Pool, producer: AIOKafkaProducer, what: Retraction, act: str) -> int:
    """Send them; how many. May be done again at any time: repeats change nothing."""
    sent, waiting = 0, []
    async for topic, key, body in again(pool, what):
        waiting.append(await producer.send(topic, body, key=key.encode(), headers=[(HEADER, act.encode())]))
        sent += 1
        if len(waiting) >= IN_FLIGHT_MAX:
            for future in waiting:
                await future
            waiting = []
    for future in waiting:
        await future
    return sent
