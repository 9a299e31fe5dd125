"""The envelope that every outside event shares, and the small structs that several writers use."""
from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone; without one it is refused."""

Text = Annotated[str, msgspec.Meta(max_length=4000)]
ShortText = Annotated[str, msgspec.Meta(max_length=200)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
PartyId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
"""A writing party of the registry; an authority's own party id is `customs-` and its lower-case code."""
AuthorityCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]
"""ISO country code of a customs authority (CN, KZ, PL …); never a union."""


class Frozen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    """Base of nested values."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What every outside event carries. Deduplication key: (source, type, id); business key: whatever it speaks of."""

    source: PartyId
    """The writing party; it must own the topic that the event came through."""
    id: Name
    """The source's own message id."""
    event_time: Instant
    """When it happened or was decided, with zone."""
    received_time: Instant | None = None
    """When railclear's intake read it; set by intake, ignored from outside."""
    code: ShortText = ""
    """The official message or status code, as the source's system names it."""
    record: ShortText = ""
    """The source's number of the thing that `version` counts ("" = none)."""
    version: Annotated[int, msgspec.Meta(ge=0, le=9_007_199_254_740_991)] = 0
    container: ShortText = ""
    """Scope: one container. As written by the source; a wrong check digit is refused in our own events, flagged in notices."""
    item: ShortText = ""
    """Scope: one house item inside the container."""
    flags: tuple[str, ...] = ()
    """Quality flags set by intake and outside formats: EVENT_TIME_MISSING, CONTAINER_NUMBER_INVALID, UNMAPPED_OFFICE …"""
    date_only: bool = False
    """The source gave a date without a time; `event_time` is then that day's start in the source's zone."""


class DocumentRef(Frozen, frozen=True, kw_only=True):
    """A transport document, filing or other paper by its outside number. Numbers repeat: issuer, station and date tell them apart."""

    kind: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    """smgs, cim, cim_smgs, tir, lrn, mrn, manifest, declaration, pi, td, ens, transit, exs, export, gtt …"""
    number: Name
    issuer: ShortText = ""
    station: ShortText = ""
    date: ShortText = ""
    """ISO date of issue, where the kind repeats its numbers (SMGS)."""


class TrainRef(Frozen, frozen=True, kw_only=True, gc=False):
    """A train by the name its railway gives it. Numbers repeat daily and change at each border."""

    railway: PartyId
    number: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9][A-Z0-9/-]{0,19}$")]
    date: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    """Operating date at the origin station, the railway's local calendar."""
    origin: ShortText = ""
    """Origin station id of the network; needed only when the number runs twice on one day."""


class Heartbeat(Event, frozen=True, kw_only=True, tag="heartbeat"):
    """The source is alive although it has nothing to say. Any party; only a change between live and stale goes further."""
