"""Lanes, publication order, lease, fetch across a rebalance, watchdogs: what must hold whatever the broker does."""
from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NoOffsetForPartitionError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError
from aiokafka.structs import RecordMetadata, TopicPartition

from agents.transport import batch as batch_module
from agents.transport import lane as lane_module
from agents.transport.batch import BULK_SENDS, submit
from agents.transport.claim import Fence
from agents.transport.faust_plugin import register
from agents.transport.faust_thread import Thread
from agents.transport.flow import Flow, Stateless
from agents.transport.hub import NOT_READY_S, STUCK_S, Hub, hub_of
from agents.transport.lane import MAX_INFLIGHT, QUIET_S, Lane
from streams.effects import Ack, PutState, Send, plan

TP = TopicPartition("in", 0)


async def nothing(batch: Any) -> tuple[()]:
    return ()


def flow(name: str = "f", *topics: str) -> Flow:
    return Flow(name, topics or ("in",), lambda tp: Stateless(nothing))


def a_lane() -> Any:
    lane = Lane(TP, 1, flow())
    lane.ready = True
    return lane


async def test_only_the_contiguous_acknowledged_prefix_can_be_committed() -> None:
    lane = a_lane()
    for end in (10, 20, 30):
        lane.deliver(end, 10)
    lane.ack(20)
    assert (lane.next, len(lane.pending)) == (None, 3)
    lane.ack(10)
    assert lane.next == 20
    lane.ack(99)
    assert lane.next == 20
    lane.ack(30)
    assert (lane.next, lane.pending) == (30, {})


async def test_markers_behind_the_last_record_are_done_with_only_when_nothing_is_in_flight() -> None:
    lane = a_lane()
    lane.rest(9)
    assert lane.next is None, "nothing was read here yet"
    lane.deliver(10, 10)
    lane.rest(12)
    assert lane.next is None
    lane.ack(10)
    lane.rest(12)
    assert lane.next == 12
    lane.rest(11)
    assert lane.next == 12


async def test_a_lane_is_clean_only_when_all_that_was_begun_is_durable() -> None:
    ends, lane = Ends(), a_lane()
    assert lane.clean
    lane.queued = 1
    assert not lane.clean
    lane.queued = 0
    lane.deliver(10, 10)
    lane.sure = {"state": 4}
    submit(ends, flow(), lane, EFFECTS)  # type: ignore[arg-type]
    for _ in range(3):
        assert not lane.clean
        await drained(ends)
        await ends.recorder.confirm()
    assert lane.clean
    assert lane.sure == {"state": 5}, "the one record of state lies at offset 4"
    lane.open = False
    submit(ends, flow(), lane, EFFECTS)  # type: ignore[arg-type]
    assert not lane.clean, "work that a closed lane may not publish any more is only in memory"


async def test_our_records_are_sure_only_as_long_as_nobody_else_wrote_between_them() -> None:
    lane = a_lane()
    lane.sure = {"state": 10}
    lane.wrote("state", 10, 3)
    lane.wrote("state", 13, 1)
    assert lane.sure == {"state": 14}
    assert lane.clean
    lane.wrote("state", 15, 2)
    assert (lane.sure, lane.clean, lane.overtaken) == ({"state": 14}, False, True), "a successor's record lies at 14"
    lane = a_lane()
    lane.sure = {"state": 10}
    lane.wrote("state", -1, 3)
    lane.wrote("state", 13, 1)
    assert (lane.clean, lane.overtaken) == (False, False), "the broker had our records already and does not know where any more"
    lane = a_lane()
    lane.sure = {"state": 10}
    lane.flow = Flow("f", ("in",), lambda tp: Stateless(nothing), exactly_once=True)
    lane.wrote("state", 12, 3)
    assert (lane.sure, lane.clean, lane.overtaken) == ({"state": 15}, True, False), "between transactions lie markers, and nobody else can have written"


@pytest.mark.parametrize(("sure", "is_open"), [(0, True), (0, False), (1, True)])
async def test_a_record_of_somebody_else_in_the_state_ends_the_process(monkeypatch: pytest.MonkeyPatch, sure: int, is_open: bool) -> None:
    """The next owner restores what was overtaken and writes it again; this one's memory no longer is what the topic says."""
    said: list[str] = []
    monkeypatch.setattr(batch_module, "fatal", said.append)
    ends, lane = Ends(), a_lane()
    lane.sure = {"state": sure}
    submit(ends, flow(), lane, (PutState("state", 0, ((b"k", b"v"),)),))  # type: ignore[arg-type]
    await drained(ends)
    lane.open = is_open
    await ends.recorder.confirm()                       # it lies at offset 1
    assert said == (["somebody else writes to the state or the revisions of " f"{TP}: the next owner writes again what was overtaken"]
                    if is_open and not sure else [])


async def test_a_lane_is_read_only_while_it_has_room_and_is_ours() -> None:
    lane = a_lane()
    assert lane.wants
    for end in range(1, MAX_INFLIGHT + 1):
        lane.deliver(end, 1)
    assert not lane.wants
    lane.ack(1)
    assert lane.wants
    lane.closing = True
    assert not lane.wants
    lane.closing, lane.ready = False, False
    assert not lane.wants


async def test_a_lane_is_caught_up_at_the_high_water_or_after_a_quiet_while(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = a_lane()
    lane.progress.position, lane.progress.highwater = 5, 9
    assert not lane.caught_up
    lane.progress.position = 9
    assert lane.caught_up
    lane.deliver(10, 1)
    assert not lane.caught_up
    lane.ack(10)
    lane.progress.position = 5
    later = lane_module.boot_clock() + QUIET_S + 1
    monkeypatch.setattr(lane_module, "boot_clock", lambda: later)
    assert lane.caught_up


class Recorder:
    """Stands where aiokafka's producer stands; a test decides when a delivery is confirmed. Kafka itself: tests/integration."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.open: list[asyncio.Future[Any]] = []
        self.offset = 0

    def _future(self, what: str) -> asyncio.Future[Any]:
        self.log.append(what)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.open.append(future)
        return future

    async def partitions_for(self, topic: str) -> set[int]:
        return {0, 1}

    async def send(self, topic: str, value: bytes, **_: Any) -> asyncio.Future[Any]:
        return self._future(topic)

    def create_batch(self) -> Any:
        return SimpleNamespace(append=lambda **_: True)

    async def send_batch(self, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
        return self._future(topic)

    async def confirm(self) -> None:
        waiting, self.open = self.open, []
        for future, topic in zip(waiting, self.log[-len(waiting):] if waiting else (), strict=True):
            self.offset += 1
            future.set_result(RecordMetadata(topic, 0, TopicPartition(topic, 0), self.offset, 0, 0, 0))
        for _ in range(50):
            await asyncio.sleep(0)


class Ends:
    group = "g"

    def __init__(self) -> None:
        self.recorder, self.leased, self.woken = Recorder(), True, 0

    def producer(self) -> Recorder:
        return self.recorder

    def lease(self) -> bool:
        return self.leased

    def wake(self) -> None:
        self.woken += 1


EFFECTS = plan(
    first=[Send("first", b"k", b"v")],
    outputs=[Send("out", b"k", b"v")],
    outcomes=Send("outcomes", b"k", b"v"),
    state=PutState("state", 0, ((b"k", b"v"),)),
    ack=Ack("in", 0, 10),
)


async def drained(ends: Ends) -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_each_group_waits_for_the_one_before_and_the_acknowledgement_for_all() -> None:
    ends, lane = Ends(), a_lane()
    lane.deliver(10, 10)
    submit(ends, flow(), lane, EFFECTS)  # type: ignore[arg-type]
    seen = []
    for _ in range(4):
        await drained(ends)
        seen.append(list(ends.recorder.log))
        await ends.recorder.confirm()
    assert seen == [["first"], ["first", "out", "outcomes"], ["first", "out", "outcomes", "state"], ["first", "out", "outcomes", "state"]]
    assert (lane.next, ends.woken) == (10, 1)


async def test_state_and_revisions_are_written_under_the_lanes_claim_and_nothing_else() -> None:
    class Fences(Recorder):
        """Notes under which claim each batch goes; single records have none."""

        async def partitions_for(self, topic: str) -> set[int]:
            return {0, 1}

        async def send_batch(self, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
            return self._future(f"{topic}/{partition} {getattr(batch, 'railclear_fence', None) is fence}")

    fence = Fence(7, 1, ("state", "status"))
    sends = [Send("out", b"k", b"v"), Send("status", b"k", b"1", 0), Send("status", b"k", b"2", 0)]
    few = plan(outputs=sends, state=PutState("state", 0, ((b"k", b"v"),)))
    many = plan(outputs=sends[1:] + [Send("out", b"k", b"v", 1)] * BULK_SENDS)
    for claimed in (True, False):
        ends, lane = Ends(), a_lane()
        ends.recorder, lane.fence = Fences(), fence if claimed else None
        submit(ends, flow(), lane, few)  # type: ignore[arg-type]
        submit(ends, flow(), lane, many)  # type: ignore[arg-type]
        for _ in range(3):
            await drained(ends)
            await ends.recorder.confirm()
        status = ["status/0 True"] if claimed else ["status", "status"]
        assert ends.recorder.log == ["out", *status, f"state/0 {claimed}", f"status/0 {claimed}", "out/1 False"]


async def test_a_second_batch_is_published_only_after_the_first_is_acknowledged() -> None:
    ends, lane = Ends(), a_lane()
    lane.deliver(10, 10)
    lane.deliver(20, 10)
    submit(ends, flow(), lane, plan(outputs=[Send("one", None, b"")], ack=Ack("in", 0, 10)))  # type: ignore[arg-type]
    submit(ends, flow(), lane, plan(outputs=[Send("two", None, b"")], ack=Ack("in", 0, 20)))  # type: ignore[arg-type]
    await drained(ends)
    assert ends.recorder.log == ["one"]
    await ends.recorder.confirm()
    assert (ends.recorder.log, lane.next) == (["one", "two"], 10)
    await ends.recorder.confirm()
    assert lane.next == 20


async def test_a_turn_is_taken_beside_batches_in_flight_but_one_at_a_time() -> None:
    class Ticking(Stateless):
        def turn(self, caught_up: bool) -> Any:
            return plan(outputs=[Send("tick", None, b"")])

    ends, lane, ticking = Ends(), a_lane(), flow()
    lane.work = Ticking(nothing)
    lane.deliver(10, 10)
    submit(ends, ticking, lane, plan(outputs=[Send("batch", None, b"")], ack=Ack("in", 0, 10)))  # type: ignore[arg-type]
    await drained(ends)
    assert await ticking.turn(ends, lane)  # type: ignore[arg-type]
    assert not await ticking.turn(ends, lane)  # type: ignore[arg-type]
    await ends.recorder.confirm()
    await ends.recorder.confirm()
    assert ends.recorder.log == ["batch", "tick"]
    assert await ticking.turn(ends, lane)  # type: ignore[arg-type]
    lane.closing = True
    await ends.recorder.confirm()
    assert not await ticking.turn(ends, lane)  # type: ignore[arg-type]


async def test_without_a_lease_nothing_is_written_and_a_closed_lane_never_writes_again() -> None:
    ends, lane = Ends(), a_lane()
    ends.leased = False
    lane.deliver(10, 10)
    submit(ends, flow(), lane, EFFECTS)  # type: ignore[arg-type]
    await asyncio.sleep(0.12)
    assert ends.recorder.log == []
    lane.open = False
    ends.leased = True
    assert lane.tail is not None
    await lane.tail
    assert (ends.recorder.log, lane.next) == ([], None)
    submit(ends, flow(), lane, EFFECTS)  # type: ignore[arg-type]
    await drained(ends)
    assert ends.recorder.log == []


async def test_a_lease_lost_between_outputs_and_state_leaves_the_state_unwritten() -> None:
    ends, lane = Ends(), a_lane()
    lane.deliver(10, 10)
    submit(ends, flow(), lane, EFFECTS)  # type: ignore[arg-type]
    await drained(ends)
    await ends.recorder.confirm()
    assert ends.recorder.log == ["first", "out", "outcomes"]
    ends.leased = False
    await ends.recorder.confirm()
    lane.open = False
    assert lane.tail is not None
    await lane.tail
    assert (ends.recorder.log, lane.next) == (["first", "out", "outcomes"], None)


def a_thread(fetch: Any, consumer: Any, session_s: float = 10.0) -> Thread:
    thread = Thread.__new__(Thread)
    thread.__dict__.update(_consumer=consumer, app=SimpleNamespace(conf=SimpleNamespace(broker_session_timeout=session_s)))
    thread._ensure_consumer = lambda: consumer  # type: ignore[method-assign]
    thread._fetch_records = fetch  # type: ignore[method-assign]
    return thread


@pytest.mark.parametrize("rebalanced", [True, False])
async def test_a_fetch_that_outlives_a_rebalance_puts_the_position_back(rebalanced: bool) -> None:
    mark = SimpleNamespace(has_valid_position=True, position=43, highwater=50)
    before, after = (SimpleNamespace(state_value=lambda tp: mark) for _ in range(2))
    subscription = SimpleNamespace(assignment=before)
    sought: list[tuple[Any, int]] = []
    consumer = SimpleNamespace(
        _subscription=SimpleNamespace(subscription=subscription), _max_poll_records=10, _fetcher=SimpleNamespace(_records={}),
        seek=lambda tp, offset: sought.append((tp, offset)),
    )

    async def fetch(*_: Any, **__: Any) -> Any:
        subscription.assignment = after if rebalanced else before
        return {TP: [SimpleNamespace(offset=41), SimpleNamespace(offset=42)]}

    records, marks = await a_thread(fetch, consumer).fetch({TP: 10}, before, 0.1)
    if rebalanced:
        assert (records, marks, sought) == ({}, {}, [(TP, 41)])
        assert await a_thread(fetch, consumer).fetch({TP: 10}, before, 0.1) == ({}, {})
    else:
        assert ([r.offset for r in records[TP]], marks, sought) == ([41, 42], {TP: (43, 50)}, [])


@pytest.mark.parametrize("rebalanced", [True, False])
async def test_a_partition_without_a_committed_offset_is_no_fault_of_a_fetch_that_outlived_a_rebalance(rebalanced: bool) -> None:
    before, after = SimpleNamespace(), SimpleNamespace()
    subscription = SimpleNamespace(assignment=before)
    consumer = SimpleNamespace(_subscription=SimpleNamespace(subscription=subscription), _max_poll_records=10, _fetcher=SimpleNamespace(_records={}))

    async def fetch(*_: Any, **__: Any) -> Any:
        subscription.assignment = after if rebalanced else before
        raise NoOffsetForPartitionError(TP)

    if rebalanced:
        assert await a_thread(fetch, consumer).fetch({TP: 10}, before, 0.1) == ({}, {})
    else:
        with pytest.raises(NoOffsetForPartitionError):
            await a_thread(fetch, consumer).fetch({TP: 10}, before, 0.1)


def test_the_lease_ends_before_the_broker_gives_partitions_away() -> None:
    thread = a_thread(None, None, session_s=10.0)
    thread.beat = lane_module.boot_clock() - 7.5
    assert thread.lease()
    thread.beat = lane_module.boot_clock() - 8.5
    assert not thread.lease()


def test_a_topic_is_read_by_one_stage_per_process() -> None:
    hub = Hub()
    hub.add(flow("intake", "a", "b"))
    with pytest.raises(ValueError, match="topic b is read by intake already"):
        hub.add(flow("other", "b"))
    with pytest.raises(ValueError, match="exactly one topic"):
        Flow("keyed", ("a", "b"), lambda tp: Stateless(nothing), state_topic="s")


async def test_watchdogs_complain_when_nothing_moves_and_are_silent_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()
    assert (hub.complaint(), hub.ready()) == (None, False)
    lane = hub.lanes[TP] = a_lane()
    lane.ready = False
    assert (hub.complaint(), hub.ready()) == (None, False)
    start = lane_module.boot_clock()
    late = start + NOT_READY_S + 1
    monkeypatch.setattr("agents.transport.hub.boot_clock", lambda: late)
    assert hub.complaint() == f"1 assigned partitions do not become ready, the first is {TP}"
    other = hub.lanes[TopicPartition("in", 1)] = Lane(TopicPartition("in", 1), 1, flow())
    other.ready = True
    assert hub.complaint() == f"1 assigned partitions do not become ready, the first is {TP}", "one that is ready does not hide it"
    other.progress.ready_at = late - 1
    assert hub.complaint() is None, "others still make progress: this one may wait for its turn"
    del hub.lanes[TopicPartition("in", 1)]
    lane.progress.restored_at = late - 1
    assert hub.complaint() is None, "a long restore that reads records is no fault"
    lane.progress.restored_at, lane.ready = 0.0, True
    assert hub.complaint() == "partitions are ready but records do not flow"
    hub.flow_started_at = start
    assert (hub.complaint(), hub.ready(), hub.live()) == (None, True, True)
    lane.deliver(10, 10)
    lane.since -= STUCK_S / 2 + 1
    assert (hub.complaint(), hub.live()) == (None, False)
    lane.since -= STUCK_S / 2 + 1
    assert hub.complaint() == f"no progress on {TP}"
    assert [(h.stage, h.ready, h.pending) for h in hub.health()] == [("f", True, 1)]


def test_registering_a_flow_makes_an_agent_on_all_its_topics() -> None:
    from agents.transport.faust_app import TransportSettings, build

    app = build(TransportSettings(group="g", bootstrap="h:1"))
    agent = register(app, flow("intake", "a", "b"))
    assert sorted(agent.channel.topics) == ["a", "b"]
    assert hub_of(app).wanted_topics() == {"a", "b"}


async def test_a_topic_that_no_broker_knows_yet_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that has just come back answers before it has heard of any topic."""
    monkeypatch.setattr(batch_module, "UNKNOWN_AGAIN_S", 0.0)
    answers: list[Any] = [UnknownTopicOrPartitionError(), UnknownTopicOrPartitionError(), {1, 0}]

    class Fresh(Recorder):
        async def partitions_for(self, topic: str) -> set[int]:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return set(answer)

    assert await batch_module._known(Fresh(), "out") == [0, 1]
    assert answers == []
    answers.append(TopicAuthorizationFailedError())
    with pytest.raises(TopicAuthorizationFailedError):
        await batch_module._known(Fresh(), "out")
