"""The way of a train through the network: stops with coordinates, and the crossings between them as it passes them."""
from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from streams.reference.model import Corridor, Crossing, Place, Reference
from streams.simulate.cargo import Direction
from streams.simulate.clockwork import hours, spread, track_km

WHOLE_WAY = 0.85
"""Share of trains that go to a destination beyond the corridor's last customs border [D]."""
KM_PER_HOUR = {"CN": 65.0, "PL": 28.0, "DE": 30.0, "LT": 35.0}
"""Where the reference has no speed (domain 7.2); elsewhere 50."""


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """A crossing in the direction of the train. `exit_at` and `entry_at` are indexes of stops."""

    crossing: Crossing
    exit_at: int
    entry_at: int
    exit_authority: str
    entry_authority: str
    formed_at: int
    """Stop where the next railway's train is formed: the transload place, else the entry station."""
    gauge_break: bool

    @property
    def customs(self) -> bool:
        return self.crossing.customs_border


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """Stops in order of travel and the crossings among them."""

    corridor: str
    direction: Direction
    stops: tuple[Place, ...]
    passes: tuple[Pass, ...]

    def customs_from(self, stop: int) -> Pass | None:
        """The next customs border whose exit station is at or after this stop."""
        return next((p for p in self.passes if p.customs and p.exit_at >= stop), None)


class Call(msgspec.Struct, frozen=True):
    """A timed stop."""

    stop: int
    arrives: int
    departs: int


def ways(reference: Reference, only: Sequence[str], *, eastbound: bool) -> list[tuple[Corridor, Direction]]:
    """Corridors with their directions, in the reference's order."""
    chosen = [corridor for corridor in reference.corridors.values() if not only or corridor.id in only]
    chosen = [c for c in chosen if c.enabled and all(not reference.crossings[x].future for x in c.crossings)]
    if not chosen:
        raise ValueError(f"no corridor of the reference is among {list(only)}")
    directions: tuple[Direction, ...] = ("west", "east") if eastbound else ("west",)
    return [(corridor, direction) for direction in directions for corridor in chosen]


def way(reference: Reference, corridor: Corridor, direction: Direction, rng: random.Random) -> Way:
    """A way over the corridor from one of its origins to one of its destinations."""
    ids = _places(corridor, rng, {c for c in corridor.crossings if reference.crossings[c].customs_border}, reference)
    if direction == "east":
        ids.reverse()
    stops = tuple(reference.places[i] for i in ids)
    passes = []
    for crossing_id in corridor.crossings:
        crossing = reference.crossings[crossing_id]
        if crossing.a in ids and crossing.b in ids:
            passes.append(_passed(crossing, ids, direction))
    return Way(corridor=corridor.id, direction=direction, stops=stops, passes=tuple(sorted(passes, key=lambda p: p.exit_at)))


def _to(corridor: Corridor, destination: str) -> list[str]:
    """Place ids of trunk and spur to a destination."""
    trunk, spur = list(corridor.places), corridor.spurs.get(destination, ())
    if spur and spur[0] in trunk:
        return trunk[: trunk.index(spur[0])] + list(spur)
    return trunk[: trunk.index(destination) + 1] if destination in trunk else trunk


def _places(corridor: Corridor, rng: random.Random, borders: set[str], reference: Reference) -> list[str]:
    """Place ids westwards: feeder, trunk, spur. Most trains pass every customs border of their corridor."""
    trunk = list(corridor.places)
    if corridor.destinations:
        far = [d for d in corridor.destinations if all(reference.crossings[b].b in _to(corridor, d) for b in borders)]
        trunk = _to(corridor, rng.choice(far if far and rng.random() < WHOLE_WAY else corridor.destinations))
    if corridor.origins:
        origin = rng.choice(corridor.origins)
        feeder = corridor.feeders.get(origin, ())
        if feeder and feeder[-1] in trunk:
            trunk = list(feeder[:-1]) + trunk[trunk.index(feeder[-1]) :]
        elif origin in trunk:
            trunk = trunk[trunk.index(origin) :]
    return trunk


def _passed(crossing: Crossing, ids: Sequence[str], direction: Direction) -> Pass:
    west = direction == "west"
    first, second = (crossing.a, crossing.b) if west else (crossing.b, crossing.a)
    exit_at, entry_at = ids.index(first), ids.index(second)
    site = crossing.transload_west if west else crossing.transload_east
    formed_at = ids.index(site) if site in ids else entry_at
    return Pass(
        crossing=crossing, exit_at=exit_at, entry_at=entry_at, formed_at=min(max(formed_at, exit_at), entry_at + 1) if site else entry_at,
        exit_authority=crossing.a_authority if west else crossing.b_authority,
        entry_authority=crossing.b_authority if west else crossing.a_authority,
        gauge_break=bool(site) and crossing.gauge_a != crossing.gauge_b,
    )


class Pacer:
    """Running and waiting times, drawn from the reference's figures."""

    def __init__(self, reference: Reference, rng: random.Random, speed_up: float) -> None:
        self.reference, self.rng, self.speed_up = reference, rng, speed_up

    def running(self, a: Place, b: Place) -> int:
        """From one stop to the next, microseconds."""
        if a.lat is None or a.lon is None or b.lat is None or b.lon is None:
            return hours(2.0 / self.speed_up)
        row = self.reference.speeds.get(b.country)
        fast = spread(self.rng, row.km_per_hour_p10, row.km_per_hour_p50, row.km_per_hour_p90) if row else KM_PER_HOUR.get(b.country, 50.0)
        return max(hours(track_km((a.lat, a.lon), (b.lat, b.lon)) / max(fast, 5.0) / self.speed_up), hours(0.2))

    def dwell(self, passed: Pass, direction: Direction) -> tuple[int, int, int]:
        """Hours at the exit station, between the posts and at the entry station, as microseconds."""
        row = self.reference.dwells.get((passed.crossing.id, direction))
        if row is not None:
            total = spread(self.rng, row.hours_p10, row.hours_p50, row.hours_p90)
        else:
            total = spread(self.rng, 8, 20, 40) if passed.customs else spread(self.rng, 0.5, 1.5, 4)
        share = 0.5
        if passed.gauge_break:
            share = 0.3 if passed.formed_at >= passed.entry_at else 0.65
        least = 3.0 if passed.customs else 0.3
        total = max(total, 2 * least) / self.speed_up
        return hours(total * share), hours(passed.crossing.gap_hours / self.speed_up), hours(total * (1 - share))
