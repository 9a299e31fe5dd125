"""What folds say: only differences, taken back when they no longer hold, in versions that survive a crash."""
from __future__ import annotations

import random
from typing import Any

import msgspec

from streams.custody import CustodyFold
from streams.derived import INPUT, Saying, after_inputs, after_time, alert, closing, difference, fact
from streams.documents import DocumentsFold
from streams.fold import World
from streams.kept import identity
from tests.streams.folds_bench import BOX, NOW, SMGS, TD, declared, filing, loaded, notice, reference
from topics import codec
from topics.events.internal import DocumentBound, Joined, ShipmentFacts
from topics.facts import Fact, Facts, merge

KEY = ("doc", "td", "1", "released")


def released(at: int, **more: Any) -> Saying:
    return fact("S1", Fact(**{"side": "@KZ", "key": KEY, "at": at, "source": "KZ", "id": f"e{at}", **more}))


def facts_in(emits: Any) -> list[Fact]:
    return [f for e in emits for f in e.value.facts]


def test_what_is_new_is_said_once() -> None:
    emits, said = difference({}, [released(1)], INPUT)
    assert [(f.at, f.version) for f in facts_in(emits)] == [(1, INPUT)]
    again, _ = difference(said, [released(1)], 2 * INPUT)
    assert again == ()


def test_what_changes_is_said_with_a_higher_version() -> None:
    _, said = difference({}, [released(1)], INPUT)
    emits, _ = difference(said, [released(2)], 2 * INPUT)
    assert [(f.at, f.version) for f in facts_in(emits)] == [(2, 2 * INPUT)]


def test_what_no_longer_holds_is_taken_back_in_its_slot() -> None:
    emits, said = difference({}, [released(1)], INPUT)
    held: Facts = merge({}, facts_in(emits))
    emits, said = difference(said, [], 2 * INPUT)
    held = merge(held, facts_in(emits))
    assert [f.value for f in held.values()] == [None]
    assert not said


def test_of_two_words_for_one_slot_the_later_counts_whatever_the_order() -> None:
    for order in ([released(1), released(2)], [released(2), released(1)]):
        emits, _ = difference({}, order, INPUT)
        assert [f.at for f in facts_in(emits)] == [2]


def test_a_higher_version_of_its_source_beats_a_later_time() -> None:
    emits, _ = difference({}, [released(9, version=1), released(2, version=2)], INPUT)
    assert [f.at for f in facts_in(emits)] == [2]


def test_messages_are_stamped_and_taken_back() -> None:
    bound = DocumentBound(document=TD, shipment="S1", record="r", version=0, at=1, source="x", via="k")
    saying = Saying("documents.in", "td:LRN-1", "bound", bound, msgspec.structs.replace(bound, withdrawn=True))
    emits, said = difference({}, [saying], INPUT)
    assert [(e.key, e.value.version, e.value.withdrawn) for e in emits] == [("td:LRN-1", INPUT, False)]  # type: ignore[union-attr]
    emits, _ = difference(said, [], 2 * INPUT)
    assert [(e.value.version, e.value.withdrawn) for e in emits] == [(2 * INPUT, True)]  # type: ignore[union-attr]


def test_a_part_that_does_not_count_is_not_said_again() -> None:
    def joined(wagon: str) -> Saying:
        return Saying("readiness.in", "R", BOX, Joined(run="R", container=BOX, shipment="S", wagon=wagon, seq=0, aboard=True, at=1), counts=(1,))

    _, said = difference({}, [joined("W1")], INPUT)
    assert difference(said, [joined("W2")], 2 * INPUT)[0] == ()


def test_an_alert_resolves_when_it_is_no_longer_said_or_its_state_retires() -> None:
    raised = alert("UnknownCode/X", "UnknownCode", "warning", 1, "detail")
    emits, said = difference({}, [raised], INPUT)
    assert [(e.topic, e.value.state) for e in emits] == [("ops.alerts", "open")]  # type: ignore[union-attr]
    assert [e.value.state for e in difference(said, [], 2 * INPUT)[0]] == ["resolved"]  # type: ignore[union-attr]
    assert [e.value.seq for e in closing(said, 9)] == [9]  # type: ignore[union-attr]


def test_inputs_outweigh_time_and_time_runs_on() -> None:
    one = after_inputs(0, 1)
    tick = after_time(one, NOW, NOW + 5_000_000)
    assert one < tick < after_time(tick, NOW, NOW + 9_000_000) < after_inputs(tick, 1)
    assert after_inputs(tick, 2) == after_inputs(after_inputs(one, 1), 1)


def test_a_step_that_was_lost_in_a_crash_never_leaves_the_wrong_last_word() -> None:
    """Outputs are published before state; after a crash the inputs come again, cut into other batches."""
    events = [declared(), filing(1), *(notice(2 + n, code, TD, reference="H") for n, code in enumerate(("HOLD", "LIFT", "RELEASED", "REVOKED"))),
              loaded(3), loaded(9, bound="unloaded"), declared(4, (BOX,), SMGS, version=2)]
    fold, world = DocumentsFold(), World(reference())
    for seed in range(200):
        rng = random.Random(seed)
        mine = [e for e in events if not isinstance(e, type(filing(0)))]
        state, held, position = None, dict[str, Facts](), 0
        while position < len(mine):
            size = rng.randint(1, len(mine) - position)
            step = fold.step(state, "smgs:31046586", mine[position : position + size], world, NOW)
            for emit in step.outputs:
                if isinstance(emit.value, ShipmentFacts):
                    told = codec.decode(codec.encode(emit.value), ShipmentFacts)
                    held[emit.key] = merge(held.get(emit.key, {}), told.facts)
            if rng.random() < 0.4:
                continue                                # the state was not written: the same inputs again, perhaps in another cut
            state, position = fold.decode_state(fold.encode_state(step.state)) if step.state else None, position + size
        straight = fold.step(None, "smgs:31046586", mine, world, NOW)
        wanted = merge({}, (f for e in straight.outputs if isinstance(e.value, ShipmentFacts)
                            for f in codec.decode(codec.encode(e.value), ShipmentFacts).facts))
        found = {slot: f for facts in held.values() for slot, f in facts.items() if f.value is not None}
        assert {s: (f.at, f.value) for s, f in found.items()} == {s: (f.at, f.value) for s, f in wanted.items()}, seed


def test_same_inputs_give_the_same_bytes() -> None:
    for fold, key, inputs in ((DocumentsFold(), "smgs:31046586", [declared(), loaded(3)]), (CustodyFold(), BOX, [notice(2, "HOLD", None, container=BOX)])):
        steps = [fold.step(None, key, inputs, World(reference()), NOW) for _ in range(2)]  # type: ignore[attr-defined]
        assert steps[0].outputs == steps[1].outputs
        assert fold.encode_state(steps[0].state) == fold.encode_state(steps[1].state)  # type: ignore[arg-type]


def test_a_resent_message_is_the_same_and_a_corrected_one_is_not() -> None:
    once = notice(2, "RELEASED", TD)
    assert identity(once) == identity(msgspec.structs.replace(once, event_time=notice(9, "X").event_time, flags=("LATE",)))
    assert identity(once) != identity(msgspec.structs.replace(once, code="REJECTED"))
    assert identity(once, repeatable=True) != identity(msgspec.structs.replace(once, event_time=notice(9, "X").event_time), repeatable=True)
