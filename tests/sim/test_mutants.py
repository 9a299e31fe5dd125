"""A transport that breaks one of its promises is found out within a few seeds: the simulation would see the loss if there were one."""
from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

import msgspec
import pytest

from streams.clearance import publish
from streams.effects import Publish, Send
from tests.agents.runner_toy import NO_REFERENCE
from tests.agents.test_runner_again import KEY, Heard, Only, Telling
from tests.sim import run as run_module
from tests.sim.acts import AHEAD, Desk
from tests.sim.cluster.broker import Log
from tests.sim.cluster.cluster import Cluster, Stage
from tests.sim.cluster.lane import GOOD, Semantics, Worker
from tests.sim.plan import Plan, plan_of, without
from tests.sim.simulate import judge
from tests.sim.worlds import START, topics
from topics import codec
from topics.events.internal import MaskFacts
from topics.registry import fold_topic

pytestmark = pytest.mark.sim


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that is broken, and the runs in which it must show."""

    name: str
    broken: Semantics
    seeds: Sequence[int]
    """Tried in this order; one of them must fail."""
    kinds: frozenset[str] | None = None
    """Only these faults; None = those of the seed."""
    leased: bool = True
    breaks: str = ""
    """What must be among what is found; empty = anything."""

    def plans(self) -> list[Plan]:
        if self.kinds is None:
            return [plan_of(seed) for seed in self.seeds]
        return [Plan(seed=seed, kinds=self.kinds, leased=self.leased, trains=1) for seed in self.seeds]


CALM = frozenset[str]()
CRASHES, ZOMBIES = frozenset({"crash", "rebalance"}), frozenset({"zombie", "rebalance"})
POISONED = frozenset({"poison"})
LOST, OTHERWISE, REVISED = "1 nothing lost", "2 order does not matter", "5 revisions"
UNHEARD = (
    ("trains.in", CALM, LOST, (1,)), ("custody.in", CALM, LOST, (1,)), ("documents.in", CALM, LOST, (1,)), ("clearance.in", CALM, LOST, (1,)),
    ("readiness.in", CALM, LOST, (1,)), ("sources.in", CALM, LOST, (1,)), ("clearance.history", CALM, LOST, (1,)), ("office.", CALM, LOST, (13,)),
    ("status.", CALM, LOST, (1,)), ("dead.letters", POISONED, LOST, (1,)), ("refusals.", POISONED, LOST, (1,)), ("train.readiness", CALM, OTHERWISE, (1,)),
    ("ops.alerts", CALM, OTHERWISE, (1,)), ("restricted.", CALM, OTHERWISE, (1,)), ("restricted.revisions", CALM, LOST, (1,)),
    ("clearance.status", CALM, LOST, (1,)), ("readiness.revisions", ZOMBIES, REVISED, (5, 3, 7)), ("territory.", CALM, LOST, (5,)))
"""Topics of which not one record is written, and what must be found then. One that every status or state comes from is missed by more than one check. Without
`readiness.revisions` the revisions of READINESS are restored from its states alone, as they once were."""
MUTANTS = (
    Mutant(name="state is written before the outputs", broken=Semantics(outputs_before_state=False), seeds=(0, 1, 3)),
    Mutant(name="nothing is awaited", broken=Semantics(awaits=False), seeds=(7, 12, 13)),
    Mutant(name="a fetch that survived a rebalance is dropped (H1)", broken=Semantics(fetch_seeks_back=False), seeds=(3, 0, 1)),
    Mutant(name="what the state holds is applied again", broken=Semantics(offset_check=False), seeds=(2, 4, 3, 7)),
    Mutant(name="more is committed than is acknowledged", broken=Semantics(acked_prefix=False), seeds=(0, 1, 2), kinds=CRASHES),
    Mutant(name="the revision topic is not read at restore", broken=Semantics(revision_floors=False), seeds=(23, 30, 0), kinds=frozenset({"crash", "reorder"})),
    Mutant(name="restore takes the last record instead of the highest", broken=Semantics(highest_wins=False, claimed=False), seeds=(1, 0), kinds=ZOMBIES,
           leased=False),
    Mutant(name="nobody is shut out by a claim", broken=Semantics(claimed=False), seeds=(4, 6, 9), kinds=ZOMBIES, leased=False, breaks="5 revisions"),
    Mutant(name="a lane is kept before all it said is durable", broken=Semantics(kept_when_clean=False), seeds=(7, 9, 5), kinds=frozenset({"rebalance"}),
           breaks="1 nothing lost"),
    Mutant(name="a commit of an old generation counts", broken=Semantics(commits_fenced=False), seeds=(1, 0), kinds=ZOMBIES, breaks="1 nothing lost"),
    Mutant(name="state is never written", broken=Semantics(state_durable=False), seeds=(1,), kinds=CALM, breaks="1 nothing lost"),
    Mutant(name="no outcomes are published", broken=Semantics(outcomes=False), seeds=(1,), kinds=CALM, breaks="1 nothing lost"),
    Mutant(name="no dead letters are written", broken=Semantics(dead_letters=False), seeds=(1,), kinds=frozenset({"poison"}), breaks="1 nothing lost"),
    Mutant(name="every fiftieth record for a border is lost", broken=Semantics(unheard="border.", unheard_of=50), seeds=(1, 3), kinds=CALM,
           breaks="1 nothing lost"),
    *(Mutant(name=f"nobody hears what is said on {topic}", broken=Semantics(unheard=topic), seeds=seeds, kinds=kinds, breaks=breaks)
      for topic, kinds, breaks, seeds in UNHEARD),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[m.name for m in MUTANTS])
def test_a_broken_transport_is_found_out_and_a_good_one_is_not(mutant: Mutant) -> None:
    for plan in mutant.plans():
        found = judge(plan, mutant.broken).findings
        if mutant.breaks in found or (found and not mutant.breaks):
            assert judge(plan).findings == {}
            return
    pytest.fail(f"{mutant.name}: {len(mutant.seeds)} seeds did not notice")


def test_saying_every_side_again_with_each_fact_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = publish.statuses
    monkeypatch.setattr(publish, "statuses", lambda *args: statuses(*args[:6], publish.Lost()))
    found = judge(Plan(seed=1, kinds=CALM, trains=1)).findings
    assert all(" says what " in one for one in found["8 bounded"]), found
    assert found.keys() == {"8 bounded"}


class Straight(Desk):
    """Operators whose masks are told to CLEARANCE alone, past intake and the other folds: what they retract changes nothing that the other folds say."""

    masks: ClassVar[list[MaskFacts]] = []

    def retract(self, rng: random.Random) -> str:
        feed = rng.choice(("ktz", "cr", "rzd", "customs-kz", "customs-cn"))
        self._said += 1
        self.masks.append(MaskFacts(source=feed, since=START, until=self.log.now + AHEAD, record=f"SIM-{self._said}"))
        self.log.write(Send(fold_topic("clearance"), b"*", codec.encode(self.masks[-1]), -1))
        return "mask"

    def undo(self, name: str) -> None:
        lifted = msgspec.structs.replace(self.masks.pop(0), version=1, lifted=True)
        self.log.write(Send(fold_topic("clearance"), b"*", codec.encode(lifted), -1))


def test_an_alert_that_only_a_lost_step_has_opened_is_found_open_when_nobody_knows_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A former owner's look after a feed was retracted. The marks in `clearance.status` are all that the successor has of it."""
    plan = without(plan_of(227), *(plan_of(227).kinds - {"broker", "duplicate", "sweep", "zombie"}))
    monkeypatch.setattr(run_module, "Desk", Straight)
    monkeypatch.setattr(run_module, "DESK", topics().parties["customs-cn"])      # no other topic is read than those that are spoken on
    assert judge(plan).findings == {}
    monkeypatch.setattr(publish, "lost_of", lambda told: publish.Lost())
    found = judge(plan).findings
    assert found.keys() == {"2 order does not matter"}
    assert all(one.startswith("ops.alerts ") for one in found["2 order does not matter"]), found


def test_every_promise_is_broken_by_some_mutant() -> None:
    broken = {name for m in MUTANTS for name in Semantics.__struct_fields__ if getattr(m.broken, name) != getattr(GOOD, name)}
    left = set(Semantics.__struct_fields__) - broken
    assert left == {"lease", "again_singly"}, "the lease is a plan's choice, and a third of all runs go without; the other has a test of its own"


def ends_of(seed: int, semantics: Semantics) -> list[str]:
    """Names that hold for a reader of everything that a fold said which tells when a name begins and when it ends, with crashes in between. Only the last
    that came in does."""
    rng = random.Random(seed)
    log = Log(START, 1, {})
    cluster = Cluster(log, [Stage("tell", ("tell.in",), fold=Telling())], NO_REFERENCE, rng, [Worker(n, 0) for n in range(2)], semantics=semantics)
    for name in "abcdef":
        log.write(Send("tell.in", KEY.encode(), codec.encode(Only((name,)))))
        for _ in range(rng.randint(0, 8)):
            cluster.round()
        if rng.random() < 0.6:
            cluster.crash(cluster.lanes[0].worker, in_place=rng.random() < 0.5)
    cluster.settle()
    heard = Heard()
    late = cluster.owners.late       # what a dead owner's brokers wrote after its successor's words loses by its version; these words have none
    heard.take([Publish(tuple(Send(r.topic, r.key, r.value) for r in log.topic("tell.out") if (r.topic, r.partition, r.offset) not in late))])
    return heard.holds


def test_what_was_said_of_a_lost_step_is_taken_back_in_the_smallest_cluster() -> None:
    assert {tuple(ends_of(seed, GOOD)) for seed in range(60)} == {("k/f",)}
    wrong = [seed for seed in range(60) if ends_of(seed, Semantics(again_singly=False)) != ["k/f"]]
    assert len(wrong) > 5, "stepped per key at once, some name is never taken back"
