"""The batch transport as a Faust transport: every override of faust-streaming 0.15.3 and aiokafka 0.14.0 is in this file.

What is overridden and why is measured in the design notes: stock Faust acknowledges at fetch time, commits over gaps, forgets acks
before the commit of a revoke and restarts agents that failed. tests/agents/test_transport_contract.py pins each private name used here.
"""
# Faust's interfaces do not declare what its drivers have, and aiokafka has no types: they are Any here, and only here.
# mypy: disable-error-code="misc, no-untyped-call, no-any-return, attr-defined"
from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka.structs import TopicPartition
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage
from mode import Service

from agents.transport.batch import Batch
from agents.transport.fatal import Refuses, fatal
from agents.transport.flow import Flow
from agents.transport.hub import Hub
from agents.transport.lane import Lane, boot_clock

log = logging.getLogger(__name__)

SCHEME = "railclear"
DRAIN_S = 5.0
"""How long a rebalance waits for batches in flight."""
COMMIT_TIMEOUT_S = 10.0
COMMIT_FAILING_S = 20.0
LEASE_MARGIN_S = 2.0
TURN_S = 0.25
"""Ticks: how often a lane is asked whether something is due."""
TURN_PRESSING_S = 0.1
"""While a sweep is under way: one slice per lane and 100 ms."""

TRANSPORTS.aliases[SCHEME] = "agents.transport.faust_plugin:Transport"


def hub_of(app: Any) -> Hub:
    """The hub of a Faust app, made on first use."""
    hub = getattr(app, "railclear_hub", None)
    if hub is None:
        hub = app.railclear_hub = Hub()
    return hub


class Thread(driver.AIOKafkaConsumerThread):
    """Runs aiokafka's consumer and its heartbeats in a thread of its own, so a handler that blocks does not lose the membership."""

    app: Any
    beat = 0.0
    """When the last good heartbeat (or join) was *sent*, boot clock."""

    async def on_start(self) -> None:
        await super().on_start()
        coordinator = getattr(self._consumer, "_coordinator", None)
        if coordinator is None or self.app.client_only:
            return
        send = coordinator._do_heartbeat

        async def heartbeat() -> bool:
            sent = boot_clock()
            good = await send()
            # Good is also the answer while a rebalance is under way: the broker still counts us as the owner then.
            if good:
                self.beat = sent
            return good

        coordinator._do_heartbeat = heartbeat

    def lease(self) -> bool:
        """Still surely a member? False: paused or cut off so long that the broker may have given our partitions away."""
        return boot_clock() - self.beat < self.app.conf.broker_session_timeout - LEASE_MARGIN_S

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = hub_of(self.app).fetch_wait_ms  # Faust hard-codes 1500
        consumer._isolation_level = "read_committed"  # a stage upstream may write in transactions; costs nothing otherwise
        return consumer

    async def fetch(self, want: set[TopicPartition], assignment: Any, timeout: float) -> tuple[Mapping[Any, Any], Mapping[Any, tuple[int, int]]]:
        """Records per partition, and (position, high water) of the wanted ones.

        aiokafka's fetched_records waits through a rebalance and then returns records of the NEW assignment, its position already moved
        past them. So every fetch is tied to the assignment it was asked for; otherwise the position is put back. There is no await
        between the return and the check.
        """
        consumer = self._ensure_consumer()
        if consumer._subscription.subscription.assignment is not assignment:
            return {}, {}
        records = await self._fetch_records(consumer, want, timeout=timeout, max_records=consumer._max_poll_records)
        if consumer._subscription.subscription.assignment is not assignment:
            for tp, fetched in records.items():
                consumer.seek(tp, fetched[0].offset)
            return {}, {}
        marks = {}
        for tp in want:
            state = assignment.state_value(tp)
            if state is not None and state.has_valid_position and state.highwater is not None:
                marks[tp] = (state.position, state.highwater)
        return records, marks

    async def rewind(self, tp: TopicPartition) -> None:
        """In the consumer's thread: read the committed offset anew and go on from there."""
        consumer = self._ensure_consumer()
        offset = await consumer.committed(tp)
        if offset:
            consumer.seek(tp, offset)


class Consumer(driver.Consumer):
    """One event per (partition, fetch); commits only what was acknowledged, in order, never beyond. Is the `Link` of its flows."""

    app: Any
    _thread: Thread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hub = hub_of(self.app)
        self.committing = asyncio.Lock()
        self.failing_since = 0.0
        self.group: str = self.app.conf.id

    def _new_consumer_thread(self) -> Thread:
        return Thread(self, loop=self.loop, beacon=self.beacon)

    # -- Link --------------------------------------------------------------------------------------------------------------
    def client_settings(self) -> Mapping[str, Any]:
        producer = self.app.producer
        return {"bootstrap_servers": producer._settings_default()["bootstrap_servers"], **producer._settings_auth()}

    def producer_settings(self) -> Mapping[str, Any]:
        producer = self.app.producer
        return {**producer._settings_default(), **producer._settings_auth(), **producer._settings_extra()}

    def producer(self) -> Any:
        return self.app.producer._producer

    def lease(self) -> bool:
        return self._thread.lease()

    def wake(self) -> None:
        self.hub.wake.set()

    async def rewind(self, tp: TopicPartition) -> None:
        await self._thread.call_thread(self._thread.rewind, tp)

    # -- input ---------------------------------------------------------------------------------------------------------------
    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Any]]:
        if not self.flow_active:
            self.hub.flow_started_at = 0.0
            await self.wait(self.can_resume_flow.wait())
        if self.should_stop:
            return
        self.hub.flow_started_at = self.hub.flow_started_at or boot_clock()
        lanes: dict[Any, Lane] = dict(self.hub.lanes)
        want = {tp for tp, lane in lanes.items() if lane.wants}
        if not want:  # an empty set would mean "all partitions" to aiokafka
            await self._pause()
            return
        assignment = lanes[next(iter(want))].assignment
        # While some lane lacks room, do not sit in a long fetch: its acknowledgement should let it read soon.
        wait = timeout if len(want) == len(lanes) else 0.02
        records, marks = await self._thread.call_thread(self._thread.fetch, want, assignment, wait)
        for tp, (position, highwater) in marks.items():
            lanes[tp].progress.position, lanes[tp].progress.highwater = position, highwater
        for tp, fetched in records.items():
            lane = lanes[tp]
            if not fetched or lane.closing or self.hub.lanes.get(tp) is not lane:
                continue  # revoked: the next owner reads it
            last = fetched[-1]
            lane.deliver(last.offset + 1, len(fetched))
            yield tp, ConsumerMessage(
                last.topic, last.partition, last.offset, last.timestamp / 1000, last.timestamp_type, None, None, fetched,
                None, 0, 0, tp, generation_id=lane.generation,
            )  # fmt: skip

    async def _pause(self) -> None:
        self.hub.wake.clear()
        try:
            await asyncio.wait_for(self.hub.wake.wait(), 0.1)
        except TimeoutError:
            pass

    async def perform_seek(self) -> None:
        """Faust seeks at odd moments; a new assignment starts at the committed offsets anyway."""
        self._read_offset.clear()

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Gaps are the lanes' business."""

    # -- acknowledgements and commits ----------------------------------------------------------------------------------------
    def ack(self, message: Any) -> bool:
        """Faust's own acknowledgement means nothing here: lanes acknowledge when everything is durable."""
        return False

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit the contiguous acknowledged prefix of every open lane. Needs no flush: an acknowledged batch is acked by all replicas."""
        async with self.committing:
            todo = {
                tp: lane
                for tp, lane in self.hub.lanes.items()
                if lane.open and lane.next is not None and lane.next != lane.committed and not (lane.flow and lane.flow.exactly_once)
            }
            if not todo:
                return False
            offsets: dict[Any, Any] = {tp: lane.next for tp, lane in todo.items()}
            if await self._commit(offsets):
                for tp, lane in todo.items():
                    lane.committed = offsets[tp]
                self.failing_since = 0.0
                return True
            # "already rebalanced": the revoke that follows drops these lanes.
            self.failing_since = self.failing_since or boot_clock()
            if boot_clock() - self.failing_since > COMMIT_FAILING_S:
                fatal("commit keeps failing")
            return False

    async def on_task_error(self, exc: BaseException) -> None:
        """Faust would restart the agent and skip its event."""
        fatal("agent", exc)

    # -- rebalance -------------------------------------------------------------------------------------------------------------
    async def on_partitions_assigned(self, assigned: set[Any], generation_id: int = 0) -> None:
        """Gated lanes at once, their restore in the background: no heartbeat is sent until this returns."""
        assignment = self._thread._ensure_consumer()._subscription.subscription.assignment
        self._thread.beat = boot_clock()
        self.hub.generation = generation_id
        self.hub.rebalances += 1
        for tp in assigned:
            lane = self.hub.lanes[tp] = Lane(tp, generation_id, self.hub.flows.get(tp.topic))
            lane.assignment = assignment
            lane.task = asyncio.ensure_future(self._prepare(lane))
        await super().on_partitions_assigned(assigned, generation_id)

    async def _prepare(self, lane: Lane) -> None:
        try:
            if lane.flow is None:
                raise Refuses(f"no flow reads {lane.tp.topic}: ordinary Faust agents cannot run on this transport")
            await lane.flow.prepare(self, lane)
            lane.ready = True
            lane.delivered_at = lane.progress.ready_at = boot_clock()
            self.hub.wake.set()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, a lane that cannot be restored ends the process
            if lane.open and not self.app.should_stop and self.hub.lanes.get(lane.tp) is lane:
                fatal(f"restore {lane.tp}", error)

    async def quiesce(self) -> None:
        """Let batches in flight finish, commit, then close the lanes for good."""
        lanes = list(self.hub.lanes.values())
        for lane in lanes:
            lane.closing = True
        end = boot_clock() + DRAIN_S
        while any(lane.in_flight for lane in lanes) and boot_clock() < end:
            await asyncio.sleep(0.005)
        try:
            await asyncio.wait_for(self.commit(), COMMIT_TIMEOUT_S)
        except TimeoutError:
            log.warning("the commit before giving partitions up timed out: their last batches are read again")
        for lane in lanes:
            lane.open = False
        self.hub.lanes.clear()
        for lane in lanes:
            if lane.task is not None:
                lane.task.cancel()
            if lane.flow is not None:
                self._dropping = asyncio.ensure_future(lane.flow.drop(lane))

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        await self.quiesce()
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        await self.quiesce()
        await super().on_stop()

    # -- background ------------------------------------------------------------------------------------------------------------
    @Service.task
    async def _watchdog(self) -> None:
        while not self.should_stop:
            await self.sleep(1.0)
            complaint = self.hub.complaint()
            if complaint is not None and not self.should_stop:
                fatal(complaint)

    @Service.task
    async def _turns(self) -> None:
        """Ticks and sweeps, lane by lane, with the loop free in between so that a fresh batch never waits for more than one slice."""
        while not self.should_stop:
            pressing = False
            for lane in list(self.hub.lanes.values()):
                if lane.flow is not None and lane.work is not None:
                    await lane.flow.turn(self, lane)
                    pressing = pressing or lane.work.pressing
                    await asyncio.sleep(0)
            await self.sleep(TURN_PRESSING_S if pressing else TURN_S)


class Producer(driver.Producer):
    """Acknowledged by all in-sync replicas and idempotent, in at-least-once mode too."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class Transport(driver.Transport):
    """`broker="railclear://host:port"`."""

    Consumer = Consumer
    Producer = Producer


def register(app: Any, flow: Flow) -> Any:
    """Make a flow an agent of this app. Returns the Faust agent."""
    hub = hub_of(app)
    hub.add(flow)
    channel = app.topic(*flow.topics, key_serializer="raw", value_serializer="raw")

    async def work(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            lane = hub.lanes.get(message.tp)
            if lane is None or lane.closing or lane.generation != message.generation_id:
                continue  # given up: the next owner reads it
            await flow.batch(app.consumer, lane, Batch(message.topic, message.partition, message.value))
            await asyncio.sleep(0)

    return app.agent(channel, name=f"railclear.{flow.name}")(work)
