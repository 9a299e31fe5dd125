"""Brokers alone: crashes, clusters, security, the Java cache."""
from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from agents.embedded import Broker, EmbeddedError, cluster
from agents.embedded.aot import AotRecorder
from agents.embedded.jars import aot_file, cache_directory, class_path
from agents.embedded.processes import free_ports
from agents.embedded.security import Secured, secure

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def classpath() -> str:
    return class_path(cache_directory())


@pytest.fixture(scope="module")
def aot(classpath: str) -> Path:
    return aot_file(cache_directory(), classpath)


def test_a_crashed_broker_starts_again_with_what_it_had(classpath: str, aot: Path) -> None:
    with Broker(classpath, aot=aot) as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        admin.create_topics([NewTopic("crash", 1, 1)], wait_for_metadata=True)
        admin.close()
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
        producer.send("crash", b"before").get(30)
        producer.close()
        broker.kill()
        assert not broker.running
        broker.start().wait()
        consumer = KafkaConsumer("crash", bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=30_000)
        assert next(consumer).value == b"before"
        consumer.close()
        with pytest.raises(EmbeddedError, match="runs already"):
            broker.start()
        data = broker.data
    assert not data.exists()


def test_three_brokers_form_a_cluster(classpath: str, aot: Path) -> None:
    brokers = cluster(classpath, 3, aot=aot)
    try:
        admin = KafkaAdminClient(bootstrap_servers=",".join(broker.bootstrap for broker in brokers))
        admin.create_topics([NewTopic("three", 1, 3)], wait_for_metadata=True)
        assert len(admin.describe_topics(["three"])[0]["partitions"][0]["replica_nodes"]) == 3
        admin.close()
    finally:
        for broker in brokers:
            broker.close()
    assert not any(broker.data.exists() for broker in brokers)


def test_a_broker_that_cannot_start_says_why(classpath: str, aot: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        broker = Broker(classpath, aot=aot, ports=(taken.getsockname()[1], free_ports(1)[0]))
        broker.start()
        assert broker.process is not None
        broker.process.wait(60)
        with pytest.raises(EmbeddedError, match=r"(?s)ended while starting.*Address already in use"):
            broker.wait()
        broker.close()


def test_settings_that_kafka_refuses_are_told_before_the_start(classpath: str) -> None:
    broker = Broker(classpath, conf={"process.roles": "conductor"})
    with pytest.raises(EmbeddedError, match="conductor"):
        broker.start()
    broker.close()
    assert not broker.data.exists()


@pytest.fixture(scope="module")
def secured(classpath: str, aot: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Secured]]:
    security = secure(tmp_path_factory.mktemp("security"))
    with Broker(classpath, aot=aot, conf=security.conf, scram=security.scram) as broker:
        yield broker, security


def client(broker: Broker, security: Secured, password: str, timeout_ms: int = 30_000) -> KafkaAdminClient:
    return KafkaAdminClient(
        bootstrap_servers=broker.bootstrap, security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", sasl_plain_username=security.username,
        sasl_plain_password=password, ssl_cafile=str(security.ca_file), bootstrap_timeout_ms=timeout_ms)


def test_a_secured_broker_serves_its_administrator(secured: tuple[Broker, Secured]) -> None:
    broker, security = secured
    admin = client(broker, security, security.password)
    admin.create_topics([NewTopic("secret", 1, 1)], wait_for_metadata=True)
    assert "secret" in admin.list_topics()
    admin.close()


def test_a_secured_broker_refuses_a_wrong_password_and_a_client_without_one(secured: tuple[Broker, Secured]) -> None:
    broker, security = secured
    with pytest.raises(KafkaError):
        client(broker, security, "wrong", 1_000).list_topics()
    with pytest.raises(KafkaError):
        KafkaAdminClient(bootstrap_servers=broker.bootstrap, bootstrap_timeout_ms=1_000).list_topics()


def test_the_java_cache_is_recorded_once_and_then_used(classpath: str, aot: Path) -> None:
    recorder = AotRecorder(classpath, aot).start()
    assert recorder.wait(200), recorder.error
    written = aot.stat().st_mtime_ns
    assert written > 0
    again = AotRecorder(classpath, aot).start()
    assert again.wait(10)
    assert aot.stat().st_mtime_ns == written
    broker = Broker(classpath, aot=aot)
    assert any(str(aot) in argument for argument in broker._java)
    broker.close()


def test_a_cancelled_recording_leaves_nothing(classpath: str, tmp_path: Path) -> None:
    recorder = AotRecorder(classpath, tmp_path / "cancelled.aot").start()
    recorder.cancel()
    assert not recorder.wait(0)
    assert [path.name for path in tmp_path.iterdir()] == ["cancelled.lock"]
    assert recorder.error is None
