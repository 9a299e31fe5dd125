"""The runner on a real Kafka: kill -9, rebalances, poison, ticks, sweeps, several stages in one process, refusals to start."""
from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

from agents.runner.cells import Header, pack, unpack
from agents.runner.draft import DEAD_LETTERS
from agents.transport.fatal import EXIT_CRASH, EXIT_REFUSED
from streams.fold import EVERY_PARTITION
from tests.agents.runner_toy import BUG, Add, Factor, Said, Sum, Summing, topics_of
from topics import codec
from topics.events.outputs import BatchOutcomes, DeadLetter

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

PARTITIONS = 2
ROOT = Path(__file__).parents[2]
LONG = 60.0
"""Patience on a busy machine; nothing waits so long when all is well."""


def _age(header: Header) -> tuple[int, int]:
    return header.offset, header.seq


class Bench:
    """Topics, a producer and worker processes of one test."""

    def __init__(self, bootstrap: str, logs: Path) -> None:
        self.bootstrap, self.logs = bootstrap, logs
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.fold = Summing(self.name, f"{self.name}.in")
        self.workers: list[subprocess.Popen[bytes]] = []
        self.producer: Any = None

    def create(self, *topics: str, partitions: int = PARTITIONS) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        for topic in topics:
            config = {"message.timestamp.type": "LogAppendTime"} if topic.endswith(".in") else {}
            with contextlib.suppress(TopicAlreadyExistsError):
                admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config)], wait_for_metadata=True)
        admin.close()

    def worker(self, *names: str, exactly_once: bool = False) -> subprocess.Popen[bytes]:
        with open(self.logs / f"worker-{len(self.workers)}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.agents.runner_toy", self.bootstrap, self.name, str(int(exactly_once)), *(names or (self.name,))],
                cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        self.workers.append(process)
        return process

    def said_by_workers(self) -> str:
        return "\n".join(f"--- {p.name}\n{p.read_text()[-4000:]}" for p in sorted(self.logs.glob("worker-*.log")))

    async def send(self, topic: str, key: str, value: msgspec.Struct | bytes, partition: int | None = None) -> Any:
        data = value if isinstance(value, bytes) else codec.encode(value)
        return await self.producer.send(topic, data, key=key.encode(), partition=partition)

    async def read(self, topic: str) -> list[Any]:
        """Every committed record of a topic as it is now, by partition and offset."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed")
        await consumer.start()
        try:
            parts = [TopicPartition(topic, p) for p in range(PARTITIONS)]
            consumer.assign(parts)
            await consumer.seek_to_beginning(*parts)
            found: list[Any] = []
            for tp, end in (await consumer.end_offsets(parts)).items():
                while await consumer.position(tp) < end:
                    for records in (await consumer.getmany(tp, timeout_ms=200)).values():
                        found += records
            return found
        finally:
            await consumer.stop()

    async def until(self, done: Callable[[], Awaitable[bool]], what: str) -> None:
        end = time.monotonic() + LONG
        while not await done():
            assert time.monotonic() < end, f"{what} did not come about\n{self.said_by_workers()}"
            await asyncio.sleep(0.2)

    async def states(self) -> dict[str, Sum]:
        found: dict[str, tuple[Header, bytes]] = {}
        for record in await self.read(self.fold.state_topic):
            key = record.key.decode()
            header, data = unpack(record.value)
            if not key.startswith("\x00") and (key not in found or _age(found[key][0]) <= _age(header)):
                found[key] = header, data
        return {k: self.fold.decode_state(data) for k, (_, data) in found.items()}

    async def fates(self, stage: str) -> dict[tuple[str, int, int], str]:
        found: dict[tuple[str, int, int], str] = {}
        for record in await self.read(f"outcomes.{stage}"):
            batch = msgspec.json.decode(record.value, type=BatchOutcomes)
            listed = {e.offset: e.fate for e in batch.exceptions}
            for offset in range(batch.first, batch.last + 1):
                if listed.get(offset) != "redelivered":
                    found[batch.topic, batch.partition, offset] = listed.get(offset, "applied")
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def bench(embedded: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(embedded.bootstrap, tmp_path)
    bench.create(*topics_of(bench.fold), DEAD_LETTERS)
    bench.producer = AIOKafkaProducer(bootstrap_servers=bench.bootstrap, acks="all", enable_idempotence=True, linger_ms=5)
    await bench.producer.start()
    yield bench
    await bench.producer.stop()
    for process in bench.workers:
        process.kill()
        process.wait()


class Load:
    """Sends events and poison for a while and knows what must come of it."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench, self.rng = bench, random.Random(seed)
        self.totals: dict[str, int] = defaultdict(int)
        self.poison = 0
        self.sent: list[Any] = []
        self.number = 0

    async def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(20):
                key, n = f"k{self.rng.randrange(50)}", self.rng.randrange(5)
                self.number += 1
                if self.rng.random() < 0.02:
                    self.poison += 1
                    self.sent.append(await self.bench.send(f"{self.bench.name}.in", key, b"\xffpoison"))
                else:
                    self.totals[key] += n
                    self.sent.append(await self.bench.send(f"{self.bench.name}.in", key, Add(id=self.number, n=n)))
            await asyncio.sleep(0.02)

    async def settled(self) -> set[tuple[str, int, int]]:
        return {(m.topic, m.partition, m.offset) for m in [await future for future in self.sent]}


async def check_nothing_lost(bench: Bench, load: Load) -> None:
    """Totals exact, every offset accounted for, every poison kept once or more, no revision twice."""
    offsets = await load.settled()

    async def all_accounted() -> bool:
        return set(await bench.fates(bench.name)) == offsets

    await bench.until(all_accounted, "an outcome for every offset")

    async def all_stored() -> bool:
        return {k: s.total for k, s in (await bench.states()).items()} == load.totals

    await bench.until(all_stored, "the right totals")
    newest: dict[str, Said] = {}
    for record in await bench.read(f"{bench.name}.out"):
        status = msgspec.json.decode(record.value, type=Said)
        newest[status.key] = max(status, newest.get(status.key, status), key=lambda s: s.revision)
    assert {k: newest[k].total if k in newest else 0 for k in load.totals} == load.totals, "the state holds what was never said"
    fates = Counter((await bench.fates(bench.name)).values())
    assert fates["refused"] == load.poison
    letters = [msgspec.json.decode(r.value, type=DeadLetter) for r in await bench.read(DEAD_LETTERS)]
    mine = {(x.partition, x.offset) for x in letters if x.topic == f"{bench.name}.in"}
    assert len(mine) == load.poison
    assert all(x.value == b"\xffpoison" for x in letters if x.topic == f"{bench.name}.in")
    last: dict[str, int] = {}
    for record in await bench.read(bench.fold.revision_topic):
        status = msgspec.json.decode(record.value, type=Said)
        assert status.revision > last.get(status.key, 0), "a revision repeats or falls"
        last[status.key] = status.revision


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
    assert "FATAL agent" in bench.said_by_workers()
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
    assert expected in bench.said_by_workers()
    assert "REFUSED to start" in bench.said_by_workers()
