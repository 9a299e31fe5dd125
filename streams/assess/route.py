"""The sides of a shipment's route, in order: borders of the corridor, offices of the documents, territories that are crossed."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.assess.rows import book_of, names_of
from streams.network.sides import SideSpec, crossings_of
from streams.reference.model import Reference
from streams.rules.case import Content, SideCase, Trip
from topics.facts import Fact
from topics.identifiers import BadIdentifier, parse_side

REACHED = frozenset({"route", "run", "visit", "seen", "handed_over", "presented", "departed", "eta"})
"""Facts that only a side of the route has."""
TRANSIT_KINDS = frozenset({"transit", "td", "tir", "next_transit"})
"""A filing of these kinds is lodged at its office of departure and names those of destination."""


def sides_of(trip: Trip, reference: Reference) -> list[SideCase]:
    """Every side in the order it is passed: the declared crossings (else the corridor's), and every office that a document or notice names."""
    names = tuple(trip.declared.get("crossings", ()))
    if not names and (corridor := reference.corridors.get(trip.corridor)) is not None:
        names = crossings_of(corridor, trip.direction)
    book = book_of(reference)
    found = book.specs(names, trip.direction, ())
    posts = {(spec.authority, name) for spec, called in found for name in called}
    offices = [o for o in _offices(trip) if (o[0], o[1]) not in posts] if trip.declared else []
    if offices:                                         # before the route is known an office may still turn out to be a border post
        listed = tuple(dict.fromkeys(f"{a}:{code}:{role}" if role else f"{a}:{code}" for a, code, role in offices))
        found = book.specs(names, trip.direction, listed)
    return [_case(trip, reference, spec, called) for spec, called in found]


def _offices(trip: Trip) -> list[tuple[str, str, str]]:
    """(authority, code, role) of every office that the shipment, its filings or a notice names, each once, in a fixed order."""
    found: dict[tuple[str, str], str] = {}
    for office in trip.declared.get("offices", ()):
        authority, _, rest = str(office).partition(":")
        code, _, role = rest.partition(":")
        found.setdefault((authority, code), role)
    for fact in trip.facts:
        if fact.key[0] == "filing" and isinstance(fact.value, dict):
            _of_filing(fact.value, str(fact.key[1]), found)
        elif fact.side[:1] == "@" and "/office/" in fact.side:
            authority, _, code = fact.side[1:].partition("/office/")
            found.setdefault((authority, code), "")
    return [(a, code, role) for (a, code), role in found.items() if a and code]


def _of_filing(content: Content, kind: str, found: dict[tuple[str, str], str]) -> None:
    role = "departure" if kind in TRANSIT_KINDS else ""
    named = [(f"{content.get('authority', '')}:{content.get('office', '')}", role)]
    named += [(str(o), "destination" if role else "") for o in content.get("offices", ())]
    for office, as_ in named:
        authority, _, code = office.partition(":")
        if code and not found.get((authority, code)):
            found[authority, code] = as_


def _case(trip: Trip, reference: Reference, spec: SideSpec, called: frozenset[str]) -> SideCase:
    row = reference.authorities.get(spec.authority)
    side = SideCase(
        spec.id, spec.authority, spec.kind, spec.order, crossing=spec.crossing, office=spec.office, direction=trip.direction,
        required=spec.customs_border, union=row.union if row else "", mapped=spec.kind != "OFFICE" or known_office(reference, spec), spec=spec)
    side.office_role, side.names = spec.office_role, called
    return side


def known_office(reference: Reference, spec: SideSpec) -> bool:
    """Is this office in the network: mapped, or a place of its own?"""
    place = reference.places.get(spec.office)
    return bool(spec.place) or (place is not None and place.country == spec.authority)


def add_reached(trip: Trip, reference: Reference) -> None:
    """Sides that the goods reach although the declared route does not name them: a diversion. Each stands where the side that it
    takes the place of stands (same authority and kind), else at the end."""
    known = {s.id for s in trip.sides}
    reached = {f.side for f in trip.facts if f.key[0] in REACHED and f.side[:1] not in ("*", "@") and f.side not in known}
    for id in sorted(reached, key=_passing):
        try:
            parsed = parse_side(id)
        except BadIdentifier:
            continue
        crossing = reference.crossings.get(parsed.crossing)
        instead = next((s for s in trip.sides if s.authority == parsed.authority and s.kind == parsed.kind and s.required), None)
        order = instead.order if instead is not None else max((s.order for s in trip.sides), default=0) + 1
        place, office = "", parsed.office
        if crossing is not None:
            place = crossing.a if parsed.authority == crossing.a_authority else crossing.b
            office = crossing.offices.get(parsed.authority, "")
        spec = SideSpec(
            id=id, authority=parsed.authority, kind=parsed.kind, order=order, crossing=parsed.crossing, office=office, place=place,
            customs_border=crossing.customs_border if crossing is not None else True)
        side = _case(trip, reference, spec, names_of(reference, spec))
        side.mapped = crossing is not None or not parsed.crossing
        trip.sides.append(side)
    trip.reached = frozenset(s.id for s in trip.sides if s.id not in known)


def _passing(side: str) -> tuple[str, bool, str]:
    """Order among sides that no route names: of one crossing the exit first."""
    crossing, _, _ = side.partition(":")
    return crossing, not side.endswith(":EXIT"), side


def route_order(sides: Iterable[SideCase]) -> list[SideCase]:
    """Route order; ids break ties."""
    return sorted(sides, key=lambda s: (s.order, s.id))


def newest(facts: Iterable[Fact]) -> Fact | None:
    """Of several words about one thing the highest rank, then the latest."""
    if isinstance(facts, Sequence) and len(facts) < 2:
        return facts[0] if facts else None
    return max(facts, key=lambda f: (f.rank, f.at, f.version, f.source, f.record, f.id), default=None)
