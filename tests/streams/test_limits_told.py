"""That a fold left words out reaches the status: what is missing may be a hold."""
from __future__ import annotations

import pytest

from streams.assess import assess
from streams.codes import limit_fact
from tests.streams.border_world import BOX, CN_EXIT, KZ_ENTRY, T0, doc, presence, reference, shipment
from topics.events.outputs import ClearanceUpdate
from topics.facts import HOUR, Fact, Rank, merge

RELEASED = [
    shipment(enrolments=[]), doc(KZ_ENTRY, "pi", "P1", "registered", T0, "KZ"), doc(KZ_ENTRY, "td", "T1", "released", T0 + 4 * HOUR, "KZ"),
    presence(KZ_ENTRY, "presented", T0 + 3 * HOUR, source="term", rank=Rank.TERMINAL)]


def sides(*more: Fact) -> dict[str, ClearanceUpdate]:
    return {u.side: u for u in assess("S1", list(merge({}, [*RELEASED, *more]).values()), reference(), (), T0 + 8 * HOUR, "pack").updates}


@pytest.mark.parametrize("scope", ["", BOX])
def test_a_document_or_container_over_its_limit_holds_the_sides_of_that_authority(scope: str) -> None:
    said = sides(limit_fact("KZ", "td:T1", scope))
    assert said[KZ_ENTRY].state == "RELEASED"
    assert not said[KZ_ENTRY].movable
    assert "FACTS_LIMIT" in said[KZ_ENTRY].flags
    assert "FACTS_LIMIT" not in said[CN_EXIT].flags


def test_without_a_limit_the_side_moves() -> None:
    assert sides()[KZ_ENTRY].movable
    assert sides(limit_fact("PL", "td:T1", ""))[KZ_ENTRY].movable
