"""The SOURCES fold: per writing party whether it still speaks. Only a change between live and stale concerns everybody, never a heartbeat."""
from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.fold import EVERY_PARTITION, Emit, Fate, Fold, Outcome, Step, World
from streams.reference.model import Reference
from topics import codec
from topics.events.internal import FreshnessChanged, SourceHeard
from topics.facts import MINUTE

CLEARANCE = "clearance.in"
EVERYBODY = "*"
SILENCE_MINUTES = 720
"""For a role without a limit of its own [D]."""


class State(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """The state of one key."""

    heard_at: int = 0
    """When it last spoke, by railclear's clock."""
    last_event: int = 0
    """Highest event time heard from it."""
    live: bool = False
    known: bool = False
    """It has been told to CLEARANCE at least once."""


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(State)


class SourcesFold(Fold[State, SourceHeard]):
    """Key: party id."""

    name = "sources"
    input_topic = "sources.in"
    state_topic = "sources.state"

    def decode(self, value: bytes) -> SourceHeard:
        return codec.decode(value, SourceHeard)

    def encode_state(self, state: State) -> bytes:
        return _encoder.encode(state)

    def decode_state(self, data: bytes) -> State:
        return _decoder.decode(data)

    def step(self, state: State | None, key: str, events: Sequence[SourceHeard], world: World, now: int) -> Step[State]:
        """The latest word counts; silence is judged at `now`."""
        held = state or State()
        heard_at = max([held.heard_at, *(e.heard_at for e in events)])
        last_event = max([held.last_event, *(e.last_event for e in events)])
        outcomes = tuple(_outcomes(held, events))
        limit = silence_minutes(world.reference, key) * MINUTE
        stale_at = heard_at + limit
        live = now < stale_at
        changed = (heard_at, last_event, live) != (held.heard_at, held.last_event, held.live) or not held.known
        after = State(heard_at=heard_at, last_event=last_event, live=live, known=True)
        outputs: tuple[Emit, ...] = ()
        if live is not held.live or not held.known:
            said = FreshnessChanged(source=key, live=live, since=heard_at if live else stale_at, last_event=last_event)
            outputs = (Emit(CLEARANCE, EVERYBODY, said, partition=EVERY_PARTITION),)
        return Step(after if changed else state, outputs, outcomes, stale_at if live else None, changed=changed)


def _outcomes(held: State, events: Sequence[SourceHeard]) -> list[Outcome]:
    found, heard, last = [], held.heard_at, held.last_event
    for index, event in enumerate(events):
        if event.heard_at <= heard and event.last_event <= last:
            found.append(Outcome(index, Fate.DUPLICATE if event.heard_at == heard and event.last_event == last else Fate.SUPERSEDED))
        heard, last = max(heard, event.heard_at), max(last, event.last_event)
    return found


def silence_minutes(reference: Reference, party: str) -> int:
    """How long a party may be silent: its own limit, else its role's. Customs services need no row of their own."""
    row = reference.parties.get(party)
    if row is not None and row.heartbeat_minutes:
        return row.heartbeat_minutes
    role = row.role if row is not None else "customs" if party.startswith("customs-") else ""
    return reference.limits.freshness_minutes.get(role, SILENCE_MINUTES)
