"""A worker in the shadow as it is put together: whom it tells of a refusal, and whose member it is."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import faust
import msgspec
import pytest

from agents import app
from agents.settings import STAGES, Settings
from streams.clearance.publish import ALERTS

FOLDS = tuple(stage for stage in STAGES if stage != "ledger")


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings(bootstrap="127.0.0.1:1", stages=FOLDS, partitions=2, data_dir=str(tmp_path), http_port=0, **more)


def test_production_alerts_when_it_refuses_and_a_shadow_does_not(tmp_path: Path) -> None:
    alert = app.Worker(settings(tmp_path)).hub.alert
    assert alert is not None
    assert alert("trains.in/0", "no").topic == ALERTS
    assert app.Worker(settings(tmp_path, shadow=True)).hub.alert is None


def test_production_looks_after_its_state_topics_and_a_shadow_tells_nobody_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[str] = []
    monkeypatch.setattr(faust.App, "task", lambda _, work: tasks.append(work.__name__))
    app.Worker(settings(tmp_path))
    assert tasks == ["_follow_acts", "_watch_safety"]
    tasks.clear()
    app.Worker(settings(tmp_path, shadow=True))
    app.Worker(msgspec.structs.replace(settings(tmp_path), stages=("intake",)))
    assert tasks == ["_follow_acts", "_follow_acts"], "nor does a worker without state"


@pytest.mark.parametrize("shadow", [False, True])
def test_a_static_member_leaves_the_group_that_it_joins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shadow: bool) -> None:
    left: list[tuple[str, str]] = []
    monkeypatch.setattr(app.census, "leave", lambda client, group, instance: left.append((group, instance)))
    made = settings(tmp_path, shadow=shadow, instance="host-1", membership="static")
    joined = app.Worker(made).app.conf.id
    assert app.leave(made) == joined
    assert left == [(joined, "host-1")]
    assert joined.startswith("railclear-shadow-") is shadow
