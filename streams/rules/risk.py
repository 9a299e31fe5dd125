"""RISK: the six classes of non-traditional security risk (domain section 6). Restricted: only the authority's own view shows what is found.

A strong row alone is a finding; weak ones need two independent hints. Ordinary dangerous goods are not one of the six. Automatic guilt never.
"""
from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import msgspec

from streams.reference.model import Reference, RiskRow
from streams.rules.case import Case, Content, Finding
from streams.rules.rule import Rule, titles
from topics.facts import WHOLE

HINTS_MIN = 2


class Hint(msgspec.Struct, frozen=True):
    """One row that matches, and where."""

    row: RiskRow
    where: str


def lines_of(case: Case, scope: str) -> Iterator[tuple[str, Content]]:
    """(document, goods line) of a container: the note's, and those of filings that serve this side."""
    for line in case.trip.boxes.get(scope, {}).get("goods", ()):
        yield "note", line
    for lodged in case.trip.filings:
        if case.side.id in lodged.sides:
            for line in lodged.boxes().get(scope, {}).get("goods", ()):
                yield lodged.name, line


def matches(row: RiskRow, line: Content) -> bool:
    """Does this row match a goods line?"""
    if row.kind == "hs":
        return str(line.get("hs", "")).startswith(row.value.replace(".", ""))
    if row.kind == "un":
        return bool(line.get("un", "") == row.value)
    if row.kind == "cas":
        return bool(line.get("cas", "") == row.value)
    return row.kind == "keyword" and row.value.lower() in str(line.get("description", "")).lower()


def hints(case: Case, reference: Reference, scope: str) -> dict[str, list[Hint]]:
    """Matches by risk class, each row once."""
    found: dict[str, dict[tuple[str, str], Hint]] = {}
    table = _Table(reference.risks)
    for where, line in lines_of(case, scope):
        said = (str(line.get("hs", "")), str(line.get("un", "")), str(line.get("cas", "")), str(line.get("description", "")))
        for row in _matching(table, *said):
            if row.direction in ("", case.trip.direction):
                found.setdefault(row.risk_class, {}).setdefault((row.kind, row.value), Hint(row, where))
    return {c: [h[k] for k in sorted(h)] for c, h in sorted(found.items())}


class _Table:
    """The rows of one reference, compared by identity: hashing hundreds of rows would cost more than the look-up saves."""

    __slots__ = ("rows",)

    def __init__(self, rows: tuple[RiskRow, ...]) -> None:
        self.rows = rows

    def __hash__(self) -> int:
        return id(self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Table) and other.rows is self.rows


@lru_cache(maxsize=10_000)
def _matching(table: _Table, hs: str, un: str, cas: str, description: str) -> tuple[RiskRow, ...]:
    """Rows that match a goods line. The same lines come with every event of a shipment, at every side: remembered."""
    line = {"hs": hs, "un": un, "cas": cas, "description": description}
    return tuple(row for row in table.rows if row.enabled and row.risk_class != "vague" and matches(row, line))


def six_classes(case: Case, reference: Reference, now: int) -> Finding | None:
    """RISK-01: one strong hint, or two weak ones of different kinds (an HS prefix and a word, not two words for one thing)."""
    if case.scope == WHOLE:
        return None
    for name, found in hints(case, reference, case.scope).items():
        strong = [h for h in found if h.row.strength == "strong"]
        independent = {h.row.kind for h in found}
        if strong or len(independent) >= HINTS_MIN:
            shown = strong or found
            return Finding(
                code=f"RISK_{name.upper()}", severity="warning", scope=case.scope, text="risk.class",
                args={"class": name, "hints": ", ".join(f"{h.row.kind} {h.row.value}" for h in shown[:4])},
                present=", ".join(dict.fromkeys(h.where for h in shown)), flags=("control_likely",))
    return None


def _never(case: Case, reference: Reference, now: int) -> Finding | None:
    return None


INDICATOR = Rule(id="RISK-02", family="RISK", legal="shared risk indicator (S14) [D]", certainty="high", check=_never, restricted=True,
                 titles=titles("Hit of a risk indicator", "命中风险指标", "Совпадение с индикатором риска"))
"""Raised where indicators are matched: they are no facts of the shipment and never become one."""

RISK_RULES = (
    Rule(id="RISK-01", family="RISK", legal="the plan's six classes [S09] [S10]; choice of codes [D]", certainty="med", check=six_classes, per="scope",
         restricted=True, titles=titles("One of the six security risk classes", "六类安全风险之一", "Один из шести классов риска")),
    INDICATOR,
)
