"""What a rule is: an id, a version, what it says in three languages, where the law stands, and one pure function."""
from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from streams.reference.model import Reference
from streams.rules.case import Case, Finding

Check = Callable[[Case, Reference, int], Finding | None]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the pack. `check(case, reference, now)` is pure and reads facts only through its case."""

    id: str
    family: str
    """ADV, GTT, AEO, REC, SEAL, RISK, DOC, TRN, LANE, BORD, GAUGE, STALE, ROUTE."""
    titles: dict[str, str]
    """en, zh, ru."""
    legal: str
    """Legal source or the domain reference's evidence tag."""
    certainty: str
    check: Check
    version: int = 1
    valid_from: str = ""
    """ISO date; empty = always."""
    valid_to: str = ""
    per: Literal["side", "scope", "filing"] = "side"
    """What one call is about: the side, each container at it, or each filing that its row asks for."""
    phase: Literal["condition", "finding"] = "finding"
    """condition: runs before the status is computed and gives a verdict."""
    pre_arrival: bool = False
    """A condition that must be proven before arrival: it stands between ACCEPTED and PRE_CLEARED."""
    kinds: frozenset[str] = frozenset({"EXIT", "ENTRY", "OFFICE"})
    """Kinds of side that it looks at."""
    afterwards: bool = False
    """Looks at sides too that the goods have left, will not pass or need not clear."""
    needs: int = 0
    """Grounds (`streams/rules/grounds.py`) one of which must hold, or it has nothing to say; 0 = none."""
    pair: bool = False
    """Says the same at both sides of the customs-rail link: asked once."""
    once: bool = False
    """A condition per scope that is said once when it says the same of every box."""
    restricted: bool = False
    """Runs only in an authority's restricted view: what it finds never reaches a public status."""

    def valid(self, today: str) -> bool:
        return (not self.valid_from or self.valid_from <= today) and (not self.valid_to or today < self.valid_to)


def titles(en: str, zh: str, ru: str) -> dict[str, str]:
    return {"en": en, "zh": zh, "ru": ru}
