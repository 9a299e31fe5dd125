"""Need to know between authorities: what a reader may see of a status (design section 6, invariant 7).

A border, office or territory topic carries its authority's own sides, and there what other authorities said is masked. Another
authority's side is shown only as far as a dated agreement row allows, field by field; without a row, nothing. What the carrier itself
says (presence, ETA, its own documents and seal readings) travels as the carrier's.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec

from topics.events.outputs import BasisSaid, ClearanceUpdate, ConditionSaid, Evidence, SealSaid

STATUS: Final = "status"
TIME: Final = "time"
OFFICE: Final = "office"
SEAL: Final = "seal"
INSPECTION: Final = "inspection"
EXCHANGED: Final = frozenset({STATUS, TIME, OFFICE, SEAL, INSPECTION})
"""Fields that an agreement's scope can let through; other words in a scope (control types) let nothing through."""
MASKED: Final = "unknown"

_AUTHORITY = re.compile(r"[A-Z]{2}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AgreementLike(Protocol):
    """What disclosure needs of an agreement row."""

    @property
    def parties(self) -> tuple[str, ...]: ...
    @property
    def directional(self) -> bool: ...
    @property
    def scope(self) -> tuple[str, ...]: ...
    @property
    def in_force(self) -> str: ...
    @property
    def suspended(self) -> bool: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def crossings(self) -> tuple[str, ...]: ...
    @property
    def valid_from(self) -> str: ...
    @property
    def valid_to(self) -> str: ...


def authority_of(source: str) -> str:
    """Authority that speaks as this source: its code, or `customs-xx` and `risk-xx`; "" for everybody else."""
    if _AUTHORITY.fullmatch(source):
        return source
    role, _, code = source.partition("-")
    return code.upper() if role in ("customs", "risk") and len(code) == 2 else ""


def allowed(
    giver: str, reader: str, agreements: Iterable[AgreementLike], day: str, crossing: str = "", unions: Mapping[str, str] | None = None
) -> frozenset[str]:
    """Fields that `giver` may show `reader` on this ISO day, by the rows in force between exactly these two (or their unions)."""
    if giver == reader:
        return EXCHANGED
    union = unions or {}
    givers, readers = {giver, union.get(giver) or giver}, {reader, union.get(reader) or reader}
    fields: set[str] = set()
    for row in agreements:
        if not (row.enabled and row.in_force and row.in_force <= day and not row.suspended):
            continue
        if (row.valid_from and day < row.valid_from) or (row.valid_to and day >= row.valid_to) or (row.crossings and crossing not in row.crossings):
            continue
        if row.directional:
            between = len(row.parties) >= 2 and row.parties[0] in givers and any(party in readers for party in row.parties[1:])
        else:
            between = any(a in givers and b in readers for a in row.parties for b in row.parties if a != b)
        if between:
            fields |= EXCHANGED.intersection(row.scope)
    return frozenset(fields)


def for_reader(
    update: ClearanceUpdate, reader: str, agreements: Iterable[AgreementLike], unions: Mapping[str, str] | None = None
) -> ClearanceUpdate | None:
    """What the authority `reader` may see of this update; None = nothing. `unions` maps an authority to its union."""
    day = (_EPOCH + timedelta(microseconds=update.assessed_at)).date().isoformat()
    rows = tuple(agreements)
    may: dict[str, frozenset[str]] = {}

    def shown(giver: str) -> frozenset[str]:
        if giver not in may:
            may[giver] = allowed(giver, reader, rows, day, update.crossing, unions)
        return may[giver]

    if update.authority == reader:
        return _own(update, reader, shown)
    fields = shown(update.authority)
    return _other(update, fields) if STATUS in fields else None


class _Shown(Protocol):
    def __call__(self, giver: str) -> frozenset[str]: ...


def _field_of(evidence: Evidence) -> str:
    """Which field of an agreement covers a piece of evidence: seal facts, inspection results, or the status itself."""
    kind = evidence.key[0] if evidence.key else ""
    if kind == "seal":
        return SEAL
    return INSPECTION if kind == "condition" or evidence.key[:2] == ("demand", "control") else STATUS


def _may_see(evidence: Evidence, shown: _Shown) -> bool:
    giver = authority_of(evidence.source)
    return not giver or _field_of(evidence) in shown(giver)


def _foreign(text: str, reader: str) -> bool:
    """Whether a side id, authority code or authority's party id is another authority's."""
    parts = text.split(":")
    code = parts[0] if len(parts) == 2 else parts[1] if len(parts) == 3 else authority_of(text)
    return bool(_AUTHORITY.fullmatch(code)) and code != reader


def _own(update: ClearanceUpdate, reader: str, shown: _Shown) -> ClearanceUpdate:
    """The reader's own side without what other authorities told railclear."""
    evidence = tuple(e for e in update.evidence if _may_see(e, shown))
    seals = tuple(_seal(s, shown) for s in update.seals)
    hidden = {e.id for e in update.evidence if not _may_see(e, shown)} | {e.id for s in update.seals for e in s.readings if not _may_see(e, shown)}
    return msgspec.structs.replace(
        update, evidence=evidence, seals=seals,
        conditions=tuple(_condition(c, hidden) for c in update.conditions),
        findings=tuple(f for f in update.findings if not hidden.intersection(f.evidence) and not _foreign(f.side, reader)),
        actions=tuple(a for a in update.actions if not _foreign(a.side, reader)),
        blocked_by=tuple(b for b in update.blocked_by if not _foreign(b, reader)),
        freshness=tuple(f for f in update.freshness if not _foreign(f.source, reader) or STATUS in shown(authority_of(f.source))),
        carriers=())


def _seal(seal: SealSaid, shown: _Shown) -> SealSaid:
    readings = tuple(e for e in seal.readings if _may_see(e, shown))
    if len(readings) == len(seal.readings):
        return seal
    return msgspec.structs.replace(seal, readings=readings, verdict=MASKED)


def _condition(condition: ConditionSaid, hidden: set[str]) -> ConditionSaid:
    """A condition that rests on what the reader may not see is unknown to him."""
    if not hidden.intersection(condition.evidence):
        return condition
    kept = tuple(e for e in condition.evidence if e not in hidden)
    return msgspec.structs.replace(condition, verdict="unknown", evidence=kept, detail="", detail_args={})


def _other(update: ClearanceUpdate, fields: frozenset[str]) -> ClearanceUpdate:
    """Another authority's side: a new struct with the agreed fields only, so that a field added later is hidden until somebody lets it through."""
    inspections = tuple(e for e in update.evidence if _field_of(e) == INSPECTION and authority_of(e.source) == update.authority)
    return ClearanceUpdate(
        shipment=update.shipment, side=update.side, visit=update.visit, revision=update.revision, state=update.state,
        basis=BasisSaid(kind=update.basis.kind), counts=update.counts, movable=update.movable, present=update.present, eta=update.eta, run=update.run,
        document=update.document, order=update.order, authority=update.authority, kind=update.kind, crossing=update.crossing,
        direction=update.direction, assessed_at=update.assessed_at, pack=update.pack,
        since=update.since if TIME in fields else None,
        office=update.office if OFFICE in fields else "",
        seals=tuple(_of_giver(s, update.authority) for s in update.seals) if SEAL in fields else (),
        evidence=inspections if INSPECTION in fields else ())


def _of_giver(seal: SealSaid, giver: str) -> SealSaid:
    readings = tuple(e for e in seal.readings if authority_of(e.source) in ("", giver))
    return seal if len(readings) == len(seal.readings) else msgspec.structs.replace(seal, readings=readings, verdict=MASKED)
