"""What the transport refuses instead of skipping, and what it says of itself: recreated input, deleted records, topics nobody reads."""
from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition
from kafka.admin import NewTopic
from kafka.errors import CoordinatorNotAvailableError
from kafka.structs import OffsetAndMetadata

from agents.runner.cells import INPUT_KEY, Header, pack
from agents.transport.census import Observer, admin
from agents.transport.fatal import EXIT_REFUSED
from agents.transport.origin import InputIdentity, identity_of
from tests.agents.runner_toy import Add, Sum, topics_of
from tests.integration.runner_bench import LONG, PARTITIONS, Bench
from topics import codec

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def bench(embedded: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(embedded.bootstrap, tmp_path) as made:
        yield made


async def totals(bench: Bench, wanted: dict[str, int]) -> None:
    async def there() -> bool:
        return {k: s.total for k, s in (await bench.states()).items()} == wanted

    await bench.until(there, f"the totals {wanted}")


async def committed(bench: Bench, tp: TopicPartition, offset: int) -> bool:
    """Has the group committed just this?"""
    asked = bench.admin()
    try:
        return bool((await asyncio.to_thread(asked.list_group_offsets, {bench.name: [tp]}))[bench.name][tp].offset == offset)
    finally:
        asked.close()


def delete_records(bench: Bench, tp: TopicPartition, before: int) -> None:
    asked = bench.admin()
    asked.delete_records({tp: before})
    asked.close()


async def worked(bench: Bench) -> None:
    """A worker has read three records of partition 0 and ended cleanly."""
    for number in range(3):
        await bench.send(f"{bench.name}.in", "a", Add(id=number, n=1), 0)
    worker = bench.worker()
    await totals(bench, {"a": 3})
    worker.terminate()
    assert worker.wait(LONG) == 0, bench.said_by_workers()


async def test_the_state_says_which_input_it_was_made_from(bench: Bench) -> None:
    await worked(bench)
    asked = bench.admin()
    id_now = str(asked.describe_topics([f"{bench.name}.in"])[0]["topic_id"])
    asked.close()
    said = [identity_of(r.value) for r in await bench.read(bench.fold.state_topic) if r.key == INPUT_KEY.encode()]
    assert said == [InputIdentity(f"{bench.name}.in", id_now)] * PARTITIONS, "one record per partition, written once"
    bench.worker()
    await bench.send(f"{bench.name}.in", "a", Add(id=9, n=1), 0)
    await totals(bench, {"a": 4})
    assert len([r for r in await bench.read(bench.fold.state_topic) if r.key == INPUT_KEY.encode()]) == PARTITIONS


async def test_an_input_made_anew_is_refused_although_it_is_longer_than_before(bench: Bench) -> None:
    await worked(bench)
    asked = bench.admin()
    await made_anew(bench, asked, f"{bench.name}.in")
    asked.close()
    for number in range(20):
        await bench.send(f"{bench.name}.in", "a", Add(id=number, n=1), 0)
    await bench.producer.flush()
    worker = bench.worker()
    assert worker.wait(LONG) == EXIT_REFUSED, bench.said_by_workers()
    assert "the input was deleted and made anew, or mirrored" in bench.logged()
    assert {k: s.total for k, s in (await bench.states()).items()} == {"a": 3}


async def test_records_that_were_deleted_before_they_were_read_are_never_skipped(bench: Bench) -> None:
    await worked(bench)
    for number in range(10, 15):
        await bench.send(f"{bench.name}.in", "a", Add(id=number, n=1), 0)
    await bench.producer.flush()
    asked = bench.admin()
    asked.delete_records({TopicPartition(f"{bench.name}.in", 0): 5})
    worker = bench.worker()
    assert worker.wait(LONG) == EXIT_REFUSED, bench.said_by_workers()
    assert "offsets 3 to 4 were deleted before they were read" in bench.logged()
    # A person decides what becomes of the gap, and says so by setting the group's offset.
    asked.alter_group_offsets(bench.name, {TopicPartition(f"{bench.name}.in", 0): OffsetAndMetadata(5, "", -1)})
    asked.close()
    bench.worker()
    await totals(bench, {"a": 6})


async def test_records_that_were_read_and_then_deleted_are_no_gap(bench: Bench) -> None:
    await worked(bench)
    delete_records(bench, TopicPartition(f"{bench.name}.in", 0), 3)
    worker = bench.worker()
    await bench.send(f"{bench.name}.in", "a", Add(id=10, n=1), 0)
    await totals(bench, {"a": 4})
    assert worker.poll() is None, bench.said_by_workers()


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_the_marker_of_a_transaction_at_the_end_of_a_log_that_was_deleted_is_no_gap(bench: Bench, exactly_once: bool) -> None:
    """A stage upstream writes in transactions: after its last record comes a marker, which is no record but takes an offset."""
    tp = TopicPartition(f"{bench.name}.in", 0)
    upstream = AIOKafkaProducer(bootstrap_servers=bench.bootstrap, transactional_id=f"{bench.name}-up")
    await upstream.start()
    async with upstream.transaction():
        await upstream.send(tp.topic, codec.encode(Add(id=1, n=1)), key=b"a", partition=0)
    worker = bench.worker(exactly_once=exactly_once)
    await totals(bench, {"a": 1})
    await bench.until(partial(committed, bench, tp, 2), "the committed offset behind the marker")
    worker.terminate()
    assert worker.wait(LONG) == 0
    delete_records(bench, tp, 2)
    bench.worker(exactly_once=exactly_once)
    async with upstream.transaction():
        await upstream.send(tp.topic, codec.encode(Add(id=2, n=1)), key=b"a", partition=0)
    await upstream.stop()
    await totals(bench, {"a": 2})


async def made_anew(bench: Bench, asked: Any, topic: str) -> None:
    asked.delete_topics([topic])
    end = time.monotonic() + LONG
    while not asked.describe_topics([topic])[0]["error_code"]:
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    asked.create_topics([NewTopic(topic, PARTITIONS, 1)], wait_for_metadata=True)


async def test_a_state_that_was_lost_is_refused_until_a_person_lets_its_input_be_read_again(bench: Bench) -> None:
    await worked(bench)
    asked = bench.admin()
    await made_anew(bench, asked, bench.fold.state_topic)
    worker = bench.worker()
    assert worker.wait(LONG) == EXIT_REFUSED, bench.said_by_workers()
    assert f"{bench.fold.state_topic}/0 does not say what it was made from, but the group has committed offset 3" in bench.logged()
    assert await bench.states() == {}, "nothing was folded without the state"
    asked.delete_group_offsets(bench.name, [TopicPartition(f"{bench.name}.in", 0)])
    asked.close()
    bench.worker()
    await bench.send(f"{bench.name}.in", "a", Add(id=9, n=1), 0)
    await totals(bench, {"a": 4})


@pytest.mark.parametrize("kind", ["state", "status"])
async def test_a_running_worker_refuses_a_state_or_revision_topic_that_is_made_anew(bench: Bench, kind: str) -> None:
    worker = bench.worker()
    await bench.send(f"{bench.name}.in", "a", Add(id=1, n=1), 0)
    await totals(bench, {"a": 1})
    asked = bench.admin()
    await made_anew(bench, asked, f"{bench.name}.{kind}")
    asked.close()
    assert worker.wait(LONG) == EXIT_REFUSED, bench.said_by_workers()
    assert f"{bench.name}.{kind}" in bench.logged().split("REFUSED to start")[1]


async def test_a_running_worker_refuses_when_its_state_topic_is_deleted(bench: Bench) -> None:
    """It has nothing to write, so nothing else would tell."""
    worker = bench.worker()
    await bench.send(f"{bench.name}.in", "a", Add(id=1, n=1), 0)
    await totals(bench, {"a": 1})
    asked = bench.admin()
    asked.delete_topics([bench.fold.state_topic])
    asked.close()
    assert worker.wait(LONG) == EXIT_REFUSED, bench.said_by_workers()
    assert f"{bench.fold.state_topic} does not exist any more: it was deleted" in bench.logged()


async def test_in_transactions_too_a_quiet_input_whose_records_are_deleted_is_told_from_a_new_group(bench: Bench) -> None:
    """Where a lane begins is committed at once, not only with its first batch."""
    tp = TopicPartition(f"{bench.name}.in", 0)
    worker = bench.worker(exactly_once=True)
    await bench.until(partial(committed, bench, tp, 0), "the committed beginning")
    worker.terminate()
    assert worker.wait(LONG) == 0
    for number in range(2):
        await bench.send(tp.topic, "a", Add(id=number, n=1), 0)
    await bench.producer.flush()
    delete_records(bench, tp, 2)
    worker = bench.worker(exactly_once=True)
    assert worker.wait(LONG) == EXIT_REFUSED, bench.said_by_workers()
    assert "offsets 0 to 1 were deleted before they were read" in bench.logged()


async def test_a_running_worker_refuses_an_input_that_grows(bench: Bench) -> None:
    worker = bench.worker()
    await bench.send(f"{bench.name}.in", "a", Add(id=1, n=1), 0)
    await totals(bench, {"a": 1})
    asked = bench.admin()
    asked.create_partitions({f"{bench.name}.in": PARTITIONS + 1})
    asked.close()
    assert worker.wait(LONG) == EXIT_REFUSED, bench.said_by_workers()
    assert "REFUSED to start" in bench.logged()


@pytest.mark.parametrize("touch", ["tick", "batch"])
async def test_a_state_that_cannot_be_read_is_refused_when_its_key_is_touched_and_nothing_half_done_is_kept(bench: Bench, tmp_path: Path, touch: str) -> None:
    """The restore takes it as it is. A restart meets it again, so the supervisor must not be asked for one."""
    begun = bench.fold.encode_state(Sum(total=7, ids=(1,), due=1))
    for offset, (key, state) in enumerate((("a", begun), ("b", b"\xc1"))):
        await bench.send(f"{bench.name}.in", key, Add(id=1, n=7), 0)
        header = Header(offset=offset, seq=1, due=1 + offset if touch == "tick" else None)
        await bench.producer.send_and_wait(bench.fold.state_topic, pack(header, state), key=key.encode(), partition=0)
    for key in ("a", "b") if touch == "batch" else ():
        await bench.send(f"{bench.name}.in", key, Add(id=2, n=1), 0)
    await bench.producer.flush()
    worker = bench.worker(snapshot_dir=str(tmp_path / "kept"))
    assert await asyncio.to_thread(worker.wait, LONG) == EXIT_REFUSED, bench.said_by_workers()
    said = next(line for line in bench.logged().splitlines() if "REFUSED to start" in line)
    assert (" tick or sweep of " if touch == "tick" else " agent ") in said
    assert f"state of 'b' in {bench.fold.state_topic}/0 cannot be read by this version" in said
    assert list(tmp_path.glob("kept/**/*.state")) == []
    assert [r.value for r in await bench.read(bench.fold.state_topic) if r.key == b"a"] == [pack(Header(0, 1, 1 if touch == "tick" else None), begun)]


async def test_the_broker_says_which_wanted_partitions_nobody_reads(bench: Bench) -> None:
    odd = f"{bench.name}odd"
    bench.create(*topics_of(type(bench.fold)(odd, f"{odd}.in")))
    bench.worker()
    observer = Observer(lambda: {"bootstrap_servers": bench.bootstrap.split(",")}, bench.name)
    wanted = {f"{bench.name}.in"}

    async def whole() -> bool:
        found = await observer.census(wanted)
        return found is not None and found[0].stable and found[0].members == 1 and not found[0].orphans

    await bench.until(whole, "an owner of every partition")
    found = await observer.census({*wanted, f"{odd}.in", f"{bench.name}.none"})
    assert found is not None
    assert found[0].orphans == tuple(TopicPartition(f"{odd}.in", p) for p in range(PARTITIONS))
    assert found[0].missing == (f"{bench.name}.none",)
    observer.close()


async def test_a_broker_that_does_not_answer_gives_no_census_and_no_error() -> None:
    observer = Observer(lambda: {"bootstrap_servers": ["127.0.0.1:1"]}, "g")
    task = asyncio.ensure_future(observer.census({"t"}))
    assert await asyncio.wait_for(task, LONG) is None
    observer.close()


async def test_the_broker_knows_every_member_by_the_name_it_was_given(bench: Bench) -> None:
    bench.worker(instance="host-1")
    asked = admin({"bootstrap_servers": bench.bootstrap.split(",")})

    async def joined() -> bool:
        try:
            group: Any = (await asyncio.to_thread(asked.describe_groups, [bench.name]))[bench.name]
        except CoordinatorNotAvailableError:  # a new broker makes its offsets topic first
            return False
        return [m["group_instance_id"] for m in group["members"]] == ["host-1"]

    await bench.until(joined, "the static member")
    asked.close()
