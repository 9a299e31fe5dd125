"""Has the ledger what the log held at a moment? Whoever counts or sends again from the ledger asks first: what it lacks would be missing without a word."""
from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from agents.ledger.queries import Ledger
from agents.operations.drain import unread
from agents.places import ends

ROUND_S: Final = 0.5

Lacking = Mapping[str, int]
"""Topic -> records that it holds and the ledger has not."""


async def lacking(
    consumer: AIOKafkaConsumer, ledger: Ledger, topics: Iterable[str], seconds: float, say: Callable[[Lacking], Any] = lambda _: None
) -> Lacking:
    """Wait until the ledger has everything that these topics hold *now*, at most so long; what it lacks then, by topic: nothing is well.

    `say` is told of every round in which something is lacking. Raises NotThere, aiokafka's errors, asyncpg's.
    """
    wanted, end = await ends(consumer, topics), time.monotonic() + seconds
    while True:
        at = {TopicPartition(*place): offset for place, offset in (await ledger.offsets()).items()}
        behind = await unread(consumer, wanted, at)
        wanted = {tp: wanted[tp] for tp in behind}      # what was there once stays there
        found = Counter[str]()
        for tp, records in behind.items():
            found[tp.topic] += records
        if not found:
            return {}
        say(found)
        if time.monotonic() >= end:
            return dict(found)
        await asyncio.sleep(ROUND_S)


def listed(found: Lacking) -> str:
    """For people: how many, of what."""
    return f"{sum(found.values())} records behind ({', '.join(f'{topic} {n}' for topic, n in sorted(found.items()))})"
