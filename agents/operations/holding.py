"""Which inbound topics a worker must let wait: read from the acts of operators, before the first record and ever after."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition

from agents.transport.fatal import Refuses
from streams.kept import micros
from topics import codec
from topics.codec import Refused
from topics.events.operations import FeedPaused, InputDrained, OperationsEvent, OperatorAct
from topics.registry import ACTS, Registry

log = logging.getLogger(__name__)
POLL_MS = 200
"""How soon an act is seen at the latest, when the broker has it."""


def held_topics(acts: Iterable[OperatorAct], registry: Registry) -> frozenset[str]:
    """Inbound topics whose records wait, by the latest act about each feed and about all input. Operators' own topics never wait. Pure."""
    acts = sorted(acts, key=lambda act: (act.event_time, act.id))
    paused = {act.feed: act.paused for act in acts if isinstance(act, FeedPaused)}
    draining = [act.draining for act in acts if isinstance(act, InputDrained)][-1:] == [True]
    return frozenset(party.inbound for party in registry.parties.values() if party.role != "operations" and (draining or paused.get(party.id)))


class Holding:
    """The latest act of each subject, and what follows from it. `topics` is replaced in place: flows hold on to it."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.acts: dict[str, OperatorAct] = {}
        self.topics: set[str] = set()
        self.draining = False
        self.draining_since = 0
        """Microseconds UTC, by the act; 0: input flows."""

    def take(self, key: str, value: bytes | None) -> None:
        """One record of the acts' topic."""
        if value is None:
            self.acts.pop(key, None)
        else:
            try:
                act: OperatorAct = codec.decode(value, OperationsEvent)
            except Refused as refused:  # written by a newer version: what it means is for newer workers
                log.error("an act of an operator under %s cannot be read: %s", key, refused)
                return
            held = self.acts.get(key)
            if held is not None and (act.event_time, act.id) < (held.event_time, held.id):  # a former owner of the operators' topic wrote late
                return
            self.acts[key] = act
        now = held_topics(self.acts.values(), self.registry)
        if now != self.topics:
            log.warning("records of %d inbound topics wait, by an operator's act: %s", len(now), ", ".join(sorted(now)[:10]) or "none")
        self.topics.difference_update(self.topics - now)
        self.topics.update(now)
        drain = self.acts.get("drain")
        self.draining = isinstance(drain, InputDrained) and drain.draining
        self.draining_since = micros(drain.event_time) if isinstance(drain, InputDrained) and drain.draining else 0


async def follow(holding: Holding, bootstrap: str, security: Mapping[str, Any], caught_up: asyncio.Event | None = None) -> None:
    """Read the acts from the first to the last, set `caught_up`, and go on for ever. Ends by cancellation, an error of Kafka's, or Refuses (no right to)."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
                                isolation_level="read_committed", **security)
    await consumer.start()
    try:
        tp = TopicPartition(ACTS, 0)
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        while True:
            if caught_up is not None and not caught_up.is_set() and await consumer.position(tp) >= end:
                caught_up.set()
            for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    holding.take((record.key or b"").decode("utf-8", "replace"), record.value)
    except TopicAuthorizationFailedError as error:
        raise Refuses(f"READ on {ACTS} is not granted: what operators have paused would be read all the same") from error
    finally:
        await consumer.stop()


async def catch_up(holding: Holding, bootstrap: str, security: Mapping[str, Any]) -> None:
    """Read the acts that there are: before a worker takes its first record."""
    there = asyncio.Event()
    reading = asyncio.ensure_future(follow(holding, bootstrap, security, there))
    waiting = asyncio.ensure_future(there.wait())
    try:
        await asyncio.wait((reading, waiting), return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
    finally:
        for task in (reading, waiting):
            task.cancel()
        await asyncio.gather(reading, waiting, return_exceptions=True)
