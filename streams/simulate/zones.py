"""Local time of a country, so that messages carry the offset that their writer would write (domain, trap 7)."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

_HOURS = {"CN": 8, "MN": 8, "KZ": 5, "UZ": 5, "RU": 3, "BY": 3, "TR": 3, "AZ": 4, "GE": 4}
"""Countries without summer time. Russian railways write Moscow time in freight documents [M]."""
_EAST_EU = ("LT", "LV", "EE", "FI", "RO", "BG", "GR")


def local(at: int, country: str) -> datetime:
    """The instant (microseconds UTC) in the country's own time, whole seconds."""
    utc = datetime.fromtimestamp(at // 1_000_000, UTC)
    if country in _HOURS:
        return utc.astimezone(timezone(timedelta(hours=_HOURS[country])))
    winter = 2 if country in _EAST_EU else 1
    return utc.astimezone(timezone(timedelta(hours=winter + _summer(utc))))


def _summer(utc: datetime) -> int:
    """1 in the EU's summer time: from the last Sunday of March to that of October, 01:00 UTC."""
    return int(_last_sunday(utc.year, 3) <= utc < _last_sunday(utc.year, 10))


def _last_sunday(year: int, month: int) -> datetime:
    end = datetime(year, month, 31, 1, tzinfo=UTC)
    return end - timedelta(days=(end.weekday() + 1) % 7)
