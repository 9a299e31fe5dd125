"""`make soak` plays the simulation and asks the oracle, whatever the first of them finds, and fails when either does."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("simulation", "oracle"), [(0, 0), (1, 0), (0, 1), (2, 1)])
def test_both_run_and_either_one_s_failure_is_the_soak_s(simulation: int, oracle: int, tmp_path: Path) -> None:
    python, said = tmp_path / "bin" / "python", tmp_path / "said"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$@" >> {said}\ncase "$2" in tests.sim.oracle) exit {oracle};; *) exit {simulation};; esac\n')
    python.chmod(0o755)
    (tmp_path / ".railclear-setup").touch()
    done = subprocess.run(["make", "soak", f"VENV={tmp_path}", "ARGS=--again --jobs 1"], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode == 0) is (simulation == oracle == 0)
    assert said.read_text().splitlines() == [
        "-m tests.sim --soak 10000 --jobs 2 --report docs/reliability.json --again --jobs 1",
        "-m tests.sim.oracle 300000 --report docs/reliability.json --again"]
