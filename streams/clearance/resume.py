"""A memo made from what a state keeps: the shipment as it was said, so that the next assessment looks only at what new facts touch."""
from __future__ import annotations

from collections.abc import Callable

import msgspec

from streams.assess import Assessment
from streams.assess.core import Wanted, trip_of
from streams.assess.findings import Raised
from streams.assess.fresh import freshness, sources_of
from streams.assess.memo import Memo
from streams.assess.presence import presence
from streams.assess.say import NOTHING, Say
from streams.assess.scopes import INNER, boxes_of, inner
from streams.clearance.kept import AMENDS, OPEN, WAITS, Ground, Kept, Named, summaries_of
from streams.clearance.kept import boxes_of as known_boxes
from streams.clearance.publish import heard, moved
from streams.clearance.state import Shipment, Shown
from streams.reference.model import Reference
from streams.rules import grounds
from streams.rules.case import Case, SideCase, Trip
from streams.rules.day import day_of
from streams.rules.gtt_link import link_of
from streams.status import Basis, SideRules, SideStatus, State
from topics.events.internal import MaskFacts
from topics.events.outputs import ClearanceUpdate
from topics.events.sites import CrossingCondition
from topics.facts import NEVER, WHOLE

UNKNOWN = SideRules(authority="")
"""Rules of a side that was not assessed: only its scopes are known."""
TRANSIT_OPEN = frozenset({"transit_open"})


class Behind:
    """Updates of sides that were not assessed, for the rare reader who wants one: then the whole is."""

    __slots__ = ("_updates", "_whole")

    def __init__(self, whole: Callable[[], Assessment]) -> None:
        self._whole = whole
        self._updates: dict[str, ClearanceUpdate] | None = None

    def __call__(self, side: str) -> ClearanceUpdate:
        if self._updates is None:
            self._updates = {u.side: u for u in self._whole().updates}
        return self._updates[side]


def resumed(
    held: Shipment, key: str, reference: Reference, public: tuple[msgspec.Struct, ...], now: int, pack: str, whole: Callable[[], Assessment]
) -> Memo | None:
    """A memo in which every side stands as it was said; None when that cannot be told. `whole` assesses the state as it is."""
    ground = held.ground
    if ground is None or held.limited or now < held.heard_at or any(isinstance(b, MaskFacts) for b in public):
        return None
    living = [f for f in held.facts if f.value is not None]
    trip = trip_of(key, living, reference, now)
    if len(ground.sides) != len(trip.sides) or held.shown.keys() != {s.id for s in trip.sides} or grounds.of_seals(trip.sealed()) & grounds.CHANGED:
        return None
    trip.closures = {b.crossing: b for b in public if isinstance(b, CrossingCondition)}
    raised, boxes, sources, behind = Raised(day_of(now)), boxes_of(trip), sources_of(public), Behind(whole)
    known, says = known_boxes(trip), []
    for side, kept in zip(trip.sides, ground.sides, strict=True):
        scopes = (boxes(side) if side.required else []) or [WHOLE]
        presence(side, scopes)
        if side.required:
            side.rules = dict.fromkeys(scopes, UNKNOWN)
            side.classes = None if held.restricted else []
            if sources.said:
                side.fresh = freshness(trip, side, sources)
        raised.wanted[side.id] = {}
        was = held.shown[side.id]
        if kept is None:
            says.append(_bare(trip, side, raised, reference, pack, was))
        else:
            says.append(_standing(side, kept, ground, known, was, behind, now))
    if trip.enrolled("gtt"):
        for side in trip.sides:
            link_of(Case(trip, side), reference, raised.today)
    for name, alert in held.alerts.items():
        if alert.side not in raised.wanted:
            return None
        raised.wanted[alert.side][name] = Wanted(key=name, name=alert.name, severity=alert.severity, side=alert.side)
    if heard(public, pack, trip.sides, held.facts) != held.heard:
        return None
    return Memo(tuple(living), reference, public, held.heard_at, pack, held.due_first, (), trip, raised, tuple(says),
                frozenset(s.side.id for s in says if not s.bare))


def _bare(trip: Trip, side: SideCase, raised: Raised, reference: Reference, pack: str, was: Shown) -> Say:
    side.facts.append(inner(side))
    side.status = INNER
    said = Say(trip, side, raised, reference, pack)
    said.remembers(was.digest)
    return said


def _standing(side: SideCase, kept: Kept, ground: Ground, boxes: tuple[str, ...], was: Shown, behind: Behind, now: int) -> Say:
    side.status = SideStatus(state=State(was.state), basis=Basis.INFERRED, since=kept.since if kept.since is not None else NEVER, next_due=kept.due,
                             movable=True)
    if kept.rows:
        side.summaries = summaries_of(side.id, boxes, kept)
    times = ground.drift.get(side.id, was.times)
    anew = kept.bits & WAITS or moved(was.times, times, now)      # what a clock may change at any time is looked at every time
    until = NEVER if anew else kept.due if kept.until is None else kept.until
    return Say.standing(side, was.digest, times, until, kept.due, Named(kept.named), TRANSIT_OPEN if kept.bits & OPEN else NOTHING, behind,
                        kept.said, bool(kept.bits & AMENDS), (boxes, kept))
