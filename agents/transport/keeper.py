"""What a process still has of partitions that it gave up, and on disk of those it owned: where a restore may begin instead of at offset 0.

Both are an image at a moment when everything submitted was durable, with the offset of the state topic up to which it is sure. What
another owner wrote meanwhile lies beyond that offset, is read like any restore and wins. A lane with anything unpublished is not kept.
"""
from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka.structs import TopicPartition

from agents.transport import snapshot
from agents.transport.lane import Lane, boot_clock
from agents.transport.snapshot import Head, SnapshotError

if TYPE_CHECKING:
    from agents.transport.flow import Flow, Work

log = logging.getLogger(__name__)

KEEP_S = 180.0
"""A partition that has not come back by then belongs elsewhere; its memory is freed."""
AGE_MAX_S = 12 * 3600
"""Older images are not used: Kafka forgets tombstones after `delete.retention.ms` (two days), and a key deleted since would live again."""
HOLD_S = 30.0
"""How long a lane is held for a snapshot at most; one publication is usually enough, but in a backlog its two batches wait until those of other lanes are
worked on."""
SLICE = 2000


Fits = Callable[[tuple[int, ...]], bool]
"""Do these offsets of the state and the revision topics exist?"""


class Kept(msgspec.Struct, frozen=True):
    """An image and how far it reaches."""

    image: Any
    ids: tuple[str, ...]
    nexts: tuple[int, ...]
    """Of the state and the revision topics."""
    at: float
    """Boot clock seconds."""
    work: Any = None
    """Whose image it is, to take it apart for the disk; None: there is none."""


class Keeper:
    """Of one process. Without a directory nothing is written."""

    def __init__(self, group: str, directory: Path | None = None, version: str = "", every_s: float = 300.0) -> None:
        self.group, self.directory, self.version, self.every_s = group, directory, version, every_s
        self._kept: dict[tuple[str, TopicPartition], Kept] = {}
        self._written: dict[TopicPartition, tuple[float, int]] = {}
        """When, and up to which state offset."""
        self._disk = ThreadPoolExecutor(1, "snapshots")

    # -- memory --------------------------------------------------------------------------------------------------------------
    def keep(self, lane: Lane) -> bool:
        """A lane was given up: keep what it had if all of it is durable."""
        kept = _image(lane)
        if kept is None or lane.flow is None:
            return False
        self._kept[lane.flow.name, lane.tp] = kept if self.directory is not None else msgspec.structs.replace(kept, work=None)
        return True

    def take(self, flow: Flow, lane: Lane, fits: Fits) -> Kept | None:
        """What was kept of this partition; None when there is nothing or its topics are others now. It stays until the lane is `back`: a restore that
        another rebalance cuts short has lost nothing."""
        kept = self._kept.get((flow.name, lane.tp))
        if kept is None:
            return None
        if boot_clock() - kept.at > AGE_MAX_S or kept.ids != lane.ids or not fits(kept.nexts):
            log.warning("lane %s: what was kept in memory belongs to other topics or is too old, and is dropped", lane.tp)
            del self._kept[flow.name, lane.tp]
            return None
        return kept

    def back(self, flow: Flow, lane: Lane) -> None:
        """The partition is restored and goes on from here: what was kept of it is of yesterday."""
        self._kept.pop((flow.name, lane.tp), None)

    def forget(self) -> None:
        """Free what has not come back."""
        now = boot_clock()
        for key in [key for key, kept in self._kept.items() if now - kept.at > KEEP_S]:
            del self._kept[key]

    async def write_kept(self, stage: str, tp: TopicPartition) -> bool:
        """Write what `keep` has just kept of a stage's partition, at the end of the process."""
        kept = self._kept.get((stage, tp))
        return await self.write(stage, tp, kept) if kept is not None else False

    # -- disk ----------------------------------------------------------------------------------------------------------------
    async def load(self, flow: Flow, lane: Lane, work: Work, fits: Fits) -> Head | None:
        """Give `work` the records of a snapshot that fits; None (and a log line unless there is no file) when none does."""
        if self.directory is None:
            return None
        path = snapshot.file_of(self.directory, self.group, flow.name, lane.tp.partition)
        loop = asyncio.get_running_loop()
        try:
            head, records = await loop.run_in_executor(self._disk, snapshot.read, path)
        except FileNotFoundError:
            return None
        except (SnapshotError, OSError) as error:
            log.warning("snapshot %s is not used: it %s", path.name, error)
            return None
        reason = self._unfit(head, flow, lane) or ("" if fits(head.nexts) else "it reaches beyond the topics as they are now")
        if reason:
            log.warning("snapshot %s is not used: %s", path.name, reason)
            return None
        for at in range(0, len(records), SLICE):
            for key, value in records[at : at + SLICE]:
                work.restore(key, value)
            await asyncio.sleep(0)
        work.restore_floors(head.floors)
        return head

    def _unfit(self, head: Head, flow: Flow, lane: Lane) -> str:
        age = time.time() - head.at / 1e6
        if head.format != snapshot.FORMAT or head.version != self.version:
            return f"it is of format {head.format} and version {head.version[:16]}, wanted are {snapshot.FORMAT} and {self.version[:16]}"
        if (head.group, head.stage, head.partition) != (self.group, flow.name, lane.tp.partition):
            return f"it belongs to {head.group}, {head.stage}, partition {head.partition}"
        if head.ids != lane.ids:
            return "the topics were made anew since it was written"
        if not -300 <= age <= AGE_MAX_S:
            return f"it is {age / 3600:.1f} hours old"
        return ""

    def due(self, lane: Lane) -> bool:
        """Is a snapshot of this lane wanted?"""
        if self.directory is None or not lane.ready or lane.closing or lane.foreign or lane.flow is None or not lane.flow.state_topic:
            return False
        at, reached = self._written.get(lane.tp, (lane.progress.ready_at, -1))
        return boot_clock() - at > self.every_s and lane.sure.get(lane.flow.state_topic, -1) > reached

    async def hold_and_write(self, lane: Lane) -> bool:
        """Let the lane finish what it has begun, take the image, let it go on, then write. Its records wait for one publication."""
        lane.holding = True
        try:
            end = boot_clock() + HOLD_S
            while not lane.clean and lane.open and boot_clock() < end:
                await asyncio.sleep(0.005)
            kept = _image(lane)
        finally:
            lane.holding = False
        return await self.write(lane.flow.name, lane.tp, kept) if kept is not None and lane.flow is not None else False

    async def write(self, stage: str, tp: TopicPartition, kept: Kept) -> bool:
        """Write an image; False when the disk refuses or there is none."""
        if self.directory is None:
            return False
        work = kept.work
        floors = work.floors(kept.image)
        pairs: Iterator[tuple[bytes, bytes]] = work.dump(kept.image)
        head = Head(group=self.group, stage=stage, partition=tp.partition, version=self.version, ids=kept.ids, nexts=kept.nexts,
                    at=time.time_ns() // 1000, count=len(kept.image.cells), floors=floors)
        path = snapshot.file_of(self.directory, self.group, stage, tp.partition)
        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, snapshot.write, path, head, pairs)
        except OSError as error:
            log.warning("snapshot %s is not written: %s", path.name, error)
            self._written[tp] = boot_clock(), -1
            return False
        self._written[tp] = boot_clock(), kept.nexts[0]
        return True


def _image(lane: Lane) -> Kept | None:
    """None unless everything this lane has done is durable, so that its memory is what the topic says up to the sure offset."""
    flow = lane.flow
    if flow is None or not flow.state_topic or lane.work is None or not lane.ready or not lane.clean or not lane.ids:
        return None
    image = lane.work.image()
    if image is None:
        return None
    return Kept(image, lane.ids, tuple(lane.sure.get(topic, 0) for topic in (flow.state_topic, *flow.revision_topics)), boot_clock(), lane.work)
