"""A cluster whose brokers can be taken away one by one: killed, frozen, stopped, and who leads what. For tests of bad days."""
from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from agents.embedded.jars import aot_file, cache_directory, class_path
from agents.embedded.kafka import HEAP_MB, Broker, cluster
from agents.embedded.processes import EmbeddedError, discard, temporary

ASK_MS: Final = 20_000
"""For one client to find a broker that answers, some of them being down."""
LEADER_S: Final = 60.0
WHOLE_S: Final = 120.0
"""A broker that was away starts, is told what it missed and copies it."""
LOOKS: Final = 3
LOOK_S: Final = 0.5
OFFSETS_TOPIC: Final = "__consumer_offsets"
SIZE: Final = 3


def java_hash(text: str) -> int:
    """`String.hashCode` of Java, 32 bits with a sign: by it Kafka places groups."""
    code = 0
    data = text.encode("utf-16-be")
    for high, low in zip(data[::2], data[1::2], strict=True):
        unit = high << 8 | low
        code = (31 * code + unit) & 0xFFFFFFFF
    return code - (1 << 32) if code >> 31 else code


class Quorum:
    """Brokers that are controllers too, with replication 3 and minimum in sync 2 where there are three. `with Quorum() as quorum: …`.

    All data is temporary; nothing of it outlives this process, however it ends."""

    def __init__(self, size: int = SIZE, *, cache: Path | None = None, heap_mb: int = HEAP_MB, conf: Mapping[str, Any] | None = None,
                 scram: Sequence[str] = (), client: Mapping[str, Any] | None = None) -> None:
        """`conf`, `scram`: as of Broker. `client`: how an administrator signs in, keyword arguments of kafka-python's clients."""
        self.size = size
        self.brokers: list[Broker] = []
        self.client = dict(client or {})
        self._cache, self._heap_mb, self._conf, self._scram = cache, heap_mb, dict(conf or {}), tuple(scram)
        self._data: Path | None = None

    def start(self) -> Self:
        """Returns when every broker takes clients. Raises EmbeddedError."""
        cache = cache_directory(self._cache)
        classpath = class_path(cache)
        self._data = temporary("railclear-quorum-")
        try:
            self.brokers = cluster(classpath, self.size, data=self._data, heap_mb=self._heap_mb, aot=aot_file(cache, classpath), conf=self._conf,
                                   scram=self._scram)
            for broker in self.brokers:
                self._meet(broker)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Kill all (temporary data is not worth a clean end, which takes half a minute without a quorum) and remove the data."""
        for broker in self.brokers:
            broker.kill()
        if self._data is not None:
            discard(self._data)
            self._data = None

    def _meet(self, broker: Broker) -> None:
        """Until a client that asks this broker first finds all of them: one that a broker does not know yet is an unknown broker to its clients."""
        end = time.monotonic() + LEADER_S
        while self._known_by(broker) < self.size:
            if time.monotonic() > end:
                raise EmbeddedError(f"broker {broker.node} has not met all {self.size} within {LEADER_S:.0f} s ({broker.log})")
            time.sleep(0.1)

    def _known_by(self, broker: Broker) -> int:
        """How many brokers that take clients are named to one who asks this broker first; 0 = it does not answer."""
        try:
            admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap, bootstrap_timeout_ms=ASK_MS, **self.client)
        except KafkaError:
            return 0
        try:
            return sum(not one.get("is_fenced") for one in admin.describe_cluster()["brokers"])
        except KafkaError:
            return 0
        finally:
            admin.close()

    @property
    def bootstrap(self) -> str:
        """Addresses of all brokers, running or not."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    def broker(self, node: int) -> Broker:
        """The broker of this id (1 …)."""
        return self.brokers[node - 1]

    # -- who leads -----------------------------------------------------------------------------------------------------------
    def admin(self) -> KafkaAdminClient:
        """An administrator's client; the caller closes it."""
        return KafkaAdminClient(bootstrap_servers=[b.bootstrap for b in self.brokers if b.running and not b.frozen], bootstrap_timeout_ms=ASK_MS, **self.client)

    def leader(self, topic: str, partition: int) -> int:
        """Id of the broker that leads a partition now. Raises EmbeddedError when there is none for a minute."""
        end = time.monotonic() + LEADER_S
        admin = self.admin()
        try:
            while time.monotonic() < end:
                found = self._leader(admin, topic, partition)
                if found > 0:
                    return found
                time.sleep(0.2)
        finally:
            admin.close()
        raise EmbeddedError(f"{topic}/{partition} has no leader")

    @staticmethod
    def _leader(admin: KafkaAdminClient, topic: str, partition: int) -> int:
        try:
            parts = admin.describe_topics([topic])[0]["partitions"]
        except KafkaError:  # a broker went away while it was asked
            return -1
        return next((int(p["leader_id"]) for p in parts if p["partition_index"] == partition), -1)

    def coordinator(self, group: str) -> int:
        """Id of the broker that coordinates a consumer group: the leader of the group's partition of Kafka's offsets."""
        count = int(self.broker(1).settings["offsets.topic.num.partitions"])
        return self.leader(OFFSETS_TOPIC, (java_hash(group) & 0x7FFFFFFF) % count)

    def controller(self) -> int:
        """Id of the broker that leads the controllers' quorum."""
        admin = self.admin()
        try:
            return int(admin.describe_metadata_quorum()["topics"][0]["partitions"][0]["leader_id"])
        finally:
            admin.close()

    def in_sync(self, topic: str, partition: int) -> tuple[int, ...]:
        """Ids of the brokers that have all of a partition."""
        admin = self.admin()
        try:
            parts = admin.describe_topics([topic])[0]["partitions"]
            return tuple(sorted(next(p["isr_nodes"] for p in parts if p["partition_index"] == partition)))
        finally:
            admin.close()

    def wait_whole(self, seconds: float = WHOLE_S) -> None:
        """Until every broker has all that it should have of every partition: before, the next one to go takes partitions with it. Raises EmbeddedError."""
        end, sound = time.monotonic() + seconds, 0
        while sound < LOOKS:                              # one that was frozen thinks for a moment that nothing has happened
            behind = next((found for broker in self.brokers if (found := self._behind(broker))), "")
            sound = 0 if behind else sound + 1
            if behind and time.monotonic() > end:
                raise EmbeddedError(f"{behind} are not in sync after {seconds:.0f} s")
            time.sleep(LOOK_S)

    def _behind(self, broker: Broker) -> str:
        """What is not in sync yet as one hears who asks this broker first, in words; empty: nothing."""
        try:
            admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap, bootstrap_timeout_ms=ASK_MS, **self.client)
        except KafkaError as error:
            return f"partitions of broker {broker.node}, which does not answer ({error}),"
        try:
            known = sum(not one.get("is_fenced") for one in admin.describe_cluster()["brokers"])
            if known < self.size:
                return f"{self.size - known} of {self.size} brokers"
            parts = [(topic["name"], p) for topic in admin.describe_topics() for p in topic["partitions"]]
        except KafkaError as error:
            return f"partitions of brokers that do not answer ({error})"
        finally:
            admin.close()
        late = [f"{name}/{p['partition_index']}" for name, p in parts if p["leader_id"] < 0 or len(p["isr_nodes"]) < len(p["replica_nodes"])]
        return f"{len(late)} partitions ({late[0]} …)" if late else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
