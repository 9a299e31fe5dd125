"""What a benchmark says: one entry per single figure, with its limits and what ran beside it, as JSON, as a page and as a plot."""
from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
BAR, TEXT = 420, 250


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One measured figure."""

    value: float
    unit: str
    references: dict[str, float] = {}
    """Reference program -> the same figure of it, in the same run."""
    ratio: dict[str, float] = {}
    at_least: float | None = None
    """Limit that is promised; None: measured without a promise."""
    aim: float | None = None
    least_ratios: dict[str, float] = {}
    """Reference -> ratio that is promised."""
    met: bool = True
    """Is everything promised reached?"""
    load: float = 0.0
    """Load average of the machine over the minute before the end of the measurement."""
    note: str = ""


def figure(value: float, unit: str, *, at_least: float | None = None, aim: float | None = None, references: Mapping[str, float] | None = None,
           least_ratios: Mapping[str, float] | None = None, smaller_is_better: bool = False, note: str = "") -> Figure:
    """Compares with the limits. Ratios say how many times as good railclear is."""
    beside = dict(references or {})
    ratio = {name: (other / value if smaller_is_better else value / other) for name, other in beside.items() if other and value}
    reached = at_least is None or (value <= at_least if smaller_is_better else value >= at_least)
    reached = reached and all(ratio.get(name, 0.0) >= least for name, least in (least_ratios or {}).items())
    return Figure(value=_short(value), unit=unit, references={n: _short(v) for n, v in beside.items()}, ratio={n: round(r, 3) for n, r in ratio.items()},
                  at_least=at_least, aim=aim, least_ratios=dict(least_ratios or {}), met=reached, load=round(os.getloadavg()[0], 2), note=note)


def unpromised(found: Mapping[str, Figure], why: str) -> dict[str, Figure]:
    """The same figures of a run that is not the promised one: nothing is met by it, and nothing missed."""
    return {name: msgspec.structs.replace(f, at_least=None, aim=None, least_ratios={}, met=True, note=f"{why}; {f.note}".rstrip("; ")) for name, f in
            found.items()}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def machine() -> str:
    """What it ran on, versions included."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("faust-streaming", "aiokafka", "msgspec", "asyncpg"))
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"


def save(found: Mapping[str, Figure], directory: Path = DOCS) -> None:
    """`benchmarks.json` (figures of other runs stay), `benchmarks.svg` and `benchmarks.md`."""
    file = directory / "benchmarks.json"
    kept = msgspec.json.decode(file.read_bytes(), type=dict[str, Figure]) if file.exists() else {}
    every = {**kept, **found}
    file.write_bytes(msgspec.json.format(msgspec.json.encode(dict(sorted(every.items()))), indent=2) + b"\n")
    (directory / "benchmarks.svg").write_text(plot(every), encoding="utf-8")
    (directory / "benchmarks.md").write_text(page(every), encoding="utf-8")


def page(figures: Mapping[str, Figure]) -> str:
    """The page."""
    lines = ["# Benchmarks", "",
             f"Written by `make bench`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, on {machine()}, the broker on the same cores; best of three.", "",
             "A machine like this is noisy: ratios to what ran beside it in the same run say more than figures alone.",
             "`load` is the load average of that minute.", "", "![Figures against their limits](benchmarks.svg)", "",
             "| What | Measured | At least | Aim | Met | Load | Beside it (ratio) |", "|---|---|---|---|---|---|---|"]
    for name, f in sorted(figures.items()):
        beside = ", ".join(f"{n} {v:,.6g} (×{f.ratio.get(n, 0):.3g})" for n, v in f.references.items())
        promised = "" if f.at_least is None else f"{f.at_least:,.6g}"
        promised += "".join(f"; ×{r:g} {n}" for n, r in f.least_ratios.items())
        verdict = ("yes" if f.met else "**no**") if f.at_least is not None or f.least_ratios else "–"
        lines.append(f"| {name} | {f.value:,.6g} {f.unit} | {promised} | {'' if f.aim is None else f'{f.aim:,.6g}'} | {verdict} | {f.load:g} | {beside} |")
    notes = [f"- {name}: {f.note}" for name, f in sorted(figures.items()) if f.note]
    return "\n".join([*lines, "", *notes]) + "\n"


def plot(figures: Mapping[str, Figure]) -> str:
    """Bars of how much of its limit each figure reaches, as SVG; blue reaches it, orange with a cross does not."""
    rows = [(name, share) for name, f in sorted(figures.items()) if f.at_least for share in [_share(f)]]
    height = 30 + 22 * len(rows)
    top = max([1.5, *(share for _, share in rows)])
    top = min(top, 4.0)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{TEXT + BAR + 90}" height="{height}" font-family="sans-serif" font-size="11">',
           f'<rect width="100%" height="100%" fill="white"/><text x="{TEXT}" y="14">share of the promised figure (longer is better; line = promised)</text>']
    for n, (name, share) in enumerate(rows):
        y, wide = 22 + 22 * n, BAR * min(share, top) / top
        good = share >= 1
        out.append(f'<text x="{TEXT - 6}" y="{y + 12}" text-anchor="end">{_escaped(name)}</text>'
                   f'<rect x="{TEXT}" y="{y}" width="{wide:.1f}" height="16" fill="{"#0072B2" if good else "#E69F00"}"/>'
                   f'<text x="{TEXT + wide + 4:.1f}" y="{y + 12}">{"✓" if good else "✗"} ×{share:.2f}</text>')
    line = TEXT + BAR / top
    out.append(f'<line x1="{line:.1f}" x2="{line:.1f}" y1="20" y2="{height - 4}" stroke="black"/></svg>')
    return "\n".join(out) + "\n"


def _share(f: Figure) -> float:
    assert f.at_least is not None, "only figures with a limit are drawn"
    if f.unit in SMALLER:
        return f.at_least / f.value if f.value > 0 else SHARE_MAX       # nothing at all, or less than before
    return f.value / f.at_least


SHARE_MAX = 99.0


SMALLER: Sequence[str] = ("us", "ms", "s", "MB", "GB", "%")
"""Units of which less is better."""


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
