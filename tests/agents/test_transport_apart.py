"""A partition that is refused is tried again by itself and in order, while its node takes what others have. On brokers: test_transport_brokers."""
from __future__ import annotations

import asyncio
import inspect
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer import sender as sender_module
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import Sender
from aiokafka.structs import TopicPartition

from agents.transport.apart import apart

GOOD, BAD = TopicPartition("good", 0), TopicPartition("bad", 0)


class Node:
    """Answers produce requests: the bad partition is refused until it is mended. Notes what it was sent, when."""

    def __init__(self) -> None:
        self.mended, self.sent = False, list[tuple[float, TopicPartition, int]]()

    async def send(self, node_id: int, request: Any) -> Any:
        await asyncio.sleep(0)
        answers = []
        for topic, partitions in request._topics:
            for partition, _ in partitions:
                tp = TopicPartition(topic, partition)
                self.sent.append((asyncio.get_running_loop().time(), tp, node_id))
                answers.append((topic, [(partition, 0 if tp == GOOD or self.mended else 19, len(self.sent), 0, 0)]))
        return SimpleNamespace(API_VERSION=5, topics=answers)


async def a_producer(node: Node) -> Any:
    producer: Any = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", enable_idempotence=True, retry_backoff_ms=100)
    producer._txn_manager.set_pid_and_epoch(1, 0)

    async def known(*_: Any) -> None: ...

    producer.client.send, producer.client._maybe_wait_metadata = node.send, known
    producer._message_accumulator._cluster = SimpleNamespace(leader_for_partition=lambda tp: 1)
    producer._sender._sender_task = asyncio.ensure_future(producer._sender._sender_routine())
    return apart(producer)


async def put(producer: Any, tp: TopicPartition, value: bytes) -> Any:
    batch = producer.create_batch()
    batch.append(key=None, value=value, timestamp=None)
    return await producer._message_accumulator.add_batch(batch, tp, 5)


async def test_what_is_refused_holds_up_its_own_partition_only_and_keeps_its_order() -> None:
    node = Node()
    producer = await a_producer(node)
    assert apart(producer).railclear_apart is producer.railclear_apart, "once"
    try:
        refused = [await put(producer, BAD, b"first")]
        await asyncio.sleep(0.02)
        began = asyncio.get_running_loop().time()
        for _ in range(50):
            await asyncio.wait_for(await put(producer, GOOD, b"x"), 5)
        assert asyncio.get_running_loop().time() - began < 50 * 0.1 / 5, "not a tenth of a second each"
        waiting = asyncio.ensure_future(put(producer, BAD, b"second"))
        await asyncio.sleep(0.35)
        tried = [at for at, tp, _ in node.sent if tp == BAD]
        assert len(tried) >= 2, "it is tried again, also when nobody sends anything else"
        assert all(b - a >= 0.09 for a, b in pairwise(tried)), "and not sooner than before"
        node.mended = True
        refused.append(await asyncio.wait_for(waiting, 5))
        first, second = [await asyncio.wait_for(one, 5) for one in refused]
        assert first.offset < second.offset
        assert producer._sender._muted_partitions == set()
    finally:
        producer._sender._sender_task.cancel()
        producer._closed = True


def test_aiokafka_still_tries_again_as_this_expects() -> None:
    handler = inspect.getsource(sender_module.SendProduceReqHandler.do)
    assert handler.index("asyncio.sleep(self._default_backoff)") < handler.index("_message_accumulator.reenqueue(batch)")
    assert "self._default_backoff = sender._retry_backoff" in inspect.getsource(sender_module.BaseHandler.__init__)
    sent = inspect.getsource(Sender._send_produce_req)
    assert sent.index("self._in_flight.remove(node_id)") < sent.index("self._muted_partitions.remove(tp)")
    assert "await" not in sent[sent.index("self._in_flight.remove") :]
    routine = inspect.getsource(Sender._sender_routine)
    assert "muted_partitions = self._muted_partitions" in routine
    assert "waiters.add(self._message_accumulator.waiter())" in routine
    assert inspect.getsource(Sender).count("self._muted_partitions = ") == 1, "the set is made once"
    assert "_batches[tp].appendleft(batch)" in inspect.getsource(MessageAccumulator.reenqueue)
