"""Which side a place, a crossing or an office is."""
from __future__ import annotations

import math

from streams.network.route import KM_PER_DEGREE
from streams.reference.model import Crossing, Reference
from topics.facts import Rank
from topics.identifiers import side_id

RANKS = {"railway": Rank.RAILWAY, "terminal": Rank.TERMINAL, "seals": Rank.SENSOR, "trade": Rank.FORWARDER}


def side_at(reference: Reference, crossing_id: str, authority: str, direction: str) -> str:
    """The side of an authority at a crossing: concrete when the direction is known, else to be resolved against the route; empty when the
    authority has no side there."""
    crossing = reference.crossings.get(crossing_id)
    if crossing is None or authority not in (crossing.a_authority, crossing.b_authority):
        return ""
    if direction not in ("west", "east"):
        return f"@{authority}/office/{crossing_id}"
    return side_id(crossing_id, authority, "EXIT" if _leaves(crossing, authority, direction) else "ENTRY")


def _leaves(crossing: Crossing, authority: str, direction: str) -> bool:
    return (crossing.a_authority == authority) is (direction == "west")


def side_of_place(reference: Reference, place_id: str, direction: str) -> str:
    """The side that a terminal or station stands at: that of its crossing, or of its inland office; empty for any other place. A port that
    serves several crossings is named by its office, which the shipment's route resolves."""
    place = reference.places.get(place_id)
    if place is None:
        return ""
    if place.crossing:
        return side_at(reference, place.crossing, place.country, direction)
    shared = [c for c in reference.crossings.values() if place_id in (c.a, c.b)]
    if len(shared) == 1:
        return side_at(reference, shared[0].id, place.country, direction)
    offices = {c.offices.get(place.country, "") for c in shared}
    office = place.id if place.kind == "office" else next(iter(offices)) if len(offices) == 1 else ""
    return f"@{place.country}/office/{office}" if office else ""


def distance_km(reference: Reference, place_id: str, lat: float, lon: float) -> float | None:
    """How far a position is from a place, on a plane around it; None when the place or its coordinates are not known."""
    place = reference.places.get(place_id)
    if place is None or place.lat is None or place.lon is None:
        return None
    east = (place.lon - lon) * math.cos(math.radians(lat))
    return math.hypot(east, place.lat - lat) * KM_PER_DEGREE


def place_near(reference: Reference, lat: float, lon: float) -> str:
    """The place whose geofence holds a position, the nearest of several; empty when none does. Towns that only shape a line have none."""
    found = [(km, place.id) for place in reference.places.values()
             if place.kind != "town" and (km := distance_km(reference, place.id, lat, lon)) is not None and km <= place.radius_km]
    return min(found)[1] if found else ""


def speaker(reference: Reference, party: str) -> tuple[str, Rank]:
    """(source, rank) of what a party says: an authority speaks under its code."""
    code = party.removeprefix("customs-").upper()
    if code in reference.authorities and reference.authorities[code].party == party:
        return code, Rank.AUTHORITY
    row = reference.parties.get(party)
    return party, RANKS.get(row.role, Rank.SENSOR) if row is not None else Rank.FORWARDER


def customs_border(reference: Reference, side: str) -> bool:
    """False for a side inside a customs territory."""
    crossing = reference.crossings.get(side.split(":", 1)[0])
    return crossing is None or crossing.customs_border
