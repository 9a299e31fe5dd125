"""What is assessed step by step, side by side, is what the whole assessment says: the same values and the same bytes."""
from __future__ import annotations

import random
from typing import Any

import pytest

from streams.assess import Assessment, Previous, assess
from streams.clearance import ClearanceFold, Shipment
from streams.clearance.state import memo_of
from streams.fold import World
from streams.reference.model import Reference
from streams.rules import pack_of
from tests.streams.border_world import (
    BOX,
    BY_EXIT,
    CN_EXIT,
    KZ_ENTRY,
    OTHER_BOX,
    PL_ENTRY,
    T0,
    bound,
    box,
    condition,
    demand,
    doc,
    eta,
    lodged,
    presence,
    reference,
    seal,
    shipment,
)
from tests.streams.test_assess_story import ARRIVAL, KEY, read_at_dostyk, there, underway
from topics import codec
from topics.events.internal import ShipmentFacts
from topics.events.outputs import ClearanceUpdate
from topics.facts import HOUR, MINUTE, Fact, Facts, Rank, merge, slot_of

REF = reference()
SIDES = (CN_EXIT, KZ_ENTRY, BY_EXIT, PL_ENTRY, "KZ-RU-ZHAISAN-ILETSK:KZ:EXIT", "RU:TERRITORY", "PL-DE-RZEPIN-FRANKFURT:PL:EXIT")
FOLD = ClearanceFold()


class Steps:
    """One shipment that hears facts step by step."""

    def __init__(self, ref: Reference = REF) -> None:
        self.ref, self.facts = ref, Facts()
        self.last: Assessment | None = None

    def hear(self, new: list[Fact], now: int) -> Assessment:
        """Incremental; checked against the whole assessment of the same facts."""
        self.facts = merge(self.facts, new)
        known = tuple(self.facts[s] for s in sorted(self.facts))
        before = Previous(due_first=self.last.due_first if self.last else {})
        found = assess(KEY, known, self.ref, (), now, pack_of(self.ref), before, self.last.memo if self.last else None, in_order=True)
        whole = assess(KEY, known[::-1], self.ref, (), now, pack_of(self.ref), before)
        assert told(found) == told(whole)
        assert [codec.encode(u) for u in found.updates] == [codec.encode(u) for u in whole.updates]
        assert [s.times for s in found.says] == [s.times for s in whole.says]
        self.last = found
        return found


def told(a: Assessment) -> tuple[Any, ...]:
    return a.alerts, a.next_due, a.due_first, a.summaries, a.terminal_at, a.transit_open


def position(at: int, run: str = "ktz/1") -> Fact:
    return Fact(side="*", key=("position",), at=at, source="trains", rank=Rank.RAILWAY, scope=BOX, version=at, id=f"p/{at}", value={"run": run})


def any_fact(rng: random.Random, now: int) -> Fact:
    """A fact of any kind about any side, of this hour or an earlier one."""
    at, side = now - rng.randint(0, 6) * HOUR, rng.choice(SIDES)
    authority = side.split(":")[-2] if ":" in side and not side.endswith("TERRITORY") else "RU"
    made = rng.randint(0, 11)
    if made <= 2:
        return eta(side, now + rng.randint(1, 90) * HOUR, said=now)
    if made == 3:
        return position(now, rng.choice(("ktz/1", "pkp/2")))
    if made == 4:
        return presence(side, rng.choice(("seen", "handed_over", "departed", "presented")), at, rng.choice(("ktz", "pkp")))
    if made == 5:
        return demand(rng.choice((side, f"@{authority}")), rng.choice(("hold", "control", "info")), rng.choice(("", "R1")),
                      rng.choice(("opened", "started", "closed", "discrepancy")), at, authority,
                      value={"answer_by": now + 2 * HOUR, "reason": "x"}, scope=rng.choice(("", BOX)))
    if made <= 8:
        kind = rng.choice(("pi", "td", "ens", "transit", "manifest", "declaration", "conveyance", "gtt"))
        phase = rng.choice(("sent", "registered", "rejected", "released", "amendment_sent", "ended", "invalidated"))
        where = rng.choice((side, f"@{authority}", f"@{authority}/doc/{kind}/N1", f"@{authority}/office/{authority}-DOSTYK"))
        value: Any = {"valid_until": now + rng.randint(1, 30) * HOUR} if rng.random() < 0.3 else True
        return doc(where, kind, rng.choice(("N1", "N2")), phase, at, authority, value=value, id=f"{authority}/{kind}/{phase}/{at}")
    if made == 9:
        return seal(rng.choice(("armed", "ok", "tamper", "lost", "restored")), at, read_at=rng.choice(("", side)))
    if made == 10:
        return rng.choice((
            lodged(rng.choice(("td", "ens", "pi", "manifest", "gtt")), "N1", authority, at), bound(OTHER_BOX), shipment(containers=[box(), box(OTHER_BOX)]),
            Fact(side="*", key=("mass", "scale"), at=at, source="term", rank=Rank.TERMINAL, scope=BOX, value={"gross_kg": 25_000}, id=f"m/{at}")))
    return rng.choice((
        condition(f"@{authority}", rng.choice(("gtt.partner_ack", "gtt.recognised", "recognition", "inspection", "green_lane.enrolled")), at, authority),
        Fact(side=side, key=("route",), at=at, source="ktz", rank=Rank.RAILWAY, value=rng.choice(("on", "off")), version=now),
        Fact(side=side, key=("run",), at=at, source="ktz", rank=Rank.RAILWAY, scope=BOX, value=f"run/{rng.randint(1, 3)}", version=now),
        Fact(side=side, key=("visit",), at=at, source="ktz", rank=Rank.RAILWAY, scope=BOX, value=str(rng.randint(1, 2)), version=now),
        Fact(side=side, key=("agency", "veterinary", "hold", "V1", "opened"), at=at, source="vet-kz", rank=Rank.AUTHORITY, id=f"vet/{at}")))


@pytest.mark.parametrize("seed", range(40))
def test_random_histories_step_by_step_say_what_the_whole_says(seed: int) -> None:
    rng = random.Random(seed)
    steps, now = Steps(), T0
    if rng.random() < 0.8:
        steps.hear(underway() if rng.random() < 0.7 else [shipment(), bound()], now)
    for _ in range(30):
        now += rng.choice((0, MINUTE, HOUR, 7 * HOUR))
        new = [any_fact(rng, now) for _ in range(rng.choice((0, 1, 1, 1, 2, 3)))]
        known = list(steps.facts.values())
        if known and rng.random() < 0.15:                  # a source withdraws what it has said
            gone = rng.choice(known)
            new.append(Fact(side=gone.side, key=gone.key, at=gone.at, source=gone.source, rank=gone.rank, record=gone.record,
                            version=gone.version + 1, id=gone.id, scope=gone.scope, value=None))
        steps.hear(list({slot_of(f): f for f in new}.values()), now)


@pytest.mark.parametrize("seed", range(10))
def test_a_fold_that_forgets_its_memo_says_and_keeps_the_same_bytes(seed: int) -> None:
    rng = random.Random(seed)
    with_memo: Shipment | None = None
    without: Shipment | None = None
    now = T0
    for n in range(25):
        now += rng.choice((MINUTE, HOUR))
        facts = tuple(underway()) if n == 0 else (any_fact(rng, now),)
        events = [ShipmentFacts(shipment=KEY, facts=facts)]
        one = FOLD.step(with_memo, KEY, events, World(REF), now)
        two = FOLD.step(without, KEY, events, World(REF), now)
        assert one.outputs == two.outputs
        assert one.next_due == two.next_due
        assert one.state is not None
        assert two.state is not None
        assert FOLD.encode_state(one.state) == FOLD.encode_state(two.state)
        with_memo, without = one.state, FOLD.decode_state(FOLD.encode_state(two.state))
        assert memo_of(without) is None


def cost(facts: list[Fact], new: list[Fact], now: int) -> int:
    steps = Steps()
    steps.hear(facts, now)
    return steps.hear(new, now).anew


def test_a_position_or_a_repetition_costs_no_side() -> None:
    assert cost(underway(), [position(T0 + HOUR)], T0 + 5 * HOUR) == 0
    assert cost(underway(), [], T0 + 5 * HOUR) == 0


def test_an_eta_that_moves_costs_no_side_and_the_first_one_costs_its_own() -> None:
    assert cost(underway(), [eta(PL_ENTRY, T0 + 301 * HOUR, said=T0 + 1), eta(BY_EXIT, T0 + 297 * HOUR, said=T0 + 1)], T0 + 5 * HOUR) == 0
    facts = [f for f in underway() if not (f.side == PL_ENTRY and f.key[0] == "eta")]
    assert cost(facts, [eta(PL_ENTRY, T0 + 301 * HOUR)], T0 + 5 * HOUR) == 1


def test_presence_costs_the_two_sides_of_its_crossing() -> None:
    facts = [f for f in underway() if f.key[0] != "eta"]
    steps = Steps()
    steps.hear([*facts, presence(CN_EXIT, "seen", T0 + HOUR)], T0 + 2 * HOUR)
    assert steps.hear([presence(KZ_ENTRY, "seen", ARRIVAL)], T0 + 2 * HOUR).anew == 2


def test_what_the_link_does_not_look_at_costs_one_side_of_it() -> None:
    steps = Steps()
    steps.hear(there(), ARRIVAL + HOUR)
    said = steps.last
    assert said is not None
    found = steps.hear([doc(KZ_ENTRY, "import", "I1", "registered", ARRIVAL + MINUTE, "KZ")], ARRIVAL + HOUR)
    assert found.anew == 1
    assert next(s for s in found.says if s.side.id == CN_EXIT) is next(s for s in said.says if s.side.id == CN_EXIT)


def test_what_the_link_does_look_at_costs_both() -> None:
    facts = [f for f in there() if f.key != ("condition", "gtt.recognised")]
    steps = Steps()
    steps.hear(facts, ARRIVAL + HOUR)
    assert steps.hear([condition(KZ_ENTRY, "gtt.recognised", T0 + 3 * HOUR, "KZ")], ARRIVAL + HOUR).anew == 2


def test_a_seal_or_a_territory_costs_every_side() -> None:
    every = len(assess(KEY, underway(), REF, (), T0, pack_of(REF)).says)
    assert cost(underway(), [seal("ok", T0 + 4 * HOUR)], T0 + 5 * HOUR) == every
    assert cost(underway(), [demand("RU:TERRITORY", "hold", "H1", "opened", T0, "RU")], T0 + 5 * HOUR) == every


def test_a_filing_costs_its_authoritys_sides_unless_somebody_has_spoken_of_it() -> None:
    every = len(assess(KEY, underway(), REF, (), T0, pack_of(REF)).says)
    filing = lodged("transit", "X1", "PL", T0)
    assert cost(underway(), [filing], T0 + 5 * HOUR) == 1
    assert cost([*underway(), doc(PL_ENTRY, "transit", "X1", "registered", T0, "PL")], [filing], T0 + 5 * HOUR) == every
    assert cost(underway(), [lodged("transit", "X1", "PL", T0, office="PL-NOWHERE")], T0 + 5 * HOUR) == every + 1


def test_another_authoritys_hold_reaches_only_its_own_and_later_sides() -> None:
    steps = Steps()
    steps.hear([*there(), read_at_dostyk()], ARRIVAL + HOUR)
    found = steps.hear([demand(BY_EXIT, "hold", "H1", "opened", ARRIVAL, "BY")], ARRIVAL + HOUR)
    assert {u.side: u.state for u in found.updates}[BY_EXIT] == "HELD"
    assert found.anew < len(found.says)


# --- when a side is said again -------------------------------------------------------------------------------------------


def shown(state: Shipment | None, facts: list[Fact], now: int) -> tuple[Shipment | None, dict[str, ClearanceUpdate]]:
    found = FOLD.step(state, KEY, [ShipmentFacts(shipment=KEY, facts=tuple(facts))], World(REF), now)
    return found.state, {e.value.side: e.value for e in found.outputs
                         if e.topic == "clearance.status" and isinstance(e.value, ClearanceUpdate)}


def test_an_eta_that_moves_by_one_step_of_the_grid_is_not_said_again() -> None:
    state, first = shown(None, [*underway(), position(T0)], T0 + 5 * HOUR)
    assert KZ_ENTRY in first
    _, again = shown(state, [eta(KZ_ENTRY, ARRIVAL + 15 * MINUTE, said=T0 + 5 * HOUR)], T0 + 5 * HOUR)
    assert again == {}


def test_small_steps_add_up_and_a_large_one_is_said_at_once() -> None:
    state, _ = shown(None, underway(), T0 + 5 * HOUR)
    heard = []
    for n in range(1, 12):
        state, again = shown(state, [eta(KZ_ENTRY, ARRIVAL + n * 15 * MINUTE, said=T0 + 5 * HOUR + n)], T0 + 5 * HOUR)
        heard += [(n, u.eta) for u in again.values() if u.side == KZ_ENTRY]
    assert [n for n, _ in heard] == [9]                     # 5 % of 43 hours is 2 h 09
    assert heard[0][1] == (ARRIVAL + 15 * MINUTE, ARRIVAL + 135 * MINUTE, ARRIVAL + 255 * MINUTE)
    _, again = shown(state, [eta(KZ_ENTRY, ARRIVAL + 9 * HOUR, said=T0 + 6 * HOUR)], T0 + 6 * HOUR)
    assert again[KZ_ENTRY].eta is not None


def test_a_small_step_that_changes_how_a_filing_stands_is_said_at_once() -> None:
    facts = [f for f in underway() if not (f.key[0] in ("doc", "filing") and f.key[1] == "pi")]
    margin = REF.limits.at_risk_margin_minutes * MINUTE
    arrival = T0 + 5 * HOUR + margin + 2 * HOUR + 120 * MINUTE + 5 * MINUTE        # five minutes before it is at risk by its P10
    facts = [f for f in facts if not (f.side == KZ_ENTRY and f.key[0] == "eta")] + [eta(KZ_ENTRY, arrival)]
    state, first = shown(None, facts, T0 + 5 * HOUR)
    assert {f.kind: f.timing for f in first[KZ_ENTRY].filings}["pi"] == "open"
    _, again = shown(state, [eta(KZ_ENTRY, arrival - 10 * MINUTE, said=T0 + 5 * HOUR)], T0 + 5 * HOUR)
    assert {f.kind: f.timing for f in again[KZ_ENTRY].filings}["pi"] == "at_risk"
