"""A batch, and how its effects are carried out on Kafka."""
from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.partitioner import murmur2
from aiokafka.structs import OffsetAndMetadata

from agents.transport.claim import Fence, fenced
from agents.transport.fatal import fatal
from agents.transport.lane import Lane
from agents.transport.reached import REVISIONS_KEY, Reached, record_of
from streams.effects import Ack, Await, Effect, Headers, Publish, PublishOutcomes, PutState, Record, Send
from streams.fold import EVERY_PARTITION

if TYPE_CHECKING:
    from agents.transport.flow import Flow, Link

log = logging.getLogger(__name__)

PUBLISH_TIMEOUT_S = 60.0
"""A producer that has not answered by then will not: the process ends and the batch is read again."""


UNKNOWN_AGAIN_S = 0.2
BATCH_RECORDS_MAX = 4000
"""Records fetched at once. Also bounds the outcomes record: 4,000 exceptions of at most 230 bytes stay below 1 MiB."""
BULK_SENDS = 64
"""So many outputs of one batch are put into producer batches here, by partition; fewer go one by one and may share a batch with other lanes'.
What is written under the lane's own claim always goes in batches built here."""
BULK_AT_ONCE = 500
"""So many are built before others of the process have their turn."""
KEYS_REMEMBERED = 1 << 17
"""Partitions of keys are worked out in Python; a worker's containers and shipments are remembered (about 20 MB when all are)."""


class Batch(msgspec.Struct, frozen=True):
    """Records of one partition in offset order, as they were fetched together."""

    topic: str
    partition: int
    records: Sequence[Record]


Written = tuple[Any, int]
"""A future of aiokafka's metadata (with the offset of the first record) and how many records it stands for."""


class Reach(msgspec.Struct, frozen=True):
    """Behind the states of a publication: say how far they have the revisions (`agents.transport.reached`)."""

    floors: dict[str, int]


class LeaseLost(Exception):
    """The lane was closed while its publication waited; the next owner does the work again."""


def submit(link: Link, flow: Flow, lane: Lane, effects: Sequence[Effect | Reach]) -> None:
    """Begin to carry out effects after all earlier ones of this lane. Returns at once: the next batch may be worked on meanwhile."""
    if effects:
        lane.submitted += 1  # counted also when the lane is closed: then its memory is ahead of Kafka and cannot be kept
    if lane.open and effects:
        lane.tail = asyncio.ensure_future(_publish(link, flow, lane, lane.tail, effects, lane.submitted - 1))
        lane.tail.add_done_callback(_no_bug)


def _no_bug(publication: asyncio.Future[None]) -> None:
    if not publication.cancelled() and (error := publication.exception()) is not None:
        fatal("publication", error)


async def _publish(link: Link, flow: Flow, lane: Lane, before: asyncio.Future[None] | None, effects: Sequence[Effect | Reach], earlier: int) -> None:
    """After so many earlier ones."""
    try:
        if before is not None:
            await before
        lane.durable = dict(lane.sure) if lane.settled == earlier else {}
        began = time.monotonic()
        if flow.exactly_once:
            await _in_transaction(link, lane, effects)
        else:
            await _at_least_once(link, lane, effects)
        lane.settled += 1
        lane.progress.publish_seconds += time.monotonic() - began
    except LeaseLost:
        log.warning("lane %s generation %s is closed: its last batch is left to the next owner", lane.tp, lane.generation)
    except (KafkaError, TimeoutError, OSError) as error:
        if lane.open:
            fatal(f"publish {lane.tp}", error)
        log.warning("lane %s is closed, dropped: %r", lane.tp, error)


async def _at_least_once(link: Link, lane: Lane, effects: Sequence[Effect | Reach]) -> None:
    producer, waiting = link.producer(), list[Written]()
    await _leased(link, lane)
    for effect in effects:
        match effect:
            case Await():
                await _settle(lane, waiting)
                waiting = []
                await _leased(link, lane)
            case Ack(_, _, end):
                await _settle(lane, waiting)
                waiting = []
                if lane.open:
                    lane.ack(end)
                    link.wake()
            case _:
                async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                    waiting += await _write(producer, lane, effect)
    await _settle(lane, waiting)


async def _in_transaction(link: Link, lane: Lane, effects: Sequence[Effect | Reach]) -> None:
    """State, outputs, outcomes and the input offset become visible together or never; a former owner is fenced by its epoch."""
    if not lane.open:
        raise LeaseLost
    producer, waiting, end = lane.producer, list[Written](), None
    async with asyncio.timeout(PUBLISH_TIMEOUT_S):
        await producer.begin_transaction()
        for effect in effects:
            if isinstance(effect, Ack):
                end = effect.next
            elif not isinstance(effect, Await):
                waiting += await _write(producer, lane, effect)
        if end is not None:
            await producer.send_offsets_to_transaction({lane.tp: OffsetAndMetadata(end, "")}, link.group)
    # aiokafka waits for its commit on a shielded future, without a limit of its own.
    async with asyncio.timeout(PUBLISH_TIMEOUT_S):
        await producer.commit_transaction()
    await _settle(lane, waiting)
    if end is not None and lane.open:
        lane.ack(end)
        link.wake()


async def _leased(link: Link, lane: Lane) -> None:
    """Wait until we are surely still a member; a worker that was paused or cut off waits here until it is revoked or renewed."""
    while lane.open and not link.lease():
        await asyncio.sleep(0.05)
    if not lane.open:
        raise LeaseLost


async def _settle(lane: Lane, waiting: Sequence[Written]) -> None:
    if not waiting:
        return
    async with asyncio.timeout(PUBLISH_TIMEOUT_S):      # all of them are under way: one after the other is as soon as together
        said = [(await future, count) for future, count in waiting]
    for metadata, count in said:
        if metadata.topic in lane.sure and metadata.partition == lane.tp.partition:
            lane.wrote(metadata.topic, metadata.offset, count)
    if lane.overtaken and lane.open:
        fatal(f"somebody else writes to the state or the revisions of {lane.tp}: the next owner writes again what was overtaken")


async def _write(producer: Any, lane: Lane, effect: Effect | Reach) -> list[Written]:
    """Hand records to the producer; returns the futures of their delivery."""
    match effect:
        case Publish(sends):
            if len(sends) >= BULK_SENDS:
                return await _bulk(producer, lane, sends)
            ours = lane.fence.topics if lane.fence is not None else ()
            own, known = [send for send in sends if send.topic in ours], Known()
            others = [written for send in sends if send.topic not in ours for written in await _send(producer, lane, send, known)]
            return others + (await _bulk(producer, lane, own) if own else [])
        case PublishOutcomes(send):
            return await _send(producer, lane, send, Known())
        case PutState():
            return await _put(producer, lane, effect)
        case Reach(floors):
            put = _reached(lane, floors)
            return await _put(producer, lane, put) if put is not None else []
        case Await() | Ack():
            return []


def _reached(lane: Lane, floors: dict[str, int]) -> PutState | None:
    """None: somebody else wrote between our records, or not everything before is durable, so nobody can say."""
    flow = lane.flow
    if flow is None or lane.foreign or not lane.durable:
        return None
    lane.marked = {topic: lane.durable[topic] for topic in flow.revision_topics}
    value = record_of(Reached(lane.ids[2:], tuple(lane.marked.values()), floors))
    return PutState(flow.state_topic, lane.tp.partition, ((REVISIONS_KEY, value),))


@lru_cache(KEYS_REMEMBERED)
def _place(key: bytes) -> int:
    """What the default partitioner takes the remainder of."""
    found: int = murmur2(key)
    return found & 0x7FFFFFFF


Known = dict[str, list[int]]
"""Topic -> its partitions; for the records of one effect."""


async def _partitions(producer: Any, send: Send, known: Known) -> Sequence[int | None]:
    """Where it goes; None: anywhere."""
    parts = known.get(send.topic)
    if parts is None:
        parts = known[send.topic] = await _known(producer, send.topic)
    if send.partition is None and send.key is None:
        return (None,)
    if send.partition is not None and send.partition != EVERY_PARTITION:
        return (send.partition,)
    return parts if send.partition == EVERY_PARTITION else (parts[_place(send.key or b"") % len(parts)],)


async def _known(producer: Any, topic: str) -> list[int]:
    """Its partitions. A broker that has just come back may not have heard of any topic yet; asked for as long as the publication may take."""
    while True:
        try:
            return sorted(await producer.partitions_for(topic))
        except UnknownTopicOrPartitionError:
            log.warning("no broker knows topic %s; asked again", topic)
            await asyncio.sleep(UNKNOWN_AGAIN_S)


async def _send(producer: Any, lane: Lane, send: Send, known: Known) -> list[Written]:
    partitions = await _partitions(producer, send, known)
    lane.progress.sends += len(partitions)
    return [(await producer.send(send.topic, send.value, key=send.key, partition=p, headers=list(send.headers)), 1) for p in partitions]


async def _bulk(producer: Any, lane: Lane, sends: Sequence[Send]) -> list[Written]:
    """Many outputs: each partition gets its own in their order, in batches built here. A task and a future per record would cost more than the record."""
    written, known = list[Written](), Known()
    found: dict[tuple[str, int], _Filling] = {}
    for n, send in enumerate(sends, 1):
        if n % BULK_AT_ONCE == 0:
            await asyncio.sleep(0)
        for part in await _partitions(producer, send, known):
            if part is None:
                written += await _send(producer, lane, send, known)
                continue
            filling = found.get((send.topic, part))
            if filling is None:
                filling = found[send.topic, part] = _Filling(producer, send.topic, part, lane.fence)
            if not filling.take(send.key, send.value, send.headers):
                written.append(await filling.hand_over())
                filling.take(send.key, send.value, send.headers)
            lane.progress.sends += 1
    return written + [await filling.hand_over() for filling in found.values()]


Turns = defaultdict[tuple[str, int], asyncio.Lock]
_waiting: WeakKeyDictionary[Any, Turns] = WeakKeyDictionary()


def _turns(producer: Any) -> Turns:
    """Whose turn it is to hand a batch over, by partition. aiokafka lets all who wait for a partition run for it at once, and gives up on one that has
    lost often enough long before its time is over."""
    turns = _waiting.get(producer)
    if turns is None:
        turns = _waiting[producer] = defaultdict(asyncio.Lock)
    return turns


class _Filling:
    """A producer batch of one partition, until it is full. The first record of a batch is always taken, whatever its size."""

    __slots__ = ("batch", "count", "fence", "partition", "producer", "topic")

    def __init__(self, producer: Any, topic: str, partition: int, fence: Fence | None) -> None:
        self.producer, self.topic, self.partition = producer, topic, partition
        self.fence = fence if fence is not None and topic in fence.topics else None
        self.batch, self.count = fenced(producer.create_batch(), self.fence), 0

    def take(self, key: bytes | None, value: bytes | None, headers: Headers = ()) -> bool:
        """False: it is full."""
        if self.batch.append(key=key, value=value, timestamp=None, headers=list(headers)) is None:
            return False
        self.count += 1
        return True

    async def hand_over(self) -> Written:
        """To the producer, after what it was given for this partition before; then begin anew."""
        async with _turns(self.producer)[self.topic, self.partition]:
            written = await self.producer.send_batch(self.batch, self.topic, partition=self.partition), self.count
        self.batch, self.count = fenced(self.producer.create_batch(), self.fence), 0
        return written


async def _put(producer: Any, lane: Lane, put: PutState) -> list[Written]:
    """State goes to the input's partition number in batches built here: the partitioner is bypassed on purpose."""
    written, filling = list[Written](), _Filling(producer, put.topic, put.partition, lane.fence)
    for key, value in put.records:
        lane.progress.state_records += 1
        lane.progress.state_bytes += len(value) if value is not None else 0
        if not filling.take(key, value):
            written.append(await filling.hand_over())
            filling.take(key, value)
    return [*written, await filling.hand_over()]
