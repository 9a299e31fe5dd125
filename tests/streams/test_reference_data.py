"""What the shipped rows say: counts, the ten traps of the domain reference, release sets, deadlines, codes."""
from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from agents.reference import load
from streams.reference import words
from streams.reference.model import CodeRow, FilingRow, Reference, SideRow
from topics.registry import build


@pytest.fixture(scope="module")
def reference() -> Reference:
    return load()


def code(reference: Reference, system: str, name: str) -> CodeRow:
    return reference.codes[system, name]


def keys(row: CodeRow) -> set[tuple[str, ...]]:
    return {t.key for t in row.facts}


def side(reference: Reference, id: str) -> SideRow:
    return next(r for r in reference.side_rows if r.id == id)


def filing(reference: Reference, row: str, kind: str) -> FilingRow:
    return next(f for f in side(reference, row).filings if f.kind == kind)


def test_the_network_is_wide_enough(reference: Reference) -> None:
    kinds = Counter(p.kind for p in reference.places.values())
    assert kinds["terminal"] + kinds["hub"] + kinds["port"] >= 20
    assert len(reference.crossings) >= 45
    assert len(reference.corridors) >= 12
    assert len(reference.codes) >= 150
    assert sum(c.sea for c in reference.crossings.values()) >= 8


def test_every_crossing_has_both_stations_dwells_and_offices(reference: Reference) -> None:
    for crossing in reference.crossings.values():
        assert {(crossing.id, "west"), (crossing.id, "east")} <= set(reference.dwells)
        if crossing.customs_border:
            assert set(crossing.offices) == {crossing.a_authority, crossing.b_authority}


def test_trap_1_inner_borders_of_the_eaeu_and_the_eu_are_no_customs_borders(reference: Reference) -> None:
    inner = {c.id for c in reference.crossings.values() if not c.customs_border}
    assert {"KZ-RU-ZHAISAN-ILETSK", "RU-BY-KRASNOYE-OSINOVKA", "KZ-KG-LUGOVAYA-KAINDY", "PL-DE-RZEPIN-FRANKFURT", "PL-LT-TRAKISZKI-MOCKAVA"} <= inner
    for corridor in ("WEST-A", "WEST-K"):
        outer = [c for c in reference.corridors[corridor].crossings if reference.crossings[c].customs_border]
        assert len(outer) == 2


def test_trap_2_no_authority_is_a_union(reference: Reference) -> None:
    assert not {"EU", "EAEU"} & set(reference.authorities)
    assert {a.union for a in reference.authorities.values()} == {"", "EU", "EAEU"}


def test_trap_3_kaliningrad_leaves_and_enters_the_eu_again(reference: Reference) -> None:
    assert reference.corridors["KALININGRAD"].crossings[-3:] == (
        "BY-LT-GUDOGAI-KENA", "LT-RU-KYBARTAI-NESTEROV", "RU-PL-MAMONOVO-BRANIEWO")
    assert all(reference.crossings[c].customs_border for c in reference.corridors["KALININGRAD"].crossings[-3:])


def test_trap_4_gauge_break_and_customs_border_are_two_things(reference: Reference) -> None:
    kena = reference.crossings["BY-LT-GUDOGAI-KENA"]
    assert kena.customs_border
    assert (kena.gauge_a, kena.gauge_b, kena.transload_west) == (1520, 1520, "")
    assert reference.crossings["GE-TR-AKHALKALAKI-KARS"].transload_west == "akhalkalaki"
    naushki = reference.crossings["MN-RU-SUKHBAATAR-NAUSHKI"]
    assert naushki.customs_border
    assert naushki.gauge_a == naushki.gauge_b


def test_trap_7_zones(reference: Reference) -> None:
    assert reference.authorities["KZ"].zone == "Asia/Almaty"
    assert reference.places["zabaikalsk"].zone == "Asia/Chita"
    assert reference.places["naushki"].zone == "Asia/Irkutsk"
    assert reference.authorities["CN"].zone == "Asia/Shanghai"


def test_trap_8_released_is_several_facts(reference: Reference) -> None:
    assert keys(code(reference, "CN-MANIFEST", "BLR")) == {("doc", "{kind}", "{number}", "released")}
    assert code(reference, "CN-MANIFEST", "BLR").document_kind == "manifest"
    assert code(reference, "CN-DECLARATION", "PAS").document_kind == "declaration"
    assert code(reference, "CN-CONVEYANCE", "ATP").document_kind == "conveyance"
    assert keys(code(reference, "CN-CONVEYANCE", "EDEP")) == {("departed", "{visit}")}
    assert not code(reference, "CN-DECLARATION", "CLR").facts
    assert side(reference, "cn-exit-west").release == (("released:declaration",), ("released:manifest",), ("released:conveyance",))


def test_trap_9_our_own_codes_are_tagged_as_ours(reference: Reference) -> None:
    ours = [r for r in reference.codes.values() if r.system in ("GTT", "GENERIC")]
    assert len(ours) > 30
    assert {r.source for r in ours} == {"D"}


def test_unsure_rows_are_off(reference: Reference) -> None:
    unsure = [a for a in reference.agreements.values() if "M?" in a.source.split()]
    assert unsure
    assert not any(a.enabled for a in unsure)
    assert not any(a.auto_release for a in reference.agreements.values())
    assert [a.id for a in reference.agreements.values() if a.kind == "gtt"] == ["gtt-cn-kz"]
    assert reference.agreements["gtt-cn-kz"].crossings == ("CN-KZ-ALASHANKOU-DOSTYK",)
    assert not any(c.one_stop for c in reference.crossings.values())


def test_codes_set_what_the_domain_says(reference: Reference) -> None:
    no_release = keys(code(reference, "NCTS", "IE051"))
    assert no_release == {("doc", "{kind}", "{number}", "rejected"), ("demand", "hold", "{subject}", "{reference}", "opened")}
    rejection = code(reference, "NCTS", "IE056")
    assert rejection.facts[0].when == "reason:015|declaration"
    assert rejection.flag
    assert code(reference, "NCTS", "IE140").flag == "transit_enquiry"
    assert not code(reference, "NCTS", "IE140").facts
    assert code(reference, "NCTS", "IE025").facts[0].side == "office"
    assert ("condition", "ens_assessed") in keys(code(reference, "ICS2", "IE3N03"))
    assert ("doc", "{kind}", "{number}", "assessed") in keys(code(reference, "ICS2", "IE3N03"))
    assert not code(reference, "ICS2", "IE3R03").facts
    assert keys(code(reference, "AES", "IE525")) == {("doc", "exit", "{number}", "released")}
    assert keys(code(reference, "KZ-ASTANA1", "GREEN")) == {("condition", "risk")}
    assert code(reference, "EAEU-TD", "TD-REFUSED").facts[0].key[3] == "rejected"
    assert not code(reference, "CN-MANIFEST", "TRB").facts
    assert code(reference, "CN-DECLARATION", "审核").keeps


def test_every_code_of_the_domain_has_a_row(reference: Reference) -> None:
    wanted = {
        "NCTS": "IE015 IE928 IE056 IE906 IE917 IE028 IE013 IE004 IE022 IE060 IE055 IE051 IE029 IE009 IE182 IE007 IE057 IE043 IE044 IE019 IE025 IE045"
                " IE140 IE141 IE035 IE170",
        "AES": "IE515 IE528 IE529 IE556 IE560 IE507 IE525 IE522 IE590 IE599",
        "ICS2": "IE3N11 IE3N02 IE3N01 IE3N99 IE3R01 IE3Q02 IE3N04 IE3R02 IE3Q03 IE3N05 IE3R03 IE3Q01 IE3N03 IE3N08 IE3N09 IE3N06 IE3R04 IE3Q04 IE3R07",
        "CN-MANIFEST": "01 BLA 02 03 ASB BCB AAD ASA BLR 11 12 13 TRA TRB DEL E1 E2 E3 E4",
        "CN-DECLARATION": "EDC CDC CPI PAS 9 CLR 10 DEL 接单 审核 待复核 申报中 0 2 3 4 6 21",
        "CN-CONVEYANCE": "ETC ETP ATC ATP EDEP",
        "CEB": "100 120 300 399 500 501 502 599 700 800",
        "ETIR": "I1 E9 I7 I17 I9 I11 I13 I15",
    }
    for system, codes in wanted.items():
        assert not {c for c in codes.split() if (system, c) not in reference.codes}, system


def test_deadlines_of_the_domain(reference: Reference) -> None:
    assert (filing(reference, "eaeu-entry", "pi").lead_minutes, filing(reference, "eaeu-entry", "pi").clock_ref) == (120, "eta_customs_territory")
    ens = filing(reference, "eu-entry", "ens")
    assert (ens.lead_minutes, ens.lead_minutes_short, ens.clock_ref) == (120, 60, "eta_office_of_first_entry")
    assert reference.crossings["BY-PL-BREST-MALASZEWICZE"].formation_under_2h
    declared = filing(reference, "cn-exit-west", "declaration")
    assert (declared.lead_minutes, declared.alert) == (1440, False)
    manifest = filing(reference, "cn-exit-west", "manifest")
    assert (manifest.lead_minutes, manifest.clock_ref, manifest.before) == (120, "loading_start", "declaration")
    assert {r.id for r in reference.side_rows for f in r.filings if f.before} == {"cn-exit-west", "cn-exit-kz", "cn-exit-kz-khorgos", "cn-exit-any"}
    timed = {(r.authority, f.kind, f.answer_minutes) for r in reference.side_rows for f in r.filings if f.answer_minutes is not None}
    assert timed == {("KZ", "td", 120)}
    gtt = filing(reference, "cn-exit-kz", "gtt")
    assert (gtt.lead_minutes, gtt.clock_ref, gtt.enrolment) == (0, "train_decl_review", "gtt")
    assert filing(reference, "cn-entry", "manifest").clock_ref == "eta_first_station"
    assert filing(reference, "eu-entry-sea-ge-ro-poti-constanta", "ens").role == "sea_carrier"
    assert not filing(reference, "tr-entry", "entry_summary").alert


def test_every_union_authority_and_role_has_a_row(reference: Reference) -> None:
    for union in ("EAEU", "EU"):
        assert {r.kind for r in reference.side_rows if r.union == union} >= {"EXIT", "ENTRY", "OFFICE"}
    fallback = {r.kind for r in reference.side_rows if not r.authority and not r.union and not r.crossing}
    assert fallback == set(words.SIDE_KINDS)


def test_deciding_kinds_are_never_handled_by_others(reference: Reference) -> None:
    for row in reference.side_rows:
        assert not {m.partition(":")[2] for m in row.decision} & set(row.by)
        assert row.decision or row.kind == "TERRITORY"


def test_risk_rows_cover_the_six_classes(reference: Reference) -> None:
    classes = {r.risk_class for r in reference.risks}
    assert {"explosives", "weapons", "drugs", "organisms", "cites", "waste"} <= classes
    assert any(r.risk_class == "waste" and r.direction == "east" and r.strength == "strong" and r.value == "3915" for r in reference.risks)
    assert {r.language for r in reference.risks if r.kind == "keyword"} == {"en", "zh", "ru"}


def test_the_registry_is_built_from_these_rows(reference: Reference) -> None:
    registry = build(reference.parties.values(), reference.authorities.values(), reference.crossings.values())
    assert registry.topics["border.cn-kz-alashankou-dostyk.kz"]
    assert registry.parties["customs-kz"].role == "customs"


def test_coordinates_are_where_the_country_is(reference: Reference) -> None:
    """Coarse, but it finds exchanged digits and exchanged pairs: no place lies more than 900 km from its neighbours on a corridor, sea apart."""
    from streams.network.route import build_route, distance_km

    sea = {frozenset((c.a, c.b)) for c in reference.crossings.values() if c.sea}
    for corridor in reference.corridors.values():
        on_map = [p for p in (reference.places[i] for i in corridor.places) if p.lat is not None]
        for one, other in pairwise(on_map):
            if frozenset((one.id, other.id)) not in sea:
                assert distance_km(one.lat or 0, one.lon or 0, other.lat or 0, other.lon or 0) < 520, (corridor.id, one.id, other.id)
        assert build_route(reference, corridor.id, "west").length_km > 3000
