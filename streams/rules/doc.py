"""DOC: discrepancies between the documents of different regimes, found before the border (feature N7)."""
from __future__ import annotations

import math
from typing import Any

import msgspec

from streams.reference.model import Reference
from streams.rules import grounds
from streams.rules.case import Case, Content, Finding, Lodged, Trip
from streams.rules.rule import Check, Rule, titles
from topics.facts import NEVER, WHOLE
from topics.identifiers import BadIdentifier, parse_container

HS_DIGITS = {"ens": 6, "transit": 6, "next_transit": 6, "pi": 6, "td": 6, "import": 10, "declaration": 10}
"""Depth of the HS code that each filing needs (domain section 4.3: EU ENS 6 [S21]; T1, TD, ПИ 6 [M]; imports 10 [M])."""
DIFFERING = frozenset({"MASS_DIFFERS", "PACKAGES_DIFFER"})
"""Two documents say different things. A short code or a vague word is one document's own fault."""
EMPTY_KG_MAX = 6_000
"""Heavier than any empty 40 ft reefer [D]: a box declared empty that weighs more is not."""


def _serving(case: Case) -> list[Lodged]:
    return [f for f in case.trip.filings if case.side.id in f.sides]


def _compared(case: Case) -> list[Lodged]:
    """Filings of this side and, at the first side that is still ahead, the notes before the present one (reconsignment)."""
    if not case.trip.notes:
        return _serving(case)
    ahead = next((s for s in case.trip.sides if s.required and s.kind != "TERRITORY" and s.departed == NEVER), None)
    return [*_serving(case), *(case.trip.notes if case.side is ahead else ())]


def _mass(box: Content) -> float | None:
    value = box.get("gross_kg")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else None


def _basis(box: Content) -> str:
    return str(box.get("mass_basis", "goods_tare"))


def mass(case: Case, reference: Reference, now: int) -> Finding | None:
    """DOC-01: gross mass differs by more than the tolerance (1 %) between note and filing, compared only on equal basis; so do scales."""
    if case.scope == WHOLE:
        return None
    note = case.trip.boxes.get(case.scope, {})
    stated = _mass(note)
    for lodged in _compared(case):
        box = lodged.boxes().get(case.scope)
        if box is None:
            continue
        other = _mass(box)
        if box.get("gross_kg") is not None and other is None:
            return _differs("MASS_INVALID", case, lodged, f"{box['gross_kg']}", "> 0", "gross_kg")
        if stated is not None and other is not None and _basis(box) == _basis(note) and _apart(stated, other, reference):
            return _differs("MASS_DIFFERS", case, lodged, f"{other:g}", f"{stated:g}", "gross_kg")
    return None


def _apart(one: float, other: float, reference: Reference) -> bool:
    return abs(one - other) > reference.limits.mass_tolerance_share * max(one, other)


def _differs(code: str, case: Case, lodged: Lodged, present: str, expected: str, field: str) -> Finding:
    return Finding(code=code, severity="warning", scope=case.scope, text=f"doc.{code.lower()}", field=f"{lodged.kind}.{field}", present=present,
                   expected=expected, args={"box": case.scope, "document": lodged.name, "present": present, "expected": expected},
                   evidence=(lodged.evidence,) if lodged.evidence else (), alert="DocumentsDiffer" if code in DIFFERING else "")


def weighed(case: Case, reference: Reference, now: int) -> Finding | None:
    """DOC-02: the weighbridge says something else than the note (goods and tare): railway stop, new mass, amended filings on all later sides."""
    if case.scope == WHOLE:
        return None
    note = case.trip.boxes.get(case.scope, {})
    stated = _mass(note)
    scale = max((f for f in case.trip.any.get("mass", ()) if f.scope == case.scope), key=lambda f: (f.at, f.id), default=None)
    measured = _measured(scale.value) if scale is not None else None
    if scale is None or measured is None or stated is None or _basis(note) != "goods_tare" or note.get("empty"):
        return None
    if not _apart(stated, measured, reference):
        return None
    return Finding(code="WEIGHED_DIFFERS", severity="critical", scope=case.scope, at=scale.at, since=scale.at, text="doc.weighed_differs",
                   field="gross_kg", present=f"{stated:g}", expected=f"{measured:g}",
                   args={"box": case.scope, "present": f"{stated:g}", "expected": f"{measured:g}", "place": scale.key[1] if len(scale.key) > 1 else "-"},
                   evidence=(scale.id,) if scale.id else (), alert="WeightDiffers")


def _measured(value: Any) -> float | None:
    if isinstance(value, dict):
        value = value.get("gross_kg", value.get("kg"))
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else None


def packages(case: Case, reference: Reference, now: int) -> Finding | None:
    """DOC-03: number of packages differs between note and filing."""
    if case.scope == WHOLE:
        return None
    stated = _packages(case.trip.boxes.get(case.scope, {}))
    for lodged in _compared(case):
        other = _packages(lodged.boxes().get(case.scope, {}))
        if stated is not None and other is not None and stated != other:
            return _differs("PACKAGES_DIFFER", case, lodged, str(other), str(stated), "packages")
    return None


def _packages(box: Content) -> int | None:
    if isinstance(box.get("packages"), int):
        return int(box["packages"])
    lines = [line.get("packages") for line in box.get("goods", ())]
    return sum(int(n) for n in lines) if lines and all(isinstance(n, int) for n in lines) else None


def hs(case: Case, reference: Reference, now: int) -> Finding | None:
    """DOC-04: HS code missing, or shorter than this filing needs."""
    if case.scope == WHOLE:
        return None
    for lodged in _serving(case):
        digits = HS_DIGITS.get(lodged.kind)
        if digits is None:
            continue
        for n, line in enumerate(lodged.boxes().get(case.scope, {}).get("goods", ())):
            code = str(line.get("hs", ""))
            if len(code) < digits:
                kind = "HS_SHORT" if code else "HS_MISSING"
                found = _differs(kind, case, lodged, code or "-", f"{digits} digits", f"goods[{n}].hs")
                return msgspec.structs.replace(found, args={**found.args, "digits": f"{digits}"})
    return None


def too_heavy(trip: Trip, box: str) -> float | None:
    """The mass of a box in kg, weighed or stated, when no empty container has it; None when one can."""
    scales = [m for f in trip.any.get("mass", ()) if f.scope == box and (m := _measured(f.value)) is not None]
    heaviest = max([*scales, _mass(trip.boxes.get(box, {})) or 0.0])
    return heaviest if heaviest > EMPTY_KG_MAX else None


def empty_but_heavy(case: Case, reference: Reference, now: int) -> Finding | None:
    """DOC-05: declared empty, yet heavier than an empty container can be."""
    if case.scope == WHOLE or not case.trip.boxes.get(case.scope, {}).get("empty"):
        return None
    heaviest = too_heavy(case.trip, case.scope)
    if heaviest is None:
        return None
    return Finding(code="EMPTY_BUT_HEAVY", severity="critical", scope=case.scope, text="doc.empty_but_heavy", present=f"{heaviest:g}",
                   expected=f"<= {EMPTY_KG_MAX}", args={"box": case.scope, "kg": f"{heaviest:g}"}, alert="EmptyButHeavy")


def container_number(case: Case, reference: Reference, now: int) -> Finding | None:
    """DOC-06: a container number whose check digit is wrong (ISO 6346)."""
    if case.scope == WHOLE or "/" in case.scope:
        return None
    reason = wrong_number(case.trip, case.scope)
    if not reason:
        return None
    return Finding(code="CONTAINER_NUMBER_INVALID", severity="warning", scope=case.scope, text="doc.container_number_invalid", present=case.scope,
                   args={"box": case.scope, "reason": reason})


def wrong_number(trip: Trip, box: str) -> str:
    """What is wrong with a container number by ISO 6346; "" = nothing."""
    found = trip.numbers.get(box)
    if found is None:
        try:
            parse_container(box)
            found = ""
        except BadIdentifier as error:
            found = error.reason
        trip.numbers[box] = found
    return found


_vague: list[tuple[Reference, frozenset[str]]] = []


def vague_words(reference: Reference) -> frozenset[str]:
    """Descriptions that say nothing, of the reference last asked for."""
    if not _vague or _vague[0][0] is not reference:
        _vague[:] = [(reference, frozenset(r.value.lower() for r in reference.risks if r.risk_class == "vague" and r.enabled))]
    return _vague[0][1]


def goods_described(case: Case, reference: Reference, now: int) -> Finding | None:
    """DOC-07: a filing's goods description is only a vague word, which ICS2 rejects and every risk check trips over."""
    if case.scope == WHOLE:
        return None
    vague = vague_words(reference)
    for lodged in _serving(case):
        for n, line in enumerate(lodged.boxes().get(case.scope, {}).get("goods", ())):
            text = str(line.get("description", "")).strip().lower()
            if text in vague:
                return _differs("DESCRIPTION_VAGUE", case, lodged, text, "-", f"goods[{n}].description")
    return None


def _rule(number: str, check: Check, en: str, zh: str, ru: str, *, version: int = 1, legal: str = "domain sections 4.3, 7.5 [M]; tolerance [D]",
          needs: int = grounds.PAPERS) -> Rule:
    return Rule(id=f"DOC-{number}", family="DOC", titles=titles(en, zh, ru), legal=legal, certainty="med", check=check, per="scope", version=version,
                kinds=frozenset({"EXIT", "ENTRY", "OFFICE"}), needs=needs)


DOC_RULES = (
    _rule("01", mass, "Mass differs between documents", "单证间重量不符", "Масса в документах расходится"),
    _rule("02", weighed, "Weighbridge differs from note", "过磅重量与运单不符", "Взвешивание расходится с накладной", needs=grounds.WEIGHED),
    _rule("03", packages, "Packages differ between documents", "单证间件数不符", "Число мест в документах расходится"),
    _rule("04", hs, "HS code missing or short", "商品编码缺失或位数不足", "Код ТН ВЭД отсутствует или короток", version=2),
    _rule("05", empty_but_heavy, "Declared empty but heavy", "申报空箱但超重", "Заявлен порожним, но тяжёлый", needs=grounds.EMPTY),
    _rule("06", container_number, "Container number invalid", "箱号校验不符", "Номер контейнера неверен", legal="ISO 6346", needs=0),
    _rule("07", goods_described, "Goods description vague", "货物品名笼统", "Описание товара слишком общее", legal="ICS2 [S128]", version=2),
)
