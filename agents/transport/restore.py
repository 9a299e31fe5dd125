"""Bring a lane's state back: from what was kept in memory or on disk and the tail of the state topic, or from the topic alone."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError, KafkaError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from agents.transport.keeper import Keeper
from agents.transport.lane import Lane, boot_clock
from agents.transport.light import read_lightly
from agents.transport.origin import INPUT_KEY, InputIdentity, identity_of
from agents.transport.reached import REVISIONS_KEY, Reached, reached_of

if TYPE_CHECKING:
    from agents.transport.flow import Flow, Work

log = logging.getLogger(__name__)

RESTORE_TIMEOUT_S = 600.0
SIGN_S = 10.0
"""A consumer that has neither answered nor moved for so long is made anew."""
STOP_S = 5.0
AGAIN_S = 0.2
FEW, FEW_MS = 5_000, 200
T = TypeVar("T")


Kept = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]
"""Key, value and headers of a record: all that a restore asks of it."""


def _kept(tp: TopicPartition, record: Any) -> Kept:
    return record.key, record.value, record.headers


class _Reader:
    """A consumer for restoring, made anew when it gives no sign: after brokers have died one of aiokafka's may wait for a position for ever."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._client = client
        self._consumer: Any = None
        self._at: TopicPartition | None = None

    async def bounds(self, topics: Sequence[TopicPartition], more: TopicPartition) -> tuple[Mapping[Any, int], Mapping[Any, int]]:
        """Beginnings and ends; of `more` the end only."""
        consumer = await self._started()
        return await consumer.beginning_offsets(topics), await consumer.end_offsets([*topics, more])

    async def few(self, tp: TopicPartition, position: int) -> tuple[Sequence[Kept], int]:
        """The next records from `position`, possibly none, and where it goes on: markers take offsets, too."""
        consumer = await self._started()
        if self._at != tp:
            consumer.assign([tp])
            consumer.seek(tp, position)
            self._at = tp
        found = await consumer.getmany(timeout_ms=FEW_MS, max_records=FEW)
        return [r for records in found.values() for r in records], await consumer.position(tp)

    async def _started(self) -> Any:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",    # a position that is out of range is asked for again, never another one taken
                fetch_max_wait_ms=50,
                max_partition_fetch_bytes=1 << 20,    # larger answers take fresh pages for every one; a larger record still comes alone
                isolation_level="read_committed",
                **self._client,
            )
            self._consumer, self._at = consumer, None
            await consumer.start()
            read_lightly(consumer._fetcher, _kept)
        return self._consumer

    async def close(self) -> None:
        """Free it; what is asked next makes another one."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                async with asyncio.timeout(STOP_S):
                    await consumer.stop()
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("a consumer that restored does not stop: %r", error)

    async def patiently(self, lane: Lane, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer, however often a consumer must be made anew for it. Raises what no other one would mend, and TimeoutError when the lane is closed."""
        while True:
            try:
                async with asyncio.timeout(SIGN_S):
                    return await ask()
            except (TimeoutError, KafkaConnectionError, OffsetOutOfRangeError) as error:
                log.warning("restoring lane %s goes on with another consumer: %r", lane.tp, error)
                await self.close()
                if not lane.open:
                    raise TimeoutError(f"lane {lane.tp} was given up") from error
                await asyncio.sleep(AGAIN_S)


async def restore(client: Mapping[str, Any], flow: Flow, lane: Lane, work: Work, keeper: Keeper) -> InputIdentity | None:
    """Give `work` its state and the revisions the world has seen. Returns which input the state was made from, None if it does not say.

    Raises BadState, aiokafka errors.
    """
    reader = _Reader(client)
    try:
        state = TopicPartition(flow.state_topic, lane.tp.partition)
        topics = [state, *(TopicPartition(topic, lane.tp.partition) for topic in flow.revision_topics)]
        begins, ends = await reader.patiently(lane, lambda: reader.bounds(topics, lane.tp))
        starts, known = await _base(flow, lane, work, keeper, topics, begins, ends)
        lane.sure = {tp.topic: ends[tp] for tp in topics}
        below = 0 if flow.exactly_once else ends[lane.tp]    # of a transaction that was not finished nothing was heard
        reached: Reached | None = None
        async for records in _from(reader, state, starts[state], ends[state], lane):
            for key, value, _ in records:
                if key == INPUT_KEY and value is not None:
                    known = known if known is not None and known.id else identity_of(value)  # the first one: a later writer may already have been wrong
                elif key == REVISIONS_KEY and value is not None:
                    reached = reached_of(value)          # the last one
                elif key is not None:
                    work.restore(key, value)
        if reached is not None and _fits(reached, lane, topics[1:], ends):
            work.restore_floors(reached.floors)
            starts |= {tp: max(starts[tp], at) for tp, at in zip(topics[1:], reached.nexts, strict=True)}
        lane.marked = {tp.topic: starts[tp] for tp in topics[1:]}
        for revisions in topics[1:]:
            async for records in _from(reader, revisions, starts[revisions], ends[revisions], lane):
                for key, _, headers in records:
                    work.restore_revision(key, headers)
        work.restored(below)
        return known
    finally:
        await reader.close()


def _fits(reached: Reached, lane: Lane, topics: Sequence[TopicPartition], ends: Mapping[Any, int]) -> bool:
    """Is it said of these topics as they are now?"""
    mine = lane.ids[2:]
    if all(mine) and reached.ids == mine and len(reached.nexts) == len(topics) and all(at <= ends[tp] for tp, at in zip(topics, reached.nexts, strict=True)):
        return True
    log.warning("lane %s: how far the states have the revisions was said of other topics, so all revisions are read", lane.tp)
    return False


async def _base(
    flow: Flow, lane: Lane, work: Work, keeper: Keeper, topics: list[TopicPartition], begins: Mapping[Any, int], ends: Mapping[Any, int]
) -> tuple[dict[TopicPartition, int], InputIdentity | None]:
    """What this process or machine still has of the state, and where the tails begin. What reaches beyond a topic's end is not of it."""

    def fits(starts: tuple[int, ...]) -> bool:
        return len(starts) == len(topics) and all(begins[tp] <= start <= ends[tp] for tp, start in zip(topics, starts, strict=True))

    own = InputIdentity(lane.tp.topic, lane.ids[0]) if lane.ids else None
    if (kept := keeper.take(flow, lane, fits)) is not None:
        work.adopt(kept.image)
        lane.progress.source = "memory"
        return dict(zip(topics, kept.nexts, strict=True)), own
    if (head := await keeper.load(flow, lane, work, fits)) is not None:
        lane.progress.source = "disk"
        return dict(zip(topics, head.nexts, strict=True)), own
    lane.progress.source = "topic"
    return {tp: begins[tp] for tp in topics}, None


async def _from(reader: _Reader, tp: TopicPartition, start: int, end: int, lane: Lane) -> AsyncIterator[Sequence[Kept]]:
    """The records of one partition from `start` up to `end`, some at a time. The position, not the records, says when that is: markers take offsets."""
    position, since = start, boot_clock()
    while lane.open and position < end:
        records, after = await reader.patiently(lane, partial(reader.few, tp, position))
        lane.progress.restored_records += len(records)
        yield records
        if after > position:
            position = after
            lane.progress.restored_at = since = boot_clock()
        elif boot_clock() - since > SIGN_S:
            log.warning("restoring lane %s stands at %s/%s offset %d of %d and goes on with another consumer", lane.tp, tp.topic, tp.partition, position, end)
            await reader.close()
            since = boot_clock()
