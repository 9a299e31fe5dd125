"""A batch of one inbound partition becomes effects: outputs, refusals, dead letters, then outcomes, then the acknowledgement."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from agents.runner.clock import Clock
from agents.runner.draft import outcomes_of
from agents.runner.stage import stateless_flow
from agents.transport.batch import Batch
from agents.transport.flow import Flow
from streams.effects import Ack, Effect, Record, Send, plan
from streams.intake import STAGE, Intake, IntakeResult
from streams.reference.model import Reference
from topics import codec
from topics.events.outputs import ExceptionalOutcome
from topics.registry import Registry

Seen = Callable[[str, Sequence[Record], IntakeResult], None]
"""Told of every batch (topic, records, result): the metrics agent counts refusals and flags with it."""


def effects_of(records: Sequence[Record], result: IntakeResult, now: int) -> tuple[Effect, ...]:
    """What is published for a batch, in the order that loses nothing: an acknowledged record is in a fold's topic or in dead letters."""
    sends = [
        Send(emit.topic, emit.key.encode(), codec.encode(emit.value) if emit.value is not None else None, emit.partition, emit.headers)
        for emit in result.emits
    ]
    exceptions = tuple(
        ExceptionalOutcome(offset=records[one.index].offset, fate=one.fate.value, reason=one.reason, path=one.path) for one in result.outcomes)
    derived = sum(1 for send in sends if send.topic.endswith(".in"))
    outcomes = outcomes_of(STAGE, records, exceptions, now, derived)
    return plan(outputs=sends, outcomes=outcomes, ack=Ack(records[0].topic, records[0].partition, records[-1].offset + 1))


def intake_process(
    reference: Reference, registry: Registry, clock: Clock | None = None, seen: Seen | None = None
) -> Callable[[Sequence[Record]], tuple[Effect, ...]]:
    """The pure function of a batch (records of one partition, at least one) that workers and the in-memory twin run."""
    intake, ours = Intake(reference, registry), clock or Clock()

    def process(records: Sequence[Record]) -> tuple[Effect, ...]:
        received = [ours.now(record.timestamp * 1000) for record in records]
        result = intake.batch(records[0].topic, records, received)
        if seen is not None:
            seen(records[0].topic, records, result)
        return effects_of(records, result, max(received))

    return process


def intake_flow(reference: Reference, registry: Registry, clock: Clock | None = None, seen: Seen | None = None) -> Flow:
    """Intake as a flow of a worker: reads every inbound topic of the registry."""
    process = intake_process(reference, registry, clock, seen)

    def of_batch(batch: Batch) -> tuple[Effect, ...]:
        return process(batch.records)

    return stateless_flow(STAGE, [spec.name for spec in registry.inbound], of_batch)
