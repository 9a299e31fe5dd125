"""Deterministic cost guards: what a fixed world costs in steps, assessments, records and bytes. A figure beyond its bound is a regression.

Bounds are what was measured when they were set and a tenth more. Whoever makes something cheaper lowers them; whoever must raise one says why
in docs/decisions.md. Times are for `make bench`.
"""
from __future__ import annotations

import sys
from collections import Counter
from functools import cache
from typing import Any

import pytest

from streams.simulate import SimOptions
from tests.sim.system import HOUR, PARTITIONS, System
from tests.sim.worlds import world

pytestmark = pytest.mark.sim

OPTIONS = SimOptions(trains=2, containers_min=5, containers_max=5, position_minutes=60, heartbeats=True, closure=False)
CACHE_BYTES = 64 << 10
FOLDS = ("trains", "custody", "documents", "clearance", "readiness", "sources")


@cache
def costs() -> dict[str, float]:
    """Per message from outside."""
    messages = world(OPTIONS)
    calls: Counter[str] = Counter()
    fold = sys.modules["streams.clearance.fold"]
    whole = fold.assess  # type: ignore[attr-defined]

    def counted(*arguments: Any, **more: Any) -> Any:
        calls["assessments"] += 1
        return whole(*arguments, **more)

    system = System()
    system.harness.cache.bytes_max = CACHE_BYTES
    fold.assess = counted  # type: ignore[attr-defined]
    try:
        system.play(messages)
        system.end(messages[-1].at + 24 * HOUR)
    finally:
        fold.assess = whole  # type: ignore[attr-defined]
    found: Counter[str] = Counter()
    for name in system.harness.log.names():
        kind = "state" if name.endswith(".state") else "derived" if name.endswith(".in") else "outcomes" if name.startswith("outcomes.") else "said"
        if name.startswith(("rail.", "trade.", "customs.", "terminal.", "seals.", "agency.", "network.", "risk.")):
            continue
        records = system.harness.topic(name)
        found[f"{kind} records"] += len(records)
        found[f"{kind} bytes"] += sum(len(r.value or b"") + len(r.key or b"") for r in records)
    for name in FOLDS:
        counters = [system.harness.partition(name, n).counters for n in range(PARTITIONS)]
        found[f"{name} steps"] = sum(c.steps for c in counters)
        found["states decoded"] += sum(c.decoded for c in counters)
    return {name: n / len(messages) for name, n in (found + calls).items()}


BOUNDS = {
    "assessments": 0.316, "clearance steps": 0.316, "custody steps": 0.169, "documents steps": 0.153, "readiness steps": 0.058, "sources steps": 0.803,
    "trains steps": 0.039, "derived records": 1.86, "derived bytes": 749, "outcomes records": 1.31, "outcomes bytes": 215, "said records": 3.28,
    "said bytes": 6_070, "state records": 1.63, "state bytes": 1_250, "states decoded": 1.41,
}
"""Per message from outside; the cache of decoded states is made too small, so that states are decoded."""


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_a_message_costs_no_more_than_it_did(name: str) -> None:
    assert costs().get(name, 0.0) <= BOUNDS[name], f"{name} per message from outside"


def test_every_cost_has_a_bound_that_is_not_slack() -> None:
    assert costs().keys() <= BOUNDS.keys()
    slack = {name: (costs()[name], bound) for name, bound in BOUNDS.items() if costs().get(name, 0.0) < 0.6 * bound}
    assert not slack, "cheaper by far than its bound: lower the bound, or it guards nothing"
