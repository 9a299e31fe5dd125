"""A side from its scopes: items, containers, shipment (status-model section 7, roll-up)."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from streams.status.ladder import assess
from streams.status.states import Basis, Block, ScopeStatus, SideRules, SideStatus, State
from streams.status.view import FACTS_MAX, Index, looked_at
from topics.facts import NEVER, WHOLE, Fact, Facts

DEMANDED = (State.REFUSED, State.HELD, State.UNDER_CONTROL, State.CONTROL_ORDERED, State.INFO_REQUESTED, State.FILING_REJECTED)
"""Worst first: one scope that shows it, and the side shows it."""
PROGRESS = (State.CANCELLED, State.EXPECTED, State.FILED, State.ACCEPTED, State.PRE_CLEARED)
"""Least advanced first. A scope to be filed again stands before everything."""
T = TypeVar("T")
WEAKEST = (Basis.INFERRED, Basis.AGREEMENT, Basis.AUTHORITY)


class Before:
    """How the scopes of a side stood under the same rules at an earlier instant, and on which facts."""

    __slots__ = ("_each", "_index", "_same", "_then")

    def __init__(self, index: Index, then: Index, each: Mapping[str, ScopeStatus]) -> None:
        """`index`: the facts now; `then`: those of the earlier instant."""
        self._index, self._then, self._each = index, then, each
        self._same: dict[str, bool] = {}

    def standing(self, scope: str, now: int) -> ScopeStatus | None:
        """As it stood, if it sees the same facts and no term has run out; None: look anew."""
        status = self._each.get(scope)
        if status is None or (status.next_due is not None and now >= status.next_due):
            return None
        return status if self._alike(WHOLE) and self._alike(scope.split("/", 1)[0]) and self._alike(scope) else None

    def _alike(self, scope: str) -> bool:
        same = self._same.get(scope)
        if same is None:
            same = self._same[scope] = self._index.scopes.get(scope) == self._then.scopes.get(scope)
        return same


def scope_status(facts: Facts | Iterable[Fact], scope: str, rules: SideRules, now: int) -> ScopeStatus:
    """One scope of one side. `facts`: merged facts that apply to this side (its own and those of side `*`); `now` in microseconds."""
    return assess(Index(facts, looked_at(rules)), scope, rules, now)


def side_status(facts: Facts | Iterable[Fact], bound: Iterable[str], rules: SideRules, now: int) -> SideStatus:
    """The status of one side of one shipment.

    `facts`: merged facts (topics.facts.merge) that apply to this side, those of side `*` included, in any order. `bound`: scopes
    bound to the shipment, containers and house items; empty = the shipment itself. Whatever the authority names is added.
    `now` in microseconds. Raises nothing on well-formed facts.
    """
    return side_in(Index(facts, looked_at(rules)), bound, rules, now)


def side_in(index: Index, bound: Iterable[str], rules: SideRules, now: int, before: Before | None = None) -> SideStatus:
    """`side_status` of facts that are indexed. `before`: spares the scopes that see the same facts again."""
    return side_of(_scopes(index, scopes_of(index, bound, rules.authority), rules, now, before), index.size)


def side_of(each: dict[str, ScopeStatus], facts: int = 0) -> SideStatus:
    """One side from its scopes, also where they were judged by different rows. `facts`: how many are kept for the side, for its limit."""
    if len(each) == 1:
        return _alone(each, facts)
    counts: dict[State, int] = {}
    for s in each.values():
        counts[s.state] = counts.get(s.state, 0) + 1
    every = list({id(s): s for s in each.values()}.values())          # scopes that stand alike are looked at once
    living = [s for s in every if s.state is not State.NOT_REQUIRED and not s.off_route]
    return _side(facts, rolled_up(living, counts), counts, each, every, living or every)


def _alone(each: dict[str, ScopeStatus], facts: int) -> SideStatus:
    """A side with one scope: it stands where that stands, but that nothing moves which goes another way."""
    (s,) = each.values()
    flags = s.flags | {"facts_limit"} if facts >= FACTS_MAX else s.flags
    return SideStatus(
        state=s.state, basis=s.basis, counts={s.state: 1}, scopes=each, flags=flags, missing=s.missing, not_checked=s.not_checked,
        present=s.present, ready=s.ready, movable=s.movable and not s.off_route, blocked_by=() if s.off_route else _blocked([s]),
        next_due=s.next_due, since=s.since, evidence=s.evidence)


def scopes_of(index: Index, bound: Iterable[str], authority: str) -> list[str]:
    """Those bound, else the shipment, and those the authority has named: naming adds, it replaces nothing."""
    known = set(bound) - {WHOLE}
    boxes = (known or {WHOLE}) | index.named_by(authority)
    boxes -= {s.split("/", 1)[0] for s in known if "/" in s}      # a box whose items we know shows through them
    return sorted(boxes)


def _scopes(index: Index, names: list[str], rules: SideRules, now: int, before: Before | None) -> dict[str, ScopeStatus]:
    """A scope of which nothing particular is said stands where its box stands, and a box where the shipment stands: each is computed once."""
    known: dict[str, ScopeStatus] = {}
    each = {}
    for name in names:
        stood = before.standing(name, now) if before is not None else None
        if stood is not None:
            each[name] = stood
            continue
        sees = index.sees(name)
        status = known.get(sees)
        if status is None:
            status = known[sees] = assess(index, sees, rules, now) if sees in index.scopes else unsaid(rules)
        each[name] = status
    return each


_unsaid: dict[int, tuple[SideRules, ScopeStatus]] = {}
UNSAID_MAX = 4_096
"""Rows of which the answer to silence is kept; then all are forgotten."""


def unsaid(rules: SideRules) -> ScopeStatus:
    """The status of a scope of which nothing is said that the ladder looks at: the same for every shipment, whenever it is asked."""
    known = _unsaid.get(id(rules))
    if known is None or known[0] is not rules:
        if len(_unsaid) >= UNSAID_MAX:
            _unsaid.clear()
        known = _unsaid[id(rules)] = rules, assess(Index((), looked_at(rules)), WHOLE, rules, NEVER)
    return known[1]


def rolled_up(living: list[ScopeStatus], counts: dict[State, int]) -> State:
    """One state for all scopes that count; `living` leaves out those without a customs border here and those off the route."""
    if not living:
        return State.CANCELLED if State.CANCELLED in counts else State.NOT_REQUIRED
    if all(s.state is State.CANCELLED for s in living):
        return State.CANCELLED
    for state in DEMANDED:
        if state in counts:
            return state
    rest = [s for s in living if s.state not in (State.RELEASED, State.DEPARTED)]
    if not rest:
        return State.DEPARTED if all(s.state is State.DEPARTED for s in living) else State.RELEASED
    if any(s.present for s in living):
        return State.SEAL_CHECK if State.SEAL_CHECK in counts else State.ARRIVED
    least = min((s.state for s in rest), key=PROGRESS.index)
    return State.EXPECTED if least is State.CANCELLED else least


def _side(
    facts: int, state: State, counts: dict[State, int], each: dict[str, ScopeStatus], every: list[ScopeStatus], living: list[ScopeStatus],
) -> SideStatus:
    showing = [s for s in living if s.state is state]
    flags = frozenset[str]().union(*(s.flags for s in living))
    if facts >= FACTS_MAX:
        flags |= {"facts_limit"}
    moving = [s for s in every if not s.off_route]
    return SideStatus(
        state=state, basis=min((s.basis for s in showing), key=WEAKEST.index, default=Basis.INFERRED), counts=counts, scopes=each,
        flags=flags, missing=_union([s.missing for s in living]), not_checked=_union([s.not_checked for s in living]),
        present=any(s.present for s in living), ready=all(s.ready for s in living),
        movable=bool(moving) and all(s.movable for s in moving), blocked_by=_blocked(moving),
        next_due=min((s.next_due for s in every if s.next_due is not None), default=None),
        since=_since(state, showing or living), evidence=_union([s.evidence for s in showing]))


def _union(parts: list[tuple[T, ...]]) -> tuple[T, ...]:
    return parts[0] if len(parts) == 1 else tuple(dict.fromkeys(p for part in parts for p in part))


def _blocked(scopes: list[ScopeStatus]) -> tuple[Block, ...]:
    """What any scope is blocked by, each agency's demand once."""
    blocks = {(b.agency, b.reference, b.source): b for s in scopes for b in s.blocked_by}
    return tuple(blocks[name] for name in sorted(blocks))


def _since(state: State, showing: list[ScopeStatus]) -> int:
    """A state that one scope is enough for: since the first; one that takes all of them: since the last."""
    times = [s.since for s in showing if s.since != NEVER]
    first = state in DEMANDED or state in (State.ARRIVED, State.SEAL_CHECK)
    return (min if first else max)(times, default=NEVER)
