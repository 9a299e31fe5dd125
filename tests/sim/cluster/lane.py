"""One partition of one stage in one generation, and what it has begun to publish."""
from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import msgspec

from agents.runner.memory import Process
from agents.runner.partition import Partition
from agents.transport.batch import Reach, _reached
from agents.transport.lane import Lane as TransportLane
from streams.effects import Ack, Await, Effect, Publish, PublishOutcomes, PutState, Record, Send
from tests.sim.cluster.broker import Log, Place, by_place
from tests.sim.cluster.restoring import Disk, Keep, reaching, settled

IN_FLIGHT_MAX = 2
"""Batches of a lane handed over and not yet acknowledged (agents/transport/lane.py)."""


class Semantics(msgspec.Struct, frozen=True, kw_only=True):
    """What the transport promises. Each may be broken on purpose: a simulation that does not notice is worth nothing."""

    outputs_before_state: bool = True
    awaits: bool = True
    """What was said before is durable before what comes after is begun."""
    fetch_seeks_back: bool = True
    """A fetch that survived a rebalance is given back, not dropped (H1)."""
    offset_check: bool = True
    """An input at or below the key's stored offset is skipped."""
    highest_wins: bool = True
    """Restore keeps the record with the highest (offset, seq), not the last one."""
    acked_prefix: bool = True
    """Only what is acknowledged is committed."""
    commits_fenced: bool = True
    """A commit of an old generation is refused."""
    claimed: bool = True
    """Who takes a lane over shuts the former owner out before it restores (agents/transport/claim.py)."""
    again_singly: bool = True
    """What may have been worked on before is stepped input by input."""
    revision_floors: bool = True
    """Restore reads the revision topic, too."""
    lease: bool = True
    """A worker that may have lost its partitions publishes nothing more after the next await. No invariant rests on it, as the runs without show
    (`leased` in tests/sim/plan.py): it spares the world most of what a former owner would still say."""
    state_durable: bool = True
    """State is written at all before the acknowledgement."""
    kept_when_clean: bool = True
    """An image of a lane is kept only when all that it has said is durable."""
    outcomes: bool = True
    dead_letters: bool = True
    unheard: str = ""
    """What is said to topics whose names begin so is never written, and nobody hears of it. Empty: everything is written."""
    unheard_of: int = 1
    """Of so many records one is lost like that, always the same ones."""


GOOD = Semantics()


class Worker:
    """A process: its clock, and which rule pack it was started with."""

    def __init__(self, number: int, skew: int) -> None:
        self.number, self.skew = number, skew
        self.pack = ""
        self.lives = 1
        self.disk: Disk = {}
        self.keep = Keep(self.disk, self.pack)

    def killed(self) -> None:
        """What it kept in memory is gone, what lies on its disk is not."""
        self.lives += 1
        self.keep = Keep(self.disk, self.pack)


class Publication:
    """The effects of one piece of work, and how far they are carried out."""

    def __init__(self, effects: Sequence[Effect | Reach], end: int | None) -> None:
        self.effects, self.end = tuple(effects), end
        self.at = 0
        self.waiting: list[Send] = []
        """Handed to the producer, not yet on the broker."""
        self.refused = False
        """Something of it was refused, which its owner hears at the next await."""
        self.told: set[tuple[str, int]] = set()
        """(shipment, revision) that it has written where revisions are restored from."""

    @property
    def began(self) -> bool:
        return self.at > 0 or bool(self.waiting)


class Lane:
    """`ready`: restored, may be read. `late`: assigned to another, and does not know it yet. `claim`: the epoch of its producer id, `own`: the topics that
    only the holder of the latest claim writes."""

    def __init__(self, stage: str, topic: str, partition: int, worker: Worker, generation: int, position: int) -> None:
        self.stage, self.topic, self.partition = self.place = stage, topic, partition
        self.worker, self.generation = worker, generation
        self.position = self.acked = position
        self.ready = self.late = self.transactional = False
        self.claim, self.own = 0, frozenset[str]()
        self.work: Partition[Any, Any] | None = None
        self.real: TransportLane | None = None
        """Production's lane of a fold, which knows how far the log has what is in memory."""
        self.process: Process | None = None
        self.pending: dict[int, bool] = {}
        """End of each delivered batch -> acknowledged."""
        self.queue: deque[Publication] = deque()

    @property
    def name(self) -> str:
        return f"{self.stage} {self.topic}/{self.partition} worker {self.worker.number} generation {self.generation}"

    def deliver(self, records: Sequence[Record]) -> None:
        """Work on a batch at once; publish later."""
        end = records[-1].offset + 1
        self.position = end
        self.pending[end] = False
        if self.process is not None:
            effects: Sequence[Effect | Reach] = self.process(records)
        else:
            assert self.work is not None
            assert self.real is not None
            effects = reaching(self.real, self.work.batch(records))
        self.queue.append(Publication(effects, end))

    def ack(self, end: int) -> None:
        """Only a contiguous prefix of the delivered batches moves."""
        if end in self.pending:
            self.pending[end] = True
        while self.pending and self.pending[first := next(iter(self.pending))]:
            self.acked = first
            del self.pending[first]

    def turn(self, now: int, caught_up: bool, more: Callable[[], bool]) -> str:
        """A slice of ticks or of a sweep (agents/runner/stage.py, FoldWork.turn); what it was, "" = nothing to do."""
        work = self.work
        if work is None:
            return ""
        at = max(work.now, work.clock.now(now)) if caught_up else work.now
        if work.due(at):
            effects, what = work.tick(at, more), "tick"
        elif work.sweeping:
            effects, what = work.sweep(more), "sweep"
        else:
            return ""
        if effects and self.real is not None:
            self.queue.append(Publication(reaching(self.real, effects), None))
        return what

    def settled(self, semantics: Semantics) -> TransportLane | None:
        """Production's lane with what is in flight; None of a stage without state."""
        flies = semantics.kept_when_clean
        return settled(self.real, self.pending if flies else {}, len(self.queue) if flies else 0) if self.real is not None and self.ready else None

    def sends_of(self, effect: Effect | Reach) -> list[Send]:
        """The records that an effect writes."""
        if isinstance(effect, Reach):
            put = _reached(self.real, effect.floors) if self.real is not None else None
            return sends_of(put) if put is not None else []
        return sends_of(effect)


def ordered(effects: Sequence[Effect | Reach], semantics: Semantics) -> list[Effect | Reach]:
    """The effects as this transport carries them out."""
    found = list(effects)
    if not semantics.outputs_before_state:
        state = [e for e in found if isinstance(e, PutState)]
        found = [*state, *([Await()] if state else []), *(e for e in found if not isinstance(e, PutState))]
    if not semantics.state_durable:
        found = [e for e in found if not isinstance(e, PutState)]
    if not semantics.awaits:
        found = [e for e in found if not isinstance(e, Await)]
    if not semantics.outcomes:
        found = [e for e in found if not isinstance(e, PublishOutcomes)]
    if not semantics.dead_letters:
        found = [Publish(tuple(s for s in e.sends if not s.topic.startswith("dead."))) if isinstance(e, Publish) else e for e in found]
    if semantics.unheard:
        found = [Publish(tuple(s for s in e.sends if not _unheard(s, semantics))) if isinstance(e, Publish) else e for e in found]
    return found


def _unheard(send: Send, semantics: Semantics) -> bool:
    return send.topic.startswith(semantics.unheard) and crc32(send.value or b"") % semantics.unheard_of == 0


def sends_of(effect: Effect) -> list[Send]:
    """The records that an effect writes."""
    match effect:
        case Publish(sends):
            return list(sends)
        case PublishOutcomes(send):
            return [send]
        case PutState(topic, partition, records):
            return [Send(topic, key, value, partition) for key, value in records]
        case Await() | Ack():
            return []


Landed = tuple[Send, Place, int]
"""What was written, where, and its offset."""


def land(log: Log, sends: Sequence[Send], rng: random.Random | None = None) -> tuple[list[Landed], list[Send]]:
    """Write what can be written now; (landed, left). With `rng`, of each partition only a beginning, as a producer keeps the order."""
    landed: list[Landed] = []
    left: list[Send] = []
    for place, queue in by_place(log, sends).items():
        count = 0
        if log.reachable(*place):
            count = len(queue) if rng is None else rng.randint(0, len(queue))
        landed += [(send, place, log.append(send, place)) for send in queue[:count]]
        left += [msgspec.structs.replace(send, partition=place[1]) for send in queue[count:]]
    return landed, left
