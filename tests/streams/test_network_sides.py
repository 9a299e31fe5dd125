"""Sides of routes, both ways, and the rows and rules they take."""
from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from agents.reference import load
from streams.network.sides import (
    SideSpec,
    UnknownCrossing,
    crossings_of,
    in_force,
    members_of,
    route_sides,
    side_row,
    side_rules,
    valid_on,
    waived_kinds,
)
from streams.reference.model import Agreement, Reference, SideRow

AT = int(datetime(2026, 5, 4, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def reference() -> Reference:
    return load()


def sides(reference: Reference, corridor: str, direction: str = "west", *offices: str) -> tuple[SideSpec, ...]:
    return route_sides(reference, crossings_of(reference.corridors[corridor], direction), direction, offices)


def told(specs: tuple[SideSpec, ...]) -> str:
    """Customs borders of a route as the domain reference writes them."""
    return " ".join(f"{s.authority}:{s.kind}" for s in specs if s.customs_border and s.kind in ("EXIT", "ENTRY"))


WESTWARDS = {
    "WEST-A": "CN:EXIT KZ:ENTRY BY:EXIT PL:ENTRY",
    "WEST-K": "CN:EXIT KZ:ENTRY BY:EXIT PL:ENTRY",
    "CENTRAL": "CN:EXIT MN:ENTRY MN:EXIT RU:ENTRY BY:EXIT PL:ENTRY",
    "EAST-M": "CN:EXIT RU:ENTRY BY:EXIT PL:ENTRY",
    "EAST-S": "CN:EXIT RU:ENTRY BY:EXIT PL:ENTRY",
    "EAST-T": "CN:EXIT RU:ENTRY BY:EXIT PL:ENTRY",
    "KALININGRAD": "CN:EXIT KZ:ENTRY BY:EXIT LT:ENTRY LT:EXIT RU:ENTRY RU:EXIT PL:ENTRY",
    "MIDDLE-AKTAU": "CN:EXIT KZ:ENTRY KZ:EXIT AZ:ENTRY AZ:EXIT GE:ENTRY GE:EXIT RO:ENTRY",
    "MIDDLE-KURYK": "CN:EXIT KZ:ENTRY KZ:EXIT AZ:ENTRY AZ:EXIT GE:ENTRY GE:EXIT BG:ENTRY",
    "MIDDLE-VARNA": "CN:EXIT KZ:ENTRY KZ:EXIT AZ:ENTRY AZ:EXIT GE:ENTRY GE:EXIT BG:ENTRY",
    "MIDDLE-BATUMI": "CN:EXIT KZ:ENTRY KZ:EXIT AZ:ENTRY AZ:EXIT GE:ENTRY GE:EXIT BG:ENTRY",
    "MIDDLE-BTK": "CN:EXIT KZ:ENTRY KZ:EXIT AZ:ENTRY AZ:EXIT GE:ENTRY GE:EXIT TR:ENTRY TR:EXIT BG:ENTRY",
    "CENTRAL-ASIA": "CN:EXIT KZ:ENTRY KZ:EXIT UZ:ENTRY",
}
SWAPPED = {"EXIT": "ENTRY", "ENTRY": "EXIT"}


def test_every_corridor_is_listed_here(reference: Reference) -> None:
    assert set(WESTWARDS) == set(reference.corridors)


@pytest.mark.parametrize("corridor", sorted(WESTWARDS))
def test_corridor_passes_its_sides_westwards(reference: Reference, corridor: str) -> None:
    assert told(sides(reference, corridor)) == WESTWARDS[corridor]


@pytest.mark.parametrize("corridor", sorted(WESTWARDS))
def test_eastwards_the_order_turns_and_exit_and_entry_swap(reference: Reference, corridor: str) -> None:
    turned = [f"{a}:{SWAPPED[k]}" for a, k in (s.split(":") for s in reversed(WESTWARDS[corridor].split()))]
    assert told(sides(reference, corridor, "east")) == " ".join(turned)


def test_order_counts_up_and_ids_are_unique_and_no_authority_is_a_union(reference: Reference) -> None:
    for corridor in reference.corridors:
        for direction in ("west", "east"):
            specs = sides(reference, corridor, direction)
            assert [s.order for s in specs] == list(range(len(specs)))
            assert len({s.id for s in specs}) == len(specs)
            assert not {s.authority for s in specs} & {"EU", "EAEU"}


def test_ids_are_crossing_authority_kind(reference: Reference) -> None:
    first = sides(reference, "WEST-A")[0]
    assert first.id == "CN-KZ-ALASHANKOU-DOSTYK:CN:EXIT"
    assert first.place == "alashankou"


def test_inner_borders_are_there_but_no_customs_border(reference: Reference) -> None:
    inner = [s.id for s in sides(reference, "WEST-A") if not s.customs_border]
    assert "KZ-RU-ZHAISAN-ILETSK:RU:ENTRY" in inner
    assert "RU-BY-KRASNOYE-OSINOVKA:BY:ENTRY" in inner


def test_russia_is_a_territory_after_iletsk_and_only_where_it_is_crossed(reference: Reference) -> None:
    ids = [s.id for s in sides(reference, "WEST-A")]
    assert ids.index("RU:TERRITORY") == ids.index("KZ-RU-ZHAISAN-ILETSK:RU:ENTRY") + 1
    eastwards = [s.id for s in sides(reference, "WEST-A", "east")]
    assert eastwards.index("RU:TERRITORY") == eastwards.index("RU-BY-KRASNOYE-OSINOVKA:RU:ENTRY") + 1
    assert "RU:TERRITORY" not in [s.id for s in sides(reference, "CENTRAL-ASIA")]
    crossings = crossings_of(reference.corridors["WEST-A"], "west")
    assert [s.id for s in route_sides(reference, crossings, "west", (), ("BY",)) if s.kind == "TERRITORY"] == ["BY:TERRITORY"]


def test_offices_stand_where_the_route_passes_them(reference: Reference) -> None:
    specs = sides(reference, "WEST-A", "west", "CN:CNXIANXX", "PL:PLMALASZ", "DE:DEDUISBU", "KZ:KZALMATY")
    offices = {s.id: s for s in specs if s.kind == "OFFICE"}
    assert specs[0].id == "CNXIANXX:CN:OFFICE"
    assert (offices["CNXIANXX:CN:OFFICE"].office_role, offices["CNXIANXX:CN:OFFICE"].place) == ("departure", "xian")
    assert offices["PLMALASZ:PL:OFFICE"].office_role == "departure"
    assert offices["DEDUISBU:DE:OFFICE"].office_role == "destination"
    assert offices["KZALMATY:KZ:OFFICE"].office_role == "inland"
    ids = [s.id for s in specs]
    assert ids.index("PLMALASZ:PL:OFFICE") == ids.index("BY-PL-BREST-MALASZEWICZE:PL:ENTRY") + 1
    assert ids[-1] == "DEDUISBU:DE:OFFICE"


def test_an_office_that_is_not_known_has_no_place(reference: Reference) -> None:
    specs = sides(reference, "WEST-A", "west", "DE:DE004851:destination")
    assert (specs[-1].office, specs[-1].place, specs[-1].office_role) == ("DE004851", "", "destination")


def test_a_crossing_that_is_not_known_is_refused(reference: Reference) -> None:
    with pytest.raises(UnknownCrossing):
        route_sides(reference, ["CN-KZ-NOWHERE"], "west")


def spec_of(reference: Reference, corridor: str, id: str, direction: str = "west") -> SideSpec:
    return next(s for s in sides(reference, corridor, direction) if s.id == id)


def row_id(reference: Reference, spec: SideSpec, procedure: str, direction: str = "west") -> str:
    row = side_row(reference, spec, direction, procedure, AT)
    assert row is not None
    return row.id


def test_the_most_specific_row_is_taken(reference: Reference) -> None:
    dostyk = spec_of(reference, "WEST-A", "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY")
    terespol = spec_of(reference, "WEST-A", "BY-PL-BREST-MALASZEWICZE:PL:ENTRY")
    naushki = spec_of(reference, "CENTRAL", "MN-RU-SUKHBAATAR-NAUSHKI:RU:ENTRY")
    keles = spec_of(reference, "CENTRAL-ASIA", "KZ-UZ-SARYAGASH-KELES:UZ:ENTRY")
    constanta = spec_of(reference, "MIDDLE-AKTAU", "GE-RO-POTI-CONSTANTA:RO:ENTRY")
    assert row_id(reference, dostyk, "transit") == "kz-entry-cn-transit"
    assert row_id(reference, dostyk, "undecided") == "kz-entry-cn"
    assert row_id(reference, naushki, "transit") == "eaeu-entry-transit"
    assert row_id(reference, terespol, "undecided") == "eu-entry"
    assert row_id(reference, terespol, "import") == "eu-entry-import"
    assert row_id(reference, keles, "transit") == "others-entry"
    assert row_id(reference, constanta, "transit") == "eu-entry-sea-ge-ro-poti-constanta-transit"
    assert row_id(reference, constanta, "undecided") == "eu-entry-sea-ge-ro-poti-constanta"
    assert row_id(reference, spec_of(reference, "WEST-A", "RU:TERRITORY"), "") == "eaeu-territory"


def test_undecided_takes_all_alternatives_and_a_decided_procedure_one(reference: Reference) -> None:
    terespol = spec_of(reference, "WEST-A", "BY-PL-BREST-MALASZEWICZE:PL:ENTRY")
    undecided, decided = side_row(reference, terespol, "west", "undecided", AT), side_row(reference, terespol, "west", "import", AT)
    assert undecided is not None
    assert decided is not None
    assert set(undecided.decision) == {"released:transit", "released:tir", "released:import", "released:warehouse"}
    assert decided.decision == ("released:import",)


def test_rows_out_of_date_are_passed_over(reference: Reference) -> None:
    dostyk = spec_of(reference, "WEST-A", "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY")
    rows = tuple(msgspec.structs.replace(r, valid_to="2026-01-01") if r.id == "kz-entry-cn-transit" else r for r in reference.side_rows)
    assert row_id(msgspec.structs.replace(reference, side_rows=rows), dostyk, "transit") == "kz-entry-cn"


def test_the_first_day_of_a_validity_counts_and_the_last_is_left_out(reference: Reference) -> None:
    row = next(r for r in reference.side_rows if r.id == "eu-entry")
    dated = msgspec.structs.replace(row, valid_from="2026-05-04", valid_to="2026-06-01")
    assert [valid_on(dated, day) for day in ("2026-05-03", "2026-05-04", "2026-05-31", "2026-06-01")] == [False, True, True, False]


def test_every_side_of_every_corridor_gets_rules(reference: Reference) -> None:
    for corridor in reference.corridors:
        for direction in ("west", "east"):
            for spec in sides(reference, corridor, direction):
                for procedure in ("transit", "import", "warehouse", "export", "undecided", "empty"):
                    row = side_row(reference, spec, direction, procedure, AT)
                    rules = side_rules(reference, spec, row)
                    assert rules.authority == spec.authority
                    assert rules.demands_only or rules.decision, (spec.id, procedure)
                    assert rules.decision == frozenset() or any(rules.decision <= g for g in rules.release)


def test_rules_have_no_filing_of_a_facilitation_and_expand_the_union(reference: Reference) -> None:
    exit_ = spec_of(reference, "WEST-A", "CN-KZ-ALASHANKOU-DOSTYK:CN:EXIT")
    rules = side_rules(reference, exit_, side_row(reference, exit_, "west", "export", AT))
    assert "gtt" not in rules.filings
    assert rules.chains == ("customs_lock",)
    brest = spec_of(reference, "WEST-A", "BY-PL-BREST-MALASZEWICZE:BY:EXIT")
    left = side_rules(reference, brest, side_row(reference, brest, "west", "transit", AT))
    assert left.by["td"] >= {"KZ", "RU", "BY", "KG"}
    assert "PL" not in left.by["td"]
    assert members_of(reference, "CTC") >= {"PL", "DE", "TR", "GE"}


def test_waived_filings_leave_filings_and_groups_but_never_the_decision(reference: Reference) -> None:
    dostyk = spec_of(reference, "WEST-A", "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY")
    row = side_row(reference, dostyk, "west", "undecided", AT)
    assert row is not None
    assert waived_kinds(row, ["import"]) == {"td"}
    rules = side_rules(reference, dostyk, row, waived=["pi", "td"])
    assert rules.filings == {}
    assert frozenset({"registered:pi"}) not in rules.release
    assert "released:td" in rules.decision
    assert any("released:td" in g for g in rules.release)


def test_auto_release_comes_only_from_an_agreement_of_this_authority(reference: Reference) -> None:
    dostyk = spec_of(reference, "WEST-A", "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY")
    terespol = spec_of(reference, "WEST-A", "BY-PL-BREST-MALASZEWICZE:PL:ENTRY")
    granted = msgspec.structs.replace(reference.agreements["gtt-cn-kz"], auto_release=("released:td",))
    row = side_row(reference, dostyk, "west", "transit", AT)
    assert side_rules(reference, dostyk, row, [granted]).auto_release == {"released:td"}
    assert side_rules(reference, dostyk, row, [reference.agreements["gtt-cn-kz"]]).auto_release == frozenset()
    assert side_rules(reference, terespol, side_row(reference, terespol, "west", "transit", AT), [granted]).auto_release == frozenset()


def test_filers_of_record_may_present_only_where_the_row_says(reference: Reference) -> None:
    out = spec_of(reference, "WEST-A", "BY-PL-BREST-MALASZEWICZE:PL:EXIT", "east")
    row = side_row(reference, out, "east", "export", AT)
    assert side_rules(reference, out, row, filers={"export": ["forwarder-beta"]}).presenters == {"forwarder-beta"}
    dostyk = spec_of(reference, "WEST-A", "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY")
    entry: SideRow | None = side_row(reference, dostyk, "west", "transit", AT)
    assert side_rules(reference, dostyk, entry, filers={"pi": ["forwarder-beta"]}).presenters == frozenset()


def test_an_agreement_is_in_force_between_its_dates_and_not_while_suspended(reference: Reference) -> None:
    gtt: Agreement = reference.agreements["gtt-cn-kz"]
    assert in_force(gtt, AT)
    assert not in_force(gtt, int(datetime(2018, 11, 14, tzinfo=UTC).timestamp()) * 1_000_000)
    assert not in_force(msgspec.structs.replace(gtt, suspended=True), AT)
    assert not in_force(msgspec.structs.replace(gtt, valid_to="2019-01-01"), AT)
    assert not in_force(reference.agreements["aeo-cn-kz"], AT)
