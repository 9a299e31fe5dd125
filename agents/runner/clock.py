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
    until: int = 0
    """Append time after which our time goes on at speed 1 (setting `clock_until`); 0 = never. What a demo leaves behind does not age by days a second."""

    def now(self, append_us: int) -> int:
        """Microseconds UTC of our time for an instant of the broker's or the machine's clock."""
        over = max(0, append_us - self.until) if self.until else 0
        since = append_us - self.origin - over
        return (self.base or self.origin) + (since if self.speed == 1.0 else int(since * self.speed)) + over

    def append(self, now: int) -> int:
        """The earliest append time whose `now` is not before this one."""
        since = now - (self.base or self.origin)
        if self.until and now > (end := self.now(self.until)):
            return self.until + now - end
        at = self.origin + (since if self.speed == 1.0 else int(since / self.speed))
        while self.now(at) < now:
            at += 1
        return at
