"""Positions that only move a train along: the same step without working out the whole run again.

Nearly every position is GPS on a stretch where nothing happens. It changes the last known place and perhaps an arrival time, never a milestone.
What may change is worked out once per run (`Frame`) and then compared with the few positions that a batch adds to what is kept, or takes from
it. Whatever is not certain to be without effect goes the long way: `step` gives None, and the fold starts anew from the same state. The result
is the same in every byte (tests/streams/test_trains_quiet.py).

Why it is certain. Let the *tail* be the last believed positions, none of them too far from its neighbour. No jump is seen in it, whatever
becomes of its third and later ones, and what is judged before it depends on its first two only. Later than the `floor` no position has been
evidence of a milestone and no railway has reported a station; so one more, or one less, changes no milestone unless it is the first at or
behind a side. Milestones being as they were, what is said depends on the last position alone, and only through the arrival times.
"""
from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from streams.derived import after_inputs, difference
from streams.fold import Emit, Fate, Outcome, Step, World
from streams.gps import Gps, train_of
from streams.kept import instant
from streams.masks import mark, masks_of
from streams.reference.model import Limits, Reference
from streams.trains.inputs import LAST_FIXES, SQUARES_MAX, Fix, Heard, RunInputs, State, border_stations, fix_of, into, near_border
from streams.trains.line import Spot, apart, spot_of
from streams.trains.run import Closures, Run
from streams.trains.told import Slots, holds, said_again, slots_of
from topics.events.rail import PositionReported
from topics.events.sites import CrossingCondition
from topics.facts import DAY, MINUTE

FUTURE = "POSITION_FUTURE"
OFF_ROUTE = "POSITION_OFF_ROUTE"
TAIL = 24
"""Positions of the tail that are looked at; a train keeps three beside the first of every square degree."""
MOVED_MAX = 12
"""Squares and border stations that may differ from the whole state before it is written again: keeps the small record small."""
ROUNDED = 2e-5
"""Degrees from the edge of a square within which the rounding of what is kept may lead out of it."""
NOWHERE = (1.0, 0.0, 1.0, 0.0)
Key = tuple[int, str]


class Moved(msgspec.Struct, array_like=True, frozen=True):
    """What positions have changed since the whole state was written. The fold's small record."""

    version: int
    touched: int
    origin: str
    latest: tuple[Fix, ...]
    squares: dict[str, Fix] = {}
    zones: dict[str, tuple[Fix, ...]] = {}


class Sides(NamedTuple):
    """How far a position of a place may lie without being the first at or behind a side."""

    run: Run
    limits: dict[str, float]
    """Place -> trunk kilometre; worked out when it is first asked for."""

    def limit(self, place: str) -> float:
        found = self.limits.get(place)
        if found is None:
            found = self.limits[place] = self._limit(place)
        return found

    def _limit(self, place: str) -> float:
        way, least, later = self.run.way, math.inf, frozenset[str]()
        for post, stand in zip(reversed(way.posts), reversed(way.stands), strict=True):
            if place in post.places:
                if stand.seen is None:
                    return -math.inf
            elif stand.behind is None:
                if place in later:
                    return -math.inf
                least = min(least, post.leave_km)
            later |= post.places
        return least


class Frame(NamedTuple):
    """What a state says of its one run, so far as further positions need it."""

    world: Mapping[str, msgspec.Struct]
    """The broadcasts that it was worked out with."""
    run: Run
    sides: Sides
    tail: tuple[Spot, ...]
    floor: Key
    """Positions up to here are settled: no change of them is without effect for certain."""
    outside: frozenset[Key]
    """Kept positions that are not believed, jumps excepted."""
    masked: frozenset[str]
    """Sources of which something is masked: what they say goes the long way."""
    slots: Slots | None = None
    """What may have to be said again, once it is known."""


def remember(state: State, run: Run, world: World) -> None:
    """Called by the long way: what it worked out, for the next step of this state object."""
    state.__dict__["run"] = run, world.broadcasts


def moved_of(state: State) -> Moved | None:
    """How a state differs from the one that was last written whole; None when it must be written whole."""
    found: Moved | None = state.__dict__.get("moved")
    return found


def with_moved(state: State, moved: Moved) -> State:
    """The whole state and its small record together."""
    held = state.runs[moved.origin]
    inputs = msgspec.structs.replace(held, latest=moved.latest, squares={**held.squares, **moved.squares}, zones={**held.zones, **moved.zones})
    after = msgspec.structs.replace(state, version=moved.version, touched=moved.touched, runs={moved.origin: inputs})
    after.__dict__["moved"] = moved
    return after


def step(state: State, key: str, events: Sequence[Heard], world: World, now: int) -> Step[State] | None:
    """The step, when all of it is certain to be a quiet one."""
    frame = _frame(state, key, world)
    if frame is None:
        return None
    origin, inputs = next(iter(state.runs.items()))
    merge = _Merge(inputs, world.reference, events)
    if not _merged(frame, origin, merge, events, now + world.reference.limits.position_max_ahead_minutes * MINUTE):
        return None
    quiet = world.reference.limits.binding_retire_days * DAY
    if not merge.came:
        if state.touched and now >= state.touched + quiet:
            return None
        due = state.touched + quiet if state.touched else None
        return Step(state, (), tuple(merge.outcomes), due, changed=False)
    after = _after(frame, merge, world.reference.limits)
    return None if after is None else _said(state, origin, merge, after, world, now, quiet)


def _merged(frame: Frame, origin: str, merge: _Merge, events: Sequence[Heard], latest: int) -> bool:
    """Merge the events; False when only the long way can tell.

    Of a batch nearly every position is the newest so far, of the same train and source, in the same square with no border station near: then it
    replaces the third to last, and of many such in a row only the last three are looked at.
    """
    ahead, newest = instant(latest), instant(merge.latest[-1].at)
    train, source = msgspec.Raw(), ""
    south, north, west, east = NOWHERE
    onward: list[int] = []
    for index, event in enumerate(events):
        if type(event) is Gps:
            time = event.event_time
            if newest < time <= ahead and south < event.lat < north and west < event.lon < east and event.train == train and event.source == source:
                newest = time
                onward.append(index)
                continue
            if event.train != train:
                if train_of(event).origin != origin:
                    return False
                train = event.train
        elif type(event) is not PositionReported or event.record or event.station or event.train.origin != origin:
            return False
        if event.source in frame.masked:
            return False
        source = event.source
        merge.go_on(onward)
        onward.clear()
        fix = fix_of(event)
        if fix.at > latest:
            merge.outcomes.append(Outcome(index, Fate.REFUSED, FUTURE, "$.event_time", event.event_time.isoformat()))
        elif not merge.add(index, fix):
            return False
        else:
            newest = max(newest, event.event_time)
            south, north, west, east = merge.open_square()
    merge.go_on(onward)
    return True


class _Merge:
    """The positions of one step, merged as `RunInputs` does it, beside what is held."""

    def __init__(self, inputs: RunInputs, reference: Reference, events: Sequence[Heard]) -> None:
        self.inputs, self.reference, self.events = inputs, reference, events
        self.latest = inputs.latest
        self.squares: dict[str, Fix] = {}
        self.zones: dict[str, tuple[Fix, ...]] = {}
        self.came: dict[Key, tuple[int, Fix]] = {}
        """Positions that changed something, those excepted that were gone again before they were looked at."""
        self.passed = 0
        """So many of them."""
        self.outcomes: list[Outcome] = []
        self._square: tuple[int, int, Fix] | None = None

    @property
    def counted(self) -> int:
        return len(self.came) + self.passed

    def open_square(self) -> tuple[float, float, float, float]:
        """South, north, west and east of where a newer position is neither the first of its square nor near a border station."""
        if self._square is None:
            return NOWHERE
        i, j, first = self._square
        if first.at > self.latest[-1].at or near_border(self.reference, i, j):
            return NOWHERE
        return i + ROUNDED, i + 1 - ROUNDED, j + ROUNDED, j + 1 - ROUNDED

    def go_on(self, indexes: Sequence[int]) -> None:
        """Positions each newer than all before, in the open square."""
        if not indexes:
            return
        last = [(n, fix_of(self.events[n])) for n in indexes[-LAST_FIXES:]]  # type: ignore[arg-type]  # only positions
        self.passed += len(indexes) - len(last)
        self.came.update((fix.key, (n, fix)) for n, fix in last)
        self.latest = (*self.latest, *(fix for _, fix in last))[-LAST_FIXES:]

    def _known(self, index: int, fix: Fix) -> bool:
        """Has a position of this name changed something in this step?"""
        if fix.key in self.came:
            return True
        if not self.passed:
            return False
        at = instant(fix.at)
        return any(isinstance(e, Gps) and e.event_time == at and fix_of(e).key == fix.key for e in self.events[:index])

    def add(self, index: int, fix: Fix) -> bool:
        """False when only the long way can tell."""
        key = fix.key
        changed = repeated = False
        i, j = math.floor(fix.lat), math.floor(fix.lon)
        if self._square is None or self._square[0] != i or self._square[1] != j or fix.at <= self._square[2].at:
            name = f"{i}|{j}"
            held = self.squares.get(name) or self.inputs.squares.get(name)
            if held is None and len(self.inputs.squares) + len(self.squares) >= SQUARES_MAX:
                return False
            if held is None or key < held.key:
                self.squares[name] = held = fix
                changed = True
            elif held == fix:
                repeated = True
            self._square = i, j, held
        for zone in border_stations(self.reference, fix.lat, fix.lon):
            few = self.zones.get(zone)
            fate = into(self.zones, zone, self.inputs.zones.get(zone, ()) if few is None else few, fix)
            changed, repeated = changed or fate is None, repeated or fate is Fate.DUPLICATE
        latest, onward = self.latest, False
        if fix.at > latest[-1].at:
            onward = True
            self.latest = (*latest, fix)[-LAST_FIXES:]
            changed = True
        elif fix in latest:
            repeated = True
        elif any(f.key == key for f in latest):
            return False
        else:                                            # late, or of the same instant
            among = tuple(sorted((*latest, fix), key=lambda f: f.key)[-LAST_FIXES:])
            changed, self.latest = changed or among != latest, among
        if not changed:
            self.outcomes.append(Outcome(index, Fate.DUPLICATE if repeated else Fate.SUPERSEDED))
        elif not onward and self._known(index, fix):
            return False
        else:
            self.came[key] = index, fix
        return True

    def kept(self, fix: Fix) -> bool:
        """Is it still kept after this step?"""
        if fix in self.latest:
            return True
        name = f"{math.floor(fix.lat)}|{math.floor(fix.lon)}"
        if (self.squares.get(name) or self.inputs.squares.get(name)) == fix:
            return True
        for zone, few in self.inputs.zones.items():      # noqa: SIM110  # any() costs a generator per call
            if fix in (self.zones.get(zone) or few):
                return True
        return False

    def new(self) -> list[Fix]:
        """Kept now, not before."""
        every = (*self.latest, *self.squares.values(), *(f for few in self.zones.values() for f in few)) if self.squares or self.zones else self.latest
        found = {f.key: f for f in every if f.key in self.came}
        return [found[key] for key in sorted(found)]

    def gone(self) -> list[Fix]:
        """Kept before, not now."""
        left = [f for f in self.inputs.latest if f not in self.latest]
        left += [held for name in self.squares if (held := self.inputs.squares.get(name)) is not None]
        left += [f for zone, few in self.zones.items() for f in self.inputs.zones.get(zone, ()) if f not in few]
        return [f for f in {f.key: f for f in left}.values() if not self.kept(f)]

    def after(self) -> RunInputs:
        """What is kept now."""
        held = self.inputs
        return msgspec.structs.replace(
            held, latest=self.latest, squares={**held.squares, **self.squares} if self.squares else held.squares,
            zones={**held.zones, **self.zones} if self.zones else held.zones)


def _frame(state: State, key: str, world: World) -> Frame | None:
    """What the state's object remembers, or what it would if it had not just been read, if that still holds."""
    if "frame" not in state.__dict__:                    # asked once of a state: there is one or there is none
        known = state.__dict__.pop("run", None) or _read_anew(state, key, world)
        state.__dict__["frame"] = _framed(state, *known) if known is not None else None
    frame: Frame | None = state.__dict__["frame"]
    if frame is None or frame.world is not world.broadcasts or frame.run.reference is not world.reference:
        return None
    return frame


def _read_anew(state: State, key: str, world: World) -> tuple[Run, Mapping[str, msgspec.Struct]] | None:
    """The run of a state that was read from its bytes, if it would say now what it said last."""
    if len(state.runs) != 1 or state.aside or state.waiting_since is not None or state.mark != mark(masks_of(world.broadcasts)):
        return None
    origin, inputs = next(iter(state.runs.items()))
    run = Run(key, origin, inputs, world.reference, Closures([c for c in world.broadcasts.values() if isinstance(c, CrossingCondition)]))
    return (run, world.broadcasts) if holds(run, state.said) else None


def _framed(state: State, run: Run, world: Mapping[str, msgspec.Struct]) -> Frame | None:
    """None when the run is not of the usual kind: two origins, masked words, no line, no plan, too few positions, two positions of one name."""
    inputs, way, leg = run.inputs, run.way, run.leg
    if len(state.runs) != 1 or state.aside or state.waiting_since is not None:
        return None
    if leg.line is None or not inputs.latest or not run.plan.known:
        return None
    every = set(inputs.each_fix())
    if len({f.key for f in every}) != len(every):
        return None
    jumps = max((r.fix.key for r in way.refused if r.reason == "POSITION_JUMP"), default=(-1, ""))
    tail = _tail(way.spots, jumps, run.reference.limits.position_speed_kmh_max)
    if len(tail) < 2:
        return None
    told = [s.fix.key for s in way.spots if s.reported]
    shown = [f.key for stand in way.stands for f in stand if f is not None]
    since = run.plan.not_before if len(run.plan.legs) == 1 else leg.since
    floor = max([tail[1].fix.key, jumps, (since, ""), *told, *shown])
    outside = frozenset(r.fix.key for r in way.refused if r.reason != "POSITION_JUMP")
    run.way = way._replace(spots=(), refused=())         # not needed again, and larger than all the rest
    return Frame(world, run, Sides(run, {}), tail, floor, outside, frozenset(m.source for m in masks_of(world)))


def _tail(spots: Sequence[Spot], after: Key, kmh_max: float) -> tuple[Spot, ...]:
    """The last positions, each within reach of the one before; none at or before `after`."""
    first = len(spots)
    while first > 0 and len(spots) - first < TAIL and spots[first - 1].fix.key > after:
        if first < len(spots) and apart(spots[first - 1], spots[first], kmh_max):
            break
        first -= 1
    return tuple(spots[first:])


class _After(NamedTuple):
    frame: Frame
    off: frozenset[Key]
    """New positions that are not believed."""


def _after(frame: Frame, merge: _Merge, limits: Limits) -> _After | None:
    """The frame after this step. None when a milestone may change."""
    tail, outside, floor = list(frame.tail), set(frame.outside), frame.floor
    if not outside.isdisjoint(merge.came):
        return None
    line, off = frame.run.leg.line, set[Key]()
    assert line is not None
    first = len(tail)                                    # the first of the tail that has another neighbour than before
    for fix in merge.gone():
        if fix.key in outside:
            outside.discard(fix.key)
            continue
        at = _place_in(tail, fix.key)
        if fix.key <= floor or at >= len(tail) or tail[at].fix != fix:
            return None
        del tail[at]
        first = min(first, at)
    for fix in merge.new():
        at = _place_in(tail, fix.key)
        if fix.key <= floor or (at < len(tail) and tail[at].fix.key == fix.key):
            return None
        spot = spot_of(line, fix, (fix.lat, fix.lon), limits.position_off_route_km_max)
        if spot is None:
            off.add(fix.key)
            continue
        if spot.trunk_km > frame.sides.limit(spot.place):
            return None
        tail.insert(at, spot)
        first = min(first, at)
    kmh = limits.position_speed_kmh_max
    if any(apart(tail[n - 1], tail[n], kmh) for n in range(first, len(tail))):
        return None
    if len(tail) > TAIL:
        tail = tail[-TAIL:]
        floor = max(floor, tail[1].fix.key)
    return _After(Frame(frame.world, frame.run, frame.sides, tuple(tail), floor, frozenset(outside | off), frame.masked, frame.slots), frozenset(off))


def _place_in(tail: Sequence[Spot], key: Key) -> int:
    """Where it stands, or would; nearly always at the end."""
    if not tail or tail[-1].fix.key < key:
        return len(tail)
    return bisect_left(tail, key, key=lambda s: s.fix.key)


def _said(state: State, origin: str, merge: _Merge, done: _After, world: World, now: int, quiet: int) -> Step[State]:
    """The state after it, with what a change of an arrival time makes heard."""
    run, spot = done.frame.run, done.frame.tail[-1]
    version = after_inputs(state.version, merge.counted)
    etas = run.etas_from(spot)
    frame, said = done.frame, state.said
    emits: tuple[Emit, ...] = ()
    if etas != run.etas:
        slots = frame.slots or slots_of(run, state.said)
        run = run.at_spot(spot, etas)
        frame = frame._replace(run=run, slots=slots)
        emits, said = said_again(run, slots, state.said, version) if slots is not None else difference(state.said, run.sayings(), version)
    after = State(version=version, touched=now, runs={origin: merge.after()}, said=said, mark=state.mark)
    after.__dict__["frame"] = frame
    if said is state.said:
        _note(state, after, origin, merge)
    outcomes = [*merge.outcomes, *_refused(merge.came.values(), done.off)]
    outcomes.sort(key=lambda o: o.index)
    return Step(after, emits, tuple(outcomes), now + quiet)


def _note(state: State, after: State, origin: str, merge: _Merge) -> None:
    """What is to be written instead of the whole state, as long as it is little."""
    before = moved_of(state)
    squares = {**before.squares, **merge.squares} if before is not None else merge.squares
    zones = {**before.zones, **merge.zones} if before is not None else merge.zones
    if len(squares) + len(zones) <= MOVED_MAX:
        after.__dict__["moved"] = Moved(after.version, after.touched, origin, merge.latest, squares, zones)


def _refused(came: Iterable[tuple[int, Fix]], off: frozenset[Key]) -> list[Outcome]:
    return [Outcome(index, Fate.REFUSED, OFF_ROUTE, "$.lat", f"{fix.lat},{fix.lon}") for index, fix in came if fix.key in off] if off else []
