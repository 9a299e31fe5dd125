"""Times of the simulation: instants are microseconds UTC, durations are hours as floats until they are added to an instant."""
from __future__ import annotations

import math
import random

HOUR = 3_600_000_000
MINUTE = 60_000_000
EARTH_KM = 6371.0
DETOUR = 1.2
"""Track length over the great circle between two places [D]."""


def hours(value: float) -> int:
    """Microseconds in so many hours, in whole seconds."""
    return int(value * 3600) * 1_000_000


def minutes(value: float) -> int:
    return int(value * 60) * 1_000_000


def between(rng: random.Random, low: float, high: float) -> int:
    """A random duration between two numbers of minutes, in microseconds."""
    return minutes(rng.uniform(low, high))


def spread(rng: random.Random, p10: float, p50: float, p90: float) -> float:
    """A value whose percentiles are about these: triangular with the tails that fit."""
    low, high = max(0.0, p10 - 0.3 * (p50 - p10)), p90 + 0.3 * (p90 - p50)
    return rng.triangular(low, max(high, low), min(max(p50, low), max(high, low)))


def track_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Kilometres of track between two points in degrees."""
    la, lo, lb, lp = map(math.radians, (*a, *b))
    h = math.sin((lb - la) / 2) ** 2 + math.cos(la) * math.cos(lb) * math.sin((lp - lo) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(h)) * DETOUR


def on_the_way(a: tuple[float, float], b: tuple[float, float], share: float) -> tuple[float, float]:
    """The point at this share of the straight line between two points."""
    return round(a[0] + (b[0] - a[0]) * share, 4), round(a[1] + (b[1] - a[1]) * share, 4)
