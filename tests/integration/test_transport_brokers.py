"""Three brokers with replication 3: the leader, the group's coordinator and the controllers' leader are killed under load, one after the other."""
from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer
from kafka.admin import NewTopic

from agents.embedded.quorum import Quorum
from tests.agents.runner_toy import Add
from tests.integration.runner_bench import LONG, Bench, Load, check_nothing_lost

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


async def test_an_output_that_brokers_do_not_take_slows_nobody_but_its_own_stage(bench: Bench, quorum: Quorum) -> None:
    """The fold beside it gets as many records through, one after the other, in about the time in which it does alone: they share a producer."""
    stalled, number = f"{bench.name}s", itertools.count(1)
    bench.create(f"{stalled}.in", f"outcomes.{stalled}")
    admin = bench.admin()
    on_two = {partition: [1 + partition % 2, 3] for partition in range(bench.partitions)}
    admin.create_topics([NewTopic(f"{stalled}.out", -1, -1, replica_assignments=on_two, topic_configs={"min.insync.replicas": "2"})], wait_for_metadata=True)
    admin.close()
    bench.worker(bench.name, f"stall:{stalled}")
    heard = AIOKafkaConsumer(f"{bench.name}.out", bootstrap_servers=bench.bootstrap, auto_offset_reset="earliest")
    await heard.start()
    try:

        async def through(count: int) -> float:
            began = time.monotonic()
            for _ in range(count):
                await (await bench.send(f"{bench.name}.in", "k", Add(id=next(number), n=1)))
                await asyncio.wait_for(heard.getone(), LONG)
            return time.monotonic() - began

        await through(20)
        broker = quorum.broker(3)
        await asyncio.to_thread(broker.kill)
        await through(20)
        alone = await through(60)
        for partition in range(bench.partitions):
            await bench.send(f"{stalled}.in", "never", b"1", partition)

        async def refused() -> bool:
            said = bench.logged()
            return all(f"topic='{stalled}.out', partition={p}), retrying. Error: <class 'aiokafka.errors.NotEnoughReplicas" in said
                       for p in range(bench.partitions))

        await bench.until(refused, "an output that is not taken")
        beside = await through(60)
        assert beside < 5 * alone, "14 times as long, when aiokafka sleeps before it tries again and sends nothing to that node meanwhile"
    finally:
        await heard.stop()
        await asyncio.to_thread(lambda: broker.start().wait())
