"""Which change of state is expected: the whole table, pair by pair and cause by cause."""
from __future__ import annotations

import pytest

from streams.status import Cause, State, causes_of, expected
from streams.status.edges import DEMANDS
from tests.streams.stories import AWAY, HERE, PI, RISK, TD, at, doc, hold
from topics.facts import Fact

TABLE = """
- > NOT_REQUIRED: route_planned
- > EXPECTED: route_planned
NOT_REQUIRED > REFUSED: refusal
NOT_REQUIRED > HELD: hold
NOT_REQUIRED > CANCELLED: off_route
DEPARTED > REFUSED: refusal
DEPARTED > HELD: hold
DEPARTED > CANCELLED: off_route
DEPARTED > RELEASED: presence
DEPARTED > FILING_REJECTED: visit
DEPARTED > ARRIVED: presence
DEPARTED > PRE_CLEARED: visit
DEPARTED > ACCEPTED: visit
DEPARTED > FILED: visit
DEPARTED > EXPECTED: visit
CANCELLED > REFUSED: refusal
CANCELLED > HELD: hold
CANCELLED > FILED: sent
CANCELLED > EXPECTED: sent
RELEASED > REFUSED: rejected revoked ended invalidated refusal
RELEASED > HELD: rejected revoked ended invalidated hold
RELEASED > UNDER_CONTROL: rejected revoked ended invalidated
RELEASED > CONTROL_ORDERED: rejected revoked ended invalidated control_ordered
RELEASED > DEPARTED: departed
RELEASED > CANCELLED: off_route rejected revoked ended invalidated
RELEASED > INFO_REQUESTED: rejected revoked ended invalidated
RELEASED > FILING_REJECTED: rejected revoked ended invalidated
RELEASED > SEAL_CHECK: rejected revoked ended invalidated
RELEASED > ARRIVED: rejected revoked ended invalidated
RELEASED > PRE_CLEARED: rejected revoked ended invalidated
RELEASED > ACCEPTED: rejected revoked ended invalidated
RELEASED > FILED: rejected revoked ended invalidated
RELEASED > EXPECTED: rejected revoked ended invalidated
FILING_REJECTED > REFUSED: refusal
FILING_REJECTED > HELD: hold
FILING_REJECTED > CONTROL_ORDERED: control_ordered
FILING_REJECTED > CANCELLED: off_route
FILING_REJECTED > FILED: sent
FILING_REJECTED > EXPECTED: sent
SEAL_CHECK > REFUSED: refusal
SEAL_CHECK > HELD: hold
SEAL_CHECK > CONTROL_ORDERED: control_ordered
SEAL_CHECK > CANCELLED: off_route
SEAL_CHECK > INFO_REQUESTED: info_requested
SEAL_CHECK > RELEASED: presence registered released ended proven seal_good
SEAL_CHECK > ARRIVED: seal_good seal_bad
ARRIVED > REFUSED: refusal
ARRIVED > HELD: hold
ARRIVED > CONTROL_ORDERED: control_ordered
ARRIVED > CANCELLED: off_route
ARRIVED > INFO_REQUESTED: info_requested
ARRIVED > RELEASED: presence registered released ended proven seal_good
ARRIVED > SEAL_CHECK: seal_reading
PRE_CLEARED > REFUSED: refusal
PRE_CLEARED > HELD: hold
PRE_CLEARED > CONTROL_ORDERED: control_ordered
PRE_CLEARED > CANCELLED: off_route invalidated
PRE_CLEARED > INFO_REQUESTED: info_requested
PRE_CLEARED > RELEASED: released
PRE_CLEARED > FILING_REJECTED: rejected
PRE_CLEARED > ARRIVED: presence
PRE_CLEARED > ACCEPTED: amended condition_lost seal_bad
PRE_CLEARED > EXPECTED: expired
ACCEPTED > REFUSED: refusal
ACCEPTED > HELD: hold
ACCEPTED > CONTROL_ORDERED: control_ordered
ACCEPTED > CANCELLED: off_route invalidated
ACCEPTED > INFO_REQUESTED: info_requested
ACCEPTED > RELEASED: released
ACCEPTED > FILING_REJECTED: rejected
ACCEPTED > ARRIVED: presence
ACCEPTED > PRE_CLEARED: proven
ACCEPTED > EXPECTED: expired
FILED > REFUSED: refusal
FILED > HELD: hold
FILED > CONTROL_ORDERED: control_ordered
FILED > CANCELLED: off_route
FILED > INFO_REQUESTED: info_requested
FILED > FILING_REJECTED: rejected
FILED > ARRIVED: presence
FILED > ACCEPTED: registered
EXPECTED > REFUSED: refusal
EXPECTED > HELD: hold
EXPECTED > CONTROL_ORDERED: control_ordered
EXPECTED > CANCELLED: off_route
EXPECTED > FILING_REJECTED: rejected
EXPECTED > ARRIVED: presence
EXPECTED > FILED: sent
"""
"""Every expected change from a state without a demand, one cause alone. What is not here is not expected."""

ENDS = {
    State.REFUSED: {Cause.CLOSED}, State.HELD: {Cause.CLOSED}, State.UNDER_CONTROL: {Cause.CLOSED, Cause.ASSESSED},
    State.CONTROL_ORDERED: {Cause.CLOSED, Cause.ASSESSED}, State.INFO_REQUESTED: {Cause.CLOSED, Cause.ASSESSED, Cause.ANSWERED},
}
"""What ends a demand: then it may be anything, as the goods went on meanwhile."""
FROM_DEMANDS = {
    State.REFUSED: {Cause.REFUSAL}, State.HELD: {Cause.HOLD}, State.CONTROL_ORDERED: {Cause.CONTROL_ORDERED},
    State.CANCELLED: {Cause.OFF_ROUTE}, State.RELEASED: {Cause.RELEASED},
}
"""What leads from any demand to another state while the demand stands, or with the release that covers it."""
ALSO = {(State.CONTROL_ORDERED, State.UNDER_CONTROL): {Cause.CONTROL_STARTED}, (State.UNDER_CONTROL, State.HELD): {Cause.DISCREPANCY}}


def table() -> dict[tuple[State | None, State], set[Cause]]:
    found: dict[tuple[State | None, State], set[Cause]] = {}
    for line in TABLE.strip().splitlines():
        pair, _, causes = line.partition(": ")
        before, after = pair.split(" > ")
        found[None if before == "-" else State(before), State(after)] = {Cause(c) for c in causes.split()}
    for before in DEMANDS:
        for after in State:
            found[before, after] = ENDS[before] | FROM_DEMANDS.get(after, set()) | ALSO.get((before, after), set())
    return found


@pytest.mark.parametrize("before", [None, *State], ids=str)
def test_every_pair_of_states_is_expected_for_exactly_the_causes_of_the_table(before: State | None) -> None:
    known = table()
    for after in State:
        for cause in set(Cause) - {Cause.WITHDRAWN}:
            told = expected(before, after, [cause])
            assert told is (before is after or cause in known.get((before, after), set())), (before, after, cause)


def test_no_change_is_always_expected_and_a_change_without_cause_never() -> None:
    assert all(expected(s, s, []) for s in State)
    assert not any(expected(a, b, []) for a in State for b in State if a is not b)


def test_a_correction_may_lead_anywhere_from_where_something_was() -> None:
    assert all(expected(a, b, [Cause.WITHDRAWN]) for a in State for b in State)
    assert not expected(None, State.RELEASED, [Cause.WITHDRAWN])


def test_several_causes_of_one_step_may_lead_over_states_that_never_showed() -> None:
    assert expected(None, State.ACCEPTED, [Cause.REGISTERED, Cause.SENT, Cause.ROUTE_PLANNED])
    assert not expected(None, State.ACCEPTED, [Cause.REGISTERED, Cause.ROUTE_PLANNED])
    assert expected(State.EXPECTED, State.RELEASED, [Cause.PRESENCE, Cause.RELEASED])


def test_one_cause_explains_one_edge_only() -> None:
    assert not expected(State.EXPECTED, State.RELEASED, [Cause.PRESENCE])
    assert not expected(State.ARRIVED, State.EXPECTED, [Cause.ENDED])


def test_a_release_without_its_filing_is_unexpected() -> None:
    assert not expected(State.EXPECTED, State.RELEASED, [Cause.RELEASED])
    assert not expected(State.FILED, State.DEPARTED, [Cause.DEPARTED])


def test_the_first_assessment_of_a_long_history_is_answered_too() -> None:
    assert expected(None, State.DEPARTED, set(Cause) - {Cause.WITHDRAWN})


@pytest.mark.parametrize(("fact", "cause"), [
    (PI, Cause.REGISTERED), (TD, Cause.RELEASED), (HERE[1], Cause.PRESENCE), (AWAY, Cause.DEPARTED), (RISK, Cause.PROVEN), (hold(1), Cause.HOLD),
    (hold(2, phase="closed"), Cause.CLOSED), (at(1, "demand", "info", "", "q", "opened"), Cause.INFO_REQUESTED),
    (at(1, "demand", "control", "", "q", "opened"), Cause.CONTROL_ORDERED), (at(1, "demand", "refusal", "", "q", "opened"), Cause.REFUSAL),
    (at(1, "demand", "control", "", "q", "discrepancy"), Cause.DISCREPANCY), (at(1, "condition", "risk", value="failed"), Cause.CONDITION_LOST),
    (at(1, "seal", "lock", "tamper", "e"), Cause.SEAL_BAD), (at(1, "seal", "lock", "ok"), Cause.SEAL_GOOD), (at(1, "route", value="off"), Cause.OFF_ROUTE),
    (at(1, "route", value="on"), Cause.ROUTE_PLANNED), (at(1, "visit", value=2), Cause.VISIT), (doc(1, "pi", "1", "sent", value=None), Cause.WITHDRAWN),
    (at(1, "mask", value={"source": "KZ"}), Cause.WITHDRAWN),
])
def test_a_fact_tells_its_cause(fact: Fact, cause: Cause) -> None:
    assert causes_of([fact]) == {cause}


def test_another_agencys_word_causes_no_change_of_state() -> None:
    assert causes_of([at(1, "agency", "phyto", "hold", "1", "opened", source="phyto-kz"), doc(1, "pi", "1", "enquiry")]) == frozenset()
