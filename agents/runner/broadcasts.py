"""What concerns everybody, kept once per partition: stale sources, masks, closures, indicators (design section 3).

Each slot is a state record of its own under a reserved key, so that a new one costs one small write. The epoch grows with every
change; a key whose epoch is lower has not yet been stepped with the change.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from agents.runner.cells import RESERVED, Cells, Header
from streams.fold import BroadcastSlot

EPOCH_KEY = f"{RESERVED}epoch"
SLOT_KEY = f"{RESERVED}broadcast/"
SLOTS_MAX = 10_000
"""Slots per partition; a message for one more is parked (dead letter)."""

Taken = Literal["applied", "duplicate", "superseded", "redelivered", "parked"]
Puts = dict[str, bytes | None]


class Broadcasts:
    """The latest message of each slot and the partition's epoch."""

    def __init__(self, slot_of: Callable[[msgspec.Struct], BroadcastSlot], decode: Callable[[bytes], object]) -> None:
        self.epoch = 0
        self.pack = ""
        self.world: dict[str, msgspec.Struct] = {}
        """Replaced, never changed: a World that a step has kept stays as it was."""
        self._slot_of, self._decode = slot_of, decode

    def restored(self, cells: Cells, pack_now: str, now: int) -> Puts:
        """Read the reserved keys. Another rule pack than the one the state was made with raises the epoch: every key is assessed again."""
        world: dict[str, msgspec.Struct] = {}
        for key in [k for k in cells if k == EPOCH_KEY or k.startswith(SLOT_KEY)]:
            cell = cells.get(key)
            assert cell is not None
            header, data = cell
            self.epoch = max(self.epoch, header.epoch)
            if key == EPOCH_KEY:
                self.pack = data.decode()
            else:
                event = self._decode(data)
                assert isinstance(event, msgspec.Struct)
                world[key[len(SLOT_KEY) :]] = event
        self.world = world
        if self.pack == pack_now:
            return {}
        known = len(cells) > 0
        self.pack = pack_now
        return self._raise(cells, now, 1 if known else 0)

    def _raise(self, cells: Cells, now: int, by: int = 1) -> Puts:
        self.epoch += by
        old = cells.get(EPOCH_KEY)
        header = Header(offset=-1, seq=old[0].seq + 1 if old else 1, epoch=self.epoch, now=now)
        return {EPOCH_KEY: cells.put(EPOCH_KEY, header, self.pack.encode())}

    def take(self, event: msgspec.Struct, data: bytes, offset: int, cells: Cells, now: int) -> tuple[Taken, Puts]:
        """Keep one message if it is the highest of its slot. The caller begins a sweep when it was applied."""
        slot = self._slot_of(event)
        key = SLOT_KEY + slot.id
        cell = cells.get(key)
        if cell is not None:
            if offset <= cell[0].offset:
                return "redelivered", {}
            if data == cell[1]:
                return "duplicate", {}
            if (slot.order, data) < (self._slot_of(self.world[slot.id]).order, cell[1]):
                return "superseded", {}
        elif len(self.world) >= SLOTS_MAX:
            return "parked", {}
        puts = self._raise(cells, now)
        header = Header(offset=offset, seq=cell[0].seq + 1 if cell else 1, due=slot.until, epoch=self.epoch, now=now)
        puts[key] = cells.put(key, header, data)
        self.world = {**self.world, slot.id: event}
        return "applied", puts

    def forget(self, key: str, cells: Cells) -> Puts:
        """A slot whose `until` has come says nothing any more."""
        cells.drop(key)
        self.world = {k: v for k, v in self.world.items() if SLOT_KEY + k != key}
        return {key: None}
