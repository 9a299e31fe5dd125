"""Intake on the in-memory twin of the worker: nothing lost, whatever the input and wherever it crashes."""
from __future__ import annotations

import random

import msgspec
import pytest

from agents.intake import intake_flow, intake_process
from agents.runner.clock import Clock
from agents.runner.memory import Harness, SimulatedLog, Stateless
from streams.effects import Effect
from tests.streams.intake_world import BOX, CROSSING, NOW, REFERENCE, REGISTRY, event, position, train
from topics import codec
from topics.events.outputs import BatchOutcomes, DeadLetter, Outward, RefusalNotice

KTZ, DESK, RISK = "rail.trains.ktz", "network.control.desk", "risk.indicators.kz"
COUNTS = {name: spec.partitions for name, spec in REGISTRY.topics.items()}


def harness(crash: bool = False, seed: int = 1) -> Harness:
    rng = random.Random(seed)

    def now_and_then(_: str, __: Effect) -> bool:
        return crash and rng.random() < 0.2

    stage = Stateless("intake", tuple(spec.name for spec in REGISTRY.inbound), intake_process(REFERENCE, REGISTRY))
    return Harness([stage], REFERENCE, log=SimulatedLog(4, NOW, COUNTS), rng=rng, crash=now_and_then if crash else None, batch_max=7)


def fill(world: Harness) -> int:
    """Good records, each followed by a bad one; returns how many of each."""
    for i in range(30):
        world.publish(KTZ, None, msgspec.json.encode(position(id=f"good-{i}", train=train(number=str(i)))), partition=0)
        world.publish(KTZ, None, b"bad %d" % i, partition=0, headers=(("n", b"%d" % i),))
    return 30


def decoded(world: Harness, topic: str) -> list[object]:
    return [codec.decode(record.value or b"", Outward) for record in world.topic(topic)]


def test_every_record_is_applied_or_dead_lettered_and_accounted_for() -> None:
    world = harness()
    count = fill(world)
    world.run()
    assert len(world.topic("trains.in")) == count
    letters = [one for one in decoded(world, "dead.letters") if isinstance(one, DeadLetter)]
    assert [letter.value for letter in letters] == [b"bad %d" % i for i in range(count)]
    assert [letter.headers for letter in letters] == [(("n", b"%d" % i),) for i in range(count)]
    told = [one for one in decoded(world, "refusals.ktz") if isinstance(one, RefusalNotice)]
    assert [one.offset for one in told] == [letter.offset for letter in letters] == list(range(1, 2 * count, 2))
    outcomes = [one for one in decoded(world, "outcomes.intake") if isinstance(one, BatchOutcomes)]
    covered = [offset for one in outcomes for offset in range(one.first, one.last + 1)]
    assert covered == list(range(2 * count))
    assert [(x.offset, x.fate, x.reason) for one in outcomes for x in one.exceptions] == [(o, "refused", "NOT_JSON") for o in range(1, 2 * count, 2)]


@pytest.mark.parametrize("seed", range(5))
def test_crashes_between_any_two_effects_lose_nothing(seed: int) -> None:
    world = harness(crash=True, seed=seed)
    count = fill(world)
    world.run()
    assert world.crashes > 0
    assert {record.key for record in world.topic("trains.in")} == {f"ktz/{i}/2026-03-01".encode() for i in range(count)}
    assert {one.value for one in decoded(world, "dead.letters") if isinstance(one, DeadLetter)} == {b"bad %d" % i for i in range(count)}


def test_what_concerns_everybody_reaches_every_partition_and_what_is_covert_nobody_else() -> None:
    world = harness()
    world.publish(DESK, None, msgspec.json.encode(event("network.crossing", "desk", crossing=CROSSING, state="closed")))
    world.run()
    assert sorted(record.partition for record in world.topic("clearance.in")) == [0, 1, 2, 3]
    assert sorted(record.partition for record in world.topic("trains.in")) == [0, 1, 2, 3]
    assert len(world.topic("sources.in")) == 1
    world = harness()
    world.publish(RISK, None, msgspec.json.encode(event("risk.indicator", "risk-kz", authority="KZ", valid_from="2026-03-01T00:00:00Z",
                                                        valid_until="2026-04-01T00:00:00Z", containers=[BOX])))
    world.publish(RISK, None, b"secret")
    world.run()
    assert len(world.topic("clearance.in")) == 4
    assert world.topic("sources.in") == world.topic("dead.letters") == []
    assert len(world.topic("dead.letters.restricted")) == len(world.topic("refusals.risk-kz")) == 1


def test_event_times_are_judged_on_the_demos_clock() -> None:
    late = position(event_time="2026-03-11T10:59:00Z")
    for speed, fate in ((1.0, ["refused"]), (10.0, [])):
        clock = Clock(origin=NOW - 86_400_000_000, speed=speed)
        process = intake_process(REFERENCE, REGISTRY, clock)
        world = Harness([Stateless("intake", (KTZ,), process)], REFERENCE, now_us=NOW)
        if speed > 1:
            world.log.now_us = NOW + 86_400_000_000
        world.publish(KTZ, None, msgspec.json.encode(late))
        world.run()
        (outcomes,) = decoded(world, "outcomes.intake")
        assert isinstance(outcomes, BatchOutcomes)
        assert [one.fate for one in outcomes.exceptions] == fate


def test_the_flow_reads_every_inbound_topic_and_keeps_no_state() -> None:
    flow = intake_flow(REFERENCE, REGISTRY)
    assert set(flow.topics) == {spec.name for spec in REGISTRY.inbound}
    assert (flow.name, flow.state_topic) == ("intake", "")


def test_whoever_counts_is_told_of_every_batch() -> None:
    seen: list[tuple[str, int, dict[str, int]]] = []
    process = intake_process(REFERENCE, REGISTRY, seen=lambda topic, records, result: seen.append((topic, len(records), result.flags)))
    world = Harness([Stateless("intake", (KTZ,), process)], REFERENCE, now_us=NOW)
    world.publish(KTZ, None, msgspec.json.encode(position(train=train("cr"))))
    world.run()
    assert seen == [(KTZ, 1, {"TRAIN_OF_OTHER": 1})]
