"""From broker append time to the `now` of a step."""
from __future__ import annotations

import msgspec


class Clock(msgspec.Struct, frozen=True):
    """`now = base + (append - origin) * speed`. Speed 1 and no base (production): now is the append time.

    A demo compresses hours into seconds: with speed 600 the trains of the simulator and the legal deadlines run equally fast.
    """

    origin: int = 0
    """Append time from which the speed counts, microseconds UTC (setting `clock_origin`)."""
    speed: float = 1.0
    """Setting `clock_speed`, more than 0."""
    base: int = 0
    """Our time at `origin`, microseconds UTC (setting `clock_base`); 0 = the same instant."""

    def now(self, append_us: int) -> int:
        """Microseconds UTC of our time for an instant of the broker's or the machine's clock."""
        since = append_us - self.origin
        return (self.base or self.origin) + (since if self.speed == 1.0 else int(since * self.speed))

    def append(self, now: int) -> int:
        """The earliest append time whose `now` is not before this one."""
        since = now - (self.base or self.origin)
        at = self.origin + (since if self.speed == 1.0 else int(since / self.speed))
        while self.now(at) < now:
            at += 1
        return at
