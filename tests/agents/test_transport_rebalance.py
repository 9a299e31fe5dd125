"""What a process does when partitions come and go: what it frees, what it keeps, what it forgets of an older generation, how it ends."""
from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver

from agents.transport import faust_plugin
from agents.transport import keeper as keeper_module
from agents.transport import watch as watch_module
from agents.transport.census import NO_TOPIC, Census, Observer, TopicSeen
from agents.transport.fatal import Refuses
from agents.transport.faust_plugin import COMMIT_FAILING_S
from agents.transport.faust_thread import Thread
from agents.transport.guard import Guard
from agents.transport.hub import Hub
from agents.transport.keeper import KEEP_S, Keeper
from agents.transport.lane import boot_clock
from agents.transport.watch import Watch
from streams.effects import Send
from tests.agents.test_transport_catchup import FLOW, TP, a_lane, a_partition
from tests.agents.test_transport_lane import a_lane as a_stateless_lane
from tests.agents.test_transport_lane import flow


class Ended(Exception):
    pass


def a_consumer(monkeypatch: pytest.MonkeyPatch, **more: Any) -> Any:
    """The plug-in's consumer without its Faust app; `fatal` raises Ended."""

    def ended(why: str, error: BaseException | None = None) -> None:
        raise Ended(f"{why}: {error}") from error

    monkeypatch.setattr(faust_plugin, "fatal", ended)
    consumer: Any = faust_plugin.Consumer.__new__(faust_plugin.Consumer)
    hub = Hub()
    hub.keeper = Keeper("g", more.pop("directory", None))
    consumer.__dict__.update(
        hub=hub, guard=Guard(lambda: True), committing=asyncio.Lock(), long_work=asyncio.Lock(), failing_since=0.0, _given_up=[], _dropping=set(),
        watch=Watch(), _seen=None, _bounds=None, app=SimpleNamespace(should_stop=False), _stopped=asyncio.Event(),
        _crashed=asyncio.Event(), flow_active=True, **more)
    return consumer


async def idle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("on_disk", [True, False])
async def test_partitions_that_were_given_up_are_freed_at_once_and_what_is_kept_of_them_when_it_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: bool, on_disk: bool,
) -> None:
    consumer = a_consumer(monkeypatch, directory=tmp_path if on_disk else None)
    lane = a_lane(a_partition(), 5, 7)
    lane.work.restored()  # type: ignore[union-attr]
    lane.submitted = 0 if kept else 1
    partition = weakref.ref(lane.work.partition)  # type: ignore[union-attr]
    consumer.hub.lanes[TP] = lane
    await consumer.quiesce()
    await idle()
    assert lane.work is None
    assert (len(consumer.keeper._kept), consumer._given_up, consumer._dropping) == (int(kept), [("toy", TP)], set())
    if kept and on_disk:
        assert await consumer.keeper.write_kept("toy", TP), "at the end of the process it is written"
    later = boot_clock() + KEEP_S + 1
    monkeypatch.setattr(keeper_module, "boot_clock", lambda: later)
    if not kept or not on_disk:
        gc.collect()
        assert partition() is None
    consumer.keeper.forget()
    gc.collect()
    assert (partition(), consumer.keeper._kept) == (None, {})


async def test_commits_that_failed_in_a_generation_that_is_over_or_have_nothing_left_to_commit_are_not_held_against_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fails(offsets: Any) -> bool:
        return False

    async def nothing(*_: Any) -> None: ...

    consumer = a_consumer(monkeypatch, _commit=fails)
    lane = consumer.hub.lanes[TP] = a_stateless_lane()
    lane.next = 7
    long_ago = boot_clock() - COMMIT_FAILING_S - 1
    consumer.failing_since = long_ago
    with pytest.raises(Ended, match="commit keeps failing"):
        await consumer.commit()
    lane.committed = 7
    assert not await consumer.commit()
    assert consumer.failing_since == 0
    lane.committed, consumer.failing_since = None, long_ago
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=None))
    consumer._thread = SimpleNamespace(_ensure_consumer=lambda: SimpleNamespace(_subscription=subscription), beat=0.0)
    consumer._look_at_topics = nothing
    monkeypatch.setattr(driver.Consumer, "on_partitions_assigned", nothing)
    await consumer.on_partitions_assigned(set(), 2)
    assert not await consumer.commit()
    assert consumer.failing_since > long_ago + 1


async def test_what_is_kept_survives_restores_that_are_cut_short_and_goes_when_the_lane_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = a_consumer(monkeypatch)
    lane = a_lane(a_partition(), 5, 7)
    lane.work.restored()  # type: ignore[union-attr]
    assert consumer.keeper.keep(lane)
    slow = asyncio.Event()

    async def prepare(self: Any, link: Any, lane: Any) -> None:
        assert consumer.keeper.take(FLOW, lane, lambda nexts: True) is not None
        await slow.wait()

    monkeypatch.setattr(type(FLOW), "prepare", prepare)
    for generation in range(3):
        back = a_lane(a_partition(), 5, 7)
        back.ready, back.work = False, None
        consumer.hub.lanes[TP] = back
        back.task = asyncio.ensure_future(consumer._prepare(back))
        await idle()
        if generation == 2:
            slow.set()
            await back.task
            assert (back.ready, consumer.keeper._kept) == (True, {})
        else:
            await consumer.quiesce()
            await idle()
            assert (back.ready, len(consumer.keeper._kept)) == (False, 1)


async def test_an_offset_that_the_log_does_not_have_ends_the_process_where_it_can_still_leave_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The consumer's thread raises it; only the other one can wait for that thread to say goodbye."""
    subscription = SimpleNamespace(assignment=None)
    real = SimpleNamespace(_subscription=SimpleNamespace(subscription=subscription), _max_poll_records=10, _fetcher=SimpleNamespace(_records={}))

    async def fetched(*_: Any, **__: Any) -> Any:
        raise OffsetOutOfRangeError({TP: 3})

    thread = Thread.__new__(Thread)
    thread.__dict__.update(_consumer=real, app=None, _ensure_consumer=lambda: real, _fetch_records=fetched)
    with pytest.raises(OffsetOutOfRangeError):
        await thread.fetch({TopicPartition("in", 0): 10}, None, 0.1)

    async def call_thread(ask: Any, *arguments: Any) -> Any:
        return await ask(*arguments)

    consumer = a_consumer(monkeypatch, _thread=SimpleNamespace(call_thread=call_thread, fetch=thread.fetch))
    consumer.hub.flow_started_at = 1.0
    consumer.hub.lanes[TopicPartition("in", 0)] = a_stateless_lane()
    with pytest.raises(Ended, match="the log does not have the offset that comes next"):
        await anext(aiter(consumer.getmany(0.1)))
    assert consumer.hub.lanes[TopicPartition("in", 0)].progress.position == -1


async def test_without_a_lane_that_wants_records_nothing_is_asked_of_aiokafka(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take an empty set for all partitions."""

    async def call_thread(*_: Any) -> Any:
        raise AssertionError("asked for an empty set")

    consumer = a_consumer(monkeypatch, _thread=SimpleNamespace(call_thread=call_thread, fetch=None))
    consumer.hub.flow_started_at = 1.0
    lane = consumer.hub.lanes[TopicPartition("in", 0)] = a_stateless_lane()
    for number in range(2):
        lane.deliver(number + 1, 1)
    waited = asyncio.ensure_future(anext(aiter(consumer.getmany(0.1)), None))
    await idle()
    assert not waited.done(), "it pauses"
    consumer.hub.wake.set()
    assert await waited is None
    consumer.hub.lanes.clear()
    assert await anext(aiter(consumer.getmany(0.1)), None) is None


async def test_a_topic_without_a_flow_is_refused_with_an_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    async def send_and_wait(topic: str, value: bytes, key: bytes) -> None:
        sent.append((topic, key, value))

    consumer = a_consumer(monkeypatch)
    monkeypatch.setattr(type(consumer), "producer", lambda self: SimpleNamespace(send_and_wait=send_and_wait))
    consumer.hub.alert = lambda where, why: Send("alerts", where.encode(), why.encode())
    lane = a_stateless_lane()
    lane.ready, lane.flow = False, None
    consumer.hub.lanes[lane.tp] = lane
    with pytest.raises(Ended, match="no flow reads in: ordinary Faust agents cannot run on this transport") as ended:
        await consumer._prepare(lane)
    assert isinstance(ended.value.__cause__, Refuses)
    assert sent == [("alerts", b"in/0", b"no flow reads in: ordinary Faust agents cannot run on this transport")]
    lane.open = False
    await consumer._prepare(lane)
    assert len(sent) == 1, "a lane that was given up is somebody else's"


async def test_a_bug_of_an_agent_ends_the_process_instead_of_skipping_its_event(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Ended, match="agent: a bug"):
        await a_consumer(monkeypatch).on_task_error(ArithmeticError("a bug"))


SEEN = {"a": TopicSeen("1", 2), "plain": TopicSeen("2", 2), "s": TopicSeen("3", 2), "r": TopicSeen("4", 2)}


@pytest.mark.parametrize(
    ("now", "says", "refused"),
    [
        ({"s": TopicSeen("9", 2)}, "s had id 3 and 2 partitions, now 9 and 2", True),
        ({"r": TopicSeen("4", 3)}, "r had id 4 and 2 partitions, now 4 and 3", True),
        ({"a": TopicSeen("1", 3)}, "a had id 1 and 2 partitions, now 1 and 3", True),
        ({"plain": TopicSeen("9", 2)}, "plain had id 2", False),
        ({"plain": TopicSeen("2", 3)}, "", False),
        ({"a": TopicSeen(error=NO_TOPIC)}, "", False),
        ({"s": TopicSeen(error=29)}, "", False),
        ({}, "", False),
    ],
)
async def test_topics_that_are_changed_while_they_are_used(monkeypatch: pytest.MonkeyPatch, now: dict[str, TopicSeen], says: str, refused: bool) -> None:
    consumer = a_consumer(monkeypatch)
    consumer.hub.add(type(FLOW)("f", ("a",), FLOW.work, state_topic="s", revision_topics=("r",)))
    consumer.hub.add(flow("plain", "plain"))
    consumer._seen = asyncio.get_running_loop().create_future()
    consumer._seen.set_result(SEEN)
    if not says:
        await consumer._same_topics({**SEEN, **now})
        return
    with pytest.raises(Ended, match=says) as ended:
        await consumer._same_topics({**SEEN, **now})
    assert isinstance(ended.value.__cause__, Refuses) is refused


GONE, AWAY = TopicSeen(error=NO_TOPIC), TopicSeen(error=29)


@pytest.mark.parametrize(
    ("answers", "refused"),
    [
        ({0: GONE, 10: GONE, 19: GONE, 21: GONE}, True),
        ({0: GONE, 19: GONE, 19.5: SEEN["s"], 25: GONE, 44: GONE}, False),
        ({0: GONE, 10: None, 25: None, 30: GONE}, False),
        ({0: GONE, 10: None, 25: GONE, 40: GONE, 46: GONE}, True),
        ({0: AWAY, 10: AWAY, 25: AWAY, 60: AWAY}, False),
        ({0: GONE, 15: AWAY, 25: GONE, 44: GONE}, False),
        ({0: GONE, 15: "another assignment", 25: GONE, 34: GONE}, False),
    ],
    ids=["always", "seen again", "two distant glances", "from then on always", "may not be looked at", "not always looked at", "another assignment"],
)
async def test_a_state_topic_counts_as_deleted_when_every_answer_of_a_while_says_so(
    monkeypatch: pytest.MonkeyPatch, answers: dict[float, Any], refused: bool,
) -> None:
    """A broker that has just started does not know all topics yet; one that does not answer, or does not let us look, has not said that there is none."""
    consumer = a_consumer(monkeypatch)
    consumer.hub.add(type(FLOW)("f", ("a",), FLOW.work, state_topic="s", revision_topics=("r",)))
    consumer._thread = SimpleNamespace(_ensure_consumer=lambda: SimpleNamespace(_subscription=SimpleNamespace(subscription=SimpleNamespace(assignment=None))))
    now, left = boot_clock(), dict(answers)
    census = Census(now, 1, True, (), ())

    async def nothing(*_: Any) -> None: ...

    async def look() -> Any:
        return SEEN

    async def asked(wanted: Any, known: Any) -> Any:
        at = next(iter(left))
        monkeypatch.setattr(watch_module, "boot_clock", lambda: now + at)
        answer = left.pop(at)
        if answer == "another assignment":
            await consumer.on_partitions_assigned(set(), 2)
            await consumer._seen
            answer = GONE
        return None if answer is None else (census, {**SEEN, "s": answer})

    async def sleep(seconds: float) -> None:
        if not left:
            consumer._stopped.set()

    monkeypatch.setattr(driver.Consumer, "on_partitions_assigned", nothing)
    consumer._look_at_topics, consumer.observer, consumer.sleep = look, SimpleNamespace(census=asked), sleep
    await consumer.on_partitions_assigned(set(), 1)
    await consumer._seen
    if not refused:
        await faust_plugin.Consumer._census.fun(consumer)
        return
    with pytest.raises(Ended, match="s does not exist any more") as ended:
        await faust_plugin.Consumer._census.fun(consumer)
    assert (isinstance(ended.value.__cause__, Refuses), left) == (True, {})


async def test_a_question_that_is_not_answered_holds_up_neither_the_end_nor_its_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    observer, answered = Observer(dict, "g"), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(client: Any) -> str:
        asyncio.run_coroutine_threadsafe(answered.wait(), loop).result()
        return "at last"

    closed: list[bool] = []
    observer._admin = SimpleNamespace(close=lambda: closed.append(True))  # type: ignore[assignment]
    asking = asyncio.ensure_future(observer._ask(slow))
    await asyncio.sleep(0.05)
    observer.close()
    assert closed == [], "a connection that is in use is left"
    answered.set()
    assert await asking == "at last"
    observer.close()
    assert closed == [True]
