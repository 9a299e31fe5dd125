"""Positions that are not believed, each with its reason. `topics.positions` judges the pair of numbers; here the route and the clock come in."""
from __future__ import annotations

import math

import msgspec

from streams.network.match import Match, match
from streams.network.route import Route, distance_km
from streams.reference.model import Limits
from topics.facts import HOUR, MINUTE
from topics.positions import position_fault as number_fault

SAME_TIME_KM = 5.0
"""Two positions of one instant may lie this far apart: a train is a kilometre long and receivers differ."""


class LastKnown(msgspec.Struct, frozen=True, kw_only=True):
    """The last believed position of a train."""

    lat: float
    lon: float
    at: int
    segment: int


def position_fault(
    route: Route, lat: float, lon: float, *, at: int, now: int, limits: Limits, last: LastKnown | None = None,
) -> tuple[str, Match | None]:
    """(reason, match): reason is empty when the position may be believed, and then the match is given.

    POSITION_METRES, POSITION_NULL_ISLAND, POSITION_SWAPPED, POSITION_OUT_OF_RANGE, POSITION_FUTURE, POSITION_OFF_ROUTE, POSITION_JUMP.
    `at` is the position's own time, `now` the time it is judged at, microseconds UTC.
    """
    if (fault := number_fault(lat, lon)) is not None:
        return fault.code, None
    if at > now + limits.position_max_ahead_minutes * MINUTE:
        return "POSITION_FUTURE", None
    found = match(route, lat, lon, last.segment if last else None)
    if found.off_km > limits.position_off_route_km_max:
        return _off_route(route, lat, lon, limits), None
    if last is not None and _jumps(lat, lon, at, last, limits):
        return "POSITION_JUMP", None
    return "", found


def _off_route(route: Route, lat: float, lon: float, limits: Limits) -> str:
    """A pair that lies on the route when exchanged was exchanged."""
    exchanged = abs(lon) <= 90 and match(route, lon, lat).off_km <= limits.position_off_route_km_max
    return "POSITION_SWAPPED" if exchanged else "POSITION_OFF_ROUTE"


def _jumps(lat: float, lon: float, at: int, last: LastKnown, limits: Limits) -> bool:
    km = distance_km(last.lat, last.lon, lat, lon)
    hours = abs(at - last.at) / HOUR
    return km > SAME_TIME_KM and (hours == 0 or km / hours > limits.position_speed_kmh_max or not math.isfinite(km))
