"""What a worker knows of the operators' acts: production's own reading of them (agents/operations/holding.py), from the simulated topic."""
from __future__ import annotations

import random
from unittest import mock

from agents.operations import holding as holding_module
from agents.operations.holding import Holding
from tests.sim.cluster.broker import Log
from tests.sim.cluster.lane import Worker
from topics.registry import ACTS, Registry

FOLLOWED = 0.5
"""How often a worker reads the next act when it has its turn."""


class Follower:
    """A process reads all acts before it takes its first record, and each later one a while after it was written."""

    def __init__(self, log: Log, rng: random.Random, worker: Worker, registry: Registry) -> None:
        self.log, self.rng, self.worker, self.registry = log, rng, worker, registry
        self.lives = self.next = 0
        self.holding = Holding(registry)

    def held(self, topic: str) -> bool:
        """Do this topic's records wait?"""
        return self.lives != self.worker.lives or topic in self.holding.topics

    def follow(self) -> bool:
        """Read on; whether anything is left to read, or was."""
        if not self.log.reachable(ACTS, 0):
            return False
        if anew := self.lives != self.worker.lives:
            self.lives, self.next, self.holding = self.worker.lives, 0, Holding(self.registry)
        records = self.log.read(ACTS, 0, self.next, self.log.births if anew else 1)
        if not anew and records and self.rng.random() >= FOLLOWED:
            return True
        if records:
            with mock.patch.object(holding_module.log, "warning"):  # a seed would say it a thousand times
                for record in records:
                    self.holding.take((record.key or b"").decode(), record.value)
                    self.next = record.offset + 1
        return anew or bool(records)
