"""Next actions: WHO · WHAT · WHERE · BY WHEN · ELSE · DONE WHEN · CALL."""
from __future__ import annotations

from streams.assess.findings import Raised
from streams.reference.model import Reference
from streams.rules.case import SideCase, Trip
from topics.events.outputs import NextAction


def actions_of(trip: Trip, side: SideCase, raised: Raised, reference: Reference, now: int) -> tuple[NextAction, ...]:
    """What is to be done at this side by whom until when."""
    return ()
