"""What a railway says: trains announced, their consists, positions, hand-over sheets and re-formations."""
from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from topics.events.base import Event, Frozen, Instant, Name, ShortText, Text, TrainRef


class PlannedStop(Frozen, frozen=True, kw_only=True):
    """A timetable point: place is a station id of the network."""

    place: Name
    arrives: Instant | None = None
    departs: Instant | None = None


class WagonLoad(Frozen, frozen=True, kw_only=True):
    """A wagon and the containers on it, in order."""

    wagon: Name
    containers: tuple[ShortText, ...] = ()
    gross_kg: Annotated[int, msgspec.Meta(ge=0, le=200_000)] | None = None


class TrainAnnounced(Event, frozen=True, kw_only=True, tag="train.announced"):
    """A train is going to run: its corridor and direction, stops and planned containers. Later versions replace earlier ones."""

    train: TrainRef
    corridor: ShortText = ""
    """Corridor id of the network; empty when unknown."""
    direction: Literal["west", "east"] = "west"
    stops: tuple[PlannedStop, ...] = ()
    containers: tuple[ShortText, ...] = ()
    crossings: tuple[str, ...] = ()
    """Crossing ids still ahead, in order; empty = those of the corridor."""
    empty: bool = False


class ConsistReported(Event, frozen=True, kw_only=True, tag="train.consist"):
    """The wagons of a train as it stands, and what is on them."""

    train: TrainRef
    wagons: tuple[WagonLoad, ...]
    place: ShortText = ""


Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Longitude = Annotated[float, msgspec.Meta(ge=-180, le=180)]
SpeedKmh = Annotated[float, msgspec.Meta(ge=0, le=400)]
Happened = Literal["at", "arrived", "departed", "passed"]


class PositionReported(Event, frozen=True, kw_only=True, tag="train.position", gc=False):
    """Where a train is, in WGS 84 degrees, or at which station it arrived, departed or passed."""

    train: TrainRef
    lat: Latitude | None = None
    lon: Longitude | None = None
    speed_kmh: SpeedKmh | None = None
    station: ShortText = ""
    """Station id of the network, where the source names one."""
    what: Happened = "at"


class HandOverSheet(Event, frozen=True, kw_only=True, tag="train.handed_over"):
    """The hand-over sheet (передаточная ведомость / 交接单) between two railways at a border station."""

    train: TrainRef
    crossing: Name
    giving: Name
    """Railway party that gives."""
    receiving: Name
    wagons: tuple[WagonLoad, ...]
    refused: tuple[ShortText, ...] = ()
    """Containers that the receiving railway refused: they go back, and open a new visit of the giving side."""
    reason: Text = ""


class TrainFormed(Event, frozen=True, kw_only=True, tag="train.formed"):
    """A new train from one or more others: split, merge, renumbering or gauge break. The child inherits milestones."""

    train: TrainRef
    parents: tuple[TrainRef, ...]
    place: ShortText = ""
    """Station or terminal where it was formed."""
    wagons: tuple[WagonLoad, ...] = ()
    reason: Literal["split", "merge", "renumbered", "gauge_break", "reload"] = "gauge_break"
    corridor: ShortText = ""
    direction: Literal["west", "east"] = "west"
    crossings: tuple[str, ...] = ()
    """Crossings still ahead; empty = those of the corridor that the parents have not yet passed."""
    stops: tuple[PlannedStop, ...] = ()


class WagonSetOut(Event, frozen=True, kw_only=True, tag="train.wagon_set_out"):
    """A wagon taken out of the train en route (hot box, commercial defect): its boxes stay behind."""

    train: TrainRef
    wagon: Name
    containers: tuple[ShortText, ...]
    place: ShortText = ""
    reason: Text = ""


class TrainRerouted(Event, frozen=True, kw_only=True, tag="train.rerouted"):
    """The train goes another way from here on."""

    train: TrainRef
    corridor: ShortText = ""
    crossings: tuple[str, ...] = ()
    """All crossings of the new route still ahead, in order."""
    reason: Text = ""


class TrainDelayed(Event, frozen=True, kw_only=True, tag="train.delayed"):
    """A delay forecast with its cause (reason codes of domain 7.4)."""

    train: TrainRef
    minutes: Annotated[int, msgspec.Meta(ge=-1440, le=100_000)]
    cause: ShortText = ""
    place: ShortText = ""


RailEvent = TrainAnnounced | ConsistReported | PositionReported | HandOverSheet | TrainFormed | WagonSetOut | TrainRerouted | TrainDelayed
