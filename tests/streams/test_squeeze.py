"""States take fewer bytes, and are what they were."""
from __future__ import annotations

import hashlib
import inspect
import pkgutil
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
from streams.squeeze import CLEARANCE, CUSTODY, DOCUMENTS, LEAST, LEAST_WITH, MARK, MARK_WITH, loosened, squeezed
from streams.trains import inputs as trains
from tests.streams.border_world import reference
from tests.streams.test_assess_story import BY_THEN, KEY, there
from topics.events.internal import ShipmentFacts

REF = reference()


def stepped(fold: ClearanceFold, key: str = KEY) -> Shipment:
    step = fold.step(None, key, [ShipmentFacts(shipment=key, facts=tuple(there()))], World(REF), BY_THEN)
    assert step.state is not None
    return step.state


def test_a_state_is_read_as_it_was_written_in_a_third_of_the_bytes_or_less() -> None:
    fold = ClearanceFold()
    state = stepped(fold)
    data, plain = fold.encode_state(state), msgspec.msgpack.Encoder(order="deterministic").encode(state)
    assert fold.decode_state(data) == state
    assert len(data) * 3 <= len(plain)
    assert data[:2] == MARK_WITH + bytes([CLEARANCE])
    assert fold.encode_state(state) == data, "a part knows its whole by the checksum of its bytes"


def test_a_state_that_was_written_unsqueezed_or_without_a_dictionary_is_read_too() -> None:
    fold = ClearanceFold()
    state = stepped(fold)
    plain = msgspec.msgpack.Encoder(order="deterministic").encode(state)
    assert fold.decode_state(plain) == state
    assert squeezed(plain)[:1] == MARK
    assert fold.decode_state(squeezed(plain)) == state


@pytest.mark.parametrize(("dictionary", "least"), [(0, LEAST), (CLEARANCE, LEAST_WITH)])
def test_few_bytes_are_left_as_they_are(dictionary: int, least: int) -> None:
    data = b"\x91" + b"a" * (least - 2)
    assert squeezed(data, dictionary) == data == loosened(data)
    more = data + b"b"
    assert squeezed(more, dictionary) != more
    assert loosened(squeezed(more, dictionary)) == more


@pytest.mark.parametrize(("number", "digest"), [
    (DOCUMENTS, "62128400cb041a866f5e25ec2345dd460e995d15fbaaeb5eb2be15aea7a8cc88"),
    (CUSTODY, "494a176686d5678e606441f37d6184e67bbdeb93309b966d54fbb9891b172cfd"),
    (CLEARANCE, "65ef683766fc00db61a63ea93f0d154ec7097771226df1a0ef03dc4dac41c88d"),
])
def test_a_dictionary_that_states_were_written_with_stays_what_it_is(number: int, digest: str) -> None:
    data = pkgutil.get_data("streams", f"dictionaries/{number}.zstd")
    assert data is not None
    assert hashlib.sha256(data).hexdigest() == digest, "another dictionary needs another number (python -m tests.bench.dictionary)"
    assert 0 < len(data) <= 64 << 10


def test_a_state_of_a_dictionary_of_a_later_version_is_refused_by_its_number() -> None:
    with pytest.raises(ValueError, match="dictionary 255"):
        loosened(MARK_WITH + b"\xff" + b"\x28\xb5\x2f\xfd")
    with pytest.raises(ValueError, match="dictionary 255"):
        squeezed(b"\x91" * LEAST, 255)


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
    assert 10 <= state.SWELLS <= 60
    data = module.encode(large)
    assert data[:1] not in (MARK, MARK_WITH), "nothing in it: too little to squeeze"
    assert module.decode(module.encode(large)) == large
    assert "return squeezed(" in inspect.getsource(module.encode)
