"""What is said of a side and what is not: order of the sides, goods of several notes, flags that mean something."""
from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streams.assess import Assessment, assess, stamp
from tests.streams.border_world import (
    BOX,
    BREST,
    DOSTYK,
    KZ_ENTRY,
    OTHER_BOX,
    PL_ENTRY,
    T0,
    bound,
    box,
    demand,
    doc,
    eta,
    presence,
    reference,
    shipment,
)
from topics.events.internal import FreshnessChanged
from topics.events.outputs import ClearanceUpdate, FreshSaid
from topics.facts import HOUR, Fact, Rank, merge

ODER = "PL-DE-RZEPIN-FRANKFURT"


def assessed(facts: list[Fact], now: int, said: tuple[FreshnessChanged, ...] = ()) -> Assessment:
    return assess("S1", list(merge({}, facts).values()), reference(), said, now, "pack")


def side(facts: list[Fact], name: str, now: int) -> ClearanceUpdate:
    return next(u for u in assessed(facts, now).updates if u.side == name)


def empty_box() -> dict[str, Any]:
    return {**box(OTHER_BOX), "empty": True, "goods": [], "gross_kg": 3_800.0}


# --- order -----------------------------------------------------------------------------------------------------------


def test_an_inner_border_that_no_route_names_is_left_before_it_is_entered() -> None:
    facts = [shipment(corridor="", crossings=[DOSTYK, BREST]), bound(),
             *(presence(f"{ODER}:{end}", "seen", T0 + HOUR) for end in ("DE:ENTRY", "PL:EXIT"))]
    order = {u.side: u.order for u in assessed(facts, T0 + 2 * HOUR).updates}
    assert order[PL_ENTRY] < order[f"{ODER}:PL:EXIT"] < order[f"{ODER}:DE:ENTRY"]
    assert order[KZ_ENTRY] < order[PL_ENTRY]


# --- notes -----------------------------------------------------------------------------------------------------------


def cim(*containers: dict[str, Any]) -> Fact:
    note = shipment(document={"kind": "cim", "number": "C1"}, corridor="", containers=list(containers), enrolments=[])
    return msgspec.structs.replace(note, record="cim:C1", at=T0 + 50 * HOUR, id="fwd/2")


def test_a_later_note_for_some_boxes_says_nothing_of_the_others() -> None:
    facts = [shipment(containers=[box(), empty_box()], enrolments=[]), cim(box(gross_kg=21_000.0)), bound(), bound(OTHER_BOX), eta(PL_ENTRY, T0 + 90 * HOUR)]
    trip = assessed(facts, T0 + 60 * HOUR).trip
    assert trip is not None
    assert trip.boxes[OTHER_BOX]["empty"] is True
    assert trip.boxes[BOX]["gross_kg"] == 21_000.0


def test_a_later_note_that_names_every_box_is_the_one_that_counts() -> None:
    facts = [shipment(containers=[box(), empty_box()], enrolments=[]), cim(box(), box(OTHER_BOX)), bound(), bound(OTHER_BOX)]
    trip = assessed(facts, T0 + 60 * HOUR).trip
    assert trip is not None
    assert not trip.boxes[OTHER_BOX].get("empty")
    assert trip.boxes[OTHER_BOX]["goods"]


# --- flags and what is missing ---------------------------------------------------------------------------------------


def at_dostyk(*more: Fact) -> list[Fact]:
    return [shipment(enrolments=[]), bound(), doc(KZ_ENTRY, "pi", "P1", "registered", T0, "KZ"), doc(KZ_ENTRY, "td", "T1", "registered", T0, "KZ"),
            presence(KZ_ENTRY, "presented", T0 + HOUR, source="term", rank=Rank.TERMINAL), *more]


RELEASE = doc(KZ_ENTRY, "td", "T1", "released", T0 + 2 * HOUR, "KZ")


def test_nobody_waits_for_an_authority_that_has_decided_or_stopped_the_goods() -> None:
    now = T0 + 4 * HOUR
    assert "waiting_for_authority" in side(at_dostyk(), KZ_ENTRY, now).flags
    assert "waiting_for_authority" not in side(at_dostyk(RELEASE), KZ_ENTRY, now).flags
    held = side(at_dostyk(demand(KZ_ENTRY, "hold", "H1", "opened", T0 + 3 * HOUR, "KZ")), KZ_ENTRY, now)
    assert held.state == "HELD"
    assert "waiting_for_authority" not in held.flags


def test_the_end_of_a_transit_at_another_authority_is_no_hearsay() -> None:
    ended = doc(KZ_ENTRY, "td", "T1", "ended", T0 + 3 * HOUR, "BY")
    assert "release_reported" not in side(at_dostyk(RELEASE, ended), KZ_ENTRY, T0 + 4 * HOUR).flags
    elsewhere = doc(KZ_ENTRY, "dt", "D1", "released", T0 + 3 * HOUR, "BY")
    assert "release_reported" not in side(at_dostyk(RELEASE, elsewhere), KZ_ENTRY, T0 + 4 * HOUR).flags
    for hearsay in (doc(KZ_ENTRY, "td", "T1", "ended", T0 + 3 * HOUR, "fwd", rank=Rank.FORWARDER), doc(KZ_ENTRY, "td", "T1", "released", T0 + 3 * HOUR, "BY")):
        assert "release_reported" in side(at_dostyk(hearsay), KZ_ENTRY, T0 + 4 * HOUR).flags


def test_no_release_is_missing_at_a_side_that_was_left_with_one() -> None:
    used_up = doc(KZ_ENTRY, "td", "T1", "ended", T0 + 30 * HOUR, "KZ")
    gone = presence(KZ_ENTRY, "departed", T0 + 3 * HOUR)
    said = side(at_dostyk(RELEASE, gone, used_up), KZ_ENTRY, T0 + 40 * HOUR)
    assert said.state == "DEPARTED"
    assert said.missing_release == ()
    without = side(at_dostyk(gone), KZ_ENTRY, T0 + 40 * HOUR)
    assert "left_without_release" in without.flags
    assert without.missing_release


# --- freshness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("live", [True, False])
def test_the_age_of_a_source_is_told_only_when_it_is_silent(live: bool) -> None:
    """Of a live source only its last change is broadcast: it has spoken since, of other goods."""
    word = FreshnessChanged(source="customs-kz", live=live, since=T0, last_event=T0 + 5 * HOUR)
    update = next(u for u in assessed(at_dostyk(RELEASE), T0 + 200 * HOUR, (word,)).updates if u.side == KZ_ENTRY)
    said: FreshSaid = next(f for f in stamp(update, 1, T0 + 200 * HOUR).freshness if f.source == "customs-kz")
    assert said.live is live
    assert said.last_event == (T0 + 2 * HOUR if live else T0 + 5 * HOUR)
    assert said.age_minutes == (None if live else 195 * 60)
