"""The endpoints answer on loopback and say why they are not well."""
from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry, Counter

from agents.app import Worker
from agents.http.health import HealthServer, Verdict
from agents.transport.census import Census
from agents.transport.hub import Hub
from agents.transport.lane import boot_clock


class SettableProbe:
    """A probe whose verdicts a test decides."""

    def __init__(self) -> None:
        self.is_live, self.is_ready = Verdict(True), Verdict(False, ("trains.in/3 is not restored",))

    def live(self) -> Verdict:
        return self.is_live

    def ready(self) -> Verdict:
        return self.is_ready


@pytest.fixture
def served() -> Iterator[tuple[str, SettableProbe]]:
    registry, probe = CollectorRegistry(), SettableProbe()
    Counter("railclear_test_records", "Records.", registry=registry).inc(3)
    server = HealthServer(probe, registry, "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}", probe
    server.stop()


def fetch(url: str) -> tuple[int, bytes]:
    for _ in range(50):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except urllib.error.URLError:
            continue
    raise AssertionError("no answer")


def test_live_and_ready_say_what_is_so(served: tuple[str, SettableProbe]) -> None:
    url, probe = served
    assert fetch(url + "/live")[0] == 200
    status, body = fetch(url + "/ready")
    assert status == 503
    assert msgspec.json.decode(body)["reasons"] == ["trains.in/3 is not restored"]
    probe.is_ready = Verdict(True)
    probe.is_live = Verdict(False, ("no progress for 120 s",))
    assert fetch(url + "/ready")[0] == 200
    assert fetch(url + "/live")[0] == 503


def test_metrics_come_from_the_given_registry_only(served: tuple[str, SettableProbe]) -> None:
    status, body = fetch(served[0] + "/metrics")
    assert status == 200
    assert b"railclear_test_records_total 3.0" in body
    assert b"python_gc" not in body


def test_a_worker_is_ready_when_it_has_joined_its_group_and_not_while_the_one_before_it_still_counts_as_the_owner() -> None:
    """A static member that was killed keeps its partitions until its session ends: the group looks complete, and its successor has none yet."""
    hub = Hub()
    hub.census = Census(at=boot_clock(), members=2, stable=True, orphans=(), missing=())
    worker: Any = SimpleNamespace(flows=(object(),), hub=hub, ledger=None, pack="p")
    assert Worker.ready(worker).reasons == ("it has not joined its group yet",)
    assert not Worker.ready(worker).ok
    hub.rebalances = 1
    assert Worker.ready(worker).ok, "a spare member of a complete group"
    hub.census = Census(at=boot_clock(), members=2, stable=True, orphans=(TopicPartition("trains.in", 3),), missing=())
    assert Worker.ready(worker).reasons[0] == "no partition is assigned: is the group readable, do the topics exist?"
    assert not Worker.ready(worker).ok
