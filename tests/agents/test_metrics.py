"""What Prometheus reads: the process's own figures, with few labels, and what operators let wait."""
from __future__ import annotations

from datetime import timedelta

from prometheus_client import CollectorRegistry

from agents import metrics
from agents.operations.holding import Holding
from agents.transport.hub import Hub
from tests.agents.test_operations import REGISTRY, START, drain, pause
from topics import codec


def read(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels or None)


def test_what_operators_let_wait_is_counted_and_since_when_a_drain_lasts() -> None:
    holding = Holding(REGISTRY)
    registry = metrics.registry_for(metrics.Watched(Hub(), {}, metrics.Published(), None, "pack", holding))
    assert (read(registry, "railclear_held_topics"), read(registry, "railclear_drain_since_seconds")) == (0, 0)
    act = pause(1)
    holding.take("pause/ktz", codec.encode(act))
    assert (read(registry, "railclear_held_topics"), read(registry, "railclear_drain_since_seconds")) == (1, 0)
    holding.take("drain", codec.encode(drain(2)))
    assert (read(registry, "railclear_held_topics") or 0) > 10
    assert read(registry, "railclear_drain_since_seconds") == (START + timedelta(minutes=2)).timestamp()
    holding.take("drain", codec.encode(drain(3, draining=False)))
    assert (read(registry, "railclear_held_topics"), read(registry, "railclear_drain_since_seconds")) == (1, 0)


def test_a_worker_that_takes_nothing_in_says_nothing_of_what_waits() -> None:
    registry = metrics.registry_for(metrics.Watched(Hub(), {}, metrics.Published(), None, "pack"))
    assert read(registry, "railclear_held_topics") is None
    assert read(registry, "railclear_rule_pack", pack="pack") == 1


def test_topics_of_one_kind_share_a_label() -> None:
    assert {metrics.kind_of(t) for t in ("border.cn-kz.kz", "border.kz-cn.cn")} == {"border"}
    assert metrics.kind_of("clearance.status") == "clearance.status"
