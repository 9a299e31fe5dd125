"""Bring a lane's state back: from what was kept in memory or on disk and the tail of the state topic, or from the topic alone."""
from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from agents.transport.keeper import Keeper
from agents.transport.lane import Lane, boot_clock
from agents.transport.origin import INPUT_KEY, InputIdentity, identity_of

if TYPE_CHECKING:
    from agents.transport.flow import Flow, Work

RESTORE_TIMEOUT_S = 600.0


async def restore(client: Mapping[str, Any], flow: Flow, lane: Lane, work: Work, keeper: Keeper) -> InputIdentity | None:
    """Give `work` its state and the revisions the world has seen. Returns which input the state was made from, None if it does not say.

    Raises BadState, aiokafka errors.
    """
    consumer = AIOKafkaConsumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=4 << 20,
        isolation_level="read_committed",
        **client,
    )
    try:
        await consumer.start()
        state = TopicPartition(flow.state_topic, lane.tp.partition)
        topics = [state, *(TopicPartition(topic, lane.tp.partition) for topic in flow.revision_topics)]
        begins, ends = await consumer.beginning_offsets(topics), await consumer.end_offsets([*topics, lane.tp])
        starts, known = await _base(flow, lane, work, keeper, topics, begins, ends)
        lane.sure = {tp.topic: ends[tp] for tp in topics}
        below = 0 if flow.exactly_once else ends[lane.tp]    # of a transaction that was not finished nothing was heard
        async for record in _from(consumer, state, starts[state], ends[state], lane):
            if record.key == INPUT_KEY and record.value is not None:
                known = known or identity_of(record.value)  # the first one: a later writer may already have been wrong
            elif record.key is not None:
                work.restore(record.key, record.value)
        for revisions in topics[1:]:
            async for record in _from(consumer, revisions, starts[revisions], ends[revisions], lane):
                work.restore_revision(record.headers)
        work.restored(below)
        return known
    finally:
        await consumer.stop()


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


async def _from(consumer: Any, tp: TopicPartition, start: int, end: int, lane: Lane) -> AsyncIterator[Any]:
    """Every record of one partition from `start` up to `end`. The position, not the records, says when that is: markers take offsets."""
    consumer.assign([tp])
    consumer.seek(tp, start)
    while lane.open and await consumer.position(tp) < end:
        for records in (await consumer.getmany(timeout_ms=200, max_records=5000)).values():
            lane.progress.restored_records += len(records)
            lane.progress.restored_at = boot_clock()
            for record in records:
                yield record
