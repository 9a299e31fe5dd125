"""One train run: everything its inputs add up to, as movements per container, a profile, and what it hands to the trains formed from it."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy

import msgspec

from streams.codes import FIRST_VISIT, About, facts_of, limit_fact, row_of
from streams.custody.places import side_of_place, speaker
from streams.custody.presence import OF_TERMINAL
from streams.derived import Saying, alert
from streams.kept import at_of, digest, event_id, micros
from streams.network.eta import Course
from streams.network.route import Route
from streams.network.sides import SideSpec
from streams.reference.model import Reference
from streams.trains.boxes import Aboard, Boxes, Differs, boxes_of, taken_over
from streams.trains.inputs import RunInputs
from streams.trains.legs import EVER, Plan, plan_of
from streams.trains.line import Spot
from streams.trains.stones import Way, way_of
from topics.events.internal import Inherited, Milestone, Movement, RunProfile
from topics.events.rail import TrainFormed
from topics.events.sites import CrossingCondition
from topics.facts import DAY, HOUR, MINUTE, WHOLE, Fact
from topics.identifiers import run_id, train_key, train_name

CUSTODY, READINESS, TRAINS = "custody.in", "readiness.in", "trains.in"
COMPARED = 12
"""So many things count as news of a container (`Run.compared`)."""
FAR = ((DAY, 1), (3 * DAY, 4), (1 << 62, 12))
"""How far ahead -> grid steps. An arrival in a week that moves by a quarter of an hour is no news to fifty containers and their shipments
[D]; within a day every quarter counts."""


class Closures:
    """Which crossings are closed in a direction, and until when."""

    __slots__ = ("_by",)

    def __init__(self, conditions: Sequence[CrossingCondition]) -> None:
        self._by: dict[tuple[str, str], CrossingCondition] = {}
        for c in sorted(conditions, key=lambda c: (micros(c.event_time), c.version, c.id)):
            for direction in ("west", "east") if c.direction == "both" else (c.direction,):
                self._by[c.crossing, direction] = c

    def closed(self, crossing: str, direction: str) -> CrossingCondition | None:
        """The closure that holds; None when open or limited."""
        found = self._by.get((crossing, direction or "west"))
        return found if found is not None and found.state == "closed" else None


class Run:
    """What a run's inputs add up to."""

    def __init__(self, key: str, origin: str, inputs: RunInputs, reference: Reference, closures: Closures, masked: tuple[str, ...] = ()) -> None:
        self.masked = masked
        self.key, self.origin, self.inputs, self.reference = key, origin, inputs, reference
        self.railway, self.number, self.date = _parts(key)
        self.id = run_id(self.railway, self.number, self.date, origin)
        self.plan: Plan = plan_of(inputs, reference)
        self.way: Way = way_of(inputs, self.plan, reference)
        self.boxes: Boxes
        self.differing: list[Differs]
        self.boxes, self.differing = boxes_of(inputs)
        self.leg = self.plan.legs[-1]
        self.closures = closures
        self._is_over = self._over()
        self._course: tuple[Course, set[str]] | None = None
        self._words: tuple[Fact, ...] | None = None
        self._starts = self._begins()
        self.etas = self.etas_from(self.way.last)
        self.milestones = self._with_etas()

    # -- arrival times ------------------------------------------------------------------------------------------------------
    def _with_etas(self) -> tuple[Milestone, ...]:
        etas = self.etas
        return tuple(msgspec.structs.replace(m, eta=etas.get(m.side)) if m.side in etas else m for m in self.way.milestones)

    def at_spot(self, spot: Spot, etas: dict[str, tuple[int, int, int]]) -> Run:
        """The same run when nothing but its last position and so its arrival times have changed."""
        moved = copy(self)
        moved.way = self.way._replace(last=spot)
        moved.etas = etas
        moved.milestones = moved._with_etas()
        return moved

    def etas_from(self, spot: Spot | None) -> dict[str, tuple[int, int, int]]:
        """Arrival at every side ahead, from the last believed position, or from where the plan starts."""
        line = self.leg.line
        if line is None or (spot is None and self.plan.heard_at == EVER) or self._is_over:
            return {}
        km, at = (spot.km, spot.fix.at) if spot is not None else (line.km_of.get(self.plan.start, 0.0), self.plan.start_at)
        if spot is not None and spot.place == self.plan.start and self.plan.start_at != EVER:
            at = max(at, self.plan.start_at)             # stands at its origin until it is due to leave
        if self._course is None:
            self._course = self._ahead(line)
        course, open_ = self._course
        fine, steps = self.reference.limits.eta_grid_minutes * MINUTE, FAR
        found: dict[str, tuple[int, int, int]] = {}
        for side, eta in course.arrivals(km, at, self._delay(at)).items():
            if side in open_:
                ahead = eta[1] - at
                grid = next(n for limit, n in steps if ahead < limit) * fine if ahead >= DAY else fine
                half = grid // 2
                low, middle, high = eta
                found[side] = ((low + half) // grid * grid, (middle + half) // grid * grid, (high + half) // grid * grid) if grid != fine else eta
        return found

    def _ahead(self, line: Route) -> tuple[Course, set[str]]:
        """The sides ahead, and those of them that can be reached."""
        seen = {m.side: t for m in self.way.milestones if (t := _reached(m)) is not None}
        specs = [p.spec for p in self.leg.posts if p.id not in self.way.early]
        until: dict[str, int] = {}
        shut: set[str] = set()
        for crossing in {s.crossing for s in specs}:
            closure = self.closures.closed(crossing, self.leg.direction)
            if closure is not None and closure.expected_until is not None:
                until[crossing] = micros(closure.expected_until)
            elif closure is not None:
                shut.add(crossing)
        return Course(self.reference, line, specs, seen, until), _before_closed(specs, shut, seen)

    def _delay(self, since: int) -> int:
        """Forecast delay that the position does not show yet."""
        if not self.inputs.delays:
            return 0
        later = [d for d in self.inputs.delays.values() if at_of(d) > since]
        return max(later, key=lambda d: (at_of(d), d.id)).minutes if later else 0

    def _over(self) -> bool:
        """Nothing is on board any more, or the last stop is reached."""
        if self.boxes and all(b.until is not None or b.cancelled for b in self.boxes.values()):
            return True
        announced = max(self.inputs.announced.values(), key=lambda a: (a.version, a.event_time, a.id), default=None)
        last = announced.stops[-1].place if announced is not None and len(announced.stops) > 1 else ""
        return bool(last) and any(f.station == last and f.what in ("arrived", "at") for f in self.inputs.fixes())

    # -- what is told -------------------------------------------------------------------------------------------------------
    def sayings(self) -> Iterator[Saying]:
        yield from self._movements()
        yield self.profile()
        yield from self._hand_down()
        yield from self._alerts()

    def _movements(self) -> Iterator[Saying]:
        common, told = self.common(), digest(self.conveyance())
        for container, box in sorted(self.boxes.items()):
            said = self.movement(container, box)
            gone = Movement(container=container, run=self.id, railway=self.railway, number=self.number, date=self.date, seq=0,
                            aboard_from=box.since, cancelled=True)
            yield Saying(CUSTODY, container, f"movement|{self.id}", said, gone, self.compared(common, told, said, box))

    def movement(self, container: str, box: Aboard) -> Movement:
        """What is said of one container, without its version."""
        starts, leaves = self._starts
        next_run = self._child_run(box.next_train) if box.next_train is not None else ""
        return Movement(
            container=container, run=self.id, railway=self.railway, number=self.number, date=self.date, seq=0, aboard_from=box.since,
            aboard_to=box.until, wagon=box.wagon, milestones=self.of_box(box), off_route=self.way.off_route,
            rerouted_at=self.way.rerouted_at, position=self.position(), direction=self.leg.direction, corridor=self.leg.corridor, next_run=next_run,
            conveyance=self.conveyance(), history_incomplete=self.way.early, left_reason=box.reason, left_place=box.place or self._giving_place(box),
            cancelled=box.cancelled, starts=starts, leaves=leaves)

    def common(self) -> bytes:
        """Digest of what counts as news for every container."""
        return digest((self.milestones, self.way.off_route, self.way.early, self.plan.legs[-1].corridor, *self._starts))

    def compared(self, common: bytes, told: bytes, said: Movement, box: Aboard) -> tuple[object, ...]:
        """What counts as news for one container: the common first, `told` is the digest of the authorities' words. The place that moves is none."""
        return (common, told, said.aboard_from, said.aboard_to, said.wagon, said.next_run, said.left_reason, said.left_place, said.cancelled,
                said.direction, box.refused_at, box.missed_at)

    def position(self) -> tuple[float, float, int] | None:
        """Last believed place and when."""
        spot = self.way.last
        return (round(spot.lat, 4), round(spot.lon, 4), spot.fix.at) if spot is not None and (spot.lat or spot.lon) else None

    def _begins(self) -> tuple[str, int | None]:
        """Where and when it is announced to set out; nothing of a train that was formed on the way from others."""
        announced = max(self.inputs.announced.values(), key=lambda a: (a.version, a.event_time, a.id), default=None)
        stop = announced.stops[0] if announced is not None and announced.stops and not self.inputs.formed else None
        return (stop.place, micros(stop.departs)) if stop is not None and stop.departs is not None else ("", None)

    def of_box(self, box: Aboard) -> tuple[Milestone, ...]:
        """Milestones as they are for one container. Refused: back at the giving side, never handed over. Missing on the sheet: nobody knows
        where it was left, so neither handed over nor gone from the giving side."""
        crossing = box.refused_at or box.missed_at
        if not crossing or box.until is None:
            return self.milestones
        return tuple(self._not_over(m, box, box.until) if m.side.startswith(f"{crossing}:") else m for m in self.milestones)

    def _not_over(self, m: Milestone, box: Aboard, at: int) -> Milestone:
        if not m.side.endswith(":EXIT"):
            return msgspec.structs.replace(m, seen=None, handed_over=None, departed=None, handed_evidence="", handed_source="", bound=())
        if box.missed_at:
            return msgspec.structs.replace(m, departed=None, departed_evidence="", departed_source="", bound=tuple(b for b in m.bound if b != "departed"))
        sheet = next(s for s in self.inputs.sheets.values() if s.crossing == box.refused_at)
        return msgspec.structs.replace(m, returned=(*(t for t in m.returned if t < at), at), returned_evidence=event_id(sheet),
                                       returned_source=sheet.source)

    def _giving_place(self, box: Aboard) -> str:
        """What was not handed over stands at the exit station, as far as known."""
        crossing = box.refused_at or box.missed_at
        if not crossing:
            return ""
        return next((p.spec.place for leg in self.plan.legs for p in leg.posts if p.spec.crossing == crossing and p.spec.kind == "EXIT"), "")

    def conveyance(self) -> tuple[Fact, ...]:
        """Authorities' and terminals' words about the whole train."""
        if self._words is None:
            self._words = self._conveyance()
        return self._words

    def _conveyance(self) -> tuple[Fact, ...]:
        found = [limit_fact(authority, self.id, WHOLE) for authority in self.masked]
        about = About(kind="conveyance", number=self.id, record=self.id)
        for notice in self.inputs.words(train_name(self.railway, self.number, self.date)):
            row = row_of(self.reference, notice)
            if row is not None:
                found += facts_of(notice, row, about)
        for event in self.inputs.terminal.values():
            what, side = OF_TERMINAL.get(event.what), side_of_place(self.reference, event.place, self.leg.direction)
            if what is not None and side:
                source, rank = speaker(self.reference, event.source)
                found.append(Fact(side=side, key=(what, str(event.visit or FIRST_VISIT)), at=at_of(event), source=source, rank=rank, record=self.id,
                                  version=event.version, id=event_id(event)))
        return tuple(sorted(found, key=lambda f: (f.side, f.key, f.scope, f.source, f.record, f.version, f.at, f.id, digest(f))))

    def profile(self) -> Saying:
        """What is said of the run itself."""
        aboard = sum(1 for b in self.boxes.values() if b.until is None and not b.cancelled)
        children = tuple(sorted({self._child_run(c) for c in self.inputs.spawned.values()}))
        said = RunProfile(run=self.id, railway=self.railway, number=self.number, date=self.date, seq=0, milestones=self.milestones,
                          corridor=self.leg.corridor, direction=self.leg.direction, containers=aboard, over=self._is_over, next_runs=children)
        gone = RunProfile(run=self.id, railway=self.railway, number=self.number, date=self.date, seq=0, over=True)
        return Saying(READINESS, self.id, "profile", said, gone)

    def _child_run(self, child: TrainFormed) -> str:
        return run_id(child.train.railway, child.train.number, child.train.date, child.train.origin)

    def _hand_down(self) -> Iterator[Saying]:
        """To every train formed from this one: what was aboard, the way, and where it has been."""
        children: Mapping[str, TrainFormed] = {self._child_run(c): c for c in sorted(self.inputs.spawned.values(), key=lambda c: (c.version, c.id))}
        for child_run, child in children.items():
            ahead = tuple(dict.fromkeys(p.spec.crossing for p in self.leg.posts if p.spec.kind == "ENTRY" and not self._passed(p.id)))
            said = Inherited(
                parent=self.id, child=child_run, child_origin=child.train.origin, seq=0, formed_at=at_of(child), corridor=self.leg.corridor,
                direction=self.leg.direction, crossings=ahead, containers=taken_over(self.boxes, child, (c for c in children.values() if c is not child)),
                milestones=tuple(msgspec.structs.replace(m, eta=None) for m in self.way.milestones if m.seen is not None or m.departed is not None))
            gone = Inherited(parent=self.id, child=child_run, child_origin=child.train.origin, seq=0)
            yield Saying(TRAINS, train_key(child.train), f"inherited|{self.id}|{child_run}", said, gone)

    def _passed(self, side: str) -> bool:
        return any(m.side == side and _reached(m) is not None for m in self.way.milestones)

    def _alerts(self) -> Iterator[Saying]:
        for d in self.differing:
            said = [f"{name}: {', '.join(boxes)}" for name, boxes in (("extra", d.extra), ("missing", d.missing), ("other wagon", d.moved)) if boxes]
            yield alert(f"ConsistDiffers/{self.id}/{d.sheet.crossing}", "ConsistDiffers", "warning", at_of(d.sheet), "; ".join(said), run=self.id)
        for notice in self.inputs.words(train_name(self.railway, self.number, self.date)):
            if row_of(self.reference, notice) is None:
                yield alert(f"UnknownCode/{notice.system}/{notice.code}/{self.id}", "UnknownCode", "warning", at_of(notice),
                            f"{notice.system} {notice.code}: kept without effect", run=self.id)


def _reached(m: Milestone) -> int | None:
    """When a side was reached, as far as known; what only bounds it is good enough."""
    times = [t for t in (m.seen, m.handed_over, m.departed) if t is not None]
    return min(times, default=None)


def _before_closed(specs: Sequence[SideSpec], shut: set[str], seen: Mapping[str, int]) -> set[str]:
    """Sides up to the first crossing that is closed nobody knows how long: its exit side can still be reached."""
    found: set[str] = set()
    for spec in specs:
        if spec.crossing in shut and spec.kind == "ENTRY" and spec.id not in seen:
            return found
        found.add(spec.id)
    return found


def _parts(key: str) -> tuple[str, str, str]:
    """`railway/number/date`; the number may hold slashes itself."""
    railway, _, rest = key.partition("/")
    number, _, date = rest.rpartition("/")
    return railway, number, date


__all__ = ["HOUR", "Closures", "Run"]
