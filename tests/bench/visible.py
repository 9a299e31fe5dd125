"""What a reader of committed records can see: the last stable offset of each partition beside its end, looked at again and again.

A transaction that is open holds the last stable offset of every partition that it has written to; whoever reads committed records only gets nothing beyond
it, neither of that transaction nor of any other.
"""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.protocol.consumer.offsets import IsolationLevel

LOOK_S = 0.02
Offsets = Mapping[TopicPartition, int]


class Stalls:
    """For how long the last stable offset of a partition has stood while records lay behind it."""

    def __init__(self) -> None:
        self.longest = 0.0
        """Seconds, of any partition."""
        self._since: dict[TopicPartition, tuple[int, float]] = {}

    def look(self, stable: Offsets, ends: Offsets, at: float) -> None:
        """`ends` were asked for before `stable`: what is committed in between counts as seen."""
        for tp, end in ends.items():
            offset = stable.get(tp, 0)
            if end <= offset:
                self._since.pop(tp, None)
            elif tp not in self._since or self._since[tp][0] != offset:
                self._since[tp] = offset, at
            else:
                self.longest = max(self.longest, at - self._since[tp][1])

    @property
    def held(self) -> frozenset[TopicPartition]:
        """Partitions that have records now which no reader of committed ones gets."""
        return frozenset(self._since)


def offsets(admin: Any, parts: Iterable[TopicPartition]) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """(last stable offsets, ends); the ends first."""
    wanted = dict.fromkeys(parts, OffsetSpec.LATEST)
    ends = admin.list_partition_offsets(wanted)
    stable = admin.list_partition_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED)
    return {tp: found.offset for tp, found in stable.items()}, {tp: found.offset for tp, found in ends.items()}


class Watch:
    """Looks at these partitions until it is left. `opened`: told once, when records lie behind a last stable offset for the first time."""

    def __init__(self, bootstrap: str, parts: Iterable[TopicPartition], opened: Callable[[], None] | None = None) -> None:
        self.stalls = Stalls()
        self._parts, self._opened = list(parts), opened
        self._admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=20_000)
        self._left = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left.set()
        self._thread.join()
        self._admin.close()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._left.wait(LOOK_S):
                stable, ends = offsets(self._admin, self._parts)
                self.stalls.look(stable, ends, time.monotonic())
                if self.stalls.held and (told := self._opened) is not None:
                    self._opened = None
                    told()
        except Exception as error:  # noqa: BLE001 - it belongs to whoever leaves the watch
            self._error = error
