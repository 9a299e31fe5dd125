"""What the trains carry: boxes, consignments, traders. All fictitious."""
from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal

from streams.simulate.numbers import Numbers
from streams.simulate.options import SimOptions
from topics.events.base import DocumentRef
from topics.events.trade import Goods, Stuffing, TraderRef

Direction = Literal["west", "east"]

WEST: tuple[tuple[str, str, float], ...] = (
    ("Laptop computers, 14 inch, new", "847130", 9000),
    ("Electric motors for washing machines", "850152", 17000),
    ("Wooden bedroom furniture", "940350", 11000),
    ("Rear axles for motor cars", "870850", 19000),
    ("Ceramic floor tiles", "690721", 22000),
    ("LED luminaires for ceilings", "940511", 8000),
    ("Cotton shirts for men", "620520", 9500),
    ("Photovoltaic modules", "854143", 20000),
    ("Bicycles without motor", "871200", 7000),
    ("Household refrigerators", "841821", 10500),
    ("Ball bearings", "848210", 21000),
    ("Tyres for motor cars, new", "401110", 13000),
    ("Tomato paste in drums", "200290", 22500),
    ("Plastic household articles", "392410", 9800),
)
EAST: tuple[tuple[str, str, float], ...] = (
    ("Wine of fresh grapes in bottles", "220421", 19000),
    ("Sawn pine timber, planed, heat treated", "440711", 21000),
    ("Chemical wood pulp, bleached", "470321", 23000),
    ("Passenger motor cars, new", "870323", 7200),
    ("Infant milk formula", "190110", 14000),
    ("Beer made from malt", "220300", 20500),
    ("Machining centres for metal", "845710", 16500),
    ("Chocolate in filled blocks", "180631", 15000),
    ("Sunflower oil, refined", "151219", 21500),
    ("Coated paperboard", "481092", 22800),
)
"""Description, HS code, usual net mass in kilograms of a full box."""
DANGEROUS = ("Lithium ion batteries", "850760", 14000.0, "3480")
"""Description, HS code, net mass, UN number (domain 4.4)."""
REEFER_C = {"190110": 8.0, "180631": 14.0, "220421": 12.0}
"""HS code of goods that travel at a temperature -> degrees Celsius [D]."""
ITEMS = (("Phone case, silicone", "392690"), ("Cotton T-shirt", "610910"), ("Toy car, plastic", "950300"), ("USB cable", "854442"), ("Desk lamp", "940521"))
TARE_KG = 3800.0


@dataclass
class Box:
    """One container: what the documents say of it, and what is true of it."""

    number: str
    gross_kg: float
    tare_kg: float = TARE_KG
    empty: bool = False
    wagon: str = ""
    packages: int = 0
    goods: tuple[Goods, ...] = ()
    seals: dict[str, str] = field(default_factory=dict)
    """Chain -> number of the seal that is on it now."""
    lock_bad: bool = False
    """The customs lock failed; not yet replaced."""
    true_gross_kg: float = 0.0
    setpoint_c: float | None = None
    """Reefers."""
    items: tuple[str, ...] = ()
    """House items of an e-commerce box."""

    def stuffing(self) -> Stuffing:
        """As a document states it."""
        return Stuffing(container=self.number, seals=tuple(self.seals[c] for c in sorted(self.seals)), goods=self.goods,
                        packages=self.packages or None, gross_kg=round(self.gross_kg, 1), empty=self.empty,
                        iso_type="45G1" if self.setpoint_c is None else "45R1", reefer_setpoint_c=self.setpoint_c)


@dataclass
class Filing:
    """A filing as its filer and the authority know it."""

    kind: str
    own: DocumentRef
    """Under the filer's reference."""
    authority: str
    filer: str
    office: str = ""
    official: DocumentRef | None = None
    registered_at: int = 0
    version: int = 1
    released: bool = False
    """Train-wide filings are released once."""

    @property
    def known_as(self) -> DocumentRef:
        """What the authority calls it: the official number once there is one."""
        return self.official or self.own


@dataclass
class Consignment:
    """A shipment: boxes under one transport document."""

    document: DocumentRef
    boxes: list[Box]
    parties: tuple[TraderRef, ...]
    forwarder: str
    direction: Direction
    procedures: dict[str, str]
    enrolments: tuple[str, ...] = ()
    offices: tuple[str, ...] = ()
    """Office of destination as `AUTHORITY:CODE`."""
    aeo: bool = False
    ecommerce: bool = False
    filings: dict[tuple[str, str], Filing] = field(default_factory=dict)
    """(authority or union, kind) -> the living one."""
    story: dict[str, str] = field(default_factory=dict)
    """Planned incident -> side at which it is still to happen."""
    told: set[str] = field(default_factory=set)
    """Planned incidents that have happened."""

    @property
    def empty(self) -> bool:
        return all(box.empty for box in self.boxes)


class Shipper:
    """Makes consignments until a train is full."""

    def __init__(self, rng: random.Random, numbers: Numbers, options: SimOptions) -> None:
        self.rng, self.numbers, self.options = rng, numbers, options

    def box(self, direction: Direction, *, empty: bool) -> Box:
        """A box with its bolt seal and goods."""
        rng = self.rng
        number = self.numbers.container()
        if empty:
            return Box(number, gross_kg=TARE_KG, true_gross_kg=TARE_KG, empty=True)
        text, hs, kilograms = rng.choice(WEST if direction == "west" else EAST)
        un = ""
        if direction == "west" and rng.random() < self.options.rates.dangerous:
            text, hs, kilograms, un = DANGEROUS
        net = round(kilograms * rng.uniform(0.85, 1.08))
        packages = rng.randint(20, 900)
        goods = (Goods(description=text, hs=hs, packages=packages, gross_kg=float(net), un=un),)
        gross = net + TARE_KG
        heavy = rng.random() < self.options.rates.heavy
        seals = {} if rng.random() < self.options.rates.seal_missing else {"bolt": self.numbers.seal("bolt")}
        setpoint = REEFER_C.get(hs) if rng.random() < 0.5 else None
        return Box(number, gross_kg=gross, packages=packages, goods=goods, seals=seals, setpoint_c=setpoint,
                   true_gross_kg=gross * (1.22 if heavy else rng.uniform(0.996, 1.004)))

    def parcels(self, box: Box) -> None:
        """Turn a box into an e-commerce box with house items."""
        count = self.rng.randint(self.options.items_min, max(self.options.items_min, self.options.items_max))
        box.items = tuple(f"HB{n + 1:04d}" for n in range(count))
        chosen = [self.rng.choice(ITEMS) for _ in range(min(count, 5))]
        box.goods = tuple(Goods(description=text, hs=hs, packages=max(1, count // len(chosen))) for text, hs in chosen)
        box.packages = count

    def parties(self, origin: str, destination: str, carrier: str, *, aeo: bool, direction: Direction) -> tuple[TraderRef, ...]:
        """Consignor, consignee and carrier, each with the identifier of its country."""
        here = "CN" if direction == "west" else origin
        there = destination if direction == "west" else "CN"
        serial = self.rng.randrange(1000)
        return (
            TraderRef(role="consignor", name=f"Example Exports {serial:03d}", identifier=self._identifier(here), country=here,
                      aeo=self.numbers.aeo() if aeo and here == "CN" else ""),
            TraderRef(role="consignee", name=f"Example Imports {serial:03d}", identifier=self._identifier(there), country=there),
            TraderRef(role="carrier", name=carrier, country=here),
        )

    def _identifier(self, country: str) -> str:
        return self.numbers.uscc() if country == "CN" else self.numbers.eori(country)
