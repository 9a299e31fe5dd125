"""`assess`: from the facts of one shipment to the status of every side of its route, pure (design section 3, Clearance).

The whole is assessed from the facts alone. With a `Memo` of the assessment before only the sides that the changed facts can touch
(`touch.py`) are assessed anew; what comes out is the same, byte for byte.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Literal

import msgspec

from streams.assess.filings import filings_of
from streams.assess.findings import Raised, ambiguous, asks_others, doubted, full, judge, prove
from streams.assess.fresh import MASKED, Sources, freshness, sources_of, unmasked
from streams.assess.memo import Derived, Memo, by_slot, derived
from streams.assess.notes import declared
from streams.assess.presence import presence
from streams.assess.resolve import spread
from streams.assess.route import add_reached, route_order, sides_of
from streams.assess.rows import book_of, period_ends, procedure_of, row_of, rules_of
from streams.assess.say import Say
from streams.assess.scopes import INNER, boxes_of, inner, passes, side_status_of, stands, withheld
from streams.assess.summaries import Group, lacking, summaries
from streams.reference.model import Reference
from streams.rules.case import SideCase, Trip
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


class Assessment(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What the facts of a shipment add up to at an instant."""

    says: tuple[Say, ...] = ()
    """One per side in route order; each is written out when somebody asks for it."""
    alerts: tuple[Wanted, ...] = ()
    next_due: int | None = None
    """When the clock alone may change something, microseconds UTC."""
    due_first: dict[str, int] = {}
    summaries: dict[str, tuple[Group, ...]] = {}
    """Run id -> groups of containers that stand alike."""
    terminal_at: int | None = None
    """When the last side became final; None while one is not."""
    transit_open: bool = False
    pack: str = ""
    """Rule pack: hash of the rules and the reference."""
    trip: Trip | None = None
    """What it rests on, for views that are computed apart."""
    memo: Memo | None = None
    """What spares the next assessment of this shipment most of its work. Never part of a state."""
    anew: int = 0
    """How many sides were assessed anew: the cost of this step."""
    doubts: tuple[str, ...] = ()
    """Sides of which not every word is known."""

    @property
    def sides(self) -> list[SideCase]:
        """In route order."""
        return [say.side for say in self.says]

    @cached_property
    def updates(self) -> tuple[ClearanceUpdate, ...]:
        """One per side in route order, revision 0."""
        return tuple(say.update for say in self.says)


DOUBTS = {"limit": "", "masked": MASKED}
"""Facts that say that words of an authority are not among the facts, and what is put before its name."""


def assess(
    shipment: str, facts: Iterable[Fact], reference: Reference, broadcasts: Iterable[msgspec.Struct], now: int, pack: str,
    previous: Previous | None = None, memo: Memo | None = None, in_order: bool = False
) -> Assessment:
    """Status of every side, findings, next actions, alerts, next due time. Facts in any order give the same answer.

    `memo` of the assessment before, with the same answer; `in_order`: the facts come in slot order (side, key, scope, source, record).
    """
    facts, public, previous = tuple(facts), tuple(broadcasts), previous or Previous()
    living, masked = unmasked(facts, public)
    doubts = (*previous.limited, *masked, *sorted({f"{DOUBTS[f.key[0]]}@{f.key[1]}" for f in living if f.key[0] in DOUBTS}))
    if not in_order:
        living = sorted(living, key=by_slot)
    closures = {b.crossing: b for b in public if isinstance(b, CrossingCondition)}
    sources = sources_of(public)
    step = derived(memo, living, reference, public, now, pack, previous.due_first, doubts) if memo is not None else None
    if step is None:
        trip = trip_of(shipment, living, reference, now)
        trip.closures = closures
        anew, raised, says = trip.sides, Raised(day_of(now)), {}
    else:
        trip, anew, raised, says = step.trip, step.anew, step.raised, step.says
    before = {s.id: s for s in memo.trip.sides} if memo is not None and memo.reference is reference and memo.now <= now and not memo.limited else {}
    status_of(trip, anew, raised, reference, sources, previous.due_first, now, doubts, before, step)
    full(anew, raised, doubts)
    standing = step.standing if step is not None else frozenset[str]()
    if step is not None and (step.spreads() or (standing and (asks_others(anew, raised) or lacking(trip, standing)))):
        return assess(shipment, facts, reference, public, now, pack, previous, in_order=in_order)
    for side in anew:
        says[side.id] = Say(trip, side, raised, reference, pack)
    due_first = _first_known(trip, previous.due_first)
    said = tuple(says[side.id] for side in trip.sides)
    kept = Memo(tuple(living), reference, public, now, pack, due_first, doubts, trip, raised, said, standing)
    return Assessment(
        says=said, alerts=raised.alerts(trip, Wanted), next_due=next_due(said, reference, now), due_first=due_first, summaries=summaries(trip),
        terminal_at=terminal_at(trip), transit_open=any("transit_open" in s.flags for s in said), pack=pack, trip=trip, memo=kept, anew=len(anew),
        doubts=doubts)


def _first_known(trip: Trip, before: dict[str, int]) -> dict[str, int]:
    """Deadlines as they were first known; the same mapping when none is new."""
    due_first = before
    for side in trip.sides:
        for filing in side.filings:
            if filing.due is not None and (name := f"{side.id}|{filing.kind}") not in due_first:
                if due_first is before:
                    due_first = dict(before)
                due_first[name] = filing.due
    return due_first


def trip_of(shipment: str, living: Sequence[Fact], reference: Reference, now: int) -> Trip:
    """The shipment with its facts, living ones in slot order, on the sides that they are about."""
    trip = Trip(shipment, list(living), reference, now)
    declared(trip)
    trip.corridor, trip.direction = str(trip.declared.get("corridor", "")), str(trip.declared.get("direction", "west"))
    trip.sides = sides_of(trip, reference)
    add_reached(trip, reference)
    trip.lost = spread(trip)
    trip.sides = route_order(trip.sides)
    trip.railways = frozenset(f.source for f in living if f.rank is Rank.RAILWAY and f.source in reference.parties)
    declarers = {f.source for f in living if f.key[0] == "shipment"}
    carriers = {str(p.get("identifier", "")) for p in trip.declared.get("parties", ()) if p.get("role") == "carrier"}
    trip.parties = tuple(sorted(p for p in trip.railways | declarers | carriers if p in reference.parties))
    return trip


def status_of(
    trip: Trip, sides: Sequence[SideCase], raised: Raised, reference: Reference, sources: Sources, due_first: Mapping[str, int], now: int,
    doubts: tuple[str, ...] = (), before: Mapping[str, SideCase] | None = None, step: Derived | None = None
) -> None:
    """Everything about these sides, in the order in which one needs the other. `doubts`: sides of which something is not known; `before`: the
    sides as they were assessed last, without doubts; `step`: takes those out of `sides` that turn out to stand as they did."""
    boxes, book = boxes_of(trip), book_of(reference)
    scopes_at = {side.id: (boxes(side) if side.required else []) or [WHOLE] for side in sides}
    every, sides = sides, [side for side in sides if doubts or not passes(side)]
    for side in every:
        presence(side, scopes_at[side.id])
        if side.status is INNER:
            side.facts.append(inner(side))
    for side in sides:
        side.stale = sources.stale(f"customs-{side.authority.lower()}")
        side.fresh = freshness(trip, side, sources)
    for side in sides:
        if not side.required:
            side.facts.append(inner(side))
        for scope in scopes_at[side.id]:
            side.procedures[scope] = procedure_of(trip, side, scope)
            row = side.rows[scope] = row_of(trip, side, scope, book, now) if side.required else None
            side.rules[scope] = rules_of(trip, side, scope, row, book, now)
    prove(trip, sides, reference, now, raised)
    if step is not None:
        step.undisturbed()
        sides = [side for side in sides if side in step.anew]
    for side in sides:
        was = before.get(side.id) if before else None
        side.status = stands(was, side, now) or side_status_of(side, now, was)
        if any(doubted(side, name) for name in doubts):
            side.status = withheld(side.status)
        side.filings = filings_of(trip, side, reference, due_first, now)
    ambiguous(trip, {s.id for s in every}, raised)
    judge(trip, sides, reference, now, raised)


def next_due(says: Iterable[Say], reference: Reference, now: int) -> int | None:
    """The earliest instant after now at which the clock alone changes something."""
    due = [say.due for say in says if say.due is not None]
    changes = period_ends(reference, now)               # rows, agreements and rules are valid by the day
    return min([*due, *([changes] if changes is not None else [])], default=None)


def terminal_at(trip: Trip) -> int | None:
    """When the last side that needs a decision became final."""
    last = NEVER
    for side in trip.sides:
        if side.status is None or side.status.state not in FINAL:
            return None
        if side.required and side.kind != "TERRITORY":
            last = max(last, side.status.since)
    return last if last != NEVER else None
