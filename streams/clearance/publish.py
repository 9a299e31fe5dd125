"""What a step says: changed statuses to their readers, summaries to READINESS, alerts that open or resolve, restricted views apart."""
from __future__ import annotations

import hashlib

import msgspec

from streams.assess import Assessment, stamp
from streams.assess.restricted import restricted_of
from streams.clearance.state import OpenAlert, Shipment, Shown
from streams.fold import Emit, World
from streams.reference.model import Reference
from topics import registry
from topics.events.internal import StatusSummary
from topics.events.outputs import Alert, BasisSaid, ClearanceUpdate
from topics.identifiers import BadIdentifier, parse_side

STATUS = "clearance.status"
HISTORY = "clearance.history"
READINESS = "readiness.in"
ALERTS = "ops.alerts"
EXCHANGE = "exchange"
"""Kind of the agreements that say what one authority may tell another."""
WITH_STATUS = registry.WITH_STATUS

_encoder = msgspec.msgpack.Encoder(order="deterministic")


def digest(value: object) -> bytes:
    """Eight bytes that stand for a content."""
    return hashlib.blake2b(_encoder.encode(value), digest_size=8).digest()


def content(update: ClearanceUpdate) -> bytes:
    """What makes an update worth publishing: everything but its revision and when it was assessed."""
    return digest(msgspec.structs.replace(update, revision=0, assessed_at=0))


def statuses(
    held: Shipment, key: str, assessment: Assessment, reference: Reference, revision: int, now: int
) -> tuple[dict[str, Shown], list[Emit]]:
    """Only sides whose content changed. A side that is no longer on the route is said once more, CANCELLED, and forgotten: whoever hears
    of the route only as it is now must end with the same sides."""
    shown = dict(held.shown)
    first: list[Emit] = []
    rest: list[Emit] = []
    seen = {u.side for u in assessment.updates}
    for side in [s for s in held.shown if s not in seen]:
        del shown[side]
        first.append(Emit(STATUS, f"{key}|{side}", None, first=True, revision=revision))
        rest += readers(key, stamp(_gone(key, side, assessment, now), revision, now), assessment, reference)
    for update in assessment.updates:
        fresh = content(update)
        old = held.shown.get(update.side)
        if old is not None and old.digest == fresh:
            continue
        shown[update.side] = Shown(revision, fresh, update.state)
        out = stamp(update, revision, now)
        first.append(Emit(STATUS, f"{key}|{update.side}", out, first=True, revision=revision))
        rest += readers(key, out, assessment, reference)
    return shown, first + rest


def readers(key: str, update: ClearanceUpdate, assessment: Assessment, reference: Reference) -> list[Emit]:
    """History; the side's own authority; other authorities of the route as far as an exchange agreement lets them see it; and the
    railways and forwarders that this shipment concerns."""
    emits = [Emit(HISTORY, key, update)]
    agreements = [a for _, a in sorted(reference.agreements.items()) if a.kind == EXCHANGE]
    unions = {code: a.union for code, a in reference.authorities.items() if a.union}
    for reader, topic in sorted(_reading(update, assessment, reference)):
        seen = registry.for_reader(update, reader, agreements, unions)
        if seen is not None:
            emits.append(Emit(topic, key, seen))
    for party in update.carriers:
        row = reference.parties.get(party)
        if row is not None and row.role in WITH_STATUS:
            emits.append(Emit(registry.status_topic(party), key, update))
    return emits


def _reading(update: ClearanceUpdate, assessment: Assessment, reference: Reference) -> set[tuple[str, str]]:
    """(authority, its topic): the side's own, and each other authority's border topic, at the same crossing where it has one, else its first."""
    found = {(update.authority, topic)} if (topic := authority_topic(update, reference)) else set()
    if update.kind not in ("EXIT", "ENTRY") or not topic:
        return found
    others: dict[str, ClearanceUpdate] = {}
    for other in assessment.updates:
        if other.authority != update.authority and (other.authority not in others or other.crossing == update.crossing):
            others[other.authority] = other
    return found | {(a, t) for a, other in others.items() if other.kind in ("EXIT", "ENTRY") and (t := authority_topic(other, reference))}


def authority_topic(update: ClearanceUpdate, reference: Reference) -> str:
    """The topic of the side's authority; empty where there is no customs border or the authority is not of this deployment."""
    if update.authority not in reference.authorities:
        return ""
    if update.kind in ("EXIT", "ENTRY"):
        crossing = reference.crossings.get(update.crossing)
        if crossing is None or not crossing.customs_border:
            return ""
    return registry.side_topic(update.kind, update.authority, update.crossing)


def _gone(key: str, side: str, assessment: Assessment, now: int) -> ClearanceUpdate:
    pack = assessment.updates[0].pack if assessment.updates else ""
    carriers = assessment.trip.parties if assessment.trip is not None else ()
    try:
        parsed = parse_side(side)
    except BadIdentifier:
        return ClearanceUpdate(shipment=key, side=side, revision=0, state="CANCELLED", basis=BasisSaid(kind="INFERRED"), flags=("off_route",),
                               assessed_at=now, pack=pack)
    return ClearanceUpdate(
        shipment=key, side=side, revision=0, state="CANCELLED", basis=BasisSaid(kind="INFERRED"), flags=("off_route",), assessed_at=now, pack=pack,
        authority=parsed.authority, kind=parsed.kind, crossing=parsed.crossing, office=parsed.office, carriers=carriers)


def summaries(held: Shipment, key: str, assessment: Assessment, revision: int) -> tuple[dict[str, bytes], list[Emit]]:
    """Where the sides ahead stand for each box, to every train run that carries one, when that changed: one message per boxes that stand alike."""
    sent: dict[str, bytes] = {}
    emits = []
    for run, groups in assessment.summaries.items():
        fresh = digest(groups)
        sent[run] = fresh
        if held.summaries.get(run) != fresh:
            emits += [Emit(READINESS, run, StatusSummary(run=run, shipment=key, containers=boxes, revision=revision, sides=sides))
                      for boxes, sides in groups]
    return sent, emits


def alerts(held: Shipment, assessment: Assessment, key: str, now: int) -> tuple[Shipment, list[Emit]]:
    """Alerts open when their finding appears and resolve when it goes; `seq` never falls."""
    seq, open_, emits = held.alert_seq, dict(held.alerts), []
    wanted = {a.key: a for a in assessment.alerts}
    for name, alert in wanted.items():
        old = open_.get(name)
        if old is not None and old.severity == alert.severity:
            continue
        seq = max(seq + 1, now)
        open_[name] = OpenAlert(alert.name, alert.severity, alert.side)
        emits.append(Emit(ALERTS, name, Alert(
            key=name, name=alert.name, severity=alert.severity, state="open", seq=seq, at=now, titles=alert.titles, shipment=key,
            side=alert.side, container=alert.scope, rule=alert.rule, call=alert.call, call_hours=alert.call_hours, detail=alert.detail)))
    for name in [n for n in open_ if n not in wanted]:
        old = open_.pop(name)
        seq = max(seq + 1, now)
        emits.append(Emit(ALERTS, name, resolved(name, old, key, seq, now)))
    return msgspec.structs.replace(held, alerts=open_, alert_seq=seq), emits


def resolved(name: str, old: OpenAlert, shipment: str, seq: int, now: int) -> Alert:
    return Alert(key=name, name=old.name, severity=old.severity, state="resolved", seq=seq, at=now, shipment=shipment, side=old.side)


def restricted(held: Shipment, key: str, world: World, assessment: Assessment, now: int) -> tuple[dict[str, Shown], list[Emit], int | None]:
    """Each authority's restricted view, computed apart with revisions of its own: nothing public ever depends on it."""
    views, due = restricted_of(assessment, world.reference, world.broadcasts, held.restricted, now)
    shown: dict[str, Shown] = {}
    emits = []
    for view in views:
        fresh = content(view)
        old = held.restricted.get(view.side)
        if old is not None and old.digest == fresh:
            shown[view.side] = old
            continue
        if old is None and not view.findings:
            continue
        revision = max((old.revision if old else 0) + 1, now)
        if view.findings:
            shown[view.side] = Shown(revision, fresh, view.state)      # an empty one is said once and forgotten
        emits.append(Emit(registry.restricted_topic(view.authority), key, stamp(view, revision, now)))
    return shown, emits, due
