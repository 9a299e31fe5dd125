"""What reading an outside message gives, and how its times are read."""
from __future__ import annotations

import hashlib
import re
from base64 import b32encode
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Literal

import msgspec

from topics.codec import Refusal, Refused
from topics.events.base import Event

EVENT_TIME_MISSING = "EVENT_TIME_MISSING"
"""The message has no time of its own; the time of receipt stands in."""
EVENT_TIME_ZONE_ASSUMED = "EVENT_TIME_ZONE_ASSUMED"
"""A time without offset was read in the zone configured for its authority or party."""
EVENT_TIME_AMBIGUOUS = "EVENT_TIME_AMBIGUOUS"
"""A time without offset in the hour that the clock change repeats; the earlier of the two was taken."""
CONTAINER_NUMBER_INVALID = "CONTAINER_NUMBER_INVALID"
MRN_INVALID = "MRN_INVALID"
NUMBER_MISSING = "NUMBER_MISSING"
"""Neither LRN nor MRN: the movement has an id from its content and merges with no other."""

Zones = Mapping[str, tzinfo]
"""Zone per authority code, or per party id, for times that carry none."""


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one outside message, and everything about it that is not right."""

    events: tuple[Event, ...] = ()
    flags: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    """Parts that were refused (an item of a list); the other parts stand."""
    repeats: tuple[Refusal, ...] = ()
    """Parts that repeat another part: counted as duplicates, by name."""
    message: str = ""
    """Official message code: IE015."""
    speaker: Literal["filer", "authority", "railway"] = "filer"
    authority: str = ""
    party: str = ""
    """Default writing party: the filer for filings, the authority for its answers."""


def content_id(data: bytes, origin: str = "") -> str:
    """Twelve characters that stand for these bytes (and for where they came from, where two equal ones must not be one)."""
    digest = hashlib.blake2b(data + b"\x00" + origin.encode() if origin else data, digest_size=8)
    return b32encode(digest.digest()).decode()[:12]


_LOCAL = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?")


def read_time(text: str, path: str, zone: tzinfo | None) -> tuple[datetime, tuple[str, ...]]:
    """An ISO 8601 time in UTC, with flags when its zone had to be assumed.

    Raises Refused: MISSING_ZONE without offset and without configured zone, BAD_TIME when it is no time.
    """
    try:
        value = datetime.fromisoformat(text)
        if value.tzinfo is None and zone is not None and _LOCAL.fullmatch(text):
            local = value.replace(tzinfo=zone)
            twice = local.utcoffset() != local.replace(fold=1).utcoffset()
            return local.astimezone(UTC), (EVENT_TIME_ZONE_ASSUMED, *([EVENT_TIME_AMBIGUOUS] if twice else []))
        if value.tzinfo is not None:
            return value.astimezone(UTC), ()
    except (ValueError, OverflowError) as error:
        raise Refused("BAD_TIME", path, text, str(error)) from error
    raise Refused("MISSING_ZONE", path, text, "a time needs its zone, e.g. 2026-03-01T12:00:00+08:00")
