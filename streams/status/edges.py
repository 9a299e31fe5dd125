"""Which change of state is expected after what has happened (status-model section 10). An unexpected one is flagged, never refused."""
from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from streams.status.seals import ALARMS, GOOD, LOST, OPENED, READING, RESTORED
from streams.status.states import State, text_in
from topics.facts import Fact


class Cause(StrEnum):
    """What a fact, or the clock, does to a side."""

    ROUTE_PLANNED = "route_planned"
    OFF_ROUTE = "off_route"
    VISIT = "visit"
    RUN = "run"
    PRESENCE = "presence"
    DEPARTED = "departed"
    SENT = "sent"
    REGISTERED = "registered"
    REJECTED = "rejected"
    AMENDED = "amended"
    ASSESSED = "assessed"
    RELEASED = "released"
    REVOKED = "revoked"
    ENDED = "ended"
    INVALIDATED = "invalidated"
    EXPIRED = "expired"
    """The clock: a filing's validity is over."""
    PROVEN = "proven"
    CONDITION_LOST = "condition_lost"
    SEAL_READING = "seal_reading"
    SEAL_GOOD = "seal_good"
    SEAL_BAD = "seal_bad"
    """Failed or unproven."""
    INFO_REQUESTED = "info_requested"
    ANSWERED = "answered"
    CONTROL_ORDERED = "control_ordered"
    CONTROL_STARTED = "control_started"
    DISCREPANCY = "discrepancy"
    HOLD = "hold"
    REFUSAL = "refusal"
    CLOSED = "closed"
    """A demand: conform, lifted, answered to the authority's satisfaction."""
    WITHDRAWN = "withdrawn"
    """A source took something back, or a retracted feed was masked: any step back is expected."""


class Edge(NamedTuple):
    """From one of these states, because of one of these, to one of those."""

    before: frozenset[State | None]
    because: frozenset[Cause]
    after: frozenset[State]


def _edge(before: Iterable[State | None], because: Iterable[Cause], after: Iterable[State]) -> Edge:
    return Edge(frozenset(before), frozenset(because), frozenset(after))


S, C = State, Cause
ANY = frozenset(State)
THERE = frozenset({S.ARRIVED, S.SEAL_CHECK})
AHEAD = frozenset({S.EXPECTED, S.FILED, S.FILING_REJECTED, S.ACCEPTED, S.PRE_CLEARED})
DEMANDS = frozenset({S.REFUSED, S.HELD, S.UNDER_CONTROL, S.CONTROL_ORDERED, S.INFO_REQUESTED})
WHERE_IT_WAS = ANY
"""What the ladder gives without the demand: it may be anything, another demand too."""
UNRELEASED = ANY - {S.RELEASED, S.DEPARTED, S.NOT_REQUIRED}
"""What it may be when a release falls: demands that it covered stand again."""
TOGETHER_MAX = 6
"""Causes of one step up to which each may explain only one edge of a path; of more the order is not worth searching."""

EDGES: tuple[Edge, ...] = (
    _edge([None], [C.ROUTE_PLANNED], [S.EXPECTED, S.NOT_REQUIRED]),
    _edge([S.EXPECTED], [C.SENT], [S.FILED]),
    _edge([S.FILED], [C.REGISTERED], [S.ACCEPTED]),
    # one of several filings may be rejected before the last is lodged, and filed again while another is still missing
    _edge([S.FILED, S.EXPECTED], [C.REJECTED], [S.FILING_REJECTED]),
    _edge([S.FILING_REJECTED, S.CANCELLED], [C.SENT], [S.FILED, S.EXPECTED]),
    _edge([S.ACCEPTED], [C.PROVEN], [S.PRE_CLEARED]),
    _edge([S.PRE_CLEARED], [C.AMENDED, C.CONDITION_LOST, C.SEAL_BAD], [S.ACCEPTED]),
    _edge([S.ACCEPTED, S.PRE_CLEARED], [C.EXPIRED], [S.EXPECTED]),
    _edge([S.ACCEPTED, S.PRE_CLEARED], [C.REJECTED], [S.FILING_REJECTED]),
    _edge([S.ACCEPTED, S.PRE_CLEARED], [C.INVALIDATED], [S.CANCELLED]),
    _edge([S.FILED, S.ACCEPTED, S.PRE_CLEARED, *THERE], [C.INFO_REQUESTED], [S.INFO_REQUESTED]),
    _edge([S.INFO_REQUESTED], [C.ANSWERED, C.CLOSED, C.ASSESSED], WHERE_IT_WAS),
    _edge([S.EXPECTED, S.FILED, S.ACCEPTED, S.PRE_CLEARED], [C.PRESENCE], [S.ARRIVED]),
    _edge([S.ARRIVED], [C.SEAL_READING], [S.SEAL_CHECK]),
    _edge([S.SEAL_CHECK], [C.SEAL_GOOD, C.SEAL_BAD], [S.ARRIVED]),
    _edge(ANY - {S.DEPARTED, S.NOT_REQUIRED, S.CANCELLED}, [C.CONTROL_ORDERED], [S.CONTROL_ORDERED]),
    _edge([S.CONTROL_ORDERED], [C.CONTROL_STARTED], [S.UNDER_CONTROL]),
    _edge([S.CONTROL_ORDERED, S.UNDER_CONTROL], [C.CLOSED, C.ASSESSED], WHERE_IT_WAS),
    _edge([S.UNDER_CONTROL], [C.DISCREPANCY], [S.HELD]),
    _edge(ANY, [C.HOLD], [S.HELD]),
    _edge(ANY, [C.REFUSAL], [S.REFUSED]),
    _edge([S.HELD, S.REFUSED], [C.CLOSED], WHERE_IT_WAS),
    _edge([*THERE, *DEMANDS, S.ACCEPTED, S.PRE_CLEARED], [C.RELEASED], [S.RELEASED]),
    # the last release fact need not be the release itself, and an agreement releases on the last condition or reading
    _edge([*THERE], [C.REGISTERED, C.ENDED, C.PROVEN, C.SEAL_GOOD, C.PRESENCE], [S.RELEASED]),
    _edge([S.RELEASED], [C.DEPARTED], [S.DEPARTED]),
    _edge([S.RELEASED], [C.REVOKED, C.ENDED, C.REJECTED, C.INVALIDATED], UNRELEASED),
    _edge([S.DEPARTED], [C.VISIT], AHEAD),
    _edge([S.DEPARTED], [C.PRESENCE], [S.ARRIVED, S.RELEASED]),
    _edge(ANY, [C.OFF_ROUTE], [S.CANCELLED]),
    _edge(ANY, [C.WITHDRAWN], ANY),
)


def expected(before: State | None, after: State, causes: Iterable[Cause]) -> bool:
    """May `after` follow `before` (None: there was no status yet) when all of `causes` came together?

    No change is always expected. Several causes in one step may lead over states that never showed, each cause once.
    """
    if before is after:
        return True
    happened = frozenset(causes)
    spend = len(happened) <= TOGETHER_MAX
    waiting: list[tuple[State | None, frozenset[Cause]]] = [(before, happened)]
    seen = set(waiting)
    while waiting:
        state, left = waiting.pop()
        for reached, cause in _next(state, left):
            if reached is after:
                return True
            step = (reached, left - {cause} if spend else left)
            if step not in seen:
                seen.add(step)
                waiting.append(step)
    return False


def _next(state: State | None, causes: frozenset[Cause]) -> list[tuple[State, Cause]]:
    return [(after, cause) for e in EDGES if state in e.before for cause in e.because & causes for after in e.after]


DOCUMENT = {"sent": C.SENT, "registered": C.REGISTERED, "rejected": C.REJECTED, "amended": C.AMENDED, "assessed": C.ASSESSED,
            "released": C.RELEASED, "revoked": C.REVOKED, "ended": C.ENDED, "invalidated": C.INVALIDATED}
DEMAND = {"started": C.CONTROL_STARTED, "discrepancy": C.DISCREPANCY, "closed": C.CLOSED, "answered": C.ANSWERED}
OPENED_KIND = {"info": C.INFO_REQUESTED, "control": C.CONTROL_ORDERED, "refusal": C.REFUSAL}
PRESENCE = {"seen": C.PRESENCE, "handed_over": C.PRESENCE, "presented": C.PRESENCE, "departed": C.DEPARTED, "visit": C.VISIT, "run": C.RUN}
SEAL = {READING: C.SEAL_READING, OPENED: C.SEAL_GOOD, **dict.fromkeys(GOOD | RESTORED, C.SEAL_GOOD), **dict.fromkeys(ALARMS | LOST, C.SEAL_BAD)}


def causes_of(facts: Iterable[Fact]) -> frozenset[Cause]:
    """What newly heard facts do. Facts that change no customs state (other agencies') give nothing."""
    return frozenset(c for f in facts if (c := _cause(f)) is not None)


def _cause(f: Fact) -> Cause | None:
    head = f.key[0]
    if f.value is None or head == "mask":
        return Cause.WITHDRAWN
    if head == "doc":
        return DOCUMENT.get(f.key[3])
    if head == "demand":
        return DEMAND.get(f.key[4]) or OPENED_KIND.get(f.key[1], Cause.HOLD)
    if head == "seal":
        return SEAL.get(f.key[2])
    if head == "condition":
        return Cause.PROVEN if f.value == "proven" or text_in(f.value, "state") == "proven" else Cause.CONDITION_LOST
    if head == "route":
        return Cause.OFF_ROUTE if f.value == "off" else Cause.ROUTE_PLANNED
    return PRESENCE.get(head)
