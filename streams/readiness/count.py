"""Counts the boxes on board by what they still lack at each side ahead: "41 of 43 movable, 1 held, 1 ENS missing"."""
from __future__ import annotations

from streams.readiness.state import Run
from topics.events.internal import Milestone, SideSummary
from topics.events.outputs import ReadinessSide, TrainReadiness
from topics.facts import MINUTE

HELD = frozenset({"REFUSED", "HELD", "UNDER_CONTROL", "CONTROL_ORDERED"})
NEVER_HERE = frozenset({"NOT_REQUIRED", "CANCELLED"})
YARD = "yard:"


def readiness(run: str, state: Run, revision: int, now: int) -> TrainReadiness:
    """The picture of a run at an instant. Boxes whose shipment has said nothing yet count in `containers` only."""
    profile = state.profile
    aboard = sorted((j for j in state.joined.values() if j.aboard), key=lambda j: (j.container, j.shipment))
    milestones = {m.side: m for m in profile.milestones} if profile is not None else {}
    rows: dict[str, list[SideSummary]] = {side: [] for side in milestones}
    for j in aboard:
        stood = state.summaries.get(f"{j.container}|{j.shipment}") or state.summaries.get(f"|{j.shipment}")
        for side in stood.sides if stood is not None else ():
            if side.state not in NEVER_HERE:
                rows.setdefault(side.side, []).append(side)
    sides = tuple(_side(name, found, milestones.get(name), now) for name, found in rows.items() if found)
    yard = run.startswith(YARD)
    return TrainReadiness(
        run=run, railway=profile.railway if profile else "", number=profile.number if profile else run.removeprefix(YARD) if yard else "",
        date=profile.date if profile else "", revision=revision, containers=len({j.container for j in aboard}), sides=sides,
        corridor=profile.corridor if profile else "", direction=profile.direction if profile else "", at=now, over=bool(profile and profile.over))


def _side(name: str, found: list[SideSummary], milestone: Milestone | None, now: int) -> ReadinessSide:
    states: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for s in found:
        states[s.state] = states.get(s.state, 0) + 1
        for kind in s.missing:
            kinds[kind] = kinds.get(kind, 0) + 1
    due = min((s.due for s in found if s.due is not None), default=None)
    eta = milestone.eta if milestone is not None else None
    return ReadinessSide(
        side=name, total=len(found), movable=sum(1 for s in found if s.movable), held=sum(1 for s in found if s.state in HELD),
        missing=sum(1 for s in found if s.missing), missing_kinds=dict(sorted(kinds.items())), states=dict(sorted(states.items())), eta=eta,
        margin_minutes=(due - now) // MINUTE if due is not None else None, seen=milestone.seen if milestone is not None else None,
        departed=milestone.departed if milestone is not None else None)
