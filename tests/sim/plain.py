"""A plain reader of a simulated world: everything in memory, no partitions, no bounds. It ties messages to shipments and sides by looking
back at the whole history, and so tells whether the simulator's story adds up, whatever the folds make of it."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

import msgspec

from streams.assess.core import assess
from streams.codes import About, facts_of, row_of
from streams.kept import event_id, micros
from streams.reference.model import Reference
from streams.simulate import Sent
from topics.events.base import DocumentRef, Event, TrainRef
from topics.events.customs import CustomsNotice
from topics.events.outputs import ClearanceUpdate
from topics.events.rail import ConsistReported, PositionReported, TrainFormed, WagonSetOut
from topics.events.sites import SealEvent, TerminalEvent
from topics.events.trade import FilingLodged, RequestAnswered, ShipmentDeclared
from topics.facts import EVERYWHERE, Fact, Rank, Value
from topics.identifiers import run_id, shipment_id, side_id

SEALS = {"checked_ok": "ok", "checked_bad": "bad", "broken": "broken", "signal_lost": "lost"}


class PlainReader:
    """Reads once, then answers for any instant."""

    def __init__(self, reference: Reference, messages: Iterable[Sent]) -> None:
        self.reference = reference
        self.facts: dict[str, list[tuple[int, Fact]]] = defaultdict(list)
        """Shipment -> (known since, fact)."""
        self.shipment_of: dict[str, str] = {}
        self.documents: dict[tuple[str, str], tuple[str, str, set[str]]] = {}
        """Kind and number -> canonical kind, number, shipments."""
        self._aboard: dict[str, list[tuple[datetime, TrainRef | None]]] = defaultdict(list)
        told = [(m.at, m.event) for m in messages if m.event is not None and m.expect == "applied"]
        for kinds in (ShipmentDeclared, FilingLodged, CustomsNotice):
            for _, event in told:
                if isinstance(event, kinds):
                    self._index(event)
        for _, event in told:
            if isinstance(event, TrainFormed | ConsistReported | WagonSetOut):
                self._load(event)
        for line in self._aboard.values():
            line.sort(key=lambda entry: entry[0])
        for at, event in told:
            self._read(at, event)

    # -- who belongs to whom -----------------------------------------------------------------------------------------------
    def _index(self, event: Event) -> None:
        match event:
            case ShipmentDeclared():
                shipment = shipment_id(event.document)
                for box in event.containers:
                    self.shipment_of[box.container] = shipment
                self.documents[event.document.kind, event.document.number] = (event.document.kind, event.document.number, {shipment})
            case FilingLodged():
                shipments = {s for d in event.documents for s in self.documents[d.kind, d.number][2]}
                self.documents.setdefault((event.kind, event.number), (event.kind, event.number, shipments))
            case CustomsNotice() if event.document is not None and event.aliases:
                for alias in event.aliases:
                    self.documents[alias.kind, alias.number] = self.documents[event.document.kind, event.document.number]

    def _load(self, event: TrainFormed | ConsistReported | WagonSetOut) -> None:
        if isinstance(event, WagonSetOut):
            for box in event.containers:
                self._aboard[box].append((event.event_time, None))
            return
        for wagon in event.wagons:
            for box in wagon.containers:
                self._aboard[box].append((event.event_time, event.train))

    def train_of(self, box: str, at: datetime) -> TrainRef | None:
        train = None
        for since, named in self._aboard[box]:
            if since > at:
                break
            train = named
        return train

    # -- what it means -----------------------------------------------------------------------------------------------------
    def _fact(self, known: int, shipment: str, event: Event, side: str, key: tuple[str, ...], *, rank: Rank, source: str = "", scope: str = "",
              value: Value = True) -> None:
        self.facts[shipment].append((known, Fact(side=side, key=key, at=micros(event.event_time), source=source or event.source, rank=rank, scope=scope,
                                                 value=value, id=event_id(event), code=event.code, version=event.version, record=event.record)))

    def _read(self, at: int, event: Event) -> None:
        match event:
            case ShipmentDeclared():
                shipment = shipment_id(event.document)
                self._fact(at, shipment, event, EVERYWHERE, ("shipment",), rank=Rank.FORWARDER, value=msgspec.to_builtins(event))
                for box in event.containers:
                    self._fact(at, shipment, event, EVERYWHERE, ("bound",), rank=Rank.FORWARDER, scope=box.container,
                               value={"since": micros(event.event_time), "empty": box.empty})
            case FilingLodged():
                for shipment in self.documents[event.kind, event.number][2]:
                    side = f"@{event.authority}/office/{event.office}"
                    self._fact(at, shipment, event, side, ("filing", event.kind, event.number), rank=Rank.FORWARDER, value=msgspec.to_builtins(event))
                    if event.action == "lodge":
                        self._fact(at, shipment, event, side, ("doc", event.kind, event.number, "sent"), rank=Rank.FORWARDER)
            case RequestAnswered():
                kind, number, shipments = self.documents[event.document.kind, event.document.number]
                for shipment in shipments:
                    key = ("demand", "info", f"{kind}/{number}", event.reference, "answered")
                    self._fact(at, shipment, event, f"@{event.authority}/doc/{kind}/{number}", key, rank=Rank.FORWARDER)
            case CustomsNotice():
                self._notice(at, event)
            case TerminalEvent() if event.what == "presented":
                self._present(at, event.place, event, (event.container,), "presented", Rank.TERMINAL)
            case SealEvent() if event.what in SEALS and event.crossing:
                self._seal(at, event)
            case PositionReported() if event.station and event.what in ("arrived", "departed"):
                boxes = tuple(b for b in self.shipment_of if self.train_of(b, event.event_time) == event.train)
                self._present(at, event.station, event, boxes, "seen" if event.what == "arrived" else "departed", Rank.RAILWAY)

    def _notice(self, at: int, event: CustomsNotice) -> None:
        row = row_of(self.reference, event)
        assert row is not None, (event.system, event.code)
        if event.train is not None:
            run = run_id(event.train.railway, event.train.number, event.train.date, event.train.origin)
            about = About(kind="conveyance", number=run, record=run)
            shipments = {shipment for box, shipment in self.shipment_of.items() if event.train in self._trains(box)}
        elif event.document is not None:
            kind, number, shipments = self.documents[event.document.kind, event.document.number]
            about = About(kind=kind, number=number, record=f"{kind}:{number}")
        else:
            about, shipments = About(), {self.shipment_of[event.container]}
        if event.container:
            shipments = {self.shipment_of[event.container]}
        for shipment in shipments:
            self.facts[shipment] += [(at, fact) for fact in facts_of(event, row, about)]

    def _trains(self, box: str) -> set[TrainRef | None]:
        return {train for _, train in self._aboard[box]}

    def _present(self, at: int, place: str, event: Event, boxes: Iterable[str], what: str, rank: Rank) -> None:
        for box in boxes:
            shipment = self.shipment_of[box]
            for side in self._sides(place, shipment):
                self._fact(at, shipment, event, side, (what, "1"), rank=rank, scope=box)
                train = self.train_of(box, event.event_time)
                if what == "departed" and train is not None:
                    self._fact(at, shipment, event, side, ("run",), rank=Rank.RAILWAY, scope=box, source="trains",
                               value=run_id(train.railway, train.number, train.date, train.origin))

    def _sides(self, place: str, shipment: str) -> list[str]:
        """Sides of the shipment's route at a place. A terminal behind a border station belongs to it."""
        declared = next(f.value for _, f in self.facts[shipment] if f.key == ("shipment",))
        assert isinstance(declared, dict)
        found = []
        for name in map(str, declared["crossings"] if isinstance(declared["crossings"], list | tuple) else ()):
            crossing = self.reference.crossings[name]
            own = self.reference.places[place]
            ends = [("a", crossing.a, crossing.a_authority), ("b", crossing.b, crossing.b_authority)]
            for end, station, authority in ends:
                if place == station or (own.crossing == name and own.country == authority and own.kind == "terminal"):
                    leaving = (end == "a") is (declared.get("direction", "west") == "west")
                    found.append(side_id(name, authority, "EXIT" if leaving else "ENTRY"))
        return found

    def _seal(self, at: int, event: SealEvent) -> None:
        key = ("seal", event.chain, "ok" if event.what == "checked_ok" else SEALS[event.what], event_id(event))
        sides = set(self._sides(event.place, self.shipment_of[event.container])) if event.place in self.reference.places else set()
        authority = event.source.removeprefix("customs-").upper() if event.source.startswith("customs-") else event.source
        for side in sides or {EVERYWHERE}:
            self._fact(at, self.shipment_of[event.container], event, EVERYWHERE if event.what != "checked_ok" else side, key,
                       rank=Rank.AUTHORITY if authority.isupper() else Rank.SENSOR, source=authority, scope=event.container, value={"lock": event.seal})

    # -- asked -------------------------------------------------------------------------------------------------------------
    def statuses(self, shipment: str, now: int) -> tuple[ClearanceUpdate, ...]:
        """Every side of a shipment as known at an instant."""
        return assess(shipment, [fact for known, fact in self.facts[shipment] if known <= now], self.reference, (), now, "").updates

    def document(self, ref: DocumentRef) -> str:
        """Shipment of a consignment note."""
        return shipment_id(ref)
