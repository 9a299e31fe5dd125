"""The customs-rail link box by box: one box's word counts for no other, and a lock that was changed without an authority proves nothing."""
from __future__ import annotations

import random

import msgspec
import pytest

from streams.status import Seal
from tests.sim.oracle.rows import CUSTOMS, LOCK, TERMINAL
from tests.streams.border_world import (
    BOX,
    CN_EXIT,
    KZ_ENTRY,
    OTHER_BOX,
    T0,
    bound,
    box,
    condition,
    demand,
    doc,
    eta,
    lodged,
    presence,
    seal,
    shipment,
)
from tests.streams.stories import at as said
from tests.streams.stories import scope
from tests.streams.test_assess_memo import Steps
from tests.streams.test_assess_story import ARRIVAL, at, codes, look, there, underway, verdicts
from topics.events.outputs import ClearanceUpdate
from topics.facts import HOUR, MINUTE, Fact, Rank

NOW = T0 + 5 * HOUR


def of(fact: Fact, name: str) -> Fact:
    return msgspec.structs.replace(fact, scope=name)


def two_boxes(*gone: str) -> list[Fact]:
    """Everything before arrival, for two boxes, without facts that carry one of these words."""
    both = [box(), box(OTHER_BOX)]
    facts = [f for f in underway() if f.key[0] not in ("shipment", "filing", "bound", "seal", "eta")]
    facts += [shipment(containers=both), bound(), bound(OTHER_BOX), eta(KZ_ENTRY, ARRIVAL), eta(KZ_ENTRY, ARRIVAL, scope=OTHER_BOX),
              lodged("manifest", "M1", "CN", T0, containers=both), lodged("gtt", "G1", "CN", T0, containers=both),
              lodged("pi", "P1", "KZ", T0 + HOUR, containers=both), *(seal("armed", T0 + 8, scope=b) for b in (BOX, OTHER_BOX))]
    return [f for f in facts if not set(gone) & set(f.key)]


def entry(facts: list[Fact], now: int = NOW) -> ClearanceUpdate:
    return at(look(facts, now), KZ_ENTRY)


def by_box(facts: list[Fact], now: int = NOW) -> dict[str, str]:
    return {s.scope: s.state for s in entry(facts, now).scopes}


def test_two_boxes_of_which_the_same_is_said_stand_alike() -> None:
    assert by_box(two_boxes()) == {BOX: "PRE_CLEARED", OTHER_BOX: "PRE_CLEARED"}
    late = [*two_boxes("conveyance"), doc("@CN", "conveyance", "R1", "registered", T0 + 4, "CN")]
    assert [f.scope for f in entry(late).findings if f.code == "GTT_LATE"] == [""], "said once, of the whole"


def test_a_refusal_of_one_box_stands_although_the_other_is_recognised_later() -> None:
    refused = of(condition(KZ_ENTRY, "gtt.recognised", T0 + 3 * HOUR, "KZ", "failed"), BOX)
    granted = of(condition(KZ_ENTRY, "gtt.recognised", T0 + 4 * HOUR, "KZ"), OTHER_BOX)
    facts = [*two_boxes("gtt.recognised"), refused, granted]
    assert by_box(facts) == {BOX: "ACCEPTED", OTHER_BOX: "PRE_CLEARED"}
    assert [f.scope for f in entry(facts).findings if f.code == "GTT_REFUSED"] == [BOX]
    whole = [*two_boxes("gtt.recognised"), refused, msgspec.structs.replace(granted, scope="")]
    assert by_box(whole)[BOX] == "ACCEPTED", "a word on the whole does not lift the refusal of the box"
    named = [*two_boxes("gtt.recognised"), refused, of(condition(KZ_ENTRY, "gtt.recognised", T0 + 4 * HOUR, "KZ"), BOX), granted]
    assert by_box(named) == {BOX: "PRE_CLEARED", OTHER_BOX: "PRE_CLEARED"}


def test_recognition_of_one_box_says_nothing_of_another() -> None:
    facts = [*two_boxes("gtt.recognised"), of(condition(KZ_ENTRY, "gtt.recognised", T0 + 4 * HOUR, "KZ"), OTHER_BOX)]
    assert by_box(facts) == {BOX: "ACCEPTED", OTHER_BOX: "PRE_CLEARED"}


def test_an_application_and_an_acknowledgement_count_for_the_boxes_that_they_name() -> None:
    one = [f for f in two_boxes() if f.key[:2] != ("filing", "gtt")] + [lodged("gtt", "G1", "CN", T0, containers=[box()])]
    assert by_box(one) == {BOX: "PRE_CLEARED", OTHER_BOX: "ACCEPTED"}
    acked = [*two_boxes("gtt.partner_ack"), of(condition("@KZ", "gtt.partner_ack", T0 + 2 * HOUR, "KZ"), BOX)]
    assert by_box(acked) == {BOX: "PRE_CLEARED", OTHER_BOX: "ACCEPTED"}
    cited = [*one, *[msgspec.structs.replace(f, side="@KZ/doc/gtt/G1") for f in two_boxes() if f.key == ("condition", "gtt.recognised")]]
    assert by_box([f for f in cited if f.side != "@KZ" or f.key != ("condition", "gtt.recognised")])[OTHER_BOX] == "ACCEPTED"


def test_a_control_of_one_box_leaves_the_other_box_alone() -> None:
    facts = [*two_boxes("inspection_waived"), of(condition(CN_EXIT, "inspection", T0 + 2 * HOUR, "CN"), BOX),
             demand(CN_EXIT, "control", "C9", "opened", T0 + 3 * HOUR, "CN", scope=OTHER_BOX)]
    assert by_box(facts) == {BOX: "PRE_CLEARED", OTHER_BOX: "ACCEPTED"}


@pytest.mark.parametrize(("opened", "closed", "verdict"), [
    (T0 + 3 * HOUR, 0, "unknown"), (T0 + 3 * HOUR, T0 + 4 * HOUR, "proven"), (T0 + HOUR, 0, "proven"), (0, 0, "proven")])
def test_a_control_ordered_after_a_conform_result_makes_it_unknown_until_it_is_closed(opened: int, closed: int, verdict: str) -> None:
    facts = [*two_boxes("inspection_waived"), condition(CN_EXIT, "inspection", T0 + 2 * HOUR, "CN")]
    facts += [demand(CN_EXIT, "control", "C9", "opened", opened, "CN")] if opened else []
    facts += [demand(CN_EXIT, "control", "C9", "closed", closed, "CN")] if closed else []
    assert verdicts(entry(facts))["GTT-07"] == verdict


def test_inspection_conform_is_said_only_when_one_was_ordered() -> None:
    def said_of(facts: list[Fact]) -> str:
        return next(c.detail for c in entry(facts).conditions if c.name == "GTT-07")
    assert said_of(two_boxes()) == "gtt.not_ordered"
    assert said_of([*two_boxes("inspection_waived"), condition(CN_EXIT, "inspection", T0 + 2 * HOUR, "CN")]) == "gtt.inspected"
    assert "conform" not in next(c.titles["en"] for c in entry(two_boxes()).conditions if c.name == "GTT-07")


@pytest.mark.parametrize("end", ["rejected", "invalidated"])
def test_a_rejected_application_proves_nothing_until_it_is_lodged_again(end: str) -> None:
    rejected = [*two_boxes("conveyance"), doc(CN_EXIT, "gtt", "G1", end, T0 + HOUR, "CN")]
    assert "GTT_APPLICATION_REJECTED" in codes(entry(rejected))
    assert by_box(rejected) == {BOX: "ACCEPTED", OTHER_BOX: "ACCEPTED"}
    again = [doc("@CN/doc/gtt/G1", "gtt", "G1", "registered", T0 + 90 * MINUTE, "CN"),
             doc(CN_EXIT, "conveyance", "R1", "registered", T0 + 2 * HOUR, "CN")]
    assert verdicts(entry([*rejected, *again]))["GTT-02"] == "proven"
    late = [again[0], doc(CN_EXIT, "conveyance", "R1", "registered", T0 + 80 * MINUTE, "CN")]
    assert "GTT_LATE" in codes(entry([*rejected, *late]))
    other = [*two_boxes("conveyance"), doc("@CN", "gtt", "G1", end, T0 + HOUR, "fwd", rank=Rank.FORWARDER)]
    assert verdicts(entry(other))["GTT-02"] == "proven", "only an authority ends it"


CHANGED = {
    "second lock": seal("applied", T0 + 4 * HOUR, lock="L-666"),
    "removed": seal("removed", T0 + 4 * HOUR, source="term", rank=Rank.TERMINAL),
    "opened, says the operator": seal("opened_authorised", T0 + 4 * HOUR, new="L-666", act="x"),
    "replaced without an act": seal("replaced", T0 + 4 * HOUR, new="L-666"),
}


@pytest.mark.parametrize("how", sorted(CHANGED))
def test_a_lock_changed_without_an_authority_proves_nothing_and_a_good_reading_does_not_heal_it(how: str) -> None:
    good = seal("ok", T0 + 5 * HOUR - MINUTE)
    update = entry([*underway(), CHANGED[how], good])
    assert update.state == "ACCEPTED"
    assert {verdicts(update)["GTT-03"], verdicts(update)["GTT-10"]} <= {"unknown", "failed"}
    assert {"GTT_LOCK_CHANGED", "RECOGNITION_WITHHELD"} <= codes(update)
    assert "recognition_withheld" in update.flags
    assert ("GTT_LOCK_NOT_UNIQUE" in codes(update)) == (how == "second lock")


def test_an_opening_of_an_authority_explains_each_of_them() -> None:
    opening = seal("opened_authorised", T0 + 4 * HOUR - MINUTE, source="CN", rank=Rank.AUTHORITY, new="L-666", act="A", until=T0 + 4 * HOUR + MINUTE)
    armed = seal("armed", T0 + 4 * HOUR + 20 * MINUTE, lock="L-666")
    for change in CHANGED.values():
        update = entry([*underway(), opening, change, armed])
        assert not {"GTT_LOCK_CHANGED", "GTT_LOCK_NOT_UNIQUE"} & codes(update)
        assert verdicts(update)["GTT-10"] == "proven"


def test_a_lock_that_the_authority_took_off_is_no_lock_until_another_is_on() -> None:
    off = seal("removed", T0 + 4 * HOUR, source="CN", rank=Rank.AUTHORITY)
    assert verdicts(entry([*underway(), off]))["GTT-03"] == "unknown"
    assert "GTT_LOCK_CHANGED" not in codes(entry([*underway(), off]))
    assert verdicts(entry([*underway(), off, seal("armed", T0 + 4 * HOUR + 1, lock="L-7")]))["GTT-10"] == "proven"


def test_a_swapped_lock_that_customs_reads_at_the_border_is_not_ready() -> None:
    read = seal("ok", ARRIVAL + 30 * MINUTE, lock="L-666", read_at=KZ_ENTRY, source="KZ", rank=Rank.AUTHORITY)
    swapped = entry([*there(), CHANGED["replaced without an act"], read], ARRIVAL + HOUR)
    plain = entry([*there(), seal("ok", ARRIVAL + 30 * MINUTE, read_at=KZ_ENTRY, source="KZ", rank=Rank.AUTHORITY)], ARRIVAL + HOUR)
    assert (swapped.ready, plain.ready) == (False, True)
    assert (verdicts(swapped)["GTT-09"], verdicts(plain)["GTT-09"]) == ("unknown", "proven")


def test_a_chain_that_was_changed_is_unproven_until_an_authority_looks_at_it() -> None:
    applied, gone = said(1, "seal", "lock", "applied", "a", source=LOCK), said(2, "seal", "lock", "removed", "r", source=TERMINAL)

    def verdict(*facts: Fact) -> Seal:
        return scope("entry", *facts).seals[0].verdict

    by_operator = said(3, "seal", "lock", "ok", source=LOCK)
    assert verdict(applied, gone, by_operator) is Seal.UNPROVEN
    assert verdict(applied, by_operator) is Seal.OK
    assert verdict(applied, gone, said(4, "seal", "lock", "ok", source=CUSTOMS)) is Seal.OK
    assert verdict(applied, said(2, "seal", "lock", "removed", "r", source=CUSTOMS), by_operator) is Seal.OK


@pytest.mark.parametrize(("note", "manifest", "told", "verdict"), [
    (["B-1"], ["L-100"], True, "proven"), (["B-1"], ["L-100", "B-1"], False, "proven"), (["B-1"], ["B-1"], True, "proven"),
    (["L-100"], ["L-7"], True, "proven"), (["B-1"], ["B-1"], False, "proven")])
def test_a_document_that_names_only_the_bolt_seal_says_nothing_of_the_lock(note: list[str], manifest: list[str], told: bool, verdict: str) -> None:
    facts = [f for f in underway() if f.key[0] != "shipment" and f.key[:2] != ("filing", "manifest")]
    facts += [shipment(containers=[box(seals=note)]), lodged("manifest", "M1", "CN", T0, containers=[box(seals=manifest)])]
    facts += [seal("applied", T0 + 5, lock="B-1", chain="bolt")] if told else []
    assert verdicts(entry(facts))["GTT-04"] == verdict


def test_without_a_data_set_the_bolt_seal_alone_proves_no_binding_and_another_lock_breaks_it() -> None:
    facts = [f for f in underway() if f.key[0] not in ("shipment", "filing")] + [shipment(containers=[box(seals=["B-1"])])]
    assert verdicts(entry(facts))["GTT-04"] == "unknown"
    wrong = [f for f in underway() if f.key[:2] != ("filing", "gtt")] + [lodged("gtt", "G1", "CN", T0, containers=[box(seals=["L-999"])])]
    assert verdicts(entry(wrong))["GTT-04"] == "failed"
    bolt = [f for f in underway() if f.key[:2] != ("filing", "gtt")] + [lodged("gtt", "G1", "CN", T0, containers=[box(seals=["B-1"])])]
    assert verdicts(entry(bolt))["GTT-04"] == "failed", "the data set is about the lock"
    assert verdicts(entry([*bolt, seal("applied", T0 + 5, lock="B-1", chain="bolt")]))["GTT-04"] == "proven"


def test_another_boxs_new_visit_does_not_undo_the_reading_of_this_one() -> None:
    again = Fact(side=KZ_ENTRY, key=("visit",), at=ARRIVAL + 40 * MINUTE, source="ktz", rank=Rank.RAILWAY, value="2", id="v2", scope=OTHER_BOX)
    read = seal("ok", ARRIVAL + 30 * MINUTE, read_at=KZ_ENTRY, source="KZ", rank=Rank.AUTHORITY)
    for more, verdict in (([], "proven"), ([again], "proven"), ([of(again, BOX)], "unknown")):
        assert verdicts(entry([*there(), read, *more], ARRIVAL + HOUR))["GTT-09"] == verdict


def word_of_a_box(rng: random.Random, now: int) -> Fact:
    """Something that an authority, or the train, says of one box or of both."""
    name, at = rng.choice([BOX, OTHER_BOX, ""]), now - rng.randint(0, 3) * HOUR
    made = rng.randint(0, 6)
    if made == 0:
        return of(condition("@KZ", rng.choice(["gtt.recognised", "gtt.partner_ack"]), at, "KZ", rng.choice(["proven", "failed"])), name)
    if made == 1:
        return of(condition("@CN", rng.choice(["inspection", "inspection_waived"]), at, "CN", rng.choice(["proven", "failed"])), name)
    if made == 2:
        return demand(CN_EXIT, "control", rng.choice(["C1", "C2"]), rng.choice(["opened", "closed"]), at, "CN", scope=name)
    if made == 3:
        return of(doc(rng.choice([CN_EXIT, KZ_ENTRY]), "gtt", "G1", rng.choice(["registered", "rejected", "sent"]), at, rng.choice(["CN", "KZ"])), name)
    if made == 4:
        return of(doc("@KZ/doc/td/T1", "td", "T1", rng.choice(["registered", "released", "revoked", "rejected"]), at, "KZ"), name)
    if made == 5:
        return presence(rng.choice([CN_EXIT, KZ_ENTRY]), rng.choice(["seen", "departed", "presented"]), at, scope=name or BOX)
    return eta(KZ_ENTRY, now + rng.randint(1, 60) * HOUR, said=now, scope=name or BOX)


@pytest.mark.parametrize("seed", range(6))
def test_box_by_box_the_remembered_assessment_is_the_whole_one(seed: int) -> None:
    rng = random.Random(seed)
    steps = Steps()
    steps.hear([*two_boxes(), lodged("td", "T1", "KZ", T0 + 4 * HOUR, office="KZ-DOSTYK", offices=["BY:BY-BREST"])], T0 + HOUR)
    for n in range(25):
        now = T0 + (n + 2) * HOUR
        steps.hear([word_of_a_box(rng, now) for _ in range(rng.randint(0, 2))], now)    # compares with the whole assessment, byte by byte
    assert steps.last is not None
    assert steps.last.memo is not None
