"""Required filings of a side with their deadlines: open, at risk, overdue, late, in time (domain section 3, deadline engine).

`due_at = clock reference - lead`. Before arrival a filing is *at risk* against the ETA; *late* is judged only against the actual
arrival and the authority's own registration time.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping

from streams.assess.rows import is_empty, waived
from streams.network.deadlines import ClockTime, Deadline, clocks, deadline, timing, timing_changes
from streams.reference.model import FilingRow, Reference, SideRow
from streams.rules.case import FilingCase, SideCase, Trip
from streams.status import DocState, Document, ScopeStatus
from topics.facts import NEVER, WHOLE

REVIEWED = frozenset({"registered", "assessed", "released"})
WORST = ("late", "overdue", "at_risk", "open", "", "in_time")
"""Timings; of scopes whose filings stand alike the first of these speaks."""
FAR = 1 << 62


def filings_of(trip: Trip, side: SideCase, reference: Reference, first_known: Mapping[str, int], now: int) -> tuple[FilingCase, ...]:
    """Every filing that the rows of this side's scopes ask for; the worst scope speaks for each."""
    if side.status is None or not side.required:
        return ()
    found: dict[str, FilingCase] = {}
    said = _said(side)
    apart = said.keys() | {f.scope for f in side.facts if f.key[0] == "loading_start"}
    looked: set[tuple[object, ...]] = set()
    for scope, row in side.rows.items():
        status = side.scope(scope)
        if row is None or status is None or (status.state.value in ("NOT_REQUIRED", "CANCELLED") and "file_again" not in status.flags):
            continue
        if (alike := _alike(trip, side, scope, row, status, apart)) is not None:
            if alike in looked:
                continue
            looked.add(alike)
        clock = _clocks(side, scope, status.visit, said)
        for asked in row.filings:
            case = _filing(trip, side, scope, asked, status, reference, first_known, clock, now)
            held = found.get(asked.kind)
            if held is None or _worse(case, held):
                found[asked.kind] = case
    return tuple(found.values())


def _alike(trip: Trip, side: SideCase, scope: str, row: SideRow, status: ScopeStatus, apart: Collection[str]) -> tuple[object, ...] | None:
    """Scopes with an equal one have the same filings, so that only the first can speak for them. None: this scope has times of its own (`apart`)."""
    box = scope.split("/", 1)[0]
    if scope in apart and scope != box:
        return None
    return (id(row), id(status), id(side.passages.get(scope)), side.procedures.get(scope, ""), box if box in apart else "", is_empty(trip, scope))


def _worse(case: FilingCase, held: FilingCase) -> bool:
    return _standing(case) < _standing(held)


def _standing(case: FilingCase) -> tuple[bool, int, int, int]:
    return bool(case.waived), case.state, WORST.index(case.timing), case.due if case.due is not None else FAR


def _filing(
    trip: Trip, side: SideCase, scope: str, row: FilingRow, status: ScopeStatus, reference: Reference, first_known: Mapping[str, int],
    clock: Mapping[str, ClockTime], now: int
) -> FilingCase:
    documents = tuple(d for d in status.documents if d.kind == row.kind and d.counts)
    state = _state(documents)
    registered = min((registered_at(d) for d in documents if d.alive), default=NEVER)      # each number alone: another one makes none late
    due = _sooner(side, scope, row, deadline(row, clock, reference.crossings.get(side.crossing)))
    known, margin = registered if registered != NEVER else None, reference.limits.at_risk_margin_minutes
    how = timing(due, now, known, margin) if due is not None else "" if known is not None else "open"
    why_not = waived(trip, row, scope, side.procedures.get(scope, ""))
    return FilingCase(
        kind=row.kind, row=row, state=state, documents=documents, filer=_filer(trip, row.kind, side, scope), due=due.due_at if due else None,
        due_first_known=first_known.get(f"{side.id}|{row.kind}", due.due_at if due else None), timing="" if why_not else how, registered_at=known,
        waived=why_not, arrived=_arrived(side, scope), due_next=None if why_not else timing_changes(due, now, known, margin))


def _sooner(side: SideCase, scope: str, row: FilingRow, due: Deadline | None) -> Deadline | None:
    """What has to be there before another filing (the main data of a manifest before the goods are declared) is due with that at the latest."""
    if not row.before:
        return due
    names = (WHOLE, scope.split("/", 1)[0], scope)
    other = min((f.at for f in side.facts if f.key[:2] == ("doc", row.before) and f.key[3] == "registered" and f.scope in names),
                default=NEVER)
    if other == NEVER or (due is not None and due.final and due.due_at <= other):
        return due
    return Deadline(kind=row.kind, due_at=other, earliest=other, final=True, lead_minutes=0, clock_ref=f"registered:{row.before}", legal=row.basis == "legal")


def registered_at(document: Document) -> int:
    """When the authority registered it: an amendment registered later makes no filing late."""
    return document.registered_by.at if document.registered_by is not None else document.registered_at


def _arrived(side: SideCase, scope: str) -> bool:
    here = side.at(scope)
    return here.seen != NEVER or here.departed != NEVER


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


def _said(side: SideCase) -> dict[str, list[tuple[str, str, int]]]:
    """Scope -> (clock, visit, instant) of what was said there."""
    found: dict[str, list[tuple[str, str, int]]] = {}
    for f in side.facts:
        names: tuple[str, ...] = ()
        visit = ""
        if f.key[0] == "presented":
            names, visit = ("presentation",), f.key[1]
        elif f.key[0] in ("loading_start", "unloading") and not isinstance(f.value, list):
            names = (f.key[0],)
        elif f.key[:2] == ("doc", "conveyance"):
            reviewed = f.key[3] in REVIEWED and f.source == side.authority
            names = (*(("train_decl_review",) if reviewed else ()), *(("conveyance_declared",) if f.key[3] in ("sent", "registered") else ()))
        for name in names:
            found.setdefault(f.scope, []).append((name, visit, f.at))
    return found


def _clocks(side: SideCase, scope: str, visit: str, said: Mapping[str, list[tuple[str, str, int]]]) -> dict[str, ClockTime]:
    """Clock times of a scope at this side: what has happened to it, else its ETA."""
    other: dict[str, ClockTime] = {}
    first: dict[str, int] = {}
    for name in dict.fromkeys((WHOLE, scope.split("/", 1)[0], scope)):
        for clock, of_visit, at in said.get(name, ()):
            if of_visit in ("", visit):
                first[clock] = min(first.get(clock, at), at)
    for clock, at in first.items():
        other[clock] = ClockTime(actual=at)
    here = side.at(scope)
    if here.departed != NEVER:
        other["departure"] = ClockTime(actual=here.departed)
    if "loading_start" not in other and (expected := _loading(side, scope)) is not None:
        other["loading_start"] = expected
    if "presentation" not in other and here.eta is not None and here.seen == NEVER:
        other["presentation"] = ClockTime(p10=here.eta[0], p50=here.eta[1])
    if "conveyance_declared" not in other and (declared := _declared(side, scope, here.seen, other.get("presentation"))) is not None:
        other["conveyance_declared"] = declared
    return clocks(side.spec, here.eta, here.seen if here.seen != NEVER else None, other)


def _loading(side: SideCase, scope: str) -> ClockTime | None:
    """When loading is expected to begin, as the train's announcement has it."""
    names = (WHOLE, scope.split("/", 1)[0], scope)
    said = [f.value for f in side.facts if f.key[0] == "loading_start" and isinstance(f.value, list) and f.scope in names]
    times = [(p10, p50) for p10, p50 in said if isinstance(p10, int) and isinstance(p50, int)]
    return ClockTime(p10=min(times)[0], p50=min(times)[1]) if times else None


def _declared(side: SideCase, scope: str, seen: int, presented: ClockTime | None) -> ClockTime | None:
    """When the transport was declared to customs where nobody tells so of the train itself: its presentation, else the registration of the
    manifest under which it has come, not before it was there [D]. Before both, when it is expected."""
    if seen == NEVER or (presented is not None and presented.actual is not None):
        return presented
    names = (WHOLE, scope.split("/", 1)[0], scope)
    manifest = min((f.at for f in side.facts if f.key[:2] == ("doc", "manifest") and f.key[3] == "registered" and f.scope in names), default=NEVER)
    if manifest != NEVER:
        return ClockTime(actual=max(manifest, seen))
    return presented
