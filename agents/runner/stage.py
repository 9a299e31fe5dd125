"""Stages on Kafka: a fold, or a stateless function, as a flow of a Faust app."""
from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, cast

from aiokafka.structs import TopicPartition

from agents.runner.cells import ObjectCache
from agents.runner.clock import Clock
from agents.runner.limits import Limits
from agents.runner.partition import Image, Partition
from agents.transport.batch import Batch
from agents.transport.flow import Flow, Stateless
from agents.transport.lane import SLICE_S, Slices
from streams.effects import Effect, Publish
from streams.fold import Fold
from streams.reference.model import Reference

SLICE_KEYS = 200
"""Ticks and sweeps: at most so many keys between two batches of a lane, and no longer than a slice of a batch."""
YIELD_S = 0.25
"""A lane that has inputs gives its sweep a slice so often only: what is new goes first, and yet the sweep comes to its end."""
SPREAD_TO = frozenset({"documents.in", "custody.in", "clearance.in"})
"""What sweeps send to these is spread out. What comes to a shipment by its own events stands in the same queues behind it: a closure with six hundred trains
before it moves the ETAs of thirty thousand boxes, minutes of CLEARANCE's work."""
SPREAD_S = 30.0
"""Setting `sweep_rate`: so many records a second."""


class Spread:
    """When a stage may go on with its sweeps, all lanes of a process together."""

    def __init__(self, per_second: float = SPREAD_S, clock: Callable[[], float] = monotonic) -> None:
        self._each, self._clock = 1 / per_second, clock
        self._next = 0.0
        self.keys = 1
        """So many in the next slice: one train may move a hundred boxes, and most keys move nothing."""

    @property
    def open(self) -> bool:
        return self._clock() >= self._next

    def said(self, effects: Sequence[Effect]) -> None:
        """A slice is over: what it gave others to do takes its time."""
        forward = sum(send.topic in SPREAD_TO for effect in effects if isinstance(effect, Publish) for send in effect.sends)
        self._next = max(self._next, self._clock()) + forward * self._each
        self.keys = 1 if forward else min(2 * self.keys, SLICE_KEYS)


def wall_us() -> int:
    """The machine's clock, microseconds UTC: read here, for ticks only."""
    return time.time_ns() // 1000


class FoldWork:
    """One lane of a fold: `agents.transport.flow.Work` over a Partition."""

    def __init__(
        self, partition: Partition[Any, Any], wall: Callable[[], int] = wall_us, live: dict[int, Partition[Any, Any]] | None = None,
        spread: Spread | None = None,
    ) -> None:
        self.partition = partition
        self._wall, self._live, self._spread = wall, live if live is not None else {}, spread or Spread()
        self._swept_at = 0.0
        self.restore, self.restore_revision = partition.restore, partition.restore_revision
        self.restored, self.highest_offset = partition.restored, partition.highest_offset
        self.image, self.adopt = partition.image, partition.adopt

    def close(self) -> None:
        """Free the decoded objects, and the partition itself unless a newer lane took its place."""
        self.partition.close()
        if self._live.get(self.partition.number) is self.partition:
            del self._live[self.partition.number]

    def dump(self, image: Image) -> Iterator[tuple[bytes, bytes]]:
        """An image as the records that `restore` takes."""
        return ((key.encode(), value) for key, value in image.cells.items())

    def floors(self, image: Image) -> dict[str, int]:
        return image.floors

    def restore_floors(self, floors: Mapping[str, int]) -> None:
        self.partition.remember_revisions()
        for key, revision in floors.items():
            self.partition.restore_floor(key, revision)

    async def process(self, batch: Batch, slices: Slices) -> Sequence[Effect]:
        steps, known = self.partition.steps(batch.records), self.partition.counters.redelivered
        while True:
            try:
                next(steps)
            except StopIteration as end:
                slices.known = self.partition.counters.redelivered - known
                return cast("tuple[Effect, ...]", end.value)
            if slices.over and not await slices.give_way():
                steps.close()
                return ()

    def turn(self, caught_up: bool) -> Sequence[Effect]:
        """Ticks first (they have a time), else a slice of the sweep.

        With a backlog the clock stands at the last append time seen: a deadline must not pass while the event that kept it is unread.
        """
        partition = self.partition
        now = max(partition.now, partition.clock.now(self._wall())) if caught_up else partition.now
        if partition.due(now):
            return partition.tick(now, _slice())
        if not partition.sweeping or not self._spread.open or (not caught_up and monotonic() < self._swept_at + YIELD_S):
            return ()
        effects = partition.sweep(_slice(self._spread.keys))
        self._swept_at = monotonic()
        self._spread.said(effects)
        return effects

    @property
    def pressing(self) -> bool:
        return self.partition.sweeping > 0 or self.partition.due(self.partition.now)


def _slice(keys: int = SLICE_KEYS) -> Callable[[], bool]:
    end, left = time.perf_counter() + SLICE_S, keys

    def more() -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and time.perf_counter() < end

    return more


def fold_flow(
    fold: Fold[Any, Any],
    reference: Reference,
    *,
    clock: Clock | None = None,
    cache: ObjectCache | None = None,
    limits: Limits | None = None,
    rule_pack: str = "",
    exactly_once: bool = False,
    partitions: dict[int, Partition[Any, Any]] | None = None,
    sweep_rate: float = SPREAD_S,
) -> Flow:
    """A fold as a flow. Share one `cache` among the stages of a process; `partitions` shows the live ones to the metrics."""
    shared, live, spread = cache or ObjectCache(), partitions if partitions is not None else {}, Spread(sweep_rate)

    def work(tp: TopicPartition) -> FoldWork:
        partition = live[tp.partition] = Partition(
            fold, reference, tp.partition, clock=clock, cache=shared, limits=limits, rule_pack=rule_pack
        )
        return FoldWork(partition, live=live, spread=spread)

    return Flow(
        fold.name,
        (fold.input_topic,),
        work,
        state_topic=fold.state_topic,
        revision_topics=fold.revision_topics,
        exactly_once=exactly_once,
    )


def stateless_flow(name: str, topics: Sequence[str], process: Callable[[Batch], Awaitable[Sequence[Effect]] | Sequence[Effect]]) -> Flow:
    """A stage without keys, e.g. intake on all outside topics: any function, async or not, from a batch to its effects.

    `streams.effects.plan` puts effects in order; the last must be an Ack. A pure stage publishes `draft.outcomes_of` as every stage does.
    """

    async def processed(batch: Batch, _: Slices) -> Sequence[Effect]:
        result = process(batch)
        return await result if inspect.isawaitable(result) else result

    return Flow(name, topics, lambda tp: Stateless(processed))
