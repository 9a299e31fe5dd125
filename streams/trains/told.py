"""What a run tells when only its last position and arrival times have moved: the same words to the same containers, with other arrival times.

`streams.derived.difference` works out all that is said and compares it with what was said before. Here it is known what cannot have changed, so
each container's message is the one of before with three fields replaced, and what is compared is hashed behind the few bytes that differ. What is
sent and what is kept are the same in every byte (tests/streams/test_trains_quiet.py).
"""
from __future__ import annotations

from typing import NamedTuple

import msgspec

from streams.derived import Said, Word
from streams.fold import Emit
from streams.kept import digest, encoded, hashed
from streams.trains.boxes import Aboard
from streams.trains.run import COMPARED, CUSTODY, READINESS, Run
from topics.events.internal import Movement

LIST = 0x90
"""MessagePack: a list of up to 15, its length in the low bits."""


class Slot(NamedTuple):
    """A container of the run, and what was said about it."""

    name: str
    box: Aboard
    said: Movement
    rest: bytes
    """What is compared, behind what all containers have in common."""


class Slots(NamedTuple):
    """Every word of a run that may move, in the order of the names."""

    each: tuple[Slot | None, ...]
    """None: here the run's own word has its turn."""
    profile: str
    """Name of that."""


def holds(run: Run, said: Said) -> bool:
    """Was this what the run said last? Its own word has all that depends on more than its inputs: the milestones with their arrival times."""
    saying = run.profile()
    return any(w.topic == READINESS and w.key == saying.key and w.digest == digest(saying.value) for w in said.values())


def slots_of(run: Run, said: Said) -> Slots | None:
    """Of a run that has said this. None when it is anything but what is expected."""
    found: list[Slot | None] = []
    common, told, profile = run.common(), digest(run.conveyance()), ""
    head = _head(common)
    for name, word in said.items():
        if word.topic == READINESS:
            if profile or word.digest != digest(run.profile().value):
                return None
            profile = name
            found.append(None)
        elif word.topic == CUSTODY:
            box = run.boxes.get(word.key)
            if box is None:
                return None
            movement = run.movement(word.key, box)
            data = encoded(run.compared(common, told, movement, box))
            if not data.startswith(head) or hashed(data) != word.digest:
                return None
            found.append(Slot(name, box, movement, data[len(head):]))
    if not profile or len(found) != len(run.boxes) + 1 or list(said) != sorted(said):
        return None
    return Slots(tuple(found), profile)


def said_again(run: Run, slots: Slots, said: Said, version: int) -> tuple[tuple[Emit, ...], Said]:
    """As `difference`, of the same run with other arrival times."""
    after, emits = dict(said), list[Emit]()
    head, position = _head(run.common()), run.position()
    for slot in slots.each:
        if slot is None:
            saying = run.profile()
            compared = digest(saying.value)
            if compared != said[slots.profile].digest:
                after[slots.profile] = Word(saying.key, compared, None, READINESS, saying.gone)
                emits.append(Emit(READINESS, saying.key, msgspec.structs.replace(saying.value, seq=version)))
            continue
        old, compared = said[slot.name], hashed(head + slot.rest)
        if compared != old.digest:
            after[slot.name] = Word(old.key, compared, None, CUSTODY, old.gone)
            emits.append(Emit(CUSTODY, old.key, msgspec.structs.replace(slot.said, seq=version, milestones=run.of_box(slot.box), position=position)))
    return tuple(emits), after


def _head(common: bytes) -> bytes:
    """How what is compared begins: a list of as many, the first of them what all containers have in common."""
    return bytes((LIST + COMPARED,)) + encoded(common)
