"""Masks of retracted feeds in the folds that keep what parties said: what is masked counts as absent, in any order, and comes back whole."""
from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest

from streams.custody import CustodyFold
from streams.documents import DocumentsFold
from streams.fold import Fate
from streams.trains import TrainsFold
from tests.streams.folds_bench import (
    BOX,
    BOX2,
    CN_EXIT,
    CN_TRAIN,
    DOSTYK,
    HOUR,
    KZ_ENTRY,
    SHIPMENT,
    SMGS,
    TD,
    TD_NUMBER,
    Bench,
    announced,
    answered,
    at,
    at_terminal,
    consist,
    declared,
    difference,
    filing,
    formed,
    linked,
    loaded,
    near,
    notice,
    rail,
    sheet,
    station,
    us,
)
from topics.events.base import DocumentRef, Event
from topics.events.operations import FeedRetracted
from topics.events.rail import TrainDelayed, TrainRerouted
from topics.events.sites import AgencyNotice, SealEvent

FROM, UNTIL = 99.0, 111.0
OTHER = DocumentRef(kind="smgs", number="88")
THIRD = DocumentRef(kind="td", number="57505/010326/0000777")


def mask(feed: str, since: float = FROM, until: float = UNTIL, *, undone: bool = False, record: str = "R-1") -> FeedRetracted:
    return FeedRetracted(source="operations-desk", id=f"{record}{'u' if undone else ''}", event_time=at(400), by="duty officer", reason="wrong clock",
                         feed=feed, since=at(since), until=at(until), record=record, version=int(undone), undone=undone)


def bench(rng: random.Random | None = None) -> Bench:
    b = Bench([TrainsFold(), DocumentsFold(), CustodyFold()], rng=rng)
    b.now += 450 * HOUR
    return b


def seal(hours: float, what: str, lock: str = "L1") -> SealEvent:
    return SealEvent(source="seals-demo", id=f"s-{what}-{hours}", event_time=at(hours), chain="customs_lock", seal=lock, what=what, container=BOX)  # type: ignore[arg-type]


def agency(hours: float, what: str) -> AgencyNotice:
    return AgencyNotice(source="agency-kz-phyto", id=f"a-{what}-{hours}", event_time=at(hours), agency="phyto", authority="KZ", what=what, container=BOX,  # type: ignore[arg-type]
                        crossing=DOSTYK)


STORIES: dict[str, tuple[str, list[Event]]] = {
    "a hold of a container": ("customs-kz", [declared(), notice(50, "HOLD", container=BOX), notice(100, "LIFT", container=BOX),
                                             notice(105, "HOLD", container=BOX)]),
    "readings of a lock": ("seals-demo", [declared(), *(seal(h, "reading") for h in (20, 60, 100, 103, 106, 120)), seal(102, "broken"), seal(5, "armed")]),
    "an agency": ("agency-kz-phyto", [declared(), agency(60, "hold"), agency(104, "lift")]),
    "a corrected weight": ("terminal-dostyk", [declared(), at_terminal(50, "dostyk", "weighed", record="w", version=1, gross_kg=20_000.0),
                                               at_terminal(100, "dostyk", "weighed", record="w", version=2, gross_kg=9.0)]),
    "an amended filing": ("fwd-demo", [declared(), filing(1), notice(2, "REGISTERED", TD), filing(100, action="amend", version=1, documents=(OTHER,)),
                                       answered(101, TD, "Q")]),
    "a declaration said again": ("fwd-demo", [declared(0), declared(103, (BOX, BOX2), version=3), loaded(10), loaded(104, BOX2)]),
    "a document linked": ("fwd-demo", [declared(), linked(100, SMGS, "replaces", OTHER), linked(5, SMGS, "merged_into", OTHER)]),
    "words about a document": ("customs-kz", [declared(), filing(1), notice(2, "REGISTERED", TD), notice(105, "REJECTED", TD), notice(110, "RELEASED", TD),
                                              notice(112, "HOLD", TD)]),
    "words under two numbers of a document": ("customs-kz", [declared(), filing(1), notice(2, "REGISTERED", TD, aliases=(TD_NUMBER,)),
                                                             notice(100, "HOLD", TD_NUMBER), notice(105, "LIFT", TD), notice(112, "HOLD", TD_NUMBER)]),
    "words under three numbers of a document": ("customs-kz", [
        declared(), filing(1), notice(2, "REGISTERED", TD, aliases=(TD_NUMBER,)), notice(3, "AMENDED", TD_NUMBER, aliases=(THIRD,)),
        notice(100, "HOLD", THIRD), notice(112, "HOLD", THIRD)]),
    "numbers that are told together": ("customs-kz", [
        declared(), filing(1), notice(2, "REGISTERED", TD), notice(101, "AMENDED", TD, aliases=(TD_NUMBER, THIRD)), notice(104, "HOLD", TD_NUMBER),
        notice(112, "HOLD", THIRD)]),
    "positions of a train": ("cr", [declared(), announced(), consist(20), near(90, "kuytun"), near(95, "jinghe"), near(100, "alashankou"),
                                    station(103, "alashankou"), station(110, "alashankou", "departed"), station(112, "dostyk")]),
    "a consist corrected": ("cr", [declared(0, (BOX, BOX2)), announced(0, boxes=(BOX, BOX2)), consist(20, boxes=(BOX, BOX2), record="c", version=1),
                                   consist(100, boxes=(BOX,), record="c", version=2), station(120, "alashankou")]),
    "a plan said again": ("cr", [declared(), announced(0), announced(100, boxes=(BOX2,), version=2, crossings=("CN-KZ-KHORGOS-ALTYNKOL",)),
                                 rail(TrainRerouted, 101, CN_TRAIN, crossings=("CN-KZ-KHORGOS-ALTYNKOL",)), rail(TrainDelayed, 102, CN_TRAIN, minutes=600)]),
    "a position corrected": ("cr", [declared(), announced(), station(98, "alashankou", record="m", version=1),
                                    station(104, "alashankou", record="m", version=2), station(120, "alashankou", "departed")]),
    "a train formed": ("ktz", [declared(), announced(), sheet(98, record="s", version=1), formed(105, version=1), formed(60),
                               sheet(100, boxes=(BOX2,), source="ktz", record="s")]),
    "words about a whole train": ("customs-kz", [declared(), announced(), consist(20), station(95, "alashankou"), notice(100, "HOLD", train=CN_TRAIN)]),
}


def told(bench: Bench) -> dict[str, Any]:
    """All that holds, but for saying that words are masked."""
    found = bench.everything()
    living = {s: {k: f for k, f in facts.items() if f.key[0] != "masked"} for s, facts in found["facts"].items()}
    return found | {"facts": {s: facts for s, facts in living.items() if facts}}


def outside(feed: str, events: Sequence[Event]) -> list[Event]:
    return [e for e in events if not (e.source == feed and at(FROM) <= e.event_time <= at(UNTIL))]


def same(found: dict[str, Any], wanted: dict[str, Any], seed: int = 0) -> None:
    assert found == wanted, difference(wanted, found, seed)


@pytest.mark.parametrize("name", STORIES)
def test_a_masked_feed_leaves_what_would_be_without_it_once_the_rest_is_sent_again(name: str) -> None:
    feed, events = STORIES[name]
    kept = outside(feed, events)
    assert len(kept) < len(events)
    without = told(bench().tell(*kept))
    assert told(bench().tell(*events)) != without, "the story tells the two apart"
    same(told(bench().tell(*events, mask(feed), *kept)), without)
    same(told(bench().tell(mask(feed), *events)), without)


@pytest.mark.parametrize("name", STORIES)
def test_an_undone_mask_leaves_exactly_what_was(name: str) -> None:
    feed, events = STORIES[name]
    whole = bench().tell(*events)
    for history in ([*events, mask(feed)], [mask(feed), *events], [*events, mask(feed), *outside(feed, events)]):
        other = bench().tell(*history, mask(feed, undone=True))
        same(other.everything(), whole.everything())
        same(bench().tell(*history, mask(feed, undone=True), *events).everything(), whole.everything())


@pytest.mark.parametrize("name", STORIES)
def test_mask_and_events_in_any_order_batch_and_repetition_end_the_same(name: str) -> None:
    feed, events = STORIES[name]
    kept = outside(feed, events)
    without, whole = told(bench().tell(*kept)), bench().tell(*events).everything()
    for seed in range(6):
        rng = random.Random(seed)
        mixed = [*events, mask(feed), mask(feed)]
        rng.shuffle(mixed)
        other = bench(rng).tell(*mixed).run()
        same(told(other.tell(*kept).run()), without, seed)
        undo = [mask(feed, undone=True), mask(feed), *events]
        rng.shuffle(undo)
        same(other.tell(*undo).run().everything(), whole, seed)


def test_every_order_of_a_small_history_ends_the_same() -> None:
    feed, events = STORIES["a corrected weight"]
    without = told(bench().tell(*outside(feed, events)))
    for order in permutations([*events, mask(feed)]):
        same(told(bench().tell(*order, *outside(feed, events))), without)


def test_two_masks_cover_what_either_does_and_lifting_one_leaves_the_other() -> None:
    b = bench().tell(declared(), notice(50, "HOLD", container=BOX), notice(100, "HOLD", container=BOX, reference="2"))
    b.tell(mask("customs-kz", 40, 120), mask("customs-kz", 90, 110, record="R-2"))
    assert not b.of(SHIPMENT, "demand")
    b.tell(mask("customs-kz", 40, 120, undone=True))
    assert [f.at for f in b.of(SHIPMENT, "demand")] == [us(50)]
    b.tell(mask("customs-kz", 90, 110, undone=True, record="R-2"))
    assert [f.at for f in b.of(SHIPMENT, "demand")] == [us(50), us(100)]


def test_what_comes_under_a_mask_waits_and_what_others_say_does_not() -> None:
    held, other = notice(100, "HOLD", container=BOX), notice(100, "HOLD", container=BOX, authority="CN")
    b = bench().tell(declared(), mask("customs-kz"), held, other)
    assert b.fate(held) == (Fate.WAITING, "SOURCE_MASKED")
    assert b.fate(other) is None
    assert {f.source for f in b.of(SHIPMENT, "demand")} == {"CN"}
    b.tell(held)
    assert b.fate(held) == (Fate.DUPLICATE, "")


@pytest.mark.parametrize("word", [notice(100, "HOLD", container=BOX), notice(100, "HOLD", TD), notice(100, "HOLD", train=CN_TRAIN)])
def test_masked_words_of_an_authority_are_told_to_the_shipment(word: Event) -> None:
    b = bench().tell(declared(), filing(1), announced(), consist(20), station(60, "alashankou"), word)
    assert b.of(SHIPMENT, "demand")
    b.tell(mask("customs-kz"))
    assert not b.of(SHIPMENT, "demand")
    assert {f.key for f in b.of(SHIPMENT, "masked")} == {("masked", "KZ")}, "it may have been a hold: nothing counts as free"
    b.tell(mask("customs-kz", undone=True))
    assert not b.of(SHIPMENT, "masked")


def test_a_mask_that_covers_nothing_says_nothing() -> None:
    b = bench().tell(declared(), *STORIES["positions of a train"][1], notice(50, "HOLD", container=BOX))
    before, said = b.everything(), len(b.emitted)
    b.tell(mask("customs-kz"), mask("ktz", 0, 500, record="R-2"))
    assert b.everything() == before
    assert len(b.emitted) == said


def test_the_interval_is_closed_at_both_ends() -> None:
    b = bench().tell(declared(), *(notice(h, "HOLD", container=BOX, reference=str(h)) for h in (98.99, FROM, UNTIL, 111.01)), mask("customs-kz"))
    assert [f.at for f in b.of(SHIPMENT, "demand")] == [us(98.99), us(111.01)]


def test_a_milestone_of_a_retracted_position_is_taken_back_and_returns() -> None:
    b = bench().tell(declared(), announced(), consist(20), station(100, "alashankou"), station(110, "alashankou", "departed"))
    assert b.one(SHIPMENT, "seen", side=CN_EXIT).at == us(100)
    assert b.one(SHIPMENT, "departed", side=CN_EXIT).at == us(110)
    b.tell(mask("cr", 105, 120))
    assert b.one(SHIPMENT, "seen", side=CN_EXIT)
    assert not b.of(SHIPMENT, "departed", side=CN_EXIT)
    assert not b.of(SHIPMENT, "seen", side=KZ_ENTRY)
    b.tell(mask("cr", 105, 120, undone=True))
    assert b.one(SHIPMENT, "departed", side=CN_EXIT).at == us(110)
