"""Working hours of posts and duty lines: when inspection works, and when a decision may be expected. Built from arguments, no clock.

Trains run at night and on holidays, inspection may not. Legal limits count as the law says and are not touched here.
"""
from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays
import msgspec

from streams.reference.model import Authority, Crossing, DutyLine, Place, Reference
from streams.reference.working import Hours, parse_hours
from topics.facts import HOUR

SEARCH_DAYS_MAX = 400
"""A post that is closed longer than this is never expected to open."""


class Calendar(msgspec.Struct, frozen=True):
    """When a post works."""

    hours: Hours
    zone: str
    country: str = ""
    """Country whose public holidays are free; empty = none are known."""


@lru_cache(maxsize=512)
def holidays_of(country: str, year: int) -> frozenset[date]:
    """Public holidays of a country; empty for one without a calendar."""
    if not country or country not in supported():
        return frozenset()
    return frozenset(holidays.country_holidays(country, years=year))


@lru_cache(maxsize=1)
def supported() -> frozenset[str]:
    """Countries with a holiday calendar."""
    return frozenset(holidays.list_supported_countries())


def calendar_of(authority: Authority, hours: str) -> Calendar:
    """Calendar of an authority's post with these hours. Raises HoursRefused."""
    return Calendar(parse_hours(hours), authority.zone, authority.holidays)


def post_calendar(reference: Reference, crossing: Crossing, authority: str) -> Calendar:
    """Calendar of a post of a crossing; 24/7 where the crossing names no hours."""
    own = calendar_of(reference.authorities[authority], crossing.calendar.get(authority, "24/7"))
    return Calendar(own.hours, side_zone(reference, authority, crossing.id), own.country)


def is_open(calendar: Calendar, at: int) -> bool:
    """Whether the post works at an instant (microseconds UTC)."""
    return next_open(calendar, at) == at


def next_open(calendar: Calendar, at: int) -> int | None:
    """The first instant at or after `at` when the post works; None when it does not open within SEARCH_DAYS_MAX days."""
    return next((max(at, opens) for opens, closes in _spans(calendar, at) if closes > at), None)


def next_close(calendar: Calendar, at: int) -> int | None:
    """When the working span that holds `at` ends; None when the post is closed then, or always works."""
    if calendar.hours.always:
        return None
    return next((closes for opens, closes in _spans(calendar, at) if opens <= at < closes), None)


def add_working_hours(calendar: Calendar, at: int, hours: float) -> int | None:
    """The instant when `hours` of working time have passed since `at`; None when that is beyond SEARCH_DAYS_MAX days."""
    left = round(hours * HOUR)
    for opens, closes in _spans(calendar, at):
        begin = max(at, opens)
        if closes <= begin:
            continue
        if left <= closes - begin:
            return begin + left
        left -= closes - begin
    return None


def expected_decision(reference: Reference, crossing: Crossing, authority: str, at: int, usual_hours: float) -> int | None:
    """When an authority that usually needs so many hours may be expected to decide, counting its working hours."""
    return add_working_hours(post_calendar(reference, crossing, authority), at, usual_hours)


def duty_open(reference: Reference, line: DutyLine, at: int) -> bool:
    """Whether somebody answers a duty line at an instant; hours are in the time of the post that it belongs to."""
    authority = reference.authorities.get(line.authority)
    country = authority.holidays if authority else ""
    return is_open(Calendar(parse_hours(line.hours), side_zone(reference, line.authority, line.crossing), country), at)


def zone_of(reference: Reference, place: Place | None, authority: str) -> str:
    """Time zone of a border post: the station's own, else the authority's."""
    if place is not None and place.zone:
        return place.zone
    row = reference.authorities.get(authority)
    return row.zone if row else "UTC"


def side_zone(reference: Reference, authority: str, crossing: str = "", office: str = "") -> str:
    """Time zone in which a side's people live: that of its border station or of its office's place, else the authority's."""
    post, mapped = reference.crossings.get(crossing), reference.mapped.get(("office", f"{authority}:{office}"))
    place = (post.a if post.a_authority == authority else post.b) if post is not None else mapped.means if mapped is not None else ""
    return zone_of(reference, reference.places.get(place), authority)


def border_time(at: int, zone: str) -> str:
    """An instant in a border's own time, ISO 8601 with offset, to the minute."""
    return datetime.fromtimestamp(at // 1_000_000, tz=UTC).astimezone(ZoneInfo(zone)).isoformat(timespec="minutes")


def _spans(calendar: Calendar, at: int) -> Iterator[tuple[int, int]]:
    """Working spans in time order, from the local day of `at` on. Around the clock: one that never ends, holidays too."""
    if calendar.hours.always:
        yield at, at + SEARCH_DAYS_MAX * 24 * HOUR
        return
    zone = ZoneInfo(calendar.zone)
    first = datetime.fromtimestamp(at // 1_000_000, tz=UTC).astimezone(zone).date()
    for offset in range(SEARCH_DAYS_MAX):
        day = first + timedelta(days=offset)
        if day in holidays_of(calendar.country, day.year):
            continue
        for opens, closes in calendar.hours.spans[day.weekday()]:
            yield _instant(day, opens, zone), _instant(day, closes, zone)


def _instant(day: date, minutes: int, zone: ZoneInfo) -> int:
    """A local clock time as microseconds UTC; around a change of summer time as the zone's rules say."""
    local = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(days=minutes // 1440)
    local = local.replace(hour=minutes % 1440 // 60, minute=minutes % 60)
    return int(local.timestamp()) * 1_000_000
