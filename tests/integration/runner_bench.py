"""Topics, load, worker processes and the checks of a run, for tests of the runner and the transport on a real Kafka."""
from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

from agents.runner.cells import Header, unpack
from agents.runner.draft import DEAD_LETTERS
from tests.agents.runner_toy import Add, Said, Sum, Summing, topics_of
from topics import codec
from topics.events.outputs import BatchOutcomes, DeadLetter

PARTITIONS = 2
ROOT = Path(__file__).parents[2]
LONG = 60.0
"""Patience on a busy machine; nothing waits so long when all is well."""


def _age(header: Header) -> tuple[int, int]:
    return header.offset, header.seq


class Bench:
    """Topics, a producer and worker processes of one test."""

    def __init__(self, bootstrap: str, logs: Path, *, partitions: int = PARTITIONS, replication: int = 1, security: dict[str, Any] | None = None) -> None:
        self.bootstrap, self.logs, self.partitions, self.replication = bootstrap, logs, partitions, replication
        self.security = security or {}
        """Of an administrator, aiokafka's names."""
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.fold = Summing(self.name, f"{self.name}.in")
        self.workers: list[subprocess.Popen[bytes]] = []
        self.producer: Any = None

    async def __aenter__(self) -> Bench:
        self.create(*topics_of(self.fold), DEAD_LETTERS)
        self.producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True, linger_ms=5, **self.security)
        await self.producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.producer.stop()
        for process in self.workers:
            process.kill()
            process.wait()

    def admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(bootstrap_servers=self.bootstrap.split(","), **self.security)

    def create(self, *topics: str, partitions: int = 0) -> None:
        admin = self.admin()
        for topic in topics:
            config = {"message.timestamp.type": "LogAppendTime"} if topic.endswith(".in") else {}
            with contextlib.suppress(TopicAlreadyExistsError):
                admin.create_topics([NewTopic(topic, partitions or self.partitions, self.replication, topic_configs=config)], wait_for_metadata=True)
        admin.close()

    def worker(self, *names: str, exactly_once: bool = False, **settings: Any) -> subprocess.Popen[bytes]:
        with open(self.logs / f"worker-{len(self.workers)}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.agents.runner_toy", self.bootstrap, self.name, str(int(exactly_once)), *(names or (self.name,))],
                cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.logs), "RAILCLEAR_TOY": msgspec.json.encode(settings).decode()},
            )  # fmt: skip
        self.workers.append(process)
        return process

    def logged(self) -> str:
        """All that the workers have said."""
        return "\n".join(p.read_text() for p in sorted(self.logs.glob("worker-*.log")))

    def said_by_workers(self) -> str:
        """The ends of their logs, for the message of a failed assertion."""
        return "\n".join(f"--- {p.name}\n{p.read_text()[-4000:]}" for p in sorted(self.logs.glob("worker-*.log")))

    async def send(self, topic: str, key: str, value: msgspec.Struct | bytes, partition: int | None = None) -> Any:
        data = value if isinstance(value, bytes) else codec.encode(value)
        return await self.producer.send(topic, data, key=key.encode(), partition=partition)

    async def read(self, topic: str) -> list[Any]:
        """Every committed record of a topic as it is now, by partition and offset."""
        # Without a group it is given every partition: dead letters are shared with other benches of the same broker, which may have more of them.
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=self.bootstrap, group_id=None, auto_offset_reset="earliest", isolation_level="read_committed", **self.security)
        await consumer.start()
        try:
            parts = sorted(consumer.assignment())
            assert parts, f"no partitions of {topic} are known"
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
            if record.value is None:
                continue
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
    for record in await bench.read(bench.fold.revision_topics[0]):
        status = msgspec.json.decode(record.value, type=Said)
        assert status.revision > last.get(status.key, 0), "a revision repeats or falls"
        last[status.key] = status.revision
