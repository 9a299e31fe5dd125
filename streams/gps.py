"""GPS positions, nearly all that comes in, read with as little work as tells a good one for certain: at intake and off TRAINS' topic.

Patterns and the train's names cost three quarters of decoding a position, and are the same in every position of a train. So the names are
looked up as they were written, and only what has never been read is matched. Whatever is not certain to be good is decoded as everything else.
"""
from __future__ import annotations

from typing import Literal

import msgspec

from topics import codec
from topics.events.base import Event, PartyId, TrainRef
from topics.events.rail import Happened, Latitude, Longitude, PositionReported, SpeedKmh

TAG = "train.position"
NAMES_MAX = 16_384
"""Trains (and sources) whose names are remembered; a network has a few thousand under way."""


class Gps(Event, frozen=True, kw_only=True, tag=TAG, gc=False):
    """A position in degrees. Its bounds are those of `PositionReported`; the source's pattern and the train's names are left to whoever reads it."""

    source: str
    train: msgspec.Raw
    """As it was written."""
    lat: Latitude
    lon: Longitude
    speed_kmh: SpeedKmh | None = None
    station: Literal[""] = ""
    what: Happened = "at"


class _Sender(msgspec.Struct):
    source: PartyId


POSITION = b'{"type":"train.position",'
decode = msgspec.json.Decoder(Gps).decode
train_ref = msgspec.json.Decoder(TrainRef).decode
FAULTS = msgspec.MsgspecError, UnicodeDecodeError, RecursionError
"""What decoding raises."""
_trains: dict[bytes, TrainRef] = {}
_sources: set[str] = set()


def read(value: bytes) -> Gps | None:
    """None: it is no plain position, or whatever is wrong with it must get its name elsewhere."""
    if not value.startswith(POSITION) or b"\\" in value or len(value) > codec.BYTES_IN_MAX:
        return None
    try:
        found = decode(value)
        if found.record:                                 # a source's numbered position may be corrected: looked at in full
            return None
        if found.source in _sources and bytes(found.train) in _trains:
            return found
        _remember(found)
    except FAULTS:
        return None
    return found


def _remember(found: Gps) -> None:
    """Names that are good. Raises msgspec.ValidationError and the like."""
    train = train_ref(found.train)
    msgspec.convert({"source": found.source}, _Sender)
    if len(_trains) >= NAMES_MAX or len(_sources) >= NAMES_MAX:
        _trains.clear()
        _sources.clear()
    _trains[bytes(found.train)] = train
    _sources.add(found.source)


def train_of(found: Gps) -> TrainRef:
    """The train that it names."""
    return _trains.get(bytes(found.train)) or train_ref(found.train)


def whole(found: Gps) -> PositionReported:
    """As every other event is decoded."""
    return PositionReported(
        source=found.source, id=found.id, event_time=found.event_time, received_time=found.received_time, code=found.code, version=found.version,
        container=found.container, item=found.item, flags=found.flags, date_only=found.date_only, train=train_of(found), lat=found.lat, lon=found.lon,
        speed_kmh=found.speed_kmh, what=found.what)
