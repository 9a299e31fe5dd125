"""Which partitions topics have, asked of aiokafka's consumer through its public methods only: one place for commands, the demo's reader and tests.

A consumer answers `partitions_for_topic` from what its client has been told, and the client asks about what is assigned. So the first partition of every topic
is assigned for a moment: that asks about all of them at once, and `end_offsets` does not answer before the client knows who leads them.
"""
from __future__ import annotations

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition


class NotThere(Exception):
    """A topic does not exist, or may not be described."""


async def partitions_of(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> dict[str, list[TopicPartition]]:
    """The partitions of each of these topics, in order; none: it does not exist or may not be described. The consumer must have no group; it is assigned
    nothing afterwards. Raises KafkaError."""
    wanted = sorted(set(topics))
    there = await consumer.topics()
    first = [TopicPartition(topic, 0) for topic in wanted if topic in there]
    found: dict[str, list[TopicPartition]] = {topic: [] for topic in wanted}
    if first:
        consumer.assign(first)
        consumer.pause(*first)                          # nothing of them is wanted
        await consumer.end_offsets(first)
        found |= {tp.topic: [TopicPartition(tp.topic, p) for p in sorted(consumer.partitions_for_topic(tp.topic) or ())] for tp in first}
        consumer.unsubscribe()
    return found


async def places(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> list[TopicPartition]:
    """All partitions of these topics, by name and number. Raises NotThere, KafkaError."""
    found = await partitions_of(consumer, topics)
    for topic, partitions in found.items():
        if not partitions:
            raise NotThere(f"topic {topic} is missing: make it with railclear topics apply")
    return [tp for partitions in found.values() for tp in partitions]


async def ends(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """Where every partition of these topics ends. Raises NotThere, KafkaError."""
    found: dict[TopicPartition, int] = await consumer.end_offsets(await places(consumer, topics))
    return found
