"""States take fewer bytes, and are what they were."""
from __future__ import annotations

import inspect
import sys
from typing import Any

import msgspec
import pytest

from agents.runner.cells import ObjectCache
from streams.clearance.fold import ClearanceFold
from streams.clearance.state import Shelf, Shipment, memo_of
from streams.custody import inputs as custody
from streams.documents import inputs as documents
from streams.fold import World
from streams.readiness import state as readiness
from streams.squeeze import LEAST, MARK, loosened, squeezed
from streams.trains import inputs as trains
from tests.streams.border_world import reference
from tests.streams.test_assess_story import BY_THEN, KEY, there
from topics.events.internal import ShipmentFacts

REF = reference()


def stepped(fold: ClearanceFold, key: str = KEY) -> Shipment:
    step = fold.step(None, key, [ShipmentFacts(shipment=key, facts=tuple(there()))], World(REF), BY_THEN)
    assert step.state is not None
    return step.state


def test_a_state_is_read_as_it_was_written_in_half_the_bytes_or_less() -> None:
    fold = ClearanceFold()
    state = stepped(fold)
    data, plain = fold.encode_state(state), msgspec.msgpack.Encoder(order="deterministic").encode(state)
    assert fold.decode_state(data) == state
    assert len(data) * 2 <= len(plain)
    assert data[:1] == MARK


def test_a_state_that_was_written_unsqueezed_is_read_too() -> None:
    fold = ClearanceFold()
    state = stepped(fold)
    assert fold.decode_state(msgspec.msgpack.Encoder(order="deterministic").encode(state)) == state


def test_few_bytes_are_left_as_they_are() -> None:
    data = b"\x91" + b"a" * (LEAST - 2)
    assert squeezed(data) == data == loosened(data)
    more = data + b"b"
    assert squeezed(more) != more
    assert loosened(squeezed(more)) == more


def test_only_the_shipments_assessed_last_keep_a_memo_and_say_the_same_without() -> None:
    one = memo_of(stepped(ClearanceFold()))
    assert one is not None
    assert one.weight >= len(there())
    fold = ClearanceFold(memos_weight=2 * one.weight)
    states = [stepped(fold, f"S{n:012d}") for n in range(3)]
    assert [memo_of(s) is not None for s in states] == [False, True, True]
    again = fold.step(states[0], "S000000000000", (), World(REF), BY_THEN)
    fresh = ClearanceFold().step(states[0], "S000000000000", (), World(REF), BY_THEN)
    assert (again.outputs, again.next_due) == (fresh.outputs, fresh.next_due)


def test_a_cache_counts_a_squeezed_state_at_the_size_of_its_object() -> None:
    cache, state = ObjectCache(bytes_max=10_000), stepped(ClearanceFold())
    cache.put(1, "a", state, 100)
    assert cache.bytes_held == 100 * Shipment.SWELLS
    cache.drop(1, "a")
    assert cache.bytes_held == 0


def test_a_shipment_that_is_assessed_again_takes_no_second_place() -> None:
    one, two = Shipment(last_revision=1), Shipment(last_revision=2)
    fold = ClearanceFold()
    memo = memo_of(stepped(fold))
    assert memo is not None
    shelf = Shelf(2 * memo.weight)
    for state in (one, one, two, one):
        shelf.put("a" if state is one else "b", state, memo)
    assert memo_of(one) is memo
    assert memo_of(two) is memo


def test_a_memo_that_is_heavier_than_all_may_be_is_kept_until_the_next() -> None:
    memo = memo_of(stepped(ClearanceFold()))
    assert memo is not None
    shelf, one, two = Shelf(memo.weight // 2), Shipment(last_revision=1), Shipment(last_revision=2)
    shelf.put("a", one, memo)
    assert memo_of(one) is memo
    shelf.put("b", two, memo)
    assert (memo_of(one), memo_of(two)) == (None, memo)
    shelf.put("b", two, None)
    shelf.put("a", one, None)
    shelf.put("c", Shipment(), memo)
    assert (memo_of(one), memo_of(two)) == (None, None), "nothing is remembered of what left none"


@pytest.mark.parametrize("state", [trains.State, custody.State, documents.State, Shipment, readiness.Run], ids=lambda s: s.__module__)
def test_every_state_that_is_squeezed_says_how_large_its_object_is(state: Any) -> None:
    module = sys.modules[state.__module__]
    large = msgspec.convert(msgspec.to_builtins(state()), state)
    assert 10 <= state.SWELLS <= 40
    data = module.encode(large)
    assert data[:1] != MARK, "nothing in it: too little to squeeze"
    assert module.decode(module.encode(large)) == large
    assert "return squeezed(" in inspect.getsource(module.encode)
