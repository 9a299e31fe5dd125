"""A worker that is told to stop ends in a bounded time, also when its brokers take everything and answer nothing."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agents.embedded import Broker
from agents.embedded.jars import cache_directory, class_path
from tests.agents.runner_toy import Add
from tests.integration.runner_bench import Bench, Load

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

ENDS_S = 200.0
"""It takes 13 to 38 s: the batches in flight, the commit, the consumer and the producer have their limits, one after the other."""


@pytest.fixture
def broker() -> Iterator[Broker]:
    """One for each test: after it was frozen a broker is fenced for a while and makes no topics."""
    with Broker(class_path(cache_directory())) as broker:
        yield broker


@pytest_asyncio.fixture(loop_scope="session")
async def bench(broker: Broker, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(broker.bootstrap, tmp_path) as made:
        yield made
        broker.thaw()


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_a_worker_whose_broker_does_not_answer_ends_when_it_is_told_to(bench: Bench, broker: Broker, exactly_once: bool) -> None:
    load = Load(bench, 21)
    worker = bench.worker(exactly_once=exactly_once, session_timeout_s=30)
    await load.run(2)

    async def worked() -> bool:
        return bool(await bench.states())

    await bench.until(worked, "its first states")
    for number in range(3000):
        load.sent.append(await bench.send(f"{bench.name}.in", f"k{number % 50}", Add(id=-number, n=1)))
    await load.settled()
    broker.freeze()                                     # in the middle of the worker's batches
    worker.terminate()
    assert await asyncio.to_thread(worker.wait, ENDS_S) == 0, bench.said_by_workers()
