"""DOCUMENTS: who owns a document, which numbers it has, which shipments it covers, and what notices say of them."""
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
    answered,
    at,
    declared,
    filing,
    linked,
    loaded,
    notice,
    reference,
    told_in_any_order,
    us,
)
from topics.events.base import DocumentRef
from topics.events.customs import CustomsNotice
from topics.events.sites import AgencyNotice
from topics.events.trade import TraderRef
from topics.identifiers import shipment_id

REGISTERED = ("doc", "td", "LRN-1", "registered")
CIM = DocumentRef(kind="cim", number="80-1234")
CIM_SHIPMENT = shipment_id(CIM)


def bench(**more: Any) -> Bench:
    return Bench([DocumentsFold(), CustodyFold()], **more)


# -- filings and notices reach the shipment ------------------------------------------------------------------------------------


def test_a_filing_that_names_the_note_brings_its_notices_to_the_shipment() -> None:
    b = bench().tell(declared(), filing(1), notice(2, "REGISTERED", TD))
    assert b.one(SHIPMENT, "filing", "td", "LRN-1").value["filer"] == "fwd-demo"  # type: ignore[index,call-overload]
    assert b.one(SHIPMENT, "doc", "td", "LRN-1", "sent").at == us(1)
    fact = b.one(SHIPMENT, *REGISTERED)
    assert (fact.at, fact.source, fact.side, fact.record) == (us(2), "KZ", "@KZ/doc/td/LRN-1", "td:LRN-1")


def test_a_notice_before_filing_and_note_waits_and_then_counts() -> None:
    early = notice(2, "REGISTERED", TD)
    b = bench().tell(early)
    assert b.fate(early) == (Fate.WAITING, "UNRESOLVED_REFERENCE")
    assert b.outcomes[-1][2].until == b.now + 14 * 24 * 3_600_000_000
    b.tell(filing(1))
    assert not b.facts
    b.tell(declared())
    assert b.one(SHIPMENT, *REGISTERED).at == us(2)


def test_an_unresolved_reference_alerts_after_the_waiting_bound_and_resolves_when_bound() -> None:
    b = bench().tell(filing(1)).advance(13 * 24)
    assert not b.open_alerts("UnresolvedReference")
    b.advance(2 * 24)
    assert [a.key for a in b.open_alerts("UnresolvedReference")] == ["UnresolvedReference/td:LRN-1"]
    b.tell(declared())
    assert not b.open_alerts("UnresolvedReference")


def test_a_notice_names_its_side_by_office_before_the_filing() -> None:
    b = bench().tell(declared(), filing(1), notice(2, "RELEASED", TD, office="KZ57505"))
    assert b.one(SHIPMENT, "doc", "td", "LRN-1", "released").side == "@KZ/office/KZ57505"


def test_a_notice_about_the_note_itself_is_about_the_goods() -> None:
    b = bench().tell(declared(), notice(2, "HOLD", SMGS, reference="H-1"))
    assert b.one(SHIPMENT, "demand").key == ("demand", "hold", "", "H-1", "opened")
    assert b.one(SHIPMENT, "demand").side == "@KZ"


def test_a_demand_about_a_filing_names_it() -> None:
    b = bench().tell(declared(), filing(1), notice(2, "HOLD", TD, reference="H-1"))
    assert b.one(SHIPMENT, "demand").key == ("demand", "hold", "td/LRN-1", "H-1", "opened")


def test_a_notice_about_one_container_has_its_scope() -> None:
    b = bench().tell(declared(boxes=(BOX, BOX2)), filing(1), notice(2, "CONTROL", TD, reference="C-1", container=BOX2))
    assert b.one(SHIPMENT, "demand").scope == BOX2


def test_a_filing_of_some_containers_speaks_of_these_only() -> None:
    """Hard case 18: of the boxes some go T1, some import."""
    part = filing(1, containers=tuple(declared(boxes=(BOX2, BOX3)).containers))
    b = bench().tell(declared(boxes=(BOX, BOX2, BOX3)), part, notice(2, "REGISTERED", TD))
    assert {f.scope for f in b.of(SHIPMENT, *REGISTERED)} == {BOX2, BOX3}
    assert b.one(SHIPMENT, "filing").scope == ""


def test_a_filing_of_all_containers_speaks_of_the_whole() -> None:
    whole = filing(1, containers=tuple(declared(boxes=(BOX2, BOX)).containers))
    b = bench().tell(declared(boxes=(BOX, BOX2)), whole, notice(2, "REGISTERED", TD))
    assert {f.scope for f in b.of(SHIPMENT, *REGISTERED)} == {""}


def test_a_filing_through_a_filing_finds_the_shipment() -> None:
    ens = DocumentRef(kind="ens", number="ENS-1")
    b = bench().tell(filing(1, "ens", "ENS-1", "PL", (TD,)), declared(), filing(0.5), notice(2, "REGISTERED", ens, "PL"))
    assert b.one(SHIPMENT, "doc", "ens", "ENS-1", "registered").source == "PL"


def test_two_filings_that_cite_each_other_do_not_keep_each_other_alive() -> None:
    ens, third = DocumentRef(kind="ens", number="ENS-1"), DocumentRef(kind="smgs", number="1")
    first = filing(0.5, documents=(SMGS, ens), record="r", version=1)
    b = bench().tell(declared(), first, filing(1, "ens", "ENS-1", "PL", (TD,)))
    assert b.one(SHIPMENT, "filing", "ens", "ENS-1")
    b.tell(filing(2, documents=(third, ens), record="r", version=2, action="amend"))
    assert not b.of(SHIPMENT, "filing", "ens")
    assert not b.of(SHIPMENT, "filing", "td")


# -- ownership ---------------------------------------------------------------------------------------------------------------


def test_another_partys_filing_is_not_yours_whatever_the_order() -> None:
    note, mine, theirs = declared(), filing(1), filing(2, source="fwd-other", office="X")
    b = bench().tell(note, mine, theirs)
    assert b.fate(theirs) == (Fate.REFUSED, "NOT_YOURS")
    other = bench().tell(note, theirs, mine)
    assert other.fate(mine) is None
    assert b.living(SHIPMENT) == other.living(SHIPMENT)
    assert b.one(SHIPMENT, "filing").source == "fwd-demo"


def test_the_declarant_that_the_registration_names_owns_the_filing() -> None:
    early, late = filing(1), filing(2, source="fwd-other", parties=(TraderRef(role="declarant", identifier="PL123"),))
    b = bench().tell(declared(), early, late)
    assert b.one(SHIPMENT, "filing").source == "fwd-demo"
    b.tell(notice(3, "REGISTERED", TD, declarant="PL123"))
    assert b.one(SHIPMENT, "filing").source == "fwd-other"
    assert b.one(SHIPMENT, "doc", "td", "LRN-1", "sent").at == us(2)


def test_only_the_filer_of_record_answers_a_request() -> None:
    theirs, mine = answered(3, TD, "Q-1", "fwd-other"), answered(4, TD, "Q-1")
    b = bench().tell(declared(), filing(1), notice(2, "INFO", TD, reference="Q-1"), theirs)
    assert b.fate(theirs) == (Fate.REFUSED, "NOT_YOURS")
    assert not b.of(SHIPMENT, "demand", "info", "td/LRN-1", "Q-1", "answered")
    b.tell(mine)
    assert b.one(SHIPMENT, "demand", "info", "td/LRN-1", "Q-1", "answered").at == us(4)


def test_an_amendment_replaces_the_content_and_is_told_apart_from_the_lodging() -> None:
    b = bench().tell(declared(), filing(1, office="A", record="r", version=1), filing(3, office="B", record="r", version=2, action="amend"))
    assert b.one(SHIPMENT, "filing").value["office"] == "B"  # type: ignore[index,call-overload]
    assert b.one(SHIPMENT, "doc", "td", "LRN-1", "sent").at == us(1)
    assert b.one(SHIPMENT, "doc", "td", "LRN-1", "amendment_sent").at == us(3)


def test_a_presentation_keeps_the_data_and_tells_presence() -> None:
    b = bench().tell(declared(), filing(1, office="A"), filing(3, action="present", documents=()))
    assert b.one(SHIPMENT, "filing").value["office"] == "A"  # type: ignore[index,call-overload]
    assert b.one(SHIPMENT, "presented", "1").at == us(3)


# -- other numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)])
def test_lrn_and_official_number_are_one_document(order: tuple[int, ...]) -> None:
    story = [declared(), filing(1), notice(2, "REGISTERED", TD, aliases=(TD_NUMBER,)), notice(3, "RELEASED", TD_NUMBER)]
    b = bench().tell(*(story[n] for n in order))
    assert b.one(SHIPMENT, *REGISTERED).value["official"] == TD_NUMBER.number  # type: ignore[index,call-overload]
    assert b.one(SHIPMENT, "doc", "td", "LRN-1", "released").at == us(3)
    assert b.one(SHIPMENT, "filing").value["official"] == [TD_NUMBER.number]  # type: ignore[index,call-overload]


def test_without_a_filing_the_named_document_is_canonical() -> None:
    b = bench().tell(declared(), notice(2, "REGISTERED", TD, aliases=(TD_NUMBER, SMGS)))
    other = bench().tell(notice(2, "REGISTERED", TD, aliases=(TD_NUMBER, SMGS)), declared())
    assert {s for s in b.facts if b.living(s)} == {s for s in other.facts if other.living(s)}


def test_three_numbers_stated_in_a_chain_settle_on_the_filed_one() -> None:
    middle, last = DocumentRef(kind="td", number="M-2"), DocumentRef(kind="td", number="Z-3")
    b = bench().tell(notice(4, "RELEASED", last), notice(3, "AMENDED", middle, aliases=(last,)), notice(2, "REGISTERED", TD, aliases=(middle,)),
                     filing(1), declared())
    assert {f.key[3] for f in b.of(SHIPMENT, "doc", "td", "LRN-1")} == {"sent", "registered", "amended", "released"}
    assert not b.of(SHIPMENT, "doc", "td", "Z-3")


# -- continuing documents -------------------------------------------------------------------------------------------------------


def test_a_continuing_document_carries_the_roots_shipment() -> None:
    """Hard case 19: SMGS to CIM, the timeline unbroken."""
    b = bench().tell(declared(), declared(5, document=CIM, continues=(SMGS,)), filing(6, "transit", "T1", "PL", (CIM,)))
    assert b.one(SHIPMENT, "filing", "transit", "T1")
    assert len(b.of(SHIPMENT, "shipment")) == 2
    assert not b.living(CIM_SHIPMENT)


def test_a_link_that_comes_late_moves_what_was_said_to_the_root() -> None:
    transit = DocumentRef(kind="transit", number="T1")
    b = bench().tell(declared(5, document=CIM), filing(6, "transit", "T1", "PL", (CIM,)), notice(7, "RELEASED", transit, "PL"))
    assert b.of(CIM_SHIPMENT, "doc", "transit", "T1", "released")
    b.tell(declared(), linked(8, CIM, "continues", SMGS))
    assert not b.living(CIM_SHIPMENT)
    assert b.one(SHIPMENT, "doc", "transit", "T1", "released").at == us(7)


def test_a_continuation_of_an_unknown_note_makes_no_shipment_of_its_own() -> None:
    b = bench().tell(declared(5, document=CIM, continues=(SMGS,)))
    assert not b.facts
    b.advance(15 * 24)
    assert b.open_alerts("UnresolvedReference")


def test_a_filing_that_cites_nothing_waits() -> None:
    lone = filing(1, documents=())
    b = bench().tell(declared(), lone)
    assert b.fate(lone) == (Fate.WAITING, "UNRESOLVED_REFERENCE")


def test_merged_documents_bring_both_shipments() -> None:
    second = DocumentRef(kind="smgs", number="99999999")
    b = bench().tell(declared(), declared(0, (BOX2,), second), declared(4, (BOX, BOX2), CIM), linked(5, SMGS, "merged_into", CIM),
                     linked(5, second, "merged_into", CIM), filing(6, "transit", "T1", "PL", (CIM,)))
    assert b.one(SHIPMENT, "filing", "transit", "T1")
    assert b.one(shipment_id(second), "filing", "transit", "T1")
    assert not b.living(CIM_SHIPMENT)


def test_a_split_speaks_of_its_own_containers() -> None:
    b = bench().tell(declared(boxes=(BOX, BOX2)), declared(4, (BOX2,), CIM), linked(5, CIM, "split_of", SMGS),
                     filing(6, "transit", "T1", "PL", (CIM,)), notice(7, "RELEASED", DocumentRef(kind="transit", number="T1"), "PL"))
    assert b.one(SHIPMENT, "doc", "transit", "T1", "released").scope == BOX2


def test_a_mere_mention_makes_a_shipment_only_where_nothing_else_does() -> None:
    movement = DocumentRef(kind="transit", number="T1")
    mention = declared(1, (), movement, "customs-pl", tentative=True)
    alone = bench().tell(mention)
    assert alone.one(shipment_id(movement), "shipment")
    bound = bench().tell(mention, filing(2, "transit", "T1", "PL"), declared())
    assert not bound.living(shipment_id(movement))
    assert bound.one(SHIPMENT, "filing", "transit", "T1")


def test_a_mere_mention_never_replaces_a_declaration() -> None:
    b = bench().tell(declared(0, (BOX,)), declared(9, (), SMGS, "customs-kz", tentative=True))
    assert b.one(SHIPMENT, "shipment").source == "fwd-demo"


# -- one number, two documents --------------------------------------------------------------------------------------------------


def numbered(station: str) -> DocumentRef:
    return DocumentRef(kind="smgs", number="31046586", station=station, date="2026-03-01")


def test_a_note_number_used_twice_is_never_guessed() -> None:
    """Hard case 20."""
    vague, exact = filing(2), filing(2, "td", "LRN-2", documents=(numbered("XIAN"),))
    b = bench().tell(declared(0, (BOX,), numbered("XIAN")), declared(0, (BOX2,), numbered("CHENGDU"), "fwd-other"), vague, exact)
    assert [s for s in b.facts if b.of(s, "filing", "td", "LRN-1")] == []
    assert b.one(shipment_id(numbered("XIAN")), "filing", "td", "LRN-2")
    assert not b.of(shipment_id(numbered("CHENGDU")), "filing")
    hold = notice(3, "HOLD", SMGS, reference="H")
    b.tell(hold)
    assert b.fate(hold) == (Fate.WAITING, "IDENTITY_AMBIGUOUS")
    assert b.open_alerts("IdentityAmbiguous")


def test_a_number_used_once_needs_no_station() -> None:
    b = bench().tell(declared(0, (BOX,), numbered("XIAN")), filing(2))
    assert b.one(shipment_id(numbered("XIAN")), "filing", "td", "LRN-1")
    assert not b.open_alerts()


# -- a train's manifest, other people's goods ---------------------------------------------------------------------------------------

OTHER = DocumentRef(kind="smgs", number="99999999")
OTHER_SHIPMENT = shipment_id(OTHER)
MANIFEST = DocumentRef(kind="manifest", number="M-1")


def manifest() -> Any:
    both = tuple(declared(boxes=(BOX, BOX2)).containers)
    return filing(1, "manifest", "M-1", "CN", (SMGS, OTHER), source="cr", containers=both)


@pytest.mark.parametrize("word", [notice(2, "HOLD", MANIFEST, "CN", reference="H", container=BOX),
                                  AgencyNotice(source="vet-cn", id="v", event_time=at(2), agency="veterinary", authority="CN", what="hold", reference="H",
                                               document=MANIFEST, container=BOX)])
def test_a_word_about_one_box_of_a_train_reaches_its_shipment_only(word: Any) -> None:
    b = bench().tell(declared(), declared(0, (BOX2,), OTHER, "fwd-other"), manifest(), word)
    head = "demand" if isinstance(word, CustomsNotice) else "agency"
    assert b.one(SHIPMENT, head).scope == BOX
    assert not b.of(OTHER_SHIPMENT, head)
    b.tell(notice(3, "REGISTERED", MANIFEST, "CN"))
    assert b.of(OTHER_SHIPMENT, "doc", "manifest", "M-1", "registered")
    assert [box["container"] for box in b.one(OTHER_SHIPMENT, "filing").value["containers"]] == [BOX2]  # type: ignore[index,call-overload,union-attr]


def test_a_word_about_a_box_that_nobody_has_declared_waits_for_it() -> None:
    hold = notice(2, "HOLD", MANIFEST, "CN", reference="H", container=BOX2)
    b = bench().tell(declared(), manifest(), hold)
    assert b.fate(hold) == (Fate.WAITING, "UNRESOLVED_REFERENCE")
    assert not b.of(SHIPMENT, "demand")
    b.advance(15 * 24)
    assert b.open_alerts("UnresolvedReference")
    b.tell(declared(0, (BOX2,), OTHER, "fwd-other"))
    assert b.one(OTHER_SHIPMENT, "demand").scope == BOX2
    assert not b.open_alerts("UnresolvedReference")


def test_a_box_that_only_the_authority_names_is_of_the_note_that_it_cites() -> None:
    b = bench().tell(declared(), filing(1), notice(2, "HOLD", SMGS, reference="H", container=BOX3), notice(2, "CONTROL", TD, reference="C", container=BOX3))
    assert {f.scope for f in b.of(SHIPMENT, "demand")} == {BOX3}


def test_a_box_that_was_loaded_later_is_known_to_the_manifest() -> None:
    swap = loaded(1, BOX3, "swapped", replaces=BOX)
    b = bench().tell(declared(), declared(0, (BOX2,), OTHER, "fwd-other"), manifest(), swap, notice(2, "HOLD", MANIFEST, "CN", reference="H", container=BOX3))
    assert b.one(SHIPMENT, "demand").scope == BOX3
    assert not b.of(OTHER_SHIPMENT, "demand")


def test_a_retired_manifest_still_tells_its_boxes_apart() -> None:
    b = bench().tell(declared(), declared(0, (BOX2,), OTHER, "fwd-other"), manifest(), notice(2, "REGISTERED", MANIFEST, "CN")).advance(31 * 24)
    b.tell(notice(31 * 24, "HOLD", MANIFEST, "CN", reference="H", container=BOX2))
    assert b.one(OTHER_SHIPMENT, "demand").scope == BOX2
    assert not b.of(SHIPMENT, "demand")


# -- who may continue a shipment ----------------------------------------------------------------------------------------------------


def theirs(**more: Any) -> Any:
    return declared(5, (BOX3,), CIM, "fwd-other", continues=(SMGS,), **more)


def test_a_stranger_who_says_that_his_note_continues_a_shipment_gets_nothing_of_it() -> None:
    b = bench().tell(declared(), theirs())
    assert b.one(SHIPMENT, "shipment").source == "fwd-demo"
    assert {f.scope for f in b.of(SHIPMENT, "bound")} == {BOX}
    assert not b.of(SHIPMENT, "shipment")[1:]
    assert not b.living(CIM_SHIPMENT)


@pytest.mark.parametrize("who", ["fwd-demo", "pkp", "customs-pl"])
def test_a_continuation_counts_when_owner_railway_or_authority_links_it(who: str) -> None:
    link = linked(6, CIM, "continues", SMGS, source=who)
    for order in ((declared(), theirs(), link), (link, theirs(), declared())):
        b = bench().tell(*order)
        assert {f.source for f in b.of(SHIPMENT, "shipment")} == {"fwd-demo", "fwd-other"}
        assert {f.scope for f in b.of(SHIPMENT, "bound")} == {BOX, BOX3}


def test_a_strangers_own_link_changes_nothing() -> None:
    b = bench().tell(declared(), theirs(), linked(6, CIM, "continues", SMGS, source="fwd-other"), linked(6, SMGS, "merged_into", CIM, source="fwd-other"),
                     linked(6, SMGS, "continues", CIM, source="fwd-other"))
    assert [f.source for f in b.of(SHIPMENT, "shipment")] == ["fwd-demo"]


def test_nobodys_note_is_drawn_into_a_shipment_by_the_shipments_owner_alone() -> None:
    b = bench().tell(declared(), declared(5, (BOX3,), CIM, "fwd-other"), linked(6, CIM, "continues", SMGS), linked(6, SMGS, "merged_into", CIM))
    assert [f.source for f in b.of(SHIPMENT, "shipment")] == ["fwd-demo"]
    assert b.one(CIM_SHIPMENT, "shipment").source == "fwd-other"


def test_a_filing_that_cites_a_note_is_bound_whoever_files_and_declares_nothing() -> None:
    transit = filing(6, "transit", "T1", "PL", source="fwd-other")
    b = bench().tell(declared(), transit, declared(6, (BOX3,), DocumentRef(kind="transit", number="T1"), "fwd-other", continues=(SMGS,)))
    assert b.one(SHIPMENT, "filing", "transit", "T1")
    assert [f.source for f in b.of(SHIPMENT, "shipment")] == ["fwd-demo"]
    assert {f.scope for f in b.of(SHIPMENT, "bound")} == {BOX}


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


def test_reference_has_the_codes_that_these_tests_use() -> None:
    rows = reference().codes
    assert rows["GENERIC", "SEAL-BAD"].repeatable
    assert not rows["GENERIC", "RELEASED"].repeatable
