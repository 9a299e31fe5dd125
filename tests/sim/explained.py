"""Invariant 6: what the ledger says was published at an instant was, its evidence is there, and folding the facts again gives it anew."""
from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from streams.assess import assess
from streams.clearance.fold import facts_of
from streams.rules import pack_of
from tests.sim.run import Run
from tests.sim.system import essence
from tests.sim.worlds import reference
from topics import codec
from topics.events.internal import ClearanceIn, FreshnessChanged, MaskFacts, ShipmentFacts
from topics.events.outputs import ClearanceUpdate
from topics.events.sites import CrossingCondition
from topics.events.trade import ShipmentDeclared
from topics.facts import Fact, merge

SAMPLES = 6
FOLDED = 2
BACK = 40
"""So many earlier moments are tried: a status was worked out from what had been read when it was published, which may be less than what was there."""


def explained(run: Run) -> list[str]:
    """6. For some instants T and sides, the ledger's status as of T is the one last published until T, with its evidence in the ledger; and folding
    the shipment's facts again, up to some point before it was published, gives the same status with the same rule pack."""
    rng = run.plan.rng("explained")
    births = run.log.births_of("clearance.history")
    history = [(births[r.partition, r.offset], msgspec.json.decode(r.value, type=ClearanceUpdate)) for r in run.log.topic("clearance.history") if r.value]
    if not history:
        return ["nothing was published"]
    chosen = [history[rng.randrange(len(history))] for _ in range(SAMPLES)]
    faults: list[str] = []
    kept = run.database.rows("status")
    events = {row["event_id"] for row in run.database.rows("event")}
    for _, update in chosen:
        faults += _as_of(update, [u for _, u in history], kept)
        faults += _without_evidence(update, events)
    certain = [(born, u) for born, u in chosen if u.state != "CANCELLED"]
    faults += [f for born, u in certain[:FOLDED] if (f := _not_again(run, born, u, rng))]
    return faults


def _as_of(update: ClearanceUpdate, history: list[ClearanceUpdate], kept: list[dict[str, object]]) -> Iterator[str]:
    """As `Ledger.statuses(as_of)` asks: of what was assessed until then the highest revision."""
    said = [u for u in history if (u.shipment, u.side) == (update.shipment, update.side) and u.assessed_at <= update.assessed_at]
    last = max(said, key=lambda u: u.revision)
    rows = [msgspec.json.decode(str(row["body"]), type=ClearanceUpdate) for row in kept if row["shipment"] == update.shipment and row["side"] == update.side]
    found = max((u for u in rows if u.assessed_at <= update.assessed_at), key=lambda u: u.revision, default=None)
    if found != last:
        yield f"{update.shipment} {update.side} as of {update.assessed_at}: the ledger says {found and found.revision}, published was {last.revision}"


def _without_evidence(update: ClearanceUpdate, events: set[object]) -> Iterator[str]:
    """Positions between stations stay in Kafka; everything else that a status rests on is in the ledger."""
    for one in (*update.evidence, *(r for s in update.seals for r in s.readings)):
        if one.id.count("/") >= 2 and "/train.position/" not in one.id and one.id not in events:
            yield f"{update.shipment} {update.side} revision {update.revision}: evidence {one.id} is not in the ledger"


def _not_again(run: Run, born: int, update: ClearanceUpdate, rng: random.Random) -> str:
    """The fault, or "" when some beginning of the shipment's log gives this status."""
    wanted = essence({(update.shipment, update.side): update})
    facts: dict[tuple[str, tuple[str, ...], str, str, str], Fact] = {}
    public: dict[str, msgspec.Struct] = {}
    moments: list[tuple[dict[tuple[str, tuple[str, ...], str, str, str], Fact], dict[str, msgspec.Struct]]] = []
    for event in _heard(run, born, update.shipment):
        if isinstance(event, ShipmentFacts | ShipmentDeclared):
            facts = merge(facts, facts_of(event))
        else:
            public = _with(public, event)
        moments.append((facts, public))
    for told, said in reversed(moments[-BACK:]):
        known = {f"{u.shipment}|{u.side}": u for u in assess(
            update.shipment, told.values(), reference(), [b for _, b in sorted(said.items())], update.assessed_at, pack_of(reference())).updates}
        again = known.get(f"{update.shipment}|{update.side}")
        if again is not None and essence({(update.shipment, update.side): again}) == wanted and again.pack == update.pack:
            return ""
    return f"{update.shipment} {update.side} revision {update.revision}: {update.state} {update.flags} does not come again from its facts"


def _heard(run: Run, born: int, shipment: str) -> Iterator[msgspec.Struct]:
    """What CLEARANCE could have read about a shipment until then, in the order of its partition."""
    partitions = {r.partition for r in run.log.topic("clearance.in") if r.key == shipment.encode()}
    births = run.log.births_of("clearance.in")
    for n in partitions:
        for record in run.log.part("clearance.in", n).records:
            if births[n, record.offset] > born or record.value is None:
                continue
            try:
                event: msgspec.Struct = codec.decode(record.value, ClearanceIn)
            except (codec.Refused, RecursionError):
                continue
            if record.key == shipment.encode() or isinstance(event, FreshnessChanged | MaskFacts | CrossingCondition):
                yield event


def _with(public: dict[str, msgspec.Struct], event: msgspec.Struct) -> dict[str, msgspec.Struct]:
    from streams.clearance import ClearanceFold
    fold = ClearanceFold()
    slot = fold.broadcast_slot(event)
    held = public.get(slot.id)
    return public if held is not None and fold.broadcast_slot(held).order >= slot.order else {**public, slot.id: event}
