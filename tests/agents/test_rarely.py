"""How often a worker looks for cycles among its objects."""
from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import gc, json
from agents import app
before = gc.get_threshold()[0]
app.rarely()
print(json.dumps([before, gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()]))
"""


def test_a_worker_looks_for_cycles_rarely_but_still_does() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, timeout=60, check=True)
    before, thresholds, frozen, enabled = json.loads(done.stdout)
    assert enabled, "cycles of exceptions and tasks would never be freed"
    assert thresholds[0] >= 50 * before
    assert frozen > 10_000, "what was loaded is not looked at again"
