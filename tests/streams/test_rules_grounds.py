"""Rules that are not called because their ground is missing would have said nothing: called all the same, they say nothing."""
from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest

from streams.assess import Assessment, assess
from streams.assess.findings import calls
from streams.rules import CONDITIONS, FINDINGS, grounds, pack_of, rules_at
from streams.rules.case import Case, SideCase, Trip
from streams.rules.day import day_of
from streams.rules.gtt_link import link_of
from streams.rules.rule import Rule
from tests.streams.border_world import BOX, DOSTYK, OTHER_BOX, T0, bound, box, demand, reference, seal, shipment
from tests.streams.test_assess_memo import any_fact
from tests.streams.test_assess_story import KEY, broken, there, underway
from topics.events.internal import FreshnessChanged
from topics.events.sites import CrossingCondition
from topics.facts import HOUR, Fact, merge

REF = reference()
CLOSED = CrossingCondition(source="network", id="c1", event_time=datetime(2026, 2, 2, tzinfo=UTC), crossing=DOSTYK, state="closed")
SILENT = FreshnessChanged(source="customs-kz", live=False, since=T0, last_event=T0)
MORE = [
    seal("removed", T0 + 5 * HOUR), seal("applied", T0 + 6 * HOUR, lock="L-7"), seal("ok", T0 + 6 * HOUR), demand("@CN", "control", "C1", "opened", T0, "CN"),
    demand("@CN", "control", "C1", "closed", T0 + HOUR, "CN"), bound(OTHER_BOX), shipment(containers=[box(seals=["L-9"]), box("BOXU0000001", empty=True)]),
    shipment(enrolments=["gtt", "green_lane", "fast_clearance"], parties=[{"role": "consignor", "country": "CN", "aeo": "AEOCN1"}])]


def history(seed: int) -> tuple[Assessment, int]:
    """An assessment of random facts, and its instant."""
    rng = random.Random(seed)
    now = T0 + rng.randint(1, 90) * HOUR
    base = rng.choice(([], underway(), there(), [*there(), *broken()]))
    facts = [f for f in base if rng.random() < 0.9] + [any_fact(rng, now) for _ in range(rng.randint(0, 12))]
    facts += [f for f in MORE if rng.random() < 0.3]
    public: list[msgspec.Struct] = [b for b in (CLOSED, SILENT) if rng.random() < 0.4]
    known: tuple[Fact, ...] = tuple(merge({}, facts).values())
    return assess(KEY, known, REF, public, now, pack_of(REF)), now


def left_out(trip: Trip, side: SideCase, now: int) -> tuple[list[Rule], list[Rule]]:
    """Conditions and findings that the assessment did not ask for at this side."""
    today = day_of(now)
    link = (grounds.OPTED if trip.enrolled("gtt") else 0) | (grounds.LINK if link_of(Case(trip, side), REF, today) is not None else 0)
    asked = set(map(id, rules_at("condition", side.kind, today, False, link)))
    blocked = any(t.kind == "TERRITORY" and t.status is not None and not t.status.movable for t in trip.sides)
    have = grounds.of_side(trip, side, grounds.of_trip(trip), blocked)
    told = set(map(id, rules_at("finding", side.kind, today, False, have)))
    mine = [r for r in CONDITIONS if side.kind in r.kinds], [r for r in FINDINGS if side.kind in r.kinds]
    return [r for r in mine[0] if id(r) not in asked], [r for r in mine[1] if id(r) not in told]


@pytest.mark.parametrize("seed", range(150))
def test_a_rule_without_its_ground_has_nothing_to_say(seed: int) -> None:
    found, now = history(seed)
    assert found.trip is not None
    for side in found.trip.sides:
        if side.required and side.status is not None:
            for rules in left_out(found.trip, side, now):
                said = [(rule.id, f) for rule, case in calls(found.trip, side, rules) if (f := rule.check(case, REF, now)) is not None]
                assert said == []


@pytest.mark.parametrize("seed", range(60))
def test_what_is_asked_once_for_both_sides_of_the_link_is_the_same_at_both(seed: int) -> None:
    found, now = history(seed)
    trip = found.trip
    assert trip is not None
    pair = [s for s in trip.sides if s.required and link_of(Case(trip, s), REF, day_of(now)) is not None]
    for rule in (r for r in CONDITIONS if r.pair):
        for scope in {s for side in pair for s in side.rules}:
            assert len({repr(rule.check(Case(trip, side, scope), REF, now)) for side in pair}) <= 1


def test_the_histories_leave_rules_out_and_let_every_family_speak() -> None:
    out: Counter[str] = Counter()
    spoken: Counter[str] = Counter()
    for seed in range(150):
        found, now = history(seed)
        assert found.trip is not None
        for side in found.trip.sides:
            if side.required and side.status is not None:
                out.update(r.id for rules in left_out(found.trip, side, now) for r in rules)
        spoken.update(f.rule.partition("-")[0] for u in found.updates for f in u.findings)
    needing = {r.id for r in (*CONDITIONS, *FINDINGS) if r.needs} - {"ROUTE-02"}     # every office of this small world is an unknown one
    assert needing <= set(out)
    assert {"ADV", "SEAL", "REC", "BORD", "TRN", "DOC", "STALE", "GTT"} <= set(spoken)


def test_a_shipment_on_its_way_asks_few_rules() -> None:
    found = assess(KEY, underway(), REF, (), T0 + 5 * HOUR, pack_of(REF))
    assert found.trip is not None
    side = next(s for s in found.trip.sides if s.kind == "ENTRY" and s.required and s.authority == "PL")
    _, silent = left_out(found.trip, side, T0 + 5 * HOUR)
    assert len(silent) >= 25
    assert BOX in side.rules
