"""A worker with the small fold of `tests.agents.runner_toy` that notes when it takes its first record: `python -m tests.bench.eos_worker`.

Arguments and settings are those of the runner's; RAILCLEAR_FIRST names the file that the moment (monotonic, the same clock for all processes) goes to.
"""
from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from agents.transport.faust_app import run
from tests.agents import runner_toy

FIRST = "RAILCLEAR_FIRST"


class Noting(runner_toy.Summing):
    """As the fold, with a note before the first record is decoded."""

    _noted = False

    def decode(self, value: bytes) -> runner_toy.Add | runner_toy.Factor:
        if not Noting._noted:
            Noting._noted = True
            Path(os.environ[FIRST]).write_text(repr(time.monotonic()))
        return super().decode(value)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    runner_toy.Summing = Noting  # type: ignore[misc]
    run(runner_toy.worker(sys.argv[1], sys.argv[2], sys.argv[3] == "1", sys.argv[4:], **msgspec.json.decode(os.environ.get("RAILCLEAR_TOY", "{}"))))
