"""The SOURCES fold: per writing party whether it still speaks. Only a change between live and stale concerns everybody, never a heartbeat."""
from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.fold import EVERY_PARTITION, EVERYBODY, Emit, Fate, Fold, Outcome, Step, World
from streams.reference.model import Reference
from topics import codec
from topics.events.internal import FreshnessChanged, SourceHeard, SourcePaused, SourcesIn
from topics.events.outputs import Alert
from topics.facts import MINUTE

CLEARANCE = "clearance.in"
ALERTS = "ops.alerts"
SILENCE_MINUTES = 720
"""For a role without a limit of its own [D]."""
PAUSE_MINUTES_MAX = 60
"""A pause that lasts longer alerts: its records are kept for seven days only, and every status goes without them [D]."""


Input = SourceHeard | SourcePaused


class State(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """The state of one key."""

    heard_at: int = 0
    """When it last spoke, by railclear's clock."""
    last_event: int = 0
    """Highest event time heard from it."""
    live: bool = False
    known: bool = False
    """It has been told to CLEARANCE at least once."""
    paused: bool = False
    """An operator lets its records wait: whatever it says meanwhile is not heard, so it is as good as stale."""
    act_at: int = 0
    act_id: str = ""
    """The latest act that paused it or let it be read again."""
    alert_seq: int = 0
    alerted: bool = False
    """The alert that the pause lasts is open."""


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(State)


class SourcesFold(Fold[State, Input]):
    """Key: party id."""

    name = "sources"
    input_topic = "sources.in"
    state_topic = "sources.state"

    def decode(self, value: bytes) -> Input:
        event: Input = codec.decode(value, SourcesIn)
        return event

    def encode_state(self, state: State) -> bytes:
        return _encoder.encode(state)

    def decode_state(self, data: bytes) -> State:
        return _decoder.decode(data)

    def step(self, state: State | None, key: str, events: Sequence[Input], world: World, now: int) -> Step[State]:
        """The latest word counts; silence is judged at `now`. A pause makes the source stale at once, and alerts when it lasts."""
        held = state or State()
        heard, outcomes = _merged(held, events)
        stale_at = heard.heard_at + silence_minutes(world.reference, key) * MINUTE
        lasting_at = heard.act_at + PAUSE_MINUTES_MAX * MINUTE
        live = now < stale_at and not heard.paused
        alerted = heard.paused and now >= lasting_at
        after = msgspec.structs.replace(heard, live=live, known=True, alerted=alerted,
                                        alert_seq=max(held.alert_seq + 1, now) if alerted != held.alerted else held.alert_seq)
        outputs: list[Emit] = []
        if live is not held.live or not held.known:
            since = max(heard.heard_at, heard.act_at) if live else heard.act_at if heard.paused else stale_at
            said = FreshnessChanged(source=key, live=live, since=since, last_event=heard.last_event)
            outputs.append(Emit(CLEARANCE, EVERYBODY, said, partition=EVERY_PARTITION))
        if alerted != held.alerted:
            outputs.append(Emit(ALERTS, f"SourcePaused/{key}", _alert(key, after, now)))
        changed = after != held
        due = lasting_at if heard.paused and not alerted else stale_at if live else None
        return Step(after if changed else state, tuple(outputs), outcomes, due, changed=changed)


def _alert(source: str, state: State, now: int) -> Alert:
    return Alert(key=f"SourcePaused/{source}", name="SourcePaused", severity="warning", state="open" if state.alerted else "resolved", seq=state.alert_seq,
                 at=now, detail=f"{source}: its records wait, by an operator's act {state.act_id}", runbook="SourcePaused")


def _merged(held: State, events: Sequence[Input]) -> tuple[State, tuple[Outcome, ...]]:
    found: list[Outcome] = []
    for index, event in enumerate(events):
        if isinstance(event, SourcePaused):
            after = held
            if (event.at, event.id) > (held.act_at, held.act_id):
                after = msgspec.structs.replace(held, paused=event.paused, act_at=event.at, act_id=event.id)
            same = (event.at, event.id) == (held.act_at, held.act_id)
        else:
            after = msgspec.structs.replace(held, heard_at=max(held.heard_at, event.heard_at), last_event=max(held.last_event, event.last_event))
            same = event.heard_at == held.heard_at and event.last_event == held.last_event
        if after == held:
            found.append(Outcome(index, Fate.DUPLICATE if same else Fate.SUPERSEDED))
        held = after
    return held, tuple(found)


def silence_minutes(reference: Reference, party: str) -> int:
    """How long a party may be silent: its own limit, else its role's. Customs services need no row of their own."""
    row = reference.parties.get(party)
    if row is not None and row.heartbeat_minutes:
        return row.heartbeat_minutes
    role = row.role if row is not None else "customs" if party.startswith("customs-") else ""
    return reference.limits.freshness_minutes.get(role, SILENCE_MINUTES)
