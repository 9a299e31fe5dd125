"""A side's status as it is published. Nothing in it depends on the clock alone except through `next_due`; `stamp` adds the rest."""
from __future__ import annotations

from collections.abc import Iterable

import msgspec

from streams.assess.actions import actions_of
from streams.assess.findings import Raised
from streams.assess.scopes import INNER
from streams.reference.model import Reference
from streams.rules.case import Case, FilingCase, SideCase, Trip
from streams.rules.trn import open_transits
from streams.status import Basis, Evidence, Seal, SideStatus, State
from streams.status.states import evidence_of as of_fact
from topics.events.outputs import (
    BasisSaid,
    ClearanceUpdate,
    FilingSaid,
    NextAction,
    ScopeSaid,
    SealSaid,
)
from topics.events.outputs import Evidence as Said
from topics.facts import HOUR, MINUTE, NEVER

SCOPES_MAX = 200
EVIDENCE_MAX = 64
READINGS_MAX = 40


def update_of(trip: Trip, side: SideCase, raised: Raised, reference: Reference, pack: str, flags: Iterable[str]) -> ClearanceUpdate:
    """The status of one side, revision 0, not yet stamped with a time. `side.status` must be set."""
    status = side.status
    assert status is not None
    if status is INNER:
        return _inner(trip, side, pack)
    filings = tuple(_filing(f) for f in side.filings)
    return ClearanceUpdate(
        shipment=trip.id, side=side.id, visit=_visit(status), revision=0, state=status.state.value, basis=basis_of(status),
        flags=tuple(sorted(flags)), counts={s.value: n for s, n in sorted(status.counts.items())},
        scopes=tuple(ScopeSaid(scope=name, state=s.state.value, basis=s.basis.value, flags=tuple(sorted(s.flags)), movable=s.movable)
                     for name, s in list(status.scopes.items())[:SCOPES_MAX]),
        scopes_more=max(0, len(status.scopes) - SCOPES_MAX), since=status.since if status.since != NEVER else None,
        movable=status.movable and not blocked_by_territory(trip, side), ready=status.ready, blocked_by=blocked_of(trip, side, status),
        present=status.present and status.state is not State.DEPARTED,
        missing_filings=tuple(f.kind for f in side.filings if not f.registered and not f.waived and f.row.before_arrival),
        missing_release=status.missing, filings=filings, conditions=raised.conditions_said(side), findings=raised.said(side),
        not_checked=status.not_checked, seals=seals_of(status),
        evidence=evidence_of(trip, status, raised, side), actions=actions_of(trip, side, raised, reference),
        freshness=side.fresh, eta=side.eta if side.seen == NEVER else None, run=side.run, document=document_of(trip),
        order=side.order, authority=side.authority, kind=side.kind, crossing=side.crossing, office=side.office, direction=side.direction,
        pack=pack, carriers=trip.parties)


def _inner(trip: Trip, side: SideCase, pack: str) -> ClearanceUpdate:
    """A border inside a customs territory of which nothing is said."""
    return ClearanceUpdate(
        shipment=trip.id, side=side.id, revision=0, state="NOT_REQUIRED", basis=BasisSaid(kind="INFERRED"), movable=not blocked_by_territory(trip, side),
        blocked_by=blocked_of(trip, side, INNER), counts={"NOT_REQUIRED": 1}, run=side.run, document=document_of(trip), order=side.order,
        authority=side.authority, kind=side.kind, crossing=side.crossing, direction=side.direction, eta=side.eta if side.seen == NEVER else None,
        pack=pack, carriers=trip.parties)


def stamp(update: ClearanceUpdate, revision: int, now: int) -> ClearanceUpdate:
    """The update as it goes out: revision, and what only the clock moves (margin, hours left, age of sources)."""
    return msgspec.structs.replace(
        update, revision=revision, assessed_at=now, margin_minutes=margin_minutes(update, now),
        actions=tuple(_with_hours(a, now) for a in update.actions),
        freshness=tuple(msgspec.structs.replace(f, age_minutes=max(0, (now - f.last_event) // MINUTE)) if f.last_event and not f.live else f
                        for f in update.freshness))


def _with_hours(action: NextAction, now: int) -> NextAction:
    return msgspec.structs.replace(action, hours_left=round((action.by - now) / HOUR, 1)) if action.by is not None else action


def _visit(status: SideStatus) -> int:
    numbers = [int(s.visit) for s in status.scopes.values() if s.visit.isdecimal()]
    return max(numbers, default=1)


def basis_of(status: SideStatus) -> BasisSaid:
    """Whose word the state rests on: of a release the one that decides on the goods, else the newest of the evidence behind it."""
    said = max(_deciding(status) or status.evidence, key=lambda e: (e.at, e.id, e.what), default=None)
    if status.basis.value == "INFERRED" or said is None:
        return BasisSaid(kind=status.basis.value, at=status.since if status.since != NEVER else None)
    return BasisSaid(kind=status.basis.value, source=said.source, code=said.code, number=said.number or _number(said), at=said.at, evidence=said.id)


def _deciding(status: SideStatus) -> list[Evidence]:
    """What decided, where the authority itself released: that a neighbour ends a transit later releases nothing (status-model section 6)."""
    if status.state is not State.RELEASED or status.basis is not Basis.AUTHORITY:
        return []
    every = {id(s): s for s in status.scopes.values() if s.state is State.RELEASED}.values()
    return [e for s in every for g in s.groups if g.decides for e in g.evidence]


def _number(said: Evidence) -> str:
    parts = said.what.split("/")
    return parts[2] if parts[0] == "doc" and len(parts) > 2 else ""


def flags_of(trip: Trip, side: SideCase, status: SideStatus, raised: Raised) -> set[str]:
    """Flags of the ladder, of the rules and of the feeds."""
    flags = (set(status.flags) - {"facts_limit"}) | raised.flags.get(side.id, set())     # whether any was refused, the fold knows
    if "transit_open" in flags and not open_transits(Case(trip, side)):
        flags.discard("transit_open")                   # another authority of the route has ended it
    if not side.mapped:
        flags.add("UNMAPPED_OFFICE")
    if side.stale:
        flags.add("STALE")
    elif side.required and side.fresh and not side.fresh[0].known and status.state not in (State.NOT_REQUIRED,):
        flags.add("UNKNOWN")
    flags.update(f.key[1] for f in side.facts if f.key[0] == "flag" and len(f.key) > 1)
    return flags


def blocked_by_territory(trip: Trip, side: SideCase) -> bool:
    """An open demand of a TERRITORY that the goods have entered or will: nothing after it moves."""
    return any(t.kind == "TERRITORY" and t.status is not None and not t.status.movable and t.order <= side.order for t in trip.sides if t is not side)


def blocked_of(trip: Trip, side: SideCase, status: SideStatus) -> tuple[str, ...]:
    """Who keeps the goods from moving besides the side's own authority."""
    found = [f"{b.agency}:{b.reference}" if b.reference else b.agency for b in status.blocked_by]
    found += [t.id for t in trip.sides
              if t.kind == "TERRITORY" and t is not side and t.order <= side.order and t.status is not None and not t.status.movable]
    return tuple(dict.fromkeys(found))


def _filing(f: FilingCase) -> FilingSaid:
    return FilingSaid(
        kind=f.kind, state=f.state.name, numbers=tuple(d.official or d.number for d in f.documents), filer=f.filer, due=f.due,
        due_first_known=f.due_first_known, timing=f.timing, registered_at=f.registered_at, before_arrival=f.row.before_arrival, waived=f.waived,
        required=not f.waived, valid_until=max((d.valid_until for d in f.documents if d.valid_until is not None), default=None))


def margin_minutes(update: ClearanceUpdate, now: int) -> int | None:
    """Minutes until the first open deadline; negative = it is over."""
    due = [f.due for f in update.filings if f.due is not None and f.registered_at is None and not f.waived]
    return (min(due) - now) // MINUTE if due and update.state not in ("DEPARTED", "CANCELLED", "NOT_REQUIRED", "RELEASED") else None


def seals_of(status: SideStatus) -> tuple[SealSaid, ...]:
    """Every chain of every container with its readings; chains without any reading only where the side looks at them."""
    found = []
    for scope, s in status.scopes.items():
        for seal in s.seals:
            readings = tuple(
                Said(id=r.evidence.id if r.evidence else "", source=r.source, at=r.at, code=r.evidence.code if r.evidence else "",
                     key=("seal", seal.chain, r.what), number=r.seal, value=r.place)
                for r in seal.readings[-READINGS_MAX:])
            if readings or seal.verdict is not Seal.NO_READING:
                found.append(SealSaid(chain=seal.chain, container=scope, verdict=seal.verdict.value, readings=readings))
    return tuple(found)


def evidence_of(trip: Trip, status: SideStatus, raised: Raised, side: SideCase) -> tuple[Said, ...]:
    """Everything that the status, its conditions and its findings rest on, each event's word once: what stands behind the state first."""
    said = [evidence_said(e) for e in status.evidence[:EVIDENCE_MAX] if e.at != NEVER]      # what the network itself says is no message
    have = {e.id for e in said}
    if status.state is State.DEPARTED:                  # under which release it left
        freed = {e.id: e for s in status.scopes.values() for g in s.groups if g.decides for e in g.evidence if e.id not in have}
        said += [evidence_said(e) for e in list(freed.values())[: EVIDENCE_MAX - len(said)]]
        have |= set(freed)
    named = [i for _, f in (*raised.conditions.get(side.id, ()), *raised.findings.get(side.id, ())) for i in f.evidence]
    for name in dict.fromkeys(named):
        if name not in have and len(said) < EVIDENCE_MAX:
            fact = trip.by_id.get(name)
            if fact is not None:
                said.append(evidence_said(of_fact(fact)))
    return tuple(said)


def evidence_said(e: Evidence) -> Said:
    return Said(id=e.id, source=e.source, at=e.at, code=e.code, key=tuple(e.what.split("/")), number=e.number)


def document_of(trip: Trip) -> str:
    """The transport document that the shipment was declared under, as `kind number`."""
    document = trip.declared.get("document") or {}
    return f"{document.get('kind', '')} {document.get('number', '')}".strip() if isinstance(document, dict) else ""


