"""Which row a box takes: by procedure also where goods come by sea, as an empty only when nothing says that it is loaded."""
from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from streams.assess import assess
from streams.reference.model import Reference
from streams.reference.parse import parse
from tests.streams.border_world import BOX, PL_ENTRY, T0, bound, box, doc, eta, lodged, presence, shipment
from topics.events.outputs import ClearanceUpdate
from topics.facts import HOUR, Fact, Rank, merge

ROWS = Path(__file__).resolve().parents[2] / "streams" / "reference"
SEA = "GE-RO-POTI-CONSTANTA"
CONSTANTA = f"{SEA}:RO:ENTRY"
CN_EXIT = "CN-KZ-ALASHANKOU-DOSTYK:CN:EXIT"


@functools.cache
def shipped() -> Reference:
    return parse({f.name: f.read_bytes() for f in sorted(ROWS.glob("*.toml"))})


def side(facts: list[Fact], name: str, now: int) -> ClearanceUpdate:
    found = assess("S1", list(merge({}, facts).values()), shipped(), (), now, "pack")
    return next(u for u in found.updates if u.side == name)


def empty(**more: Any) -> dict[str, Any]:
    return {**box(), "empty": True, "goods": [], "gross_kg": 3_800.0, **more}


def by_sea(**more: Any) -> list[Fact]:
    return [shipment(corridor="", crossings=[SEA], enrolments=[], **more), bound()]


def test_import_by_sea_needs_temporary_storage() -> None:
    facts = [*by_sea(procedures={"RO": "import"}), doc(CONSTANTA, "ens", "E1", "registered", T0, "RO"),
             presence(CONSTANTA, "presented", T0 + 5 * HOUR, source="RO", rank=Rank.AUTHORITY), doc(CONSTANTA, "import", "I1", "released", T0 + 6 * HOUR, "RO")]
    said = side(facts, CONSTANTA, T0 + 7 * HOUR)
    assert said.state == "ARRIVED"
    assert "registered:temporary_storage" in said.missing_release
    stored = [*facts, doc(CONSTANTA, "temporary_storage", "V1", "registered", T0 + 5 * HOUR, "RO")]
    assert side(stored, CONSTANTA, T0 + 7 * HOUR).state == "RELEASED"


def test_no_entry_summary_is_asked_for_empties_by_sea() -> None:
    said = side([*by_sea(procedures={}, containers=[empty()]), eta(CONSTANTA, T0 + 50 * HOUR)], CONSTANTA, T0)
    assert not said.missing_filings
    loaded = side([*by_sea(procedures={}), eta(CONSTANTA, T0 + 50 * HOUR)], CONSTANTA, T0)
    assert loaded.missing_filings == ("ens",)


def leaving(*more: Fact, **of_box: Any) -> list[Fact]:
    return [shipment(corridor="WEST-A", enrolments=[], containers=[empty(**of_box)]), bound(), *more,
            Fact(side=CN_EXIT, key=("run",), at=T0, source="trains", rank=Rank.RAILWAY, scope=BOX, value="R1"),
            doc(CN_EXIT, "conveyance", "R1", "released", T0 + HOUR, "CN", scope=BOX), presence(CN_EXIT, "seen", T0)]


def scale(kg: float) -> Fact:
    return Fact(side="*", key=("mass", "alashankou"), at=T0, source="term", rank=Rank.TERMINAL, scope=BOX, value={"gross_kg": kg})


def test_a_box_declared_empty_leaves_with_its_train() -> None:
    assert side(leaving(scale(3_900.0)), CN_EXIT, T0 + 2 * HOUR).state == "RELEASED"


def test_a_box_declared_empty_that_weighs_too_much_takes_the_row_of_loaded_ones() -> None:
    for facts in (leaving(scale(27_000.0)), leaving(gross_kg=27_000.0)):
        said = side(facts, CN_EXIT, T0 + 2 * HOUR)
        assert said.state == "ARRIVED"
        assert not said.movable
        assert "released:declaration" in said.missing_release


def test_a_box_declared_empty_of_which_a_filing_states_goods_takes_the_row_of_loaded_ones() -> None:
    stated = lodged("manifest", "M1", "CN", T0, containers=[box()])
    assert side(leaving(stated), CN_EXIT, T0 + 2 * HOUR).state == "ARRIVED"
    bare = lodged("manifest", "M1", "CN", T0, containers=[box(goods=[])])
    assert side(leaving(bare), CN_EXIT, T0 + 2 * HOUR).state == "RELEASED"


def at_terespol(*more: Fact) -> list[Fact]:
    return [shipment(corridor="WEST-A", enrolments=[], procedures={"PL": "transit"}), bound(), doc(PL_ENTRY, "ens", "E1", "registered", T0, "PL"),
            presence(PL_ENTRY, "presented", T0 + 5 * HOUR, source="PL", rank=Rank.AUTHORITY), *more]


def test_transit_after_presentation_is_late_only_when_the_goods_have_moved_on() -> None:
    def timing(*more: Fact) -> str:
        return next(f.timing for f in side(at_terespol(*more), PL_ENTRY, T0 + 40 * HOUR).filings if f.kind == "transit")

    opened = doc(PL_ENTRY, "transit", "T1", "registered", T0 + 8 * HOUR, "PL")
    assert timing() == "open"
    assert timing(opened) == ""
    assert timing(opened, presence(PL_ENTRY, "departed", T0 + 9 * HOUR)) == "in_time"
    assert timing(opened, presence(PL_ENTRY, "departed", T0 + 7 * HOUR)) == "late"
