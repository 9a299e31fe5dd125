"""What a step has said whose state was lost with its worker is taken back by the successor, also when it never comes to that step itself."""
from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from agents.runner.draft import KEY_HEADER, REVISION_HEADER
from streams.clearance import publish
from streams.effects import Effect, Send
from tests.agents.test_covert_revisions import Bench, a_partition, puts, record
from tests.agents.test_covert_revisions import sends as published
from tests.streams.border_world import BOX, KZ_ENTRY, T0, bound, doc, eta, presence, shipment
from tests.streams.test_assess_story import ARRIVAL, KEY, there, underway
from topics import codec
from topics.events.internal import ShipmentFacts
from topics.events.outputs import Alert
from topics.facts import HOUR, Fact, Rank

LATE = "NoNoticeFromAuthority"
STANDS = there()
RELEASED = doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + 25 * HOUR, "KZ")
LEFT = presence(KZ_ENTRY, "departed", ARRIVAL + 26 * HOUR)


def heard(made: Bench, offset: int, facts: list[Fact], at: int) -> tuple[Effect, ...]:
    return made.batch([record(offset, ShipmentFacts(shipment=KEY, facts=tuple(facts)), at)])


def sends(effects: Sequence[Effect], topic: str) -> list[Send]:
    return [send for send in published(effects) if send.topic == topic]


def alerts(effects: Sequence[Effect], name: str = LATE) -> list[Alert]:
    said = [codec.decode(s.value or b"", Alert) for s in sends(effects, "ops.alerts")]
    return [a for a in said if a.name == name]


def ticked(made: Bench) -> tuple[Effect, ...]:
    """The clock goes on until it opens the alert."""
    for hours in range(1, 100):
        effects = made.tick(ARRIVAL + hours * HOUR, lambda: True)
        if alerts(effects):
            return effects
    raise AssertionError("nothing was opened")


def test_an_alert_that_a_lost_tick_has_opened_is_resolved_although_its_cause_is_gone_when_the_successor_looks() -> None:
    before = a_partition()
    states = puts(heard(before, 0, STANDS, ARRIVAL))
    lost = ticked(before)
    opened = alerts(lost)
    known = sends(lost, publish.STATUS)
    ends = []
    for told in ((), known):
        after = a_partition(states, told)
        said = alerts(heard(after, 1, [RELEASED, LEFT], ARRIVAL + 60 * HOUR))
        ends.append([(a.key, a.state, a.seq > opened[0].seq) for a in said])
    assert ends == [[], [(opened[0].key, "resolved", True)]], "what was lost is known by the marks alone"


def test_an_alert_that_still_holds_is_opened_again_above_what_was_lost() -> None:
    before = a_partition()
    states = puts(heard(before, 0, STANDS, ARRIVAL))
    lost = ticked(before)
    again = alerts(a_partition(states, sends(lost, publish.STATUS)).tick(before.now, lambda: True))
    assert [(a.key, a.state) for a in again] == [(a.key, "open") for a in alerts(lost)]
    assert again[0].seq > alerts(lost)[0].seq


def test_what_a_lost_step_has_resolved_is_opened_again_when_it_holds_after_all() -> None:
    before = a_partition()
    states = puts(heard(before, 0, STANDS, ARRIVAL))
    opening = ticked(before)
    states += puts(opening)
    lost = heard(before, 1, [RELEASED], before.now)
    assert [a.state for a in alerts(lost)] == ["resolved"]
    after = a_partition(states, sends(lost, publish.STATUS))
    again, first = alerts(heard(after, 1, [eta(KZ_ENTRY, ARRIVAL)], before.now)), alerts(opening)
    assert [msgspec.structs.replace(a, seq=0, at=0) for a in again] == [msgspec.structs.replace(a, seq=0, at=0) for a in first], "all of it, not its name alone"
    assert first[0].titles
    assert first[0].rule
    calm = a_partition(states)
    assert alerts(heard(calm, 1, [eta(KZ_ENTRY, ARRIVAL)], before.now)) == [], "open already"


def test_every_opening_has_its_mark_and_a_step_that_says_no_side_has_one_at_least() -> None:
    before = a_partition()
    first = heard(before, 0, STANDS, ARRIVAL)
    for effects in (first, ticked(before), heard(before, 1, [RELEASED], before.now)):
        opened = {a.key for s in sends(effects, "ops.alerts") if (a := codec.decode(s.value or b"", Alert)).state == "open"}
        marks = [s for s in sends(effects, publish.STATUS) if publish.MARK in (s.key or b"").decode()]
        assert {(s.key or b"").decode().rpartition(publish.PARTS)[2] for s in marks} == opened
        assert all(s.value is None and dict(s.headers).keys() == {REVISION_HEADER, KEY_HEADER} for s in marks)
    alert = Alert(key="a", name="a", severity="info", state="resolved", seq=1, at=1)
    bare = publish.marks(KEY, False, [publish.Emit(publish.ALERTS, "a", alert)], 7)
    assert [(e.key, e.revision, e.first) for e in bare] == [(f"{KEY}|!", 7, True)]
    assert publish.marks(KEY, True, [publish.Emit(publish.ALERTS, "a", alert)], 7) == [] == publish.marks(KEY, False, [], 7)


def test_a_side_that_only_a_lost_step_has_named_is_taken_back() -> None:
    gone = "KZ-RU-PETROPAVL:KZ:EXIT"
    before = a_partition()
    states = puts(heard(before, 0, [shipment(), bound()], T0))
    said = Send(publish.STATUS, f"{KEY}|{gone}".encode(), b"{}", 0, ((REVISION_HEADER, str(T0 + HOUR).encode()), (KEY_HEADER, KEY.encode())))
    history = [codec.decode(s.value or b"", publish.ClearanceUpdate)
               for s in sends(heard(a_partition(states, [said]), 1, [eta(KZ_ENTRY, ARRIVAL)], T0 + 1), publish.HISTORY)]
    assert [(u.side, u.state) for u in history if u.side == gone] == [(gone, "CANCELLED")]
    assert all(u.revision > T0 + HOUR for u in history)


@pytest.mark.parametrize("above", [True, False])
def test_only_what_is_above_the_state_was_lost(above: bool) -> None:
    before = a_partition()
    effects = heard(before, 0, STANDS, ARRIVAL)
    states, known = puts(effects), sends(effects, publish.STATUS)
    if above:
        known += sends(ticked(before), publish.STATUS)
    after = a_partition(states, known)
    assert bool(after._told) is above
    image = after.image()
    assert image is not None
    assert any("\0told\0" in name for name in image.floors) is above, "what is kept in memory or on disk knows it, too"
    heard(after, 1, [RELEASED], before.now + HOUR)
    assert not after._told
    assert not after._floors


def test_summaries_for_a_train_are_said_again_after_a_lost_step() -> None:
    before = a_partition()
    on_board = Fact(side=KZ_ENTRY, key=("run",), at=T0, source="trains", rank=Rank.RAILWAY, scope=BOX, value="R2")
    states = puts(heard(before, 0, [shipment(), bound(), on_board], T0))
    told = [len(sends(heard(a_partition(states, known), 1, [bound()], T0 + 1), publish.READINESS)) for known in (
        (), [Send(publish.STATUS, f"{KEY}|!".encode(), None, 0, ((REVISION_HEADER, str(T0 + HOUR).encode()), (KEY_HEADER, KEY.encode())))])]
    assert told[0] == 0
    assert told[1] > 0


def test_a_restricted_view_that_only_a_lost_step_has_shown_is_emptied_once() -> None:
    """The indicator begins, its view is said and its state lost; when the successor looks the indicator is over."""
    before: list[Send] = []
    first = a_partition()
    states = puts(heard(first, 0, underway(), T0))
    covert = Send(publish.COVERT, KEY.encode(), b"{}", 0, ((REVISION_HEADER, str(T0 + HOUR).encode()), (KEY_HEADER, f"{KEY}\0covert".encode())))
    for known in ((), (covert,)):
        after = a_partition(states, known)
        before += sends(heard(after, 1, [eta(KZ_ENTRY, ARRIVAL)], T0 + 1), "restricted.kz")
        assert sends(heard(after, 2, [eta(KZ_ENTRY, ARRIVAL + HOUR, said=T0 + 9)], T0 + 2), "restricted.kz") == [], "once"
    assert [(u.findings, u.revision > T0 + HOUR) for u in (codec.decode(s.value or b"", publish.ClearanceUpdate) for s in before)] == [((), True)] * len(before)
    assert before, "and without a lost step nothing"
