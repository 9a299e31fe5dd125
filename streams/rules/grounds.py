"""What must be so at a side before a rule can have anything to say there: looked up once per side, so that most rules are not even called.

A ground is necessary, never sufficient: a rule that is called without need says nothing, one that is left out would have said nothing
(`tests/streams/test_rules_grounds.py` calls them all the same). Bits, because a set of them chooses a ready-made tuple of rules.
"""
from __future__ import annotations

from streams.rules.case import SideCase, Trip
from streams.status import DocState, Seal, SideStatus
from streams.status.seals import ALARMS, APPLIED, LOST, TAKEN_OFF, lock_of
from topics.facts import NEVER, WHOLE, Fact

LINK = 1 << 0
"""The customs-rail link applies here."""
OPTED = 1 << 1
"""The carrier opted in to it."""
LEFT = 1 << 2
"""The goods left without a known release."""
WAITING = 1 << 3
"""They are here and wait for the authority."""
HERE = 1 << 4
"""They are here."""
CLOSURE = 1 << 5
STALE = 1 << 6
BLOCKED = 1 << 7
"""An authority stops them on its territory."""
AEO = 1 << 8
GREEN = 1 << 9
FAST = 1 << 10
TRANSIT = 1 << 11
"""A document was released here that opens a transit."""
ENQUIRY = 1 << 12
UNMAPPED = 1 << 13
CONTROLLED = 1 << 14
"""Some authority closed a control."""
UNDECIDED = 1 << 15
AT_RISK, OVERDUE, LATE, MISSING, REJECTED, EXPIRED = (1 << n for n in range(16, 22))
"""How a filing stands."""
ALARM = 1 << 22
LOST_SIGHT = 1 << 23
"""A lock's signal or battery was lost."""
CHANGED = 1 << 24
"""A seal was broken, taken off or put beside another."""
UNPROVEN = 1 << 25
UNREAD = 1 << 26
PAPERS = 1 << 27
"""Filings that serve this side, or earlier notes to compare with."""
WEIGHED = 1 << 28
EMPTY = 1 << 29
UNANSWERED = 1 << 30
"""A filing that its authority has to answer within a time is not registered."""
TIMINGS = {"at_risk": AT_RISK, "overdue": OVERDUE, "late": LATE}
STATES = {DocState.REJECTED: REJECTED, DocState.EXPIRED: EXPIRED}


def of_trip(trip: Trip) -> int:
    """Grounds that hold at every side of the shipment, whatever its status."""
    found = 0
    for name, ground in (("gtt", OPTED), ("green_lane", GREEN), ("fast_clearance", FAST)):
        if trip.enrolled(name):
            found |= ground
    if any(p.get("aeo") for p in trip.declared.get("parties", ())):
        found |= AEO
    if trip.any.get("mass"):
        found |= WEIGHED
    if trip.notes:
        found |= PAPERS
    if any(box.get("empty") for box in trip.boxes.values()):
        found |= EMPTY
    if any(f.key[0] == "demand" and f.key[1] == "control" and f.key[4] == "closed" for f in trip.facts):
        found |= CONTROLLED
    return found | of_seals(trip.sealed())


def of_seals(sealed: dict[str, list[Fact]]) -> int:
    """Grounds that what is said of the seals gives."""
    whats = {f.key[2] for said in sealed.values() for f in said}
    found = 0
    if not whats.isdisjoint(ALARMS):
        found |= ALARM | CHANGED
    if not whats.isdisjoint(LOST):
        found |= LOST_SIGHT
    if not whats.isdisjoint(TAKEN_OFF) or _doubled(sealed):
        found |= CHANGED
    return found


def _doubled(sealed: dict[str, list[Fact]]) -> bool:
    """Were two numbers applied in one chain of one container?"""
    first: dict[tuple[str, str], str] = {}
    whole = WHOLE in sealed
    for scope, said in sealed.items():
        for f in said:
            if f.key[2] in APPLIED and (whole or first.setdefault((scope, f.key[1]), lock_of(f)) != lock_of(f)):
                return True
    return False


def of_side(trip: Trip, side: SideCase, common: int, blocked: bool) -> int:
    """Grounds of a side whose status and filings stand. `common`: those of its shipment; `blocked`: some territory stops the goods."""
    status, found = side.status, common
    assert status is not None
    if status.flags:
        found |= (LEFT if "left_without_release" in status.flags else 0) | (ENQUIRY if "transit_enquiry" in status.flags else 0)
    if status.present and side.departed == NEVER:
        found |= WAITING | HERE
    if side.crossing in trip.closures:
        found |= CLOSURE
    if side.stale:
        found |= STALE
    if blocked:
        found |= BLOCKED
    if not side.mapped:
        found |= UNMAPPED
    if "undecided" in side.procedures.values():
        found |= UNDECIDED
    for filing in side.filings:
        found |= TIMINGS.get(filing.timing, 0) | STATES.get(filing.state, 0)
        if filing.arrived and not filing.registered:
            found |= MISSING
        if filing.row.answer_minutes is not None and not filing.registered:
            found |= UNANSWERED
    if not found & PAPERS and any(side.id in f.sides for f in trip.filings):
        found |= PAPERS
    return found | _of_status(status)


def _of_status(status: SideStatus) -> int:
    found = 0
    for scope in status.scopes.values():
        for seal in scope.seals:
            if seal.verdict is Seal.UNPROVEN:
                found |= UNPROVEN
            elif seal.verdict is Seal.NO_READING and scope.present:
                found |= UNREAD
        if not found & TRANSIT and any(d.released_at != NEVER for d in scope.documents):
            found |= TRANSIT
    return found
