"""What READINESS needs: for each container on a train run, where the sides ahead stand."""
from __future__ import annotations

from collections.abc import Collection

from streams.assess.updates import blocked_by_territory
from streams.rules.case import SideCase, Trip
from streams.status import DocState, ScopeStatus
from topics.events.internal import SideSummary
from topics.facts import WHOLE, Fact

Group = tuple[tuple[str, ...], tuple[SideSummary, ...]]
"""(containers, sides): containers that stand alike at every side."""


def summaries(trip: Trip) -> dict[str, tuple[Group, ...]]:
    """Run id -> groups of containers."""
    sides = [s for s in trip.sides if s.required and s.kind != "TERRITORY" and s.status is not None]
    made: dict[str, tuple[SideSummary, ...]] = {}
    found: dict[str, tuple[Group, ...]] = {}
    for run, boxes in sorted(_runs(trip).items()):
        alike: dict[tuple[SideSummary, ...], list[str]] = {}
        for box in sorted(boxes):
            if box not in made:
                made[box] = tuple(side.summaries.get(box) or summary(trip, side, box) for side in sides)
            alike.setdefault(made[box], []).append(box)
        found[run] = tuple((tuple(b for b in group if b != WHOLE), said) for said, group in alike.items())
    return found


def lacking(trip: Trip, standing: Collection[str]) -> bool:
    """Is a box on a run of which one of these sides, which were not assessed, does not know where it stands?"""
    boxes = {box for on in _runs(trip).values() for box in on}
    return any(not boxes <= side.summaries.keys() for side in trip.sides if side.id in standing and side.required and side.kind != "TERRITORY")


def _runs(trip: Trip) -> dict[str, set[str]]:
    """The run that each container is on, and those with which it is going to leave the sides ahead."""
    left: dict[str, int] = {}
    for side in trip.sides:
        for fact in _travel(side):
            if fact.key[0] == "departed":
                left[fact.scope] = max(left.get(fact.scope, -1), side.order)
    runs: dict[str, set[str]] = {}

    def on(run: object, scope: str) -> None:
        if isinstance(run, str) and run:
            runs.setdefault(run, set()).update([scope] if scope else trip.boxes or [WHOLE])

    for side in trip.sides:
        for fact in _travel(side):
            if fact.key[0] == "run" and side.order >= left.get(fact.scope, -1):
                on(fact.value, fact.scope)
    for fact in trip.any.get("position", ()):
        if isinstance(fact.value, dict):
            on(fact.value.get("run"), fact.scope)
    return runs


def _travel(side: SideCase) -> list[Fact]:
    """Runs and departures that are said of a side."""
    if side.travel is None:
        side.travel = [f for f in side.facts if f.key[0] in ("run", "departed")]
    found: list[Fact] = side.travel
    return found


def summary(trip: Trip, side: SideCase, box: str) -> SideSummary:
    """Where a box stands at a side."""
    status = side.status
    assert status is not None
    scopes = [status.scopes[box]] if box in status.scopes else [s for name, s in status.scopes.items() if name.startswith(f"{box}/")]
    scopes = scopes or [s for s in (status.scopes.get(WHOLE),) if s is not None]
    worst = next((s for s in scopes if not s.movable), scopes[0] if scopes else None)
    missing = _missing(side, box, scopes)
    due = [f.due for f in side.filings if f.kind in missing and f.due is not None]
    said = side.summaries[box] = SideSummary(
        side=side.id, state=worst.state.value if worst is not None else status.state.value,
        movable=bool(scopes) and all(s.movable for s in scopes) and not blocked_by_territory(trip, side), missing=missing, due=min(due, default=None))
    return said


def _missing(side: SideCase, box: str, scopes: list[ScopeStatus]) -> tuple[str, ...]:
    """Filings due before arrival that are not registered for this container."""
    if side.arrived and side.status is not None and side.status.state.value in ("DEPARTED", "CANCELLED"):
        return ()
    rules = side.rules.get(box) or next((r for name, r in side.rules.items() if name.startswith(f"{box}/")), None) or side.rules.get(WHOLE)
    asked = [kind for kind, before in rules.filings.items() if before] if rules is not None else []
    return tuple(k for k in asked if not all(any(d.kind == k and d.counts and d.state >= DocState.REGISTERED for d in s.documents) for s in scopes))
