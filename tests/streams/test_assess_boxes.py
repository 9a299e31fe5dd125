"""Boxes of one shipment that pass a side at different times: each has its own arrival, departure and deadlines."""
from __future__ import annotations

from streams.assess import Assessment, assess
from tests.streams.border_world import BOX, KZ_ENTRY, OTHER_BOX, PL_ENTRY, T0, bound, box, doc, eta, lodged, presence, reference, shipment
from topics.events.outputs import ClearanceUpdate, FilingSaid
from topics.facts import HOUR, Fact, Rank, merge


def assessed(facts: list[Fact], now: int) -> Assessment:
    return assess("S1", list(merge({}, facts).values()), reference(), (), now, "pack")


def side(facts: list[Fact], name: str, now: int) -> ClearanceUpdate:
    return next(u for u in assessed(facts, now).updates if u.side == name)


def filing(facts: list[Fact], name: str, kind: str, now: int) -> FilingSaid:
    return next(f for f in side(facts, name, now).filings if f.kind == kind)


def codes(update: ClearanceUpdate) -> set[str]:
    return {f.code for f in update.findings}


def two_at_dostyk() -> list[Fact]:
    return [
        shipment(containers=[box(), box(OTHER_BOX)], enrolments=[]), bound(), bound(OTHER_BOX), doc(KZ_ENTRY, "pi", "P1", "registered", T0, "KZ"),
        doc(KZ_ENTRY, "td", "T1", "registered", T0, "KZ"),
        *(presence(KZ_ENTRY, "seen", T0 + 10 * HOUR, scope=b) for b in (BOX, OTHER_BOX)),
        *(presence(KZ_ENTRY, "presented", T0 + 10 * HOUR, source="term", rank=Rank.TERMINAL, scope=b) for b in (BOX, OTHER_BOX))]


def test_a_box_that_is_left_behind_is_still_waited_for() -> None:
    left = [*two_at_dostyk(), doc(KZ_ENTRY, "td", "T1", "released", T0 + 11 * HOUR, "KZ", scope=BOX), presence(KZ_ENTRY, "departed", T0 + 12 * HOUR)]
    said = side(left, KZ_ENTRY, T0 + 60 * HOUR)
    assert "NO_NOTICE" in codes(said)
    assert "wait" in said.actions[0].what["en"].lower()


def test_when_every_box_has_left_nobody_is_waited_for() -> None:
    left = [*two_at_dostyk(), doc(KZ_ENTRY, "td", "T1", "released", T0 + 11 * HOUR, "KZ"),
            *(presence(KZ_ENTRY, "departed", T0 + 12 * HOUR, scope=b) for b in (BOX, OTHER_BOX))]
    said = side(left, KZ_ENTRY, T0 + 60 * HOUR)
    assert said.state == "DEPARTED"
    assert not {"NO_NOTICE", "NO_NEXT_TRAIN"} & codes(said)


def test_a_released_box_that_is_left_behind_needs_a_next_train() -> None:
    released = [*two_at_dostyk(), doc(KZ_ENTRY, "td", "T1", "released", T0 + 11 * HOUR, "KZ"),
                Fact(side=KZ_ENTRY, key=("run",), at=T0, source="ktz", rank=Rank.RAILWAY, scope=BOX, value="run/1"),
                presence(KZ_ENTRY, "departed", T0 + 12 * HOUR)]
    assert "NO_NEXT_TRAIN" in codes(side(released, KZ_ENTRY, T0 + 60 * HOUR))
    planned = [*released, Fact(side=KZ_ENTRY, key=("run",), at=T0, source="ktz", rank=Rank.RAILWAY, scope=OTHER_BOX, value="run/2")]
    said = side(planned, KZ_ENTRY, T0 + 60 * HOUR)
    assert "NO_NEXT_TRAIN" not in codes(said)
    assert said.run == "run/2"


def test_a_side_is_not_left_when_a_terminal_sees_the_box_there_later() -> None:
    left = [*two_at_dostyk(), *(presence(KZ_ENTRY, "departed", T0 + 12 * HOUR, scope=b) for b in (BOX, OTHER_BOX))]
    back = [*left, presence(KZ_ENTRY, "handed_over", T0 + 13 * HOUR, source="term", rank=Rank.TERMINAL)]
    place = {name: found for name, facts in (("left", left), ("back", back))
             if (found := assessed(facts, T0 + 20 * HOUR).trip) is not None}
    assert next(s for s in place["left"].sides if s.id == KZ_ENTRY).departed == T0 + 12 * HOUR
    here = next(s for s in place["back"].sides if s.id == KZ_ENTRY)
    assert here.departed == -1
    assert here.at(OTHER_BOX).departed == T0 + 12 * HOUR


def ens(number: str, scope: str, at: int) -> list[Fact]:
    return [lodged("ens", number, "PL", at - HOUR, office="PL301010", containers=[box(scope)]),
            doc(f"@PL/doc/ens/{number}", "ens", number, "registered", at, "PL", scope=scope)]


def apart() -> list[Fact]:
    """One box is at Małaszewicze, the other comes three days later."""
    return [shipment(containers=[box(), box(OTHER_BOX)], enrolments=[]), bound(), bound(OTHER_BOX), *ens("E1", BOX, T0 + 10 * HOUR),
            presence(PL_ENTRY, "seen", T0 + 40 * HOUR), eta(PL_ENTRY, T0 + 112 * HOUR, scope=OTHER_BOX)]


def test_a_box_that_comes_later_has_its_own_deadline() -> None:
    now = T0 + 42 * HOUR
    said = filing(apart(), PL_ENTRY, "ens", now)
    assert (said.state, said.timing) == ("NONE", "open")
    assert said.due == T0 + 110 * HOUR
    assert not {"FILING_OVERDUE", "FILING_MISSING"} & codes(side(apart(), PL_ENTRY, now))
    in_time = [*apart(), *ens("E2", OTHER_BOX, T0 + 80 * HOUR)]
    assert filing(in_time, PL_ENTRY, "ens", T0 + 90 * HOUR).timing == "in_time"


def test_a_box_that_is_there_without_a_filing_is_overdue() -> None:
    there = [f for f in apart() if f.key[0] != "eta"] + [presence(PL_ENTRY, "seen", T0 + 41 * HOUR, scope=OTHER_BOX)]
    assert filing(there, PL_ENTRY, "ens", T0 + 42 * HOUR).timing == "overdue"


def seen_with_ens(*words: Fact) -> list[Fact]:
    return [shipment(enrolments=[]), bound(), *words, presence(PL_ENTRY, "seen", T0 + 40 * HOUR)]


def test_an_amendment_registered_late_makes_no_filing_late() -> None:
    registered = doc(PL_ENTRY, "ens", "E1", "registered", T0, "PL")
    amended = doc(PL_ENTRY, "ens", "E1", "amended", T0 + 39 * HOUR, "PL")
    said = filing(seen_with_ens(registered, amended), PL_ENTRY, "ens", T0 + 41 * HOUR)
    assert (said.timing, said.registered_at) == ("in_time", T0)
    late = doc(PL_ENTRY, "ens", "E1", "registered", T0 + 39 * HOUR, "PL")
    assert filing(seen_with_ens(late), PL_ENTRY, "ens", T0 + 41 * HOUR).timing == "late"


def test_another_number_registered_late_does_not_make_the_first_late() -> None:
    first, second = doc(PL_ENTRY, "ens", "E1", "registered", T0, "PL"), doc(PL_ENTRY, "ens", "E2", "registered", T0 + 41 * HOUR, "PL")
    assert filing(seen_with_ens(first, second), PL_ENTRY, "ens", T0 + 42 * HOUR).timing == "in_time"
    dead = doc(PL_ENTRY, "ens", "E1", "invalidated", T0 + 30 * HOUR, "PL")
    assert filing(seen_with_ens(first, dead, second), PL_ENTRY, "ens", T0 + 42 * HOUR).timing == "late"
