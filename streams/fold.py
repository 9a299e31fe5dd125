"""The one shape of a fold, carried by the runner, the simulation, replay and explain alike (design section 3)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from streams.reference.model import Reference

EVERY_PARTITION = -1
"""`Emit.partition`: one copy to every partition of the topic. For what concerns everybody (broadcasts)."""
EVERYBODY = "*"
"""Key of what concerns everybody."""


class Emit(msgspec.Struct, frozen=True):
    """One record to publish. `topic` is a concrete topic name; `value` a contract struct, encoded by the codec when published."""

    topic: str
    key: str
    value: msgspec.Struct | None
    """None: a tombstone."""
    first: bool = False
    """Awaited before the outputs that are not first (clearance.status before border topics)."""
    revision: int = 0
    """Revision that this record shows to the world, 0 = it has none. The runner remembers the highest per key (`World.revision_floor`)."""
    covert: bool = False
    """Its revision is counted apart (`World.covert_floor`): no public number may depend on what only one authority may know."""
    partition: int | None = None
    """None: by the key (murmur2); a number; or EVERY_PARTITION."""
    headers: tuple[tuple[str, bytes], ...] = ()


class World(msgspec.Struct, frozen=True):
    """What a step sees beside its own key: the reference and what concerns everybody."""

    reference: Reference
    broadcasts: Mapping[str, msgspec.Struct] = {}
    """Latest broadcast message by slot id (`Fold.broadcast_slot`), e.g. every stale source, mask, closure and indicator. Read only."""
    revision_floor: int = 0
    """Highest revision this key has ever published, also by a step that was lost in a crash: a new one is `max(floor + 1, now)`."""
    covert_floor: int = 0
    """The same of its covert outputs."""
    told: tuple[str, ...] = ()
    """Of what a lost step has published to a revision topic: each record's own key behind this key, in order. What it said beside that must be taken back."""


class BroadcastSlot(msgspec.Struct, frozen=True):
    """Where a broadcast message is kept. Of two messages of one slot the one with the higher order stays, so arrival order is all one."""

    id: str
    order: tuple[int, ...]
    """Version or event time, comparable within one slot."""
    until: int | None = None
    """When it may be forgotten because it no longer says anything, microseconds UTC; None = never."""


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
    """A fold consumes exactly one topic and keeps one state per key. Subclass it: what has a default here need not be repeated.

    `step` is pure: the same state, events, world and now give the same bytes out. `events` may be empty (a tick because
    `next_due` has come, or because what concerns everybody has changed). A key never starts with a NUL.
    """

    name: str
    """trains, custody, documents, clearance or readiness."""
    input_topic: str
    state_topic: str
    broadcasts: tuple[type[msgspec.Struct], ...] = ()
    """Message types that concern everybody. They never reach `step` as events: the runner keeps them per partition
    (`World.broadcasts`) and then steps every key of the partition with no events, in paced slices."""
    revision_topics: tuple[str, ...] = ()
    """Compacted topics with as many partitions as the input, to which this fold's revisions go (`Emit.first`, `Emit.revision`): public ones to
    one, covert ones to another. Outputs to them get the input's partition number, and they are read at restore: a revision never repeats or falls."""

    def decode(self, value: bytes) -> E:
        """One input message. Raises topics.codec.Refused when it is not one (poison)."""
        ...

    def encode_state(self, state: S) -> bytes: ...

    def decode_state(self, data: bytes) -> S: ...

    def encode_patch(self, state: S) -> bytes | None:
        """All that differs from the state that this object's line of states was last written as, when that is little; the runner then writes it
        beside the whole. None: the whole must be written."""
        return None

    def decode_patched(self, data: bytes, patch: bytes) -> S:
        """A whole state with what has changed since. Must be defined by a fold that gives patches."""
        raise TypeError(f"{self.name} gives no patches")

    def step(self, state: S | None, key: str, events: Sequence[E], world: World, now: int) -> Step[S]: ...

    def broadcast_slot(self, event: msgspec.Struct) -> BroadcastSlot:
        """Where a message of one of the `broadcasts` types is kept. Must be defined by a fold that names such types."""
        raise TypeError(f"{self.name} takes no broadcasts")
