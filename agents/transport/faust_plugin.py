"""The batch transport as a Faust transport: its consumer, producer, tables and transport in place of those of faust-streaming 0.15.3.

What is overridden and why is measured in the design notes: stock Faust acknowledges at fetch time, commits over gaps, forgets acks
before the commit of a revoke and restarts agents that failed. Its consumer's thread is overridden in faust_thread.py, its worker's stop in stop.py. Of aiokafka
0.14.0 single methods are replaced in light.py (reading), apart.py, guard.py and claim.py (sending). tests/agents/test_transport_contract.py pins each private
name that any of them uses.
"""
# Faust's interfaces do not declare what its drivers have, and aiokafka has no types: they are Any here, and only here.
# mypy: disable-error-code="misc, no-untyped-call, no-any-return, attr-defined"
from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NoReturn

from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import TopicPartition
from faust.tables.manager import TableManager
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage
from mode import Service

from agents.transport.apart import apart
from agents.transport.batch import BATCH_RECORDS_MAX, Batch
from agents.transport.census import CENSUS_EAGER_S, CENSUS_S, Observer, TopicSeen
from agents.transport.claim import Claims, Fence, fencing
from agents.transport.fatal import REFUSALS, Refuses, before_exit, fatal
from agents.transport.faust_thread import Thread
from agents.transport.flow import START_TIMEOUT_S, Flow, Work
from agents.transport.guard import Guard
from agents.transport.hub import hub_of
from agents.transport.keeper import Keeper
from agents.transport.lane import Lane, boot_clock
from agents.transport.origin import Bounds
from agents.transport.stop import in_time
from agents.transport.watch import Watch

log = logging.getLogger(__name__)

SCHEME = "railclear"
DRAIN_S = 5.0
"""How long a rebalance waits for batches in flight."""
COMMIT_TIMEOUT_S = 10.0
COMMIT_FAILING_S = 20.0
TOPICS_S = 120.0
"""A broker that has not described its topics by then will not; the process ends."""
ALERT_S = 5.0
RESTORES_MAX = 16
SNAPSHOTS_AT_EXIT_S = 10.0
TOUCH_LOOK_S = 60.0
TURN_S = 0.25
"""Ticks: how often a lane is asked whether something is due."""
TURN_PRESSING_S = 0.1
"""While a sweep is under way: one slice per lane and 100 ms."""

TRANSPORTS.aliases[SCHEME] = "agents.transport.faust_plugin:Transport"


class Tables(TableManager):
    """None are used, and the second that Faust waits at the start for more to be declared would be waited for at every failover."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class Consumer(driver.Consumer):
    """One event per (partition, fetch); commits only what was acknowledged, in order, never beyond. Is the `Link` of its flows."""

    app: Any
    _thread: Thread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hub = hub_of(self.app)
        self.committing = asyncio.Lock()
        self.guard = Guard(self.lease)
        self.failing_since = 0.0
        self.group: str = self.app.conf.id
        self.observer = Observer(self.client_settings, self.group)
        self.watch = Watch()
        self._seen: asyncio.Future[Mapping[str, TopicSeen]] | None = None
        self.restoring = asyncio.Semaphore(RESTORES_MAX)
        self.long_work = asyncio.Lock()
        self.claims = Claims(self.client_settings)
        self._given_up: list[tuple[str, TopicPartition]] = []
        """Stage and partition of the lanes that were given up last."""
        self._dropping: set[asyncio.Future[None]] = set()
        self._bounds: asyncio.Future[Mapping[TopicPartition, Bounds]] | None = None

    def _new_consumer_thread(self) -> Thread:
        thread = Thread(self, loop=self.loop, beacon=self.beacon)
        before_exit(thread.leave)
        return thread

    # -- Link --------------------------------------------------------------------------------------------------------------
    def client_settings(self) -> Mapping[str, Any]:
        producer = self.app.producer
        return {"bootstrap_servers": producer._settings_default()["bootstrap_servers"], **producer._settings_auth()}

    def producer_settings(self) -> Mapping[str, Any]:
        producer = self.app.producer
        settings = {**producer._settings_default(), **producer._settings_auth(), **producer._settings_extra()}
        return {**settings, "retry_backoff_ms": self.hub.transaction_retry_ms}

    def producer(self) -> Any:
        return fencing(self.guard.over(apart(self.app.producer._producer)))

    def lease(self) -> bool:
        return self._thread.lease()

    def wake(self) -> None:
        self.hub.wake.set()

    @property
    def keeper(self) -> Keeper:
        return self.hub.keeper

    async def bounds_of(self, tp: TopicPartition, anew: bool) -> Bounds:
        if anew or self._bounds is None:
            found: Mapping[TopicPartition, Bounds] = await self._thread.call_thread(self._thread.bounds, [tp])
            return found[tp]
        return (await asyncio.shield(self._bounds))[tp]

    async def known_topics(self) -> Mapping[str, TopicSeen]:
        assert self._seen is not None, "partitions were assigned"
        return await asyncio.shield(self._seen)

    async def _look_at_topics(self) -> Mapping[str, TopicSeen]:
        return await self.observer.topics(self.hub.known_topics(), TOPICS_S)

    async def claim(self, name: str, partitions: Sequence[TopicPartition]) -> Fence:
        async with self.restoring:
            return await self.claims.claim(name, partitions, seconds_max=START_TIMEOUT_S)

    async def touch(self, name: str, fence: Fence) -> None:
        await self.claims.touch(name, fence, self.group, seconds_max=START_TIMEOUT_S)

    async def seek_lane(self, lane: Lane, offset: int) -> None:
        await self._thread.call_thread(self._thread.seek_to, lane.tp, offset, lane.assignment)

    # -- input ---------------------------------------------------------------------------------------------------------------
    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Any]]:
        if not self.flow_active:
            self.hub.flow_started_at = 0.0
            await self.wait(self.can_resume_flow.wait())
        if self.should_stop:
            return
        self.hub.flow_started_at = self.hub.flow_started_at or boot_clock()
        lanes: dict[Any, Lane] = dict(self.hub.lanes)
        want = {tp: lane.room(BATCH_RECORDS_MAX) for tp, lane in lanes.items() if lane.wants}
        if not want:  # an empty set would mean "all partitions" to aiokafka
            await self._pause()
            return
        assignment = lanes[next(iter(want))].assignment
        # While some lane lacks room, do not sit in a long fetch: its acknowledgement should let it read soon. One that is held can wait.
        wait = timeout if len(want) + sum(lane.held for lane in lanes.values()) >= len(lanes) else 0.02
        try:
            records, marks = await self._thread.call_thread(self._thread.fetch, want, assignment, wait)
        except OffsetOutOfRangeError as error:
            # Kafka's usual answer is to go on at the beginning of the log: what was deleted would be skipped without a word. The next process looks at
            # the offsets and refuses if anything is missing. It ends here and not in the thread, which can then still leave the group.
            fatal("the log does not have the offset that comes next", error)
        for tp, (position, highwater) in marks.items():
            lane = lanes[tp]
            lane.progress.position, lane.progress.highwater = position, highwater
            if tp not in records and not lane.pending and lane.flow is not None and self.hub.lanes.get(tp) is lane:
                await lane.flow.rest(self, lane, position)
        for tp, fetched in records.items():
            lane = lanes[tp]
            if not fetched or lane.closing or self.hub.lanes.get(tp) is not lane:
                continue  # revoked: the next owner reads it
            last = fetched[-1]
            lane.deliver(last.offset + 1, len(fetched))
            yield tp, ConsumerMessage(
                last.topic, last.partition, last.offset, last.timestamp / 1000, 0, None, None, fetched,
                None, 0, 0, tp, generation_id=lane.generation,
            )  # fmt: skip

    async def _pause(self) -> None:
        self.hub.wake.clear()
        try:
            async with asyncio.timeout(0.1):
                await self.hub.wake.wait()
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
                self.failing_since = 0.0
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
        self.failing_since = 0.0        # of other lanes, in a generation that is over
        self.watch.anew()
        self._seen = asyncio.ensure_future(self._look_at_topics())
        self._bounds = asyncio.ensure_future(self._thread.call_thread(self._thread.bounds, list(assigned))) if assigned else None
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
            self.keeper.back(lane.flow, lane)
            lane.delivered_at = lane.progress.ready_at = boot_clock()
            self.hub.wake.set()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, a lane that cannot be restored ends the process
            if lane.open and not self.app.should_stop and self.hub.lanes.get(lane.tp) is lane:
                await self.end(lane, f"restore {lane.tp}", error)

    async def end(self, lane: Lane, why: str, error: Exception) -> NoReturn:
        """A lane cannot go on, and so the process ends. Of what no restart mends people are told first: a state that cannot be read shows itself
        only when its key is touched, in a batch or a tick as likely as in a restore."""
        if isinstance(error, REFUSALS):
            await self._alert(f"{lane.tp.topic}/{lane.tp.partition}", str(error))
        fatal(why, error)

    async def _alert(self, where: str, why: str) -> None:
        """Tell people before the process ends; the refusal itself does not depend on it."""
        if self.hub.alert is None:
            return
        try:
            async with asyncio.timeout(ALERT_S):
                send = self.hub.alert(where, why)
                await self.producer().send_and_wait(send.topic, send.value, key=send.key)
        except Exception as error:  # noqa: BLE001  whatever it is, the process must still end
            log.warning("the alert of the refusal is not sent: %r", error)

    async def quiesce(self) -> None:
        """Let batches in flight finish, commit, then close the lanes for good."""
        lanes = list(self.hub.lanes.values())
        for lane in lanes:
            lane.closing = True
        end = boot_clock() + DRAIN_S
        while any(lane.in_flight or lane.queued for lane in lanes) and boot_clock() < end and not self.guard.held:
            await asyncio.sleep(0.005)
        if self.guard.held:
            fatal("the membership ended while batches waited for it: unsent they are the new owner's work")
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self.commit()
        except TimeoutError:
            log.warning("the commit before giving partitions up timed out: their last batches are read again")
        for lane in lanes:
            lane.open = False
        self.hub.lanes.clear()
        if lanes:
            self._given_up = [(lane.flow.name, lane.tp) for lane in lanes if lane.flow is not None]
            log.info("%d partitions given up, %d of them kept for their return", len(lanes), sum(self.keeper.keep(lane) for lane in lanes))
        for lane in lanes:
            if lane.task is not None:
                lane.task.cancel()
            if lane.flow is not None:
                dropping = asyncio.ensure_future(lane.flow.drop(lane))
                self._dropping.add(dropping)
                dropping.add_done_callback(self._dropping.discard)

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        await self.quiesce()
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        await self.quiesce()
        if self.keeper.directory is not None:
            try:
                async with asyncio.timeout(SNAPSHOTS_AT_EXIT_S):
                    await asyncio.gather(*(self.keeper.write_kept(stage, tp) for stage, tp in self._given_up))
            except TimeoutError:
                log.warning("not all snapshots could be written in %.0f s", SNAPSHOTS_AT_EXIT_S)
        self.observer.close()
        await self.claims.close()
        # Faust commits once more: there is nothing, but a commit that was under way before may wait for a broker, and this one for that.
        await in_time(super().on_stop(), "a commit is not answered")

    # -- background ------------------------------------------------------------------------------------------------------------
    @Service.task
    async def _watchdog(self) -> None:
        while not self.should_stop:
            await self.sleep(1.0)
            complaint = self.hub.complaint()
            if complaint is not None and not self.should_stop:
                fatal(complaint)
            self.keeper.forget()

    @Service.task
    async def _census(self) -> None:
        """Who owns the wanted partitions, and are the topics still those that were read at the start?"""
        while not self.should_stop:
            found = await self.observer.census(self.hub.wanted_topics(), self.hub.known_topics())
            if found is None:
                self.watch.anew()
            else:
                self.hub.census, seen = found
                await self._same_topics(seen)
            await self.sleep(CENSUS_EAGER_S if self.hub.unowned() else CENSUS_S)

    async def _same_topics(self, seen: Mapping[str, TopicSeen]) -> None:
        if self._seen is None or not self._seen.done() or self._seen.cancelled() or self._seen.exception() is not None:
            return
        if (wrong := self.watch.wrong(self._seen.result(), seen, self.hub.flows)) is not None:
            name, error = wrong
            await self._alert(name, str(error))
            fatal("topics", error)

    @Service.task
    async def _snapshots(self) -> None:
        """One lane after the other, so that at most one waits for its publication."""
        while not self.should_stop:
            await self.sleep(1.0)
            for lane in list(self.hub.lanes.values()):
                if self.keeper.due(lane) and not self.should_stop:
                    await self.keeper.hold_and_write(lane)

    @Service.task
    async def _touches(self) -> None:
        """Claims that have stood for long, one after the other."""
        while not self.should_stop:
            await self.sleep(TOUCH_LOOK_S)
            for lane in list(self.hub.lanes.values()):
                if lane.flow is not None and lane.ready and not lane.closing and boot_clock() > lane.touch_at:
                    await lane.flow.touch(self, lane)

    @Service.task
    async def _turns(self) -> None:
        """Ticks and sweeps, lane by lane, with the loop free in between so that a fresh batch never waits for more than one slice."""
        while not self.should_stop:
            pressing = False
            for lane in list(self.hub.lanes.values()):
                if lane.flow is not None and lane.work is not None:
                    pressing = await self._turn(lane.flow, lane, lane.work) or pressing
                    await asyncio.sleep(0)
            await self.sleep(TURN_PRESSING_S if pressing else TURN_S)

    async def _turn(self, flow: Flow, lane: Lane, work: Work) -> bool:
        """One slice; True while more of it presses. What it raises ends the process as a batch does: a service of Faust's that raises stops the worker
        step by step, and its lanes would be kept and written down as they are."""
        try:
            await flow.turn(self, lane)
            return work.pressing
        except Exception as error:  # noqa: BLE001  whatever it is, the key that raised was not stepped
            await self.end(lane, f"tick or sweep of {lane.tp}", error)


class Producer(driver.Producer):
    """Acknowledged by all in-sync replicas and idempotent, in at-least-once mode too."""

    async def flush(self) -> None:
        """Faust waits at its end for all that was sent, however long brokers are away. Nothing of it is acknowledged yet: it is made again."""
        await in_time(super().flush(), "the producer is not empty")

    async def on_stop(self) -> None:
        await in_time(super().on_stop(), "the producer has not stopped")

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

    working: set[asyncio.Future[None]] = set()

    async def batch(lane: Lane, message: Any) -> None:
        try:
            await flow.batch(app.consumer, lane, Batch(message.topic, message.partition, message.value))
        except Exception as error:  # noqa: BLE001  whatever it is, nothing of this batch may count as done
            await app.consumer.end(lane, f"agent {flow.name}", error)

    async def work(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            lane = hub.lanes.get(message.tp)
            if lane is None or lane.closing or lane.generation != message.generation_id:
                continue  # given up: the next owner reads it
            # A task per batch: a lane whose work or output stalls keeps its own records waiting and nobody else's. The lane's lock
            # is taken in the order of these tasks, and its credit bounds their number.
            lane.queued += 1
            task = asyncio.ensure_future(batch(lane, message))
            working.add(task)
            task.add_done_callback(working.discard)
            await asyncio.sleep(0)

    return app.agent(channel, name=f"railclear.{flow.name}")(work)
