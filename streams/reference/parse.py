"""TOML bytes in, a validated Reference out. Every refusal names file, row, field and reason; nothing is repaired silently.

Shipped rows come first, a deployment's overlay adds rows or replaces them by id. Rows that are not enabled are left out of what folds look
up, so that a code of unsure origin stays unmapped; agreements stay, disabled, because their register is shown.
"""
from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from streams.reference import checks, links
from streams.reference.model import (
    Agreement,
    Authority,
    CodeRow,
    Corridor,
    Crossing,
    DutyLine,
    Dwell,
    Limits,
    Mapped,
    Party,
    Place,
    Reference,
    RiskRow,
    Row,
    SideRow,
    Speed,
)
from streams.reference.refused import ReferenceRefused, Where

R = TypeVar("R", bound=Row)

TABLES: dict[str, tuple[type[Row], tuple[str, ...]]] = {
    "authorities": (Authority, ("code",)),
    "parties": (Party, ("id",)),
    "places": (Place, ("id",)),
    "crossings": (Crossing, ("id",)),
    "corridors": (Corridor, ("id",)),
    "speeds": (Speed, ("country",)),
    "dwells": (Dwell, ("crossing", "direction")),
    "sides": (SideRow, ("id",)),
    "agreements": (Agreement, ("id",)),
    "codes": (CodeRow, ("system", "code")),
    "risks": (RiskRow, ("risk_class", "kind", "value", "direction")),
    "duty": (DutyLine, ("authority", "crossing", "function", "order")),
    "mapped": (Mapped, ("list", "code")),
}
"""Table -> row struct and the fields that are its id. A table may be split over `table.toml` and `table-part.toml`; rows stand under `rows`."""

LIMITS_FILE = "limits.toml"
_FIELD = re.compile(r"`\$\.?([^`]*)`")
_FORBIDDEN = re.compile(r"unknown field `([^`]+)`|missing required field `([^`]+)`")

Table = dict[tuple[str, ...], tuple[Row, Where]]


def parse(files: Mapping[str, bytes], overlay: Mapping[str, bytes] | None = None) -> Reference:
    """The Reference that the files say. Raises ReferenceRefused for the first thing that is wrong, in file and row order."""
    tables: dict[str, Table] = {name: {} for name in TABLES}
    limits: dict[str, Any] = {}
    version = ""
    for layer, shipped in ((files, True), (overlay or {}, False)):
        for name in sorted(layer):
            document = _toml(name, layer[name])
            if name == LIMITS_FILE:
                version = str(document.pop("version", version))
                limits.update(document)
            else:
                _read_rows(tables, name, document, shipped)
    if not version:
        raise ReferenceRefused(Where(LIMITS_FILE, ""), "version", "no version of the reference is given")
    reference = _assemble(tables, _limits(limits), version)
    for table in tables.values():
        for row, where in table.values():
            links.check_links(reference, row, where)
    return reference


def _toml(name: str, data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReferenceRefused(Where(name, ""), "", f"not TOML: {error}") from error


def table_of(file: str) -> str:
    """Table that a file holds rows of: `codes-ncts.toml` -> codes. Raises ReferenceRefused for a name that is none."""
    stem = file.removesuffix(".toml").split("-", 1)[0]
    if not file.endswith(".toml") or stem not in TABLES:
        raise ReferenceRefused(Where(file, ""), "", f"is no table; tables are {', '.join(sorted(TABLES))}, limits")
    return stem


def _read_rows(tables: dict[str, Table], file: str, document: dict[str, Any], shipped: bool) -> None:
    name = table_of(file)
    struct, id_fields = TABLES[name]
    raw_rows = document.pop("rows", None)
    if document or not isinstance(raw_rows, list):
        raise ReferenceRefused(Where(file, ""), next(iter(document), "rows"), "a table file holds an array `rows` and nothing else")
    seen: set[tuple[str, ...]] = set()
    for index, raw in enumerate(raw_rows):
        row_id = tuple(str(raw.get(field, "")) for field in id_fields) if isinstance(raw, dict) else (f"#{index + 1}",)
        where = Where(file, "/".join(row_id))
        row = _convert(raw, struct, where)
        identity = tuple(str(getattr(row, field)) for field in id_fields)
        where = Where(file, "/".join(identity))
        if identity in seen or (shipped and identity in tables[name]):
            raise ReferenceRefused(where, id_fields[0], "is given twice")
        seen.add(identity)
        checks.check_row(row, where, shipped)
        tables[name][identity] = (row, where)


def _convert(raw: object, struct: type[R], where: Where) -> R:
    try:
        return msgspec.convert(raw, struct)
    except msgspec.ValidationError as error:
        text = str(error)
        named = _FORBIDDEN.search(text)
        path = _FIELD.search(text)
        field = (path.group(1) if path else "") or (next(g for g in named.groups() if g) if named else "")
        raise ReferenceRefused(where, field, text) from error


def _limits(raw: dict[str, Any]) -> Limits:
    try:
        return msgspec.convert(raw, Limits)
    except msgspec.ValidationError as error:
        path = _FIELD.search(str(error))
        raise ReferenceRefused(Where(LIMITS_FILE, ""), path.group(1) if path else "", str(error)) from error


def _assemble(tables: dict[str, Table], limits: Limits, version: str) -> Reference:
    def rows(name: str, struct: type[R], *, also_disabled: bool = False) -> list[R]:
        return [row for row, _ in tables[name].values() if isinstance(row, struct) and (row.enabled or also_disabled)]

    reference = Reference(
        version=version,
        authorities={r.code: r for r in rows("authorities", Authority)},
        parties={r.id: r for r in rows("parties", Party)},
        places={r.id: r for r in rows("places", Place)},
        crossings={r.id: r for r in rows("crossings", Crossing)},
        corridors={r.id: r for r in rows("corridors", Corridor)},
        side_rows=tuple(rows("sides", SideRow)),
        agreements={r.id: r for r in rows("agreements", Agreement, also_disabled=True)},
        codes={(r.system, r.code): r for r in rows("codes", CodeRow)},
        speeds={r.country: r for r in rows("speeds", Speed)},
        dwells={(r.crossing, r.direction): r for r in rows("dwells", Dwell)},
        duty=tuple(sorted(rows("duty", DutyLine), key=lambda r: (r.authority, r.crossing, r.function, r.order))),
        risks=tuple(rows("risks", RiskRow)),
        mapped={(r.list, r.code): r for r in rows("mapped", Mapped)},
        limits=limits,
    )
    return msgspec.structs.replace(reference, digest=_digest(tables, limits, version))


def _digest(tables: dict[str, Table], limits: Limits, version: str) -> str:
    """SHA-256 over the rows in id order, so that neither file names nor the order of rows count."""
    digest = hashlib.sha256(version.encode())
    for name in sorted(tables):
        for identity in sorted(tables[name]):
            digest.update(name.encode() + b"\0" + msgspec.json.encode(tables[name][identity][0], order="deterministic") + b"\n")
    digest.update(msgspec.json.encode(limits, order="deterministic"))
    return digest.hexdigest()
