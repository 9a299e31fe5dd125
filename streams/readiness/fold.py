"""The READINESS fold: at most one update per second and train."""
from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.fold import Emit, Fate, Fold, Outcome, Step, World
from streams.kept import digest
from streams.readiness.count import readiness
from streams.readiness.state import Inbound, Run, decode, encode, merge
from topics import codec, registry
from topics.events.internal import ReadinessIn
from topics.events.outputs import TrainReadiness
from topics.facts import DAY

PERIOD = 1_000_000
"""At least a second between two updates of one train, microseconds."""
TOPIC = "train.readiness"


class ReadinessFold(Fold[Run, Inbound]):
    """Key: run id, or `yard:PLACE`."""

    name = "readiness"
    input_topic = "readiness.in"
    state_topic = "readiness.state"
    revision_topics = (registry.READINESS_REVISIONS,)

    def decode(self, value: bytes) -> Inbound:
        event: Inbound = codec.decode(value, ReadinessIn)
        return event

    def encode_state(self, state: Run) -> bytes:
        return encode(state)

    def decode_state(self, data: bytes) -> Run:
        return decode(data)

    def step(self, state: Run | None, key: str, events: Sequence[Inbound], world: World, now: int) -> Step[Run]:
        """Merge; publish when something changed and the last update is a second old, else in a second."""
        before = state or Run()
        held, news = merge(before, events)
        outcomes = tuple(Outcome(i, Fate.SUPERSEDED) for i, new in enumerate(news) if not new)
        if any(news):
            held = msgspec.structs.replace(held, heard_at=now)
        gone = held.heard_at + world.reference.limits.binding_retire_days * DAY
        if now >= gone and not any(j.aboard for j in held.joined.values()):
            return Step(None, outcomes=outcomes)
        picture = readiness(key, held, 0, now)
        fresh = content(picture)
        lost = world.revision_floor > held.revision         # a step has said what nobody here knows: said again
        if (fresh == held.shown and not lost) or not (held.joined or held.profile):
            return Step(held, outcomes=outcomes, next_due=gone if gone > now else None, changed=held != state)
        due = held.shown_at + PERIOD
        if now < due:
            return Step(held, outcomes=outcomes, next_due=due, changed=held != state)
        revision = max(max(held.revision, world.revision_floor) + 1, now)
        out = msgspec.structs.replace(picture, revision=revision)
        held = msgspec.structs.replace(held, shown=fresh, shown_at=now, revision=revision)
        return Step(held, _emits(key, out, world), outcomes, gone if gone > now else None)


def content(picture: TrainReadiness) -> bytes:
    """What makes an update worth publishing: everything but revision, time and margins, which the clock moves."""
    sides = tuple(msgspec.structs.replace(s, margin_minutes=None) for s in picture.sides)
    return digest(msgspec.structs.replace(picture, revision=0, at=0, sides=sides))


def _emits(key: str, out: TrainReadiness, world: World) -> tuple[Emit, ...]:
    emits = [Emit(registry.READINESS_REVISIONS, key, None, first=True, revision=out.revision), Emit(TOPIC, key, out)]
    row = world.reference.parties.get(out.railway)
    if row is not None and row.role == "railway":
        emits.append(Emit(registry.status_topic(out.railway), key, out))
    return tuple(emits)
