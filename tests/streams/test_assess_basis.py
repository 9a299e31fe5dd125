"""On whose word a state is said to rest, since when, and what a wrong container number does to it."""
from __future__ import annotations

import functools
from typing import Any

from streams.assess import assess
from streams.reference.model import Mapped, Reference, SideRow
from tests.streams.border_world import BOX, KZ_ENTRY, ROWS, T0, box, doc, presence, reference, shipment
from topics.events.outputs import ClearanceUpdate
from topics.facts import HOUR, Fact, Rank, merge

OFFICE = "DE004851:DE:OFFICE"
INNER = ("KZ-RU-ZHAISAN-ILETSK:KZ:EXIT", "KZ-RU-ZHAISAN-ILETSK:RU:ENTRY")


@functools.cache
def world() -> Reference:
    row = SideRow(source="D", id="eu-office", union="EU", kind="OFFICE", release=(("ended:transit",), ("released:import",)), decision=("released:import",),
                  by={"transit": "EU"})
    mapped = {("office", "DE:DE004851"): Mapped(source="D", list="office", code="DE:DE004851", means="hamburg")}
    return reference(side_rows=(*ROWS, row), mapped=mapped)


def at(facts: list[Fact], side: str) -> ClearanceUpdate:
    declared = shipment(offices=["DE:DE004851"], enrolments=[])
    found = assess("S1", list(merge({}, [declared, *facts]).values()), world(), (), T0 + 20 * HOUR, "pack")
    return next(u for u in found.updates if u.side == side)


def ended(by: str, hours: int) -> Fact:
    return doc(OFFICE, "transit", "T1", "ended", T0 + hours * HOUR, by, code="IE045")


def released(by: str, hours: int, **more: Any) -> Fact:
    return doc(OFFICE, "import", "I1", "released", T0 + hours * HOUR, by, code="REL", **more)


def test_a_release_rests_on_the_word_of_its_own_authority_though_another_ends_the_transit_later() -> None:
    for hours in (1, 9):
        said = at([released("DE", 5), ended("PL", hours)], OFFICE)
        assert (said.state, said.basis.kind, said.basis.source, said.basis.code, said.basis.number) == ("RELEASED", "AUTHORITY", "DE", "REL", "I1")
        assert {e.source for e in said.evidence} == {"DE", "PL"}
        assert said.since == T0 + max(5, hours) * HOUR


def test_no_other_authority_decides_on_the_goods() -> None:
    said = at([released("PL", 5), ended("PL", 9), ended("DE", 9)], OFFICE)
    assert said.state != "RELEASED"
    assert said.missing_release == ("released:import",)
    assert at([released("fwd", 5, rank=Rank.FORWARDER), ended("DE", 9)], OFFICE).state != "RELEASED"


def test_the_end_of_a_transit_alone_releases_nothing() -> None:
    assert at([ended("PL", 9)], OFFICE).state != "RELEASED"


def test_a_border_inside_a_territory_is_not_required_since_no_instant() -> None:
    for side in INNER:
        for facts in ([], [presence(side, "seen", T0 + HOUR, scope=BOX), presence(side, "departed", T0 + 2 * HOUR, scope=BOX)]):
            said = at(facts, side)
            assert said.state == "NOT_REQUIRED"
            assert said.since is None
            assert said.basis.at is None
            assert not [e for e in said.evidence if e.at <= 0]


def test_a_number_that_is_no_container_number_is_flagged_and_takes_what_is_said_of_the_whole() -> None:
    for number, flagged in (("CONTAINER1", True), (BOX[:-1] + "1", True), (BOX, False)):
        facts = [shipment(containers=[box(number)], enrolments=[]), doc(KZ_ENTRY, "pi", "P1", "registered", T0, "KZ"),
                 presence(KZ_ENTRY, "presented", T0 + HOUR, source="KZ", rank=Rank.AUTHORITY, scope=""),
                 doc(KZ_ENTRY, "td", "T1", "released", T0 + 2 * HOUR, "KZ")]
        found = assess("S1", list(merge({}, facts).values()), reference(), (), T0 + 3 * HOUR, "pack")
        said = next(u for u in found.updates if u.side == KZ_ENTRY)
        assert said.state == "RELEASED"
        assert ("CONTAINER_NUMBER_INVALID" in {f.code for f in said.findings}) is flagged
