"""`docs/reliability.json`, figures and nothing else, and beside it `docs/reliability-runs.json`, what they were made of.

The first has one entry per single figure, as `docs/benchmarks.json` has (tests/bench/figures.py); its name begins with the kind of run that it comes from:
`chaos: …`, `simulation: …`, `oracle: …`. The second has a part per kind of run: rows, tallies, which version did what, where to go on. Runs write both, each
its own entries and its own part; nothing in either is written by hand, and the first is made anew from the second whenever that is written.
"""
from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.figures import Figure, now
from tests.version import until_now


def runs_of(path: Path) -> Path:
    """The file with the runs that belongs to this one with figures."""
    return path.with_name(f"{path.stem}-runs{path.suffix}")


def part_of(path: Path, section: str) -> dict[str, Any] | None:
    """What is kept of a kind of run; None: nothing yet."""
    found: dict[str, Any] | None = _read(runs_of(path)).get(section)
    return found


def figures_of(path: Path) -> dict[str, Figure]:
    """All figures."""
    return msgspec.convert(_read(path), dict[str, Figure])


def save(path: Path, section: str, part: Mapping[str, Any], found: Mapping[str, Figure]) -> None:
    """The part and the figures of a kind of run take the place of its former ones, those of others stay. A crash leaves the old files or the new ones, or the
    new runs with the old figures, which the next write makes anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(runs_of(path), {**_read(runs_of(path)), section: part})
    others = {name: one for name, one in figures_of(path).items() if not name.startswith(_named(section, ""))}
    mine = {_named(section, name): msgspec.structs.replace(one, section=section) for name, one in found.items()}
    _write(path, dict(sorted((others | mine).items())))


def _named(section: str, name: str) -> str:
    return f"{section}: {name}"


def _read(path: Path) -> dict[str, Any]:
    held: dict[str, Any] = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
    return held


def _write(path: Path, whole: object) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")
    fresh.replace(path)


# -- runs that go on where they were -------------------------------------------------------------------------------------------------
class OutOfStep(ValueError):
    """What is asked for does not follow what the report holds; says what to do."""


class Part(msgspec.Struct, frozen=True):
    """Units (seeds, histories) from `first` up to `end`, not included, done in one go by one version."""

    first: int
    end: int
    version: str
    at: str
    """When its last one was done, UTC."""


class Course:
    """The units done so far, and the next one, `first`. `kept`: what the report holds besides; None: nothing. Without a file nothing is kept."""

    def __init__(self, path: Path | None, section: str, kept: dict[str, Any] | None, parts: Sequence[Part], first: int, version: str) -> None:
        self.path, self.section, self.kept, self.first, self.version = path, section, kept, first, version
        self._earlier = list(parts)

    def parts(self, end: int, at: str) -> list[Part]:
        """All parts when this one has come up to `end`; what the same version goes on with is one part."""
        if end <= self.first:
            return self._earlier
        last = self._earlier[-1] if self._earlier else None
        if last is not None and last.version == self.version and last.end == self.first:
            return [*self._earlier[:-1], msgspec.structs.replace(last, end=end, at=at)]
        return [*self._earlier, Part(self.first, end, self.version, at)]

    def mixed(self, end: int) -> str:
        """A line for whoever goes on with what another version has begun; empty when one version has done all, and is the one that goes on."""
        if len({part.version for part in self.parts(end, "")}) < 2:
            return ""
        said = ", ".join(f"{part.first} to {part.end - 1} {part.version}" for part in self.parts(end, ""))
        return f"the figures are of several versions together ({said}); --again begins anew"

    def write(self, end: int, tally: Mapping[str, Any], figures: Callable[[], Mapping[str, Figure]]) -> None:
        """Everything below `end` is done, and came to this."""
        if self.path is None:
            return
        self.version = until_now(self.version.partition("..")[0], self.section)
        parts = self.parts(end, now().at)
        machine = {"cores": os.cpu_count(), "load_average": [round(x, 2) for x in os.getloadavg()], "python": platform.python_version()}
        part = {**tally, "next": end, "parts": msgspec.to_builtins(parts), "machine": machine}
        save(self.path, self.section, part, of_versions(figures(), [part.version for part in parts]))


def of_versions(found: Mapping[str, Figure], versions: Iterable[str]) -> dict[str, Figure]:
    """What several versions have done together carries the name of none; the note names them."""
    done = list(dict.fromkeys(versions))
    if len(done) == 1:
        return {name: msgspec.structs.replace(one, version=done[0]) for name, one in found.items()}
    return {name: msgspec.structs.replace(one, version="", note=f"{one.note}; of versions {', '.join(done)}".lstrip("; ")) for name, one in found.items()}


def course(path: Path | None, section: str, units: str, first: int | None, *, again: bool, version: str) -> Course:
    """Where a run begins: where the report ends, or anew. Raises OutOfStep when `first` is anywhere else, because units would be counted twice or left out."""
    kept = None if again or path is None else part_of(path, section)
    if kept is None:
        return Course(path, section, None, [], first or 0, version)
    if "next" not in kept:
        raise OutOfStep(f"{path} does not say which {units} it holds: begin anew with --again")
    following = int(kept["next"])
    if first is not None and first != following:
        what = f"{units} {first} to {following - 1} are in it already" if first < following else f"{units} {following} to {first - 1} would be left out"
        raise OutOfStep(f"{path} ends before {following}, so {what}: leave --from out to go on there, or begin anew with --again")
    return Course(path, section, kept, msgspec.convert(kept["parts"], list[Part]), following, version)
