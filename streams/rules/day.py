"""Instants in facts are integers (microseconds since the epoch, UTC); messages and law speak of days and local times."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """A datetime with zone as microseconds since the epoch, exactly."""
    return (at - EPOCH) // MICROSECOND


def moment(at: int) -> datetime:
    """An instant as a datetime in UTC."""
    return EPOCH + timedelta(microseconds=at)


DAY = 24 * 3_600_000_000


def day_of(at: int) -> str:
    """ISO date of an instant, UTC: what validity dates are compared with."""
    return _day(at // DAY)


@lru_cache(maxsize=64)
def _day(days: int) -> str:
    return moment(days * DAY).date().isoformat()


def begin_of(day: str) -> int:
    """First instant of an ISO date, UTC, in microseconds."""
    return micros(datetime.fromisoformat(day[:10]).replace(tzinfo=UTC))


def local(at: int, zone: str) -> str:
    """An instant in a zone's own time, ISO 8601 with offset, to the minute."""
    return moment(at).astimezone(ZoneInfo(zone or "UTC")).isoformat(timespec="minutes")
