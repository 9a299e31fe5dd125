"""Vectors of the domain reference, section 4.1, both ways; keys and ids of ours."""
from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics import identifiers as ids
from topics.events.base import DocumentRef, TrainRef
from topics.identifiers import BadIdentifier

GOOD: list[tuple[Callable[[str], str], str, str]] = [
    (ids.parse_container, "CSQU3054383", "CSQU3054383"),
    (ids.parse_container, "mzwu 214668-0", "MZWU2146680"),
    (ids.parse_mrn, "20GB5M2723461FGVR3", "20GB5M2723461FGVR3"),
    (ids.parse_mrn, "06DE586600006143E1", "06DE586600006143E1"),
    (ids.parse_mrn, "23GB0002466HT2CXJF", "23GB0002466HT2CXJF"),
    (ids.parse_uic_wagon, "21-81-2471217-3", "218124712173"),
    (ids.parse_uic_wagon, "51-80-0843001-0", "518008430010"),
    (ids.parse_1520_wagon, "95236196", "95236196"),
    (ids.parse_chinese_wagon, "5271234", "5271234"),
    (ids.parse_esr, "70850-7", "708507"),
    (ids.parse_esr, "98930-9", "989309"),
    (ids.parse_uscc, "91110000600037341L", "91110000600037341L"),
    (ids.parse_eori, "GB953574106000", "GB953574106000"),
    (ids.parse_aeo_cn, "AEOCN3100123456", "AEOCN3100123456"),
    (ids.parse_office, "GB000246", "GB000246"),
    (ids.parse_eaeu_declaration, "10113110/010324/0012345", "10113110/010324/0012345"),
    (ids.parse_eaeu_declaration, "57505/290224/0012345", "57505/290224/0012345"),
    (ids.parse_eaeu_declaration, "05/290224/0012345", "05/290224/0012345"),
    (ids.parse_pi, "KZ/010324/000123456", "KZ/010324/000123456"),
    (ids.parse_smgs, "31046586", "31046586"),
    (ids.parse_lrn, "TRATESTGB12308021209", "TRATESTGB12308021209"),
    (ids.parse_tir, "XN25000050", "XN25000050"),
]

BAD: list[tuple[Callable[[str], str], str, bool]] = [
    (ids.parse_container, "CSQU3054384", True),
    (ids.parse_container, "WGPCGR", False),
    (ids.parse_container, "CSQR3054383", False),
    (ids.parse_container, "CSQU305438３", False),
    (ids.parse_mrn, "20GB5M2723461FGVR4", True),
    (ids.parse_mrn, "20GB5M2723461FGV", False),
    (ids.parse_uic_wagon, "21-81-2471217-4", True),
    (ids.parse_uic_wagon, "21812471217", False),
    (ids.parse_1520_wagon, "95236197", True),
    (ids.parse_1520_wagon, "15236196", False),
    (ids.parse_chinese_wagon, "527123", False),
    (ids.parse_esr, "708506", True),
    (ids.parse_esr, "70850", False),
    (ids.parse_uscc, "911100006000373411", True),
    (ids.parse_uscc, "9111000060003734", False),
    (ids.parse_eori, "9BX", False),
    (ids.parse_aeo_cn, "AEOCN31001234", False),
    (ids.parse_office, "GB0002", False),
    (ids.parse_eaeu_declaration, "10113110/310224/0012345", False),
    (ids.parse_eaeu_declaration, "101131/010324/0012345", False),
    (ids.parse_pi, "KZ/320124/000123456", False),
    (ids.parse_pi, "KZ/010324/0001234", False),
    (ids.parse_smgs, "3104658", False),
    (ids.parse_lrn, "X" * 23, False),
    (ids.parse_tir, "X25000050", False),
]


@pytest.mark.parametrize(("parse", "text", "value"), GOOD)
def test_a_right_identifier_is_read(parse: Callable[[str], str], text: str, value: str) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(("parse", "text", "check"), BAD)
def test_a_wrong_identifier_is_refused_with_its_reason(parse: Callable[[str], str], text: str, check: bool) -> None:
    with pytest.raises(BadIdentifier) as caught:
        parse(text)
    assert caught.value.check is check, "only a wrong check character is told as one"
    assert caught.value.reason
    assert caught.value.identifier
    assert isinstance(caught.value, ValueError)


def test_an_esr_code_whose_first_sum_is_ten_uses_the_second_weights() -> None:
    first = [n for n in range(10_000, 11_000) if sum(int(d) * w for d, w in zip(str(n), range(1, 6), strict=True)) % 11 == 10]
    assert first, "there are such codes"
    for number in first:
        second = sum(int(d) * w for d, w in zip(str(number), range(3, 8), strict=True)) % 11
        assert ids.parse_esr(f"{number}{0 if second == 10 else second}")


@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused_and_never_crashes(text: str) -> None:
    for kind in ids.classify(text):
        assert ids.PARSERS[kind](text), "what it is classified as, it parses as"


@pytest.mark.parametrize(("text", "kinds"), [
    ("CSQU3054383", ["container", "eori", "lrn"]),
    ("31046586", ["smgs", "lrn"]),
    ("20GB5M2723461FGVR3", ["mrn", "lrn"]),
    ("KZ/010324/000123456", ["pi", "lrn"]),
    ("ktz/1234/2026-03-01", ["train", "lrn"]),
    ("smgs:31046586", ["document", "lrn"]),
    ("CN-KZ-ALASHANKOU-DOSTYK", ["crossing"]),
    ("CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY", ["side"]),
    ("", []),
])
def test_what_a_text_could_be(text: str, kinds: list[str]) -> None:
    assert ids.classify(text) == kinds


def test_our_own_ids_are_told_from_outside_numbers() -> None:
    assert ids.classify(ids.shipment_id(DocumentRef(kind="smgs", number="31046586")))[0] == "shipment"
    assert ids.classify(ids.run_id("ktz", "1234", "2026-03-01"))[0] == "run"


def test_sides_are_taken_apart_and_put_together() -> None:
    for text in ("CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY", "CN-KZ-ALASHANKOU-DOSTYK:CN:EXIT", "PL301010:PL:OFFICE", "RU:TERRITORY"):
        assert ids.parse_side(text).id == text
    assert ids.parse_side("PL301010:PL:OFFICE").office == "PL301010"
    for text in ("RU", "X:KZ:ENTRY", "CN-KZ-A-B:kz:ENTRY", "CN-KZ-A-B:KZ:INSIDE", ":PL:OFFICE"):
        with pytest.raises(BadIdentifier):
            ids.parse_side(text)


def test_keys_say_what_they_group() -> None:
    assert ids.document_key(DocumentRef(kind="smgs", number=" ab 31046586 ")) == "smgs:AB 31046586"
    assert ids.train_key(TrainRef(railway="ktz", number="1234", date="2026-03-01")) == "ktz/1234/2026-03-01"


def test_a_shipment_id_depends_on_all_that_tells_two_documents_apart() -> None:
    base = DocumentRef(kind="smgs", number="31046586", issuer="ktz", station="708507", date="2026-03-01")
    same = DocumentRef(kind="smgs", number=" 31046586", issuer="KTZ", station="708507", date="2026-03-01")
    assert ids.shipment_id(base) == ids.shipment_id(same) == "S4YMF5PT42TKL", "an id never changes: it is in ledgers"
    others = {ids.shipment_id(DocumentRef(kind="smgs", number="31046586", **change)) for change in (
        {}, {"issuer": "ktz"}, {"station": "708507"}, {"date": "2026-03-01"}, {"date": "2026-03-02"}, {"issuer": "rzd"})}
    assert len(others) == 6
    assert all(len(one) == 13 and one[0] == "S" for one in others)


def test_a_run_id_depends_on_railway_number_date_and_origin() -> None:
    runs = {ids.run_id(*parts) for parts in (("ktz", "1", "2026-03-01", ""), ("ktz", "1", "2026-03-02", ""), ("ktz", "2", "2026-03-01", ""),
                                             ("rzd", "1", "2026-03-01", ""), ("ktz", "1", "2026-03-01", "dostyk"))}
    assert len(runs) == 5
    assert ids.run_id("ktz", "1", "2026-03-01") == "RQ25RW47E7AM2"
