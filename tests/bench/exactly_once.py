"""`python -m tests.bench.exactly_once`: what transactions cost a stage, beside at-least-once in the same run on embedded Kafka.

Every event has a key of its own, so each gives one state record, two outputs and a share of its batch's outcomes: the worst case, and
that of CLEARANCE. Measured per variant: rate with a backlog, from its first record until the last is committed and visible; latency from sending to
reading the output (readers ask for committed records only) and processor time per event at a steady rate; and for how long those readers see nothing new
when one of two workers is killed.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka import TopicPartition

from agents.embedded.jars import aot_file, cache_directory, class_path, kafka_version
from agents.embedded.kafka import Broker
from agents.transport.claim import TRANSACTION_TIMEOUT_MS
from tests.agents.runner_toy import Add, Said
from tests.bench import on_kafka, stopwatch
from tests.bench.eos_worker import FIRST
from tests.integration.runner_bench import Bench
from topics import codec

PARTITIONS = 4
EVENTS = 150_000
"""Of a backlog: a batch may hold 16,000 of a partition, and one or two of them say nothing."""
PATIENCE_S = 60.0
START_S, SLOWEST = 120.0, 500.0
"""A backlog is waited for as long as a start takes, and as it takes at so many events a second."""


class Variant(msgspec.Struct, frozen=True):
    """One way to publish."""

    name: str
    exactly_once: bool
    verification: bool = True
    """Broker: `transaction.partition.verification.enable`."""
    retry_ms: int = 20
    """Client: back-off between tries."""


VARIANTS = (
    Variant("at-least-once", False),
    Variant("exactly-once, verification, 100 ms", True, True, 100),
    Variant("exactly-once, verification, 20 ms", True, True, 20),
    Variant("exactly-once, no verification, 20 ms", True, False, 20),
)


class Reader:
    """Reads committed outputs and notes when each key was first seen."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.seen, self.order = bench, dict[str, float](), list[float]()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Reader:
        self.consumer = AIOKafkaConsumer(f"{self.bench.name}.out", bootstrap_servers=self.bench.bootstrap, auto_offset_reset="earliest",
                                         isolation_level="read_committed", fetch_max_wait_ms=100)
        await self.consumer.start()
        self._task = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        decoder = msgspec.json.Decoder(Said)
        while True:
            for records in (await self.consumer.getmany(timeout_ms=100)).values():
                now = time.monotonic()
                self.order += [now] * len(records)
                for record in records:
                    self.seen.setdefault(decoder.decode(record.value or b"").key, now)

    def has(self, count: int) -> bool:
        """So many keys were seen."""
        return len(self.seen) >= count

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None, "entered"
        self._task.cancel()
        await self.consumer.stop()


async def until(done: Callable[[], bool | Awaitable[bool]], seconds: float = PATIENCE_S) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            answer = done()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)


async def send(bench: Bench, first: int, count: int, rate: float) -> dict[str, float]:
    """Send events with keys of their own; `rate` a second, 0 = as fast as it goes. Returns when each was handed over."""
    sent, begun = dict[str, float](), time.monotonic()
    for number in range(first, first + count):
        if rate and number % 10 == 0:
            await asyncio.sleep(max(0.0, begun + (number - first) / rate - time.monotonic()))
        sent[f"k{number}"] = time.monotonic()
        await bench.send(f"{bench.name}.in", f"k{number}", Add(id=number))
    await bench.producer.flush()
    return sent


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def cpu_s(pid: int) -> float:
    """Processor time of a process, seconds: a busy machine does not change it as it changes a clock's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(bench: Bench, variant: Variant, first: Path) -> None:
    """A worker that notes in `first` when it takes its first record."""
    settings = {"transaction_retry_ms": variant.retry_ms}
    with (bench.logs / "worker-0.log").open("wb") as log:
        bench.workers.append(subprocess.Popen(
            [sys.executable, "-m", "tests.bench.eos_worker", bench.bootstrap, bench.name, str(int(variant.exactly_once)), bench.name], cwd=on_kafka.ROOT,
            stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(bench.logs), FIRST: str(first), "RAILCLEAR_TOY": msgspec.json.encode(settings).decode()}))


async def backlog(bench: Bench, variant: Variant, reader: Reader, events: int) -> float:
    """Events a second of a topic that is full before the worker starts: from the moment it takes the first record until its group's committed offsets are
    at the end and a reader of committed records has every output. Between two outputs nothing is measured: a transaction shows a whole batch at once."""
    topic, first = f"{bench.name}.in", bench.logs / "first"
    await on_kafka.fill(bench.bootstrap, topic, [(f"k{n}".encode(), codec.encode(Add(id=n))) for n in range(events)], partitions=PARTITIONS)
    start(bench, variant, first)
    admin = bench.admin()
    try:
        parts = [TopicPartition(topic, n) for n in range(PARTITIONS)]

        async def done() -> bool:
            return reader.has(events) and await asyncio.to_thread(stopwatch.committed, admin, bench.name, parts) >= events

        await until(done, START_S + events / SLOWEST)
        return rate_of(events, float(first.read_text()), time.monotonic())
    finally:
        admin.close()


def rate_of(events: int, begun: float, ended: float) -> float:
    """All events over all of the time: none is left out because it came first."""
    return events / (ended - begun)


async def steady(bench: Bench, variant: Variant, broker: Broker, events: int, rate: float, seconds: float) -> dict[str, float]:
    """A backlog, then a steady rate, with one worker."""
    async with Reader(bench) as reader:
        per_second = await backlog(bench, variant, reader, events)
        assert broker.process is not None, "it runs"
        before = cpu_s(bench.workers[0].pid), cpu_s(broker.process.pid)
        sent = await send(bench, events, int(rate * seconds), rate)
        await until(lambda: len(reader.seen) >= events + len(sent))
        worker_us, broker_us = ((cpu_s(pid) - was) * 1e6 / len(sent) for pid, was in zip((bench.workers[0].pid, broker.process.pid), before, strict=True))
        late = [reader.seen[key] - at for key, at in sent.items()]
    for worker in bench.workers:
        worker.terminate()
        worker.wait(PATIENCE_S)
    return {"events_per_s": round(per_second), "p50_ms": round(quantile(late, 0.5) * 1000, 1), "p99_ms": round(quantile(late, 0.99) * 1000, 1),
            "worker_cpu_us": round(worker_us), "broker_cpu_us": round(broker_us), "not_enough_replicas": bench.logged().count("NotEnoughReplicas")}


async def stall(bench: Bench, variant: Variant, rate: float) -> dict[str, float]:
    """Longest time without anything new for a reader of committed records: one of two workers is killed; and a transaction is left open on the
    outputs by somebody who never comes back and has no successor, which is the worst that a death can leave behind."""
    figures = {}
    async with Reader(bench) as reader:
        for _ in range(2):
            bench.worker(exactly_once=variant.exactly_once, transaction_retry_ms=variant.retry_ms, session_timeout_s=10, heartbeat_s=1)
        await send(bench, 0, int(rate * 6), rate)
        await until(lambda: len(reader.seen) >= int(rate * 6))
        faults: list[tuple[str, float, Callable[[Bench], Awaitable[None]]]] = [("killed_silence_s", 16.0, _kill)]
        if variant.exactly_once:
            faults.append(("open_transaction_silence_s", 26.0, _leave_open))
        for number, (name, seconds, fault) in enumerate(faults, 1):
            begun, before = time.monotonic(), len(reader.seen)
            doing = asyncio.create_task(_after(2.0, fault(bench)))
            sent = await send(bench, number * 100_000, int(rate * seconds), rate)
            await doing
            await until(partial(reader.has, before + len(sent)))
            times = [begun, *[t for t in reader.order if t >= begun]]
            figures[name] = round(max(b - a for a, b in pairwise(times)), 2)
    return figures


async def _after(seconds: float, work: Awaitable[None]) -> None:
    await asyncio.sleep(seconds)
    await work


async def _kill(bench: Bench) -> None:
    bench.workers[0].kill()
    bench.workers[0].wait()


async def _leave_open(bench: Bench) -> None:
    lost = AIOKafkaProducer(bootstrap_servers=bench.bootstrap, transactional_id=f"{bench.name}-lost", transaction_timeout_ms=TRANSACTION_TIMEOUT_MS)
    await lost.start()
    await lost.begin_transaction()
    for partition in range(PARTITIONS):
        await lost.send_and_wait(f"{bench.name}.out", b"never committed", partition=partition)
    await lost.client.close()  # as when a process dies: nothing is said to the broker


async def measure(variant: Variant, broker: Broker, options: argparse.Namespace) -> dict[str, float]:
    """One round of one variant, on topics of its own."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as logs:
        if options.what in ("steady", "all"):
            async with Bench(broker.bootstrap, Path(logs), partitions=PARTITIONS) as bench:
                figures |= await steady(bench, variant, broker, options.events, options.rate, options.seconds)
        if options.what in ("stall", "all"):
            async with Bench(broker.bootstrap, Path(logs), partitions=PARTITIONS) as bench:
                try:
                    figures |= await stall(bench, variant, options.rate / 4)
                except TimeoutError:
                    print(bench.said_by_workers(), file=sys.stderr)
                    raise
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=("steady", "stall", "all"), default="all")
    parser.add_argument("--rounds", type=int, default=3, help="each variant once per round, in turn")
    parser.add_argument("--events", type=int, default=EVENTS, help="of the backlog")
    parser.add_argument("--rate", type=float, default=1000.0, help="events a second of the steady part; a quarter of it while workers are killed")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--only", default="", help="a part of the names of the variants to run")
    options = parser.parse_args()
    cache = cache_directory()
    classpath = class_path(cache)
    rows = []
    print(f"Kafka {kafka_version()}, aiokafka {version('aiokafka')}, Python {platform.python_version()}, {os.cpu_count()} cores", file=sys.stderr)
    with (Broker(classpath, aot=aot_file(cache, classpath)) as strict,
          Broker(classpath, aot=aot_file(cache, classpath), conf={"transaction.partition.verification.enable": "false"}) as lax):
        for number in range(options.rounds):
            for variant in [v for v in VARIANTS if options.only in v.name]:
                figures: dict[str, Any] = asyncio.run(measure(variant, strict if variant.verification else lax, options))
                rows.append({"variant": variant.name, "round": number + 1, **figures, "load": round(os.getloadavg()[0], 1)})
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
