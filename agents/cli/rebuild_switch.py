"""Puts states made anew in place of those that differ, between two acts of the operators: what is meant, and that it is done.

Both are acknowledged by Kafka, the first one before the first state is written. Nobody waits until intake has taken them: workers stand still, often those
with intake among them. A switch that dies in between leaves the first act, and the next one ends what it began, under the same record.
"""
from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, Literal

import msgspec
from aiokafka.errors import KafkaError

from agents.cli.common import CliError
from agents.cli.operations import Desk
from agents.operations import everybody
from agents.operations.acts import act_id, acts_of
from agents.places import places
from agents.transport.origin import INPUT_KEY, InputIdentity, record_of
from streams.fold import Fold
from topics import codec
from topics.codec import Refused
from topics.events.operations import FoldRebuilt, OperationsEvent


class Put(msgspec.Struct, frozen=True):
    """What a switch writes."""

    fold: Fold[Any, Any]
    words: list[everybody.Record]
    keys: list[tuple[str, bytes]]
    nameless: list[int]
    """Partitions that do not say what they were made from."""

    @property
    def something(self) -> bool:
        return bool(self.words or self.keys or self.nameless)


async def unfinished(d: Desk, fold: str) -> FoldRebuilt | None:
    """The act of a switch of this fold that was begun and, as far as anybody has said, not done. It may not have been taken by intake yet, so the operators'
    own topics are read as well. Raises NotThere, KafkaError."""
    latest: dict[str, FoldRebuilt] = {}
    for act in (*await acts_of(d.consumer), *await _said(d)):
        if isinstance(act, FoldRebuilt) and act.fold == fold:
            name = act.record or act.id
            latest[name] = max(latest.get(name, act), act, key=lambda a: a.version)
    return max((act for act in latest.values() if act.begun), key=lambda a: a.event_time, default=None)


async def _said(d: Desk) -> list[FoldRebuilt]:
    """What the operators' parties have said of rebuilding, taken or not, as long as their topics keep it."""
    parts = await places(d.consumer, [p.inbound for p in d.registry.parties.values() if p.role == "operations"])
    d.consumer.assign(parts)
    await d.consumer.seek_to_beginning(*parts)
    ends, found = await d.consumer.end_offsets(parts), list[FoldRebuilt]()
    while any([await d.consumer.position(tp) < end for tp, end in ends.items()]):
        for records in (await d.consumer.getmany(timeout_ms=500)).values():
            for record in records:
                try:
                    act: Any = codec.decode(record.value or b"", OperationsEvent)
                except Refused:                         # intake refuses it, too
                    continue
                found += [act] if isinstance(act, FoldRebuilt) else []
    return found


async def carry_out(d: Desk, put: Put, begun: FoldRebuilt | None, said: dict[str, Any]) -> None:
    """The act, what concerns everybody, the keys, the act again. `begun`: the act of a switch that was cut short, which this one ends.

    A state topic that was lost and made anew does not say its input, and workers refuse it. So that is said after the states, without an id, which they add: a
    switch that was cut short leaves a topic that is still refused, and the next one makes it whole. Raises CliError: exit code 2 when the act cannot be said
    like this (nothing was written), 1 when Kafka failed in between.
    """
    started, name = time.monotonic(), begun.record if begun else act_id("B")
    fold: Literal["clearance", "documents"] = "clearance" if put.fold.name == "clearance" else "documents"
    counts: dict[str, Any] = {"keys": len(put.keys), "everybody": len(put.words), "partitions": len(put.nameless)}
    if begun is not None and not put.something:         # only the last word was missing: it counts what that one meant to do
        counts = {"keys": begun.keys, "everybody": begun.everybody, "partitions": begun.partitions}
    act = FoldRebuilt(source=d.party, event_time=d.now, id=act_id("B") if begun else name, record=name, version=begun.version + 1 if begun else 1, begun=True,
                      fold=fold, **counts, **said)
    try:
        if put.something:
            await _say(d, act)
            await _write(d, put)
            act = msgspec.structs.replace(act, id=act_id("B"), version=act.version + 1)
        await _say(d, msgspec.structs.replace(act, begun=False, event_time=d.now + timedelta(seconds=time.monotonic() - started)))
    except KafkaError as error:
        raise CliError(f"the switch {name} was cut short ({error or type(error).__name__}): run it again", 1) from error


async def _say(d: Desk, act: FoldRebuilt) -> None:
    """Hand the act to Kafka. Acts of one record go to one partition: intake takes them in this order."""
    value = codec.encode(act)
    try:
        codec.decode(value, OperationsEvent)
    except Refused as refused:                          # intake would refuse it later, when nobody waits for its answer
        raise CliError(f"refused: {refused}") from refused
    await d.producer.send_and_wait(d.registry.parties[act.source].inbound, value, key=act.record.encode())


async def _write(d: Desk, put: Put) -> None:
    topic = put.fold.state_topic
    for partition, key, value in put.words:
        await d.producer.send_and_wait(topic, value, key=key.encode(), partition=partition)
    for name, value in put.keys:
        await d.producer.send_and_wait(topic, value, key=name.encode())
    for partition in put.nameless:
        await d.producer.send_and_wait(topic, record_of(InputIdentity(put.fold.input_topic, "")), key=INPUT_KEY, partition=partition)
