"""Acts of operators in the simulation: they go the way of production's, they have effect, and nothing is left of them at the end."""
from __future__ import annotations

import msgspec
import pytest

from streams.effects import Send
from streams.intake.routing import MASKED
from tests.sim.acts import DESK, Desk
from tests.sim.inputs import Said
from tests.sim.plan import ACTS as KIND
from tests.sim.plan import FAULTS, KINDS, Plan, plan_of
from tests.sim.run import Driver, Run, play
from tests.sim.simulate import judge
from tests.sim.worlds import topics
from topics import codec
from topics.events.internal import MaskFacts
from topics.events.operations import FeedRetracted, OperationsEvent, OperatorAct
from topics.registry import ACTS

pytestmark = pytest.mark.sim

SWEPT, ACTED = Plan(seed=1, kinds=frozenset({"sweep"}), trains=1), Plan(seed=5, kinds=frozenset({KIND}), trains=1)


def acts(run: Run, topic: str = ACTS) -> list[OperatorAct]:
    return [codec.decode(r.value or b"", OperationsEvent) for r in run.log.topic(topic)]


def at_rest(plan: Plan) -> tuple[Driver, Said]:
    """A run of which nothing has been said yet, and its first message."""
    run = play(msgspec.structs.replace(plan, kinds=frozenset()))
    fresh = Run(plan, run.world, run.said, run.cluster.semantics, None)
    driver = Driver(fresh)
    driver.cluster.settle()
    return driver, fresh.said[0]


def unread(driver: Driver, topic: str) -> int:
    """Records of an inbound topic that intake has not acknowledged."""
    driver.cluster.settle()
    at = driver.cluster.committed
    return sum(driver.log.part(topic, n).next - at.get(("intake", topic, n), 0) for n in range(driver.log.partitions(topic)))


def test_a_retraction_and_its_undo_reach_every_partition_of_every_fold_that_keeps_inputs() -> None:
    run = play(SWEPT)
    told = [act for act in acts(run) if isinstance(act, FeedRetracted)]
    assert len(told) == len(acts(run, DESK.inbound)) > 1
    assert {act.record for act in told if act.undone} == {act.record for act in told}
    for topic in MASKED:
        for n in range(run.log.partitions(topic)):
            records = [r for r in run.log.part(topic, n).records if r.key == b"*" and b"source.masked" in (r.value or b"")]
            masks: list[MaskFacts] = [codec.decode(r.value or b"", MaskFacts) for r in records]
            assert [(m.source, m.record, m.lifted) for m in masks] == [(act.feed, act.record, act.undone) for act in told]


@pytest.mark.parametrize("plan", [SWEPT, ACTED], ids=["sweep", KIND])
def test_no_act_is_refused_and_each_is_undone(plan: Plan) -> None:
    run = play(plan)
    assert run.log.topic(DESK.refusals) == []
    said = acts(run, DESK.inbound)
    begun = sum(n for name, n in run.seen.items() if name.startswith("acts: "))
    assert len(said) == 2 * begun > 0


def test_the_feeds_of_a_world_are_all_who_speak_in_it() -> None:
    run = play(SWEPT)
    assert set(Desk(run.log, run.world).feeds) == {topics().topics[said.topic].party for said in run.world.said}


@pytest.mark.parametrize("drained", [True, False], ids=["drain", "pause"])
def test_records_wait_while_an_act_says_so_and_are_read_when_it_is_undone(drained: bool) -> None:
    driver, said = at_rest(ACTED)
    act = driver.desk.drain() if drained else driver.desk.pause(topics().topics[said.topic].party)
    driver.cluster.settle()
    driver.log.write(Send(said.topic, said.key, said.value))
    assert unread(driver, said.topic) == 1
    assert unread(driver, DESK.inbound) == 0, "the operators' own topic never waits"
    driver.cluster.crash(driver.cluster.workers[0], in_place=False)
    assert unread(driver, said.topic) == 1, "who takes over has read the acts before"
    driver.desk.undo(act)
    assert unread(driver, said.topic) == 0


def test_records_of_another_feed_do_not_wait() -> None:
    driver, said = at_rest(ACTED)
    driver.desk.pause(next(feed for feed in driver.desk.feeds if feed != topics().topics[said.topic].party))
    driver.cluster.settle()
    driver.log.write(Send(said.topic, said.key, said.value))
    assert unread(driver, said.topic) == 0


@pytest.mark.parametrize(("plan", "breaks"), [(SWEPT, "2 order does not matter"), (ACTED, "1 nothing lost")], ids=["sweep", KIND])
def test_an_act_that_is_never_undone_is_found_out(plan: Plan, breaks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Desk, "undo", lambda self, name: self.open.pop(name))
    assert breaks in judge(plan).findings


def test_acts_are_drawn_apart_from_the_other_kinds() -> None:
    plans = [plan_of(seed) for seed in range(400)]
    assert 0.3 < sum(KIND in plan.kinds for plan in plans) / len(plans) < 0.5
    assert {kind for plan in plans for kind in plan.kinds} == set(KINDS)
    assert plan_of(17).kinds - {KIND} == {"poison", "redeliver", "skew", "sweep"} <= set(FAULTS)
