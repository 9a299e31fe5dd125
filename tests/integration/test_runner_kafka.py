"""The runner on a real Kafka: kill -9, rebalances, poison, ticks, sweeps, several stages in one process, refusals to start."""
from __future__ import annotations

import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from agents.runner.cells import Header, pack
from agents.runner.draft import DEAD_LETTERS
from agents.transport.fatal import EXIT_CRASH, EXIT_REFUSED
from streams.fold import EVERY_PARTITION
from tests.agents.runner_toy import BUG, Add, Factor, Said, Sum, Summing, topics_of
from tests.integration.runner_bench import LONG, PARTITIONS, Bench, Load, check_nothing_lost
from topics.events.outputs import BatchOutcomes

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

@pytest_asyncio.fixture(loop_scope="session")
async def bench(embedded: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(embedded.bootstrap, tmp_path) as made:
        yield made


async def test_kill_minus_nine_and_rebalances_lose_nothing(bench: Bench) -> None:
    load = Load(bench, 1)
    first = bench.worker()
    await load.run(3)
    second = bench.worker()
    await load.run(3)
    first.kill()
    await load.run(1)
    third = bench.worker()
    await load.run(3)
    second.send_signal(signal.SIGTERM)
    await load.run(2)
    await check_nothing_lost(bench, load)
    assert second.wait(LONG) == 0
    assert third.poll() is None, bench.said_by_workers()


async def test_exactly_once_survives_kill_minus_nine_without_a_duplicate(bench: Bench) -> None:
    load = Load(bench, 2)
    for _ in range(2):
        worker = bench.worker(exactly_once=True)
        await load.run(3.5)
        worker.kill()
        worker.wait()
    bench.worker(exactly_once=True)
    await load.run(0.5)
    await check_nothing_lost(bench, load)
    outcomes = [msgspec.json.decode(r.value, type=BatchOutcomes) for r in await bench.read(f"outcomes.{bench.name}")]
    covered = Counter((b.partition, o) for b in outcomes for o in range(b.first, b.last + 1))
    absent = {(b.partition, o) for b in outcomes for low, high in b.absent for o in range(low, high + 1)}
    assert {o for o, n in covered.items() if n > 1 and o not in absent} == set()
    letters = Counter((r.key) for r in await bench.read(DEAD_LETTERS) if r.key.startswith(f"{bench.name}.in".encode()))
    assert set(letters.values()) <= {1}


async def test_stages_in_one_process_ticks_fire_and_a_broadcast_sweeps_every_key(bench: Bench) -> None:
    other = f"{bench.name}x"
    bench.create(*topics_of(Summing(other, f"{other}.in")), "outside", "outside.two", "outcomes.intake")
    bench.worker(bench.name, other)

    async def said(name: str) -> list[Said]:
        return [msgspec.json.decode(r.value, type=Said) for r in await bench.read(f"{name}.out")]

    for number in range(40):
        await bench.send("outside" if number % 2 else "outside.two", f"k{number % 8}", Add(id=number, n=1))
        await bench.send(f"{other}.in", f"o{number % 8}", Add(id=number, n=2, due_in_s=1.5 if number >= 32 else 0))
    await bench.producer.flush()

    async def summed() -> bool:
        states = await bench.states()
        return [states.get(f"k{i}", Sum()).total for i in range(8)] == [5] * 8

    await bench.until(summed, "what came through two outside topics")

    async def alarmed() -> bool:
        return sorted(s.key for s in await said(other) if s.why == "alarm") == [f"o{i}" for i in range(8)]

    await bench.until(alarmed, "one alarm per key")
    assert not [s for s in await said(bench.name) if s.why == "alarm"]
    for partition in sorted(await bench.producer.partitions_for(f"{bench.name}.in")):
        await bench.send(f"{bench.name}.in", "all", Factor(name="f", version=1, by=100), partition)

    async def swept() -> bool:
        return {s.key: s.scaled for s in await said(bench.name) if s.why == "broadcast"} == {f"k{i}": 500 for i in range(8)}

    await bench.until(swept, "the sweep")
    assert EVERY_PARTITION not in {p for _, p, _ in await bench.fates("intake")}


async def test_a_bug_in_a_fold_ends_the_process_and_acknowledges_nothing(bench: Bench) -> None:
    await bench.send(f"{bench.name}.in", "a", Add(id=1, n=1), 0)
    await bench.send(f"{bench.name}.in", "a", Add(id=2, n=BUG), 0)
    await bench.producer.flush()
    worker = bench.worker()
    assert worker.wait(LONG) == EXIT_CRASH
    assert "FATAL agent" in bench.logged()
    assert await bench.fates(bench.name) == {}
    assert await bench.states() == {}


@pytest.mark.parametrize("wrong", ["partitions", "input"])
async def test_a_worker_refuses_topics_that_do_not_fit(bench: Bench, wrong: str) -> None:
    if wrong == "partitions":
        odd = f"{bench.name}odd"
        fold = Summing(odd, f"{odd}.in")
        bench.create(*(t for t in topics_of(fold) if t != fold.state_topic))
        bench.create(fold.state_topic, partitions=PARTITIONS + 1)
        names, expected = [odd], "state would be orphaned"
    else:
        header = Header(offset=10_000, seq=1)
        await bench.producer.send_and_wait(bench.fold.state_topic, pack(header, bench.fold.encode_state(Sum())), key=b"k", partition=0)
        names, expected = [bench.name], "was deleted or restored from elsewhere"
    worker = bench.worker(*names)
    assert worker.wait(LONG) == EXIT_REFUSED
    assert expected in bench.logged()
    assert "REFUSED to start" in bench.logged()
