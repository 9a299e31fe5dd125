"""Who may still write where: claims on lanes, what lies in the sockets of those who are gone, and what was lost with them.

As in production (`agents.transport.flow.Flow.prepare`): whoever prepares a keyed lane first takes the next epoch of its producer id. At least once that
covers the lane's partition of the state topic and of the revision topics, where it leaves a marker; everything else that a lane says (histories, border
topics, other folds' inputs, outcomes, dead letters) goes through the process's own producer, which nothing shuts out. In transactions it covers all.
"""
from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from streams.effects import Send
from tests.sim.cluster.broker import Log
from tests.sim.cluster.lane import Landed, Lane, Publication, Semantics, land

IN_SOCKETS = 0.4
"""Of what a lane had handed over when it ended: how often the brokers still carry it out a while later, instead of never."""


class Owners:
    """`late`: (topic, partition, offset) of what was written after a successor's claim. `lost`: what a publication that had begun still had to say when
    its lane ended; nobody will ever write it. Not what was refused from the first: its successor may use the same revisions."""

    def __init__(self, log: Log, rng: random.Random, seen: Counter[str], semantics: Semantics) -> None:
        self.log, self.rng, self.seen, self.semantics = log, rng, seen, semantics
        self.claims: dict[tuple[str, str, int], list[int]] = defaultdict(list)
        """Of each lane, how many records had been written when it was claimed."""
        self.late: set[tuple[str, int, int]] = set()
        self.lost: list[Send] = []
        self._sockets: list[tuple[Lane, list[Send]]] = []

    def claim(self, lane: Lane, own: Sequence[str]) -> None:
        """The lane's own from now on. The marker of the claim takes an offset in each of the partitions."""
        lane.own = frozenset(own)
        self.claims[lane.place].append(self.log.births)
        lane.claim = len(self.claims[lane.place])
        if not lane.transactional:
            self.log.mark((topic, lane.partition) for topic in own)

    def shut_out(self, lane: Lane, topic: str = "") -> bool:
        """Is a write of this lane refused? Without topic: a transaction."""
        return self.semantics.claimed and self._succeeded(lane) and (lane.transactional or topic in lane.own)

    def _succeeded(self, lane: Lane) -> bool:
        return len(self.claims[lane.place]) > lane.claim

    def write(self, lane: Lane, publication: Publication, rng: random.Random | None = None) -> list[Landed]:
        """Carry out what waits, or of each partition a beginning; what is refused is gone."""
        refused = {s.topic for s in publication.waiting if self.shut_out(lane, s.topic)}
        if refused:
            publication.refused = True
            publication.waiting = self._without(publication.waiting, refused)
        landed, publication.waiting = land(self.log, publication.waiting, rng)
        publication.told |= {_step_of(send) for send, _, _ in landed if send.topic in lane.own}
        self.note(lane, landed)
        return landed

    def _without(self, sends: list[Send], refused: set[str]) -> list[Send]:
        left = [s for s in sends if s.topic not in refused]
        self.seen["records of a former owner that its successor's claim shut out"] += len(sends) - len(left)
        return left

    def note(self, lane: Lane, landed: Sequence[Landed]) -> None:
        """Tell production's lane what is durable, and remember what came after the successor's claim."""
        for _, (topic, partition), offset in landed if lane.real is not None else ():
            if topic in lane.own and partition == lane.partition:
                lane.real.wrote(topic, offset, 1)
        if landed and self._succeeded(lane):
            self.seen["records of a former owner after the takeover"] += len(landed)
            self.late |= {(*place, offset) for _, place, offset in landed}

    def end(self, lane: Lane) -> None:
        """A lane ends. Of what it had handed to a producer a beginning is written; the rest lies in sockets for a while, or is lost, as is what it had still
        to say."""
        if lane.queue and lane.queue[0].began and not lane.transactional:
            publication = lane.queue[0]
            self.write(lane, publication, self.rng)
            if publication.waiting and self.rng.random() < IN_SOCKETS:
                self._sockets.append((lane, publication.waiting))
            else:
                self.lost += publication.waiting
            rest = [send for effect in publication.effects[publication.at:] for send in lane.sends_of(effect)]
            self.lost += [s for s in rest if _step_of(s) in publication.told] if publication.refused else rest
        lane.queue.clear()
        if lane.work is not None:
            lane.work.close()

    def carry_out(self, share: float = 1.0) -> None:
        """What lies in sockets reaches the log, whoever has the lane now, except where a claim shuts it out; what a broker that is away had is lost."""
        waiting, self._sockets = self._sockets, []
        for lane, sends in waiting:
            if self.rng.random() >= share:
                self._sockets.append((lane, sends))
                continue
            refused = {s.topic for s in sends if self.shut_out(lane, s.topic)}
            landed, left = land(self.log, self._without(sends, refused))
            self.seen["records written after their worker was gone"] += len(landed)
            self.lost += left
            self.note(lane, landed)


class _Step(msgspec.Struct):
    shipment: str = ""
    revision: int = 0


def _step_of(send: Send) -> tuple[str, int]:
    """The shipment and the revision that a record tells of; ("", 0) of any other record."""
    if send.value is None or not send.value.startswith(b'{"type":"clearance.status"'):
        return "", 0
    found = msgspec.json.decode(send.value, type=_Step)
    return found.shipment, found.revision
