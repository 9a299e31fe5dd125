"""Codes: an authority's message sets the facts that its row names, and nothing else."""
from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streams.codes import About, agency_facts, facts_of, filing_kind, row_of
from tests.streams.folds_bench import at, notice, reference, us
from topics.events.base import DocumentRef
from topics.events.sites import AgencyNotice
from topics.facts import Fact, Rank

T1 = DocumentRef(kind="transit", number="LRN-1")
ABOUT = About(kind="transit", number="LRN-1", record="transit:LRN-1")
GOODS = About()


def told(said: Any, about: About = ABOUT) -> list[Fact]:
    row = row_of(reference(), said)
    assert row is not None
    return list(facts_of(said, row, about))


def keys(said: Any, about: About = ABOUT) -> list[tuple[str, ...]]:
    return [f.key for f in told(said, about)]


def test_a_registration_carries_official_number_and_validity() -> None:
    mrn = DocumentRef(kind="transit", number="26PL301010000000J1")
    (fact,) = told(notice(2, "IE028", T1, "PL", "NCTS", aliases=(mrn,), valid_until=at(50)))
    assert fact.key == ("doc", "transit", "LRN-1", "registered")
    assert fact.value == {"official": mrn.number, "valid_until": us(50)}
    assert (fact.source, fact.rank, fact.code, fact.at) == ("PL", Rank.AUTHORITY, "IE028", us(2))


def test_one_code_may_set_several_facts() -> None:
    assert keys(notice(2, "IE051", T1, "PL", "NCTS")) == [("doc", "transit", "LRN-1", "rejected"), ("demand", "hold", "transit/LRN-1", "", "opened")]


@pytest.mark.parametrize(("reason", "expected"), [
    ("declaration", [("doc", "transit", "LRN-1", "rejected")]),
    ("015", [("doc", "transit", "LRN-1", "rejected")]),
    ("amendment", [("doc", "transit", "LRN-1", "amendment_rejected"), ("flag", "rejection_of_part")]),
    ("presentation", [("flag", "rejection_of_part")]),
])
def test_a_rejection_says_what_it_rejects(reason: str, expected: list[tuple[str, ...]]) -> None:
    assert keys(notice(2, "IE056", T1, "PL", "NCTS", reason=reason)) == expected


def test_an_enquiry_is_a_flag_and_part_of_the_documents_life() -> None:
    assert keys(notice(2, "IE140", T1, "DE", "NCTS")) == [("doc", "transit", "LRN-1", "enquiry"), ("flag", "transit_enquiry")]


def test_an_invalidation_that_was_refused_invalidates_nothing() -> None:
    assert keys(notice(2, "IE009", T1, "PL", "NCTS", values={"decision": "0"})) == [("flag", "invalidation_refused")]
    assert keys(notice(2, "IE009", T1, "PL", "NCTS", values={"decision": "1"})) == [("doc", "transit", "LRN-1", "invalidated")]


def test_a_code_that_is_only_kept_sets_nothing() -> None:
    assert keys(notice(2, "NOTE", T1)) == []


def test_unknown_and_switched_off_codes_have_no_row() -> None:
    assert row_of(reference(), notice(2, "NO-SUCH", T1)) is None
    rows = dict(reference().codes)
    rows["GENERIC", "HOLD"] = msgspec.structs.replace(rows["GENERIC", "HOLD"], enabled=False)
    off = msgspec.structs.replace(reference(), codes=rows)
    assert row_of(off, notice(2, "HOLD", T1)) is None
    assert row_of(reference(), notice(2, "HOLD", T1)) is not None


def test_a_row_counts_on_its_days_only() -> None:
    rows = dict(reference().codes)
    rows["GENERIC", "HOLD"] = msgspec.structs.replace(rows["GENERIC", "HOLD"], valid_from="2026-03-02")
    later = msgspec.structs.replace(reference(), codes=rows)
    assert row_of(later, notice(2, "HOLD", T1)) is None
    assert row_of(later, notice(30, "HOLD", T1)) is not None


def test_the_side_is_office_then_narrowing_then_document_then_authority() -> None:
    assert told(notice(2, "EXIT-PERMITTED", T1, office="KZ1"))[0].side == "@KZ/office/KZ1"
    assert told(notice(2, "EXIT-PERMITTED", T1))[0].side == "@KZ/exit"
    assert told(notice(2, "RELEASED", T1))[0].side == "@KZ/doc/transit/LRN-1"
    assert told(notice(2, "HOLD", None, container="B"), GOODS)[0].side == "@KZ"


def test_a_demand_about_another_document_than_the_notices_own() -> None:
    said = notice(2, "HOLD", T1, reference="H", subject=DocumentRef(kind="ens", number="E-1"))
    assert keys(said) == [("demand", "hold", "ens/E-1", "H", "opened")]


def test_a_demand_has_its_deadline_and_no_validity() -> None:
    (fact,) = told(notice(2, "INFO", T1, reference="Q", answer_by=at(26), valid_until=at(90)))
    assert fact.value == {"official": "LRN-1", "answer_by": us(26)}


def test_scopes_come_from_the_notice_before_the_document() -> None:
    about = msgspec.structs.replace(ABOUT, scopes=("A", "B"))
    assert [f.scope for f in told(notice(2, "RELEASED", T1), about)] == ["A", "B"]
    assert [f.scope for f in told(notice(2, "RELEASED", T1, container="C", item="7"), about)] == ["C/7"]


def test_a_date_without_time_stays_dated() -> None:
    assert told(notice(2, "RELEASED", T1, date_only=True))[0].dated


def test_an_alarm_concerns_every_side_and_a_good_reading_its_own_too() -> None:
    bad = told(notice(2, "SEAL-BAD", T1, chain="bolt", seal="S", office="KZ1"))
    assert [(f.side, f.key[2]) for f in bad] == [("*", "bad")]
    good = told(notice(2, "SEAL-OK", T1, chain="bolt", seal="S", office="KZ1"))
    assert [f.side for f in good] == ["*", "@KZ/office/KZ1"]
    assert told(notice(2, "SEAL-READING", T1, chain="bolt", seal="S", office="KZ1"))[0].side == "@KZ/office/KZ1"


def test_an_opening_has_act_end_and_new_seal() -> None:
    said = notice(2, "SEAL-OPENED", T1, chain="bolt", seal="S", reference="ACT-1", values={"until": "2026-03-01T13:00:00+00:00", "new_seal": "N"})
    value = told(said)[0].value
    assert isinstance(value, dict)
    assert (value["act"], value["until"], value["new"]) == ("ACT-1", us(5), "N")


def test_an_end_of_opening_that_is_no_time_says_nothing() -> None:
    value = told(notice(2, "SEAL-OPENED", T1, chain="bolt", seal="S", values={"until": "tomorrow"}))[0].value
    assert isinstance(value, dict)
    assert value.get("until") is None


def test_presence_takes_the_notices_visit_before_the_known_one() -> None:
    assert keys(notice(2, "PRESENTED", None, container="B"), msgspec.structs.replace(GOODS, visit="3")) == [("presented", "3")]
    assert keys(notice(2, "PRESENTED", None, container="B", visit=2), msgspec.structs.replace(GOODS, visit="3")) == [("presented", "2")]


def test_slots_of_two_documents_never_meet() -> None:
    (fact,) = told(notice(2, "RELEASED", T1, record="R-9"))
    assert fact.record == "transit:LRN-1#R-9"
    (bare,) = told(notice(2, "RELEASED", T1))
    assert bare.record == "transit:LRN-1"


@pytest.mark.parametrize(("what", "kind", "phase"), [
    ("hold", "hold", "opened"), ("control", "control", "opened"), ("refusal", "refusal", "opened"), ("lift", "", "closed"),
    ("conform", "control", "closed"), ("discrepancy", "control", "discrepancy"), ("certificate", "", "certificate")])
def test_an_agencys_word_is_its_own(what: Any, kind: str, phase: str) -> None:
    said = AgencyNotice(source="agency-kz-phyto", id="a", event_time=at(1), agency="phyto", authority="KZ", what=what, reference="P", reason="why")
    (fact,) = agency_facts(said, ABOUT)
    assert (fact.key, fact.side, fact.source) == (("agency", "phyto", kind, "P", phase), "@KZ", "agency-kz-phyto")


def test_a_transport_document_is_no_filing() -> None:
    assert filing_kind(DocumentRef(kind="smgs", number="1")) == ""
    assert filing_kind(T1) == "transit"
    assert filing_kind(DocumentRef(kind="mrn", number="1"), reference().codes["NCTS", "IE029"]) == "transit"
