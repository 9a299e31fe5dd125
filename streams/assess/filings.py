"""Required filings of a side with their deadlines: open, at risk, overdue, late, in time (domain section 3, deadline engine).

`due_at = clock reference - lead`. Before arrival a filing is *at risk* against the ETA; *late* is judged only against the actual
arrival and the authority's own registration time.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from streams.assess.rows import waived
from streams.reference.model import FilingRow, Reference
from streams.rules.case import FilingCase, SideCase, Trip
from streams.status import DocState, Document, ScopeStatus
from topics.facts import MINUTE, NEVER

Timing = Literal["", "open", "at_risk", "overdue", "late", "in_time"]


def filings_of(trip: Trip, side: SideCase, reference: Reference, first_known: Mapping[str, int], now: int) -> tuple[FilingCase, ...]:
    """Every filing that the rows of this side's scopes ask for; the worst scope speaks for each."""
    if side.status is None:
        return ()
    found: dict[str, FilingCase] = {}
    for scope, row in side.rows.items():
        status = side.scope(scope)
        if row is None or status is None or (status.state.value in ("NOT_REQUIRED", "CANCELLED") and "file_again" not in status.flags):
            continue
        for asked in row.filings:
            case = _filing(trip, side, scope, asked, status, reference, first_known, now)
            held = found.get(asked.kind)
            if held is None or _worse(case, held):
                found[asked.kind] = case
    return tuple(found.values())


def _worse(case: FilingCase, held: FilingCase) -> bool:
    return (bool(case.waived), case.state) < (bool(held.waived), held.state)


def _filing(
    trip: Trip, side: SideCase, scope: str, row: FilingRow, status: ScopeStatus, reference: Reference, first_known: Mapping[str, int], now: int
) -> FilingCase:
    documents = tuple(d for d in status.documents if d.kind == row.kind and d.counts)
    state = _state(documents)
    registered = max((d.registered_at for d in documents if d.alive), default=NEVER)
    due, actual = due_at(trip, side, row, reference)
    timing, due_next = _timing(side, row, registered, due, actual, reference, now)
    why_not = waived(trip, row, scope, side.procedures.get(scope, ""))
    return FilingCase(
        kind=row.kind, row=row, state=state, documents=documents, filer=_filer(trip, row.kind, side, scope), due=due,
        due_first_known=first_known.get(f"{side.id}|{row.kind}", due), timing="" if why_not else timing,
        registered_at=registered if registered != NEVER else None, waived=why_not, due_next=None if why_not else due_next)


def _state(documents: tuple[Document, ...]) -> DocState:
    """As good as its best number, unless another was rejected or ran out later (status-model section 4)."""
    best = max((d.state for d in documents), default=DocState.NONE)
    if best < DocState.REGISTERED:
        return best
    good = max(d.word_at for d in documents if d.alive)
    return min((d.state for d in documents if d.state in (DocState.REJECTED, DocState.EXPIRED) and d.word_at >= good), default=best)


def _filer(trip: Trip, kind: str, side: SideCase, scope: str) -> str:
    """Filer of record: who lodged what serves this side, the earliest by event time."""
    for lodged in trip.covering(kind, scope):
        if side.id in lodged.sides or lodged.authority == side.authority:
            return lodged.source
    return ""


def due_at(trip: Trip, side: SideCase, row: FilingRow, reference: Reference) -> tuple[int | None, bool]:
    """(deadline, whether its clock reference has happened); (None, False) when no legal lead time or no clock is known."""
    lead = row.lead_minutes
    if lead is None:
        return None, False
    crossing = reference.crossings.get(side.crossing)
    if row.lead_minutes_short is not None and crossing is not None and crossing.formation_under_2h:
        lead = row.lead_minutes_short
    clock, actual = _clock(side, row.clock_ref)
    return (clock - lead * MINUTE if clock is not None else None), actual


def _clock(side: SideCase, clock_ref: str) -> tuple[int | None, bool]:
    """The instant that a deadline counts back from: actual where it has happened, else the ETA's P50."""
    if clock_ref == "presentation":
        return (side.presented, True) if side.presented != NEVER else _arrival(side)
    if clock_ref == "train_decl_review":
        reviewed = [f.at for f in side.facts if f.key[:2] == ("doc", "conveyance") and f.key[3] in ("registered", "released", "assessed")]
        return (min(reviewed), True) if reviewed else (None, False)
    if clock_ref in ("loading_start", "unloading"):
        done = [f.at for f in side.facts if f.key[0] == clock_ref]
        return (min(done), True) if done else (None, False)
    return _arrival(side)


def _arrival(side: SideCase) -> tuple[int | None, bool]:
    if side.seen != NEVER:
        return side.seen, True
    return (side.eta[1] if side.eta else None), False


def _timing(
    side: SideCase, row: FilingRow, registered: int, due: int | None, actual: bool, reference: Reference, now: int
) -> tuple[Timing, int | None]:
    """(timing, when the clock alone changes it)."""
    done = registered != NEVER
    if due is None:
        return ("" if done else "open"), None
    if actual:
        if done:
            return ("late" if registered > due else "in_time"), None
        return ("overdue" if now >= due else "open"), (due if now < due else None)
    if done:
        return "", None
    if now >= due:
        return "overdue", None
    assert side.eta is not None
    soonest = due - (side.eta[1] - side.eta[0])               # the deadline if the train is early (P10)
    warn = soonest - reference.limits.at_risk_margin_minutes * MINUTE
    if now >= warn:
        return "at_risk", due
    return "open", warn
