"""The shipped reference loads, and the loader refuses everything that is wrong with file, row, field and reason."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agents.reference import load, overlay, packaged
from streams.reference.model import Reference
from streams.reference.parse import TABLES, parse, table_of
from streams.reference.refused import ReferenceRefused

FILES = packaged()
PLACE = 'id = "test-place", names = { en = "Test" }, country = "KZ", source = "D"'
CROSSING = ('id = "CN-KZ-TEST", names = { en = "Test" }, a = "xian", b = "almaty", a_authority = "CN", b_authority = "KZ", gauge_a = 1435,'
            ' gauge_b = 1520, source = "D"')
SIDE = ('id = "test-side", authority = "KZ", kind = "ENTRY", source = "D", release = [["registered:pi"], ["released:td"]],'
        ' decision = ["released:td"]')
FILING = 'kind = "pi", source = "M"'
CODE = 'system = "GENERIC", code = "TEST", names = { en = "Test" }, source = "D"'
AGREEMENT = 'id = "test", kind = "exchange", parties = ["CN", "KZ"], in_force = "2025-01-01", source = "D"'
CORRIDOR = 'id = "TEST", names = { en = "Test" }, source = "D", crossings = ["CN-KZ-ALASHANKOU-DOSTYK"]'
PARTY = 'id = "test-party", role = "terminal", names = { en = "Test" }, source = "D"'
AUTHORITY = 'code = "XX", names = { en = "Test" }, zone = "Asia/Almaty", source = "D"'


@pytest.fixture(scope="module")
def reference() -> Reference:
    return load()


def overlaid(table: str, row: str) -> Reference:
    """The shipped reference with one more or other row."""
    return parse(FILES, {f"{table}.toml": f"rows = [ {{ {row} }} ]".encode()})


def changed(row: str, **fields: str) -> str:
    """The row with some fields set to other TOML values."""
    parts = {part.split(" = ", 1)[0]: part for part in _split(row)}
    parts.update({name: f"{name} = {value}" for name, value in fields.items()})
    return ", ".join(parts.values())


def _split(row: str) -> list[str]:
    out, depth, current = [], 0, ""
    for char in row:
        depth += (char in "[{") - (char in "]}")
        if char == "," and not depth:
            out.append(current.strip())
            current = ""
        else:
            current += char
    return [*out, current.strip()]


def test_every_shipped_file_is_a_table_and_every_table_has_rows() -> None:
    assert {table_of(name) for name in FILES if name != "limits.toml"} == set(TABLES)


def test_shipped_reference_loads_with_a_digest_that_does_not_depend_on_file_names(reference: Reference) -> None:
    renamed = {(name if name != "codes-cn.toml" else "codes-aa.toml"): data for name, data in FILES.items()}
    assert len(reference.digest) == 64
    assert parse(renamed).digest == reference.digest
    assert parse(FILES) == reference


def test_any_changed_row_changes_the_digest(reference: Reference) -> None:
    assert overlaid("places", PLACE).digest != reference.digest
    assert parse(FILES, {"limits.toml": b"risk_score_max = 0.5"}).digest != reference.digest


def test_sound_rows_of_an_overlay_are_taken(reference: Reference) -> None:
    assert overlaid("places", PLACE).places["test-place"].country == "KZ"
    assert "CN-KZ-TEST" in overlaid("crossings", CROSSING).crossings
    assert overlaid("sides", SIDE).side_rows[-1].id == "test-side"
    assert "test" in overlaid("agreements", AGREEMENT).agreements
    assert "test-party" in overlaid("parties", PARTY).parties
    assert "XX" in overlaid("authorities", AUTHORITY).authorities
    assert ("GENERIC", "TEST") in overlaid("codes", changed(CODE, keeps="true")).codes


def test_an_overlay_replaces_a_row_by_its_id(reference: Reference) -> None:
    moved = overlaid("places", 'id = "duisburg", names = { en = "Elsewhere" }, country = "DE", kind = "hub", source = "D"')
    assert moved.places["duisburg"].lat is None
    assert len(moved.places) == len(reference.places)


def test_an_overlay_may_switch_on_what_is_off_by_default(reference: Reference) -> None:
    assert not reference.agreements["aeo-cn-kz"].enabled
    on = overlaid("agreements", 'id = "aeo-cn-kz", kind = "aeo_mra", parties = ["CN", "KZ"], in_force = "2019-11-01", source = "M?"')
    assert on.agreements["aeo-cn-kz"].enabled
    assert ("GENERIC", "TRUST-NAMED") not in reference.codes


REFUSALS: list[tuple[str, str, str]] = [
    ("places", changed(PLACE, source='"S999"'), "source"),
    ("places", changed(PLACE, source='"hearsay"'), "source"),
    ("places", changed(PLACE, source='""'), "source"),
    ("places", changed(PLACE, certainty='"sure"'), "certainty"),
    ("places", changed(PLACE, valid_from='"2025-13-01"'), "valid_from"),
    ("places", changed(PLACE, valid_from='"2025-02-01"', valid_to='"2025-02-01"'), "valid_to"),
    ("places", changed(PLACE, colour='"red"'), "colour"),
    ("places", changed(PLACE, lat="45.0"), "lon"),
    ("places", changed(PLACE, lat="4500000.0", lon="82.0", coordinate_source='"D"'), "lat"),
    ("places", changed(PLACE, lat="45.0", lon="182.0", coordinate_source='"D"'), "lon"),
    ("places", changed(PLACE, lat="45.0", lon="82.0"), "coordinate_source"),
    ("places", changed(PLACE, esr='"708508"'), "esr"),
    ("places", changed(PLACE, unlocode='"CNAKL"'), "unlocode"),
    ("places", changed(PLACE, gauge="[1000]"), "gauge"),
    ("places", changed(PLACE, country='"QQ"'), "country"),
    ("places", changed(PLACE, crossing='"CN-KZ-NOWHERE"'), "crossing"),
    ("places", changed(PLACE, crossing='"BY-PL-BREST-MALASZEWICZE"'), "crossing"),
    ("places", changed(PLACE, operator='"nobody"'), "operator"),
    ("places", changed(PLACE, operator='"terminal-dostyk"'), "operator"),
    ("places", changed(PLACE, zone='"Asia/Atlantis"'), "zone"),
    ("places", changed(PLACE, kind='"castle"'), "kind"),
    ("places", changed(PLACE, radius_km="0.0"), "radius_km"),
    ("places", changed(PLACE, id='"Big Station"'), "id"),
    ("crossings", changed(CROSSING, a='"nowhere"'), "a"),
    ("crossings", changed(CROSSING, b='"terespol"'), "b"),
    ("crossings", changed(CROSSING, b_authority='"EAEU"'), "b_authority"),
    ("crossings", changed(CROSSING, b_authority='"CN"'), "b_authority"),
    ("crossings", changed(CROSSING, customs_border="false"), "customs_border"),
    ("crossings", changed(CROSSING, gauge_a="1000"), "gauge_a"),
    ("crossings", changed(CROSSING, transload_west='"nowhere"'), "transload_west"),
    ("crossings", changed(CROSSING, offices='{ PL = "PLAAAAAA" }'), "offices"),
    ("crossings", changed(CROSSING, calendar='{ KZ = "sometimes" }'), "calendar.KZ"),
    ("crossings", changed(CROSSING, id='"alashankou"'), "id"),
    ("crossings", 'id = "BY-PL-TEST", names = { en = "T" }, a = "bruzgi", b = "kuznica", a_authority = "BY", b_authority = "PL", gauge_a = 1520,'
                  ' gauge_b = 1435, source = "D"', "a"),
    ("crossings", 'id = "KZ-RU-TEST", names = { en = "T" }, a = "almaty", b = "omsk", a_authority = "KZ", b_authority = "RU", gauge_a = 1520,'
                  ' gauge_b = 1520, source = "D"', "customs_border"),
    ("corridors", changed(CORRIDOR, places='["xian", "dostyk"]'), "crossings"),
    ("corridors", changed(CORRIDOR, places='["dostyk", "alashankou"]'), "crossings"),
    ("corridors", changed(CORRIDOR, places='["xian", "alashankou", "dostyk", "nowhere"]'), "places"),
    ("corridors", changed(CORRIDOR, places='["alashankou", "dostyk", "moscow"]'), "crossings"),
    ("corridors", changed(CORRIDOR, places='["xian", "alashankou", "dostyk", "xian"]'), "places"),
    ("corridors", changed(CORRIDOR, places='["alashankou", "dostyk"]', origins='["xian"]'), "origins"),
    ("corridors", changed(CORRIDOR, places='["alashankou", "dostyk"]', feeders='{ xian = ["xian", "urumqi"] }'), "feeders.xian"),
    ("sides", changed(SIDE, decision="[]"), "decision"),
    ("sides", changed(SIDE, decision='["registered:pi"]'), "decision"),
    ("sides", changed(SIDE, decision='["released:import"]'), "decision"),
    ("sides", changed(SIDE, by='{ td = "EAEU" }'), "by"),
    ("sides", changed(SIDE, by='{ pi = "NATO" }'), "by"),
    ("sides", changed(SIDE, release='[["released:magic"], ["released:td"]]'), "release"),
    ("sides", changed(SIDE, release='[["sealed"], ["released:td"]]'), "release"),
    ("sides", changed(SIDE, not_observed='["released:td"]'), "not_observed"),
    ("sides", changed(SIDE, not_observed='["presented"]'), "not_observed"),
    ("sides", changed(SIDE, kind='"TERRITORY"'), "release"),
    ("sides", changed(SIDE, kind='"MIDDLE"'), "kind"),
    ("sides", changed(SIDE, union='"EAEU"'), "union"),
    ("sides", changed(SIDE, authority='"EU"'), "authority"),
    ("sides", changed(SIDE, crossing='"CN-KZ-NOWHERE"'), "crossing"),
    ("sides", changed(SIDE, chains='["rope"]'), "chains"),
    ("sides", changed(SIDE, per_visit='["magic"]'), "per_visit"),
    ("sides", changed(SIDE, procedure='"smuggling"'), "procedure"),
    ("sides", changed(SIDE, office_role='"departure"'), "office_role"),
    ("sides", changed(SIDE, filings=f'[{{ {changed(FILING, kind=chr(34) + "magic" + chr(34))} }}]'), "filings.magic"),
    ("sides", changed(SIDE, filings=f"[{{ {FILING}, lead_minutes = 120 }}]"), "filings.pi.clock_ref"),
    ("sides", changed(SIDE, filings=f'[{{ {FILING}, lead_minutes = 120, clock_ref = "tea_time" }}]'), "filings.pi.clock_ref"),
    ("sides", changed(SIDE, filings=f'[{{ {FILING}, lead_minutes = 60, lead_minutes_short = 120, clock_ref = "unloading" }}]'),
     "filings.pi.lead_minutes_short"),
    ("sides", changed(SIDE, filings=f'[{{ {FILING}, system = "FAX" }}]'), "filings.pi.system"),
    ("sides", changed(SIDE, filings=f"[{{ {FILING}, validity_days = 0 }}]"), "filings.pi.validity_days"),
    ("sides", changed(SIDE, filings=f'[{{ {FILING}, before = "td" }}]'), "filings.pi.before"),
    ("sides", changed(SIDE, filings=f'[{{ {FILING}, before = "pi" }}]'), "filings.pi.before"),
    ("sides", changed(SIDE, filings=f"[{{ {FILING}, answer_minutes = 0 }}]"), "filings.pi.answer_minutes"),
    ("sides", changed(SIDE, filings=f'[{{ {FILING}, role = "anybody" }}]'), "filings.pi.role"),
    ("sides", changed(SIDE, filings=f"[{{ {FILING} }}, {{ {FILING} }}]"), "filings.pi"),
    ("sides", changed(SIDE, filings='[{ kind = "pi", source = "S0" }]'), "filings.pi.source"),
    ("agreements", changed(AGREEMENT, parties='["CN"]'), "parties"),
    ("agreements", changed(AGREEMENT, parties='["CN", "JP"]'), "parties"),
    ("agreements", changed(AGREEMENT, in_force='""'), "in_force"),
    ("agreements", changed(AGREEMENT, in_force='"soon"'), "in_force"),
    ("agreements", changed(AGREEMENT, kind='"friendship"'), "kind"),
    ("agreements", changed(AGREEMENT, scope='["gossip"]'), "scope"),
    ("agreements", changed(AGREEMENT, routes='["NOWHERE"]'), "routes"),
    ("agreements", changed(AGREEMENT, auto_release='["everything"]'), "auto_release"),
    ("codes", CODE, "facts"),
    ("codes", changed(CODE, system='"RUMOUR"', keeps="true"), "system"),
    ("codes", changed(CODE, keeps="true", document_kind='"magic"'), "document_kind"),
    ("codes", changed(CODE, keeps="true", facts='[{ key = ["presented", "{visit}"] }]'), "keeps"),
    ("codes", changed(CODE, facts='[{ key = ["doc", "{kind}", "{number}", "blessed"] }]'), "facts[0].key"),
    ("codes", changed(CODE, facts='[{ key = ["doc", "{kind}", "1234", "released"] }]'), "facts[0].key"),
    ("codes", changed(CODE, facts='[{ key = ["demand", "wish", "{subject}", "{reference}", "opened"] }]'), "facts[0].key"),
    ("codes", changed(CODE, facts='[{ key = ["state", "RELEASED"] }]'), "facts[0].key"),
    ("codes", changed(CODE, facts='[{ key = ["presented", "{visit}"], when = "mood:good" }]'), "facts[0].when"),
    ("codes", changed(CODE, facts='[{ key = ["presented", "{visit}"], side = "inside" }]'), "facts[0].side"),
    ("parties", changed(PARTY, role='"wizard"'), "role"),
    ("parties", changed(PARTY, places='["nowhere"]'), "places"),
    ("parties", changed(PARTY, id='"Big Party"'), "id"),
    ("authorities", changed(AUTHORITY, zone='""'), "zone"),
    ("authorities", changed(AUTHORITY, union='"NATO"'), "union"),
    ("authorities", changed(AUTHORITY, code='"EAEU"'), "code"),
    ("authorities", changed(AUTHORITY, holidays='"KZ"'), "holidays"),
    ("authorities", changed(AUTHORITY, transit='["ROAD"]'), "transit"),
    ("authorities", changed(AUTHORITY, systems='["FAX"]'), "systems"),
    ("authorities", changed(AUTHORITY, office_pattern='"["'), "office_pattern"),
    ("speeds", 'country = "KZ", km_per_hour_p10 = 60.0, km_per_hour_p50 = 50.0, km_per_hour_p90 = 70.0, source = "D"', "km_per_hour_p50"),
    ("speeds", 'country = "QQ", km_per_hour_p10 = 40.0, km_per_hour_p50 = 50.0, km_per_hour_p90 = 70.0, source = "D"', "country"),
    ("dwells", 'crossing = "CN-KZ-NOWHERE", direction = "west", hours_p10 = 1.0, hours_p50 = 2.0, hours_p90 = 3.0, source = "D"', "crossing"),
    ("dwells", 'crossing = "CN-KZ-ALASHANKOU-DOSTYK", direction = "up", hours_p10 = 1.0, hours_p50 = 2.0, hours_p90 = 3.0, source = "D"', "direction"),
    ("risks", 'risk_class = "drugs", kind = "cas", value = "108-24-8", source = "D"', "value"),
    ("risks", 'risk_class = "drugs", kind = "hs", value = "29.15", source = "D"', "value"),
    ("risks", 'risk_class = "drugs", kind = "un", value = "12345", source = "D"', "value"),
    ("risks", 'risk_class = "sloth", kind = "hs", value = "2915", source = "D"', "risk_class"),
    ("duty", 'authority = "KZ", phone = "+000", hours = "whenever", source = "D"', "hours"),
    ("duty", 'authority = "QQ", phone = "+000", source = "D"', "authority"),
    ("mapped", 'list = "office", code = "KZ:KZAAAAAA", means = "nowhere", source = "D"', "means"),
    ("mapped", 'list = "delay_cause", code = "X", means = "", source = "D"', "means"),
]


@pytest.mark.parametrize(("table", "row", "field"), REFUSALS, ids=[f"{t}-{f}-{i}" for i, (t, _, f) in enumerate(REFUSALS)])
def test_loader_refuses_and_names_file_row_and_field(table: str, row: str, field: str) -> None:
    with pytest.raises(ReferenceRefused) as caught:
        overlaid(table, row)
    assert caught.value.file == f"{table}.toml"
    assert caught.value.row
    assert caught.value.field == field
    assert caught.value.reason


UNSURE = b'rows = [ { id = "x", kind = "gtt", parties = ["CN", "RU"], in_force = "2020-01-01", source = "M?" } ]'
TWICE = b'rows = [ { id = "dostyk", names = { en = "D" }, country = "KZ", source = "D" } ]'
SHIPPED_REFUSALS: list[tuple[str, Callable[[dict[str, bytes]], dict[str, bytes]], str]] = [
    ("an unsure row that is on", lambda f: {**f, "agreements-x.toml": UNSURE}, "enabled"),
    ("an id given twice", lambda f: {**f, "places-x.toml": TWICE}, "id"),
    ("an unknown file", lambda f: {**f, "castles.toml": b"rows = []"}, ""),
    ("what is no TOML", lambda f: {**f, "places-x.toml": b"rows = ["}, ""),
    ("a file without rows", lambda f: {**f, "places-x.toml": b"places = []"}, "places"),
    ("no version", lambda f: {**f, "limits.toml": b"risk_score_max = 0.5"}, "version"),
    ("an unknown limit", lambda f: {**f, "limits.toml": b'version = "1"\nspeed_of_light = 1'}, ""),
    ("a crossing taken away", lambda f: {**f, "crossings.toml": f["crossings.toml"].replace(b'"KZ-UZ-SARYAGASH-KELES"', b'"KZ-UZ-OTHER"')}, "crossing"),
]


@pytest.mark.parametrize(("change", "field"), [(c, f) for _, c, f in SHIPPED_REFUSALS], ids=[n for n, _, _ in SHIPPED_REFUSALS])
def test_loader_refuses_a_damaged_package(change: Callable[[dict[str, bytes]], dict[str, bytes]], field: str) -> None:
    with pytest.raises(ReferenceRefused) as caught:
        parse(change(FILES))
    assert caught.value.field == field or not field


def test_overlay_directory_is_read_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "parties.toml").write_text(f"rows = [ {{ {PARTY} }} ]", encoding="utf-8")
    assert "test-party" in load(tmp_path).parties
    assert overlay(None) == {}
    with pytest.raises(NotADirectoryError):
        load(tmp_path / "missing")
