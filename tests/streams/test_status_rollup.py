"""From scopes to a side: every combination of three scopes."""
from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement

from streams.status import Basis, ScopeStatus, State
from streams.status.rollup import rolled_up

THERE = {State.ARRIVED, State.SEAL_CHECK}
DONE = {State.RELEASED, State.DEPARTED}
WORST = [State.REFUSED, State.HELD, State.UNDER_CONTROL, State.CONTROL_ORDERED, State.INFO_REQUESTED, State.FILING_REJECTED]
LATER = [State.EXPECTED, State.FILED, State.ACCEPTED, State.PRE_CLEARED]


def side_of(*scopes: ScopeStatus) -> State:
    living = [s for s in scopes if s.state is not State.NOT_REQUIRED and not s.off_route]
    return rolled_up(living, Counter(s.state for s in scopes))


def scope(state: State, *, off_route: bool = False) -> ScopeStatus:
    return ScopeStatus(state=state, basis=Basis.INFERRED, present=state in THERE | {State.DEPARTED}, flags=frozenset({"off_route"} if off_route else ()))


def test_of_three_scopes_none_is_forgotten() -> None:
    for states in combinations_with_replacement(State, 3):
        side, counted = side_of(*map(scope, states)), [s for s in states if s is not State.NOT_REQUIRED]
        demanded = [s for s in WORST if s in counted]
        if not counted:
            assert side is State.NOT_REQUIRED
        elif demanded:
            assert side is demanded[0], states
        elif set(counted) == {State.CANCELLED}:
            assert side is State.CANCELLED
        elif set(counted) <= DONE:
            assert side is (State.DEPARTED if set(counted) == {State.DEPARTED} else State.RELEASED), states
        elif THERE & set(counted) or State.DEPARTED in counted:
            assert side is (State.SEAL_CHECK if State.SEAL_CHECK in counted else State.ARRIVED), states
        else:
            behind = [State.EXPECTED if s is State.CANCELLED else s for s in counted if s not in DONE]
            assert side is min(behind, key=LATER.index), states


def test_a_side_is_released_or_departed_only_when_all_its_scopes_are() -> None:
    for states in combinations_with_replacement(State, 3):
        if side_of(*map(scope, states)) in DONE:
            assert set(states) <= DONE | {State.NOT_REQUIRED}, states


def test_a_scope_that_goes_another_way_is_left_out_unless_there_is_nothing_else() -> None:
    away = scope(State.CANCELLED, off_route=True)
    assert side_of(away, scope(State.RELEASED)) is State.RELEASED
    assert side_of(away, away) is State.CANCELLED
    assert side_of(away, scope(State.NOT_REQUIRED)) is State.CANCELLED


def test_a_scope_to_be_filed_again_stands_before_everything() -> None:
    assert side_of(scope(State.CANCELLED), scope(State.RELEASED)) is State.EXPECTED
    assert side_of(scope(State.CANCELLED), scope(State.PRE_CLEARED)) is State.EXPECTED
