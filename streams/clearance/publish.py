"""What a step says: changed statuses to their readers, summaries to READINESS, alerts that open or resolve, restricted views apart.

**When a side is said again.** At once when anything has changed that a reader acts on: state, flags, filings and how each stands against its
deadline (open, at risk, overdue …), demands, findings, conditions, seals, evidence, actions, freshness, the run. What only rides on the ETA
(the ETA itself, deadlines counted from it, the same instants in actions and sentences) is said again when one of these instants appears or
goes, has moved by more than max(15 min, 5 % of the time left until it) (P10 and P90, which only tell how sure the ETA is: 1 h, 10 %), or when
a deadline came to lie on the other side of now: always
against what was shown last, so that small steps add up and never drift. Between two words a shown ETA may be wrong by that much, no more.
"""
from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.assess import Assessment, stamp
from streams.assess.restricted import restricted_of
from streams.assess.rows import covers
from streams.assess.say import times_of
from streams.clearance.state import OpenAlert, Severity, Shipment, Shown
from streams.fold import Emit, World
from streams.kept import digest
from streams.reference.model import Agreement, Reference
from streams.rules.case import SideCase
from topics import registry
from topics.events.internal import FreshnessChanged, MaskFacts, StatusSummary
from topics.events.outputs import Alert, BasisSaid, ClearanceUpdate
from topics.events.sites import CrossingCondition
from topics.facts import HOUR, MINUTE, Fact
from topics.identifiers import BadIdentifier, parse_side

STATUS = "clearance.status"
COVERT = registry.RESTRICTED_REVISIONS
HISTORY = "clearance.history"
READINESS = "readiness.in"
ALERTS = "ops.alerts"
STEP = 15 * MINUTE
"""One step of the ETA grid [D]."""
SHARE = 0.05
"""Of the time left [D]."""
ENDS_STEP = HOUR
ENDS_SHARE = 0.1
"""For P10 and P90, which tell how sure the ETA is [D]."""
ETAS = 3
"""P10, P50 and P90 stand before the deadlines."""
TELLS_DUE = "FILING_"
"""Findings whose sentences name a deadline."""
EXCHANGE = "exchange"
"""Kind of the agreements that say what one authority may tell another."""
WITH_STATUS = registry.WITH_STATUS


def heard(public: Sequence[msgspec.Struct], pack: str, sides: Sequence[SideCase], facts: Sequence[Fact]) -> bytes:
    """Digest of the rule pack and of those messages that concern everybody on which a public word about this shipment may rest."""
    crossings = {s.crossing for s in sides}
    sources = {f.source for s in sides for f in s.fresh} | {f"customs-{s.authority.lower()}" for s in sides}
    speakers = {f.source for f in facts} if any(isinstance(b, MaskFacts) for b in public) else set()
    mine = [b for b in public if (isinstance(b, FreshnessChanged) and b.source in sources) or (isinstance(b, CrossingCondition) and b.crossing in crossings)
            or (isinstance(b, MaskFacts) and speakers & {b.source, b.source.removeprefix("customs-").upper()})]
    return digest((pack, tuple((type(b).__name__, b) for b in mine)))


def content(update: ClearanceUpdate) -> bytes:
    """What of an update a reader acts on: everything but its revision, when it was assessed, and the instants that ride on the ETA."""
    if not (update.actions or update.filings or update.findings or update.revision or update.assessed_at):
        return digest(update if update.eta is None else msgspec.structs.replace(update, eta=None))     # nothing else to leave out
    riding = {f.due for f in update.filings} | ({update.eta[1]} if update.eta is not None else set())
    actions = [msgspec.structs.replace(a, by=None, by_border="") if a.by in riding else a for a in update.actions]
    actions.sort(key=lambda a: (a.by is None, a.by or 0, a.role, a.message, a.field, a.scope, a.rule))
    return digest(msgspec.structs.replace(
        update, revision=0, assessed_at=0, eta=None, actions=tuple(actions), filings=tuple(msgspec.structs.replace(f, due=None) for f in update.filings),
        findings=tuple(msgspec.structs.replace(f, texts={}) if f.code.startswith(TELLS_DUE) else f for f in update.findings)))


def moved(shown: Sequence[int | None], times: Sequence[int | None], now: int) -> bool:
    """Has an instant that rides on the ETA moved so far that a reader must know?"""
    if len(shown) != len(times):
        return True
    for n, (was, is_) in enumerate(zip(shown, times, strict=True)):
        if was == is_:
            continue
        if was is None or is_ is None:
            return True
        step, share = (ENDS_STEP, ENDS_SHARE) if n in (0, 2) else (STEP, SHARE)
        if abs(is_ - was) > max(step, int((is_ - now) * share)):
            return True
        if n >= ETAS and (was > now) != (is_ > now):
            return True
    return False


def statuses(
    held: Shipment, key: str, assessment: Assessment, reference: Reference, revision: int, now: int, lost: Lost | None = None
) -> tuple[dict[str, Shown], list[Emit]]:
    """Only sides whose content changed; all, when a lost step has said what nobody here knows. A side that is no longer on the route is said
    once more, CANCELLED, and forgotten: whoever hears of the route only as it is now must end with the same sides."""
    shown = dict(held.shown)
    first: list[Emit] = []
    rest: list[Emit] = []
    seen = {say.side.id for say in assessment.says}
    for side in sorted({*held.shown, *(lost.sides if lost else ())} - seen):
        shown.pop(side, None)
        first.append(Emit(STATUS, f"{key}|{side}", None, first=True, revision=revision))
        rest += readers(key, stamp(_gone(key, side, assessment, now), revision, now), assessment, reference)
    for say in assessment.says:
        fresh = say.digest(content)
        old = held.shown.get(say.side.id)
        if old is not None and lost is None and old.digest == fresh and not moved(old.times, say.times, now):
            continue
        update = say.update
        shown[update.side] = Shown(revision, fresh, update.state, say.times)
        out = stamp(update, revision, now)
        first.append(Emit(STATUS, f"{key}|{update.side}", out, first=True, revision=revision))
        rest += readers(key, out, assessment, reference)
    return shown, first + rest


def readers(key: str, update: ClearanceUpdate, assessment: Assessment, reference: Reference) -> list[Emit]:
    """History; the side's own authority; other authorities of the route as far as an exchange agreement lets them see it; and the
    railways and forwarders that this shipment concerns."""
    emits = [Emit(HISTORY, key, update)]
    rows, unions = _exchange(reference)
    agreements = [a for a in rows if _holds(a, assessment)]
    for reader, topic in sorted(_reading(update, assessment, reference)):
        seen = registry.for_reader(update, reader, agreements, unions)
        if seen is not None:
            emits.append(Emit(topic, key, seen))
    for party in update.carriers:
        row = reference.parties.get(party)
        if row is not None and row.role in WITH_STATUS:
            emits.append(Emit(registry.status_topic(party), key, update))
    return emits


_known: list[tuple[Reference, tuple[Agreement, ...], dict[str, str]]] = []


def _exchange(reference: Reference) -> tuple[tuple[Agreement, ...], dict[str, str]]:
    """(exchange rows by id, union of each authority) of the reference last asked for."""
    if not _known or _known[0][0] is not reference:
        rows = tuple(a for _, a in sorted(reference.agreements.items()) if a.kind == EXCHANGE)
        _known[:] = [(reference, rows, {code: a.union for code, a in reference.authorities.items() if a.union})]
    return _known[0][1:]


def _holds(agreement: Agreement, assessment: Assessment) -> bool:
    """Does an exchange row hold for this shipment: its corridor, its goods, its carrier's enrolment? Of a shipment that is not known: only
    a row without such limits."""
    trip = assessment.trip
    if trip is None:
        return not (agreement.routes or agreement.goods or agreement.enrolment)
    return ((not agreement.routes or trip.corridor in agreement.routes) and (not agreement.enrolment or trip.enrolled(agreement.enrolment))
            and covers(trip, agreement.goods))


def _reading(update: ClearanceUpdate, assessment: Assessment, reference: Reference) -> set[tuple[str, str]]:
    """(authority, its topic): the side's own, and each other authority's border topic, at the same crossing where it has one, else its first. A side
    inside a customs territory has none: what lies behind it counts."""
    found = {(update.authority, topic)} if (topic := authority_topic(update, reference)) else set()
    if update.kind not in ("EXIT", "ENTRY") or not topic:
        return found
    others: dict[str, str] = {}
    for other in (say.side for say in assessment.says):
        if other.kind not in ("EXIT", "ENTRY") or other.authority == update.authority:
            continue
        if (other.authority not in others or other.crossing == update.crossing) and (its := authority_topic(other, reference)):
            others[other.authority] = its
    return found | set(others.items())


def authority_topic(update: ClearanceUpdate | SideCase, reference: Reference) -> str:
    """The topic of the side's authority; empty where there is no customs border or the authority is not of this deployment."""
    if update.authority not in reference.authorities:
        return ""
    if update.kind in ("EXIT", "ENTRY"):
        crossing = reference.crossings.get(update.crossing)
        if crossing is None or not crossing.customs_border:
            return ""
    return registry.side_topic(update.kind, update.authority, update.crossing)


def _gone(key: str, side: str, assessment: Assessment, now: int) -> ClearanceUpdate:
    pack = assessment.pack
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


class Lost(msgspec.Struct, frozen=True):
    """What a step has published whose state was lost with its worker. Nobody here knows what it has said of anything else: all is said again."""

    sides: tuple[str, ...] = ()
    alerts: dict[str, OpenAlert] = {}
    """Those that it has opened."""


MARK, PARTS = "!", "\x1f"
"""`clearance.status` has, beside the sides, one record without a value for each alert that opens, before anybody hears of it: `<shipment>|!<alert>`. A step
that says something and no side has a bare one. So the revision of a step is always there, and what it has opened, though its state be lost."""


def marks(key: str, says_a_side: bool, said: Sequence[Emit], revision: int) -> list[Emit]:
    """The marks of a step that says these alerts and summaries."""
    opened = [PARTS.join((a.severity, a.side, a.key)) for a in (e.value for e in said) if isinstance(a, Alert) and a.state == "open"]
    if not opened and not says_a_side and said:
        opened = [""]
    return [Emit(STATUS, f"{key}|{MARK}{what}", None, first=True, revision=revision) for what in opened]


def lost_of(told: Sequence[str]) -> Lost:
    """What a lost step has said, from the ends of the keys under which it stands in `clearance.status`."""
    names = [name.removeprefix("|") for name in told]
    opened = [name[len(MARK):].split(PARTS, 2) for name in names if name.startswith(MARK) and PARTS in name]
    return Lost(tuple(name for name in names if not name.startswith(MARK)),
                {alert: OpenAlert(alert.partition("/")[0], msgspec.convert(severity, Severity), side) for severity, side, alert in opened})


def alerts(held: Shipment, assessment: Assessment, key: str, seq: int, now: int, lost: Lost | None = None) -> tuple[Shipment, list[Emit]]:
    """Alerts open when their finding appears and resolve when it goes. `seq`: above all before, those of a lost step included. After that all that
    should be open are opened again, and what it has opened otherwise is resolved."""
    open_, emits = dict(held.alerts) if lost is None else held.alerts | lost.alerts, list[Emit]()
    wanted = {a.key: a for a in assessment.alerts}
    for name, alert in wanted.items():
        old = open_.get(name)
        if old is not None and old.severity == alert.severity and lost is None:
            continue
        open_[name] = OpenAlert(alert.name, alert.severity, alert.side)
        emits.append(Emit(ALERTS, name, Alert(
            key=name, name=alert.name, severity=alert.severity, state="open", seq=seq, at=now, titles=alert.titles, shipment=key,
            side=alert.side, container=alert.scope, rule=alert.rule, call=alert.call, call_hours=alert.call_hours, detail=alert.detail)))
    for name in sorted(n for n in open_ if n not in wanted):
        emits.append(Emit(ALERTS, name, resolved(name, open_.pop(name), key, seq, now)))
    return msgspec.structs.replace(held, alerts=open_, alert_seq=seq if emits else held.alert_seq), emits


def resolved(name: str, old: OpenAlert, shipment: str, seq: int, now: int) -> Alert:
    return Alert(key=name, name=old.name, severity=old.severity, state="resolved", seq=seq, at=now, shipment=shipment, side=old.side)


def restricted(held: Shipment, key: str, world: World, assessment: Assessment, now: int) -> tuple[dict[str, Shown], list[Emit], int | None]:
    """Each authority's restricted view, computed apart with revisions of its own: nothing public ever depends on it.

    A revision goes to the topic that restores it before its authority hears of it, so a crash in between never gives it two contents."""
    lost = world.covert_floor > held.covert_revision        # all is said again, also that there is nothing
    said_of = [s.side.id for s in assessment.says if s.side.authority in world.reference.authorities] if lost else held.restricted
    views, due = restricted_of(assessment, world.reference, world.broadcasts, said_of, now)
    shown: dict[str, Shown] = {}
    gone = sorted(set(held.restricted) - {s.side.id for s in assessment.says}) if held.restricted else ()
    emits, floor = emptied(key, gone, assessment, world.covert_floor, now)
    for view in views:
        fresh = content(view)
        old, times = held.restricted.get(view.side), times_of(view.eta, tuple(f.due for f in view.filings))
        if old is not None and not lost and old.digest == fresh and not moved(old.times, times, now):
            shown[view.side] = old
            continue
        if old is None and not lost and not view.findings:
            continue
        floor = revision = max(max(old.revision if old else 0, floor) + 1, now)
        if view.findings:
            shown[view.side] = Shown(revision, fresh, view.state, times)       # an empty one is said once and forgotten
        said = stamp(view, revision, now)
        emits += [Emit(COVERT, key, said, first=True, revision=revision, covert=True), Emit(registry.restricted_topic(view.authority), key, said)]
    return shown, emits, due


def emptied(key: str, sides: Sequence[str], assessment: Assessment, floor: int, now: int) -> tuple[list[Emit], int]:
    """The restricted views of sides that are no longer on the route, or whose shipment is over, said once more without what was known; and the highest
    covert revision then. Nobody else would take back what their authorities were shown."""
    emits: list[Emit] = []
    for side in sides:
        update = next((say.update for say in assessment.says if say.side.id == side), None) or _gone(key, side, assessment, now)
        if update.authority:
            floor = max(floor + 1, now)
            said = stamp(msgspec.structs.replace(update, findings=(), actions=(), carriers=()), floor, now)
            emits += [Emit(COVERT, key, said, first=True, revision=floor, covert=True), Emit(registry.restricted_topic(update.authority), key, said)]
    return emits, floor
