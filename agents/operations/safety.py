"""Whether the loss of a broker could lose states that were acknowledged: asked by a running worker, told to people, never a reason to stop.

`railclear topics apply` sets what is safe. In an emergency an operator may lower it on purpose, with one broker left; a worker that then refused to start
would turn a risk into an outage.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError as ClientError
from kafka.errors import KafkaError

from agents import provisioning
from agents.provisioning import ProvisioningError
from agents.threads import asked_apart
from agents.transport import census
from topics import codec
from topics.events.outputs import Alert

log = logging.getLogger(__name__)

EVERY_S: Final = 600.0
SEND_S: Final = 30.0
NAME: Final = "TopicsUnsafe"
SHOWN_MAX: Final = 10

EXPECTED: Final = (KafkaError, ProvisioningError, OSError, ValueError)
"""A cluster that does not answer, or not this principal. Whatever else it is, the log has all of it."""

Look = Callable[[], Mapping[str, str]]
Tell = Callable[[str], Awaitable[None]]


def look_at(client: Mapping[str, Any], topics: Iterable[str]) -> Mapping[str, str]:
    """Topics with replicas enough, and what is unsafe about each; empty: nothing. Raises KafkaError, ProvisioningError, OSError, ValueError."""
    asked = census.admin(client)
    try:
        return provisioning.unsafe(asked, topics)
    finally:
        asked.close()


async def watch(look: Look, tell: Tell, every_s: float = EVERY_S) -> None:
    """Look now and again; tell at first and whenever it is another answer. Ends by cancellation only. Where no topic has replicas enough nothing is told."""
    said: str | None = None
    while True:
        try:
            found = await asked_apart(look, "safety")
            faults = [f"{topic}: {fault}" for topic, fault in sorted(found.items()) if fault]
            now = "; ".join([*faults[:SHOWN_MAX], *([f"and {len(faults) - SHOWN_MAX} more"] if len(faults) > SHOWN_MAX else [])])
            if found and now != said:
                if now:
                    log.warning("the loss of a broker may lose acknowledged states: %s; railclear topics apply mends it", now)
                await tell(now)
                said = now
        except Exception as error:                          # clients have errors of many kinds, and none of them may end a worker that works
            log.warning("whether the loss of a broker could lose states is not known (railclear topics diff shows it): %s", str(error) or repr(error),
                        exc_info=None if isinstance(error, EXPECTED) else error)
        await asyncio.sleep(every_s)


def alert_of(group: str, faults: str, at: int) -> Alert:
    """What people are told: open with the faults, resolved without."""
    return Alert(key=f"{NAME}/{group}", name=NAME, severity="warning", state="open" if faults else "resolved", seq=at, at=at, detail=faults, runbook=NAME)


async def send(client: Mapping[str, Any], topic: str, alert: Alert) -> None:
    """Write it; one that cannot be written is logged."""
    producer = AIOKafkaProducer(acks="all", **client)
    try:
        async with asyncio.timeout(SEND_S):
            await producer.start()
            await producer.send_and_wait(topic, codec.encode(alert), key=alert.key.encode())
    except (ClientError, TimeoutError, OSError) as error:
        log.warning("the alert %s is not sent: %r", alert.key, error)
    finally:
        await producer.stop()
