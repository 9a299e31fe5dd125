"""The two files about reliability: what is in which, and that one kind of run leaves the others' alone."""
from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests import reliability
from tests.bench.figures import DOCS, figure
from tests.reliability import Course, Part, figures_of, part_of, runs_of, save

PROMISED = {"value", "unit", "references", "ratio", "at_least", "aim", "met", "load_average", "version", "at"}


def test_the_committed_file_has_figures_only_each_as_promised_and_its_runs_beside_it() -> None:
    path = DOCS / "reliability.json"
    raw = msgspec.json.decode(path.read_bytes())
    assert raw
    assert all(entry.keys() >= PROMISED for entry in raw.values())
    assert all(name.startswith(f"{one.section}: ") for name, one in figures_of(path).items())
    sections = {one.section for one in figures_of(path).values()}
    assert sections == msgspec.json.decode(runs_of(path).read_bytes()).keys()


def test_what_a_kind_of_run_writes_takes_the_place_of_its_own_and_of_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "figures.json"
    save(path, "chaos", {"rows": [1]}, {"lost": figure(3, "messages", at_least=0, smaller_is_better=True), "gone": figure(1, "s")})
    save(path, "oracle", {"next": 5}, {"lost": figure(1, "histories")})
    save(path, "chaos", {"rows": [2]}, {"lost": figure(0, "messages", at_least=0, smaller_is_better=True)})
    assert {name: (one.value, one.met, one.section) for name, one in figures_of(path).items()} == {
        "chaos: lost": (0, True, "chaos"), "oracle: lost": (1, True, "oracle")}
    assert (part_of(path, "chaos"), part_of(path, "oracle"), part_of(path, "simulation")) == ({"rows": [2]}, {"next": 5}, None)
    assert sorted(file.name for file in path.parent.iterdir()) == ["figures-runs.json", "figures.json"]


def test_a_run_while_the_code_changed_is_a_part_that_says_so_and_nothing_is_written_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reliability, "until_now", lambda begun, *_: f"{begun}..v2")
    path = tmp_path / "figures.json"
    course = Course(path, "oracle", None, [], 0, "v1")
    for end in (3, 7):
        course.write(end, {"histories": end}, lambda: {"histories": figure(7, "histories")})
    held = part_of(path, "oracle") or {}
    assert (held["next"], held["histories"]) == (7, 7)
    assert [(p.first, p.end, p.version) for p in msgspec.convert(held["parts"], list[Part])] == [(0, 7, "v1..v2")]
    assert figures_of(path)["oracle: histories"].version == "v1..v2"
    Course(None, "oracle", None, [], 0, "v1").write(3, {}, dict)
    assert len(list(tmp_path.iterdir())) == 2
