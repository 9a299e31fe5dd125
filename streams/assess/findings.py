"""Runs the rules: conditions before the status is computed, findings after it. What they say is collected in `Raised`."""
from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, Literal

import msgspec

from streams.assess.duty import line_for
from streams.assess.fresh import MASKED
from streams.assess.resolve import STOPPING
from streams.assess.rows import with_conditions
from streams.explain.say import has, say_all
from streams.kept import digest
from streams.reference.model import Reference
from streams.rules import RULES, grounds, rules_at
from streams.rules.case import OURS, Case, Finding, SideCase, Trip
from streams.rules.gtt_link import link_of
from streams.rules.route import FACTS_LIMIT, FACTS_MASKED, SIDE_AMBIGUOUS
from streams.rules.rule import Rule
from streams.status import SideRules, State
from topics.events.outputs import ConditionSaid, FindingSaid
from topics.facts import EVERYWHERE, WHOLE, Fact, Key, Rank

STALE = "STALE-01"
"""Condition of a side whose authority's feed is stale: what we do not hear may be a demand."""


class Raised:
    """What the rules said of one shipment."""

    __slots__ = ("conditions", "due", "findings", "flags", "today", "wanted")

    def __init__(self, today: str) -> None:
        self.today = today
        self.conditions: dict[str, list[tuple[Rule, Finding]]] = {}
        self.findings: dict[str, list[tuple[Rule, Finding]]] = {}
        self.flags: dict[str, set[str]] = {}
        self.due: dict[str, list[int]] = {}
        self.wanted: dict[str, dict[str, Any]] = {}
        """Side -> alerts by key, put together once."""

    def again(self, anew: Collection[str]) -> Raised:
        """What was said, without what was said of these sides."""
        raised = Raised(self.today)
        for name in ("conditions", "findings", "flags", "due", "wanted"):
            setattr(raised, name, {side: said for side, said in getattr(self, name).items() if side not in anew})
        return raised

    def take(self, other: Raised, sides: Collection[str]) -> None:
        """Of these sides everything as it was said there."""
        for name in ("conditions", "findings", "flags", "due", "wanted"):
            mine, said = getattr(self, name), getattr(other, name)
            for side in sides:
                if side in said:
                    mine[side] = said[side]
                else:
                    mine.pop(side, None)

    def condition(self, side: SideCase, rule: Rule, finding: Finding) -> None:
        self.conditions.setdefault(side.id, []).append((rule, finding))
        self._note(side, finding)

    def finding(self, side: SideCase, rule: Rule, finding: Finding) -> None:
        self.findings.setdefault(side.id, []).append((rule, finding))
        self._note(side, finding)

    def _note(self, side: SideCase, finding: Finding) -> None:
        if finding.flags:
            self.flags.setdefault(side.id, set()).update(finding.flags)
        if finding.due is not None:
            self.due.setdefault(side.id, []).append(finding.due)

    def said(self, side: SideCase) -> tuple[FindingSaid, ...]:
        """Findings of a side in rule order, those of failed conditions first."""
        behind = () if over(side) else self.conditions.get(side.id, ())         # what stood before arrival, and nobody can mend any more
        both = [*behind, *self.findings.get(side.id, ())]
        return tuple(finding_said(rule, f, side) for rule, f in both if f.severity)

    def settle(self, side: SideCase) -> None:
        """The goods have the side behind them: its conditions leave no flags and no due times."""
        kept = [f for _, f in self.findings.get(side.id, ())]
        self.flags[side.id] = {flag for f in kept for flag in f.flags}
        self.due[side.id] = [f.due for f in kept if f.due is not None]

    def conditions_said(self, side: SideCase) -> tuple[ConditionSaid, ...]:
        """Conditions of a side; of several containers the worst verdict speaks, its container is in `detail_args`."""
        worst: dict[str, tuple[Rule, Finding]] = {}
        for rule, finding in self.conditions.get(side.id, ()):
            held = worst.get(rule.id)
            if held is None or BADNESS[finding.verdict] > BADNESS[held[1].verdict]:
                worst[rule.id] = (rule, finding)
        said = [
            ConditionSaid(name=rule.id, verdict=f.verdict or "unknown", rule=f"{rule.id}@{rule.version}", titles=rule.titles, legal=rule.legal,
                          certainty=rule.certainty, evidence=f.evidence, detail=f.text, detail_args={**f.args, "scope": f.scope})
            for rule, f in worst.values()]
        return (*said, *_row_conditions(side, set(worst)))

    def alerts(self, trip: Trip, wanted: Any) -> tuple[Any, ...]:
        """Alerts that should be open now, by key."""
        found: dict[str, Any] = {}
        for side in trip.sides:
            mine = self.wanted.get(side.id)
            if mine is None:
                mine = self.wanted[side.id] = self._alerts(trip, side, wanted)
            found |= mine
        return tuple(found[k] for k in sorted(found))

    def _alerts(self, trip: Trip, side: SideCase, wanted: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        call: tuple[str, str] | None = None
        for rule, f in [*(() if over(side) else self.conditions.get(side.id, ())), *self.findings.get(side.id, ())]:
            if not f.alert:
                continue
            key = "/".join(p for p in (f.alert, trip.id, side.id, f.scope) if p)
            call = call or line_for(trip.reference, side.authority, side.crossing)
            found[key] = wanted(
                key=key, name=f.alert, severity=f.severity or "warning", side=side.id, scope=f.scope, rule=rule.id,
                titles=say_all(f.text, f.args) if f.text else rule.titles, call=call[0], call_hours=call[1], detail=f.code)
        return found


def _row_conditions(side: SideCase, known: set[str]) -> list[ConditionSaid]:
    """Conditions that the side's row asks for and no rule of ours proves: the authority's own words (risk cleared, ENS assessed)."""
    found: dict[str, ConditionSaid] = {}
    row = next((r for r in side.rows.values() if r is not None), None)
    for scope, status in side.status.scopes.items() if side.status is not None else ():
        for c in status.conditions:
            if c.name in known:
                continue
            verdict: Literal["proven", "failed", "unknown"] = "proven" if c.proven else "failed" if c.word == "failed" else "unknown"
            held = found.get(c.name)
            if held is None or BADNESS[verdict] > BADNESS[held.verdict]:
                found[c.name] = ConditionSaid(
                    name=c.name, verdict=verdict, rule=_asked_by(c.name, row.id if row is not None else ""),
                    titles=say_all(f"cond.{c.name}") if has(f"cond.{c.name}") else {}, legal=row.source if row else "",
                    certainty=row.certainty if row else "", evidence=(c.evidence.id,) if c.evidence is not None and c.evidence.id else (),
                    detail_args={"scope": scope})
    return list(found.values())


def _asked_by(name: str, row: str) -> str:
    """What asks for such a condition: the rule of that name, else the side's row by its id (`kz-entry-cn/risk`)."""
    rule = next((r for r in RULES if r.id == name), None)
    return f"{rule.id}@{rule.version}" if rule is not None else f"{row}/{name}"


OVER = frozenset({State.DEPARTED, State.CANCELLED, State.NOT_REQUIRED})
BADNESS = {"": 0, "proven": 1, "unknown": 2, "failed": 3}


def finding_said(rule: Rule, f: Finding, side: SideCase) -> FindingSaid:
    """A finding as it is published."""
    return FindingSaid(
        rule=f"{rule.id}@{rule.version}", code=f.code, severity=f.severity or "info", titles=rule.titles,
        texts=say_all(f.text, f.args) if f.text else {}, legal=rule.legal, certainty=rule.certainty, side=side.id, scope=f.scope,
        evidence=f.evidence, field=f.field, present=f.present, expected=f.expected, since=f.since)


def prove(trip: Trip, sides: Iterable[SideCase], reference: Reference, now: int, raised: Raised) -> None:
    """Compute the conditions of these sides; those that stand before arrival become facts and part of the side's rules."""
    opted, link, shared = trip.enrolled("gtt"), 0, Shared()
    for side in sides:
        if not side.required:
            continue
        if opted:
            link = grounds.OPTED | (grounds.LINK if link_of(Case(trip, side), reference, raised.today) is not None else 0)
        names: dict[str, list[str]] = {scope: [] for scope in side.rules}
        before_arrival: list[Fact] = []
        for rule, scope, finding in proofs(trip, side, rules_at("condition", side.kind, raised.today, False, link), reference, now, shared):
            if not finding.verdict:
                raised.finding(side, rule, finding)
                continue
            raised.condition(side, rule, finding)
            if rule.pre_arrival:
                for one in names if scope == WHOLE else (scope,):
                    names[one].append(rule.id)
                before_arrival.append(_fact(side, rule.id, finding))
        side.facts += boxed(side, before_arrival)
        made: dict[tuple[int, tuple[str, ...]], SideRules] = {}
        for scope, wanted in names.items():
            if wanted or (side.stale and (side.rules[scope].conditions or side.rules[scope].assessments)):
                if side.stale:
                    wanted.append(STALE)
                chains = ("customs_lock",) if "GTT-03" in wanted else ()
                before = side.rules[scope]
                rules = made.get((id(before), tuple(wanted)))       # the same for most boxes: computed once
                if rules is None:
                    rules = made[id(before), tuple(wanted)] = with_conditions(before, tuple(wanted), chains)
                side.rules[scope] = rules


AMENDING = frozenset({"SEAL_DIFFERS", "MASS_DIFFERS", "MASS_INVALID", "WEIGHED_DIFFERS", "PACKAGES_DIFFER", "HS_SHORT", "HS_MISSING",
                      "DESCRIPTION_VAGUE", "AEO_MISSING", "AEO_WRONG_ROLE"})
"""Findings that ask to amend a document."""
Shared = dict[tuple[str, str, str], Finding | None]
"""(rule, crossing, scope) -> what a rule says that says the same at both sides of the customs-rail link."""


def proofs(
    trip: Trip, side: SideCase, rules: Iterable[Rule], reference: Reference, now: int, shared: Shared
) -> Iterable[tuple[Rule, str, Finding]]:
    """(rule, scope, what it says) of a side; a rule that says the same of every box and is marked so says it once, of the whole."""
    each = [(Case(trip, side, scope), scope) for scope in side.rules]       # one for all rules
    for rule in rules:
        found: list[tuple[str, Finding]] = []
        if rule.per != "scope":
            whole = rule.check(Case(trip, side), reference, now)
            found += [(WHOLE, whole)] if whole is not None else []
        elif rule.pair:
            for case, scope in each:
                key = rule.id, side.crossing, scope
                if key not in shared:
                    shared[key] = rule.check(case, reference, now)
                if (said := shared[key]) is not None:
                    found.append((scope, said))
        else:
            found = [(scope, f) for case, scope in each if (f := rule.check(case, reference, now)) is not None]
        if rule.once and len(found) == len(side.rules) > 1:
            alike = {scope: msgspec.structs.replace(f, scope=WHOLE) for scope, f in found}
            first = alike[found[0][0]]
            if all(f == first for f in alike.values()):
                found = [(WHOLE, first)]
        for scope, finding in found:
            yield rule, scope, finding


def _fact(side: SideCase, name: str, finding: Finding) -> Fact:
    return Fact(side=side.id, key=("condition", name), at=max(finding.at, 0), source=OURS, rank=Rank.FORWARDER, scope=finding.scope,
                id=finding.evidence[0] if finding.evidence else "", value=finding.verdict)


def boxed(side: SideCase, proven: list[Fact]) -> list[Fact]:
    """Conditions of which all items of a box have the same word become one of the box: its items then see the same facts, and are assessed once.
    Not where the authority names an item of the box that nobody has declared: of that one nothing is proven."""
    items = Counter(scope.split("/", 1)[0] for scope in side.rules if "/" in scope)
    if not items:
        return proven
    apart = {f.scope.split("/", 1)[0] for f in side.facts if f.source == side.authority and "/" in f.scope and f.scope not in side.rules}
    found: list[Fact] = []
    groups: dict[tuple[Key, str, str, int, str], list[Fact]] = {}
    seen: set[tuple[Key, str, str, int, str]] = set()
    for fact in proven:
        box = fact.scope.split("/", 1)[0]
        if box == fact.scope or box in apart:
            word = fact.key, fact.scope, str(fact.value), fact.at, fact.id
            if word not in seen:
                seen.add(word)
                found.append(fact)
        else:
            groups.setdefault((fact.key, box, str(fact.value), fact.at, fact.id), []).append(fact)
    for (_, box, *_), alike in groups.items():
        found += [msgspec.structs.replace(alike[0], scope=box)] if len(alike) == items[box] else alike
    return found


def over(side: SideCase) -> bool:
    """Have the goods the side behind them, or do not need it?"""
    return side.status is not None and side.status.state in OVER and "file_again" not in side.status.flags


def calls(trip: Trip, side: SideCase, rules: Iterable[Rule]) -> Iterable[tuple[Rule, Case]]:
    """Everything that these rules are asked about at a side: the side, each of its scopes, each filing."""
    each: list[Case] | None = None
    for rule in rules:
        if rule.per == "side":
            yield rule, Case(trip, side)
        elif rule.per == "scope":
            if each is None:
                each = [Case(trip, side, scope) for scope in side.rules]    # one for all rules
            for case in each:
                yield rule, case
        else:
            for filing in side.filings:
                yield rule, Case(trip, side, WHOLE, filing)


def judge(trip: Trip, sides: Iterable[SideCase], reference: Reference, now: int, raised: Raised) -> None:
    """Everything that is worth saying of these sides once the statuses stand."""
    common: int | None = None
    blocked = any(t.kind == "TERRITORY" and t.status is not None and not t.status.movable for t in trip.sides)
    for side in sides:
        if not side.required:
            continue
        passed = over(side)
        if passed:
            raised.settle(side)
        if not rules_at("finding", side.kind, raised.today, passed):
            continue
        if common is None:
            common = grounds.of_trip(trip)
        for rule, case in calls(trip, side, rules_at("finding", side.kind, raised.today, passed, grounds.of_side(trip, side, common, blocked))):
            finding = rule.check(case, reference, now)
            if finding is not None:
                raised.finding(side, rule, finding)


def ambiguous(trip: Trip, anew: Collection[str], raised: Raised) -> None:
    """A fact whose side cannot be told has no effect, and what stops goods has effect everywhere; every side of its authority says so."""
    for lost in trip.lost:
        fact = lost.fact
        if fact.side == EVERYWHERE:
            continue
        sides = [s for s in trip.sides if s.authority == lost.authority] or trip.sides[:1]
        for side in [s for s in sides if s.id in anew and (fact.key[0] not in STOPPING or _stands(s, fact))]:
            raised.finding(side, SIDE_AMBIGUOUS, Finding(
                code="SIDE_AMBIGUOUS", severity="warning", at=fact.at, scope=fact.scope,
                text="route.stops_everywhere" if fact.key[0] in STOPPING else "route.side_ambiguous",
                args={"authority": lost.authority, "what": "/".join(fact.key), "code": fact.code}, evidence=(fact.id,) if fact.id else (),
                flags=("SIDE_AMBIGUOUS",), alert="SideAmbiguous"))


def _stands(side: SideCase, fact: Fact) -> bool:
    """Does this demand of an authority or agency keep goods at this side?"""
    kind, reference = fact.key[1], fact.key[-2]
    scopes = side.status.scopes.values() if side.status is not None else ()
    if fact.key[0] == "agency":
        return any(b.agency == kind and b.reference == reference for s in scopes for b in s.blocked_by)
    return any(d.kind == kind and d.reference == reference for s in scopes for d in s.open)


def said_of(conditions: Iterable[tuple[Rule, Finding]]) -> bytes:
    """Eight bytes that stand for the conditions of a side; none for none."""
    said = [(rule.id, finding) for rule, finding in conditions]
    return digest(said) if said else b""


def asks_others(sides: Iterable[SideCase], raised: Raised) -> bool:
    """Does a finding of these sides ask to amend a document? Whether it may be, what the other sides say of it decides."""
    return any(amends(raised, side.id) for side in sides)


def amends(raised: Raised, side: str) -> bool:
    """Does a finding of this side?"""
    return any(f.code in AMENDING for _, f in (*raised.conditions.get(side, ()), *raised.findings.get(side, ())))


def doubted(side: SideCase, name: str) -> bool:
    """Is this side meant by a name of those that have refused facts, or of which facts are masked?"""
    name = name.removeprefix(MASKED)
    return name in (EVERYWHERE, side.id) or name.partition("/")[0] == f"@{side.authority}"


def full(sides: Iterable[SideCase], raised: Raised, doubts: tuple[str, ...]) -> None:
    """Sides that have refused facts, or of which an authority's words are masked, say so: what is not known may be a demand."""
    for side in sides:
        mine = [name for name in doubts if doubted(side, name)]
        if any(not name.startswith(MASKED) for name in mine):
            raised.finding(side, FACTS_LIMIT, Finding(code="FACTS_LIMIT", severity="critical", text="route.facts_limit", flags=("FACTS_LIMIT",),
                                                      alert="FactsLimit"))
        if any(name.startswith(MASKED) for name in mine):
            raised.finding(side, FACTS_MASKED, Finding(
                code="FACTS_MASKED", severity="warning", text="route.facts_masked", flags=("FACTS_MASKED",), args={"authority": side.authority}))
