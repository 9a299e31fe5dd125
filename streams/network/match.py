"""Positions to places on the route, and what was passed between two of them."""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np

from streams.network.route import KM_PER_DEGREE, Floats, Route
from streams.network.sides import SideSpec

NEAR_SEGMENTS = 3
"""Segments on each side of the last known one that are searched first: a train reports many times per segment."""
NEAR_ENOUGH_KM = 25.0
"""A match near the last segment is taken without a look at the rest of the route when it is this close to the line."""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A position on the route."""

    km: float
    """Running kilometre, branches included."""
    trunk_km: float
    """Progress along the trunk, where the sides stand: on a branch that of its junction."""
    off_km: float
    """Distance to the line."""
    segment: int
    place: str = ""
    """Station, terminal, port or hub whose geofence holds the position; the nearest of several."""


def match(route: Route, lat: float, lon: float, near_segment: int | None = None) -> Match:
    """The nearest point of the route. `near_segment` is the segment of the last match of this train: looked at first."""
    if near_segment is not None:
        low, high = max(0, near_segment - NEAR_SEGMENTS), min(len(route.start_km), near_segment + NEAR_SEGMENTS + 1)
        if low < high:
            found = _nearest(route, lat, lon, low, high)
            if found.off_km <= NEAR_ENOUGH_KM:
                return found
    return _nearest(route, lat, lon, 0, len(route.start_km))


def _nearest(route: Route, lat: float, lon: float, low: int, high: int) -> Match:
    """On a plane around the position: good to a few metres in a hundred kilometres, and further off it only has to be far."""
    scale = math.cos(math.radians(lat)) * KM_PER_DEGREE
    part = slice(low, high)
    ax, ay = (route.start_lon[part] - lon) * scale, (route.start_lat[part] - lat) * KM_PER_DEGREE
    dx, dy = (route.end_lon[part] - lon) * scale - ax, (route.end_lat[part] - lat) * KM_PER_DEGREE - ay
    square = dx * dx + dy * dy
    share = np.clip(-(ax * dx + ay * dy) / np.where(square > 0, square, 1.0), 0.0, 1.0)
    off = np.hypot(ax + share * dx, ay + share * dy)
    best = int(np.argmin(off))
    segment = low + best
    km = float(route.start_km[segment] + share[best] * (route.end_km[segment] - route.start_km[segment]))
    junction = float(route.junction_km[segment])
    return Match(km=km, trunk_km=km if math.isnan(junction) else junction, off_km=float(off[best]), segment=segment,
                 place=place_at(route, lat, lon))


def place_at(route: Route, lat: float, lon: float) -> str:
    """The place of the route whose geofence holds a position, the nearest of several; empty when none does."""
    if not route.fence_places:
        return ""
    scale = math.cos(math.radians(lat)) * KM_PER_DEGREE
    distance: Floats = np.hypot((route.fence_lon - lon) * scale, (route.fence_lat - lat) * KM_PER_DEGREE)
    inside = distance <= route.fence_radius
    if not inside.any():
        return ""
    return route.fence_places[int(np.argmin(np.where(inside, distance, np.inf)))]


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A side that was reached or left between two positions."""

    side: str
    what: Literal["seen", "departed"]
    share: float
    """How far between the two positions, 0 … 1: for a time in between."""
    exact: bool
    """False: the station has no coordinates, its kilometre is an estimate."""


def milestones(route: Route, sides: Iterable[SideSpec], before: Match | None, after: Match) -> tuple[Passage, ...]:
    """Sides reached and left between two matches, in the order of the route. However sparse positions are, none is skipped.

    Without a match before, nothing of the past is made up: only a side whose geofence holds the position now is seen.
    A side is seen at the near edge of its station's geofence and left at the far edge. Moving backwards passes nothing.
    """
    exact = {s.place: s.exact for s in route.stops}
    found: list[tuple[float, int, Passage]] = []
    for side in sides:
        if not side.crossing or side.place not in exact:
            continue
        km, radius = route.km_of[side.place], route.radius_of[side.place] if exact[side.place] else 0.0
        if before is None:
            if after.place == side.place:
                found.append((km, side.order, Passage(side=side.id, what="seen", share=1.0, exact=True)))
            continue
        for edge, what in ((km - radius, "seen"), (km + radius, "departed")):
            if before.trunk_km < edge <= after.trunk_km:
                share = (edge - before.trunk_km) / (after.trunk_km - before.trunk_km)
                found.append((edge, side.order, Passage(side=side.id, what="seen" if what == "seen" else "departed", share=share,
                                                        exact=exact[side.place])))
    return tuple(p for _, _, p in sorted(found, key=lambda x: x[:2]))
