"""Workers, their lanes and their group: what runs, crashes, is taken over and comes back."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from agents.runner.cells import Cells, ObjectCache
from agents.runner.clock import Clock
from agents.runner.memory import Process
from agents.runner.partition import Partition
from agents.transport.lane import Lane as TransportLane
from streams.effects import Ack, Await
from streams.fold import Fold
from streams.reference.model import Reference
from tests.sim.cluster.broker import Log
from tests.sim.cluster.follower import Follower
from tests.sim.cluster.lane import GOOD, IN_FLIGHT_MAX, Lane, Publication, Semantics, Worker, land, ordered
from tests.sim.cluster.owners import Owners
from tests.sim.cluster.restoring import Keep, difference, flow_of, lane_of, restored

BATCH_MAX = 60
ROUNDS_MAX = 20_000
"""A system that is not quiet after so many rounds never will be."""
SNAPSHOTS = 0.02
"""How often a lane at rest is written to its worker's disk when it has its turn."""
COMPARED = 0.4
"""Share of the lanes that did not read everything which are compared with one that does."""
GROUP_BROKER = 0
"""Leads the group's offsets."""


class Livelock(AssertionError):
    """The system does not come to rest."""


class Stage(msgspec.Struct, frozen=True):
    """A fold or a stateless process, and what it reads."""

    name: str
    topics: tuple[str, ...]
    fold: Fold[Any, Any] | None = None
    process: Process | None = None


class Cluster:
    """`rng` decides how things interleave. Nothing goes wrong by itself: see `crash`, `pause`, `rebalance` and the log's brokers.

    `crash_now` is asked between any two effects.
    """

    def __init__(self, log: Log, stages: Sequence[Stage], reference: Reference, rng: random.Random, workers: Sequence[Worker], *,
                 semantics: Semantics = GOOD, transactional: frozenset[str] = frozenset(), trace: list[str] | None = None) -> None:
        self.log, self.reference, self.rng, self.workers, self.semantics = log, reference, rng, list(workers), semantics
        self.stages: Mapping[str, Stage] = {s.name: s for s in stages}
        self.transactional, self.trace = transactional, trace
        self.crash_now: Callable[[], bool] = lambda: False
        self.followers: dict[int, Follower] = {}
        """By worker, in a run in which operators let records wait."""
        self.torn = False
        """Fetches survive rebalances, workers may land half of what they said."""
        self.committed: dict[tuple[str, str, int], int] = {}
        self.commits: list[tuple[str, int, int, int]] = []
        """(topic, partition, committed, births of the log at that time)."""
        self.lanes: list[Lane] = []
        self.ghosts: list[Lane] = []
        """Lanes of the paused worker that were taken over while it could not know it."""
        self.paused: Worker | None = None
        self.seen: Counter[str] = Counter()
        self.owners = Owners(log, rng, self.seen, semantics)
        self.steps = 0
        self.generation = 0
        self.cache = ObjectCache(4 << 20)
        self.flows = {s.name: flow_of(s.fold, exactly_once=s.name in transactional) for s in stages if s.fold is not None}
        self.misrestored: list[str] = []
        """Lanes that had something else than one that reads everything."""
        self._assign()

    # -- group -------------------------------------------------------------------------------------------------------------
    def _assign(self) -> None:
        self.generation += 1
        for stage in self.stages.values():
            for topic in stage.topics:
                for n in range(self.log.partitions(topic)):
                    self.lanes.append(self._lane(stage, topic, n, self.rng.choice([w for w in self.workers if w is not self.paused])))

    def _lane(self, stage: Stage, topic: str, partition: int, worker: Worker) -> Lane:
        lane = Lane(stage.name, topic, partition, worker, self.generation, self.committed.get((stage.name, topic, partition), 0))
        lane.transactional = stage.name in self.transactional
        return lane

    def rebalance(self) -> None:
        """Everybody gives up its lanes in good order, as far as that is possible in time, and gets others."""
        for lane in self.lanes:
            self._revoke(lane)
        self._assign_anew("rebalance")

    def _assign_anew(self, why: str) -> None:
        self.lanes = []
        self._assign()
        self.tell(f"{why}: generation {self.generation}")
        self._fetched_before()

    def _revoke(self, lane: Lane) -> None:
        while lane.queue and self.rng.random() < 0.8 and self._effect(lane):
            pass
        if lane.queue:
            self.seen["batches left to the next owner"] += 1
        self._keep(lane)
        self.owners.end(lane)
        self.commit(lane)

    def _keep(self, lane: Lane) -> None:
        """What a lane had stays in its worker's memory."""
        real = lane.settled(self.semantics)
        if real is not None and lane.worker.keep.keep(real):
            self.seen["lanes kept in memory"] += 1

    def _fetched_before(self) -> None:
        """A fetch asked for before a rebalance returns records of the new assignment, with the position moved (H1)."""
        if not self.torn:
            return
        for lane in self.lanes:
            records = self.log.read(lane.topic, lane.partition, lane.position, 5)
            if records and self.rng.random() < 0.3:
                self.seen["fetches that survived a rebalance"] += 1
                if not self.semantics.fetch_seeks_back:
                    lane.position = records[-1].offset + 1

    def crash(self, worker: Worker, *, in_place: bool) -> None:
        """kill -9. Restarted in place it keeps its lanes (static membership); else the others are given them."""
        mine = [lane for lane in self.lanes if lane.worker is worker]
        self._end_ghosts(worker)
        for lane in mine:
            self.owners.end(lane)
        worker.killed()
        self.tell(f"worker {worker.number} is killed{' and restarted in place' if in_place else ''}")
        if in_place:
            self.generation += 1
            fresh = [self._lane(self.stages[lane.stage], lane.topic, lane.partition, worker) for lane in mine]
            self.lanes = [lane for lane in self.lanes if lane.worker is not worker] + fresh
            return
        for lane in self.lanes:
            if lane.worker is not worker:
                self._revoke(lane)
        self._assign_anew("takeover")

    def pause(self, worker: Worker) -> None:
        """The worker is stopped or cut off; its lanes go to the others. When it wakes (`resume`) it still believes to own them."""
        mine = [lane for lane in self.lanes if lane.worker is worker and lane.ready]
        for lane in self.lanes:
            if lane.worker is not worker:
                self._revoke(lane)
        for lane in mine:
            lane.late = True
            self.ghosts.append(lane)
        self.paused = worker
        self._assign_anew(f"worker {worker.number} is paused")

    def resume(self) -> None:
        """The paused worker goes on where it was stopped, as far as its lease lets it, and at last notices."""
        for _ in range(self.rng.randint(2, 16)):
            for lane in list(self.ghosts):
                if lane in self.ghosts and self._busy(lane):
                    self._turn(lane)
        for lane in self.ghosts:
            self._keep(lane)
            self.commit(lane)
        if self.paused is not None:
            self._end_ghosts(self.paused)
        self.paused = None

    def _end_ghosts(self, worker: Worker) -> None:
        for lane in [lane for lane in self.ghosts if lane.worker is worker]:
            self.owners.end(lane)
        self.ghosts = [lane for lane in self.ghosts if lane.worker is not worker]

    def _shut_out(self, lane: Lane) -> bool:
        """The process hears that it has written what is another's, and ends itself (agents/transport/batch.py, `_publish`)."""
        self.seen["former owners fenced by their transactional id" if lane.transactional else "former owners that ended when a claim shut them out"] += 1
        self._end_ghosts(lane.worker)
        return True

    # -- a lane's life -----------------------------------------------------------------------------------------------------
    def prepare(self, lane: Lane) -> bool:
        """Shut the former owner out, restore from the log. In transactions the offset to read from is asked for after that."""
        stage = self.stages[lane.stage]
        if stage.fold is None:
            lane.process, lane.ready = stage.process, True
            return True
        topics = (stage.fold.state_topic, *stage.fold.revision_topics)
        if not all(self.log.reachable(topic, lane.partition) for topic in topics):
            return False
        self.owners.claim(lane, topics)
        if lane.transactional:
            lane.position = lane.acked = self.committed.get(lane.place, 0)
        work, real = self._restored(lane, lane.worker.keep)
        lane.work, lane.real = work, real
        if real.progress.source != "topic" or any(real.marked.values()):
            self.seen[f"lanes restored from {real.progress.source}" + (", revisions from where the states have them" if any(real.marked.values()) else "")] += 1
            if self.rng.random() < COMPARED:
                self._compare(lane, work, real)
        if not self.semantics.again_singly:
            work._below = 0
        if not self.semantics.offset_check:
            _forget_offsets(work.cells)
        lane.ready = True
        self.seen["lanes restored"] += 1
        return True

    def _restored(self, lane: Lane, keep: Keep, *, whole: bool = False) -> tuple[Partition[Any, Any], TransportLane]:
        """`whole`: from all records of all topics, whatever is said of them."""
        flow, stage = self.flows[lane.stage], self.stages[lane.stage]
        assert stage.fold is not None
        work = Partition(stage.fold, self.reference, lane.partition, clock=Clock(), cache=self.cache, rule_pack=lane.worker.pack)
        real = lane_of(flow, lane.partition, lane.generation, work)
        restored(self.log, real, keep, last_only=() if self.semantics.highest_wins else (flow.state_topic,),
                 skipped=() if self.semantics.revision_floors else flow.revision_topics, blind=whole)
        return work, real

    def _compare(self, lane: Lane, work: Partition[Any, Any], real: TransportLane) -> None:
        """Whatever it began from: the same as from all records."""
        whole, _ = self._restored(lane, Keep({}, lane.worker.pack), whole=True)
        if wrong := difference(work, whole):
            self.misrestored.append(f"{lane.name}: from {real.progress.source} {wrong} differs")

    def commit(self, lane: Lane) -> None:
        """Tell the group how far a lane is. An old generation is refused; without the group's broker nothing happens."""
        place, acked = lane.place, lane.acked if self.semantics.acked_prefix else lane.position
        if lane.late and self.semantics.commits_fenced:
            self.seen["commits of an old generation refused"] += 1
            return
        if GROUP_BROKER in self.log.away:
            self.seen["commits without the group's broker"] += 1
            return
        if acked != self.committed.get(place, 0):
            self.committed[place] = acked
            self.commits.append((lane.topic, lane.partition, acked, self.log.births))

    # -- carrying out ------------------------------------------------------------------------------------------------------
    def round(self) -> bool:
        """Every lane that has something to do does a little of it; whether anything moved."""
        moved = False
        for follower in self.followers.values():
            moved |= follower.worker is not self.paused and follower.follow()
        self.owners.carry_out(0.1)
        busy = [lane for lane in self.lanes if self._busy(lane)]
        self.rng.shuffle(busy)
        for lane in busy:
            if lane in self.lanes:  # a crash may have taken it meanwhile
                moved |= self._turn(lane)
        return moved

    def _held(self, lane: Lane) -> bool:
        """Do operators let its records wait?"""
        follower = self.followers.get(lane.worker.number)
        return follower is not None and lane.process is not None and follower.held(lane.topic)

    def _busy(self, lane: Lane) -> bool:
        if lane.queue or not lane.ready or lane.acked != self.committed.get(lane.place, 0):
            return True
        if self.log.part(lane.topic, lane.partition).next > lane.position:
            if not self._held(lane):
                return True
            self.seen["looks at a topic whose records wait by an act"] += 1
        return lane.work is not None and (lane.work.sweeping > 0 or lane.work.due(max(lane.work.now, self.wall(lane))))

    def wall(self, lane: Lane) -> int:
        """The clock of the lane's worker."""
        return self.log.now + lane.worker.skew

    def _turn(self, lane: Lane) -> bool:
        if not lane.ready:
            return self.prepare(lane)
        if not lane.queue and not lane.pending and self.rng.random() < SNAPSHOTS and (real := lane.settled(self.semantics)) is not None:
            self.seen["lanes written to disk"] += lane.worker.keep.store(real)
        if lane.queue and (self.rng.random() < 0.75 or len(lane.pending) >= IN_FLIGHT_MAX):
            return self._effects(lane)
        if len(lane.pending) < IN_FLIGHT_MAX and self.log.reachable(lane.topic, lane.partition) and not self._held(lane) and self._fetch(lane):
            return True
        if not any(p.end is None for p in lane.queue) and self._clockwork(lane):
            return True
        if lane.queue:
            return self._effects(lane)
        before = self.committed.get(lane.place, 0)
        self.commit(lane)
        return before != self.committed.get(lane.place, 0)

    def _fetch(self, lane: Lane) -> bool:
        records = self.log.read(lane.topic, lane.partition, lane.position, self.rng.randint(1, BATCH_MAX))
        if not records:
            lane.position = max(lane.position, self.log.part(lane.topic, lane.partition).next)  # only transaction markers were left
            if not lane.pending:
                lane.acked = lane.position
            return False
        self.steps += 1
        self.tell(f"{lane.name} reads {records[0].offset} to {records[-1].offset}")
        lane.deliver(records)
        self.seen[f"batches of {lane.stage}"] += 1
        self.seen[f"records to {lane.stage}"] += len(records)
        return True

    def _clockwork(self, lane: Lane) -> bool:
        caught_up = not lane.pending and self.log.part(lane.topic, lane.partition).next <= lane.position
        left = iter(range(self.rng.randint(1, 20)))
        what = lane.turn(self.wall(lane), caught_up, lambda: next(left, None) is not None)
        if what:
            self.steps += 1
            self.seen[f"{what}s"] += 1
            if what == "sweep" and lane.pending:
                self.seen["sweep slices beside batches in flight"] += 1
        return bool(what)

    def _effects(self, lane: Lane) -> bool:
        for _ in range(self.rng.randint(1, 4)):
            if not lane.queue:
                break
            if self.crash_now():
                effect = lane.queue[0]
                what = type(effect.effects[effect.at]).__name__ if effect.at < len(effect.effects) else "end"
                self.seen[f"crashes of {lane.stage} before {what}"] += 1
                self.crash(lane.worker, in_place=self.rng.random() < 0.5)
                return True
            if not self._effect(lane):
                return False
        return True

    def _effect(self, lane: Lane) -> bool:
        """Carry out the next effect of a lane's first publication; False = it must wait."""
        publication = lane.queue[0]
        if not publication.began and lane.real is not None:
            lane.real.durable = dict(lane.real.sure)
        if lane.transactional:
            return self._transaction(lane, publication)
        if publication.at == 0 and not publication.began:
            publication.effects = tuple(ordered(publication.effects, self.semantics))
            if lane.late and self.semantics.lease:
                return self._lease_lost(lane)
        effect = publication.effects[publication.at] if publication.at < len(publication.effects) else Await()
        if isinstance(effect, Await | Ack):
            landed = self.owners.write(lane, publication)
            if publication.refused:
                return self._shut_out(lane)
            if publication.waiting:
                self.seen["publications that wait for a broker"] += 1
                return bool(landed)
            if lane.late and self.semantics.lease:
                return self._lease_lost(lane)
            if isinstance(effect, Ack):
                lane.ack(effect.next)
            self.steps += 1
        else:
            self.steps += 1
            publication.waiting += lane.sends_of(effect)
            if self.rng.random() < 0.3:
                self.owners.write(lane, publication, self.rng)
        self.tell(f"{lane.name} {'(late) ' if lane.late else ''}{type(effect).__name__} {publication.end or ''}")
        publication.at += 1
        if publication.at >= len(publication.effects) and not publication.waiting:
            lane.queue.popleft()
        return True

    def _lease_lost(self, lane: Lane) -> bool:
        self.seen["publications stopped by the lease"] += 1
        self.commit(lane)    # which a timer does, whatever the lane may still say
        self.owners.end(lane)
        self.ghosts.remove(lane)
        return True

    def _transaction(self, lane: Lane, publication: Publication) -> bool:
        """All or nothing: outputs, state, outcomes and the input offset at once."""
        publication.at += 1
        if publication.at < len(publication.effects):
            return True
        if self.owners.shut_out(lane):
            self.seen["publications refused by the fence"] += 1
            return self._shut_out(lane)
        sends = [s for e in ordered(publication.effects, self.semantics) for s in lane.sends_of(e)]
        places = {place for send in sends for place in self.log.places(send)}
        if GROUP_BROKER in self.log.away or not all(self.log.reachable(*place) for place in places):
            publication.at -= 1
            self.seen["transactions that wait for a broker"] += 1
            return False
        self.steps += 1
        landed, _ = land(self.log, sends)
        self.log.mark(sorted(places))
        self.owners.note(lane, landed)
        if publication.end is not None:
            lane.ack(publication.end)
            self.committed[lane.place] = lane.acked
            self.commits.append((lane.topic, lane.partition, lane.acked, self.log.births))
        self.seen["transactions"] += 1
        lane.queue.popleft()
        return True

    # -- time --------------------------------------------------------------------------------------------------------------
    def settle(self, most: int = ROUNDS_MAX) -> None:
        """Rounds until nothing moves. Raises Livelock."""
        for _ in range(most):
            if not self.round():
                return
        raise Livelock(f"not quiet after {most} rounds: {[lane.name for lane in self.lanes if self._busy(lane)][:5]}")

    def advance(self, to: int) -> None:
        """Let time pass up to an instant, stopping wherever something falls due."""
        self.settle()
        while (due := self._next_due()) is not None and due <= to:
            self.skip(due)
            self.settle()
        self.skip(to)
        self.settle()

    def skip(self, to: int) -> None:
        """Time jumps, never back. No request lies in a socket for as long as that."""
        if to > self.log.now:
            self.owners.carry_out()
            self.log.now = to

    def _next_due(self) -> int | None:
        """What is due later than now: what is due already and not done waits for a broker."""
        works = ((lane.work, lane.worker.skew) for lane in self.lanes if lane.work is not None)
        return min((at for work, skew in works if (due := work.cells.next_due()) is not None and (at := due - skew) > self.log.now), default=None)

    def tell(self, text: str) -> None:
        """A line of the trace."""
        if self.trace is not None:
            self.trace.append(f"{self.log.now} {text}")


def _forget_offsets(cells: Cells) -> None:
    for key in list(cells):
        found = cells.get(key)
        if found is not None:
            cells.put(key, msgspec.structs.replace(found[0], offset=-1), found[1])
