"""Read a lane's state from its compacted topic, and refuse topics that do not fit together."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from agents.transport.fatal import Refuses
from agents.transport.lane import Lane, boot_clock

if TYPE_CHECKING:
    from agents.transport.flow import Flow, Work

RESTORE_TIMEOUT_S = 600.0


async def restore(client: Mapping[str, Any], flow: Flow, lane: Lane, work: Work) -> None:
    """Feed all state records, then the revisions the world has seen, then check the input. Raises Refuses, aiokafka errors."""
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
        await _same_partitions(consumer, flow, lane)
        state = TopicPartition(flow.state_topic, lane.tp.partition)
        async for record in _all(consumer, state, lane):
            if record.key is not None:
                work.restore(record.key, record.value)
        if flow.revision_topic:
            async for record in _all(consumer, TopicPartition(flow.revision_topic, lane.tp.partition), lane):
                work.restore_revision(record.headers)
        work.restored()
        await _same_input(consumer, flow, lane, work.highest_offset())
    finally:
        await consumer.stop()


async def _all(consumer: Any, tp: TopicPartition, lane: Lane) -> Any:
    """Every record of one partition up to its present end. The position, not the records, says when that is: markers take offsets."""
    consumer.assign([tp])
    await consumer.seek_to_beginning(tp)
    end = (await consumer.end_offsets([tp]))[tp]
    while lane.open and await consumer.position(tp) < end:
        for records in (await consumer.getmany(timeout_ms=200, max_records=5000)).values():
            lane.progress.restored_records += len(records)
            lane.progress.restored_at = boot_clock()
            for record in records:
                yield record


async def _same_partitions(consumer: Any, flow: Flow, lane: Lane) -> None:
    counts = {}
    for topic in filter(None, (lane.tp.topic, flow.state_topic, flow.revision_topic)):
        await consumer._client._wait_on_metadata(topic)
        counts[topic] = len(consumer.partitions_for_topic(topic) or ())
    if len(set(counts.values())) != 1:
        said = ", ".join(f"{topic} has {n}" for topic, n in counts.items())
        raise Refuses(f"stage {flow.name} needs topics of equal partition counts, but {said}: state would be orphaned")


async def _same_input(consumer: Any, flow: Flow, lane: Lane, highest: int) -> None:
    """The per-key offset rule needs stable input offsets: on a topic made anew everything below the old offsets would be skipped silently."""
    end = (await consumer.end_offsets([lane.tp]))[lane.tp]
    if highest >= end:
        raise Refuses(
            f"{flow.state_topic}/{lane.tp.partition} has applied input offset {highest}, but {lane.tp.topic}/{lane.tp.partition} ends at {end}: "
            "the input topic was deleted or restored from elsewhere. Give the stage a new state topic or restore the input."
        )
