"""Plays simulated messages to Kafka at their time."""
from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from aiokafka import AIOKafkaProducer

from streams.simulate.pace import Paced

GATHER_S = 0.01
"""Messages are sent so much after their time, those due until then together; never before it, or they would be from the future."""
IN_FLIGHT_MAX = 2000


class Driver:
    """Sends each message when its time has come, in order per topic partition; counts what it sent."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.producer = producer
        self.sent = 0
        self.dead_letters_expected = 0
        self.journeys: set[int] = set()
        """Simulated journeys that have begun: each is one train after another, renumbered at every border."""
        self.at = 0
        """Simulated instant of the last message sent, microseconds UTC."""
        self.behind_s = 0.0
        """How late the last message was sent."""
        self.finished = False

    async def play(self, messages: Iterator[Paced], begin: float, until: float) -> None:
        """`begin`: monotonic instant of offset 0; messages with an offset after `until` seconds are not sent."""
        waiting: set[Any] = set()
        for paced in messages:
            if paced.offset > until:
                break
            delay = begin + paced.offset - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay + GATHER_S)
            self.behind_s = max(0.0, -delay)
            message = paced.sent
            key = None if message.key is None else message.key.encode()
            waiting.add(await self.producer.send(message.topic, message.value, key=key))
            self.sent += 1
            self.dead_letters_expected += message.expect == "dead_letter"
            self.at = message.at
            if message.train >= 0:
                self.journeys.add(message.train)
            if len(waiting) >= IN_FLIGHT_MAX:
                waiting = await _settled(waiting)
        await self.producer.flush()
        await _settled(waiting, all_of_them=True)
        self.finished = True


async def _settled(waiting: set[Any], *, all_of_them: bool = False) -> set[Any]:
    """Wait for acknowledgements; a failed send goes up."""
    done, pending = await asyncio.wait(waiting, return_when=asyncio.ALL_COMPLETED if all_of_them else asyncio.FIRST_COMPLETED) if waiting else (set(), set())
    for future in done:
        future.result()
    return pending
