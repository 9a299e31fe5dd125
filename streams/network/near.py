"""Positions to places on a route without a look at the whole of it: only the segments and geofences that can be the nearest in a square.

The answer is the same as `match` gives on the whole route, and does not depend on where the train was before: positions come in any order.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from streams.network.route import KM_PER_DEGREE, Floats, Route

PARTS = 4
"""Squares per degree. A quarter of a degree is 28 km high: a square has one or two segments."""
SLACK, SLACK_KM = 1.25, 20.0
"""Distances are measured on a plane around the position; around the middle of its square they differ by less than a hundredth."""
SQUARES_MAX = 20_000


class Located(NamedTuple):
    """A position on the line."""

    km: float
    """Running kilometre, branches included."""
    trunk_km: float
    """Progress along the trunk."""
    off_km: float
    """Distance to the line."""
    place: str
    """Place whose geofence holds it; empty when none does."""


class _Square(NamedTuple):
    segments: tuple[tuple[float, ...], ...]
    """Start lat, lon, end lat, lon, start km, end km, junction km: as in the route, in its order."""
    fences: tuple[tuple[float, float, float, str], ...]


class Nearby:
    """The squares of one route that positions have fallen into."""

    __slots__ = ("_columns", "_squares", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self._squares: dict[tuple[int, int], _Square] = {}
        self._columns = [tuple(float(v) for v in row) for row in zip(
            route.start_lat, route.start_lon, route.end_lat, route.end_lon, route.start_km, route.end_km, route.junction_km, strict=True)]

    def locate(self, lat: float, lon: float) -> Located:
        """The nearest point of the route."""
        name = (math.floor(lat * PARTS), math.floor(lon * PARTS))
        square = self._squares.get(name)
        if square is None:
            if len(self._squares) >= SQUARES_MAX:
                self._squares.clear()
            square = self._squares[name] = self._square(*name)
        scale = math.cos(math.radians(lat)) * KM_PER_DEGREE
        best, best_share, best_off = square.segments[0], 0.0, math.inf
        for segment in square.segments:
            ax, ay = (segment[1] - lon) * scale, (segment[0] - lat) * KM_PER_DEGREE
            dx, dy = (segment[3] - lon) * scale - ax, (segment[2] - lat) * KM_PER_DEGREE - ay
            length = dx * dx + dy * dy
            share = -(ax * dx + ay * dy) / length if length > 0 else 0.0
            share = 0.0 if share < 0.0 else 1.0 if share > 1.0 else share
            off = math.hypot(ax + share * dx, ay + share * dy)
            if off < best_off:
                best, best_share, best_off = segment, share, off
        km = best[4] + best_share * (best[5] - best[4])
        junction = best[6]
        place, least = "", math.inf
        for fence_lat, fence_lon, radius, fence in square.fences:
            distance = math.hypot((fence_lon - lon) * scale, (fence_lat - lat) * KM_PER_DEGREE)
            if distance <= radius and distance < least:
                place, least = fence, distance
        return Located(km, km if junction != junction else junction, best_off, place)

    def _square(self, i: int, j: int) -> _Square:
        """What can be nearest to any position in it: no farther from its middle than the nearest, by the width of the square on both sides."""
        route, lat, lon = self.route, (i + 0.5) / PARTS, (j + 0.5) / PARTS
        scale = math.cos(math.radians(lat)) * KM_PER_DEGREE
        reach = math.hypot(0.5 / PARTS * KM_PER_DEGREE, 0.5 / PARTS * scale * SLACK)
        ax, ay = (route.start_lon - lon) * scale, (route.start_lat - lat) * KM_PER_DEGREE
        dx, dy = (route.end_lon - lon) * scale - ax, (route.end_lat - lat) * KM_PER_DEGREE - ay
        square = dx * dx + dy * dy
        share = np.clip(-(ax * dx + ay * dy) / np.where(square > 0, square, 1.0), 0.0, 1.0)
        off: Floats = np.hypot(ax + share * dx, ay + share * dy)
        near = np.flatnonzero(off <= (float(off.min()) + 2 * reach) * SLACK + SLACK_KM)
        distance: Floats = np.hypot((route.fence_lon - lon) * scale, (route.fence_lat - lat) * KM_PER_DEGREE)
        fences = np.flatnonzero(distance <= (route.fence_radius + reach) * SLACK)
        return _Square(tuple(self._columns[n] for n in near), tuple(
            (float(route.fence_lat[n]), float(route.fence_lon[n]), float(route.fence_radius[n]), route.fence_places[n]) for n in fences))
