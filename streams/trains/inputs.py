"""What TRAINS keeps of one train name: a merge of its inputs in which order and repetition do not matter.

Positions are reduced without a look at the route, which may come later or change: of each station event the first and last two, of GPS the
first in every square of one degree, the first and last two near a border station, and the last three of all. The number of squares that a
train crosses does not grow with how often it reports.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

import msgspec

from streams.derived import Said
from streams.fold import Fate
from streams.gps import Gps
from streams.kept import at_of, digest, event_id, identity, keep, micros, order, put, speaking, tag_of
from streams.reference.model import Place, Reference
from streams.squeeze import loosened, squeezed
from topics.events.base import Event, TrainRef
from topics.events.customs import CustomsNotice
from topics.events.internal import Inherited
from topics.events.rail import (
    ConsistReported,
    HandOverSheet,
    PositionReported,
    TrainAnnounced,
    TrainDelayed,
    TrainFormed,
    TrainRerouted,
    WagonSetOut,
)
from topics.events.sites import TerminalEvent
from topics.identifiers import train_key

CONSISTS_MAX = 24
SHEETS_MAX = 24
SET_OUTS_MAX = 80
FORMED_MAX = 16
REROUTES_MAX = 12
DELAYS_MAX = 4
NOTICES_MAX = 64
RECORDED_MAX = 256
"""Positions with a record of their source: corrections of station events."""
SQUARES_MAX = 600
STATIONS_MAX = 400
ORIGINS_MAX = 8
PER_STATION = 2
LAST_FIXES = 3

Input = (
    TrainAnnounced | ConsistReported | PositionReported | HandOverSheet | TrainFormed | WagonSetOut | TrainRerouted | TrainDelayed | CustomsNotice
    | TerminalEvent | Inherited
)
Heard = Input | Gps
"""An input as it is decoded: a plain position stays in its short form as long as nobody needs more of it."""
S = TypeVar("S", bound=Event)


class Fix(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One reported place: a station event, or coordinates."""

    at: int
    id: str
    source: str
    station: str = ""
    what: str = "at"
    lat: float = 0.0
    lon: float = 0.0

    @property
    def key(self) -> tuple[int, str]:
        return self.at, self.id


class First(msgspec.Struct, frozen=True, array_like=True):
    """The first that was heard of the run's plan."""

    at: int
    id: str
    start: str = ""
    """Place where it starts, or was formed; empty when not said."""
    crossings: tuple[str, ...] = ()


class RunInputs(msgspec.Struct, array_like=True):
    """Inputs that state one origin (or none). Merged in place while a step works on a copy."""

    announced: dict[str, TrainAnnounced] = {}
    """Source -> highest version."""
    first: First | None = None
    consists: dict[str, ConsistReported] = {}
    sheets: dict[str, HandOverSheet] = {}
    set_outs: dict[str, WagonSetOut] = {}
    formed: dict[str, TrainFormed] = {}
    """How this train was formed: source -> highest version."""
    spawned: dict[str, TrainFormed] = {}
    """Trains formed from this one: child's key and source -> highest version."""
    inherited: dict[str, Inherited] = {}
    """Parent run -> highest sequence."""
    reroutes: dict[str, TrainRerouted] = {}
    delays: dict[str, TrainDelayed] = {}
    notices: dict[str, CustomsNotice] = {}
    terminal: dict[str, TerminalEvent] = {}
    recorded: dict[str, tuple[int, Fix]] = {}
    """Source and record -> version and position."""
    stations: dict[str, tuple[Fix, ...]] = {}
    """Station and what -> the first and the last two."""
    squares: dict[str, Fix] = {}
    """Square degree -> the first in it."""
    zones: dict[str, tuple[Fix, ...]] = {}
    """Border station -> the first and the last two near it."""
    latest: tuple[Fix, ...] = ()

    def copy(self) -> RunInputs:
        """A copy whose tables may be changed."""
        return msgspec.structs.replace(self, **{n: dict(v) for n in self.__struct_fields__ if isinstance(v := getattr(self, n), dict)})

    def fixes(self) -> list[Fix]:
        """Every position that is kept, by time."""
        found = {f.key: f for f in self.each_fix()}
        return [found[k] for k in sorted(found)]

    def words(self, name: str) -> list[CustomsNotice]:
        """What authorities say of the whole train, as last corrected. A correction that is about something else speaks there."""
        here = {n for n, e in self.notices.items() if e.document is None and not e.container and e.train is not None and train_key(e.train) == name}
        return speaking((e for n, e in self.notices.items() if n in here), (e for n, e in self.notices.items() if n not in here))

    def each_fix(self) -> Iterator[Fix]:
        """Every position that is kept, once per reason to keep it."""
        yield from (fix for _, fix in self.recorded.values())
        yield from self.squares.values()
        yield from self.latest
        for few in (*self.stations.values(), *self.zones.values()):
            yield from few

    def add(self, event: Input, key: str, reference: Reference, *, origin: str = "", repeatable: bool = False) -> Fate | None:
        """Merge one input that came under the train name `key` and this origin. None when it changed something; REFUSED means that a limit is reached."""
        match event:
            case PositionReported():
                return self._position(event, reference)
            case TrainAnnounced():
                earlier = self._heard(_first_of(event))
                return _either(earlier, put(self.announced, event.source, event))
            case ConsistReported():
                return recorded(self.consists, event, CONSISTS_MAX)
            case HandOverSheet():
                return recorded(self.sheets, event, SHEETS_MAX)
            case WagonSetOut():
                return recorded(self.set_outs, event, SET_OUTS_MAX)
            case TrainFormed():
                return self._formed(event, train_key(event.train) == key and event.train.origin == origin)
            case TrainRerouted():
                return recorded(self.reroutes, event, REROUTES_MAX)
            case TrainDelayed():
                return self._delayed(event)
            case CustomsNotice():
                return keep(self.notices, event, NOTICES_MAX, repeatable=repeatable)
            case TerminalEvent():
                return recorded(self.terminal, event, NOTICES_MAX)
            case Inherited():
                return self._inherited(event)
        raise TypeError(f"trains keep no {tag_of(event)}")

    def _heard(self, first: First) -> bool:
        """The earliest plan stays: it says from where on the run is known."""
        if self.first is not None and (self.first.at, self.first.id) <= (first.at, first.id):
            return False
        self.first = first
        return True

    def _formed(self, event: TrainFormed, child: bool) -> Fate | None:
        if child:
            earlier = self._heard(_first_formed(event))
            return _either(earlier, put(self.formed, event.source, event))
        name = f"{train_key(event.train)}|{event.train.origin}|{event.source}"
        if name not in self.spawned and len(self.spawned) >= FORMED_MAX:
            return Fate.REFUSED
        return put(self.spawned, name, event)

    def _delayed(self, event: TrainDelayed) -> Fate | None:
        """Only the latest forecasts matter."""
        name = identity(event)
        if name in self.delays:
            return Fate.DUPLICATE
        self.delays[name] = event
        for dropped in sorted(self.delays, key=lambda n: order(self.delays[n]))[:-DELAYS_MAX]:
            del self.delays[dropped]
        return None if name in self.delays else Fate.SUPERSEDED

    def _inherited(self, message: Inherited) -> Fate | None:
        old = self.inherited.get(message.parent)
        if old is None and len(self.inherited) >= FORMED_MAX:
            return Fate.REFUSED
        if old is None or (message.seq, digest(message)) > (old.seq, digest(old)):
            self.inherited[message.parent] = message
            return None
        return Fate.DUPLICATE if old == message else Fate.SUPERSEDED

    # -- positions ---------------------------------------------------------------------------------------------------------
    def _position(self, event: PositionReported, reference: Reference) -> Fate | None:
        fix = fix_of(event)
        if event.record:
            return self._recorded(f"{event.source}#{event.record}", event.version, fix)
        if fix.station:
            return self._station(fix)
        return self._somewhere(fix, reference)

    def _recorded(self, name: str, version: int, fix: Fix) -> Fate | None:
        held = self.recorded.get(name)
        if held is None and len(self.recorded) >= RECORDED_MAX:
            return Fate.REFUSED
        if held is None or (version, fix.key, digest(fix)) > (held[0], held[1].key, digest(held[1])):
            self.recorded[name] = version, fix
            return None
        return Fate.DUPLICATE if held == (version, fix) else Fate.SUPERSEDED

    def _station(self, fix: Fix) -> Fate | None:
        name = f"{fix.station}|{fix.what}"
        held = self.stations.get(name, ())
        if not held and len(self.stations) >= STATIONS_MAX:
            return Fate.REFUSED
        return into(self.stations, name, held, fix)

    def _somewhere(self, fix: Fix, reference: Reference) -> Fate | None:
        square = f"{math.floor(fix.lat)}|{math.floor(fix.lon)}"
        if square not in self.squares and len(self.squares) >= SQUARES_MAX:
            return Fate.REFUSED
        fates: list[Fate | None] = []
        held = self.squares.get(square)
        if held is None or fix.key < held.key:
            self.squares[square] = fix
            fates.append(None)
        elif held == fix:
            fates.append(Fate.DUPLICATE)
        for zone in border_stations(reference, fix.lat, fix.lon):
            fates.append(into(self.zones, zone, self.zones.get(zone, ()), fix))
        latest = tuple(sorted({*self.latest, fix}, key=lambda f: f.key)[-LAST_FIXES:])
        fates.append(Fate.DUPLICATE if fix in self.latest else Fate.SUPERSEDED if latest == self.latest else None)
        self.latest = latest
        return None if None in fates else Fate.DUPLICATE if Fate.DUPLICATE in fates else Fate.SUPERSEDED

    # -- dealing out anew by masks (streams/trains/masked.py) ---------------------------------------------------------------
    def unrecorded(self) -> list[Fix]:
        """Positions without a record of their source."""
        return sorted({*self.squares.values(), *self.latest, *(f for few in (*self.stations.values(), *self.zones.values()) for f in few)}, key=lambda f: f.key)

    def place(self, fix: Fix, reference: Reference) -> None:
        """Take in a position again."""
        if fix.station:
            self._station(fix)
        else:
            self._somewhere(fix, reference)

    def place_recorded(self, slot: str, version: int, fix: Fix) -> None:
        """Take in a position with a record again."""
        self._recorded(slot, version, fix)

    def hear(self, first: First) -> None:
        """Take in the earliest plan again."""
        self._heard(first)

    def settle(self) -> None:
        """The bounds that hold after every input, and the earliest plan of those that are kept."""
        for name in sorted(self.delays, key=lambda n: order(self.delays[n]))[:-DELAYS_MAX]:
            del self.delays[name]
        for said in self.announced.values():
            self._heard(_first_of(said))
        for formed in self.formed.values():
            self._heard(_first_formed(formed))

    def merged(self, other: RunInputs, key: str, reference: Reference) -> RunInputs:
        """Both, as if their inputs had come together."""
        out = self.copy()
        for table in ("announced", "consists", "sheets", "set_outs", "inherited", "reroutes", "delays", "notices", "terminal"):
            for event in getattr(other, table).values():
                out.add(event, key, reference, repeatable=True)
        for child, trains in ((True, other.formed), (False, other.spawned)):
            for formed in trains.values():
                out._formed(formed, child)
        if other.first is not None:
            out._heard(other.first)
        for name, (version, fix) in other.recorded.items():
            out._recorded(name, version, fix)
        for name, few in other.stations.items():
            for fix in few:
                into(out.stations, name, out.stations.get(name, ()), fix)
        for fix in (*other.squares.values(), *other.latest, *(f for few in other.zones.values() for f in few)):
            out._somewhere(fix, reference)
        return out


def recorded(held: dict[str, Any], event: S, most: int) -> Fate | None:
    """With a record of its source the highest version counts, else every event on its own."""
    if not event.record:
        return keep(held, event, most, repeatable=True)
    name = f"{event.source}#{event.record}"
    if name not in held and len(held) >= most:
        return Fate.REFUSED
    return put(held, name, event)


def fix_of(event: PositionReported | Gps) -> Fix:
    """What is kept of a position."""
    name = f"{event.source}/train.position/{event.id}"       # event_id(event): this is asked of every position
    at = micros(event.event_time)
    if event.station:
        return Fix(at, name, event.source, event.station, event.what)
    return Fix(at, name, event.source, "", event.what, round(event.lat or 0.0, 5), round(event.lon or 0.0, 5))


def into(table: dict[str, tuple[Fix, ...]], name: str, held: tuple[Fix, ...], fix: Fix) -> Fate | None:
    """The first and the last two of a place, with one more."""
    if fix in held:
        return Fate.DUPLICATE
    every = sorted((*held, fix), key=lambda f: f.key)
    few = tuple(every if len(every) <= 2 * PER_STATION else every[:PER_STATION] + every[-PER_STATION:])
    if few == held:
        return Fate.SUPERSEDED
    table[name] = few
    return None


def _first_of(event: TrainAnnounced) -> First:
    return First(at_of(event), event_id(event), event.stops[0].place if event.stops else "", event.crossings)


def _first_formed(event: TrainFormed) -> First:
    return First(at_of(event), event_id(event), event.place, event.crossings)


def _either(earlier: bool, fate: Fate | None) -> Fate | None:
    return None if earlier else fate


LIMIT_NORTH_KM = 0.5 * 111.2
_BORDERS_MAX = 8
_borders: dict[int, tuple[Reference, dict[tuple[int, int], list[Place]]]] = {}
"""Border stations by square degree near which they lie, per reference: nearly every position is near none."""


def near_border(reference: Reference, i: int, j: int) -> bool:
    """May a position in this square degree be in the geofence of a border station?"""
    return (i, j) in _squares_of(reference)


def _squares_of(reference: Reference) -> dict[tuple[int, int], list[Place]]:
    known = _borders.get(id(reference))
    if known is None or known[0] is not reference:
        if len(_borders) >= _BORDERS_MAX:
            _borders.clear()
        known = _borders[id(reference)] = reference, _border_squares(reference)
    return known[1]


def border_stations(reference: Reference, lat: float, lon: float) -> list[str]:
    """Places of crossings whose geofence holds the position."""
    found = []
    for place in _squares_of(reference).get((math.floor(lat), math.floor(lon)), ()):
        north = ((place.lat or 0.0) - lat) * 111.2
        east = ((place.lon or 0.0) - lon) * 111.2 * math.cos(math.radians(lat))
        if abs(north) < LIMIT_NORTH_KM and north * north + east * east <= place.radius_km * place.radius_km:
            found.append(place.id)
    return found


def _border_squares(reference: Reference) -> dict[tuple[int, int], list[Place]]:
    """Generously: every square degree that a geofence may reach into, at the highest latitude that it reaches."""
    squares: dict[tuple[int, int], list[Place]] = {}
    for place in reference.places.values():
        if place.crossing and place.lat is not None and place.lon is not None:
            north = place.radius_km / 111.2 + 1e-6
            east = place.radius_km / (111.2 * max(0.01, math.cos(math.radians(min(89.0, abs(place.lat) + north))))) + 1e-6
            for i in range(math.floor(place.lat - north), math.floor(place.lat + north) + 1):
                for j in range(math.floor(place.lon - east), math.floor(place.lon + east) + 1):
                    squares.setdefault((i, j), []).append(place)
    return squares


class State(msgspec.Struct, array_like=True, frozen=True, kw_only=True, dict=True):
    """The state of one key. What `streams.trains.quiet` has worked out of it hangs on the object and is never written."""

    SWELLS: ClassVar[int] = 18
    version: int = 0
    touched: int = 0
    """`now` of the last step with an input that changed something."""
    runs: dict[str, RunInputs] = {}
    """Stated origin ("" = none stated) -> its inputs."""
    said: Said = {}
    waiting_since: int | None = None
    """When it first had positions and no route, or a name that may mean two trains."""
    aside: dict[str, RunInputs] = {}
    """What masks cover, by stated origin: kept, without effect."""
    mark: bytes = b""
    """The masks by which the inputs were dealt out (streams.masks)."""


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(State)


def encode(state: State) -> bytes:
    return squeezed(_encoder.encode(state))


def decode(data: bytes) -> State:
    return _decoder.decode(loosened(data))


def origin_of(event: Input, key: str) -> tuple[str, ...]:
    """Origins under which an event stands at this key: of the train itself, or of each parent of this name."""
    if isinstance(event, Inherited):
        return (event.child_origin,)
    if isinstance(event, TrainFormed):
        refs = [r for r in (event.train, *event.parents) if train_key(r) == key]
        return tuple(dict.fromkeys(r.origin for r in refs))
    train: TrainRef | None = event.train
    return (train.origin if train is not None else "",)
