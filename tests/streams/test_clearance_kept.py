"""A shipment that goes on from what its state keeps says and keeps the same bytes as one that is assessed whole every time."""
from __future__ import annotations

import random

import msgspec
import pytest

from streams.assess.touch import anywhere
from streams.clearance import ClearanceFold, Shipment
from streams.clearance.kept import FILTER_BITS, Ground, Kept, filter_of
from streams.clearance.state import memo_of
from streams.fold import World
from tests.streams.border_world import PL_ENTRY, T0, bound, box, doc, eta, lodged, reference, shipment
from tests.streams.test_assess_memo import any_fact, position
from tests.streams.test_assess_story import ARRIVAL, KEY, there, underway
from topics.events.internal import ShipmentFacts
from topics.facts import HOUR, MINUTE, Fact

REF = reference()


def back(state: Shipment | None, *, ground: bool = True) -> Shipment | None:
    """As it comes back from its bytes; without its ground the next step assesses the whole."""
    if state is None:
        return None
    read = ClearanceFold().decode_state(ClearanceFold().encode_state(state))
    assert memo_of(read) is None
    return read if ground else msgspec.structs.replace(read, ground=None)


def new_filing(rng: random.Random, now: int, number: str) -> Fact:
    """A filing whose document nobody has spoken of, at any office, which agrees with the note or does not."""
    kind, authority = rng.choice((("td", "KZ"), ("pi", "KZ"), ("manifest", "CN"), ("gtt", "CN"), ("ens", "PL"), ("transit", "PL"), ("declaration", "CN")))
    named = rng.choice((
        {}, {"office": "KZ-DOSTYK"}, {"offices": ["BY:BY-PL-BREST-MALASZEWICZE"]}, {"office": "57505", "offices": ["PL:NOWHERE"]}))
    return lodged(kind, number, authority, now - rng.randint(0, 3) * HOUR, containers=[box(gross_kg=rng.choice((20_000.0, 26_000.0)))], **named)


def a_fact(rng: random.Random, now: int, calm: bool) -> Fact:
    """Any fact; where it is calm none that touches everything, whatever the shipment is."""
    found = any_fact(rng, now)
    while calm and anywhere(found):
        found = any_fact(rng, now)
    return found


def withdrawn(fact: Fact) -> Fact:
    return Fact(side=fact.side, key=fact.key, at=fact.at, source=fact.source, rank=fact.rank, record=fact.record, version=fact.version + 1, id=fact.id,
                scope=fact.scope, value=None)


@pytest.mark.parametrize("seed", range(80))
def test_a_state_that_comes_back_from_its_bytes_says_and_keeps_what_the_whole_says(seed: int) -> None:
    rng = random.Random(seed)
    with_memo: Shipment | None = None
    from_ground: Shipment | None = None
    whole: Shipment | None = None
    now = T0
    folds = ClearanceFold(), ClearanceFold(), ClearanceFold()
    for n in range(25):
        now += rng.choice((0, MINUTE, HOUR, 7 * HOUR)) if n else MINUTE
        begin = rng.choice((underway(), there(), [shipment(), bound()]))
        facts = begin if n == 0 else [a_fact(rng, now, seed % 2 == 1) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        if rng.random() < 0.25:
            facts.append(new_filing(rng, now, f"F{n}"))
        if whole is not None and rng.random() < 0.15:
            facts.append(withdrawn(rng.choice(whole.facts)))
        events = [ShipmentFacts(shipment=KEY, facts=tuple(facts))] if n == 0 or rng.random() < 0.9 else []
        one, two, three = (
            fold.step(state, KEY, events, World(REF), now) for fold, state in zip(folds, (with_memo, from_ground, whole), strict=True))
        assert one.outputs == two.outputs == three.outputs
        assert one.next_due == two.next_due == three.next_due
        assert one.state is not None
        assert two.state is not None
        assert three.state is not None
        kept = three.state if events else msgspec.structs.replace(three.state, ground=two.state.ground)     # a tick that says nothing keeps nothing new
        assert folds[0].encode_state(one.state) == folds[1].encode_state(two.state) == folds[2].encode_state(kept)
        with_memo, from_ground, whole = one.state, back(two.state), back(kept, ground=False)


def cost(facts: list[Fact], new: list[Fact]) -> tuple[int, int]:
    """(sides assessed anew, sides) of a step from bytes."""
    fold = ClearanceFold()
    first = fold.step(None, KEY, [ShipmentFacts(shipment=KEY, facts=tuple(facts))], World(REF), ARRIVAL + HOUR)
    then = fold.step(back(first.state), KEY, [ShipmentFacts(shipment=KEY, facts=tuple(new))], World(REF), ARRIVAL + HOUR + MINUTE)
    memo = memo_of(then.state)
    assert memo is not None
    return len(memo.says) - len(memo.standing) - sum(s.bare for s in memo.says), len(memo.says)


def test_a_position_costs_no_side_although_nothing_is_in_memory() -> None:
    assert cost(there(), [position(ARRIVAL + HOUR)])[0] == 0


def test_a_word_about_one_side_costs_that_side_although_nothing_is_in_memory() -> None:
    anew, every = cost(there(), [doc("@PL/doc/ens/E1", "ens", "E1", "amended", ARRIVAL + 30 * MINUTE, "PL")])
    assert 0 < anew <= 2 < every
    assert cost(there(), [eta(PL_ENTRY, T0 + 301 * HOUR, said=ARRIVAL)])[0] == 1


def test_a_shipment_with_an_amendment_that_is_not_answered_keeps_no_ground() -> None:
    facts = [*there(), doc(PL_ENTRY, "ens", "E1", "registered", ARRIVAL, "PL"), doc(PL_ENTRY, "ens", "E1", "amendment_sent", ARRIVAL + MINUTE, "fwd")]
    found = ClearanceFold().step(None, KEY, [ShipmentFacts(shipment=KEY, facts=tuple(facts))], World(REF), ARRIVAL + HOUR)
    assert found.state is not None
    assert found.state.ground is None


def test_what_is_kept_adds_less_than_a_quarter_to_a_state() -> None:
    fold = ClearanceFold()
    found = fold.step(None, KEY, [ShipmentFacts(shipment=KEY, facts=tuple(there()))], World(REF), ARRIVAL + HOUR).state
    assert found is not None
    assert found.ground is not None
    bare = fold.encode_state(msgspec.structs.replace(found, ground=None))
    assert len(fold.encode_state(found)) < 1.25 * len(bare)


def test_a_state_without_ground_still_decodes() -> None:
    """States that were written before it was kept end earlier."""
    fold = ClearanceFold()
    found = fold.step(None, KEY, [ShipmentFacts(shipment=KEY, facts=tuple(there()))], World(REF), ARRIVAL + HOUR).state
    assert found is not None
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(msgspec.msgpack.encode(found))[:-2])
    assert fold.decode_state(older) == msgspec.structs.replace(found, ground=None)


def test_the_filter_forgets_no_event() -> None:
    names = [f"KZ/doc/{n}" for n in range(200)]
    assert all(filter_of(names[:n + 1]) & filter_of([names[n]]) for n in range(200))
    assert filter_of(names) < 1 << FILTER_BITS
    assert filter_of([]) == 0
    assert Ground(sides=(Kept(),)) == msgspec.msgpack.decode(msgspec.msgpack.encode(Ground(sides=(Kept(),))), type=Ground)
