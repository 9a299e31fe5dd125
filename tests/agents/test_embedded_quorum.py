"""Three brokers, taken away one by one; nothing of them outlives who started them."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from agents.embedded.postgres import Postgres
from agents.embedded.processes import EmbeddedError
from agents.embedded.quorum import Quorum, java_hash
from agents.embedded.reaper import alive, started

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::ResourceWarning")]  # kafka-python leaves sockets of brokers that died
PATIENCE_S = 60.0
CHILD = """
import json, time
from agents.embedded.quorum import Quorum
from agents.embedded.reaper import started
quorum = Quorum().start()
quorum.broker(2).freeze()
pids = [b.process.pid for b in quorum.brokers]
print(json.dumps({"pids": {p: started(p) for p in pids}, "data": str(quorum.broker(1).data)}), flush=True)
time.sleep(120)
"""


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"{what} did not come about"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def quorum() -> Iterator[Quorum]:
    with Quorum() as running:
        admin = running.admin()
        admin.create_topics([NewTopic("kept", 1, 3)], wait_for_metadata=True)
        admin.close()
        yield running


def test_java_hashes_as_java_does() -> None:
    assert java_hash("") == 0
    assert java_hash("hello") == 99_162_322
    assert java_hash("polygenelubricants") == -(1 << 31)


def test_what_was_acknowledged_survives_the_leader_and_the_controller(quorum: Quorum) -> None:
    producer = KafkaProducer(bootstrap_servers=quorum.bootstrap, acks="all", retries=1000, delivery_timeout_ms=60_000)
    sent = 0
    for find in (lambda: quorum.leader("kept", 0), quorum.controller):
        node = find()
        quorum.broker(node).kill()
        for _ in range(20):
            producer.send("kept", str(sent).encode()).get(PATIENCE_S)
            sent += 1
        assert quorum.leader("kept", 0) != node
        quorum.broker(node).start().wait()
        until(lambda: quorum.in_sync("kept", 0) == (1, 2, 3), "all in sync")
    producer.close(timeout=5)
    consumer = KafkaConsumer("kept", bootstrap_servers=quorum.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=30_000)
    assert [int(next(consumer).value) for _ in range(sent)] == list(range(sent))
    consumer.close()


def test_a_quorum_has_started_when_every_broker_names_all(quorum: Quorum) -> None:
    for broker in quorum.brokers:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        assert {one["broker_id"] for one in admin.describe_cluster()["brokers"] if not one["is_fenced"]} == {1, 2, 3}
        admin.close()


def test_brokers_that_do_not_meet_are_an_error(quorum: Quorum, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.embedded.quorum.LEADER_S", 0.5)
    monkeypatch.setattr(quorum, "size", 4)
    with pytest.raises(EmbeddedError, match="broker 1 has not met all 4"):
        quorum._meet(quorum.broker(1))


def test_a_frozen_broker_loses_its_lead_and_goes_on(quorum: Quorum) -> None:
    node = quorum.leader("kept", 0)
    quorum.broker(node).freeze()
    until(lambda: quorum.leader("kept", 0) != node, "another leader")
    quorum.broker(node).thaw()
    until(lambda: quorum.in_sync("kept", 0) == (1, 2, 3), "all in sync")
    assert quorum.broker(node).running


def test_a_quorum_is_whole_when_every_broker_has_all_of_every_partition(quorum: Quorum) -> None:
    quorum.wait_whole()
    quorum.broker(3).kill()
    until(lambda: quorum._behind(quorum.broker(1)) == "1 of 3 brokers", "one that is given up")
    with pytest.raises(EmbeddedError, match="are not in sync after 1 s"):
        quorum.wait_whole(1)
    quorum.broker(3).start().wait()
    quorum.wait_whole()
    assert quorum.in_sync("kept", 0) == (1, 2, 3)


def test_a_broker_that_was_frozen_and_thinks_that_nothing_has_happened_is_not_believed(quorum: Quorum) -> None:
    node = quorum.controller()
    quorum.broker(node).freeze()
    other = next(broker for broker in quorum.brokers if broker.node != node)
    until(lambda: quorum._behind(other) == "1 of 3 brokers", "one that is given up")
    quorum.broker(node).thaw()
    quorum.wait_whole()
    assert [quorum._behind(broker) for broker in quorum.brokers] == ["", "", ""]


def asked(quorum: Quorum, group: str) -> int:
    """The coordinator by the answer of Kafka itself."""
    consumer = KafkaConsumer("kept", bootstrap_servers=quorum.bootstrap, group_id=group, auto_offset_reset="earliest", consumer_timeout_ms=30_000)
    next(consumer)
    told = str(consumer._coordinator.coordinator_id)
    consumer.close()
    return int(told.removeprefix("coordinator-"))


def test_the_coordinator_of_a_group_is_the_broker_that_answers_for_it(quorum: Quorum) -> None:
    for group in ("one", "railclear-12345678"):
        until(lambda group=group: asked(quorum, group) == quorum.coordinator(group), f"agreement on {group}")  # leaders move back after a fault


def test_nothing_survives_a_parent_that_is_killed_with_a_frozen_broker() -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert child.stdout is not None
    told = json.loads(child.stdout.readline())
    child.kill()
    child.wait()
    child.stdout.close()
    until(lambda: not any(alive(int(pid), start) for pid, start in told["pids"].items()), "the end of every broker")
    until(lambda: not Path(told["data"]).exists(), "the end of their data")


def test_a_frozen_postgresql_answers_when_it_goes_on_and_dies_when_it_is_closed() -> None:
    postgres = Postgres().start().wait()
    assert postgres.process is not None
    pid = postgres.process.pid
    postgres.freeze()
    state = Path(f"/proc/{pid}/stat")
    until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", "stopped")
    postgres.thaw()
    until(lambda: state.read_text().rpartition(")")[2].split()[0] != "T", "going on")
    postgres.freeze()
    postgres.kill()
    assert started(pid) is None
    postgres.start().wait()
    postgres.close()
    assert not postgres.base.exists()
