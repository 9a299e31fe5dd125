"""TRAINS, CUSTODY, DOCUMENTS and SOURCES joined in memory: events in, the facts that CLEARANCE would hold out. And short ways to write events."""
from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec

from agents.reference import load
from streams.fold import EVERY_PARTITION, Emit, Fate, Outcome, Step, World
from streams.intake.routing import route
from streams.reference.model import Reference
from topics import codec
from topics.events.base import DocumentRef, Event, TrainRef
from topics.events.customs import CustomsNotice
from topics.events.internal import Joined, RunProfile, ShipmentFacts
from topics.events.outputs import Alert
from topics.events.rail import (
    ConsistReported,
    HandOverSheet,
    PlannedStop,
    PositionReported,
    TrainAnnounced,
    TrainFormed,
    WagonLoad,
)
from topics.events.sites import TerminalEvent
from topics.events.trade import ContainerLoaded, DocumentLinked, FilingLodged, RequestAnswered, ShipmentDeclared, Stuffing
from topics.facts import Fact, Facts, Slot, merge, slot_of
from topics.identifiers import run_id, shipment_id

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
NOW = int(T0.timestamp()) * 1_000_000
HOUR = 3_600_000_000
DAY = 24 * HOUR
BOX, BOX2, BOX3 = "MZWU2146680", "CSQU3054383", "TCLU4265789"


@cache
def reference() -> Reference:
    """The rows that railclear ships with."""
    return load()


def at(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


def us(hours: float) -> int:
    return NOW + round(hours * HOUR)


class Bench:
    """Runs folds to quiescence. With a random generator inputs are taken in any order, in batches of any size, some of them twice."""

    def __init__(self, folds: Iterable[Any], rows: Reference | None = None, rng: random.Random | None = None) -> None:
        self.folds = {f.input_topic: f for f in folds}
        self.rows, self.rng, self.now = rows or reference(), rng, NOW
        self.states: dict[tuple[str, str], bytes] = {}
        self.due: dict[tuple[str, str], int | None] = {}
        self.queue: list[tuple[str, str, Any]] = []
        self.broadcasts: dict[str, dict[str, tuple[tuple[int, ...], msgspec.Struct]]] = {}
        self.facts: dict[str, Facts] = {}
        self.alerts: dict[str, Alert] = {}
        self.joined: dict[tuple[str, str], Joined] = {}
        self.profiles: dict[str, RunProfile] = {}
        self.outcomes: list[tuple[str, Any, Outcome]] = []
        self.emitted: list[Emit] = []

    # -- in ---------------------------------------------------------------------------------------------------------------
    def tell(self, *events: Event) -> Bench:
        """Events as intake hands them on, each run to the end."""
        for event in events:
            self.queue += [(e.topic, e.key, e.value) for e in route(event) if e.topic in self.folds]
            if self.rng is None:
                self.run()
        return self

    def run(self) -> Bench:
        while self.queue:
            if self.rng is None:
                topic, key, _ = self.queue[0]
                batch = [self.queue.pop(0)[2]]
            else:
                topic, key, _ = self.rng.choice(self.queue)
                mine = [q for q in self.queue if q[:2] == (topic, key)]
                taken = self.rng.sample(mine, self.rng.randint(1, len(mine)))
                for q in taken:
                    self.queue.remove(q)
                batch = [q[2] for q in taken for _ in range(1 + (self.rng.random() < 0.2))]
            if key == "*":
                self._broadcast(topic, batch)
            else:
                self._step(topic, key, batch)
        return self

    def advance(self, hours: float) -> Bench:
        """Let time pass with every tick that falls due on the way."""
        end = self.now + round(hours * HOUR)
        while True:
            self.run()
            due = sorted((d, k) for k, d in self.due.items() if d is not None and d <= end)
            if not due:
                break
            self.now = max(self.now, due[0][0])
            self._step(*due[0][1], [])
        self.now = end
        return self

    def _broadcast(self, topic: str, batch: Sequence[Any]) -> None:
        held = self.broadcasts.setdefault(topic, {})
        for message in batch:
            slot = self.folds[topic].broadcast_slot(message)
            if slot.id not in held or slot.order > held[slot.id][0]:
                held[slot.id] = slot.order, message
        for of, key in sorted(self.states):
            if of == topic:
                self._step(topic, key, [])

    def _step(self, topic: str, key: str, batch: Sequence[Any]) -> None:
        fold, name = self.folds[topic], (topic, key)
        events = [fold.decode(codec.encode(e)) for e in batch]
        state = fold.decode_state(self.states[name]) if name in self.states else None
        world = World(self.rows, {slot: message for slot, (_, message) in self.broadcasts.get(topic, {}).items()})
        step: Step[Any] = fold.step(state, key, events, world, self.now)
        self.outcomes += [(key, batch[o.index], o) for o in step.outcomes]
        self.due[name] = step.next_due
        if step.changed:
            if step.state is None:
                self.states.pop(name, None)
            else:
                self.states[name] = fold.encode_state(step.state)
        else:
            assert not step.outputs
        for emit in step.outputs:
            self._emitted(emit)

    def _emitted(self, emit: Emit) -> None:
        self.emitted.append(emit)
        value = emit.value
        if emit.topic in self.folds:
            assert emit.partition in (None, EVERY_PARTITION)
            self.queue.append((emit.topic, emit.key, value))
        elif isinstance(value, ShipmentFacts):
            assert emit.topic == "clearance.in"
            assert emit.key == value.shipment
            self.facts[value.shipment] = merge(self.facts.get(value.shipment, {}), value.facts)
        elif isinstance(value, Alert):
            held = self.alerts.get(value.key)
            if held is None or value.seq > held.seq:
                self.alerts[value.key] = value
        elif isinstance(value, Joined):
            mine = self.joined.get((value.run, value.container))
            if mine is None or value.seq > mine.seq:
                self.joined[value.run, value.container] = value
        elif isinstance(value, RunProfile):
            profile = self.profiles.get(value.run)
            if profile is None or value.seq > profile.seq:
                self.profiles[value.run] = value

    # -- out --------------------------------------------------------------------------------------------------------------
    def living(self, shipment: str) -> dict[Slot, Fact]:
        """What holds of a shipment: versions left aside, withdrawn facts left out."""
        found = (msgspec.structs.replace(f, version=0) for f in self.facts.get(shipment, {}).values() if f.value is not None)
        return {slot_of(f): f for f in found}

    def of(self, shipment: str, *key: str, scope: str | None = None, side: str | None = None) -> list[Fact]:
        """Living facts whose key begins so, by event time."""
        return sorted((f for f in self.living(shipment).values() if f.key[: len(key)] == key and (scope is None or f.scope == scope)
                       and (side is None or f.side == side)), key=lambda f: (f.at, f.scope, f.side))

    def one(self, shipment: str, *key: str, scope: str | None = None, side: str | None = None) -> Fact:
        found = self.of(shipment, *key, scope=scope, side=side)
        assert len(found) == 1, (key, found)
        return found[0]

    def fate(self, event: Event) -> tuple[Fate, str] | None:
        """The last fate of an event; None = applied."""
        found = [o for _, e, o in self.outcomes if getattr(e, "id", None) == event.id and type(e) is type(event)]
        return (found[-1].fate, found[-1].reason) if found else None

    def open_alerts(self, name: str = "") -> list[Alert]:
        return sorted((a for a in self.alerts.values() if a.state == "open" and name in ("", a.name)), key=lambda a: a.key)

    def everything(self) -> dict[str, Any]:
        """All that holds, to compare two histories."""
        return {
            "facts": {s: {k: _without_coordinates(f) for k, f in living.items()} for s in sorted(self.facts) if (living := self.living(s))},
            "alerts": {(a.key, a.detail, a.at) for a in self.open_alerts()},
            "joined": {(k, j.shipment, j.wagon, j.at) for k, j in self.joined.items() if j.aboard},
            "profiles": {k: msgspec.structs.replace(p, seq=0) for k, p in self.profiles.items() if p.milestones or p.containers or not p.over},
        }


def _without_coordinates(f: Fact) -> Fact:
    """A position is told along with something else, so where exactly the train was then depends on what came when. It decides nothing."""
    if f.key == ("position",) and isinstance(f.value, dict):
        return msgspec.structs.replace(f, at=0, value={"run": f.value["run"], "place": f.value["place"]})
    return f


def told_in_any_order(folds: Any, events: Sequence[Event], tries: int, *, seed: int = 1, rows: Reference | None = None) -> None:
    """Every shuffle, with repeats and batches of any size, ends in the same facts as the story told in order. `folds` makes new ones."""
    straight = Bench(folds(), rows).tell(*events).everything()
    for n in range(tries):
        rng = random.Random(seed * 1000 + n)
        mixed = list(events)
        rng.shuffle(mixed)
        other = Bench(folds(), rows, rng).tell(*mixed).run().everything()
        assert other == straight, difference(straight, other, seed * 1000 + n)


def difference(one: Mapping[str, Any], other: Mapping[str, Any], seed: int) -> str:
    lines = [f"seed {seed}"]
    for part in one:
        if one[part] != other[part]:
            if part == "facts":
                for s in sorted({*one[part], *other[part]}):
                    a, b = one[part].get(s, {}), other[part].get(s, {})
                    lines += [f"{s} -{a[k]}" for k in a if a[k] != b.get(k)] + [f"{s} +{b[k]}" for k in b if b[k] != a.get(k)]
            else:
                lines.append(f"{part}: {one[part]} != {other[part]}")
    return "\n".join(lines)


# -- events ---------------------------------------------------------------------------------------------------------------

SMGS = DocumentRef(kind="smgs", number="31046586")
SHIPMENT = shipment_id(SMGS)
_ids: dict[str, int] = {}


def _id(prefix: str) -> str:
    """In the order of making, whatever tests ran before: of events of one instant the id decides."""
    _ids[prefix] = _ids.get(prefix, 0) + 1
    return f"{prefix}-{_ids[prefix]:06d}"


def declared(hours: float = 0, boxes: Sequence[str] = (BOX,), document: DocumentRef = SMGS, source: str = "fwd-demo", **more: Any) -> ShipmentDeclared:
    content: dict[str, Any] = {
        "corridor": "WEST-A", "direction": "west", "containers": tuple(Stuffing(container=b, seals=(f"S-{b}",), gross_kg=20_000.0) for b in boxes)}
    return ShipmentDeclared(**{"source": source, "id": _id("decl"), "event_time": at(hours), "document": document, **content, **more})


def filing(hours: float, kind: str = "td", number: str = "LRN-1", authority: str = "KZ", documents: Sequence[DocumentRef] = (SMGS,),
           source: str = "fwd-demo", **more: Any) -> FilingLodged:
    return FilingLodged(**{"source": source, "id": _id("fil"), "event_time": at(hours), "authority": authority, "kind": kind, "number": number,
                           "documents": tuple(documents), **more})


def notice(hours: float, code: str, document: DocumentRef | None = None, authority: str = "KZ", system: str = "GENERIC", **more: Any) -> CustomsNotice:
    return CustomsNotice(**{"source": f"customs-{authority.lower()}", "id": _id("not"), "event_time": at(hours), "authority": authority,
                            "system": system, "code": code, "document": document, **more})


def loaded(hours: float, box: str = BOX, bound: str = "loaded", document: DocumentRef = SMGS, **more: Any) -> ContainerLoaded:
    return ContainerLoaded(**{"source": "fwd-demo", "id": _id("load"), "event_time": at(hours), "document": document, "bound": bound, "container": box,
                              **more})


def linked(hours: float, document: DocumentRef, relation: str, other: DocumentRef, **more: Any) -> DocumentLinked:
    return DocumentLinked(**{"source": "fwd-demo", "id": _id("link"), "event_time": at(hours), "document": document, "relation": relation,
                             "other": other, **more})


def answered(hours: float, document: DocumentRef, ref: str, source: str = "fwd-demo", **more: Any) -> RequestAnswered:
    return RequestAnswered(**{"source": source, "id": _id("ans"), "event_time": at(hours), "authority": "KZ", "reference": ref, "document": document,
                              **more})


def train(number: str = "1234", railway: str = "ktz", origin: str = "", date: str = "2026-03-01") -> TrainRef:
    return TrainRef(railway=railway, number=number, date=date, origin=origin)


TD = DocumentRef(kind="td", number="LRN-1")
TD_NUMBER = DocumentRef(kind="td", number="57505/010326/0000123")


# -- trains ---------------------------------------------------------------------------------------------------------------

CN_TRAIN, KZ_TRAIN, PL_TRAIN = train("X8001", "cr", "xian"), train("1404", "ktz", "dostyk", "2026-03-05"), train("41001", "pkp", "malaszewicze", "2026-03-12")
DOSTYK, ILETSK, OSINOVKA = "CN-KZ-ALASHANKOU-DOSTYK", "KZ-RU-ZHAISAN-ILETSK", "RU-BY-KRASNOYE-OSINOVKA"
BREST, RZEPIN = "BY-PL-BREST-MALASZEWICZE", "PL-DE-RZEPIN-FRANKFURT"
CN_EXIT, KZ_ENTRY = f"{DOSTYK}:CN:EXIT", f"{DOSTYK}:KZ:ENTRY"
BY_EXIT, PL_ENTRY = f"{BREST}:BY:EXIT", f"{BREST}:PL:ENTRY"


def run_of(ref: TrainRef) -> str:
    return run_id(ref.railway, ref.number, ref.date, ref.origin)


def rail(kind: Any, hours: float, ref: TrainRef, **more: Any) -> Any:
    return kind(**{"source": ref.railway, "id": _id("rail"), "event_time": at(hours), "train": ref, **more})


def announced(hours: float = 0, ref: TrainRef = CN_TRAIN, boxes: Sequence[str] = (BOX,), **more: Any) -> TrainAnnounced:
    event: TrainAnnounced = rail(TrainAnnounced, hours, ref, **{"corridor": "WEST-A", "direction": "west", "containers": tuple(boxes),
                                                                  "stops": (PlannedStop(place="xian", departs=at(hours + 24)),), **more})
    return event


def wagons(*boxes: str, first: int = 1) -> tuple[WagonLoad, ...]:
    return tuple(WagonLoad(wagon=f"W{n}", containers=(b,)) for n, b in enumerate(boxes, first))


def consist(hours: float, ref: TrainRef = CN_TRAIN, boxes: Sequence[str] = (BOX,), **more: Any) -> ConsistReported:
    event: ConsistReported = rail(ConsistReported, hours, ref, **{"wagons": wagons(*boxes), **more})
    return event


def station(hours: float, place: str, what: str = "arrived", ref: TrainRef = CN_TRAIN, **more: Any) -> PositionReported:
    event: PositionReported = rail(PositionReported, hours, ref, station=place, what=what, **more)
    return event


def gps(hours: float, lat: float, lon: float, ref: TrainRef = CN_TRAIN, **more: Any) -> PositionReported:
    event: PositionReported = rail(PositionReported, hours, ref, lat=lat, lon=lon, **more)
    return event


def near(hours: float, place: str, ref: TrainRef = CN_TRAIN, **more: Any) -> PositionReported:
    """Coordinates of a place."""
    row = reference().places[place]
    assert row.lat is not None
    assert row.lon is not None
    return gps(hours, row.lat, row.lon, ref, **more)


def sheet(hours: float, ref: TrainRef = CN_TRAIN, boxes: Sequence[str] = (BOX,), crossing: str = DOSTYK, **more: Any) -> HandOverSheet:
    event: HandOverSheet = rail(HandOverSheet, hours, ref, **{"crossing": crossing, "giving": ref.railway, "receiving": "ktz",
                                                                "wagons": wagons(*boxes), **more})
    return event


def formed(hours: float, ref: TrainRef = KZ_TRAIN, parents: Sequence[TrainRef] = (CN_TRAIN,), boxes: Sequence[str] = (BOX,), place: str = "dostyk",
           **more: Any) -> TrainFormed:
    event: TrainFormed = rail(TrainFormed, hours, ref, **{"parents": tuple(parents), "place": place, "wagons": wagons(*boxes, first=101),
                                                           "corridor": "WEST-A", "direction": "west",
                                                           "crossings": (ILETSK, OSINOVKA, BREST, RZEPIN), **more})
    return event


def at_terminal(hours: float, place: str, what: str, box: str = BOX, **more: Any) -> TerminalEvent:
    return TerminalEvent(**{"source": f"terminal-{place}", "id": _id("term"), "event_time": at(hours), "place": place, "what": what, "container": box,
                            **more})
