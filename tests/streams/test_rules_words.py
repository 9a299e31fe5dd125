"""What is asked of whom, and in which words: the railway of the country, nothing that is over, the thing itself as present and expected."""
from __future__ import annotations

import math

import msgspec
import pytest

from streams.assess import assess
from streams.network.eta import TRACK_PER_STRAIGHT_KM
from streams.reference.model import Names, Party, Place
from streams.rules.trn import distance_km
from tests.streams.border_world import (
    BOX,
    BY_EXIT,
    CN_EXIT,
    KZ_ENTRY,
    PL_ENTRY,
    T0,
    bound,
    box,
    condition,
    doc,
    eta,
    lodged,
    presence,
    reference,
    seal,
    shipment,
)
from tests.streams.test_assess_story import ARRIVAL, BY_THEN, KEY, at, broken, codes, look, there, underway
from topics.events.outputs import ClearanceUpdate, NextAction
from topics.facts import DAY, HOUR, MINUTE, Fact, Rank

EARLY = T0 + 5 * HOUR
RAILWAYS = reference().parties | {p.id: p for p in (
    Party(source="M", id="bch", role="railway", names=Names("BCh"), country="BY"), Party(source="M", id="cr", role="railway", names=Names("CR"), country="CN"),
    Party(source="M", id="ktz", role="railway", names=Names("KTZ"), country="KZ"), Party(source="M", id="kz2", role="railway", names=Names("2"), country="KZ"))}


def great_circle_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    a, b, d = math.radians(lat1), math.radians(lat2), math.radians(lon2 - lon1)
    return 6371.0 * math.acos(math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(d))


def amendments(update: ClearanceUpdate) -> dict[str, NextAction]:
    return {a.done_when: a for a in update.actions if a.done_when.startswith("amended:")}


def test_the_railway_that_files_is_that_of_the_sides_country_whoever_has_spoken() -> None:
    ref = reference(parties=RAILWAYS)
    facts = [shipment(enrolments=[]), bound(), presence(BY_EXIT, "seen", T0, source="bch"), eta(CN_EXIT, T0 + 20 * HOUR)]
    assert next(a.party for a in at(look(facts, EARLY, ref), CN_EXIT).actions if a.message == "manifest") == "cr"
    released = [*there(), doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + HOUR, "KZ")]
    plan = next(a for a in at(look(released, BY_THEN + HOUR, ref), KZ_ENTRY).actions if a.done_when == "run")
    assert plan.party == "ktz", "of two, the one that has spoken"
    alone = reference(parties={k: p for k, p in RAILWAYS.items() if p.country != "CN"})
    assert next(a.party for a in at(look(facts, EARLY, alone), CN_EXIT).actions if a.message == "manifest") == "", "never another country's"


def test_nothing_is_to_be_amended_once_it_is_released_at_any_side_that_it_serves() -> None:
    released = doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + 50 * MINUTE, "KZ")
    revoked = doc("@KZ/doc/td/T1", "td", "T1", "revoked", ARRIVAL + 55 * MINUTE, "KZ")
    assert "amended:td" in amendments(at(look(broken(), BY_THEN), BY_EXIT))
    assert "amended:td" not in amendments(at(look([*broken(), released], BY_THEN), BY_EXIT)), "KZ released it, Belarus is served by it too"
    assert "amended:td" in amendments(at(look([*broken(), released, revoked], BY_THEN), BY_EXIT))


def test_at_a_side_that_has_released_the_goods_no_paper_is_to_be_amended() -> None:
    facts = [f for f in there() if f.key[0] != "seal"] + [seal("applied", T0 + 7), seal("broken", T0 + 6 * HOUR)]
    released = doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + 50 * MINUTE, "KZ")
    before, after = (at(look([*facts, *more], BY_THEN), KZ_ENTRY) for more in ((), (released,)))
    assert {"amended:pi", "amended:td"} <= set(amendments(before))
    assert (after.state, amendments(after)) == ("RELEASED", {})


def test_what_was_remembered_of_another_side_learns_of_the_release() -> None:
    first = look(broken(), BY_THEN)
    more = [*broken(), doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + 50 * MINUTE, "KZ")]
    again = assess(KEY, more, reference(), (), BY_THEN, first.pack, memo=first.memo)
    assert at(again, BY_EXIT) == at(look(more, BY_THEN), BY_EXIT)


def test_an_amendment_names_the_seal_that_is_gone_and_the_one_that_is_on() -> None:
    unknown = amendments(at(look(broken(), BY_THEN), PL_ENTRY))["amended:ens"]
    assert (unknown.present, unknown.expected) == ("L-100", "")
    assert "?" not in "".join(unknown.what.values())
    new = Fact(side="*", key=("seal", "customs_lock", "opened_authorised", "o"), at=ARRIVAL + 50 * MINUTE, source="KZ", rank=Rank.AUTHORITY, scope=BOX,
               id="o", value={"lock": "L-100", "new": "L-200", "act": "A", "until": ARRIVAL + 55 * MINUTE})
    known = amendments(at(look([*broken(), new], BY_THEN), PL_ENTRY))["amended:ens"]
    assert (known.present, known.expected) == ("L-100", "L-200")
    assert "L-200" in known.what["zh"]


@pytest.mark.parametrize(("code", "present"), [("8471", "8471"), ("", "-")])
def test_a_short_code_is_shown_with_the_digits_that_it_needs_and_is_no_difference_between_documents(code: str, present: str) -> None:
    short = lodged("ens", "E1", "PL", T0 + HOUR, containers=[box(goods=[{"description": "Laptops", "hs": code}])])
    found = look([*[f for f in underway() if f.key[:2] != ("filing", "ens")], short], EARLY)
    action = amendments(at(found, PL_ENTRY))["amended:ens"]
    assert (action.present, action.expected) == (present, "6 digits")
    assert "6" in action.what["ru"]
    assert not [a for a in found.alerts if a.name == "DocumentsDiffer"]


def test_two_masses_that_differ_still_raise_the_alert() -> None:
    other = lodged("pi", "P1", "KZ", T0 + HOUR, containers=[box(gross_kg=25_000.0)])
    found = look([*[f for f in underway() if f.key[:2] != ("filing", "pi")], other], EARLY)
    assert [a.side for a in found.alerts if a.name == "DocumentsDiffer"] == [KZ_ENTRY]


def test_a_condition_that_failed_is_no_finding_and_no_flag_of_a_side_that_the_goods_have_left() -> None:
    refused = [*[f for f in underway() if f.key != ("condition", "gtt.recognised")], condition("@KZ", "gtt.recognised", T0 + 3 * HOUR, "KZ", "failed")]
    here = at(look(refused, EARLY), CN_EXIT)
    assert "GTT_REFUSED" in codes(here)
    assert "control_likely" in here.flags
    gone = at(look([*refused, presence(CN_EXIT, "departed", T0 + 4 * HOUR)], EARLY), CN_EXIT)
    assert gone.state == "DEPARTED"
    assert not {c for c in codes(gone) if c.startswith("GTT")}
    assert "control_likely" not in gone.flags
    assert "GTT_REFUSED" in codes(at(look([*refused, presence(CN_EXIT, "departed", T0 + 4 * HOUR)], EARLY), KZ_ENTRY))


RELEASED_TD = doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + 45 * MINUTE, "KZ")
LIMITED_TD = doc("@KZ/doc/td/T1", "td", "T1", "registered", ARRIVAL + 20 * MINUTE, "KZ", value={"valid_until": ARRIVAL + 6 * DAY})


@pytest.mark.parametrize(("days", "own", "code", "alert"), [
    (1, False, "TRANSIT_OPEN", False), (6, False, "TRANSIT_ENDING", False), (8, False, "TRANSIT_PAST_ESTIMATE", False),
    (1, True, "TRANSIT_OPEN", False), (5, True, "TRANSIT_ENDING", False), (8, True, "TRANSIT_OVER", True)])
def test_an_estimated_limit_is_said_to_be_one_and_is_never_over(days: int, own: bool, code: str, alert: bool) -> None:
    facts = [f for f in there() if f.key != ("doc", "td", "T1", "registered")] + [RELEASED_TD] + ([LIMITED_TD] if own else [])
    found = look(facts, ARRIVAL + days * DAY + HOUR)
    update = at(found, KZ_ENTRY)
    said = next(f for f in update.findings if f.rule.startswith("TRN-01"))
    assert said.code == code
    assert ("estimate" in said.texts["en"], "估计" in said.texts["zh"], "оценка" in said.texts["ru"]) == (not own,) * 3
    assert bool([a for a in found.alerts if a.name == "TransitLimitOver"]) is alert
    assert {a.legal for a in update.actions if a.done_when == "ended"} <= {own}


def test_the_estimate_counts_track_and_not_a_straight_line() -> None:
    places = {p.id: p for p in (Place(source="S49", id="dostyk", names=Names("Dostyk"), country="KZ", lat=45.25, lon=82.48),
                                Place(source="S49", id="brest", names=Names("Brest"), country="BY", lat=52.1, lon=23.7))}
    corridor = msgspec.structs.replace(reference().corridors["west-a"], places=("alashankou", "dostyk", "brest", "malaszewicze"))
    ref = reference(places=places, corridors={"west-a": corridor})
    trip = look(there(), BY_THEN, ref).trip
    assert trip is not None
    side = trip.side(KZ_ENTRY)
    assert side is not None
    km = distance_km(trip, side, ref)
    assert km is not None
    assert round(km / TRACK_PER_STRAIGHT_KM) == round(great_circle_km(45.25, 82.48, 52.1, 23.7))
