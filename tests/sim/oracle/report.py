"""What `docs/reliability.json` says of the oracle: how many histories were compared, and how many of them two programs tell differently."""
from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from tests import reliability
from tests.bench.figures import Figure, figure
from tests.reliability import Course, OutOfStep
from tests.sim.oracle.compare import Tally

SECTION = "oracle"
PROMISED = 300_000
"""Histories of `make soak`."""
KEPT, CHARS = 20, 500
"""So many disagreements are kept in words, each so long; all are counted."""


class Compared(msgspec.Struct):
    """What came of the histories of a seed so far."""

    seed: int
    histories: int = 0
    shuffles: int = 0
    """Histories of which several orders were compared."""
    folds: int = 0
    seconds: float = 0.0
    """Of the folds."""
    disagreements: int = 0
    examples: list[str] = []
    reached: dict[str, int] = {}
    """State and basis -> folds that came to it."""

    def add(self, tally: Tally, histories: int, shuffles: int, wrongs: list[str]) -> None:
        """A stretch of histories, `wrongs` among them."""
        self.histories += histories
        self.shuffles += shuffles
        self.folds += tally.folds
        self.seconds = round(self.seconds + tally.seconds, 3)
        self.disagreements += len(wrongs)
        self.examples = [*self.examples, *(wrong[:CHARS] for wrong in wrongs)][:KEPT]
        more = Counter({f"{state} ({basis.lower()})": n for (state, basis), n in tally.reached.items()})
        self.reached = dict(sorted((more + Counter(self.reached)).items()))


def figures(found: Compared) -> dict[str, Figure]:
    """One entry per single figure."""
    over = f"of seed {found.seed}; {found.folds} folds, and {found.shuffles} histories in several orders"
    made = {"histories compared": figure(found.histories, "histories", at_least=PROMISED, aim=PROMISED, note=over),
            "disagreements": figure(found.disagreements, "histories", at_least=0, aim=0, smaller_is_better=True, note=f"of {found.histories} {over}")}
    if found.folds:
        made["time of a fold"] = figure(found.seconds / found.folds * 1e6, "us", note=f"of one scope of a side; mean of {found.folds}")
    return made


def course(path: Path | None, seed: int, first: int | None, *, again: bool, version: str) -> tuple[Course, Compared]:
    """Where a run begins and what it adds to. Raises OutOfStep (tests/reliability.py), also when the report is of another seed."""
    found = reliability.course(path, SECTION, "histories", first, again=again, version=version)
    if found.kept is None:
        return found, Compared(seed)
    held = _convert(found.kept)
    if held.seed != seed:
        raise OutOfStep(f"{path} holds histories of seed {held.seed}: begin anew with --again")
    return found, held


def write(course: Course, found: Compared, end: int) -> None:
    """Histories below `end` are compared."""
    course.write(end, msgspec.to_builtins(found), lambda: figures(found))


def _convert(kept: dict[str, Any]) -> Compared:
    return msgspec.convert(kept, Compared)
