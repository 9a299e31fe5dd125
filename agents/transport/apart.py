"""A partition that brokers refuse for now waits apart, and the others go on.

A refused batch (too few replicas in sync, another leader) is tried again until it is taken. aiokafka sleeps before it does, and until then sends nothing to
that node: all lanes of a process share its producer, so the output of one stage that was not taken held up every request of every lane for a tenth of a second,
again and again. Here only the partition waits.
"""
# aiokafka has no types: they are Any here.
# mypy: disable-error-code="misc, no-any-return"
from __future__ import annotations

import asyncio
from typing import Any


def apart(producer: Any) -> Any:
    """The producer, which from now on tries again partition by partition."""
    if producer is not None and not getattr(producer, "railclear_apart", False):
        producer.railclear_apart = Apart(producer)
    return producer


class Apart:
    """Of one producer."""

    def __init__(self, producer: Any) -> None:
        sender = producer._sender
        self._accumulator, self._send = producer._message_accumulator, sender._send_produce_req
        self._put_back = self._accumulator.reenqueue
        self._refused: dict[Any, Any] = {}
        self._muted_partitions = sender._muted_partitions
        """aiokafka's own set: of these it sends nothing. A partition stays in it, or what was sent after the refused batch would overtake it."""
        self._retry_backoff, sender._retry_backoff = sender._retry_backoff, 0
        sender._send_produce_req, self._accumulator.reenqueue = self._sent, self._wait

    def _wait(self, batch: Any) -> None:
        self._refused[batch.tp] = batch

    async def _sent(self, node_id: int, batches: Any) -> None:
        await self._send(node_id, batches)
        # The sender has let node and partitions go, and nothing else has run since.
        for tp in batches:
            if (batch := self._refused.pop(tp, None)) is not None:
                self._muted_partitions.add(tp)
                asyncio.get_running_loop().call_later(self._retry_backoff, self._again, tp, batch)

    def _again(self, tp: Any, batch: Any) -> None:
        self._muted_partitions.discard(tp)
        self._put_back(batch)
        waiter = self._accumulator.waiter()
        if not waiter.done():
            waiter.set_result(None)
