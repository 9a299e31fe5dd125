"""Records as they are read: aiokafka's own have eleven fields, and making one costs as much as all the rest of reading it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.structs import TopicPartition


class Fetched(msgspec.Struct, frozen=True, gc=False):
    """A record as it was read (`streams.effects.Record`)."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def _fetched(tp: TopicPartition, record: Any) -> Fetched:
    headers = record.headers
    return Fetched(tp.topic, tp.partition, record.offset, record.timestamp, record.key, record.value, tuple(headers) if headers else ())


def read_lightly(fetcher: Any, made: Callable[[TopicPartition, Any], Any] = _fetched) -> None:
    """Let aiokafka make `Fetched`, or what `made` makes, of the records of every answer."""
    process = fetcher._proc_fetch_request

    async def processed(assignment: Any, node_id: int, request: Any) -> bool:
        found: bool = await process(assignment, node_id, request)
        for result in fetcher._records.values():
            if type(result) is FetchResult and result._partition_records is not None:
                result._partition_records._consumer_record = made
        return found

    fetcher._proc_fetch_request = processed
