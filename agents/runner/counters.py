"""What a partition counts."""
from __future__ import annotations


class Counters:
    """Plain counters of one partition; the metrics agent reads them."""

    __slots__ = ("applied", "broadcasts", "dead", "decoded", "due_in_past", "parked_ticks", "redelivered", "steps", "swept", "ticks")

    def __init__(self) -> None:
        self.applied = self.broadcasts = self.dead = self.decoded = self.due_in_past = 0
        self.parked_ticks = self.redelivered = self.steps = self.swept = self.ticks = 0
