"""DOCUMENTS: what counts of the words under one number: repeats, versions, corrections, limits, later declarations."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from streams.custody import CustodyFold
from streams.documents import DocumentsFold
from streams.fold import Fate
from tests.streams.folds_bench import (
    BOX,
    BOX2,
    BOX3,
    SHIPMENT,
    SMGS,
    TD,
    TD_NUMBER,
    Bench,
    at,
    declared,
    filing,
    loaded,
    notice,
    reference,
    told_in_any_order,
    us,
)
from topics.events.base import DocumentRef
from topics.events.sites import AgencyNotice
from topics.identifiers import shipment_id

REGISTERED = ("doc", "td", "LRN-1", "registered")
CIM = DocumentRef(kind="cim", number="80-1234")
CIM_SHIPMENT = shipment_id(CIM)


def bench(**more: Any) -> Bench:
    return Bench([DocumentsFold(), CustodyFold()], **more)


# -- repeats, versions, codes ---------------------------------------------------------------------------------------------------


def test_the_same_message_twice_is_one_fact_and_a_duplicate() -> None:
    """Hard case 1."""
    once = notice(2, "RELEASED", TD)
    again = msgspec.structs.replace(once, received_time=at(9), event_time=at(9))
    b = bench().tell(declared(), filing(1), once, once, again)
    assert [o.fate for _, e, o in b.outcomes if e.id == once.id] == [Fate.DUPLICATE, Fate.DUPLICATE]
    assert b.one(SHIPMENT, "doc", "td", "LRN-1", "released").at == us(2)


def test_a_whitelisted_repeat_is_two_facts() -> None:
    once = notice(2, "SEAL-BAD", TD, chain="customs_lock", seal="L", container=BOX)
    again = msgspec.structs.replace(once, event_time=at(3))
    b = bench().tell(declared(), filing(1), once, again, again)
    assert [f.at for f in b.of(SHIPMENT, "seal")] == [us(2), us(3)]
    assert b.fate(again) == (Fate.DUPLICATE, "")


def test_a_correction_that_shares_the_id_is_kept_beside_the_original() -> None:
    """Hard case 4."""
    once = notice(2, "RELEASED", TD)
    corrected = msgspec.structs.replace(once, code="REJECTED", event_time=at(2.5))
    b = bench().tell(declared(), filing(1), once, corrected)
    assert b.fate(corrected) is None
    assert b.one(SHIPMENT, "doc", "td", "LRN-1", "released").at == us(2)
    assert b.one(SHIPMENT, "doc", "td", "LRN-1", "rejected").at == us(2.5)


def test_zones_do_not_reorder_what_was_decided() -> None:
    """Hard case 14: a release at 10:00 +01:00 is later than a hold at 17:30 +09:00."""
    east, west = timezone(timedelta(hours=9)), timezone(timedelta(hours=1))
    hold = notice(0, "HOLD", SMGS, "CN", reference="H", event_time=datetime(2026, 3, 29, 17, 30, tzinfo=east))
    lift = notice(0, "LIFT", SMGS, "CN", reference="H", event_time=datetime(2026, 3, 29, 10, 0, tzinfo=west))
    b = bench().tell(declared(), lift, hold)
    times = {f.key[4]: f.at for f in b.of(SHIPMENT, "demand")}
    assert times["closed"] - times["opened"] == 30 * 60 * 1_000_000


def test_a_cancellation_after_the_release_stands_beside_it() -> None:
    """Hard case 2."""
    b = bench().tell(declared(), filing(1), notice(2, "RELEASED", TD), notice(3, "INVALIDATED", TD))
    assert {f.key[3] for f in b.of(SHIPMENT, "doc", "td", "LRN-1")} == {"sent", "released", "invalidated"}


def test_an_older_version_after_a_newer_changes_nothing() -> None:
    """Hard case 3."""
    old, new = filing(1, office="A", record="r", version=1), filing(0.5, office="B", record="r", version=2)
    b = bench().tell(declared(), new, old)
    assert b.fate(old) == (Fate.SUPERSEDED, "")
    assert b.one(SHIPMENT, "filing").value["office"] == "B"  # type: ignore[index,call-overload]
    older = notice(5, "HOLD", TD, reference="H", record="n", version=1, reason="OLD")
    newer = notice(4, "HOLD", TD, reference="H", record="n", version=2, reason="NEW")
    b.tell(newer, older)
    assert b.one(SHIPMENT, "demand").value["reason"] == "NEW"  # type: ignore[index,call-overload]


@pytest.mark.parametrize("where", [{"document": SMGS}, {"container": BOX}, {"document": TD, "container": BOX}])
def test_a_corrected_message_takes_back_what_it_set(where: dict[str, Any]) -> None:
    first, corrected = notice(3, "LIFT", reference="H", record="N7", version=1, **where), notice(4, "NOTE", reference="H", record="N7", version=2, **where)
    story = (declared(), filing(1), notice(2, "HOLD", reference="H", record="N6", version=1, **where), first)
    b = bench().tell(*story)
    assert [f.key[4] for f in b.of(SHIPMENT, "demand")] == ["opened", "closed"]
    b.tell(corrected)
    assert [f.key[4] for f in b.of(SHIPMENT, "demand")] == ["opened"]
    other = bench().tell(corrected, *story)
    assert other.living(SHIPMENT) == b.living(SHIPMENT)
    assert other.fate(first) == (Fate.SUPERSEDED, "")


def test_other_records_and_equal_versions_speak_side_by_side() -> None:
    b = bench().tell(declared(), notice(2, "HOLD", SMGS, reference="A", record="N1", version=1), notice(3, "HOLD", SMGS, reference="B", record="N2", version=2),
                     notice(4, "HOLD", SMGS, reference="C", record="N2", version=2), agency(5, "hold", "V", record="N2", version=9))
    assert {f.key[3] for f in b.of(SHIPMENT, "demand")} == {"A", "B", "C"}


def test_an_agencys_correction_takes_back_its_lift() -> None:
    hold, lift = agency(2, "hold", "V", record="N1", version=1), agency(3, "lift", "V", record="N2", version=1)
    b = bench().tell(declared(), hold, lift, agency(4, "certificate", "V", record="N2", version=2))
    assert {f.key[4] for f in b.of(SHIPMENT, "agency")} == {"opened", "certificate"}


CROSSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "containers": ({"container": BOX}, {"container": BOX2, "values": {"corrected_container": BOX}}),
    "documents": ({"document": TD}, {"document": DocumentRef(kind="td", number="LRN-2"), "values": {"corrected_document": "td:lrn-1"}}),
    "other number": ({"document": TD_NUMBER}, {"document": DocumentRef(kind="td", number="LRN-2"), "values": {"corrected_document": f"td:{TD_NUMBER.number}"}}),
    "document to container": ({"document": SMGS, "container": BOX}, {"container": BOX2, "values": {"corrected_document": "smgs:31046586"}}),
}


@pytest.mark.parametrize("name", CROSSED)
def test_notices_that_were_crossed_are_corrected_on_both_sides(name: str) -> None:
    """Hard case 27."""
    wrong, right = CROSSED[name]
    story = [declared(boxes=(BOX, BOX2)), filing(1), filing(1, number="LRN-2"), notice(2, "REGISTERED", TD, aliases=(TD_NUMBER,)),
             notice(3, "LIFT", reference="H", record="N7", version=1, **wrong), notice(4, "LIFT", reference="H", record="N7", version=2, **right)]
    b = bench().tell(*story)
    closed = b.one(SHIPMENT, "demand")
    assert (closed.at, closed.key[4]) == (us(4), "closed")
    assert BOX not in closed.scope
    assert "LRN-1" not in "".join(closed.key)
    told_in_any_order(lambda: [DocumentsFold(), CustodyFold()], story, 15)


def test_a_correction_that_retires_nobody_keeps_silencing() -> None:
    b = bench().tell(declared(boxes=(BOX, BOX2)), notice(3, "LIFT", reference="H", record="N7", version=1, container=BOX),
                     notice(4, "CORRECTION", SMGS, reference="H", record="N7", version=2, container=BOX))
    assert not b.of(SHIPMENT, "demand")
    b.advance(40 * 24).tell(notice(40 * 24, "HOLD", reference="X", container=BOX))
    assert {f.key[3] for f in b.of(SHIPMENT, "demand")} == {"X"}


def test_a_code_that_nobody_knows_is_kept_and_sets_nothing() -> None:
    """Hard case 5."""
    odd = notice(2, "ZZ9", TD)
    b = bench().tell(declared(), filing(1), odd)
    assert b.fate(odd) == (Fate.WAITING, "UNKNOWN_CODE")
    assert [a.key for a in b.open_alerts("UnknownCode")] == ["UnknownCode/GENERIC/ZZ9/td:LRN-1"]
    assert not [f for f in b.living(SHIPMENT).values() if f.source == "KZ"]


def test_a_known_code_raises_no_alarm() -> None:
    b = bench().tell(declared(), filing(1), notice(2, "NOTE", TD))
    assert not b.open_alerts()


def test_lifting_one_hold_says_nothing_of_the_other() -> None:
    b = bench().tell(declared(), notice(2, "HOLD", SMGS, reference="A"), notice(2, "HOLD", SMGS, reference="B"), notice(3, "LIFT", SMGS, reference="A"))
    assert {f.key[3:] for f in b.of(SHIPMENT, "demand", "hold")} == {("A", "opened"), ("B", "opened"), ("A", "closed")}


def test_another_agencys_hold_is_its_own() -> None:
    hold = AgencyNotice(source="vet-pl", id="a1", event_time=at(2), agency="veterinary", authority="PL", what="hold", reference="V1", document=SMGS,
                        crossing="BY-PL-BREST-TERESPOL")
    b = bench().tell(declared(), hold)
    fact = b.one(SHIPMENT, "agency")
    assert (fact.key, fact.side) == (("agency", "veterinary", "hold", "V1", "opened"), "@PL/office/BY-PL-BREST-TERESPOL")


def agency(hours: float, what: str, reference: str = "", **more: Any) -> AgencyNotice:
    return AgencyNotice(**{"source": "vet-pl", "id": f"{what}-{hours}", "event_time": at(hours), "agency": "veterinary", "authority": "PL", "what": what,
                           "reference": reference, "document": SMGS, **more})


@pytest.mark.parametrize("where", [{"document": SMGS}, {"container": BOX}])
def test_holds_without_reference_are_two_slots_and_so_are_their_lifts(where: dict[str, Any]) -> None:
    b = bench().tell(declared(), loaded(1), *(notice(h, c, **where) for h, c in ((2, "HOLD"), (2.5, "HOLD"), (3, "LIFT"), (4, "LIFT"))))
    assert [(f.at, f.key[4]) for f in b.of(SHIPMENT, "demand", "hold", "", "")] == [(us(h), p) for h, p in (
        (2, "opened"), (2.5, "opened"), (3, "closed"), (4, "closed"))]
    b.tell(notice(5, "HOLD", reference="H", **where), notice(6, "HOLD", reference="H", **where))
    assert b.one(SHIPMENT, "demand", "hold", "", "H").at == us(6)


def test_an_agencys_words_keep_their_kind_and_without_reference_their_message() -> None:
    b = bench().tell(declared(), agency(2, "hold"), agency(3, "hold"), agency(4, "control"), agency(5, "conform"), agency(6, "lift"),
                     agency(7, "refusal", "R"), agency(8, "discrepancy", "R"), agency(9, "certificate", "C"))
    assert [f.key[2:] for f in b.of(SHIPMENT, "agency")] == [
        ("hold", "", "opened"), ("hold", "", "opened"), ("control", "", "opened"), ("control", "", "closed"), ("", "", "closed"),
        ("refusal", "R", "opened"), ("control", "R", "discrepancy"), ("", "C", "certificate")]


# -- master data ----------------------------------------------------------------------------------------------------------------


def test_a_later_declaration_takes_back_what_it_leaves_out() -> None:
    b = bench().tell(declared(0, (BOX, BOX2), record="s", version=1), declared(1, (BOX,), record="s", version=2))
    assert [f.scope for f in b.of(SHIPMENT, "bound")] == [BOX]
    late = declared(0.5, (BOX, BOX2), record="s", version=1)
    b.tell(late)
    assert b.fate(late) == (Fate.SUPERSEDED, "")


def test_a_document_over_its_limit_leaves_out_what_says_least_and_tells() -> None:
    b = bench().tell(declared(), filing(1))
    b.tell(*(notice(2 + n / 1000, "NOTE", TD) for n in range(199)), notice(3, "RELEASED", TD))
    assert not b.of(SHIPMENT, "limit")
    note, hold = notice(4, "NOTE", TD), notice(5, "HOLD", TD, reference="H")
    b.tell(note)
    assert b.fate(note) == (Fate.REFUSED, "DOCUMENT_LIMIT")
    b.tell(hold, notice(6, "REVOKED", TD), notice(7, "NOTE", TD, "PL"))
    assert b.fate(hold) is None
    assert b.one(SHIPMENT, "demand")
    assert {f.key[3] for f in b.of(SHIPMENT, "doc")} == {"sent", "released", "revoked"}
    assert [(f.key, f.side) for f in b.of(SHIPMENT, "limit")] == [(("limit", "KZ"), "*"), (("limit", "PL"), "*")]


def test_what_stops_goods_is_refused_only_far_beyond_the_limit_and_tells() -> None:
    b = bench().tell(declared())
    many = [notice(2, "HOLD", SMGS, reference=f"H{n}") for n in range(601)]
    b._step("documents.in", "smgs:31046586", many)
    b.run()
    assert len(b.of(SHIPMENT, "demand", "hold")) == 600
    assert [o.reason for _, _, o in b.outcomes if o.fate is Fate.REFUSED] == ["DOCUMENT_LIMIT"]
    assert b.one(SHIPMENT, "limit").key == ("limit", "KZ")


def test_a_container_over_its_limit_keeps_the_hold_and_tells() -> None:
    b = bench().tell(declared(), *(notice(2 + n / 1000, "NOTE", container=BOX) for n in range(200)))
    assert not b.of(SHIPMENT, "limit")
    b.tell(notice(5, "HOLD", reference="H", container=BOX))
    assert b.one(SHIPMENT, "demand").scope == b.one(SHIPMENT, "limit").scope == BOX


def test_a_limit_under_another_number_is_told_too_and_what_is_kept_does_not_depend_on_order() -> None:
    notes = [notice(2 + n / 1000, "NOTE", TD_NUMBER) for n in range(202)]
    story = [declared(), filing(1), notice(1.5, "REGISTERED", TD, aliases=(TD_NUMBER,)), *notes, notice(5, "HOLD", TD_NUMBER, reference="H")]
    b = bench().tell(*story)
    assert b.one(SHIPMENT, "limit").key == ("limit", "KZ")
    assert b.one(SHIPMENT, "demand", "hold", "td/LRN-1", "H", "opened")
    told_in_any_order(lambda: [DocumentsFold(), CustodyFold()], story, 3)


def test_a_retired_document_still_leads_to_its_shipment() -> None:
    b = bench().tell(declared(), filing(1), notice(2, "RELEASED", TD)).advance(31 * 24)
    before = b.living(SHIPMENT)
    late = notice(31 * 24, "REVOKED", TD)
    b.tell(late)
    assert b.fate(late) is None
    assert b.one(SHIPMENT, "doc", "td", "LRN-1", "revoked")
    assert before.items() <= b.living(SHIPMENT).items()
    b.advance(200 * 24)
    assert not [k for k in b.states if k[0] == "documents.in"]


def test_a_container_that_is_unloaded_ends_its_binding() -> None:
    b = bench().tell(declared(), loaded(1), loaded(9, bound="unloaded"))
    value = b.one(SHIPMENT, "bound").value
    assert isinstance(value, dict)
    assert (value["since"], value["until"]) == (us(1), us(9))


def test_a_number_that_is_no_container_number_binds_nothing_across_movements() -> None:
    """A filler stands in the declarations of a hundred movements at once: each is judged as a whole."""
    notes = [DocumentRef(kind="transit", number=f"M-{n}", issuer="", station="", date="") for n in range(60)]
    for filler in ("CONTAINER1", "TCLU4265788"):
        b = bench().tell(*(msgspec.structs.replace(declared(document=note, boxes=(BOX2, filler) if n == 0 else (filler,)), id=f"d{n}")
                           for n, note in enumerate(notes)))
        assert not [o for _, _, o in b.outcomes if o.fate in (Fate.REFUSED, Fate.PARKED)]
        assert ("custody.in", filler) not in b.states
        assert [f.scope for f in b.of(shipment_id(notes[0]), "bound")] == [BOX2]
        for n, note in enumerate(notes):
            content = b.one(shipment_id(note), "shipment").value
            assert isinstance(content, dict)
            assert filler in {c["container"] for c in content["containers"]}
            assert n == 0 or not b.of(shipment_id(note), "bound")
        word = notice(3, "RELEASED", notes[5])
        b.tell(word)
        assert b.one(shipment_id(notes[5]), "doc").scope == ""
        assert not b.of(shipment_id(notes[6]), "doc")


def test_a_container_number_with_a_right_check_digit_binds() -> None:
    b = bench().tell(declared(boxes=(BOX, BOX3)))
    assert {f.scope for f in b.of(SHIPMENT, "bound")} == {BOX, BOX3}
    assert ("custody.in", BOX3) in b.states


def test_reference_has_the_codes_that_these_tests_use() -> None:
    rows = reference().codes
    assert rows["GENERIC", "SEAL-BAD"].repeatable
    assert not rows["GENERIC", "RELEASED"].repeatable
