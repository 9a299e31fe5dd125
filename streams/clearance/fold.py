"""The CLEARANCE fold: facts in, the status of every side out when it has changed."""
from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.assess import Assessment, Previous, assess
from streams.assess.memo import Memo
from streams.assess.touch import anywhere
from streams.clearance import publish
from streams.clearance.kept import ground_of
from streams.clearance.resume import resumed
from streams.clearance.retire import awaken, retired, stubbed
from streams.clearance.state import MEMOS_WEIGHT_MAX, Shelf, Shipment, add, decode, encode, memo_of, retire_at
from streams.fold import BroadcastSlot, Emit, Fate, Fold, Outcome, Step, World
from streams.reference.model import Reference
from streams.rules import pack_of
from streams.rules.day import micros
from topics import codec
from topics.events.internal import ClearanceIn, FreshnessChanged, MaskFacts, ShipmentFacts
from topics.events.sites import CrossingCondition, RiskIndicator
from topics.events.trade import ShipmentDeclared
from topics.facts import EVERYWHERE, Fact, Rank

Inbound = ShipmentFacts | ShipmentDeclared


class ClearanceFold(Fold[Shipment, Inbound]):
    """Key: shipment id."""

    name = "clearance"
    input_topic = "clearance.in"
    state_topic = "clearance.state"
    revision_topics = (publish.STATUS, publish.COVERT)
    broadcasts = (FreshnessChanged, MaskFacts, CrossingCondition, RiskIndicator)

    def __init__(self, memos_weight: int = MEMOS_WEIGHT_MAX) -> None:
        self._shelf = Shelf(memos_weight)

    def decode(self, value: bytes) -> Inbound:
        """One message; broadcasts decode too, the runner keeps them apart."""
        event: Inbound = codec.decode(value, ClearanceIn)
        return event

    def encode_state(self, state: Shipment) -> bytes:
        return encode(state)

    def decode_state(self, data: bytes) -> Shipment:
        return decode(data)

    def broadcast_slot(self, event: msgspec.Struct) -> BroadcastSlot:
        """One slot per source, mask, crossing and indicator."""
        if isinstance(event, FreshnessChanged):
            return BroadcastSlot(f"fresh:{event.source}", (event.since, event.last_event, int(event.live)))
        if isinstance(event, MaskFacts):
            return BroadcastSlot(f"mask:{event.source}:{event.record}", (event.version, event.since, event.until, int(event.lifted)))
        if isinstance(event, CrossingCondition):
            return BroadcastSlot(f"crossing:{event.crossing}", (micros(event.event_time), event.version))
        if isinstance(event, RiskIndicator):
            until = micros(event.valid_until)
            return BroadcastSlot(f"risk:{event.source}:{event.record or event.id}", (event.version, micros(event.event_time)), until)
        raise TypeError(f"clearance takes no broadcast of type {type(event).__name__}")

    def step(self, state: Shipment | None, key: str, events: Sequence[Inbound], world: World, now: int) -> Step[Shipment]:
        """Merge, assess, publish the difference."""
        held = state or Shipment()
        if held.retired_at is not None and not any(awaken(e) for e in events):
            return stubbed(held, key, events, world, now)
        held, outcomes, changed = _merged(held, events)
        if not held.facts:
            return Step(None, outcomes=outcomes, changed=False)
        reference = world.reference
        public = tuple(b for _, b in sorted(world.broadcasts.items()) if not isinstance(b, RiskIndicator))
        if changed:
            held = msgspec.structs.replace(held, heard_at=now)
        pack = pack_of(reference)
        lost = world.revision_floor > held.last_revision
        memo = None if lost else memo_of(state) or _resumed(state, key, events, reference, public, now, pack)    # of a resumed alert only its name is known
        assessment = assess(key, held.facts, reference, public, now, pack, Previous(due_first=held.due_first, limited=held.limited), memo, in_order=True)
        due = retire_at(held, assessment.terminal_at, assessment.transit_open, reference.limits.retire_days, reference.limits.retire_days_max)
        if due is not None and due <= now and not events and not lost:    # what has come, or was lost, is said first
            return retired(held, key, assessment, world, now, outcomes)
        heard = publish.heard(public, pack, assessment.sides, held.facts)
        said = bool(events) or state is None or held.heard != heard or lost or (held.due_public is not None and held.due_public <= now)
        if said:
            held = msgspec.structs.replace(held, heard=heard, due_public=assessment.next_due)
        step = _published(state, held, key, assessment, world, now, outcomes, due, changed, said)
        if state is not None and not step.changed:
            step = msgspec.structs.replace(step, state=state)       # the object that the runner keeps anyway
        if step.state is not None:
            self._shelf.put(key, step.state, assessment.memo)
        return step


def _resumed(
    state: Shipment | None, key: str, events: Sequence[Inbound], reference: Reference, public: tuple[msgspec.Struct, ...], now: int, pack: str
) -> Memo | None:
    """A memo from what the state keeps of its last assessment; none where the news touches everything."""
    if state is None or state.ground is None or any(not isinstance(e, ShipmentFacts) or any(map(anywhere, e.facts)) for e in events):
        return None
    before = state

    def whole() -> Assessment:
        return assess(key, before.facts, reference, public, now, pack, Previous(due_first=before.due_first), in_order=True)

    return resumed(before, key, reference, public, now, pack, whole)


def _merged(held: Shipment, events: Sequence[Inbound]) -> tuple[Shipment, tuple[Outcome, ...], bool]:
    outcomes: list[Outcome] = []
    facts, limited, changed = held.facts, list(held.limited), False
    for index, event in enumerate(events):
        facts, news, refused, superseded = add(facts, facts_of(event))
        changed = changed or bool(news)
        for at, side in refused[:1]:
            outcomes.append(Outcome(index, Fate.REFUSED, "FACTS_LIMIT", f"$.facts[{at}]", side))
        limited += [side for _, side in refused]
        if not news and not refused:
            outcomes.append(Outcome(index, Fate.SUPERSEDED if superseded else Fate.DUPLICATE))
    state = msgspec.structs.replace(held, facts=facts, limited=tuple(sorted(set(limited))), retired_at=None, finals={})
    return state, tuple(outcomes), changed or limited != list(held.limited)


def facts_of(event: Inbound) -> tuple[Fact, ...]:
    """The facts of a message; a declared shipment is a fact about every side."""
    if isinstance(event, ShipmentFacts):
        return event.facts
    return (Fact(
        side=EVERYWHERE, key=("shipment",), at=micros(event.event_time), source=event.source, rank=Rank.FORWARDER, record=event.record,
        version=event.version, id=f"{event.source}/shipment.declared/{event.id}", value=msgspec.to_builtins(event)),)


def _published(
    before: Shipment | None, held: Shipment, key: str, assessment: Assessment, world: World, now: int, outcomes: tuple[Outcome, ...],
    retire: int | None, merged: bool, said: bool
) -> Step[Shipment]:
    """`said`: something public has happened or its time has come. Without, only the restricted views may change: what only one authority may
    know, and when it begins, moves no public byte."""
    held, spoken = _public(held, key, assessment, world, now) if said else (held, ())
    restricted, apart, due_apart = publish.restricted(held, key, world, assessment, now)
    covert = max([world.covert_floor, *(e.revision for e in apart)])
    if restricted != held.restricted or covert != held.covert_revision:
        held = msgspec.structs.replace(held, restricted=restricted, covert_revision=covert)
    dues = [d for d in (held.due_public, retire, due_apart) if d is not None]
    return Step(held, (*spoken, *apart), outcomes, min(dues, default=None), changed=merged or before is None or held != before)


def _public(held: Shipment, key: str, assessment: Assessment, world: World, now: int) -> tuple[Shipment, tuple[Emit, ...]]:
    reference: Reference = world.reference
    revision = max(max(held.last_revision, world.revision_floor, held.alert_seq) + 1, now)
    lost = publish.lost_of(world.told) if world.revision_floor > held.last_revision else None
    if lost is not None:
        held = msgspec.structs.replace(held, summaries={})
    shown, emits = publish.statuses(held, key, assessment, reference, revision, now, lost)
    summaries, more = publish.summaries(held, key, assessment, revision)
    held, alerts = publish.alerts(held, assessment, key, revision, now, lost)
    more += alerts
    ground = ground_of(assessment, {side: said.times for side, said in shown.items()})
    held = msgspec.structs.replace(held, shown=shown, summaries=summaries, due_first=assessment.due_first, ground=ground,
                                   last_revision=revision if emits or more else max(held.last_revision, world.revision_floor))
    return held, (*publish.marks(key, bool(emits), more, revision), *emits, *more)
