"""What stands beside a figure: the same records for the reference programs, bare hops for latencies, bare COPY for the ledger."""
from __future__ import annotations

import argparse
from itertools import cycle
from typing import Any, Literal

import pytest

from agents.ledger.rows import COLUMNS
from streams.simulate import SimOptions
from tests.bench import beside, hops, ledger, stopwatch, whole
from tests.bench.beside import Beside, enough
from tests.bench.figures import figure
from tests.bench.hops import HOPS, floor_of
from tests.bench.load import Message
from tests.bench.reference import copy
from tests.sim.system import System
from tests.sim.worlds import reference, world
from topics import codec
from topics.events.sites import CrossingCondition


def test_records_are_given_whole_and_often_enough() -> None:
    rows = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
    assert enough(rows, 0) == rows
    assert enough(rows, 7) == rows * 3
    assert enough([], 7) == []


def test_every_program_reads_the_same_records_and_its_best_round_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, str, int]] = []
    made: dict[str, int] = {}
    rates = iter([10.0, 20.0, 30.0, 5.0])

    def run(self: Beside, name: str, topic: str, events: int) -> stopwatch.Timing:
        read.append((name, topic, events))
        return stopwatch.Timing(int(next(rates) * 10), 10.0, 1.0, 1.0)

    def topic(self: Beside, name: str, rows: Any) -> str:
        made[name] = len(rows)
        return name

    monkeypatch.setattr(Beside, "run", run)
    monkeypatch.setattr(Beside, "topic", topic)
    monkeypatch.setitem(beside.SLOW, "stock Faust", 4)
    found = Beside("", None, print).best("t", [(b"k", b"v")] * 3, 2, least=9, names=["raw", "stock Faust"])
    assert found == {"raw": 30.0, "stock Faust": 20.0}
    assert read == [("raw", "t", 9), ("stock Faust", "t.part.0", 4)] * 2
    assert made == {"t": 9, "t.part.0": 4}


def test_a_bare_hop_is_counted_from_sending_to_reading_and_what_was_not_seen_is_said() -> None:
    sent = {"a": 1.0, "b": 2.0, "c": 3.0}
    floor = floor_of(sent, {1: {"a": 1.010, "b": 2.030, "c": 3.0}, HOPS: {"a": 1.040, "b": 2.050}})
    assert [round(ms) for ms in floor.ms[1]] == [0, 10, 30]
    assert floor.unseen == 1
    assert {name: round(ms) for name, ms in floor.beside(0.5).items()} == {"bare hop": 10, "four bare hops": 50}


def test_of_the_rounds_of_bare_hops_each_quantile_takes_the_best() -> None:
    slow, fast = hops.Floor({1: [9.0], HOPS: [20.0]}, 0), hops.Floor({1: [5.0], HOPS: [30.0]}, 0)
    assert hops.best([slow, fast], 0.5) == {"bare hop": 5.0, "four bare hops": 20.0}
    assert hops.best([hops.Floor({1: [], HOPS: []}, 3)], 0.5) == {}


def test_how_far_a_latency_is_from_the_floor_is_its_ratio() -> None:
    assert figure(200.0, "ms", smaller_is_better=True, references={"four bare hops": 20.0}).ratio == {"four bare hops": 0.1}


def test_a_message_is_known_again_behind_a_hop_by_its_own_id() -> None:
    found = hops.ID.search(b'{"type":"customs.notice","source":"ru","id":"J00002-001292","document":{"kind":"pi"},"x":{"id":"other"}}')
    assert found is not None
    assert found[1] == b"J00002-001292"


@pytest.fixture(scope="module")
def played() -> System:
    system = System()
    system.play(world(SimOptions(trains=1, containers_min=2, containers_max=2, closure=False)))
    return system


def test_copy_gets_the_rows_that_the_ledger_makes_of_the_same_records_each_time_with_offsets_of_their_own(played: System) -> None:
    topics = ("clearance.in", "clearance.history", "outcomes.clearance")
    rows = ledger.rows_of({topic: [(r.key or b"", r.value) for r in played.harness.topic(topic) if r.value is not None] for topic in topics})
    first, second = copy.tables_of(rows), copy.tables_of(rows, 1_000_000)
    assert sum(len(made) for _, _, made in first) == rows.count() > 0
    assert {"event", "fact", "status", "outcome"} == {table for table, _, _ in first}
    for (table, columns, made), (_, _, again) in zip(first, second, strict=True):
        assert columns == tuple(COLUMNS[table])
        off = columns.index("off")
        assert [row[off] + 1_000_000 for row in made] == [row[off] for row in again]
    facts = next(made for table, _, made in first if table == "fact")
    assert all(isinstance(row[list(COLUMNS["fact"]).index("key")], list) for row in facts)


def test_closures_are_played_as_often_as_there_are_notices_left(monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter([whole.Closure([1.0, 5.0], "one"), whole.Closure([1.0, 3.0], "two")])

    class Played(whole.Whole):
        def __init__(self) -> None:
            self.options, self.say = argparse.Namespace(rounds=3), print

        async def closure(self, turn: int) -> whole.Closure:
            if (found := next(left, None)) is None:
                raise whole.NothingLeft("nothing")
            return found

    assert [one.note for one in Played().closures()] == ["one", "two"]
    with pytest.raises(whole.NothingLeft):
        Played().closures()


def test_a_crossing_is_closed_and_opened_in_every_round_by_newer_words() -> None:
    crossing = next(iter(reference().crossings))
    states: tuple[Literal["open", "closed"], ...] = ("closed", "open", "closed", "open")
    words: list[CrossingCondition] = [codec.decode(whole.condition(reference(), crossing, state, n).value, CrossingCondition) for n, state in enumerate(states)]
    assert len({word.id for word in words}) == 4
    assert [word.event_time for word in words] == sorted({word.event_time for word in words})


def test_programs_beside_live_operation_read_its_mix_as_one_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    said = cycle([Message("rail.trains.rzd", b"run", b"position"), Message("network.conditions.x", None, b"closed")])
    monkeypatch.setattr(whole, "Mix", lambda *_, **__: said)
    live: Any = None
    rows = whole.mixed_rows(live, [0], 4_000.0)
    assert len(rows) == beside.LEAST
    assert rows[:2] == [(b"run", b"position"), (b"", b"closed")]
