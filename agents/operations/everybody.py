"""What concerns everybody (masks, closures, how fresh sources are, indicators), made anew from the ledger for each partition of a fold.

A state topic that was lost has lost these, too. Nobody says them again: their records lie before the offset from which the group reads on. Without them
what was retracted counts again, and a closed crossing is open. The ledger has every word of them, per partition; of masks the operators' acts say which
are in force even where the ledger lacks something.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import asyncpg
import msgspec

from agents.operations.rebuild import Difference, OfPartition, rows
from agents.runner.broadcasts import SLOT_KEY, SLOTS_MAX
from agents.runner.cells import Header, pack
from streams.fold import EVERYBODY, BroadcastSlot, Fold
from streams.intake.routing import route
from topics import codec
from topics.codec import Refused
from topics.events.internal import MaskFacts
from topics.events.operations import FeedRetracted, OperatorAct

COVERT: Final = "risk:"
"""Slots of which only that there is one is shown."""


class Word(msgspec.Struct, frozen=True):
    """The latest message of a slot."""

    slot: BroadcastSlot
    event: msgspec.Struct
    data: bytes

    @property
    def order(self) -> tuple[tuple[int, ...], bytes]:
        """As the runner compares two of one slot (agents.runner.broadcasts)."""
        return self.slot.order, self.data


Words = dict[str, Word]


class Told:
    """Collects what was told to a fold: per partition the latest word of each slot, whatever order they come in. Pure."""

    def __init__(self, fold: Fold[Any, Any], partitions: Iterable[int]) -> None:
        self.fold = fold
        self.words: dict[int, Words] = {partition: {} for partition in partitions}

    def add(self, partition: int, data: bytes) -> None:
        """One message. What the fold refused is among the dead letters; what concerns one key is none of ours."""
        try:
            event = self.fold.decode(data)
        except Refused:
            return
        if isinstance(event, self.fold.broadcasts) and partition in self.words:
            word = Word(self.fold.broadcast_slot(event), event, data)
            held = self.words[partition].get(word.slot.id)
            if held is None or word.order > held.order:
                self.words[partition][word.slot.id] = word

    def acted(self, acts: Iterable[OperatorAct]) -> None:
        """Masks as the operators' acts say them, in every partition."""
        for act in acts:
            for emit in route(act) if isinstance(act, FeedRetracted) else ():
                if emit.topic == self.fold.input_topic and emit.value is not None:
                    for partition in self.words:
                        self.add(partition, codec.encode(emit.value))

    def masks(self) -> list[MaskFacts]:
        """Every mask of any partition."""
        return [word.event for words in self.words.values() for word in words.values() if isinstance(word.event, MaskFacts)]


async def told(pool: asyncpg.Pool, fold: Fold[Any, Any], partitions: Iterable[int], acts: Iterable[OperatorAct]) -> Told:
    """What the ledger and the acts say that concerns everybody."""
    found = Told(fold, partitions)
    async for row in rows(pool, "select part, body from event where topic = $1 and key = $2", fold.input_topic, EVERYBODY):
        found.add(row["part"], row["body"].encode())
    found.acted(acts)
    return found


Record = tuple[int, str, bytes]
"""Partition, key and value of a state record."""


def compare(found: Told, kept: Mapping[int, OfPartition], now: int) -> tuple[tuple[Difference, ...], list[Record]]:
    """What the partitions lack or have an earlier word of, and the records that bring it. Pure.

    What says nothing any more (`until`) is left out. A record raises the epoch: every key of the partition is stepped with it when the fold starts.
    """
    differences: list[Difference] = []
    records: list[Record] = []
    for partition, words in sorted(found.words.items()):
        held = kept.get(partition) or OfPartition()
        room = SLOTS_MAX - len(held.slots)
        for slot, word in sorted(words.items(), key=lambda item: (item[1].slot.until is not None, item[0])):
            old, until = held.slots.get(slot), word.slot.until
            if (until is not None and until <= now) or (old is not None and _order(found.fold, old[1]) >= word.order) or (old is None and room <= 0):
                continue
            room -= old is None
            name = COVERT.rstrip(":") if slot.startswith(COVERT) else slot
            differences.append(Difference(key=f"{EVERYBODY} of partition {partition}: {name}", kind="missing" if old is None else "differs"))
            header = old[0] if old is not None else Header(offset=-1, seq=0)
            records.append((partition, SLOT_KEY + slot, pack(Header(header.offset, header.seq + 1, until, held.epoch + 1, 0, header.now), word.data)))
    return tuple(differences), records


def _order(fold: Fold[Any, Any], data: bytes) -> tuple[tuple[int, ...], bytes]:
    return fold.broadcast_slot(fold.decode(data)).order, data
