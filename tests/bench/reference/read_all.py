"""The floor of a restore: bare aiokafka reads every record of these topics once, decodes nothing and keeps the last value of each key.

Usage: python -m tests.bench.reference.read_all BOOTSTRAP PART OF TOPIC... (of each topic's partitions every OF-th, from PART on); prints the bytes read.
"""
from __future__ import annotations

import asyncio
import sys

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from agents.places import places


async def main(bootstrap: str, part: int, of: int, *topics: str) -> int:
    """Bytes of the values."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
                                max_partition_fetch_bytes=4 << 20, fetch_max_wait_ms=100)
    await consumer.start()
    try:
        mine = [tp for tp in await places(consumer, topics) if tp.partition % of == part]
        consumer.assign(mine)
        ends = await consumer.end_offsets(mine)
        await consumer.seek_to_beginning(*mine)
        last: dict[TopicPartition, dict[bytes | None, bytes | None]] = {tp: {} for tp in mine}
        size, left = 0, {tp for tp in mine if ends[tp] > 0}
        while left:
            for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                kept = last[tp]
                for record in records:
                    kept[record.key] = record.value
                    size += len(record.value or b"")
            left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
        return size
    finally:
        await consumer.stop()


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])))
