"""CLEARANCE: facts of one shipment in, changed statuses out."""
from __future__ import annotations

import random

import pytest
from msgspec import structs

from streams.clearance import ClearanceFold, Shipment
from streams.fold import World
from tests.streams.border_world import BOX, CN_EXIT, KZ_ENTRY, T0, bound, doc, eta, presence, reference, shipment
from topics.events.internal import ShipmentFacts
from topics.events.outputs import ClearanceUpdate
from topics.facts import HOUR, Fact

FOLD = ClearanceFold()
KEY = "SAAAAAAAAAAAA"
REF = reference()


def step(state: Shipment | None, facts: list[Fact], now: int, world: World | None = None):  # type: ignore[no-untyped-def]
    events = [ShipmentFacts(shipment=KEY, facts=tuple(facts))] if facts else []
    return FOLD.step(state, KEY, events, world or World(REF), now)


def shown(outputs) -> dict[str, ClearanceUpdate]:  # type: ignore[no-untyped-def]
    return {e.value.side: e.value for e in outputs if e.topic == "clearance.status" and e.value is not None}


def test_a_declared_shipment_is_expected_at_every_customs_border_of_its_route() -> None:
    out = shown(step(None, [shipment(), bound()], T0).outputs)
    assert {s: u.state for s, u in out.items()} == {
        "CN-KZ-ALASHANKOU-DOSTYK:CN:EXIT": "EXPECTED", "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY": "EXPECTED",
        "KZ-RU-ZHAISAN-ILETSK:KZ:EXIT": "NOT_REQUIRED", "KZ-RU-ZHAISAN-ILETSK:RU:ENTRY": "NOT_REQUIRED",
        "BY-PL-BREST-MALASZEWICZE:BY:EXIT": "EXPECTED", "BY-PL-BREST-MALASZEWICZE:PL:ENTRY": "EXPECTED", "RU:TERRITORY": "NOT_REQUIRED"}


def test_only_changed_sides_are_published_again_and_with_a_higher_revision() -> None:
    first = step(None, [shipment(), bound()], T0)
    second = step(first.state, [doc("@KZ/doc/pi/P1", "pi", "P1", "registered", T0 + 1, "KZ")], T0)
    assert set(shown(second.outputs)) == {KZ_ENTRY}
    assert shown(second.outputs)[KZ_ENTRY].revision > shown(first.outputs)[KZ_ENTRY].revision
    assert shown(second.outputs)[KZ_ENTRY].state == "ACCEPTED"


def test_a_repeated_message_changes_and_publishes_nothing() -> None:
    first = step(None, [shipment(), bound()], T0)
    again = step(first.state, [shipment(), bound()], T0 + HOUR)
    assert again.outputs == ()
    assert [o.fate.value for o in again.outcomes] == ["duplicate"]


def test_a_revision_never_falls_below_what_a_lost_step_has_shown() -> None:
    out = shown(step(None, [shipment(), bound()], T0, World(REF, {}, T0 + 5 * HOUR)).outputs)
    assert {u.revision for u in out.values()} == {T0 + 5 * HOUR + 1}


@pytest.mark.parametrize("heard", [True, False], ids=["with an input", "when it is only looked at"])
def test_after_a_step_that_was_lost_every_side_is_said_again_even_as_it_was(heard: bool) -> None:
    """The lost one may have said anything: OVERDUE, say, before the filing came that makes it as it had been."""
    first = step(None, [shipment(), bound()], T0)
    facts = [shipment(), bound()] if heard else []
    seen = T0 + 5 * HOUR
    again = step(first.state, facts, T0 + HOUR, World(REF, {}, seen))
    before, after = shown(first.outputs), shown(again.outputs)
    assert after.keys() == before.keys()
    assert {u.revision for u in after.values()} == {seen + 1}
    assert {s: u.state for s, u in after.items()} == {s: u.state for s, u in before.items()}
    quiet = step(again.state, facts, T0 + HOUR, World(REF, {}, seen + 1))
    assert quiet.outputs == (), "once"


def test_the_status_topic_comes_first_and_the_border_gets_its_own_side_only() -> None:
    outputs = step(None, [shipment(), bound()], T0).outputs
    assert all(e.first == (e.topic == "clearance.status") for e in outputs)
    assert {e.value.side for e in outputs if e.topic == "border.cn-kz-alashankou-dostyk.kz"} == {KZ_ENTRY}
    assert {e.topic for e in outputs if e.topic.startswith("status.")} == {"status.fwd"}


def test_state_survives_its_own_bytes() -> None:
    state = step(None, [shipment(), bound(), eta(KZ_ENTRY, T0 + 9 * HOUR)], T0).state
    assert state is not None
    assert FOLD.decode_state(FOLD.encode_state(state)) == state


@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_the_same_facts_ends_in_the_same_statuses(seed: int) -> None:
    facts = [
        shipment(), bound(), eta(KZ_ENTRY, T0 + 9 * HOUR), doc("@KZ/doc/pi/P1", "pi", "P1", "registered", T0 + 1, "KZ"),
        doc(CN_EXIT, "declaration", "D1", "registered", T0 + 2, "CN"), doc(CN_EXIT, "declaration", "D1", "released", T0 + 3, "CN", scope=BOX),
        presence(KZ_ENTRY, "seen", T0 + 8 * HOUR), doc("@KZ", "td", "T1", "registered", T0 + 8 * HOUR, "KZ")]
    straight = last_words([facts], T0 + 10 * HOUR)
    shuffled = list(facts)
    random.Random(seed).shuffle(shuffled)
    assert last_words([[f] for f in shuffled] + [shuffled[:3]], T0 + 10 * HOUR) == straight


def last_words(batches: list[list[Fact]], now: int) -> dict[str, tuple[object, ...]]:
    state, last = None, {}
    for batch in batches:
        result = step(state, batch, now)
        state = result.state
        last |= shown(result.outputs)
    return {
        s: (u.state, u.basis, u.flags, u.counts, u.missing_release, [structs.replace(f, due_first_known=None) for f in u.filings], u.findings,
            u.evidence, u.actions, u.conditions)
        for s, u in last.items()}       # first-known deadlines depend on what was known first, and may
