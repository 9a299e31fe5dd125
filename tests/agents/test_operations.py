"""Tools for bad days, as far as they are pure: who waits, what a shadow writes, how a shipment is reopened, what a rebuild finds."""
from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import msgspec
import pytest

from agents.cli.rebuild import FOLDS
from agents.ledger.rows import GENESIS, Rows
from agents.ledger.rows import LogRecord as LedgerRecord
from agents.ledger.writer import TOPICS
from agents.operations import rebuild, shadow
from agents.operations.acts import ActRefused, operator_of
from agents.operations.holding import Holding, held_topics
from agents.operations.reopen import later, messages
from agents.operations.resend import Retraction
from agents.reference import load
from agents.runner.cells import Header, unpack
from streams.clearance import ClearanceFold, Shipment
from streams.derived import after_inputs
from streams.documents import DocumentsFold
from streams.effects import Ack, Await, Publish, PublishOutcomes, PutState, Send
from streams.fold import World
from tests.agents.ledger_world import movement
from tests.streams.border_world import KZ_ENTRY, T0, demand
from tests.streams.border_world import reference as border
from tests.streams.folds_bench import NOW, SHIPMENT, TD, Bench, declared, filing, notice, reference
from tests.streams.test_assess_story import KEY
from tests.streams.test_clearance_more import FOLD, finished, step
from topics import codec, registry
from topics.events.operations import FeedPaused, InputDrained, OperatorAct
from topics.facts import DAY, Fact
from topics.registry import fold_topic

START = datetime(2026, 3, 1, tzinfo=UTC)
KNOWN = load()
REGISTRY = registry.build(KNOWN.parties.values(), KNOWN.authorities.values(), KNOWN.crossings.values(), partitions=2)
KTZ = REGISTRY.parties["ktz"].inbound


def pause(minute: int, feed: str = "ktz", paused: bool = True) -> FeedPaused:
    return FeedPaused(source="operations-desk", id=f"P-{minute}", event_time=START + timedelta(minutes=minute), by="x", reason="y", feed=feed, paused=paused)


def drain(minute: int, draining: bool = True) -> InputDrained:
    return InputDrained(source="operations-desk", id=f"D-{minute}", event_time=START + timedelta(minutes=minute), by="x", reason="y", draining=draining)


# -- who waits ----------------------------------------------------------------------------------------------------------------
def test_the_latest_act_about_a_feed_counts_in_any_order() -> None:
    for acts in permutations((pause(1), pause(2, paused=False), pause(3), pause(2, "customs-kz"))):
        assert held_topics(acts, REGISTRY) == {KTZ, REGISTRY.parties["customs-kz"].inbound}
    assert held_topics([pause(1), pause(2, paused=False)], REGISTRY) == frozenset()


def test_a_drain_holds_every_party_but_the_operators_themselves() -> None:
    held = held_topics([drain(1)], REGISTRY)
    assert held == {p.inbound for p in REGISTRY.parties.values()} - {REGISTRY.parties["operations-desk"].inbound}
    assert held_topics([drain(1), pause(0), drain(2, False)], REGISTRY) == {KTZ}, "what was paused before stays paused"


def test_a_worker_follows_acts_in_place_and_survives_one_it_cannot_read() -> None:
    holding = Holding(REGISTRY)
    topics = holding.topics
    holding.take("pause/ktz", codec.encode(pause(1)))
    assert topics == {KTZ}
    holding.take("new/thing", b'{"type": "operations.of_the_future"}')
    assert topics == {KTZ}
    holding.take("drain", codec.encode(drain(2)))
    assert holding.draining
    assert len(topics) > 30
    holding.take("drain", codec.encode(drain(3, False)))
    holding.take("pause/ktz", codec.encode(pause(4, paused=False)))
    assert holding.topics is topics
    assert not topics
    assert not holding.draining


def test_an_act_that_a_former_owner_writes_late_does_not_count() -> None:
    holding = Holding(REGISTRY)
    holding.take("pause/ktz", codec.encode(pause(2, paused=False)))
    holding.take("pause/ktz", codec.encode(pause(1)))
    assert not holding.topics
    holding.take("pause/ktz", codec.encode(pause(3)))
    assert holding.topics == {KTZ}


def test_who_acts_is_one_of_the_operators() -> None:
    assert operator_of(REGISTRY, "") == "operations-desk"
    with pytest.raises(ActRefused, match="no party of operators"):
        operator_of(REGISTRY, "ktz")


def test_an_authority_speaks_in_facts_under_its_code() -> None:
    assert Retraction(feed="customs-kz", since=START, until=START).speakers == ["customs-kz", "KZ"]
    assert Retraction(feed="ktz", since=START, until=START).speakers == ["ktz"]


# -- in the shadow -------------------------------------------------------------------------------------------------------------
def test_a_shadow_writes_under_its_own_names_and_never_to_borders_or_alerts() -> None:
    names = shadow.Names(REGISTRY)
    outward = [spec.name for spec in REGISTRY.topics.values() if spec.kind in ("border", "office", "territory", "restricted", "alerts")]
    sends = tuple(Send(name, b"k", b"v", 1) for name in ("clearance.in", "status.ktz", "refusals.ktz", "dead.letters", *outward))
    effects = names.effects((Publish(sends), PublishOutcomes(Send("outcomes.intake", b"k", b"v")), Await(),
                             PutState("clearance.state", 1, ((b"k", b"v"),)), Ack("shadow.clearance.in", 1, 7)))
    published, outcomes, *_, state, ack = effects
    assert isinstance(published, Publish)
    assert [s.topic for s in published.sends] == ["shadow.clearance.in", "shadow.status.ktz", "shadow.refusals.ktz", "shadow.dead.letters"]
    assert outcomes == PublishOutcomes(Send("shadow.outcomes.intake", b"k", b"v"))
    assert state == PutState("shadow.clearance.state", 1, ((b"k", b"v"),))
    assert ack == Ack("shadow.clearance.in", 1, 7), "what was read"
    assert names.of(KTZ) == KTZ, "outside topics are read as they are"


def test_no_outside_party_reads_a_shadow() -> None:
    specs = shadow.topics(REGISTRY)
    assert {s.name for s in specs} >= {"shadow.trains.in", "shadow.trains.state", "shadow.clearance.status", "shadow.outcomes.intake"}
    for spec in specs:
        assert spec.name.startswith("shadow.")
        assert set(spec.readers) <= {"ops", "railclear"}
        assert spec.writers == ("railclear",)
        assert not spec.name.removeprefix("shadow.").startswith(("border.", "office.", "territory.", "ops.alerts"))
    readers = {spec.name: set(spec.readers) for spec in specs}
    assert readers["shadow.clearance.status"] == {"ops", "railclear"}
    for covert in ("shadow.clearance.in", "shadow.clearance.state", "shadow.dead.letters.restricted", "shadow.restricted.revisions"):
        assert readers[covert] == {"railclear"}, "a covert word may be in it"
    assert [name for name in readers if name.startswith("shadow.restricted.")] == ["shadow.restricted.revisions"]


# -- reopened ------------------------------------------------------------------------------------------------------------------
def reopened(stub: Shipment, facts: Sequence[Fact], now: int, act: str = "O-1") -> Any:
    told = [codec.decode(codec.encode(m), type(m)) for m in messages(KEY, facts, act, now, "operations-desk")]
    return FOLD.step(stub, KEY, told, World(border()), now)


def test_a_reopened_shipment_lives_on_with_what_came_after_it_retired() -> None:
    alive = finished()
    now = T0 + 60 * DAY
    stub = step(alive, [], T0 + 31 * DAY).state
    assert stub is not None
    assert stub.retired_at is not None
    hold = demand(KZ_ENTRY, "hold", "H1", "opened", T0 + 40 * DAY, "KZ")
    facts = [*alive.facts, hold]
    random.Random(1).shuffle(facts)
    found = reopened(stub, facts, now)
    assert found.state.retired_at is None
    assert found.state.shown[KZ_ENTRY].state == "HELD"
    assert found.state.last_revision > alive.last_revision
    assert found.next_due > now + 20 * DAY, "it does not retire again at once"
    later = step(found.state, [], now + 29 * DAY).state
    assert later is not None
    assert later.retired_at is None


def test_it_retires_again_after_its_time_and_a_repeat_changes_nothing() -> None:
    alive, now = finished(), T0 + 60 * DAY
    stub = step(alive, [], T0 + 31 * DAY).state
    assert stub is not None
    found = reopened(stub, alive.facts, now)
    assert {s.state for s in found.state.shown.values()} == {"DEPARTED"}
    again = reopened(found.state, alive.facts, now)
    assert [o.fate.value for o in again.outcomes] == ["duplicate"]
    assert again.outputs == ()
    over = step(found.state, [], now + 31 * DAY).state
    assert over is not None
    assert over.retired_at == now + 31 * DAY


def test_many_facts_take_several_messages_and_the_first_alone_awakens() -> None:
    many = [demand(KZ_ENTRY, "control", f"C{n}", "opened", T0 + n, "KZ") for n in range(1_200)]
    told = list(messages(KEY, [*many, *many], "O-1", T0, "operations-desk"))
    assert sum(len(m.facts) for m in told) == 1_201
    assert len(told) == 3
    assert all(m.origin == "reopen:O-1" for m in told)
    assert told[0].facts[0].key == ("reopened",)


def test_what_came_while_a_shipment_was_reopened_is_sent_and_nothing_twice() -> None:
    early, word, late = (demand(KZ_ENTRY, "hold", "H1", what, T0 + n, "KZ") for n, what in enumerate(("opened", "started", "discrepancy")))
    told = next(messages(KEY, [early], "O-1", T0, "operations-desk")).facts
    more = list(later(KEY, [early, word], [*told, early, word, late, late], "O-1"))
    assert [(m.shipment, m.facts, m.origin) for m in more] == [(KEY, (late,), "reopen:O-1")]
    assert list(later(KEY, [early], [*told, early], "O-1")) == []
    many = [demand(KZ_ENTRY, "control", f"C{n}", "opened", T0 + n, "KZ") for n in range(1_200)]
    assert [len(m.facts) for m in later(KEY, [], many, "O-1")] == [500, 500, 200]


# -- rebuilt -------------------------------------------------------------------------------------------------------------------
def kept(state: Any, offset: int = 9) -> rebuild.Kept[Any]:
    return rebuild.Kept(Header(offset, 4, None, 2, 77, T0), state)


def test_a_damaged_shipment_is_found_and_says_the_difference_after_the_switch() -> None:
    recipe, alive, now = rebuild.clearance_recipe(border()), finished(), T0 + 6 * 3_600_000_000
    hold = demand(KZ_ENTRY, "hold", "H1", "opened", T0 + 5 * 3_600_000_000, "KZ")
    right = step(alive, [hold], now).state
    assert right is not None
    found, better = rebuild.compare(recipe, {KEY: kept(alive)}, {KEY: list(right.facts)}, now)
    assert [(d.key, d.kind) for d in found.differences] == [(KEY, "differs")]
    assert "demand/hold" in found.differences[0].more[0]
    (key, value), = rebuild.records(recipe, {KEY: kept(alive)}, better, now)
    header, data = unpack(value)
    assert (key, header.offset, header.seq, header.due, header.revision) == (KEY, 9, 5, now, 77)
    said = FOLD.step(ClearanceFold().decode_state(data), KEY, (), World(border(), {}, header.revision), now)
    assert {e.value.state for e in said.outputs if e.topic == "clearance.status"} == {"HELD"}
    assert all(e.value.side == KZ_ENTRY for e in said.outputs if e.topic == "clearance.status"), "what did not differ is not said again"


def test_an_intact_shipment_is_the_same_and_a_stub_or_a_forgotten_one_is_left() -> None:
    recipe, alive = rebuild.clearance_recipe(border()), finished()
    stub = step(alive, [], T0 + 31 * DAY).state
    ledger = {KEY: list(alive.facts), "SBBBBBBBBBBBB": list(alive.facts)}
    same, better = rebuild.compare(recipe, {KEY: kept(alive), "SBBBBBBBBBBBB": kept(stub)}, ledger, T0 + DAY)
    assert (same.keys, same.same, same.retired, same.differences, better) == (1, 1, 1, (), {})
    forgotten, _ = rebuild.compare(recipe, {}, ledger, T0 + 400 * DAY)
    assert (forgotten.retired, forgotten.differences) == (2, ())


def test_a_lost_shipment_is_missing_and_one_without_a_fact_in_the_ledger_is_never_switched() -> None:
    recipe, alive = rebuild.clearance_recipe(border()), finished()
    found, better = rebuild.compare(recipe, {"SBBBBBBBBBBBB": kept(alive)}, {KEY: list(alive.facts)}, T0 + DAY)
    assert {(d.key, d.kind) for d in found.differences} == {(KEY, "missing"), ("SBBBBBBBBBBBB", "unledgered")}
    assert set(better) == {KEY}
    assert better[KEY].facts == alive.facts


def test_a_document_made_anew_is_the_one_that_the_fold_keeps_and_a_lost_word_is_found() -> None:
    events = [declared(), filing(1), notice(2, "REGISTERED", TD), notice(3, "HOLD", TD)]
    bench = Bench([DocumentsFold()])
    log: dict[str, list[Any]] = {}
    through = bench._step

    def logged(topic: str, key: str, batch: Sequence[Any]) -> None:
        log.setdefault(key, []).extend(batch)
        through(topic, key, batch)

    bench._step = logged  # type: ignore[method-assign]
    bench.tell(*events)
    recipe = rebuild.documents_recipe(reference(), ())
    states = {key: kept(recipe.decode(data)) for (_, key), data in bench.states.items()}
    same, _ = rebuild.compare(recipe, states, log, NOW)
    assert same.differences == ()
    assert same.same == len(states) > 1
    lost = states["td:LRN-1"].state
    own = lost.own.copy()
    gone = max(own.notices, key=lambda name: own.notices[name].event_time)
    del own.notices[gone]
    states["td:LRN-1"] = kept(msgspec.structs.replace(lost, own=own))
    found, better = rebuild.compare(recipe, states, log, NOW)
    assert [(d.key, d.kind, d.more) for d in found.differences] == [("td:LRN-1", "differs", (f"notices {gone}",))]
    assert recipe.parts(better["td:LRN-1"]) == recipe.parts(lost)
    assert better["td:LRN-1"].version == lost.version
    _, anew = rebuild.compare(recipe, {}, log, NOW)
    assert anew["td:LRN-1"].version > lost.version, "else nobody would hear what it says from now on"
    told = log["td:LRN-1"]                               # sent again while a mask had freed their places: each counted, but does not without the mask
    _, masked = rebuild.compare(recipe, {}, {"td:LRN-1": [*told, *told]}, NOW)
    assert masked["td:LRN-1"].version > after_inputs(0, 2 * len(told))
    assert SHIPMENT


@pytest.mark.parametrize("fold", ["trains", "custody", "readiness", "sources"])
def test_a_fold_of_which_the_ledger_knows_too_little_is_refused_with_the_reason(fold: str) -> None:
    assert len(rebuild.REFUSED[fold]) > 20
    assert fold not in {rebuild.clearance_recipe(border()).fold, rebuild.documents_recipe(reference(), ()).fold}


def test_the_ledger_lacks_what_the_refusals_say_and_has_what_can_be_rebuilt() -> None:
    """Where it keeps more one day, a fold may be rebuilt that is refused today."""
    kept = Rows()

    def is_kept(topic: str, event: dict[str, Any]) -> bool:
        before = kept.count()
        kept.add(LedgerRecord(topic, 0, 1, 1_772_366_400_000, b"k", msgspec.json.encode(event)), GENESIS)
        return kept.count() > before

    position = {"type": "train.position", "source": "ktz", "id": "p-1", "event_time": "2026-03-01T00:00:00Z"}
    assert [is_kept("trains.in", position | {"what": what}) for what in ("at", "arrived")] == [False, True]
    assert not is_kept("trains.in", {"type": "train.inherited"})
    assert not is_kept("custody.in", msgspec.to_builtins(movement("CSQU3054383", "R1", "K1", "123")))
    assert not {fold_topic(fold) for fold in ("readiness", "sources")} & set(TOPICS)
    assert {fold_topic(fold) for fold in FOLDS} <= set(TOPICS)
    assert {*FOLDS, *rebuild.REFUSED} == set(registry.FOLDS), "every fold is one or the other"


def test_every_act_has_a_type_that_the_registry_lets_operators_say() -> None:
    from typing import get_args

    from topics.events.operations import OperationsEvent

    tags = {str(kind.__struct_config__.tag) for kind in get_args(OperationsEvent)}
    assert tags == set(registry.ACCEPTS["operations"]) - {"heartbeat"}
    assert all(issubclass(kind, OperatorAct) for kind in get_args(OperationsEvent))




def test_a_table_of_values_in_another_order_is_no_difference() -> None:
    recipe, alive = rebuild.clearance_recipe(border()), finished()
    turned = tuple(msgspec.structs.replace(f, value=dict(reversed(f.value.items()))) if isinstance(f.value, dict) else f for f in alive.facts)
    assert turned == alive.facts
    assert [repr(f) for f in turned] != [repr(f) for f in alive.facts]
    assert rebuild.compare(recipe, {KEY: kept(alive)}, {KEY: list(turned)}, T0 + DAY)[0].differences == ()
