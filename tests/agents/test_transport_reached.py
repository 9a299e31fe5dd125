"""How far the states have the revisions: said when it is sure, believed when it fits, and nothing is missing that reading everything would give."""
from __future__ import annotations

from typing import Any

import pytest

from agents.runner.stage import FoldWork
from agents.transport import flow as flow_module
from agents.transport import restore as restore_module
from agents.transport.batch import Reach, _reached
from agents.transport.keeper import Keeper
from agents.transport.reached import EVERY, FLOORS_BYTES_MAX, REVISIONS_KEY, Reached, bytes_of, reached_of, record_of
from streams.effects import Ack, Await, PutState
from tests.agents.test_transport_catchup import FLOW, REVISIONS, a_lane, a_partition, churn


async def test_owners_that_read_only_the_revisions_that_the_states_may_lack_know_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept in memory, crashes leave revisions ahead of states, and now and then a lane says how far the states have them. No zombies: with
    those it would not hold, and the brokers refuse what they write to states (tests/integration/test_transport_claim.py)."""
    monkeypatch.setattr(flow_module, "EVERY", 4)
    monkeypatch.setattr(Keeper, "take", lambda *_: None)
    spared = said = 0
    for seed in range(400, 460):
        owners, log = await churn(seed)
        spared += sum(o.spared for o in owners)
        said += 40 * len(log.log("toy.status", 0)) // 2
    assert spared > said / 2, "most revisions were not read"


async def test_a_word_about_other_topics_or_beyond_their_ends_is_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    lane = a_lane(a_partition(), 9, 9)
    fits = restore_module._fits
    assert fits(Reached(("r",), (9,)), lane, [REVISIONS], {REVISIONS: 9})
    assert not caplog.text
    for ids, nexts, end in ((("other",), (9,), 9), (("r",), (10,), 9), (("r",), (), 9), ((), (9,), 9)):
        assert not fits(Reached(ids, nexts), lane, [REVISIONS], {REVISIONS: end})
    lane.ids = ("i", "s", "")
    assert not fits(Reached(("",), (9,)), lane, [REVISIONS], {REVISIONS: 9}), "a broker that gives topics no ids"
    assert "all revisions are read" in caplog.text


def test_too_much_to_say_is_told_once_and_looked_at_again_only_when_as_much_more_was_written(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    copies = 0
    lane = a_lane(a_partition(), 5, 5 + EVERY)
    work = lane.work
    assert isinstance(work, FoldWork)
    image = work.image

    def copied() -> Any:
        nonlocal copies
        copies += 1
        return image()

    monkeypatch.setattr(work, "image", copied)
    work.restored()
    lane.marked = {"toy.status": 5}
    floors = {f"key-{number}\0covert": 1_700_000_000_000_000 + number for number in range(100)}
    work.restore_floors(floors)
    put = PutState("toy.state", 0, ((b"k", b"v"),))
    assert FLOORS_BYTES_MAX < 2**20 / 1.5, "far below a broker's limit for a record"
    size = len(record_of(Reached(("r",), (1,), floors)))
    assert size * 0.8 < bytes_of(floors) < size * 1.2, "an estimate that holds"
    monkeypatch.setattr(flow_module, "FLOORS_BYTES_MAX", bytes_of(floors) - 1)
    for written in (0, 1, EVERY - 2):
        lane.sure["toy.status"] += written
        assert FLOW._reaching(lane, (put,)) == (put,)
    assert copies == 1
    lane.sure["toy.status"] += 1
    assert FLOW._reaching(lane, (put,)) == (put,)
    assert (copies, caplog.text.count("100 keys are ahead of their state")) == (2, 1)
    monkeypatch.setattr(flow_module, "FLOORS_BYTES_MAX", bytes_of(floors))
    assert FLOW._reaching(lane, (put,)) == (put,)
    lane.sure["toy.status"] += EVERY
    assert FLOW._reaching(lane, (put,)) == (put, Reach(floors))
    assert (copies, lane.unsaid) == (3, 0)


def test_how_far_the_states_have_the_revisions_is_said_behind_states_only_when_many_were_written_and_it_is_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = a_lane(a_partition(), 5, 5 + EVERY)
    assert isinstance(lane.work, FoldWork)
    lane.work.restored()
    lane.marked = {"toy.status": 5}
    put = PutState("toy.state", 0, ((b"k", b"v"),))
    effects = (put, Await(), Ack("toy.in", 0, 1))
    assert FLOW._reaching(lane, effects) == (put, Reach({}), Await(), Ack("toy.in", 0, 1))
    assert FLOW._reaching(lane, effects[1:]) == effects[1:], "nothing was written that it could stand behind"
    lane.sure["toy.status"] -= 1
    assert FLOW._reaching(lane, effects) == effects, "too few"
    lane.sure["toy.status"] += 1
    lane.ids = ("i", "s", "")
    assert FLOW._reaching(lane, effects) == effects
    lane.ids = ("i", "s", "r")
    for key in ("a", "b"):
        lane.work.restore_floors({key: 7})
    assert FLOW._reaching(lane, effects)[1] == Reach({"a": 7, "b": 7})
    lane.durable = {"toy.state": 5, "toy.status": 77}
    said = _reached(lane, {"a": 7})
    assert said is not None
    assert (said.topic, said.partition, said.records[0][0]) == ("toy.state", 0, REVISIONS_KEY)
    assert reached_of(said.records[0][1] or b"") == Reached(("r",), (77,), {"a": 7})
    assert lane.marked == {"toy.status": 77}
    lane.foreign = True
    assert _reached(lane, {}) is None
    assert FLOW._reaching(lane, effects) == effects
