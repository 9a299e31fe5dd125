"""One message as it leaves its party, with what the simulator knows about it."""
from __future__ import annotations

from typing import Literal

import msgspec

from topics import codec
from topics.events.base import Event

Expect = Literal["applied", "duplicate", "dead_letter"]
"""applied: new to railclear, whatever it does with it; duplicate: the same bytes were sent before; dead_letter: intake refuses it."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A message not yet encoded."""

    at: int
    """When it is sent, microseconds UTC (never before its event time)."""
    topic: str
    key: str
    event: Event | None = None
    raw: bytes = b""
    """Bytes of a deliberately wrong message."""
    expect: Expect = "applied"
    story: str = ""
    """Planned or random incident that it belongs to; empty = routine."""
    train: int = 0


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A message in sending order."""

    at: int
    topic: str
    key: str | None
    value: bytes
    event: Event | None
    """None for deliberately wrong bytes."""
    expect: Expect
    story: str = ""
    train: int = 0
    """Index of the journey; -1 = none (network, heartbeats)."""


def sent(draft: Draft) -> Sent:
    """Encode."""
    value = draft.raw if draft.event is None else codec.encode(draft.event)
    return Sent(at=draft.at, topic=draft.topic, key=draft.key or None, value=value, event=draft.event, expect=draft.expect, story=draft.story,
                train=draft.train)
