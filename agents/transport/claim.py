"""A lane's own place in Kafka without transactions: who had it before can no longer write to its state, not even what already lies in a broker's socket.

A lease is time, and time proves nothing: a request of a killed or paused process may be carried out after its successor has restored. So each keyed lane
writes its state and its revisions under a producer id of its own, the one that belongs to a transactional id (KIP-98). Whoever takes a lane over asks for the
next epoch of that id and has the coordinator write a marker of it, an aborted transaction without records, into each of the lane's partitions. What the
former owner sends after its marker is refused by the partition's leader (INVALID_PRODUCER_EPOCH); what came before it is there to be restored. Readers see
no markers. The records themselves are written without transactions: no latency, and readers wait for nothing. The coordinator forgets an id that is not
used, so a claim that stands for days is touched now and then.
"""
# aiokafka has no types: they are Any here.
# mypy: disable-error-code="misc, no-untyped-call, no-any-return"
from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    NotCoordinatorError,
    OperationNotAttempted,
    ProducerFenced,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.transaction import AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest
from aiokafka.structs import TopicPartition

from agents.transport.fatal import Refuses
from agents.transport.lane import boot_clock

log = logging.getLogger(__name__)

REQUEST_MS: Final = 5_000
"""A coordinator that is frozen is not waited for longer: another broker is asked who coordinates now."""
AGAIN_S: Final = 0.02
AWAY_S: Final = 0.2
BUSY_MAX: Final = 50
"""A coordinator that is busy for a second is looked for anew: it may have become another."""
SAID_EVERY_S: Final = 10.0
TRANSACTION_TIMEOUT_MS: Final = 10_000
"""A worker that dies in a transaction stalls the readers of its outputs for so long at most (less when its successor fences it)."""
OWNERS: Final = "railclear-"
"""What the names of all owners begin with: workers need WRITE on these transactional ids."""
EXPIRES_S: Final = 7 * 86_400.0
"""Kafka's default of `transactional.id.expiration.ms`. An id that was not used for so long is forgotten: the next claim gets another producer id, and its
marker shuts nobody out."""
TOUCH_S: Final = 86_400.0
"""A claim is touched once a day, give or take a fifth, so that lanes that were assigned together do not ask together."""
TOUCH_AGAIN_S: Final = 600.0
"""And so long after an attempt that failed: there are days left."""
SEQUENCE_MAX: Final = 2**31
CLIENT_SETTINGS: Final = ("bootstrap_servers", "security_protocol", "ssl_context", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password")

_LOST = (CoordinatorNotAvailableError, NotCoordinatorError, KafkaConnectionError, NodeNotReadyError, RequestTimedOutError)
"""The coordinator is away, or another broker is it now."""
_BUSY = (ConcurrentTransactions, CoordinatorLoadInProgressError, UnknownTopicOrPartitionError, OperationNotAttempted)
OVERTAKEN: Final = (InvalidProducerEpoch, ProducerFenced, InvalidProducerIdMapping, InvalidTxnState)
"""Another claim, or the coordinator's own end of a transaction that took too long, came between: begin anew."""
T = TypeVar("T")


def touch_at() -> float:
    """When a claim that was made or touched now is to be touched again, boot clock."""
    return boot_clock() + TOUCH_S * random.uniform(0.8, 1.2)


def owner_of(state_topic: str, partition: int) -> str:
    """The transactional id under which a partition of a state topic is owned, whatever group its owner is in. A shadow's state topics have other names."""
    return f"{OWNERS}{state_topic}-{partition}"


class Fence:
    """Producer id and epoch of one claim, and the next sequence number of each partition: what aiokafka's accumulator asks of its `TransactionManager`."""

    def __init__(self, producer_id: int, producer_epoch: int, topics: Sequence[str] = ()) -> None:
        self.producer_id, self.producer_epoch, self.topics = producer_id, producer_epoch, frozenset(topics)
        self._next: defaultdict[TopicPartition, int] = defaultdict(int)

    def has_pid(self) -> bool:
        return True

    def sequence_number(self, tp: TopicPartition) -> int:
        return self._next[tp]

    def increment_sequence_number(self, tp: TopicPartition, increment: int) -> None:
        """Sequence numbers of a producer begin again at 0 after 2^31 - 1."""
        self._next[tp] = (self._next[tp] + increment) % SEQUENCE_MAX


def fencing(producer: Any) -> Any:
    """The producer, which from now on writes a batch under the fence that `fenced` gave it."""
    if producer is None:
        return None
    accumulator = producer._message_accumulator
    if getattr(accumulator, "railclear_fencing", False):
        return producer
    pop = accumulator._pop_batch

    def popped(tp: TopicPartition) -> Any:
        fence = getattr(accumulator._batches[tp][0]._builder, "railclear_fence", None)
        if fence is None:
            return pop(tp)
        own, accumulator._txn_manager = accumulator._txn_manager, fence
        try:
            return pop(tp)
        finally:
            accumulator._txn_manager = own

    accumulator._pop_batch, accumulator.railclear_fencing = popped, True
    return producer


def patient(producer: Any) -> Any:
    """A transactional producer that looks for its coordinator again when the broker that it has asked dies before it answers. aiokafka tries again on
    every other such error and gives up on this one, in the middle of a transaction too."""
    look_up = producer.client.coordinator_lookup

    async def looked_up(kind: Any, key: str) -> Any:
        try:
            return await look_up(kind, key)
        except KafkaConnectionError as error:
            raise NodeNotReadyError from error

    producer.client.coordinator_lookup = looked_up
    return producer


def fenced(builder: Any, fence: Fence | None) -> Any:
    """A producer batch that will be written under this fence, whoever has the lane when it leaves."""
    if fence is not None:
        builder.railclear_fence = fence
    return builder


class Claims:
    """Claims of one process: one client for all its lanes."""

    def __init__(self, settings: Callable[[], Mapping[str, Any]]) -> None:
        self._settings = settings
        self._client: Any = None
        self._starting = asyncio.Lock()

    async def claim(self, name: str, partitions: Sequence[TopicPartition], *, seconds_max: float) -> Fence:
        """Take over what is written under a name. Raises Refuses (no right to), TimeoutError (with what it waited for), KafkaError."""
        try:
            return await self._until(f"the claim of {name}", lambda: self._claim(name, partitions), (*_LOST, *_BUSY, *OVERTAKEN), seconds_max)
        except TransactionalIdAuthorizationFailed as error:
            raise Refuses(f"WRITE on transactional id {name} is not granted: a former owner of its partitions could not be shut out") from error
        except TopicAuthorizationFailedError as error:
            raise Refuses(f"WRITE on {', '.join(sorted({tp.topic for tp in partitions}))} is not granted") from error

    async def touch(self, name: str, fence: Fence, group: str, *, seconds_max: float) -> None:
        """Let the coordinator see that a claim still stands: an aborted transaction on the group's offsets, in which there are none.

        Epoch and sequence numbers stay, the state gets no marker, and what is in flight is not touched; a claim that another one has followed
        is refused. Raises one of OVERTAKEN then, TimeoutError, KafkaError.
        """
        await self._until(f"touching {name}", lambda: self._touch(name, fence, group), (*_LOST, *_BUSY), seconds_max)

    async def _until(self, what: str, ask: Callable[[], Awaitable[T]], again: tuple[type[KafkaError], ...], seconds_max: float) -> T:
        """The answer, asked for again as long as the coordinator is away or busy."""
        waits, begun = "", boot_clock()
        try:
            async with asyncio.timeout(seconds_max):
                while True:
                    try:
                        return await ask()
                    except again as error:
                        if waits != (waits := repr(error)) or boot_clock() - begun > SAID_EVERY_S:
                            begun = boot_clock()
                            log.info("%s waits: %r", what, error)
                        await asyncio.sleep(AWAY_S if isinstance(error, _LOST) else AGAIN_S)
        except TimeoutError as error:
            raise TimeoutError(f"{what} is not granted in {seconds_max:.0f} s; the last answer: {waits or 'none'}") from error

    async def _touch(self, name: str, fence: Fence, group: str) -> None:
        client = await self._connected()
        await self._ask(client, name, AddOffsetsToTxnRequest(name, fence.producer_id, fence.producer_epoch, group), again=BUSY_MAX)
        await self._ask(client, name, EndTxnRequest(name, fence.producer_id, fence.producer_epoch, False), again=BUSY_MAX)

    async def _claim(self, name: str, partitions: Sequence[TopicPartition]) -> Fence:
        client = await self._connected()
        topics = defaultdict[str, list[int]](list)
        for tp in partitions:
            topics[tp.topic].append(tp.partition)
        mine = Fence(*await self._identity(client, name), tuple(topics))
        if not partitions:
            return mine
        await self._ask(client, name, AddPartitionsToTxnRequest(name, mine.producer_id, mine.producer_epoch, list(topics.items())), again=BUSY_MAX)
        await self._ask(client, name, EndTxnRequest(name, mine.producer_id, mine.producer_epoch, False), again=BUSY_MAX)
        # Answered only when every marker is written (CONCURRENT_TRANSACTIONS until then).
        return Fence(*await self._identity(client, name), tuple(topics))

    async def _identity(self, client: Any, name: str) -> tuple[int, int]:
        answer = await self._ask(client, name, InitProducerIdRequest(name, TRANSACTION_TIMEOUT_MS), again=BUSY_MAX)
        return answer.producer_id, answer.producer_epoch

    async def _ask(self, client: Any, name: str, request: Any, *, again: int) -> Any:
        """The coordinator's answer; a busy one is asked `again` times before it is looked for anew. Raises KafkaError."""
        node = await client.coordinator_lookup(CoordinationType.TRANSACTION, name)
        if not await client.ready(node, group=ConnectionGroup.COORDINATION):
            raise NodeNotReadyError
        while True:
            answer = await client.send(node, request, group=ConnectionGroup.COORDINATION)
            codes = [code for _, parts in answer.errors for _, code in parts] if hasattr(answer, "errors") else [answer.error_code]
            wrong = [for_code(code) for code in codes if code]
            if not wrong:
                return answer
            again -= 1
            if again < 0 or not all(issubclass(error, _BUSY) for error in wrong):
                raise next((error for error in wrong if not issubclass(error, _BUSY)), wrong[0])()
            await asyncio.sleep(AGAIN_S)

    async def _connected(self) -> Any:
        async with self._starting:
            if self._client is None:
                settings = self._settings()
                client = AIOKafkaClient(request_timeout_ms=REQUEST_MS, **{k: settings[k] for k in CLIENT_SETTINGS if settings.get(k) is not None})
                try:
                    await client.bootstrap()
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client

    async def close(self) -> None:
        """Free the connections; a later claim makes them anew."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
