"""DOCUMENTS: any order, repetition and batching of the same inputs ends in the same facts (invariant 2)."""
from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.custody import CustodyFold
from streams.documents import DocumentsFold
from tests.streams.folds_bench import (
    BOX,
    BOX2,
    BOX3,
    SMGS,
    TD,
    TD_NUMBER,
    Bench,
    answered,
    at,
    declared,
    filing,
    linked,
    loaded,
    notice,
    told_in_any_order,
)
from topics.events.base import DocumentRef
from topics.events.trade import TraderRef

CIM = DocumentRef(kind="cim", number="80-1234")
T1, MRN = DocumentRef(kind="transit", number="T1"), DocumentRef(kind="mrn", number="26PL301010000000J1")
SECOND = DocumentRef(kind="smgs", number="99999999")


def folds() -> list[Any]:
    return [DocumentsFold(), CustodyFold()]


SMALL: dict[str, list[Any]] = {
    "aliases": [declared(), filing(1), notice(2, "REGISTERED", TD, aliases=(TD_NUMBER,)), notice(3, "RELEASED", TD_NUMBER)],
    "aliases both ways": [declared(), notice(2, "REGISTERED", TD, aliases=(TD_NUMBER,)), notice(3, "RELEASED", TD_NUMBER, aliases=(TD,)),
                          filing(1, number=TD_NUMBER.number)],
    "owners": [declared(), filing(1), filing(0.5, source="fwd-other"), answered(3, TD, "Q"), answered(4, TD, "Q", "fwd-other")],
    "continued": [declared(), declared(5, document=CIM, continues=(SMGS,)), filing(6, "transit", "T1", "PL", (CIM,)), notice(7, "RELEASED", T1, "PL")],
    "cycle": [declared(), filing(1, documents=(SMGS, T1)), filing(2, "transit", "T1", "PL", (TD,)), notice(3, "RELEASED", T1, "PL")],
    "a stranger continues": [declared(), declared(5, (BOX3,), CIM, "fwd-other", continues=(SMGS,)), filing(6, "transit", "T1", "PL", (CIM,)),
                             linked(7, CIM, "continues", SMGS), linked(7, SMGS, "merged_into", CIM, source="fwd-other")],
    "one box of a train": [declared(), declared(0, (BOX2,), SECOND, "fwd-other"), filing(2, "manifest", "M-1", "CN", (SMGS, SECOND)),
                           notice(3, "HOLD", DocumentRef(kind="manifest", number="M-1"), "CN", container=BOX2),
                           loaded(1, BOX3, "swapped", replaces=BOX)],
    "mention": [declared(), declared(2, (), T1, "customs-pl", tentative=True), filing(3, "transit", "T1", "PL"), notice(4, "IE029", T1, "PL", "NCTS")],
}


@pytest.mark.parametrize("name", SMALL)
def test_every_permutation_of_a_small_history_ends_the_same(name: str) -> None:
    straight: Any = None
    for order in permutations(SMALL[name]):
        found = Bench(folds()).tell(*order).everything()
        straight = straight or found
        assert found == straight


def big() -> list[Any]:
    """Two notes, one continued, filings of several parties, numbers in both directions, corrections, swaps and odd codes."""
    original = notice(8, "IE029", T1, "PL", "NCTS")
    return [
        declared(0, (BOX, BOX2), record="s", version=1), declared(1, (BOX, BOX2), record="s", version=2, origin="xian"),
        declared(0, (BOX3,), SECOND), declared(20, (BOX, BOX2), CIM), linked(21, CIM, "continues", SMGS),
        declared(0.2, (BOX,), SMGS, "fwd-other"), declared(3, (), TD, "customs-kz", tentative=True),
        filing(1, containers=declared(boxes=(BOX,)).containers), filing(0.5, source="fwd-other"), filing(3, action="amend", record="r", version=2),
        filing(2.5, action="amend", record="r", version=1, office="OLD"), filing(4, action="present"),
        filing(6, "transit", "T1", "PL", (CIM, TD), mrn=MRN.number), filing(2, "manifest", "M-1", "CN", (SMGS, SECOND)),
        notice(2, "REGISTERED", TD, aliases=(TD_NUMBER,)), notice(3, "HOLD", TD_NUMBER, reference="H-1"), notice(4, "LIFT", TD, reference="H-1"),
        notice(5, "REGISTERED", TD_NUMBER, aliases=(TD,), declarant="KZ-BIN-1"), notice(5, "ZZ9", TD), notice(5.5, "ZZ9", TD),
        notice(7, "IE028", T1, "PL", "NCTS", aliases=(MRN,)), original, msgspec.structs.replace(original, code="IE060", event_time=at(8.5)),
        msgspec.structs.replace(original, event_time=at(8.7)), notice(9, "IE025", MRN, "DE", "NCTS"), notice(9, "HOLD", SMGS, reference="H-2", container=BOX2),
        notice(4, "BLR", DocumentRef(kind="manifest", number="M-1"), "CN", "CN-MANIFEST"),
        answered(4, TD, "Q-1"), answered(4, TD_NUMBER, "Q-1", "fwd-other"),
        loaded(0.5, BOX), loaded(30, BOX, "unloaded"), loaded(15, BOX3, "swapped", replaces=BOX2, act="A-7"),
        filing(0.7, source="fwd-third", parties=(TraderRef(role="declarant", identifier="KZ-BIN-1"),)),
    ]


def test_a_big_history_shuffled_repeated_and_batched_ends_the_same() -> None:
    told_in_any_order(folds, big(), 60)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_part_of_a_history_in_any_order_ends_the_same(data: st.DataObject) -> None:
    events = big()
    part = [e for e in events if data.draw(st.booleans())]
    straight = Bench(folds()).tell(*part).everything()
    mixed = data.draw(st.permutations(part))
    assert Bench(folds()).tell(*mixed).everything() == straight
