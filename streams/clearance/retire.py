"""Retirement: a finished shipment becomes a stub, a stub a tombstone (design section 3)."""
from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.assess import Assessment
from streams.clearance import publish
from streams.clearance.state import Shipment
from streams.fold import Emit, Fate, Outcome, Step, World
from topics.events.internal import ShipmentFacts
from topics.events.outputs import Alert
from topics.events.trade import ShipmentDeclared
from topics.facts import DAY, Fact

REOPEN = "reopen"
"""Origin of the facts by which an operator rebuilds a retired shipment from the ledger."""
STUB_BYTES_MAX = 300
DECISIVE = {"doc": frozenset({"released", "revoked", "rejected", "invalidated"}), "demand": frozenset({"opened", "started", "discrepancy"})}
"""What would change a final state."""

Inbound = ShipmentFacts | ShipmentDeclared


def awaken(event: Inbound) -> bool:
    """Does this message rebuild the shipment from the ledger?"""
    return isinstance(event, ShipmentFacts) and event.origin.startswith(REOPEN)


def retired(
    held: Shipment, key: str, assessment: Assessment, world: World, now: int, outcomes: tuple[Outcome, ...]
) -> Step[Shipment]:
    """Close what is open and keep only the final states. One that is not final is retired with an alert (limit `retire_days_max`)."""
    emits, _ = publish.emptied(key, sorted(held.restricted), assessment, world.covert_floor, now)
    seq = held.alert_seq
    for name, old in held.alerts.items():
        seq = max(seq + 1, now)
        emits.append(Emit(publish.ALERTS, name, publish.resolved(name, old, key, seq, now)))
    if assessment.terminal_at is None or assessment.transit_open:
        seq = max(seq + 1, now)
        emits.append(Emit(publish.ALERTS, f"RetiredUnfinished/{key}", Alert(
            key=f"RetiredUnfinished/{key}", name="RetiredUnfinished", severity="warning", state="open", seq=seq, at=now, shipment=key,
            detail="transit open" if assessment.transit_open else "not final")))
    stub = Shipment(last_revision=held.last_revision, alert_seq=seq, retired_at=now,
                    finals={side: shown.state[:3] for side, shown in held.shown.items()})
    return Step(stub, tuple(emits), outcomes, now + world.reference.limits.stub_days * DAY)


def stubbed(held: Shipment, key: str, events: Sequence[Inbound], world: World, now: int) -> Step[Shipment]:
    """A stub keeps its states for 90 days. A fact for it is parked with its bytes, and alerts when it would change a final state."""
    assert held.retired_at is not None
    until = held.retired_at + world.reference.limits.stub_days * DAY
    if now >= until and not events:
        gone = tuple(Emit(publish.STATUS, f"{key}|{side}", None, first=True) for side in held.finals)
        if world.covert_floor:
            gone = (*gone, Emit(publish.COVERT, key, None, first=True))
        return Step(None, gone)
    outcomes = tuple(Outcome(i, Fate.PARKED, "SHIPMENT_RETIRED") for i in range(len(events)))
    emits: tuple[Emit, ...] = ()
    state = held
    if any(decisive(f) for e in events if isinstance(e, ShipmentFacts) for f in e.facts):
        seq = max(held.alert_seq + 1, now)
        state = msgspec.structs.replace(held, alert_seq=seq)
        emits = (Emit(publish.ALERTS, f"FactAfterRetirement/{key}", Alert(
            key=f"FactAfterRetirement/{key}", name="FactAfterRetirement", severity="warning", state="open", seq=seq, at=now, shipment=key)),)
    return Step(state, emits, outcomes, until, changed=state is not held)


def decisive(fact: Fact) -> bool:
    """Would this fact change a final state?"""
    return fact.value is not None and fact.key[-1] in DECISIVE.get(fact.key[0], ())
