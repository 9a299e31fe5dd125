"""What `docs/reliability.json` says of the simulation: how many seeds were played, and how many of them failed."""
from __future__ import annotations

from pathlib import Path

from tests import reliability
from tests.bench.figures import Figure, figure
from tests.reliability import Course
from tests.sim.simulate import Tally

SECTION = "simulation"
PROMISED = 10_000
"""Seeds of `make soak`."""


def figures(tally: Tally) -> dict[str, Figure]:
    """One entry per single figure."""
    over = f"{tally.records} records, {tally.published} statuses"
    return {"seeds played": figure(tally.seeds, "seeds", at_least=PROMISED, aim=PROMISED, note=over),
            "seeds with a failure": figure(len(tally.failures), "seeds", at_least=0, aim=0, smaller_is_better=True, note=f"of {tally.seeds}; {over}")}


def course(path: Path | None, first: int | None, *, again: bool, version: str) -> tuple[Course, Tally]:
    """Where a run begins and what it adds to. Raises OutOfStep (tests/reliability.py)."""
    found = reliability.course(path, SECTION, "seeds", first, again=again, version=version)
    return found, Tally() if found.kept is None else Tally.of(found.kept)


def write(course: Course, tally: Tally, end: int) -> None:
    """Seeds below `end` are done."""
    course.write(end, tally.report(), lambda: figures(tally))
