"""Crossings that close for a time: known to the trains that come there, and said by the network's control."""
from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from streams.reference.model import Reference
from streams.simulate.clockwork import hours
from streams.simulate.options import SimOptions
from streams.simulate.pen import NO_TRAIN, Cast, Pen
from streams.simulate.route import Way
from streams.simulate.sent import Draft
from streams.simulate.zones import local
from topics.events.sites import CrossingCondition

CLOSED_HOURS = 30.0
"""Long enough that trains queue [D]; the one of September 2025 lasted 13 days (S77)."""
AFTER_DAYS = (9.0, 11.0)
"""When the first trains of a world come to the western border [D]."""
DRAIN_HOURS = 6
"""Trains that waited leave one after another over so many hours [D]."""


class Closures:
    """One crossing, one closure, if the options ask for it."""

    def __init__(self, reference: Reference, rng: random.Random, options: SimOptions, start: int, routes: Sequence[Way]) -> None:
        used: dict[str, int] = {}
        for route in routes:
            for passed in route.passes:
                if passed.customs and not passed.crossing.sea:
                    used[passed.crossing.id] = used.get(passed.crossing.id, 0) + 1
        self.crossing = max(sorted(used), key=lambda c: used[c], default="") if options.closure else ""
        self.since = start + hours(24 * rng.uniform(*AFTER_DAYS) / options.speed_up)
        self.until = self.since + hours(CLOSED_HOURS / options.speed_up)
        self._drain = max(1, hours(DRAIN_HOURS / options.speed_up))

    def may_leave(self, crossing: str, at: int) -> int:
        """When a train that is ready at `at` may leave for the crossing."""
        if crossing != self.crossing or not self.since <= at < self.until:
            return at
        return self.until + at % self._drain

    def said(self, cast: Cast) -> Iterator[Draft]:
        """Closed and open again."""
        if not self.crossing or not cast.has("network"):
            return
        pen, party = Pen(cast, NO_TRAIN), cast.who("network")
        pen.say(CrossingCondition, party, self.since, key=self.crossing, story="closure", crossing=self.crossing, state="closed", reason="BORDER_CLOSED",
                expected_until=local(self.until, ""))
        pen.say(CrossingCondition, party, self.until, key=self.crossing, story="closure", crossing=self.crossing, state="open", reason="")
        yield from pen.page()
