"""One scope of one side: what the facts add up to. The first line of the ladder that holds (status-model section 7)."""
from __future__ import annotations

from typing import NamedTuple

from streams.status.demands import Demands, blocks
from streams.status.documents import documents, kind_states
from streams.status.release import Release, agreement_holds
from streams.status.seals import READING, seal_verdicts
from streams.status.states import (
    Basis,
    Condition,
    DocState,
    Document,
    Evidence,
    ScopeStatus,
    Seal,
    SideRules,
    State,
    evidence_of,
    text_in,
)
from streams.status.view import Index, View, standing
from topics.facts import NEVER, Fact

SAID_OF_SEALS = {Seal.FAILED: "seal_failed", Seal.UNPROVEN: "seal_unproven", Seal.OK: "seal_ok"}


class Rung(NamedTuple):
    """What shows, why, since when, and by which words."""

    state: State
    basis: Basis
    since: int
    evidence: tuple[Evidence | None, ...]


class Scope:
    """Everything the ladder asks about one scope, computed once."""

    __slots__ = ("conditions", "counting", "demands", "departed", "every", "filed", "invalidated", "kinds", "needed", "present", "ready",
                 "registered", "rejected", "release", "reported", "route", "rules", "seals", "verdicts", "view")

    def __init__(self, index: Index, scope: str, rules: SideRules, now: int) -> None:
        self.rules = rules
        self.view = view = View(index, scope, rules)
        self.every, self.counting, self.reported = documents(view, now)
        self.demands = Demands(view, self.every)
        self.seals = seal_verdicts(view)
        self.verdicts = {s.verdict for s in self.seals}
        self.kinds = kind_states(self.counting)
        self.present = view.here != NEVER or view.left != NEVER
        self.departed = view.left != NEVER and view.left >= view.back and not rules.demands_only     # a territory has no gate
        self._filings()
        self.conditions = _conditions(view, max((d.registered_at for d in self.needed), default=NEVER))
        self.ready = (
            self.registered and bool(self.conditions) and all(c.proven for c in self.conditions) and not self.demands.open
            and not self.rejected and Seal.FAILED not in self.verdicts and Seal.UNPROVEN not in self.verdicts
        )
        self.release = Release(view, self.counting, self.every, self.kinds, agreement_holds(view, self.ready, self.seals))
        said = view.route_said
        self.route = str(said.value) if said and not (said.value == "off" and view.here > said.at) else "on"     # seen here after all

    def _filings(self) -> None:
        """How far the filings are: those due before arrival; if none, all required; at an unknown office, what was lodged."""
        filings, kinds = self.rules.filings, self.kinds
        needed = [k for k, before in filings.items() if before] or list(filings) or list(kinds)
        states = [kinds.get(k, DocState.NONE) for k in needed]
        self.registered = bool(states) and min(states) >= DocState.REGISTERED
        self.filed = bool(states) and min(states) >= DocState.SENT
        self.needed = [d for d in self.counting.values() if d.alive and d.kind in needed]
        self.rejected = [k for k, s in kinds.items() if s is DocState.REJECTED and (not filings or k in filings)]
        lodged = [d for d in self.counting.values() if d.state is not DocState.NONE]
        self.invalidated = bool(lodged) and all(d.state is DocState.INVALIDATED for d in lodged)

    @property
    def granted(self) -> bool:
        """Every release fact is there and nothing is open; an answered request is open until the authority says so."""
        return self.release.granted and not self.demands.open

    def read_here(self) -> bool:
        """Every chain has a good reading here: a lock not yet read is not proven."""
        return all(s.verdict is Seal.OK for s in self.seals)


def _conditions(view: View, registered_at: int) -> tuple[Condition, ...]:
    rules = view.rules
    if not rules.assessments and not rules.conditions:
        return ()
    best: dict[str, Fact] = {}
    for f in view.of("condition"):
        held = best.get(f.key[1])
        if held is None or standing(f) > standing(held):
            best[f.key[1]] = f
    after = dict.fromkeys(rules.conditions, NEVER) | dict.fromkeys(rules.assessments, registered_at)
    found = []
    for name, since in after.items():
        fact = best.get(name)
        if fact is None:
            found.append(Condition(name, False))
            continue
        word = fact.value if isinstance(fact.value, str) else text_in(fact.value, "state")
        found.append(Condition(name, word == "proven" and fact.at > since, word, fact.at, evidence_of(fact)))
    return tuple(found)


def climb(s: Scope) -> Rung:
    """The ladder: one line, one named result."""
    worst, view = s.demands.worst, s.view
    if worst and worst.state and worst.state is not State.INFO_REQUESTED:
        return _demanded(s, worst.state)
    if s.route == "not_required":
        return Rung(State.NOT_REQUIRED, Basis.INFERRED, *_by(view.route_said))
    if s.departed:
        return Rung(State.DEPARTED, Basis.INFERRED, view.left, _by(view.departed)[1])
    if s.route == "off":
        return Rung(State.CANCELLED, Basis.INFERRED, *_by(view.route_said))
    if s.invalidated and not s.rules.demands_only:
        return Rung(State.CANCELLED, Basis.AUTHORITY, *_words(list(s.counting.values()), DocState.INVALIDATED))
    if worst and worst.state:
        return _demanded(s, worst.state)
    if s.rules.demands_only:
        return Rung(State.NOT_REQUIRED, Basis.INFERRED, _quiet(s), ())
    if s.granted:
        return _released(s)
    if s.rejected:
        return Rung(State.FILING_REJECTED, Basis.AUTHORITY, *_words([d for d in s.counting.values() if d.kind in s.rejected], DocState.REJECTED))
    if s.present and Seal.READING in s.verdicts:
        read = [r for v in s.seals if v.verdict is Seal.READING for r in v.readings if r.what == READING and r.here]
        return Rung(State.SEAL_CHECK, Basis.INFERRED, read[-1].at, (read[-1].evidence,))
    if s.present:
        return Rung(State.ARRIVED, Basis.INFERRED, max(_by(view.there or view.departed)[0], _quiet(s)), _by(view.there or view.departed)[1])
    if s.ready:
        proven = tuple(c.evidence for c in s.conditions)
        return Rung(State.PRE_CLEARED, Basis.INFERRED, max(_registered(s), _quiet(s), *(c.at for c in s.conditions)), (*_registrations(s), *proven))
    if s.registered:
        return Rung(State.ACCEPTED, Basis.AUTHORITY, max(_registered(s), _quiet(s)), _registrations(s))
    if s.filed:
        filed = [d for d in s.counting.values() if d.state >= DocState.SENT]
        return Rung(State.FILED, Basis.INFERRED, max(d.word_at for d in filed), tuple(d.decided_by for d in filed))
    return Rung(State.EXPECTED, Basis.INFERRED, *_by(view.route_said))


def _by(fact: Fact | None) -> tuple[int, tuple[Evidence | None, ...]]:
    return (fact.at, (evidence_of(fact),)) if fact is not None else (NEVER, ())


def _demanded(s: Scope, state: State) -> Rung:
    why = [d for d in s.demands.open if d.state is state]
    return Rung(state, Basis.AUTHORITY, min(d.opened_at for d in why), tuple(d.evidence for d in why))


def _released(s: Scope) -> Rung:
    basis = Basis.AGREEMENT if s.release.missing else Basis.AUTHORITY
    since, evidence = max((g.at for g in s.release.groups), default=NEVER), [e for g in s.release.groups for e in g.evidence]
    if basis is Basis.AGREEMENT:
        own = [r for v in s.seals for r in v.readings if r.here and r.source == s.rules.authority]
        since = max([since, _registered(s), *(c.at for c in s.conditions), *(r.at for r in own)])
        evidence += [e for e in (*(c.evidence for c in s.conditions), *(r.evidence for r in own)) if e]
    return Rung(State.RELEASED, basis, max(since, _quiet(s)), tuple(evidence))


def _words(docs: list[Document], state: DocState) -> tuple[int, tuple[Evidence | None, ...]]:
    found = [d for d in docs if d.state is state]
    return max((d.word_at for d in found), default=NEVER), tuple(d.decided_by for d in found)


def _registered(s: Scope) -> int:
    return max((d.registered_at for d in s.needed), default=NEVER)


def _registrations(s: Scope) -> tuple[Evidence | None, ...]:
    return tuple(d.registered_by or d.decided_by for d in s.needed)


def _quiet(s: Scope) -> int:
    """When the last demand was closed."""
    return max((d.closed_at for d in s.demands.closed), default=NEVER)


def _flags(s: Scope, now: int, index: Index, scope: str, state: State) -> set[str]:
    view, open_ = s.view, s.demands.open
    flags = s.demands.flags | s.reported
    for v in s.seals:
        if v.verdict in SAID_OF_SEALS:
            flags.add(f"{SAID_OF_SEALS[v.verdict]}:{v.chain}")
    if Seal.FAILED in s.verdicts:
        flags.add("control_likely")
    if s.present and not s.departed and not s.rules.demands_only:
        if s.ready and s.read_here():
            flags.add("ready")
        elif not s.registered:
            flags.add("not_ready")
        elif state in (State.ARRIVED, State.SEAL_CHECK):
            flags.add("waiting_for_authority")          # once it has decided, or stopped the goods, there is nothing to wait for
    if view.left != NEVER and view.here > view.left:
        flags.add("seen_after_departure")
    if view.unordered:
        flags.add("order_unknown")
    if s.departed and not _had_leave(s, index, scope):
        flags.add("left_without_release")
    if s.route == "off":
        flags.add("off_route")
    elif DocState.INVALIDATED in s.kinds.values():
        flags.add("file_again")
    for d in s.every.values():
        flags.update(d.flags)
        if d.kind in s.rules.transit and d.state is DocState.RELEASED and d.ended_at == NEVER:
            flags.add("transit_open")
    if any(d.answered and d.state is None for d in open_):
        flags.add("answer_pending")
    if any(d.answer_by is not None and d.answer_by <= now for d in open_):
        flags.add("answer_overdue")
    return flags


def _had_leave(s: Scope, index: Index, scope: str) -> bool:
    """Judged by what was so when it left: what happens later neither heals nor causes it."""
    left = s.view.left
    if index.latest > left or any(d.valid_until is not None for d in s.every.values()):
        s = Scope(index.until(left), scope, s.rules, left)
    return _free(s)


def _free(s: Scope) -> bool:
    """RELEASED or NOT_REQUIRED, departures left aside: line 2 of the ladder, or line 6 where none above it holds."""
    worst = s.demands.worst
    if worst and worst.state and worst.state is not State.INFO_REQUESTED:
        return False
    if s.route == "not_required":
        return True
    return s.route != "off" and not s.invalidated and worst is None and s.granted


def assess(index: Index, scope: str, rules: SideRules, now: int) -> ScopeStatus:
    """The status of one scope of an indexed side at an instant."""
    s = Scope(index, scope, rules, now)
    rung = climb(s)
    flags = _flags(s, now, index, scope, rung.state)
    gone = rung.state is State.DEPARTED and "left_without_release" not in flags
    blocked = blocks(s.view)
    may_move = gone or rung.state in (State.RELEASED, State.NOT_REQUIRED)
    due = [d.answer_by for d in s.demands.open if d.answer_by is not None and d.answer_by > now]
    due += [d.valid_until for d in (*s.every.values(), *s.counting.values()) if d.valid_until is not None and d.valid_until > now]
    return ScopeStatus(
        state=rung.state, basis=rung.basis, flags=frozenset(flags),
        missing=() if gone else tuple("|".join(g.members) for g in s.release.missing), not_checked=tuple(sorted(s.release.not_checked)),
        present=s.present, ready=s.ready and (not s.present or s.read_here()),
        movable=may_move and not blocked and not (rules.demands_only and s.demands.open),
        next_due=min(due, default=None), since=rung.since, visit=s.view.visit, evidence=_once(rung.evidence), documents=_lives(s),
        open=tuple(s.demands.open), closed=tuple(s.demands.closed), blocked_by=blocked, seals=s.seals, groups=tuple(s.release.groups),
        conditions=s.conditions)


def _once(evidence: tuple[Evidence | None, ...]) -> tuple[Evidence, ...]:
    return tuple(dict.fromkeys(e for e in evidence if e is not None))


def _lives(s: Scope) -> tuple[Document, ...]:
    """Every document; those of another visit or run are marked."""
    if s.counting is s.every:
        return tuple(s.every.values())
    return tuple(s.counting.get(name) or _aside(d) for name, d in s.every.items())


def _aside(d: Document) -> Document:
    return Document(
        d.kind, d.number, d.state, d.registered_at, d.released_at, d.ended_at, d.word_at, d.settled_at, d.assessed_at, d.stained, d.valid_until,
        d.official, d.decided_by, d.registered_by, d.released_by, d.ended_by, d.flags, False)
