"""Restoring as production does it: `agents.transport.restore` itself, on the simulated log, from what a worker kept in memory or on disk and the tail of
the topics, or from the topics alone; the revision topics only from where the state topic says that the states have them (`agents.transport.reached`).

Replaced are the consumer (`Reader`) and the file (`Keep.load`, `Keep.store`); an image, what fits, where tails begin and `Reached` are railclear's own.
"""
from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from unittest import mock

import msgspec
from aiokafka.structs import TopicPartition

from agents.runner.cells import Header, unpack
from agents.runner.partition import Partition
from agents.runner.stage import FoldWork
from agents.transport import flow as flow_module
from agents.transport import keeper as keeper_module
from agents.transport import restore as restore_module
from agents.transport.batch import Reach
from agents.transport.flow import Flow
from agents.transport.keeper import Keeper
from agents.transport.lane import Lane as TransportLane
from agents.transport.reached import REVISIONS_KEY
from agents.transport.snapshot import Head
from streams.effects import Effect
from streams.fold import Fold
from tests.sim.cluster.broker import Log

EVERY = 25
"""Revisions between two records of how far the states have them (10,000 in production): often enough for a run."""
Disk = dict[tuple[str, TopicPartition], tuple[Head, list[tuple[bytes, bytes]]]]
T = TypeVar("T")


class Reader:
    """What `agents.transport.restore` needs of a consumer."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self.log: Log = client["log"]
        self.last_only, self.skipped, self.blind = client["last_only"], client["skipped"], client["blind"]

    async def patiently(self, _: TransportLane, ask: Callable[[], Awaitable[T]]) -> T:
        return await ask()

    async def bounds(self, topics: Sequence[TopicPartition], more: TopicPartition) -> tuple[dict[Any, int], dict[Any, int]]:
        return dict.fromkeys(topics, 0), {tp: self.log.part(*tp).next for tp in [*topics, more]}

    async def few(self, tp: TopicPartition, position: int) -> tuple[Sequence[restore_module.Kept], int]:
        part = self.log.part(*tp)
        found: Iterable[Any] = () if tp.topic in self.skipped else self.log.read(*tp, position, len(part.records))
        if tp.topic in self.last_only:
            found = {r.key: r for r in found}.values()
        return [(r.key, r.value, r.headers) for r in found if not (self.blind and r.key == REVISIONS_KEY)], part.next

    async def close(self) -> None: ...


class Keep(Keeper):
    """What a worker has kept in memory, and on its machine's disk."""

    def __init__(self, disk: Disk, pack: str) -> None:
        super().__init__("simulated", None, pack)
        self.disk = disk

    async def load(self, flow: Flow, lane: TransportLane, work: Any, fits: keeper_module.Fits) -> Head | None:
        head, records = self.disk.get((flow.name, lane.tp), (None, []))
        if head is None or self._unfit(head, flow, lane) or not fits(head.nexts):
            return None
        for key, value in records:
            work.restore(key, value)
        work.restore_floors(head.floors)
        return head

    def store(self, lane: TransportLane) -> bool:
        """Write a lane's image to disk; False when it has none."""
        kept, flow, work = keeper_module._image(lane), lane.flow, lane.work
        if kept is None or flow is None or work is None:
            return False
        head = Head(group=self.group, stage=flow.name, partition=lane.tp.partition, version=self.version, ids=kept.ids, nexts=kept.nexts,
                    at=time.time_ns() // 1000, count=len(kept.image.cells), floors=work.floors(kept.image))
        self.disk[flow.name, lane.tp] = head, list(work.dump(kept.image))
        return True


def flow_of(fold: Fold[Any, Any], *, exactly_once: bool) -> Flow:
    """The fold as production's flow; its lanes' work is made here."""
    return Flow(fold.name, (fold.input_topic,), _none, state_topic=fold.state_topic, revision_topics=fold.revision_topics, exactly_once=exactly_once)


def _none(_: TopicPartition) -> Any:
    raise AssertionError("the simulation makes the work itself")


def lane_of(flow: Flow, partition: int, generation: int, work: Partition[Any, Any]) -> TransportLane:
    """Production's own lane, for its book-keeping of what is durable."""
    lane = TransportLane(TopicPartition(flow.topics[0], partition), generation, flow)
    lane.ids = (*flow.topics, flow.state_topic, *flow.revision_topics)
    lane.work = FoldWork(work)
    return lane


def restored(log: Log, lane: TransportLane, keep: Keeper, *, last_only: Iterable[str] = (), skipped: Iterable[str] = (), blind: bool = False) -> None:
    """Restore a lane's work; `blind`: whatever is said of how far the states have the revisions. Raises BadState."""
    assert lane.flow is not None
    assert lane.work is not None
    client = {"log": log, "last_only": frozenset(last_only), "skipped": frozenset(skipped), "blind": blind}
    with mock.patch.object(restore_module, "_Reader", Reader):
        at_once(restore_module.restore(client, lane.flow, lane, lane.work, keep))
    lane.ready = True


def reaching(lane: TransportLane, effects: Sequence[Effect]) -> Sequence[Effect | Reach]:
    """With how far the states have the revisions, when that is due."""
    if lane.flow is None or lane.unmarked < EVERY:
        return effects
    with mock.patch.object(flow_module, "EVERY", EVERY):
        return lane.flow._reaching(lane, effects)


def settled(lane: TransportLane, pending: Mapping[int, bool], queued: int) -> TransportLane:
    """The lane with what is in flight, as `clean` looks at it."""
    lane.pending, lane.submitted = dict(pending), lane.settled + queued
    return lane


def difference(mine: Partition[Any, Any], whole: Partition[Any, Any]) -> str:
    """In what a partition differs from one that has read everything; "" = in nothing. That a key was swept and had nothing to say only memory knows."""
    one, other = ({key: _without_epoch(value) for key, value in partition.cells.image().items()} for partition in (mine, whole))
    if wrong := sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key)):
        return f"the state of {wrong[0]}"
    if mine._floors != whole._floors:
        return f"revisions beyond the state, {mine._floors} and {whole._floors}"
    return "" if mine.sweeping <= whole.sweeping else "what waits for a sweep"


def _without_epoch(value: bytes) -> tuple[Header, bytes]:
    header, data = unpack(value)
    return msgspec.structs.replace(header, epoch=0), data


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        found: T = done.value
        return found
    raise AssertionError("a simulated restore does not wait")
