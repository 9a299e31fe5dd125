"""A worker in the shadow: reads what production reads, and writes only to topics of its own, so that a new version can be compared beside the old.

It has its own consumer groups, inputs between folds, states and revisions, all under `shadow.`. Border, office, territory and restricted outputs and
alerts are not written at all: nobody outside may take a shadow's word for railclear's. What it tells parties (refusals, their statuses), readiness,
outcomes and dead letters go under `shadow.`, where only railclear and its operators read.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiokafka.structs import TopicPartition

from agents.transport.flow import Flow, Work
from streams.effects import Effect, Publish, PublishOutcomes, PutState, Send
from topics.registry import OPS, RAILCLEAR, Registry, TopicSpec

PREFIX: Final = "shadow."
GROUP: Final = "-shadow"
"""After the group's prefix: a shadow is no member of production's groups."""
NOT_WRITTEN: Final = frozenset({"border", "office", "territory", "restricted", "alerts"})
"""Kinds of topics that a shadow does not write."""


def topics(registry: Registry) -> tuple[TopicSpec, ...]:
    """The topics of a shadow, to be made with `railclear topics apply --shadow`. What nobody else reads in production (states, inputs of folds, what is
    restricted: covert words are in them) nobody else reads here; the rest is for operators."""
    return tuple(
        msgspec.structs.replace(spec, name=PREFIX + spec.name, readers=(RAILCLEAR,) if set(spec.readers) == {RAILCLEAR} else (OPS, RAILCLEAR), party="",
                                description=f"In the shadow: {spec.description}")
        for _, spec in sorted(registry.topics.items()) if spec.kind != "inbound" and spec.kind not in NOT_WRITTEN)


class Names:
    """Where a shadow reads and writes instead."""

    def __init__(self, registry: Registry) -> None:
        self._kinds = {name: spec.kind for name, spec in registry.topics.items()}

    def of(self, topic: str) -> str:
        """The name of a topic in the shadow; outside topics are read as they are."""
        return topic if not topic or self._kinds.get(topic) == "inbound" else PREFIX + topic

    def sends(self, sends: Sequence[Send]) -> tuple[Send, ...]:
        """Records under their names in the shadow, without those that a shadow does not write."""
        return tuple(msgspec.structs.replace(s, topic=self.of(s.topic)) for s in sends if self._kinds.get(s.topic) not in NOT_WRITTEN)

    def effects(self, effects: Sequence[Effect]) -> tuple[Effect, ...]:
        """What production would do to the world, done in the shadow. An acknowledgement names the topic that was read."""
        return tuple(self._effect(effect) for effect in effects)

    def _effect(self, effect: Effect) -> Effect:
        if isinstance(effect, Publish):
            return Publish(self.sends(effect.sends))
        if isinstance(effect, PublishOutcomes):
            return PublishOutcomes(msgspec.structs.replace(effect.send, topic=self.of(effect.send.topic)))
        if isinstance(effect, PutState):
            return msgspec.structs.replace(effect, topic=self.of(effect.topic))
        return effect


class ShadowWork:
    """The work of a lane, with its effects in the shadow. All else is the work's own."""

    def __init__(self, work: Work, names: Names) -> None:
        self._work, self._names = work, names

    async def process(self, batch: Any, slices: Any) -> Sequence[Effect]:
        return self._names.effects(await self._work.process(batch, slices))

    def turn(self, caught_up: bool) -> Sequence[Effect]:
        return self._names.effects(self._work.turn(caught_up))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)


def shadowed(flow: Flow, names: Names) -> Flow:
    """The same stage in the shadow."""

    def work(tp: TopicPartition) -> Any:
        return ShadowWork(flow.work(tp), names)

    return Flow(flow.name, [names.of(topic) for topic in flow.topics], work, state_topic=names.of(flow.state_topic),
                revision_topics=[names.of(topic) for topic in flow.revision_topics], exactly_once=flow.exactly_once)
