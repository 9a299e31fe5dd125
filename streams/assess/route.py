"""The sides of a shipment's route, in order: borders of the corridor, offices of the documents, territories that are crossed."""
from __future__ import annotations

from collections.abc import Iterable

from streams.reference.model import Reference
from streams.rules.case import SideCase, Trip
from topics.identifiers import BadIdentifier, office_side, parse_side, side_id, territory_side

REACHED = frozenset({"route", "run", "visit", "seen", "handed_over", "presented", "departed", "eta"})
"""Facts that only a side of the route has."""


def sides_of(trip: Trip, reference: Reference) -> list[SideCase]:
    """Border sides in the order they are passed, then the offices and territories. Inner borders give NOT_REQUIRED sides."""
    west = trip.direction != "east"
    sides: list[SideCase] = []
    crossed: list[str] = []
    for name in crossings_of(trip, reference):
        crossing = reference.crossings.get(name)
        if crossing is None:
            continue
        first, second = (crossing.a_authority, crossing.b_authority) if west else (crossing.b_authority, crossing.a_authority)
        for authority, kind in ((first, "EXIT"), (second, "ENTRY")):
            row = reference.authorities.get(authority)
            sides.append(SideCase(
                side_id(name, authority, "EXIT" if kind == "EXIT" else "ENTRY"), authority, kind, len(sides), crossing=name,
                office=crossing.offices.get(authority, ""), direction=trip.direction, required=crossing.customs_border,
                union=row.union if row else ""))
            sides[-1].names |= {crossing.a if authority == crossing.a_authority else crossing.b}
            crossed.append(authority)
    for authority in dict.fromkeys(crossed):
        if authority in reference.authorities and reference.authorities[authority].territory:
            first_order = min(s.order for s in sides if s.authority == authority)
            sides.append(_side(reference, territory_side(authority), authority, "TERRITORY", first_order, trip.direction))
    return sides


def crossings_of(trip: Trip, reference: Reference) -> tuple[str, ...]:
    """Crossing ids in the order they are passed: the declared ones, else those of the corridor (reversed eastwards)."""
    declared = tuple(trip.declared.get("crossings", ()))
    if declared:
        return declared
    corridor = reference.corridors.get(trip.corridor)
    if corridor is None:
        return ()
    return corridor.crossings if trip.direction != "east" else tuple(reversed(corridor.crossings))


def add_office(trip: Trip, reference: Reference, authority: str, office: str) -> SideCase:
    """The side of an office, made when the route does not have it yet. Before the borders for an office of the first country, else after."""
    for side in trip.sides:
        if side.authority == authority and office in side.names:
            return side
    borders = [s for s in trip.sides if s.authority == authority and s.kind in ("EXIT", "ENTRY")]
    if borders:
        order = borders[0].order - 1 if borders[0].kind == "EXIT" and borders[0].order == 0 else borders[-1].order
    else:
        order = max((s.order for s in trip.sides), default=0) + 1
    side = _side(reference, office_side(office, authority), authority, "OFFICE", order, trip.direction)
    side.office, side.names = office, frozenset((office,))
    side.office_role = "inland" if borders and borders[0].kind == "EXIT" and borders[0].order == 0 else "destination"
    known = reference.mapped.get(("office", f"{authority}:{office}"))
    place = reference.places.get(office)
    side.mapped = known is not None or (place is not None and place.country == authority)
    if known is not None:
        side.names |= {known.means}
    trip.sides.append(side)
    return side


def add_reached(trip: Trip, reference: Reference) -> None:
    """Sides that the goods reach although the declared route does not name them: a diversion. Each stands where the side that it
    takes the place of stands (same authority and kind), else at the end."""
    known = {s.id for s in trip.sides}
    for id in sorted({f.side for f in trip.facts if f.side[:1] not in ("*", "@") and f.key[0] in REACHED and f.side not in known}):
        try:
            parsed = parse_side(id)
        except BadIdentifier:
            continue
        crossing = reference.crossings.get(parsed.crossing)
        row = reference.authorities.get(parsed.authority)
        instead = next((s for s in trip.sides if s.authority == parsed.authority and s.kind == parsed.kind and s.required), None)
        order = instead.order if instead is not None else max((s.order for s in trip.sides), default=0) + 1
        side = SideCase(
            id, parsed.authority, parsed.kind, order, crossing=parsed.crossing, office=parsed.office, direction=trip.direction,
            required=crossing.customs_border if crossing is not None else True, mapped=crossing is not None or not parsed.crossing,
            union=row.union if row else "")
        if crossing is not None:
            side.office = crossing.offices.get(parsed.authority, "")
            side.names |= {side.office, crossing.a if parsed.authority == crossing.a_authority else crossing.b} - {""}
        trip.sides.append(side)


def _side(reference: Reference, id: str, authority: str, kind: str, order: int, direction: str) -> SideCase:
    row = reference.authorities.get(authority)
    return SideCase(id, authority, kind, order, direction=direction, union=row.union if row else "")


def in_order(sides: Iterable[SideCase]) -> list[SideCase]:
    """Route order; an office stands beside the border that it belongs to, ids break ties."""
    return sorted(sides, key=lambda s: (s.order, s.kind == "TERRITORY", s.kind == "OFFICE", s.id))
