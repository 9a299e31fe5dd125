"""The whole system in memory on simulated trains: nothing lost, the states are reached, and the order of arrival does not matter."""
from __future__ import annotations

import random
from functools import cache

import msgspec
import pytest

from streams.audit import INTAKE, WRITERS
from streams.effects import Effect, Publish
from streams.simulate import Sent, SimOptions, expected_dead_letters
from tests.sim.system import HOUR, System, essence
from tests.sim.worlds import world

pytestmark = pytest.mark.sim

FEW = SimOptions(trains=3, containers_min=6, containers_max=8, position_minutes=0, heartbeats=False, closure=False, speed_up=8)
"""A world of a few days: shuffled input arrives within the times for which the folds keep what is over (bindings 14 days)."""
CALM = msgspec.structs.replace(FEW, trains=2).calm()


def end_of(messages: tuple[Sent, ...]) -> int:
    return messages[-1].at + 24 * HOUR


@cache
def played(options: SimOptions) -> System:
    system = System()
    system.play(world(options))
    system.end(end_of(world(options)))
    return system


def test_every_stage_says_only_what_the_book_keeping_takes_for_its_own() -> None:
    said: set[tuple[str, str]] = set()

    def look(stage: str, effect: Effect) -> bool:
        if isinstance(effect, Publish):
            said.update((stage, msgspec.json.decode(s.value or b"{}")["type"]) for s in effect.sends if s.topic.endswith(".in"))
        return False

    system = System(crash=look)
    system.play(world(CALM))
    system.end(end_of(world(CALM)))
    assert {(stage, tag) for stage, tag in said if stage not in WRITERS.get(tag, INTAKE)} == set()
    assert {stage for stage, _ in said} == {"intake", "trains", "custody", "documents", "clearance", "sources"}


def test_nothing_is_unaccounted_and_the_dead_letters_are_the_wrong_messages() -> None:
    account = played(FEW).account()
    assert account.faults == ()
    assert account.unaccounted == 0
    assert account.dead_letters == expected_dead_letters(world(FEW))
    assert account.parked == 0


def test_a_calm_world_ends_released_and_departed() -> None:
    statuses = played(CALM).statuses()
    assert statuses
    wrong = {key: (u.state, u.flags, u.missing_release) for key, u in statuses.items()
             if u.state not in ("DEPARTED", "RELEASED", "NOT_REQUIRED") or "left_without_release" in u.flags}
    assert not wrong


@pytest.mark.parametrize("seed", [1, 2])
def test_any_order_repetition_and_delay_give_the_same_final_statuses(seed: int) -> None:
    messages = world(FEW)
    rng = random.Random(seed)
    shuffled = [*messages, *rng.sample(messages, len(messages) // 5)]
    rng.shuffle(shuffled)
    system = System(rng)
    system.pour(shuffled, end_of(messages))
    system.end(end_of(messages))
    mine, other = essence(played(FEW).statuses()), essence(system.statuses())
    assert mine.keys() == other.keys()
    assert {key: (mine[key], other[key]) for key in mine if mine[key] != other[key]} == {}


def test_crashes_between_effects_change_nothing() -> None:
    messages, rng = world(CALM), random.Random(5)
    system = System(rng, crash=lambda _stage, _effect: rng.random() < 0.002)
    system.play(messages)
    system.end(end_of(messages))
    assert system.harness.crashes > 0
    assert essence(system.statuses()) == essence(played(CALM).statuses())
    assert system.account().unaccounted == 0
