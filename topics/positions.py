"""Positions that cannot be true: metres instead of degrees, latitude and longitude exchanged, the null island."""
from __future__ import annotations

from topics.codec import Refusal

NULL_ISLAND_DEGREES = 0.05
"""About 5 km around 0,0: no railway, but what a receiver without a fix reports."""
METRES_MIN = 1_000.0
"""No angle is that large; every projected coordinate of Eurasia is."""


def position_fault(lat: float, lon: float, path: str = "$") -> Refusal | None:
    """Why this pair is not a position in WGS 84 degrees, or None. Pairs that are possible but not where trains run are not judged here."""
    value = f"{lat},{lon}"
    if not (abs(lat) < float("inf") and abs(lon) < float("inf")):
        return Refusal("POSITION_OUT_OF_RANGE", path, value, "not a number of degrees")
    if abs(lat) >= METRES_MIN or abs(lon) >= METRES_MIN:
        return Refusal("POSITION_METRES", path, value, "projected metres: WGS 84 degrees are needed")
    if abs(lat) <= NULL_ISLAND_DEGREES and abs(lon) <= NULL_ISLAND_DEGREES:
        return Refusal("POSITION_NULL_ISLAND", path, value, "0,0 is what a receiver without a fix reports")
    if abs(lat) > 90 and abs(lon) <= 90 and abs(lat) <= 180:
        return Refusal("POSITION_SWAPPED", path, value, "latitude and longitude are exchanged")
    if abs(lat) > 90 or abs(lon) > 180:
        return Refusal("POSITION_OUT_OF_RANGE", path, value, "latitude is within 90 degrees, longitude within 180")
    return None
