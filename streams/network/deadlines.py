"""Until when a filing is in time, and how it stands against that (domain section 3, status-model section 4).

`due_at = clock - lead`. Before arrival a filing is *at risk* against the live ETA; *late* is judged only against the actual time and the
authority's own registration. A slipped ETA alone never asks for a new filing.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from streams.network.eta import Eta
from streams.network.sides import SideSpec
from streams.reference.model import Crossing, FilingRow
from topics.facts import MINUTE

Timing = Literal["", "open", "at_risk", "overdue", "late", "in_time"]

ARRIVAL_CLOCKS = frozenset({"eta_first_station", "eta_customs_territory", "eta_office_of_first_entry", "eta_office_of_exit"})
"""Clocks that are the arrival at the side itself."""


class ClockTime(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the moment that a deadline counts from, microseconds UTC."""

    p10: int | None = None
    p50: int | None = None
    actual: int | None = None


class Deadline(msgspec.Struct, frozen=True, kw_only=True):
    """A filing's deadline as it stands."""

    kind: str
    due_at: int
    """Against the actual time where known, else the P50 of the forecast."""
    earliest: int
    """Against the P10: what "at risk" looks at."""
    final: bool
    """Counted from an actual time."""
    lead_minutes: int
    clock_ref: str
    legal: bool


def clocks(spec: SideSpec, eta: Eta | None, arrived: int | None, other: Mapping[str, ClockTime] | None = None) -> dict[str, ClockTime]:
    """Clock times of a side: the arrival clocks from its ETA and actual arrival, the others (loading_start, presentation …) as given."""
    arrival = ClockTime(p10=eta[0] if eta else None, p50=eta[1] if eta else None, actual=arrived)
    return {**{name: arrival for name in ARRIVAL_CLOCKS if spec.kind in ("EXIT", "ENTRY")}, **(other or {})}


def lead_minutes(filing: FilingRow, crossing: Crossing | None, formed_here: bool | None = None) -> int | None:
    """Lead of a filing at a side. The short one holds when the train is formed less than two hours before the office: as the crossing's row
    says, or as is known of the train (`formed_here`). None: no lead is known, so there is no deadline."""
    short = formed_here if formed_here is not None else crossing is not None and crossing.formation_under_2h
    return filing.lead_minutes_short if short and filing.lead_minutes_short is not None else filing.lead_minutes


def deadline(filing: FilingRow, known: Mapping[str, ClockTime], crossing: Crossing | None = None, formed_here: bool | None = None) -> Deadline | None:
    """When the filing is due; None without a lead time or while nothing is known of its clock. A negative lead is a time after the clock."""
    lead = lead_minutes(filing, crossing, formed_here)
    clock = known.get(filing.clock_ref)
    if lead is None or clock is None:
        return None
    at = clock.actual if clock.actual is not None else clock.p50
    if at is None:
        return None
    early = at if clock.actual is not None or clock.p10 is None else clock.p10
    return Deadline(kind=filing.kind, due_at=at - lead * MINUTE, earliest=early - lead * MINUTE, final=clock.actual is not None, lead_minutes=lead,
                    clock_ref=filing.clock_ref, legal=filing.basis == "legal")


def timing(due: Deadline | None, now: int, registered_at: int | None, margin_minutes: int) -> Timing:
    """How a filing stands against its deadline.

    late: registered after a deadline counted from an actual time. overdue: such a deadline is over and nothing is registered.
    at_risk: by the forecast (P10, less `margin_minutes`) it is not, or was not, registered in time. "": no deadline.
    """
    if due is None:
        return ""
    if registered_at is not None:
        if due.final:
            return "in_time" if registered_at <= due.due_at else "late"
        return "in_time" if registered_at <= due.due_at else "at_risk"
    if due.final:
        return "overdue" if now > due.due_at else "at_risk" if now > due.due_at - margin_minutes * MINUTE else "open"
    return "at_risk" if now > due.earliest - margin_minutes * MINUTE else "open"


def timing_changes(due: Deadline | None, now: int, registered_at: int | None, margin_minutes: int) -> int | None:
    """The next instant after `now` at which `timing` changes by the clock alone; None when it does not."""
    if due is None or registered_at is not None:
        return None
    steps = (due.earliest - margin_minutes * MINUTE, *((due.due_at,) if due.final else ()))
    return min((step + 1 for step in steps if step >= now), default=None)
