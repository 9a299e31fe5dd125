"""A small world for tests of clearance: four authorities, two customs borders and an inner one, and short ways to write facts."""
from __future__ import annotations

from typing import Any

from streams.reference.model import (
    Agreement,
    Authority,
    Corridor,
    Crossing,
    DutyLine,
    FilingRow,
    Limits,
    Mapped,
    Names,
    Party,
    Reference,
    RiskRow,
    SideRow,
)
from topics.facts import HOUR, Fact, Rank, Value

T0 = 1_770_000_000_000_000
"""An instant in February 2026."""
BOX = "MZWU2146680"
OTHER_BOX = "CSQU3054383"
CN_EXIT = "CN-KZ-ALASHANKOU-DOSTYK:CN:EXIT"
KZ_ENTRY = "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY"
BY_EXIT = "BY-PL-BREST-MALASZEWICZE:BY:EXIT"
PL_ENTRY = "BY-PL-BREST-MALASZEWICZE:PL:ENTRY"
LOCK = "L-100"
DOSTYK = "CN-KZ-ALASHANKOU-DOSTYK"
BREST = "BY-PL-BREST-MALASZEWICZE"


def authority(code: str, union: str, zone: str, **more: Any) -> Authority:
    return Authority(source="D", code=code, names=Names(code), union=union, zone=zone, **more)


def filing(kind: str, **more: Any) -> FilingRow:
    return FilingRow(kind=kind, **more)


ROWS = (
    SideRow(
        source="D", id="cn-exit", authority="CN", kind="EXIT",
        filings=(filing("declaration", role="declarant", message="报关单", system="Single Window"), filing("manifest", role="railway"),
                 filing("gtt", enrolment="gtt", before_arrival=False, clock_ref="train_decl_review", lead_minutes=0)),
        release=(("released:declaration",), ("released:manifest",), ("released:conveyance",)), decision=("released:declaration",),
        per_run=("conveyance",)),
    SideRow(
        source="D", id="eaeu-entry", union="EAEU", kind="ENTRY",
        filings=(filing("pi", role="carrier", message="ПИ", system="EAEU-PI", lead_minutes=120, clock_ref="eta_customs_territory",
                        consequence="the train waits"),
                 filing("td", role="carrier", before_arrival=False, message="ТД", system="Astana-1")),
        release=(("registered:pi",), ("presented",), ("released:td", "released:import")), decision=("released:td", "released:import"),
        transit=("td",), chains=(), per_visit=("pi",)),
    SideRow(
        source="D", id="eaeu-exit", union="EAEU", kind="EXIT", release=(("ended:td",), ("released:exit",)), decision=("released:exit",),
        by={"td": "EAEU"}),
    SideRow(
        source="D", id="eu-entry", union="EU", kind="ENTRY",
        filings=(filing("ens", role="carrier", message="IE3F51", system="ICS2", lead_minutes=120, lead_minutes_short=60,
                        clock_ref="eta_office_of_first_entry", consequence="refused entry"),
                 filing("transit", role="holder", before_arrival=False, message="IE015", system="NCTS")),
        assessments=("ens_assessed",), release=(("registered:ens",), ("presented",), ("released:transit", "released:import")),
        decision=("released:transit", "released:import"), per_visit=("ens",), transit=("transit",)),
    SideRow(source="D", id="ru-territory", authority="RU", kind="TERRITORY", release=(("released:release",),), decision=("released:release",)),
)

GTT = Agreement(source="S01", id="gtt-cn-kz", kind="gtt", parties=("CN", "KZ"), in_force="2018-11-15", crossings=(DOSTYK,), routes=("west-a",),
                names=Names("关铁通 CN–KZ"))
"""Only the confirmed pair; nothing extends to later sides."""


def reference(**more: Any) -> Reference:
    """The small world; keywords replace whole tables."""
    rows: dict[str, Any] = {
        "version": "test", "digest": "d1",
        "authorities": {a.code: a for a in (
            authority("CN", "", "Asia/Shanghai"), authority("KZ", "EAEU", "Asia/Almaty"), authority("RU", "EAEU", "Europe/Moscow", territory=True),
            authority("BY", "EAEU", "Europe/Minsk"), authority("PL", "EU", "Europe/Warsaw"), authority("DE", "EU", "Europe/Berlin"))},
        "parties": {p.id: p for p in (
            Party(source="D", id="ktz", role="railway", names=Names("KTZ")), Party(source="D", id="pkp", role="railway", names=Names("PKP")),
            Party(source="D", id="fwd", role="trade", names=Names("Forwarder")), Party(source="D", id="term", role="terminal", names=Names("Terminal")))},
        "places": {},
        "crossings": {c.id: c for c in (
            Crossing(source="S37", id=DOSTYK, names=Names("Alashankou–Dostyk"), a="alashankou", b="dostyk", a_authority="CN", b_authority="KZ",
                     gauge_a=1435, gauge_b=1520, transload_west="dostyk", transload_east="alashankou", offices={"KZ": "KZ-DOSTYK", "CN": "CN-ALA"},
                     calendar={"KZ": "Mo-Fr 09:00-18:00"}),
            Crossing(source="M", id="KZ-RU-ZHAISAN-ILETSK", names=Names("Zhaisan–Iletsk"), a="zhaisan", b="iletsk", a_authority="KZ",
                     b_authority="RU", gauge_a=1520, gauge_b=1520, customs_border=False),
            Crossing(source="S39", id=BREST, names=Names("Brest–Małaszewicze"), a="brest", b="malaszewicze", a_authority="BY", b_authority="PL",
                     gauge_a=1520, gauge_b=1435, transload_west="malaszewicze", offices={"PL": "PL301010", "BY": "BY-BREST"}))},
        "corridors": {"west-a": Corridor(source="D", id="west-a", names=Names("West-A"), places=(), crossings=(DOSTYK, "KZ-RU-ZHAISAN-ILETSK", BREST))},
        "side_rows": ROWS, "agreements": {GTT.id: GTT}, "codes": {}, "speeds": {}, "dwells": {},
        "duty": (DutyLine(source="D", authority="KZ", phone="+7 000 000", crossing=DOSTYK), DutyLine(source="D", authority="PL", phone="+48 000")),
        "risks": (RiskRow(source="S108", risk_class="weapons", kind="hs", value="9301", strength="strong"),
               RiskRow(source="D", risk_class="explosives", kind="hs", value="291411", strength="weak"),
               RiskRow(source="D", risk_class="explosives", kind="keyword", value="acetone", strength="weak", language="en")),
        "mapped": {("office", "DE:DE004851"): Mapped(source="D", list="office", code="DE:DE004851", means="DE004851")}, "limits": Limits(),
    }
    return Reference(**{**rows, **more})


def box(number: str = BOX, **more: Any) -> dict[str, Any]:
    content = {"container": number, "seals": [LOCK], "packages": 100, "gross_kg": 20_000.0, "mass_basis": "goods_tare",
               "goods": [{"description": "Laptop computers", "hs": "84713000", "packages": 100, "gross_kg": 16_000.0}]}
    return {**content, **more}


def shipment(**more: Any) -> Fact:
    """What the forwarder declared."""
    content: dict[str, Any] = {
        "document": {"kind": "smgs", "number": "31046586"}, "corridor": "west-a", "direction": "west", "containers": [box()],
        "origin": "chongqing", "destination": "duisburg", "procedures": {"KZ": "transit", "PL": "transit"}, "enrolments": ["gtt"],
        "parties": [{"role": "consignor", "name": "Shipper Co", "country": "CN"}, {"role": "consignee", "name": "Buyer GmbH", "country": "DE"}]}
    return Fact(side="*", key=("shipment",), at=T0, source="fwd", rank=Rank.FORWARDER, id="fwd/1", value={**content, **more})


def lodged(kind: str, number: str, authority: str, at: int, *, office: str = "", side: str = "", **content: Any) -> Fact:
    """The content of a filing."""
    value = {"authority": authority, "office": office, "containers": [box()], **content}
    return Fact(side=side or f"@{authority}/doc/{kind}/{number}", key=("filing", kind, number), at=at, source="fwd", rank=Rank.FORWARDER,
                id=f"fwd/{number}", value=value)


def doc(side: str, kind: str, number: str, phase: str, at: int, source: str, *, value: Value = True, code: str = "", scope: str = "",
        rank: Rank = Rank.AUTHORITY, id: str = "") -> Fact:
    return Fact(side=side, key=("doc", kind, number, phase), at=at, source=source, rank=rank, value=value, code=code, scope=scope,
                id=id or f"{source}/{kind}/{number}/{phase}")


def demand(side: str, kind: str, reference: str, phase: str, at: int, source: str, *, subject: str = "", value: Value = True, scope: str = "") -> Fact:
    return Fact(side=side, key=("demand", kind, subject, reference, phase), at=at, source=source, id=f"{source}/{kind}/{reference}/{phase}", value=value,
                scope=scope)


def seal(what: str, at: int, *, lock: str = LOCK, side: str = "*", source: str = "locks", rank: Rank = Rank.SENSOR, chain: str = "customs_lock",
         scope: str = BOX, read_at: str = "", **value: Any) -> Fact:
    return Fact(side=side, key=("seal", chain, what, f"{source}/{what}/{at}"), at=at, source=source, rank=rank, scope=scope,
                id=f"{source}/{what}/{at}", value={"lock": lock, "seal": lock, "standard": "GTT-LOCK", **({"side": read_at} if read_at else {}), **value})


def presence(side: str, what: str, at: int, source: str = "ktz", rank: Rank = Rank.RAILWAY, scope: str = BOX) -> Fact:
    return Fact(side=side, key=(what, "1"), at=at, source=source, rank=rank, scope=scope, id=f"{source}/{what}/{at}")


def eta(side: str, at: int, *, spread: int = 2 * HOUR, said: int = T0, scope: str = BOX) -> Fact:
    return Fact(side=side, key=("eta",), at=said, source="trains", rank=Rank.RAILWAY, scope=scope, value=[at - spread, at, at + spread], version=said)


def condition(side: str, name: str, at: int, source: str, value: str = "proven") -> Fact:
    return Fact(side=side, key=("condition", name), at=at, source=source, id=f"{source}/{name}", value=value)


def bound(scope: str = BOX, **value: Any) -> Fact:
    return Fact(side="*", key=("bound",), at=T0, source="fwd", rank=Rank.FORWARDER, scope=scope, value={"since": T0, "empty": False, **value})


