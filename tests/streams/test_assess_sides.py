"""On which sides a word counts: what stops goods counts somewhere, what frees them counts only where it says."""
from __future__ import annotations

import functools
import random
from pathlib import Path

import pytest

from streams.assess import Assessment, Previous, assess
from streams.reference.model import Reference
from streams.reference.parse import parse
from tests.streams.border_world import BOX, KZ_ENTRY, OTHER_BOX, T0, box, demand, doc, lodged, presence, reference, shipment
from topics.events.outputs import ClearanceUpdate
from topics.facts import HOUR, Fact, Facts, Rank, merge

ROWS = Path(__file__).resolve().parents[2] / "streams" / "reference"
KHORGOS = "CN-KZ-KHORGOS-ALTYNKOL:KZ:ENTRY"
AKTAU = "KZ-AZ-AKTAU-ALAT:KZ:EXIT"
ALAT = "KZ-AZ-AKTAU-ALAT:AZ:ENTRY"
GEORGIA = "AZ-GE-BOYUKKESIK-GARDABANI:AZ:EXIT"
ZABAIKALSK = "CN-RU-MANZHOULI-ZABAIKALSK:RU:ENTRY"


@functools.cache
def shipped() -> Reference:
    return parse({f.name: f.read_bytes() for f in sorted(ROWS.glob("*.toml"))})


def bound() -> Fact:
    return Fact(side="*", key=("bound",), at=T0, source="fwd", rank=Rank.FORWARDER, scope=BOX, id="bound", value={"since": T0, "empty": False})


def whole(facts: list[Fact], now: int, rows: Reference | None = None) -> Assessment:
    return assess("S1", list(merge({}, facts).values()), rows or reference(), (), now, "pack")


def side(facts: list[Fact], name: str, now: int, rows: Reference | None = None) -> ClearanceUpdate:
    return next(u for u in whole(facts, now, rows).updates if u.side == name)


def released_at_dostyk() -> list[Fact]:
    return [
        shipment(enrolments=[]), bound(), doc(KZ_ENTRY, "pi", "P1", "registered", T0, "KZ"),
        presence(KZ_ENTRY, "presented", T0 + HOUR, source="term", rank=Rank.TERMINAL), doc(KZ_ENTRY, "td", "T1", "released", T0 + 2 * HOUR, "KZ")]


def released_at_khorgos() -> list[Fact]:
    return [
        shipment(corridor="MIDDLE-AKTAU", enrolments=[]), bound(), doc(KHORGOS, "pi", "P1", "registered", T0, "KZ"),
        presence(KHORGOS, "presented", T0 + HOUR, source="KZ", rank=Rank.AUTHORITY), doc(KHORGOS, "td", "T1", "released", T0 + 2 * HOUR, "KZ")]


def agency(phase: str, at: int, name: str = "@KZ", source: str = "agency-kz-veterinary") -> Fact:
    return Fact(side=name, key=("agency", "veterinary", "hold", "V1", phase), at=at, source=source, scope=BOX, id=f"v-{phase}", value=True)


# --- what stops goods ------------------------------------------------------------------------------------------------


def test_a_later_notice_from_an_unknown_office_does_not_undo_a_hold() -> None:
    held = [*released_at_dostyk(), demand("@KZ", "hold", "H1", "opened", T0 + 3 * HOUR, "KZ", scope=BOX)]
    assert side(held, KZ_ENTRY, T0 + 4 * HOUR).state == "HELD"
    more = [*held, doc("@KZ/office/57505", "td", "T1", "registered", T0 + 4 * HOUR, "KZ")]
    assert side(more, KZ_ENTRY, T0 + 5 * HOUR).state == "HELD"
    assert not side(more, KZ_ENTRY, T0 + 5 * HOUR).movable


def test_a_hold_from_an_office_that_the_network_does_not_know_stops_the_goods_at_the_post() -> None:
    assert side(released_at_dostyk(), KZ_ENTRY, T0 + 4 * HOUR).movable
    held = [*released_at_dostyk(), demand("@KZ/office/57505", "hold", "H1", "opened", T0 + 3 * HOUR, "KZ", scope=BOX)]
    said = side(held, KZ_ENTRY, T0 + 4 * HOUR)
    assert said.state == "HELD"
    assert not said.movable
    assert "SIDE_AMBIGUOUS" in {f.code for f in said.findings}
    lifted = [*held, demand("@KZ/office/57505", "hold", "H1", "closed", T0 + 5 * HOUR, "KZ", scope=BOX)]
    assert side(lifted, KZ_ENTRY, T0 + 6 * HOUR).movable


def test_a_hold_without_a_side_counts_at_every_side_until_it_is_lifted() -> None:
    rows, now = shipped(), T0 + 6 * HOUR
    assert side(released_at_khorgos(), KHORGOS, now, rows).movable
    held = [*released_at_khorgos(), demand("@KZ", "hold", "H1", "opened", T0 + 3 * HOUR, "KZ", scope=BOX)]
    for name in (KHORGOS, AKTAU):
        assert side(held, name, now, rows).state == "HELD"
        assert not side(held, name, now, rows).movable
    for where in ("@KZ", KHORGOS):
        lifted = [*held, demand(where, "hold", "H1", "closed", T0 + 4 * HOUR, "KZ", scope=BOX)]
        assert side(lifted, KHORGOS, now, rows).movable
        assert side(lifted, AKTAU, now, rows).state != "HELD"
        assert "SIDE_AMBIGUOUS" not in side(lifted, KHORGOS, now, rows).flags


def test_a_lift_without_a_side_and_without_reference_does_not_lift_the_hold_of_one_side() -> None:
    rows, now = shipped(), T0 + 6 * HOUR
    held = [*released_at_khorgos(), demand(KHORGOS, "hold", "", "opened", T0 + 3 * HOUR, "KZ", scope=BOX)]
    assert side([*held, demand("@KZ", "hold", "", "closed", T0 + 4 * HOUR, "KZ", scope=BOX)], KHORGOS, now, rows).state == "HELD"
    both = [*held, demand("@KZ", "hold", "", "opened", T0 + 3 * HOUR, "KZ", scope=BOX), demand("@KZ", "hold", "", "closed", T0 + 4 * HOUR, "KZ", scope=BOX)]
    assert side(both, KHORGOS, now, rows).state == "HELD"
    nowhere = [*released_at_khorgos(), *both[-2:]]
    assert side(nowhere, KHORGOS, now, rows).movable


def test_another_agency_s_hold_without_a_crossing_keeps_the_goods_at_every_side() -> None:
    rows, now = shipped(), T0 + 6 * HOUR
    held = [*released_at_khorgos(), agency("opened", T0 + 3 * HOUR)]
    said = side(held, KHORGOS, now, rows)
    assert said.state == "RELEASED"
    assert not said.movable
    assert said.blocked_by
    assert side([*held, agency("closed", T0 + 4 * HOUR)], KHORGOS, now, rows).movable


# --- on the territory ------------------------------------------------------------------------------------------------


def through_russia() -> list[Fact]:
    return [
        shipment(corridor="EAST-M", enrolments=[], procedures={}), bound(), doc(ZABAIKALSK, "pi", "P1", "registered", T0 - 5 * HOUR, "RU"),
        presence(ZABAIKALSK, "presented", T0, source="RU", rank=Rank.AUTHORITY), doc(ZABAIKALSK, "td", "T1", "released", T0 + HOUR, "RU"),
        presence(ZABAIKALSK, "departed", T0 + 2 * HOUR)]


def test_a_hold_after_the_entry_post_was_left_stops_the_goods_on_the_territory() -> None:
    rows, now = shipped(), T0 + 80 * HOUR
    assert side(through_russia(), "RU:TERRITORY", now, rows).movable
    held = [*through_russia(), demand("@RU", "hold", "H1", "opened", T0 + 70 * HOUR, "RU", scope=BOX)]
    assert side(held, "RU:TERRITORY", now, rows).state == "HELD"
    assert not side(held, "BY-PL-BREST-MALASZEWICZE:BY:EXIT", now, rows).movable
    lifted = [*held, demand("@RU", "hold", "H1", "closed", T0 + 75 * HOUR, "RU", scope=BOX)]
    assert side(lifted, "RU:TERRITORY", now, rows).movable


def test_a_hold_at_the_entry_post_is_not_one_of_the_territory() -> None:
    rows, now = shipped(), T0 + 2 * HOUR
    held = [*through_russia()[:-1], demand("@RU", "hold", "H1", "opened", T0 + HOUR // 2, "RU", scope=BOX)]
    assert side(held, ZABAIKALSK, now, rows).state == "HELD"
    assert side(held, "RU:TERRITORY", now, rows).movable


# --- what frees them -------------------------------------------------------------------------------------------------


def in_azerbaijan() -> list[Fact]:
    return [shipment(corridor="MIDDLE-AKTAU", enrolments=[], procedures={}), bound(), presence(ALAT, "presented", T0 + HOUR, source="AZ", rank=Rank.AUTHORITY)]


def test_a_release_without_an_office_frees_neither_of_two_sides() -> None:
    rows, now = shipped(), T0 + 4 * HOUR
    word = doc("@AZ/doc/transit/T9", "transit", "T9", "released", T0 + 2 * HOUR, "AZ")
    exit_office, entry_office = rows.crossings[GEORGIA[:-8]].offices["AZ"], rows.crossings[ALAT[:-9]].offices["AZ"]
    filed = lodged("transit", "T9", "AZ", T0, office=entry_office, offices=[f"AZ:{exit_office}"])
    for facts in ([*in_azerbaijan(), word], [*in_azerbaijan(), filed, word]):
        for name in (ALAT, GEORGIA):
            said = side(facts, name, now, rows)
            assert said.state != "RELEASED"
            assert not said.movable
            assert "SIDE_AMBIGUOUS" in said.flags
    placed = doc(f"@AZ/office/{entry_office}", "transit", "T9", "released", T0 + 2 * HOUR, "AZ")
    assert side([*in_azerbaijan(), filed, placed], ALAT, now, rows).state == "RELEASED"
    assert side([*in_azerbaijan(), filed, placed], GEORGIA, now, rows).state != "RELEASED"


def test_what_goes_against_the_goods_counts_at_every_side_that_the_document_serves() -> None:
    rows, now = shipped(), T0 + 4 * HOUR
    exit_office, entry_office = rows.crossings[GEORGIA[:-8]].offices["AZ"], rows.crossings[ALAT[:-9]].offices["AZ"]
    facts = [*in_azerbaijan(), lodged("transit", "T9", "AZ", T0, office=entry_office, offices=[f"AZ:{exit_office}"]),
             doc(f"@AZ/office/{entry_office}", "transit", "T9", "released", T0 + 2 * HOUR, "AZ"),
             doc("@AZ/doc/transit/T9", "transit", "T9", "revoked", T0 + 3 * HOUR, "AZ")]
    assert side(facts, ALAT, now, rows).state != "RELEASED"


def test_a_release_that_names_no_filing_frees_nothing_where_the_authority_has_two_sides() -> None:
    rows, now = shipped(), T0 + 4 * HOUR
    empty = {"container": BOX, "empty": True, "goods": [], "gross_kg": 3_800.0}
    base = [shipment(corridor="MIDDLE-AKTAU", enrolments=[], containers=[empty]), bound(), presence(KHORGOS, "presented", T0, source="KZ", rank=Rank.AUTHORITY)]
    assert side([*base, doc("@KZ/doc/release/31046586", "release", "R1", "released", T0 + HOUR, "KZ")], KHORGOS, now, rows).state == "ARRIVED"
    assert side([*base, doc(KHORGOS, "release", "R1", "released", T0 + HOUR, "KZ")], KHORGOS, now, rows).state == "RELEASED"


def test_a_transit_is_released_by_its_office_of_departure_though_it_names_the_destination_too() -> None:
    rows, now = shipped(), T0 + 4 * HOUR
    offices = [code.partition(":")[2] for (what, code) in rows.mapped if what == "office" and code.startswith("DE:")][:2]
    if len(offices) < 2:
        offices = [p for p in sorted(rows.places) if rows.places[p].country == "DE"][:2]
    facts = [shipment(corridor="", enrolments=[], procedures={}), bound(), lodged("transit", "T1", "DE", T0, office=offices[0], offices=[f"DE:{offices[1]}"]),
             doc("@DE/doc/transit/T1", "transit", "T1", "released", T0 + HOUR, "DE", code="IE029")]
    states = {u.office: u.state for u in whole(facts, now, rows).updates if u.authority == "DE"}
    assert states[offices[0]] == "RELEASED"
    assert states[offices[1]] != "RELEASED"


UNKNOWN_OFFICE = [shipment(corridor="", crossings=[], offices=["GB:GB000246", "XI:XI000142"], enrolments=[], procedures={}), bound()]


def at_gb(*words: tuple[str, str]) -> tuple[str, str]:
    """(state at the office of departure, state at that of destination) after these words about the transit."""
    said = [doc(f"@GB/office/{office}", "transit", "L1", phase, T0 + n, "GB") for n, (phase, office) in enumerate(words)]
    states = {u.office: u.state for u in whole([*UNKNOWN_OFFICE, *said], T0 + 4 * HOUR, shipped()).updates}
    return states["GB000246"], states["XI000142"]


def test_an_office_of_departure_that_the_network_does_not_know_is_left_by_its_release_for_transit_and_by_nothing_less() -> None:
    assert at_gb(("registered", "GB000246")) == ("ACCEPTED", "EXPECTED")
    assert at_gb(("registered", "GB000246"), ("released", "GB000246")) == ("RELEASED", "EXPECTED")
    assert at_gb(("registered", "GB000246"), ("released", "GB000246"), ("revoked", "GB000246"))[0] != "RELEASED"
    other = doc("@XI/office/XI000142", "transit", "L1", "released", T0 + 5, "XI")
    assert {u.office: u.state for u in whole([*UNKNOWN_OFFICE, other], T0 + 4 * HOUR, shipped()).updates}["XI000142"] != "RELEASED", \
        "what the office of destination is there for is not known"


# --- step by step ------------------------------------------------------------------------------------------------------

THROUGH_RUSSIA = (ZABAIKALSK, "RU:TERRITORY", "BY-PL-BREST-MALASZEWICZE:BY:EXIT")
MIDDLE = (KHORGOS, AKTAU, ALAT, GEORGIA)


def any_word(rng: random.Random, sides: tuple[str, ...], now: int) -> Fact:
    """A demand, release, presence or ETA, at a side, without one, or from an office that nobody knows."""
    name, at, box = rng.choice(sides), now - rng.randint(0, 5) * HOUR, rng.choice((BOX, OTHER_BOX, ""))
    authority = "RU" if name == "RU:TERRITORY" else name.split(":")[1]
    where = rng.choice((name, f"@{authority}", f"@{authority}", f"@{authority}/office/9999", f"@{authority}/doc/td/T1"))
    made = rng.randint(0, 5)
    if made <= 2:
        return demand(where, rng.choice(("hold", "control")), rng.choice(("", "H1")), rng.choice(("opened", "started", "closed")), at, authority, scope=box)
    if made == 3:
        return doc(where, rng.choice(("td", "transit")), "T1", rng.choice(("registered", "released", "revoked", "ended")), at, authority, scope=box)
    if made == 4 and name != "RU:TERRITORY":
        return presence(name, rng.choice(("seen", "departed", "presented")), at, scope=box or BOX)
    return agency(rng.choice(("opened", "closed")), at, where, f"agency-{authority.lower()}-veterinary")


@pytest.mark.parametrize("seed", range(12))
def test_what_counts_at_every_side_is_the_same_step_by_step(seed: int) -> None:
    rng, rows = random.Random(seed), shipped()
    sides, corridor = (THROUGH_RUSSIA, "EAST-M") if seed % 2 else (MIDDLE, "MIDDLE-AKTAU")
    facts: Facts = merge({}, [shipment(corridor=corridor, enrolments=[], procedures={}, containers=[box(), box(OTHER_BOX)]), bound()])
    last: Assessment | None = None
    for step in range(25):
        now = T0 + step * HOUR
        facts = merge(facts, [any_word(rng, sides, now)])
        known = [facts[s] for s in sorted(facts)]
        found = assess("S1", known, rows, (), now, "pack", Previous(due_first=last.due_first if last else {}), last.memo if last else None, in_order=True)
        again = assess("S1", known, rows, (), now, "pack", Previous(due_first=last.due_first if last else {}))
        assert found.updates == again.updates
        assert found.alerts == again.alerts
        last = found
