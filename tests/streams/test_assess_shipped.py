"""The same journey on the shipped reference data: what is promised of the customs-rail link holds with the rows that a deployment gets."""
from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

import streams.reference
from streams.assess import Assessment, assess
from streams.reference.model import Reference
from streams.reference.parse import parse
from streams.rules import pack_of
from tests.streams.border_world import CN_EXIT, DOSTYK, KZ_ENTRY, PL_ENTRY, T0, condition, doc, seal
from tests.streams.test_assess_story import ARRIVAL, BY_THEN, KEY, at, codes, read_at_dostyk, there, underway
from topics.facts import HOUR, MINUTE, Fact

BREST = "BY-PL-BREST-MALASZEWICZE"


@cache
def shipped() -> Reference:
    """The TOML files beside `streams/reference`."""
    folder = Path(streams.reference.__file__).parent
    return parse({f.name: f.read_bytes() for f in sorted(folder.glob("*.toml"))})


def on(facts: list[Fact]) -> list[Fact]:
    """The facts with the corridor and office codes of the shipped network; Kazakhstan has cleared the risk."""
    offices = {"KZ-DOSTYK": shipped().crossings[DOSTYK].offices["KZ"], "BY-BREST": shipped().crossings[BREST].offices["BY"]}

    def fit(fact: Fact) -> Fact:
        value, side = fact.value, fact.side
        for name, code in offices.items():
            side = side.replace(name, code)
        if isinstance(value, dict) and "corridor" in value:
            value = {**value, "corridor": "WEST-A"}
        if isinstance(value, dict) and value.get("office"):
            value = {**value, "office": offices["KZ-DOSTYK"], "offices": [f"BY:{offices['BY-BREST']}"]}
        return msgspec.structs.replace(fact, side=side, value=value)

    return [fit(f) for f in [*facts, condition("@KZ", "risk", T0 + 4 * HOUR, "KZ")]]


def look(facts: list[Fact], now: int) -> Assessment:
    return assess(KEY, on(facts), shipped(), (), now, pack_of(shipped()))


def test_pre_cleared_before_arrival_ready_once_read_and_released_by_notice() -> None:
    assert at(look(underway(), T0 + 5 * HOUR), KZ_ENTRY).state == "PRE_CLEARED"
    waiting = at(look([*there(), read_at_dostyk()], BY_THEN), KZ_ENTRY)
    assert (waiting.state, waiting.ready) == ("ARRIVED", True)
    released = [*there(), read_at_dostyk(), doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + 45 * MINUTE, "KZ", code="TD-RELEASED")]
    update = at(look(released, BY_THEN), KZ_ENTRY)
    assert (update.state, update.basis.kind) == ("RELEASED", "AUTHORITY")


def test_a_lock_of_another_standard_is_not_eligible() -> None:
    facts = [f for f in underway() if f.key[0] != "seal"] + [seal("armed", T0 + 8, standard="OTHER")]
    assert "GTT_LOCK_STANDARD" in codes(at(look(facts, T0 + 5 * HOUR), CN_EXIT))


def test_nothing_is_released_by_agreement_as_shipped() -> None:
    assert not [a.id for a in shipped().agreements.values() if a.auto_release]
    assert at(look([*there(), read_at_dostyk()], ARRIVAL + 90 * HOUR), KZ_ENTRY).state == "ARRIVED"


def test_every_border_of_every_corridor_finds_its_row_both_ways() -> None:
    for corridor in shipped().corridors.values():
        for direction in ("west", "east"):
            fact = Fact(side="*", key=("shipment",), at=T0, source="forwarder-alpha", id="f/1",
                        value={"document": {"kind": "smgs", "number": "1"}, "corridor": corridor.id, "direction": direction, "containers": []})
            found = assess(KEY, [fact], shipped(), (), T0, pack_of(shipped()))
            assert found.trip is not None
            bare = [s.id for s in found.trip.sides if s.required and s.kind in ("EXIT", "ENTRY") and None in s.rows.values()]
            assert bare == []
            assert {u.state for u in found.updates} <= {"EXPECTED", "NOT_REQUIRED"}
            assert PL_ENTRY in {u.side for u in found.updates} or corridor.id != "WEST-A" or direction != "west"
