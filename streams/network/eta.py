"""When a train reaches the sides ahead: P10, P50, P90 from where it is, running speeds and dwell times.

Each country's running time and each crossing's dwell is one uncertain quantity; they are taken as independent, so their spreads add as
squares [D]. Half of a crossing's dwell is put before the border and half behind it [D]: sources give the sum only.
"""
from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping

import msgspec

from streams.network.route import Route
from streams.network.sides import SideSpec
from streams.reference.model import Crossing, Reference
from topics.facts import HOUR, MINUTE

DEFAULT_SPEED = (30.0, 45.0, 60.0)
"""km/h for a country without a row [D]."""
DEFAULT_DWELL = (2.0, 8.0, 24.0)
"""Hours for a crossing without a row [D]."""
BEFORE_BORDER = 0.5
TRACK_PER_STRAIGHT_KM = 1.11
"""Track is longer than straight lines between towns: Xi'an to Duisburg is reported as 9,908 km (S57), our line has 8,922 [D]."""

Eta = tuple[int, int, int]


class _Clock(msgspec.Struct, frozen=True):
    """A time as P50 with the squares of its spreads, hours from the start."""

    p50: float
    low: float = 0.0
    high: float = 0.0

    def plus(self, least: float, usual: float, most: float) -> _Clock:
        """Plus one more independent quantity."""
        return _Clock(self.p50 + usual, self.low + (usual - least) ** 2, self.high + (most - usual) ** 2)

    def not_before(self, hours: float) -> _Clock:
        """Nothing goes on before this: each percentile waits."""
        p10, p90 = self.p50 - math.sqrt(self.low), self.p50 + math.sqrt(self.high)
        p50 = max(self.p50, hours)
        return _Clock(p50, (p50 - max(p10, hours)) ** 2, (max(p90, hours) - p50) ** 2)


def arrivals(
    reference: Reference, route: Route, sides: Iterable[SideSpec], km: float, at: int, *, seen: Mapping[str, int] | None = None,
    closed_until: Mapping[str, int] | None = None, delay_minutes: int = 0,
) -> dict[str, Eta]:
    """Arrival (P10, P50, P90; microseconds UTC, on the ETA grid) at every border side not yet reached, by side id.

    `km` is the train's kilometre at the instant `at`. `seen` are sides already reached with their times: they get no ETA, and the dwell of the
    one where the train stands counts from there. `closed_until` holds trains at a crossing. `delay_minutes` is a forecast on top of all.
    """
    return Course(reference, route, sides, seen or {}, closed_until or {}).arrivals(km, at, delay_minutes)


class Course:
    """The sides ahead of a train as long as it reaches none of them: arrival times from wherever it is by then.

    What lies behind the first side ahead takes as long wherever the train is, so it is added up once.
    """

    __slots__ = ("_closed", "_grid", "_rest", "_seen", "_sides", "reference", "route")

    def __init__(
        self, reference: Reference, route: Route, sides: Iterable[SideSpec], seen: Mapping[str, int], closed_until: Mapping[str, int]
    ) -> None:
        self.reference, self.route = reference, route
        self._seen, self._closed = seen, closed_until
        self._sides = sorted((s for s in sides if s.crossing and s.place in route.km_of), key=lambda s: s.order)
        self._rest: dict[int, tuple[tuple[str, float, float, float], ...]] = {}
        self._grid = reference.limits.eta_grid_minutes * MINUTE

    def arrivals(self, km: float, at: int, delay_minutes: int = 0) -> dict[str, Eta]:
        """As the function of this name."""
        route, reference = self.route, self.reference
        clock = _Clock(delay_minutes / 60)
        here = km
        over_border = ""
        out: dict[str, Eta] = {}
        for n, side in enumerate(self._sides):
            side_km = route.km_of[side.place]
            crossing = reference.crossings[side.crossing]
            if side.id in self._seen:
                if side_km + route.radius_of[side.place] >= km:
                    clock = _leave(reference, route, side, crossing, clock, at, self._seen[side.id], self._closed)
                    here, over_border = max(here, side_km), crossing.id if side.kind == "EXIT" else ""
                continue
            if side_km + route.radius_of[side.place] < km:
                continue
            if crossing.id != over_border:                # else the gap between the posts is already counted
                clock = _run(reference, route, here, side_km, clock, crossing if crossing.sea and side.kind == "ENTRY" else None)
            here, over_border = max(here, side_km), crossing.id if side.kind == "EXIT" else ""
            out[side.id] = _instants(clock, at, self._grid)
            if here == side_km and (rest := self._behind(n)) is not None:
                for name, usual, low, high in rest:
                    out[name] = _instants(_Clock(clock.p50 + usual, clock.low + low, clock.high + high), at, self._grid)
                return out
            clock = _leave(reference, route, side, crossing, clock, at, None, self._closed)
        return out

    def _behind(self, first: int) -> tuple[tuple[str, float, float, float], ...] | None:
        """Every side behind this one with what it is later, as P50 and the squares of its spreads. None when that depends on the clock."""
        if first not in self._rest:
            if self._closed or any(s.id in self._seen for s in self._sides[first + 1:]):
                return None
            found: list[tuple[str, float, float, float]] = []
            before, clock = self._sides[first], _Clock(0.0)
            here = self.route.km_of[before.place]
            for side in self._sides[first + 1:]:
                crossing, side_km = self.reference.crossings[side.crossing], self.route.km_of[side.place]
                if side_km + self.route.radius_of[side.place] < here:
                    return None
                clock = _leave(self.reference, self.route, before, self.reference.crossings[before.crossing], clock, 0, None, {})
                if not (before.kind == "EXIT" and before.crossing == side.crossing):
                    clock = _run(self.reference, self.route, here, side_km, clock, crossing if crossing.sea and side.kind == "ENTRY" else None)
                here, before = max(here, side_km), side
                found.append((side.id, clock.p50, clock.low, clock.high))
            self._rest[first] = tuple(found)
        return self._rest[first]


def _run(reference: Reference, route: Route, start: float, end: float, clock: _Clock, sea: Crossing | None) -> _Clock:
    """Running time between two kilometres, by country; at sea the rest of the passage."""
    if sea is not None:
        whole = abs(route.km_of[sea.a] - route.km_of[sea.b])
        hours = sea.gap_hours * min(1.0, max(0.0, end - start) / whole) if whole else 0.0
        return clock.plus(hours, hours, hours)
    per_country: dict[str, float] = {}
    stops, kms = route.stops, route.stop_kms
    for n in range(max(0, bisect_right(kms, start) - 1), len(stops) - 1):
        if kms[n] >= end:
            break
        length = min(end, kms[n + 1]) - max(start, kms[n])
        if length > 0:
            country = stops[n].country
            per_country[country] = per_country.get(country, 0.0) + length
    before_trunk = min(end, route.stops[0].km) - start
    if before_trunk > 0:
        first = route.stops[0].country
        per_country[first] = per_country.get(first, 0.0) + before_trunk
    for country, length in sorted(per_country.items()):
        row = reference.speeds.get(country)
        slow, usual, fast = (row.km_per_hour_p10, row.km_per_hour_p50, row.km_per_hour_p90) if row else DEFAULT_SPEED
        track = length * TRACK_PER_STRAIGHT_KM
        clock = clock.plus(track / fast, track / usual, track / slow)
    return clock


def _leave(
    reference: Reference, route: Route, side: SideSpec, crossing: Crossing, clock: _Clock, at: int, seen_at: int | None,
    closed_until: Mapping[str, int],
) -> _Clock:
    """From the arrival at a side to the moment the train goes on: its share of the dwell, and at the exit the way over the border."""
    row = reference.dwells.get((crossing.id, route.direction))
    dwell = (row.hours_p10, row.hours_p50, row.hours_p90) if row else DEFAULT_DWELL
    share = BEFORE_BORDER if side.kind == "EXIT" else 1 - BEFORE_BORDER
    spent = max(0.0, (at - seen_at) / HOUR) if seen_at is not None else 0.0
    least, usual, most = (max(0.0, hours * share - spent) for hours in dwell)
    clock = clock.plus(least, usual, most)
    if side.kind == "EXIT":
        if crossing.id in closed_until:
            clock = clock.not_before((closed_until[crossing.id] - at) / HOUR)
        clock = clock.plus(crossing.gap_hours, crossing.gap_hours, crossing.gap_hours)
    return clock


def _instants(clock: _Clock, at: int, grid: int) -> Eta:
    p50, low, high = clock.p50, math.sqrt(clock.low), math.sqrt(clock.high)
    start = at + grid // 2
    return (
        (start + round(max(0.0, p50 - low) * HOUR)) // grid * grid, (start + round(max(0.0, p50) * HOUR)) // grid * grid,
        (start + round(max(0.0, p50 + high) * HOUR)) // grid * grid)
