"""What stands beside a figure: the same records for the reference programs, bare hops for latencies, bare COPY for the ledger."""
from __future__ import annotations

import argparse
import copy as standard_copy
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import pytest

from agents.ledger.rows import COLUMNS
from streams.simulate import SimOptions
from tests.bench import __main__ as benchmarks
from tests.bench import beside, hops, latency, ledger, on_kafka, positions, stopwatch, whole
from tests.bench.beside import Beside, References, enough
from tests.bench.figures import figure
from tests.bench.hops import HOPS, floor_of
from tests.bench.load import Message
from tests.bench.on_kafka import Row
from tests.bench.page import page
from tests.bench.reference import copy, kafka_streams
from tests.bench.site import Failed
from tests.sim.system import System
from tests.sim.worlds import reference, world
from topics import codec
from topics.events.sites import CrossingCondition


def test_records_are_given_again_and_again_until_they_are_enough() -> None:
    rows = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
    assert enough(rows, 2) == rows[:2]
    assert enough(rows, 7) == [*rows, *rows, rows[0]]
    assert enough([], 7) == []


class Ran(Beside):
    """Programs of which the rate is known beforehand; an error instead of a rate: it fails."""

    def __init__(self, rates: dict[str, list[float | Exception]]) -> None:
        super().__init__("", None, print)
        self.rates = {name: iter(of_one) for name, of_one in rates.items()}
        self.given: list[tuple[str, int]] = []

    def run(self, name: str, topic: str, rows: Sequence[Row], count: int) -> stopwatch.Timing:
        self.given.append((name, count))
        rate = next(self.rates[name])
        if isinstance(rate, Exception):
            raise rate
        return stopwatch.Timing(count, count / rate, 1.0, 1.0)


ROWS = [(b"k", b"v")] * 3


@pytest.fixture
def all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "missing", dict)
    monkeypatch.setattr(kafka_streams, "prepare", str)


@pytest.mark.usefixtures("all_there")
def test_every_program_takes_its_turn_and_its_best_round_is_said() -> None:
    ran = Ran({"raw": [10_000.0, 30_000.0], "stock Faust": [2_000.0, 500.0]})
    found = ran.best("t", ROWS, 2, names=["raw", "stock Faust"])
    assert found.rates == {"raw": 30_000.0, "stock Faust": 2_000.0}
    assert found.failed == {}
    assert found.us_cpu == {"raw": 1e6 / beside.LEAST, "stock Faust": 1e6 / beside.SLOW["stock Faust"]}
    assert found.rss_mb == {"raw": 1.0, "stock Faust": 1.0}
    assert ran.given == [("raw", beside.LEAST), ("stock Faust", beside.SLOW["stock Faust"])] * 2


@pytest.mark.usefixtures("all_there")
def test_a_program_that_is_through_too_soon_gets_more_and_only_its_long_run_counts() -> None:
    ran = Ran({"raw": [150_000.0, 100_000.0, 90_000.0]})
    assert ran.best("t", ROWS, 2, names=["raw"]).rates == {"raw": 100_000.0}
    assert ran.given == [("raw", 150_000), ("raw", 975_000), ("raw", 975_000)]


@pytest.mark.usefixtures("all_there")
def test_no_program_gets_more_records_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "BYTES_MAX", 2 * 200_000)
    ran = Ran({"raw": [150_000.0, 100_000.0]})
    assert ran.best("t", ROWS, 1, names=["raw"]).rates == {"raw": 100_000.0}
    assert ran.given == [("raw", 150_000), ("raw", 200_000)]


@pytest.mark.usefixtures("all_there")
def test_a_program_that_fails_is_named_and_costs_the_others_nothing() -> None:
    error = stopwatch.NoProgress("bench-kafka-streams ended with 1: Error in /tmp/x/KeepLast.java")
    ran = Ran({"raw": [10_000.0, 20_000.0], "Kafka Streams": [error], "stock Faust": [2_000.0, RuntimeError("gone")]})
    found = ran.best("t", ROWS, 2, names=["raw", "Kafka Streams", "stock Faust"])
    assert found.rates == {"raw": 20_000.0, "stock Faust": 2_000.0}
    assert found.noted("of ten") == ("of ten; Kafka Streams not measured: NoProgress bench-kafka-streams ended with 1: Error in ...; "
                                     "stock Faust failed in a later round: RuntimeError gone")
    assert [name for name, _ in ran.given] == ["raw", "Kafka Streams", "stock Faust", "raw", "stock Faust"]


def test_a_program_that_cannot_even_be_compiled_leaves_the_others_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    def uncompiled() -> str:
        raise subprocess.CalledProcessError(1, "ecj")

    monkeypatch.setattr(beside, "missing", dict)
    monkeypatch.setattr(kafka_streams, "prepare", uncompiled)
    found = Ran({"raw": [10_000.0]}).best("t", ROWS, 1, names=["Kafka Streams", "raw"])
    assert (found.rates, list(found.failed)) == ({"raw": 10_000.0}, ["Kafka Streams"])


def test_a_program_that_is_not_installed_is_named_and_what_is_promised_beside_it_is_not_met(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(beside, "QUIX", tmp_path / "python")
    found = Ran({"raw": [10_000.0]}).best("t", ROWS, 1, names=["raw", "Quix Streams"])
    assert found.noted("of ten") == f"of ten; Quix Streams not measured: {beside.QUIX_WANTED}"
    made = figure(70_000, "/s", at_least=60_000, references=found.rates, least_ratios={"Quix Streams": 1.0})
    assert (made.met, made.least_ratios, made.ratio) == (False, {"Quix Streams": 1.0}, {"raw": 7.0})
    (tmp_path / "python").touch()
    assert beside.missing() == {}


def test_quix_streams_gets_the_modules_of_python_and_not_the_programs_beside_it(tmp_path: Path) -> None:
    (tmp_path / "quixstreams.py").write_text("import copy, sys\nsys.exit(copy.__file__)")
    _, *arguments = beside.COMMANDS["Quix Streams"]("broker")("topic", "group")
    ended = subprocess.run([sys.executable, *arguments], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    assert Path(ended.stderr.strip()) == Path(standard_copy.__file__)


@pytest.fixture
def played_positions(monkeypatch: pytest.MonkeyPatch) -> dict[str, Sequence[Row]]:
    """Topic -> what the programs beside it were given; all four are there, but Quix Streams fails on the railways' records."""
    timing, given = stopwatch.Timing(700_000, 10.0, 1.0, 1.0), dict[str, Sequence[Row]]()
    runs = argparse.Namespace(admin=None, rows=ROWS, inbound=ROWS[:1], close=lambda: None)

    def best(self: Beside, topic: str, rows: Sequence[Row], rounds: int) -> References:
        given[topic] = rows
        names = ["raw", "stock Faust", "Kafka Streams"]
        return References(dict.fromkeys(names, timing), {"Quix Streams": "gone"})

    monkeypatch.setattr(on_kafka, "broker", lambda: nullcontext(argparse.Namespace(bootstrap="")))
    monkeypatch.setattr(on_kafka, "Positions", lambda *_: runs)
    for name in ("through_trains", "through_intake", "after_restart"):
        monkeypatch.setattr(on_kafka, name, lambda *_: timing)
    monkeypatch.setattr(positions, "load_of", lambda *_, **__: None)
    monkeypatch.setattr(Beside, "best", best)
    return given


def test_positions_promise_and_aim_at_their_ratios_whatever_is_there(played_positions: dict[str, Sequence[Row]]) -> None:
    found = benchmarks.positions(reference(), argparse.Namespace(rounds=1, positions=1_300))
    trains = found["positions through TRAINS"]
    assert trains is not None
    assert (trains.met, trains.least_ratios) == (False, {"stock Faust": 20.0, "Quix Streams": 1.0})
    assert trains.aim_ratios == {"raw": 0.35, "Kafka Streams": 1.0}
    assert trains.lacking == ["Quix Streams"]
    assert "Quix Streams not measured: gone" in trains.note
    assert "×0.35 raw; ×1 Kafka Streams" in page({"positions through TRAINS": trains}, {})


def test_programs_beside_positions_from_the_railways_read_what_the_railways_say(played_positions: dict[str, Sequence[Row]]) -> None:
    found = benchmarks.positions(reference(), argparse.Namespace(rounds=1, positions=1_300))
    assert played_positions == {"bench.positions": ROWS, "bench.inbound": ROWS[:1]}
    for name in ("positions through TRAINS, CPU", "positions from the railway's topic, intake included", "positions from the railway's topic, CPU"):
        one = found[name]
        assert one is not None
        assert one.references.keys() == {"raw", "stock Faust", "Kafka Streams"}


def test_what_the_railways_say_has_not_been_through_intake() -> None:
    said = positions.load_of(reference(), trains=2, positions=4)
    inbound, stamped = on_kafka.rows_of(said.positions), on_kafka.rows_of(positions.stamped(said.positions, said.begins))
    assert [key for key, _ in inbound] == [key for key, _ in stamped]
    assert not [value for _, value in inbound if b"received_time" in value]
    assert all(b"received_time" in value for _, value in stamped)


def test_bare_hops_that_fail_leave_the_rounds_that_they_played(monkeypatch: pytest.MonkeyPatch) -> None:
    floors = iter([hops.Floor({1: [9.0], HOPS: [20.0]}, 0)])

    class Running:
        def __init__(self, site: Any) -> None:
            pass

        def __enter__(self) -> Running:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        async def play(self, *_: Any, **__: Any) -> hops.Floor:
            if (floor := next(floors, None)) is None:
                raise ConnectionError("no broker")
            return floor

    monkeypatch.setattr(latency, "Hops", Running)
    site: Any = argparse.Namespace(say=print)
    mix: Any = None
    found, why = latency.bare(site, mix, argparse.Namespace(rounds=2, rate=100.0, seconds=1.0))
    assert (len(found), why) == (1, "ConnectionError no broker")
    assert hops.best(found[1:], 0.5) == {}


def test_copy_that_fails_leaves_the_ledger_without_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([10.0, 30.0])

    async def measured(*_: Any) -> float:
        if (rate := next(rates, None)) is None:
            raise OSError("no server")
        return rate

    monkeypatch.setattr(copy, "measured", measured)
    rows: Any = None
    assert ledger.copied_bare("", rows, 1, 2, print) == ({"bare COPY": 30.0}, "")
    assert ledger.copied_bare("", rows, 1, 2, print) == ({}, "OSError no server")


def test_states_that_cannot_be_read_bare_leave_the_restore_its_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reading(whole.Whole):
        def __init__(self) -> None:
            self.say = print

        def _read_bare(self) -> tuple[float, int]:
            raise Failed("gone")

    assert Reading().read_bare() == ({}, "bare getmany not measured: Failed gone")
    monkeypatch.setattr(Reading, "_read_bare", lambda _: (2.0, 8 << 20))
    assert Reading().read_bare() == ({"bare getmany": 2.0}, "bare getmany: as many processes read the same topics and decode nothing, 4 MB/s")


@pytest.mark.parametrize(("drains", "sends", "expected"), [
    (99, 1.0, 10_000.0), (99, 0.98, 10_000.0), (5, 1.0, 4_000.0), (0, 1.0, 0.0), (99, 0.5, 125.0),
])
async def test_the_rate_that_is_kept_up_with_reaches_the_promise_and_the_aim(
    monkeypatch: pytest.MonkeyPatch, drains: int, sends: float, expected: float,
) -> None:
    clock, kept = [0.0], iter([1.0] * drains)

    class Sending:
        def __init__(self, site: Any) -> None:
            pass

        async def __aenter__(self) -> Sending:
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

        async def run(self, mix: Any, rate: float, seconds: float) -> int:
            clock[0] += seconds / sends
            return round(rate * seconds)

    class Played(whole.Whole):
        def __init__(self) -> None:
            self.options, self.say = argparse.Namespace(load_rate=4_000.0, load_seconds=300.0), print
            self.site: Any = argparse.Namespace(drained=lambda *_, **__: next(kept, None))

    monkeypatch.setattr(whole, "Sender", Sending)
    monkeypatch.setattr(whole, "time", argparse.Namespace(monotonic=lambda: clock[0]))
    assert await Played().kept_up(iter(()), whole.ladder(4_000)) == expected


def test_the_promised_rate_is_always_tried() -> None:
    assert whole.ladder(4_000) == [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000]
    assert whole.ladder(3_000) == [250, 500, 1_000, 2_000, 3_000, 6_000, 7_500]
    assert whole.ladder(100) == [100, 200, 250]


def test_what_sweeps_have_passed_is_read_from_the_metrics() -> None:
    text = 'railclear_fold_total{stage="trains",what="swept"} 12.0\nrailclear_fold_total{stage="trains",what="steps"} 99.0\n'
    workers: list[Any] = [argparse.Namespace(metrics=lambda: text), argparse.Namespace(metrics=lambda: ""),
                          argparse.Namespace(metrics=lambda: text.replace("trains", "clearance"))]
    assert whole.swept(workers) == 24


def test_a_round_in_which_no_sweep_ran_does_not_count() -> None:
    one, two, three = whole.Closure([10.0], "", 0), whole.Closure([900.0], "", 500), whole.Closure([700.0], "", 400)
    assert whole.chosen([one, two, three]) == (three, 2)
    assert whole.chosen([one]) == (one, 0)


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
    early, late = hops.Floor({1: [1.0, 1.0, 90.0], HOPS: []}, 0), hops.Floor({1: [2.0, 2.0, 9.0], HOPS: []}, 0)
    assert hops.best([early, late], 0.99) == {"bare hop": 90.0}, "of the round whose median is the best"


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
    left = iter([whole.Closure([1.0, 5.0], "one", 500), whole.Closure([1.0, 3.0], "two", 500)])

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
    simulated: Any = None
    rows = whole.mixed_rows(simulated, [0], 4_000.0)
    assert len(rows) == beside.LEAST
    assert rows[:2] == [(b"run", b"position"), (b"", b"closed")]
