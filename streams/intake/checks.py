"""What an event must satisfy before it counts: who may say it, when it can have happened, where a train can be. One named refusal each."""
from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeVar

import msgspec

from streams.reference.model import Place
from topics.codec import Refused
from topics.events.base import DocumentRef, Event, TrainRef
from topics.events.customs import CustomsNotice
from topics.events.rail import ConsistReported, HandOverSheet, PositionReported, TrainAnnounced, TrainDelayed, TrainFormed, TrainRerouted, WagonSetOut
from topics.events.sites import AgencyNotice, RiskIndicator, SealEvent, TerminalEvent
from topics.events.trade import ContainerLoaded, FilingLodged
from topics.facts import DAY, MINUTE
from topics.identifiers import compact, document_key, train_key
from topics.positions import position_fault
from topics.registry import PartySpec

E = TypeVar("E", bound=Event)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ITEMS_MAX: Final = 10_000
"""Longest list or table in an event (goods lines, further fields); trains have tighter limits of their own."""
AGE_DAYS_MAX: Final = 20 * 366
"""An event older than this is a broken clock. Documents may be years old, so it is generous."""
AHEAD_DAYS_MAX: Final = 366
"""Beyond this an event time is not a clock that runs fast but no time at all: EVENT_TIME_IMPLAUSIBLE."""
NAMED_DAYS_MAX: Final = 100 * 366
"""Other times (answer by, valid until, timetable) are within a century."""
VALID_FOR_EVER: Final = "VALID_FOR_EVER"
"""`valid_until` so far away that it means: no end."""
TRAIN_OF_OTHER: Final = "TRAIN_OF_OTHER"
"""A railway reports another railway's train (it runs on its lines): believed as far as positions and delays go."""
CELLS_NEAR: Final = 4
"""Degrees around a known place within which a position is taken as it is."""


def micros(value: datetime) -> int:
    """Microseconds since the epoch, UTC; exact, and defined for every datetime that has a zone."""
    return (value - EPOCH) // timedelta(microseconds=1)


def instant(at: int) -> datetime:
    """The datetime of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=at)


# -- who -----------------------------------------------------------------------------------------------------------------
def spoken(event: Event, party: PartySpec, accepts: tuple[str, ...]) -> None:
    """The party of this topic speaks, and says what its role may say. Raises Refused NOT_YOURS, NOT_YOUR_EVENT."""
    if event.source != party.id:
        raise Refused("NOT_YOURS", "$.source", event.source, f"this topic is {party.id}'s")
    tag = event.__struct_config__.tag
    if accepts and tag not in accepts:
        raise Refused("NOT_YOUR_EVENT", "$.type", tag, f"{party.role} says {', '.join(accepts)}")


def owned(event: Event, party: PartySpec, places: tuple[str, ...]) -> list[str]:
    """Whether this party may say this of that; flags. Raises Refused NOT_YOURS with the field that speaks for somebody else."""
    if isinstance(event, CustomsNotice | RiskIndicator) and event.authority != party.country:
        raise Refused("NOT_YOURS", "$.authority", event.authority, f"{party.id} speaks for {party.country or 'no authority'}")
    if isinstance(event, AgencyNotice) and event.authority and party.country and event.authority != party.country:
        raise Refused("NOT_YOURS", "$.authority", event.authority, f"{party.id} is an agency of {party.country}")
    if isinstance(event, TerminalEvent) and places and event.place not in places:
        raise Refused("NOT_YOURS", "$.place", event.place, f"{party.id} speaks for {', '.join(places)}")
    if isinstance(event, TrainAnnounced | ConsistReported | TrainFormed | TrainRerouted) and event.train.railway != party.id:
        raise Refused("NOT_YOURS", "$.train.railway", event.train.railway, "a train's name and make-up are its own railway's to say")
    if isinstance(event, HandOverSheet) and party.id not in (event.giving, event.receiving, event.train.railway):
        raise Refused("NOT_YOURS", "$.giving", event.giving, "a hand-over sheet is written by one of its two railways")
    if isinstance(event, PositionReported | TrainDelayed | WagonSetOut) and event.train.railway != party.id:
        return [TRAIN_OF_OTHER]
    return []


def identities(event: Event) -> Iterator[str]:
    """What a record key may be: an identifier of what the event is about, or of the message itself."""
    yield from (event.source, event.id, event.container, event.record)
    for name in ("train", "document", "other", "subject"):
        ref = getattr(event, name, None)
        if isinstance(ref, TrainRef):
            yield from (ref.number, train_key(ref), f"{ref.number}/{ref.date}")
        elif isinstance(ref, DocumentRef):
            yield from (ref.number, document_key(ref))
    if isinstance(event, FilingLodged):
        yield from (event.number, f"{event.kind}:{event.number}", event.mrn)
    for name in ("crossing", "seal", "place", "wagon", "replaces", "mrn", "reference"):
        value = getattr(event, name, "")
        if isinstance(value, str):
            yield value
    if isinstance(event, CustomsNotice | TerminalEvent | ContainerLoaded):
        yield from (alias.number for alias in getattr(event, "aliases", ()))


def keyed(events: tuple[Event, ...], key: bytes | None) -> None:
    """A record key, when present, names what the event is about: container, document number or train. Raises Refused KEY_MISMATCH."""
    if not key:
        return
    try:
        text = key.decode()
    except UnicodeDecodeError as error:
        raise Refused("KEY_MISMATCH", "$key", repr(key[:40]), "not UTF-8") from error
    wanted = compact(text)
    if not any(value and compact(value) == wanted for event in events for value in identities(event)):
        raise Refused("KEY_MISMATCH", "$key", text, "a record key is the payload's container, document number or train number")


# -- when ----------------------------------------------------------------------------------------------------------------
def timed(event: Event, now: int, ahead_minutes_max: int) -> None:
    """Event time against the time of receipt. Raises Refused EVENT_TIME_IMPLAUSIBLE, EVENT_TIME_FUTURE."""
    at = micros(event.event_time)
    if at - now > AHEAD_DAYS_MAX * DAY or now - at > AGE_DAYS_MAX * DAY:
        raise Refused("EVENT_TIME_IMPLAUSIBLE", "$.event_time", event.event_time, f"received {instant(now).isoformat()}")
    if at - now > ahead_minutes_max * MINUTE:
        raise Refused("EVENT_TIME_FUTURE", "$.event_time", event.event_time, f"received {instant(now).isoformat()}: more than {ahead_minutes_max} min ahead")


def other_times(event: E, now: int) -> tuple[E, list[str]]:
    """Times beside the event time. A `valid_until` beyond a century means no end; any other is refused EVENT_TIME_IMPLAUSIBLE."""
    flags: list[str] = []
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name in ("event_time", "received_time") or not isinstance(value, datetime) or abs(micros(value) - now) <= NAMED_DAYS_MAX * DAY:
            continue
        if name == "valid_until" and micros(value) > now and isinstance(event, CustomsNotice):
            event, flags = msgspec.structs.replace(event, valid_until=None), [VALID_FOR_EVER]
        else:
            raise Refused("EVENT_TIME_IMPLAUSIBLE", f"$.{name}", value, "more than a century away")
    for i, stop in enumerate(getattr(event, "stops", ())):
        for name, value in (("arrives", stop.arrives), ("departs", stop.departs)):
            if value is not None and abs(micros(value) - now) > AHEAD_DAYS_MAX * DAY:
                raise Refused("EVENT_TIME_IMPLAUSIBLE", f"$.stops[{i}].{name}", value, "more than a year away")
    return event, flags


def dated(event: Event) -> None:
    """Days of trains and documents exist in the calendar. Raises Refused BAD_VALUE."""
    days: list[tuple[str, str]] = []
    for name in ("train", "document", "other", "subject"):
        ref = getattr(event, name, None)
        if isinstance(ref, TrainRef | DocumentRef):
            days.append((f"$.{name}.date", ref.date))
    days += [(f"$.parents[{i}].date", ref.date) for i, ref in enumerate(getattr(event, "parents", ()))]
    days += [(f"$.documents[{i}].date", ref.date) for i, ref in enumerate(getattr(event, "documents", ()))]
    for path, day in days:
        if not day:
            continue
        try:
            date.fromisoformat(day)
        except ValueError as error:
            raise Refused("BAD_VALUE", path, day, "no day of the calendar") from error


# -- where ---------------------------------------------------------------------------------------------------------------
class Near:
    """Whether a position is in the wider neighbourhood of any known place, by cells of one degree."""

    def __init__(self, places: Iterator[Place]) -> None:
        self._cells = {
            (math.floor(place.lat) + i, math.floor(place.lon) + j)
            for place in places if place.lat is not None and place.lon is not None
            for i in range(-CELLS_NEAR, CELLS_NEAR + 1) for j in range(-CELLS_NEAR, CELLS_NEAR + 1)
        }

    def __call__(self, lat: float, lon: float) -> bool:
        return (math.floor(lat), math.floor(lon)) in self._cells


def located(event: Event, near: Near) -> None:
    """Raises Refused POSITION_METRES, POSITION_NULL_ISLAND, POSITION_SWAPPED, POSITION_OUT_OF_RANGE, or MISSING_FIELD for half a position.

    A position that only makes sense with latitude and longitude exchanged, judged by the places of the network, is SWAPPED too.
    """
    if not isinstance(event, PositionReported | SealEvent):
        return
    if (event.lat is None) != (event.lon is None):
        raise Refused("MISSING_FIELD", "$.lon" if event.lon is None else "$.lat", "", "latitude and longitude come together")
    if event.lat is None or event.lon is None:
        if isinstance(event, PositionReported) and not event.station:
            raise Refused("MISSING_FIELD", "$.station", "", "a position has degrees or a station")
        return
    if fault := position_fault(event.lat, event.lon):
        raise Refused(fault.code, fault.path, fault.value, fault.reason)
    if not near(event.lat, event.lon) and near(event.lon, event.lat):
        raise Refused("POSITION_SWAPPED", "$.lat", f"{event.lat},{event.lon}", "latitude and longitude are exchanged")


def bounded(event: Event) -> None:
    """No list or table of the event is longer than anybody needs. Raises Refused TOO_MANY_ITEMS."""
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if isinstance(value, tuple | dict) and len(value) > ITEMS_MAX:
            raise Refused("TOO_MANY_ITEMS", f"$.{name}", len(value), f"at most {ITEMS_MAX}")
