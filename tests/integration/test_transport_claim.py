"""Who takes a lane over shuts its former owner out at the brokers: what was sent in time is there, what comes late is refused, readers see nothing of it."""
from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import InvalidProducerIdMapping, ProducerFenced
from aiokafka.structs import TopicPartition

from agents.embedded import Broker
from agents.embedded.jars import cache_directory, class_path
from agents.transport import claim as claim_module
from agents.transport.claim import OVERTAKEN, Claims, Fence, fenced, fencing

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


class Place:
    """A state and a revision topic of one partition, producers as workers have them, and claims on them."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap, self.name = bootstrap, f"claim-{uuid.uuid4().hex[:8]}"
        self.partitions = [TopicPartition(f"{self.name}-{part}", 0) for part in ("state", "revisions")]
        self.state = self.partitions[0]
        self.claims = Claims(lambda: {"bootstrap_servers": bootstrap})
        self.producers: list[Any] = []

    async def open(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(tp.topic, 1, 1) for tp in self.partitions])
        finally:
            await admin.close()

    async def close(self) -> None:
        await self.claims.close()
        for producer in self.producers:
            await producer.stop()

    async def producer(self) -> Any:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True)
        await producer.start()
        self.producers.append(producer)
        return fencing(producer)

    async def touch(self, fence: Fence) -> None:
        await self.claims.touch(self.name, fence, f"{self.name}-group", seconds_max=30)

    async def claim(self) -> Fence:
        return await self.claims.claim(self.name, self.partitions, seconds_max=30)

    async def write(self, producer: Any, fence: Fence | None, *values: bytes, to: int = 0) -> Any:
        """Hand over; the future of the delivery."""
        batch = fenced(producer.create_batch(), fence)
        for value in values:
            assert batch.append(key=b"k", value=value, timestamp=None) is not None
        return await producer.send_batch(batch, self.partitions[to].topic, partition=0)

    async def read(self, isolation: str, part: int = 0) -> list[bytes]:
        """All there is."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=None, isolation_level=isolation, auto_offset_reset="earliest")
        await consumer.start()
        try:
            tp, found = self.partitions[part], list[bytes]()
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            while await consumer.position(tp) < end:
                found += [r.value for records in (await consumer.getmany(timeout_ms=200)).values() for r in records]
            return found
        finally:
            await consumer.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def place(embedded: Any) -> AsyncIterator[Place]:
    made = Place(embedded.bootstrap)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def test_the_former_owner_is_refused_as_soon_as_the_claim_returns_even_before_the_new_one_writes(place: Place) -> None:
    former, now = await place.producer(), await place.producer()
    first = await place.claim()
    for part in (0, 1):
        assert (await (await place.write(former, first, b"1", b"2", to=part))).offset >= 0
    second = await place.claim()
    assert (second.producer_id, second.producer_epoch > first.producer_epoch) == (first.producer_id, True)
    for part in (0, 1):
        with pytest.raises(ProducerFenced):
            await (await place.write(former, first, b"late", to=part))
    for part in (0, 1):
        told = [await (await place.write(now, second, value, to=part)) for value in (b"3", b"4")]
        assert told[1].offset == told[0].offset + 1, "no markers between our own records"
        for isolation in ("read_committed", "read_uncommitted"):
            assert await place.read(isolation, part) == [b"1", b"2", b"3", b"4"]


async def test_a_batch_that_waits_in_the_former_owners_producer_is_refused_when_it_leaves(place: Place) -> None:
    """As after SIGSTOP, or in the socket of a broker that was frozen."""
    former, go = await place.producer(), asyncio.Event()
    first, sender = await place.claim(), former._sender
    send = sender._send_produce_req

    async def held(node: int, batches: Any) -> None:
        await go.wait()
        await send(node, batches)

    sender._send_produce_req = held
    waiting = await place.write(former, first, b"late")
    await asyncio.sleep(0.2)
    second = await place.claim()
    go.set()
    with pytest.raises(ProducerFenced):
        await waiting
    assert (await (await place.write(former, second, b"now"))).offset >= 0, "the same process may have the lane again, under its new claim"
    assert await place.read("read_uncommitted") == [b"now"]


async def test_what_is_written_without_a_fence_has_the_processs_own_producer_id(place: Place) -> None:
    producer = await place.producer()
    fence = await place.claim()
    for number in range(3):
        await (await place.write(producer, fence, b"mine %d" % number))
        await (await place.write(producer, None, b"anybody's %d" % number))
    await place.claim()
    with pytest.raises(ProducerFenced):
        await (await place.write(producer, fence, b"late"))
    await (await place.write(producer, None, b"anybody's 3"))
    assert await place.read("read_committed") == [value for n in range(3) for value in (b"mine %d" % n, b"anybody's %d" % n)] + [b"anybody's 3"]


async def test_of_claims_at_the_same_time_the_last_one_counts_and_none_hangs(place: Place) -> None:
    producer = await place.producer()
    fences = await asyncio.gather(*(place.claim() for _ in range(6)))
    newest = max(fences, key=lambda f: f.producer_epoch)
    assert len({f.producer_epoch for f in fences}) == len(fences)
    await (await place.write(producer, newest, b"newest"))
    for fence in fences:
        if fence is not newest:
            with pytest.raises(ProducerFenced):
                await (await place.write(producer, fence, b"older"))
    assert await place.read("read_uncommitted") == [b"newest"]


async def test_a_claim_without_a_broker_ends_at_its_limit_and_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_module, "AWAY_S", 0.01)
    claims = Claims(lambda: {"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(TimeoutError):
        await claims.claim("nobody", [TopicPartition("t", 0)], seconds_max=0.5)
    await claims.close()


FORGETS_S = 5.0


@pytest.fixture(scope="module")
def forgetful() -> Iterator[Broker]:
    """A broker that forgets a transactional id after seconds instead of a week."""
    conf = {"transactional.id.expiration.ms": int(FORGETS_S * 1000), "transaction.remove.expired.transaction.cleanup.interval.ms": 200}
    with Broker(class_path(cache_directory()), conf=conf) as broker:
        yield broker


@pytest.mark.parametrize("touched", [True, False])
async def test_a_claim_that_is_touched_is_remembered_so_that_the_next_one_shuts_it_out(forgetful: Broker, touched: bool) -> None:
    """Untouched: what the touching is for. The next claim has another producer id, and the former owner still gets through."""
    place = Place(forgetful.bootstrap)
    await place.open()
    try:
        former = await place.producer()
        first = await place.claim()
        await (await place.write(former, first, b"0"))
        end = time.monotonic() + 2.5 * FORGETS_S
        while time.monotonic() < end:
            if touched:
                await place.touch(first)
            await asyncio.sleep(0.2)
        second = await place.claim()
        assert (second.producer_id == first.producer_id) is touched
        late = await place.write(former, first, b"late")
        if touched:
            with pytest.raises(ProducerFenced):
                await late
            with pytest.raises(OVERTAKEN):
                await place.touch(first)
        else:
            await late
            with pytest.raises(InvalidProducerIdMapping):
                await place.touch(first)
    finally:
        await place.close()


async def test_touching_disturbs_nothing_that_is_in_flight_and_leaves_no_marker_in_the_state(place: Place) -> None:
    producer = await place.producer()
    fence = await place.claim()
    first = (await (await place.write(producer, fence, b"first"))).offset
    waiting = []
    for number in range(30):
        waiting.append(await place.write(producer, fence, b"%d" % number))
        if number % 10 == 5:
            await place.touch(fence)
    assert [(await one).offset - first for one in waiting] == [*range(1, 31)]
    assert await place.read("read_committed") == [b"first", *(b"%d" % n for n in range(30))]
    await place.claim()
    with pytest.raises(OVERTAKEN):
        await place.touch(fence)
    with pytest.raises(ProducerFenced):
        await (await place.write(producer, fence, b"late"))
