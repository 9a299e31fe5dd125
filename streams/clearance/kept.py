"""What is kept of a published assessment, in a few bytes per side, so that a shipment of which nothing is in memory need not be assessed whole.

A side that no new fact touches stands as it was said. What of it the rest of the shipment looks at is here: due times, until when the clock changes
nothing, a filter of the events that its findings name, and where it stands for train readiness. Nothing here decides: whoever has none assesses the
whole, with the same bytes.
"""
from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import msgspec

from streams.assess import Assessment
from streams.assess.core import FINAL
from streams.assess.findings import Raised, asks_others, said_of
from streams.assess.memo import pending
from streams.assess.say import Say
from streams.assess.summaries import summary
from streams.rules.case import Trip
from topics.events.internal import SideSummary
from topics.facts import NEVER, WHOLE

OPEN, WAITS, AMENDS = 1, 2, 4
"""Bits of a side: a transit is open; the goods wait at a post of which it is not known when it opens; somebody is asked to amend a document."""
FILTER_BITS = 63
"""Of the filter of event ids: a hit that is none costs a side that is assessed in vain, no more."""
ROWS_MAX = 255

Row = tuple[str, bool, tuple[str, ...], int | None]
"""State, movable, missing filings, due: where some boxes stand at a side."""


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of one side."""

    bits: int = 0
    since: int | None = None
    """Since when it is final."""
    due: int | None = None
    """When the clock alone may change something, as the shipment's next due time has it."""
    until: int | None = None
    """Until when the clock alone changes nothing of what is said, where that is another instant."""
    named: int = 0
    """Filter of the events that its conditions and findings name."""
    rows: tuple[Row, ...] = ()
    which: bytes = b""
    """For each of the shipment's boxes its row; empty = all the first."""
    said: bytes = b""
    """Digest of its conditions."""


class Ground(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of a shipment."""

    sides: tuple[Kept | None, ...] = ()
    """In route order; None: a border inside a customs territory of which nothing is said."""
    drift: dict[str, tuple[int | None, ...]] = {}
    """Side -> instants that ride on the ETA, where they are not those that were shown last."""


class Named:
    """Events of which only a filter is known."""

    __slots__ = ("bits",)

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def isdisjoint(self, events: Iterable[str]) -> bool:
        """False when one of them may be named."""
        return not self.bits & filter_of(events)


def filter_of(events: Iterable[str]) -> int:
    """A bit for each."""
    bits = 0
    for event in events:
        bits |= 1 << crc32(event.encode()) % FILTER_BITS
    return bits


def ground_of(assessment: Assessment, shown: dict[str, tuple[int | None, ...]]) -> Ground | None:
    """What is kept of it; None where sides look at each other in more ways than can be kept. `shown`: times as they were shown last."""
    if assessment.doubts:
        return None
    trip, memo = assessment.trip, assessment.memo
    if trip is None or memo is None:
        return None
    boxes = boxes_of(trip)
    sides: list[Kept | None] = []
    drift = {}
    for say in assessment.says:
        if say.bare:
            sides.append(None)
            continue
        made: tuple[tuple[str, ...], Kept] | None = say.kept
        if made is None or made[0] != boxes:
            kept = _kept(trip, memo.raised, say, boxes, made[1] if made is not None else None)
            if kept is None:
                return None
            say.kept = made = boxes, kept
        sides.append(made[1])
        if say.times != shown[say.side.id]:
            drift[say.side.id] = say.times
    return Ground(tuple(sides), drift)


def boxes_of(trip: Trip) -> tuple[str, ...]:
    """Boxes of which it is kept where they stand."""
    return tuple(sorted(trip.boxes)) or (WHOLE,)


def _kept(trip: Trip, raised: Raised, say: Say, boxes: tuple[str, ...], before: Kept | None) -> Kept | None:
    """`before`: the same side for other boxes."""
    side, status = say.side, say.side.status
    assert status is not None
    rows: dict[Row, int] = {}
    which = b""
    if side.required and side.kind != "TERRITORY":
        each = [rows.setdefault(_row(side.summaries.get(box) or summary(trip, side, box)), len(rows)) for box in boxes]
        if len(rows) > ROWS_MAX:
            return None
        which = bytes(each) if len(rows) > 1 else b""
    if before is not None:
        return msgspec.structs.replace(before, rows=tuple(rows), which=which)
    if pending(side) or (side.kind == "TERRITORY" and not status.movable):
        return None
    assert isinstance(say.named, frozenset)
    final = status.state in FINAL and status.since != NEVER and side.required and side.kind != "TERRITORY"
    bits = (OPEN if "transit_open" in say.flags else 0) | (WAITS if say.waits else 0) | (AMENDS if asks_others([side], raised) else 0)
    return Kept(
        bits, status.since if final else None, say.due, say.until if say.until != say.due else None, filter_of(say.named), tuple(rows), which,
        said_of(raised.conditions.get(side.id, ())))


def _row(said: SideSummary) -> Row:
    return said.state, said.movable, said.missing, said.due


def summaries_of(side: str, boxes: tuple[str, ...], kept: Kept) -> dict[str, SideSummary]:
    """Where each of the boxes stands at a side."""
    made = [SideSummary(side=side, state=state, movable=movable, missing=missing, due=due) for state, movable, missing, due in kept.rows]
    return dict(zip(boxes, [made[n] for n in kept.which] if kept.which else made[:1] * len(boxes), strict=True))
