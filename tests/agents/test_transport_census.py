"""What becomes of a question to the broker when it is not answered, when a connection closes under it, when there is a bug, and after the last one."""
from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError

from agents.transport import census as census_module
from agents.transport.census import NO_TOPIC, Observer, TopicSeen, topics_seen
from agents.transport.faust_plugin import Consumer

LONG = 60.0


class Admins:
    """Stands for KafkaAdminClient: each one made raises the next of these when it is asked; when there are no more, it answers."""

    def __init__(self, *errors: Exception, closes: Exception | None = None) -> None:
        self.errors, self.closes, self.made, self.closed = list(errors), closes, 0, 0

    def __call__(self, settings: Any) -> Any:
        self.made += 1
        return SimpleNamespace(describe_topics=self.describe, close=self.close)

    def describe(self, names: Any) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return [{"name": name, "error_code": 0, "topic_id": "1", "partitions": [0]} for name in names]

    def close(self) -> None:
        self.closed += 1
        if self.closes is not None:
            raise self.closes


def observed(monkeypatch: pytest.MonkeyPatch, admins: Admins) -> tuple[Observer, list[Any]]:
    """And what threads have died of."""
    died = list[Any]()
    monkeypatch.setattr(census_module, "admin", admins)
    monkeypatch.setattr(threading, "excepthook", died.append)
    return Observer(dict, "g"), died


async def asked(observer: Observer) -> Any:
    async with asyncio.timeout(LONG):
        return await observer._ask(lambda client: topics_seen(client, {"t"}))


SEEN = {"t": TopicSeen("1", 1)}
CLOSED = [RuntimeError("Transport closed for writes"), RuntimeError("NetworkSelector closed!"), KafkaConnectionError(), OSError(), ValueError()]


@pytest.mark.parametrize("error", CLOSED, ids=repr)
@pytest.mark.parametrize("closes", [None, RuntimeError("NetworkSelector closed!")], ids=repr)
async def test_a_connection_that_closes_under_a_question_is_no_answer_and_the_next_one_has_another_client(
    monkeypatch: pytest.MonkeyPatch, error: Exception, closes: Exception | None,
) -> None:
    admins = Admins(error, closes=closes)
    observer, died = observed(monkeypatch, admins)
    assert await asked(observer) is None
    assert (admins.made, admins.closed) == (1, 1)
    assert await asked(observer) == SEEN
    assert (admins.made, admins.closed, died) == (2, 1, [])
    async with asyncio.timeout(LONG):
        admins.errors.append(error)
        assert await observer.topics({"t"}, LONG) == SEEN, "at the start it is asked until there is an answer"


@pytest.mark.parametrize("error", [KeyError("groups"), IndexError(), RuntimeError("Concurrent access to net.poll!"), RecursionError("closed")], ids=repr)
async def test_a_bug_is_raised_to_who_asked_and_ends_the_process(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """It would wait for ever on a thread that is gone: never ready again, and nobody would see a topic that is made anew."""
    observer, died = observed(monkeypatch, Admins(error, error))
    with pytest.raises(type(error)):
        await asked(observer)
    service: Any = SimpleNamespace(should_stop=False, observer=observer, hub=SimpleNamespace(wanted_topics=set, known_topics=set))
    with pytest.raises(type(error)):
        async with asyncio.timeout(LONG):
            await Consumer._census.fun(service)
    assert died == []
    assert await asked(observer) == SEEN


@pytest.mark.parametrize("error", [*CLOSED, KeyError("groups")], ids=repr)
async def test_whatever_a_question_dies_of_after_the_end_no_thread_does(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """kafka-python closes its selector at a normal stop, too, and whoever still asks hears of it."""
    admins = Admins()
    observer, died = observed(monkeypatch, admins)
    under_way, stopped = threading.Event(), threading.Event()

    def question(client: Any) -> Any:
        under_way.set()
        assert stopped.wait(LONG)
        raise error

    asking = asyncio.ensure_future(observer._ask(question))
    assert await asyncio.to_thread(under_way.wait, LONG)
    observer.close()
    stopped.set()
    async with asyncio.timeout(LONG):
        assert await asking is None
    assert (await asked(observer), admins.made, died) == (None, 1, [])


async def test_a_client_that_does_not_close_well_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    admins = Admins(closes=RuntimeError("NetworkSelector closed!"))
    observer, _ = observed(monkeypatch, admins)
    assert await asked(observer) == SEEN
    observer.close()
    assert admins.closed == 1


@pytest.mark.parametrize(("error", "asks"), [(5, 3), (-1, 3), (NO_TOPIC, 1), (29, 1)])
async def test_at_the_start_a_topic_that_the_broker_cannot_describe_for_now_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, error: int, asks: int) -> None:
    """It would count as one without partitions, and the worker would refuse for good to begin on it."""
    admins = Admins()
    observer, _ = observed(monkeypatch, admins)
    describe, said = admins.describe, list[int]()

    def faulty(names: Any) -> Any:
        said.append(error if len(said) < 2 else 0)
        return [{**topic, "error_code": said[-1]} for topic in describe(names)]

    monkeypatch.setattr(admins, "describe", faulty)
    assert await observer.topics({"t"}, LONG) == (SEEN if asks == 3 else {"t": TopicSeen(error=error)})
    assert len(said) == asks


def test_who_may_no_longer_look_at_a_topic_does_not_take_it_for_deleted() -> None:
    said = [{"name": "gone", "error_code": NO_TOPIC}, {"name": "hidden", "error_code": 29},
            {"name": "there", "error_code": 0, "topic_id": "1", "partitions": [0]}]
    client: Any = SimpleNamespace(describe_topics=lambda _: said)
    seen = topics_seen(client, {"gone", "hidden", "there", "unspoken"})
    assert {name: (topic.partitions, topic.gone) for name, topic in seen.items()} == {
        "gone": (0, True), "hidden": (0, False), "there": (1, False), "unspoken": (0, False)}
