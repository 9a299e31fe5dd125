"""Which row of reference data a side takes, per scope by planned procedure, and the rules that the ladder reads from it."""
from __future__ import annotations

from collections.abc import Iterable

import msgspec

from streams.reference.model import Agreement, Reference, SideRow
from streams.rules.case import SideCase, Trip
from streams.status import SideRules

UNDECIDED = "undecided"
PROCEDURE_KINDS = {"transit": "transit", "import": "import", "warehouse": "warehouse", "export": "export", "td": "transit", "dt": "export"}
"""A lodged filing of this kind shows the procedure of the boxes that it covers."""


def procedure_of(trip: Trip, side: SideCase, scope: str) -> str:
    """Planned procedure of a scope: what a filing that serves this side says, else the shipment's plan, else undecided."""
    for lodged in reversed(trip.filings):
        if side.id in lodged.sides and lodged.kind in PROCEDURE_KINDS and (not lodged.boxes() or scope in lodged.boxes()):
            return str(lodged.content.get("procedure") or PROCEDURE_KINDS[lodged.kind])
    plan = trip.declared.get("procedures") or {}
    return str(plan.get(side.authority) or UNDECIDED)


def in_force(agreement: Agreement, today: str) -> bool:
    """Signed and in force on this day, not suspended, and switched on."""
    return (
        agreement.enabled and not agreement.suspended and bool(agreement.in_force) and agreement.in_force <= today
        and (not agreement.valid_from or agreement.valid_from <= today) and (not agreement.valid_to or today < agreement.valid_to)
    )


def between(agreements: Iterable[Agreement], kind: str, one: Iterable[str], other: Iterable[str]) -> Agreement | None:
    """The agreement of this kind between two authorities (given with their unions); a directional one only that way."""
    ones, others = set(one), set(other)
    for a in agreements:
        if a.kind != kind or len(a.parties) < 2:
            continue
        if a.directional:
            if a.parties[0] in ones and a.parties[1] in others:
                return a
        elif set(a.parties) & ones and set(a.parties) & others and (set(a.parties) & ones) != (set(a.parties) & others):
            return a
    return None


def as_rules(side: SideCase, row: SideRow | None, conditions: tuple[str, ...] = (), chains: tuple[str, ...] = (),
             auto: tuple[str, ...] = (), unions: dict[str, frozenset[str]] | None = None) -> SideRules:
    """The ladder's form of a row; without one the side shows only what its authority says."""
    if row is None:
        return SideRules(authority=side.authority, side=side.id, demands_only=side.kind == "TERRITORY", conditions=conditions, chains=chains)
    members = unions or {}
    return SideRules(
        authority=side.authority, side=side.id, filings={f.kind: f.before_arrival for f in row.filings}, assessments=row.assessments,
        conditions=row.conditions + conditions, release=tuple(frozenset(g) for g in row.release), decision=frozenset(row.decision),
        by={kind: members.get(group, frozenset()) for kind, group in row.by.items()}, per_visit=frozenset(row.per_visit),
        per_run=frozenset(row.per_run), transit=frozenset(row.transit),
        chains=tuple(dict.fromkeys(row.chains + chains)), auto_release=frozenset(auto), not_observed=frozenset(row.not_observed),
        presenters=frozenset(row.presenters), demands_only=row.kind == "TERRITORY")


def with_conditions(rules: SideRules, names: tuple[str, ...], chains: tuple[str, ...] = ()) -> SideRules:
    """The same row with more conditions before arrival."""
    return msgspec.structs.replace(
        rules, conditions=tuple(dict.fromkeys(rules.conditions + names)), chains=tuple(dict.fromkeys(rules.chains + chains)))


def row_for(reference: Reference, side: SideCase, procedure: str, today: str) -> SideRow | None:
    """The most specific row that fits; None for an office or authority that nothing is known of."""
    best: tuple[int, str, SideRow] | None = None
    for row in reference.side_rows:
        score = _fit(row, side, procedure, today)
        if score is not None and (best is None or (score, row.id) > best[:2]):
            best = score, row.id, row
    return best[2] if best else None


def _fit(row: SideRow, side: SideCase, procedure: str, today: str) -> int | None:
    if not row.enabled or row.kind != side.kind or (row.valid_from and today < row.valid_from) or (row.valid_to and today >= row.valid_to):
        return None
    score = 0
    for weight, wanted, have in ((16, row.authority, side.authority), (8, row.crossing, side.crossing), (4, row.union, side.union),
                                 (2, row.procedure, procedure), (1, row.direction, side.direction)):
        if wanted:
            if wanted != have:
                return None
            score += weight
    return score
