"""Bytes into events: railclear's own JSON, NCTS phase 5 XML from traders and customs, Digitraffic JSON from railways."""
from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any, Final

import msgspec

from topics import codec
from topics.codec import Refusal, Refused
from topics.events.base import Event
from topics.events.outside import OutsideEvent
from topics.formats import digitraffic, ncts5
from topics.formats.parsed import EVENT_TIME_ZONE_ASSUMED, Parsed, Zones, read_time
from topics.formats.xml import looks_like_xml
from topics.registry import PartySpec

FORMAT_HEADER: Final = "railclear-format"
"""Record header that names an outside format (`ncts5`, `digitraffic`, `json`); without it the bytes are looked at."""
INSTANTS: Final = frozenset({"event_time", "arrives", "departs", "answer_by", "valid_until", "valid_from", "since", "until", "expected_until"})
"""Fields that hold a time, in any event: read in the party's configured zone when they carry none."""
ID_CHARS: Final = 120
DEPTH_MAX: Final = 64


class Read(msgspec.Struct, frozen=True):
    """Events of one record, not yet judged."""

    events: tuple[Event, ...]
    refusals: tuple[Refusal, ...] = ()
    repeats: tuple[Refusal, ...] = ()
    outside_format: str = ""
    flags: tuple[str, ...] = ()
    """For every event of it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What reading needs of the reference."""

    zone: tzinfo | None
    """Zone for the party's times that carry none; None = they are refused."""
    zones: Zones
    """The same per authority code (NCTS) and party id."""
    stations: Mapping[str, str]
    """Digitraffic station code -> place."""


def read(data: bytes, party: PartySpec, hint: str, settings: Settings, received: datetime, origin: str) -> Read:
    """Decode one record. Raises Refused; what the message claims is not judged here, except that an answer comes from its authority."""
    if not hint and looks_like_xml(data):
        hint = ncts5_format
    elif not hint and party.role == "railway" and digitraffic.looks_like(data):
        hint = digitraffic.FORMAT
    if hint == ncts5_format:
        parsed = ncts5.read(data, received=received, zones=settings.zones, source=party.id, origin=origin)
        _speaks(parsed, party)
        return _read(parsed, ncts5_format)
    if hint == digitraffic.FORMAT:
        if party.role != "railway":
            raise Refused("NOT_YOUR_EVENT", "$", hint, f"{party.role} does not send train positions")
        return _read(digitraffic.read(data, source=party.id, received=received, stations=settings.stations, zones=settings.zones), hint)
    if hint not in ("", "json"):
        raise Refused("UNKNOWN_FORMAT", f"${FORMAT_HEADER}", hint, "ncts5, digitraffic or json")
    return _own(data, settings.zone)


ncts5_format: Final = "ncts5"


def _read(parsed: Parsed, outside_format: str) -> Read:
    return Read(parsed.events, parsed.refusals, parsed.repeats, outside_format)


def _speaks(parsed: Parsed, party: PartySpec) -> None:
    """An authority's answer comes from that authority, a filing from anybody who may file."""
    if parsed.speaker == "authority":
        if party.role != "customs":
            raise Refused("NOT_YOUR_EVENT", "$.messageType", parsed.message, "an answer counts only when its authority sends it")
        if parsed.authority != party.country:
            raise Refused("NOT_YOURS", "$.messageSender", parsed.authority, f"{party.id} speaks for {party.country}")
    elif party.role not in ("trade", "railway"):
        raise Refused("NOT_YOUR_EVENT", "$.messageType", parsed.message, f"{party.role} does not file")


def _own(data: bytes, zone: tzinfo | None) -> Read:
    try:
        return Read((codec.decode(data, OutsideEvent),))
    except Refused as refused:
        if refused.refusal.code != "MISSING_ZONE" or zone is None:
            raise
    return Read((codec.decode(codec.encode(_zoned(msgspec.json.decode(data), zone, "$", 0)), OutsideEvent),), flags=(EVENT_TIME_ZONE_ASSUMED,))


def _zoned(value: Any, zone: tzinfo, path: str, depth: int) -> Any:
    """The same JSON with every time without offset read in `zone`. Raises Refused BAD_TIME, TOO_DEEP."""
    if depth > DEPTH_MAX:
        raise Refused("TOO_DEEP", path, "", f"more than {DEPTH_MAX} levels")
    if isinstance(value, list):
        return [_zoned(item, zone, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for name, item in value.items():
        here = f"{path}.{name}"
        if name in INSTANTS and isinstance(item, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}T[\d:.]+", item):
            out[name] = read_time(item, here, zone)[0].isoformat()
        else:
            out[name] = _zoned(item, zone, here, depth + 1)
    return out


class _Peek(msgspec.Struct):
    id: Any = None


def message_id(data: bytes) -> str:
    """The sender's own id of a message that could not be read, as far as it can be made out; "" otherwise."""
    if looks_like_xml(data):
        found = re.search(rb"<(?:\w+:)?messageIdentification>([^<{]{1,120})<", data)
        return found[1].decode("utf-8", "replace").strip() if found else ""
    try:
        peeked = msgspec.json.decode(data, type=_Peek).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return str(peeked)[:ID_CHARS] if isinstance(peeked, str | int) else ""
