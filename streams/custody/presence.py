"""When the container was at which side, in which visit, and how it left: from trains, sheets and terminals."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streams.custody.inputs import State
from streams.custody.places import side_of_place, speaker
from streams.custody.spans import Span
from streams.kept import at_of, event_id
from streams.reference.model import Reference
from topics.events.internal import Milestone, Movement
from topics.events.sites import TerminalEvent
from topics.facts import Fact, Rank, Value

SEEN, HANDED_OVER, PRESENTED, DEPARTED = "seen", "handed_over", "presented", "departed"
PRESENCE = frozenset({SEEN, HANDED_OVER, PRESENTED, DEPARTED})
OF_TERMINAL = {"gate_in": SEEN, "arrived": SEEN, "presented": PRESENTED, "departed": DEPARTED}
"""A move to the inspection yard is no departure, nor is a lorry that fetches the box."""


class Mark(NamedTuple):
    """One word about the container being at a side, or leaving it."""

    side: str
    what: str
    at: int
    source: str
    rank: Rank
    id: str
    bound: bool = False
    visit: int = 0
    """Stated visit; 0 = the one in which the instant falls."""


class Presence:
    """The marks of one span, told apart by visit."""

    __slots__ = ("marks", "returns", "span")

    def __init__(self, state: State, span: Span, reference: Reference) -> None:
        self.span = span
        self.returns: dict[str, list[Mark]] = {}
        marks = [m for run in state.runs.values() if not run.cancelled for m in _of_run(run)]
        marks += [m for e in state.terminal.values() if (m := _of_terminal(e, span.direction or direction_of(state, span), reference)) is not None]
        self.marks = [m for m in marks if span.holds(m.at)]
        for m in self.marks:
            if m.what == "returned":
                self.returns.setdefault(m.side, []).append(m)
        for side, found in self.returns.items():
            self.returns[side] = sorted({m.at: m for m in sorted(found)}.values(), key=lambda m: m.at)

    def visit(self, side: str, at: int) -> int:
        """The visit in which an instant falls."""
        return 1 + sum(1 for m in self.returns.get(side, ()) if m.at <= at)

    def visit_of_authority(self, authority: str, at: int) -> int:
        """The same at whatever side of an authority goods came back to; the first when they did so at two."""
        sides = [s for s in self.returns if f":{authority}:" in s]
        return self.visit(sides[0], at) if len(sides) == 1 else 1

    def facts(self, container: str) -> Iterator[Fact]:
        """One fact per side, kind, visit and source: of presence the earliest, of departure the latest; a reported time before a bound."""
        best: dict[tuple[str, str, int, str], Mark] = {}
        for m in self.marks:
            what = SEEN if m.what == "returned" else m.what
            slot = (m.side, what, m.visit or self.visit(m.side, m.at), m.source)
            held = best.get(slot)
            if held is None or _better(m, held, what):
                best[slot] = m
        for (side, what, visit, source), m in sorted(best.items()):
            value: Value = {"bound": True} if m.bound else True
            yield Fact(side=side, key=(what, str(visit)), at=m.at, source=source, rank=m.rank, id=m.id, scope=container, value=value)
        for side, found in sorted(self.returns.items()):
            last = found[-1]
            yield Fact(side=side, key=("visit",), at=last.at, source=last.source, rank=last.rank, id=last.id, scope=container,
                       value=str(len(found) + 1))


def _better(m: Mark, held: Mark, what: str) -> bool:
    if m.bound is not held.bound:
        return held.bound
    if what == DEPARTED and not m.bound:
        return (m.at, m.id) > (held.at, held.id)
    return (m.at, m.id) < (held.at, held.id)


def aboard(run: Movement, at: int) -> bool:
    """Was the container on this run at that instant?"""
    return run.aboard_from <= at and (run.aboard_to is None or at <= run.aboard_to)


def reached(run: Movement, m: Milestone) -> bool:
    """Did the container reach this side on this run?"""
    return any(t is not None and aboard(run, t) for t in (m.seen, m.handed_over, m.departed))


def left(run: Movement, m: Milestone) -> bool:
    """Did it leave the side on this run?"""
    return m.departed is not None and aboard(run, m.departed)


def _of_run(run: Movement) -> Iterator[Mark]:
    for m in run.milestones:
        rank = Rank(m.rank)
        if m.seen is not None and aboard(run, m.seen):
            yield Mark(m.side, SEEN, m.seen, m.source, rank, m.evidence, "seen" in m.bound)
        if m.handed_over is not None and aboard(run, m.handed_over):
            yield Mark(m.side, HANDED_OVER, m.handed_over, m.handed_source or m.source, Rank.RAILWAY, m.handed_evidence or m.evidence)
        if m.departed is not None and aboard(run, m.departed):
            yield Mark(m.side, DEPARTED, m.departed, m.departed_source or m.source, Rank(m.departed_rank), m.departed_evidence or m.evidence,
                       "departed" in m.bound)
        for at in m.returned:
            if run.aboard_from <= at and (run.aboard_to is None or at <= run.aboard_to):
                yield Mark(m.side, "returned", at, m.returned_source or m.source, Rank.RAILWAY, m.returned_evidence or m.evidence)
    for f in run.conveyance:
        if f.key[0] in PRESENCE and aboard(run, f.at):
            yield Mark(f.side, f.key[0], f.at, f.source, f.rank, f.id)


def _of_terminal(event: TerminalEvent, direction: str, reference: Reference) -> Mark | None:
    what = OF_TERMINAL.get(event.what)
    side = side_of_place(reference, event.place, direction) if what is not None else ""
    if what is None or not side:
        return None
    source, rank = speaker(reference, event.source)
    return Mark(side, what, at_of(event), source, rank, event_id(event), visit=event.visit or 0)


def direction_of(state: State, span: Span) -> str:
    """Where the trains of this span go."""
    found = [(r.aboard_from, r.direction) for r in runs_of(state.runs.values(), span) if r.direction]
    return max(found, default=(0, ""))[1]


def runs_of(runs: Iterable[Movement], span: Span) -> list[Movement]:
    """Runs that the container was on during a span, in order of boarding; cancelled ones left out."""
    found = [r for r in runs if not r.cancelled and r.aboard_from < span.end and (r.aboard_to is None or r.aboard_to >= span.start)]
    return sorted(found, key=lambda r: (r.aboard_from, r.aboard_to or 1 << 62, r.run))
