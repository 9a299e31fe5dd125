"""Finnish rail open data (Digitraffic): train locations and train running messages, JSON, into positions.

A list of locations names train, day, degrees and time; a running message says that a track section at a station was reserved or
released for a train. Either is a list or a single object.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from topics.codec import Refusal, Refused
from topics.events.base import TrainRef
from topics.events.rail import PositionReported
from topics.formats.parsed import EVENT_TIME_MISSING, Parsed, Zones, content_id, read_time
from topics.positions import position_fault

FORMAT: Final = "digitraffic"
ITEMS_MAX: Final = 5_000
UNMAPPED_STATION: Final = "UNMAPPED_STATION"
CONNECTION_BAD: Final = "CONNECTION_BAD"
"""The device itself says that its connection was not OK when it reported."""


MARK = b'"junanumero"'
"""What names a train there, and nowhere else."""


def looks_like(data: bytes) -> bool:
    """Whether these bytes may be a location list or running messages: the first object names a train as Digitraffic does."""
    return data[:64].lstrip()[:1] in (b"[", b"{") and MARK in data[:4096]


def read(data: bytes, *, source: str, received: datetime, stations: Mapping[str, str], zones: Zones) -> Parsed:
    """Positions of every item; items that are wrong are refused one by one, the others stand.

    `stations` maps the source's station codes to places of the network. Raises Refused: NOT_JSON, BAD_VALUE, TOO_MANY_ITEMS.
    """
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("NOT_JSON", "$", data[:40].decode("utf-8", "replace"), str(error)) from error
    items = raw if isinstance(raw, list) else [raw]
    if len(items) > ITEMS_MAX:
        raise Refused("TOO_MANY_ITEMS", "$", len(items), f"at most {ITEMS_MAX}")
    events: list[PositionReported] = []
    refusals: list[Refusal] = []
    repeats: list[Refusal] = []
    seen: set[tuple[str, ...]] = set()
    for index, item in enumerate(items):
        path = f"$[{index}]" if isinstance(raw, list) else "$"
        try:
            key = _key(item, path)
            if key in seen:
                repeats.append(Refusal("POSITION_REPEATED", path, " ".join(key), "this train has said this already for this time"))
                continue
            seen.add(key)
            events.append(_event(item, path, source, received, stations, zones))
        except Refused as refused:
            refusals.append(refused.refusal)
    flags = tuple(dict.fromkeys(flag for event in events for flag in event.flags))
    return Parsed(events=tuple(events), flags=flags, refusals=tuple(refusals), repeats=tuple(repeats), message=FORMAT, speaker="railway", party=source)


def _key(item: Any, path: str) -> tuple[str, ...]:
    """What makes two items the same report: train, day and time of a location; train, section, kind and time of a running message."""
    if not isinstance(item, dict):
        raise Refused("BAD_VALUE", path, item, "an object is expected")
    if "sijainti" in item:
        return _text(item, "junanumero", path), _text(item, "lahtopaiva", path), _text(item, "aikaleima", path)
    return (_text(item, "junanumero", path), _text(item, "lahtopvm", path), str(item.get("raideosuus", "")),
            str(item.get("raideosuudenVarautuminen", "")), _text(item, "tapahtumaPvm", path))


def _text(item: dict[str, Any], name: str, path: str) -> str:
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise Refused("MISSING_FIELD" if value in (None, "") else "BAD_VALUE", f"{path}.{name}", value, f"{name} is needed")
    return str(value)


def _event(item: dict[str, Any], path: str, source: str, received: datetime, stations: Mapping[str, str], zones: Zones) -> PositionReported:
    location = "sijainti" in item
    train = _train(item, path, source, "lahtopaiva" if location else "lahtopvm")
    at, flags = _time(item, "aikaleima" if location else "tapahtumaPvm", path, received, zones, source)
    try:
        if location:
            return _located(item, path, train, source, at, flags)
        return _at_station(item, path, train, source, at, flags, stations)
    except msgspec.ValidationError as error:
        raise Refused("BAD_VALUE", path, "", str(error)) from error


def _train(item: dict[str, Any], path: str, source: str, day: str) -> TrainRef:
    number, date = _text(item, "junanumero", path).upper(), _text(item, day, path)
    if not re.fullmatch(r"[A-Z0-9][A-Z0-9/-]{0,19}", number):
        raise Refused("BAD_VALUE", f"{path}.junanumero", number, "not a train number")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
        raise Refused("BAD_VALUE", f"{path}.{day}", date, "not a day")
    return TrainRef(railway=source, number=number, date=date)


def _time(item: dict[str, Any], name: str, path: str, received: datetime, zones: Zones, source: str) -> tuple[datetime, tuple[str, ...]]:
    text = item.get(name)
    if not isinstance(text, str) or not text:
        return received, (EVENT_TIME_MISSING,)
    return read_time(text, f"{path}.{name}", zones.get(source))


def _located(item: dict[str, Any], path: str, train: TrainRef, source: str, at: datetime, flags: tuple[str, ...]) -> PositionReported:
    place = item["sijainti"]
    lat, lon = (_degrees(place, name, path) for name in ("latitude", "longitude"))
    if fault := position_fault(lat, lon, f"{path}.sijainti"):
        raise Refused(fault.code, fault.path, fault.value, fault.reason)
    speed = item.get("nopeus")
    known = float(speed) if isinstance(speed, int | float) and not isinstance(speed, bool) and 0 <= speed <= 400 else None
    if item.get("yhteys", "OK") != "OK":
        flags = (*flags, CONNECTION_BAD)
    stamp = at.strftime("%Y%m%dT%H%M%S")
    return PositionReported(source=source, id=f"{train.number}/{train.date}/{stamp}", event_time=at, flags=flags, train=train, lat=lat, lon=lon,
                            speed_kmh=known)


def _degrees(place: Any, name: str, path: str) -> float:
    value = place.get(name) if isinstance(place, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("MISSING_FIELD" if value is None else "BAD_VALUE", f"{path}.sijainti.{name}", value, "a number of degrees is needed")
    return float(value)


def _at_station(
    item: dict[str, Any], path: str, train: TrainRef, source: str, at: datetime, flags: tuple[str, ...], stations: Mapping[str, str]
) -> PositionReported:
    """A reserved or released section says that the train is about the station, not that it stopped or left: `at`."""
    code = _text(item, "liikennepaikka", path)
    station = stations.get(code, "")
    if not station:
        flags = (*flags, UNMAPPED_STATION)
    version = item.get("version")
    number = item.get("id")
    key = str(number) if number not in (None, "") else content_id(msgspec.json.encode(item))
    return PositionReported(
        source=source, id=key, event_time=at, flags=flags, train=train, station=station or code, what="at", record=key if version else "",
        version=version if isinstance(version, int) and 0 <= version < 2**53 else 0, code=str(item.get("raideosuudenVarautuminen", ""))[:200])
