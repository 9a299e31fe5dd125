"""One run: a world, what goes wrong in it, and everything that is left to look at when it is over."""
from __future__ import annotations

import hashlib
import random
from collections import Counter
from functools import lru_cache
from typing import Any

import msgspec

from agents.intake import intake_process
from agents.runner.partition import Partition
from streams.clearance import ClearanceFold
from streams.custody import CustodyFold
from streams.documents import DocumentsFold
from streams.effects import Send
from streams.readiness import ReadinessFold
from streams.sources import SourcesFold
from streams.trains import TrainsFold
from tests.sim.acts import DESK, Desk
from tests.sim.cluster.broker import BROKERS, Log
from tests.sim.cluster.cluster import GROUP_BROKER, Cluster, Stage
from tests.sim.cluster.database import Database, LedgerTask
from tests.sim.cluster.follower import Follower
from tests.sim.cluster.lane import GOOD, Semantics, Worker
from tests.sim.inputs import START, Said, World, disturbed, said_in
from tests.sim.lastly import last_words
from tests.sim.plan import ACTS, Plan
from tests.sim.probe import Probe
from tests.sim.system import System, essence
from tests.sim.worlds import reference, topics
from topics.events.outputs import ClearanceUpdate

PROBED = 0.04
CHANCE = {"rebalance": 0.03, "zombie": 0.03, "broker": 0.03, "database": 0.05, "sweep": 0.02, "compaction": 0.03, "upgrade": 0.012, "acts": 0.03}
"""Of a fault after each message."""
CRASHES_MAX = 8
STEPS_BETWEEN_CRASHES = 250
SKEW_MAX = 120_000_000
FOLDS = (TrainsFold, CustodyFold, DocumentsFold, ClearanceFold, ReadinessFold, SourcesFold)
Key = tuple[str, str]
Essence = dict[Key, tuple[object, ...]]
"""What must not depend on the order of arrival, nor on anything that went wrong."""


class Run:
    """What a run leaves behind. `faults` names what broke; the checkers add what should not be."""

    def __init__(self, plan: Plan, world: World, said: list[Said], semantics: Semantics, trace: list[str] | None) -> None:
        self.plan, self.world, self.said, self.trace = plan, world, said, trace
        self.impure: list[str] = []
        self.steps: Counter[str] = Counter()
        skewed = "skew" in plan.kinds
        rng = plan.rng("clocks")
        skews = tuple(rng.randint(-SKEW_MAX, SKEW_MAX) if skewed else 0 for _ in range(BROKERS))
        registry = topics()
        self.log = Log(START, 4, {spec.name: spec.partitions for spec in registry.topics.values()}, skews)
        workers = [Worker(n, rng.randint(-SKEW_MAX, SKEW_MAX) if skewed else 0) for n in range(3)]
        spoken = {s.topic for s in said} | {DESK.inbound}
        probed = plan.rng("probe")
        stages = [Stage("intake", tuple(s.name for s in registry.inbound if s.name in spoken), process=intake_process(reference(), registry))]
        for fold in FOLDS:
            probe = Probe(fold(), probed, PROBED, self.impure, self.steps)
            stages.append(Stage(probe.name, (probe.input_topic,), fold=probe))
        self.cluster = Cluster(self.log, stages, reference(), plan.rng("interleaving"), workers, semantics=semantics, trace=trace,
                               transactional=frozenset({"clearance"}) if plan.transactional else frozenset())
        if ACTS in plan.kinds:
            self.cluster.followers = {w.number: Follower(self.log, plan.rng(f"follower {w.number}"), w, registry) for w in workers}
        self.seen = self.cluster.seen
        self.database = Database()
        self.ledgers = [LedgerTask(self.log, self.database, plan.rng(f"ledger {n}"), self.seen) for n in range(2)]
        self.unrestored: list[str] = []
        """Keys whose state in memory was not what the log gives back."""

    # -- afterwards --------------------------------------------------------------------------------------------------------
    def last(self) -> Essence:
        """The last word on everything: per shipment and side, and per topic and whom it is about (tests/sim/lastly.py)."""
        return essence(self.statuses()) | last_words(self.log.names(), self.log.topic)

    def updates(self) -> list[ClearanceUpdate]:
        """Every status published, in order."""
        return [msgspec.json.decode(r.value, type=ClearanceUpdate) for r in self.log.topic("clearance.history") if r.value is not None]

    def statuses(self) -> dict[Key, ClearanceUpdate]:
        """The last word per shipment and side: the highest revision."""
        last: dict[Key, ClearanceUpdate] = {}
        for update in self.updates():
            held = last.get((update.shipment, update.side))
            if held is None or update.revision > held.revision:
                last[update.shipment, update.side] = update
        return last


class Driver:
    """Plays a plan: messages at their times, faults between them, then everything comes back and to rest."""

    def __init__(self, run: Run) -> None:
        self.run, self.plan, self.cluster, self.log = run, run.plan, run.cluster, run.log
        self.rngs = {kind: run.plan.rng(f"fault {kind}") for kind in sorted(run.plan.kinds)}
        self.pace = run.plan.rng("pace")
        self.ends: list[tuple[int, str, int]] = []
        """(at message, fault, number): what goes back to normal then."""
        self.desk = Desk(run.log, run.world)
        self.crashes = 0
        self.next_crash = self._crash_at() if "crash" in self.rngs else -1
        self.cluster.torn = bool({"rebalance", "zombie", "crash"} & run.plan.kinds)
        self.cluster.crash_now = self._crash_now

    def _crash_at(self) -> int:
        return self.cluster.steps + 1 + int(self.rngs["crash"].expovariate(1 / STEPS_BETWEEN_CRASHES))

    def _crash_now(self) -> bool:
        if not 0 <= self.next_crash <= self.cluster.steps or self.crashes >= CRASHES_MAX:
            return False
        self.crashes += 1
        self.run.seen["crashes between two effects"] += 1
        self.next_crash = self._crash_at()
        return True

    def play(self) -> None:
        """From the first message to the end of the run."""
        for n, said in enumerate(self.run.said):
            self._until(said.at)
            self.log.write(Send(said.topic, said.key, said.value))
            if said.kind:
                self.run.seen[f"messages: {said.kind}"] += 1
            self._back_to_normal(n)
            for kind in self.rngs:
                self._fault(kind, n)
            self._ledger()
        self._calm_down()

    def _until(self, at: int) -> None:
        """Time passes: mostly everything is done meanwhile, sometimes hardly anything is."""
        if at <= self.log.now or self.pace.random() < 0.45:
            for _ in range(self.pace.randint(0, 6)):
                self.cluster.round()
            self.cluster.skip(at)
        else:
            self.cluster.advance(at)

    def _ledger(self) -> None:
        for ledger in self.run.ledgers:
            if ledger.rng.random() < 0.2:
                ledger.run()

    # -- faults ------------------------------------------------------------------------------------------------------------
    def _fault(self, kind: str, n: int) -> None:
        rng = self.rngs[kind]
        if rng.random() >= CHANCE.get(kind, 0.0):
            return
        if self._strikes(kind, rng, n):
            self.run.seen[f"faults: {kind}"] += 1

    def _strikes(self, kind: str, rng: random.Random, n: int) -> bool:
        """Did anything go wrong? Who is paused already is not paused once more, nor does a broker go that is away."""
        cluster = self.cluster
        if kind == "rebalance":
            cluster.rebalance()
        elif kind == "zombie":
            if cluster.paused is not None:
                return False
            for _ in range(rng.randint(1, 4)):  # so that it is stopped in the middle of something
                cluster.round()
            cluster.pause(rng.choice(cluster.workers))
            self.ends.append((n + rng.randint(1, 20), "zombie", 0))
        elif kind == "broker":
            return self._broker(rng, n)
        elif kind == "database":
            self._database(rng, n)
        elif kind in ("sweep", ACTS):
            return self._act(kind, rng, n)
        elif kind == "compaction":
            for stage in cluster.stages.values():
                if stage.fold is not None:
                    topics_of = (stage.fold.state_topic, *stage.fold.revision_topics)
                    self.run.seen["records compacted away"] += sum(self.log.compact(t) for t in topics_of)
        elif kind == "upgrade":
            worker = rng.choice(cluster.workers)
            worker.pack = "next" if worker.pack != "next" else ""
            cluster.crash(worker, in_place=rng.random() < 0.5)
        return kind in CHANCE

    def _broker(self, rng: random.Random, n: int) -> bool:
        broker = rng.randrange(BROKERS)
        if broker in self.log.away:
            return False
        self.log.away.add(broker)
        self.cluster.tell(f"broker {broker} is away")
        if broker == GROUP_BROKER:
            self.run.seen["the group's broker away"] += 1
        if rng.random() < 0.4:
            self.run.seen["partitions led by another broker"] += self.log.fail_over(broker)
        elif rng.random() < 0.3:  # longer than a producer waits: workers that had something to say end themselves
            for worker in [w for w in self.cluster.workers if any(lane.queue and lane.worker is w for lane in self.cluster.lanes)]:
                self.run.seen["workers that ended themselves"] += 1
                self.cluster.crash(worker, in_place=True)
        self.ends.append((n + rng.randint(1, 10), "broker", broker))
        return True

    def _database(self, rng: random.Random, n: int) -> None:
        for ledger in self.run.ledgers:
            ledger.lossy = True
        if rng.random() < 0.6:
            self.run.database.away = True
            self.ends.append((n + rng.randint(1, 25), "database", 0))
        else:
            rng.choice(self.run.ledgers).restart()
        self.cluster.tell(f"database {'away' if self.run.database.away else 'lossy'}")

    def _act(self, kind: str, rng: random.Random, n: int) -> bool:
        name = self.desk.retract(rng) if kind == "sweep" else self.desk.wait(rng)
        if not name:
            return False
        self.run.seen[f"acts: {name.partition(' ')[0]}"] += 1
        self.ends.append((n + rng.randint(1, 20), name, 0))
        return True

    def _back_to_normal(self, n: int) -> None:
        for end in [e for e in self.ends if e[0] <= n]:
            self.ends.remove(end)
            self._end(end[1], end[2])

    def _end(self, fault: str, number: int) -> None:
        if fault == "zombie":
            self.cluster.resume()
        elif fault == "broker":
            self.log.away.discard(number)
        elif fault == "database":
            self.run.database.away = False
        else:
            self.desk.undo(fault)

    # -- the end -----------------------------------------------------------------------------------------------------------
    def _calm_down(self) -> None:
        """Everything is back; what is left is done; then all workers are killed and the rest of the time passes on what the log gives back."""
        for _, fault, number in sorted(self.ends):
            self._end(fault, number)
        self.next_crash = -1
        cluster = self.cluster
        cluster.resume()
        cluster.settle()
        self._restore_all()
        cluster.advance(self.run.world.end)
        for ledger in self.run.ledgers:
            ledger.lossy = False
            while ledger.run():
                pass

    def _compare(self, where: str, was: dict[str, tuple[tuple[int, int], bytes]], mine: dict[str, tuple[tuple[int, int], bytes]]) -> None:
        """Whatever former owners have tried: what the log gives back is what was in memory, to the byte."""
        for key in sorted(mine.keys() | was.keys()):
            one, other = was.get(key), mine.get(key)
            if (one and one[1]) != (other and other[1]):
                self.run.unrestored.append(f"{where} {key} (offset and seq {one and one[0]}, restored {other and other[0]})")

    def _restore_all(self) -> None:
        cluster = self.cluster
        held = {lane.place: _held(lane.work) for lane in cluster.lanes if lane.work is not None}
        for worker in cluster.workers:
            worker.pack = "next" if "upgrade" in self.plan.kinds else ""
            cluster.crash(worker, in_place=True)
        for lane in cluster.lanes:
            cluster.prepare(lane)
            if lane.work is not None:
                self._compare(f"{lane.stage}/{lane.partition}", held[lane.place], _held(lane.work))
        cluster.seen["lanes restored at the end"] += len(held)


def _held(work: Partition[Any, Any]) -> dict[str, tuple[tuple[int, int], bytes]]:
    """Key -> how new its state is, and the state with what has changed since it was written whole."""
    found = ((key, work.cells.get(key), work.cells.patch(key) or b"") for key in work.cells if not key.startswith("\x00"))
    return {key: ((cell[0].offset, cell[0].seq), cell[1] + patch) for key, cell, patch in found if cell is not None}


def play(plan: Plan, semantics: Semantics = GOOD, trace: list[str] | None = None) -> Run:
    """Play a plan to its end. Raises what the code under test raises, and Livelock."""
    world = said_in(plan.world, plan.trains, "skew" in plan.kinds)
    kept = msgspec.structs.replace(semantics, lease=semantics.lease and plan.leased)
    run = Run(plan, world, disturbed(plan, world), kept, trace)
    Driver(run).play()
    return run


def digest(run: Run) -> str:
    """Stands for everything on the log."""
    found = hashlib.blake2b(digest_size=16)
    for name in run.log.names():
        for r in run.log.topic(name):
            found.update(repr((r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)).encode())
    return found.hexdigest()


@lru_cache(maxsize=8)
def calm(number: int, trains: int, skewed: bool) -> Essence:
    """What the same messages come to when nothing goes wrong: in order, in whole batches, one worker."""
    world, system = said_in(number, trains, skewed), System()
    every = 6 * 3_600_000_000
    until = START + every
    for said in world.said:
        while said.at >= until:
            system.harness.tick(until)
            until += every
        system.harness.log.now_us = max(system.harness.log.now_us, said.at)
        system.harness.publish(said.topic, said.key, said.value)
    system.harness.run()
    system.end(world.end)
    log = system.harness.log
    return essence(system.statuses()) | last_words(log.names(), log.topic)


def calm_of(plan: Plan) -> Essence:
    """The calm course of a plan's world."""
    return calm(plan.world, plan.trains, "skew" in plan.kinds)
