"""Rows, their bounds, what the report keeps of them, and which scenarios there are."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.effects import LogRecord
from tests.bench.figures import Figure, figure
from tests.chaos import __main__ as command
from tests.chaos import stock_faust
from tests.chaos.carry import refusal
from tests.chaos.checks import OTHERS
from tests.chaos.logs import Logs
from tests.chaos.plan import TRANSACTION_S, Row
from tests.chaos.progress import progress
from tests.chaos.report import crashed, figures, merge, prune
from tests.chaos.scenarios import KILLS, SHORT, SHORT_EXACTLY, exactly, full
from tests.chaos.site import last_words
from tests.reliability import figures_of, part_of, runs_of, save
from topics.events.outputs import BatchOutcomes

STOCK_FAILS = "messages lost in the crash test that stock Faust fails"


def waiting_log() -> Logs:
    log = Logs()
    for offset, at in enumerate((1_000, 2_000, 3_000)):
        log.add(LogRecord("clearance.in", 0, offset, at, b"k", b"{}", ()))
    for last, at in ((0, 1_100), (2, 7_000)):
        value = msgspec.json.encode(BatchOutcomes(stage="clearance", topic="clearance.in", partition=0, first=0, last=last, count=1, at=0))
        log.add(LogRecord("outcomes.clearance", 0, last, at, b"", value, ()))
    return log


def test_progress_is_the_longest_wait_of_a_partition_after_a_fault() -> None:
    log = waiting_log()
    assert (progress(log, [2_500]).after_act, progress(log, [2_500]).in_all) == (4.5, 4.5)
    assert progress(log, [2_500]).where == "clearance.in/0 after act 1 of 1"
    assert progress(log, []).after_act == 0.0
    assert progress(log, [9_000]).after_act == 0.0


def test_an_act_before_the_last_one_ended_begins_the_wait_anew_and_the_sum_is_kept_apart() -> None:
    found = progress(waiting_log(), [1_500, 5_500, 8_000])
    assert (found.after_act, found.in_all, found.where) == (1.5, 5.0, "clearance.in/0 after act 2 of 3")


def test_postgresql_is_nothing_that_a_partition_waits_for() -> None:
    log = waiting_log()
    assert progress(log, [2_100], [5_500]).after_act == 4.9, "an act on it gives no partition more time"
    assert progress(log, [2_100, 5_500]).after_act == 1.5
    assert progress(log, [], [2_500]).after_act == 4.5, "alone it must not keep one waiting either"


def _row(**more: Any) -> Row:
    zeros = dict.fromkeys(("lost", "wrong_keys", "backwards", "repeated_revisions", "duplicates", "worker_restarts"), 0)
    return Row(**{"name": "n", "mode": "at least once", "seconds": 1.0, "inputs": 9, "poison": 1, "records": 20, "first_progress_s": 1.0, **zeros, **more})


def test_duplicates_are_well_at_least_once_and_a_fault_exactly_once() -> None:
    for name in ("duplicates", "output_duplicates"):
        assert _row(**{name: 3}).well
        assert _row(**{name: 3}, mode="exactly once").wrongs == (f"{name} 3",)
    assert _row(mode="exactly once", interrupted=1).well, "READINESS works at least once in either mode"
    assert not _row(faults=("a process still runs",)).well
    assert not any(_row(**{name: 1}).well for name in ("lost", "wrong_keys", "wrong_outputs", "backwards", "repeated_revisions"))


def test_a_row_that_took_longer_than_five_times_what_should_be_is_not_well() -> None:
    assert KILLS.progress_s_max == 5 * KILLS.should_s
    assert exactly(KILLS).should_s == KILLS.should_s + TRANSACTION_S
    assert _row(first_progress_s=35.0, progress_s_max=35.0).well
    late = _row(first_progress_s=35.1, progress_s_max=35.0, slowest="clearance.in/1 after act 8 of 8")
    assert late.wrongs == ("no progress for 35.1 s, clearance.in/1 after act 8 of 8; at most 35 s",)
    assert not late.well


def test_a_row_in_which_a_partition_stood_too_long_in_all_is_not_well_however_often_it_was_thrown_back() -> None:
    assert (KILLS.no_progress_s_max, exactly(KILLS).no_progress_s_max) == (60, 120)
    assert _row(no_progress_s=50.0, no_progress_s_max=50.0).well
    assert _row(no_progress_s=50.1, no_progress_s_max=50.0).wrongs == ("no progress for 50.1 s in all, over however many acts; at most 50 s",)


def _part(path: Path) -> dict[str, Any]:
    return part_of(path, "chaos") or {}


def _forget(path: Path) -> None:
    path.unlink()
    runs_of(path).unlink()


def _figure(path: Path, name: str) -> Figure:
    return figures_of(path)[f"chaos: {name}"]


def test_the_report_keeps_the_parts_of_others_and_the_row_of_another_version_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "reliability.json"
    merge(path, [_row(), _row(name="m", lost=1)], {"lost": 3, "valid": 23, "ours_lost": 0}, "v1")
    save(path, "simulation", {"seeds": 200}, {"seeds played": figure(200, "seeds")})
    assert not _part(path)["well"]
    merge(path, [_row(name="m")], None, "v2")
    assert part_of(path, "simulation") == {"seeds": 200}
    assert figures_of(path)["simulation: seeds played"].value == 200
    part = _part(path)
    assert [(row["name"], row["lost"], row["version"], row["runs"], row["failures"]) for row in part["rows"]] == [("n", 0, "v1", 1, 0), ("m", 0, "v2", 1, 0)]
    assert part["stock_faust"]["lost"] == 3
    assert part["rows"][1]["well"]
    assert not part["well"], "two scenarios are not the whole set, nor are two versions one"
    assert _figure(path, "messages lost").note == "over 1 runs, 9 messages from outside", "of the version that has run last, and of no other"
    assert {name: _figure(path, f"lost, {name}, at least once").version for name in ("n", "m")} == {"n": "v1", "m": "v2"}
    assert f"chaos: {STOCK_FAILS}" not in figures_of(path)


def test_the_part_is_well_when_one_version_has_run_the_whole_set_and_the_comparison(tmp_path: Path) -> None:
    path, stock = tmp_path / "reliability.json", {"valid": 23, "lost": 3, "ours_lost": 0}
    rows = [_row(name=s.name, mode=s.mode) for s in full()]

    def is_well(rows: list[Row], stock: dict[str, Any] | None, code: str) -> bool:
        merge(path, rows, stock, code)
        found: bool = _part(path)["well"]
        return found

    assert not is_well(rows[:-1], stock, "v1"), "one is missing"
    assert is_well(rows[-1:], None, "v1")
    assert not is_well(rows[:1], None, "v2"), "the others are another version's"
    _forget(path)
    assert not is_well(rows, None, "v1"), "without the comparison"
    assert not is_well([], {"valid": 0, "lost": 0, "ours_lost": 0, "failed": "did not come to its end"}, "v1")
    assert f"chaos: {STOCK_FAILS}" not in figures_of(path)
    _forget(path)
    assert not is_well(rows, stock, "v1..v2"), "the code changed while it ran"


def test_a_comparison_that_breaks_off_is_not_well_and_hides_no_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def breaks() -> dict[str, Any]:
        raise TimeoutError("no broker")

    monkeypatch.setattr(stock_faust, "compare", breaks)
    path = tmp_path / "reliability.json"
    merge(path, [_row()], None, "v1")
    assert not command._run_all([], path, None, "v1", stock=True)
    assert "no broker" in _part(path)["stock_faust"]["failed"]
    assert [row["name"] for row in _part(path)["rows"]] == ["n"]


def test_the_longest_wait_is_that_of_all_runs_of_a_row(tmp_path: Path) -> None:
    path = tmp_path / "reliability.json"
    for seconds in (30.0, 2.0):
        merge(path, [_row(first_progress_s=seconds, progress_s_max=35.0)], None, "v1")
    assert _figure(path, "longest wait for progress after an act").value == 30
    assert _figure(path, "wait for progress, n, at least once").value == 30


def test_a_run_that_failed_stays_whatever_comes_after_it(tmp_path: Path) -> None:
    path = tmp_path / "reliability.json"
    merge(path, [_row(lost=2, inputs=100)], None, "v1")
    merge(path, [_row(inputs=100)], None, "v1")
    row = _part(path)["rows"][0]
    assert (row["runs"], row["failures"], row["lost"], row["sums"]["lost"], row["sums"]["inputs"]) == (2, 1, 0, 2, 200)
    assert row["failed"][0]["reasons"] == ["lost 2"]
    assert not _part(path)["well"]
    merge(path, [_row()], None, "v2")
    assert _part(path)["rows"][0]["well"], "another version begins anew"
    assert (_part(path)["rows"][0]["runs"], _part(path)["rows"][0]["failures"]) == (1, 0)


def test_a_run_that_did_not_come_to_its_end_is_a_failed_run(tmp_path: Path) -> None:
    path = tmp_path / "reliability.json"
    crashed(path, KILLS, TimeoutError("workers are not ready"), "v1")
    assert (_part(path)["rows"][0]["runs"], _part(path)["rows"][0]["failures"], _part(path)["well"]) == (1, 1, False)
    merge(path, [_row(name=KILLS.name, mode=KILLS.mode)], None, "v1")
    row = _part(path)["rows"][0]
    assert (row["runs"], row["failures"], row["well"]) == (2, 1, False)
    assert "workers are not ready" in row["failed"][0]["reasons"][0]


def test_a_scenario_that_never_came_to_its_end_has_lost_nothing_and_not_nothing_either(tmp_path: Path) -> None:
    path = tmp_path / "reliability.json"
    crashed(path, KILLS, TimeoutError("workers are not ready"), "v1")
    assert f"chaos: lost, {KILLS.name}, {KILLS.mode}" not in figures_of(path)
    assert not _figure(path, "runs that failed").met


def test_a_full_run_drops_rows_of_other_versions(tmp_path: Path) -> None:
    path = tmp_path / "reliability.json"
    merge(path, [_row(name="gone")], None, "v1")
    merge(path, [_row()], None, "v2")
    prune(path, "v2")
    assert [row["name"] for row in _part(path)["rows"]] == ["n"]


def test_the_file_has_figures_only_one_entry_each_under_a_name_that_says_where_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "reliability.json"
    twice = dict.fromkeys(OTHERS, 0) | {"trains": 2}
    exact = _row(mode="exactly once", output_duplicates=4, first_progress_s=3.0, progress_s_max=50.0, slowest="x", duplicates_of=twice)
    merge(path, [_row(duplicates=5, lost=2, backwards=1, duplicates_of=twice, readiness_duplicates=1), exact], {"valid": 23, "lost": 14, "ours_lost": 0}, "v1")
    merge(path, [_row(duplicates=2, duplicates_of=twice)], None, "v1")
    raw = msgspec.json.decode(path.read_bytes())
    assert all({"value", "unit", "references", "ratio", "at_least", "aim", "met", "load_average", "version", "at"} <= entry.keys() for entry in raw.values())
    assert all(entry["at"].endswith("Z") and entry["version"] == "v1" for entry in raw.values()), "as in docs/benchmarks.json"
    found = {name.removeprefix("chaos: "): one for name, one in figures_of(path).items()}
    assert len(found) == len(raw)
    others = {name for name in found if name.startswith("inputs of") and "CLEARANCE" not in name}
    assert {(found[name].value, found[name].at_least) for name in others if "TRAINS" not in name} == {(0, None)}
    assert {name: (one.value, one.at_least, one.met) for name, one in found.items() if name not in others or "TRAINS" in name} == {
        "messages lost": (2, 0, False), "keys with a wrong state, status or ledger": (0, 0, True), "outputs where they do not belong": (0, 0, True),
        "states and revisions that go backwards": (1, 0, False), "revisions said twice": (0, 0, True), "runs that failed": (2, 0, False),
        "scenarios run": (0, len(full()), False), "inputs of CLEARANCE said twice, at least once": (7, None, True),
        "inputs of CLEARANCE said twice, exactly once": (0, 0, True), "outputs of CLEARANCE said again, at least once": (0, None, True),
        "outputs of CLEARANCE said again, exactly once": (4, 0, False), "inputs of TRAINS said twice, at least once": (4, None, True),
        "inputs of TRAINS said twice, exactly once": (2, None, True), "outputs of READINESS said again, at least once": (1, None, True),
        "outputs of READINESS said again, exactly once": (0, None, True), "longest wait for progress after an act": (3, 50, True),
        "lost, n, at least once": (2, 0, False), "lost, n, exactly once": (0, 0, True), "wait for progress, n, exactly once": (3, 50, True),
        STOCK_FAILS: (0, 0, True)}
    assert found[STOCK_FAILS].references == {"stock Faust": 14}
    assert len(others) == 2 * len(OTHERS)


def test_rows_of_before_other_stages_were_counted_say_nothing_of_them(tmp_path: Path) -> None:
    path = tmp_path / "reliability.json"
    merge(path, [_row()], None, "v1")
    part = _part(path)
    del part["rows"][0]["duplicates_of"]
    assert not [name for name in figures(part, "v1") if "TRAINS" in name]


def test_why_workers_ended_is_added_up_without_what_differs_every_time() -> None:
    log = ("[2026-11-29 21:17:03,230] [3508] [CRITICAL] FATAL publish clearance.in/1: ProducerFenced('newer')\n[INFO] 111 ECONNREFUSED (backoff)\n"
           "CRITICAL - 2026-11-29 21:18:03,231 - agents.transport.fatal - fatal - REFUSED to start: clearance.in: topic clearance.in does not exist")
    assert last_words(log) == ["FATAL publish clearance.in/N: ProducerFenced('newer')", "REFUSED to start: clearance.in: topic clearance.in does not exist"]


def test_only_a_line_that_names_what_is_refused_and_that_it_is_counts_as_noticed() -> None:
    said = "Not authorized to read from topic clearance.in."
    assert refusal(f"a\n[21:46:28] [9] [WARNING] {said}\nb", "clearance.in") == said
    assert refusal("GroupAuthorizationFailedError: railclear-1", "railclear-1")
    assert not refusal("Not authorized to read from topic trains.in.", "clearance.in")
    assert not refusal("lane clearance.in/0 is not restored\nFATAL the broker is away", "clearance.in")


def test_the_full_set_has_every_fault_in_the_modes_that_it_concerns() -> None:
    done = {(act.do, act.whom.partition(":")[0], s.mode) for s in full() for act in s.acts}
    for mode in ("at least once", "exactly once"):
        assert {(do, whom, mode) for do, whom in (("kill", "worker"), ("freeze", "worker"), ("kill", "leader"), ("kill", "coordinator"), ("kill", "controller"),
                                                  ("freeze", "leader"), ("join", "guest"), ("leave", "worker"), ("kill", "two brokers"))} <= done
        assert {("freeze", whom, mode) for whom in ("coordinator", "controller")} | {(do, "postgres", mode) for do in ("stop", "freeze", "kill")} <= done
        assert {("revoke", whom, mode) for whom in ("topic", "group")} <= done
    assert len({(s.name, s.mode) for s in full()}) == len(full())
    assert all(10 <= act.seconds <= 50 for s in full() for act in s.acts if act.do == "freeze" and act.whom.startswith(("leader", "coordinator", "controller")))


def test_every_scenario_has_a_world_of_its_own_and_the_same_one_every_time() -> None:
    every = (*full(), SHORT, SHORT_EXACTLY)
    assert len({s.seed for s in every}) == len(every)
    assert (KILLS.seed, exactly(KILLS).seed) == (2762, 8161)
