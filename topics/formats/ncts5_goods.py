"""Who and what an NCTS phase 5 movement is about: traders, containers, seals, goods, transport documents."""
from __future__ import annotations

import re
from collections import Counter
from itertools import chain, islice
from typing import Final, Literal

import msgspec

from topics.events.base import DocumentRef
from topics.events.trade import Goods, Stuffing, TraderRef
from topics.formats.parsed import CONTAINER_NUMBER_INVALID
from topics.formats.xml import Node
from topics.identifiers import BadIdentifier, parse_container

CONTAINERS_MAX: Final = 1_000
GOODS_MAX: Final = 10_000
"""Goods lines read of one movement; the schema allows 1,999 per house consignment."""

SEALS_MAX: Final = 99
"""Seals of one container, as in the schema."""

NOTES: Final[dict[str, str]] = {"N720": "cim", "N722": "smgs", "N952": "tir"}
"""Transport documents that can bind a movement to shipments (UN/EDIFACT 1001: 720, 722, 952); others stay fields."""

ROLES: Final[tuple[tuple[Literal["holder", "consignor", "consignee", "carrier", "declarant"], str], ...]] = (
    ("holder", "HolderOfTheTransitProcedure"), ("declarant", "Representative"), ("consignor", "Consignment/Consignor"),
    ("consignee", "Consignment/Consignee"), ("carrier", "Consignment/Carrier"), ("consignor", "Consignment/HouseConsignment/Consignor"),
    ("consignee", "Consignment/HouseConsignment/Consignee"), ("consignee", "TraderAtDestination"),
)


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a message says about goods and traders."""

    containers: tuple[Stuffing, ...] = ()
    goods_without_container: tuple[Goods, ...] = ()
    parties: tuple[TraderRef, ...] = ()
    documents: tuple[DocumentRef, ...] = ()
    holder: str = ""
    flags: tuple[str, ...] = ()


def read(root: Node) -> Content:
    """Traders, containers with seals and goods, and notes that cover them."""
    goods = _goods(root)
    containers, left, flags = _containers(root, goods)
    return Content(
        containers=containers, goods_without_container=left, parties=_parties(root), documents=_documents(root),
        holder=root.text("HolderOfTheTransitProcedure/identificationNumber"), flags=flags)


def _parties(root: Node) -> tuple[TraderRef, ...]:
    found = []
    for role, path in ROLES:
        for node in root.all(path):
            trader = TraderRef(role=role, identifier=node.text("identificationNumber", "TIRHolderIdentificationNumber")[:200],
                               name=node.text("name")[:200], country=node.text("Address/country")[:200])
            if trader.identifier or trader.name:
                found.append(trader)
    return tuple(dict.fromkeys(found))


def _documents(root: Node) -> tuple[DocumentRef, ...]:
    found = []
    for path in ("Consignment/TransportDocument", "Consignment/HouseConsignment/TransportDocument"):
        for node in root.all(path):
            kind = NOTES.get(_peek(node, "type"))
            if kind and (number := node.text("referenceNumber")) and node.text("type"):
                found.append(DocumentRef(kind=kind, number=number[:120]))
    return tuple(dict.fromkeys(found))


def _peek(node: Node, path: str) -> str:
    """A value without marking it as read: what is not used must stay among the further fields."""
    return next((value for found, value in node.unread(frozenset()) if found == path), "")


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", text, re.ASCII) and float(text) > 0 else None


def _goods(root: Node) -> tuple[tuple[str, Goods], ...]:
    """Goods lines with their number in the declaration; one more than the limit shows that there are more."""
    items = islice(root.all("Consignment/HouseConsignment/ConsignmentItem"), GOODS_MAX + 1)
    return tuple(_line(item) for item in items)


def _line(item: Node) -> tuple[str, Goods]:
    number = item.text("declarationGoodsItemNumber") or item.text("goodsItemNumber")
    item.text("goodsItemNumber")
    code = item.text("Commodity/CommodityCode/harmonizedSystemSubHeadingCode") + item.text("Commodity/CommodityCode/combinedNomenclatureCode")
    packages = [int(text) for node in item.all("Packaging/numberOfPackages") if re.fullmatch(r"\d{1,8}", text := node.value, re.ASCII)]
    un = item.text("Commodity/DangerousGoods/UNNumber")
    return number, Goods(
        description=item.text("Commodity/descriptionOfGoods")[:4000], hs=code if re.fullmatch(r"\d{0,13}", code, re.ASCII) else "",
        packages=min(sum(packages), 10_000_000) if packages else None, gross_kg=_mass(item.text("Commodity/GoodsMeasure/grossMass")),
        un=un if re.fullmatch(r"\d{4}", un, re.ASCII) else "")


def _mass(text: str) -> float | None:
    value = _number(text)
    return value if value is not None and value <= 10_000_000 else None


def _containers(root: Node, goods: tuple[tuple[str, Goods], ...]) -> tuple[tuple[Stuffing, ...], tuple[Goods, ...], tuple[str, ...]]:
    """Containers, the goods that no container is named for, and flags. Equipment without a number carries seals only: they stay fields.

    An item that lies in several containers is named in each without packages and mass: how it is divided is not said.
    """
    boxes = [node for node in root.all("Consignment/TransportEquipment") if _peek(node, "containerIdentificationNumber")]
    flags = ["CONTAINERS_CUT"] if len(boxes) > CONTAINERS_MAX else []
    flags += ["GOODS_CUT"] if len(goods) > GOODS_MAX else []
    boxes, goods = boxes[:CONTAINERS_MAX], goods[:GOODS_MAX]
    named = [tuple(dict.fromkeys(node.value for node in box.all("GoodsReference/declarationGoodsItemNumber"))) for box in boxes]
    shared = Counter(item for items in named for item in items)
    lines: dict[str, list[Goods]] = {}
    for item, line in goods:
        lines.setdefault(item, []).append(msgspec.structs.replace(line, packages=None, gross_kg=None) if shared[item] > 1 else line)
    found: list[Stuffing] = []
    room = GOODS_MAX
    for box, items in zip(boxes, named, strict=True):
        wanted = chain.from_iterable(lines.get(item, ()) for item in items) if items or len(boxes) > 1 else (line for _, line in goods)
        mine = tuple(islice(wanted, room + 1))
        if len(mine) > room:
            mine, flags = mine[:room], [*flags, "GOODS_CUT"]
        room -= len(mine)
        found.append(_stuffing(box, mine, flags))
    placed = set(shared) if len(boxes) != 1 or named[0] else {item for item, _ in goods}
    return tuple(found), tuple(line for item, line in goods if item not in placed), tuple(dict.fromkeys(flags))


def _stuffing(box: Node, goods: tuple[Goods, ...], flags: list[str]) -> Stuffing:
    number = box.text("containerIdentificationNumber")[:200]
    try:
        number = parse_container(number)
    except BadIdentifier:
        flags.append(CONTAINER_NUMBER_INVALID)
    box.text("numberOfSeals")
    seals = tuple(node.value[:200] for node in box.all("Seal/identifier") if node.value)
    if len(seals) > SEALS_MAX:
        flags.append("SEALS_CUT")
    return Stuffing(container=number, seals=seals[:SEALS_MAX], goods=goods, packages=_sum_packages(goods), gross_kg=_sum_mass(goods), mass_basis="goods")


def _sum_packages(goods: tuple[Goods, ...]) -> int | None:
    known = [line.packages for line in goods if line.packages is not None]
    return min(sum(known), 10_000_000) if known and len(known) == len(goods) else None


def _sum_mass(goods: tuple[Goods, ...]) -> float | None:
    known = [line.gross_kg for line in goods if line.gross_kg is not None]
    total = round(sum(known), 6)
    return total if known and len(known) == len(goods) and 0 < total <= 10_000_000 else None
