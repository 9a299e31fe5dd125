"""Masks, dates without times, other agencies, territories, limits, seals, flags: each fires and does not fire."""
from __future__ import annotations

import pytest
from msgspec import structs

from streams.status import FACTS_MAX, Basis, Seal, SideRules, State, scope_status, side_of, side_status
from tests.sim.oracle.compare import RULES
from tests.sim.oracle.rows import CUSTOMS, FORWARDER, LOCK, RAILWAY, UNION
from tests.streams.stories import AWAY, GTT, HERE, LOCK_READ, PI, PRESENTED, RISK, TD, at, doc, flags, hold, scope, side, state
from topics.facts import DAY, EVERYWHERE, HOUR, MINUTE, WHOLE, Fact, Rank, merge


def mask(since: float, until: float, source: str = CUSTOMS, **more: object) -> Fact:
    span = {"source": source, "since": int(since * HOUR), "until": int(until * HOUR)}
    return at(50, "mask", source="operator", record="m", **({"value": span} | more))  # type: ignore[arg-type]


# --- masks ---

def test_what_a_mask_covers_counts_as_absent() -> None:
    assert state("entry", *HERE, TD, mask(4, 6)) is State.ARRIVED
    assert state("entry", *HERE, TD, mask(5, 5)) is State.ARRIVED


def test_a_mask_covers_nothing_outside_its_interval_or_of_another_source() -> None:
    assert state("entry", *HERE, TD, mask(6, 9)) is State.RELEASED
    assert state("entry", *HERE, TD, mask(4, 6, source=UNION)) is State.RELEASED


def test_a_lifted_mask_gives_back_what_it_covered() -> None:
    assert state("entry", *HERE, TD, mask(4, 6), mask(4, 6, version=1, value=None)) is State.RELEASED


def test_a_mask_of_one_box_leaves_the_others() -> None:
    released = [doc(5, "td", "1", "released", scope=box) for box in ("A", "B")]
    told = side("entry", *HERE, *released, mask(4, 6, scope="A"), boxes=["A", "B"])
    assert (told.scopes["A"].state, told.scopes["B"].state) == (State.ARRIVED, State.RELEASED)


def test_a_masked_word_names_no_box() -> None:
    assert set(side("entry", hold(3, scope="C"), boxes=["A"]).scopes) == {"A", "C"}
    assert set(side("entry", hold(3, scope="C"), mask(3, 3), boxes=["A"]).scopes) == {"A"}


# --- dates without times ---

def test_of_a_day_without_times_what_is_open_stays_open() -> None:
    day = (hold(24, dated=True), hold(30, phase="closed"))
    assert state("entry", *HERE, TD, *day) is State.HELD
    assert "order_unknown" in flags(*HERE, TD, *day)


def test_a_lift_of_the_next_day_closes_a_dated_hold() -> None:
    days = (hold(24, dated=True), hold(48, phase="closed"))
    assert state("entry", *HERE, TD, *days) is State.RELEASED
    assert "order_unknown" not in flags(*HERE, TD, *days)


def test_a_dated_lift_of_the_holds_day_closes_nothing() -> None:
    assert state("entry", *HERE, TD, hold(30), hold(24, phase="closed", dated=True)) is State.HELD
    assert "order_unknown" in flags(*HERE, TD, hold(30), hold(24, phase="closed", dated=True))
    assert "order_unknown" not in flags(*HERE, TD, hold(50), hold(24, phase="closed", dated=True))


def test_a_dated_rejection_closes_no_demand_of_its_day() -> None:
    dead = doc(24, "td", "1", "rejected", dated=True)
    assert state("entry", *HERE, hold(30, "td/1"), dead) is State.HELD
    assert "order_unknown" in flags(*HERE, hold(30, "td/1"), dead)
    assert state("entry", *HERE, hold(23, "td/1"), dead) is State.FILING_REJECTED
    assert "order_unknown" not in flags(*HERE, hold(50, "td/1"), dead)


def test_what_was_said_on_the_day_of_a_dated_visit_is_not_surely_of_it() -> None:
    again = at(24, "visit", source=RAILWAY, value=2, dated=True)
    assert state("entry", PI, again, doc(30, "pi", "1", "registered")) is State.EXPECTED
    assert state("entry", PI, again, doc(48, "pi", "1", "registered")) is State.ACCEPTED


def test_a_dated_rejection_stands_against_a_registration_of_that_day() -> None:
    told = (doc(24, "pi", "1", "rejected", dated=True), doc(30, "pi", "1", "registered"))
    assert state("entry", *told) is State.FILING_REJECTED
    assert "order_unknown" in flags(*told)
    assert state("entry", told[0], doc(49, "pi", "1", "registered")) is State.ACCEPTED


def test_registered_and_released_on_one_date_is_released_without_doubt() -> None:
    told = (*HERE, doc(24, "td", "1", "registered", dated=True), doc(24, "td", "1", "released", dated=True))
    assert state("entry", *told) is State.RELEASED
    assert "order_unknown" not in flags(*told)


def test_a_condition_must_be_proven_after_the_whole_day_of_a_dated_registration() -> None:
    told = doc(24, "pi", "1", "registered", dated=True)
    assert state("entry", told, at(30, "condition", "risk", source="rules", value="proven")) is State.ACCEPTED
    assert state("entry", told, at(48, "condition", "risk", source="rules", value="proven")) is State.PRE_CLEARED


def test_a_dated_departure_of_the_day_of_a_presence_is_a_departure_of_unknown_order() -> None:
    gone = at(0, "departed", "1", source=RAILWAY, dated=True)
    assert state("entry", *HERE, TD, gone) is State.DEPARTED
    assert "order_unknown" in flags(*HERE, TD, gone)
    assert "order_unknown" not in flags(*HERE, TD, AWAY)


# --- other agencies ---

def vet(hour: float, phase: str, ref: str = "v1", source: str = "veterinary-kz", **more: object) -> Fact:
    """`hold` and `lift` by phase; `more` may name another kind. Without reference each message is a slot of its own, as the folds say it."""
    kind = more.pop("kind", "hold" if phase == "opened" else "control" if phase == "discrepancy" else "")
    record = "" if ref else f"@{hour}"
    return at(hour, "agency", "veterinary", kind, ref, phase, source=source, record=record, **more)  # type: ignore[arg-type]


def test_an_agencys_hold_keeps_the_goods_and_leaves_the_customs_state() -> None:
    told = side("entry", *HERE, TD, vet(6, "opened"))
    assert told.state is State.RELEASED
    assert not told.movable
    assert [(b.agency, b.reference, b.phase, b.source) for b in told.blocked_by] == [("veterinary", "v1", "opened", "veterinary-kz")]


def test_an_agencys_own_later_lift_frees_the_goods() -> None:
    assert side("entry", *HERE, TD, vet(6, "opened"), vet(7, "closed")).movable
    assert not side("entry", *HERE, TD, vet(6, "opened"), vet(6, "closed")).movable
    assert not side("entry", *HERE, TD, vet(6, "opened"), vet(7, "discrepancy"), vet(6.5, "closed")).movable


@pytest.mark.parametrize("lift", [vet(7, "closed", ref="v2"), vet(7, "closed", source="veterinary-cn"), vet(7, "certificate")])
def test_nothing_else_lifts_an_agencys_hold(lift: Fact) -> None:
    assert not side("entry", *HERE, TD, vet(6, "opened"), lift).movable


def test_customs_covers_no_veterinary_hold() -> None:
    assert not side("entry", *HERE, vet(4, "opened"), TD, hold(5, ref="v1", phase="closed")).movable


@pytest.mark.parametrize("ref", ["v1", ""])
def test_a_conform_result_closes_its_control_and_never_a_hold(ref: str) -> None:
    conform = vet(7, "closed", ref, kind="control")
    assert side("entry", *HERE, TD, vet(6, "opened", ref, kind="control"), conform).movable
    assert not side("entry", *HERE, TD, vet(6, "opened", ref), conform).movable
    assert not side("entry", *HERE, TD, vet(6, "opened", ref, kind="refusal"), conform).movable


@pytest.mark.parametrize("ref", ["v1", ""])
def test_a_discrepancy_is_lifted_and_no_conform_result_covers_it(ref: str) -> None:
    ordered, found = vet(5, "opened", ref, kind="control"), vet(6, "discrepancy", ref)
    assert not side("entry", *HERE, TD, ordered, found, vet(7, "closed", ref, kind="control")).movable
    assert side("entry", *HERE, TD, ordered, found, vet(7, "closed", ref)).movable


def test_a_bare_lift_frees_only_what_it_can_mean() -> None:
    assert side("entry", *HERE, TD, vet(6, "opened", ""), vet(7, "closed", "")).movable
    assert not side("entry", *HERE, TD, vet(6, "opened", ""), vet(6.5, "opened", ""), vet(7, "closed", "")).movable
    assert side("entry", *HERE, TD, vet(6, "opened", ""), vet(6.5, "closed", ""), vet(7, "opened", ""), vet(8, "closed", "")).movable
    assert not side("entry", *HERE, TD, vet(6, "opened", "", kind="control"), vet(7, "closed", "")).movable


def test_a_lift_for_one_box_frees_that_box() -> None:
    told = side("entry", *HERE, TD, vet(6, "opened"), vet(7, "closed", scope="A"), boxes=["A", "B"])
    assert (told.scopes["A"].movable, told.scopes["B"].movable, told.movable) == (True, False, False)


# --- movable ---

def test_what_left_with_a_release_moves_and_what_left_without_does_not() -> None:
    assert side("entry", *HERE, TD, AWAY).movable
    assert not side("entry", *HERE, AWAY).movable


def test_where_no_border_is_the_goods_move() -> None:
    assert side("entry", at(1, "route", source="trains", value="not_required")).movable
    assert not side("entry", at(1, "route", source="trains", value="off")).movable
    assert not side("entry", *HERE).movable


# --- territories ---

def test_a_territory_shows_demands_and_nothing_else() -> None:
    assert state("territory") is State.NOT_REQUIRED
    assert state("territory", at(1, "seen", "1", source=RAILWAY), AWAY, TD) is State.NOT_REQUIRED
    assert side("territory").movable
    assert state("territory", hold(3)) is State.HELD
    assert state("territory", hold(3), hold(4, phase="closed")) is State.NOT_REQUIRED


def test_a_territorys_open_request_keeps_the_goods_even_when_answered() -> None:
    ask, answer = at(6, "demand", "info", "", "q", "opened"), at(7, "demand", "info", "", "q", "answered", source=FORWARDER)
    assert state("territory", ask, AWAY) is State.INFO_REQUESTED
    assert state("territory", ask, answer) is State.NOT_REQUIRED
    assert not side("territory", ask, answer).movable


def test_a_territory_no_longer_crossed_is_cancelled() -> None:
    assert state("territory", at(1, "route", source="trains", value="off")) is State.CANCELLED


# --- limits ---

def test_a_side_at_its_limit_of_facts_says_so() -> None:
    many = [at(n, "seen", "1", source=RAILWAY, record=f"r{n}") for n in range(FACTS_MAX)]
    assert "facts_limit" in side("entry", *many).flags
    assert "facts_limit" not in side("entry", *many[:-1]).flags


def test_each_lock_has_its_own_limit() -> None:
    opened = at(1, "seal", "lock", "opened_authorised", "act", value=40 * HOUR)
    two = [at(2 + n / 2, "seal", "lock", "tamper", f"e{n}", source=LOCK, value={"lock": f"L{n % 2}"}) for n in range(30)]
    told = scope("entry", opened, *two, at(45, "seal", "lock", "ok", value={"seal": "L1"})).seals[0]
    assert (told.verdict, told.overflow, {r.seal for r in told.readings}) == (Seal.OK, False, {"", "L0", "L1"})


def alarms(count: int) -> list[Fact]:
    opened = at(1, "seal", "lock", "opened_authorised", "act", value=40 * HOUR)
    return [opened, *(at(2 + n, "seal", "lock", "tamper", f"e{n}", source=LOCK) for n in range(count)), at(45, "seal", "lock", "ok")]


def test_more_alarms_of_a_lock_than_can_be_kept_leave_it_unproven_for_good() -> None:
    assert scope("entry", *alarms(16)).seals[0].verdict is Seal.OK
    told = scope("entry", *alarms(17)).seals[0]
    assert (told.verdict, told.overflow) == (Seal.UNPROVEN, True)


# --- seals ---

def test_an_alarm_inside_an_authorised_opening_is_explained_and_one_outside_is_not() -> None:
    opened = at(4, "seal", "lock", "opened_authorised", "act", value={"until": 5 * HOUR})
    broken = at(4.5, "seal", "lock", "broken", "e1", source=LOCK)
    rules = structs.replace(RULES["entry"], seal_skew=MINUTE)

    def verdict(*facts: Fact) -> Seal:
        return scope_status(merge({}, facts), WHOLE, rules, 99 * HOUR).seals[0].verdict

    good = at(9, "seal", "lock", "ok")
    assert verdict(opened, broken, good) is Seal.OK
    assert verdict(broken, good) is Seal.FAILED
    assert verdict(opened, at(5.1, "seal", "lock", "tamper", "e1", source=LOCK), good) is Seal.FAILED
    assert verdict(opened, at(5 + 1 / 60, "seal", "lock", "tamper", "e1", source=LOCK), good) is Seal.OK
    assert verdict(structs.replace(opened, rank=Rank.TERMINAL), broken, good) is Seal.FAILED


@pytest.mark.parametrize("what", ["tamper", "broken", "wrong_id", "bad"])
def test_a_good_reading_does_not_heal_a_broken_lock(what: str) -> None:
    told = scope("entry", *HERE, at(3, "seal", "lock", what, "e1", source=LOCK), at(9, "seal", "lock", "ok"))
    assert told.seals[0].verdict is Seal.FAILED
    assert {"seal_failed:lock", "control_likely"} <= told.flags
    assert told.state is State.ARRIVED


def test_a_lost_signal_is_unproven_until_something_good() -> None:
    lost = at(5, "seal", "lock", "lost", source=LOCK)
    assert scope("entry", PI, RISK, lost).state is State.ACCEPTED
    assert "seal_unproven:lock" in flags(PI, RISK, lost)
    assert scope("entry", PI, RISK, lost, at(6, "seal", "lock", "restored", source=LOCK)).state is State.PRE_CLEARED
    assert scope("entry", PI, RISK, lost, at(5, "seal", "lock", "restored", source=LOCK)).state is State.ACCEPTED


def test_a_reading_taken_elsewhere_is_no_reading_here() -> None:
    elsewhere = at(4, "seal", "lock", "ok", side=EVERYWHERE, value={"side": "X:KZ:EXIT", "reader": "r"})
    here = at(4, "seal", "lock", "ok", side=EVERYWHERE, value={"side": "X:KZ:ENTRY"})
    rules = structs.replace(RULES["entry"], side="X:KZ:ENTRY")

    def verdict(fact: Fact) -> Seal:
        return scope_status(merge({}, [fact]), WHOLE, rules, 99 * HOUR).seals[0].verdict

    assert verdict(elsewhere) is Seal.NO_READING
    assert verdict(here) is Seal.OK


def test_a_lock_being_read_shows_until_its_verdict() -> None:
    reading = at(6, "seal", "lock", "reading")
    assert state("entry", *HERE, reading) is State.SEAL_CHECK
    assert state("entry", *HERE, reading, at(7, "seal", "lock", "ok")) is State.ARRIVED


# --- flags ---

@pytest.mark.parametrize(("phase", "flag"), [("registered", "registration_reported"), ("released", "release_reported"), ("rejected", "rejection_reported")])
def test_what_a_forwarder_says_of_a_document_is_a_flag_and_never_the_state(phase: str, flag: str) -> None:
    told = doc(3, "pi", "1", phase, source=FORWARDER)
    assert state("entry", told) is State.EXPECTED
    assert flag in flags(told)
    assert flag not in flags(structs.replace(told, source=CUSTOMS, rank=Rank.AUTHORITY))


def test_a_reported_demand_is_a_flag() -> None:
    assert "demand_reported" in flags(*HERE, hold(3, source=FORWARDER))
    assert state("entry", *HERE, TD, hold(3, source=UNION)) is State.RELEASED
    assert "demand_reported" not in flags(*HERE, hold(3))


def test_an_amendment_is_pending_until_the_authority_answers() -> None:
    sent = doc(4, "pi", "1", "amendment_sent", source=FORWARDER)
    assert "amendment_pending" in flags(PI, sent)
    assert "amendment_pending" not in flags(PI)
    assert not {"amendment_pending", "amendment_rejected"} & flags(PI, sent, doc(5, "pi", "1", "amended"))


def test_a_rejected_amendment_does_not_reject_the_filing() -> None:
    told = (PI, doc(4, "pi", "1", "amendment_sent", source=FORWARDER), doc(5, "pi", "1", "amendment_rejected"))
    assert state("entry", *told) is State.ACCEPTED
    assert "amendment_rejected" in flags(*told)
    assert "amendment_pending" in flags(*told, doc(6, "pi", "1", "amendment_sent", source=FORWARDER))


def test_a_released_transit_is_open_until_it_ends() -> None:
    assert "transit_open" in flags(*HERE, TD)
    assert "transit_open" not in flags(*HERE, TD, doc(9, "td", "1", "ended"))
    assert "transit_open" not in flags(*HERE)


def test_an_enquiry_is_a_flag_and_never_a_hold() -> None:
    told = (*HERE, TD, doc(30, "td", "1", "enquiry"))
    assert "transit_enquiry" in flags(*told)
    assert state("entry", *told) is State.RELEASED
    assert "transit_enquiry" not in flags(*told, doc(31, "td", "1", "ended"))


def test_a_cancellation_after_release_is_out_of_sequence_and_the_status_follows_the_authority() -> None:
    told = scope("entry", *HERE, TD, doc(6, "td", "1", "invalidated"))
    assert told.state is State.ARRIVED
    assert {"out_of_sequence", "file_again"} <= told.flags
    assert "out_of_sequence" not in flags(*HERE, TD)
    assert "out_of_sequence" not in flags(*HERE, doc(4, "td", "1", "invalidated"), TD)


def test_a_check_that_begins_before_it_was_ordered_is_out_of_sequence() -> None:
    begun = at(4, "demand", "control", "", "c", "started")
    assert "out_of_sequence" in flags(*HERE, begun)
    assert "out_of_sequence" not in flags(*HERE, begun, at(3, "demand", "control", "", "c", "opened"))


def test_what_no_source_can_deliver_is_left_out_and_named_as_not_checked() -> None:
    told = scope("blind", doc(1, "declaration", "1", "released"), doc(1, "manifest", "1", "registered"))
    assert (told.state, told.not_checked) == (State.RELEASED, ("released:manifest",))
    assert scope("exit").not_checked == ()


def test_the_decision_is_never_left_out() -> None:
    blind = structs.replace(RULES["blind"], not_observed=frozenset({"released:manifest", "released:declaration"}))
    status = side_status(merge({}, [doc(1, "manifest", "1", "released"), doc(1, "declaration", "1", "registered")]), (), blind, 99 * HOUR)
    assert status.state is State.ACCEPTED
    assert status.missing == ("released:declaration",)


# --- what explanations are made of ---

def test_a_release_names_the_messages_behind_it() -> None:
    told = side("entry", *HERE, structs.replace(TD, code="10", value={"official": "KZ-77"}))
    assert (told.basis, told.since) == (Basis.AUTHORITY, 5 * HOUR)
    assert [(g.satisfied_by, g.decides) for g in told.scopes[WHOLE].groups] == [("registered:pi", False), ("presented", False), ("released:td", True)]
    assert ("10", "KZ-77", CUSTOMS, 5 * HOUR) in {(e.code, e.number, e.source, e.at) for e in told.evidence}
    assert {e.id for e in told.evidence} == {PI.id, PRESENTED.id, TD.id}


def test_a_hold_carries_its_code_reason_and_time() -> None:
    told = scope("entry", *HERE, hold(3, code="IE055", value={"reason": "guarantee"}), TD)
    assert [(d.kind, d.code, d.reason, d.opened_at, d.state) for d in told.open] == [("hold", "IE055", "guarantee", 3 * HOUR, State.HELD)]
    assert (told.since, told.evidence[0].code) == (3 * HOUR, "IE055")
    lifted = scope("entry", *HERE, hold(3), TD, hold(6, phase="closed"))
    assert [(d.closed_at, d.closed_by) for d in lifted.closed] == [(6 * HOUR, "closing")]
    assert lifted.since == 6 * HOUR


def test_an_agreement_is_named_as_the_basis() -> None:
    told = side("agreed", *HERE, GTT, LOCK_READ)
    assert (told.state, told.basis) == (State.RELEASED, Basis.AGREEMENT)
    assert [g.by_agreement for g in told.scopes[WHOLE].groups] == [False, True]


def test_boxes_of_which_nothing_particular_is_said_stand_where_the_shipment_stands() -> None:
    boxes = [f"BOX{n}" for n in range(40)]
    told = side("entry", *HERE, TD, hold(6, scope="BOX7"), boxes=boxes)
    assert told.counts == {State.RELEASED: 39, State.HELD: 1}
    assert len(told.scopes) == 40


def test_the_items_of_a_box_stand_for_it() -> None:
    told = side("entry", *HERE, TD, hold(6, scope="A"), boxes=["A", "A/1", "A/2", "B"])
    assert {name: s.state for name, s in told.scopes.items()} == {"A/1": State.HELD, "A/2": State.HELD, "B": State.RELEASED}


def test_a_side_takes_facts_as_a_mapping_or_as_any_iterable() -> None:
    facts = merge({}, [*HERE, TD])
    assert side_status(facts, (), RULES["entry"], DAY) == side_status(reversed(list(facts.values())), (), RULES["entry"], DAY)


def test_scopes_judged_by_different_rows_roll_up_as_one_side() -> None:
    box_a, box_b = scope("entry", *HERE, TD), scope("office", doc(3, "transit", "1", "registered"))
    told = side_of({"A": box_a, "B": box_b})
    assert told.counts == {State.RELEASED: 1, State.ACCEPTED: 1}
    assert (told.state, told.movable, told.missing) == (State.ARRIVED, False, ("released:transit",))
    assert side_of({"A": box_a}).flags == box_a.flags
    assert "facts_limit" in side_of({"A": box_a}, FACTS_MAX).flags


def test_a_row_needs_only_its_authority() -> None:
    assert side_status([], (), SideRules(authority=CUSTOMS), 0).state is State.EXPECTED
