"""`docs/reliability.json`, the part `simulation`: what many seeds came to, which version played which of them, and where to go on."""
from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.figures import Figure, figure
from tests.sim.simulate import Tally
from tests.version import until_now

SECTION = "simulation"
PROMISED = 10_000
"""Seeds of `make soak`."""
ROOT = Path(__file__).resolve().parents[2]


class OutOfStep(ValueError):
    """The seeds asked for do not follow what the report holds; says what to do."""


class Part(msgspec.Struct, frozen=True):
    """Seeds from `first` up to `end`, not included, played in one go by one version."""

    first: int
    end: int
    version: str
    at: str
    """When its last seed was done, UTC."""


class Course:
    """The seeds played so far. Without a file nothing is kept."""

    def __init__(self, path: Path | None, tally: Tally, parts: list[Part], first: int, version: str) -> None:
        self.path, self.tally, self.first, self.version = path, tally, first, version
        self._earlier = parts

    def parts(self, end: int, at: str) -> list[Part]:
        """All parts when this one has come up to `end`; what the same version goes on with is one part."""
        if end <= self.first:
            return self._earlier
        last = self._earlier[-1] if self._earlier else None
        if last is not None and last.version == self.version and last.end == self.first:
            return [*self._earlier[:-1], msgspec.structs.replace(last, end=end, at=at)]
        return [*self._earlier, Part(self.first, end, self.version, at)]

    def write(self, end: int) -> None:
        """Seeds below `end` are done. What else the file holds stays; a crash leaves the old file or the new one."""
        if self.path is None:
            return
        self.version = until_now(self.version.partition("..")[0])
        parts = self.parts(end, datetime.now(UTC).isoformat(timespec="seconds"))
        machine = {"cores": os.cpu_count(), "load_average": [round(x, 2) for x in os.getloadavg()], "python": platform.python_version()}
        section = {**self.tally.report(), "figures": msgspec.to_builtins(figures(self.tally, [part.version for part in parts])), "next": end,
                   "parts": [msgspec.to_builtins(part) for part in parts], "machine": machine}
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({**_read(self.path), SECTION: section}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        fresh.replace(self.path)


def figures(tally: Tally, versions: Iterable[str]) -> dict[str, Figure]:
    """One entry per single figure. What several versions have played together carries the name of none; the note names them."""
    played = list(dict.fromkeys(versions))
    over = f"{tally.records} records, {tally.published} statuses" + (f"; played by {', '.join(played)}" if len(played) > 1 else "")
    found = {"seeds played": figure(tally.seeds, "seeds", at_least=PROMISED, aim=PROMISED, note=over),
            "seeds with a failure": figure(len(tally.failures), "seeds", at_least=0, aim=0, smaller_is_better=True, note=f"of {tally.seeds}; {over}")}
    return {name: msgspec.structs.replace(one, version=played[0] if len(played) == 1 else "") for name, one in found.items()}


def course(path: Path | None, first: int | None, *, again: bool, version: str) -> Course:
    """Where a run begins and what it adds to: where the report ends, or anew. Raises OutOfStep when `first` is anywhere else, because seeds would be
    counted twice or left out."""
    kept = None if again or path is None else _read(path).get(SECTION)
    if kept is None:
        return Course(path, Tally(), [], first or 0, version)
    if "next" not in kept:
        raise OutOfStep(f"{path} does not say which seeds it holds: begin anew with --again")
    following = int(kept["next"])
    if first is not None and first != following:
        what = f"seeds {first} to {following - 1} are in it already" if first < following else f"seeds {following} to {first - 1} would be left out"
        raise OutOfStep(f"{path} ends before seed {following}, so {what}: leave --from out to go on there, or begin anew with --again")
    return Course(path, Tally.of(kept), msgspec.convert(kept["parts"], list[Part]), following, version)


def _read(path: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return held
