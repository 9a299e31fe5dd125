"""A lane's transactional producer: made anew while a coordinator that is looked for dies, given up at once where trying again cannot help."""
from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    ProducerFenced,
    RequestTimedOutError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import TopicPartition

from agents.transport import flow as flow_module
from agents.transport.claim import Fence, patient
from tests.agents.test_transport_lane import a_lane


async def claimed(name: str, partitions: Any) -> Fence:
    assert (name, partitions) == ("g-f-in-0", ())
    return Fence(1, 0)


LINK: Any = SimpleNamespace(group="g", producer_settings=lambda: {"bootstrap_servers": "h:1"}, claim=claimed)
GONE = KafkaError("KafkaConnectionError('Connection at h:1 closed')")
"""As aiokafka says it when the broker dies between the look-up and the answer."""


class Producers:
    """Stands for AIOKafkaProducer: each start raises the next of these; None = it starts."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors, self.names, self.stopped = list(errors), list[str](), 0

    def __call__(self, *, transactional_id: str, **_: Any) -> Any:
        self.names.append(transactional_id)
        return SimpleNamespace(start=self.start, stop=self.stop, client=SimpleNamespace(coordinator_lookup=None))

    async def start(self) -> None:
        error = self.errors.pop(0)
        if error is not None:
            raise error

    async def stop(self) -> None:
        self.stopped += 1


async def fence(monkeypatch: pytest.MonkeyPatch, producers: Producers, *, is_open: bool = True) -> None:
    monkeypatch.setattr(flow_module, "AIOKafkaProducer", producers)
    monkeypatch.setattr(flow_module, "FENCE_AGAIN_S", 0.0)
    lane = a_lane()
    lane.open = is_open
    await lane.flow._fence(LINK, lane)


async def test_a_coordinator_that_dies_while_it_is_looked_for_is_asked_again_under_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    producers = Producers(GONE, KafkaConnectionError("no"), None)
    await fence(monkeypatch, producers)
    assert (len(set(producers.names)), len(producers.names), producers.stopped) == (1, 3, 2)
    assert producers.errors == []


async def test_a_producer_that_a_starting_broker_keeps_waiting_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    class Waiting(Producers):
        async def start(self) -> None:
            if len(self.names) == 1:
                await asyncio.Event().wait()

    monkeypatch.setattr(flow_module, "START_ONE_S", 0.05)
    producers = Waiting()
    await fence(monkeypatch, producers)
    assert (len(producers.names), producers.stopped) == (2, 1)


@pytest.mark.parametrize("error", [TransactionalIdAuthorizationFailed("x"), ProducerFenced("newer")])
async def test_what_trying_again_cannot_mend_ends_it_at_once(monkeypatch: pytest.MonkeyPatch, error: KafkaError) -> None:
    producers = Producers(error, None)
    with pytest.raises(type(error)):
        await fence(monkeypatch, producers)
    assert len(producers.names) == 1


async def test_a_lane_that_was_given_up_does_not_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    producers = Producers(GONE, None)
    with pytest.raises(KafkaError):
        await fence(monkeypatch, producers, is_open=False)
    assert len(producers.names) == 1


async def test_it_gives_up_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_module, "START_TIMEOUT_S", -1.0)
    producers = Producers(GONE, None)
    with pytest.raises(KafkaError):
        await fence(monkeypatch, producers)
    assert len(producers.names) == 1

def test_sequence_numbers_begin_again_at_zero_behind_the_largest() -> None:
    fence, tp = Fence(1, 0), TopicPartition("t", 0)
    fence.increment_sequence_number(tp, 2**31 - 1)
    assert fence.sequence_number(tp) == 2**31 - 1
    fence.increment_sequence_number(tp, 3)
    assert fence.sequence_number(tp) == 2
    assert fence.sequence_number(TopicPartition("t", 1)) == 0


@pytest.mark.parametrize(("error", "seen"), [(KafkaConnectionError("gone"), NodeNotReadyError), (RequestTimedOutError(), RequestTimedOutError)])
async def test_a_broker_that_dies_before_it_says_who_coordinates_is_an_error_that_the_producer_tries_again_on(
    error: KafkaError, seen: type[KafkaError],
) -> None:
    answers: list[KafkaError | None] = [error, None]

    class Client:
        async def coordinator_lookup(self, kind: int, key: str) -> int:
            found = answers.pop(0)
            if found is not None:
                raise found
            return 7

    producer = patient(SimpleNamespace(client=Client()))
    with pytest.raises(seen):
        await producer.client.coordinator_lookup(1, "g")
    assert await producer.client.coordinator_lookup(1, "g") == 7
