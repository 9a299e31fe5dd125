"""States take fewer bytes, and are what they were."""
from __future__ import annotations

import msgspec

from agents.runner.cells import ObjectCache
from streams.clearance.fold import ClearanceFold
from streams.clearance.state import Shelf, Shipment, memo_of
from streams.fold import World
from streams.squeeze import LEAST, MARK, SWELLS, loosened, squeezed
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
    fold = ClearanceFold(memos=2)
    states = [stepped(fold, f"S{n:012d}") for n in range(3)]
    assert [memo_of(s) is not None for s in states] == [False, True, True]
    again = fold.step(states[0], "S000000000000", (), World(REF), BY_THEN)
    fresh = ClearanceFold().step(states[0], "S000000000000", (), World(REF), BY_THEN)
    assert (again.outputs, again.next_due) == (fresh.outputs, fresh.next_due)


def test_a_cache_counts_a_squeezed_state_at_the_size_of_its_object() -> None:
    cache, state = ObjectCache(bytes_max=10_000), stepped(ClearanceFold())
    cache.put(1, "a", state, 100)
    assert cache.bytes_held == 100 * SWELLS
    cache.drop(1, "a")
    assert cache.bytes_held == 0


def test_a_shipment_that_is_assessed_again_takes_no_second_place() -> None:
    shelf, one, two = Shelf(2), Shipment(last_revision=1), Shipment(last_revision=2)
    fold = ClearanceFold()
    memo = memo_of(stepped(fold))
    assert memo is not None
    for state in (one, one, two, one):
        shelf.put("a" if state is one else "b", state, memo)
    assert memo_of(one) is memo
    assert memo_of(two) is memo
