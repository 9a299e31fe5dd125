"""Partitions and ends of topics, asked of a real broker through what is public."""
from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from agents.embedded import EmbeddedServers
from agents.places import NotThere, ends, partitions_of, places

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def consumer(embedded: EmbeddedServers) -> AsyncIterator[Any]:
    made = AIOKafkaConsumer(bootstrap_servers=embedded.bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest")
    await made.start()
    yield made
    await made.stop()


def create(embedded: EmbeddedServers, counts: dict[str, int]) -> None:
    admin = KafkaAdminClient(bootstrap_servers=embedded.bootstrap)
    admin.create_topics([NewTopic(name, count, 1) for name, count in counts.items()], wait_for_metadata=True)
    admin.close()


async def test_every_partition_of_what_there_is_and_nothing_of_what_is_missing(embedded: EmbeddedServers, consumer: Any) -> None:
    create(embedded, {"places.a": 1, "places.b": 3} | {f"places.many.{n}": 1 for n in range(40)})
    began = time.monotonic()
    assert await partitions_of(consumer, ["places.b", "places.none", "places.a"]) == {
        "places.a": [TopicPartition("places.a", 0)], "places.b": [TopicPartition("places.b", p) for p in range(3)], "places.none": []}
    assert len(await places(consumer, [f"places.many.{n}" for n in range(40)])) == 40
    assert time.monotonic() - began < 20, "all at once, and what is missing is not waited for (aiokafka would for 40 s)"
    with pytest.raises(NotThere, match=r"topic places\.none is missing: make it with railclear topics apply"):
        await places(consumer, ["places.a", "places.none"])
    assert await partitions_of(consumer, []) == {}
    assert consumer.assignment() == set()


async def test_a_consumer_that_was_assigned_something_is_told_of_new_topics_and_then_reads(embedded: EmbeddedServers, consumer: Any) -> None:
    create(embedded, {"places.first": 2})
    consumer.assign(await places(consumer, ["places.first"]))
    create(embedded, {"places.second": 2})
    producer = AIOKafkaProducer(bootstrap_servers=embedded.bootstrap)
    await producer.start()
    for value in (b"1", b"2"):
        await producer.send_and_wait("places.second", value, partition=1)
    await producer.stop()
    tp = TopicPartition("places.second", 1)
    assert await ends(consumer, ["places.second"]) == {TopicPartition("places.second", 0): 0, tp: 2}
    consumer.assign([tp])
    await consumer.seek_to_beginning(tp)
    found: list[bytes] = []
    while len(found) < 2:
        found += [record.value for records in (await consumer.getmany(timeout_ms=500)).values() for record in records]
    assert found == [b"1", b"2"]
