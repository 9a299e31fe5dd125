"""Watches a fold at work: the same step again gives the same, on a state fresh from its bytes too, and changes nothing that it was given."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from streams.fold import BroadcastSlot, Fold, Step, World


class Probe(Fold[Any, Any]):
    """A fold that is asked twice now and then."""

    def __init__(self, fold: Fold[Any, Any], rng: random.Random, share: float, faults: list[str], steps: Counter[str]) -> None:
        self.fold, self.rng, self.share, self.faults, self.steps = fold, rng, share, faults, steps
        self.name, self.input_topic, self.state_topic = fold.name, fold.input_topic, fold.state_topic
        self.broadcasts, self.revision_topics = fold.broadcasts, fold.revision_topics

    def decode(self, value: bytes) -> Any:
        return self.fold.decode(value)

    def encode_state(self, state: Any) -> bytes:
        return self.fold.encode_state(state)

    def decode_state(self, data: bytes) -> Any:
        return self.fold.decode_state(data)

    def encode_patch(self, state: Any) -> bytes | None:
        return self.fold.encode_patch(state)

    def decode_patched(self, data: bytes, patch: bytes) -> Any:
        return self.fold.decode_patched(data, patch)

    def broadcast_slot(self, event: msgspec.Struct) -> BroadcastSlot:
        return self.fold.broadcast_slot(event)

    def step(self, state: Any, key: str, events: Sequence[Any], world: World, now: int) -> Step[Any]:
        self.steps["events" if events else "quiet"] += 1
        if self.rng.random() >= self.share:
            return self.fold.step(state, key, events, world, now)
        before = None if state is None else self.fold.encode_state(state)
        step = self.fold.step(state, key, events, world, now)
        said = self._said(step)
        if before is not None and self.fold.encode_state(state) != before:
            self.faults.append(f"{self.name} {key}: a step changed the state that it was given")
        again = self.fold.step(None if before is None else self.fold.decode_state(before), key, events, world, now)
        if self._said(again) != said:
            self.faults.append(f"{self.name} {key}: the same step on the same bytes gave something else ({_difference(said, self._said(again))})")
        self.steps["probed"] += 1
        return step

    def _said(self, step: Step[Any]) -> tuple[Any, ...]:
        # By value, not by bytes: an instant that was kept comes back in UTC, whatever zone it was said in.
        outputs = tuple((e.topic, e.key, e.value, e.revision, e.partition) for e in step.outputs)
        return (None if step.state is None else self.fold.encode_state(step.state)), outputs, step.outcomes, step.next_due


def _difference(one: tuple[Any, ...], other: tuple[Any, ...]) -> str:
    names = ("state", "outputs", "outcomes", "next due")
    return ", ".join(name for name, a, b in zip(names, one, other, strict=True) if a != b)
