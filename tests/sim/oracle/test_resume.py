"""A comparison that is broken off goes on where its report ends; a disagreement is counted, kept, and stops nothing."""
from __future__ import annotations

from pathlib import Path

import pytest

from tests import reliability
from tests.bench.figures import Figure, figure
from tests.reliability import figures_of, part_of, runs_of, save
from tests.sim.oracle import __main__ as command
from tests.sim.oracle.compare import Disagreement, Tally, shuffles, walk
from tests.sim.oracle.report import Compared

pytestmark = pytest.mark.sim


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "code_version", lambda *_: "v1")
    monkeypatch.setattr(reliability, "until_now", lambda begun, *_: begun)
    monkeypatch.setattr(command, "STEP", 20)
    path = tmp_path / "reliability.json"
    save(path, "simulation", {"seeds": 7}, {"seeds played": figure(7, "seeds")})
    return path


def run(report: Path, *words: str) -> int:
    return command.main([*words, "--report", str(report)])


def held(report: Path) -> dict[str, object]:
    assert part_of(report, "simulation") == {"seeds": 7}
    return part_of(report, "oracle") or {}


def told(report: Path) -> dict[str, Figure]:
    assert "simulation: seeds played" in figures_of(report)
    return {name.removeprefix("oracle: "): one for name, one in figures_of(report).items() if name.startswith("oracle: ")}


def test_in_two_goes_it_comes_to_the_same_as_in_one(report: Path, tmp_path: Path) -> None:
    assert (run(report, "30"), run(report, "75")) == (0, 0)
    once = tmp_path / "once.json"
    assert run(once, "75") == 0
    mine, other = held(report), part_of(once, "oracle") or {}
    same = ("seed", "histories", "shuffles", "folds", "disagreements", "examples", "reached", "next")
    assert {name: mine[name] for name in same} == {name: other[name] for name in same}
    assert (mine["histories"], mine["shuffles"], mine["next"], mine["disagreements"]) == (75, 37, 75, 0)
    assert mine["parts"] == other["parts"]


def test_it_compares_what_a_walk_in_one_go_does(report: Path) -> None:
    run(report, "40")
    whole = walk(0, 40, 1)
    shuffles(0, 20, 1)
    assert held(report)["folds"] == whole.folds
    assert held(report)["reached"] == {f"{s} ({b.lower()})": n for (s, b), n in sorted(whole.reached.items())}


def test_the_figures_say_what_was_promised_and_what_was_found(report: Path) -> None:
    run(report, "40")
    found = told(report)
    assert {name: (f.value, f.at_least, f.met) for name, f in found.items() if name != "time of a fold"} == {
        "histories compared": (40, 300_000, False), "disagreements": (0, 0, True)}
    assert found["time of a fold"].value > 0
    assert all(f.version == "v1" and f.at.endswith("Z") for f in found.values())


def wrong_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def walked(first: int, count: int, seed: int, tally: Tally) -> None:
        if first == number:
            raise Disagreement(f"history {seed}/{first}: this and that")
        walk(first, count, seed, tally)

    monkeypatch.setattr(command, "walk", walked)


def test_a_disagreement_fails_the_run_and_those_after_it_and_the_rest_is_compared_all_the_same(
    report: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    wrong_at(5, monkeypatch)
    assert run(report, "60") == 1
    assert "history 1/5: this and that" in capsys.readouterr().out
    assert (held(report)["histories"], held(report)["disagreements"], held(report)["examples"]) == (60, 1, ["history 1/5: this and that"])
    assert not told(report)["disagreements"].met
    assert run(report, "80") == 1, "it still knows of it"
    assert run(report, "20", "--again") == 1
    wrong_at(-1, monkeypatch)
    assert run(report, "20", "--again") == 0
    assert (held(report)["histories"], held(report)["disagreements"]) == (20, 0)


def test_disagreements_are_all_counted_and_a_few_are_kept() -> None:
    found = Compared(1)
    found.add(Tally(), 100, 50, ["x" * 9_999] * 90)
    assert (found.disagreements, len(found.examples), max(map(len, found.examples))) == (90, 20, 500)


@pytest.mark.parametrize(("words", "said"), [
    (("80", "--from", "20"), "histories 20 to 39 are in it already"), (("80", "--from", "60"), "histories 40 to 59 would be left out"),
    (("80", "--seed", "2"), "holds histories of seed 1"),
])
def test_no_history_is_counted_twice_left_out_or_of_another_seed(report: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(report, "40")
    before = report.read_text(), runs_of(report).read_text()
    assert run(report, *words) == 2
    assert said in capsys.readouterr().err
    assert (report.read_text(), runs_of(report).read_text()) == before


def test_a_comparison_that_is_done_changes_nothing_and_another_version_that_goes_on_says_so(
    report: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    run(report, "40")
    before = report.read_text()
    monkeypatch.setattr(command, "code_version", lambda *_: "v2")
    assert run(report, "40") == 0
    said = capsys.readouterr().out
    assert "histories up to 40 are compared" in said
    assert "several versions" not in said
    assert report.read_text() == before
    run(report, "60")
    assert "several versions together (0 to 39 v1, 40 to 59 v2); --again begins anew" in capsys.readouterr().out
    assert told(report)["histories compared"].version == ""
    assert "of versions v1, v2" in told(report)["histories compared"].note
