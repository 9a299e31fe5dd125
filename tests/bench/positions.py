"""Positions of many trains, as they come over the wire: the input of the position benchmarks, and what it costs without a broker.

The trains are announced, have 40 to 55 containers each and have been under way for a while; then every train reports every so many seconds.
One in a hundred positions comes twice, one in fifty late, one in five hundred lies off the line: numbers from the same seed are the same.
"""
from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec
from stdnum import iso6346

from agents.intake import intake_process
from agents.runner.partition import Partition
from streams.effects import LogRecord, Publish, PutState
from streams.kept import instant
from streams.network.route import Route, build_route
from streams.reference.model import Reference
from streams.trains import TrainsFold
from topics import codec
from topics.events.base import Event, TrainRef
from topics.events.rail import ConsistReported, PlannedStop, PositionReported, TrainAnnounced, WagonLoad
from topics.identifiers import train_key
from topics.registry import Registry

START = 1_772_409_600_000_000
MINUTE = 60_000_000
HISTORY_MINUTES = 45
"""How often a train has reported before the benchmark begins."""
TWICE, LATE, ASTRAY = 0.01, 0.02, 0.002
SPEED_KMH = (35.0, 55.0)
E = TypeVar("E", bound=Event)


class Load(NamedTuple):
    """Input of one benchmark."""

    before: list[tuple[str, Event]]
    """(train key, event): what is known of the trains when the measurement begins."""
    positions: list[tuple[str, PositionReported]]
    """In the order in which they come."""
    begins: int
    """When the measured positions begin, microseconds UTC."""


class _Train:
    def __init__(self, n: int, rng: random.Random, reference: Reference, lines: Sequence[Route]) -> None:
        self.line = rng.choice(lines)
        railway = next(p.id for p in reference.parties.values() if p.role == "railway" and p.country == self.line.stops[0].country)
        self.ref = TrainRef(railway=railway, number=f"X{8000 + n}", date="2026-03-02", origin=self.line.stops[0].place)
        self.key, self.n = train_key(self.ref), n
        self.boxes = tuple(_box(n * 64 + i) for i in range(rng.randint(40, 55)))
        self.kmh = rng.uniform(*SPEED_KMH)
        self.hours = rng.uniform(2, 0.9 * self.line.length_km / self.kmh)
        """How long it has been under way."""

    def event(self, kind: Callable[..., E], at: int, name: str, **more: object) -> E:
        return kind(source=self.ref.railway, id=f"{self.n}-{name}", event_time=instant(at), train=self.ref, **more)

    def position(self, at: int, begins: int, name: str, rng: random.Random, *, astray: bool = False) -> PositionReported:
        km = self.kmh * (self.hours + (at - begins) / 60 / MINUTE)
        lat, lon = _point(self.line, km)
        lat, lon = (lat + 9.0, lon) if astray else (lat + rng.uniform(-2e-3, 2e-3), lon + rng.uniform(-2e-3, 2e-3))
        return self.event(PositionReported, at, name, lat=round(lat, 6), lon=round(lon, 6), speed_kmh=round(self.kmh + rng.uniform(-5, 5), 1))

    def before(self, begins: int, rng: random.Random) -> Iterator[Event]:
        leaves = begins - int(self.hours * 60 * MINUTE)
        stops = tuple(PlannedStop(place=s.place) for s in (self.line.stops[0], self.line.stops[-1]))
        yield self.event(TrainAnnounced, leaves - 600 * MINUTE, "a", corridor=self.line.corridor, direction=self.line.direction, stops=stops,
                         containers=self.boxes)
        loads = tuple(WagonLoad(wagon=f"{94000000 + self.n * 64 + i}", containers=(box,)) for i, box in enumerate(self.boxes))
        yield self.event(ConsistReported, leaves - 60 * MINUTE, "c", wagons=loads, place=self.line.stops[0].place)
        for n, at in enumerate((*range(leaves, begins - MINUTE, HISTORY_MINUTES * MINUTE), begins)):
            yield self.position(at, begins, f"h{n}", rng)


def _box(n: int) -> str:
    body = f"RCLU{n:06d}"
    return f"{body}{iso6346.calc_check_digit(body)}"


def _point(line: Route, km: float) -> tuple[float, float]:
    trunk = [i for i in range(len(line.start_km)) if math.isnan(line.junction_km[i])]
    i = next((i for i in trunk if km <= line.end_km[i]), trunk[-1])
    length = float(line.end_km[i] - line.start_km[i]) or 1.0
    share = min(1.0, max(0.0, (km - float(line.start_km[i])) / length))
    return (float(line.start_lat[i] + share * (line.end_lat[i] - line.start_lat[i])), float(line.start_lon[i] + share * (line.end_lon[i] - line.start_lon[i])))


def load_of(reference: Reference, *, trains: int = 1_300, positions: int = 12_000, every_seconds: float = 10.0, seed: int = 1) -> Load:
    """Positions of so many trains, each reporting every `every_seconds`."""
    rng = random.Random(seed)
    lines = [build_route(reference, c.id, "west") for c in reference.corridors.values() if c.enabled]
    railways = {p.country for p in reference.parties.values() if p.role == "railway"}
    lines = [line for line in lines if line.stops[0].country in railways]
    begins = START + 40 * 24 * 60 * MINUTE
    running = [_Train(n, rng, reference, lines) for n in range(trains)]
    before: list[tuple[str, Event]] = [(t.key, e) for t in running for e in t.before(begins, rng)]
    found: list[tuple[float, str, PositionReported]] = []
    step = every_seconds * 1e6
    for n in range(math.ceil(positions / trains)):
        for t in running:
            at = begins + int(step * (n + 1) + rng.uniform(0, step * 0.9))
            said = t.position(at, begins, f"p{n}", rng, astray=rng.random() < ASTRAY)
            arrives = at + (rng.uniform(1, 4) * step if rng.random() < LATE else 0)
            found.append((arrives, t.key, said))
            if rng.random() < TWICE:
                found.append((arrives + rng.uniform(0, step), t.key, said))
    found.sort(key=lambda f: f[0])
    return Load(before, [(key, said) for _, key, said in found[:positions]], begins)


def records(topic: str, events: Sequence[tuple[str, Event]], at: int, first: int = 0, *, partition: int = 0) -> list[LogRecord]:
    """As a topic holds them."""
    return [LogRecord(topic, partition, first + n, at // 1000, key.encode(), codec.encode(event)) for n, (key, event) in enumerate(events)]


def stamped(events: Sequence[tuple[str, Event]], at: int) -> list[tuple[str, Event]]:
    """As intake hands them on."""
    return [(key, msgspec.structs.replace(event, received_time=instant(at))) for key, event in events]


class Cost(NamedTuple):
    """What a pure stage costs, in process CPU time."""

    us: float
    """Microseconds per position."""
    outputs: float
    """Outputs per position."""
    state_bytes: float
    """Bytes of state records per position."""


def trains_cost(reference: Reference, load: Load, *, batch: int = 3_000, partitions: int = 1, around: Callable[[], object] | None = None) -> Cost:
    """TRAINS: decode, match, milestones, ETA, state, from encoded records to effects. Trains are dealt out over `partitions`."""
    lane_of = {key: n % partitions for n, key in enumerate(dict.fromkeys(key for key, _ in load.before))}
    lanes = [Partition(TrainsFold(), reference, n) for n in range(partitions)]
    for lane in lanes:
        lane.restored()
    begins = load.begins
    work: list[tuple[int, list[LogRecord]]] = []
    for n, lane in enumerate(lanes):
        known = [(key, e) for key, e in load.before if lane_of[key] == n]
        for when in (False, True):                       # the last position on its own: the measurement begins in the middle of things
            part = [(key, e) for key, e in known if (e.event_time == instant(begins)) is when]
            lane.batch(records("trains.in", stamped(part, begins), begins, len(known) - len(part) if when else 0, partition=n))
        mine = [(key, e) for key, e in load.positions if lane_of[key] == n]
        every = records("trains.in", stamped(mine, begins + MINUTE), _last(load), len(known), partition=n)
        work += [(n, every[i : i + batch]) for i in range(0, len(every), batch)]
    if around is not None:
        around()
    begun, outputs, size = time.process_time(), 0, 0
    for n, batched in work:
        for effect in lanes[n].batch(batched):
            if isinstance(effect, Publish):
                outputs += len(effect.sends)
            elif isinstance(effect, PutState):
                size += sum(len(value or b"") for _, value in effect.records)
    spent = time.process_time() - begun
    count = len(load.positions)
    return Cost(spent * 1e6 / count, outputs / count, size / count)


def intake_cost(reference: Reference, known: Registry, load: Load, *, batch: int = 3_000, around: Callable[[], object] | None = None) -> Cost:
    """Intake: from a railway's bytes to effects."""
    process = intake_process(reference, known)
    by_party: dict[str, list[tuple[str, Event]]] = {}
    for key, event in load.positions:
        by_party.setdefault(event.source, []).append((key, event))
    work: list[list[LogRecord]] = []
    for party, events in by_party.items():
        every = records(f"rail.trains.{party}", events, _last(load))
        work += [every[i : i + batch] for i in range(0, len(every), batch)]
    if around is not None:
        around()
    begun, outputs = time.process_time(), 0
    for part in work:
        for effect in process(part):
            if isinstance(effect, Publish):
                outputs += len(effect.sends)
    count = len(load.positions)
    return Cost((time.process_time() - begun) * 1e6 / count, outputs / count, 0.0)


def _last(load: Load) -> int:
    return max(int(event.event_time.timestamp() * 1e6) for _, event in load.positions) + MINUTE
