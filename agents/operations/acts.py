"""Sends an act of an operator and follows it until it has taken effect, or was refused."""
from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from agents.places import NotThere, ends
from streams.intake.routing import MASKED
from streams.kept import event_id, instant, micros
from topics import codec
from topics.codec import Refused
from topics.events.internal import MaskFacts
from topics.events.operations import FeedRetracted, OperationsEvent, OperatorAct
from topics.events.outputs import BatchOutcomes, RefusalNotice
from topics.facts import DAY
from topics.registry import ACTS, Registry, outcomes_topic

EFFECT_SECONDS_MAX: Final = 60.0
LATEST: Final = outcomes_topic("intake")
LOOK_BACK: Final = 8
"""Records before the end, of which some may be no batch but a transaction's marker."""


class ActRefused(Exception):
    """Intake does not take the act: the text says what is wrong with it."""


class NoEffectYet(Exception):
    """The act is in its topic, and no intake has taken it: it will, when one runs."""


def operator_of(registry: Registry, party: str) -> str:
    """The operators' party that acts: the only one of the registry, or the one named. Raises ActRefused."""
    known = sorted(p.id for p in registry.parties.values() if p.role == "operations")
    if party and party not in known:
        raise ActRefused(f"{party} is no party of operators; the registry has {', '.join(known) or 'none'}")
    if not party and len(known) != 1:
        raise ActRefused(f"say who acts with --as: the registry has {', '.join(known) or 'no party of operators'}")
    return party or known[0]


def act_id(letter: str) -> str:
    """An id that no other act has."""
    return f"{letter}-{uuid.uuid4().hex[:12]}"


class Following:
    """Where topics ended before the act was sent: whatever it causes stands behind."""

    def __init__(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> None:
        self.consumer, self.ends = consumer, ends

    @classmethod
    async def begin(cls, consumer: AIOKafkaConsumer, topics: Iterable[str]) -> Following:
        """Raises ActRefused when a topic is missing."""
        try:
            return cls(consumer, await ends(consumer, topics))
        except NotThere as missing:
            raise ActRefused(str(missing)) from missing

    async def until(self, topics: Iterable[str], seen: Any, seconds: float) -> bool:
        """Read what came since, until `seen(record)` was true in every partition of one of these topics. False when the time is over."""
        left = {tp for tp in self.ends if tp.topic in set(topics)}
        self.consumer.assign(sorted(left))
        for tp in left:
            self.consumer.seek(tp, self.ends[tp])
        end = time.monotonic() + seconds
        while left and time.monotonic() < end:
            for tp, records in (await self.consumer.getmany(timeout_ms=200)).items():
                if any(seen(record) for record in records):
                    left.discard(tp)
        return not left


async def carry_out(act: OperatorAct, registry: Registry, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, seconds: float = EFFECT_SECONDS_MAX) -> None:
    """Send the act and wait until it stands among the acts, a retraction in every partition of every fold concerned.

    Raises ActRefused with intake's own words, NoEffectYet.
    """
    party = registry.parties[act.source]
    following = await Following.begin(consumer, (ACTS, party.refusals, *(MASKED if isinstance(act, FeedRetracted) else ())))
    await producer.send_and_wait(party.inbound, codec.encode(act), key=act.id.encode())
    refusals: list[RefusalNotice] = []

    def told(record: Any) -> bool:
        if record.topic == party.refusals:
            notice: RefusalNotice = codec.decode(record.value, RefusalNotice)
            if notice.message_id == act.id:
                refusals.append(notice)
            return bool(refusals)
        return record.value is not None and _is(record.value, act)

    end = time.monotonic() + seconds
    while not refusals and not await following.until((ACTS,), told, 1.0):
        if await following.until((party.refusals,), told, 0.5):
            break
        if time.monotonic() > end:
            raise NoEffectYet(f"{act.id} is in {party.inbound}, and no worker with the stage intake has taken it within {seconds:.0f} s. It will when one "
                              "runs; do not send it again")
    if refusals:
        said = refusals[0]
        raise ActRefused(f"{said.code} {said.path}: {said.value} {said.reason}".strip())
    if isinstance(act, FeedRetracted) and not await following.until(MASKED, lambda record: _masks(record, act), seconds):
        raise NoEffectYet(f"{act.id} was accepted, and is not in every partition of {', '.join(MASKED)} yet")


def _is(value: bytes, act: OperatorAct) -> bool:
    try:
        found: OperatorAct = codec.decode(value, OperationsEvent)
    except Refused:
        return False
    return event_id(found) == event_id(act)


def _masks(record: Any, act: FeedRetracted) -> bool:
    if record.key != b"*" or b'"source.masked"' not in (record.value or b""):
        return False
    mask: MaskFacts = codec.decode(record.value, MaskFacts)
    return (mask.source, mask.record, mask.version) == (act.feed, act.record, act.version)


async def railclears_now(consumer: AIOKafkaConsumer, wall: datetime) -> datetime:
    """Now, as railclear counts: the machine's clock, unless intake lately went by one that is days away from it (a demo's)."""
    tp = TopicPartition(LATEST, 0)
    consumer.assign([tp])
    end = (await consumer.end_offsets([tp]))[tp]
    if end == 0:
        return wall
    consumer.seek(tp, max(0, end - LOOK_BACK))
    at = 0
    while await consumer.position(tp) < end:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            at = max([at, *(codec.decode(record.value, BatchOutcomes).at for record in records if record.value is not None)])
    return instant(at) if at and abs(at - micros(wall)) > DAY else wall


async def acts_of(consumer: AIOKafkaConsumer) -> list[OperatorAct]:
    """The latest act of each subject, by time."""
    tp = TopicPartition(ACTS, 0)
    consumer.assign([tp])
    await consumer.seek_to_beginning(tp)
    end = (await consumer.end_offsets([tp]))[tp]
    found: dict[bytes, OperatorAct] = {}
    while await consumer.position(tp) < end:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                if record.value is not None:
                    found[record.key or b""] = codec.decode(record.value, OperationsEvent)
    return sorted(found.values(), key=lambda act: (act.event_time, act.id))
