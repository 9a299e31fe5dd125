"""Required filings of a side with their deadlines: open, at risk, overdue, late, in time (domain section 3, deadline engine).

`due_at = clock reference - lead`. Before arrival a filing is *at risk* against the ETA; *late* is judged only against the actual
arrival and the authority's own registration time.
"""
from __future__ import annotations

from collections.abc import Mapping

from streams.assess.rows import waived
from streams.network.deadlines import ClockTime, clocks, deadline, timing, timing_changes
from streams.reference.model import FilingRow, Reference
from streams.rules.case import FilingCase, SideCase, Trip
from streams.status import DocState, Document, ScopeStatus
from topics.facts import NEVER

REVIEWED = frozenset({"registered", "assessed", "released"})


def filings_of(trip: Trip, side: SideCase, reference: Reference, first_known: Mapping[str, int], now: int) -> tuple[FilingCase, ...]:
    """Every filing that the rows of this side's scopes ask for; the worst scope speaks for each."""
    if side.status is None or not side.required:
        return ()
    found: dict[str, FilingCase] = {}
    clock = _clocks(side)
    for scope, row in side.rows.items():
        status = side.scope(scope)
        if row is None or status is None or (status.state.value in ("NOT_REQUIRED", "CANCELLED") and "file_again" not in status.flags):
            continue
        for asked in row.filings:
            case = _filing(trip, side, scope, asked, status, reference, first_known, clock, now)
            held = found.get(asked.kind)
            if held is None or _worse(case, held):
                found[asked.kind] = case
    return tuple(found.values())


def _worse(case: FilingCase, held: FilingCase) -> bool:
    return (bool(case.waived), case.state) < (bool(held.waived), held.state)


def _filing(
    trip: Trip, side: SideCase, scope: str, row: FilingRow, status: ScopeStatus, reference: Reference, first_known: Mapping[str, int],
    clock: Mapping[str, ClockTime], now: int
) -> FilingCase:
    documents = tuple(d for d in status.documents if d.kind == row.kind and d.counts)
    state = _state(documents)
    registered = max((d.registered_at for d in documents if d.alive), default=NEVER)
    due = deadline(row, clock, reference.crossings.get(side.crossing))
    known, margin = registered if registered != NEVER else None, reference.limits.at_risk_margin_minutes
    how = timing(due, now, known, margin) if due is not None else "" if known is not None else "open"
    why_not = waived(trip, row, scope, side.procedures.get(scope, ""))
    return FilingCase(
        kind=row.kind, row=row, state=state, documents=documents, filer=_filer(trip, row.kind, side, scope), due=due.due_at if due else None,
        due_first_known=first_known.get(f"{side.id}|{row.kind}", due.due_at if due else None), timing="" if why_not else how, registered_at=known,
        waived=why_not, due_next=None if why_not else timing_changes(due, now, known, margin))


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


def _clocks(side: SideCase) -> dict[str, ClockTime]:
    """Clock times of this side: what has happened, else the ETA."""
    other: dict[str, ClockTime] = {}
    reviewed = [f.at for f in side.facts if f.key[:2] == ("doc", "conveyance") and f.key[3] in REVIEWED and f.source == side.authority]
    declared = [f.at for f in side.facts if f.key[:2] == ("doc", "conveyance") and f.key[3] in ("sent", "registered")]
    for name, times in (("train_decl_review", reviewed), ("conveyance_declared", declared),
                        ("loading_start", [f.at for f in side.facts if f.key[0] == "loading_start"]),
                        ("unloading", [f.at for f in side.facts if f.key[0] == "unloading"]),
                        ("presentation", [f.at for f in side.facts if f.key[0] == "presented"])):
        if times:
            other[name] = ClockTime(actual=min(times))
    if "presentation" not in other and side.eta is not None and side.seen == NEVER:
        other["presentation"] = ClockTime(p10=side.eta[0], p50=side.eta[1])
    return clocks(side.spec, side.eta, side.seen if side.seen != NEVER else None, other)
