"""What must come of the log: the pure folds run in memory over what the topics hold, in one process, without a fault."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from agents.intake import intake_process
from agents.runner.cells import Header, joined, unpack
from agents.runner.clock import Clock
from agents.runner.memory import Harness, SimulatedLog, Stateless
from streams.clearance import ClearanceFold
from streams.custody import CustodyFold
from streams.documents import DocumentsFold
from streams.effects import LogRecord, Send
from streams.fold import Fold
from streams.readiness import ReadinessFold
from streams.sources import SourcesFold
from streams.trains import TrainsFold
from tests.chaos.logs import Logs
from tests.sim.lastly import last_words
from tests.sim.system import essence
from tests.sim.worlds import reference, topics
from topics.events.outputs import ClearanceUpdate

PARTITIONS: Final = 4
FEW: Final = 300
"""Messages between two turns of the stages."""
SETTLED_US: Final = 5_000_000
"""After the last message: five times as long as READINESS waits between two words on a train."""
KEPT: Final[dict[str, tuple[str, ...]]] = {
    "trains": ("runs",),
    "custody": ("bindings", "runs", "terminal", "seals", "notices", "agencies", "limited"),
    "documents": ("own", "forwarded", "aliases", "covers", "canonical"),
    "clearance": ("facts", "limited"),
    "readiness": ("joined", "profile"),
    "sources": ("heard_at", "last_event", "known"),
}
"""Of a fold's state: what is a merge of its inputs, and so the same however the inputs were cut into batches and whenever the clock ticked."""

Side = tuple[str, str]


def folds() -> tuple[Fold[Any, Any], ...]:
    """Every fold."""
    return TrainsFold(), CustodyFold(), DocumentsFold(), ClearanceFold(), ReadinessFold(), SourcesFold()


def final_cells(records: Iterable[LogRecord]) -> dict[str, tuple[Header, bytes, bytes | None]]:
    """What a state topic says at the end, as a worker that restores it takes it: the highest input offset wins."""
    found: dict[str, tuple[Header, bytes]] = {}
    for record in records:
        key = (record.key or b"").decode()
        if record.value is None:
            found.pop(key, None)
            continue
        header, data = unpack(record.value)
        if key not in found or (found[key][0].offset, found[key][0].seq) <= (header.offset, header.seq):
            found[key] = header, data
    return joined(found)[0]


def merged(fold: Fold[Any, Any], cell: tuple[Header, bytes, bytes | None]) -> dict[str, Any]:
    """The part of a state that its inputs alone decide."""
    _, data, patch = cell
    state = fold.decode_state(data) if patch is None else fold.decode_patched(data, patch)
    return {name: getattr(state, name) for name in KEPT[fold.name]}


class GivenInput(SimulatedLog):
    """A log whose input topic holds what was read and takes nothing more: what the fold tells itself lies there already."""

    def __init__(self, given: str) -> None:
        super().__init__(PARTITIONS)
        self._given = given

    def append(self, send: Send) -> None:
        if send.topic != self._given:
            super().append(send)


def fold_alone(fold: Fold[Any, Any], logs: Logs, clock: Clock) -> dict[str, tuple[Header, bytes, bytes | None]]:
    """State of a fold after its input topic as it lies in the log."""
    log = GivenInput(fold.input_topic)
    last = 0
    for partition in range(PARTITIONS):
        for record in logs.parts.get((fold.input_topic, partition), []):
            log.log(fold.input_topic, partition).append(record)
            last = max(last, record.timestamp * 1000)
    log.now_us = last
    harness = Harness([fold], reference(), clock, log=log)
    harness.run()
    return final_cells(record for name in log.names() if name == fold.state_topic for record in log.topic(name))


def whole(logs: Logs, clock: Clock) -> dict[Side, tuple[object, ...]]:
    """The last word on everything after the outside messages in the order in which the brokers took them."""
    registry = topics()
    counts = {spec.name: spec.partitions for spec in registry.topics.values()}
    inbound = tuple(spec.name for spec in registry.inbound)
    taken = sorted((r for name in inbound for r in logs.topic(name)), key=lambda r: (r.timestamp, r.topic, r.partition, r.offset))
    log = SimulatedLog(PARTITIONS, now_us=taken[0].timestamp * 1000 if taken else 0, counts=counts)
    intake = Stateless("intake", inbound, intake_process(reference(), registry, clock))
    harness = Harness([intake, *folds()], reference(), clock, log=log)
    for number, record in enumerate(taken, 1):
        log.now_us = max(log.now_us, record.timestamp * 1000)
        harness.publish(record.topic, record.key, record.value, headers=record.headers, partition=record.partition)
        if number % FEW == 0:
            harness.run()
    harness.run()
    harness.tick(log.now_us + SETTLED_US)
    return last_said(log.names(), harness.topic)


def last_said(names: Iterable[str], topic: Callable[[str], Iterable[LogRecord]]) -> dict[Side, tuple[object, ...]]:
    """The essence of the last status of each shipment and side, and of the last word on every train, alert and restricted view."""
    last: dict[Side, ClearanceUpdate] = {}
    for record in topic("clearance.history"):
        if record.value is not None:
            update = msgspec.json.decode(record.value, type=ClearanceUpdate)
            if (update.shipment, update.side) not in last or update.revision > last[update.shipment, update.side].revision:
                last[update.shipment, update.side] = update
    return essence(last) | last_words(names, topic)
