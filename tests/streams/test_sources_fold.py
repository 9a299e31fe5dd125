"""SOURCES: freshness changes are told to everybody, heartbeats to nobody."""
from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest

from streams.fold import EVERY_PARTITION, Fate, World
from streams.sources import PAUSE_MINUTES_MAX, SourcesFold, State, silence_minutes
from tests.streams.folds_bench import NOW, reference
from topics.events.internal import FreshnessChanged, SourceHeard, SourcePaused
from topics.events.outputs import Alert
from topics.facts import MINUTE

FOLD = SourcesFold()
LIMIT = silence_minutes(reference(), "customs-kz") * MINUTE


def heard(minutes: float, event: float | None = None) -> SourceHeard:
    at = NOW + round(minutes * MINUTE)
    return SourceHeard(source="customs-kz", last_event=at if event is None else NOW + round(event * MINUTE), heard_at=at)


def step(state: State | None, minutes: float, *events: SourceHeard | SourcePaused, rows: Any = None) -> Any:
    known = FOLD.decode_state(FOLD.encode_state(state)) if state is not None else None
    return FOLD.step(known, "customs-kz", events, World(rows or reference()), NOW + round(minutes * MINUTE))


def said(found: Any) -> list[tuple[bool, int]]:
    assert all(e.partition == EVERY_PARTITION and e.topic == "clearance.in" for e in found.outputs if isinstance(e.value, FreshnessChanged))
    return [(e.value.live, e.value.since - NOW) for e in found.outputs if isinstance(e.value, FreshnessChanged)]


def test_the_first_word_makes_a_source_live() -> None:
    found = step(None, 0, heard(0))
    assert said(found) == [(True, 0)]
    assert found.next_due == NOW + LIMIT


def test_a_heartbeat_of_a_live_source_is_told_to_nobody() -> None:
    found = step(step(None, 0, heard(0)).state, 5, heard(5))
    assert not found.outputs
    assert found.next_due == NOW + 5 * MINUTE + LIMIT


def test_silence_makes_it_stale_at_the_limit_and_not_before() -> None:
    live = step(None, 0, heard(0)).state
    assert not step(live, LIMIT / MINUTE - 1).outputs
    found = step(live, LIMIT / MINUTE)
    assert said(found) == [(False, LIMIT)]
    assert found.next_due is None


def test_a_stale_source_that_speaks_is_live_again() -> None:
    stale = step(step(None, 0, heard(0)).state, 10_000).state
    assert said(step(stale, 10_001, heard(10_001))) == [(True, 10_001 * MINUTE)]


def test_an_old_word_that_comes_late_revives_nobody() -> None:
    stale = step(step(None, 0, heard(0)).state, 10_000).state
    found = step(stale, 10_001, heard(1))
    assert not found.outputs
    assert step(stale, 10_001, heard(-1)).outcomes[0].fate is Fate.SUPERSEDED


def test_a_repeat_is_a_duplicate() -> None:
    found = step(step(None, 0, heard(0)).state, 0, heard(0))
    assert [o.fate for o in found.outcomes] == [Fate.DUPLICATE]
    assert not found.changed


def test_a_party_has_its_own_limit() -> None:
    row = next(iter(reference().parties.values()))
    own = msgspec.structs.replace(row, id="customs-kz", heartbeat_minutes=7)
    rows = msgspec.structs.replace(reference(), parties={**reference().parties, "customs-kz": own})
    assert silence_minutes(rows, "customs-kz") == 7
    assert silence_minutes(rows, "customs-pl") == reference().limits.freshness_minutes["customs"]


def test_any_order_of_words_ends_in_the_same_state() -> None:
    words = [heard(0), heard(5, 3), heard(9, 1), heard(7, 8)]
    ends = set()
    for order in permutations(words):
        state = None
        for word in order:
            state = step(state, 10, word).state
        assert state is not None
        ends.add(FOLD.encode_state(state))
    assert len(ends) == 1


# -- paused by an operator ----------------------------------------------------------------------------------------------------


def paused(minutes: float, paused: bool = True, id: str = "P-1") -> SourcePaused:
    return SourcePaused(source="customs-kz", paused=paused, at=NOW + round(minutes * MINUTE), id=id)


def alerts(found: Any) -> list[str]:
    return [e.value.state for e in found.outputs if isinstance(e.value, Alert)]


def test_a_paused_source_is_stale_at_once_and_live_when_it_is_read_again() -> None:
    live = step(None, 0, heard(0)).state
    held = step(live, 5, paused(5))
    assert said(held) == [(False, 5 * MINUTE)]
    assert said(step(held.state, 9, paused(9, False, "P-2"))) == [(True, 9 * MINUTE)], "later than the pause, so that every slot takes it"


def test_a_pause_that_lasts_alerts_and_a_short_one_does_not() -> None:
    held = step(step(None, 0, heard(0)).state, 5, paused(5))
    assert held.next_due == NOW + (5 + PAUSE_MINUTES_MAX) * MINUTE
    assert not alerts(step(held.state, 4 + PAUSE_MINUTES_MAX))
    lasting = step(held.state, 5 + PAUSE_MINUTES_MAX)
    assert alerts(lasting) == ["open"]
    assert not alerts(step(lasting.state, 90))
    assert alerts(step(lasting.state, 100, paused(100, False, "P-2"))) == ["resolved"]
    assert not alerts(step(held.state, 20, paused(20, False, "P-2")))


@pytest.mark.parametrize("order", list(permutations((paused(5), paused(9, False, "P-2"), paused(12, id="P-3"), heard(3)))))
def test_acts_and_words_in_any_order_end_with_the_latest_act(order: tuple[Any, ...]) -> None:
    state = None
    for event in order:
        state = step(state, 20, event).state
    assert (state.paused, state.act_id, state.live, state.heard_at) == (True, "P-3", False, NOW + 3 * MINUTE)
    assert step(state, 20, paused(9, False, "P-2")).outcomes[0].fate is Fate.SUPERSEDED
    assert step(state, 20, paused(12, id="P-3")).outcomes[0].fate is Fate.DUPLICATE
