"""Kafka and PostgreSQL together, and the file that tells other commands where they are."""
from __future__ import annotations

import asyncio
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import msgspec

from agents.embedded import postgres as pg
from agents.embedded.aot import AotRecorder
from agents.embedded.jars import Progress, aot_file, cache_directory, class_path, kafka_version
from agents.embedded.kafka import HEAP_MB, Broker, cluster
from agents.embedded.processes import EmbeddedError, discard, free_ports, is_free, temporary
from agents.embedded.reaper import alive, started

FILE: Final = "servers.json"
STOP_S: Final = 4.0
"""For a clean end of both, side by side; then by force, so that `stop` takes 5 s at most."""
Aot = Literal["auto", "use", "off"]
"""auto: use Java's cache, and record it in the background if there is none. use: only use it. off: neither."""


class ServerProcess(msgspec.Struct, frozen=True, kw_only=True):
    """One server process; `start` in clock ticks since boot tells it from a later one with the same pid."""

    name: str
    pid: int
    start: int


class ServersFile(msgspec.Struct, frozen=True, kw_only=True):
    """What `servers.json` in a data directory says. Readable by its owner only: it holds the password."""

    format: int = 1
    kafka_ports: tuple[tuple[int, int], ...]
    """Per broker: port for clients, port for controllers."""
    postgres_port: int
    password: str
    kafka_version: str
    postgres_major: int
    partitions: int = 4
    """Of the folds' topics on these servers: what commands that join them must know of the deployment."""
    owner: int
    """Pid of the process that started the servers and stops them."""
    processes: tuple[ServerProcess, ...] = ()
    """Empty: stopped cleanly."""

    @property
    def bootstrap(self) -> str:
        """Kafka's addresses, `host:port,…`."""
        return ",".join(f"127.0.0.1:{port}" for port, _ in self.kafka_ports)

    @property
    def dsn(self) -> str:
        """PostgreSQL's address, with the password."""
        return pg.dsn(self.postgres_port, self.password)

    @property
    def running(self) -> bool:
        """Whether every server still runs."""
        return bool(self.processes) and all(alive(p.pid, p.start) for p in self.processes)


def read_servers(directory: Path) -> ServersFile | None:
    """What a data directory says of its servers, running or not; None if there were never any. Raises EmbeddedError."""
    try:
        return msgspec.json.decode((directory / FILE).read_bytes(), type=ServersFile)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise EmbeddedError(f"{directory / FILE} is not railclear's: {error}") from error


def running(directory: Path) -> ServersFile | None:
    """The running servers of a data directory, for commands that join them; None if they do not run. Raises EmbeddedError."""
    found = read_servers(directory)
    return found if found is not None and found.running else None


class EmbeddedServers:
    """Kafka and PostgreSQL on this machine for as long as this object runs: `with EmbeddedServers() as servers: …` or `async with`.

    Without `keep` all data is temporary. A kept directory holds everything for the next start with the same arguments."""

    def __init__(
        self, *, keep: Path | None = None, brokers: int = 1, cache: Path | None = None, heap_mb: int = HEAP_MB, aot: Aot = "auto",
        partitions: int = 4, on_progress: Progress | None = None,
    ) -> None:
        """`partitions`: of the folds' topics to be made here; a kept directory says itself. `cache`: see `jars.cache_directory`."""
        self.keep = keep.resolve() if keep else None
        self.brokers: list[Broker] = []
        self.postgres: pg.Postgres | None = None
        self.recorder: AotRecorder | None = None
        self._data: Path | None = None
        self._plan: ServersFile | None = None
        self._size, self._cache, self._heap_mb, self._aot, self._partitions = brokers, cache, heap_mb, aot, partitions
        self._say: Progress = on_progress or (lambda _: None)

    @property
    def data(self) -> Path:
        """Directory of all data and logs."""
        if self._data is None:
            raise EmbeddedError("the embedded servers are not started")
        return self._data

    @property
    def bootstrap(self) -> str:
        """Kafka's addresses, `host:port,…`."""
        return self._known.bootstrap

    @property
    def dsn(self) -> str:
        """PostgreSQL's address, with the password."""
        return self._known.dsn

    @property
    def partitions(self) -> int:
        """Of the folds' topics on these servers."""
        return self._known.partitions

    @property
    def processes(self) -> tuple[ServerProcess, ...]:
        """The server processes that run now."""
        named = [(f"kafka-{broker.node}", broker.process) for broker in self.brokers]
        named.append(("postgres", self.postgres.process if self.postgres else None))
        return tuple(ServerProcess(name=name, pid=process.pid, start=start) for name, process in named
                     if process is not None and (start := started(process.pid)) is not None)

    @property
    def _known(self) -> ServersFile:
        if self._plan is None:
            raise EmbeddedError("the embedded servers are not started")
        return self._plan

    def start(self) -> Self:
        """Start both side by side and return when both serve. Raises EmbeddedError."""
        if self._data is not None:
            raise EmbeddedError(f"the embedded servers of {self._data} run already")
        begun = time.monotonic()
        plan = self._open()
        try:
            with ThreadPoolExecutor(2) as pool:
                kafka, postgres = pool.submit(self._start_kafka, plan), pool.submit(self._start_postgres, plan)
                postgres.result()
                kafka.result()
            self._plan = msgspec.structs.replace(plan, processes=self.processes)
            self._write(self._plan)
        except BaseException:
            self.stop()
            raise
        self._say(f"Kafka {kafka_version()} and PostgreSQL {pg.MAJOR} run after {time.monotonic() - begun:.1f} s")
        if self.recorder is not None:
            self.recorder.start()
        return self

    def stop(self) -> None:
        """End both, within 5 s; temporary data goes. Does nothing if they do not run."""
        if self._data is None:
            return
        if self.recorder is not None:
            self.recorder.cancel()
            self.recorder = None
        if self.keep is None:
            self._crash()
            discard(self._data)
        else:
            self._end_cleanly()
            if self._plan is not None:
                self._write(msgspec.structs.replace(self._plan, processes=()))
        self.brokers, self.postgres, self._plan, self._data = [], None, None, None

    def _open(self) -> ServersFile:
        """The directory, and where the servers shall be: as before if those ports are free. Written at once: the password must not get lost."""
        before = None
        if self.keep is None:
            self._data = temporary()
        else:
            self.keep.mkdir(parents=True, exist_ok=True)
            before = self._before(self.keep)
            self._data = self.keep
        ports = free_ports(2 * self._size + 1)
        pairs = tuple(zip(ports[: self._size], ports[self._size : -1], strict=True))
        if before is not None and all(is_free(port) for pair in before.kafka_ports for port in pair):
            pairs = before.kafka_ports
        port = before.postgres_port if before is not None and is_free(before.postgres_port) else ports[-1]
        plan = ServersFile(
            kafka_ports=pairs, postgres_port=port, password=before.password if before else secrets.token_hex(16), kafka_version=kafka_version(),
            partitions=before.partitions if before else self._partitions, postgres_major=pg.MAJOR, owner=os.getpid())
        self._write(plan)
        return plan

    def _before(self, keep: Path) -> ServersFile | None:
        before = read_servers(keep)
        if before is None:
            return None
        if any(alive(p.pid, p.start) for p in before.processes):
            raise EmbeddedError(f"the servers of {keep} run already, started by process {before.owner}")
        if len(before.kafka_ports) != self._size:
            raise EmbeddedError(f"{keep} was made with {len(before.kafka_ports)} brokers, not {self._size}")
        if before.postgres_major != pg.MAJOR:
            raise EmbeddedError(f"{keep} was made by PostgreSQL {before.postgres_major}, this is {pg.MAJOR}")
        return before

    def _start_kafka(self, plan: ServersFile) -> None:
        cache = cache_directory(self._cache)
        classpath = class_path(cache, self._say)
        recorded = aot_file(cache, classpath)
        if self._aot == "auto" and not recorded.exists():
            self.recorder = AotRecorder(classpath, recorded)
        self._say(f"Kafka {kafka_version()}: starting")
        self.brokers = cluster(classpath, self._size, data=self.data / "kafka", ports=plan.kafka_ports, heap_mb=self._heap_mb,
                               aot=None if self._aot == "off" else recorded)

    def _start_postgres(self, plan: ServersFile) -> None:
        self._say(f"PostgreSQL {pg.MAJOR}: starting")
        self.postgres = pg.Postgres(self.data / "postgres", port=plan.postgres_port, password=plan.password, durable=self.keep is not None)
        self.postgres.start().wait()

    def _crash(self) -> None:
        for broker in self.brokers:
            broker.kill()
        if self.postgres is not None:
            self.postgres.stop(1.0, immediate=True)
            self.postgres.close()

    def _end_cleanly(self) -> None:
        for broker in self.brokers:
            broker.terminate()  # all of them before waiting for one: without a quorum none ends cleanly
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda broker: broker.stop(STOP_S), self.brokers))
            if self.postgres is not None:
                self.postgres.stop(STOP_S)
        if self.postgres is not None:
            self.postgres.close()

    def _write(self, content: ServersFile) -> None:
        fresh = self.data / f"{FILE}.new"
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1))
        fresh.replace(self.data / FILE)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.to_thread(self.stop)
