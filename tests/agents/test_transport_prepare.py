"""How a lane is prepared: what it asks, in which order, what it refuses and what it must not refuse. Kafka itself: tests/integration."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import InvalidProducerEpoch, InvalidProducerIdMapping
from aiokafka.structs import RecordMetadata, TopicPartition

from agents.transport import flow as flow_module
from agents.transport.census import TopicSeen
from agents.transport.claim import EXPIRES_S, TOUCH_AGAIN_S, TOUCH_S, Fence, owner_of
from agents.transport.fatal import Refuses
from agents.transport.flow import Flow, Stateless
from agents.transport.keeper import Keeper
from agents.transport.lane import Lane, boot_clock
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

    async def touch(self, name: str, fence: Fence) -> None:
        self.said.append(f"touch {name} {fence.producer_id}")

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


def a_lane(highest: int = -1) -> Any:
    return Lane(TP, 1, Flow("f", ("in",), lambda tp: Applied(highest), state_topic="state", revision_topics=("status",)))


async def prepared(
    link: FakeLink, monkeypatch: pytest.MonkeyPatch, *, highest: int = -1, known: InputIdentity | None = None, lane: Any = None,
) -> Any:
    lane = lane or a_lane(highest)

    async def restored(client: Any, flow: Flow, lane: Lane, work: Any, keeper: Keeper) -> InputIdentity | None:
        lane.sure = {"state": 0, "status": 0}
        return known

    monkeypatch.setattr(flow_module, "restore", restored)
    await lane.flow.prepare(link, lane)
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


@pytest.mark.parametrize("ids", [True, False])
async def test_nothing_can_be_committed_before_it_is_durable_what_the_state_is_made_from(monkeypatch: pytest.MonkeyPatch, ids: bool) -> None:
    """A crash between the two would look like a state that was lost. A broker without topic ids has the record, too."""
    link, lane = FakeLink(Bounds(None, 4, 9), ids=ids), a_lane()
    link.durable.clear()
    preparing = asyncio.ensure_future(prepared(link, monkeypatch, lane=lane))
    await asyncio.sleep(0.05)
    assert (preparing.done(), lane.next) == (False, None), "only a lane that knows its next offset is committed"
    link.durable.set()
    await preparing
    assert (lane.next, lane.committed) == (4, None)
    assert link.said[-2:] == ["wrote state", "seek 4"]


async def test_a_state_that_was_lost_is_refused_and_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    link, lane = FakeLink(Bounds(7, 0, 9)), a_lane()
    with pytest.raises(Refuses, match="state/0 does not say what it was made from, but the group has committed offset 7 of in"):
        await prepared(link, monkeypatch, lane=lane)
    assert (lane.next, "wrote state" in link.said) == (None, False)
    await prepared(FakeLink(Bounds(0, 0, 9)), monkeypatch)


@pytest.mark.parametrize(("known", "ids", "written"), [(KNOWN, True, False), (InputIdentity("in", ""), False, False), (InputIdentity("in", ""), True, True)])
async def test_a_state_says_its_input_once_and_again_when_the_broker_begins_to_give_ids(
    monkeypatch: pytest.MonkeyPatch, known: InputIdentity, ids: bool, written: bool,
) -> None:
    link = FakeLink(Bounds(7, 0, 9), ids=ids)
    lane = await prepared(link, monkeypatch, known=known)
    assert (lane.next, "wrote state" in link.said) == (7, written)


async def test_a_lane_that_is_given_up_while_its_first_record_waits_is_not_made_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    link, lane = FakeLink(Bounds(None, 0, 9)), a_lane()
    monkeypatch.setattr(link, "lease", lambda: False)
    preparing = asyncio.ensure_future(prepared(link, monkeypatch, lane=lane))
    await asyncio.sleep(0.05)
    lane.open = False
    with pytest.raises(TimeoutError, match="was given up"):
        await preparing
    assert (lane.next, "wrote state" in link.said) == (None, False)


async def test_the_owner_of_a_state_has_one_name_in_every_group_and_another_in_the_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()
    for group in ("g-1a2b3c4d", "g-99999999", "g-shadow-1a2b3c4d"):
        link = FakeLink(Bounds(7, 0, 9))
        link.group = group
        await prepared(link, monkeypatch, known=KNOWN)
        names |= {said for said in link.said if said.startswith("claim")}
    assert names == {"claim railclear-state-0"}
    assert owner_of("shadow.state", 0) != owner_of("state", 0)


class Transactions:
    """Stands for a lane's transactional producer."""

    def __init__(self) -> None:
        self.committed: list[int] = []
        self.offsets: dict[Any, Any] = {}

    async def begin_transaction(self) -> None:
        self.offsets = {}

    async def send_offsets_to_transaction(self, offsets: Any, group: str) -> None:
        self.offsets = {tp: offset.offset for tp, offset in offsets.items()}

    async def commit_transaction(self) -> None:
        self.committed += self.offsets.values()

    async def send_batch(self, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result(RecordMetadata(topic, partition, TopicPartition(topic, partition), 0, 0, 0, 0))
        return future

    def create_batch(self) -> Any:
        return SimpleNamespace(append=lambda **_: True)


def in_transactions(monkeypatch: pytest.MonkeyPatch) -> Any:
    async def fenced(self: Flow, link: Any, lane: Lane) -> None:
        lane.producer = Transactions()

    monkeypatch.setattr(Flow, "_fence", fenced)
    lane = a_lane()
    lane.flow.exactly_once = True
    return lane


@pytest.mark.parametrize(("committed", "said"), [(None, [4]), (4, [])])
async def test_in_transactions_too_a_lane_commits_where_it_begins(monkeypatch: pytest.MonkeyPatch, committed: int | None, said: list[int]) -> None:
    """Or records of a quiet topic that are deleted before its first batch would look like those that a new group has never seen."""
    lane = await prepared(FakeLink(Bounds(committed, 4, 9)), monkeypatch, known=KNOWN, lane=in_transactions(monkeypatch))
    if lane.tail is not None:
        await lane.tail
    assert lane.producer.committed == said


async def test_a_claim_that_stands_for_long_is_touched_once_a_day_and_not_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TOUCH_S * 1.2 * 5 <= EXPIRES_S, "five attempts before the coordinator forgets it"
    times = set()
    for _ in range(20):
        link = FakeLink(Bounds(7, 0, 9))
        lane = await prepared(link, monkeypatch, known=KNOWN)
        times.add(round((lane.touch_at - boot_clock()) / TOUCH_S, 3))
        before, lane.touch_at = lane.touch_at, 0.0
        await lane.flow.touch(link, lane)
        assert link.said[-1] == "touch railclear-state-0 1"
        assert abs(lane.touch_at - before) < TOUCH_S
    assert len(times) > 10
    assert 0.79 < min(times) < max(times) < 1.21


async def test_in_transactions_a_quiet_lane_touches_its_claim_with_one_and_a_busy_one_has_no_need(monkeypatch: pytest.MonkeyPatch) -> None:
    link = FakeLink(Bounds(4, 4, 9))
    lane = await prepared(link, monkeypatch, known=KNOWN, lane=in_transactions(monkeypatch))
    lane.ready = True
    lane.deliver(6, 2)
    await lane.flow.touch(link, lane)
    assert (lane.producer.committed, lane.tail) == ([], None)
    lane.ack(6)
    await lane.flow.touch(link, lane)
    await lane.tail
    assert lane.producer.committed == [6]
    assert lane.touch_at > boot_clock()


async def test_a_claim_that_another_has_followed_ends_the_process_and_a_coordinator_that_is_away_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(why: str, error: BaseException) -> None:
        raise SystemExit(f"{why}: {error!r}")

    monkeypatch.setattr(flow_module, "fatal", ended)
    link = FakeLink(Bounds(7, 0, 9))
    lane = await prepared(link, monkeypatch, known=KNOWN)
    errors: list[BaseException] = [InvalidProducerEpoch(), InvalidProducerIdMapping(), TimeoutError("away"), InvalidProducerEpoch()]

    async def answers(name: str, fence: Fence) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(link, "touch", answers)
    for _ in range(2):
        with pytest.raises(SystemExit, match="was taken over by somebody else, or its claim is forgotten"):
            await lane.flow.touch(link, lane)
    await lane.flow.touch(link, lane)
    assert 0 < lane.touch_at - boot_clock() <= TOUCH_AGAIN_S
    lane.open = False
    await lane.flow.touch(link, lane)
    assert errors == []
