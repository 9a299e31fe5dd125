"""The sides of a run: those of its corridor from where it starts, and of every way it is sent afterwards."""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from streams.kept import at_of, event_id, micros, order
from streams.network.route import Route
from streams.network.sides import SideSpec, crossings_of, route_sides
from streams.reference.model import Reference
from streams.trains.inputs import RunInputs
from streams.trains.line import line_of
from topics.events.rail import TrainAnnounced, TrainFormed, TrainRerouted

NOWHERE = float("inf")
STEP = 10.0
"""Without a line sides lie this far apart, so that their order still stands."""
EVER = 1 << 62


class Post(NamedTuple):
    """A side with its stretch of the line."""

    spec: SideSpec
    reach_km: float
    leave_km: float
    places: frozenset[str]
    """Stations and terminals at which a train stands at this side."""
    last: frozenset[str] = frozenset()
    """Those of them from which it leaves the side: on a line the last one; leaving Terespol for Małaszewicze is no departure."""

    @property
    def id(self) -> str:
        return self.spec.id


class Leg(NamedTuple):
    """A stretch of time on one plan."""

    since: int
    until: int
    corridor: str
    direction: str
    line: Route | None
    posts: tuple[Post, ...]
    id: str = ""
    """Event that sent it this way."""


class Plan(NamedTuple):
    """What the railways say of the way of a run."""

    legs: tuple[Leg, ...]
    start: str
    """Place where it starts; empty when nobody said."""
    start_at: int
    """When it stands there: planned departure, or when it was formed, or when it was first heard of."""
    heard_at: int
    """When the plan was first told; EVER when there is none."""
    early: tuple[str, ...]
    """Sides of the corridor before the first crossing that was ever announced, when nobody says where the run starts."""
    dropped: tuple[str, ...]
    """Sides that were announced and are no longer on the plan."""
    not_before: int
    """No position of this run is older."""

    @property
    def known(self) -> bool:
        return any(leg.posts or leg.line is not None for leg in self.legs)


POSTS_MAX = 512
_posts: dict[tuple[int, int, tuple[str, ...], str], tuple[Reference, Route | None, list[Post]]] = {}
"""Sides by reference, line, crossings and direction: the same arguments give the same sides."""
FORMED_SLACK = 3_600_000_000
"""A train stands ready up to an hour before its railway says that it is formed [D]."""


def plan_of(inputs: RunInputs, reference: Reference) -> Plan:
    """The way of a run: formed or announced, then rerouted."""
    formed = max(inputs.formed.values(), key=order, default=None)
    announced = max(inputs.announced.values(), key=order, default=None)
    corridor, direction = _corridor(formed, announced, inputs)
    explicit = _first(formed.crossings if formed else (), announced.crossings if announced else (), _inherited(inputs))
    none_ahead = not explicit and formed is not None and bool(inputs.inherited)
    start = (formed.place if formed else "") or (announced.stops[0].place if announced and announced.stops else "")
    first = inputs.first
    line = line_of(reference, corridor, direction) if corridor else None
    corridor_row = reference.corridors.get(corridor)
    full = crossings_of(corridor_row, direction) if corridor_row else ()
    heard = first.crossings if first else ()
    passing, before = _passing(() if none_ahead else full, explicit, heard)
    posts = posts_of(reference, line, passing, direction)
    if formed is not None:
        posts = _at_formation(reference, line, formed.place, direction, passing, full) + posts
    planned = {p.id for p in posts}
    dropped = [p.id for p in posts_of(reference, line, [c for c in heard if c not in passing], direction) if p.id not in planned]
    early = [] if start else [p.id for p in posts_of(reference, line, before, direction) if p.id not in planned]
    legs = [Leg(-1, EVER, corridor, direction, line, tuple(posts))]
    for reroute in sorted(inputs.reroutes.values(), key=lambda r: (at_of(r), r.version, r.id)):
        last = legs[-1]
        legs[-1] = last._replace(until=at_of(reroute))
        legs.append(_rerouted(reroute, last, reference))
    stop = announced.stops[0] if announced and announced.stops else None
    departs = (stop.departs or stop.arrives) if stop else None
    begin = min((at_of(f) for f in inputs.formed.values()), default=None)
    told = first.at if first else EVER
    start_at = begin if begin is not None else micros(departs) if departs is not None else told
    return Plan(tuple(legs), start, start_at, told, tuple(early), tuple(dropped), begin - FORMED_SLACK if begin is not None else -1)


def _corridor(formed: TrainFormed | None, announced: TrainAnnounced | None, inputs: RunInputs) -> tuple[str, str]:
    if formed is not None and formed.corridor:
        return formed.corridor, formed.direction
    if announced is not None and announced.corridor:
        return announced.corridor, announced.direction
    for parent in sorted(inputs.inherited):
        if inputs.inherited[parent].corridor:
            return inputs.inherited[parent].corridor, inputs.inherited[parent].direction
    said = formed or announced
    return "", said.direction if said is not None else ""


def _inherited(inputs: RunInputs) -> tuple[str, ...]:
    return next((inputs.inherited[p].crossings for p in sorted(inputs.inherited) if inputs.inherited[p].crossings), ())


def _first(*choices: tuple[str, ...]) -> tuple[str, ...]:
    return next((c for c in choices if c), ())


def _passing(full: tuple[str, ...], explicit: tuple[str, ...], heard: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """(crossings of the plan in order, crossings of the corridor before the first that was ever announced).

    Later announcements name what is still ahead: what lies before that has been passed since, and stays.
    """
    if not full:
        return list(dict.fromkeys((*(c for c in heard if c not in explicit), *explicit))), []
    told = [c for c in heard if c in full] or [c for c in explicit if c in full]
    begin = full.index(told[0]) if told else 0
    ahead = [c for c in explicit if c in full]
    after = full.index(ahead[0]) if ahead else 0
    passing = [c for i, c in enumerate(full) if i >= begin and (not ahead or c in explicit or i < after)]
    return passing + [c for c in explicit if c not in full], list(full[:begin])


def posts_of(reference: Reference, line: Route | None, crossings: Iterable[str], direction: str) -> list[Post]:
    """Both sides of every crossing, in the order they are passed. Crossings that the network does not know are left out."""
    known = tuple(c for c in crossings if c in reference.crossings)
    name = (id(reference), id(line), known, direction)
    found = _posts.get(name)
    if found is None or found[0] is not reference or found[1] is not line:
        if len(_posts) >= POSTS_MAX:
            _posts.clear()
        specs = route_sides(reference, known, direction or "west", (), ())
        found = _posts[name] = reference, line, [_post(reference, line, spec) for spec in specs]
    return list(found[2])


def _post(reference: Reference, line: Route | None, spec: SideSpec) -> Post:
    places = {p.id for p in reference.places.values() if p.crossing == spec.crossing and p.country == spec.authority} | {spec.place}
    if line is None:
        return Post(spec, spec.order * STEP - 1, spec.order * STEP + 1, frozenset(places), frozenset(places))
    here = [p for p in places if p in line.km_of]
    if not here:
        return Post(spec, NOWHERE, NOWHERE, frozenset(places))
    last = max(here, key=lambda p: (line.km_of[p], p))
    reach, leave = min(line.km_of[p] - line.radius_of[p] for p in here), max(line.km_of[p] + line.radius_of[p] for p in here)
    return Post(spec, reach, leave, frozenset(places), frozenset({last}))


def _at_formation(
    reference: Reference, line: Route | None, place: str, direction: str, passing: list[str], full: tuple[str, ...]
) -> list[Post]:
    """A train formed behind a border stands at that border's entry side, which its parents reached and it leaves."""
    row = reference.places.get(place)
    if row is None:
        return []
    own = (row.crossing,) if row.crossing else tuple(c for c in full if place in (reference.crossings[c].a, reference.crossings[c].b))
    behind = [c for c in own if c not in passing and (not full or c in full)]
    return [p for p in posts_of(reference, line, behind, direction) if p.spec.authority == row.country and p.spec.kind == "ENTRY"]


def _rerouted(reroute: TrainRerouted, last: Leg, reference: Reference) -> Leg:
    """From here on another way. Crossings that are not named are those of the corridor that still lie ahead."""
    corridor = reroute.corridor or last.corridor
    line = line_of(reference, corridor, last.direction) if corridor else None
    crossings: Iterable[str] = reroute.crossings
    if not reroute.crossings and corridor in reference.corridors:
        before = {p.spec.crossing for p in last.posts}
        mine = crossings_of(reference.corridors[corridor], last.direction)
        common = [c for c in mine if c in before]
        crossings = mine[mine.index(common[0]):] if common else mine
    posts = posts_of(reference, line, crossings, last.direction)
    return Leg(at_of(reroute), EVER, corridor, last.direction, line, tuple(posts), event_id(reroute))
