"""How simulated weeks are played in wall seconds."""
from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from streams.simulate.options import SimOptions
from streams.simulate.sent import Sent

US = 1_000_000
JOURNEY_HOURS = 540.0
"""A long journey with its filings, border waits and boxes left behind: about three weeks [D]; nearly all messages are sent by then."""


class Paced(msgspec.Struct, frozen=True):
    """A message and when to send it, seconds of wall time from the start of the demo."""

    offset: float
    sent: Sent


def compressed(sent: Iterable[Sent], speed: float, origin: int) -> Iterator[Paced]:
    """Map simulated sending times to wall offsets: `(at - origin) / speed` seconds. `speed` is simulated seconds per wall second.

    `origin` and `speed` are also the `clock_origin` and `clock_speed` of the workers, so that deadlines shrink together with the trains.
    """
    if speed <= 0:
        raise ValueError(f"speed {speed} is not above 0")
    for one in sent:
        yield Paced(max(0.0, (one.at - origin) / speed / US), one)


def window_hours(options: SimOptions) -> float:
    """Simulated hours from the first message to the end of most journeys: the last start plus a long journey."""
    return (options.trains - 1) * options.stagger_hours + JOURNEY_HOURS / options.speed_up


def default_speed(options: SimOptions, wall_seconds: float = 60.0) -> float:
    """Simulated seconds per wall second at which whole journeys of all trains are played within `wall_seconds`."""
    if wall_seconds <= 0:
        raise ValueError(f"{wall_seconds} seconds is not above 0")
    return window_hours(options) * 3600.0 / wall_seconds
