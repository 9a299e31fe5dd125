"""Sends simulated messages, with poison among them, whatever happens to the brokers; knows what was acknowledged, where."""
from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.simulate import Rates, Sent, SimOptions
from tests.sim.worlds import reference, world
from topics import codec
from topics.events.sites import RiskIndicator
from topics.events.trade import ShipmentDeclared
from topics.registry import inbound_topic, risk_party

POISON_EVERY: Final = 40
REQUEST_MS: Final = 150_000
"""Longer than any fault: a message that was sent is acknowledged at last, never given up."""
SHARE: Final = 0.65
"""Of a world's messages so many are sent: in its middle there are alerts that stay open, and sides that still wait."""
IN_FLIGHT_MAX: Final = 2_000
HOUR: Final = 3_600_000_000

POISON: Final = (
    b"\xff\xfe\x00poison", b"", b"{", b"null", b"[]", b'{"type":"train.position"', b'{"type":"nothing.known"}', b'{"type":"customs.notice","source":5}',
    b"[" * 5_000, b'{"type":"seal.event","id":"\\ud800"}', b"\x00" * 64,
)
"""What no stage can read."""


class Message(msgspec.Struct, frozen=True):
    """What is sent."""

    topic: str
    key: bytes | None
    value: bytes | None
    poison: bool = False


def options(trains: int) -> SimOptions:
    """A world of a few days with small trains, every kind of message, incidents and wrong bytes."""
    return SimOptions(trains=trains, containers_min=6, containers_max=8, position_minutes=120, speed_up=4, rates=Rates(wrong_bytes=0.01))


def messages(trains: int, seed: int) -> tuple[tuple[Message, ...], int]:
    """All that is sent, in order, and an instant of the simulated world after its end."""
    rng, played = random.Random(seed), world(options(trains), seed)
    found = [_plain(one) for one in played[: int(len(played) * SHARE)]]
    found = [one for sent, plain in zip(played, found, strict=False) for one in (plain, *_indicator(sent))]
    inbound = sorted({m.topic for m in found})
    for at in range(len(found) - 1, 0, -POISON_EVERY):
        value: bytes | None = rng.choice((*POISON, None))
        topic, key = rng.choice(inbound), rng.choice((None, b"", b"\xff", b"key"))
        found.insert(at, Message(topic, b"key" if key is None and value is None else key, value, poison=True))     # the client sends no record without both
    return tuple(found), played[-1].at + 24 * HOUR


def _indicator(sent: Sent) -> tuple[Message, ...]:
    """With a shipment's declaration: what an authority on its way knows against it, and nobody else may see."""
    if not isinstance(sent.event, ShipmentDeclared) or not sent.event.crossings:
        return ()
    authority, told = reference().crossings[sent.event.crossings[0]].a_authority, sent.event.event_time
    said = RiskIndicator(source=risk_party(authority), id=f"RISK-{sent.event.id}", event_time=told, authority=authority, valid_from=told,
                         valid_until=told + timedelta(days=400), containers=tuple(b.container for b in sent.event.containers), risk_class="R", score=0.9)
    return (Message(inbound_topic("risk", risk_party(authority)), None, codec.encode(said)),)


def _plain(sent: Sent) -> Message:
    return Message(sent.topic, None if sent.key is None else sent.key.encode(), sent.value, sent.expect == "dead_letter")


class Load:
    """`run` sends; `acknowledged` and `poison` are what must be in the log afterwards."""

    def __init__(self, bootstrap: str, client: dict[str, Any], what: Sequence[Message]) -> None:
        self.what = what
        self.acknowledged: dict[tuple[str, int, int], Message] = {}
        self.begun = 0.0
        """Monotonic seconds at the first message."""
        self.sent = self.retried = 0
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5, max_request_size=8 << 20,
                                          request_timeout_ms=REQUEST_MS, **client)

    @property
    def poison(self) -> set[tuple[str, int, int]]:
        return {place for place, message in self.acknowledged.items() if message.poison}

    async def start(self) -> None:
        await self._producer.start()

    async def run(self, seconds: float) -> None:
        """Evenly over `seconds`, in order; then wait for every acknowledgement."""
        self.begun = time.monotonic()
        waiting: set[asyncio.Task[None]] = set()
        for number, message in enumerate(self.what):
            delay = self.begun + seconds * number / len(self.what) - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            while len(waiting) >= IN_FLIGHT_MAX:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            future = await self._sent(message)
            waiting.add(asyncio.create_task(self._settle(future, message)))
            waiting = {task for task in waiting if not task.done() or task.exception() is not None}
            self.sent += 1
        await asyncio.gather(*waiting)

    async def _sent(self, message: Message) -> Any:
        while True:
            try:
                return await self._producer.send(message.topic, message.value, key=message.key)
            except KafkaError:  # no broker answered for so long that the buffer is full: the message has not been taken
                self.retried += 1
                await asyncio.sleep(0.5)

    async def _settle(self, future: Any, message: Message) -> None:
        meta = await future
        self.acknowledged[meta.topic, meta.partition, meta.offset] = message

    async def stop(self) -> None:
        """Without brokers the producer never ends by itself."""
        try:
            await asyncio.wait_for(self._producer.stop(), 10)
        except TimeoutError:
            pass
