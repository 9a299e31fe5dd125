"""The whole worker: ready when every wanted partition has an owner, not ready when a topic is silently not read, alert and exit on a refusal."""
from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from aiokafka.structs import TopicPartition
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.structs import OffsetAndMetadata

from agents.cli import root
from agents.embedded import EmbeddedServers
from agents.embedded.processes import free_ports
from agents.settings import group_of
from agents.transport.fatal import EXIT_REFUSED
from tests.agents.test_cli_kafka import records
from topics.events.outputs import Alert

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
LONG = 90.0
STAGES = ("intake", "sources")


class Run:
    """One worker process and its health endpoint."""

    def __init__(self, bootstrap: str, logs: Path, **settings: str) -> None:
        (self.port,) = free_ports(1)
        self.log = logs / f"worker-{self.port}.log"
        environment = {n: v for n, v in os.environ.items() if not n.startswith("RAILCLEAR_")}
        given = {"BOOTSTRAP": bootstrap, "PARTITIONS": "2", "STAGES": ",".join(STAGES), "HTTP_PORT": str(self.port), **settings}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "agents.cli", "worker"], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
                                            env={**environment, **{f"RAILCLEAR_{n}": v for n, v in given.items()}})

    def ready(self) -> tuple[int, list[str]]:
        """Status code (0: no answer) and reasons."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5) as answer:
                return answer.status, msgspec.json.decode(answer.read())["reasons"]
        except urllib.error.HTTPError as error:
            return error.code, msgspec.json.decode(error.read())["reasons"]
        except OSError:
            return 0, []

    def until(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + LONG
        while not done():
            assert time.monotonic() < end, f"{what} did not come about: {self.ready()}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(embedded: EmbeddedServers) -> str:
    os.environ["RAILCLEAR_PARTITIONS"] = "2"
    try:
        assert root.run(["topics", "apply", "--bootstrap", embedded.bootstrap]) in (0, 3)
    finally:
        del os.environ["RAILCLEAR_PARTITIONS"]
    return embedded.bootstrap


@pytest.fixture
def worker(cluster: str, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(**settings: str) -> Run:
        runs.append(Run(cluster, tmp_path, **settings))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.wait()


def test_a_topic_that_nobody_reads_makes_a_worker_not_ready(cluster: str, worker: Callable[..., Run]) -> None:
    run = worker(DATA_DIR="", MEMBERSHIP="static", INSTANCE="host-1")
    run.until(lambda: run.ready()[0] == 200, "ready")
    admin = KafkaAdminClient(bootstrap_servers=cluster)
    lost = "rail.trains.ktz"
    kept = len(admin.describe_topics([lost])[0]["partitions"])
    admin.delete_topics([lost])
    run.until(lambda: (run.ready()[0], any(lost in reason for reason in run.ready()[1])) == (503, True), "the reason in /ready")
    run.process.kill()
    run.process.wait()
    admin.create_topics([NewTopic(lost, kept, 1)], wait_for_metadata=True)
    admin.close()
    assert root.run(["worker", "--leave", "--instance", "host-1", "--stages", ",".join(STAGES), "--bootstrap", cluster]) == 0
    assert root.run(["worker", "--leave", "--instance", "host-1", "--stages", ",".join(STAGES), "--bootstrap", cluster]) == 2


def test_a_refusal_is_an_alert_before_it_ends_the_process(cluster: str, worker: Callable[..., Run]) -> None:
    run = worker(GROUP="other")
    run.until(lambda: run.ready()[0] == 200, "ready")
    run.process.terminate()
    assert run.process.wait(LONG) == 0
    group, tp = group_of("other", STAGES), TopicPartition("sources.in", 1)
    admin = KafkaAdminClient(bootstrap_servers=cluster)

    def refused(committed: int) -> list[Alert]:
        """All alerts of refusals, when a worker was started with this committed offset and has ended."""
        admin.alter_group_offsets(group, {tp: OffsetAndMetadata(committed, "", -1)})
        again = worker(GROUP="other")
        assert again.process.wait(LONG) == EXIT_REFUSED, again.log.read_text()[-3000:]
        said = [msgspec.json.decode(r.value, type=Alert) for r in records(cluster, "ops.alerts")]
        return [alert for alert in said if alert.name == "TransportRefused"]

    found = refused(7)
    assert [(a.key, a.severity, a.state) for a in found] == [("TransportRefused/sources.in/1", "critical", "open")]
    assert "the group has committed offset 7 of sources.in/1, which ends at 0" in found[0].detail
    producer = KafkaProducer(bootstrap_servers=cluster)
    for _ in range(3):
        producer.send(tp.topic, b"{}", key=b"k", partition=tp.partition).get(LONG)
    producer.close()
    admin.delete_records({tp: 2})
    found = refused(1)
    admin.close()
    assert [(a.key, a.severity, a.state) for a in found] == [("TransportRefused/sources.in/1", "critical", "open")] * 2
    assert "sources.in/1 begins at offset 2" in found[1].detail
    assert "offsets 1 to 1 were deleted before they were read" in found[1].detail
