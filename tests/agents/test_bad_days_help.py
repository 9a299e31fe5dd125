"""The help texts of tools for bad days say what is not done, and why."""
from __future__ import annotations

import re

import pytest

from agents.cli import root
from agents.operations import rebuild, shadow


@pytest.fixture
def helped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("COLUMNS", "200")

    def text(command: str) -> str:
        assert root.run([command, "--help"]) == 0
        return re.sub(r"[\s│]+", " ", capsys.readouterr().out)

    return text


def test_the_workers_help_names_everything_that_a_shadow_does_not_write(helped: object) -> None:
    said, = re.findall(r"Beside production, under shadow.*?no ledger\.", helped("worker"))  # type: ignore[operator]
    for kind in (*shadow.NOT_WRITTEN, "ledger"):
        assert kind in said


def test_the_help_of_rebuild_says_of_every_refused_fold_what_the_ledger_lacks(helped: object) -> None:
    said = helped("rebuild")  # type: ignore[operator]
    for fold, lacks in (("trains", "positions between stations and what a train inherits from the one it was formed from (trains)"),
                        ("custody", "movements and with them when a trip that is over is forgotten (custody)"),
                        ("readiness", "all inputs of readiness"), ("sources", "all inputs of readiness and sources")):
        assert lacks in said, fold
    assert set(rebuild.REFUSED) == {"trains", "custody", "readiness", "sources"}
