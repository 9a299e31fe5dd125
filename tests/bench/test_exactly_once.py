"""How exactly-once is measured beside at-least-once: a batch that is shown at once makes nothing faster, and readers that stand still are seen."""
from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition

from streams.reference.model import Reference
from tests.bench import clearance, eos, exactly_once, on_kafka, stopwatch, transactions
from tests.bench.figures import Moment, measured
from tests.bench.load import evidence_of
from tests.bench.site import Failed
from tests.bench.transactions import EXACTLY, PLAIN, Notices, Seen
from tests.bench.visible import Stalls
from tests.sim.worlds import reference
from topics import codec
from topics.events.internal import ShipmentFacts

A, B = TopicPartition("border", 0), TopicPartition("border", 1)


class Batched:
    """A reader to whom transactions show everything at the very end, all at once."""

    def __init__(self, at: float) -> None:
        self.at = at

    def has(self, count: int) -> bool:
        return time.monotonic() >= self.at


@pytest.mark.parametrize(("visible", "committed"), [(0.4, 0.0), (0.0, 0.4)])
async def test_a_backlog_takes_from_its_first_record_until_the_last_is_committed_and_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: float, committed: float,
) -> None:
    begun, events = time.monotonic(), 10_000

    async def filled(*_: Any, **__: Any) -> None:
        return None

    class Bench:
        bootstrap, name, logs = "", "t", tmp_path

        def admin(self) -> Any:
            return argparse.Namespace(close=lambda: None)

    def started(bench: Any, variant: Any, first: Path) -> None:
        first.write_text(repr(begun))

    monkeypatch.setattr(on_kafka, "fill", filled)
    monkeypatch.setattr(exactly_once, "start", started)
    monkeypatch.setattr(stopwatch, "committed", lambda *_: events if time.monotonic() >= begun + committed else 0)
    reader: Any = Batched(begun + visible)
    bench: Any = Bench()
    found = await exactly_once.backlog(bench, exactly_once.VARIANTS[2], reader, events)
    assert 0 < found <= events / 0.4


def test_of_rates_the_highest_of_times_the_shortest_and_of_trouble_the_most_is_said() -> None:
    rounds = [{"events_per_s": 10, "p50_ms": 5, "p99_ms": 70, "not_enough_replicas": 0},
              {"events_per_s": 20, "p50_ms": 9, "p99_ms": 60, "not_enough_replicas": 7}]
    said = {row.name: eos.chosen(row, rounds) for row in eos.ROWS if row.name in rounds[0]}
    assert said == {"events_per_s": 20, "p50_ms": 5, "p99_ms": 70, "not_enough_replicas": 7}, "both quantiles of one round"


def test_what_only_transactions_have_stands_beside_nothing() -> None:
    rounds = {eos.PLAIN: [{"killed_silence_s": 1.0}, {"killed_silence_s": 0.5}], eos.SHIPPED: [
        {"killed_silence_s": 2.0, "open_transaction_silence_s": 11.0}, {"killed_silence_s": 1.5, "open_transaction_silence_s": 13.0}]}
    found = eos.said(eos.STALLS, rounds, Moment("2026-11-29T10:00Z", 1.0), "250 events/s")
    assert found[f"{eos.SHIPPED}: {eos.STALLS[0].title}"].ratio == {eos.PLAIN: 0.5}
    silent = found[f"{eos.SHIPPED}: {eos.STALLS[1].title}"]
    assert (silent.value, silent.references) == (13.0, {}), "the longest"
    assert "nothing beside it: at-least-once has no transactions" in silent.note
    assert len(found) == 3
    assert {f.rounds for f in found.values()} == {2}


def test_a_round_of_a_variant_that_fails_leaves_those_before_it_and_the_first_raises() -> None:
    rates = iter([1.0, 2.0, 3.0])

    def play(variant: exactly_once.Variant) -> dict[str, float]:
        if (rate := next(rates, None)) is None:
            raise TimeoutError("too slow")
        return {"events_per_s": rate}

    variants = exactly_once.VARIANTS[:2]
    seen, why = eos.played(3, variants, play, print)
    assert seen == {variants[0].name: [{"events_per_s": 1.0}, {"events_per_s": 3.0}], variants[1].name: [{"events_per_s": 2.0}]}
    assert why == f"; fewer rounds than asked for: {variants[1].name}: TimeoutError too slow"
    with pytest.raises(TimeoutError):
        eos.played(3, variants, play, print)


def test_readers_stand_still_as_long_as_records_lie_behind_the_same_last_stable_offset() -> None:
    stalls = Stalls()
    stalls.look({A: 5, B: 5}, {A: 5, B: 5}, 0.0)
    stalls.look({A: 5, B: 5}, {A: 9, B: 5}, 1.0)
    assert stalls.held == {A}
    stalls.look({A: 5, B: 5}, {A: 12, B: 5}, 3.5)
    assert stalls.longest == 2.5
    stalls.look({A: 12, B: 5}, {A: 12, B: 5}, 4.0)
    assert stalls.held == frozenset()
    stalls.look({A: 12, B: 5}, {A: 12, B: 5}, 60.0)
    assert stalls.longest == 2.5


def test_a_last_stable_offset_that_goes_on_is_no_stall_though_records_lie_behind_it() -> None:
    stalls = Stalls()
    for n in range(100):
        stalls.look({A: n}, {A: n + 5}, float(n))
    assert stalls.longest == 0.0
    stalls.look({A: 99}, {A: 110}, 100.5)
    assert stalls.longest == 1.5


def test_a_notice_of_the_benchmark_is_known_again_by_its_shipment() -> None:
    known: Reference = reference()
    names = [("S000000000001", clearance.boxes(1)[0]), ("S000000000002", clearance.boxes(2)[1])]
    heard = Notices(known, names)
    (first,), rest = list(heard.take(1)), list(heard.take(9))
    assert [m.probe for m in (first, *rest)] == ["S000000000001", "S000000000002"]
    said: ShipmentFacts = codec.decode(first.value, ShipmentFacts)
    assert evidence_of(b'{"evidence":[{"id":"%s"}]}' % said.facts[0].id.encode()) == {first.probe}


def test_both_modes_of_clearance_stand_side_by_side_and_the_worst_stall_is_said() -> None:
    plain = Seen(cold=[700, 800], ten=[3_000, 3_100], p50=[20, 10], p99=[60, 50], steady=[0.0, 0.0])
    exactly = Seen(cold=[400, 300], ten=[1_000, 900], p50=[40, 50], p99=[100, 90], steady=[0.1, 0.3], killed=[9.5, 13.25], unseen=1)
    found = measured(transactions.said({PLAIN: plain, EXACTLY: exactly}, 10.0))
    assert found["CLEARANCE exactly-once: clearance facts, another shipment each"].ratio == {PLAIN: 0.5}
    assert found["CLEARANCE exactly-once: notice to border update, p50"].ratio == {PLAIN: 0.25}
    assert found["CLEARANCE exactly-once: notice to border update, p99"].value == 100, "of the round whose p50 is said"
    assert found["CLEARANCE exactly-once: readers stand still, nothing wrong"].value == 0.3
    after = found["CLEARANCE exactly-once: readers stand still after kill -9 in a transaction"]
    assert (after.value, after.rounds) == (13.25, 2)
    assert "1 not seen" in found["CLEARANCE exactly-once: notice to border update, p99"].note
    assert found["CLEARANCE at-least-once: clearance facts, ten per shipment"].references == {}


def test_no_transaction_that_was_caught_open_is_a_figure_that_was_not_measured() -> None:
    seen = Seen(cold=[1], ten=[1], p50=[1], p99=[1], steady=[0])
    assert [f for name, f in transactions.said({PLAIN: seen, EXACTLY: seen}, 1.0).items() if "kill -9" in name] == [None]


class Dying:
    """A site whose second worker ends too, or whose facts are never caught in an open transaction."""

    def __init__(self, *, survives: bool) -> None:
        self.told, self.tries, self.survives = 0, 0, survives
        self.workers = [argparse.Namespace(kill=lambda: None, start=lambda: None, check=self.check) for _ in range(2)]
        self.bootstrap, self.say = "", print

    def check(self) -> None:
        if not self.survives:
            raise Failed("the worker with clearance ended with 1")

    def wait(self) -> float:
        return 0.0

    def fill(self, topic: str, rows: list[Any]) -> None:
        self.tries += 1
        self.told += len(rows) if self.survives else 0

    def committed(self, stages: Any) -> dict[str, int]:
        return {"clearance.in": self.told}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watching:
        def __init__(self, bootstrap: str, parts: Any, opened: Any) -> None:
            self.stalls, self.opened = argparse.Namespace(held=frozenset(), longest=0.2), opened

        def __enter__(self) -> Watching:
            self.opened()
            return self

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(transactions, "Watch", Watching)
    monkeypatch.setattr(transactions, "outputs", lambda _: [])


ROWS = [[(b"k", b"v")] * 10] * 100


@pytest.mark.usefixtures("watched")
def test_a_survivor_that_ends_costs_one_figure_and_not_the_section() -> None:
    site: Any = Dying(survives=False)
    assert transactions.killed(site, iter(ROWS), 0) == (None, 10)
    assert site.tries == 1


@pytest.mark.usefixtures("watched")
def test_no_try_to_kill_begins_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    site: Any = Dying(survives=True)
    assert transactions.killed(site, iter(ROWS), 0) == (None, 10 * transactions.TRIES)
    monkeypatch.setattr(transactions, "KILL_S", -1.0)
    assert transactions.killed(site, iter(ROWS), site.told) == (None, 0)


class Rounds:
    """A site with nothing to start."""

    def __enter__(self) -> Rounds:
        return self

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    async def told(site: Any, messages: Any, rate: float, seconds: float, seen: Seen) -> None:
        seen.p50.append(10.0)
        seen.p99.append(50.0)
        seen.steady.append(0.0)

    monkeypatch.setattr(transactions, "Site", lambda *_: Rounds())
    monkeypatch.setattr(transactions, "notices", told)
    for name in ("begin", "caught_up"):
        monkeypatch.setattr(transactions, name, lambda *_: None)
    monkeypatch.setattr(transactions, "killed", lambda *_: (9.0, 10))
    return argparse.Namespace(transaction_facts=40, seconds=0.1, rounds=3)


def rates(monkeypatch: pytest.MonkeyPatch, good: int) -> None:
    left = iter(range(good))

    def timed(*_: Any) -> stopwatch.Timing:
        if next(left, None) is None:
            raise Failed("a worker ended")
        return stopwatch.Timing(1_000, 1.0, 1.0, 1.0)

    monkeypatch.setattr(transactions, "timed", timed)


def test_a_round_that_fails_leaves_those_before_it(monkeypatch: pytest.MonkeyPatch, options: argparse.Namespace) -> None:
    rates(monkeypatch, 1 + 4 + 3)
    found = measured(transactions.section(reference(), options, print))
    assert found["CLEARANCE exactly-once: notice to border update, p50"].rounds == 1
    assert "fewer rounds than asked for: Failed a worker ended" in found["CLEARANCE exactly-once: notice to border update, p50"].note
    rates(monkeypatch, 1 + 3)
    with pytest.raises(Failed):
        transactions.section(reference(), options, print)


def test_no_round_begins_after_its_time(monkeypatch: pytest.MonkeyPatch, options: argparse.Namespace) -> None:
    rates(monkeypatch, 100)
    assert measured(transactions.section(reference(), options, print))["CLEARANCE exactly-once: notice to border update, p50"].rounds == 3
    monkeypatch.setattr(transactions, "LONG_S", -1.0)
    assert measured(transactions.section(reference(), options, print))["CLEARANCE exactly-once: notice to border update, p50"].rounds == 1
