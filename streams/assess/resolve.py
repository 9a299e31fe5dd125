"""Which sides a fact is about: its own, every side, or what `@AUTHORITY…` resolves to on this route (design section 3, Documents).

A notice names its side by office, else by the document it cites, else by being that authority's only side on the route; otherwise it
is kept without effect (SIDE_AMBIGUOUS): one release must not clear two sides.
"""
from __future__ import annotations

from streams.assess.rows import book_of
from streams.rules.case import Content, Lodged, SideCase, Trip, boxes_in
from topics.facts import EVERYWHERE, WHOLE, Fact

ABOUT_US = frozenset({"shipment", "filing", "bound", "doc_seal", "mass", "position"})
"""Heads of facts that describe the shipment; the ladder has no use for them."""


class Ambiguous:
    """A fact that names no side of this route."""

    __slots__ = ("authority", "fact", "office")

    def __init__(self, fact: Fact, authority: str, office: str) -> None:
        self.fact, self.authority, self.office = fact, authority, office


def spread(trip: Trip) -> list[Ambiguous]:
    """Put every fact on the sides that it is about. Gives those that could not be put anywhere."""
    read_documents(trip)
    lost: list[Ambiguous] = []
    served = {(f.kind, f.number): f.sides for f in trip.filings}
    by_id = {s.id: s for s in trip.sides}
    shared: list[Fact] = []
    for fact in trip.facts:
        head = fact.key[0]
        if fact.side == EVERYWHERE:
            trip.any.setdefault(head, []).append(fact)
            if head not in ABOUT_US:
                shared.append(fact)
        elif fact.side[:1] == "@":
            found = _resolved(trip, fact, served, by_id)
            if not found and head not in ABOUT_US:
                lost.append(Ambiguous(fact, _authority(fact.side), _part(fact.side, "office")))
            for side in found:
                side.facts.append(fact)
        elif (side_ := by_id.get(fact.side)) is not None:
            side_.facts.append(fact)
        else:
            trip.any.setdefault("off", []).append(fact)     # a side that is not on this route: kept, without effect
    for side in trip.sides:
        side.facts += shared
    return lost


def _authority(side: str) -> str:
    return side[1:].split("/", 1)[0]


def _part(side: str, what: str) -> str:
    """`@KZ/office/57505` -> 57505; `@KZ/doc/td/N/1` -> td/N/1."""
    _, _, rest = side.partition("/")
    name, _, value = rest.partition("/")
    return value if name == what else ""


def _resolved(
    trip: Trip, fact: Fact, served: dict[tuple[str, str], tuple[str, ...]], by_id: dict[str, SideCase]
) -> list[SideCase]:
    authority, office = _authority(fact.side), _part(fact.side, "office")
    if office:
        own = at_office(trip, authority, office)
        return [own, *_others(fact, own, served, by_id)] if own is not None else []
    document = _part(fact.side, "doc")
    if document:
        kind, _, number = document.partition("/")
        cited = [by_id[s] for s in served.get((kind, number), ()) if s in by_id]
        if any(s.authority == authority for s in cited):
            return [s for s in cited if s.authority == authority or fact.key[0] == "doc"]
        only = only_side(trip, authority) or handling(trip, authority, kind)
        return [only, *(s for s in cited if fact.key[0] == "doc")] if only else [s for s in cited if fact.key[0] == "doc"]
    kind = fact.side.partition("/")[2].upper()
    only = only_side(trip, authority, kind if kind in ("EXIT", "ENTRY", "OFFICE") else "")
    return [only] if only else []


def _others(fact: Fact, own: SideCase, served: dict[tuple[str, str], tuple[str, ...]], by_id: dict[str, SideCase]) -> list[SideCase]:
    """A document that one office registers or releases counts at every other authority's side that its offices name."""
    if fact.key[0] != "doc":
        return []
    sides = served.get((fact.key[1], fact.key[2]), ())
    return [s for name in sides if (s := by_id.get(name)) is not None and s.authority != own.authority]


def at_office(trip: Trip, authority: str, office: str) -> SideCase | None:
    """The side of this authority with this office code, crossing id or place id; None when the route has none."""
    return next((s for s in trip.sides if s.authority == authority and office in s.names), None)


def only_side(trip: Trip, authority: str, kind: str = "") -> SideCase | None:
    """The authority's only side (of a kind) with a customs border or office; else its territory; None when there are several, or none."""
    mine = [s for s in trip.sides if s.authority == authority and kind in ("", s.kind)]
    posts = [s for s in mine if s.kind != "TERRITORY" and s.required]
    if posts:
        return posts[0] if len(posts) == 1 else None
    territory = [s for s in mine if s.kind == "TERRITORY"]
    if territory:
        return territory[0]
    return mine[0] if len(mine) == 1 else None


def handling(trip: Trip, authority: str, kind: str) -> SideCase | None:
    """The authority's only side whose rows know this kind of document at all: an ENS is for the entry, not for an office of destination."""
    book = book_of(trip.reference)
    found = [s for s in trip.sides if s.authority == authority and s.required and s.kind != "TERRITORY" and s.mapped and kind in book.handled(s)]
    return found[0] if len(found) == 1 else None


# --- what the documents say ----------------------------------------------------------------------------------------


def read_documents(trip: Trip) -> None:
    """Filings with the sides that their offices name, and the boxes of the shipment."""
    for fact in trip.facts:
        if fact.key[0] == "filing" and isinstance(fact.value, dict):
            trip.filings.append(_lodged(trip, fact))
    trip.filings.sort(key=lambda f: (f.at, f.kind, f.number, f.source))
    for box in trip.declared.get("containers", ()):
        trip.boxes[str(box.get("container", ""))] = box
    for fact in trip.facts:
        if fact.key[0] == "bound" and fact.scope != WHOLE and fact.scope not in trip.boxes:
            trip.boxes[fact.scope] = {}


def _lodged(trip: Trip, fact: Fact) -> Lodged:
    content: Content = fact.value if isinstance(fact.value, dict) else {}
    _, kind, number = fact.key[:3]
    authority = str(content.get("authority", "")) or _authority(fact.side) if fact.side[:1] == "@" else str(content.get("authority", ""))
    named = [f"{authority}:{content['office']}"] if content.get("office") else []
    named += [str(o) for o in content.get("offices", ())]
    sides = []
    for office in named:
        of, _, code = office.partition(":")
        if code:
            side = at_office(trip, of, code)
            sides += [side.id] if side is not None else []
    if not sides and authority:
        only = only_side(trip, authority) or handling(trip, authority, kind)
        sides = [only.id] if only else []
    return Lodged(kind=kind, number=number, authority=authority, content=content, source=fact.source, at=fact.at, evidence=fact.id,
                  scope=fact.scope, sides=tuple(dict.fromkeys(sides)), by_box=boxes_in(content))
