"""A small fold that uses everything a runner offers: keyed sums, refusals, deadlines, broadcasts, revisions. For tests only."""
from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from streams.fold import BroadcastSlot, Emit, Fate, Fold, Outcome, Step, World
from streams.reference.model import Reference
from topics import codec

NO_REFERENCE = cast(Reference, None)
SECOND = 1_000_000
BUG = 666
"""An `n` at which the fold raises what is not a refusal."""


class Add(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="add", tag_field="type"):
    """Adds `n` to its key's total; `id` tells repeats apart; `due_in_s` sets an alarm; `pad` makes the state large."""

    id: int
    n: int = 1
    due_in_s: float = 0
    pad: int = 0


class Factor(msgspec.Struct, frozen=True, kw_only=True, tag="factor", tag_field="type"):
    """Concerns every key: totals count `by` times."""

    name: str
    version: int
    by: int
    until: int | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True, tag="said", tag_field="type"):
    key: str
    total: int
    scaled: int
    revision: int
    why: str


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    total: int = 0
    ids: tuple[int, ...] = ()
    due: int | None = None
    scaled: int = 0
    revision: int = 0
    pad: str = ""


class Summing(Fold[Sum, Add | Factor]):
    """Totals per key."""

    def __init__(self, name: str = "toy", input_topic: str = "toy.in") -> None:
        self.name, self.input_topic = name, input_topic
        self.state_topic, self.revision_topics = f"{name}.state", (f"{name}.status",)
        self.broadcasts = (Factor,)

    def decode(self, value: bytes) -> Add | Factor:
        return codec.decode(value, Add | Factor)

    def encode_state(self, state: Sum) -> bytes:
        return msgspec.msgpack.encode(state)

    def decode_state(self, data: bytes) -> Sum:
        return msgspec.msgpack.decode(data, type=Sum)

    def broadcast_slot(self, event: msgspec.Struct) -> BroadcastSlot:
        assert isinstance(event, Factor)
        return BroadcastSlot(event.name, (event.version,), event.until)

    def step(self, state: Sum | None, key: str, events: Sequence[Add | Factor], world: World, now: int) -> Step[Sum]:
        old = state or Sum()
        total, ids, due, pad, outcomes = old.total, list(old.ids), old.due, old.pad, list[Outcome]()
        for index, event in enumerate(events):
            assert isinstance(event, Add)
            if event.n == BUG:
                raise ArithmeticError("a bug of this fold")
            if event.id in ids:
                outcomes.append(Outcome(index, Fate.DUPLICATE))
            elif event.n < 0:
                outcomes.append(Outcome(index, Fate.REFUSED, "NEGATIVE", "$.n", str(event.n)))
            else:
                total += event.n
                ids.append(event.id)
                due = now + int(event.due_in_s * SECOND) if event.due_in_s else due
                pad = "x" * event.pad if event.pad else pad
        why = "events" if events else "broadcast"
        if due is not None and due <= now:
            due, why = None, "alarm"
        factor = 1
        for broadcast in world.broadcasts.values():
            factor *= cast(Factor, broadcast).by
        scaled = total * factor
        if (total, due, pad, scaled) == (old.total, old.due, old.pad, old.scaled):
            return Step(old, outcomes=tuple(outcomes), next_due=due, changed=state is None)
        revision = max(world.revision_floor + 1, now)
        said = Said(key=key, total=total, scaled=scaled, revision=revision, why=why)
        outputs = (
            Emit(self.revision_topics[0], key, said, first=True, revision=revision),
            Emit(f"{self.name}.out", key, said),
        )
        new = Sum(total=total, ids=tuple(ids), due=due, scaled=scaled, revision=revision, pad=pad)
        return Step(new, outputs, tuple(outcomes), due)


def topics_of(fold: Summing) -> tuple[str, ...]:
    return fold.input_topic, fold.state_topic, *fold.revision_topics, f"{fold.name}.out", f"outcomes.{fold.name}"


def stalling(name: str) -> Any:
    """A stateless stage that copies its input to `<name>.out` and never comes back from a record that says `stall`."""
    import asyncio

    from agents.runner.draft import outcomes_of
    from agents.runner.stage import stateless_flow
    from agents.transport.batch import Batch
    from streams.effects import Ack, Effect, Send, plan

    async def copy(batch: Batch) -> Sequence[Effect]:
        if any(r.value == b"stall" for r in batch.records):
            await asyncio.Event().wait()
        sends = [Send(f"{name}.out", r.key, r.value, r.partition) for r in batch.records]
        outcomes = outcomes_of(name, batch.records, (), 0)
        return plan(outputs=sends, outcomes=outcomes, ack=Ack(batch.topic, batch.partition, batch.records[-1].offset + 1))

    return stateless_flow(f"stall-{name}", [f"{name}.in"], copy)


def worker(bootstrap: str, group: str, exactly_once: bool, names: Sequence[str], **settings: Any) -> Any:
    """An app with one summing stage per name and a stateless stage that copies `outside` and `outside.two` to the first one's input."""
    from agents.runner.draft import outcomes_of
    from agents.runner.stage import fold_flow, stateless_flow
    from agents.transport import flow
    from agents.transport.batch import Batch
    from agents.transport.faust_app import TransportSettings, build
    from agents.transport.faust_plugin import register
    from streams.effects import Ack, Effect, Send, plan

    flow.EVERY = settings.pop("revisions_every", flow.EVERY)
    app = build(TransportSettings(**{"group": group, "bootstrap": bootstrap, "session_timeout_s": 6, "heartbeat_s": 0.5, "commit_interval_s": 0.2, **settings}))
    for name in [n for n in names if n.startswith("stall:")]:
        register(app, stalling(name.removeprefix("stall:")))
    names = [n for n in names if not n.startswith("stall:")]
    for name in names:
        register(app, fold_flow(Summing(name, f"{name}.in"), NO_REFERENCE, exactly_once=exactly_once))

    def copy(batch: Batch) -> Sequence[Effect]:
        sends = [Send(f"{names[0]}.in", r.key, r.value) for r in batch.records]
        outcomes = outcomes_of("intake", batch.records, (), 0, len(sends))
        return plan(outputs=sends, outcomes=outcomes, ack=Ack(batch.topic, batch.partition, batch.records[-1].offset + 1))

    if len(names) > 1:
        register(app, stateless_flow("intake", ("outside", "outside.two"), copy))
    return app


if __name__ == "__main__":  # a worker process: BOOTSTRAP GROUP EXACTLY_ONCE NAME…; more transport settings as JSON in RAILCLEAR_TOY
    from agents.transport.faust_app import run

    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    run(worker(sys.argv[1], sys.argv[2], sys.argv[3] == "1", sys.argv[4:], **msgspec.json.decode(os.environ.get("RAILCLEAR_TOY", "{}"))))
