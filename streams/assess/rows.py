"""Which row of reference data a side takes, per scope by planned procedure, and the rules that the ladder reads from it."""
from __future__ import annotations

import msgspec

from streams.reference.model import FilingRow, Reference, SideRow
from streams.rules.case import SideCase, Trip
from streams.status import SideRules
from topics.facts import WHOLE

UNDECIDED = "undecided"
EMPTY = "empty"
PROCEDURE_KINDS = {"transit": "transit", "import": "import", "warehouse": "warehouse", "export": "export", "td": "transit", "dt": "export"}
"""A lodged filing of this kind shows the procedure of the boxes that it covers."""
Members = dict[str, frozenset[str]]
"""Union or convention -> its authorities."""


def members_of(reference: Reference) -> Members:
    """Authorities of each union (EAEU, EU) and convention (CTC, TIR)."""
    found: dict[str, set[str]] = {}
    for code, row in reference.authorities.items():
        for group in (row.union, *row.transit):
            if group:
                found.setdefault(group, set()).add(code)
    return {group: frozenset(codes) for group, codes in found.items()}


def procedure_of(trip: Trip, side: SideCase, scope: str) -> str:
    """Planned procedure of a scope: what a filing that serves this side says, else the shipment's plan, else undecided."""
    for lodged in reversed(trip.filings):
        if lodged.kind in PROCEDURE_KINDS and side.id in lodged.sides and lodged.covers(scope):
            return str(lodged.content.get("procedure") or PROCEDURE_KINDS[lodged.kind])
    plan = trip.declared.get("procedures") or {}
    return str(plan.get(side.authority) or UNDECIDED)


def is_empty(trip: Trip, scope: str) -> bool:
    """Declared empty: the box, or every box of the shipment."""
    if scope != WHOLE:
        return bool(trip.boxes.get(scope.split("/", 1)[0], {}).get("empty"))
    return bool(trip.boxes) and all(box.get("empty") for box in trip.boxes.values())


def waived(trip: Trip, asked: FilingRow, scope: str, procedure: str) -> str:
    """Why this filing is not required of this scope; "" when it is. A waiver shortens the list, it makes no side NOT_REQUIRED."""
    if EMPTY in asked.waived_for and is_empty(trip, scope):
        return EMPTY
    if procedure in asked.waived_for:
        return procedure
    if asked.enrolment and not trip.enrolled(asked.enrolment):
        return f"not enrolled: {asked.enrolment}"
    return ""


def as_rules(trip: Trip, side: SideCase, row: SideRow | None, scope: str, members: Members) -> SideRules:
    """The ladder's form of a row; without one the side shows only what its authority says."""
    if row is None:
        return SideRules(authority=side.authority, side=side.id, demands_only=side.kind == "TERRITORY")
    procedure = side.procedures.get(scope, "")
    return SideRules(
        authority=side.authority, side=side.id, assessments=row.assessments, conditions=row.conditions,
        filings={f.kind: f.before_arrival for f in row.filings if not f.enrolment and not waived(trip, f, scope, procedure)},
        release=tuple(frozenset(g) for g in row.release), decision=frozenset(row.decision),
        by={kind: members.get(group, frozenset()) for kind, group in row.by.items()}, per_visit=frozenset(row.per_visit),
        per_run=frozenset(row.per_run), transit=frozenset(row.transit), chains=row.chains, not_observed=frozenset(row.not_observed),
        presenters=_presenters(trip, side, row), demands_only=row.kind == "TERRITORY")


def _presenters(trip: Trip, side: SideCase, row: SideRow) -> frozenset[str]:
    """Filers of record of the documents whose filer may say `presented` (IE507)."""
    return frozenset(f.source for f in trip.filings if f.kind in row.presenters and side.id in f.sides)


def with_conditions(rules: SideRules, names: tuple[str, ...], chains: tuple[str, ...] = (), auto: frozenset[str] = frozenset()) -> SideRules:
    """The same row with more conditions before arrival, chains to look at, and what an agreement grants."""
    return msgspec.structs.replace(
        rules, conditions=tuple(dict.fromkeys(rules.conditions + names)), chains=tuple(dict.fromkeys(rules.chains + chains)),
        auto_release=rules.auto_release | auto)


def row_for(reference: Reference, side: SideCase, procedure: str, today: str) -> SideRow | None:
    """The most specific row that fits; None for an office or authority that nothing is known of."""
    best: tuple[int, str, SideRow] | None = None
    for row in reference.side_rows:
        score = _fit(row, side, procedure, today)
        if score is not None and (best is None or (score, row.id) > best[:2]):
            best = score, row.id, row
    return best[2] if best else None


def _fit(row: SideRow, side: SideCase, procedure: str, today: str) -> int | None:
    if row.kind != side.kind or not row.enabled or (row.valid_from and today < row.valid_from) or (row.valid_to and today >= row.valid_to):
        return None
    score = 0
    for weight, wanted, have in ((32, row.authority, side.authority), (16, row.crossing, side.crossing), (8, row.union, side.union),
                                 (4, row.procedure, procedure), (2, row.office_role, side.office_role), (1, row.direction, side.direction)):
        if wanted:
            if wanted != have:
                return None
            score += weight
    return score
