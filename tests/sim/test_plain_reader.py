"""The simulator's story adds up: told to the status rules by a plain reader, a calm world is cleared everywhere and a demo shows the states."""
from __future__ import annotations

from functools import cache

import msgspec
import pytest

from streams.simulate import SimOptions
from tests.sim.plain import PlainReader
from tests.sim.worlds import DEMO, reference, world

CALM = SimOptions(trains=13, position_minutes=0, heartbeats=False, containers_min=6, containers_max=8).calm()
"""Every corridor once."""
BACK = msgspec.structs.replace(CALM, trains=26)
"""Every corridor both ways."""
STORIES = msgspec.structs.replace(DEMO, position_minutes=0, heartbeats=False)


@cache
def reader(options: SimOptions) -> PlainReader:
    return PlainReader(reference(), world(options))


@pytest.mark.parametrize("options", [CALM, BACK], ids=["one way", "both ways"])
def test_in_a_calm_world_every_authority_releases_every_shipment_before_it_leaves(options: SimOptions) -> None:
    plain, end = reader(options), world(options)[-1].at
    wrong = [(u.side, u.state, u.flags, u.missing_release) for shipment in plain.facts for u in plain.statuses(shipment, end)
             if u.state not in ("DEPARTED", "RELEASED", "NOT_REQUIRED") or {"left_without_release", "transit_open"} & set(u.flags)]
    assert not wrong[:5]


def test_a_demo_shows_fourteen_of_the_sixteen_states() -> None:
    plain = reader(STORIES)
    wanted = {"PRE_CLEARED", "RELEASED", "DEPARTED", "HELD", "CONTROL_ORDERED", "UNDER_CONTROL", "INFO_REQUESTED", "FILING_REJECTED", "ARRIVED",
              "ACCEPTED", "FILED", "EXPECTED", "NOT_REQUIRED", "REFUSED"}
    eventful = [s for s, facts in plain.facts.items() if any(f.key[0] == "demand" or f.key[-1] == "rejected" for _, f in facts)]
    moments = ((shipment, known) for shipment in eventful for known, _ in plain.facts[shipment][::2])
    while wanted and (moment := next(moments, None)) is not None:
        wanted -= {u.state for u in plain.statuses(*moment)}
    assert not wanted


def test_one_shipment_of_a_demo_leaves_without_a_release_and_some_are_never_released() -> None:
    plain, end = reader(STORIES), world(STORIES)[-1].at
    updates = [u for shipment in plain.facts for u in plain.statuses(shipment, end)]
    assert 1 <= sum("left_without_release" in u.flags for u in updates) <= 3
    assert any(u.state == "ARRIVED" for u in updates)
    assert any(u.state == "REFUSED" for u in updates)


def test_the_broken_lock_withdraws_recognition_while_the_goods_are_there() -> None:
    plain = reader(STORIES)
    broken = [(shipment, known) for shipment, facts in plain.facts.items() for known, f in facts if f.key[:1] == ("seal",) and f.key[2] == "broken"]
    assert broken
    for shipment, known in broken:
        there = [u for u in plain.statuses(shipment, known) if "recognition_withdrawn" in u.flags]
        assert {u.authority for u in there} == {"KZ"}
        assert all("seal_failed:customs_lock" in u.flags and "RECOGNITION_WITHDRAWN" in {f.code for f in u.findings} for u in there)
        later = {u.side: u for u in plain.statuses(shipment, world(STORIES)[-1].at)}
        assert all(later[u.side].state == "DEPARTED" and "recognition_withdrawn" not in later[u.side].flags for u in there)
