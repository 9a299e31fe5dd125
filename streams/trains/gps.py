"""GPS positions as they come off TRAINS' topic: nearly all that comes in, read with as little work as tells a good one for certain.

Patterns and the train's names cost three quarters of decoding a position, and are the same in every position of a train. So the names are
looked up as they were written, and only what has never been read is matched. Whatever is not certain to be good is decoded as everything else.
"""
from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from topics import codec
from topics.events.base import Instant, Name, PartyId, ShortText, TrainRef
from topics.events.rail import PositionReported

NAMES_MAX = 16_384
"""Trains (and sources) whose names are remembered; a network has a few thousand under way."""


class Gps(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="train.position", gc=False):
    """A position in degrees, without a record of its source. Fields and bounds are those of `PositionReported`."""

    source: str
    id: Name
    event_time: Instant
    received_time: Instant | None = None
    code: ShortText = ""
    record: Literal[""] = ""
    version: Annotated[int, msgspec.Meta(ge=0, le=9_007_199_254_740_991)] = 0
    container: ShortText = ""
    item: ShortText = ""
    flags: tuple[str, ...] = ()
    date_only: bool = False
    train: msgspec.Raw
    """As it was written."""
    lat: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    lon: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    speed_kmh: Annotated[float, msgspec.Meta(ge=0, le=400)] | None = None
    station: Literal[""] = ""
    what: Literal["at", "arrived", "departed", "passed"] = "at"


class _Sender(msgspec.Struct):
    source: PartyId


POSITION = b'{"type":"train.position",'
_decode = msgspec.json.Decoder(Gps).decode
_ref = msgspec.json.Decoder(TrainRef).decode
_FAULTS = msgspec.MsgspecError, UnicodeDecodeError, RecursionError
_trains: dict[bytes, TrainRef] = {}
_sources: set[str] = set()


def read(value: bytes) -> Gps | None:
    """None: it is no plain position, or whatever is wrong with it must get its name elsewhere."""
    if not value.startswith(POSITION) or b"\\" in value or len(value) > codec.BYTES_IN_MAX:
        return None
    try:
        found = _decode(value)
        if found.source in _sources and bytes(found.train) in _trains:
            return found
        _remember(found)
    except _FAULTS:
        return None
    return found


def _remember(found: Gps) -> None:
    """Names that are good. Raises msgspec.ValidationError and the like."""
    train = _ref(found.train)
    msgspec.convert({"source": found.source}, _Sender)
    if len(_trains) >= NAMES_MAX or len(_sources) >= NAMES_MAX:
        _trains.clear()
        _sources.clear()
    _trains[bytes(found.train)] = train
    _sources.add(found.source)


def train_of(found: Gps) -> TrainRef:
    """The train that it names."""
    return _trains.get(bytes(found.train)) or _ref(found.train)


def whole(found: Gps) -> PositionReported:
    """As every other event is decoded."""
    return PositionReported(
        source=found.source, id=found.id, event_time=found.event_time, received_time=found.received_time, code=found.code, version=found.version,
        container=found.container, item=found.item, flags=found.flags, date_only=found.date_only, train=train_of(found), lat=found.lat, lon=found.lon,
        speed_kmh=found.speed_kmh, what=found.what)
