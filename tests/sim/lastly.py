"""The last words besides the statuses: how ready each train is, which alerts are open, what each authority's restricted views say.

They are taken from topics alone, of a simulated run, of a run on real brokers, and of the same messages in memory without a fault, so that they can be
compared. Only what the messages decide is compared, not when it was noticed:

- Of readiness no revision, no time, no ETA and no margin: they ride on when a step was taken, as those of statuses do (tests/sim/system.py, `essence`).
  A yard that is empty is the same as one that nobody was ever in.
- Of an alert whether it is open at the end, how severe it is and what it is about. That one opened and was resolved again on the way is not: who hears
  two messages at once never saw what lay between them.
- Of a restricted view its state and findings. An authority that was told of none, or that there is none any more, is the same.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from topics.events.outputs import Alert, ClearanceUpdate, TrainReadiness

READINESS, ALERTS, RESTRICTED = "train.readiness", "ops.alerts", "restricted."
REVISIONS = "restricted.revisions"
LastWords = dict[tuple[str, str], tuple[object, ...]]


class _Record(Protocol):
    @property
    def value(self) -> bytes | None: ...


class _Type(msgspec.Struct):
    type: str = ""


def last_words(names: Iterable[str], topic: Callable[[str], Iterable[_Record]]) -> LastWords:
    """(topic and whom it is about) -> what was said there last, by revision or sequence and not by place in the log."""
    found: LastWords = {}
    for name in sorted(names):
        if name == READINESS or name.startswith("status."):
            found |= {(name, run): _ready(said) for run, said in _trains(topic(name)).items() if said.railway or said.containers}
        elif name == ALERTS:
            found |= {(name, key): (a.severity, a.name, a.shipment, a.side, a.run, a.container, a.rule, a.call, bool(a.titles))
                      for key, a in _alerts(topic(name)).items() if a.state == "open"}
        elif name.startswith(RESTRICTED) and name != REVISIONS:
            found |= {(name, f"{shipment} {side}"): _covert(u) for (shipment, side), u in _views(topic(name)).items() if u.findings}
    return found


def _trains(records: Iterable[_Record]) -> dict[str, TrainReadiness]:
    last: dict[str, TrainReadiness] = {}
    for r in records:
        if r.value is None or not r.value.startswith(b'{"type":"train.readiness"'):
            continue
        said = msgspec.json.decode(r.value, type=TrainReadiness)
        if said.run not in last or said.revision > last[said.run].revision:
            last[said.run] = said
    return last


def _ready(said: TrainReadiness) -> tuple[object, ...]:
    return (said.railway, said.number, said.date, said.corridor, said.direction, said.over, said.containers, tuple(
        (s.side, s.total, s.movable, s.held, s.missing, s.missing_kinds, s.states, s.seen, s.departed) for s in said.sides))


def _alerts(records: Iterable[_Record]) -> dict[str, Alert]:
    last: dict[str, Alert] = {}
    for r in records:
        if r.value is not None:
            said = msgspec.json.decode(r.value, type=Alert)
            if said.key not in last or said.seq >= last[said.key].seq:
                last[said.key] = said
    return last


def _views(records: Iterable[_Record]) -> dict[tuple[str, str], ClearanceUpdate]:
    last: dict[tuple[str, str], ClearanceUpdate] = {}
    for r in records:
        if r.value is not None:
            said = msgspec.json.decode(r.value, type=ClearanceUpdate)
            held = last.get((said.shipment, said.side))
            if held is None or said.revision > held.revision:
                last[said.shipment, said.side] = said
    return last


def _covert(u: ClearanceUpdate) -> tuple[object, ...]:
    return u.state, tuple(sorted((f.rule, f.code, f.severity, f.side, f.scope, f.evidence) for f in u.findings))
