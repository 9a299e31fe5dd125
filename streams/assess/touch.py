"""Which sides a changed fact can touch. Explicit and wide: what stands in no list touches everything, and the whole is assessed anew.

* `position` (side `*`): no side, only which train carries which box.
* `eta` of a side: that side's deadlines; where the customs-rail link applies, also GTT-06 of its pair.
* Presence, runs, loading, the words of documents, demands and conditions at one side: that side and its pair at the crossing; a control also
  every later side (recognition); a departure or visit, while earlier notes are compared, also every side still ahead. Whatever touches a
  side: the sides that ask to amend a document which serves it (`decided`), for a second visit or run takes back what was decided of it.
* A filing whose document nobody has spoken of yet: the sides that it serves, its authority's, and of the link's own papers the link's sides.
* All else touches everything: a word that frees one of its authority's sides and does not say which; anything of a TERRITORY, an agency, a seal,
  a filing that is known already, the declaration, a mask, a house item, `doc ... ended`, `....enrolled`, a railway or an office that is named for
  the first time.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from streams.assess.resolve import STOPPING, lodged_of, offices_named, resolved, withheld
from streams.rules.case import Lodged, SideCase, Trip
from streams.rules.grounds import CHANGED, of_seals
from topics.facts import EVERYWHERE, NEVER, Fact, Rank

LOCAL = frozenset({"visit", "run", "route", "seen", "handed_over", "presented", "departed", "loading_start", "unloading", "doc", "demand", "condition"})
"""Heads that one side's facts may change without the whole being assessed anew."""


def anywhere(fact: Fact) -> bool:
    """Does such a fact touch everything, whatever the shipment is?"""
    head = fact.key[0]
    return head != "position" if fact.side == EVERYWHERE else (head not in ("eta", "filing") and head not in LOCAL) or "/" in fact.scope or not _confined(fact)


class Touched:
    """What a step touches, by side id."""

    __slots__ = ("anew", "else_", "lodged", "moved", "pairs", "places", "positions")

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
        self.lodged: list[Lodged] = []
        """New filings."""


def touched(trip: Trip, changed: Sequence[Fact], new: Collection[int], amending: Callable[[str], bool]) -> Touched | None:
    """What these living facts, new ones (ids of the objects in `new`) and those that are gone, can touch; None = everything. `amending`: does a
    side ask to amend a document?"""
    found = Touched()
    by_id = {s.id: s for s in trip.sides}
    served = {(f.kind, f.number): f.sides for f in trip.filings}
    for fact in changed:
        if fact.key[0] == "filing":
            lodged = filed(trip, fact, by_id) if id(fact) in new and (fact.key[1], fact.key[2]) not in served else None
            if lodged is None:
                return None
            found.lodged.append(lodged)
            served[lodged.kind, lodged.number] = lodged.sides
            found.else_ |= _papers(trip, lodged)
    for fact in changed:
        head = fact.key[0]
        if fact.rank is Rank.RAILWAY and fact.source in trip.reference.parties and fact.source not in trip.railways:
            return None                                 # a railway that is named for the first time reads all sides
        if fact.side == EVERYWHERE:
            if head != "position":
                return None
            found.positions = True
            continue
        if "/" in fact.scope:
            return None
        if (head not in ("eta", "filing") and head not in LOCAL) or not _confined(fact):
            return None
        sides = resolved(trip, fact, served, by_id) if fact.side[:1] == "@" else [by_id[fact.side]] if fact.side in by_id else []
        if not sides or any(s.kind == "TERRITORY" for s in sides) or _anywhere(trip, head, sides):
            return None
        if head == "doc" and fact.side[:1] == "@" and withheld(trip, fact, sides):
            return None                                 # nobody knows which of its authority's sides it frees
        found.places.append((fact, sides))
        for side in sides:
            if head == "eta" and fact.source != side.authority:
                found.moved.add(side.id)
            elif head == "filing":
                found.else_.add(side.id)
            else:
                found.else_ |= reach(trip, side, fact)
                found.pairs |= pair(trip, side)
        if head == "doc":
            found.else_ |= {name for name in served.get((fact.key[1], fact.key[2]), ()) if amending(name)}
    for serving in served.values():                     # what one of its authorities has decided, nobody asks to amend at another
        if not found.else_.isdisjoint(serving):
            found.else_ |= {name for name in serving if amending(name)}
    found.anew = found.else_ | found.pairs
    found.pairs -= found.else_
    return found


def filed(trip: Trip, fact: Fact, by_id: dict[str, SideCase]) -> Lodged | None:
    """A new filing, where nothing that was said before speaks of its document and no office that it names changes the route; else None."""
    if not isinstance(fact.value, dict) or any(box.get("empty") for box in trip.boxes.values()) or of_seals(trip.sealed()) & CHANGED:
        return None
    lodged = lodged_of(trip, fact)
    about, cited = (lodged.kind, lodged.number), f"/doc/{lodged.kind}/{lodged.number}"
    if len(offices_named(lodged.content)) != sum(
            any(s.authority == a and s.kind in ("EXIT", "ENTRY") and code in s.names for s in trip.sides) for a, code in offices_named(lodged.content)):
        return None
    for said in trip.facts:
        if said.side.endswith(cited) or (said.key[0] == "doc" and said.key[1:3] == about) or (
                said.key[0] == "demand" and said.key[2] == f"{lodged.kind}/{lodged.number}"):
            return None
    return lodged if all(by_id[name].kind != "TERRITORY" for name in lodged.sides) else None


def _papers(trip: Trip, lodged: Lodged) -> set[str]:
    """Sides that look at a filing: those that it serves, its authority's, and the link's where it is about the train or the link itself."""
    sides = {*lodged.sides, *(s.id for s in trip.sides if s.authority == lodged.authority and s.required and s.kind != "TERRITORY")}
    if lodged.kind in ("gtt", "manifest"):
        sides |= {name for name, link in trip.links.items() if link is not None}
    return sides


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
    """The other side of this one's crossing, where the customs-rail link may apply."""
    if not trip.enrolled("gtt") or trip.links.get(side.id, side) is None:
        return set()
    return {s.id for s in trip.sides if s.crossing == side.crossing and s is not side} if side.crossing else set()


def reach(trip: Trip, side: SideCase, fact: Fact) -> set[str]:
    """Sides that look at such a word about this one, beside its pair."""
    sides, head = {side.id}, fact.key[0]
    if head == "demand" and fact.key[1] == "control":
        sides |= {s.id for s in trip.sides if s.order >= side.order and s.required and s.kind != "TERRITORY"}
    if head in ("departed", "visit", "seen", "handed_over", "presented") and trip.notes:
        ahead = (s for s in trip.sides if s.required and s.kind != "TERRITORY")
        sides |= {s.id for s in ahead if s.departed == NEVER}
    return sides
