"""Where positions are on the line of a corridor, and which of them are not believed."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from streams.network.near import Located, Nearby
from streams.network.route import Route, RouteRefused, build_route, distance_km
from streams.reference.model import Reference
from streams.trains.inputs import Fix
from topics.facts import HOUR

LINES_MAX = 64
_lines: dict[tuple[int, str, str], tuple[Reference, Route | None]] = {}
"""Lines by reference, corridor and direction: the same arguments give the same line. The reference is held so that its identity stays its own."""
_nearby: dict[int, Nearby] = {}
"""Each holds its line, so that its identity stays its own."""


def line_of(reference: Reference, corridor: str, direction: str) -> Route | None:
    """The line of a corridor; None when there is none."""
    name = (id(reference), corridor, direction)
    found = _lines.get(name)
    if found is None or found[0] is not reference:
        try:
            line: Route | None = build_route(reference, corridor, direction)
        except RouteRefused:
            line = None
        if len(_lines) >= LINES_MAX:
            _lines.clear()
        found = _lines[name] = reference, line
    return found[1]


def located(line: Route, lat: float, lon: float) -> Located:
    """Where a position is on a line."""
    nearby = _nearby.get(id(line))
    if nearby is None:
        if len(_nearby) >= LINES_MAX:
            _nearby.clear()
        nearby = _nearby[id(line)] = Nearby(line)
    return nearby.locate(lat, lon)


class Spot(NamedTuple):
    """A position on the line."""

    fix: Fix
    km: float
    """Running kilometre, branches included."""
    trunk_km: float
    """Progress along the trunk, where the sides stand."""
    place: str
    """Station or terminal where it is; empty between stations."""
    reported: bool
    """A railway's station event, not a sensor's coordinates."""
    lat: float
    lon: float


class Refused(NamedTuple):
    """A position that is not believed."""

    fix: Fix
    reason: str


def spots_of(line: Route, fixes: Sequence[Fix], reference: Reference, since: int) -> tuple[list[Spot], list[Refused]]:
    """Positions on the line in order of time, and those that are not believed: off the route, before the train was formed, jumps."""
    limits = reference.limits
    off_km_max = limits.position_off_route_km_max
    refused = [Refused(f, "POSITION_BEFORE_DEPARTURE") for f in fixes if f.at < since]
    spots: list[Spot] = []
    for fix in fixes:
        if fix.at < since:
            continue
        spot = spot_of(line, fix, _point(fix, reference), off_km_max)
        if spot is None:
            refused.append(Refused(fix, "POSITION_OFF_ROUTE"))
        else:
            spots.append(spot)
    believed, jumps = _without_jumps(spots, limits.position_speed_kmh_max)
    return believed, refused + [Refused(s.fix, "POSITION_JUMP") for s in jumps]


def _point(fix: Fix, reference: Reference) -> tuple[float, float] | None:
    if not fix.station:
        return fix.lat, fix.lon
    place = reference.places.get(fix.station)
    return None if place is None or place.lat is None or place.lon is None else (place.lat, place.lon)


def spot_of(line: Route, fix: Fix, point: tuple[float, float] | None, off_km_max: float) -> Spot | None:
    """A position on the line; None when it is too far from it."""
    lat, lon = point or (0.0, 0.0)
    found = located(line, lat, lon) if point is not None else None
    if fix.station and fix.station in line.km_of:
        km = line.km_of[fix.station]
        trunk = found[1] if found is not None and found[2] < 1.0 else km
        return Spot(fix, km, trunk, fix.station, True, lat, lon)
    if found is None or found[2] > off_km_max:
        return None
    return Spot(fix, found[0], found[1], fix.station or found[3], bool(fix.station), lat, lon)


SAME_TIME_KM = 5.0
"""Two positions of one instant may lie this far apart: a train is a kilometre long and receivers differ [D]."""
PASSES_MAX = 8


def _without_jumps(spots: list[Spot], kmh_max: float) -> tuple[list[Spot], list[Spot]]:
    """Without sensor positions that no train can have reached: those that agree with neither neighbour, while the neighbours agree with
    each other. Which one came first does not matter; a railway's station event is never dropped for a sensor's word."""
    kept, jumps = spots, list[Spot]()
    for _ in range(PASSES_MAX):
        bad = [s for i, s in enumerate(kept) if not s.reported and _jumps(kept, i, kmh_max)]
        if not bad:
            break
        jumps += bad
        gone = {s.fix.key for s in bad}
        kept = [s for s in kept if s.fix.key not in gone]
    return kept, jumps


def _jumps(spots: list[Spot], i: int, kmh_max: float) -> bool:
    before, after = spots[i - 1] if i else None, spots[i + 1] if i + 1 < len(spots) else None
    if before is not None and after is not None:
        return apart(before, spots[i], kmh_max) and apart(spots[i], after, kmh_max) and not apart(before, after, kmh_max)
    if before is not None:
        return apart(before, spots[i], kmh_max) and not (i > 1 and apart(spots[i - 2], before, kmh_max))
    if after is not None and i + 2 < len(spots):
        return apart(spots[i], after, kmh_max) and not apart(after, spots[i + 2], kmh_max)
    return False


def apart(one: Spot, other: Spot, kmh_max: float) -> bool:
    """Too far apart for a train in that time."""
    if (one.lat == 0.0 and one.lon == 0.0) or (other.lat == 0.0 and other.lon == 0.0):
        return False                                    # a station without coordinates
    km = distance_km(one.lat, one.lon, other.lat, other.lon)
    hours = abs(other.fix.at - one.fix.at) / HOUR
    return km > SAME_TIME_KM and (hours == 0 or km / hours > kmh_max)
