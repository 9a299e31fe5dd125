"""The live table of the demo: trains by border side, with signs besides colours."""
from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.cli.common import SIGNS, STYLES, stamp, style_of
from agents.demo.watch import Watch
from topics.events.outputs import ReadinessSide, TrainReadiness

ROWS_MAX = 16
SIDES_MAX = 4


def board(watch: Watch, headline: str) -> RenderableType:
    """Everything the terminal shows while the demo runs."""
    table = Table(expand=True, pad_edge=False)
    for name in ("train", "corridor", "boxes", *(f"side {n} ahead" for n in range(1, SIDES_MAX + 1))):
        table.add_column(name, overflow="fold")
    trains = [t for t in watch.trains.values() if not t.over and t.containers and t.sides]
    for train in sorted(trains, key=_urgency)[:ROWS_MAX]:
        ahead = [s for s in train.sides if s.departed is None][:SIDES_MAX]
        cells = [_cell(s) for s in ahead] + [Text("")] * (SIDES_MAX - len(ahead))
        way = "→ west" if train.direction == "west" else "← east"
        table.add_row(f"{train.railway} {train.number}\n{train.date}", f"{train.corridor}\n{way}", str(train.containers), *cells)
    states = Text("  ").join(_count(s, n) for s, n in sorted(watch.states_now().items()))
    said = Text(f"railclear's time {stamp(watch.now) or 'not yet'}   {watch.shipments} shipments, {len(watch.last)} sides, {watch.updates} updates, "
                f"{sum(a.state == 'open' for a in watch.alerts.values())} alerts open")
    return Group(Text(headline, style="bold"), said, states, table)


def _urgency(train: TrainReadiness) -> tuple[float, str]:
    margins = [s.margin_minutes for s in train.sides if s.margin_minutes is not None and s.departed is None]
    return (min(margins, default=1e9), train.run)


def _count(state: str, number: int) -> Text:
    kind = style_of(state)
    return Text(f"{SIGNS[kind]} {state} {number}", style=STYLES[kind])


def _cell(side: ReadinessSide) -> Text:
    """`41/43 cleared, 1 held, 1 missing`, ETA and margin."""
    name = ":".join(side.side.split(":")[-2:]) + " " + side.side.split(":")[0].rsplit("-", 1)[-1].title()
    kind = "bad" if side.held else "good" if side.movable == side.total else "open"
    text = Text(f"{SIGNS[kind]} {side.movable}/{side.total} cleared", style=STYLES[kind])
    if side.held:
        text.append(f", {side.held} held")
    if side.missing:
        text.append(f", {side.missing} missing")
    when = "here" if side.seen is not None else stamp(side.eta[1])[5:16] + " UTC" if side.eta else "ETA unknown"
    margin = "" if side.margin_minutes is None else f", margin {side.margin_minutes / 60:+.0f} h"
    return Text.assemble(f"{name}\n", text, f"\n{when}{margin}")
