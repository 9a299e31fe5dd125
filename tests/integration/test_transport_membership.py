"""Who leaves the group and when: dynamic members at once, cleanly or not; static ones only when told. Sessions are long, so that leaving shows."""
from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka.structs import TopicPartition
from kafka.errors import CoordinatorNotAvailableError

from agents.transport.census import admin, leave
from agents.transport.fatal import EXIT_CRASH, EXIT_REFUSED, Refuses
from tests.agents.runner_toy import BUG, Add
from tests.integration.runner_bench import LONG, Bench, Load, check_nothing_lost

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

SESSION_S = 240.0
"""Far beyond the patience of these tests: whoever does not leave is still a member at their end. The broker allows 300 s."""


@pytest_asyncio.fixture(loop_scope="session")
async def bench(embedded: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(embedded.bootstrap, tmp_path) as made:
        yield made


class Group:
    """What the broker says of the bench's group."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.admin = bench, admin({"bootstrap_servers": bench.bootstrap.split(",")})

    async def owners(self) -> dict[str, list[TopicPartition]]:
        """Partitions by member (its instance name, or its own id)."""
        try:
            group = (await asyncio.to_thread(self.admin.describe_groups, [self.bench.name]))[self.bench.name]
        except CoordinatorNotAvailableError:  # a new broker makes its offsets topic first
            return {}
        if group["group_state"] != "Stable":
            return {}
        return {
            m["group_instance_id"] or m["member_id"]: [
                TopicPartition(t["topic"], p) for t in m["member_assignment"]["assigned_partitions"] for p in t["partitions"]]
            for m in group["members"]
        }

    async def until(self, *counts: int) -> dict[str, list[TopicPartition]]:
        """Until the members own so many partitions each."""
        found: dict[str, list[TopicPartition]] = {}

        async def so() -> bool:
            nonlocal found
            found = await self.owners()
            return sorted(len(owned) for owned in found.values()) == sorted(counts)

        await self.bench.until(so, f"members with {counts} partitions")
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def group(bench: Bench) -> AsyncIterator[Group]:
    made = Group(bench)
    yield made
    made.admin.close()


async def test_a_dynamic_member_that_crashes_leaves_at_once(bench: Bench, group: Group) -> None:
    first = bench.worker(session_timeout_s=SESSION_S)
    await group.until(2)
    bench.worker(session_timeout_s=SESSION_S)
    await group.until(1, 1)
    # A bug of the fold ends whoever owns partition 0, then, when it has been given the partition, the other member.
    await bench.send(f"{bench.name}.in", "a", Add(id=1, n=BUG), 0)
    await bench.producer.flush()

    async def one_ended() -> bool:
        return any(worker.poll() is not None for worker in bench.workers)

    await bench.until(one_ended, "the crash")
    ended = next(worker for worker in bench.workers if worker.poll() is not None)
    assert ended.returncode == EXIT_CRASH, bench.said_by_workers()

    async def taken_over() -> bool:
        return all(worker.poll() is not None for worker in bench.workers)

    await bench.until(taken_over, "the other member's turn at the same record, long before the session ends")
    assert await group.owners() == {}
    assert first.returncode == EXIT_CRASH


async def test_records_that_are_deleted_under_a_running_reader_are_never_skipped_and_its_end_keeps_nobody_waiting(bench: Bench, group: Group) -> None:
    worker = bench.worker(session_timeout_s=SESSION_S)
    await bench.send(f"{bench.name}.in", "a", Add(id=1, n=1), 0)

    async def totals() -> bool:
        return {k: s.total for k, s in (await bench.states()).items()} == {"a": 1}

    await bench.until(totals, "the first record")
    asked = bench.admin()
    tp = TopicPartition(f"{bench.name}.in", 0)

    async def committed() -> bool:
        found = await asyncio.to_thread(asked.list_group_offsets, {bench.name: [tp]})
        return bool(found[bench.name][tp].offset == 1)

    await bench.until(committed, "its commit")
    worker.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1)                              # what it has asked for by now is answered: nothing
    for number in range(2, 7):
        await bench.send(tp.topic, "a", Add(id=number, n=1), 0)
    await bench.producer.flush()
    asked.delete_records({tp: 4})
    asked.close()
    worker.send_signal(signal.SIGCONT)
    assert worker.wait(LONG) == EXIT_CRASH, bench.said_by_workers()
    assert "the log does not have the offset that comes next" in bench.logged()

    async def left() -> bool:
        return await group.owners() == {}

    await bench.until(left, "an empty group, long before the session ends")
    again = bench.worker(session_timeout_s=SESSION_S)
    assert again.wait(LONG) == EXIT_REFUSED, bench.said_by_workers()
    assert "offsets 1 to 3 were deleted before they were read" in bench.logged()
    assert await totals(), "nothing behind the gap was read"


async def test_a_dynamic_member_that_is_stopped_leaves_at_once(bench: Bench, group: Group) -> None:
    first = bench.worker(session_timeout_s=SESSION_S)
    await group.until(2)
    bench.worker(session_timeout_s=SESSION_S)
    await group.until(1, 1)
    first.terminate()
    assert first.wait(LONG) == 0
    await group.until(2)


async def test_a_static_member_stays_through_kill_and_stop_and_goes_when_told(bench: Bench, group: Group) -> None:
    load = Load(bench, 5)
    static = {"session_timeout_s": SESSION_S}
    first = bench.worker(instance="one", **static)
    await group.until(2)
    bench.worker(instance="two", **static)
    before = await group.until(1, 1)
    await load.run(1.5)
    first.kill()
    first.wait()
    again = bench.worker(instance="one", **static)
    await load.run(1.5)
    await check_nothing_lost(bench, load)
    assert await group.owners() == before, "the same partitions, without the other member noticing"
    assert "given up" not in (bench.logs / "worker-1.log").read_text()
    again.terminate()
    assert again.wait(LONG) == 0
    assert await group.owners() == before, "a stop keeps the place too"
    client = {"bootstrap_servers": bench.bootstrap.split(",")}
    await asyncio.to_thread(leave, client, bench.name, "one")
    owners = await group.until(2)
    assert list(owners) == ["two"]
    with pytest.raises(Refuses, match=r"member one of group .* is not removed: UnknownMemberIdError"):
        await asyncio.to_thread(leave, client, bench.name, "one")


async def test_two_processes_under_one_name_do_not_throw_each_other_out_for_ever(bench: Bench, group: Group) -> None:
    first = bench.worker(instance="one")
    await group.until(2)
    second = bench.worker(instance="one")
    assert first.wait(LONG) == EXIT_REFUSED, bench.said_by_workers()
    assert "another process runs under this name" in bench.logged()
    await group.until(2)
    assert second.poll() is None
