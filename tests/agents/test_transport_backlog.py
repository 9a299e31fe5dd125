"""A backlog: more records at once for a lane that is quick, outputs in bulk."""
from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import RecordMetadata, TopicPartition

from agents.transport.batch import submit
from agents.transport.flow import Flow, Stateless
from agents.transport.lane import BACKLOG_RECORDS_MAX, FIRST_RECORDS, LEAST_RECORDS
from streams.effects import Send, plan
from streams.fold import EVERY_PARTITION
from tests.agents.test_transport_lane import TP, Ends, a_lane, a_thread, flow, nothing


@pytest.mark.parametrize("second", ["records", "error", "rebalance"])
async def test_what_was_read_before_is_handed_over_at_once_each_partition_up_to_its_own_bound(second: str) -> None:
    assignment = SimpleNamespace(state_value=lambda tp: None)
    other, unwanted = TopicPartition("in", 1), TopicPartition("in", 2)
    result: Any = FetchResult.__new__(FetchResult)
    subscriptions = SimpleNamespace(reassignment_in_progress=second == "rebalance")
    held: dict[Any, Any] = {unwanted: result, TP: result, other: result if second != "error" else object()}
    consumer = SimpleNamespace(
        _subscription=SimpleNamespace(subscription=SimpleNamespace(assignment=assignment)), _max_poll_records=10,
        _fetcher=SimpleNamespace(_records=held, _subscriptions=subscriptions),
    )
    asked: list[tuple[set[Any], int]] = []

    async def fetch(_: Any, wanted: set[Any], timeout: float, max_records: int) -> Any:
        assert timeout == 0
        asked.append((wanted, max_records))
        return {tp: [SimpleNamespace(offset=1)] for tp in wanted}

    records, _ = await a_thread(fetch, consumer).fetch({other: 7000, TP: 4000}, assignment, 0.1)
    if second == "records":
        assert (asked, set(records)) == ([({TP}, 4000), ({other}, 7000)], {TP, other})
    else:                                                # the next call meets it; what was taken is not lost
        assert (asked, set(records)) == ([({TP}, 4000)], {TP})


def test_a_keyed_lane_that_is_quick_may_be_given_more_at_once_and_a_slow_one_may_not() -> None:
    lane = a_lane()
    keyed = Flow("toy", ["in"], lambda tp: Stateless(nothing), state_topic="toy.state")
    lane.flow = keyed
    assert lane.room(4000) == FIRST_RECORDS, "nothing is known of it yet"
    rooms = []
    for _ in range(4):
        lane.worked(0.04, 4000)
        rooms.append(lane.room(4000))
    assert rooms == [800, 3200, 12_800, BACKLOG_RECORDS_MAX], "nobody jumps to conclusions from one batch, the first neither"
    lane.pace = 0.00005
    assert lane.room(4000) == 10_000
    lane.pace = 0.0025
    assert lane.room(4000) == 200, "what takes long comes in small batches: it is published when all of it is worked on"
    lane.worked(0.5, 4000)
    assert lane.room(4000) == 800, "what was quick once may be so by chance"
    lane.worked(0.5, 4000)
    assert lane.room(4000) == 3200
    lane.worked(0.5, 2000)
    assert lane.room(4000) == 2461, "what was slow once, too"
    lane.worked(400.0, 4000)
    assert lane.room(4000) == LEAST_RECORDS
    lane.pace = 1e-6
    lane.flow = flow("intake", "a")
    assert lane.room(4000) == 4000, "without keys nothing is gained"


async def test_many_outputs_go_out_by_partition_in_their_order_where_the_default_partitioner_puts_them() -> None:
    made: list[tuple[str, int, list[tuple[bytes, bytes]]]] = []

    class Bulk:
        def create_batch(self) -> Any:
            rows: list[Any] = []

            def append(*, key: bytes, value: bytes, timestamp: None, headers: list[Any]) -> object | None:
                if len(rows) == 20:
                    return None
                rows.append((key, value))
                return rows

            return SimpleNamespace(append=append, rows=rows)

        async def partitions_for(self, topic: str) -> set[int]:
            return {0, 1, 2}

        async def send_batch(self, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
            made.append((topic, partition, batch.rows))
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_result(RecordMetadata(topic, partition, TopicPartition(topic, partition), 0, 0, 0, 0))
            return future

    ends, lane = Ends(), a_lane()
    ends.recorder = Bulk()  # type: ignore[assignment]
    sends = [Send("out", b"k%d" % (n % 30), b"%d" % n) for n in range(200)] + [Send("all", b"k", b"v", EVERY_PARTITION), Send("one", b"k", b"v", 2)]
    submit(ends, flow(), lane, plan(outputs=sends))  # type: ignore[arg-type]
    assert lane.tail is not None
    await lane.tail
    choose = DefaultPartitioner()
    for part in range(3):
        mine = [row for topic, partition, rows in made if (topic, partition) == ("out", part) for row in rows]
        assert mine == [(s.key, s.value) for s in sends[:200] if choose(s.key, [0, 1, 2], [0, 1, 2]) == part]
    rest = [(topic, part, rows) for topic, part, rows in made if topic != "out"]
    assert rest == [*(("all", n, [(b"k", b"v")]) for n in range(3)), ("one", 2, [(b"k", b"v")])]
    assert lane.progress.sends == 204


async def test_of_many_lanes_that_write_to_one_partition_each_has_its_turn() -> None:
    """aiokafka subtracts the time since the beginning again at each try, so who loses a few times gives up: nobody may compete."""

    class Narrow:
        competing = most = 0

        def create_batch(self) -> Any:
            return SimpleNamespace(append=lambda **_: object())

        async def partitions_for(self, topic: str) -> set[int]:
            return {0}

        async def send_batch(self, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
            self.competing += 1
            self.most = max(self.most, self.competing)
            await asyncio.sleep(0.001)
            self.competing -= 1
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_result(RecordMetadata(topic, partition, TopicPartition(topic, partition), 0, 0, 0, 0))
            return future

    ends, lanes = Ends(), [a_lane() for _ in range(8)]
    narrow = ends.recorder = Narrow()  # type: ignore[assignment]
    for lane in lanes:
        submit(ends, flow(), lane, plan(outputs=[Send("out", b"k", b"v")] * 100))  # type: ignore[arg-type]
    await asyncio.gather(*(lane.tail for lane in lanes))
    assert narrow.most == 1  # type: ignore[attr-defined]
    assert [lane.settled for lane in lanes] == [1] * 8
