"""What the demo does in a thread: it is waited for, its errors are raised, and Ctrl-C does not wait for it."""
from __future__ import annotations

import asyncio
import threading
import time

import pytest

from agents.demo.play import aside


async def test_it_is_waited_for_and_gets_its_arguments() -> None:
    seen: list[object] = []
    await aside(lambda *arguments: seen.extend(arguments), 1, "b")
    assert seen == [1, "b"]


async def test_what_it_raises_is_raised() -> None:
    def fails() -> None:
        raise OSError("no broker")

    with pytest.raises(OSError, match="no broker"):
        await aside(fails)


def test_who_is_cancelled_does_not_wait_for_it_nor_does_the_end_of_the_loop() -> None:
    goes_on = threading.Event()

    async def cut_off() -> None:
        task = asyncio.ensure_future(aside(goes_on.wait, 60.0))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    begun = time.monotonic()
    asyncio.run(cut_off())
    assert time.monotonic() - begun < 30, "the loop's own executor would wait for the minute"
    goes_on.set()                                        # whatever it then says, nobody is there to hear it
