"""A flow: what reads one or several topics and how its lanes are prepared and worked. Knows no Faust: see `Link`."""
from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.structs import TopicPartition

from agents.transport.batch import Batch, Reach, submit
from agents.transport.census import TopicSeen, same_counts
from agents.transport.claim import OVERTAKEN, TOUCH_AGAIN_S, TRANSACTION_TIMEOUT_MS, Fence, owner_of, patient, touch_at
from agents.transport.fatal import Refuses, fatal
from agents.transport.keeper import Keeper
from agents.transport.lane import QUIET_S, Lane, Slices, boot_clock
from agents.transport.origin import INPUT_KEY, Bounds, InputIdentity, record_of, same_input, start_of
from agents.transport.reached import EVERY, FLOORS_BYTES_MAX, bytes_of
from agents.transport.restore import RESTORE_TIMEOUT_S, restore
from streams.effects import Ack, Await, Effect, PutState

log = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0
START_ONE_S = STOP_ONE_S = 10.0
"""A broker that is starting takes a connection and answers nothing yet; another one would have. A producer that has not started by then is made anew."""
FENCE_AGAIN_S = 0.5


class Link(Protocol):
    """What a flow needs of whoever runs it (the Faust plug-in; a plain service could be another)."""

    group: str

    def client_settings(self) -> Mapping[str, Any]:
        """aiokafka settings that every client shares: addresses and security."""
        ...

    def producer_settings(self) -> Mapping[str, Any]:
        """aiokafka settings of a lane's own producer, addresses and security included."""
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

    async def bounds_of(self, tp: TopicPartition, anew: bool) -> Bounds:
        """What is committed and where the log begins and ends; `anew`: not what the whole assignment was told at its start."""
        ...

    async def touch(self, name: str, fence: Fence) -> None:
        """Let the coordinator see that a claim still stands."""
        ...

    async def seek_lane(self, lane: Lane, offset: int) -> None:
        """Read on from there."""
        ...

    async def claim(self, name: str, partitions: Sequence[TopicPartition]) -> Fence:
        """Shut out who wrote to these partitions under this name before."""
        ...

    async def known_topics(self) -> Mapping[str, TopicSeen]:
        """All topics of this process as they were at the start of this assignment."""
        ...

    restoring: asyncio.Semaphore
    """So many lanes restore at a time: each takes a connection to every broker."""

    long_work: asyncio.Lock
    """One lane at a time works on a batch that takes long."""

    @property
    def keeper(self) -> Keeper:
        """What is left of partitions that were given up."""
        ...


class Work(Protocol):
    """What is done with the records of one lane. One object per lane and generation; never called concurrently."""

    def restore(self, key: bytes, value: bytes | None) -> None: ...

    def restore_revision(self, key: bytes | None, headers: Sequence[tuple[str, bytes]]) -> None: ...

    def restored(self, below: int = 0) -> None:
        """After the last record. Inputs below this offset may have been spoken of by an owner that wrote no state of them."""
        ...

    def image(self) -> Any | None:
        """Everything restored and processed, as a copy; None while something of it was not handed over for writing, or when there is no state."""
        ...

    def adopt(self, image: Any) -> None:
        """Begin with an image; what was written since comes through `restore`."""
        ...

    def dump(self, image: Any) -> Iterator[tuple[bytes, bytes]]:
        """An image as records that `restore` takes."""
        ...

    def floors(self, image: Any) -> dict[str, int]:
        """Revisions of an image that the world has seen beyond its state, by key."""
        ...

    def restore_floors(self, floors: Mapping[str, int]) -> None:
        """After the records of a dump: its floors."""
        ...

    def highest_offset(self) -> int:
        """Highest input offset that the restored state has applied, -1 = none."""
        ...

    async def process(self, batch: Batch, slices: Slices) -> Sequence[Effect]:
        """Effects of a batch, the last an Ack of its end. Gives way whenever a slice is over. An exception ends the process; nothing is acknowledged."""
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

    def __init__(self, process: Callable[[Batch, Slices], Awaitable[Sequence[Effect]]]) -> None:
        self._process = process

    async def process(self, batch: Batch, slices: Slices) -> Sequence[Effect]:
        return await self._process(batch, slices)

    def turn(self, caught_up: bool) -> Sequence[Effect]:
        return ()

    def restore(self, key: bytes, value: bytes | None) -> None: ...

    def restore_revision(self, key: bytes | None, headers: Sequence[tuple[str, bytes]]) -> None: ...

    def restored(self, below: int = 0) -> None: ...

    def image(self) -> None:
        return None

    def adopt(self, image: Any) -> None: ...

    def dump(self, image: Any) -> Iterator[tuple[bytes, bytes]]:
        return iter(())

    def floors(self, image: Any) -> dict[str, int]:
        return {}

    def restore_floors(self, floors: Mapping[str, int]) -> None: ...

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
        revision_topics: Sequence[str] = (),
        exactly_once: bool = False,
    ) -> None:
        if not topics or (state_topic and len(topics) != 1):
            raise ValueError(f"flow {name}: a keyed flow reads exactly one topic, a stateless one at least one")
        self.name, self.topics, self.work = name, tuple(topics), work
        self.state_topic, self.revision_topics, self.exactly_once = state_topic, tuple(revision_topics), exactly_once
        self.held: Collection[str] = ()
        """Topics whose records wait for now, by an operator's act: their lanes are given none."""

    async def prepare(self, link: Link, lane: Lane) -> None:
        """Make a lane ready. First shut the former owner out, then trust what it has left; restore; then choose where to read.

        Raises Refuses when topics do not fit together or records are gone that were not read.
        """
        began = time.monotonic()
        seen = await link.known_topics()
        lane.ids = tuple(seen[topic].id for topic in (*self.topics[:1], self.state_topic, *self.revision_topics)) if self.state_topic else ()
        if self.state_topic:
            same_counts(self.name, {t: seen[t].partitions for t in (lane.tp.topic, self.state_topic, *self.revision_topics)})
        if self.exactly_once:
            await self._fence(link, lane)
        elif self.state_topic:
            own = [TopicPartition(topic, lane.tp.partition) for topic in (self.state_topic, *self.revision_topics)]
            lane.fence = await link.claim(self._producer_name(link, lane), own)
        lane.touch_at = touch_at()
        work = lane.work = self.work(lane.tp)
        known: InputIdentity | None = None
        if self.state_topic:
            async with link.restoring:
                async with asyncio.timeout(RESTORE_TIMEOUT_S):
                    known = await restore(link.client_settings(), self, lane, work, link.keeper)
            log.info("lane %s generation %s: %d records from %s in %.2f s", lane.tp, lane.generation, lane.progress.restored_records,
                     lane.progress.source, time.monotonic() - began)
        else:
            work.restored()
        bounds = await link.bounds_of(lane.tp, self.exactly_once)
        try:
            start = self._start(lane, work, bounds)
        except Refuses:
            # What the assignment was told at its start may be older than the state: a former owner that still ran then has read on until it was shut out.
            bounds = await link.bounds_of(lane.tp, True)
            start = self._start(lane, work, bounds)
        if self.state_topic:
            await self._identify(link, lane, known, InputIdentity(lane.tp.topic, seen[lane.tp.topic].id), bounds.committed)
        lane.next = start
        # Where we begin is committed, too, or a later deletion could not be told from a new group.
        lane.committed = bounds.committed
        if self.exactly_once and bounds.committed != start:
            submit(link, self, lane, (Ack(lane.tp.topic, lane.tp.partition, start),))
        await link.seek_lane(lane, start)

    def _start(self, lane: Lane, work: Work, bounds: Bounds) -> int:
        state = f"{self.state_topic}/{lane.tp.partition}"
        return start_of(f"{lane.tp.topic}/{lane.tp.partition}", state, bounds, work.highest_offset())

    def _producer_name(self, link: Link, lane: Lane) -> str:
        """The transactional id under which a lane is owned, in both modes: whoever comes shuts out whoever was.

        It is that of the state, not of the group: the group's name says which stages a process has, and a stage may move to another set of them.
        """
        return owner_of(self.state_topic, lane.tp.partition) if self.state_topic else f"{link.group}-{self.name}-{lane.tp.topic}-{lane.tp.partition}"

    async def _fence(self, link: Link, lane: Lane) -> None:
        """A transactional producer of this lane's name: who had it before is out. Tries again while a broker that is looked for dies in between.

        The claim comes first although the producer makes one, too: it looks for the coordinator anew, waits for no answer longer than five
        seconds, and says what it waits for.
        """
        await link.claim(self._producer_name(link, lane), ())
        end = boot_clock() + START_TIMEOUT_S
        while True:
            lane.producer = patient(AIOKafkaProducer(
                **link.producer_settings(),
                transactional_id=self._producer_name(link, lane),
                transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            ))
            try:
                async with asyncio.timeout(START_ONE_S):
                    await lane.producer.start()
                return
            except (KafkaError, TimeoutError) as error:
                another = type(error) is KafkaError or isinstance(error, (KafkaConnectionError, TimeoutError))
                if not lane.open or boot_clock() > end or not another:
                    raise
                log.warning("lane %s: its transactional producer does not start and is made anew: %r", lane.tp, error)
                await self._stop_producer(lane)
                await asyncio.sleep(FENCE_AGAIN_S)

    async def _identify(self, link: Link, lane: Lane, known: InputIdentity | None, now: InputIdentity, committed: int | None) -> None:
        """The state says which input it was made from; a new one is told now, and nothing is committed before that is durable. Raises Refuses."""
        same_input(f"{self.state_topic}/{lane.tp.partition}", known, now, committed)
        if known is not None and (known.id or not now.id):
            return
        record = PutState(self.state_topic, lane.tp.partition, ((INPUT_KEY, record_of(now)),))
        submit(link, self, lane, (record, Await()))
        if lane.tail is not None:
            await asyncio.shield(lane.tail)
        if lane.submitted != lane.settled:
            raise TimeoutError(f"lane {lane.tp} was given up before its state could say what it is made from")

    async def touch(self, link: Link, lane: Lane) -> None:
        """A claim that nobody used for long would be forgotten, and the next one would shut nobody out. A lane at work in transactions uses its own."""
        lane.touch_at = touch_at()
        if self.exactly_once:
            if lane.clean and lane.next is not None:
                submit(link, self, lane, (Ack(lane.tp.topic, lane.tp.partition, lane.next),))
        elif lane.fence is not None:
            try:
                await link.touch(self._producer_name(link, lane), lane.fence)
            except OVERTAKEN as error:
                if lane.open:
                    fatal(f"{lane.tp} was taken over by somebody else, or its claim is forgotten", error)
            except (KafkaError, TimeoutError, OSError) as error:
                lane.touch_at = boot_clock() + TOUCH_AGAIN_S
                log.warning("lane %s: the coordinator does not see that the claim still stands, and is asked again: %r", lane.tp, error)

    async def rest(self, link: Link, lane: Lane, position: int) -> None:
        """Nothing is in flight and the reader has passed markers: they are done with too."""
        if self.exactly_once:
            quiet = boot_clock() - lane.delivered_at > QUIET_S
            if quiet and lane.next is not None and position > max(lane.next, lane.idle_position) and lane.clean:
                lane.idle_position = position
                submit(link, self, lane, (Ack(lane.tp.topic, lane.tp.partition, position),))
        else:
            lane.rest(position)

    async def batch(self, link: Link, lane: Lane, batch: Batch) -> None:
        """Work on one batch, then begin to publish what it says.

        Others of the process have their turn after every slice. Of the batches that take long one is worked on after the other: side by side each
        would take as long as all of them, and a rebalance would have to wait for the last.
        """
        async with lane.order:
            if lane.takes_long(len(batch.records)):
                async with link.long_work:
                    await self._work_on(link, lane, batch)
            else:
                await self._work_on(link, lane, batch)
            if lane.turn_due:                            # the next batch would have the lock before the clock is looked at again
                await self.turn(link, lane)

    async def _work_on(self, link: Link, lane: Lane, batch: Batch) -> None:
        async with lane.lock:
            lane.queued -= 1
            if lane.work is None or lane.closing or lane.broken:
                return
            slices = Slices(lambda: lane.open)
            with _or_broken(lane):
                effects = await lane.work.process(batch, slices)
                if not lane.open:                        # given up between two slices: the next owner reads it, and this memory is good for nothing
                    lane.broken = True
                    return
                if (fresh := len(batch.records) - slices.known) > 0:
                    lane.worked(slices.seconds, fresh)
                submit(link, self, lane, self._reaching(lane, effects))

    def _reaching(self, lane: Lane, effects: Sequence[Effect]) -> Sequence[Effect | Reach]:
        """Behind the states, when enough revisions were written: how far the states have them."""
        if lane.unmarked < lane.unsaid + EVERY or lane.foreign or not all(lane.ids) or lane.work is None:
            return effects
        at = next((n for n, effect in enumerate(effects) if isinstance(effect, PutState)), None)
        if at is None:
            return effects
        image = lane.work.image()
        if image is None:
            return effects
        floors = lane.work.floors(image)
        if (size := bytes_of(floors)) > FLOORS_BYTES_MAX:
            if not lane.unsaid:
                log.warning("lane %s: %d keys are ahead of their state (%d bytes), so it is not said how far the states have the revisions: a restore "
                            "reads more of them", lane.tp, len(floors), size)
            lane.unsaid = lane.unmarked         # to find that out takes a copy of all keys
            return effects
        lane.unsaid = 0
        return (*effects[: at + 1], Reach(floors), *effects[at + 1 :])

    async def turn(self, link: Link, lane: Lane) -> bool:
        """One bounded slice of ticks or sweep, unless the one before is still being published. True if it did something.

        Batches in flight do not hold it up: under steady load there always are some, and a deadline must still fire. While one is worked on it has to wait,
        and comes before the next.
        """
        if lane.work is None or not lane.ready or lane.closing or lane.broken:
            return False
        lane.turn_due = lane.lock.locked()
        if lane.turn_due:
            return False
        if lane.turn_tail is not None and not lane.turn_tail.done():
            return False
        async with lane.lock:
            with _or_broken(lane):
                effects = lane.work.turn(lane.caught_up)
                if effects:
                    submit(link, self, lane, self._reaching(lane, effects))
                    lane.turn_tail = lane.tail
            return bool(effects)

    async def drop(self, lane: Lane) -> None:
        """A lane was given up: free what it holds. What its keeper has of it stays there."""
        work, lane.work = lane.work, None
        if work is not None:
            work.close()
        await self._stop_producer(lane)

    async def _stop_producer(self, lane: Lane) -> None:
        if lane.producer is not None:
            try:
                async with asyncio.timeout(STOP_ONE_S):
                    await lane.producer.stop()
            except (KafkaError, TimeoutError, OSError, RuntimeError) as error:
                log.warning("stopping the producer of %s: %r", lane.tp, error)


@contextmanager
def _or_broken(lane: Lane) -> Iterator[None]:
    """From the beginning of work until what it says is handed over: if it ends in between, some keys may have moved on, and nobody hears of it."""
    try:
        yield
    except BaseException:
        lane.broken = True
        raise
