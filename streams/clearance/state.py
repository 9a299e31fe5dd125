"""What CLEARANCE keeps of one shipment: its facts in slots, and what it has last said of each side."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from topics.facts import DAY, Fact, Facts, Slot, order_of, slot_of

FACTS_PER_SCOPE_MAX = 256
"""Facts of one scope at one side; one more is refused as FACTS_LIMIT. A block train's note has fifty boxes, so the side as a whole
takes more than one box may."""
FACTS_MAX = 6_000
"""Facts of one shipment: about 120 bytes each, so that the state stays below 768 kB."""
BYTES_PER_FACT_USUAL = 120
BYTES_STATE_MAX = 768 * 1024
assert FACTS_MAX * BYTES_PER_FACT_USUAL < BYTES_STATE_MAX

Severity = Literal["info", "warning", "critical"]
Limited = tuple[int, str]
"""(index of the fact in its message, side)."""


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """What was last published of one side."""

    revision: int
    digest: bytes
    state: str


class OpenAlert(msgspec.Struct, frozen=True, array_like=True):
    """An alert that is open."""

    name: str
    severity: Severity
    side: str


class Shipment(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """The state of one key. A retired shipment is a stub: no facts, only the final states."""

    facts: tuple[Fact, ...] = ()
    """In slot order."""
    shown: dict[str, Shown] = {}
    last_revision: int = 0
    due_first: dict[str, int] = {}
    alerts: dict[str, OpenAlert] = {}
    alert_seq: int = 0
    summaries: dict[str, bytes] = {}
    """Run -> digest of the summary last sent."""
    restricted: dict[str, Shown] = {}
    """Side -> what its authority's restricted view last showed; own revisions."""
    limited: tuple[str, ...] = ()
    """Sides that have refused facts (FACTS_LIMIT)."""
    retired_at: int | None = None
    finals: dict[str, str] = {}
    """Stub: side -> final state."""


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Shipment)


def encode(state: Shipment) -> bytes:
    return _encoder.encode(state)


def decode(data: bytes) -> Shipment:
    return _decoder.decode(data)


def add(held: tuple[Fact, ...], new: Iterable[Fact]) -> tuple[tuple[Fact, ...], list[Fact], list[Limited], int]:
    """Merge facts into slots: (facts in slot order, those that changed something, those refused by a limit, how many were superseded).

    Merging keeps the highest of each slot, so order, repetition and lateness do not matter.
    """
    slots: Facts = {slot_of(f): f for f in held}
    per: dict[tuple[str, str], int] = {}
    for f in held:
        per[f.side, f.scope] = per.get((f.side, f.scope), 0) + 1
    changed: list[Fact] = []
    refused: list[Limited] = []
    superseded = 0
    for index, fact in enumerate(new):
        slot: Slot = slot_of(fact)
        old = slots.get(slot)
        if old is not None:
            if order_of(fact) > order_of(old):
                slots[slot] = fact
                changed.append(fact)
            elif fact != old:
                superseded += 1
            continue
        count = per.get((fact.side, fact.scope), 0)
        if count >= FACTS_PER_SCOPE_MAX or len(slots) >= FACTS_MAX:
            refused.append((index, fact.side))
            continue
        per[fact.side, fact.scope] = count + 1
        slots[slot] = fact
        changed.append(fact)
    if not changed:
        return held, changed, refused, superseded
    return tuple(slots[s] for s in sorted(slots)), changed, refused, superseded


def newest_at(facts: Iterable[Fact]) -> int:
    """Event time of the newest fact; 0 without any."""
    return max((f.at for f in facts), default=0)


def retire_at(state: Shipment, terminal_at: int | None, transit_open: bool, days: int, days_max: int) -> int | None:
    """When the shipment retires: `days` after its last side became final and no transit is open, at the latest `days_max` after its newest fact."""
    if not state.facts:
        return None
    latest = newest_at(state.facts) + days_max * DAY
    if terminal_at is None or transit_open:
        return latest
    return min(latest, max(terminal_at, newest_at(state.facts)) + days * DAY)
