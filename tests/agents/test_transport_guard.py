"""What was handed to the producer in time is not sent when the lease is lost, and never once the membership is over."""
from __future__ import annotations

import asyncio
import signal
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from agents.transport import faust_plugin
from agents.transport.guard import Guard
from tests.agents.test_transport_lane import a_lane


class Sender:
    """As aiokafka's: sends a node's batches."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    async def _send_produce_req(self, node_id: int, batches: Any) -> None:
        self.sent.append(node_id)


class Lease:
    def __init__(self) -> None:
        self.held = True

    def __call__(self) -> bool:
        return self.held


async def until(done: Any) -> None:
    end = time.monotonic() + 5
    while not done():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def test_with_the_lease_requests_go_out_at_once_and_without_it_they_wait() -> None:
    lease, sender = Lease(), Sender()
    guard = Guard(lease)
    producer = SimpleNamespace(_sender=sender)
    for _ in range(3):                                   # asked for at every publication, guarded once
        assert guard.over(producer) is producer
    await sender._send_produce_req(1, {})
    assert sender.sent == [1]
    lease.held = False
    waiting = [asyncio.ensure_future(sender._send_produce_req(n, {})) for n in (2, 3)]
    await until(lambda: guard.held == 2)
    await asyncio.sleep(0.1)
    assert sender.sent == [1]
    lease.held = True
    await asyncio.gather(*waiting)
    assert (sorted(sender.sent), guard.held) == ([1, 2, 3], 0)
    assert guard.over(None) is None, "before the producer is there"


@pytest.mark.parametrize("held", [0, 1])
async def test_partitions_that_are_taken_away_while_requests_wait_end_the_process(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def fatal(why: str, error: BaseException | None = None) -> None:
        said.append(why)
        raise SystemExit(70)

    monkeypatch.setattr(faust_plugin, "fatal", fatal)
    consumer = faust_plugin.Consumer.__new__(faust_plugin.Consumer)
    guard = Guard(Lease())
    guard.held = held
    lane = a_lane()
    committed: list[bool] = []

    async def commit(*_: Any, **__: Any) -> bool:
        committed.append(True)
        return True

    hub = SimpleNamespace(lanes={lane.tp: lane}, keeper=SimpleNamespace(keep=lambda lane: False))
    consumer.__dict__.update(hub=hub, guard=guard, commit=commit, _given_up=[], _dropping=set())
    if held:
        with pytest.raises(SystemExit):
            await consumer.quiesce()
        assert said == ["the membership ended while batches waited for it: unsent they are the new owner's work"]
        assert committed == [], "nothing is acknowledged on the way out"
    else:
        await consumer.quiesce()
        assert (said, committed, lane.open) == ([], [True], False)


ASLEEP = """
import asyncio, sys, time
from types import SimpleNamespace
from agents.transport.guard import Guard
from agents.transport.lane import boot_clock
beat = boot_clock()
sent = []
class Sender:
    async def _send_produce_req(self, node, batches):
        sent.append(node)
sender = Sender()
guard = Guard(lambda: boot_clock() - beat < 1.0)
guard.over(SimpleNamespace(_sender=sender))
async def main():
    await asyncio.sleep(0)
    print("ready", flush=True)
    time.sleep(0.3)                  # stopped in here
    task = asyncio.ensure_future(sender._send_produce_req(1, {}))
    await asyncio.sleep(0.2)
    print(guard.held, sent, flush=True)
    task.cancel()
asyncio.run(main())
"""


@pytest.mark.parametrize("stopped", [True, False])
async def test_a_process_that_was_stopped_sends_nothing_when_it_wakes(stopped: bool) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ASLEEP, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    if stopped:
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1.5)
        process.send_signal(signal.SIGCONT)
    assert await process.stdout.readline() == (b"1 []\n" if stopped else b"0 [1]\n")
    await process.wait()


@pytest.mark.parametrize(("held", "pending", "short"), [(False, 0, False), (True, 0, False), (False, 2, True)])
async def test_only_a_lane_that_lacks_room_shortens_the_fetch_not_one_that_operators_hold(held: bool, pending: int, short: bool) -> None:
    one, two = a_lane(), a_lane()
    two.tp = TopicPartition("other", 0)
    two.flow.held = {"other"} if held else set()
    two.pending = dict.fromkeys(range(pending), False)
    asked: list[tuple[set[Any], float]] = []

    async def call_thread(fetch: Any, want: Any, assignment: Any, wait: float) -> Any:
        asked.append((set(want), wait))
        return {}, {}

    consumer = faust_plugin.Consumer.__new__(faust_plugin.Consumer)
    hub = SimpleNamespace(lanes={one.tp: one, two.tp: two}, flow_started_at=1.0)
    consumer.__dict__.update(hub=hub, flow_active=True, _thread=SimpleNamespace(call_thread=call_thread, fetch=None), _stopped=asyncio.Event(),
                             _crashed=asyncio.Event())
    async for _ in consumer.getmany(0.7):
        raise AssertionError("nothing was fetched")
    assert asked == [({one.tp} if held or pending else {one.tp, two.tp}, 0.02 if short else 0.7)]
