"""Partitions that come back on a real Kafka: from memory after a rebalance, from disk after kill -9, from the topic when nothing fits."""
from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agents.runner.cells import Header, pack
from agents.transport import snapshot
from agents.transport.reached import REVISIONS_KEY
from tests.agents.runner_toy import Sum
from tests.integration.runner_bench import LONG, PARTITIONS, Bench, Load, check_nothing_lost

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def bench(embedded: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(embedded.bootstrap, tmp_path) as made:
        yield made


def restores(bench: Bench, worker: int) -> list[tuple[int, str]]:
    """Records read and where the restore began, of each lane that a worker prepared, in order."""
    text = (bench.logs / f"worker-{worker}.log").read_text()
    return [(int(n), source) for n, source in re.findall(r"generation \d+: (\d+) records from (\w+)", text)]


def whole_file(file: Path) -> bool:
    try:
        return bool(snapshot.read(file)[1])
    except snapshot.SnapshotError:
        return False


async def while_loaded(bench: Bench, load: Load, worker: int) -> None:
    """Load until this worker has prepared a lane."""

    async def prepared() -> bool:
        await load.run(0.5)
        return bool(restores(bench, worker))

    await bench.until(prepared, f"a lane of worker {worker}")


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_joins_leaves_and_kills_with_catch_up_lose_nothing(bench: Bench, exactly_once: bool) -> None:
    load = Load(bench, 11)
    bench.worker(exactly_once=exactly_once)
    await load.run(2)
    for _ in range(3):
        joined = bench.worker(exactly_once=exactly_once)
        await while_loaded(bench, load, len(bench.workers) - 1)
        joined.terminate()
        await load.run(1)
    killed = bench.worker(exactly_once=exactly_once)
    await while_loaded(bench, load, len(bench.workers) - 1)
    killed.kill()
    await load.run(1)
    await check_nothing_lost(bench, load)
    found = restores(bench, 0)
    assert [source for _, source in found[:PARTITIONS]] == ["topic"] * PARTITIONS
    assert [source for _, source in found].count("memory") >= 3, found
    assert bench.workers[0].poll() is None, bench.said_by_workers()


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_a_restore_from_the_topics_reads_only_the_last_revisions_and_none_repeats(bench: Bench, exactly_once: bool) -> None:
    load, settings = Load(bench, 13), {"revisions_every": 50}
    for n in range(3):
        worker = bench.worker(exactly_once=exactly_once, **settings)
        await load.run(3)
        await check_nothing_lost(bench, load)
        await load.run(2)       # what came before this worker was ready is one large publication, and its revisions are counted behind a later one
        await check_nothing_lost(bench, load)
        if n < 2:
            worker.kill()
            worker.wait()
    states, revisions = await bench.read(bench.fold.state_topic), await bench.read(bench.fold.revision_topics[0])
    assert len([r for r in states if r.key == REVISIONS_KEY]) > PARTITIONS
    read = restores(bench, 2)
    assert [source for _, source in read] == ["topic"] * PARTITIONS
    before = [r for r in revisions if r.timestamp < max(r.timestamp for r in revisions) - 6_000]
    assert len(before) > 500, "or this shows nothing"
    assert sum(n for n, _ in read) < len(states) + len(before) / 2, "most revisions were not read"


async def test_a_snapshot_shortens_the_restore_after_kill_minus_nine_and_a_damaged_one_is_left_aside(bench: Bench, tmp_path: Path) -> None:
    load = Load(bench, 12)
    settings: dict[str, Any] = {"snapshot_dir": str(tmp_path / "state"), "snapshot_s": 0.5, "version": "v1"}
    first = bench.worker(**settings)
    await load.run(4)

    async def written() -> bool:
        return len(list((tmp_path / "state").glob("*.state"))) == PARTITIONS

    await bench.until(written, "a snapshot of each partition")
    await asyncio.sleep(10 * settings["snapshot_s"])  # the first ones may be of the beginning: let the last come too
    first.kill()
    first.wait()
    second = bench.worker(**settings)
    await load.run(2)
    await check_nothing_lost(bench, load)
    found = restores(bench, 1)
    assert [source for _, source in found] == ["disk"] * PARTITIONS
    whole = len(await bench.read(bench.fold.state_topic)) + len(await bench.read(bench.fold.revision_topics[0]))
    assert sum(n for n, _ in found) < whole / 2, "most of the topic was not read"
    second.terminate()
    assert second.wait(LONG) == 0
    for file in (tmp_path / "state").glob("*.state"):
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    third = bench.worker(**settings)
    await load.run(1)
    await check_nothing_lost(bench, load)
    assert [source for _, source in restores(bench, 2)] == ["topic"] * PARTITIONS
    assert "is damaged" in (bench.logs / "worker-2.log").read_text()

    async def written_anew() -> bool:
        return all(whole_file(file) for file in (tmp_path / "state").glob("*.state"))

    await bench.until(written_anew, "new snapshots in place of the damaged ones")
    third.kill()
    third.wait()
    bench.worker(**{**settings, "version": "v2"})
    await load.run(1)
    await check_nothing_lost(bench, load)
    assert {source for _, source in restores(bench, 3)} == {"topic"}
    assert "version v1, wanted are 2 and v2" in (bench.logs / "worker-3.log").read_text()


async def test_a_clean_stop_leaves_snapshots_that_need_almost_no_tail(bench: Bench, tmp_path: Path) -> None:
    load = Load(bench, 13)
    settings = {"snapshot_dir": str(tmp_path / "state"), "snapshot_s": 3600.0}
    first = bench.worker(**settings)
    await load.run(2)
    await check_nothing_lost(bench, load)
    first.terminate()
    assert first.wait(LONG) == 0
    bench.worker(**settings)
    await load.run(0.5)
    await check_nothing_lost(bench, load)
    found = restores(bench, 1)
    assert [source for _, source in found] == ["disk"] * PARTITIONS
    assert sum(n for n, _ in found) < 200, found


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_a_stop_in_the_middle_of_a_restore_is_a_clean_stop(bench: Bench, exactly_once: bool) -> None:
    data = bench.fold.encode_state(Sum(pad="x" * 20_000))
    for number in range(3000):
        await bench.producer.send(bench.fold.state_topic, pack(Header(offset=-1, seq=1), data), key=f"k{number}".encode(), partition=number % PARTITIONS)
    await bench.producer.flush()
    worker = bench.worker(exactly_once=exactly_once)

    async def assigned() -> bool:
        return "Executing _on_partitions_assigned" in (bench.logs / "worker-0.log").read_text()

    await bench.until(assigned, "an assignment")
    worker.terminate()
    assert worker.wait(LONG) == 0, bench.said_by_workers()
    assert "FATAL" not in bench.logged()
