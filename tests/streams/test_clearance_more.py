"""CLEARANCE over time: what is covert stays covert, alerts open and resolve, limits are named, shipments retire."""
from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from streams.clearance import ClearanceFold, Shipment
from streams.clearance.retire import STUB_BYTES_MAX
from streams.clearance.state import FACTS_PER_SCOPE_MAX
from streams.fold import Emit, Step, World
from streams.reference.model import Agreement, Reference
from streams.rules.day import moment
from tests.streams.border_world import BOX, CN_EXIT, KZ_ENTRY, OTHER_BOX, PL_ENTRY, T0, bound, demand, doc, presence, reference, seal, shipment
from tests.streams.test_assess_story import ARRIVAL, KEY, broken, read_at_dostyk, there, underway
from topics import codec
from topics.events.internal import FreshnessChanged, MaskFacts, ShipmentFacts, StatusSummary
from topics.events.outputs import Alert, ClearanceUpdate
from topics.events.sites import CrossingCondition, RiskIndicator
from topics.facts import DAY, HOUR, Fact, Rank

FOLD = ClearanceFold()
REF = reference()


def step(state: Shipment | None, facts: Sequence[Fact], now: int, *said: msgspec.Struct, origin: str = "") -> Step[Shipment]:
    events = [ShipmentFacts(shipment=KEY, facts=tuple(facts), origin=origin)] if facts else []
    return FOLD.step(state, KEY, events, World(REF, {FOLD.broadcast_slot(b).id: b for b in said}), now)


def public(outputs: Sequence[Emit]) -> list[tuple[str, str, bytes]]:
    return [(e.topic, e.key, codec.encode(e.value)) for e in outputs if e.value is not None and not e.topic.startswith("restricted.")]


def alerts(outputs: Sequence[Emit]) -> list[Alert]:
    return [e.value for e in outputs if isinstance(e.value, Alert)]


def indicator(score: float = 0.9) -> RiskIndicator:
    return RiskIndicator(source="risk-kz", id="i1", event_time=moment(T0), authority="KZ", valid_from=moment(T0 + HOUR),
                         valid_until=moment(T0 + 40 * HOUR), containers=(BOX,), score=score)


def history() -> list[tuple[int, list[Fact]]]:
    rng = random.Random(7)
    facts = [*there(), read_at_dostyk(), doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + HOUR, "KZ", code="TD-RELEASED")]
    rng.shuffle(facts)
    return [(T0 + n * HOUR, facts[n * 3:n * 3 + 3]) for n in range(len(facts) // 3 + 1)] + [(ARRIVAL + 2 * HOUR, []), (ARRIVAL + 30 * HOUR, [])]


def test_public_bytes_are_the_same_with_and_without_an_indicator() -> None:
    plain, covert = [], []
    a: Shipment | None = None
    b: Shipment | None = None
    shown: list[Emit] = []
    for now, facts in history():
        with_it = step(b, facts, now, indicator())
        without = step(a, facts, now)
        a, b = without.state, with_it.state
        plain += public(without.outputs)
        covert += public(with_it.outputs)
        shown += [e for e in with_it.outputs if e.topic.startswith("restricted.")]
        tick = step(b, [], now + 1, indicator())              # what is covert may wake the key more often, and still says nothing
        b = tick.state
        covert += public(tick.outputs)
        shown += [e for e in tick.outputs if e.topic.startswith("restricted.")]
    assert plain == covert
    assert {e.topic for e in shown} == {"restricted.kz", "restricted.revisions"}


def test_the_restricted_view_withholds_pre_cleared_for_its_own_authority_only() -> None:
    result = step(None, underway(), T0 + 5 * HOUR, indicator())
    views = [e.value for e in result.outputs if e.topic == "restricted.kz"]
    assert [(v.side, v.state, {f.code for f in v.findings}) for v in views if isinstance(v, ClearanceUpdate)] == [(KZ_ENTRY, "ACCEPTED", {"INDICATOR_HIT"})]
    states = {e.value.side: e.value.state for e in result.outputs if e.topic == "clearance.status" and isinstance(e.value, ClearanceUpdate)}
    assert states[KZ_ENTRY] == "PRE_CLEARED"
    over = step(result.state, [], T0 + 41 * HOUR, indicator())
    closing = [e.value for e in over.outputs if e.topic == "restricted.kz"]
    assert [v.findings for v in closing if isinstance(v, ClearanceUpdate)] == [()], "said once more when it no longer holds"


def test_a_weak_indicator_withholds_nothing() -> None:
    result = step(None, underway(), T0 + 5 * HOUR, indicator(0.2))
    view = next(e.value for e in result.outputs if e.topic == "restricted.kz")
    assert isinstance(view, ClearanceUpdate)
    assert view.state == "PRE_CLEARED"


def test_an_alert_opens_once_and_resolves_when_its_cause_is_gone() -> None:
    first = step(None, there(), ARRIVAL + 2 * HOUR)
    late = step(first.state, [], ARRIVAL + 26 * HOUR)
    opened = [a for a in alerts(late.outputs) if a.name == "NoNoticeFromAuthority"]
    assert [(a.state, a.call) for a in opened] == [("open", "+7 000 000")]
    again = step(late.state, [], ARRIVAL + 27 * HOUR)
    assert not [a for a in alerts(again.outputs) if a.name == "NoNoticeFromAuthority"]
    done = step(again.state, [doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + 27 * HOUR, "KZ")], ARRIVAL + 28 * HOUR)
    resolved = [a for a in alerts(done.outputs) if a.name == "NoNoticeFromAuthority"]
    assert [a.state for a in resolved] == ["resolved"]
    assert resolved[0].key == opened[0].key
    assert resolved[0].seq > opened[0].seq


def test_a_tick_is_asked_for_when_the_duty_line_is_due() -> None:
    result = step(None, [*there(), read_at_dostyk()], ARRIVAL + 2 * HOUR)
    assert result.next_due is not None
    assert ARRIVAL + 2 * HOUR < result.next_due <= ARRIVAL + 25 * HOUR


def test_a_box_takes_256_facts_of_a_side_and_the_next_is_refused_by_name() -> None:
    many = [seal("reading", T0 + n, source=f"s{n}", side=KZ_ENTRY) for n in range(FACTS_PER_SCOPE_MAX + 1)]
    full = step(None, [shipment(), bound(), *many], T0 + DAY)
    assert [(o.fate.value, o.reason) for o in full.outcomes] == [("refused", "FACTS_LIMIT")]
    update = next(e.value for e in full.outputs if e.topic == "clearance.status" and isinstance(e.value, ClearanceUpdate) and e.value.side == KZ_ENTRY)
    assert "FACTS_LIMIT" in update.flags
    under = step(None, [shipment(), bound(), *many[:-2]], T0 + DAY)
    assert under.outcomes == ()


def test_a_retracted_feed_counts_as_absent_and_comes_back() -> None:
    facts = [shipment(), bound(), doc("@KZ/doc/pi/P1", "pi", "P1", "registered", T0 + HOUR, "KZ")]
    mask = MaskFacts(source="customs-kz", since=T0, until=T0 + DAY, record="m1")
    state = step(None, facts, T0 + 2 * HOUR).state
    masked = step(state, [], T0 + 3 * HOUR, mask)
    lifted = step(masked.state, [], T0 + 4 * HOUR, msgspec.structs.replace(mask, lifted=True, version=1))
    said = [next(e.value.state for e in r.outputs if e.topic == "clearance.status" and isinstance(e.value, ClearanceUpdate) and e.value.side == KZ_ENTRY)
            for r in (masked, lifted)]
    assert said == ["EXPECTED", "ACCEPTED"]


def test_a_stale_authority_withholds_pre_cleared_and_is_told() -> None:
    stale = FreshnessChanged(source="customs-kz", live=False, since=T0, last_event=T0)
    result = step(None, underway(), T0 + 5 * HOUR, stale)
    update = next(e.value for e in result.outputs if e.topic == "clearance.status" and isinstance(e.value, ClearanceUpdate) and e.value.side == KZ_ENTRY)
    assert (update.state, "STALE" in update.flags) == ("ACCEPTED", True)
    assert [(f.source, f.live) for f in update.freshness][:1] == [("customs-kz", False)]
    assert update.freshness[0].age_minutes is not None


def finished() -> Shipment:
    facts = [shipment(corridor="", crossings=["CN-KZ-ALASHANKOU-DOSTYK"], enrolments=[]), bound(),
             *(doc(CN_EXIT, k, "N1", "released", T0 + n, "CN") for n, k in enumerate(("declaration", "manifest"))),
             doc(CN_EXIT, "conveyance", "R1", "released", T0 + 3, "CN"),
             Fact(side=CN_EXIT, key=("run",), at=T0, source="trains", scope=BOX, value="R1"),
             presence(CN_EXIT, "departed", T0 + HOUR), doc(KZ_ENTRY, "pi", "P1", "registered", T0, "KZ"), presence(KZ_ENTRY, "seen", T0 + 2 * HOUR),
             Fact(side=KZ_ENTRY, key=("presented", "1"), at=T0 + 2 * HOUR, source="KZ"),
             doc(KZ_ENTRY, "import", "I1", "released", T0 + 3 * HOUR, "KZ"), presence(KZ_ENTRY, "departed", T0 + 4 * HOUR)]
    state = step(None, facts, T0 + 5 * HOUR).state
    assert state is not None
    assert {s.state for s in state.shown.values()} == {"DEPARTED"}
    return state


def test_a_finished_shipment_becomes_a_small_stub_after_thirty_days_and_then_a_tombstone() -> None:
    state = finished()
    assert step(state, [], T0 + 29 * DAY).state == state
    stub = step(state, [], T0 + 31 * DAY)
    assert stub.state is not None
    assert stub.state.facts == ()
    assert len(FOLD.encode_state(stub.state)) <= STUB_BYTES_MAX
    assert not [a for a in alerts(stub.outputs) if a.name == "RetiredUnfinished"]
    kept = step(stub.state, [], T0 + 60 * DAY)
    assert kept.state is not None
    gone = step(stub.state, [], T0 + 122 * DAY)
    assert gone.state is None
    assert {e.key for e in gone.outputs if e.value is None} == {f"{KEY}|{CN_EXIT}", f"{KEY}|{KZ_ENTRY}"}


def test_an_unfinished_one_retires_after_the_limit_with_an_alert() -> None:
    state = step(None, underway(), T0 + 5 * HOUR).state
    assert step(state, [], T0 + 150 * DAY).state is not None
    over = step(state, [], T0 + 200 * DAY)
    assert over.state is not None
    assert over.state.retired_at == T0 + 200 * DAY
    assert [a.name for a in alerts(over.outputs) if a.state == "open"] == ["RetiredUnfinished"]


def views(outputs: Sequence[Emit], of: str = "kz") -> list[tuple[str, str, bool, int]]:
    return [(v.side, v.state, bool(v.findings), v.revision) for e in outputs if e.topic == f"restricted.{of}" and isinstance(v := e.value, ClearanceUpdate)]


@pytest.mark.parametrize("known", [True, False])
def test_a_shipment_that_retires_leaves_no_restricted_view_behind(known: bool) -> None:
    """Its indicator holds for longer than the shipment is kept: nobody would ever empty the view."""
    said = (msgspec.structs.replace(indicator(), valid_until=moment(T0 + 400 * DAY)),) if known else ()
    first = step(None, underway(), T0 + 5 * HOUR, *said)
    shown = views(first.outputs)
    assert [view[2] for view in shown] == [True] * known
    over = step(first.state, [], T0 + 200 * DAY, *said)
    assert over.state is not None
    assert over.state.retired_at is not None
    assert [(side, findings, revision > shown[0][3]) for side, _, findings, revision in views(over.outputs)] == [(KZ_ENTRY, False, True)] * known
    restoring = [e for e in over.outputs if e.topic == "restricted.revisions"]
    assert all(e.first and e.covert for e in restoring)
    assert len(restoring) == known


@pytest.mark.parametrize("known", [True, False])
def test_a_side_that_leaves_the_route_leaves_no_restricted_view_behind(known: bool) -> None:
    said = (msgspec.structs.replace(indicator(), source="risk-pl", authority="PL"),) if known else ()
    first = step(None, [f for f in underway() if f.key[0] != "eta"], T0 + 5 * HOUR, *said)
    assert [view[::2] for view in views(first.outputs, "pl")] == [(PL_ENTRY, True)] * known
    after = step(first.state, [msgspec.structs.replace(shipment(crossings=["CN-KZ-ALASHANKOU-DOSTYK"]), version=1)], T0 + 6 * HOUR, *said)
    assert after.state is not None
    assert PL_ENTRY not in after.state.shown
    assert [view[:3] for view in views(after.outputs, "pl")] == [(PL_ENTRY, "CANCELLED", False)] * known
    assert views(step(after.state, [], T0 + 7 * HOUR, *said).outputs, "pl") == [], "once"


@pytest.mark.parametrize("days", [1, 181, 4_000])
def test_what_is_told_long_afterwards_is_said_before_it_retires(days: int) -> None:
    """Files of years ago have statuses too: the limit counts from when they were heard."""
    now = T0 + days * DAY
    first = step(None, underway(), now)
    assert KZ_ENTRY in {e.value.side for e in first.outputs if isinstance(e.value, ClearanceUpdate)}
    assert "RetiredUnfinished" not in {a.name for a in alerts(first.outputs)}
    kept = step(first.state, [], now + 179 * DAY).state
    assert kept is not None
    assert kept.retired_at is None
    over = step(first.state, [], now + 181 * DAY)
    assert over.state is not None
    assert over.state.retired_at == now + 181 * DAY
    assert [a.name for a in alerts(over.outputs) if a.state == "open"] == ["RetiredUnfinished"]


def test_a_step_that_brings_a_fact_after_the_limit_says_it_and_waits_for_the_limit_anew() -> None:
    state = step(None, underway(), T0 + 5 * HOUR).state
    late = step(state, [demand(KZ_ENTRY, "hold", "H1", "opened", T0 + 5 * HOUR, "KZ")], T0 + 200 * DAY)
    assert {e.value.side: e.value.state for e in late.outputs if isinstance(e.value, ClearanceUpdate) and e.topic == "clearance.status"}[KZ_ENTRY] == "HELD"
    assert late.state is not None
    assert (late.state.retired_at, late.state.heard_at) == (None, T0 + 200 * DAY)
    again = step(state, underway(), T0 + 200 * DAY)
    assert {o.fate.value for o in again.outcomes} == {"duplicate"}
    assert again.state is not None
    assert again.state.heard_at == T0 + 5 * HOUR, "a repeat is no news"
    assert again.state.retired_at is None, "but nothing is put away under what has come"
    over = step(again.state, [], T0 + 200 * DAY)
    assert over.state is not None
    assert over.state.retired_at == T0 + 200 * DAY


def test_when_facts_were_heard_decides_nothing_that_is_said() -> None:
    facts = underway()
    at_once, later = step(None, facts, T0 + 5 * HOUR).state, None
    for n, fact in enumerate(facts):
        later = step(later, [fact], T0 + HOUR + n).state
    later = step(later, [], T0 + 5 * HOUR).state
    assert at_once is not None
    assert later is not None
    assert at_once.heard_at != later.heard_at
    assert at_once.facts == later.facts
    assert {s: v.state for s, v in at_once.shown.items()} == {s: v.state for s, v in later.shown.items()}


def test_a_fact_for_a_stub_is_parked_and_alerts_only_if_it_would_change_a_final_state() -> None:
    stub = step(finished(), [], T0 + 31 * DAY).state
    harmless = step(stub, [presence(KZ_ENTRY, "seen", T0)], T0 + 32 * DAY)
    assert [o.fate.value for o in harmless.outcomes] == ["parked"]
    assert alerts(harmless.outputs) == []
    hold = step(stub, [demand(KZ_ENTRY, "hold", "H1", "opened", T0 + 31 * DAY, "KZ")], T0 + 32 * DAY)
    assert [a.name for a in alerts(hold.outputs)] == ["FactAfterRetirement"]
    reopened = step(stub, [shipment(), bound()], T0 + 32 * DAY, origin="reopen/ops")
    assert reopened.state is not None
    assert reopened.state.facts


def test_a_diversion_cancels_the_side_that_is_no_longer_passed() -> None:
    state = step(None, [f for f in underway() if f.key[0] != "eta"], T0 + 5 * HOUR).state
    other = msgspec.structs.replace(shipment(crossings=["CN-KZ-ALASHANKOU-DOSTYK"]), version=1)
    result = step(state, [other], T0 + 6 * HOUR)
    update = next(e.value for e in result.outputs if e.topic == "clearance.history" and isinstance(e.value, ClearanceUpdate) and e.value.side == PL_ENTRY)
    assert (update.state, update.flags) == ("CANCELLED", ("off_route",))
    assert [e.value for e in result.outputs if e.key == f"{KEY}|{PL_ENTRY}"] == [None]


@pytest.mark.parametrize("seed", range(8))
def test_the_whole_story_in_any_order_with_repeats_ends_the_same(seed: int) -> None:
    facts = broken()
    rng = random.Random(seed)
    shuffled = [*facts, *rng.sample(facts, 5)]
    rng.shuffle(shuffled)
    straight, mixed = step(None, facts, ARRIVAL + 2 * HOUR).state, None
    for fact in shuffled:
        mixed = step(mixed, [fact], ARRIVAL + 2 * HOUR).state
    assert straight is not None
    assert mixed is not None
    assert straight.facts == mixed.facts
    assert {s: v.state for s, v in straight.shown.items()} == {s: v.state for s, v in mixed.shown.items()}
    assert straight.alerts == mixed.alerts


def test_what_concerns_everybody_has_one_slot_each() -> None:
    closing = CrossingCondition(source="net", id="1", event_time=moment(T0), crossing="X", state="closed")
    opening = msgspec.structs.replace(closing, id="2", event_time=moment(T0 + HOUR), state="open")
    assert FOLD.broadcast_slot(closing).id == FOLD.broadcast_slot(opening).id
    assert FOLD.broadcast_slot(closing).order < FOLD.broadcast_slot(opening).order
    assert FOLD.broadcast_slot(indicator()).until == T0 + 40 * HOUR


def borders(ref: Reference) -> dict[str, set[str]]:
    """Border topic -> sides that its reader is shown."""
    events = [ShipmentFacts(shipment=KEY, facts=tuple(underway()))]
    found: dict[str, set[str]] = {}
    for e in FOLD.step(None, KEY, events, World(ref), T0 + 5 * HOUR).outputs:
        if e.topic.startswith("border.") and isinstance(e.value, ClearanceUpdate):
            found.setdefault(e.topic, set()).add(e.value.side)
    return found


def test_an_authority_sees_its_own_side_and_another_only_by_an_exchange_agreement() -> None:
    assert borders(REF)["border.cn-kz-alashankou-dostyk.kz"] == {KZ_ENTRY}
    row = Agreement(source="D", id="x", kind="exchange", parties=("CN", "KZ"), directional=True, in_force="2020-01-01", scope=("status",))
    shared = borders(reference(agreements={"x": row}))
    assert shared["border.cn-kz-alashankou-dostyk.kz"] == {KZ_ENTRY, CN_EXIT}
    assert shared["border.cn-kz-alashankou-dostyk.cn"] == {CN_EXIT}, "directional: KZ tells CN nothing"


def test_an_authority_whose_first_side_lies_inside_a_customs_territory_hears_at_its_border() -> None:
    row = Agreement(source="D", id="x", kind="exchange", parties=("KZ", "BY"), in_force="2020-01-01", scope=("status",))
    ref = reference(agreements={"x": row})
    inside = msgspec.structs.replace(ref.crossings["KZ-RU-ZHAISAN-ILETSK"], b_authority="BY")
    shown = borders(msgspec.structs.replace(ref, crossings={**ref.crossings, inside.id: inside}))
    assert shown["border.by-pl-brest-malaszewicze.by"] == {"BY-PL-BREST-MALASZEWICZE:BY:EXIT", KZ_ENTRY}
    assert shown["border.cn-kz-alashankou-dostyk.kz"] == {KZ_ENTRY, "BY-PL-BREST-MALASZEWICZE:BY:EXIT"}


@pytest.mark.parametrize(("limit", "shown"), [
    ({"routes": ("west-a",)}, True), ({"routes": ("east",)}, False), ({"enrolment": "gtt"}, True), ({"enrolment": "green_lane"}, False),
    ({"goods": ("84",)}, True), ({"goods": ("01",)}, False)], ids=str)
def test_an_exchange_row_holds_for_its_corridor_goods_and_enrolled_shipments_only(limit: dict[str, Any], shown: bool) -> None:
    row = Agreement(source="D", id="x", kind="exchange", parties=("CN", "KZ"), in_force="2020-01-01", scope=("status",), **limit)
    assert (CN_EXIT in borders(reference(agreements={"x": row}))["border.cn-kz-alashankou-dostyk.kz"]) is shown


def test_a_transit_that_another_authority_ended_is_not_open_and_does_not_keep_the_shipment() -> None:
    open_ = [*there(), doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + HOUR, "KZ")]
    ended = [*open_, doc("@BY/doc/td/T1", "td", "T1", "ended", ARRIVAL + 99 * HOUR, "BY")]

    def flagged(facts: list[Fact]) -> bool:
        out = step(None, facts, ARRIVAL + 100 * HOUR).outputs
        return any("transit_open" in e.value.flags for e in out if isinstance(e.value, ClearanceUpdate) and e.value.side == KZ_ENTRY)

    assert (flagged(open_), flagged(ended)) == (True, False)


def test_readiness_hears_of_each_box_of_the_train_that_carries_it() -> None:
    facts = [shipment(containers=[{"container": BOX}, {"container": OTHER_BOX}], enrolments=[]), bound(), bound(OTHER_BOX),
             *(Fact(side=KZ_ENTRY, key=("run",), at=T0, source="trains", rank=Rank.RAILWAY, scope=b, value="R2") for b in (BOX, OTHER_BOX)),
             demand(KZ_ENTRY, "hold", "H1", "opened", T0 + HOUR, "KZ", scope=BOX)]
    said = [e.value for e in step(None, facts, T0 + DAY).outputs if e.topic == "readiness.in"]
    stood = {box: next(s.state for s in m.sides if s.side == KZ_ENTRY) for m in said if isinstance(m, StatusSummary) for box in m.containers}
    assert stood == {BOX: "HELD", OTHER_BOX: "EXPECTED"}
    assert {m.run for m in said if isinstance(m, StatusSummary)} == {"R2"}


def test_a_departure_without_release_is_critical_and_only_a_feed_gap_when_the_authority_is_silent() -> None:
    facts = [*there(), presence(KZ_ENTRY, "departed", ARRIVAL + HOUR)]
    stale = FreshnessChanged(source="customs-kz", live=False, since=T0, last_event=T0)
    found = [{a.severity for a in alerts(step(None, facts, ARRIVAL + 2 * HOUR, *said).outputs) if a.name == "LeftWithoutRelease" and a.side == KZ_ENTRY}
             for said in ((), (stale,))]
    assert found == [{"critical"}, {"warning"}]
