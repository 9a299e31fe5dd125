"""What a stage does to the world, as data: the order of publication is a list, so a test can crash between any two effects.

At-least-once order: outputs, outcomes, state, acknowledgement. State is written after the outputs, because a redelivered event that
the state already holds is skipped and could never give its outputs again.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

Headers = tuple[tuple[str, bytes], ...]


class Record(Protocol):
    """One record as the broker keeps it; `LogRecord` is one."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Broker append time, milliseconds since the epoch."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as it was read, from Kafka or an in-memory log."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Send(msgspec.Struct, frozen=True):
    """One record to write."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    """None: by the key (murmur2); a number; or `streams.fold.EVERY_PARTITION`."""
    headers: Headers = ()


class Publish(msgspec.Struct, frozen=True):
    """Write outputs."""

    sends: tuple[Send, ...]


class PublishOutcomes(msgspec.Struct, frozen=True):
    """Write the batch's one record to `outcomes.<stage>`."""

    send: Send


class PutState(msgspec.Struct, frozen=True):
    """Write state records to the partition of the compacted topic that has the input's number."""

    topic: str
    partition: int
    records: tuple[tuple[bytes, bytes | None], ...]
    """Key and value; None is a tombstone."""


class Await(msgspec.Struct, frozen=True):
    """Everything before is durable before anything after is begun."""


class Ack(msgspec.Struct, frozen=True):
    """The input up to, not including, `next` is done with."""

    topic: str
    partition: int
    next: int


Effect = Publish | PublishOutcomes | PutState | Await | Ack


def plan(
    *,
    first: Sequence[Send] = (),
    outputs: Sequence[Send] = (),
    outcomes: Send | None = None,
    state: PutState | None = None,
    ack: Ack | None = None,
) -> tuple[Effect, ...]:
    """The effects of one batch in the order that loses nothing. Without `ack` (a tick) there is nothing to acknowledge."""
    effects: list[Effect] = []
    if first:
        effects += [Publish(tuple(first)), Await()]
    if outputs:
        effects.append(Publish(tuple(outputs)))
    if outcomes is not None:
        effects.append(PublishOutcomes(outcomes))
    if outputs or outcomes is not None:
        effects.append(Await())
    if state is not None and state.records:
        effects += [state, Await()]
    if ack is not None:
        effects.append(ack)
    return tuple(effects)

