"""As many partitions as in production, compression, a lane that stalls, values at the limit: on a real Kafka, in both modes of delivery."""
from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher
from aiokafka.structs import TopicPartition

from agents.runner.draft import DEAD_LETTERS
from agents.runner.limits import Limits
from tests.agents.runner_toy import Add, Summing, topics_of
from tests.integration.runner_bench import Bench, Load, check_nothing_lost
from topics.events.outputs import DeadLetter

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def bench(embedded: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(embedded.bootstrap, tmp_path) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def broad(embedded: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(embedded.bootstrap, tmp_path, partitions=24) as made:
        yield made


@pytest.mark.parametrize(("exactly_once", "compression"), [(False, "lz4"), (True, "zstd")])
async def test_24_partitions_compressed_survive_a_join_and_a_kill(broad: Bench, exactly_once: bool, compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load(broad, 24)
    first = broad.worker(exactly_once=exactly_once, compression=compression)
    await load.run(3)
    broad.worker(exactly_once=exactly_once, compression=compression)
    await load.run(3)
    first.kill()
    await load.run(1)
    await check_nothing_lost(broad, load)
    assert await codecs(broad, broad.fold.state_topic, monkeypatch) == {{"lz4": 3, "zstd": 4}[compression]}


async def codecs(bench: Bench, topic: str, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Compression of every batch of a topic, as its bytes come from the broker (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd)."""
    found: set[int] = set()

    class Spied(fetcher.MemoryRecords):
        def next_batch(self) -> Any:
            batch = super().next_batch()
            if batch is not None and not batch.is_control_batch:
                found.add(batch.compression_type)
            return batch

    monkeypatch.setattr(fetcher, "MemoryRecords", Spied)
    await bench.read(topic)
    return found


async def test_a_lane_that_stalls_holds_nobody_up(bench: Bench) -> None:
    """One partition of a stage never comes back from its work; the other one, and a fold in the same process, go on."""
    stalled = f"{bench.name}s"
    bench.create(*topics_of(Summing(stalled, f"{stalled}.in")), f"outcomes.stall-{stalled}")
    bench.worker(bench.name, f"stall:{stalled}")
    await bench.send(f"{stalled}.in", "before", b"0", 0)

    async def copied(wanted: set[str]) -> bool:
        return {r.key.decode() for r in await bench.read(f"{stalled}.out")} == wanted

    await bench.until(lambda: copied({"before"}), "the record before the stall")
    await bench.send(f"{stalled}.in", "never", b"stall", 0)
    await bench.send(f"{stalled}.in", "behind", b"1", 0)
    await bench.producer.flush()
    wanted = {"before"}
    for number in range(40):
        await bench.send(f"{stalled}.in", f"b{number}", b"2", 1)
        await bench.send(f"{bench.name}.in", "k", Add(id=number, n=1))
        wanted.add(f"b{number}")
    await bench.until(lambda: copied(wanted), "everything of the other partition, and nothing of the stalled one")

    async def summed() -> bool:
        return {k: s.total for k, s in (await bench.states()).items()} == {"k": 40}

    await bench.until(summed, "the fold beside it")
    assert bench.workers[0].poll() is None, bench.said_by_workers()


async def test_state_that_grows_too_large_is_parked_and_what_fits_goes_on(bench: Bench) -> None:
    limit = Limits().state_bytes_max
    bench.worker()
    await bench.send(f"{bench.name}.in", "a", Add(id=1, n=1, pad=limit - 1000), 0)
    await bench.send(f"{bench.name}.in", "a", Add(id=2, n=10, pad=limit + 1), 0)
    await bench.send(f"{bench.name}.in", "a", Add(id=3, n=100), 0)
    await bench.send(f"{bench.name}.in", "b", Add(id=4, n=1), 0)

    async def summed() -> bool:
        return {k: s.total for k, s in (await bench.states()).items()} == {"a": 101, "b": 1}

    await bench.until(summed, "all but what is too large")

    async def letters() -> list[tuple[str, int]]:
        every = [msgspec.json.decode(r.value, type=DeadLetter) for r in await bench.read(DEAD_LETTERS)]
        return [(x.code, x.offset) for x in every if x.topic == f"{bench.name}.in"]

    async def kept() -> bool:
        return bool(await letters())

    await bench.until(kept, "what is too large as a dead letter")
    assert await letters() == [("STATE_TOO_LARGE", 1)]
    assert bench.workers[0].poll() is None, bench.said_by_workers()


async def test_readers_of_committed_records_do_not_see_what_a_dead_worker_left_open(bench: Bench) -> None:
    """An unfinished transaction hides its records from readers that ask for committed ones, and the next owner ends it."""
    from aiokafka import AIOKafkaProducer

    from agents.transport.claim import TRANSACTION_TIMEOUT_MS, owner_of

    assert TRANSACTION_TIMEOUT_MS <= 10_000
    name = owner_of(bench.fold.state_topic, 0)
    dead = AIOKafkaProducer(bootstrap_servers=bench.bootstrap, transactional_id=name, transaction_timeout_ms=TRANSACTION_TIMEOUT_MS)
    await dead.start()
    await dead.begin_transaction()
    await dead.send_and_wait(f"{bench.name}.out", b"never committed", partition=0)
    seen: dict[str, list[Any]] = {}
    for isolation in ("read_uncommitted", "read_committed"):
        consumer = AIOKafkaConsumer(bootstrap_servers=bench.bootstrap, auto_offset_reset="earliest", isolation_level=isolation)
        await consumer.start()
        consumer.assign([TopicPartition(f"{bench.name}.out", 0)])
        seen[isolation] = [r.value for rs in (await consumer.getmany(timeout_ms=1500)).values() for r in rs]
        await consumer.stop()
    assert seen == {"read_uncommitted": [b"never committed"], "read_committed": []}
    bench.worker(exactly_once=True)
    await bench.send(f"{bench.name}.in", "a", Add(id=1, n=1), 0)

    async def summed() -> bool:
        return {k: s.total for k, s in (await bench.states()).items()} == {"a": 1}

    await bench.until(summed, "the next owner's work")
    assert b"never committed" not in [r.value for r in await bench.read(f"{bench.name}.out")]
    await dead.stop()
