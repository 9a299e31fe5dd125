"""Restricted views, computed apart (design section 5)."""
from __future__ import annotations

from collections.abc import Iterable

from streams.assess.core import Assessment
from streams.fold import World
from topics.events.outputs import ClearanceUpdate
from topics.facts import Fact


def restricted_of(
    shipment: str, facts: Iterable[Fact], world: World, assessment: Assessment, now: int
) -> tuple[tuple[ClearanceUpdate, ...], int | None]:
    """One view per side of an authority that holds a matching indicator, and when the clock alone changes one."""
    return (), None
