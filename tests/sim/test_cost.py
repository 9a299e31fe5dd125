"""Deterministic cost guards: what a fixed world costs in steps, sides, rules, codings, records and bytes. A figure beyond its bound is a regression.

Bounds are what was measured when they were set and three hundredths more (`python -m tests.sim.counting` prints them). Whoever makes something cheaper lowers
them; whoever must raise one says why in docs/decisions.md. Times are for `make bench`.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from agents.intake import flow
from agents.ledger import rows as ledger
from agents.ledger.rows import LogRecord, Rows
from streams.intake import gate
from streams.intake.reading import read
from tests.sim.counting import CACHE_BYTES, TOLD, WORLDS, Played, bound_of, measured, of_news
from tests.sim.worlds import world
from topics.events.outputs import BatchOutcomes

pytestmark = pytest.mark.sim

SLACK = 0.93
"""Of its bound: what is cheaper than that guards nothing."""
costs = cache(measured)


BOUNDS = {
    "trains": {
        "assessed again as a whole": 0.0238, "bytes": 7664, "clearance steps": 0.2956, "custody steps": 0.158, "derived bytes": 701, "derived records": 1.744,
        "documents steps": 0.1435, "inputs decoded": 1.744, "intake decodes": 1.03, "intake encodes": 1.001, "ledger decodes": 2.973, "ledger encodes": 1.979,
        "ledger rows": 3.934, "memos that did not hold": 0.02415, "outcomes bytes": 201.3, "outcomes records": 1.23, "publishes": 1.154,
        "readiness steps": 0.05416, "rules asked": 6.421, "said bytes": 5682, "said records": 3.103, "scopes assessed": 1.173, "sides assessed": 1.048,
        "sides proven": 1.052, "sources steps": 0.7523, "state bytes": 1080, "state records": 1.526, "state writes": 0.5305, "states decoded": 1.318,
        "states encoded": 1.318, "states not resumed": 0.03863, "trains steps": 0.03587, "updates written out": 1.261, "whole assessments": 0.1104,
    },
    "house items": {
        "assessed again as a whole": 0.003456, "bytes": 48980, "clearance steps": 0.3007, "custody steps": 0.08987, "derived bytes": 1226,
        "derived records": 2.986, "documents steps": 0.2385, "inputs decoded": 2.986, "intake decodes": 1.03, "intake encodes": 1.244,
        "ledger decodes": 6.052, "ledger encodes": 3.038, "ledger rows": 7.746, "memos that did not hold": 0.006913, "outcomes bytes": 330.2,
        "outcomes records": 1.704, "publishes": 1.455, "readiness steps": 0.1452, "rules asked": 790.2, "said bytes": 45390, "said records": 4.148,
        "scopes assessed": 261.5, "sides assessed": 2.395, "sides proven": 2.395, "sources steps": 0.3318, "state bytes": 2032, "state records": 2.979,
        "state writes": 1.766, "states decoded": 1.009, "states encoded": 1.134, "states not resumed": 0.003456, "trains steps": 0.09678,
        "updates written out": 2.136, "whole assessments": 0.2834,
    },
}
"""Per message from outside. A step of CLEARANCE assesses some sides of a shipment; how many, and how often all of them, is what a memo is for. `states not
resumed`, `memos that did not hold` and `assessed again as a whole` are the ways to the whole; whoever takes one more often pays with sides and rules. A notice
of one house item has the two hundred scopes of its box assessed at every side that it touches, and all of them said."""


def beyond(found: dict[str, float], bounds: dict[str, float]) -> set[str]:
    return {name for name, bound in bounds.items() if found.get(name, 0.0) > bound}


@pytest.mark.parametrize("where", sorted(BOUNDS))
def test_a_message_costs_no_more_than_it_did(where: str) -> None:
    more = {name: (costs(where)[name], BOUNDS[where][name]) for name in beyond(costs(where), BOUNDS[where])}
    assert not more, "(now, bound) per message from outside"


@pytest.mark.parametrize("where", sorted(BOUNDS))
def test_every_cost_has_a_bound_that_is_not_slack(where: str) -> None:
    found, bounds = costs(where), BOUNDS[where]
    assert found.keys() == bounds.keys()
    slack = {name: (found[name], bound) for name, bound in bounds.items() if found[name] < SLACK * bound}
    assert not slack, "cheaper by far than its bound: lower the bound, or it guards nothing"


def a_record_is_read_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gate, "read", lambda *given: (read(*given), read(*given))[1])


def an_output_is_encoded_twice(patch: pytest.MonkeyPatch) -> None:
    once = flow.effects_of
    patch.setattr(flow, "effects_of", lambda *given: (once(*given), once(*given))[1])


def the_ledger_decodes_outcomes_twice(patch: pytest.MonkeyPatch) -> None:
    once = Rows._outcome

    def twice(rows: Rows, record: LogRecord, text: str, link: bytes) -> None:
        vars(ledger)["codec"].decode(record.value or b"", BatchOutcomes)
        once(rows, record, text, link)

    patch.setattr(Rows, "_outcome", twice)


def the_ledger_keeps_every_status_twice(patch: pytest.MonkeyPatch) -> None:
    once = Rows._status
    patch.setattr(Rows, "_status", lambda *given: (once(*given), once(*given)))


@pytest.mark.parametrize(("spoil", "found"), [
    (None, set()), (a_record_is_read_twice, {"intake decodes"}), (an_output_is_encoded_twice, {"intake encodes"}),
    (the_ledger_decodes_outcomes_twice, {"ledger decodes"}), (the_ledger_keeps_every_status_twice, {"ledger decodes", "ledger rows"})])
def test_work_that_is_done_twice_is_found_out(
        spoil: Callable[[pytest.MonkeyPatch], None] | None, found: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of intake and the ledger, in a world of a few messages, by the bounds that it sets itself."""
    bounds = {name: bound_of(count) for name, count in few().items()}
    if spoil is not None:
        spoil(monkeypatch)
    assert beyond(few(), bounds) == found


def few() -> dict[str, float]:
    return Played(CACHE_BYTES).play(world(WORLDS["trains"])[:60])


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
