"""How a lane's turns are paced: what is new goes before a sweep, and a sweep that gives other folds work gives it piece by piece."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from agents.app import Worker
from agents.runner import stage
from agents.runner.memory import SimulatedLog
from agents.runner.partition import Partition
from agents.runner.stage import SLICE_KEYS, SPREAD_TO, YIELD_S, FoldWork, Spread
from agents.settings import load
from streams.effects import Effect, Publish, Send
from tests.agents.runner_toy import NO_REFERENCE, SECOND, Add, Factor, Summing
from topics import codec
from topics.registry import FOLDS, fold_topic

KEYS = [f"k{n}" for n in range(40)]


def sends(topic: str, count: int) -> tuple[Effect, ...]:
    return (Publish(tuple(Send(topic, b"k", b"v") for _ in range(count))),)


class Hand:
    """A clock that is moved by hand, seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_work_for_clearance_takes_its_time_and_other_words_take_none() -> None:
    clock = Hand()
    spread = Spread(30, clock)
    seen = [spread.open]
    spread.said(sends("border.x.kz", 500))
    seen.append(spread.open)
    spread.said(sends("clearance.in", 60))
    for seconds in (1.9, 0.2):
        clock.now += seconds
        seen.append(spread.open)
    assert seen == [True, True, False, True]


def test_time_in_which_nothing_was_said_is_not_saved_up() -> None:
    clock = Hand()
    spread = Spread(30, clock)
    clock.now += 3_600
    spread.said(sends("custody.in", 30))
    clock.now += 0.9
    assert not spread.open


def test_slices_grow_while_nothing_is_moved_and_begin_anew_when_something_is() -> None:
    spread, seen = Spread(30, Hand()), []
    for _ in range(10):
        seen.append(spread.keys)
        spread.said(sends("readiness.in", 5))
    assert seen == [1, 2, 4, 8, 16, 32, 64, 128, 200, 200]
    assert seen[-1] == SLICE_KEYS
    spread.said(sends("clearance.in", 1))
    assert spread.keys == 1


def test_what_is_spread_is_the_inputs_of_folds() -> None:
    assert {fold_topic(name) for name in FOLDS} >= SPREAD_TO


def sweeping(spread: Spread) -> tuple[Partition[Any, Any], FoldWork]:
    """Forty keys that a broadcast concerns."""
    partition = Partition(Summing(), NO_REFERENCE, 0)
    partition.restored()
    log = SimulatedLog(1, now_us=1_000 * SECOND)
    for n, key in enumerate(KEYS):
        log.append(Send("toy.in", key.encode(), codec.encode(Add(id=n, due_in_s=60 if n == 0 else 0)), 0))
    partition.batch(list(log.log("toy.in", 0)))
    log.append(Send("toy.in", b"all", codec.encode(Factor(name="f", version=1, by=3)), 0))
    partition.batch(log.log("toy.in", 0)[len(KEYS):])
    return partition, FoldWork(partition, wall=lambda: 1_000 * SECOND, spread=spread)


def spoken(effects: Sequence[Effect]) -> list[bytes]:
    return [send.key or b"" for effect in effects if isinstance(effect, Publish) for send in effect.sends if send.topic == "toy.out"]


def test_a_sweep_that_moves_others_waits_between_slices_and_reaches_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "SPREAD_TO", frozenset({"toy.out"}))
    clock = Hand()
    partition, work = sweeping(Spread(10, clock))
    told, turns = spoken(work.turn(True)), 1
    assert len(told) == 1
    assert work.turn(True) == (), "the tenth of a second is not over"
    assert work.pressing
    while partition.sweeping:
        clock.now += 0.1
        told += spoken(work.turn(True))
        turns += 1
    assert sorted(told) == sorted(key.encode() for key in KEYS)
    assert turns == len(KEYS)


def test_two_lanes_of_a_stage_share_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "SPREAD_TO", frozenset({"toy.out"}))
    spread = Spread(10, Hand())
    (_, one), (_, other) = sweeping(spread), sweeping(spread)
    assert spoken(one.turn(True))
    assert not spoken(other.turn(True))


def test_a_lane_with_inputs_sweeps_now_and_then_and_one_without_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Hand()
    monkeypatch.setattr(stage, "monotonic", clock)
    partition, work = sweeping(Spread(10, clock))
    first = spoken(work.turn(False))
    assert first
    assert work.turn(False) == ()
    assert spoken(work.turn(True)), "nothing waits: go on"
    clock.now += YIELD_S
    assert spoken(work.turn(False))
    assert partition.sweeping < len(KEYS) - 3


def test_a_deadline_does_not_wait_for_a_sweep_or_its_pace() -> None:
    partition, work = sweeping(Spread(10, clock := Hand()))
    work.turn(True)
    work._wall = lambda: 1_061 * SECOND
    assert spoken(work.turn(True)) == [KEYS[0].encode()]
    assert clock.now == 100.0
    assert partition.sweeping


def test_the_setting_reaches_the_lanes_and_counts_in_railclears_time(tmp_path: Path) -> None:
    worker = Worker(load({"bootstrap": "127.0.0.1:1", "stages": ["trains"], "sweep_rate": 20.0, "clock_speed": 5.0, "data_dir": str(tmp_path)}, {}, None))
    (flow,) = worker._flows()
    work = flow.work(TopicPartition("trains.in", 0))
    assert isinstance(work, FoldWork)
    work._spread.said(sends("custody.in", 200))
    assert 1.5 < work._spread._next - monotonic() <= 2.0
