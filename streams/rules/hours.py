"""Working hours of a post: trains run at night and on holidays, inspection does not (hard case 25)."""
from __future__ import annotations

from streams.network.calendar import next_close, next_open, post_calendar, side_zone
from streams.reference.model import Crossing, Reference
from streams.rules.case import SideCase


def post_opens(reference: Reference, crossing: Crossing | None, authority: str, at: int) -> int | None:
    """When this authority's post at the crossing next works: `at` itself if it does now; None when it never does."""
    if crossing is None or authority not in reference.authorities:
        return at
    return next_open(post_calendar(reference, crossing, authority), at)


def post_closes(reference: Reference, crossing: Crossing, authority: str, at: int) -> int | None:
    """When the post that works now stops working; None when it does not work, or never stops."""
    return next_close(post_calendar(reference, crossing, authority), at) if authority in reference.authorities else None


def never_closes(reference: Reference, crossing: Crossing | None, authority: str) -> bool:
    """Does this authority's post at the crossing work at all hours, as far as is known?"""
    return crossing is None or authority not in crossing.calendar or authority not in reference.authorities or (
        post_calendar(reference, crossing, authority).hours.always)


def zone_here(reference: Reference, side: SideCase) -> str:
    """Time zone of a side's post or office."""
    return side_zone(reference, side.authority, side.crossing, side.office)
