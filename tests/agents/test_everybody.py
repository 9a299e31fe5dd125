"""What concerns everybody comes back with a lost state: retractions stay in force, closed crossings closed, whatever the ledger's order."""
from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import msgspec

from agents.cli.rebuild_switch import Put, carry_out
from agents.operations import everybody, rebuild
from agents.runner.broadcasts import SLOT_KEY, SLOTS_MAX
from agents.runner.cells import Header, pack, unpack
from agents.runner.partition import Partition
from agents.transport.origin import INPUT_KEY
from streams.clearance import ClearanceFold
from streams.documents import DocumentsFold
from streams.effects import Effect, LogRecord, Publish, PutState
from streams.intake.routing import route
from streams.kept import instant
from tests.streams.border_world import KZ_ENTRY, T0, reference
from tests.streams.test_assess_story import KEY
from tests.streams.test_clearance_more import finished
from topics import codec
from topics.events.internal import FreshnessChanged, MaskFacts, ShipmentFacts
from topics.events.operations import FeedRetracted
from topics.events.sites import CrossingCondition, RiskIndicator

HOUR = 3_600_000_000
NOW = T0 + 6 * HOUR
FOLD = ClearanceFold()
MASK = MaskFacts(source="KZ", since=T0 + 3 * HOUR, until=T0 + 5 * HOUR, record="R-1")
"""Over the release of the import declaration (`finished`)."""
CROSSING = "CN-KZ-ALASHANKOU-DOSTYK"


def act(version: int = 0, *, undone: bool = False) -> FeedRetracted:
    return FeedRetracted(source="operations-desk", id=f"R-{version}", record="R-1", version=version, event_time=instant(NOW), by="x", reason="y", feed="KZ",
                         since=instant(MASK.since), until=instant(MASK.until), undone=undone)


def closed(hour: int, state: str = "closed") -> CrossingCondition:
    return CrossingCondition(source="desk", id=f"c-{hour}", event_time=instant(T0 + hour * HOUR), crossing=CROSSING, state=state)  # type: ignore[arg-type]


def indicator(number: int, hours: int) -> RiskIndicator:
    return RiskIndicator(source="customs-kz", id=f"i-{number}", record=f"i-{number}", event_time=instant(T0), authority="KZ", valid_from=instant(T0),
                         valid_until=instant(T0) + timedelta(hours=hours))


TOLD = (closed(1, "open"), FreshnessChanged(source="ktz", live=True, since=T0, last_event=T0), closed(3), MASK,
        FreshnessChanged(source="ktz", live=False, since=T0 + HOUR, last_event=T0), indicator(1, 400), indicator(2, 5))


def ran(messages: Iterable[msgspec.Struct]) -> tuple[Partition[Any, Any], list[Effect]]:
    """A partition of CLEARANCE that was told all this, and what it did."""
    partition: Partition[Any, Any] = Partition(FOLD, reference(), 0, rule_pack="p")
    partition.restored()
    log = [LogRecord("clearance.in", 0, n, NOW // 1000, (KEY if isinstance(m, ShipmentFacts) else "*").encode(), codec.encode(m))
           for n, m in enumerate(messages)]
    return partition, [effect for record in log for effect in partition.batch([record])]


def topic_of(effects: Iterable[Effect]) -> dict[int, rebuild.OfPartition]:
    """What the state topic keeps for everybody after these effects."""
    found = rebuild.OfPartition()
    for effect in effects:
        for key, value in effect.records if isinstance(effect, PutState) else ():
            if value is not None and key.decode().startswith("\0"):
                found.epoch = max(found.epoch, unpack(value)[0].epoch)
            if value is not None and key.decode().startswith(SLOT_KEY):
                found.slots[key.decode().removeprefix(SLOT_KEY)] = unpack(value)
    return {0: found}


def told(messages: Iterable[msgspec.Struct], *acts: FeedRetracted, fold: Any = FOLD, partitions: int = 1) -> everybody.Told:
    found = everybody.Told(fold, range(partitions))
    for message in messages:
        found.add(0, codec.encode(message))
    found.acted(acts)
    return found


def shown(effects: Iterable[Effect]) -> dict[str, Any]:
    """The last status of each side."""
    sends = [send for effect in effects if isinstance(effect, Publish) for send in effect.sends if send.topic == "clearance.status"]
    return {said["side"]: said for send in sends if send.value is not None for said in [msgspec.json.decode(send.value)]}


def test_a_lost_state_comes_back_with_its_retractions_and_closures() -> None:
    facts = ShipmentFacts(shipment=KEY, facts=tuple(f for f in finished().facts if f.side != KZ_ENTRY or "departed" not in f.key))
    before, did = ran([*TOLD, facts])
    assert shown(did)[KZ_ENTRY]["state"] not in ("RELEASED", "DEPARTED")
    recipe = rebuild.clearance_recipe(reference())
    _, better = rebuild.compare(recipe, {}, {KEY: list(facts.facts)}, NOW)
    keys = rebuild.records(recipe, {}, better, NOW)
    shuffled = list(TOLD)
    random.Random(3).shuffle(shuffled)
    differences, words = everybody.compare(told(shuffled), {}, NOW)
    assert {d.kind for d in differences} == {"missing"}

    def started(records: list[tuple[str, bytes]]) -> tuple[Partition[Any, Any], dict[str, Any]]:
        anew: Partition[Any, Any] = Partition(FOLD, reference(), 0, rule_pack="p")
        for key, value in records:
            anew.restore(key.encode(), value)
        anew.restored()
        return anew, shown(anew.tick(NOW, lambda: True))

    whole, said = started([*((key, value) for _, key, value in words), *keys])
    alive_still = {slot: word for slot, word in before.broadcasts.world.items() if slot != "risk:customs-kz:i-2"}
    assert whole.broadcasts.world == alive_still, "all but the indicator that is over"
    assert said[KZ_ENTRY]["state"] == shown(did)[KZ_ENTRY]["state"]
    assert "FACTS_MASKED" in {f["code"] for f in said[KZ_ENTRY]["findings"]}
    poorer, wrong = started(keys)
    assert poorer.broadcasts.world == {}
    assert wrong[KZ_ENTRY]["state"] == "RELEASED", "without them what was retracted counts again"


def test_what_a_partition_keeps_of_everything_it_was_told_is_no_difference() -> None:
    _, did = ran(TOLD)
    assert everybody.compare(told(TOLD), topic_of(did), T0) == ((), [])
    assert everybody.compare(told(TOLD[:2]), topic_of(did), T0) == ((), []), "of what the ledger lacks, or has an earlier word of, nothing is touched"


def test_a_partition_that_missed_some_of_it_is_mended_and_all_its_keys_are_stepped_with_it() -> None:
    _, did = ran([closed(1, "open"), ShipmentFacts(shipment=KEY, facts=finished().facts)])
    kept = topic_of(did)
    differences, words = everybody.compare(told([closed(1, "open"), closed(3), MASK]), kept, NOW)
    assert [(d.key, d.kind) for d in differences] == [(f"* of partition 0: crossing:{CROSSING}", "differs"), ("* of partition 0: mask:KZ:R-1", "missing")]
    again: Partition[Any, Any] = Partition(FOLD, reference(), 0, rule_pack="p")
    for effect in did:
        for key, value in effect.records if isinstance(effect, PutState) else ():
            again.restore(key, value)
    for _, key, value in words:
        again.restore(key.encode(), value)
    again.restored()
    assert again.broadcasts.world[f"crossing:{CROSSING}"] == closed(3)
    assert again.sweeping == 1
    late = LogRecord("clearance.in", 0, 7, NOW // 1000, b"*", codec.encode(closed(3)))
    again.batch([late])
    assert again.broadcasts.world[f"crossing:{CROSSING}"] == closed(3), "read again, it is what is there already"


def test_of_masks_the_acts_have_the_word_in_every_partition() -> None:
    """The ledger may lack one: it was away for longer than the topics keep."""
    for fold in (FOLD, DocumentsFold()):
        found = told((), act(), fold=fold, partitions=3)
        assert [m for m in found.masks() if (m.source, m.record, m.lifted) == ("KZ", "R-1", False)] == found.masks()
        assert {partition: list(words) for partition, words in found.words.items()} == {partition: ["mask:KZ:R-1"] for partition in range(3)}
        said = next(codec.encode(e.value) for e in route(act()) if e.topic == fold.input_topic and e.value is not None)
        assert found.words[0]["mask:KZ:R-1"].data == said, "the very bytes that intake sends: read again they are a repeat"
        assert all(m.lifted for m in told((MASK,), act(1, undone=True), fold=fold).masks()), "a lifted one stays lifted"
        lifted = msgspec.structs.replace(MASK, version=2, lifted=True)
        assert told((lifted,), act(1), fold=fold).masks() == [lifted], "of two the higher version counts"


def test_what_is_no_word_for_everybody_is_left_out_and_a_covert_one_is_not_named() -> None:
    found = told([ShipmentFacts(shipment=KEY, facts=finished().facts), indicator(1, 400)])
    found.add(0, b"no message")
    found.add(9, codec.encode(MASK))
    assert list(found.words[0]) == ["risk:customs-kz:i-1"]
    assert [d.key for d in everybody.compare(found, {}, NOW)[0]] == ["* of partition 0: risk"]


def test_a_partition_is_not_given_more_than_it_may_keep_and_masks_come_first() -> None:
    full = rebuild.OfPartition(slots={f"x{n}": (Header(offset=1, seq=1), b"") for n in range(SLOTS_MAX - 1)}, epoch=4)
    _, words = everybody.compare(told([indicator(1, 400), indicator(3, 400), MASK]), {0: full}, NOW)
    assert [key for _, key, _ in words] == [f"{SLOT_KEY}mask:KZ:R-1"]
    assert unpack(words[0][2]) == (Header(offset=-1, seq=1, epoch=5), codec.encode(MASK))
    assert pack(*unpack(words[0][2])) == words[0][2]


async def test_a_lost_topic_says_its_input_last_so_that_a_switch_cut_short_is_still_refused_by_workers() -> None:
    sent: list[tuple[str, bytes, int | None]] = []

    class Producer:
        async def send_and_wait(self, topic: str, value: bytes, key: bytes, partition: int | None = None) -> None:
            sent.append((topic, key, partition))

    desk: Any = SimpleNamespace(producer=Producer(), party="operations-desk", now=instant(NOW), registry=SimpleNamespace(
        parties={"operations-desk": SimpleNamespace(inbound="operations.control.desk")}))
    _, words = everybody.compare(told([MASK], partitions=2), {}, NOW)
    await carry_out(desk, Put(FOLD, words, [(KEY, b"state")], [0, 1]), None, {"by": "x", "reason": "y"})
    assert sent[1:-1] == [("clearance.state", f"{SLOT_KEY}mask:KZ:R-1".encode(), 0), ("clearance.state", KEY.encode(), None),
                         ("clearance.state", INPUT_KEY, 0), ("clearance.state", INPUT_KEY, 1)]
    assert [sent[0][0], sent[-1][0]] == ["operations.control.desk"] * 2
