"""Which sides a changed fact can touch. Explicit and wide: what stands in no list touches everything, and the whole is assessed anew.

* `position` (side `*`): no side, only which train carries which box.
* `eta` of a side: that side's deadlines; where the customs-rail link applies, also GTT-06 of its pair.
* Presence, runs, loading, the words of documents, demands and conditions at one side: that side and its pair at the crossing; a demand also
  every later side (recognition of a control); a departure or visit, while earlier notes are compared, also every side still ahead.
* All else touches everything: anything of a TERRITORY, an agency, a seal, a filing, the declaration, a mask, a house item, `doc ... ended`,
  `....enrolled`, a railway or an office that is named for the first time.
"""
from __future__ import annotations

from collections.abc import Iterable

from streams.assess.resolve import STOPPING, resolved
from streams.rules.case import SideCase, Trip
from topics.facts import EVERYWHERE, NEVER, Fact, Rank

LOCAL = frozenset({"visit", "run", "route", "seen", "handed_over", "presented", "departed", "loading_start", "unloading", "doc", "demand", "condition"})
"""Heads that one side's facts may change without the whole being assessed anew."""


def anywhere(fact: Fact) -> bool:
    """Does such a fact touch everything, whatever the shipment is?"""
    head = fact.key[0]
    return head != "position" if fact.side == EVERYWHERE else (head != "eta" and head not in LOCAL) or "/" in fact.scope or not _confined(fact)


class Touched:
    """What a step touches, by side id."""

    __slots__ = ("anew", "else_", "moved", "pairs", "places", "positions")

    def __init__(self) -> None:
        self.places: list[tuple[Fact, list[SideCase]]] = []
        """Changed facts and the sides that they are about."""
        self.anew: set[str] = set()
        """Sides to be assessed anew."""
        self.pairs: set[str] = set()
        """Of those the other sides of a touched side's crossing: they look at it through the customs-rail link only."""
        self.else_: set[str] = set()
        """Those that are touched otherwise too."""
        self.moved: set[str] = set()
        """Sides of which only the ETA has changed."""
        self.positions = False


def touched(trip: Trip, changed: Iterable[Fact]) -> Touched | None:
    """What these living facts, new ones and those that are gone, can touch; None = everything."""
    found = Touched()
    by_id = {s.id: s for s in trip.sides}
    served = {(f.kind, f.number): f.sides for f in trip.filings}
    for fact in changed:
        head = fact.key[0]
        if fact.side == EVERYWHERE:
            if head != "position":
                return None
            found.positions = True
            continue
        if "/" in fact.scope or (fact.rank is Rank.RAILWAY and fact.source in trip.reference.parties and fact.source not in trip.railways):
            return None
        if (head != "eta" and head not in LOCAL) or not _confined(fact):
            return None
        sides = resolved(trip, fact, served, by_id) if fact.side[:1] == "@" else [by_id[fact.side]] if fact.side in by_id else []
        if not sides or any(s.kind == "TERRITORY" for s in sides) or _anywhere(trip, head, sides):
            return None
        found.places.append((fact, sides))
        for side in sides:
            if head == "eta" and fact.source != side.authority:
                found.moved.add(side.id)
            else:
                found.else_ |= reach(trip, side, head)
                found.pairs |= pair(trip, side)
        if head == "doc":                               # what one of its authorities has decided, nobody asks to amend at another
            found.else_ |= set(served.get((fact.key[1], fact.key[2]), ()))
    found.anew = found.else_ | found.pairs
    found.pairs -= found.else_
    return found


def _confined(fact: Fact) -> bool:
    """Looked at by no rule of another side, beside those that `reach` names."""
    if fact.key[0] == "doc":
        return fact.key[3] != "ended"
    return not (fact.key[0] == "condition" and fact.key[1].endswith(".enrolled"))


def _anywhere(trip: Trip, head: str, sides: list[SideCase]) -> bool:
    """A demand of an authority that may stop goods at sides which it does not name, or a departure that tells where one of those stands."""
    mine = {s.authority for s in sides}
    acts = any(s.authority in mine and s.kind == "TERRITORY" for s in trip.sides)
    if head == "demand":
        return acts or any(s.authority in mine and not s.mapped for s in trip.sides) or any(
            lost.authority in mine and lost.fact.key[0] in STOPPING for lost in trip.lost)
    return head == "departed" and acts and any(f.key[0] in STOPPING and f.side[:1] == "@" for f in trip.facts)


def pair(trip: Trip, side: SideCase) -> set[str]:
    """The other side of this one's crossing."""
    return {s.id for s in trip.sides if s.crossing == side.crossing and s is not side} if side.crossing else set()


def reach(trip: Trip, side: SideCase, head: str) -> set[str]:
    """Sides that look at what is said of this one under this head, beside its pair."""
    sides = {side.id}
    if head == "demand":
        sides |= {s.id for s in trip.sides if s.order >= side.order and s.kind != "TERRITORY"}
    if head in ("departed", "visit", "seen", "handed_over", "presented") and trip.notes:
        ahead = (s for s in trip.sides if s.required and s.kind != "TERRITORY")
        sides |= {s.id for s in ahead if s.departed == NEVER}
    return sides
