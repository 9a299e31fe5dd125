"""Invariant 2 as a property: whatever world, whatever order, repetition and lateness, the last word on every side is the same.

Only what is *about* the order of hearing may differ: revisions, times of assessment, which deadline was known first. How long ago a source was heard does
not: at the end every source has just been heard.
"""
from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import cache

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from streams.simulate import Sent, SimOptions
from tests.sim.system import HOUR, MINUTE, System, essence
from tests.sim.worlds import START, world
from topics.codec import encode
from topics.events.base import Heartbeat
from topics.events.outputs import ClearanceUpdate

pytestmark = [pytest.mark.sim, pytest.mark.timeout(900)]

OPTIONS = SimOptions(trains=1, containers_min=2, containers_max=3, position_minutes=360, heartbeats=True, speed_up=8)
"""One train of a few days with positions and heartbeats, incidents and noise included."""
LATE_MAX = 72 * HOUR

Last = dict[tuple[str, str], tuple[object, ...]]


def finish(system: System, messages: tuple[Sent, ...]) -> None:
    """Time passes until everything is over; then every source is heard, so that no side is short of a condition because of when its authority was last
    heard."""
    end = messages[-1].at + 2 * LATE_MAX + 24 * HOUR
    system.end(end)
    beats = {m.topic: m for m in messages if isinstance(m.event, Heartbeat)}
    assert len(beats) > 10, "every source sends heartbeats"
    when = datetime.fromtimestamp(end // 1_000_000, UTC)
    system.pour([msgspec.structs.replace(m, value=encode(msgspec.structs.replace(m.event, id="HB-END", event_time=when))) for m in beats.values()], end)
    system.end(end + MINUTE)


def everything(statuses: dict[tuple[str, str], ClearanceUpdate]) -> Last:
    """All that a side's last word says and that people act on."""
    found: Last = {}
    for key, seen in essence(statuses).items():
        u = statuses[key]
        found[key] = (
            *seen, u.blocked_by, u.not_checked,
            tuple(sorted(msgspec.json.encode(msgspec.structs.replace(f, due_first_known=None)) for f in u.filings)),
            tuple(sorted((c.name, c.verdict) for c in u.conditions)),
            tuple(sorted((f.rule, f.code, f.severity) for f in u.findings)), u.ready)
    return found


@cache
def in_order(seed: int) -> Last:
    """What the world comes to when every message is heard at its time, once."""
    system = System()
    messages = world(OPTIONS, seed)
    system.play(messages)
    finish(system, messages)
    return everything(system.statuses())


def at_one_instant(messages: tuple[Sent, ...], rng: random.Random, repeated: float) -> System:
    """All at once when everything is over, in any order, some twice."""
    heard = [*messages, *rng.sample(messages, int(len(messages) * repeated))]
    rng.shuffle(heard)
    system = System(rng)
    system.pour(heard, messages[-1].at)
    return system


def late(messages: tuple[Sent, ...], rng: random.Random, repeated: float) -> System:
    """At their time, but a third of them up to three days late, and some twice, the second time up to three days later still; deadlines pass on the way."""
    heard = [msgspec.structs.replace(m, at=m.at + rng.randint(0, LATE_MAX)) if rng.random() < 0.3 else m for m in messages]
    heard += [msgspec.structs.replace(m, at=m.at + rng.randint(0, LATE_MAX)) for m in rng.sample(heard, int(len(messages) * repeated))]
    system = System(rng)
    system.play(sorted(heard, key=lambda m: m.at))
    return system


@example(seed=493, order=280, repeated=0.5, hear=late)
@given(seed=st.integers(1, 10_000), order=st.integers(0, 2**32), repeated=st.sampled_from((0.0, 0.1, 0.5)), hear=st.sampled_from((at_one_instant, late)))
@settings(max_examples=10, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_order_repetition_and_lateness_end_with_the_same_word(seed: int, order: int, repeated: float, hear: object) -> None:
    messages = world(OPTIONS, seed)
    system = (late if hear is late else at_one_instant)(messages, random.Random(order), repeated)
    finish(system, messages)
    mine, wanted = everything(system.statuses()), in_order(seed)
    note(f"{len(messages)} messages from {START}")
    assert mine.keys() == wanted.keys()
    assert {key: (mine[key], wanted[key]) for key in wanted if mine[key] != wanted[key]} == {}


def test_the_property_looks_at_worlds_in_which_something_happens() -> None:
    states = {said[1] for seed in (1, 2, 3) for said in in_order(seed).values()}
    assert {"DEPARTED", "NOT_REQUIRED"} <= states
