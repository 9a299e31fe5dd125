"""The rule pack: one explicit ordered tuple `RULES` of pure functions `(case, reference, now) -> Finding | None`.

Rules prove conditions, predict, explain and warn; authorities decide. They see facts through `case` and touch nothing.
"""
from __future__ import annotations

import hashlib

from streams.reference.model import Reference
from streams.rules.route import SIDE_AMBIGUOUS, UNMAPPED_OFFICE
from streams.rules.rule import Rule

RULES: tuple[Rule, ...] = (SIDE_AMBIGUOUS, UNMAPPED_OFFICE)

CONDITIONS = tuple(r for r in RULES if r.phase == "condition" and not r.restricted)
FINDINGS = tuple(r for r in RULES if r.phase == "finding" and not r.restricted)
RESTRICTED = tuple(r for r in RULES if r.restricted)


def pack_of(reference: Reference) -> str:
    """Hash of the rule pack: ids and versions of all rules, and the reference at its version."""
    text = "\n".join(f"{r.id}@{r.version}" for r in RULES) + "\n" + reference.version + "\n" + reference.digest
    return hashlib.sha256(text.encode()).hexdigest()
