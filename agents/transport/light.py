"""Records as they are read: aiokafka's own have eleven fields, and making one costs as much as all the rest of reading it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.structs import TopicPartition

from streams.effects import LogRecord


def _fetched(tp: TopicPartition, record: Any) -> LogRecord:
    headers = record.headers
    return LogRecord(tp.topic, tp.partition, record.offset, record.timestamp, record.key, record.value, tuple(headers) if headers else ())


def read_lightly(fetcher: Any, made: Callable[[TopicPartition, Any], Any] = _fetched) -> None:
    """Let aiokafka make `LogRecord`s, or what `made` makes, of the records of every answer."""
    process = fetcher._proc_fetch_request

    async def processed(assignment: Any, node_id: int, request: Any) -> bool:
        found: bool = await process(assignment, node_id, request)
        for result in fetcher._records.values():
            if type(result) is FetchResult and result._partition_records is not None:
                result._partition_records._consumer_record = made
        return found

    fetcher._proc_fetch_request = processed
