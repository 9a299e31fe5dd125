"""With which settings a lane's transactional producer is made, by aiokafka's own constructor: what docs/transport.md says of it (H8, silence of readers)."""
from __future__ import annotations

from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from agents.transport import faust_app
from agents.transport import flow as flow_module
from agents.transport.claim import Fence
from tests.agents.test_transport_lane import a_lane


async def made(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> dict[str, Any]:
    """What the producer of a lane was made with; it connects to nobody."""
    given: dict[str, Any] = {}

    class Producer(AIOKafkaProducer):  # type: ignore[misc]
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            given.update(arguments)

        async def start(self) -> None:
            await self.client.close()

    async def claimed(*_: Any, **__: Any) -> Fence:
        return Fence(1, 0)

    app: Any = faust_app.build(faust_app.TransportSettings(group="g", bootstrap="127.0.0.1:1", **settings))
    monkeypatch.setattr(flow_module, "AIOKafkaProducer", Producer)
    monkeypatch.setattr(app.consumer, "claim", claimed)
    lane = a_lane()
    await lane.flow._fence(app.consumer, lane)
    await lane.producer.stop()
    return given


async def test_a_transactional_producer_tries_again_soon_and_its_transaction_ends_within_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    given = await made(monkeypatch, compression="zstd")
    assert given["retry_backoff_ms"] == 20, "brokers answer NotEnoughReplicas while markers are written; a tenth of a second each would be waited"
    assert given["transaction_timeout_ms"] <= 10_000, "so long readers of committed records may wait for a dead worker"
    assert given["transactional_id"]
    assert (given["acks"], given["enable_idempotence"], given["linger_ms"], given["compression_type"]) == ("all", True, 0, "zstd")
    assert given["max_request_size"] >= 9 << 20, "a dead letter of the largest input"


async def test_the_wait_is_a_setting_and_the_producer_of_other_outputs_keeps_aiokafkas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await made(monkeypatch, transaction_retry_ms=100))["retry_backoff_ms"] == 100
    app: Any = faust_app.build(faust_app.TransportSettings(group="g", bootstrap="127.0.0.1:1"))
    producer = app.producer
    assert "retry_backoff_ms" not in {**producer._settings_default(), **producer._settings_auth(), **producer._settings_extra()}
