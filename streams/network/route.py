"""The line of a corridor in one direction: segments between places that have coordinates, with running kilometres.

Branches (feeders from a hub to the trunk, spurs to a destination beside it) have kilometres that continue the trunk's: before the junction
on the way in, after it on the way out. Sides stand on the trunk only, so progress along sides is told by the trunk kilometre.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streams.reference.model import Corridor, Place, Reference

EARTH_RADIUS_KM = 6371.0
KM_PER_DEGREE = math.pi * EARTH_RADIUS_KM / 180
Floats = NDArray[np.float64]


class RouteRefused(ValueError):
    """A corridor from which no line can be made."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A place of the route."""

    place: str
    km: float
    exact: bool
    """False: the place has no coordinates; its kilometre lies evenly between its neighbours and it is never matched."""
    country: str
    radius_km: float
    branch: str = ""
    """Hub or destination of the branch that it stands on; empty for the trunk."""


@dataclass(frozen=True)
class Route:
    """A corridor in one direction. Arrays run over segments, trunk first, in the order of travel."""

    corridor: str
    direction: str
    stops: tuple[Stop, ...]
    """Trunk places in the order of travel."""
    branch_stops: tuple[Stop, ...]
    start_lat: Floats
    start_lon: Floats
    end_lat: Floats
    end_lon: Floats
    start_km: Floats
    end_km: Floats
    junction_km: Floats
    """Per segment: NaN on the trunk, else the trunk kilometre of the branch's junction."""
    fence_lat: Floats
    fence_lon: Floats
    fence_radius: Floats
    fence_places: tuple[str, ...]
    """Places with coordinates that have a geofence (towns that only shape the line have none)."""

    @property
    def length_km(self) -> float:
        return self.stops[-1].km

    @cached_property
    def km_of(self) -> dict[str, float]:
        """Kilometre of every place, trunk and branches."""
        return {s.place: s.km for s in (*self.branch_stops, *self.stops)}

    @cached_property
    def stop_kms(self) -> tuple[float, ...]:
        """Kilometres of the trunk's places; they never fall."""
        return tuple(s.km for s in self.stops)

    @cached_property
    def radius_of(self) -> dict[str, float]:
        return {s.place: s.radius_km for s in (*self.branch_stops, *self.stops)}


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance."""
    p1, p2 = math.radians(lat1), math.radians(lat2)
    h = math.sin((p2 - p1) / 2) ** 2 + math.cos(p1) * math.cos(p2) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, h)))


def build_route(reference: Reference, corridor_id: str, direction: str) -> Route:
    """The line of a corridor, west or east. Raises RouteRefused when the corridor is unknown or has fewer than two places on the map."""
    corridor = reference.corridors.get(corridor_id)
    if corridor is None:
        raise RouteRefused(f"{corridor_id!r} is no corridor of the network")
    trunk = [reference.places[p] for p in corridor.places]
    if direction == "east":
        trunk.reverse()
    stops = _stops(trunk, 0.0, "")
    km_of = {s.place: s.km for s in stops}
    segments = _segments(trunk, stops, math.nan)
    branch_stops: list[Stop] = []
    for hub, way, inbound in _branches(corridor, direction):
        places = [reference.places[p] for p in way]
        junction = way[-1] if inbound else way[0]
        line = _stops(places, 0.0, hub)
        shift = km_of[junction] - (line[-1].km if inbound else 0.0)
        line = [Stop(s.place, s.km + shift, s.exact, s.country, s.radius_km, hub) for s in line]
        segments += _segments(places, line, km_of[junction])
        branch_stops += [s for s in line if s.place not in km_of]
    if not segments:
        raise RouteRefused(f"corridor {corridor_id} has no two neighbouring places with coordinates")
    columns = np.array(segments, dtype=np.float64).T
    fences = [p for s in (*stops, *branch_stops) if (p := reference.places[s.place]).lat is not None and p.kind != "town"]
    return Route(
        corridor=corridor_id, direction=direction, stops=tuple(stops), branch_stops=tuple(branch_stops),
        start_lat=columns[0], start_lon=columns[1], end_lat=columns[2], end_lon=columns[3], start_km=columns[4], end_km=columns[5],
        junction_km=columns[6], fence_lat=np.array([p.lat for p in fences], dtype=np.float64),
        fence_lon=np.array([p.lon for p in fences], dtype=np.float64), fence_radius=np.array([p.radius_km for p in fences], dtype=np.float64),
        fence_places=tuple(p.id for p in fences))


def _branches(corridor: Corridor, direction: str) -> list[tuple[str, tuple[str, ...], bool]]:
    """(hub, way in the order of travel, whether it leads to the trunk)."""
    ways = [(hub, way, True) for hub, way in corridor.feeders.items()] + [(hub, way, False) for hub, way in corridor.spurs.items()]
    return ways if direction != "east" else [(hub, tuple(reversed(way)), not inbound) for hub, way, inbound in ways]


def _stops(places: Sequence[Place], start_km: float, branch: str) -> list[Stop]:
    """Kilometres along the places on the map; those without coordinates lie evenly between their neighbours."""
    known = [i for i, p in enumerate(places) if p.lat is not None]
    if len(known) < 2:
        raise RouteRefused(f"fewer than two of {[p.id for p in places]} have coordinates")
    km = [math.nan] * len(places)
    km[known[0]] = start_km
    for before, after in pairwise(known):
        total = _between(places[before], places[after])
        for i in range(before + 1, after + 1):
            km[i] = km[before] + total * (i - before) / (after - before)
    for i in range(known[0]):
        km[i] = km[known[0]]
    for i in range(known[-1] + 1, len(places)):
        km[i] = km[known[-1]]
    return [Stop(p.id, km[i], p.lat is not None, p.country, p.radius_km, branch) for i, p in enumerate(places)]


def _between(one: Place, other: Place) -> float:
    if one.lat is None or one.lon is None or other.lat is None or other.lon is None:
        return 0.0
    return distance_km(one.lat, one.lon, other.lat, other.lon)


def _segments(places: Sequence[Place], stops: Sequence[Stop], junction: float) -> list[tuple[float, ...]]:
    known = [(p, s) for p, s in zip(places, stops, strict=True) if p.lat is not None and p.lon is not None]
    return [
        (float(a.lat or 0.0), float(a.lon or 0.0), float(b.lat or 0.0), float(b.lon or 0.0), sa.km, sb.km, junction)
        for (a, sa), (b, sb) in pairwise(known)
    ]
