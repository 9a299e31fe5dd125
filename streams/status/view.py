"""The facts of one side, indexed once, and what one scope sees of them."""
from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from streams.status.states import SideRules, instant_in, text_in
from topics.facts import DAY, NEVER, WHOLE, Fact, Facts, Rank

FACTS_MAX = 256
"""Facts kept per side; the fold refuses more, and from here on the side says `facts_limit`."""

DAY_REST = DAY - 1
"""A dated fact happened somewhere in [at, at + DAY_REST]."""

Heads = dict[str, list[Fact]]
WAS_HERE = frozenset({"seen", "handed_over", "presented", "departed"})
NONE: list[Fact] = []


def last_instant(fact: Fact) -> int:
    """The latest instant at which it can have happened."""
    return fact.at + DAY_REST if fact.dated else fact.at


def outranks(fact: Fact, held: Fact) -> bool:
    """Of two facts of one phase the later counts; among equals any fixed choice will do, arrival order will not."""
    return fact.at > held.at or (fact.at == held.at and _tie(fact) > _tie(held))


def _tie(f: Fact) -> tuple[int, str, str, str, str, str, str]:
    return f.rank, f.source, f.record, f.scope, f.id, f.side, f"{f.code}{f.dated}{stable(f.value)}"


def stable(value: object) -> str:
    """A text of a value that does not depend on the order in which it was built."""
    if isinstance(value, dict):
        return repr(sorted((str(k), stable(v)) for k, v in value.items()))
    return repr(value)


PRESENCE = ("seen", "handed_over", "presented")
ALWAYS = frozenset({"visit", "route", *PRESENCE, "departed", "doc", "demand", "agency"})
"""Heads that the ladder looks at under every row."""


def looked_at(rules: SideRules) -> frozenset[str]:
    """Heads of the facts that the ladder looks at under this row; of all others only how many there are, and whom they name."""
    return _heads_of(bool(rules.chains), bool(rules.conditions or rules.assessments), bool(rules.per_run))


@cache
def _heads_of(seals: bool, conditions: bool, runs: bool) -> frozenset[str]:
    return ALWAYS | ({"seal"} if seals else set()) | ({"condition"} if conditions else set()) | ({"run"} if runs else set())


class Index:
    """The living facts of one side by scope and head of key. Withdrawn and masked facts are left out."""

    __slots__ = ("_then", "facts", "heads", "latest", "scopes", "size")

    def __init__(self, facts: Facts | Iterable[Fact], heads: frozenset[str]) -> None:
        """`heads`: those that are looked at."""
        every = list(facts.values() if isinstance(facts, dict) else facts)
        self.size, self.heads = len(every), heads
        self._fill(_unmasked([f for f in every if f.value is not None]))

    def _fill(self, facts: list[Fact]) -> None:
        self.facts, looked = facts, self.heads
        self.latest = max((f.at for f in facts), default=NEVER)
        """When the last of them happened."""
        self._then: dict[int, Index] = {}
        scopes: dict[str, Heads] = {}
        for f in facts:
            head = f.key[0]
            if head not in looked:
                continue
            heads = scopes.get(f.scope)
            if heads is None:
                scopes[f.scope] = {head: [f]}
            elif head in heads:
                heads[head].append(f)
            else:
                heads[head] = [f]
        self.scopes = scopes

    def until(self, instant: int) -> Index:
        """What was so at an instant, leaving aside departures: how the goods stood when they left."""
        then = self._then.get(instant)
        if then is None:
            then = self._then[instant] = Index.__new__(Index)
            then.size, then.heads = self.size, self.heads
            then._fill([f for f in self.facts if f.at <= instant and f.key[0] != "departed"])
        return then

    def named_by(self, authority: str) -> set[str]:
        """Scopes that the authority has named itself."""
        return {f.scope for f in self.facts if f.source == authority} - {WHOLE}

    def sees(self, scope: str) -> str:
        """The scope that sees the same facts: this one; of an item of which nothing in particular is said its box, of such a box the shipment."""
        if scope in self.scopes:
            return scope
        box = scope.split("/", 1)[0]
        return box if box in self.scopes else WHOLE


def _unmasked(facts: list[Fact]) -> list[Fact]:
    """Without what a mask of a retracted feed covers (closed interval of event times, inside the mask's scope)."""
    masks = [f for f in facts if f.key[0] == "mask"]
    if not masks:
        return facts
    spans = [
        (text_in(m.value, "source"), instant_in(m.value, "since") or 0, instant_in(m.value, "until"), m.scope)
        for m in masks if isinstance(m.value, dict)
    ]

    def covered(f: Fact) -> bool:
        return any(
            f.source == source and since <= f.at and (until is None or f.at <= until)
            and (scope in (WHOLE, f.scope) or f.scope.startswith(scope + "/"))
            for source, since, until, scope in spans
        )

    return [f for f in facts if f.key[0] != "mask" and not covered(f)]


@cache
def deciding_kinds(decision: frozenset[str]) -> frozenset[str]:
    """Kinds of document that decide on the goods."""
    return frozenset(m.partition(":")[2] for m in decision if ":" in m)


class View:
    """The facts that apply to one scope: its own and its parents'."""

    __slots__ = ("back", "deciding", "departed", "heads", "here", "left", "presented", "presented_by", "route_said",
                 "rules", "run", "there", "unordered", "visit", "visit_at")

    def __init__(self, index: Index, scope: str, rules: SideRules) -> None:
        self.rules = rules
        self.heads = _heads(index, scope)
        self.deciding = deciding_kinds(rules.decision)
        visit, run = self.best("visit"), self.best("run")
        self.visit = str(visit.value) if visit else "1"
        self.visit_at = last_instant(visit) if visit else NEVER       # of a day: nothing of that day is surely of this visit
        self.run = run.value if run else None
        self.route_said = self.best("route")
        self._presence()

    def of(self, head: str) -> list[Fact]:
        """The facts whose key begins so."""
        return self.heads.get(head, NONE)

    def best(self, head: str) -> Fact | None:
        """Of a key with several slots: the value of the highest (rank, event time, source, record)."""
        found = self.heads.get(head)
        if not found:
            return None
        return found[0] if len(found) == 1 else max(found, key=standing)

    def competent(self, kind: str, source: str) -> bool:
        """May this source say what has become of a document of this kind here? A kind that decides: the side's authority only."""
        return source == self.rules.authority or (kind not in self.deciding and source in self.rules.by.get(kind, ()))

    def _presence(self) -> None:
        """When it was here in this visit, who presented it, and when it left. A sensor or forwarder undoes no departure,
        and a forwarder reports none."""
        self.here = self.back = self.presented = self.left = NEVER
        self.presented_by: Fact | None = None
        self.there: Fact | None = None
        self.departed: Fact | None = None
        self.unordered = False
        if self.heads.keys().isdisjoint(WAS_HERE):
            return
        spans: list[Fact] = []
        for head in PRESENCE:
            for f in self.heads.get(head, NONE):
                if f.key[1] == self.visit:
                    self._was_here(f, head == "presented")
                    if f.dated:
                        spans.append(f)
        for f in self.heads.get("departed", NONE):
            if f.key[1] == self.visit and f.rank >= Rank.SENSOR:
                at = last_instant(f)     # of a day's presence and departure the departure counts, as of a minute's
                if at > self.left or (at == self.left and self.departed is not None and outranks(f, self.departed)):
                    self.left, self.departed = at, f
        self.unordered = self.departed is not None and (
            any(f.at <= self.left <= last_instant(f) for f in spans)
            or (self.departed.dated and self.departed.at <= self.back <= self.left))

    def _was_here(self, f: Fact, presenting: bool) -> None:
        at = f.at
        if self.there is None or at < self.there.at or (at == self.there.at and outranks(f, self.there)):
            self.there = f
        self.here = max(self.here, at)
        if f.rank >= Rank.TERMINAL:
            self.back = max(self.back, at)
        may_present = presenting and (f.source == self.rules.authority or f.rank is Rank.TERMINAL or f.source in self.rules.presenters)
        if may_present and (self.presented_by is None or outranks(f, self.presented_by)):
            self.presented, self.presented_by = at, f


def standing(f: Fact) -> tuple[int, int, str, str, str, str, str, str]:
    """Order among the slots of one key: authority > railway > terminal > sensor > forwarder, then the later."""
    return f.rank, f.at, f.source, f.record, f.scope, stable(f.value), f.id, f.side + f.code


def _heads(index: Index, scope: str) -> Heads:
    whole = index.scopes.get(WHOLE, {})
    if scope in index.scopes and "/" not in scope:
        names = [scope] if scope != WHOLE else []
    else:
        names = [n for n in dict.fromkeys((scope.split("/", 1)[0], scope)) if n != WHOLE and n in index.scopes]
    if not names:
        return whole
    if not whole and len(names) == 1:
        return index.scopes[names[0]]
    merged = dict(whole)
    for name in names:
        for head, found in index.scopes[name].items():
            merged[head] = merged[head] + found if head in merged else found
    return merged
