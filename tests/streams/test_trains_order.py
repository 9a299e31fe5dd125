"""TRAINS and CUSTODY: any order, repetition and batching of the same inputs ends in the same facts (invariant 2)."""
from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.custody import CustodyFold
from streams.documents import DocumentsFold
from streams.trains import TrainsFold
from tests.streams.folds_bench import (
    BOX,
    BOX2,
    BOX3,
    BREST,
    CN_TRAIN,
    HOUR,
    KZ_TRAIN,
    Bench,
    announced,
    at,
    at_terminal,
    consist,
    declared,
    difference,
    formed,
    loaded,
    near,
    notice,
    rail,
    sheet,
    station,
    train,
)
from topics.events.rail import TrainDelayed, TrainRerouted, WagonSetOut
from topics.events.sites import CrossingCondition, SealEvent

ALL = (BOX, BOX2, BOX3)
SECOND = train("1406", "ktz", "dostyk", "2026-03-06")


def bench(rng: random.Random | None = None) -> Bench:
    b = Bench([TrainsFold(), DocumentsFold(), CustodyFold()], rng=rng)
    b.now += 600 * HOUR
    return b


SMALL: dict[str, list[Any]] = {
    "gauge break": [declared(), announced(), station(121, "dostyk"), formed(140), station(145, "dostyk", "departed", KZ_TRAIN)],
    "sheet": [declared(0, (BOX, BOX2)), announced(0, boxes=(BOX, BOX2)), consist(20, boxes=(BOX, BOX2)), sheet(122, boxes=(BOX,), refused=(BOX2,))],
    "correction": [declared(), announced(), station(100, "alashankou", record="m", version=1), station(98, "alashankou", record="m", version=2),
                   station(120, "alashankou", "departed")],
    "jump": [declared(), announced(), near(90, "malaszewicze"), near(100, "kuytun"), near(104, "jinghe")],
    "origins": [declared(), announced(0, train("X9", "cr", "xian")), station(100, "alashankou", "arrived", train("X9", "cr")),
                announced(0, train("X9", "cr", "chengdu"), (BOX2,))],
    "reroute": [declared(), announced(), station(100, "alashankou"), rail(TrainRerouted, 110, CN_TRAIN, crossings=("CN-KZ-KHORGOS-ALTYNKOL",)),
                station(50, "urumqi")],
}


@pytest.mark.parametrize("name", SMALL)
def test_every_permutation_of_a_small_history_ends_the_same(name: str) -> None:
    straight: Any = None
    for n, order in enumerate(permutations(SMALL[name])):
        found = bench().tell(*order).everything()
        straight = straight or found
        assert found == straight, difference(straight, found, n)


def big() -> list[Any]:
    """A train over two borders: sparse and wrong positions, a set-out, a sheet that differs, a split, a reroute, closures, seals, terminals."""
    return [
        declared(0, ALL), announced(0, boxes=ALL, version=1), announced(2, boxes=ALL, version=2), consist(20, boxes=ALL), consist(21, boxes=(BOX, BOX2)),
        loaded(10, BOX), at_terminal(12, "xian", "gate_in"), at_terminal(15, "xian", "loaded"),
        *(near(30 + 5 * n, place) for n, place in enumerate(("xian", "urumqi", "kuytun", "jinghe"), 1)),
        near(33, "malaszewicze"), station(100, "alashankou"), station(100, "alashankou"), station(99, "alashankou", record="r", version=2),
        station(97, "alashankou", record="r", version=1), at_terminal(103, "alashankou", "presented"), at_terminal(104, "alashankou", "presented", BOX2),
        notice(108, "ATP", None, "CN", "CN-CONVEYANCE", train=CN_TRAIN), notice(109, "HOLD", None, "CN", container=BOX2, reference="H-9"),
        station(120, "alashankou", "departed"), station(121, "dostyk"), sheet(122, boxes=(BOX, BOX3), refused=(BOX2,)),
        SealEvent(source="customs-kz", id="s1", event_time=at(123), chain="customs_lock", seal="L1", what="checked_ok", crossing="CN-KZ-ALASHANKOU-DOSTYK",
                  container=BOX),
        SealEvent(source="seals-demo", id="s2", event_time=at(10), chain="customs_lock", seal="L2", what="applied", container=BOX),
        rail(WagonSetOut, 130, CN_TRAIN, wagon="W9", containers=(BOX3,), place="dostyk"),
        formed(140, boxes=(BOX,)), formed(164, SECOND, boxes=(BOX3,), reason="split"), station(145, "dostyk", "departed", KZ_TRAIN),
        near(200, "astana", KZ_TRAIN), near(260, "moscow", KZ_TRAIN), rail(TrainDelayed, 210, KZ_TRAIN, minutes=300),
        rail(TrainRerouted, 265, KZ_TRAIN, crossings=("RU-BY-KRASNOYE-OSINOVKA", "BY-PL-BRUZGI-KUZNICA")),
        station(170, "dostyk", "departed", SECOND),
        CrossingCondition(source="net", id="c1", event_time=at(150), crossing=BREST, state="closed"),
        CrossingCondition(source="net", id="c2", event_time=at(170), crossing=BREST, state="closed", expected_until=at(900)),
    ]


def test_a_big_history_shuffled_repeated_and_batched_ends_the_same() -> None:
    events = big()
    straight = bench().tell(*events).everything()
    assert len(straight["facts"]) == 1
    for seed in range(40):
        rng = random.Random(seed)
        mixed = list(events)
        rng.shuffle(mixed)
        found = bench(rng).tell(*mixed).run().everything()
        assert found == straight, difference(straight, found, seed)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_part_of_a_history_in_any_order_ends_the_same(data: st.DataObject) -> None:
    events = big()
    part = [e for e in events if data.draw(st.booleans())]
    straight = bench().tell(*part).everything()
    found = bench().tell(*data.draw(st.permutations(part))).everything()
    assert found == straight, difference(straight, found, 0)
