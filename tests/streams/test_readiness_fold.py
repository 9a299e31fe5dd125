"""READINESS: counts per side ahead, at most one update per second and train."""
from __future__ import annotations

import itertools

import msgspec
import pytest

from streams.fold import World
from streams.readiness import ReadinessFold, Run
from streams.readiness.state import Inbound
from tests.streams.border_world import KZ_ENTRY, PL_ENTRY, T0, reference
from topics.events.internal import Joined, Milestone, RunProfile, SideSummary, StatusSummary
from topics.events.outputs import TrainReadiness
from topics.facts import DAY, HOUR, MINUTE

FOLD = ReadinessFold()
WORLD = World(reference())
RUN = "RAAAAAAAAAAAA"
SECOND = 1_000_000


def joined(n: int, *, aboard: bool = True, seq: int = 1) -> Joined:
    return Joined(run=RUN, container=f"BOXU000000{n}", shipment=f"S{n}", seq=seq, aboard=aboard, at=T0)


def summary(n: int, state: str = "ACCEPTED", *, movable: bool = False, missing: tuple[str, ...] = (), revision: int = 1) -> StatusSummary:
    side = SideSummary(side=KZ_ENTRY, state=state, movable=movable, missing=missing, due=T0 + 3 * HOUR if missing else None)
    return StatusSummary(run=RUN, shipment=f"S{n}", containers=(f"BOXU000000{n}",), revision=revision, sides=(side,))


PROFILE = RunProfile(run=RUN, railway="ktz", number="1401", date="2026-02-01", seq=1,
                     milestones=(Milestone(side=KZ_ENTRY, eta=(T0, T0 + HOUR, T0 + 2 * HOUR)), Milestone(side=PL_ENTRY)))


def step(state: Run | None, events: list[Inbound], now: int):  # type: ignore[no-untyped-def]
    return FOLD.step(state, RUN, events, WORLD, now)


def train() -> list[Inbound]:
    return [PROFILE, *(joined(n) for n in range(4)), summary(0, "RELEASED", movable=True), summary(1, "HELD"), summary(2, missing=("ens",)), summary(3)]


def pictures(outputs) -> list[TrainReadiness]:  # type: ignore[no-untyped-def]
    return [e.value for e in outputs if e.topic == "train.readiness"]


def test_it_counts_movable_held_and_missing_boxes_per_side_ahead() -> None:
    side = pictures(step(None, train(), T0).outputs)[0].sides[0]
    assert (side.side, side.total, side.movable, side.held, side.missing, side.missing_kinds) == (KZ_ENTRY, 4, 1, 1, 1, {"ens": 1})
    assert (side.eta, side.margin_minutes) == ((T0, T0 + HOUR, T0 + 2 * HOUR), 3 * HOUR // MINUTE)


def test_the_railway_gets_its_own_train() -> None:
    assert {e.topic for e in step(None, train(), T0).outputs} == {"readiness.revisions", "train.readiness", "status.ktz"}


@pytest.mark.parametrize("lost", [True, False])
def test_what_a_lost_step_has_said_is_said_over_with_a_higher_revision(lost: bool) -> None:
    """It may have said anything, and under a revision that the state does not know."""
    first = step(None, train(), T0)
    assert first.state is not None
    seen = T0 + DAY if lost else first.state.revision
    again = FOLD.step(first.state, RUN, [], msgspec.structs.replace(WORLD, revision_floor=seen), T0 + 2 * SECOND)
    assert [p.revision for p in pictures(again.outputs)] == [seen + 1] * lost
    assert step(again.state, [], T0 + 4 * SECOND).outputs == (), "once"


def test_a_revision_is_durable_before_anybody_hears_of_it() -> None:
    first, *others = step(None, train(), T0).outputs
    assert (first.topic, first.first, first.value) == ("readiness.revisions", True, None)
    assert {e.revision for e in others} == {0}
    assert {p.revision for p in pictures(others)} == {first.revision}


def test_two_changes_within_a_second_give_one_update_and_the_second_comes_when_due() -> None:
    first = step(None, train(), T0)
    second = step(first.state, [summary(1, "RELEASED", movable=True, revision=2)], T0 + SECOND // 2)
    assert second.outputs == ()
    assert second.next_due == T0 + SECOND
    third = step(second.state, [], T0 + SECOND)
    assert pictures(third.outputs)[0].sides[0].movable == 2
    assert pictures(third.outputs)[0].revision > pictures(first.outputs)[0].revision


def test_an_older_word_changes_nothing() -> None:
    first = step(None, [*train(), summary(1, "RELEASED", movable=True, revision=5)], T0)
    again = step(first.state, [summary(1, "HELD", revision=4)], T0 + 9 * SECOND)
    assert again.outputs == ()
    assert [o.fate.value for o in again.outcomes] == ["superseded"]


def test_a_box_that_left_the_train_no_longer_counts() -> None:
    first = step(None, train(), T0)
    left = step(first.state, [joined(1, aboard=False, seq=2)], T0 + 2 * SECOND)
    side = pictures(left.outputs)[0].sides[0]
    assert (side.total, side.held) == (3, 0)


def unknown(n: int, *, seq: int) -> Joined:
    """The same box before anybody said what is in it."""
    return msgspec.structs.replace(joined(n, seq=seq), shipment="")


def test_a_box_whose_shipment_becomes_known_on_board_is_counted_once_and_leaves_whole() -> None:
    first = step(None, [PROFILE, unknown(0, seq=1), joined(1)], T0)
    known = step(first.state, [joined(0, seq=2), summary(0, "HELD")], T0 + 2 * SECOND)
    assert (pictures(known.outputs)[0].containers, pictures(known.outputs)[0].sides[0].held) == (2, 1)
    left = step(known.state, [joined(0, aboard=False, seq=3)], T0 + 4 * SECOND)
    assert (pictures(left.outputs)[0].containers, pictures(left.outputs)[0].sides) == (1, ())
    assert step(left.state, [unknown(0, seq=1)], T0 + 6 * SECOND).outcomes[0].fate.value == "superseded"


def test_a_box_that_carries_another_shipment_is_not_counted_with_both() -> None:
    first = step(None, [PROFILE, joined(0), summary(0, "HELD"), summary(1, "RELEASED", movable=True)], T0)
    other = msgspec.structs.replace(joined(0, seq=2), shipment="S1")
    summed = msgspec.structs.replace(summary(1, "RELEASED", movable=True, revision=3), containers=("BOXU0000000",))
    side = pictures(step(first.state, [other, summed], T0 + 2 * SECOND).outputs)[0].sides[0]
    assert (side.total, side.held, side.movable) == (1, 0, 1)


def test_a_state_by_container_and_shipment_is_read_as_one_by_container() -> None:
    words = {"BOXU0000000|": unknown(0, seq=1), "BOXU0000000|S0": joined(0, seq=2), "BOXU0000001|S1": joined(1, aboard=False, seq=4),
             "BOXU0000001|": unknown(1, seq=3)}
    read = FOLD.decode_state(FOLD.encode_state(Run(joined=words)))
    assert read.joined == {"BOXU0000000": joined(0, seq=2), "BOXU0000001": joined(1, aboard=False, seq=4)}


def test_a_box_that_comes_back_to_a_yard_after_it_was_forgotten_is_counted() -> None:
    gone, back = joined(0, aboard=False, seq=45), msgspec.structs.replace(joined(0, seq=1), at=T0 + 190 * DAY)
    there = [PROFILE, joined(1)]
    for order in ([*there, gone, back], [*there, back, gone]):
        assert pictures(step(None, order, T0).outputs)[0].containers == 2
    soon = msgspec.structs.replace(back, at=T0 + 10 * DAY)
    assert pictures(step(None, [*there, gone, soon], T0).outputs)[0].containers == 1


def test_any_order_gives_the_same_picture() -> None:
    events: list[Inbound] = [PROFILE, joined(0), joined(0, aboard=False, seq=3), joined(0, seq=4), summary(0), summary(0, "HELD", revision=2)]
    seen = set()
    for order in itertools.permutations(events):
        state = None
        for n, event in enumerate(order):
            state = step(state, [event], T0 + n * 2 * SECOND).state
        assert state is not None
        seen.add(state.shown)
    assert len(seen) == 1


def test_boxes_in_a_yard_are_a_pseudo_run() -> None:
    there = Joined(run="yard:dostyk", container="BOXU0000001", shipment="S1", seq=1, aboard=True, at=T0)
    picture = pictures(FOLD.step(None, "yard:dostyk", [there, summary(1)], WORLD, T0).outputs)[0]
    assert (picture.number, picture.railway, picture.containers) == ("dostyk", "", 1)


def test_a_run_is_forgotten_two_weeks_after_everybody_left_and_not_while_somebody_is_aboard() -> None:
    later = T0 + 15 * 24 * HOUR
    aboard = step(None, train(), T0)
    assert step(aboard.state, [], later).state is not None
    empty = step(aboard.state, [joined(n, aboard=False, seq=2) for n in range(4)], T0 + 2 * SECOND)
    assert step(empty.state, [], later).state is None


def test_state_survives_its_own_bytes() -> None:
    state = step(None, train(), T0).state
    assert state is not None
    assert FOLD.decode_state(FOLD.encode_state(state)) == state


def test_boxes_of_one_shipment_count_each_for_itself() -> None:
    boxes = [Joined(run=RUN, container=f"BOXU000000{n}", shipment="S", seq=1, aboard=True, at=T0) for n in range(3)]

    def said(numbers: tuple[int, ...], state: str, revision: int) -> StatusSummary:
        side = SideSummary(side=KZ_ENTRY, state=state, movable=state == "RELEASED")
        return StatusSummary(run=RUN, shipment="S", containers=tuple(f"BOXU000000{n}" for n in numbers), revision=revision, sides=(side,))

    first = step(None, [PROFILE, *boxes, said((0, 1), "RELEASED", 1), said((2,), "HELD", 1)], T0)
    side = pictures(first.outputs)[0].sides[0]
    assert (side.total, side.movable, side.held) == (3, 2, 1)
    moved = step(first.state, [said((0, 1, 2), "RELEASED", 2)], T0 + 2 * SECOND)
    assert pictures(moved.outputs)[0].sides[0].movable == 3
