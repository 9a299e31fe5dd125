"""A train of the customs-rail link as outside events: the simulator writes the journey and every authority's answers, the forwarder and the carrier of the
entry summary add their papers. Three boxes: one is cleared, for one the notice never comes, the lock of one breaks at Dostyk."""
from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from streams.reference.model import Reference
from streams.simulate import SimOptions
from streams.simulate.border import Border
from streams.simulate.cargo import Consignment, Filing
from streams.simulate.codebook import CodeBook
from streams.simulate.desk import Desk, Post
from streams.simulate.heartbeats import heartbeats
from streams.simulate.incidents import Plan
from streams.simulate.journey import Journey, Tools
from streams.simulate.loading import Loading
from streams.simulate.numbers import Numbers
from streams.simulate.pen import Cast, Pen
from streams.simulate.rails import Rails
from streams.simulate.route import Pacer, way
from streams.simulate.seals import LOCK, Seals
from streams.simulate.sent import Draft
from topics.events.base import DocumentRef, Event
from topics.events.customs import CustomsNotice
from topics.events.rail import PositionReported
from topics.events.sites import SealEvent
from topics.events.trade import FilingLodged, ShipmentDeclared, Stuffing
from topics.identifiers import shipment_id

START = 1_772_409_600_000_000
"""2026-03-02T00:00Z, railclear's time."""
HOUR = 3_600_000_000
DOSTYK, BREST = "CN-KZ-ALASHANKOU-DOSTYK", "BY-PL-BREST-MALASZEWICZE"
KZ, BY, PL = f"{DOSTYK}:KZ:ENTRY", f"{BREST}:BY:EXIT", f"{BREST}:PL:ENTRY"
CLEARED, SILENT, BROKEN = "cleared", "missing_notice", "lock_broken"
"""The three boxes, by what the simulator does to them; the first has no incident."""
Name = str


class Line(msgspec.Struct):
    """One message of the script."""

    at: int
    """When it is sent in the script's own time, microseconds; it happened a few seconds before."""
    topic: str
    key: str
    event: Event
    cue: str = ""
    """What must have been published before this is said; empty = nothing."""


class Story:
    """The script and the names in it. The same seed gives the same script."""

    def __init__(self, reference: Reference, seed: int = 1) -> None:
        calm = SimOptions(trains=1, containers_min=3, containers_max=3, position_minutes=0).calm()
        self.options = msgspec.structs.replace(calm, rates=msgspec.structs.replace(calm.rates, gtt=1.0, tez=1.0, aeo=0.0))
        self.reference, self._rng, self._cast = reference, random.Random(seed), Cast(reference)
        corridor = msgspec.structs.replace(reference.corridors["WEST-A"], origins=("urumqi",), destinations=("lodz",))
        self._way = way(reference, corridor, "west", self._rng)
        tools = self._tools(Numbers(random.Random(seed)))
        self._pen, self._desk, self._numbers = tools.pen, tools.desk, tools.numbers
        plans = [(Plan(what=what, gtt=True), KZ) for what in (CLEARED, SILENT, BROKEN)]
        boxes = tools.loading.consignments(self._way, START, plans, empties=False)
        self.consignments: dict[Name, Consignment] = {next(iter(c.story)): c for c in boxes}
        self.shipments = {name: shipment_id(c.document) for name, c in self.consignments.items()}
        self.boxes = {name: c.boxes[0].number for name, c in self.consignments.items()}
        self._drafts = list(_pages(Journey(tools, self._way, territory_hold=False), boxes))
        put_on = {e.container: e.seal for d in self._drafts if isinstance(e := d.event, SealEvent) and e.what == "applied" and e.chain == LOCK}
        self.locks = {name: put_on[box] for name, box in self.boxes.items()}
        replaced = self._first(SealEvent, lambda e: e.what == "replaced")
        self.new_lock, self.replaced_at = replaced.new_seal, _micros(replaced.event_time)
        self.tds = {name: self._td(c.document) for name, c in self.consignments.items()}
        self.amended = ""
        """Number of the entry summary that is amended."""
        self._papers()
        self.lines = [self._line(d) for d in sorted(self._drafts, key=lambda d: d.at) if d.event is not None]
        self.files = self._when(FilingLodged, lambda e: e.kind == "pi" and self._early(e))
        """When the railway files in Kazakhstan for the first that was declared before."""
        self.applies = self._when(FilingLodged, lambda e: e.kind == "gtt")
        """When the carrier applies for the link, in the script's own time."""
        self.arrives = self._when(PositionReported, lambda e: (e.station, e.what) == ("dostyk", "arrived"))
        self.read_bad = self._when(SealEvent, lambda e: e.what == "checked_bad")
        """When Kazakhstan reads the broken lock."""
        self.leaves = self._when(PositionReported, lambda e: (e.station, e.what) == ("dostyk", "departed"))
        release = self._first(CustomsNotice, lambda e: e.code == "TD-RELEASED" and self._is_td(e, CLEARED))
        self.release_id = f"{release.source}/customs.notice/{release.id}"

    def _tools(self, numbers: Numbers) -> Tools:
        reference, rng, options, cast = self.reference, self._rng, self.options, self._cast
        pen = Pen(cast, 0)
        desk = Desk(reference, pen, CodeBook(reference), numbers, rng, options)
        seals = Seals(reference, pen, desk, numbers, rng, options)
        return Tools(
            reference=reference, options=options, pen=pen, desk=desk, seals=seals, numbers=numbers, operators=cast.sites, closed=lambda _, at: at,
            border=Border(reference, pen, desk, seals, numbers, rng, options), rails=Rails(pen, self._way, rng, numbers, options),
            pacer=Pacer(reference, rng, options.speed_up), loading=Loading(reference, pen, seals, numbers, rng, options))

    def beats(self, start: int) -> Iterator[Draft]:
        """Heartbeats of everybody on the way, from `start` on, without end."""
        parties = self._cast.among({s.country for s in self._way.stops}, {s.id for s in self._way.stops})
        return heartbeats(self.reference, self._cast, self.options, start, parties)

    # -- what is found in the journey ------------------------------------------------------------------------------------------------
    def _first(self, kind: type[Any], fits: Callable[[Any], bool]) -> Any:
        return next(d.event for d in sorted(self._drafts, key=lambda d: d.at) if isinstance(d.event, kind) and fits(d.event))

    def _when(self, kind: type[Any], fits: Callable[[Any], bool]) -> int:
        return next(line.at for line in self.lines if isinstance(line.event, kind) and fits(line.event))

    def _early(self, filing: FilingLodged) -> str:
        """The consignment of a filing if its note was there before it: only then is there a time at which Kazakhstan just expects it."""
        for name, c in self.consignments.items():
            declared = self._first(ShipmentDeclared, lambda e, note=c.document: e.document == note)
            if c.document in filing.documents and declared.event_time < filing.event_time:
                return name
        return ""

    def _td(self, note: DocumentRef) -> set[str]:
        """Numbers of the transit declaration of a note in Kazakhstan: the filer's and the official one."""
        own = self._first(FilingLodged, lambda e: e.kind == "td" and note in e.documents).number
        answer = self._first(CustomsNotice, lambda e: e.code == "TD-REGISTERED" and e.document is not None and e.document.number == own)
        return {own, *(a.number for a in answer.aliases)}

    def _is_td(self, event: CustomsNotice, name: Name) -> bool:
        return event.document is not None and event.document.number in self.tds[name]

    # -- the forwarder's and the carrier's papers ------------------------------------------------------------------------------------
    def _papers(self) -> None:
        """The notes name the lock once it is on, and the entry summary for Poland is lodged with it. After the replacement the note is issued anew and the
        summary amended; the transit declaration the simulator amends by itself."""
        for name, c in self.consignments.items():
            self._note(c, 17 * HOUR + START, 2, self.locks[name])
            self._ens(name, c)
        self._note(self.consignments[BROKEN], self.replaced_at + 3 * HOUR, 3, self.new_lock)
        self._drafts += self._pen.page()

    def _stuffing(self, c: Consignment, lock: str) -> Stuffing:
        first: ShipmentDeclared = self._first(ShipmentDeclared, lambda e: e.document == c.document)
        return msgspec.structs.replace(first.containers[0], seals=(*first.containers[0].seals, lock))

    def _note(self, c: Consignment, at: int, version: int, lock: str) -> None:
        first: ShipmentDeclared = self._first(ShipmentDeclared, lambda e: e.document == c.document)
        kept = ("document", "corridor", "direction", "crossings", "offices", "origin", "destination", "parties", "procedures", "enrolments", "record")
        same: dict[str, Any] = {field: getattr(first, field) for field in kept}
        self._pen.say(ShipmentDeclared, c.forwarder, at, key=c.document.number, version=version, containers=(self._stuffing(c, lock),), **same)

    def _ens(self, name: Name, c: Consignment) -> None:
        at, office = START + 20 * HOUR, self.reference.crossings[BREST].offices["PL"]
        filing = Filing(kind="ens", own=DocumentRef(kind="ens", number=self._numbers.local("pkp")), authority="PL", filer="pkp", office=office)
        post = Post(authority="PL", kind="ENTRY", office=office, crossing=BREST, country="PL", since=at, arrives=at, leaves=at)
        content: dict[str, Any] = {"office": office, "documents": (c.document,), "parties": c.parties, "containers": (self._stuffing(c, self.locks[name]),)}
        number = filing.own.number
        self._pen.say(FilingLodged, "pkp", at, key=number, authority="PL", kind="ens", number=number, record=number, version=1, **content)
        assert self._desk.tell(filing, post, "registered", at + HOUR)
        if name == BROKEN:
            self.amended = number
            renewed = content | {"containers": (self._stuffing(c, self.new_lock),)}
            assert self._desk.amend(filing, self.replaced_at + 5 * HOUR, renewed, "") > self.replaced_at

    # -- cues ------------------------------------------------------------------------------------------------------------------------
    def _line(self, draft: Draft) -> Line:
        assert draft.event is not None
        return Line(draft.at, draft.topic, draft.key, draft.event, self._cue(draft.event))

    def _cue(self, event: Event) -> str:
        names = {box: name for name, box in self.boxes.items()}
        match event:
            case FilingLodged(kind="pi"):
                return f"expected {name}" if (name := self._early(event)) else ""
            case FilingLodged(kind="gtt"):
                return "expected"
            case PositionReported(station="dostyk", what="arrived"):
                return "all pre-cleared"
            case PositionReported(station="dostyk", what="departed"):
                return "released"
            case CustomsNotice(code="RED"):
                return "likely"
            case CustomsNotice(code="CONTROL-START"):
                return "ordered"
            case SealEvent(place="dostyk", chain="customs_lock", what="reading" | "broken"):
                return f"arrived {names[event.container]}" if names[event.container] != BROKEN or event.what == "broken" else ""
            case CustomsNotice(code="TD-RELEASED") if self._is_td(event, CLEARED):
                return "ready"
            case SealEvent(what="opened_authorised"):
                return "broken"
            case FilingLodged(kind="td", action="amend"):
                return "replaced"
            case ShipmentDeclared(version=3):
                return "on the TD"
            case FilingLodged(kind="ens", action="amend"):
                return "on the note"
            case CustomsNotice(document=DocumentRef(kind="ens", number=number)) if number == self.amended and _micros(event.event_time) > self.replaced_at:
                return "pending"
            case _:
                return ""


def _pages(journey: Journey, boxes: list[Consignment]) -> Iterator[Draft]:
    """Everything that the journey and what comes of it will say."""
    live = [journey.pages(START, boxes)]
    while live:
        for _, page in live.pop():
            yield from page
        live += [pages for _, pages in journey.spawned]
        journey.spawned.clear()


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def later(value: Any, by: timedelta) -> Any:
    """The same with every time in it moved: a script that waits for its cue goes on as if nothing had been skipped."""
    if isinstance(value, datetime):
        return value + by
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **{name: later(getattr(value, name), by) for name in value.__struct_fields__})
    if isinstance(value, tuple):
        return tuple(later(one, by) for one in value)
    return value


__all__ = ["BROKEN", "BY", "CLEARED", "HOUR", "KZ", "LOCK", "PL", "SILENT", "START", "Line", "Story", "later"]
