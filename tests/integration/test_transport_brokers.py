"""Three brokers with replication 3: the leader, the group's coordinator and the controllers' leader are killed under load, one after the other."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agents.embedded.quorum import Quorum
from tests.integration.runner_bench import Bench, Load, check_nothing_lost

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def quorum() -> Iterator[Quorum]:
    with Quorum() as quorum:
        yield quorum


@pytest_asyncio.fixture(loop_scope="session")
async def bench(quorum: Quorum, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(quorum.bootstrap, tmp_path, partitions=3, replication=3) as made:
        yield made


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_brokers_that_die_under_load_lose_nothing_and_end_no_worker(bench: Bench, quorum: Quorum, exactly_once: bool) -> None:
    load = Load(bench, 41)
    bench.worker(exactly_once=exactly_once)
    bench.worker(exactly_once=exactly_once)
    await load.run(3)
    for role in ("leader", "coordinator", "controller"):
        node = await asyncio.to_thread(
            {"leader": lambda: quorum.leader(f"{bench.name}.in", 0), "coordinator": lambda: quorum.coordinator(bench.name),
             "controller": quorum.controller}[role])  # fmt: skip
        broker = quorum.broker(node)
        broker.kill()
        await load.run(2)
        await asyncio.to_thread(broker.start)
        await asyncio.to_thread(broker.wait)
        await load.run(1.5)

        async def whole() -> bool:
            return all([len(await asyncio.to_thread(quorum.in_sync, f"{bench.name}.in", p)) == 3 for p in range(3)])

        await bench.until(whole, f"all replicas in sync again after the {role} was killed")
    await check_nothing_lost(bench, load)
    assert [w.poll() for w in bench.workers] == [None, None], bench.said_by_workers()
