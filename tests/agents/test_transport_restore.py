"""The consumer of a restore: made anew when it gives no sign, given up with its lane, and a transaction that is never answered ends the process."""
from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, OffsetOutOfRangeError, TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition

from agents.transport import batch as batch_module
from agents.transport import lane as lane_module
from agents.transport import restore as restore_module
from agents.transport.batch import submit
from agents.transport.lane import boot_clock
from agents.transport.restore import _from, _Reader
from streams.effects import Ack
from tests.agents.test_transport_lane import Ends, a_lane, flow

STATE = TopicPartition("state", 0)


class Consumers:
    """Stands for AIOKafkaConsumer: each one made does the next of these at its first question; the last one answers all."""

    def __init__(self, *faults: Any) -> None:
        self.faults, self.made, self.stopped = list(faults), 0, 0
        self.log = [(b"k%d" % number, b"v") for number in range(7)]

    def __call__(self, **_: Any) -> Any:
        self.made += 1
        return Consumer(self, self.faults.pop(0) if self.faults else None)


class Consumer:
    def __init__(self, of: Consumers, fault: Any) -> None:
        self.of, self.fault, self.at = of, fault, 0
        self._fetcher = SimpleNamespace(_proc_fetch_request=None, _records={})

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.of.stopped += 1

    def assign(self, partitions: Any) -> None: ...

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.at = offset

    async def getmany(self, timeout_ms: int, max_records: int) -> Any:
        found = self.of.log[self.at : self.at + 2]
        if self.at >= 2 and self.fault is not None:         # in the middle
            fault, self.fault = self.fault, None
            if fault == "hangs":
                await asyncio.Event().wait()
            if fault == "stands":
                self.fault = fault
                await asyncio.sleep(0.01)
                return {}
            raise fault
        self.at += len(found)
        return {STATE: [(key, value, ()) for key, value in found]}

    async def position(self, tp: TopicPartition) -> int:
        return self.at


async def read(reader: _Reader, lane: Any) -> list[bytes]:
    return [key async for records in _from(reader, STATE, 0, 7, lane) for key, _, _ in records if key is not None]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_module, "SIGN_S", 0.1)
    monkeypatch.setattr(restore_module, "AGAIN_S", 0.0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", ["hangs", "stands", KafkaConnectionError("died"), OffsetOutOfRangeError({STATE: 2})])
async def test_a_consumer_that_gives_no_sign_is_made_anew_and_reads_on_where_it_was(monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    consumers = Consumers(fault, fault)
    monkeypatch.setattr(restore_module, "AIOKafkaConsumer", consumers)
    reader = _Reader({})
    assert await read(reader, a_lane()) == [b"k%d" % number for number in range(7)], "each record once, in order"
    assert (consumers.made, consumers.stopped) == (3, 2)
    await reader.close()
    assert consumers.stopped == 3


@pytest.mark.usefixtures("quick")
async def test_what_another_consumer_would_not_mend_is_raised_and_a_lane_that_was_given_up_stops_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    consumers = Consumers(TopicAuthorizationFailedError("state"))
    monkeypatch.setattr(restore_module, "AIOKafkaConsumer", consumers)
    with pytest.raises(TopicAuthorizationFailedError):
        await read(_Reader({}), a_lane())
    consumers = Consumers(*["hangs"] * 1000)
    monkeypatch.setattr(restore_module, "AIOKafkaConsumer", consumers)
    lane = a_lane()
    reading = asyncio.ensure_future(read(_Reader({}), lane))
    await asyncio.sleep(0.15)
    assert not reading.done()
    lane.open = False
    with pytest.raises(TimeoutError, match="was given up"):
        await reading
    assert consumers.stopped == consumers.made


@pytest.mark.parametrize("hangs", ["begin_transaction", "send_offsets_to_transaction", "commit_transaction"])
async def test_a_transaction_that_is_never_answered_ends_the_process(monkeypatch: pytest.MonkeyPatch, hangs: str) -> None:
    """aiokafka waits for its commit on a shielded future, without a limit of its own."""
    said: list[str] = []
    monkeypatch.setattr(batch_module, "fatal", lambda why, error: said.append(f"{why}: {error!r}"))
    monkeypatch.setattr(batch_module, "PUBLISH_TIMEOUT_S", 0.1)

    async def answers(*_: Any) -> None: ...

    async def never(*_: Any) -> None:
        await asyncio.shield(asyncio.get_running_loop().create_future())

    calls = ("begin_transaction", "send_offsets_to_transaction", "commit_transaction")
    lane, transacting = a_lane(), flow()
    transacting.exactly_once = True
    lane.producer = SimpleNamespace(**{name: never if name == hangs else answers for name in calls})
    lane.deliver(5, 5)
    submit(Ends(), transacting, lane, (Ack("in", 0, 5),))  # type: ignore[arg-type]
    await asyncio.wait_for(lane.tail, 5)
    assert said == ["publish TopicPartition(topic='in', partition=0): TimeoutError()"]
    assert (lane.next, lane.pending) == (None, {5: False}), "not acknowledged"


def test_the_clock_of_leases_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLOCK_MONOTONIC stands then, and a lease that is long over would look fresh."""
    instants = {time.CLOCK_BOOTTIME: 5_000.0, time.CLOCK_MONOTONIC: 5.0}
    monkeypatch.setattr(lane_module.time, "clock_gettime", instants.__getitem__)
    assert boot_clock() == 5_000.0
