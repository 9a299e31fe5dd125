"""Reads the log from outside: what lies in each partition, committed, in order."""
from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

from agents.places import ends
from streams.effects import LogRecord

READ_S: Final = 240.0


class Logs:
    """Records by topic and partition, in order of offset. `ends`: where each partition ends, markers of transactions included."""

    def __init__(self) -> None:
        self.parts: dict[tuple[str, int], list[LogRecord]] = {}
        self.ends: dict[tuple[str, int], int] = {}

    def topic(self, name: str) -> Iterator[LogRecord]:
        """All of a topic, partition by partition."""
        for (topic, _), records in sorted(self.parts.items()):
            if topic == name:
                yield from records

    def add(self, record: LogRecord) -> None:
        self.parts.setdefault((record.topic, record.partition), []).append(record)


async def read(bootstrap: str, client: dict[str, Any], topics: Iterable[str]) -> Logs:
    """Every record of these topics up to their present end, as a reader sees it that waits for transactions. Raises TimeoutError."""
    logs = Logs()
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
                                isolation_level="read_committed", fetch_max_wait_ms=50, max_partition_fetch_bytes=8 << 20, **client)
    try:
        await consumer.start()
        wanted = await ends(consumer, sorted(topics))
        logs.ends = {(tp.topic, tp.partition): end for tp, end in wanted.items()}
        left = {tp: end for tp, end in wanted.items() if end > 0}
        consumer.assign(list(left))
        limit = time.monotonic() + READ_S
        while left:
            for records in (await consumer.getmany(timeout_ms=200, max_records=5000)).values():
                for r in records:
                    if r.offset < logs.ends[r.topic, r.partition]:
                        logs.add(LogRecord(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers)))
            left = {tp: end for tp, end in left.items() if await consumer.position(tp) < end}
            if time.monotonic() > limit:
                raise TimeoutError(f"{len(left)} partitions could not be read to their end, e.g. {next(iter(left))}: is a transaction left open?")
            await asyncio.sleep(0)
    finally:
        await consumer.stop()
    return logs
