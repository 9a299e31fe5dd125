"""Sets the walker against the fold, and the fold against itself in other orders. Every failure names its seed."""
from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import asdict

import msgspec

from streams.status import Basis, ScopeStatus, Seal, SideRules, SideStatus, State, scope_status, side_status
from tests.sim.oracle.histories import random_history
from tests.sim.oracle.rows import ROWS, TICK, Row
from tests.sim.oracle.walker import Walker
from topics.facts import WHOLE, Fact, Facts, Rank, merge

CHECKED = 0.2
"""Chance that a prefix of a history is compared; the whole history always is."""
NEEDS_AUTHORITY = {State.HELD, State.CONTROL_ORDERED, State.UNDER_CONTROL, State.REFUSED, State.FILING_REJECTED, State.INFO_REQUESTED, State.ACCEPTED}
OPEN_STATES = {State.HELD, State.CONTROL_ORDERED, State.UNDER_CONTROL, State.REFUSED, State.INFO_REQUESTED}
DECIDES = {"doc", "seal"}


class Disagreement(AssertionError):
    """The fold says something else than the walker, or breaks a property."""


def rules_of(row: Row) -> SideRules:
    return SideRules(**asdict(row))


RULES = {name: rules_of(row) for name, row in ROWS.items()}


class Tally:
    """What a run has reached."""

    def __init__(self) -> None:
        self.folds, self.histories, self.seconds = 0, 0, 0.0
        self.reached: Counter[tuple[str, str]] = Counter()

    def states(self) -> set[str]:
        return {state for state, _ in self.reached}


def walk(first: int, count: int, seed: int, tally: Tally | None = None) -> Tally:
    """Histories `first … first + count - 1` of a seed, walked and folded."""
    tally = tally or Tally()
    for i in range(first, first + count):
        name = f"{seed}/{i}"
        rng = random.Random(name)
        row_name = rng.choice(sorted(ROWS))
        try:
            walk_one(rng, row_name, tally)
        except Disagreement as wrong:
            raise Disagreement(f"history {name} at {row_name}: {wrong}") from None
        tally.histories += 1
    return tally


def walk_one(rng: random.Random, row_name: str, tally: Tally) -> None:
    row, rules = ROWS[row_name], RULES[row_name]
    history = random_history(rng, row)
    plain = not any(f.dated or f.key == ("mask",) for f in history)
    walker = Walker(row)
    for n, f in enumerate(history):
        if plain:
            walker.happen(f)
        if rng.random() < CHECKED or n == len(history) - 1:
            prefix = history[: n + 1]
            folded = shuffled_fold(rng, prefix)
            now = max(g.at for g in prefix)
            started = time.perf_counter()
            status = scope_status(folded, WHOLE, rules, now)
            tally.seconds += time.perf_counter() - started
            tally.folds += 1
            agree(status, walker if plain else Walker.of(row, prefix), now, prefix)
            properties(status, rules, folded)
            tally.reached[status.state.name, status.basis.name] += 1


def shuffled_fold(rng: random.Random, facts: list[Fact]) -> Facts:
    shuffled = facts + rng.choices(facts, k=len(facts) // 5)
    rng.shuffle(shuffled)
    cut = rng.randint(0, len(shuffled))
    return merge(merge({}, shuffled[cut:]), shuffled[:cut])


def agree(status: ScopeStatus, walker: Walker, now: int, prefix: list[Fact]) -> None:
    shows = walker.shows(now)
    if status.state.name != shows:
        raise Disagreement(f"fold {status.state.name}, walker {shows}; flags {sorted(status.flags)}; {told(prefix)}")
    blocked = {(b.agency, b.reference, b.source) for b in status.blocked_by}
    if blocked != walker.blocked():
        raise Disagreement(f"blocked by {blocked}, walker {walker.blocked()}; {told(prefix)}")
    if status.movable != walker.movable(now):
        raise Disagreement(f"movable {status.movable} ({shows}, {sorted(status.flags)}), walker says not; {told(prefix)}")


def told(prefix: list[Fact]) -> str:
    return "; ".join(f"{f.at / TICK:g} {'/'.join(f.key)} {f.source}{'' if f.value is True else f' {f.value}'}{' (dated)' if f.dated else ''}" for f in prefix)


def properties(status: ScopeStatus, rules: SideRules, facts: Facts) -> None:
    """What must never happen (status-model section 11)."""
    state, basis = status.state, status.basis
    living = [d for d in status.documents if d.counts and d.alive]
    deciding = [g for g in status.groups if g.decides]
    authority = [f for f in facts.values() if f.rank is Rank.AUTHORITY and f.source == rules.authority and f.value is not None]
    check(state not in NEEDS_AUTHORITY or basis is Basis.AUTHORITY, "an authority's state without its word", status)
    check(state not in NEEDS_AUTHORITY or bool(authority) or bool(rules.by), "an authority's state and no authority spoke", status)
    check(state is not State.RELEASED or basis is not Basis.INFERRED, "a release inferred", status)
    check(basis is not Basis.AGREEMENT or (state is State.RELEASED and bool(rules.auto_release)), "an agreement nobody made", status)
    if state is State.RELEASED:
        check(not status.open, "released with something open", status)
        check(bool(deciding) and all(g.satisfied_by or g.by_agreement for g in status.groups), "released without the decision", status)
        check(any(f.key[0] in DECIDES for f in authority), "released and the authority said nothing", status)
        check(all(bool(g.evidence) for g in status.groups if g.satisfied_by), "a group satisfied by nothing", status)
        kinds = {g.satisfied_by.partition(":")[2] for g in status.groups if g.satisfied_by.startswith("released:")}
        check(all(any(d.kind == k and d.released_at >= 0 and d.ended_at < 0 for d in living) for k in kinds), "a release outlives its document", status)
    if state is State.PRE_CLEARED:
        verdicts = {s.verdict for s in status.seals}
        check(not status.present and not status.open and not verdicts & {Seal.FAILED, Seal.UNPROVEN}, "pre-cleared against something", status)
        check(bool(status.conditions) and all(c.proven for c in status.conditions), "pre-cleared with a condition unknown", status)
    check(state not in OPEN_STATES or any(d.state is state for d in status.open), "a demand state without its demand", status)
    check(all(d.closed_at > d.stage_at for d in status.closed), "closed by an earlier or equally timed fact", status)
    check(state is not State.DEPARTED or status.movable or bool(status.blocked_by) or "left_without_release" in status.flags, "a departure unmentioned", status)
    for seal in status.seals:
        check(seal.verdict is Seal.FAILED or all(r.explained for r in seal.readings if r.what == "tamper"), "a broken lock healed", status)


def check(holds: bool, wrong: str, status: ScopeStatus) -> None:
    if not holds:
        raise Disagreement(f"{wrong}: {status}")


def shuffles(first: int, count: int, seed: int) -> None:
    """Equal times, versions, records, withdrawals, several sources and scopes: any order, one status."""
    for i in range(first, first + count):
        rng = random.Random(f"shuffle {seed}/{i}")
        name = rng.choice(sorted(ROWS))
        facts = [blurred(rng, f) for f in random_history(rng, ROWS[name])]
        seen: SideStatus | None = None
        for _ in range(3):
            rng.shuffle(facts)
            cut = rng.randint(0, len(facts))
            folded = merge(merge({}, facts[:cut] + facts[: cut // 2]), facts[cut:])
            status = side_status(folded, ["A", "B"], RULES[name], 20 * TICK)
            if seen is not None and status != seen:
                raise Disagreement(f"shuffle {seed}/{i} at {name}: {seen} and {status}")
            seen = status


def blurred(rng: random.Random, f: Fact) -> Fact:
    """The same fact where it collides with others."""
    return msgspec.structs.replace(
        f, at=f.at // (3 * TICK) * TICK, version=rng.choice([0, 0, 1, 2]), record=rng.choice(["", "", "m1", "m2"]), id=rng.choice(["x", f.id]),
        scope=rng.choice([WHOLE, WHOLE, "A", "B", "B/1"]), value=None if rng.random() < 0.07 else f.value)
