"""Working hours of a post: trains run at night and on holidays, inspection does not (hard case 25)."""
from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays

from streams.reference.model import Crossing, Reference
from streams.rules.day import micros, moment

DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
SHAPE = re.compile(r"^(Mo|Tu|We|Th|Fr|Sa|Su)-(Mo|Tu|We|Th|Fr|Sa|Su) (\d\d):(\d\d)-(\d\d):(\d\d)$")
AHEAD_DAYS = 21
"""No post is closed longer than this [D]; beyond it nothing is foretold."""


@lru_cache(maxsize=512)
def _holidays(country: str, year: int) -> frozenset[object]:
    try:
        return frozenset(holidays.country_holidays(country, years=year))
    except NotImplementedError:
        return frozenset()


def opens_at(text: str, zone: str, country: str, at: int) -> int | None:
    """When the post is next open: `at` itself if it is open then; None when that cannot be told. `text`: `24/7` or `Mo-Fr 09:00-18:00`."""
    if not text or text == "24/7":
        return at
    found = SHAPE.match(text)
    if found is None:
        return at
    first, last = DAYS.index(found[1]), DAYS.index(found[2])
    here = moment(at).astimezone(ZoneInfo(zone or "UTC"))
    for ahead in range(AHEAD_DAYS):
        day = here.date() + timedelta(days=ahead)
        inside = first <= day.weekday() <= last if first <= last else (day.weekday() >= first or day.weekday() <= last)
        if not inside or (country and day in _holidays(country, day.year)):
            continue
        opens = datetime(day.year, day.month, day.day, int(found[3]), int(found[4]), tzinfo=here.tzinfo)
        closes = datetime(day.year, day.month, day.day, int(found[5]) % 24, int(found[6]), tzinfo=here.tzinfo)
        if closes <= opens:
            closes += timedelta(days=1)
        if micros(closes) > at:
            return max(at, micros(opens))
    return None


def post_opens(reference: Reference, crossing: Crossing | None, authority: str, at: int) -> int | None:
    """When this authority's post at the crossing next works."""
    row = reference.authorities.get(authority)
    if crossing is None or row is None:
        return at
    return opens_at(crossing.calendar.get(authority, ""), row.zone, row.holidays, at)
