"""The TRAINS fold: key train name, one step merges inputs and says what has changed."""
from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams import gps
from streams.codes import UNKNOWN_CODE, row_of
from streams.derived import Saying, after_inputs, after_time, alert, closing, difference
from streams.fold import BroadcastSlot, Fate, Fold, Outcome, Step, World
from streams.kept import micros, outcome
from streams.masks import REASON, Masks, authorities, covered, mark, mask_slot, masks_of
from streams.reference.model import Reference
from streams.trains import quiet
from streams.trains.inputs import ORIGINS_MAX, Heard, Input, RunInputs, State, decode, encode, fix_of, origin_of
from streams.trains.masked import dealt
from streams.trains.run import Closures, Run
from topics import codec
from topics.events.customs import CustomsNotice
from topics.events.internal import Inherited, MaskFacts, TrainsIn
from topics.events.rail import PositionReported
from topics.events.sites import CrossingCondition
from topics.facts import DAY, MINUTE

AMBIGUOUS = "IDENTITY_AMBIGUOUS"
ROUTE_UNKNOWN = "ROUTE_UNKNOWN"
FUTURE = "POSITION_FUTURE"
LIMIT = "TRAIN_LIMIT"
AFTER_WAITING = 7 * DAY
"""How long a run that was never announced is kept after its alert [D]."""


_moved = msgspec.msgpack.Decoder(quiet.Moved)
_patch = msgspec.msgpack.Encoder(order="deterministic")


class TrainsFold(Fold[State, Heard]):
    """Key: railway, number and operating date."""

    name = "trains"
    input_topic = "trains.in"
    state_topic = "trains.state"
    broadcasts = (CrossingCondition, MaskFacts)

    def decode(self, value: bytes) -> Heard:
        position = gps.read(value)                       # nearly all; whatever is wrong with one gets its name below
        if position is not None:
            return position
        event: Input = codec.decode(value, TrainsIn)
        return event

    def encode_state(self, state: State) -> bytes:
        return encode(state)

    def decode_state(self, data: bytes) -> State:
        return decode(data)

    def decode_patched(self, data: bytes, patch: bytes) -> State:
        return quiet.with_moved(decode(data), _moved.decode(patch))

    def encode_patch(self, state: State) -> bytes | None:
        moved = quiet.moved_of(state)
        return _patch.encode(moved) if moved is not None else None

    def broadcast_slot(self, event: msgspec.Struct) -> BroadcastSlot:
        """One slot per crossing and direction; which of `both` and one direction holds is a matter of time."""
        if isinstance(event, MaskFacts):
            return mask_slot(event)
        if not isinstance(event, CrossingCondition):
            raise TypeError(f"trains take no broadcast of type {type(event).__name__}")
        return BroadcastSlot(f"crossing:{event.crossing}:{event.direction}", (micros(event.event_time), event.version))

    def step(self, state: State | None, key: str, heard: Sequence[Heard], world: World, now: int) -> Step[State]:
        """Merge, derive, say the difference."""
        if state is not None and heard and (moving := quiet.step(state, key, heard, world, now)) is not None:
            return moving
        return self.at_length(state, key, heard, world, now)

    def at_length(self, state: State | None, key: str, heard: Sequence[Heard], world: World, now: int) -> Step[State]:
        """The step with everything worked out anew."""
        events = [gps.whole(e) if isinstance(e, gps.Gps) else e for e in heard]
        held, reference = state or State(), world.reference
        limits = reference.limits
        masks = masks_of(world.broadcasts)
        runs, aside, outcomes, counted = _merged(held, key, events, reference, now, masks)
        retires = limits.binding_retire_days * DAY
        if held.waiting_since is not None:
            retires += AFTER_WAITING                     # whoever waits in vain is told before the run is forgotten
        if not counted and held.touched and now >= held.touched + retires:
            return Step(None, closing(held.said, after_time(held.version, held.touched, now)), tuple(outcomes))
        see = _See(key, runs, world, aside)
        since = held.waiting_since if see.waits and held.waiting_since is not None else now if see.waits else None
        give_up = None if since is None else since + limits.waiting_days_max * DAY
        sayings = see.sayings
        if give_up is not None and now >= give_up:
            sayings.append(alert(f"UnresolvedReference/{key}", "UnresolvedReference", "warning", give_up, f"{key}: never announced, or named twice"))
        version = after_inputs(held.version, counted) if counted else after_time(held.version, held.touched, now)
        emits, said = difference(held.said, sayings, version)
        outcomes += see.fates(events, {o.index for o in outcomes}, give_up)
        touched = now if counted else held.touched
        due = min((d for d in (give_up, touched + retires if touched else None) if d is not None and d > now), default=None)
        if not (counted or emits or since != held.waiting_since):
            return Step(state, (), tuple(outcomes), due, changed=False)
        after = State(version=version, touched=touched, runs=runs, said=said, waiting_since=since, aside=aside, mark=mark(masks))
        if len(see.runs) == 1:
            quiet.remember(after, next(iter(see.runs.values())), world)
        return Step(after, emits, tuple(sorted(outcomes, key=lambda o: o.index)), due)


def _merged(
    held: State, key: str, events: Sequence[Input], reference: Reference, now: int, masks: Masks
) -> tuple[dict[str, RunInputs], dict[str, RunInputs], list[Outcome], int]:
    layers = (dict(held.runs), dict(held.aside)) if held.mark == mark(masks) else dealt(held.runs, held.aside, masks, reference)
    outcomes, counted = list[Outcome](), 0
    copied: set[tuple[bool, str]] = set()
    latest = now + reference.limits.position_max_ahead_minutes * MINUTE
    for index, event in enumerate(events):
        if isinstance(event, PositionReported) and fix_of(event).at > latest:
            outcomes.append(Outcome(index, Fate.REFUSED, FUTURE, "$.event_time", event.event_time.isoformat()))
            continue
        fates: list[Fate | None] = []
        row = row_of(reference, event) if isinstance(event, CustomsNotice) else None
        masked = covered(masks, event)
        runs = layers[masked]
        for origin in origin_of(event, key):
            if (masked, origin) not in copied:
                if origin not in runs and len(runs) >= ORIGINS_MAX:
                    fates.append(Fate.REFUSED)
                    continue
                runs[origin] = runs[origin].copy() if origin in runs else RunInputs()
                copied.add((masked, origin))
            fates.append(runs[origin].add(event, key, reference, origin=origin, repeatable=row is not None and row.repeatable))
        if None in fates:
            counted += 1
            if masked:
                outcomes.append(Outcome(index, Fate.WAITING, REASON))
        else:
            outcomes.append(outcome(index, next(f for f in fates if f is not None), LIMIT))
    runs, aside = ({o: r for o, r in layer.items() if r != RunInputs()} for layer in layers)
    return runs, aside, outcomes, counted


class _See:
    """The runs that the inputs under one train name add up to."""

    def __init__(self, key: str, runs: dict[str, RunInputs], world: World, aside: dict[str, RunInputs]) -> None:
        self.reference = world.reference
        closures = Closures([c for c in world.broadcasts.values() if isinstance(c, CrossingCondition)])
        origins = sorted(o for o in runs if o)
        self.two = len(origins) > 1
        self.unsaid = "" in runs and self.two
        if len(origins) == 1 and "" in runs:
            parts = {origins[0]: runs[origins[0]].merged(runs[""], key, world.reference)}
        else:
            parts = {o: r for o, r in runs.items() if o or not self.two}
        masked = authorities(e for r in aside.values() for e in r.notices.values())
        self.runs = {o: Run(key, o, parts[o], world.reference, closures, tuple(sorted(masked))) for o in sorted(parts)}
        self.sayings: list[Saying] = [s for run in self.runs.values() for s in run.sayings()]
        if self.unsaid:
            self.sayings.append(alert(f"IdentityAmbiguous/{key}", "IdentityAmbiguous", "warning", 0,
                                      f"{key}: two trains, and a message that does not say which"))
        self.waits = self.unsaid or any(not run.plan.known and run.inputs.fixes() for run in self.runs.values())

    def fates(self, events: Sequence[Input], done: set[int], give_up: int | None) -> list[Outcome]:
        """What became of the inputs that were taken in."""
        refused = {r.fix.key: r.reason for run in self.runs.values() for r in run.way.refused}
        found: list[Outcome] = []
        for index, event in enumerate(events):
            if index in done or isinstance(event, Inherited):
                continue
            origin = getattr(getattr(event, "train", None), "origin", "")
            if self.two and not origin:
                found.append(Outcome(index, Fate.WAITING, AMBIGUOUS, "$.train.origin", "", give_up))
            elif isinstance(event, PositionReported):
                found += self._position(index, event, origin, refused, give_up)
            elif isinstance(event, CustomsNotice) and row_of(self.reference, event) is None:
                found.append(Outcome(index, Fate.WAITING, UNKNOWN_CODE, "$.code", f"{event.system} {event.code}"))
        return found

    def _position(
        self, index: int, event: PositionReported, origin: str, refused: dict[tuple[int, str], str], give_up: int | None
    ) -> list[Outcome]:
        run = self.runs.get(origin) or next(iter(self.runs.values()), None)
        if run is not None and not run.plan.known:
            return [Outcome(index, Fate.WAITING, ROUTE_UNKNOWN, "$.train", run.key, give_up)]
        fix = fix_of(event)
        reason = refused.get(fix.key)
        where = fix.station or f"{fix.lat},{fix.lon}"
        return [Outcome(index, Fate.REFUSED, reason, "$.station" if fix.station else "$.lat", where)] if reason else []
