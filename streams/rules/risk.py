"""RISK: the six classes of non-traditional security risk (domain section 6). Restricted: only the authority's own view shows what is found.

A strong row alone is a finding; weak ones need two independent hints. Ordinary dangerous goods are not one of the six. Automatic guilt never.
"""
from __future__ import annotations

from collections.abc import Iterator

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
    lines = list(lines_of(case, scope))
    for row in reference.risks:
        if not row.enabled or row.risk_class == "vague" or row.direction not in ("", case.trip.direction):
            continue
        where = next((name for name, line in lines if matches(row, line)), None)
        if where is not None:
            found.setdefault(row.risk_class, {})[row.kind, row.value] = Hint(row, where)
    return {c: list(h.values()) for c, h in sorted(found.items())}


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
