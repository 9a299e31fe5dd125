"""Whatever the facts and their order: nothing is released or pre-cleared without positive evidence."""
from __future__ import annotations

import random

import pytest

from streams.assess import Assessment, assess
from streams.rules import pack_of
from tests.streams.border_world import BOX, CN_EXIT, KZ_ENTRY, PL_ENTRY, T0, box, demand, doc, presence, reference, seal, shipment
from tests.streams.test_assess_story import ARRIVAL, KEY, broken, read_at_dostyk, there
from topics.facts import HOUR, Fact, Rank

REF = reference()
DECIDING = {CN_EXIT: {"declaration"}, KZ_ENTRY: {"td", "import"}, PL_ENTRY: {"transit", "import"}}
POOL = [
    *there(), *broken(), read_at_dostyk(), presence(KZ_ENTRY, "departed", ARRIVAL + 3 * HOUR),
    doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + HOUR, "KZ"), doc("@KZ/doc/td/T1", "td", "T1", "revoked", ARRIVAL + 2 * HOUR, "KZ"),
    doc(KZ_ENTRY, "td", "T1", "released", ARRIVAL + HOUR, "fwd", rank=Rank.FORWARDER), doc("@KZ/doc/pi/P1", "pi", "P1", "rejected", T0 + 9 * HOUR, "KZ"),
    demand("@KZ", "hold", "H1", "opened", T0 + 8 * HOUR, "KZ"), demand("@KZ", "hold", "H1", "closed", ARRIVAL, "KZ"),
    demand("@CN", "control", "", "opened", T0 + 2 * HOUR, "CN"), demand("@PL", "info", "R1", "opened", T0 + 3 * HOUR, "PL", subject="ens/E1"),
    doc(PL_ENTRY, "transit", "N1", "released", ARRIVAL + 9 * HOUR, "PL"), doc(CN_EXIT, "conveyance", "R1", "released", T0 + HOUR, "CN"),
    seal("lost", T0 + 4 * HOUR), Fact(side=KZ_ENTRY, key=("visit",), at=ARRIVAL + 4 * HOUR, source="ktz", rank=Rank.RAILWAY, scope=BOX, value="2")]


def look(facts: list[Fact]) -> Assessment:
    return assess(KEY, facts, REF, (), ARRIVAL + 5 * HOUR, pack_of(REF))


@pytest.mark.parametrize("seed", range(60))
def test_released_and_pre_cleared_always_have_their_positive_evidence(seed: int) -> None:
    rng = random.Random(seed)
    facts = [f for f in POOL if rng.random() < 0.75]
    found = look(facts)
    assert found.trip is not None
    for update in found.updates:
        if update.state == "RELEASED" and update.side in DECIDING:
            assert update.basis.kind == "AUTHORITY"
            assert update.missing_release == ()
            own = [f for f in facts if f.source == update.authority and f.key[0] == "doc" and f.key[1] in DECIDING[update.side] and f.key[3] == "released"]
            assert own
        if update.state == "PRE_CLEARED":
            assert not update.present
            assert not [c for c in update.conditions if c.verdict != "proven" and c.name != "GTT-09"]
            assert not [f for f in update.flags if f.startswith(("seal_failed", "seal_unproven"))]
        if update.state in ("HELD", "REFUSED", "CONTROL_ORDERED", "UNDER_CONTROL", "FILING_REJECTED", "INFO_REQUESTED"):
            assert update.basis.kind == "AUTHORITY"
            assert update.evidence


@pytest.mark.parametrize("seed", range(20))
def test_facts_in_any_order_give_the_same_assessment(seed: int) -> None:
    rng = random.Random(seed)
    facts = list({(f.side, f.key, f.scope, f.source, f.record): f for f in POOL}.values())
    straight = look(facts)
    rng.shuffle(facts)
    mixed = look(facts)
    assert (mixed.updates, mixed.alerts, mixed.next_due) == (straight.updates, straight.alerts, straight.next_due)


def test_the_work_grows_with_the_boxes_and_not_with_their_square() -> None:
    def steps(count: int) -> int:
        numbers = [f"BOXU{n:07d}" for n in range(count)]
        facts = [f for f in there() if f.scope != BOX and f.key[0] not in ("shipment", "filing")]
        facts += [shipment(containers=[box(n) for n in numbers])]
        facts += [seal(what, T0 + 7, scope=n) for n in numbers for what in ("applied", "armed")]
        facts += [presence(KZ_ENTRY, "seen", ARRIVAL, scope=n) for n in numbers]
        return calls_of(facts)

    few, many = steps(10), steps(40)
    assert many < 6 * few


def calls_of(facts: list[Fact]) -> int:
    """Python calls of one assessment: a count, not a time."""
    import sys

    count = 0

    def counting(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    look(facts)
    sys.setprofile(counting)
    try:
        look(facts)
    finally:
        sys.setprofile(None)
    return count
