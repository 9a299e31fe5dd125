"""A flow: what reads one or several topics and how its lanes are prepared and worked. Knows no Faust: see `Link`."""
from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from agents.transport.batch import Batch, submit
from agents.transport.lane import Lane
from agents.transport.restore import RESTORE_TIMEOUT_S, restore
from streams.effects import Effect

log = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0
TRANSACTION_TIMEOUT_MS = 30_000


class Link(Protocol):
    """What a flow needs of whoever runs it (the Faust plug-in; a plain service could be another)."""

    group: str

    def client_settings(self) -> Mapping[str, Any]:
        """aiokafka settings that every client shares: addresses and security."""
        ...

    def producer_settings(self) -> Mapping[str, Any]:
        """aiokafka settings of a producer, addresses and security included."""
        ...

    def producer(self) -> Any:
        """The process's idempotent producer, acks=all."""
        ...

    def lease(self) -> bool:
        """Is this process surely still a member of its group?"""
        ...

    def wake(self) -> None:
        """A lane has room again."""
        ...

    async def rewind(self, tp: TopicPartition) -> None:
        """Read the committed offset anew and go on from there."""
        ...


class Work(Protocol):
    """What is done with the records of one lane. One object per lane and generation; never called concurrently."""

    def restore(self, key: bytes, value: bytes | None) -> None: ...

    def restore_revision(self, headers: Sequence[tuple[str, bytes]]) -> None: ...

    def restored(self) -> None: ...

    def highest_offset(self) -> int:
        """Highest input offset that the restored state has applied, -1 = none."""
        ...

    async def process(self, batch: Batch) -> Sequence[Effect]:
        """Effects of a batch, the last an Ack of its end. An exception ends the process; nothing is acknowledged."""
        ...

    def turn(self, caught_up: bool) -> Sequence[Effect]:
        """At most 50 ms of what time or a sweep asks for, without Ack; empty = nothing to do."""
        ...

    @property
    def pressing(self) -> bool:
        """More of it waits (a sweep under way): take the next turn soon."""
        ...

    def close(self) -> None: ...


class Stateless:
    """Work without keys, ticks or state: any async function from a batch to its effects."""

    pressing = False

    def __init__(self, process: Callable[[Batch], Awaitable[Sequence[Effect]]]) -> None:
        self._process = process

    async def process(self, batch: Batch) -> Sequence[Effect]:
        return await self._process(batch)

    def turn(self, caught_up: bool) -> Sequence[Effect]:
        return ()

    def restore(self, key: bytes, value: bytes | None) -> None: ...

    def restore_revision(self, headers: Sequence[tuple[str, bytes]]) -> None: ...

    def restored(self) -> None: ...

    def highest_offset(self) -> int:
        return -1

    def close(self) -> None: ...


class Flow:
    """One stage on its input topics.

    With a state topic it reads exactly one input topic, which must have the same partition count. `exactly_once` puts outputs,
    state and input offset of each batch into one Kafka transaction (one transactional producer per lane).
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        work: Callable[[TopicPartition], Work],
        *,
        state_topic: str = "",
        revision_topic: str = "",
        exactly_once: bool = False,
    ) -> None:
        if not topics or (state_topic and len(topics) != 1):
            raise ValueError(f"flow {name}: a keyed flow reads exactly one topic, a stateless one at least one")
        self.name, self.topics, self.work = name, tuple(topics), work
        self.state_topic, self.revision_topic, self.exactly_once = state_topic, revision_topic, exactly_once
        self.held: Collection[str] = ()
        """Topics whose records wait for now, by an operator's act: their lanes are given none."""

    async def prepare(self, link: Link, lane: Lane) -> None:
        """Make a lane ready. In transactions first fence the former owner, then trust its last commit, then restore.

        Raises Refuses when topics do not fit together.
        """
        began = time.monotonic()
        if self.exactly_once:
            lane.producer = AIOKafkaProducer(
                **link.producer_settings(),
                transactional_id=f"{link.group}-{self.name}-{lane.tp.topic}-{lane.tp.partition}",
                transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            )
            await asyncio.wait_for(lane.producer.start(), START_TIMEOUT_S)
            await link.rewind(lane.tp)
        work = lane.work = self.work(lane.tp)
        if self.state_topic:
            await asyncio.wait_for(restore(link.client_settings(), self, lane, work), RESTORE_TIMEOUT_S)
            log.info("lane %s generation %s: %d records in %.2f s", lane.tp, lane.generation, lane.progress.restored_records, time.monotonic() - began)
        else:
            work.restored()

    async def batch(self, link: Link, lane: Lane, batch: Batch) -> None:
        """Work on one batch, then begin to publish what it says."""
        async with lane.lock:
            if lane.work is None or lane.closing:
                return
            submit(link, self, lane, await lane.work.process(batch))

    async def turn(self, link: Link, lane: Lane) -> bool:
        """One bounded slice of ticks or sweep, unless the one before is still being published. True if it did something.

        Batches in flight do not hold it up: under steady load there always are some, and a deadline must still fire.
        """
        if lane.work is None or not lane.ready or lane.closing or lane.lock.locked():
            return False
        if lane.turn_tail is not None and not lane.turn_tail.done():
            return False
        async with lane.lock:
            effects = lane.work.turn(lane.caught_up)
            if effects:
                submit(link, self, lane, effects)
                lane.turn_tail = lane.tail
            return bool(effects)

    async def drop(self, lane: Lane) -> None:
        """A lane was given up: free what it holds."""
        if lane.work is not None:
            lane.work.close()
        if lane.producer is not None:
            try:
                await asyncio.wait_for(lane.producer.stop(), 10)
            except (KafkaError, TimeoutError, OSError, RuntimeError) as error:
                log.warning("stopping the producer of %s: %r", lane.tp, error)
