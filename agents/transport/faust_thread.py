"""aiokafka's consumer in Faust's thread: heartbeats and lease, fetches tied to their assignment, positions, leaving the group."""
# Faust's interfaces do not declare what its drivers have, and aiokafka has no types: they are Any here.
# mypy: disable-error-code="misc, no-untyped-call, no-any-return, attr-defined"
from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import NoOffsetForPartitionError, UnknownMemberIdError
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver

from agents.transport.fatal import Refuses, fatal
from agents.transport.hub import hub_of
from agents.transport.lane import BACKLOG_RECORDS_MAX, boot_clock
from agents.transport.light import read_lightly
from agents.transport.origin import Bounds
from agents.transport.stop import in_time

log = logging.getLogger(__name__)

LEASE_MARGIN_S = 2.0
LEAVE_S = 2.0
"""How long a dying process waits for the broker to let its member go."""
ON_THE_WAY_S = 0.3
"""What is already in a socket reaches the broker before anybody else is given our partitions."""


class Thread(driver.AIOKafkaConsumerThread):
    """Runs aiokafka's consumer and its heartbeats in a thread of its own, so a handler that blocks does not lose the membership."""

    app: Any
    beat = 0.0
    """When the last good heartbeat (or join) was *sent*, boot clock."""
    thread_ident = 0

    async def on_start(self) -> None:
        self.thread_ident = threading.get_ident()
        await super().on_start()
        if (fetcher := getattr(self._consumer, "_fetcher", None)) is not None:
            read_lightly(fetcher)
        coordinator = getattr(self._consumer, "_coordinator", None)
        if coordinator is None or self.app.client_only:
            return
        send = coordinator._do_heartbeat

        async def heartbeat() -> bool:
            sent, member = boot_clock(), coordinator.member_id
            good = await send()
            # Good is also the answer while a rebalance is under way: the broker still counts us as the owner then.
            if good:
                self.beat = sent
            elif member and not coordinator.member_id and self.app.conf.consumer_group_instance_id:
                self._replaced()
            return good

        commit = coordinator._do_commit_offsets

        async def commit_offsets(assignment: Any, offsets: Any) -> None:
            try:
                await commit(assignment, offsets)
            except UnknownMemberIdError:  # it may hear of it here before the next heartbeat, and would join again
                if self.app.conf.consumer_group_instance_id:
                    self._replaced()
                raise

        def push(error: Exception) -> Awaitable[Any]:
            # aiokafka's coordinator now waits until a fetch takes the error, and a member without partitions fetches nothing: it would wait for ever.
            self._ends(f"no part in group {coordinator.group_id}", error)
            return pushed(error)

        pushed = coordinator._push_error_to_user
        coordinator._do_heartbeat, coordinator._do_commit_offsets, coordinator._push_error_to_user = heartbeat, commit_offsets, push

    def _ends(self, why: str, error: BaseException) -> None:
        """The process ends from its main thread, which can still ask this one to leave the group."""
        self.parent_loop.call_soon_threadsafe(fatal, why, error)

    async def crash(self, exc: BaseException) -> None:
        """Faust would stop step by step, and some steps wait for answers from this thread."""
        self._ends("the consumer's thread", exc)
        await super().crash(exc)

    async def on_thread_stop(self) -> None:
        """aiokafka leaves the group before its consumer stops, and waits for the answer: with brokers away, not for long."""
        await in_time(super().on_thread_stop(), "the consumer does not stop")

    def _replaced(self) -> None:
        """The broker no longer knows this static member. Joining again would throw out whoever has the name now, and so on for ever."""
        instance = self.app.conf.consumer_group_instance_id
        if self.lease():
            fatal("membership", Refuses(f"member {instance} was removed from the group, or another process runs under this name"))
        fatal(f"member {instance} was away for longer than its session: start anew")

    def leave(self) -> None:
        """Called by a dying process: dynamic members go at once, static ones stay for their restart. Bounded in time."""
        consumer = getattr(self, "_consumer", None)
        coordinator = getattr(consumer, "_coordinator", None)
        if coordinator is None or threading.get_ident() == self.thread_ident or self.app.conf.consumer_group_instance_id or not coordinator.member_id:
            return
        time.sleep(ON_THE_WAY_S)
        request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
        asyncio.run_coroutine_threadsafe(coordinator._send_req(request), self.thread_loop).result(LEAVE_S)

    def lease(self) -> bool:
        """Still surely a member? False: paused or cut off so long that the broker may have given our partitions away."""
        return boot_clock() - self.beat < self.app.conf.broker_session_timeout - LEASE_MARGIN_S

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = hub_of(self.app).fetch_wait_ms  # Faust hard-codes 1500
        consumer._isolation_level = "read_committed"  # a stage upstream may write in transactions; costs nothing otherwise
        return consumer

    async def fetch(
        self, want: Mapping[TopicPartition, int], assignment: Any, timeout: float
    ) -> tuple[Mapping[Any, Any], Mapping[Any, tuple[int, int]]]:
        """Records per wanted partition, at most so many of it, and (position, high water) of each.

        aiokafka's fetched_records waits through a rebalance and then returns records of the NEW assignment, its position already moved
        past them. So every fetch is tied to the assignment it was asked for; otherwise the position is put back. There is no await
        between the return and the check.
        """
        consumer = self._ensure_consumer()
        if consumer._subscription.subscription.assignment is not assignment:
            return {}, {}
        try:
            records = await self._fetched_before(consumer, want, assignment) or await self._fetch_records(
                consumer, set(want), timeout=timeout, max_records=min(consumer._max_poll_records, *want.values()))
        except NoOffsetForPartitionError:
            # A fetch that outlived a rebalance: nothing of the new assignment's partition is committed and its lane has not chosen a
            # beginning yet. The lane's seek clears it; while the assignment is the one asked for, its lanes have sought and this is wrong.
            if consumer._subscription.subscription.assignment is assignment:
                raise
            return {}, {}
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

    async def _fetched_before(self, consumer: Any, want: Mapping[TopicPartition, int], assignment: Any) -> dict[TopicPartition, Any]:
        """What waits here already, each partition up to its own bound; nothing when the broker must be waited for.

        Once something is taken, this does not wait and does not fail: its position has moved, so it must be handed over. A rebalance or an
        error of another partition is met by the next call.
        """
        found: dict[TopicPartition, Any] = {}
        fetcher, taken = consumer._fetcher, 0
        for tp in [tp for tp in fetcher._records if tp in want]:
            if found and (fetcher._subscriptions.reassignment_in_progress or type(fetcher._records.get(tp)) is not FetchResult):
                break
            found.update(await self._fetch_records(consumer, {tp}, timeout=0, max_records=want[tp]))
            taken += len(found.get(tp, ()))
            if taken >= BACKLOG_RECORDS_MAX or consumer._subscription.subscription.assignment is not assignment:
                break
        return found

    async def bounds(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Committed offset, beginning and end of each; three requests for all."""
        consumer, wanted = self._ensure_consumer(), list(partitions)
        known = await consumer._coordinator.fetch_committed_offsets(wanted)
        begins, ends = await consumer.beginning_offsets(wanted), await consumer.end_offsets(wanted)
        committed = {tp: found.offset for tp, found in known.items() if found.offset >= 0}
        return {tp: Bounds(committed.get(tp), begins[tp], ends[tp]) for tp in wanted}

    async def seek_to(self, tp: TopicPartition, offset: int, assignment: Any) -> None:
        """Set the position, if the partition is still ours from the same assignment."""
        consumer = self._ensure_consumer()
        if consumer._subscription.subscription.assignment is assignment:
            consumer.seek(tp, offset)
