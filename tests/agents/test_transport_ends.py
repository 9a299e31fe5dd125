"""A lane that cannot go on ends its process, wherever that shows itself; people are told of what no restart mends, and nothing half done is left behind."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.runner.cells import BadState
from agents.runner.partition import Partition
from agents.transport import faust_plugin
from agents.transport import flow as flow_module
from agents.transport.fatal import Refuses
from agents.transport.faust_plugin import ALERT_S, register
from agents.transport.lane import Lane
from streams.effects import LogRecord, Send
from streams.fold import Step, World
from tests.agents.runner_toy import NO_REFERENCE, Add, Factor, Sum, Summing
from tests.agents.test_transport_catchup import FLOW, TP, a_lane
from tests.agents.test_transport_lane import a_lane as a_stateless_lane
from tests.agents.test_transport_rebalance import Ended, a_consumer
from topics import codec

LONG_AGO = 1_700_000_000_000
BUG, UNREADABLE = ArithmeticError("a bug"), ValueError("of a later version")


class Odd(Summing):
    """Key `b` cannot be stepped: its state cannot be read, or there is a bug."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def decode_state(self, data: bytes) -> Sum:
        state = super().decode_state(data)
        if self.error is UNREADABLE and state.total == 2:
            raise self.error
        return state

    def step(self, state: Sum | None, key: str, events: Sequence[Add | Factor], world: World, now: int) -> Step[Sum]:
        if self.error is BUG and key == "b":
            raise self.error
        return super().step(state, key, events, world, now)


def added(offset: int, key: str, n: int, due_in_s: float = 0) -> LogRecord:
    return LogRecord(TP.topic, TP.partition, offset, LONG_AGO, key.encode(), codec.encode(Add(id=offset, n=n, due_in_s=due_in_s)))


def a_due_lane(error: Exception) -> Lane:
    """Restored, caught up, everything durable; `a` is due, then `b`, which cannot be stepped, then `c`."""
    before = Partition(Summing(), NO_REFERENCE, 0)
    before.batch([added(0, "a", 1, 60), added(1, "b", 2, 61), added(2, "c", 3, 62)])
    image = before.image()
    assert image is not None
    partition = Partition(Odd(error), NO_REFERENCE, 0)
    partition.adopt(image)
    partition.restored()
    lane = a_lane(partition, 3, 3)
    lane.progress.position = lane.progress.highwater = 3
    return lane


class Told:
    """Stands for the process's producer: the alerts that it was given. They are taken when `open` is set."""

    def __init__(self, consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent, self.open = list[tuple[str, bytes, bytes]](), asyncio.Event()
        self.open.set()
        monkeypatch.setattr(type(consumer), "producer", lambda _: self)
        consumer.hub.alert = lambda where, why: Send("alerts", where.encode(), why.encode())

    async def send_and_wait(self, topic: str, value: bytes, key: bytes) -> None:
        await self.open.wait()
        self.sent.append((topic, key, value))


async def in_a_restore(consumer: Any, error: Exception) -> None:
    async def prepare(link: Any, lane: Any) -> None:
        raise BadState(str(error)) if error is UNREADABLE else error

    lane = a_stateless_lane()
    lane.tp, lane.ready, lane.flow = TP, False, SimpleNamespace(prepare=prepare)
    consumer.hub.lanes[TP] = lane
    await consumer._prepare(lane)


async def in_a_turn(consumer: Any, error: Exception) -> None:
    consumer.hub.lanes[TP] = a_due_lane(error)
    await faust_plugin.Consumer._turns.fun(consumer)


async def in_a_batch(consumer: Any, error: Exception, *more: LogRecord) -> None:
    """The first batch has `a` and then `b`; `more` comes in one of its own behind it."""
    from agents.transport.faust_app import TransportSettings, build

    app = build(TransportSettings(group="g", bootstrap="h:1"))
    app._consumer, app.railclear_hub = consumer, consumer.hub
    lane = consumer.hub.lanes[TP] = a_due_lane(error)
    agent, batches = register(app, FLOW), [[added(3, "a", 1), added(4, "b", 1)], *([list(more)] if more else [])]

    async def events() -> AsyncIterator[Any]:
        for batch in batches:
            lane.deliver(batch[-1].offset + 1, len(batch))
            yield SimpleNamespace(message=SimpleNamespace(tp=TP, topic=TP.topic, partition=TP.partition, value=batch, generation_id=lane.generation))

    found = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.done() or found.set_exception(context["exception"]))
    await agent.fun(SimpleNamespace(noack=lambda: SimpleNamespace(events=events)))
    await found


PLACES = [in_a_restore, in_a_turn, in_a_batch]
Place = Callable[[Any, Exception], Awaitable[None]]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("error", "alerts"), [(UNREADABLE, 1), (BUG, 0)], ids=repr)
async def test_a_state_that_cannot_be_read_is_an_alert_and_a_bug_is_none(monkeypatch: pytest.MonkeyPatch, place: Place, error: Exception, alerts: int) -> None:
    """A state is read when its key is first touched, and that is in a batch or a tick as likely as in a restore."""
    consumer = a_consumer(monkeypatch)
    told = Told(consumer, monkeypatch)
    with pytest.raises(Ended) as ended:
        await asyncio.wait_for(place(consumer, error), ALERT_S * 5)
    assert type(ended.value.__cause__) is (BadState if alerts else type(error))
    assert [(topic, key, str(error).encode() in value) for topic, key, value in told.sent] == [("alerts", b"toy.in/0", True)] * alerts


@pytest.mark.parametrize("fault", ["raises", "cannot be made", "hangs"])
async def test_an_alert_that_cannot_be_sent_keeps_no_process_from_its_end(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(faust_plugin, "ALERT_S", 0.05)
    consumer = a_consumer(monkeypatch)
    told = Told(consumer, monkeypatch)

    def wrong(*_: Any) -> Any:
        raise RuntimeError("the producer has not started")

    if fault == "raises":
        monkeypatch.setattr(type(consumer), "producer", wrong)
    elif fault == "cannot be made":
        consumer.hub.alert = wrong
    else:
        told.open.clear()
    with pytest.raises(Ended, match="a topic is wrong") as ended:
        await asyncio.wait_for(consumer.end(a_stateless_lane(), "restore", Refuses("a topic is wrong")), ALERT_S * 5)
    assert isinstance(ended.value.__cause__, Refuses)


@pytest.mark.parametrize("error", [UNREADABLE, BUG], ids=repr)
async def test_a_lane_whose_second_due_key_raises_leaves_nothing_that_a_later_owner_would_believe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception,
) -> None:
    """The first key has moved on in memory, and what it had to say (an alert, a deadline that passed) is lost with the turn: in a snapshot it would
    never be due again."""
    submitted = list[Lane]()
    monkeypatch.setattr(flow_module, "submit", lambda link, flow, lane, effects: submitted.append(lane))
    consumer = a_consumer(monkeypatch, directory=tmp_path)
    lane = consumer.hub.lanes[TP] = a_due_lane(error)
    assert lane.clean
    with pytest.raises((ArithmeticError, BadState)):
        await FLOW.turn(consumer, lane)
    assert lane.work is not None
    assert lane.work.partition.cells.header("a").due is None, "the first key was stepped"  # type: ignore[attr-defined]
    assert not await FLOW.turn(consumer, lane), "the third is left alone"
    assert (submitted, lane.clean) == ([], False)
    await consumer.quiesce()
    assert consumer._given_up == [("toy", TP)]
    assert [await consumer.keeper.write_kept(stage, tp) for stage, tp in consumer._given_up] == [False]
    assert list(tmp_path.rglob("*")) == []


async def test_a_batch_behind_one_that_raised_is_not_worked_on_while_people_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    submitted = list[Lane]()
    monkeypatch.setattr(flow_module, "submit", lambda link, flow, lane, effects: submitted.append(lane))
    consumer = a_consumer(monkeypatch)
    told = Told(consumer, monkeypatch)
    told.open.clear()
    ending = asyncio.ensure_future(in_a_batch(consumer, UNREADABLE, added(5, "a", 1)))
    await asyncio.sleep(0.05)
    lane = consumer.hub.lanes[TP]
    assert (lane.queued, submitted, list(lane.pending)) == (0, [], [5, 6])
    told.open.set()
    with pytest.raises(Ended):
        await asyncio.wait_for(ending, ALERT_S * 5)
    assert (submitted, lane.next, len(told.sent)) == ([], None, 1)
