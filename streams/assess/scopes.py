"""The scopes of a side, and one status for all of them although they may take different rows (30 boxes T1, 12 import …)."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from streams.rules.case import OURS, SideCase, Trip
from streams.status import Basis, ScopeStatus, SideRules, SideStatus, State, side_status
from streams.status.rollup import WEAKEST, Before, rolled_up, side_in
from streams.status.view import Index, looked_at
from topics.facts import EVERYWHERE, NEVER, WHOLE, Fact, Rank

QUIET = frozenset({"route", "seal", "eta", "run", "loading_start", "terminal", "tally", "deviation"})
"""Heads of facts that change nothing where no customs border is."""
PRESENCE = frozenset({"seen", "handed_over", "presented", "departed"})


def boxes_of(trip: Trip) -> Callable[[SideCase], list[str]]:
    """Gives the boxes (or house items) of the shipment at a side. A box that was taken off, its goods being in another one from then
    on, belongs only to the sides where it has been."""
    bound = {f.scope: f for f in trip.any.get("bound", ()) if f.scope != WHOLE}
    replaced = {str(old) for f in bound.values() if isinstance(f.value, dict) and (old := f.value.get("replaces"))}
    items: dict[str, set[str]] = {}
    for fact in trip.facts:
        if "/" in fact.scope:
            items.setdefault(fact.scope.split("/", 1)[0], set()).add(fact.scope)
    every = sorted({*trip.boxes, *items})

    def at(side: SideCase) -> list[str]:
        here = [b for b in every if b not in replaced or any(f.scope == b and f.key[0] in PRESENCE for f in side.facts)]
        return [scope for box in here for scope in (sorted(items[box]) if box in items else [box])]

    return at


INNER = SideStatus(
    state=State.NOT_REQUIRED, basis=Basis.INFERRED, counts={State.NOT_REQUIRED: 1}, movable=True,
    scopes={WHOLE: ScopeStatus(state=State.NOT_REQUIRED, basis=Basis.INFERRED, movable=True)})
"""A border inside a customs territory of which nothing is said."""


def inner(side: SideCase) -> Fact:
    """A state border inside a customs territory: only a movement is made there."""
    return Fact(side=side.id, key=("route",), at=NEVER, source=OURS, rank=Rank.AUTHORITY, value="not_required")


def withheld(status: SideStatus) -> SideStatus:
    """The status of a side of which something is not known: what is there stands, but it is not cleared, not ready and does not move."""
    def lower(state: State) -> State:
        return State.ACCEPTED if state is State.PRE_CLEARED else state

    counts: dict[State, int] = {}
    for state, number in status.counts.items():
        counts[lower(state)] = counts.get(lower(state), 0) + number
    each = {
        name: msgspec.structs.replace(s, state=lower(s.state), movable=False, ready=False, flags=s.flags - {"ready"})
        for name, s in status.scopes.items()}
    return msgspec.structs.replace(
        status, state=lower(status.state), counts=counts, scopes=each, movable=False, ready=False, flags=status.flags - {"ready"})


def stands(before: SideCase | None, side: SideCase, now: int) -> SideStatus | None:
    """The status as it was, when the same facts (ETAs apart, which the ladder does not know) meet the same rules and no term has run out."""
    if before is None or before.status is None or before.required != side.required or not _alike(before.rules, side.rules):
        return None
    if any(s.next_due is not None and now >= s.next_due for s in before.status.scopes.values()):
        return None
    if _heard(before) != _heard(side):
        return None
    side.index = before.index
    return before.status


def _alike(one: dict[str, SideRules], other: dict[str, SideRules]) -> bool:
    """The same rules for the same scopes: mostly the same objects, which need not be compared field by field."""
    return one.keys() == other.keys() and all(rules is other[name] or rules == other[name] for name, rules in one.items())


def _heard(side: SideCase) -> list[Fact]:
    return [f for f in side.facts if f.key[0] != "eta" or f.source == side.authority]


def passes(side: SideCase) -> bool:
    """Is it a border inside a customs territory of which nothing is said? Then its status stands: there is nothing to look at."""
    if side.required or not all(f.side in (EVERYWHERE, side.id) and f.key[0] in QUIET for f in side.facts):
        return False
    side.status = INNER
    return True


def side_status_of(side: SideCase, now: int, before: SideCase | None = None) -> SideStatus:
    """The status of a side whose scopes may take different rules. `before`: the side as it was assessed last, without doubts."""
    if passes(side):
        return INNER
    bound = [s for s in side.rules if s != WHOLE]
    if len(side.rules) == 1:
        (only,) = side.rules.values()
        return _alike_ruled(side, bound, only, now, before)
    groups: list[tuple[SideRules, list[str]]] = []
    for scope, rules in side.rules.items():
        for known, members in groups:
            if known is rules or known == rules:
                members.append(scope)
                break
        else:
            groups.append((rules, [scope]))
    if len(groups) == 1:
        return _alike_ruled(side, bound, groups[0][0], now, before)
    each: dict[str, ScopeStatus] = {}
    statuses = []
    known_scopes = set(side.rules)
    for n, (rules, members) in enumerate(groups):
        status = side_status(side.facts, members, rules, now)
        statuses.append(status)
        for scope, found in status.scopes.items():
            if scope in members or (n == 0 and scope not in known_scopes):      # what only the authority named takes the first row
                each[scope] = found
    return combined({s: each[s] for s in sorted(each)}, frozenset().union(*(s.flags & {"facts_limit"} for s in statuses)))


def _alike_ruled(side: SideCase, bound: list[str], rules: SideRules, now: int, before: SideCase | None) -> SideStatus:
    """Of a side with one row. What its scopes saw is kept where there are several, so that news of one box leaves the others alone."""
    side.index = index = Index(side.facts, looked_at(rules))
    then = None
    if before is not None and before.index is not None and before.status is not None and all(r is rules or r == rules for r in before.rules.values()):
        then = Before(index, before.index, before.status.scopes)
    status = side_in(index, bound, rules, now, then)
    if len(status.scopes) == 1:
        side.index = None
    return status


def combined(each: dict[str, ScopeStatus], more: frozenset[str]) -> SideStatus:
    """One side from scopes that were judged by different rows (status-model section 7, roll-up)."""
    counts = Counter(s.state for s in each.values())
    living = [s for s in each.values() if s.state is not State.NOT_REQUIRED and not s.off_route] or list(each.values())
    state = rolled_up([s for s in living if s.state is not State.NOT_REQUIRED and not s.off_route], counts)
    showing = [s for s in living if s.state is state]
    moving = [s for s in each.values() if not s.off_route]
    times = [s.since for s in (showing or living) if s.since != NEVER]
    return SideStatus(
        state=state, basis=min((s.basis for s in showing), key=WEAKEST.index, default=Basis.INFERRED), counts=dict(counts), scopes=each,
        flags=frozenset[str]().union(*(s.flags for s in living)) | more,
        missing=tuple(dict.fromkeys(m for s in living for m in s.missing)),
        not_checked=tuple(dict.fromkeys(m for s in living for m in s.not_checked)),
        present=any(s.present for s in living), ready=all(s.ready for s in living), movable=bool(moving) and all(s.movable for s in moving),
        blocked_by=tuple(dict.fromkeys(b for s in moving for b in s.blocked_by)),
        next_due=min((s.next_due for s in living if s.next_due is not None), default=None),
        since=(min if state in (State.ARRIVED, State.SEAL_CHECK) else max)(times, default=NEVER),
        evidence=tuple(dict.fromkeys(e for s in showing for e in s.evidence)))
