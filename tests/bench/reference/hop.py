"""The floor of a latency: bare aiokafka reads every record, sends it on as it is and commits, over so many topics one after the other.

Usage: python -m tests.bench.reference.hop BOOTSTRAP GROUP HOPS TOPIC... (the first hop reads these; hop n writes GROUP.n, which the next one reads)
"""
from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

COMMIT_S = 0.5


async def hop(bootstrap: str, group: str, sources: Sequence[str], target: str, producer: Any) -> None:
    """Until cancelled. What is committed was delivered, and nothing waits for a commit."""
    consumer = AIOKafkaConsumer(*sources, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="latest",
                                fetch_max_wait_ms=100)
    await consumer.start()
    loop = asyncio.get_running_loop()
    committed, waiting = loop.time(), list[Any]()
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    waiting.append(await producer.send(target, record.value, key=record.key))
            if loop.time() - committed > COMMIT_S:
                await asyncio.gather(*waiting)
                waiting.clear()
                await consumer.commit()
                committed = loop.time()
    finally:
        await consumer.stop()


async def main(bootstrap: str, group: str, hops: int, *topics: str) -> None:
    """All hops in this process, as a worker has all stages."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        sources = [topics, *([f"{group}.{n}"] for n in range(1, hops))]
        await asyncio.gather(*(hop(bootstrap, f"{group}-{n}", of, f"{group}.{n}", producer) for n, of in enumerate(sources, 1)))
    finally:
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:]))
