"""How far a state has the revisions: a record of the state topic that spares a restore most of the revision topics.

A restore must know the highest revision that the world has seen of each key. The state has it, unless a crash came between an output and its state. So the
revision topics are read, too: a status per shipment and side, far more bytes than the states. But what was published before a publication that is durable
as a whole is in the states before it. Now and then a lane writes down, behind the states of a publication, up to which offsets that is so, together with
the revisions of keys that are ahead of their state or that the state does not keep (`Work.floors`); a restore reads the revision topics from there.

Why it is true when it is read: publications of a lane follow each other, each when the one before is durable. The offsets are those before the publication
that carries them; the revisions ahead are taken when its effects were made, and a key that left them since has its state in this publication or in one
before it, which the log has before this record.
"""
from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agents.runner.cells import REVISIONS_KEY as NAME
from agents.runner.cells import Header, pack, unpack

REVISIONS_KEY = NAME.encode()
EVERY = 10_000
"""Revisions written since the last such record. A restore reads at most about twice as many of each partition."""
FLOORS_BYTES_MAX = 512 * 1024
"""With more than that to say of keys that are ahead of their state none is written: a broker takes a record of 1 MiB. That is some eight thousand keys; a crash
leaves some dozens, but what is covert is always told apart from the state."""
NUMBER_BYTES = 26
"""A revision in the record, with its punctuation and a covert key's escapes."""


class Reached(msgspec.Struct, frozen=True):
    """All revisions of these topics below these offsets are in the states before this record, or named here."""

    ids: tuple[str, ...]
    """Topic ids, in the order of the flow's revision topics: in a topic made anew offsets mean something else."""
    nexts: tuple[int, ...]
    floors: dict[str, int] = {}
    """Revisions the world has seen beyond the state, by key."""


def bytes_of(floors: Mapping[str, int]) -> int:
    """About so large is what a record says of them."""
    return sum(map(len, floors)) + NUMBER_BYTES * len(floors)


def record_of(reached: Reached) -> bytes:
    """The value of the record under REVISIONS_KEY: a state record like any other, so that every reader of the topic can take it apart."""
    return pack(Header(offset=-1, seq=1), msgspec.json.encode(reached))


def reached_of(value: bytes) -> Reached:
    """Raises BadState, msgspec.DecodeError."""
    return msgspec.json.decode(unpack(value)[1], type=Reached)
