"""Where the ledger begins to read a partition, and whether it is still the topic that it has read. Refuses; never skips, never guesses. Pure.

The same rules as for the states of the stages (agents/transport/origin.py). The database decides, whatever Kafka remembers of the ledger's group.
"""
from __future__ import annotations

import msgspec

from agents.ledger.rows import GENESIS
from agents.transport.fatal import Refuses


class LedgerRefused(Refuses):
    """The ledger and the log do not belong together: the text says what to do. Ends the process rather than skip records or mix two histories."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(why)
        self.place = place
        """Topic and partition."""


class Known(msgspec.Struct, frozen=True):
    """What the database says of a partition."""

    next_offset: int
    """Behind the last record that is in it."""
    link: bytes = GENESIS
    topic_id: str = ""
    """Empty: it was read by a version that did not ask, or the broker does not say."""
    read_to: int = 0

    @property
    def reached(self) -> int:
        """Everything before it was read, markers of transactions as well: no gap begins there."""
        return max(self.next_offset, self.read_to)


class Bounds(msgspec.Struct, frozen=True):
    """Of one partition as the broker has it: where the log begins and ends, and which topic it is."""

    begin: int
    end: int
    topic_id: str = ""


def another(known: str, now: str) -> bool:
    """Are these ids of two topics? An empty one says nothing."""
    return bool(known and now and known != now)


def start_of(topic: str, partition: int, known: Known | None, bounds: Bounds) -> Known:
    """Where to go on, and what the database must say of it from now on. Raises LedgerRefused.

    `known` None: this partition was never read, and begins with the oldest record that there is. An old row without an id takes the one there is now.
    """
    place = f"{topic}/{partition}"
    if known is None:
        return Known(bounds.begin, topic_id=bounds.topic_id)
    if another(known.topic_id, bounds.topic_id):
        raise LedgerRefused(place, f"the ledger has read {topic} with id {known.topic_id}, but now it has id {bounds.topic_id}: the topic was deleted and made "
                                   f"anew, or mirrored. Its offsets mean something else now. {_INSTEAD}")
    if known.reached > bounds.end:
        raise LedgerRefused(place, f"{place} ends at {bounds.end}, but the ledger has read it to {known.reached}: the topic was made anew or has lost its end. "
                                   f"{_INSTEAD}")
    if known.reached < bounds.begin:
        raise LedgerRefused(place, f"{place} begins at offset {bounds.begin}: offsets {known.reached} to {bounds.begin - 1} were deleted before the ledger has "
                                   f"read them. Nothing is skipped by itself: railclear accept-gap {place} --reason TEXT goes on without them, and keeps who "
                                   "decided it and why")
    return msgspec.structs.replace(known, next_offset=max(known.next_offset, bounds.begin), topic_id=known.topic_id or bounds.topic_id)


_INSTEAD = "Give this deployment a new database, or the topics of the old one"
