"""A retired shipment comes alive again: every fact that the ledger holds of it is sent to CLEARANCE once more, with the word that it is reopened."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.partitioner import murmur2

from agents.places import places
from agents.runner.cells import unpack
from streams.clearance.retire import REOPEN
from streams.clearance.state import Shipment, decode
from topics.events.internal import ShipmentFacts
from topics.facts import EVERYWHERE, Fact, Rank, merge

PER_MESSAGE: Final = 500
REOPENED: Final = "reopened"
"""Head of the fact that counts as the shipment's newest word: without one it would retire again at once."""


def messages(shipment: str, facts: Iterable[Fact], act: str, at: int, operator: str) -> Iterator[ShipmentFacts]:
    """What is sent: the highest fact of every slot. The first message alone makes the stub a shipment again. Pure."""
    word = Fact(side=EVERYWHERE, key=(REOPENED,), at=at, source=operator, rank=Rank.SENSOR, record=act, id=f"{operator}/operations.reopen/{act}")
    held = [fact for _, fact in sorted(merge({}, facts).items())]
    told = [word, *held]
    for start in range(0, len(told), PER_MESSAGE):
        yield ShipmentFacts(shipment=shipment, facts=tuple(told[start : start + PER_MESSAGE]), origin=f"{REOPEN}:{act}")


def later(shipment: str, told: Iterable[Fact], facts: Iterable[Fact], act: str) -> Iterator[ShipmentFacts]:
    """What `facts` say beyond what was told: they were read while the act was on its way, for a stub that set them aside. Pure."""
    known = merge({}, told)
    more = [fact for slot, fact in sorted(merge({}, facts).items()) if known.get(slot) != fact and fact.key != (REOPENED,)]
    for start in range(0, len(more), PER_MESSAGE):
        yield ShipmentFacts(shipment=shipment, facts=tuple(more[start : start + PER_MESSAGE]), origin=f"{REOPEN}:{act}")


async def kept(consumer: AIOKafkaConsumer, shipment: str) -> Shipment | None:
    """The shipment as CLEARANCE keeps it now; None = it knows nothing of it any more. Raises NotThere."""
    value = await latest(consumer, "clearance.state", shipment)
    return None if value is None else decode(unpack(value)[1])


async def latest(consumer: AIOKafkaConsumer, topic: str, key: str) -> bytes | None:
    """The last record of a key in a topic whose partition follows from the key. Raises NotThere."""
    parts = await places(consumer, [topic])
    tp = parts[(murmur2(key.encode()) & 0x7FFFFFFF) % len(parts)]
    consumer.assign([tp])
    await consumer.seek_to_beginning(tp)
    end: int = (await consumer.end_offsets([tp]))[tp]
    found: bytes | None = None
    while await consumer.position(tp) < end:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                if record.key == key.encode():
                    found = record.value
    return found
