"""Cases that once came out wrong, told one by one."""
from __future__ import annotations

from streams.status import SideRules, State, scope_status
from tests.sim.oracle.rows import CUSTOMS, FORWARDER, RAILWAY, TERMINAL, UNION, some
from tests.streams.stories import AWAY, GTT, HERE, LOCK_READ, PI, PRESENTED, RISK, TD, at, doc, flags, hold, scope, side, state
from topics.facts import HOUR, WHOLE, Fact, Rank, merge


def test_a_side_with_every_release_fact_is_released() -> None:
    assert state("entry", *HERE, TD) is State.RELEASED


def test_an_old_release_does_not_revive_for_a_new_document() -> None:
    again = (doc(6, "td", "1", "invalidated"), doc(7, "td", "2", "sent", source=FORWARDER))
    assert state("entry", *HERE, TD, *again) is State.ARRIVED


def test_every_living_document_needs_its_own_release() -> None:
    assert state("entry", *HERE, doc(4, "td", "2", "registered"), TD) is State.ARRIVED


def test_a_rejection_ends_a_registration() -> None:
    assert state("entry", *HERE, doc(6, "td", "1", "rejected"), doc(3, "td", "1", "registered")) is State.FILING_REJECTED


def test_a_hold_on_the_goods_as_such_falls_only_by_its_own_lift() -> None:
    assert state("entry", *HERE, hold(3), TD) is State.HELD
    assert state("entry", *HERE, hold(3), TD, hold(6, phase="closed")) is State.RELEASED


def test_a_hold_on_a_document_falls_with_its_release() -> None:
    assert state("entry", *HERE, hold(3, "td/1"), TD) is State.RELEASED


def test_a_hold_on_a_dead_document_falls_with_the_release_of_another_that_decides() -> None:
    assert state("entry", *HERE, hold(3, "td/2"), TD) is State.RELEASED


def test_a_hold_on_another_matter_stays() -> None:
    assert state("entry", *HERE, hold(3, "pi/1"), TD) is State.HELD


def test_another_document_covers_only_when_the_held_one_is_dead() -> None:
    assert state("entry", *HERE, doc(3, "td", "1", "released"), hold(4, "td/1"), doc(5, "td", "2", "released")) is State.HELD


def test_a_lift_without_reference_closes_no_referenced_hold() -> None:
    assert state("entry", *HERE, hold(3), hold(4, ref="", phase="closed"), TD) is State.HELD


def test_a_lift_as_early_as_the_hold_closes_nothing() -> None:
    assert state("entry", *HERE, TD, hold(6), hold(6, phase="closed")) is State.HELD
    assert state("entry", *HERE, TD, hold(6), hold(6.1, phase="closed")) is State.RELEASED


def test_one_held_box_holds_the_side() -> None:
    assert state("entry", *HERE, TD, hold(3, scope="B"), boxes=["A", "B"]) is State.HELD


def test_a_box_the_authority_names_counts_whether_known_to_us_or_not() -> None:
    assert state("entry", *HERE, TD, hold(3, scope="C"), boxes=["A", "B"]) is State.HELD


def test_a_partial_lift_frees_one_box() -> None:
    told = side("entry", *HERE, TD, hold(3), hold(6, scope="A", phase="closed"), boxes=["A", "B"])
    assert told.state is State.HELD
    assert (told.scopes["A"].state, told.scopes["B"].state) == (State.RELEASED, State.HELD)
    assert told.counts == {State.RELEASED: 1, State.HELD: 1}


def test_a_lift_of_the_whole_frees_the_box() -> None:
    assert state("entry", *HERE, TD, hold(3, scope="A"), hold(6, phase="closed"), boxes=["A", "B"]) is State.RELEASED


def test_a_withdrawal_swallows_nothing_that_comes_after() -> None:
    first = (hold(6, record="m1"), hold(6, record="m1", version=1, value=None))
    assert state("entry", *HERE, TD, *first) is State.RELEASED
    assert state("entry", *HERE, TD, *first, hold(7, record="m2")) is State.HELD


def test_what_left_is_departed() -> None:
    assert state("entry", *HERE, TD, AWAY) is State.DEPARTED


def test_an_authority_that_has_it_later_beats_a_departure() -> None:
    assert state("entry", *HERE, TD, AWAY, at(9, "presented", "1")) is State.RELEASED


def test_a_forwarder_brings_nothing_back() -> None:
    assert state("entry", *HERE, TD, AWAY, at(9, "seen", "1", source=FORWARDER)) is State.DEPARTED
    assert "seen_after_departure" in flags(*HERE, TD, AWAY, at(9, "seen", "1", source=FORWARDER))


def test_a_departure_at_the_minute_of_a_presence_is_a_departure() -> None:
    assert state("entry", *HERE, TD, AWAY, at(8, "seen", "1", source=RAILWAY)) is State.DEPARTED


def test_a_departed_box_can_be_held() -> None:
    assert state("entry", *HERE, TD, AWAY, hold(9)) is State.HELD


def test_released_after_it_left_is_still_left_without_release() -> None:
    assert "left_without_release" in flags(*HERE, AWAY, doc(9, "td", "1", "released"))


def test_left_under_a_hold_is_flagged_and_held_afterwards_is_not() -> None:
    assert "left_without_release" in flags(*HERE, TD, hold(4), AWAY)
    assert "left_without_release" in flags(*HERE, TD, hold(4), AWAY, hold(10, phase="closed"))
    assert "left_without_release" not in flags(*HERE, TD, AWAY, hold(9))


def test_what_happens_after_it_left_does_not_cause_a_departure_without_release() -> None:
    assert "left_without_release" not in flags(*HERE, TD, AWAY, doc(9, "pi", "1", "amended"), doc(10, "td", "1", "revoked"))


def test_a_lock_not_read_here_is_not_ready() -> None:
    read = at(4, "seal", "lock", "ok")
    assert "ready" in flags(*HERE, RISK, read)
    assert "ready" not in flags(*HERE, RISK)


def test_a_rejected_filing_is_not_ready() -> None:
    assert "ready" not in flags(*HERE, RISK, at(4, "seal", "lock", "ok"), doc(5, "td", "1", "rejected"))


def test_a_box_that_goes_another_way_does_not_count() -> None:
    off = at(6, "route", scope="B", value="off", source="trains")
    told = side("entry", *HERE, TD, off, boxes=["A", "B"])
    assert told.state is State.RELEASED
    assert told.movable
    assert told.scopes["B"].state is State.CANCELLED


def test_said_to_go_another_way_but_it_is_here() -> None:
    off = at(3, "route", scope="B", value="off", source="trains")
    told = (PI, off, at(6, "presented", "1", source=TERMINAL), doc(5, "td", "1", "released", scope="A"))
    assert state("entry", *told, boxes=["A", "B"]) is State.ARRIVED


def test_a_box_to_be_filed_again_is_not_left_out() -> None:
    again = (doc(6, "td", "1", "invalidated", scope="B"), doc(6, "pi", "1", "invalidated", scope="B"))
    assert state("entry", *HERE, TD, *again, boxes=["A", "B"]) is State.ARRIVED
    two = (doc(5, "td", "1", "released", scope="A"), doc(5, "td", "2", "released", scope="B"), doc(6, "td", "2", "invalidated", scope="B"))
    assert state("entry", *HERE, *two, boxes=["A", "B"]) is State.ARRIVED


def test_a_side_is_never_released_without_a_decision_on_the_goods() -> None:
    undecided = SideRules(authority=CUSTOMS, release=(some("presented"),))
    assert scope_status(merge({}, HERE), WHOLE, undecided, 99 * HOUR).state is State.ARRIVED


def test_one_id_with_two_contents_still_merges_in_any_order() -> None:
    two = [at(1, "visit", source=RAILWAY, value=v, id="x") for v in (1, 2)]
    assert merge(merge({}, two[:1]), two[1:]) == merge(merge({}, two[1:]), two[:1])
    ranks = [at(1, "presented", "1", source="x", rank=r) for r in (Rank.TERMINAL, Rank.FORWARDER)]
    assert merge(merge({}, ranks[:1]), ranks[1:]) == merge(merge({}, ranks[1:]), ranks[:1])


RFI = at(6, "demand", "info", "pi/1", "q", "opened", value={"answer_by": 20 * HOUR, "reason": "weight"})


def test_an_answer_is_not_the_authoritys_word() -> None:
    answer = at(7, "demand", "info", "pi/1", "q", "answered", source=FORWARDER)
    assert state("entry", *HERE, TD, RFI) is State.INFO_REQUESTED
    assert state("entry", *HERE, TD, RFI, answer) is State.ARRIVED
    assert "answer_pending" in flags(*HERE, TD, RFI, answer)
    assert "answer_pending" not in flags(*HERE, TD, RFI)


def test_an_answer_without_reference_answers_only_its_own_document() -> None:
    ask = at(6, "demand", "info", "pi/1", "", "opened")
    assert state("entry", *HERE, TD, ask, at(7, "demand", "info", "td/1", "", "answered", source=FORWARDER)) is State.INFO_REQUESTED
    assert state("entry", *HERE, TD, ask, at(7, "demand", "info", "pi/1", "", "answered", source=FORWARDER)) is State.ARRIVED


def test_assessment_complete_closes_requests_about_the_filing() -> None:
    assert state("entry", *HERE, TD, RFI, doc(7, "pi", "1", "assessed")) is State.RELEASED


def test_a_late_answer_is_overdue_from_its_deadline_on() -> None:
    assert "answer_overdue" not in flags(*HERE, RFI, now=19.9)
    assert "answer_overdue" in flags(*HERE, RFI, now=20)
    assert side("entry", *HERE, RFI, now=10).next_due == 20 * HOUR
    assert side("entry", *HERE, RFI, now=20).next_due is None


PAPERS = (doc(1, "declaration", "1", "released"), doc(1, "manifest", "1", "released"))
RUN = at(1, "run", source=RAILWAY, value="r1")


def test_a_conveyance_release_counts_only_for_the_run_the_box_leaves_with() -> None:
    other = at(1, "run", source=RAILWAY, value="r2")
    assert state("exit", *PAPERS, doc(2, "conveyance", "r1", "released"), other) is State.ACCEPTED
    assert state("exit", *PAPERS, doc(2, "conveyance", "r1", "released"), RUN) is State.RELEASED


def bare(hour: float, kind: str, phase: str) -> Fact:
    """A word without reference, as the folds say it: its message tells it apart."""
    return at(hour, "demand", kind, "", "", phase, record=f"@{hour}")


def test_one_bare_lift_leaves_two_holds_standing() -> None:
    weapons, sanctions = bare(6, "hold", "opened"), bare(6.5, "hold", "opened")
    told = scope("entry", *HERE, TD, weapons, sanctions, bare(7, "hold", "closed"))
    assert told.state is State.HELD
    assert "closing_without_reference" in told.flags
    assert state("entry", *HERE, TD, weapons, bare(7, "hold", "closed")) is State.RELEASED
    assert state("entry", *HERE, TD, weapons, bare(6.2, "hold", "closed"), sanctions, bare(7, "hold", "closed")) is State.RELEASED


def test_stages_without_reference_belong_to_the_only_order_they_can_mean() -> None:
    ordered, begun, conform = bare(6, "control", "opened"), bare(7, "control", "started"), bare(8, "control", "closed")
    assert state("entry", *HERE, ordered, begun) is State.UNDER_CONTROL
    assert "out_of_sequence" not in flags(*HERE, ordered, begun)
    assert state("entry", *HERE, ordered, begun, conform) is State.ARRIVED
    again = (bare(9, "control", "opened"), bare(10, "control", "started"), bare(11, "control", "closed"))
    assert state("entry", *HERE, ordered, begun, conform, *again) is State.ARRIVED
    assert state("entry", *HERE, ordered, begun, again[0], again[1], again[2]) is State.UNDER_CONTROL


def test_a_bare_discrepancy_falls_with_no_routine_release() -> None:
    assert state("entry", *HERE, bare(3, "control", "opened"), bare(4, "control", "discrepancy"), TD) is State.HELD
    assert state("entry", *HERE, bare(3, "control", "opened"), TD) is State.RELEASED


def test_a_demand_on_a_conveyance_binds_only_boxes_of_that_run() -> None:
    told = (*PAPERS, doc(2, "conveyance", "r1", "released"), RUN)
    assert state("exit", *told, hold(3, "conveyance/r2")) is State.RELEASED
    assert state("exit", *told, hold(3, "conveyance/r1")) is State.HELD


def test_another_authority_of_the_union_handles_what_the_row_lists_and_does_not_decide() -> None:
    assert state("export", doc(1, "dt", "1", "released", source=UNION), doc(2, "leave", "1", "released")) is State.RELEASED
    assert state("export", doc(1, "dt", "1", "released"), doc(2, "leave", "1", "released", source=UNION)) is State.ACCEPTED


def test_another_authoritys_release_covers_no_hold_of_this_one() -> None:
    told = (hold(7, "dt/1"), doc(9, "dt", "1", "released", source=UNION), doc(9, "leave", "1", "released"))
    assert state("export", *told) is State.HELD


def test_validity_does_not_run_on_once_presented() -> None:
    assert state("entry", doc(1, "pi", "1", "registered", value=4 * HOUR), PRESENTED, TD) is State.RELEASED
    assert state("entry", doc(1, "pi", "1", "registered", value={"valid_until": 4 * HOUR}), now=3) is State.ACCEPTED
    assert state("entry", doc(1, "pi", "1", "registered", value={"valid_until": 4 * HOUR}), now=4) is State.EXPECTED


def test_released_is_released_run_out_or_not() -> None:
    told = (PI, doc(1, "td", "1", "registered", value=4 * HOUR), at(6, "presented", "1"), doc(8, "td", "1", "released"))
    assert state("entry", *told) is State.RELEASED


def test_nothing_known_is_not_the_same_as_not_required() -> None:
    assert state("entry") is State.EXPECTED


def test_one_parcels_release_is_not_the_boxs_nor_one_boxs_the_shipments() -> None:
    assert state("entry", *HERE, doc(5, "td", "1", "released", scope="A/1"), boxes=["A"]) is State.ARRIVED
    assert state("entry", *HERE, doc(5, "td", "1", "released", scope="A")) is State.ARRIVED


def test_a_document_used_up_releases_nothing_more() -> None:
    assert state("entry", *HERE, TD, doc(6, "td", "1", "ended")) is State.ARRIVED


AGAIN = (at(20, "visit", source=RAILWAY, value=2), at(21, "presented", "2"))


def test_a_consumed_preliminary_information_does_not_serve_the_second_visit() -> None:
    assert state("entry", *HERE, TD, *AGAIN) is State.ARRIVED
    told = side("entry", *HERE, TD, *AGAIN).scopes[WHOLE]
    assert {d.kind: d.counts for d in told.documents} == {"pi": False, "td": True}


def test_sending_it_again_does_not_register_it() -> None:
    assert state("entry", *HERE, TD, AGAIN[0], doc(22, "pi", "1", "sent", source=FORWARDER)) is State.FILED


def test_a_discrepancy_does_not_fall_with_a_routine_release() -> None:
    found = (at(3, "demand", "control", "", "c", "opened"), at(4, "demand", "control", "", "c", "discrepancy"))
    assert state("entry", *HERE, *found, TD) is State.HELD
    assert state("entry", *HERE, found[0], TD) is State.RELEASED


def test_a_bare_lift_that_may_mean_either_lifts_neither() -> None:
    twice = (hold(3, ref="", record="m1"), hold(4, ref="", record="m2"))
    lift = hold(6, ref="", phase="closed")
    assert state("entry", *HERE, TD, *twice, lift) is State.HELD
    assert state("entry", *HERE, TD, twice[0], lift) is State.RELEASED
    assert "closing_without_reference" not in flags(*HERE, TD, twice[0], lift)


def test_two_bare_lifts_may_be_one_said_twice_so_railclear_asks() -> None:
    twice = (hold(3, ref="", record="m1"), hold(4, ref="", record="m2"))
    lifts = tuple(hold(t, ref="", phase="closed", record=f"l{t}") for t in (6, 7))
    assert state("entry", *HERE, TD, *twice, *lifts) is State.HELD
    assert "closing_without_reference" in flags(*HERE, TD, *twice, *lifts)


def test_an_amendment_asks_for_a_new_assessment() -> None:
    assert state("entry", PI, RISK) is State.PRE_CLEARED
    assert state("entry", PI, RISK, doc(4, "pi", "1", "amended")) is State.ACCEPTED


def test_a_release_asks_for_no_new_assessment() -> None:
    told = (*PAPERS, RUN, at(1, "condition", "risk", source="rules", value="proven"), at(1, "condition", "gtt", source="rules", value="proven"),
            doc(0, "declaration", "1", "registered"), doc(0, "manifest", "1", "registered"), doc(4, "declaration", "1", "released"))
    assert state("exit", *told) is State.PRE_CLEARED


def test_the_clock_releases_nothing() -> None:
    told = (*PAPERS, RUN, doc(2, "conveyance", "r1", "released"), doc(3, "declaration", "2", "registered", value=50 * HOUR))
    assert state("exit", *told, now=49) is State.ACCEPTED
    assert state("exit", *told, now=50) is not State.RELEASED


def test_a_later_rejection_of_another_number_counts() -> None:
    assert state("entry", *HERE, TD, doc(6, "td", "2", "rejected")) is State.FILING_REJECTED


def test_an_agreement_releases_what_is_ready_and_never_against_the_authoritys_word() -> None:
    assert state("agreed", *HERE, GTT, LOCK_READ) is State.RELEASED
    assert state("agreed", *HERE, GTT) is State.ARRIVED
    assert state("agreed", *HERE, GTT, LOCK_READ, doc(5, "td", "1", "rejected")) is not State.RELEASED


def test_a_railway_presents_nothing() -> None:
    assert state("entry", PI, at(2, "presented", "1", source=RAILWAY), TD) is State.ARRIVED


def test_the_filer_presents_only_where_the_row_names_him() -> None:
    papers = (doc(1, "export", "1", "released"), doc(5, "exit", "1", "released"))
    assert state("leaving", *papers, at(2, "presented", "1", source=FORWARDER)) is State.RELEASED
    assert state("entry", PI, TD, at(2, "presented", "1", source=FORWARDER)) is State.ARRIVED


def test_out_of_transit_is_not_out_of_customs() -> None:
    out = doc(3, "transit", "m", "ended")
    assert state("arrival", doc(1, "transit", "m", "registered", source=UNION), at(2, "presented", "1"), out) is State.ARRIVED
    assert state("arrival", out, doc(4, "import", "i", "released")) is State.RELEASED


def test_an_exit_that_asks_no_presence_releases_before_arrival() -> None:
    assert state("exit", *PAPERS, RUN, doc(2, "conveyance", "r1", "released"), RISK, GTT, now=9) is State.RELEASED


def test_a_move_to_the_inspection_yard_is_no_departure() -> None:
    assert state("entry", *HERE, TD, at(8, "departed", "1", source=FORWARDER)) is State.RELEASED


def test_a_hold_opened_again_after_its_lift_stands() -> None:
    assert state("entry", *HERE, TD, hold(3), hold(6, phase="closed"), hold(7)) is State.HELD
