"""Restricted views, computed apart (design section 5): indicator hits and risk classes never enter a public status, alert or timing.

A view is the authority's own side once more, with what only it may know: no merged score, each indicator side by side. It may withhold
PRE_CLEARED; it never holds or releases.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from streams.assess.core import Assessment
from streams.assess.findings import finding_said
from streams.reference.model import Reference
from streams.rules import RESTRICTED
from streams.rules.case import Case, Finding, SideCase, Trip
from streams.rules.day import micros
from streams.rules.risk import INDICATOR, lines_of
from streams.rules.rule import Rule
from topics.events.outputs import BasisSaid, ClearanceUpdate
from topics.events.sites import RiskIndicator
from topics.facts import WHOLE

WITHHELD = "risk_withheld"


def restricted_of(
    assessment: Assessment, reference: Reference, broadcasts: Mapping[str, msgspec.Struct], shown: Iterable[str], now: int
) -> tuple[tuple[ClearanceUpdate, ...], int | None]:
    """(views that say something, and an empty one for each side in `shown` that no longer does; when the clock alone changes one)."""
    trip = assessment.trip
    if trip is None:
        return (), None
    indicators = [b for _, b in sorted(broadcasts.items()) if isinstance(b, RiskIndicator)]
    due = _due(indicators, now)
    views = []
    for say in assessment.says:
        side = say.side
        if not (side.required or side.kind == "TERRITORY"):
            continue
        found = [*_classes(trip, side, reference, now), *_hits(trip, side, indicators, now)]
        if found or side.id in shown:
            views.append(_view(say.update, side, found, reference))
    return tuple(views), due


def _due(indicators: list[RiskIndicator], now: int) -> int | None:
    times = [t for i in indicators for t in (micros(i.valid_from), micros(i.valid_until)) if t > now]
    return min(times, default=None)


def _classes(trip: Trip, side: SideCase, reference: Reference, now: int) -> list[tuple[Rule, Finding]]:
    """What the restricted rules say of the goods: it changes with the documents only, so a side that stands is looked at once."""
    if side.classes is None:
        side.classes = _judged(trip, side, reference, now)
    return side.classes


def _judged(trip: Trip, side: SideCase, reference: Reference, now: int) -> list[tuple[Rule, Finding]]:
    found = []
    for rule in RESTRICTED:
        if side.kind not in rule.kinds:
            continue
        for scope in side.rules:
            finding = rule.check(Case(trip, side, scope), reference, now)
            if finding is not None:
                found.append((rule, finding))
    return found


def _hits(trip: Trip, side: SideCase, indicators: list[RiskIndicator], now: int) -> list[tuple[Rule, Finding]]:
    """Indicators in force whose participants include this side's authority and whose scope fields match this shipment."""
    found = []
    for i in indicators:
        mine = i.authority == side.authority or (i.secrecy == "participants" and side.authority in i.participants)
        if mine and micros(i.valid_from) <= now < micros(i.valid_until) and matches(trip, side, i):
            found.append((INDICATOR, Finding(
                code="INDICATOR_HIT", severity="warning", at=micros(i.event_time), text="risk.indicator", flags=("control_likely",),
                args={"reference": f"{i.authority} {i.record or i.id}", "score": f"{i.score:g}"}, present=f"{i.score:g}")))
    return found


def matches(trip: Trip, side: SideCase, indicator: RiskIndicator) -> bool:
    """Every scope field that the indicator states must match; one that states none matches nothing."""
    asked = 0
    if indicator.containers:
        asked += 1
        if not set(indicator.containers) & {b.split("/", 1)[0] for b in (*trip.boxes, *side.rules) if b != WHOLE}:
            return False
    if indicator.hs_prefixes:
        asked += 1
        codes = {str(line.get("hs", "")) for box in trip.boxes for _, line in lines_of(Case(trip, side), box)}
        if not any(code.startswith(p) for code in codes for p in indicator.hs_prefixes):
            return False
    if indicator.traders:
        asked += 1
        traders = {str(v) for p in trip.declared.get("parties", ()) for v in (p.get("identifier"), p.get("name"), p.get("aeo")) if v}
        traders |= {str(v) for f in trip.filings for p in f.content.get("parties", ()) for v in (p.get("identifier"), p.get("name")) if v}
        if not traders & set(indicator.traders):
            return False
    return asked > 0


def _view(update: ClearanceUpdate, side: SideCase, found: list[tuple[Rule, Finding]], reference: Reference) -> ClearanceUpdate:
    withheld = update.state == "PRE_CLEARED" and any(_heavy(rule, f, reference) for rule, f in found)
    flags = {*update.flags, *(flag for _, f in found for flag in f.flags), *({WITHHELD} if withheld else set())}
    return msgspec.structs.replace(
        update, state="ACCEPTED" if withheld else update.state, basis=BasisSaid(kind="INFERRED") if withheld else update.basis, flags=tuple(sorted(flags)),
        findings=tuple(finding_said(rule, f, side) for rule, f in found), actions=(), carriers=())


def _heavy(rule: Rule, finding: Finding, reference: Reference) -> bool:
    """A class finding, or an indicator whose score reaches the threshold (GTT-08)."""
    return rule is not INDICATOR or float(finding.present or 0) >= reference.limits.risk_score_max
