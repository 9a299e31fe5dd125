"""What a benchmark says: one entry per single figure, with its limits, what ran beside it, when, of which version and how often, as JSON.

`docs/benchmarks.json` has one entry per figure and nothing else; `docs/benchmarks-machine.json` says what the last run ran on. A figure that was kept from a
run elsewhere names in `elsewhere` what was different there. An entry that does not say when it was measured, of which version and by which section is
neither written nor kept.
"""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from tests.version import code_version

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
FILE, MACHINE_FILE = "benchmarks.json", "benchmarks-machine.json"
T = TypeVar("T")
ALONE = "nothing beside it"
"""Begins the reason why a figure has no reference."""
SAID = ("at", "version", "section")
"""What every entry of the file has."""


class Moment(msgspec.Struct, frozen=True):
    """When a measurement ended."""

    at: str
    """UTC, by the minute."""
    load_average: float
    """Of the machine over the minute before."""
    speed: float = 0.0
    """Of the machine then, millions of steps of an empty loop a second."""


STEPS, TRIES = 100_000, 5


def speed() -> float:
    """How fast this machine is just now: the same machine may be three times as slow an hour later. The best of some tries of a few milliseconds."""
    found = 0.0
    for _ in range(TRIES):
        begun = time.perf_counter()
        for _ in range(STEPS):
            pass
        found = max(found, STEPS / 1e6 / (time.perf_counter() - begun))
    return round(found, 1)


def now() -> Moment:
    """This one. A section whose figures come from different minutes takes it at the end of each."""
    return Moment(f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}", round(os.getloadavg()[0], 2), speed())


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One measured figure."""

    value: float
    unit: str
    references: dict[str, float] = {}
    """Reference program -> the same figure of it, in the same run."""
    ratio: dict[str, float] = {}
    """Reference -> how many times as good railclear is."""
    at_least: float | None = None
    """Limit that is promised; None: measured without a promise."""
    aim: float | None = None
    least_ratios: dict[str, float] = {}
    """Reference -> ratio that is promised."""
    aim_ratios: dict[str, float] = {}
    """Reference -> ratio that belongs to the aim."""
    met: bool = True
    """Is everything promised reached?"""
    rounds: int = 1
    """Of so many: the best of them, or what the note says."""
    at: str = ""
    """When it was measured, UTC."""
    load_average: float = 0.0
    """Of the machine over the minute before the end of the measurement."""
    speed: float = 0.0
    """Of the machine at its end, millions of steps of an empty Python loop a second; 0: not measured."""
    version: str = ""
    """Of railclear, by `git describe`."""
    section: str = ""
    elsewhere: dict[str, str] = {}
    """What was different where it was measured from what the file of the machine says; empty value: not known then."""
    note: str = ""

    @property
    def promised(self) -> bool:
        return self.at_least is not None or bool(self.least_ratios)

    @property
    def lacking(self) -> list[str]:
        """References of which a ratio is promised, or aimed at, and which were not measured."""
        return sorted((self.least_ratios.keys() | self.aim_ratios.keys()) - self.ratio.keys())


def figure(value: float, unit: str, *, at_least: float | None = None, aim: float | None = None, references: Mapping[str, float] | None = None,
           least_ratios: Mapping[str, float] | None = None, aim_ratios: Mapping[str, float] | None = None, smaller_is_better: bool = False, rounds: int = 1,
           when: Moment | None = None, note: str = "", alone: str = "") -> Figure:
    """Compares with the limits. Ratios say how many times as good railclear is. `when`: now, if nothing is said. `alone`: why nothing stands beside it."""
    beside, when = dict(references or {}), when or now()
    ratio = {name: (other / value if smaller_is_better else value / other) for name, other in beside.items() if other and value}
    reached = at_least is None or (value <= at_least if smaller_is_better else value >= at_least)
    reached = reached and all(ratio.get(name, 0.0) >= least for name, least in (least_ratios or {}).items())
    return Figure(value=_short(value), unit=unit, references={n: _short(v) for n, v in beside.items()}, ratio={n: _short(r) for n, r in ratio.items()},
                  at_least=at_least, aim=aim, least_ratios=dict(least_ratios or {}), aim_ratios=dict(aim_ratios or {}), met=reached, rounds=rounds, at=when.at,
                  load_average=when.load_average, speed=when.speed, version=code_version(),
                  note="; ".join(part for part in (note, f"{ALONE}: {alone}" if alone else "") if part))


Found = Mapping[str, Figure | None]
"""What a section has measured; None: a figure that it has and that could not be measured."""


def measured(found: Found) -> dict[str, Figure]:
    """Without what could not be measured."""
    return {name: f for name, f in found.items() if f is not None}


def unpromised(found: Mapping[str, Figure], why: str) -> dict[str, Figure]:
    """The same figures of a run that is not the promised one: nothing is met by it, and nothing missed."""
    return {name: msgspec.structs.replace(f, at_least=None, aim=None, least_ratios={}, aim_ratios={}, met=True, note=f"{why}; {f.note}".rstrip("; "))
            for name, f in found.items()}


def of_code(found: Mapping[str, Figure], versions: Sequence[str]) -> dict[str, Figure]:
    """The same figures of the code as it was when the run began, when their measurement did and when that ended; where it was changed meanwhile they say so,
    for nobody knows which of them was measured."""
    different = list(dict.fromkeys(versions))
    if len(different) == 1:
        return {name: msgspec.structs.replace(f, version=different[0]) for name, f in found.items()}
    why = f"the code was changed while this was measured, from {' to '.join(different)}"
    return {name: msgspec.structs.replace(f, version=" to ".join(different), note=f"{why}; {f.note}".rstrip("; ")) for name, f in found.items()}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def unsaid(f: Figure) -> list[str]:
    """What this entry does not say and must."""
    return [name for name in SAID if not getattr(f, name)]


def read(directory: Path = DOCS) -> tuple[dict[str, Figure], dict[str, str]]:
    """The figures that are kept, and the machine of the run that wrote them last. What nobody knows the run of is not kept, and that is said."""
    raw = _decoded(directory / FILE, dict[str, msgspec.Raw])
    of = _decoded(directory / MACHINE_FILE, dict[str, str])
    found = {name: msgspec.json.decode(one, type=Figure) for name, one in raw.items()}
    for name in [name for name, f in found.items() if unsaid(f)]:
        print(f"  {name}: not kept, for it does not say its {', '.join(unsaid(found.pop(name)))}", file=sys.stderr)
    return found, of


def _decoded(file: Path, kind: type[dict[str, T]]) -> dict[str, T]:
    return msgspec.json.decode(file.read_bytes(), type=kind) if file.exists() else {}


def write(every: Mapping[str, Figure], of: Mapping[str, str], directory: Path) -> None:
    """Both files, each whole or as it was. Raises ValueError for an entry that does not say what every entry says."""
    if wrong := {name: lacks for name, f in every.items() if (lacks := unsaid(f))}:
        raise ValueError(f"figures that do not say when, of what and by what they were measured: {wrong}")
    for name, told in ((MACHINE_FILE, dict(of)), (FILE, dict(sorted(every.items())))):
        fresh = directory / f"{name}.new"
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
        fresh.replace(directory / name)


def merged(kept: Mapping[str, Figure], was: Mapping[str, str], found: Mapping[str, Figure], is_: Mapping[str, str], section: str) -> dict[str, Figure]:
    """All figures after a section has run: its own are new, those of the others stay and say what was different where they were measured."""
    every = {}
    for name, f in kept.items():
        if f.section != section:
            ran_on = {**was, **f.elsewhere} if was else {}
            every[name] = msgspec.structs.replace(f, elsewhere={k: v for k, v in ran_on.items() if is_.get(k) != v})
    return {**every, **{name: msgspec.structs.replace(f, section=section) for name, f in found.items()}}
