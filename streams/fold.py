"""The one shape of a fold, carried by the runner, the simulation, replay and explain alike (design section 3)."""
from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Generic, Protocol, TypeVar

import msgspec

from streams.reference.model import Reference


class Emit(msgspec.Struct, frozen=True):
    """One record to publish. `topic` is a concrete topic name; `value` a contract struct, encoded by the codec when published."""

    topic: str
    key: str
    value: msgspec.Struct | None
    """None: a tombstone."""


class Fate(Enum):
    """How an input ended, when it was not simply applied."""

    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    WAITING = "waiting"
    REFUSED = "refused"
    PARKED = "parked"


class Outcome(msgspec.Struct, frozen=True):
    """The fate of the input at `index` of this step; inputs without an outcome were applied."""

    index: int
    fate: Fate
    reason: str = ""
    """Named reason code, e.g. IDENTITY_AMBIGUOUS, UNRESOLVED_REFERENCE, NOT_YOURS."""
    path: str = ""
    value: str = ""
    until: int | None = None
    """WAITING: when waiting gives up, microseconds UTC."""


S = TypeVar("S")
E = TypeVar("E")


class Step(msgspec.Struct, Generic[S], frozen=True):
    """What one step of one key gives."""

    state: S | None
    """None: the key is dropped (tombstone)."""
    outputs: tuple[Emit, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    next_due: int | None = None
    """When this key must be stepped again although nothing arrives, microseconds UTC."""
    changed: bool = True
    """False: the state is as it was and need not be written."""


class Fold(Protocol[S, E]):
    """A fold consumes exactly one topic and keeps one state per key.

    `step` is pure: the same state, events, reference and now give the same bytes out. `events` may be empty (a tick because
    `next_due` has come, or because what concerns everybody has changed).
    """

    name: str
    """trains, custody, documents, clearance or readiness."""
    input_topic: str
    state_topic: str

    def decode(self, value: bytes) -> E:
        """One input message. Raises topics.codec.Refused when it is not one (poison)."""
        ...

    def encode_state(self, state: S) -> bytes: ...

    def decode_state(self, data: bytes) -> S: ...

    def step(self, state: S | None, key: str, events: Sequence[E], reference: Reference, now: int) -> Step[S]: ...
