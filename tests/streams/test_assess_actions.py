"""Next actions and deadlines: who, what, where, by when; never an expired option, never somebody who cannot legally act."""
from __future__ import annotations

import msgspec
import pytest

from streams.assess import Previous, assess, stamp
from streams.reference.model import Mapped, SideRow
from streams.rules import pack_of
from tests.streams.border_world import (
    BOX,
    BREST,
    BY_EXIT,
    CN_EXIT,
    GTT,
    KZ_ENTRY,
    OTHER_BOX,
    PL_ENTRY,
    ROWS,
    T0,
    bound,
    box,
    demand,
    doc,
    eta,
    lodged,
    presence,
    reference,
    shipment,
)
from tests.streams.test_assess_story import ARRIVAL, BY_THEN, KEY, at, broken, codes, look, read_at_dostyk, there, underway
from topics.events.outputs import NextAction
from topics.facts import DAY, HOUR, MINUTE, Fact

EARLY = T0 + 5 * HOUR


def without(facts: list[Fact], *words: str) -> list[Fact]:
    return [f for f in facts if not set(words) & set(f.key)]


def done(actions: tuple[NextAction, ...]) -> set[str]:
    return {a.done_when for a in actions}


def test_a_missing_filing_says_who_what_where_by_when_else_done_when_and_whom_to_call() -> None:
    update = stamp(at(look(without(underway(), "pi"), EARLY), KZ_ENTRY), 1, EARLY)
    action = next(a for a in update.actions if a.message == "ПИ")
    assert (action.role, action.system, action.office, action.by, action.legal, action.done_when, action.call) == (
        "carrier", "EAEU-PI", "KZ-DOSTYK", ARRIVAL - 2 * HOUR, True, "registered:pi", "+7 000 000")
    assert action.hours_left == 41.0
    assert action.by_border.endswith("+05:00")
    assert set(action.what) == set(action.consequence) == {"en", "zh", "ru"}


def test_a_rejected_filing_names_code_and_field_path() -> None:
    rejected = doc("@PL/doc/ens/E1", "ens", "E1", "rejected", T0 + 4 * HOUR, "PL", code="IE3N01", value={"path": "/HC/HS", "reason": "12"})
    update = at(look([*underway(), rejected], EARLY), PL_ENTRY)
    action = next(a for a in update.actions if a.message == "IE3F51")
    assert (action.code, action.field, action.party) == ("IE3N01", "/HC/HS", "fwd")
    assert "act" not in action.what["en"]


def test_what_is_registered_or_lodged_asks_nobody_for_it() -> None:
    assert "registered:pi" not in done(at(look(underway(), EARLY), KZ_ENTRY).actions)


def test_a_request_is_for_the_filer_of_record_until_he_answers() -> None:
    asked = demand("@PL/doc/ens/E1", "info", "R1", "opened", T0 + 3 * HOUR, "PL", subject="ens/E1", value={"answer_by": T0 + DAY, "reason": "invoice"})
    update = at(look([*underway(), asked], EARLY), PL_ENTRY)
    action = next(a for a in update.actions if a.done_when == "demand/info/R1/closed")
    assert (update.state, action.party, action.by) == ("INFO_REQUESTED", "fwd", T0 + DAY)
    answered = Fact(side="@PL/doc/ens/E1", key=("demand", "info", "ens/E1", "R1", "answered"), at=T0 + 4 * HOUR, source="fwd")
    assert "demand/info/R1/closed" not in done(at(look([*underway(), asked, answered], EARLY), PL_ENTRY).actions)


def test_an_ens_is_amended_before_presentation_or_an_announced_control_and_never_after() -> None:
    before = at(look(broken(), BY_THEN), PL_ENTRY)
    assert "amended:ens" in done(before.actions)
    presented = Fact(side=PL_ENTRY, key=("presented", "1"), at=BY_THEN, source="PL")
    assert "amended:ens" not in done(at(look([*broken(), presented], BY_THEN), PL_ENTRY).actions)
    announced = demand(PL_ENTRY, "control", "C9", "opened", BY_THEN, "PL", subject="ens/E1")
    assert "amended:ens" not in done(at(look([*broken(), announced], BY_THEN), PL_ENTRY).actions)


def test_the_data_exchange_application_is_not_asked_for_once_it_is_too_late() -> None:
    open_ = without(underway(), "gtt", "conveyance")
    assert "registered:gtt" in done(at(look(open_, EARLY), CN_EXIT).actions)
    assert "registered:gtt" not in done(at(look(without(underway(), "gtt"), EARLY), CN_EXIT).actions)


def test_no_action_is_ever_for_an_officer() -> None:
    for facts, now in ((underway(), EARLY), (broken(), BY_THEN), (there(), BY_THEN)):
        assert not [a for u in look(facts, now).updates for a in u.actions if a.role in ("customs", "officer", "authority")]


def test_four_kinds_of_boxes_get_four_lists_of_actions() -> None:
    boxes = ["MZWU2146680", "CSQU3054383", "TGHU7634510", "TCLU4265244"]
    facts = [shipment(containers=[box(b) for b in boxes], procedures={}, enrolments=[]), eta(PL_ENTRY, ARRIVAL, scope=""),
             *(bound(b) for b in boxes),
             lodged("transit", "N1", "PL", T0, office="PL301010", containers=[box(boxes[0])]),
             lodged("import", "I1", "PL", T0, office="PL301010", containers=[box(boxes[1])]),
             lodged("warehouse", "W1", "PL", T0, office="PL301010", containers=[box(boxes[2])])]
    found = look(facts, EARLY)
    assert found.trip is not None
    side = found.trip.side(PL_ENTRY)
    assert side is not None
    assert side.procedures == dict(zip(boxes, ("transit", "import", "warehouse", "undecided"), strict=True))
    decide = [a for a in at(found, PL_ENTRY).actions if a.done_when == "procedure"]
    assert [a.scope for a in decide] == [boxes[3]]


def test_empties_are_waived_and_never_missing() -> None:
    rows = tuple(msgspec.structs.replace(r, filings=tuple(msgspec.structs.replace(f, waived_for=("empty",)) for f in r.filings)) if r.id == "eu-entry" else r
                 for r in ROWS)
    facts = [shipment(containers=[{"container": BOX, "empty": True}], enrolments=[]), bound(empty=True), eta(PL_ENTRY, ARRIVAL)]
    update = at(look(facts, ARRIVAL - HOUR, reference(side_rows=rows)), PL_ENTRY)
    assert [(f.kind, f.waived) for f in update.filings] == [("ens", "empty"), ("transit", "empty")]
    assert update.missing_filings == ()
    assert not {c for c in codes(update) if c.startswith("FILING")}
    assert at(look(facts, ARRIVAL - HOUR), PL_ENTRY).missing_filings == ("ens",)


@pytest.mark.parametrize(("now", "timing"), [(ARRIVAL - 20 * HOUR, "open"), (ARRIVAL - 5 * HOUR, "at_risk"), (ARRIVAL, "at_risk")])
def test_before_arrival_a_filing_is_open_or_at_risk_never_late(now: int, timing: str) -> None:
    assert filing(without(underway(), "pi"), now).timing == timing


def filing(facts: list[Fact], now: int, kind: str = "pi"):  # type: ignore[no-untyped-def]
    return next(f for f in at(look(facts, now), KZ_ENTRY).filings if f.kind == kind)


def test_late_is_judged_by_the_registration_against_the_actual_arrival() -> None:
    sent_early = doc(KZ_ENTRY, "pi", "P1", "sent", T0, "fwd")
    late = [*without(there(), "pi"), sent_early, doc(KZ_ENTRY, "pi", "P1", "registered", ARRIVAL - HOUR, "KZ")]
    assert filing(late, BY_THEN).timing == "late"
    assert filing(there(), BY_THEN).timing == "in_time"
    assert filing(without(there(), "pi"), BY_THEN).timing == "overdue"


def test_the_short_lead_holds_where_trains_are_formed_at_the_border() -> None:
    crossings = dict(reference().crossings)
    crossings[BREST] = msgspec.structs.replace(crossings[BREST], formation_under_2h=True)
    long, short = (next(f.due for f in at(look(underway(), EARLY, ref), PL_ENTRY).filings if f.kind == "ens")
                   for ref in (reference(), reference(crossings=crossings)))
    assert long is not None
    assert short is not None
    assert short - long == 60 * MINUTE


def test_the_deadline_as_first_known_is_kept_when_the_train_slips() -> None:
    ref = reference()
    first = assess(KEY, underway(), ref, (), EARLY, pack_of(ref))
    slipped = [*without(underway(), "eta"), eta(KZ_ENTRY, ARRIVAL + 9 * HOUR)]
    later = assess(KEY, slipped, ref, (), EARLY + HOUR, pack_of(ref), Previous(due_first=first.due_first))
    pi = next(f for f in at(later, KZ_ENTRY).filings if f.kind == "pi")
    assert (pi.due, pi.due_first_known) == (ARRIVAL + 7 * HOUR, ARRIVAL - 2 * HOUR)


def test_the_next_look_is_when_a_filing_comes_to_be_at_risk() -> None:
    facts = without([shipment(enrolments=[]), bound(), eta(KZ_ENTRY, ARRIVAL)], "x")
    found = look(facts, EARLY)
    assert found.next_due is not None
    assert filing(facts, found.next_due - 1).timing == "open"
    assert filing(facts, found.next_due).timing == "at_risk"


def test_by_an_agreement_with_auto_release_a_ready_side_is_released_and_says_so() -> None:
    giving = {GTT.id: msgspec.structs.replace(GTT, auto_release=("released:td", "released:import"))}
    facts = [*there(), read_at_dostyk()]
    update = at(look(facts, BY_THEN, reference(agreements=giving)), KZ_ENTRY)
    assert (update.state, update.basis.kind) == ("RELEASED", "AGREEMENT")
    assert at(look(facts, BY_THEN), KZ_ENTRY).state == "ARRIVED", "off by default"
    assert at(look(there(), BY_THEN, reference(agreements=giving)), KZ_ENTRY).state == "ARRIVED", "the authority's own reading is needed"


def test_a_hold_on_the_territory_makes_everything_after_it_not_movable() -> None:
    hold = demand("@RU", "hold", "H1", "opened", T0 + HOUR, "RU")
    released = [doc(PL_ENTRY, "transit", "N1", "released", BY_THEN, "PL"), Fact(side=PL_ENTRY, key=("presented", "1"), at=BY_THEN - 1, source="PL"),
                presence(PL_ENTRY, "seen", BY_THEN - 2)]
    free, held = (at(look([*underway(), *released, *more], BY_THEN + HOUR), PL_ENTRY) for more in ((), (hold,)))
    assert (free.state, free.movable) == ("RELEASED", True)
    assert (held.state, held.movable, held.blocked_by) == ("RELEASED", False, ("RU:TERRITORY",))
    before = at(look([*underway(), hold], BY_THEN), CN_EXIT)
    assert "RU:TERRITORY" not in before.blocked_by


def test_a_document_that_one_member_ends_counts_at_the_next_members_side() -> None:
    ended = doc("@KZ/doc/td/T1", "td", "T1", "registered", T0 + 5 * HOUR, "KZ")
    update = at(look([*underway(), ended, doc("@BY/doc/td/T1", "td", "T1", "ended", T0 + 6 * HOUR, "BY")], T0 + 7 * HOUR), BY_EXIT)
    assert update.missing_release == ("released:exit",)


def test_reconsignment_keeps_the_route_and_finds_the_typo_in_packages() -> None:
    cim = msgspec.structs.replace(
        shipment(document={"kind": "cim", "number": "C77"}, corridor="", containers=[box(packages=101)]), at=T0 + HOUR, record="cim:C77", id="fwd/9")
    update = at(look([*underway(), cim], EARLY), CN_EXIT)
    assert "PACKAGES_DIFFER" in codes(update)
    assert len(look([*underway(), cim], EARLY).updates) == len(look(underway(), EARLY).updates)
    assert update.document == "smgs 31046586"
    same = msgspec.structs.replace(cim, value={**cim.value, "containers": [box()]})  # type: ignore[dict-item]
    assert "PACKAGES_DIFFER" not in codes(at(look([*underway(), same], EARLY), CN_EXIT))


def test_a_swapped_box_counts_only_where_it_has_been() -> None:
    facts = [*underway(), presence(CN_EXIT, "departed", T0 + 4 * HOUR), bound(OTHER_BOX, replaces=BOX, act="A-1")]
    found = look(facts, EARLY)
    assert found.trip is not None
    sides = {s.id: sorted(s.rules) for s in found.trip.sides}
    assert sides[CN_EXIT] == sorted([BOX, OTHER_BOX])
    assert sides[KZ_ENTRY] == [OTHER_BOX]


def test_who_is_the_filer_of_record_else_the_party_that_the_documents_name() -> None:
    parties = [{"role": "carrier", "identifier": "KZ-CARRIER-1"}, {"role": "consignor", "name": "A"}, {"role": "consignee", "name": "B"}]
    facts = [shipment(parties=parties, enrolments=[]), bound(), eta(KZ_ENTRY, ARRIVAL)]
    assert next(a.party for a in at(look(facts, EARLY), KZ_ENTRY).actions if a.message == "ПИ") == "KZ-CARRIER-1"
    lodged_one = [*facts, lodged("pi", "P1", "KZ", T0), doc("@KZ/doc/pi/P1", "pi", "P1", "rejected", T0 + 1, "KZ")]
    assert next(a.party for a in at(look(lodged_one, EARLY), KZ_ENTRY).actions if a.message == "ПИ") == "fwd"


def test_a_document_without_an_office_goes_to_the_only_side_that_knows_its_kind_and_nowhere_when_two_do() -> None:
    facts = [shipment(offices=["PL:PL441010"], enrolments=[]), bound(), eta(PL_ENTRY, ARRIVAL), doc("@PL/doc/ens/E1", "ens", "E1", "registered", T0, "PL")]
    mapped = {("office", "PL:PL441010"): Mapped(source="D", list="office", code="PL:PL441010", means="warszawa")}
    rows = (*ROWS, SideRow(source="D", id="eu-destination", union="EU", kind="OFFICE", release=(("ended:transit",), ("released:import",)),
                           decision=("released:import",)))
    ref = reference(mapped=mapped, side_rows=rows)
    assert at(look(facts, EARLY, ref), PL_ENTRY).state == "ACCEPTED"
    released = doc("@PL/doc/import/I1", "import", "I1", "released", T0 + 1, "PL")
    update = at(look([*facts, released], EARLY, ref), PL_ENTRY)
    assert "SIDE_AMBIGUOUS" in codes(update)
    assert "released:import|released:transit" in update.missing_release
