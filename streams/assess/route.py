"""The sides of a shipment's route, in order: borders of the corridor, offices of the documents, territories that are crossed."""
from __future__ import annotations

from collections.abc import Iterable

from streams.reference.model import Reference
from streams.rules.case import SideCase, Trip
from topics.identifiers import office_side, side_id, territory_side


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
        if side.authority == authority and side.office == office:
            return side
    borders = [s for s in trip.sides if s.authority == authority and s.kind in ("EXIT", "ENTRY")]
    if borders:
        order = borders[0].order - 1 if borders[0].kind == "EXIT" and borders[0].order == 0 else borders[-1].order
    else:
        order = max((s.order for s in trip.sides), default=0) + 1
    side = _side(reference, office_side(office, authority), authority, "OFFICE", order, trip.direction)
    side.office = office
    side.office_role = "inland" if borders and borders[0].kind == "EXIT" and borders[0].order == 0 else "destination"
    side.mapped = ("office", f"{authority}:{office}") in reference.mapped or any(
        place.kind == "office" and place.id == office for place in reference.places.values())
    trip.sides.append(side)
    return side


def _side(reference: Reference, id: str, authority: str, kind: str, order: int, direction: str) -> SideCase:
    row = reference.authorities.get(authority)
    return SideCase(id, authority, kind, order, direction=direction, union=row.union if row else "")


def in_order(sides: Iterable[SideCase]) -> list[SideCase]:
    """Route order; an office stands beside the border that it belongs to, ids break ties."""
    return sorted(sides, key=lambda s: (s.order, s.kind == "TERRITORY", s.kind == "OFFICE", s.id))
