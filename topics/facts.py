"""Facts: the unit of clearance knowledge (status-model section 3).

A fact is one thing that one source says about one side. Presence, documents, demands, seals and conditions are all facts;
a status is what they add up to.
"""
from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import msgspec

Key = tuple[str, ...]
Value = bool | int | str | dict[str, object] | list[object] | None
"""None means: withdrawn by its source."""

WHOLE = ""
"""Scope of the whole shipment; a container is its number, a house item `CONTAINER/ITEM`."""

NEVER = -1
"""An instant before every event."""

MINUTE = 60_000_000
"""Microseconds in a minute: instants in facts are microseconds since the epoch, UTC."""
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EVERYWHERE = "*"
"""Side of a fact that applies to every side of its shipment."""


class Rank(IntEnum):
    """Who says it. Only a competent AUTHORITY registers, releases and demands."""

    FORWARDER = 1
    SENSOR = 2
    TERMINAL = 3
    RAILWAY = 4
    AUTHORITY = 5


class Fact(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One thing that one source says about one side of one shipment."""

    side: str
    """Side id; `*` every side; `@KZ`, `@KZ/office/CODE` or `@KZ/doc/kind/number`: to be resolved against the route."""
    key: Key
    at: int
    """Event time: when it was decided, microseconds UTC."""
    source: str
    """Authority code for an authority's own word, else the party id."""
    rank: Rank = Rank.AUTHORITY
    record: str = ""
    """The source's own number of the thing that its versions count."""
    version: int = 0
    """Comparable within one (source, record) only."""
    id: str = ""
    """Id of the event that this fact comes from: the evidence."""
    scope: str = WHOLE
    value: Value = True
    code: str = ""
    """The official code that said it (IE029, PAS …); empty for our own."""
    dated: bool = False
    """Only a date is known, not a time: facts of that day are unordered."""


Slot = tuple[str, Key, str, str, str]
Facts = dict[Slot, Fact]


def slot_of(fact: Fact) -> Slot:
    """The place a fact competes for: (side, key, scope, source, record)."""
    return fact.side, fact.key, fact.scope, fact.source, fact.record


def order_of(fact: Fact) -> tuple[int, int, str, int, str]:
    """Total order within a slot: version, event time, id, rank, content."""
    return fact.version, fact.at, fact.id, fact.rank, repr((_stable(fact.value), fact.code, fact.dated))


def supersedes(fact: Fact, held: Fact) -> bool:
    """Is it the higher of two of one slot (`order_of`)? Their contents are written out only where nothing else tells them apart."""
    here, there = (fact.version, fact.at, fact.id, fact.rank), (held.version, held.at, held.id, held.rank)
    return order_of(fact) > order_of(held) if here == there else here > there


def _stable(value: object) -> object:
    if isinstance(value, dict):
        return sorted((k, _stable(v)) for k, v in value.items())
    if isinstance(value, list | tuple):
        return [_stable(v) for v in value]
    return value


def merge(facts: Facts, new: Iterable[Fact]) -> Facts:
    """Keep the highest fact of each slot. Commutative, associative, idempotent; returns a new mapping."""
    out = dict(facts)
    for fact in new:
        slot = slot_of(fact)
        held = out.get(slot)
        if held is None or supersedes(fact, held):
            out[slot] = fact
    return out
