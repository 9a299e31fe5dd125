"""The rule pack: one explicit ordered tuple `RULES` of pure functions `(case, reference, now) -> Finding | None`.

Rules prove conditions, predict, explain and warn; authorities decide. They see facts through `case` and touch nothing.
"""
from __future__ import annotations

import hashlib
from functools import lru_cache

from streams.reference.model import Reference
from streams.rules.adv import ADV_RULES
from streams.rules.bord import BORDER_RULES
from streams.rules.doc import DOC_RULES
from streams.rules.pack_gtt import GTT_RULES
from streams.rules.rec import REC_RULES
from streams.rules.risk import RISK_RULES
from streams.rules.route import FACTS_LIMIT, FACTS_MASKED, SIDE_AMBIGUOUS, UNMAPPED_OFFICE
from streams.rules.rule import Rule
from streams.rules.seal import SEAL_RULES
from streams.rules.trn import TRANSIT_RULES

RULES: tuple[Rule, ...] = (
    *GTT_RULES, *ADV_RULES, *SEAL_RULES, *REC_RULES, *BORDER_RULES, *TRANSIT_RULES, *DOC_RULES, SIDE_AMBIGUOUS, UNMAPPED_OFFICE, FACTS_LIMIT, FACTS_MASKED,
    *RISK_RULES,
)

CONDITIONS = tuple(r for r in RULES if r.phase == "condition" and not r.restricted)
FINDINGS = tuple(r for r in RULES if r.phase == "finding" and not r.restricted)
RESTRICTED = tuple(r for r in RULES if r.restricted)
EVERY_GROUND = -1


@lru_cache(maxsize=4096)
def rules_at(phase: str, kind: str, today: str, over: bool, grounds: int = EVERY_GROUND) -> tuple[Rule, ...]:
    """Public rules of a phase that look at this kind of side on this day; `over`: at a side that the goods have behind them or do not need;
    `grounds`: what holds there, rules that need something else have nothing to say."""
    every = CONDITIONS if phase == "condition" else FINDINGS
    return tuple(r for r in every if kind in r.kinds and r.valid(today) and (r.afterwards or not over) and (not r.needs or r.needs & grounds))


PRE_ARRIVAL = tuple(r.id for r in RULES if r.pre_arrival)
"""Conditions that stand between ACCEPTED and PRE_CLEARED where they apply."""


def pack_of(reference: Reference) -> str:
    """Hash of the rule pack: ids and versions of all rules, and the reference at its version."""
    return _pack(reference.version, reference.digest)


@lru_cache(maxsize=64)
def _pack(version: str, digest: str) -> str:
    text = "\n".join([*(f"{r.id}@{r.version}" for r in RULES), version, digest])
    return hashlib.sha256(text.encode()).hexdigest()
