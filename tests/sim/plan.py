"""What goes wrong in a run: which kinds of faults, from one seed. Each kind draws from its own generator, so one can be left out alone."""
from __future__ import annotations

import random

import msgspec

FAULTS = ("reorder", "duplicate", "delay", "redeliver", "poison", "crash", "rebalance", "zombie", "broker", "database", "skew", "sweep", "compaction",
          "upgrade")
ACTS = "acts"
"""Operators let records wait. Drawn apart, so that every seed keeps the other faults that it had before there were acts."""
KINDS = (*FAULTS, ACTS)
FEWEST, MOST = 4, 10
ACTED = 0.4
"""Share of the seeds with acts."""
WORLDS = 4
"""So many seeds in a row share a world, so that its calm course is worked out once."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    seed: int
    kinds: frozenset[str]
    transactional: bool = False
    """CLEARANCE publishes in transactions."""
    leased: bool = True
    """A paused worker heeds its lease; else it goes on as if nothing had happened."""
    trains: int = 2

    def rng(self, what: str) -> random.Random:
        """The generator of one purpose."""
        return random.Random(f"{self.seed}/{what}")

    @property
    def world(self) -> int:
        """Seed of the simulated trains."""
        return self.seed // WORLDS


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    rng = random.Random(f"{seed}/plan")
    kinds = frozenset(rng.sample(FAULTS, rng.randint(FEWEST, MOST)))
    acted = random.Random(f"{seed}/plan {ACTS}").random() < ACTED
    return Plan(seed=seed, kinds=kinds | {ACTS} if acted else kinds, transactional=rng.random() < 0.35, leased=rng.random() < 0.6)


def without(plan: Plan, *kinds: str) -> Plan:
    """The same run without some kinds of faults."""
    return msgspec.structs.replace(plan, kinds=plan.kinds - set(kinds))
