"""The beginning of a journey: consignments made up, declared, brought in, sealed, loaded."""
from __future__ import annotations

import random

from streams.reference.model import Reference
from streams.simulate.cargo import Box, Consignment, Shipper
from streams.simulate.clockwork import MINUTE
from streams.simulate.incidents import Plan
from streams.simulate.numbers import Numbers
from streams.simulate.options import SimOptions
from streams.simulate.pen import Pen
from streams.simulate.rails import Part
from streams.simulate.route import Way
from streams.simulate.seals import Seals
from streams.simulate.zones import local
from topics.events.base import DocumentRef
from topics.events.sites import TerminalEvent
from topics.events.trade import ShipmentDeclared

EU_PLANS = (("transit", 0.62), ("import", 0.24), ("warehouse", 0.09), ("undecided", 0.05))
"""What becomes of boxes at the EU's border (features, hard case 18) [D]."""
GROUPS = ((1, 0.78), (2, 0.14), (3, 0.05), (5, 0.03))
"""Containers under one consignment note [D]."""


class Loading:
    """Makes a train's consignments and writes what is said of them before it leaves."""

    def __init__(self, reference: Reference, pen: Pen, seals: Seals, numbers: Numbers, rng: random.Random, options: SimOptions) -> None:
        self.reference, self.pen, self.seals, self.numbers, self.rng, self.options = reference, pen, seals, numbers, rng, options
        self.shipper = Shipper(rng, numbers, options)
        self._gtt = [a for a in reference.agreements.values() if a.kind == "gtt" and a.enabled and not a.suspended and a.in_force]

    # -- made up ------------------------------------------------------------------------------------------------------------------
    def consignments(self, way: Way, start: int, plans: list[tuple[Plan, str]], *, empties: bool) -> list[Consignment]:
        """Until the train is full. Planned incidents go to consignments of one box each."""
        target = self.rng.randint(self.options.containers_min, self.options.containers_max)
        made: list[Consignment] = []
        count = 0
        while count < target:
            plan = plans[len(made)] if len(made) < len(plans) else None
            size = 1 if plan else min(self._pick(GROUPS), target - count)
            empty = plan is None and (empties or self.rng.random() < self._empty_share(way))
            made.append(self._consignment(way, start, size, plan, empty=empty))
            count += size
        self.rng.shuffle(made)
        return made

    def _empty_share(self, way: Way) -> float:
        return self.options.rates.empty if way.direction == "west" else self.options.rates.empty * 4

    def _pick(self, table: tuple[tuple[int, float], ...]) -> int:
        return self.rng.choices([size for size, _ in table], [share for _, share in table])[0]

    def _consignment(self, way: Way, start: int, size: int, plan: tuple[Plan, str] | None, *, empty: bool) -> Consignment:
        rng, first, last = self.rng, way.stops[0], way.stops[-1]
        what = plan[0].what if plan else ""
        boxes = [self.shipper.box(way.direction, empty=empty) for _ in range(size)]
        aeo = not empty and rng.random() < self.options.rates.aeo
        parcels = what == "ecommerce" or (plan is None and not empty and size == 1 and way.direction == "west" and rng.random() < self.options.rates.ecommerce)
        if parcels:
            self.shipper.parcels(boxes[0])
        forwarder = self.pen.cast.who("trade", "CN" if way.direction == "west" else last.country, rng.randrange(4))
        railway = self.pen.cast.who("railway", first.country)
        procedures = self._procedures(way, first.country, last.country, empty=empty)
        document = DocumentRef(kind=_note(first.country, last.country, self.reference), number=self.numbers.smgs(), issuer=railway, station=first.id,
                               date=_date(start))
        consignment = Consignment(
            document=document, boxes=boxes, parties=self.shipper.parties(first.country, last.country, railway, aeo=aeo, direction=way.direction),
            forwarder=forwarder, direction=way.direction, procedures=procedures, aeo=aeo, ecommerce=parcels,
            enrolments=self._enrolments(way, plan, empty=empty), offices=_offices(self.reference, way, procedures))
        if plan and what != "ecommerce":
            consignment.story[what] = plan[1]
        return consignment

    def _enrolments(self, way: Way, plan: tuple[Plan, str] | None, *, empty: bool) -> tuple[str, ...]:
        crossings = {p.crossing.id for p in way.passes}
        possible = not empty and any(not a.crossings or crossings & set(a.crossings) for a in self._gtt) and any(
            {p.exit_authority, p.entry_authority} == {"CN", "KZ"} for p in way.passes)
        return ("gtt",) if possible and ((plan and plan[0].gtt) or self.rng.random() < self.options.rates.gtt) else ()

    def _procedures(self, way: Way, origin: str, destination: str, *, empty: bool) -> dict[str, str]:
        """What is planned with each authority on the way."""
        union = {code: a.union or code for code, a in self.reference.authorities.items()}
        here, there = union.get(origin, origin), union.get(destination, destination)
        out: dict[str, str] = {}
        final = self.rng.choices([p for p, _ in EU_PLANS], [w for _, w in EU_PLANS])[0] if there == "EU" else "import"
        if final in ("transit", "undecided") and any(p.customs and p.entry_at == len(way.stops) - 1 for p in way.passes):
            final = "import"                                       # the way ends at the post of entry: no transit leads from there to itself
        for passed in way.passes:
            for authority in (passed.exit_authority, passed.entry_authority):
                if empty:
                    out[authority] = "empty"
                elif union.get(authority, authority) == here:
                    out[authority] = "export"
                elif union.get(authority, authority) == there:
                    out[authority] = final
                else:
                    out[authority] = "transit"
        last = _last_entry(way)
        if not empty:
            for authority in out:
                if authority not in (last, destination) and union.get(authority, authority) == there and there != here:
                    out[authority] = "transit"                 # Kaliningrad: into the union, out of it and into it again
            if destination != last and out.get(destination) == "transit":
                out[destination] = "import"
        return out

    # -- said ---------------------------------------------------------------------------------------------------------------------
    def declare(self, part: Part, way: Way, start: int, leaves: int) -> None:
        """Each consignment note, by its forwarder."""
        for c in part.consignments:
            at = start + self.rng.randrange(max(1, (leaves - start) // 6))
            self.pen.say(
                ShipmentDeclared, c.forwarder, at, key=c.document.number, document=c.document, corridor=way.corridor, direction=way.direction,
                crossings=tuple(p.crossing.id for p in way.passes), offices=c.offices, origin=way.stops[0].id, destination=way.stops[-1].id,
                containers=tuple(b.stuffing() for b in c.boxes), parties=c.parties, procedures=c.procedures,
                enrolments=c.enrolments, record=c.document.number, version=1)

    def load(self, part: Part, way: Way, start: int, leaves: int, site: tuple[str, str]) -> None:
        """Gate, smart lock, wagon."""
        place, operator = site
        customs = way.stops[0].country
        pairs = [(c, b) for c in part.consignments for b in c.boxes]
        for n, (c, box) in enumerate(pairs):
            gate = start + (leaves - start) // 3 + n * 7 * MINUTE // 2
            if operator:
                self.pen.say(TerminalEvent, operator, gate, key=box.number, container=box.number, place=place, what="gate_in")
            if "gtt" in c.enrolments and customs == "CN":
                self.seals.enrol(box, c, gate + 60 * MINUTE, place, customs)
            if operator:
                loaded = leaves - (len(part.boxes) - n) * 3 * MINUTE - 60 * MINUTE
                self.pen.say(TerminalEvent, operator, max(loaded, gate + 75 * MINUTE), key=box.number, container=box.number, place=place, what="loaded",
                             wagon=box.wagon, train=part.train)

    def lock_at(self, boxes: list[tuple[Consignment, Box]], authority: str, at: int, place: str) -> None:
        """Eastbound: the lock goes on in Kazakhstan, before the border."""
        for c, box in boxes:
            if "gtt" in c.enrolments and "customs_lock" not in box.seals:
                self.seals.enrol(box, c, at, place, authority)


def _note(origin: str, destination: str, reference: Reference) -> str:
    """CIM/SMGS note where one end lies in the EU, else SMGS."""
    ends = [reference.authorities[c].union for c in (origin, destination) if c in reference.authorities]
    return "cim_smgs" if "EU" in ends else "smgs"


def _last_entry(way: Way) -> str:
    """Authority that the goods enter last."""
    return next((p.entry_authority for p in reversed(way.passes) if p.customs), "")


def _offices(reference: Reference, way: Way, procedures: dict[str, str]) -> tuple[str, ...]:
    """Office of destination, where the goods go on in transit from the last border."""
    last, end = _last_entry(way), way.stops[-1]
    if last not in reference.authorities or reference.authorities[last].union != "EU" or procedures.get(last) not in ("transit", "undecided"):
        return ()
    return (f"{end.country}:{office_code(end.country, end.id)}",)


def office_code(country: str, place: str) -> str:
    """A neutral office code like those of the crossings: country and six letters of the place [D]."""
    return country + (place.replace("-", "").upper() + "XXXXXX")[:6]


def _date(at: int) -> str:
    return f"{local(at, 'CN'):%Y-%m-%d}"

