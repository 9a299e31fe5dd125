"""A batch that takes long is worked on in slices: others of the process have their turn in between, and it says what it would have said at once."""
from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from agents.runner.cells import ObjectCache
from agents.runner.partition import READ_AT_ONCE, Partition
from agents.runner.stage import FoldWork
from agents.transport import batch as batch_module
from agents.transport import flow as flow_module
from agents.transport.batch import BULK_AT_ONCE, Batch
from agents.transport.flow import Flow, Stateless
from agents.transport.lane import SHORT_S, SLICE_S, Lane, Slices
from streams.effects import Effect, LogRecord, Send
from streams.fold import Step, World
from tests.agents.runner_toy import NO_REFERENCE, Add, Factor, Sum, Summing
from topics import codec

KEYS = 24


class Slow(Summing):
    """Every key takes a quarter of a slice."""

    def step(self, state: Sum | None, key: str, events: Sequence[Add | Factor], world: World, now: int) -> Step[Sum]:
        time.sleep(SLICE_S / 4)
        return super().step(state, key, events, world, now)


def records(partition: int = 0, keys: int = KEYS, first: int = 0) -> list[LogRecord]:
    return [LogRecord("toy.in", partition, first + n, 1_700_000_000_000, b"k%d" % n, codec.encode(Add(id=first + n))) for n in range(keys)]


class World_:
    """Lanes of one process, and what is given to their publications in its order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.link = SimpleNamespace(long_work=asyncio.Lock())
        self.said: list[tuple[TopicPartition, Sequence[Effect]]] = []
        monkeypatch.setattr(flow_module, "submit", lambda link, flow, lane, effects: self.said.append((lane.tp, effects)))

    def lane(self, partition: int, pace: float, fold: Summing | None = None, cache: ObjectCache | None = None) -> Lane:
        toy = fold or Slow("toy")
        made = Flow("toy", ["toy.in"], lambda tp: Stateless(nothing), state_topic="toy.state")
        lane = Lane(TopicPartition("toy.in", partition), 1, made)
        lane.work = FoldWork(Partition(toy, NO_REFERENCE, partition, cache=cache))
        lane.work.restored()
        lane.ready, lane.pace = True, pace
        return lane

    def give(self, lane: Lane, of: list[LogRecord]) -> asyncio.Task[None]:
        assert lane.flow is not None
        lane.queued += 1
        return asyncio.ensure_future(lane.flow.batch(self.link, lane, Batch("toy.in", lane.tp.partition, of)))  # type: ignore[arg-type]

    @property
    def order(self) -> list[int]:
        return [tp.partition for tp, _ in self.said]


async def nothing(*_: Any) -> tuple[()]:
    return ()


async def test_a_short_batch_of_another_lane_does_not_wait_for_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World_(monkeypatch)
    long, short = world.lane(0, SHORT_S), world.lane(1, 1e-6)
    tasks = [world.give(long, records()), world.give(short, records(1, 1))]
    await asyncio.gather(*tasks)
    assert world.order == [1, 0]
    assert (long.queued, short.queued, long.broken, short.broken) == (0, 0, False, False)


async def test_of_two_long_batches_one_is_worked_on_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    world, stepped = World_(monkeypatch), []

    class Seen(Slow):
        def step(self, state: Sum | None, key: str, events: Sequence[Add | Factor], world: World, now: int) -> Step[Sum]:
            stepped.append(self.number)                  # type: ignore[attr-defined]
            return super().step(state, key, events, world, now)

    lanes = []
    for n in range(2):
        fold = Seen("toy")
        fold.number = n                                  # type: ignore[attr-defined]
        lanes.append(world.lane(n, SHORT_S, fold))
    await asyncio.gather(*(world.give(lane, records(n)) for n, lane in enumerate(lanes)))
    assert (world.order, stepped) == ([0, 1], [0] * KEYS + [1] * KEYS)


async def test_batches_of_one_lane_keep_their_order_however_long_each_is_thought_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World_(monkeypatch)
    other, lane = world.lane(0, SHORT_S), world.lane(1, SHORT_S / 4)
    tasks = [world.give(other, records()), world.give(lane, records(1, 8)), world.give(lane, records(1, 1, first=8))]
    await asyncio.gather(*tasks)
    assert world.order == [0, 1, 1], "the one record does not overtake the eight before it that wait for the other lane"
    assert [effects[-1].next for _, effects in world.said] == [KEYS, 8, 9]  # type: ignore[union-attr]


async def test_who_waits_for_a_long_batch_when_its_partition_is_given_up_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World_(monkeypatch)
    lanes = [world.lane(n, SHORT_S) for n in range(2)]
    tasks = [world.give(lane, records(n)) for n, lane in enumerate(lanes)]
    while not lanes[0].lock.locked():
        await asyncio.sleep(0)
    for lane in lanes:
        lane.closing = True
    await asyncio.gather(*tasks)
    assert world.order == [0], "what has begun is brought to its end, or its memory would be ahead of Kafka"
    assert [lane.queued for lane in lanes] == [0, 0]
    assert not lanes[1].broken
    assert lanes[1].work is not None
    assert lanes[1].work.highest_offset() == -1
    assert lanes[0].clean == lanes[1].clean is True


async def test_turns_are_taken_while_a_lane_waits_for_a_long_batch_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World_(monkeypatch)
    lanes = [world.lane(n, SHORT_S) for n in range(2)]
    tasks = [world.give(lane, records(n)) for n, lane in enumerate(lanes)]
    asked: list[bool] = []
    assert lanes[1].work is not None
    monkeypatch.setattr(lanes[1].work, "turn", lambda caught_up: asked.append(caught_up) or ())
    for lane in lanes:
        assert lane.flow is not None
        while not lanes[0].lock.locked():
            await asyncio.sleep(0)
        await lane.flow.turn(world.link, lane)           # type: ignore[arg-type]
    assert asked == [False], "the lane that is worked on has none, the waiting one has"
    await asyncio.gather(*tasks)


async def test_a_batch_that_is_cut_off_between_two_slices_leaves_its_lane_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World_(monkeypatch)
    lane = world.lane(0, SHORT_S)
    task = world.give(lane, records())
    while not lane.lock.locked():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (lane.broken, world.said) == (True, [])


async def test_a_lane_that_always_has_batches_has_its_turns_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next batch has the lock before anybody looks at the clock again, so the turn comes right behind the batch that it met."""
    world, asked = World_(monkeypatch), []
    lane = world.lane(0, SHORT_S)
    assert lane.work is not None
    assert lane.flow is not None
    monkeypatch.setattr(lane.work, "turn", lambda caught_up: asked.append(len(world.said)) or ())
    tasks = [world.give(lane, records(0, 8, first=8 * n)) for n in range(4)]
    while not all(task.done() for task in tasks):
        await lane.flow.turn(world.link, lane)           # type: ignore[arg-type]
        await asyncio.sleep(0.001)
    assert {0, 1, 2, 3, 4} >= set(asked) >= {1, 2, 3}, "after so many batches"


async def test_a_batch_whose_lane_is_given_up_between_two_slices_ends_there(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World_(monkeypatch)
    lane, other = world.lane(0, SHORT_S), world.lane(1, SHORT_S)
    assert lane.work is not None
    partition = lane.work.partition                      # type: ignore[attr-defined]
    tasks = [world.give(lane, records(0, 200)), world.give(other, records(1, 4))]
    while not partition.counters.steps:
        await asyncio.sleep(0)
    lane.open = lane.work = None                         # type: ignore[assignment]  # as `quiesce` and `drop` leave it when they have waited long enough
    partition.close()
    steps = partition.counters.steps
    await asyncio.gather(*tasks)
    assert (world.order, lane.broken, partition.counters.steps) == ([1], True, steps)
    assert lane.pace == SHORT_S, "a batch that was not brought to its end says nothing of the pace"


async def test_time_that_others_take_between_slices_does_not_count() -> None:
    slices = Slices()
    assert not slices.over

    async def busy() -> None:
        time.sleep(20 * SLICE_S)

    time.sleep(2 * SLICE_S)
    assert slices.over
    other = asyncio.ensure_future(busy())
    assert await slices.give_way()
    assert other.done()
    assert 2 * SLICE_S < slices.seconds < 20 * SLICE_S
    assert not await Slices(lambda: False).give_way()


async def test_records_that_were_worked_on_before_say_nothing_of_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World_(monkeypatch)
    lane = world.lane(0, SHORT_S)
    await world.give(lane, records())
    pace = lane.pace
    await world.give(lane, records())
    assert lane.pace == pace
    await world.give(lane, records(first=KEYS))
    assert lane.pace != pace


async def test_lanes_whose_batches_alternate_say_what_each_would_have_said_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One fold and one small cache serve both, as they do in a worker."""
    world, fold, cache = World_(monkeypatch), Slow("toy"), ObjectCache(2_000)
    lanes = [world.lane(n, pace, fold, cache) for n, pace in enumerate((SHORT_S, 1e-9))]
    for begin in range(0, 3 * KEYS, KEYS):
        await asyncio.gather(*(world.give(lane, records(n, first=begin)) for n, lane in enumerate(lanes)))
    assert len(world.said) == 6
    for n in range(2):
        alone = Partition(Summing("toy"), NO_REFERENCE, n)
        alone.restored()
        assert [effects for tp, effects in world.said if tp.partition == n] == [alone.batch(records(n, first=begin)) for begin in range(0, 3 * KEYS, KEYS)]


async def test_building_many_outputs_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0

    class Taking:
        def create_batch(self) -> Any:
            return SimpleNamespace(append=lambda **_: object())

        async def partitions_for(self, topic: str) -> set[int]:
            return {0}

        async def send_batch(self, batch: Any, topic: str, partition: int) -> int:
            return turns

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.ensure_future(other())
    lane = World_(monkeypatch).lane(0, SHORT_S)
    written = await batch_module._bulk(Taking(), lane, [Send("out", b"k", b"v")] * (4 * BULK_AT_ONCE))
    beside.cancel()
    assert [found for found, _ in written] == [4]


def test_steps_come_between_keys_and_between_portions_of_records() -> None:
    count = READ_AT_ONCE + 1
    many = [LogRecord("toy.in", 0, n, 1_700_000_000_000, b"k%d" % (n % 3), codec.encode(Add(id=n))) for n in range(count)]
    partition = Partition(Summing("toy"), NO_REFERENCE, 0)
    partition.restored()
    assert sum(1 for _ in partition.steps(many)) == 2 + 3, "two portions of records, three keys"
