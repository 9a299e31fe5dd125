"""A worker that finds no cluster waits for it, and says so when it does not come."""
from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from agents import app
from agents.embedded.jars import cache_directory, class_path
from agents.embedded.kafka import Broker
from agents.embedded.processes import free_ports
from agents.settings import Settings, SettingsError

MINUTE_S = 60.0


def worker(bootstrap: str, tmp_path: Path) -> app.Worker:
    return app.Worker(Settings(bootstrap=bootstrap, stages=("intake",), partitions=2, data_dir=str(tmp_path), http_port=0))


def test_a_cluster_that_does_not_answer_is_named_and_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "TOPICS_SECONDS_MAX", 1.0)
    with pytest.raises(SettingsError, match=r"Kafka at 127\.0\.0\.1:1 does not answer, or does not let this account in"):
        worker("127.0.0.1:1", tmp_path).run()


@pytest.mark.integration
async def test_a_worker_that_is_up_before_its_cluster_waits_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain, controller = free_ports(2)
    broker = Broker(class_path(cache_directory(None)), tmp_path / "broker", ports=(plain, controller))
    waiting = asyncio.ensure_future(worker(broker.bootstrap, tmp_path)._administrator({}, time.monotonic() + MINUTE_S))
    with caplog.at_level(logging.WARNING):
        await asyncio.sleep(1)
        try:
            await asyncio.to_thread(lambda: (broker.format(), broker.start().wait()))
            admin = await waiting
            assert await admin.list_topics() == []
            await admin.close()
        finally:
            broker.kill()
    assert [r.getMessage().split(" (")[0] for r in caplog.records if r.name == app.log.name] == [f"Kafka at {broker.bootstrap} does not answer yet"]
