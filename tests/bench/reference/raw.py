"""The practical limit in Python: aiokafka's getmany, msgspec decodes, a dict keeps; offsets are committed, nothing else is durable.

Usage: python -m tests.bench.reference.raw BOOTSTRAP TOPIC GROUP
"""
from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer

COMMIT_S = 0.5


async def main(bootstrap: str, topic: str, group: str) -> None:
    """Until killed."""
    decoder = msgspec.json.Decoder()
    last: dict[bytes, Any] = {}
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest",
                                max_partition_fetch_bytes=4 << 20, fetch_max_wait_ms=100)
    await consumer.start()
    loop = asyncio.get_running_loop()
    committed = loop.time()
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=200, max_records=5000)).values():
                for record in records:
                    last[record.key] = decoder.decode(record.value)
            if loop.time() - committed > COMMIT_S:
                await consumer.commit()
                committed = loop.time()
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
