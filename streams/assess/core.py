"""`assess`: from the facts of one shipment to the status of every side of its route, pure (design section 3, Clearance)."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from streams.assess.filings import filings_of
from streams.assess.findings import Raised, ambiguous, full, judge, prove
from streams.assess.fresh import Sources, freshness, sources_of, unmasked
from streams.assess.notes import declared
from streams.assess.resolve import spread
from streams.assess.route import add_reached, in_order, newest, sides_of
from streams.assess.rows import book_of, procedure_of, row_of, rules_of
from streams.assess.scopes import boxes_of, side_status_of
from streams.assess.summaries import Group, summaries
from streams.assess.updates import update_of
from streams.reference.model import Reference
from streams.rules.case import OURS, SideCase, Trip
from streams.rules.day import day_of
from streams.status import State
from topics.events.outputs import ClearanceUpdate
from topics.events.sites import CrossingCondition
from topics.facts import NEVER, WHOLE, Fact, Rank

FINAL = frozenset({State.RELEASED, State.DEPARTED, State.NOT_REQUIRED, State.CANCELLED, State.REFUSED})


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that should be open."""

    key: str
    name: str
    severity: Literal["info", "warning", "critical"]
    side: str
    scope: str = ""
    rule: str = ""
    titles: dict[str, str] = {}
    call: str = ""
    call_hours: str = ""
    detail: str = ""


class Previous(msgspec.Struct, frozen=True, kw_only=True):
    """What an assessment remembers of the one before: first-known deadlines, nothing that decides."""

    due_first: dict[str, int] = {}
    """`side|kind` -> the deadline as it was first known."""
    limited: tuple[str, ...] = ()
    """Sides (as facts name them) that have refused facts: FACTS_LIMIT."""


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """What the facts of a shipment add up to at an instant."""

    updates: tuple[ClearanceUpdate, ...] = ()
    """One per side in route order, revision 0."""
    alerts: tuple[Wanted, ...] = ()
    next_due: int | None = None
    """When the clock alone may change something, microseconds UTC."""
    due_first: dict[str, int] = {}
    summaries: dict[str, tuple[Group, ...]] = {}
    """Run id -> groups of containers that stand alike."""
    terminal_at: int | None = None
    """When the last side became final; None while one is not."""
    transit_open: bool = False
    trip: Trip | None = None
    """What it rests on, for views that are computed apart."""


def assess(
    shipment: str, facts: Iterable[Fact], reference: Reference, broadcasts: Iterable[msgspec.Struct], now: int, pack: str,
    previous: Previous | None = None
) -> Assessment:
    """Status of every side, findings, next actions, alerts, next due time. Facts in any order give the same answer."""
    broadcasts, previous = tuple(broadcasts), previous or Previous()
    trip = trip_of(shipment, facts, reference, broadcasts, now)
    trip.closures = {b.crossing: b for b in broadcasts if isinstance(b, CrossingCondition)}
    raised = status_of(trip, reference, sources_of(broadcasts), previous.due_first, now)
    full(trip, raised, previous.limited)
    updates = tuple(update_of(trip, side, raised, reference, now, pack) for side in trip.sides)
    due_first = dict(previous.due_first)
    for side in trip.sides:
        for filing in side.filings:
            if filing.due is not None:
                due_first.setdefault(f"{side.id}|{filing.kind}", filing.due)
    return Assessment(
        updates=updates, alerts=raised.alerts(trip, Wanted), next_due=next_due(trip, raised, now), due_first=due_first,
        summaries=summaries(trip), terminal_at=terminal_at(trip), transit_open=any("transit_open" in u.flags for u in updates), trip=trip)


def trip_of(shipment: str, facts: Iterable[Fact], reference: Reference, broadcasts: Iterable[msgspec.Struct], now: int) -> Trip:
    """The shipment with its facts on the sides that they are about."""
    living = sorted(unmasked(facts, broadcasts), key=lambda f: (f.side, f.key, f.scope, f.source, f.record))
    trip = Trip(shipment, living, reference, now)
    declared(trip)
    trip.corridor, trip.direction = str(trip.declared.get("corridor", "")), str(trip.declared.get("direction", "west"))
    trip.sides = sides_of(trip, reference)
    add_reached(trip, reference)
    trip.lost = spread(trip)
    trip.sides = in_order(trip.sides)
    railways = {f.source for f in living if f.rank is Rank.RAILWAY}
    declarers = {f.source for f in living if f.key[0] == "shipment"}
    carriers = {str(p.get("identifier", "")) for p in trip.declared.get("parties", ()) if p.get("role") == "carrier"}
    trip.parties = tuple(sorted(p for p in railways | declarers | carriers if p in reference.parties))
    return trip


def status_of(trip: Trip, reference: Reference, sources: Sources, due_first: Mapping[str, int], now: int) -> Raised:
    """Everything about every side, in the order in which one needs the other."""
    today = day_of(now)
    raised = Raised(today)
    boxes, book = boxes_of(trip), book_of(reference)
    for side in trip.sides:
        _presence(side)
        side.stale = sources.stale(f"customs-{side.authority.lower()}")
        side.fresh = freshness(trip, side, sources)
    for side in trip.sides:
        if not side.required:
            side.facts.append(_inner(side))
        scopes = (boxes(side) if side.required else []) or [WHOLE]
        for scope in scopes:
            side.procedures[scope] = procedure_of(trip, side, scope)
            row = side.rows[scope] = row_of(trip, side, scope, book, now) if side.required else None
            side.rules[scope] = rules_of(trip, side, scope, row, book, now)
    prove(trip, reference, now, raised)
    for side in trip.sides:
        side.status = side_status_of(side, now)
        side.filings = filings_of(trip, side, reference, due_first, now)
    ambiguous(trip, raised)
    judge(trip, reference, now, raised)
    return raised


def _inner(side: SideCase) -> Fact:
    """A state border inside a customs territory: only a movement is made there."""
    return Fact(side=side.id, key=("route",), at=0, source=OURS, rank=Rank.AUTHORITY, value="not_required")


def _presence(side: SideCase) -> None:
    """When the goods were here in the current visit, when they left, when they are expected."""
    visit = newest(f for f in side.facts if f.key[0] == "visit")
    number = str(visit.value) if visit else "1"
    for fact in side.facts:
        head = fact.key[0]
        if head in ("seen", "handed_over", "presented") and fact.key[1] == number:
            side.seen = fact.at if side.seen == NEVER else min(side.seen, fact.at)
            if head == "presented":
                side.presented = max(side.presented, fact.at)
        elif head == "departed" and fact.key[1] == number:
            side.departed = max(side.departed, fact.at)
    eta = newest(f for f in side.facts if f.key[0] == "eta")
    if eta is not None and isinstance(eta.value, list | tuple) and len(eta.value) == 3:
        p10, p50, p90 = (int(v) for v in eta.value if isinstance(v, int))
        side.eta = (p10, p50, p90)
    run = newest(f for f in side.facts if f.key[0] == "run")
    side.run = str(run.value) if run is not None else ""


def next_due(trip: Trip, raised: Raised, now: int) -> int | None:
    """The earliest instant after now at which the clock alone changes something."""
    due: list[int] = [d for d in raised.due if d > now]
    for side in trip.sides:
        if side.status is not None and side.status.next_due is not None:
            due.append(side.status.next_due)
        due += [f.due_next for f in side.filings if f.due_next is not None and f.due_next > now]
    return min(due, default=None)


def terminal_at(trip: Trip) -> int | None:
    """When the last side that needs a decision became final."""
    last = NEVER
    for side in trip.sides:
        if side.status is None or side.status.state not in FINAL:
            return None
        if side.required and side.kind != "TERRITORY":
            last = max(last, side.status.since)
    return last if last != NEVER else None
