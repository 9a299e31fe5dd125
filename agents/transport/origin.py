"""Where a lane begins to read, and whether its input is still the topic that its state was made from. Refuses; never skips, never guesses.

The per-key offset rule ("an input at or below the offset that the key has applied is known") needs stable offsets. A topic that was made
anew or mirrored counts from 0 again, and everything would be skipped without a word. So the input's topic id is a record of the state.
"""
from __future__ import annotations

import msgspec

from agents.runner.cells import Header, pack, unpack
from agents.transport.fatal import Refuses

INPUT_KEY = b"\x00input"
"""The transport's own key in a state topic. No fold sees it."""


class Bounds(msgspec.Struct, frozen=True):
    """Of one input partition: what the group has committed (None: nothing), where the log begins and where it ends."""

    committed: int | None
    begin: int
    end: int


class InputIdentity(msgspec.Struct, frozen=True):
    """The input that a state was made from."""

    topic: str
    id: str


def record_of(identity: InputIdentity) -> bytes:
    """The value of the record under INPUT_KEY: a state record like any other, so that every reader of the topic can take it apart."""
    return pack(Header(offset=-1, seq=1), msgspec.json.encode(identity))


def identity_of(value: bytes) -> InputIdentity:
    """Raises BadState, msgspec.DecodeError."""
    return msgspec.json.decode(unpack(value)[1], type=InputIdentity)


def same_input(state: str, known: InputIdentity | None, now: InputIdentity, committed: int | None) -> None:
    """`known`: what the state says of its input, None = nothing. Raises Refuses when it was made from another topic, or when it is lost.

    A state says its input before anything is committed. So one that says nothing is new, unless the group has read on: then it is not that state.
    """
    if known is None:
        if committed:
            raise Refuses(
                f"{state} does not say what it was made from, but the group has committed offset {committed} of {now.topic}: the state topic was "
                "deleted, made anew or emptied, and the state is lost. Bring the topic back, or delete the group's offsets of that input: then all "
                "that it still holds is read again. A state that is there after all loses nothing by that: it knows what it has applied."
            )
    elif known.id and now.id and known != now:
        raise Refuses(
            f"{state} was made from topic {known.topic} with id {known.id}, but {now.topic} has id {now.id}: the input was deleted and made "
            "anew, or mirrored. Its offsets mean something else now. Give the stage a new state topic or restore the input."
        )


def start_of(name: str, state: str, bounds: Bounds, highest: int) -> int:
    """The offset to read from. `highest`: highest input offset that the restored state has applied, -1 = none. Raises Refuses."""
    if highest >= bounds.end:
        raise Refuses(
            f"{state} has applied input offset {highest}, but {name} ends at {bounds.end}: "
            "the input topic was deleted or restored from elsewhere. Give the stage a new state topic or restore the input."
        )
    if bounds.committed is None:
        if 0 <= highest < bounds.begin - 1:
            raise Refuses(_gap(name, highest + 1, bounds.begin, "the state ends before it and the group has no committed offset"))
        return bounds.begin
    if bounds.committed < bounds.begin:
        raise Refuses(_gap(name, bounds.committed, bounds.begin, "the group's committed offset is below it"))
    if bounds.committed > bounds.end:
        raise Refuses(f"the group has committed offset {bounds.committed} of {name}, which ends at {bounds.end}: it is not the topic that was read")
    return bounds.committed


def _gap(name: str, first: int, begin: int, why: str) -> str:
    return (
        f"{name} begins at offset {begin} and {why}: offsets {first} to {begin - 1} were deleted before they were read. Play them again from "
        "their source, then set the group's offset by hand: nothing is skipped by itself."
    )
