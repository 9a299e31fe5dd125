"""What a benchmark writes, and that copies of a simulated train share nothing with it."""
from __future__ import annotations

import argparse
import ast
import random
from pathlib import Path
from subprocess import CalledProcessError

import asyncpg
import msgspec
import pytest
from aiokafka.errors import RequestTimedOutError
from kafka.errors import KafkaTimeoutError

from agents.embedded.jars import kafka_version
from streams.simulate import SimOptions
from streams.simulate.sent import sent
from streams.simulate.world import _World
from tests.bench import beside
from tests.bench.__main__ import MINUTES, SECTIONS, SIZES, main, parser, smaller
from tests.bench.figures import DOCS, Figure, Moment, figure, merged, read, unpromised, write
from tests.bench.machine import quix_version
from tests.bench.names import Names, Recorder
from tests.bench.page import page, save
from tests.sim.worlds import START, reference
from tests.version import code_version
from topics.identifiers import parse_container, parse_mrn, parse_shipment_id

HERE = Path(__file__).resolve().parent


def test_figures_of_other_sections_stay_and_the_page_and_the_plot_name_each(tmp_path: Path) -> None:
    save({"rate": figure(2_000, "/s", at_least=1_500)}, "facts", tmp_path)
    save({"wait": figure(0.5, "s", at_least=1, smaller_is_better=True, rounds=3, note="of one run")}, "live", tmp_path)
    found, _ = read(tmp_path)
    assert {name: (f.value, f.met, f.section, f.rounds) for name, f in found.items()} == {"rate": (2_000, True, "facts", 1), "wait": (0.5, True, "live", 3)}
    text, plot = (tmp_path / "benchmarks.md").read_text(), (tmp_path / "benchmarks.svg").read_text()
    assert "| rate | 2,000 /s | 1,500 |" in text
    assert "- All: of one run" in text
    assert text.index("## Clearance facts on Kafka") < text.index("| rate |") < text.index("## Live operation") < text.index("| wait |")
    assert plot.count("<rect x=") == 2


def test_a_section_that_runs_alone_leaves_the_others_their_values_versions_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SECTIONS, "pure", lambda *_: {"rate": figure(1, "/s", when=Moment("2026-11-28T10:00Z", 1.5))})
    monkeypatch.setitem(SECTIONS, "assess", lambda *_: {"wait": figure(1, "s"), "gone": None})
    monkeypatch.setattr(code_version, "__wrapped__", lambda: "v1")
    main(["--only", "pure,assess", "--directory", str(tmp_path)])
    monkeypatch.setattr(code_version, "__wrapped__", lambda: "v2")
    monkeypatch.setitem(SECTIONS, "assess", lambda *_: {"wait": figure(2, "s")})
    main(["--only", "assess", "--directory", str(tmp_path)])
    found, _ = read(tmp_path)
    assert (found["rate"].value, found["rate"].version, found["rate"].at, found["rate"].load_average) == (1, "v1", "2026-11-28T10:00Z", 1.5)
    assert (found["wait"].value, found["wait"].version) == (2, "v2")


def test_the_file_has_figures_only_and_each_says_what_every_entry_says(tmp_path: Path) -> None:
    save({"rate": figure(2_000, "/s", at_least=60_000, aim=100_000, references={"raw": 4_000}, aim_ratios={"raw": 0.35})}, "facts", tmp_path)
    entry = msgspec.json.decode((tmp_path / "benchmarks.json").read_bytes())
    assert list(entry) == ["rate"]
    assert {name: entry["rate"][name] for name in ("value", "unit", "references", "ratio", "at_least", "aim", "aim_ratios", "met")} == {
        "value": 2_000, "unit": "/s", "references": {"raw": 4_000}, "ratio": {"raw": 0.5}, "at_least": 60_000, "aim": 100_000, "aim_ratios": {"raw": 0.35},
        "met": False}
    assert all(entry["rate"][name] for name in ("at", "version", "section", "load_average"))
    assert "processor" in msgspec.json.decode((tmp_path / "benchmarks-machine.json").read_bytes())


@pytest.mark.parametrize("name", ["at", "version", "section"])
def test_an_entry_that_does_not_say_its_run_is_neither_written_nor_kept(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save({"rate": figure(2_000, "/s"), "wait": figure(1, "s")}, "facts", tmp_path)
    found, of = read(tmp_path)
    less = {**found, "rate": msgspec.structs.replace(found["rate"], **{name: ""})}
    with pytest.raises(ValueError, match=name):
        write(less, of, tmp_path)
    assert read(tmp_path)[0] == found
    (tmp_path / "benchmarks.json").write_bytes(msgspec.json.encode(less))
    assert list(read(tmp_path)[0]) == ["wait"]
    assert f"rate: not kept, for it does not say its {name}" in capsys.readouterr().err


def test_the_reports_that_are_committed_have_this_form() -> None:
    assert all({"value", "unit", "references", "ratio", "at_least", "aim", "met"} <= entry.keys() for entry in msgspec.json.decode(
        (DOCS / "benchmarks.json").read_bytes(), type=dict[str, dict[str, object]]).values())
    assert msgspec.json.decode((DOCS / "benchmarks-machine.json").read_bytes(), type=dict[str, str])


@pytest.mark.parametrize("path", sorted(HERE.glob("*.py")), ids=lambda path: path.stem)
def test_every_figure_has_something_beside_it_or_says_why_not(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    figures = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "figure"] if not path.stem.startswith("test_") else []
    assert not [call.lineno for call in figures if not {"references", "alone"} & {keyword.arg for keyword in call.keywords}]


def test_a_figure_with_nothing_beside_it_says_why() -> None:
    assert figure(1, "s", note="of ten", alone="nobody else sweeps").note == "of ten; nothing beside it: nobody else sweeps"
    assert figure(1, "s", note="of ten", references={"raw": 1.0}).note == "of ten"


def test_a_section_that_runs_again_leaves_nothing_of_what_it_said_before(tmp_path: Path) -> None:
    save({"rate": figure(2_000, "/s"), "rate as it was called": figure(9, "/s")}, "facts", tmp_path)
    save({"rate": figure(1_000, "/s")}, "facts", tmp_path)
    assert {name: f.value for name, f in read(tmp_path)[0].items()} == {"rate": 1_000}


def test_each_figure_says_when_it_was_measured_of_which_version_and_on_what(tmp_path: Path) -> None:
    save({"rate": figure(2_000, "/s", when=Moment("2026-11-28T10:00Z", 1.5)), "wait": figure(1, "s")}, "facts", tmp_path)
    found, ran_on = read(tmp_path)
    assert (found["rate"].at, found["rate"].load_average) == ("2026-11-28T10:00Z", 1.5)
    assert found["wait"].at > "2026-11-28T10:00Z"
    assert found["rate"].version == found["wait"].version == code_version()
    assert {"processor", "cores", "memory", "system", "Python", "faust-streaming", "aiokafka", "msgspec", "asyncpg", "Kafka", "Java", "Kafka Streams",
            "Quix Streams"} <= ran_on.keys()
    assert all(ran_on.values())
    text = (tmp_path / "benchmarks.md").read_text()
    assert f"Kafka {kafka_version()}" in text
    assert f"Measured 2026-11-28T10:00Z to {found['wait'].at}" in text
    assert (found["rate"].speed, found["wait"].speed > 0) == (0.0, True), "how fast the machine was then"
    assert "| 1.5 | – |" in text
    assert f"| {found['wait'].load_average:g} | {found['wait'].speed:g} |" in text


def test_a_figure_kept_from_elsewhere_says_what_was_different_there() -> None:
    old, new = {"Kafka": "4.3", "cores": "8", "Python": "3.11"}, {"Kafka": "4.4", "cores": "2", "Python": "3.11"}
    first = merged({}, {}, {"rate": figure(2_000, "/s", references={"raw": 1.0})}, old, "facts")
    second = merged(first, old, {"wait": figure(1, "s")}, new, "live")
    assert second["rate"].elsewhere == {"Kafka": "4.3", "cores": "8"}
    assert second["wait"].elsewhere == {}
    assert merged(second, new, {}, {**new, "Kafka": "4.5"}, "live")["rate"].elsewhere == {"Kafka": "4.3", "cores": "8"}
    assert merged(second, new, {}, old, "live")["rate"].elsewhere == {}
    assert "elsewhere: Kafka 4.3, cores 8" in page(second, new)


def test_the_version_of_quix_streams_is_read_from_its_own_environment(tmp_path: Path) -> None:
    assert quix_version(tmp_path) == "not installed"
    (tmp_path / "lib/python3.11/site-packages/quixstreams-3.2.1.dist-info").mkdir(parents=True)
    assert quix_version(tmp_path) == "3.2.1"


def test_a_figure_of_which_less_is_better_is_met_at_its_limit_and_not_above() -> None:
    assert figure(300, "ms", at_least=300, smaller_is_better=True).met
    assert not figure(301, "ms", at_least=300, smaller_is_better=True).met
    assert not figure(1_499, "/s", at_least=1_500).met


def test_no_time_at_all_and_less_than_nothing_are_drawn_as_well(tmp_path: Path) -> None:
    save({"wait": figure(0, "s", at_least=60, smaller_is_better=True), "slower": figure(-3, "%", at_least=15, smaller_is_better=True),
          "rate": figure(0, "/s", at_least=4_000)}, "live", tmp_path)
    assert (tmp_path / "benchmarks.svg").read_text().count("✓") == 2


def test_a_small_run_reaches_no_promise_and_misses_none() -> None:
    found = unpromised({"rate": figure(10, "/s", at_least=1_500, aim=4_000, note="of ten")}, "a small run")["rate"]
    assert (found.value, found.at_least, found.aim, found.met, found.note) == (10, None, None, True, "a small run; of ten")


def test_every_promised_section_is_there_and_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"assess", "pure", "positions", "facts", "latency", "ledger", "eos", "transactions", "live"} == set(SECTIONS)
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    assert "no such section: nothing" in capsys.readouterr().err


@pytest.fixture(scope="module")
def names() -> Names:
    world = _World(reference(), 5, SimOptions(trains=1, closure=False), START)
    world.numbers = numbers = Recorder(random.Random("numbers"))
    messages = [sent(draft) for draft in world.drafts()]
    made = Names(numbers, messages, 1)
    made.messages = messages  # type: ignore[attr-defined]
    return made


def test_copies_share_no_number_with_each_other_and_every_number_is_sound(names: Names) -> None:
    copies = [names.of_copy(n) for n in range(3)]
    assert [list(c) for c in copies[1:]] == [list(copies[0])] * 2
    assert len({new for c in copies for new in c.values()}) == sum(len(set(c.values())) for c in copies)
    for copy in copies:
        assert all(len(old) == len(new) for old, new in copy.items())
        for old in names.given["container"]:
            parse_container(copy[old])
        for old in names.given["mrn"]:
            parse_mrn(copy[old])
    assert all(parse_shipment_id(copies[1][key]) for key in copies[0] if key.startswith("S") and len(key) == 13 and key.isalnum())


def test_a_copied_message_has_none_of_the_numbers_of_the_first(names: Names) -> None:
    new = names.of_copy(7)
    filled = [value.encode() for value in new.values()]
    old = [key.encode() for key in new if len(key) >= 7 and new[key] != key]
    for message in names.messages[::25]:  # type: ignore[attr-defined]
        copied = names.template(message.value).filled(filled, 7)
        assert len(copied) == len(message.value)
        assert not [number for number in old if number in copied]


@pytest.mark.parametrize("error", [
    TimeoutError(), KafkaTimeoutError("topics not ready"), RequestTimedOutError(), CalledProcessError(1, "ecj"), OSError("no room"), AssertionError("told"),
    asyncpg.ConnectionDoesNotExistError("gone"), RuntimeError("closed"),
])
def test_a_section_that_fails_leaves_the_others_their_figures(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    def failing(*_: object) -> dict[str, Figure]:
        raise error

    monkeypatch.setitem(SECTIONS, "assess", failing)
    monkeypatch.setitem(SECTIONS, "pure", lambda *_: {"rate": figure(1, "/s")})
    assert main(["--only", "assess,pure", "--directory", str(tmp_path)]) == 1
    assert list(read(tmp_path)[0]) == ["rate"]
    said = capsys.readouterr().err
    assert "assess has no figures" in said
    assert "Traceback" in said
    assert type(error).__name__ in said


def test_a_run_ends_with_0_when_all_was_measured_and_with_1_when_something_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    def run(**found: Figure | None) -> int:
        monkeypatch.setitem(SECTIONS, "pure", lambda *_: found)
        return main(["--only", "pure", "--directory", str(tmp_path)])

    slow, fast, free = figure(1, "/s", at_least=10), figure(20, "/s", at_least=10), figure(3, "us")
    assert run(slow=slow, fast=fast, free=free) == 0
    assert "promised figures: 1 met, 1 missed\n  missed: slow\n" in capsys.readouterr().out
    assert run(fast=fast, gone=None) == 1
    assert "promised figures: 1 met, 0 missed\n  NOT MEASURED: gone\n" in capsys.readouterr().out
    assert list(read(tmp_path)[0]) == ["fast"]
    beside = figure(20, "/s", references={"raw": 10.0}, least_ratios={"raw": 1.0}, aim_ratios={"Kafka Streams": 1.0})
    assert run(beside=beside) == 1
    assert "promised figures: 1 met, 0 missed\n  NOT MEASURED: beside, beside Kafka Streams\n" in capsys.readouterr().out


def test_the_help_says_how_long_each_section_takes_and_all_of_them_less_than_two_hours_and_a_half() -> None:
    assert MINUTES.keys() == SECTIONS.keys()
    assert sum(MINUTES.values()) <= 150
    assert f"live {MINUTES['live']}; {sum(MINUTES.values())} in all" in " ".join(parser().format_help().split())
    readme = " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())
    assert ", ".join(f"{name} {minutes}" for name, minutes in MINUTES.items()) in readme


def test_a_small_run_is_not_written_into_docs_and_nothing_is_measured_before_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    played = []

    def section(*_: object) -> dict[str, Figure]:
        played.append(1)
        return {"rate": figure(10, "/s", at_least=1_500)}

    monkeypatch.setitem(SECTIONS, "facts", section)
    monkeypatch.setitem(SECTIONS, "pure", section)
    monkeypatch.setattr("tests.bench.__main__.DOCS", tmp_path / "docs")
    with pytest.raises(SystemExit):
        main(["--only", "pure,facts", "--facts", "400"])
    assert "a small run (facts: facts 400 and not 4000)" in capsys.readouterr().err
    assert not played
    assert main(["--only", "facts", "--facts", "400", "--directory", str(tmp_path)]) == 0
    rate = read(tmp_path)[0]["rate"]
    assert (rate.at_least, rate.met, rate.note) == (None, True, "a small run: facts 400 and not 4000")
    assert main(["--only", "facts", "--directory", str(tmp_path)]) == 0
    assert (read(tmp_path)[0]["rate"].at_least, read(tmp_path)[0]["rate"].met) == (1_500, False)


@pytest.mark.parametrize("section", sorted(SIZES))
def test_each_size_of_a_section_makes_a_small_run_when_it_is_smaller_and_none_when_it_is_not(section: str) -> None:
    made = parser()
    usual = made.parse_args([])
    assert smaller(section, usual, made.get_default) == ""
    for name in SIZES[section]:
        less = argparse.Namespace(**{**vars(usual), name: getattr(usual, name) / 2})
        more = argparse.Namespace(**{**vars(usual), name: getattr(usual, name) * 2})
        assert smaller(section, less, made.get_default).startswith(name.replace("_", "-"))
        assert smaller(section, more, made.get_default) == ""


def test_a_run_says_which_program_beside_it_is_missing_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(beside, "QUIX", tmp_path / "python")
    monkeypatch.setitem(SECTIONS, "positions", lambda *_: {})
    monkeypatch.setitem(SECTIONS, "assess", lambda *_: {})
    main(["--only", "positions", "--directory", str(tmp_path)])
    assert "without Quix Streams, not installed: make .venv-bench/.setup" in capsys.readouterr().err
    main(["--only", "assess", "--directory", str(tmp_path)])
    assert "Quix" not in capsys.readouterr().err


def test_figures_are_of_the_code_that_was_there_before_and_after_they_were_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = iter(["v1-2-gab", "v1-2-gab", "v1-2-gab", "v1-2-gab", "v1-3-gcd"])
    monkeypatch.setattr(code_version, "__wrapped__", lambda: next(versions))
    monkeypatch.setitem(SECTIONS, "pure", lambda *_: {"rate": figure(1, "/s", note="of ten")})
    monkeypatch.setitem(SECTIONS, "assess", lambda *_: {"wait": figure(1, "s")})
    main(["--only", "pure,assess", "--directory", str(tmp_path)])
    found, _ = read(tmp_path)
    assert (found["rate"].version, found["rate"].note) == ("v1-2-gab", "of ten")
    assert found["wait"].version == "v1-2-gab to v1-3-gcd"
    assert found["wait"].note == "the code was changed while this was measured, from v1-2-gab to v1-3-gcd"
