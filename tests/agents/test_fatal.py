"""How a process ends tells its supervisor whether a restart helps."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agents.transport.fatal import EXIT_CRASH, EXIT_REFUSED

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("error", "code", "says"), [
    ("Refuses('topic gone')", EXIT_REFUSED, "REFUSED to start: here: topic gone"),
    ("BadState('state of k cannot be read')", EXIT_REFUSED, "REFUSED to start: here: state of k cannot be read"),
    ("RuntimeError('broker away')", EXIT_CRASH, "FATAL here: RuntimeError('broker away')"),
    ("None", EXIT_CRASH, "FATAL here"),
])
def test_a_restart_is_asked_for_only_where_it_helps(error: str, code: int, says: str) -> None:
    program = f"from agents.runner.cells import BadState; from agents.transport.fatal import Refuses, fatal; fatal('here', {error}); print('never')"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, says in ended.stderr, ended.stdout) == (code, True, "")
