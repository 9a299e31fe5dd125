"""Deterministic cost guards: what a fixed world costs in steps, sides, rules, codings, records and bytes. A figure beyond its bound is a regression.

Bounds are what was measured when they were set and three hundredths more (`python -m tests.sim.counting` prints them). Whoever makes something cheaper lowers
them; whoever must raise one says why in docs/decisions.md. Times are for `make bench`.
"""
from __future__ import annotations

from functools import cache

import pytest

from tests.sim.counting import TOLD, measured, of_news

pytestmark = pytest.mark.sim

SLACK = 0.93
"""Of its bound: what is cheaper than that guards nothing."""
costs = cache(measured)


BOUNDS = {
    "assessed again as a whole": 0.0238, "bytes": 7664, "clearance steps": 0.2956, "custody steps": 0.158, "derived bytes": 701, "derived records": 1.744,
    "documents steps": 0.1435, "inputs decoded": 1.744, "memos that did not hold": 0.02415, "outcomes bytes": 201.3, "outcomes records": 1.23,
    "publishes": 1.154, "readiness steps": 0.05416, "rules asked": 6.421, "said bytes": 5682, "said records": 3.103, "scopes assessed": 1.173,
    "sides assessed": 1.048, "sides proven": 1.052, "sources steps": 0.7523, "state bytes": 1080, "state records": 1.526, "state writes": 0.5305,
    "states decoded": 1.318, "states encoded": 1.318, "states not resumed": 0.03863, "trains steps": 0.03587, "updates written out": 1.261,
    "whole assessments": 0.1104,
}
"""Per message from outside. A step of CLEARANCE assesses some sides of a shipment; how many, and how often all of them, is what a memo is for. `states not
resumed`, `memos that did not hold` and `assessed again as a whole` are the ways to the whole; whoever takes one more often pays with sides and rules."""


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_a_message_costs_no_more_than_it_did(name: str) -> None:
    assert costs().get(name, 0.0) <= BOUNDS[name], f"{name} per message from outside"


def test_every_cost_has_a_bound_that_is_not_slack() -> None:
    assert costs().keys() == BOUNDS.keys()
    slack = {name: (costs()[name], bound) for name, bound in BOUNDS.items() if costs()[name] < SLACK * bound}
    assert not slack, "cheaper by far than its bound: lower the bound, or it guards nothing"


NEWS = {
    "whole": (5, 5, 50, 1, 11), "notice": (3, 2, 40, 0, 2), "presence": (2, 1, 19, 0, 1), "ahead": (1, 1, 9, 0, 1), "hold": (1, 1, 9, 0, 1),
    "eta": (0, 0, 0, 0, 1), "position": (0, 0, 0, 0, 0), "seal": (5, 5, 49, 1, 11), "filing": (1, 1, 9, 0, 1),
}
"""Of a shipment of the customs-rail link, by kind of news: sides proven, sides assessed, rules asked, whole assessments, updates written out. At the link two
sides are proven where one of them is touched, and the other is not assessed as long as the link says the same of it."""


def test_one_more_fact_makes_no_more_sides_be_assessed_and_no_more_rules_be_asked_than_it_touches() -> None:
    found = of_news()
    assert found.keys() == NEWS.keys()
    more = {f"{kind}: {name}": (count, bound) for kind, counts in found.items() for name, count, bound in zip(TOLD, counts, NEWS[kind], strict=True)
            if count > bound}
    assert not more, "(now, bound)"
    assert found == NEWS, "cheaper than its bound: lower the bound, or it guards nothing"
