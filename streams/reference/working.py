"""Working hours as text: `24/7`, or `Mo-Fr 08:00-18:00`, several parts separated by `; `."""
from __future__ import annotations

import re
from itertools import pairwise

import msgspec

DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
MINUTES_OF_DAY = 24 * 60
_PART = re.compile(r"(Mo|Tu|We|Th|Fr|Sa|Su)(?:-(Mo|Tu|We|Th|Fr|Sa|Su))? (\d{2}):(\d{2})-(\d{2}):(\d{2})")


class HoursRefused(ValueError):
    """Text that says no working hours."""


class Hours(msgspec.Struct, frozen=True):
    """Open spans per weekday, as minutes after local midnight; Monday first. A closed day has none."""

    spans: tuple[tuple[tuple[int, int], ...], ...]
    always: bool = False


def parse_hours(text: str) -> Hours:
    """Working hours of a post or duty line. Raises HoursRefused."""
    if text == "24/7":
        return Hours(tuple(((0, MINUTES_OF_DAY),) for _ in DAYS), always=True)
    days: list[list[tuple[int, int]]] = [[] for _ in DAYS]
    for part in text.split("; "):
        found = _PART.fullmatch(part)
        if not found:
            raise HoursRefused(f"{text!r} says no working hours: 24/7 or Mo-Fr 08:00-18:00")
        first, last, h1, m1, h2, m2 = found.groups()
        opens, closes = int(h1) * 60 + int(m1), int(h2) * 60 + int(m2)
        begin, end = DAYS.index(first), DAYS.index(last or first)
        if not 0 <= opens < closes <= MINUTES_OF_DAY or int(m1) > 59 or int(m2) > 59 or begin > end:
            raise HoursRefused(f"{part!r} does not end after it begins")
        for day in range(begin, end + 1):
            days[day].append((opens, closes))
    for spans in days:
        spans.sort()
        if any(a[1] > b[0] for a, b in pairwise(spans)):
            raise HoursRefused(f"{text!r} overlaps itself")
    return Hours(tuple(tuple(spans) for spans in days))
