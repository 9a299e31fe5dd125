"""What a benchmark says: one entry per single figure, with its limits, what ran beside it, when, of which version and how often, as JSON.

`docs/benchmarks.json` has one entry per figure and one more, `_machine`: what the last run ran on. A figure that was kept from a run elsewhere names
in `elsewhere` what was different there.
"""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tests.version import code_version

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
MACHINE = "_machine"


class Moment(msgspec.Struct, frozen=True):
    """When a measurement ended."""

    at: str
    """UTC, by the minute."""
    load_average: float
    """Of the machine over the minute before."""


def now() -> Moment:
    """This one. A section whose figures come from different minutes takes it at the end of each."""
    return Moment(f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}", round(os.getloadavg()[0], 2))


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
    met: bool = True
    """Is everything promised reached?"""
    rounds: int = 1
    """Of so many: the best of them, or what the note says."""
    at: str = ""
    """When it was measured, UTC. Empty: before that was kept."""
    load_average: float = 0.0
    """Of the machine over the minute before the end of the measurement."""
    version: str = ""
    """Of railclear, by `git describe`."""
    section: str = ""
    elsewhere: dict[str, str] = {}
    """What was different where it was measured from what `_machine` says; empty value: not known then."""
    note: str = ""


def figure(value: float, unit: str, *, at_least: float | None = None, aim: float | None = None, references: Mapping[str, float] | None = None,
           least_ratios: Mapping[str, float] | None = None, smaller_is_better: bool = False, rounds: int = 1, when: Moment | None = None,
           note: str = "") -> Figure:
    """Compares with the limits. Ratios say how many times as good railclear is. `when`: now, if nothing is said."""
    beside, when = dict(references or {}), when or now()
    ratio = {name: (other / value if smaller_is_better else value / other) for name, other in beside.items() if other and value}
    reached = at_least is None or (value <= at_least if smaller_is_better else value >= at_least)
    reached = reached and all(ratio.get(name, 0.0) >= least for name, least in (least_ratios or {}).items())
    return Figure(value=_short(value), unit=unit, references={n: _short(v) for n, v in beside.items()}, ratio={n: _short(r) for n, r in ratio.items()},
                  at_least=at_least, aim=aim, least_ratios=dict(least_ratios or {}), met=reached, rounds=rounds, at=when.at,
                  load_average=when.load_average, version=code_version(), note=note)


def unpromised(found: Mapping[str, Figure], why: str) -> dict[str, Figure]:
    """The same figures of a run that is not the promised one: nothing is met by it, and nothing missed."""
    return {name: msgspec.structs.replace(f, at_least=None, aim=None, least_ratios={}, met=True, note=f"{why}; {f.note}".rstrip("; ")) for name, f in
            found.items()}


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


def read(directory: Path = DOCS) -> tuple[dict[str, Figure], dict[str, str]]:
    """The figures that are kept, and the machine of the run that wrote them last."""
    file = directory / "benchmarks.json"
    raw = msgspec.json.decode(file.read_bytes(), type=dict[str, msgspec.Raw]) if file.exists() else {}
    of = msgspec.json.decode(raw.pop(MACHINE), type=dict[str, str]) if MACHINE in raw else {}
    return {name: msgspec.json.decode(one, type=Figure) for name, one in raw.items()}, of


def merged(kept: Mapping[str, Figure], was: Mapping[str, str], found: Mapping[str, Figure], is_: Mapping[str, str], section: str) -> dict[str, Figure]:
    """All figures after a section has run: its own are new, those of the others stay and say what was different where they were measured."""
    every = {}
    for name, f in kept.items():
        if f.section != section:
            ran_on = {**was, **f.elsewhere} if was else {}
            every[name] = msgspec.structs.replace(f, elsewhere={k: v for k, v in ran_on.items() if is_.get(k) != v})
    return {**every, **{name: msgspec.structs.replace(f, section=section) for name, f in found.items()}}
