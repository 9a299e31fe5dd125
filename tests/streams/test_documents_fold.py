"""DOCUMENTS: who owns a document, which numbers it has, which shipments it covers, and what notices say of them."""
from __future__ import annotations

from typing import Any

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
