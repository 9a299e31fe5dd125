"""Of several rounds the best is said, quantiles of one round, and what fails costs its own figures only."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import pytest

from tests.bench import __main__ as benchmarks
from tests.bench import latency, ledger, live, stopwatch, whole
from tests.bench.beside import Beside, References
from tests.bench.figures import measured, now
from tests.bench.load import tempo
from tests.bench.site import Failed

ROWS = [(b"k", b"v")] * 3


def test_later_rounds_begin_with_the_last_rate_that_was_kept_up_with_and_the_best_is_said() -> None:
    rates, tried = iter([900.0, 2_000.0, 1_000.0, 0.0, 0.0]), list[float]()

    class Played(whole.Whole):
        def __init__(self, rounds: int) -> None:
            self.options = argparse.Namespace(load_rate=4_000.0, rounds=rounds)

        async def kept_up(self, mix: Any, rungs: Sequence[float]) -> float:
            tried.append(rungs[0])
            return next(rates)

    assert Played(3).sustained(iter(())) == 2_000.0
    assert tried == [250, 500, 1_000]
    assert Played(2).sustained(iter(())) == 0.0
    assert tried[3:] == [250, 250]


def test_of_failovers_each_round_says_its_slower_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([3.0, 9.0, 7.0, 6.0])

    class Played(whole.Whole):
        def __init__(self) -> None:
            self.options, self.say = argparse.Namespace(rounds=2), print
            self.site: Any = argparse.Namespace(workers=[1, 2], wait=lambda: 0.0, settle=lambda _: True)

        async def failover(self, worker: Any) -> float:
            return next(seconds)

    assert Played().failovers() == [9.0, 7.0]
    monkeypatch.setattr(Played, "failovers", lambda _: [9.0, 7.0])
    found = live.failed_over(Played(), "over")[live.FAILOVER]
    assert (found.value, found.rounds) == (7.0, 2)


class Silent(whole.Whole):
    """Of live operation only restore and load can be measured."""

    def __init__(self) -> None:
        self.live: Any = argparse.Namespace(shipments=160)
        self.options, self.copies, self.say = argparse.Namespace(load_rate=4_000.0, load_seconds=300.0, rounds=2), [0], print
        self.site: Any = argparse.Namespace(stop_workers=lambda: None, settle=lambda _: True, bootstrap="", admin=None, workers=[])

    def start(self) -> list[float]:
        return [5.0, 4.0]

    def read_bare(self) -> tuple[dict[str, float], str]:
        return {"bare getmany": 1.0}, ""

    def sustained(self, mix: Any) -> float:
        raise Failed("a worker ended")

    def failovers(self) -> list[float]:
        raise whole.NothingLeft("nothing")

    def closures(self) -> list[whole.Closure]:
        raise Failed("a worker ended")

    async def load(self, mix: Any) -> tuple[float, int, int, float | None, float]:
        return 4_000.0, 10, 0, 20.0, 1_024.0


def test_what_fails_in_live_operation_costs_its_own_figures_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_: Any) -> float:
        raise Failed("a worker ended")

    monkeypatch.setattr(live, "work", failing)
    monkeypatch.setattr(live, "Mix", lambda *_, **__: argparse.Namespace(said=lambda: "", __iter__=None))
    monkeypatch.setattr(live, "iter", lambda _: cycle([]), raising=False)
    monkeypatch.setattr(whole, "mixed_rows", lambda *_: ROWS)
    monkeypatch.setattr(Beside, "best", lambda *_, **__: References({"raw": stopwatch.Timing(100, 1.0, 1.0, 1.0)}))
    found = live.over_all(Silent(), [0], {100: 5_000.0, 10: 5_100.0}, 1 << 20)
    assert {name for name, f in found.items() if f is None} == {live.FAILOVER, live.SWEEP, live.RATE, live.SPREAD, live.COSTS[1]}
    told = measured(found)
    assert (told[live.RESTORE].value, told[live.UNREAD].met, told[live.MEMORY].value, told[live.COSTS[10]].references) == (4.0, True, 1.0, {"raw": 1e4})
    assert "one round, for it takes" in told[live.UNREAD].note
    monkeypatch.setattr(Silent, "sustained", lambda *_: 4_500.0)
    rate = measured(live.over_all(Silent(), [0], {}, 1 << 20))[live.RATE]
    assert (rate.value, rate.met, rate.rounds, rate.references) == (4_500.0, True, 2, {"raw": 1e2})


def test_work_per_event_is_spread_over_all_three_sizes() -> None:
    costs = live.Costs({100: 5_000.0, 10: 5_500.0, 1: 5_250.0}, 12, now())
    assert live.costed(costs, References({}), "over", 3)[live.SPREAD].value == pytest.approx(10.0)


def heard(*ms: float) -> latency.Heard:
    sender: Any = argparse.Namespace(at={f"J{n:05d}-000001": 0.0 for n in range(len(ms))})
    reader: Any = argparse.Namespace(seen={f"J{n:05d}-000001": one / 1000 for n, one in enumerate(ms)})
    return latency.Heard(sender, reader, 100.0)


def test_p50_and_p99_of_a_latency_are_of_one_round_and_few_probes_say_that_the_slowest_is_meant() -> None:
    one, two = heard(5, 10, 90), heard(20, 20, 20)
    plays = [latency.Round({"notice": h}, "played", now()) for h in (two, one)]
    best = latency.of_one_round(plays, "notice")
    assert [best.heard["notice"].quantile(share) for share in (0.5, 0.99)] == [pytest.approx(10), pytest.approx(90)]
    assert "3 looked for, so that p99 is the slowest" in latency._note(best, "notice", "")
    many = latency.Round({"notice": heard(*range(100))}, "played", now())
    assert "the slowest" not in latency._note(many, "notice", "")


def test_more_than_a_hundred_words_of_stations_are_looked_for_over_the_rounds() -> None:
    usual = benchmarks.parser().parse_args([])
    pace = tempo(usual.rate, 138)
    assert usual.rounds * usual.seconds * usual.rate * 0.9 / pace.stations >= 100


def test_of_the_ledgers_rounds_each_figure_takes_the_best_and_says_it_of_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    plays = [ledger.Round(heard(10), heard(20), 15_000.0, 12_000.0, 90.0, 900, now(), (heard(10), heard(10.5))),
             ledger.Round(heard(10), heard(11), 14_000.0, 13_000.0, 80.0, 1_100, now(), (heard(10), heard(13)))]
    left = iter(plays)

    def play() -> ledger.Round:
        if (found := next(left, None)) is None:
            raise Failed("gone")
        return found

    desk: Any = argparse.Namespace(play=play, site=argparse.Namespace(say=print))
    assert ledger.rounds(desk, 3) == (plays, "; fewer rounds than asked for: Failed gone")
    with pytest.raises(Failed):
        ledger.rounds(desk, 3)
    found = ledger.said(plays, {"bare COPY": 30_000.0}, 1_000, "note", "bare")
    assert {name.partition(", ")[2]: round(f.value) for name, f in found.items()} == {
        "rows beside a steady load": 15_000, "rows of a backlog to its end": 13_000, "draining a backlog": 80, "statuses slower while it drains a backlog": 10,
        "statuses slower while it drains a backlog, a quarter of the load": 5}
    assert {f.rounds for f in found.values()} == {2}
