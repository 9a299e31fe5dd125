"""Where the container is and where it is going: current run or yard, arrival times, route, run per side."""
from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streams.custody.inputs import State
from streams.custody.places import customs_border
from streams.custody.presence import left, reached, runs_of
from streams.custody.spans import Span
from streams.derived import Saying
from streams.kept import at_of
from streams.reference.model import Reference
from topics.events.internal import Joined, Movement
from topics.facts import EVERYWHERE, HOUR, MINUTE, Fact, Rank, Value
from topics.identifiers import yard_run

READINESS = "readiness.in"
TRAINS, CUSTODY = "trains", "custody"
OFF = frozenset({"unloaded", "stored", "unstuffed", "moved_to_inspection", "gate_in", "arrived"})
ON = frozenset({"loaded", "transloaded", "departed"})
GONE = frozenset({"gate_out"})
OFF_THE_WAGON = frozenset({"unloaded", "stored", "unstuffed"})
"""What a terminal says that takes a container off its train although the railway has said nothing."""


class Whereabouts(NamedTuple):
    """Aboard a run, or in a yard (`place`), or neither; since when."""

    run: Movement | None
    place: str
    since: int
    reason: str = ""


def whereabouts(state: State) -> Whereabouts:
    """The last word on where the container is."""
    runs = sorted((r for r in state.runs.values() if not r.cancelled), key=lambda r: (r.aboard_from, r.aboard_to or 1 << 62, r.run))
    run = runs[-1] if runs else None
    since = run.aboard_from if run is not None else -1
    off = run.aboard_to if run is not None else None
    yard = [(at_of(e), e.id, e) for e in state.terminal.values() if e.what in OFF | ON | GONE]
    last = max(yard, default=None, key=lambda y: y[:2])
    if run is not None and off is None and (last is None or last[0] <= since or last[2].what not in OFF_THE_WAGON):
        return Whereabouts(run, "", since)
    if last is not None and last[0] >= (off or -1):
        place = last[2].place if last[2].what in OFF else ""
        return Whereabouts(None, place, last[0], last[2].what)
    if run is not None and off is not None:
        return Whereabouts(None, run.left_place, off, run.left_reason)
    return Whereabouts(None, "", since)


def joined(container: str, state: State, spans: list[Span], here: Whereabouts) -> Iterator[Saying]:
    """Which runs it is on and no longer on, for READINESS."""
    for run in state.runs.values():
        is_on = here.run is not None and here.run.run == run.run
        at = run.aboard_from if is_on else run.aboard_to if run.aboard_to is not None else max(run.aboard_from, here.since)
        reason = "" if is_on else "cancelled" if run.cancelled else run.left_reason or here.reason
        yield _joined(run.run, container, _shipment(spans, at), run.wagon, is_on, at, reason)
    if here.run is None and here.place:
        yield _joined(yard_run(here.place), container, _shipment(spans, here.since), "", True, here.since, here.reason)


def _shipment(spans: list[Span], at: int) -> str:
    return next((s.shipment for s in spans if s.holds(at)), "")


def _joined(run: str, container: str, shipment: str, wagon: str, aboard: bool, at: int, reason: str) -> Saying:
    said = Joined(run=run, container=container, shipment=shipment, wagon=wagon, seq=0, aboard=aboard, at=at, reason=reason)
    gone = Joined(run=run, container=container, shipment=shipment, seq=0, aboard=False, at=at, reason="left")
    return Saying(READINESS, run, f"joined|{container}", said, gone if aboard else None)


def trip_facts(container: str, state: State, span: Span, here: Whereabouts, reference: Reference) -> Iterator[Fact]:
    """Route, run, arrival times and position for the shipment of a span."""
    runs = runs_of(state.runs.values(), span)
    yield from _routes(container, runs, reference)
    yield from _runs(container, runs)
    if not span.holds(here.since) and not (here.run is not None and here.run in runs):
        return
    if here.run is not None and here.run in runs:
        for m in here.run.milestones:
            if m.eta is not None:
                yield Fact(side=m.side, key=("eta",), at=here.run.aboard_from, source=TRAINS, rank=Rank.RAILWAY, scope=container, value=list(m.eta))
        yield _position(container, here.run.run, here.run.position, "")
    elif here.place:
        yield from _off_train(container, runs, here, reference)
        yield _position(container, yard_run(here.place), None, here.place, here.since)


# The position is where the train was when something else had to be told: it is shown, and decides nothing.
def _position(container: str, run: str, known: tuple[float, float, int] | None, place: str, since: int = 0) -> Fact:
    value: dict[str, object] = {"run": run, "place": place}
    if known is not None:
        value |= {"lat": known[0], "lon": known[1], "at": known[2]}
    return Fact(side=EVERYWHERE, key=("position",), at=known[2] if known else since, source=TRAINS, rank=Rank.RAILWAY, scope=container, value=value)


def _routes(container: str, runs: list[Movement], reference: Reference) -> Iterator[Fact]:
    said: dict[str, tuple[str, int]] = {}
    early: dict[str, int] = {}
    for run in runs:
        for m in run.milestones:
            said[m.side] = ("on", run.aboard_from)
        for side in run.off_route:
            said[side] = ("off", run.rerouted_at)
        early |= dict.fromkeys(run.history_incomplete, run.aboard_from)
    for side, (value, at) in sorted(said.items()):
        word: Value = "not_required" if value == "on" and not customs_border(reference, side) else value
        yield Fact(side=side, key=("route",), at=at, source=TRAINS, rank=Rank.RAILWAY, scope=container, value=word)
    known = {m.side for run in runs for m in run.milestones if reached(run, m)}
    for side, at in sorted(early.items()):
        if side not in known:
            yield Fact(side=side, key=("flag", "HISTORY_INCOMPLETE"), at=at, source=TRAINS, rank=Rank.RAILWAY, scope=container)


def _runs(container: str, runs: list[Movement]) -> Iterator[Fact]:
    """The run with which it leaves each side: the last that left it or is still going to."""
    leaves: dict[str, Movement] = {}
    for run in runs:
        for m in run.milestones:
            if left(run, m) or run.aboard_to is None:
                leaves[m.side] = run
    for side, run in sorted(leaves.items()):
        yield Fact(side=side, key=("run",), at=run.aboard_from, source=TRAINS, rank=Rank.RAILWAY, scope=container, value=run.run)


def _off_train(container: str, runs: list[Movement], here: Whereabouts, reference: Reference) -> Iterator[Fact]:
    """Off the train: the next side as far away as containers usually stay; nothing is known of those behind it."""
    if not runs:
        return
    run = runs[-1]
    ahead = next((m for m in run.milestones if not reached(run, m)), None)
    if ahead is None:
        return
    crossing = ahead.side.split(":", 1)[0]
    dwell = reference.dwells.get((crossing, run.direction))
    if dwell is None:
        return
    grid = reference.limits.eta_grid_minutes * MINUTE
    eta = [(here.since + round(h * HOUR) + grid // 2) // grid * grid for h in (dwell.hours_p10, dwell.hours_p50, dwell.hours_p90)]
    yield Fact(side=ahead.side, key=("eta",), at=here.since, source=CUSTODY, rank=Rank.SENSOR, scope=container, value=list(eta))


def exit_of(place: str, state: State, span: Span, reference: Reference) -> str:
    """The side at which goods that were loaded at this place leave its country on this trip: what is due before loading is due there."""
    row = reference.places.get(place)
    if row is None or not row.country:
        return ""
    mine = f":{row.country}:EXIT"
    return next((m.side for run in runs_of(state.runs.values(), span) for m in run.milestones
                 if m.side.endswith(mine) and m.side not in run.off_route and customs_border(reference, m.side)), "")


def loading_due(container: str, state: State, span: Span, reference: Reference) -> Iterator[Fact]:
    """When loading is expected: at the latest when the first train is announced to set out [D]. Counts until a terminal says that it began."""
    first = next(iter(runs_of(state.runs.values(), span)), None)
    if first is None or first.leaves is None or not (side := exit_of(first.starts, state, span, reference)):
        return
    place = reference.places[first.starts]
    if place.crossing and place.crossing == side.partition(":")[0]:
        return                                          # at the border it is only loaded again
    yield Fact(side=side, key=("loading_start",), at=first.aboard_from, source=TRAINS, rank=Rank.RAILWAY, scope=container,
               value=[first.leaves, first.leaves])
