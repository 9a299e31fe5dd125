"""The figures as a page, section by section, and as a plot of how much of its limit each reaches."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.figures import ALONE, DOCS, FILE, MACHINE_FILE, Figure, merged, read, write
from tests.bench.machine import machine

BAR, TEXT = 420, 250
SHARE_MAX = 99.0
SMALLER: Sequence[str] = ("us", "ms", "s", "MB", "GB", "%")
"""Units of which less is better."""
TITLES = {
    "assess": "CLEARANCE in memory", "pure": "Positions in memory", "positions": "Positions on Kafka", "facts": "Clearance facts on Kafka",
    "latency": "From a notice or position to the border's update", "ledger": "The ledger", "eos": "Exactly-once beside at-least-once, a small stage",
    "transactions": "Exactly-once beside at-least-once, CLEARANCE", "live": "Live operation",
}
"""Section -> its heading, in the order of the page."""


def save(found: Mapping[str, Figure], section: str, directory: Path = DOCS) -> None:
    """The figures, their machine, the plot and the page: the figures of a section take the place of its former ones, those of others stay."""
    directory.mkdir(parents=True, exist_ok=True)
    every = merged(*read(directory), found, machine(), section)
    write(every, machine(), directory)
    (directory / "benchmarks.svg").write_text(plot(every), encoding="utf-8")
    (directory / "benchmarks.md").write_text(page(every, machine()), encoding="utf-8")


def page(figures: Mapping[str, Figure], machine: Mapping[str, str]) -> str:
    """The page."""
    lines = ["# Benchmarks", "", f"Written by `make bench`; `{FILE}` has the same, one entry per figure, and `{MACHINE_FILE}` the machine.", "",
             f"Machine: {'; '.join(f'{name} {value}' for name, value in machine.items())}.", "",
             "A machine like this is noisy: ratios to what ran beside it in the same run say more than figures alone. A ratio says how many times as good "
             "railclear is as the program beside it.", "`Best of` says of how many rounds a figure is the best one. `Load` is the load average over the minute "
             "before the measurement ended, whose time stands above each table; `Speed` is the machine's own at that moment, in millions of steps of an empty "
             "Python loop a second: figures of moments with another speed cannot be compared.",
             f"A figure without a program beside it says in its note why there is {ALONE}.", "", "![Figures against their limits](benchmarks.svg)"]
    for section in [*TITLES, *sorted({f.section for f in figures.values()} - TITLES.keys())]:
        mine = {name: f for name, f in sorted(figures.items()) if f.section == section}
        if mine:
            lines += ["", *_section(TITLES.get(section, section), mine)]
    return "\n".join(lines) + "\n"


def _section(title: str, figures: Mapping[str, Figure]) -> list[str]:
    lines = [f"## {title}", "", _when(figures), "", "| What | Measured | At least | Aim | Met | Best of | Load | Speed | Beside it (ratio) |",
             "|---|---|---|---|---|---|---|---|---|"]
    for name, f in figures.items():
        beside = ", ".join(f"{n} {v:,.6g}" + (f" (×{f.ratio[n]:.3g})" if n in f.ratio else "") for n, v in f.references.items())
        verdict = ("yes" if f.met else "**no**") if f.promised else "–"
        lines.append(f"| {name} | {f.value:,.6g} {f.unit} | {_limits(f.at_least, f.least_ratios)} | {_limits(f.aim, f.aim_ratios)} | {verdict} | {f.rounds} | "
                     f"{f.load_average:g} | {f'{f.speed:g}' if f.speed else '–'} | {beside} |")
    same: dict[str, list[str]] = {}
    for name, f in figures.items():
        if f.note:
            same.setdefault(f.note, []).append(name)
    notes = [f"- {' / '.join(names) if len(names) < len(figures) else 'All'}: {note}" for note, names in same.items()]
    return [*lines, "", *notes] if notes else lines


def _limits(value: float | None, ratios: Mapping[str, float]) -> str:
    return "; ".join([*([] if value is None else [f"{value:,.6g}"]), *(f"×{ratio:g} {name}" for name, ratio in ratios.items())])


def _when(figures: Mapping[str, Figure]) -> str:
    """From when to when, of which version, and on what else than the machine above."""
    times = sorted({f.at for f in figures.values()})
    said = times[0] if len(times) == 1 else f"{times[0]} to {times[-1]}"
    versions = sorted({f.version for f in figures.values()})
    other = sorted({f"{k} {v or 'not known'}" for f in figures.values() for k, v in f.elsewhere.items()})
    parts = [f"Measured {said}", f"version {', '.join(versions)}", *([f"elsewhere: {', '.join(other)}"] if other else [])]
    return "; ".join(parts) + "."


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


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
