"""What railways say of a train: announcement, consist, positions, hand-over sheet, the next train formed."""
from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from streams.simulate.cargo import Box, Consignment, Filing
from streams.simulate.clockwork import MINUTE, between, minutes, on_the_way
from streams.simulate.numbers import Numbers
from streams.simulate.options import SimOptions
from streams.simulate.pen import Pen
from streams.simulate.route import Call, Pass, Way
from streams.simulate.zones import local
from topics.events.base import TrainRef
from topics.events.rail import (
    ConsistReported,
    HandOverSheet,
    PlannedStop,
    PositionReported,
    TrainAnnounced,
    TrainDelayed,
    TrainFormed,
    WagonLoad,
    WagonSetOut,
)
from topics.identifiers import train_key

NUMBER_BASE = {"CN": ("X8", 3), "PL": ("4", 5), "DE": ("4", 5), "LT": ("1", 3)}
"""First characters and digits of train numbers [M]; four digits on the 1520 network."""


@dataclass
class Part:
    """A train as it stands: its name, what is on it. Behind a gauge break one train may be two parts."""

    train: TrainRef
    consignments: list[Consignment]
    formed_at: int
    filings: dict[tuple[str, str], Filing] = field(default_factory=dict)
    """Filings about the whole train: (authority, kind)."""
    number: int = 0
    """0 = the train itself, 1 … = parts and stragglers that came of it."""

    @property
    def railway(self) -> str:
        return self.train.railway

    @property
    def boxes(self) -> list[Box]:
        return [box for c in self.consignments for box in c.boxes]

    @property
    def key(self) -> str:
        return train_key(self.train)


class Rails:
    """Writes the railways' events of one journey."""

    def __init__(self, pen: Pen, way: Way, rng: random.Random, numbers: Numbers, options: SimOptions) -> None:
        self.pen, self.way, self.rng, self.numbers, self.options = pen, way, rng, numbers, options

    def name(self, country: str, at: int, origin: str) -> TrainRef:
        """A new train of a country's railway on that day."""
        railway = self.pen.cast.who("railway", country)
        first, digits = NUMBER_BASE.get(country, ("1", 3))
        number = f"{first}{self.numbers.train(railway, digits):0{digits}d}"
        return TrainRef(railway=railway, number=number, date=f"{local(at, country):%Y-%m-%d}", origin=origin)

    def loads(self, boxes: Iterable[Box]) -> tuple[WagonLoad, ...]:
        return tuple(WagonLoad(wagon=box.wagon, containers=(box.number,), gross_kg=round(box.gross_kg + 22_000)) for box in boxes)

    def couple(self, part: Part, gauge: int, country: str) -> None:
        """Put every box on a wagon of the network that the train runs on."""
        for box in part.boxes:
            box.wagon = self.numbers.wagon(gauge, country)

    def crossings_after(self, stop: int) -> tuple[str, ...]:
        return tuple(p.crossing.id for p in self.way.passes if p.entry_at > stop)

    def planned(self, calls: Sequence[Call], country: str) -> tuple[PlannedStop, ...]:
        return tuple(
            PlannedStop(place=self.way.stops[c.stop].id, arrives=local(c.arrives, country), departs=local(c.departs, country)) for c in calls
            if self.way.stops[c.stop].kind != "town")

    def announce(self, part: Part, at: int, calls: Sequence[Call]) -> None:
        country = self.pen.cast.country(part.railway)
        self.pen.say(
            TrainAnnounced, part.railway, at, key=part.key, train=part.train, corridor=self.way.corridor, direction=self.way.direction,
            stops=self.planned(calls, country), containers=tuple(b.number for b in part.boxes), crossings=self.crossings_after(calls[0].stop),
            empty=all(b.empty for b in part.boxes), record=part.key, version=1)

    def consist(self, part: Part, at: int, stop: int) -> None:
        self.pen.say(ConsistReported, part.railway, at, key=part.key, train=part.train, wagons=self.loads(part.boxes), place=self.way.stops[stop].id)

    def form(self, child: Part, parents: Sequence[Part], at: int, stop: int, reason: str, *, before: bool = False, story: str = "") -> None:
        """The next train; its own railway tells. `before`: formed before the crossing of this stop, which is still ahead."""
        ahead = self.crossings_after(stop) if not before else tuple(p.crossing.id for p in self.way.passes if p.entry_at > stop)
        self.pen.say(
            TrainFormed, child.railway, at, key=child.key, story=story, train=child.train, parents=tuple(p.train for p in parents),
            place=self.way.stops[stop].id, wagons=self.loads(child.boxes), reason=reason, corridor=self.way.corridor, direction=self.way.direction,
            crossings=ahead)
        self.pen.say(ConsistReported, child.railway, at + 5 * MINUTE, key=child.key, train=child.train, wagons=self.loads(child.boxes),
                     place=self.way.stops[stop].id)

    def hand_over(self, part: Part, passed: Pass, at: int, receiving: str, *, story: str = "") -> None:
        self.pen.say(HandOverSheet, part.railway, at, key=part.key, story=story, train=part.train, crossing=passed.crossing.id, giving=part.railway,
                     receiving=receiving, wagons=self.loads(part.boxes))

    def station(self, part: Part, stop: int, at: int, what: str) -> None:
        """A station event, where the place is a station."""
        if self.way.stops[stop].kind != "town":
            self.pen.say(PositionReported, part.railway, at, key=part.key, train=part.train, station=self.way.stops[stop].id, what=what)

    def run(self, part: Part, start: Call, end: Call) -> None:
        """Departure, GPS on the way, arrival."""
        self.station(part, start.stop, start.departs, "departed")
        a, b = self.way.stops[start.stop], self.way.stops[end.stop]
        step = minutes(self.options.position_minutes)
        if step and a.lat is not None and a.lon is not None and b.lat is not None and b.lon is not None and not self._at_sea(start.stop, end.stop):
            at = start.departs + round(step * self.rng.uniform(0.5, 1.0))
            while at < end.arrives - 5 * MINUTE:
                share = (at - start.departs) / (end.arrives - start.departs)
                lat, lon = on_the_way((a.lat, a.lon), (b.lat, b.lon), share)
                self.pen.say(PositionReported, part.railway, at, key=part.key, train=part.train, lat=lat, lon=lon, speed_kmh=round(self.rng.uniform(25, 85), 1))
                at += round(step * self.rng.uniform(0.8, 1.2))
        self.station(part, end.stop, end.arrives, "arrived")

    def _at_sea(self, start: int, end: int) -> bool:
        return any(p.crossing.sea and p.exit_at <= start and end <= p.entry_at for p in self.way.passes)

    def delayed(self, part: Part, at: int, by: int, cause: str, stop: int, *, story: str = "") -> None:
        self.pen.say(TrainDelayed, part.railway, at, key=part.key, story=story, train=part.train, minutes=by // MINUTE, cause=cause,
                     place=self.way.stops[stop].id)

    def set_out(self, part: Part, boxes: Sequence[Box], at: int, place: str, reason: str, *, story: str = "") -> None:
        """Each wagon on its own."""
        for box in boxes:
            self.pen.say(WagonSetOut, part.railway, at + between(self.rng, 0, 2), key=part.key, story=story, train=part.train, wagon=box.wagon,
                         containers=(box.number,), place=place, reason=reason)
