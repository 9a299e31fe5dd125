"""A filing or declaration may have 4 MiB; a state must not. What is kept of it: everything, unless it is very long, then less of its goods lines.

Lines of one code are put together first; then those without dangerous goods or a substance number go, the last of the largest container first.
What was left out is flagged, because rules about goods lines have not seen it. Totals of packages stay right: they are taken before.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from topics.events.trade import FilingLodged, Goods, ShipmentDeclared, Stuffing

BYTES_KEPT = 64 * 1024
"""Of one message. A shipment has one declaration and perhaps eight filings, each also a fact of its status: together below 768 kB."""
DESCRIPTION_KEPT = 200
FIELDS_KEPT, FIELD_KEPT = 200, 200
"""Official fields of a filing, and characters of each."""
GOODS_CUT, FIELDS_CUT = "GOODS_CUT", "FIELDS_CUT"

E = TypeVar("E", FilingLodged, ShipmentDeclared)
_encode = msgspec.msgpack.Encoder().encode


def slim(event: E) -> E:
    """The event as it is kept; flagged when something was left out."""
    if len(_encode(event)) <= BYTES_KEPT:
        return event
    flags: tuple[str, ...] = event.flags
    fields: dict[str, str] = getattr(event, "fields", {})
    kept_fields = {name: fields[name][:FIELD_KEPT] for name in sorted(fields)[:FIELDS_KEPT]}
    if kept_fields != fields:
        flags = (*flags, FIELDS_CUT)
        event = msgspec.structs.replace(event, fields=kept_fields)
    boxes = [_merged(box) for box in event.containers]
    bare = len(_encode(msgspec.structs.replace(event, containers=tuple(msgspec.structs.replace(b, goods=()) for b in boxes))))
    room = BYTES_KEPT - bare
    sizes = [[len(_encode(line)) for line in box.goods] for box in boxes]
    cut = False
    if sum(map(sum, sizes)) > room:
        cut = True
        boxes = [msgspec.structs.replace(box, goods=box.goods[:n]) for box, n in zip(boxes, _fitting(sizes, room), strict=True)]
    shortened = any(len(line.description) > DESCRIPTION_KEPT for box in event.containers for line in box.goods)
    if cut or shortened:
        flags = (*flags, GOODS_CUT)
    return msgspec.structs.replace(event, containers=tuple(boxes), flags=tuple(dict.fromkeys(flags)))


def _merged(box: Stuffing) -> Stuffing:
    """One line per commodity code, dangerous goods first; totals as stated by all lines."""
    lines: dict[tuple[str, str, str], list[Goods]] = {}
    for line in box.goods:
        lines.setdefault((line.hs, line.un, line.cas), []).append(line)
    goods = [
        msgspec.structs.replace(same[0], description=same[0].description[:DESCRIPTION_KEPT], packages=_sum(line.packages for line in same),
                                gross_kg=_sum(line.gross_kg for line in same))
        for same in lines.values()]
    goods.sort(key=lambda line: (not line.un, not line.cas))
    packages = box.packages if box.packages is not None else _sum(line.packages for line in box.goods)
    return msgspec.structs.replace(box, goods=tuple(goods), packages=packages)


N = TypeVar("N", int, float)


def _sum(numbers: Iterable[N | None]) -> N | None:
    """Total; None where a part is not stated."""
    found: N | None = None
    for number in numbers:
        if number is None:
            return None
        found = number if found is None else found + number
    return found


def _fitting(sizes: list[list[int]], room: int) -> list[int]:
    """How many of its lines each box keeps: one each, then the second of each, while there is room."""
    kept = [0] * len(sizes)
    for n in range(max(map(len, sizes))):
        for box, mine in enumerate(sizes):
            if n < len(mine) and kept[box] == n:
                if mine[n] > room:
                    continue
                room -= mine[n]
                kept[box] += 1
    return kept
