"""Whatever is told, in whatever order and however wrong: a fold that looks only at what the news can touch says what one that looks at everything says."""
from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any, cast
from unittest.mock import patch

import msgspec
import pytest

from streams.clearance import ClearanceFold, Shipment
from streams.fold import Step, World
from streams.reference.model import Agreement, Mapped, Names, Reference, SideRow
from tests.streams.border_world import (
    BOX,
    BREST,
    BY_EXIT,
    CN_EXIT,
    DOSTYK,
    GTT,
    KZ_ENTRY,
    OTHER_BOX,
    PL_ENTRY,
    ROWS,
    T0,
    bound,
    box,
    eta,
    filing,
    lodged,
    reference,
    seal,
    shipment,
)
from tests.streams.test_assess_memo import any_fact
from tests.streams.test_assess_story import KEY, there, underway
from topics.events.internal import FreshnessChanged, MaskFacts, ShipmentFacts
from topics.events.sites import CrossingCondition, RiskIndicator
from topics.facts import DAY, HOUR, MINUTE, Fact, Rank

INNER = ("KZ-RU-ZHAISAN-ILETSK:KZ:EXIT", "KZ-RU-ZHAISAN-ILETSK:RU:ENTRY")
SIDES = (CN_EXIT, KZ_ENTRY, BY_EXIT, PL_ENTRY)
OFFICES = ("PL-WARSAW:PL:OFFICE", "KZ-ALMATY:KZ:OFFICE", "DE004851:DE:OFFICE")
RARE = (*INNER, "RU:TERRITORY", "PL-DE-RZEPIN-FRANKFURT:PL:EXIT", "PL-DE-RZEPIN-FRANKFURT:DE:ENTRY", "DE004851:DE:OFFICE", "KZ-UZ-SARYAGASH-KELES:KZ:EXIT")
NAMES = {"CN": ("CN-ALA", "alashankou"), "KZ": ("KZ-DOSTYK", "dostyk", DOSTYK, "KZ-ALMATY"), "BY": ("BY-BREST", BREST),
         "PL": ("PL301010", BREST, "malaszewicze", "PL-WARSAW"), "DE": ("DE004851",), "RU": ("RU-1",)}
KINDS = ("pi", "td", "ens", "transit", "manifest", "declaration", "conveyance", "gtt", "import", "release", "exit")
PHASES = ("sent", "registered", "assessed", "accepted", "rejected", "released", "revoked", "amendment_sent", "amended", "amendment_rejected",
          "withdrawal_sent", "ended", "invalidated", "arrived", "enquiry", "loaded")
CONDITIONS = ("gtt.partner_ack", "gtt.recognised", "gtt.enrolled", "recognition", "inspection", "inspection_waived", "green_lane.enrolled",
              "fast_clearance.enrolled", "ens_assessed", "risk_cleared", "GTT-03")
WHATS = ("applied", "armed", "reading", "ok", "bad", "wrong_id", "tamper", "broken", "opened_authorised", "removed", "replaced", "lost", "restored",
         "battery_low", "deviation")


def agreement(kind: str, *parties: str, **more: Any) -> Agreement:
    return Agreement(source="D", id=f"{kind}-{'-'.join(parties)}", kind=cast(Any, kind), parties=parties, in_force="2018-11-15", names=Names(kind), **more)


def busy(version: str = "test") -> Reference:
    """A world in which many rules have something to say."""
    rows = (*(msgspec.structs.replace(r, chains=("customs_lock",)) if r.id == "eaeu-entry" else r for r in ROWS),
            SideRow(source="D", id="eu-office", union="EU", kind="OFFICE", filings=(filing("import", role="declarant", before_arrival=False),),
                    release=(("ended:transit",), ("released:import",)), decision=("released:import",), by={"transit": "EU"}))
    more = (agreement("recognition", "KZ", "BY"), agreement("recognition", "BY", "PL"), agreement("green_lane", "CN", "KZ"), agreement("aeo_mra", "CN", "KZ"),
            agreement("gtt", "BY", "PL"))
    mapped = {("office", f"{code[:2]}:{code}"): Mapped(source="D", list="office", code=f"{code[:2]}:{code}", means=code.lower())
              for code in ("DE004851", "PL-WARSAW", "KZ-ALMATY")}
    return reference(side_rows=rows, agreements={a.id: a for a in (GTT, *more)}, mapped=mapped, version=version, digest=f"d-{version}")


REFERENCES = (reference(), busy())


class Teller:
    """Makes up facts, most of them about a few documents, boxes and references, so that they meet."""

    def __init__(self, rng: random.Random, calm: bool) -> None:
        self.rng, self.calm, self.now, self.count = rng, calm, T0, 0
        self.told: list[Fact] = []

    def one(self, *of: Any) -> Any:
        return self.rng.choice(of)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def at(self) -> int:
        if self.chance(0.05):
            return self.now + self.rng.randint(1, 90) * HOUR
        return max(self.now - self.rng.choice((0, 0, self.rng.randint(0, 6) * HOUR, self.rng.randint(0, 300) * HOUR)), 1)

    def side(self) -> str:
        return str(self.one(*RARE) if self.chance(0.04 if self.calm else 0.25) else self.one(*SIDES, *SIDES, *OFFICES))

    def where(self, kind: str = "td", number: str = "N1") -> tuple[str, str]:
        """(side as a fact names it, authority that says so)."""
        side = self.side()
        authority = side.rsplit(":", 2)[-2] if side.count(":") > 1 else "RU"
        source = authority if self.chance(0.9) else str(self.one("CN", "KZ", "PL", "fwd", "ktz"))
        ways = [side, side, f"@{authority}", f"@{authority}/doc/{kind}/{number}", f"@{authority}/office/{self.one(*NAMES[authority])}",
                f"@{authority}/{self.one('exit', 'entry', 'office')}"]
        if not self.calm:
            ways += ["*", f"@{authority}/office/NOWHERE", "@XX", "nonsense"]
        return str(self.one(*ways)), source

    def scope(self) -> str:
        return str(self.one("", "", "", BOX, BOX, OTHER_BOX, f"{BOX}/I1" if self.chance(0.1) else "", "TCLU4265789" if self.chance(0.2) else BOX))

    def fact(self, side: str, key: tuple[str, ...], source: str, rank: Rank = Rank.AUTHORITY, value: Any = True, scope: str | None = None, **more: Any) -> Fact:
        at = self.at()
        self.count += 1
        return Fact(side=side, key=key, at=at, source=source, rank=rank, value=value, scope=self.scope() if scope is None else scope,
                    id=f"{source}/{key[0]}/{self.one(at, self.count)}", version=self.one(0, 0, self.now, self.rng.randint(0, 3)),
                    record=self.one("", "", "", "td:N1", "R1"), code=self.one("", "", "IE029", "PAS"), dated=self.chance(0.05), **more)

    # -- one of each kind ----------------------------------------------------------------------------------------------

    def doc(self) -> Fact:
        kind, number = self.one(*KINDS), self.one("N1", "N1", "N2", "T1", "G1", "E1", "P1", "run/1")
        side, source = self.where(kind, number)
        phase = self.one(*PHASES)
        value = self.one(True, True, {"valid_until": self.now + self.rng.randint(-2, 300) * HOUR}, {"official": "MRN1", "reason": "x"}, {})
        sender = self.chance(0.7) and phase in ("sent", "amendment_sent", "withdrawal_sent")
        return self.fact(side, ("doc", kind, number, phase), "fwd" if sender else source, Rank.FORWARDER if sender else Rank.AUTHORITY, value)

    def demand(self) -> Fact:
        side, source = self.where()
        value = self.one(True, {"answer_by": self.now + self.rng.randint(-2, 9) * HOUR, "reason": "x"}, {"official": "H1"})
        return self.fact(side, ("demand", self.one("hold", "control", "info", "refusal", "seal"), self.one("", "", "td/N1", "conveyance/run/1"),
                                self.one("", "R1", "R2", "@KZ/n/1"), self.one("opened", "started", "closed", "discrepancy", "answered")), source, value=value)

    def agency(self) -> Fact:
        authority = self.one("KZ", "CN", "BY", "PL")
        side = self.one(f"@{authority}", f"@{authority}/office/{self.one(*NAMES[authority])}", self.side())
        return self.fact(side, ("agency", "veterinary", self.one("hold", "control", "refusal", ""), self.one("V1", "", "@x/1"),
                                self.one("opened", "closed", "discrepancy", "certificate")), "vet", value={"what": "hold", "reason": "r"})

    def presence(self) -> Fact:
        what, source = self.one("seen", "handed_over", "departed", "departed", "presented"), self.one("ktz", "pkp", "term", "locks")
        rank = {"term": Rank.TERMINAL, "locks": Rank.SENSOR}.get(source, Rank.RAILWAY)
        side = self.side()
        if what == "presented" and self.chance(0.5):
            side, source = self.where()
            rank = Rank.AUTHORITY
        return self.fact(side, (what, self.one("1", "1", "1", "2")), source, rank, self.one(True, True, {"bound": True}))

    def train(self) -> Fact:
        head = self.one("run", "visit", "route", "loading_start", "unloading", "tally", "terminal", "flag", "mystery")
        value: Any = {"run": self.one("run/1", "run/2", "yard:dostyk"), "visit": self.one("2", "2", "3", "1"), "route": self.one("on", "off", "not_required"),
                      "loading_start": self.one(True, [self.now + HOUR, self.now + 2 * HOUR]), "tally": {"normal": self.chance(0.5), "text": "t"},
                      "terminal": {"place": "dostyk", "text": "t"}}.get(head, True)
        key = {"terminal": ("terminal", "stored"), "flag": ("flag", self.one("HISTORY_INCOMPLETE", "control_likely", "GOODS_CUT"))}.get(head, (head,))
        return self.fact(self.side(), key, self.one("trains", "ktz", "pkp", "term"), self.one(Rank.RAILWAY, Rank.RAILWAY, Rank.TERMINAL), value)

    def eta(self) -> Fact:
        when = self.now + self.rng.randint(-5, 300) * 15 * MINUTE
        found = eta(self.side(), when, spread=self.rng.randint(0, 20) * 15 * MINUTE, said=self.now, scope=self.scope())
        return msgspec.structs.replace(found, source=self.one("trains", "trains", "trains", "custody", "KZ"))

    def position(self) -> Fact:
        value = {"run": self.one("run/1", "run/2", "yard:dostyk", ""), "lat": 1.0, "lon": 2.0}
        return self.fact("*", ("position",), "trains", Rank.RAILWAY, value, self.one(BOX, OTHER_BOX, ""))

    def seal(self) -> Fact:
        return seal(self.one(*WHATS), self.at(), lock=self.one("L-100", "L-200"), read_at=self.one("", self.side()), scope=self.one(BOX, OTHER_BOX, ""),
                    chain=self.one("customs_lock", "customs_lock", "commercial"), source=self.one("locks", "KZ"), rank=self.one(Rank.SENSOR, Rank.AUTHORITY))

    def filing(self) -> Fact:
        self.count += 1
        kind, authority = self.one(*KINDS[:9]), self.one("CN", "KZ", "BY", "PL", "DE", "RU") if not self.calm else self.one("CN", "KZ", "PL")
        number = self.one("N1", "N2", f"F{self.count}", f"F{self.count}", f"F{self.count}")
        content: dict[str, Any] = {"containers": [box(self.one(BOX, OTHER_BOX), gross_kg=self.one(20_000.0, 26_000.0), seals=[self.one("L-100", "L-200")])]}
        if self.chance(0.4):
            content["office"] = self.one(*NAMES[authority], "NOWHERE")
        if self.chance(0.3):
            content["offices"] = [f"{a}:{self.one(*NAMES[a])}" for a in self.rng.sample(sorted(NAMES), 2)]
        if self.chance(0.3):
            content["parties"] = [{"role": "consignor", "name": "S", "country": "CN", "aeo": self.one("AEO1", "AEO2")}]
        if self.chance(0.2):
            content |= self.one({"prelodged": True}, {"visit": "2"}, {"train": "run/1"},
                                {"documents": [{"kind": "td", "number": "N1"}]}, {"procedure": "import"})
        found = lodged(kind, number, authority, self.at(), **content)
        return msgspec.structs.replace(found, scope=self.one("", "", BOX), version=self.rng.randint(0, 2), record=self.one("", f"{kind}:{number}"),
                                       source=self.one("fwd", "fwd", "ktz"))

    def condition(self) -> Fact:
        side, source = self.where()
        return self.fact(side, ("condition", self.one(*CONDITIONS)), source, value=self.one("proven", "proven", "failed"))

    def whole(self) -> Fact:
        made = self.rng.randint(0, 7)
        if made == 0:
            return bound(self.one(OTHER_BOX, BOX), **self.one({}, {"empty": True}, {"replaces": BOX}))
        if made == 1:
            return shipment(**self.one({}, {"enrolments": []}, {"enrolments": ["gtt", "green_lane"]}, {"containers": [box(), box(OTHER_BOX)]},
                                       {"direction": "east"}, {"offices": ["DE:DE004851"]}, {"procedures": {"KZ": "import"}}))
        if made == 2:
            note = shipment(document={"kind": "cim", "number": "C1"}, **self.one({}, {"containers": [box(gross_kg=25_000.0)]}))
            return msgspec.structs.replace(note, record="cim:C1", at=T0 + self.one(-1, 1) * HOUR, id="fwd/2")
        if made == 3:
            return self.fact("*", ("mass", "scale"), "term", Rank.TERMINAL, {"gross_kg": self.one(20_000, 25_000)}, BOX)
        if made == 4:
            return self.fact("*", ("doc_seal", "smgs:1"), "fwd", Rank.FORWARDER, {"seals": [self.one("L-100", "L-200")]}, BOX)
        if made == 5:
            return self.fact("*", ("limit", self.one("KZ", "PL")), "railclear", Rank.SENSOR)
        if made == 6:
            return self.fact("*", ("mask",), "x", Rank.AUTHORITY, {"source": "KZ", "since": 0, "until": self.now})
        key = self.one(("flag", "GOODS_CUT"), ("terminal", "gate_in"), ("route",), ("run",))
        return self.fact("*", key, "term", Rank.TERMINAL, self.one(True, "on", "run/9"))

    def again(self) -> Fact:
        """Something that was said, said otherwise: withdrawn, older, newer, of another source, scope or side."""
        old = self.rng.choice(self.told)
        newer = max(old.version, 0) + 1
        return msgspec.structs.replace(old, **self.one(
            {"value": None, "version": newer}, {"value": None, "version": newer}, {"version": newer, "at": self.at()}, {"version": old.version - 1},
            {"version": newer, "id": f"x/{self.count}"}, {"source": self.one("CN", "KZ", "BY", "PL", "fwd", "ktz", "pkp")}, {"scope": self.scope()},
            {"side": self.side()}, {"record": "R9"}, {"version": newer, "at": self.now + DAY}, {"version": newer, "dated": not old.dated},
            {"rank": self.one(*Rank), "version": newer}, {"value": self.one(True, {}, "off", "proven"), "version": newer}))

    def any(self) -> Fact:
        kinds = [self.doc] * 6 + [self.demand] * 2 + [self.presence] * 4 + [self.train] * 2 + [self.eta] * 4
        kinds += [self.position, *[self.filing] * 2, *[self.condition] * 2]
        if self.told:
            kinds += [self.again] * 5
        kinds += [self.agency, self.seal, self.whole, lambda: any_fact(self.rng, self.now)] * (self.chance(0.1) if self.calm else 2)
        made = self.rng.choice(kinds)()
        self.told.append(made)
        return made

    def broadcast(self) -> tuple[str, msgspec.Struct]:
        when = datetime.fromtimestamp(self.now // 1_000_000, UTC)
        source = self.one("customs-kz", "customs-pl", "ktz", "pkp", "term", "customs-fr")
        made = self.rng.randint(0, 3)
        if made == 0:
            return f"fresh:{source}", FreshnessChanged(source=source, live=self.chance(0.6), since=self.now, last_event=self.now - HOUR)
        if made == 1:
            return f"mask:{source}:M1", MaskFacts(
                source=source, since=self.now - 40 * HOUR, until=self.now, record="M1", version=self.now, lifted=self.chance(0.6))
        if made == 2:
            crossing = self.one(DOSTYK, BREST, "OTHER")
            return f"crossing:{crossing}", CrossingCondition(source="net", id=f"C{self.now}", event_time=when, crossing=crossing,
                                                             state=self.one("open", "closed", "limited"), reason="r")
        later = datetime.fromtimestamp((self.now + self.rng.randint(1, 40) * HOUR) // 1_000_000, UTC)
        return f"risk:r:{self.one(1, 2)}", RiskIndicator(
            source="risk-kz", id=f"I{self.count}", event_time=when, authority=self.one("KZ", "PL", "CN"), participants=("BY",),
            secrecy=self.one("own", "participants"), valid_from=when, valid_until=later, containers=(BOX,) if self.chance(0.6) else (),
            hs_prefixes=("8471",) if self.chance(0.3) else (), risk_class="weapons", score=0.9)


def whole_step(fold: ClearanceFold, state: Shipment | None, events: list[ShipmentFacts], world: World, now: int) -> Step[Shipment]:
    """A step that knows nothing but its state's facts and what was said."""
    with patch("streams.clearance.fold._resumed", return_value=None):
        return fold.step(back(state), KEY, events, world, now)


def back(state: Shipment | None) -> Shipment | None:
    return None if state is None else ClearanceFold().decode_state(ClearanceFold().encode_state(state))


def told_alike(one: Step[Shipment], other: Step[Shipment]) -> str:
    """What differs; empty = nothing."""
    for name in ("outputs", "outcomes", "next_due", "changed"):
        if getattr(one, name) != getattr(other, name):
            return name
    if (one.state is None) != (other.state is None):
        return "state"
    if one.state is not None and other.state is not None:
        for field in Shipment.__struct_fields__:
            if field != "ground" and getattr(one.state, field) != getattr(other.state, field):
                return f"state.{field}"
        bare, other_bare = (ClearanceFold().encode_state(msgspec.structs.replace(s, ground=None)) for s in (one.state, other.state))
        if bare != other_bare:
            return "bytes"
    return ""


class History:
    """One shipment, told to folds that go different ways."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.teller = Teller(self.rng, calm=seed % 3 != 0)
        self.references = REFERENCES if self.rng.random() < 0.1 else (self.rng.choice(REFERENCES),)
        self.ref = self.references[0]
        self.broadcasts: dict[str, msgspec.Struct] = {}
        self.folds = {name: ClearanceFold() for name in ("warm", "cold", "mixed", "whole")}
        self.states: dict[str, Shipment | None] = dict.fromkeys(self.folds)
        self.due: int | None = None
        self.n = 0

    def news(self) -> list[ShipmentFacts]:
        rng, teller = self.rng, self.teller
        if self.n == 0:
            begin = rng.choice((underway(), there(), [shipment(), bound()], [shipment()]))
            if rng.random() < 0.6:
                begin = [shipment(offices=rng.choice((["PL:PL-WARSAW"], ["PL:PL-WARSAW", "DE:DE004851"], ["KZ:KZ-ALMATY"])),
                                  **rng.choice(({}, {"containers": [box(), box(OTHER_BOX)]}))) if f.key == ("shipment",) else f for f in begin]
            if rng.random() < 0.3:
                begin = [f for f in begin if rng.random() < 0.85] or begin
            teller.told += begin
            return [ShipmentFacts(shipment=KEY, facts=tuple(begin))]
        if rng.random() < 0.15:
            return []
        each = [tuple(teller.any() for _ in range(rng.choice((1, 1, 1, 1, 2, 3)))) for _ in range(rng.choice((1, 1, 1, 1, 2)))]
        return [ShipmentFacts(shipment=KEY, facts=facts) for facts in each]

    def pass_time(self) -> None:
        rng, teller = self.rng, self.teller
        teller.now += rng.choice((0, 1, MINUTE, 20 * MINUTE, HOUR, 7 * HOUR, 2 * DAY if rng.random() < 0.2 else HOUR))
        if self.due is not None and self.due < teller.now + 3 * DAY and rng.random() < 0.25:
            teller.now = max(teller.now, self.due + rng.choice((0, 0, 1, -1)))
        if rng.random() < 0.06:
            slot, said = teller.broadcast()
            self.broadcasts[slot] = said
        if rng.random() < 0.02:
            self.broadcasts.pop(next(iter(self.broadcasts), ""), None)
        self.ref = rng.choice(self.references) if rng.random() < 0.2 else self.ref

    def step(self) -> tuple[str, Any]:
        """(which fold and what of it differs, the news)."""
        self.pass_time()
        events, now = self.news(), self.teller.now
        world = World(self.ref, dict(self.broadcasts))
        given = {"warm": self.states["warm"], "cold": back(self.states["cold"]),
                 "mixed": back(self.states["mixed"]) if self.rng.random() < 0.4 else self.states["mixed"]}
        steps = {name: self.folds[name].step(state, KEY, events, world, now) for name, state in given.items()}
        whole = whole_step(self.folds["whole"], self.states["whole"], events, world, now)
        wrong = next((f"{name} {what}" for name, step in steps.items() if (what := told_alike(step, whole))), "")
        self.states = {**{name: step.state for name, step in steps.items()}, "whole": whole.state}
        self.due = whole.next_due
        self.n += 1
        return wrong, events


def play(seed: int, steps: int) -> tuple[str, int, Any]:
    history = History(seed)
    for n in range(steps):
        wrong, events = history.step()
        if wrong:
            return wrong, n, events
    return "", steps, ()


@pytest.mark.parametrize("seed", range(14))
def test_every_short_way_says_and_keeps_what_the_long_way_does(seed: int) -> None:
    assert play(seed, 20) == ("", 20, ())
