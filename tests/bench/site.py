"""Servers and `railclear worker` processes of one benchmark: all on loopback, all gone at its end, however it ends."""
from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError

from agents import provisioning
from agents.embedded.jars import aot_file, cache_directory, class_path
from agents.embedded.kafka import Broker
from agents.embedded.postgres import Postgres
from agents.embedded.processes import discard, free_ports, spawn, tail, temporary
from agents.settings import group_of
from streams.reference.model import Reference
from tests.bench import on_kafka, stopwatch
from topics import registry
from topics.registry import Registry

PARTITIONS = on_kafka.PARTITIONS
READY_S = 180.0
STOP_S = 15.0
LOOK_S = 0.1
IDLE = 0.15
"""Of a core: a worker that takes less waits for work."""
ALL = ("intake", "trains", "sources", "custody", "documents", "clearance", "readiness")
WORKERS = (ALL, ALL)
"""Two processes for two cores; each has half the partitions of every stage, so neither waits for the other."""
GROUPS = (ALL,)
"""Both are of one consumer group."""
ALONE = {"broker.session.timeout.ms": 30_000}
"""One broker on a full machine misses heartbeats; nobody is there to take over, and fenced it would only stop what is measured."""
LEDGER = ("ledger",)
"""Has a group of its own, and its own account of how far it is."""
Say = Callable[[str], None]


class Failed(Exception):
    """A worker ended or did not come up; the text has the end of its log."""


class Worker:
    """One `railclear worker` process; may be started again."""

    def __init__(self, site: Site, stages: Sequence[str], name: str, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.site, self.stages, self.name, self.arguments, self.env = site, tuple(stages), name, tuple(arguments), dict(env)
        self.port = free_ports(1)[0]
        self.log = site.directory / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None, "it was started"
        return self.process.pid

    def start(self) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RAILCLEAR_")} | on_kafka.SESSION | self.env
        with self.log.open("ab") as out:
            self.process = spawn(
                [sys.executable, "-m", "agents.cli", "worker", "--stages", ",".join(self.stages), "--bootstrap", self.site.bootstrap, "--partitions",
                 str(PARTITIONS), "--http-port", str(self.port), "--log-level", "WARNING", *self.arguments],
                cwd=on_kafka.ROOT, out=out, env={**clean, "TMPDIR": str(self.site.directory)})

    def check(self) -> None:
        """Raises Failed when it has ended by itself."""
        if self.process is not None and (code := self.process.poll()) is not None:
            raise Failed(f"the worker with {', '.join(self.stages)} ended with {code}:\n{tail(self.log)}")

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def metrics(self) -> str:
        """What it says at /metrics; empty: nothing, it may not be up."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                return bytes(answer.read()).decode()
        except (urllib.error.URLError, OSError):
            return ""

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()


class Site:
    """A broker with railclear's topics, PostgreSQL where it is asked for, and workers."""

    def __init__(self, reference: Reference, say: Say, *, postgres: bool = False, heap_mb: int = 512) -> None:
        self.reference, self.say = reference, say
        self.known: Registry = registry.build(reference.parties.values(), reference.authorities.values(), reference.crossings.values(), partitions=PARTITIONS)
        self._postgres_wanted, self._heap_mb = postgres, heap_mb
        self.workers: list[Worker] = []
        self.postgres: Postgres | None = None
        self._broker: Broker | None = None
        self._admin: KafkaAdminClient | None = None
        self.directory = Path()

    def __enter__(self) -> Self:
        self.directory = temporary("railclear-bench-")
        try:
            cache = cache_directory()
            path = class_path(cache)
            self._broker = Broker(path, aot=aot_file(cache, path), heap_mb=self._heap_mb, conf=ALONE).start().wait()
            if self._postgres_wanted:
                self.postgres = Postgres().start().wait()
            self._admin = KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=20_000)
            provisioning.apply(self.admin, provisioning.plan(self.admin, self.known.topics.values(), replication=1))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Everything down; nothing is left."""
        for worker in self.workers:
            worker.kill()
        if self._admin is not None:
            self._admin.close()
        for server in (self.postgres, self._broker):
            if server is not None:
                server.close()
        if self.directory != Path():
            discard(self.directory)

    @property
    def bootstrap(self) -> str:
        assert self._broker is not None, "entered"
        return self._broker.bootstrap

    @property
    def admin(self) -> KafkaAdminClient:
        assert self._admin is not None, "entered"
        return self._admin

    @property
    def broker_pid(self) -> int:
        process = self._broker.process if self._broker is not None else None
        assert process is not None, "entered"
        return process.pid

    def partitions_of(self, topic: str) -> int:
        return self.known.topics[topic].partitions

    def fill(self, topic: str, rows: Sequence[on_kafka.Row]) -> None:
        """Records into a topic, by key, in large batches."""
        asyncio.run(on_kafka.fill(self.bootstrap, topic, rows, partitions=self.partitions_of(topic)))

    def place(self, topic: str, partition: int, rows: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        """Records into one partition."""
        asyncio.run(self._place(topic, partition, rows))

    async def _place(self, topic: str, partition: int, rows: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        await producer.start()
        try:
            for key, value in rows:
                await producer.send(topic, value, key=key, partition=partition)
            await producer.flush()
        finally:
            await producer.stop()

    # -- workers -------------------------------------------------------------------------------------------------------------
    def worker(self, stages: Sequence[str], *arguments: str, env: Mapping[str, str] | None = None) -> Worker:
        """Start one; `wait` tells when all are ready."""
        made = Worker(self, stages, f"worker-{len(self.workers)}", arguments, env or {})
        self.workers.append(made)
        made.start()
        return made

    def wait(self, seconds: float = READY_S) -> float:
        """Until all running workers are ready. Returns how long that took. Raises Failed."""
        begun = time.monotonic()
        for worker in self.workers:
            while not worker.ready():
                worker.check()
                if time.monotonic() - begun > seconds:
                    raise Failed(f"the worker with {', '.join(worker.stages)} is not ready after {seconds:.0f} s:\n{tail(worker.log)}")
                time.sleep(LOOK_S)
        return time.monotonic() - begun

    def stop_workers(self) -> None:
        """End all, in order; forget them."""
        for worker in self.workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
        for worker in self.workers:
            worker.stop()
        self.workers.clear()

    def settle(self, seconds: float) -> bool:
        """Until the workers have read everything and have nothing to do any more, or for so long."""
        end, quiet = time.monotonic() + seconds, 0
        groups = sorted({worker.stages for worker in self.workers if worker.stages != LEDGER})
        self.drained(groups, seconds)
        while time.monotonic() < end and quiet < 2:
            self.check()
            before = self.cpu_s()
            time.sleep(1.0)
            quiet = quiet + 1 if self.cpu_s() - before < IDLE * len(self.workers) and not self.lag(groups) else 0
        return quiet >= 2

    def check(self) -> None:
        """Raises Failed when a worker has ended by itself."""
        for worker in self.workers:
            worker.check()

    def cpu_s(self) -> float:
        """Processor time of all workers so far."""
        return sum(stopwatch.cpu_seconds(worker.pid) for worker in self.workers)

    def rss_mb(self) -> float:
        """Resident memory of all workers."""
        return sum(stopwatch.rss_mb(worker.pid) for worker in self.workers)

    # -- how far they are ----------------------------------------------------------------------------------------------------
    def ends(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """End offsets."""
        wanted = {TopicPartition(topic, n): OffsetSpec.LATEST for topic in topics for n in range(self.partitions_of(topic))}
        return {tp: found.offset for tp, found in self.admin.list_partition_offsets(wanted).items()}

    def inputs(self, stages: Iterable[str]) -> list[str]:
        """Topics that these stages read."""
        chosen = set(stages)
        folds = [registry.fold_topic(stage) for stage in registry.FOLDS if stage in chosen]
        return folds + ([spec.name for spec in self.known.inbound] if "intake" in chosen else [])

    def committed(self, stages: Sequence[str]) -> dict[TopicPartition, int]:
        """What the group of these stages has committed."""
        try:
            group = group_of("railclear", tuple(stages))
            return {tp: held.offset for tp, held in self.admin.list_group_offsets({group: None})[group].items() if held.offset > 0}
        except KafkaError:
            return {}

    def lag(self, groups: Iterable[Sequence[str]]) -> dict[str, int]:
        """Topic -> records that its stage has not committed; only topics that have any."""
        found: dict[str, int] = {}
        for stages in groups:
            done = self.committed(stages)
            for tp, end in self.ends(self.inputs(stages)).items():
                if (behind := end - done.get(tp, 0)) > 0:
                    found[tp.topic] = found.get(tp.topic, 0) + behind
        return found

    def drained(self, groups: Sequence[Sequence[str]], seconds: float, *, steady: int = 3) -> float | None:
        """Seconds until every record is committed and nothing new comes, for so many looks in a row; None: it did not within `seconds`."""
        begun, quiet, since = time.monotonic(), 0, 0.0
        while time.monotonic() - begun < seconds:
            self.check()
            if self.lag(groups):
                quiet = 0
            else:
                quiet, since = quiet + 1, since if quiet else time.monotonic() - begun
                if quiet >= steady:
                    return since
            time.sleep(LOOK_S)
        return None
