"""What a benchmark writes, and that copies of a simulated train share nothing with it."""
from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from streams.simulate import SimOptions
from streams.simulate.sent import sent
from streams.simulate.world import _World
from tests.bench.__main__ import SECTIONS, main
from tests.bench.figures import Figure, figure, save, unpromised
from tests.bench.names import Names, Recorder
from tests.sim.worlds import START, reference
from topics.identifiers import parse_container, parse_mrn, parse_shipment_id


def written(directory: Path) -> dict[str, Figure]:
    return msgspec.json.decode((directory / "benchmarks.json").read_bytes(), type=dict[str, Figure])


def test_figures_of_other_runs_stay_and_the_page_and_the_plot_name_each(tmp_path: Path) -> None:
    save({"rate": figure(2_000, "/s", at_least=1_500)}, tmp_path)
    save({"wait": figure(0.5, "s", at_least=1, smaller_is_better=True, note="of one run"), "rate": figure(1_000, "/s", at_least=1_500)}, tmp_path)
    assert {name: (f.value, f.met) for name, f in written(tmp_path).items()} == {"rate": (1_000, False), "wait": (0.5, True)}
    page, plot = (tmp_path / "benchmarks.md").read_text(), (tmp_path / "benchmarks.svg").read_text()
    assert "| rate | 1,000 /s | 1,500 |" in page
    assert "- wait: of one run" in page
    assert plot.count("<rect x=") == 2


def test_a_figure_of_which_less_is_better_is_met_at_its_limit_and_not_above() -> None:
    assert figure(300, "ms", at_least=300, smaller_is_better=True).met
    assert not figure(301, "ms", at_least=300, smaller_is_better=True).met
    assert not figure(1_499, "/s", at_least=1_500).met


def test_no_time_at_all_and_less_than_nothing_are_drawn_as_well(tmp_path: Path) -> None:
    save({"wait": figure(0, "s", at_least=60, smaller_is_better=True), "slower": figure(-3, "%", at_least=15, smaller_is_better=True),
          "rate": figure(0, "/s", at_least=4_000)}, tmp_path)
    assert (tmp_path / "benchmarks.svg").read_text().count("✓") == 2


def test_a_small_run_reaches_no_promise_and_misses_none() -> None:
    found = unpromised({"rate": figure(10, "/s", at_least=1_500, aim=4_000, note="of ten")}, "a small run")["rate"]
    assert (found.value, found.at_least, found.aim, found.met, found.note) == (10, None, None, True, "a small run; of ten")


def test_every_promised_section_is_there_and_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"assess", "pure", "positions", "facts", "latency", "ledger", "eos", "live"} == set(SECTIONS)
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
