"""Intake as one pure function of a batch: every record ends accepted, refused with a name, or repeating, and nothing stops at a bad one."""
from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from streams.effects import Record
from streams.fold import Emit, Fate, Outcome
from streams.intake import checks
from streams.intake.content import Numbers, with_numbers
from streams.intake.reading import FORMAT_HEADER, Read, Settings, message_id, read
from streams.intake.routing import route
from streams.intake.swift import Swift
from streams.reference.model import Reference
from topics.codec import VALUE_SHOWN_MAX, Refusal, Refused
from topics.events.base import Event
from topics.events.customs import CustomsNotice
from topics.events.internal import SourceHeard
from topics.events.operations import FeedPaused, FeedRetracted, OperatorAct
from topics.events.outputs import DeadLetter, RefusalNotice
from topics.events.rail import HandOverSheet, PositionReported
from topics.events.sites import AgencyNotice, CrossingCondition
from topics.events.trade import FilingLodged, RequestAnswered
from topics.positions import position_fault
from topics.registry import PartySpec, Registry, TopicSpec, dead_letters_topic, fold_topic, refusals_topic

STAGE: Final = "intake"
STATIONS: Final = "station.digitraffic"
"""List of the reference that maps Digitraffic station codes to places."""
STRICT_ROLES: Final = frozenset({"railway", "terminal", "seals", "trade"})
"""Whose own JSON must have right container numbers; an authority's or agency's cannot be mended by us, so it is flagged."""
COVERT_ROLES: Final = frozenset({"risk"})
"""Not even that they have spoken is known outside (design section 5): no freshness, dead letters in a topic of their own."""
OPERATIONS: Final = "operations"
"""Role of railclear's own operators: they are no source whose silence means anything."""
UNMAPPED_CROSSING: Final = "UNMAPPED_CROSSING"
UNMAPPED_AUTHORITY: Final = "UNMAPPED_AUTHORITY"


class IntakeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch, record by record."""

    outputs: tuple[tuple[Emit, ...], ...]
    """Records for the folds, per input record; empty for a heartbeat or a refused one."""
    outcomes: tuple[Outcome, ...] = ()
    """Records that were not simply accepted, by index, at most one each."""
    refusals: tuple[RefusalNotice, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    heard: tuple[SourceHeard, ...] = ()
    """At most one per batch: the source has spoken."""
    flags: dict[str, int] = {}
    """How often each quality flag was set."""
    emits: tuple[Emit, ...] = ()
    """All of the above that is to be published, addressed, in order."""


class _Judged(msgspec.Struct, frozen=True):
    events: tuple[Event, ...] = ()
    emits: tuple[Emit, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    repeats: tuple[Refusal, ...] = ()


class Intake:
    """Made once per reference version; `batch` is pure."""

    def __init__(self, reference: Reference, registry: Registry) -> None:
        self._reference, self._registry = reference, registry
        self._swift: dict[str, Swift | None] = {}
        self._near = checks.Near(iter(reference.places.values()))
        self._ahead_minutes = reference.limits.position_max_ahead_minutes
        self._zones: dict[str, tzinfo] = {a.code: ZoneInfo(a.zone) for a in reference.authorities.values() if a.naive_times and a.zone}
        self._zones |= {p.id: ZoneInfo(p.zone) for p in reference.parties.values() if p.zone}
        self._stations = {code: row.means for (name, code), row in reference.mapped.items() if name == STATIONS}

    def batch(self, topic: str, records: Sequence[Record], received: Sequence[int] | None = None) -> IntakeResult:
        """Judge the records of one inbound topic.

        `received` holds microseconds UTC per record; without it the broker's append times count. Every record gets its outcome; a
        record's bad parts are refused by name and its good parts applied. Raises KeyError when the topic is no inbound topic (a bug).
        """
        spec = self._registry.topics[topic]
        party = self._registry.parties[spec.party]
        settings = self._settings(party)
        times = received if received is not None else [record.timestamp * 1000 for record in records]
        if topic not in self._swift:
            self._swift[topic] = Swift.of(spec, party, self._near, self._ahead_minutes)
        swift = self._swift[topic]
        judged: list[_Judged] = []
        for record, at in zip(records, times, strict=True):
            if swift is not None and (position := swift.judge(record, at)) is not None:
                judged.append(_Judged(position[:1], position[1:]))
            else:
                judged.append(self._judge(record, spec, party, settings, at))
        return _result(party, records, times, judged)

    def _settings(self, party: PartySpec) -> Settings:
        zone = self._zones.get(party.id) or (self._zones.get(party.country) if party.role == "customs" else None)
        return Settings(zone=zone, zones=self._zones, stations=self._stations)

    def _judge(self, record: Record, spec: TopicSpec, party: PartySpec, settings: Settings, at: int) -> _Judged:
        try:
            if record.value is None:
                raise Refused("NO_VALUE", "$", "", "a tombstone says nothing here")
            hint = dict(record.headers).get(FORMAT_HEADER, b"").decode("utf-8", "replace")
            origin = f"{record.topic}/{record.partition}/{record.offset}"
            found = read(record.value, party, hint, settings, checks.instant(at), origin)
            events, emits, refusals = self._each(found, spec, party, at)
            if found.events:
                checks.keyed(events or found.events, record.key)
        except Refused as refused:
            return _Judged(refusals=(_clearer(refused.refusal, record.value),))
        return _Judged(events, emits, (*found.refusals, *refusals), found.repeats)

    def _each(self, found: Read, spec: TopicSpec, party: PartySpec, at: int) -> tuple[tuple[Event, ...], tuple[Emit, ...], tuple[Refusal, ...]]:
        """Events of one record. Of several, each stands or falls alone; the one event of a record falls with its record."""
        events: list[Event] = []
        emits: list[Emit] = []
        refusals: list[Refusal] = []
        for event in found.events:
            try:
                accepted = self._accept(event, spec, party, at, found)
                emits += route(accepted)
                events.append(accepted)
            except Refused as refused:
                if len(found.events) == 1 and not found.refusals:
                    raise
                refusals.append(refused.refusal)
        return tuple(events), tuple(emits), tuple(refusals)

    def _accept(self, event: Event, spec: TopicSpec, party: PartySpec, at: int, found: Read) -> Event:
        """The event as the folds get it. A ladder: the first line that does not hold is the refusal."""
        flags = [*event.flags, *found.flags] if found.outside_format else [*found.flags]
        checks.spoken(event, party, () if found.outside_format else spec.accepts)
        flags += checks.owned(event, party, self._places(party))
        checks.bounded(event)
        checks.timed(event, at, self._ahead_minutes)
        event, more = checks.other_times(event, at)
        checks.dated(event)
        checks.located(event, self._near)
        flags += [*more, *self._known(event)]
        numbers = Numbers(strict=party.role in STRICT_ROLES and not found.outside_format)
        event = with_numbers(event, numbers)
        changes: dict[str, object] = {"received_time": checks.instant(at), "flags": tuple(dict.fromkeys([*flags, *numbers.flags]))}
        if isinstance(event, AgencyNotice) and not event.authority:
            changes["authority"] = party.country
        return msgspec.structs.replace(event, **changes)

    def _places(self, party: PartySpec) -> tuple[str, ...]:
        row = self._reference.parties.get(party.id)
        return row.places if row is not None else ()

    def _known(self, event: Event) -> list[str]:
        """Names that the reference should know. Raises Refused MISSING_FIELD, UNKNOWN_CROSSING."""
        if isinstance(event, CustomsNotice) and not event.code:
            raise Refused("MISSING_FIELD", "$.code", "", "a notice carries its official code")
        if isinstance(event, CrossingCondition) and event.crossing not in self._reference.crossings:
            raise Refused("UNKNOWN_CROSSING", "$.crossing", event.crossing, "no such crossing in the reference")
        if isinstance(event, OperatorAct):
            self._operable(event)
        if isinstance(event, HandOverSheet) and event.crossing not in self._reference.crossings:
            return [UNMAPPED_CROSSING]
        if isinstance(event, FilingLodged | RequestAnswered) and event.authority not in self._reference.authorities:
            return [UNMAPPED_AUTHORITY]
        if isinstance(event, PositionReported) and event.station and event.station not in self._reference.places:
            return ["UNMAPPED_STATION"]
        return []


    def _operable(self, act: OperatorAct) -> None:
        """Operators act on feeds that there are, never on their own. Raises Refused UNKNOWN_PARTY, OWN_FEED, BAD_VALUE."""
        if isinstance(act, FeedPaused | FeedRetracted):
            party = self._registry.parties.get(act.feed)
            if party is None:
                raise Refused("UNKNOWN_PARTY", "$.feed", act.feed, "no such party in the registry")
            if party.role == OPERATIONS:
                raise Refused("OWN_FEED", "$.feed", act.feed, "the operators' own acts can be neither paused nor retracted")
        if isinstance(act, FeedRetracted) and act.until < act.since:
            raise Refused("BAD_VALUE", "$.until", act.until, "before since")


def _clearer(refusal: Refusal, data: bytes | None) -> Refusal:
    """A latitude or longitude out of range has a better name than BAD_VALUE."""
    if refusal.code != "BAD_VALUE" or refusal.path not in ("$.lat", "$.lon") or data is None:
        return refusal
    try:
        raw = msgspec.json.decode(data)
        fault = position_fault(float(raw["lat"]), float(raw["lon"]), refusal.path)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return refusal
    return fault or refusal


def _result(party: PartySpec, records: Sequence[Record], times: Sequence[int], judged: Sequence[_Judged]) -> IntakeResult:
    outcomes: list[Outcome] = []
    notices: list[RefusalNotice] = []
    letters: list[DeadLetter] = []
    flags: dict[str, int] = {}
    for index, (record, at, one) in enumerate(zip(records, times, judged, strict=True)):
        for event in one.events:
            for flag in event.flags:
                flags[flag] = flags.get(flag, 0) + 1
        if one.refusals:
            first = one.refusals[0]
            outcomes.append(Outcome(index, Fate.REFUSED, first.code, first.path, first.value[:VALUE_SHOWN_MAX]))
            letters.append(_letter(record, party, one.refusals))
            notices += [_notice(record, party, refusal, at) for refusal in one.refusals]
        elif one.repeats:
            repeat = one.repeats[0]
            outcomes.append(Outcome(index, Fate.DUPLICATE, repeat.code, repeat.path, repeat.value[:VALUE_SHOWN_MAX]))
    heard = _heard(party, times, judged)
    emits = [emit for one in judged for emit in one.emits]
    emits += [Emit(refusals_topic(party.id), notice.message_id, notice) for notice in notices]
    emits += [Emit(dead_letters_topic(party.role), f"{letter.topic}-{letter.partition}-{letter.offset}", letter) for letter in letters]
    emits += [Emit(fold_topic("sources"), party.id, one) for one in heard]
    return IntakeResult(outputs=tuple(one.emits for one in judged), outcomes=tuple(outcomes), refusals=tuple(notices), dead_letters=tuple(letters),
                        heard=heard, flags={} if party.role in COVERT_ROLES else flags, emits=tuple(emits))


def _heard(party: PartySpec, times: Sequence[int], judged: Sequence[_Judged]) -> tuple[SourceHeard, ...]:
    if party.role in (*COVERT_ROLES, OPERATIONS):
        return ()
    said = [event.event_time for one in judged for event in one.events]
    heard = [at for at, one in zip(times, judged, strict=True) if one.events]
    return (SourceHeard(source=party.id, last_event=checks.micros(max(said)), heard_at=max(heard)),) if said else ()


def _notice(record: Record, party: PartySpec, refusal: Refusal, at: int) -> RefusalNotice:
    return RefusalNotice(party=party.id, code=refusal.code, path=refusal.path, value=refusal.value[:VALUE_SHOWN_MAX], reason=refusal.reason,
                         message_id=message_id(record.value or b""), topic=record.topic, partition=record.partition, offset=record.offset, at=at)


def _letter(record: Record, party: PartySpec, refusals: tuple[Refusal, ...]) -> DeadLetter:
    return DeadLetter(
        stage=STAGE, topic=record.topic, partition=record.partition, offset=record.offset, timestamp=record.timestamp, key=record.key,
        value=record.value, headers=tuple((name, value) for name, value in record.headers), code=refusals[0].code, path=refusals[0].path,
        reason="; ".join(refusal.reason or refusal.value for refusal in refusals)[:2000], party=party.id)


def intake(topic: str, records: Sequence[Record], reference: Reference, registry: Registry) -> IntakeResult:
    """One batch with everything given: for replay and tests. A worker keeps an `Intake`."""
    return Intake(reference, registry).batch(topic, records)


__all__ = ["STAGE", "Intake", "IntakeResult", "intake"]
