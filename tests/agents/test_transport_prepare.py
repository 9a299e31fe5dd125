"""How a lane is prepared: what it asks, in which order, what it refuses and what it must not refuse. Kafka itself: tests/integration."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import RecordMetadata, TopicPartition

from agents.transport import flow as flow_module
from agents.transport.census import TopicSeen
from agents.transport.claim import Fence
from agents.transport.fatal import Refuses
from agents.transport.flow import Flow, Stateless
from agents.transport.keeper import Keeper
from agents.transport.lane import Lane
from agents.transport.origin import Bounds, InputIdentity

TP = TopicPartition("in", 0)


async def nothing(batch: Any) -> tuple[()]:
    return ()


class Applied(Stateless):
    """A work whose restored state has applied inputs up to an offset."""

    def __init__(self, highest: int) -> None:
        super().__init__(nothing)
        self.highest = highest

    def highest_offset(self) -> int:
        return self.highest


class FakeLink:
    """Answers as a broker and a process would. `bounds`: the first is what the assignment was told at its start, the last what the broker says now."""

    group = "g-1a2b3c4d"

    def __init__(self, *bounds: Bounds, ids: bool = True) -> None:
        self.bounds, self.said, self.ids = bounds, list[str](), ids
        self.keeper, self.restoring = Keeper("g"), asyncio.Semaphore(2)
        self.durable = asyncio.Event()
        self.durable.set()
        self.offset = 0

    def client_settings(self) -> dict[str, Any]:
        return {}

    def lease(self) -> bool:
        return True

    def wake(self) -> None: ...

    async def known_topics(self) -> dict[str, TopicSeen]:
        return {name: TopicSeen(f"id of {name}" if self.ids else "", 1) for name in ("in", "state", "status")}

    async def claim(self, name: str, partitions: Sequence[TopicPartition]) -> Fence:
        self.said.append(f"claim {name}")
        return Fence(1, 0, [tp.topic for tp in partitions])

    async def bounds_of(self, tp: TopicPartition, anew: bool) -> Bounds:
        self.said.append("bounds anew" if anew else "bounds")
        return self.bounds[-1 if anew else 0]

    async def seek_lane(self, lane: Lane, offset: int) -> None:
        self.said.append(f"seek {offset}")

    def producer(self) -> Any:
        return self

    def create_batch(self) -> Any:
        return SimpleNamespace(append=lambda **_: True)

    async def send_batch(self, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._written(topic, partition))

    async def _written(self, topic: str, partition: int) -> RecordMetadata:
        await self.durable.wait()
        self.said.append(f"wrote {topic}")
        self.offset += 1
        return RecordMetadata(topic, partition, TopicPartition(topic, partition), self.offset - 1, 0, 0, 0)


async def prepared(link: FakeLink, monkeypatch: pytest.MonkeyPatch, *, highest: int = -1, known: InputIdentity | None = None) -> Lane:
    flow = Flow("f", ("in",), lambda tp: Applied(highest), state_topic="state", revision_topics=("status",))
    lane = Lane(TP, 1, flow)

    async def restored(client: Any, flow: Flow, lane: Lane, work: Any, keeper: Keeper) -> InputIdentity | None:
        lane.sure = {"state": 0, "status": 0}
        return known

    monkeypatch.setattr(flow_module, "restore", restored)
    await flow.prepare(link, lane)
    return lane


KNOWN = InputIdentity("in", "id of in")


@pytest.mark.parametrize(("told", "now"), [(Bounds(7, 0, 9), Bounds(9, 0, 15)), (Bounds(12, 0, 9), Bounds(12, 0, 15))])
async def test_a_former_owner_that_read_on_behind_the_ends_that_were_asked_for_is_no_sign_of_another_topic(
    monkeypatch: pytest.MonkeyPatch, told: Bounds, now: Bounds,
) -> None:
    """A static member under the same name is assigned at once, while the old one goes on until the claim shuts it out."""
    link = FakeLink(told, now)
    lane = await prepared(link, monkeypatch, highest=11 if told.committed == 7 else 5, known=KNOWN)
    assert (lane.next, lane.committed) == (now.committed, now.committed)
    assert link.said[-3:] == ["bounds", "bounds anew", f"seek {now.committed}"]


async def test_an_input_that_ends_too_early_also_when_it_is_asked_anew_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    link = FakeLink(Bounds(7, 0, 9))
    with pytest.raises(Refuses, match="deleted or restored from elsewhere"):
        await prepared(link, monkeypatch, highest=11, known=KNOWN)
    assert link.said[-2:] == ["bounds", "bounds anew"]
    link = FakeLink(Bounds(7, 0, 9))
    await prepared(link, monkeypatch, highest=5, known=KNOWN)
    assert "bounds anew" not in link.said, "an ordinary takeover asks once for all"
