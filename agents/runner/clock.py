"""From broker append time to the `now` of a step."""
from __future__ import annotations

import msgspec


class Clock(msgspec.Struct, frozen=True):
    """`now = origin + (append - origin) * speed`. Speed 1 (production): now is the append time.

    A demo compresses hours into seconds: with speed 600 the trains of the simulator and the legal deadlines run equally fast.
    """

    origin: int = 0
    """Instant at which both clocks agree, microseconds UTC (setting `clock_origin`)."""
    speed: float = 1.0
    """Setting `clock_speed`, more than 0."""

    def now(self, append_us: int) -> int:
        """Microseconds UTC of our time for an instant of the broker's or the machine's clock."""
        if self.speed == 1.0:
            return append_us
        return self.origin + int((append_us - self.origin) * self.speed)
