"""A soak that is broken off goes on where its report ends, and counts no seed twice and none it has not played."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import reliability
from tests.bench.figures import Figure, figure
from tests.reliability import OutOfStep, figures_of, part_of, runs_of, save
from tests.sim import __main__ as command
from tests.sim.plan import plan_of
from tests.sim.report import course
from tests.sim.simulate import Verdict

pytestmark = pytest.mark.sim


def judged(seeds: range) -> list[Verdict]:
    return [Verdict(plan=plan_of(seed), findings={"5 revisions": ["x"]} if seed == 6 else {}, records=10) for seed in seeds]


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "judged", judged)
    monkeypatch.setattr(command, "told", lambda verdict: f"seed {verdict.plan.seed} fails")
    monkeypatch.setattr(command, "code_version", lambda *_: "v1")
    monkeypatch.setattr(reliability, "until_now", lambda begun, *_: begun)
    path = tmp_path / "reliability.json"
    save(path, "chaos", {"well": True}, {"messages lost": figure(0, "messages")})
    return path


def held(report: Path) -> dict[str, Any]:
    assert part_of(report, "chaos") == {"well": True}
    assert "chaos: messages lost" in figures_of(report)
    return part_of(report, "simulation") or {}


def simulated(report: Path) -> dict[str, Figure]:
    return {name.removeprefix("simulation: "): one for name, one in figures_of(report).items() if name.startswith("simulation: ")}


def both(report: Path) -> tuple[str, str]:
    return report.read_text(), runs_of(report).read_text()


def test_the_same_command_goes_on_where_the_report_ends(report: Path) -> None:
    assert command.main(["--soak", "6", "--report", str(report)]) == 0
    assert command.main(["--soak", "10", "--report", str(report)]) == 1, "seed 6 fails"
    section = held(report)
    assert (section["seeds"], section["records"], section["failures"], section["next"]) == (10, 100, [6], 10)
    assert [(p["first"], p["end"], p["version"]) for p in section["parts"]] == [(0, 10, "v1")]


def test_what_another_version_has_played_is_a_part_of_its_own(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command.main(["--soak", "4", "--report", str(report)])
    monkeypatch.setattr(command, "code_version", lambda *_: "v2")
    command.main(["--soak", "6", "--from", "4", "--report", str(report)])
    assert [(p["first"], p["end"], p["version"]) for p in held(report)["parts"]] == [(0, 4, "v1"), (4, 6, "v2")]


@pytest.mark.parametrize(("first", "said"), [("2", "seeds 2 to 3 are in it already"), ("5", "seeds 4 to 4 would be left out")])
def test_no_seed_is_counted_twice_or_left_out(report: Path, first: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["--soak", "4", "--report", str(report)])
    before = both(report)
    assert command.main(["--soak", "8", "--from", first, "--report", str(report)]) == 2
    assert said in capsys.readouterr().err
    assert both(report) == before


def test_again_begins_anew_and_a_soak_that_is_done_changes_nothing(report: Path) -> None:
    command.main(["--soak", "8", "--report", str(report)])
    before = both(report)
    assert command.main(["--soak", "8", "--report", str(report)]) == 1, "it still knows of the failure"
    assert both(report) == before
    assert command.main(["--soak", "4", "--again", "--report", str(report)]) == 0
    assert (held(report)["seeds"], held(report)["next"], held(report)["failures"]) == (4, 4, [])


def test_a_report_that_does_not_say_where_it_ends_is_not_added_to(report: Path) -> None:
    save(report, "simulation", {"seeds": 200}, {})
    with pytest.raises(OutOfStep, match="--again"):
        course(report, None, again=False, version="v1")


def test_the_report_says_in_single_figures_what_was_promised_and_what_failed(report: Path) -> None:
    assert command.main(["--soak", "10", "--report", str(report)]) == 1
    found = simulated(report)
    assert {name: (f.value, f.at_least, f.met) for name, f in found.items()} == {"seeds played": (10, 10_000, False), "seeds with a failure": (1, 0, False)}
    assert all(f.version == "v1" and f.at.endswith("Z") for f in found.values())


def test_figures_over_what_several_versions_have_played_carry_the_name_of_none(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command.main(["--soak", "4", "--report", str(report)])
    monkeypatch.setattr(command, "code_version", lambda *_: "v2")
    command.main(["--soak", "6", "--report", str(report)])
    assert all(f.version == "" and "of versions v1, v2" in f.note for f in simulated(report).values())


def test_who_goes_on_with_another_version_s_report_is_told_and_nobody_else(report: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                                                           ) -> None:
    command.main(["--soak", "4", "--report", str(report)])
    command.main(["--soak", "5", "--report", str(report)])
    monkeypatch.setattr(command, "code_version", lambda *_: "v2")
    command.main(["--soak", "5", "--report", str(report)])
    assert "several versions" not in capsys.readouterr().out, "nothing is played by the other one"
    command.main(["--soak", "6", "--report", str(report)])
    assert "several versions together (0 to 4 v1, 5 to 5 v2); --again begins anew" in capsys.readouterr().out
    command.main(["--soak", "6", "--again", "--report", str(report)])
    assert "several versions" not in capsys.readouterr().out


def test_seeds_that_were_played_while_the_code_changed_are_a_part_that_says_so(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reliability, "until_now", lambda begun, *_: f"{begun}..v2")
    command.main(["--soak", "4", "--report", str(report)])
    assert [p["version"] for p in held(report)["parts"]] == ["v1..v2"]
