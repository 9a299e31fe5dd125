"""A cancellation is never lost in a wait that has a limit: `asyncio.wait_for` of Python 3.11 forgets one that comes in the moment in which the wait is over."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from agents.ledger.writer import LedgerWriter
from agents.transport.faust_plugin import Consumer
from agents.transport.restore import _Reader
from agents.transport.stop import in_time
from tests.agents.test_transport_lane import a_lane

TP = TopicPartition("in", 0)
LONG = 60.0
Cancel = Callable[[], Awaitable[int]]


async def measures_its_lag(cancel: Cancel) -> None:
    async def position(_: Any) -> int:
        return await cancel()

    writer: Any = LedgerWriter.__new__(LedgerWriter)
    writer.unplaced, writer.lag = set[TopicPartition](), 0
    await writer._measure_lag(SimpleNamespace(assignment=lambda: {TP}, highwater=lambda _: 9, position=position))


async def reads_for_a_restore(cancel: Cancel) -> None:
    await _Reader({}).patiently(a_lane(), cancel)


async def pauses(cancel: Cancel) -> None:
    consumer: Any = SimpleNamespace(hub=SimpleNamespace(wake=SimpleNamespace(clear=lambda: None, wait=cancel)))
    await Consumer._pause(consumer)


async def stops(cancel: Cancel) -> None:
    async def stop() -> None:
        await cancel()

    await in_time(stop(), "it does not stop")


async def cancelled_while(work: Callable[[Cancel], Awaitable[None]], *, at_once: bool) -> tuple[bool, bool]:
    """Does a task that goes on for ever with this work end when it is cancelled just as its wait is over? And did it come round to its next wait?"""
    rounds = 0

    async def cancel() -> int:
        nonlocal rounds
        rounds += 1
        if not at_once:
            await asyncio.sleep(0)
        task.cancel()
        return 1

    async def for_ever() -> None:
        while rounds < 5:
            await work(cancel)
            await asyncio.sleep(0)

    task = asyncio.ensure_future(for_ever())
    async with asyncio.timeout(LONG):
        await asyncio.wait([task])
    return task.cancelled(), rounds == 1


@pytest.mark.parametrize("work", [measures_its_lag, reads_for_a_restore, pauses, stops])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_task_that_is_cancelled_as_its_wait_is_over_ends(work: Callable[[Cancel], Awaitable[None]], at_once: bool) -> None:
    """On a real cluster the ledger's writer went on for ever after SIGTERM: it had measured its lag in that moment."""
    assert await cancelled_while(work, at_once=at_once) == (True, True)


async def test_python_forgets_such_a_cancellation_where_its_own_wait_for_is_used() -> None:
    """Shows that the test above can fail. When this one does, Python is mended and both may go."""

    async def waits(cancel: Cancel) -> None:
        await asyncio.wait_for(cancel(), LONG)

    assert await cancelled_while(waits, at_once=False) == (False, False)
