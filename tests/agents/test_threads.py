"""A blocking question in a thread: it is answered, its errors are raised, and neither who is cancelled nor the end of the loop waits for it."""
from __future__ import annotations

import asyncio
import threading
import time

import pytest

from agents.threads import asked_apart


async def test_the_answer_comes() -> None:
    assert await asked_apart(lambda: threading.current_thread().name, "asker") == "asker"


async def test_what_it_raises_is_raised() -> None:
    def fails() -> None:
        raise OSError("no broker")

    with pytest.raises(OSError, match="no broker"):
        await asked_apart(fails, "asker")


def test_who_is_cancelled_does_not_wait_for_it_nor_does_the_end_of_the_loop() -> None:
    goes_on = threading.Event()

    async def cut_off() -> None:
        task = asyncio.ensure_future(asked_apart(lambda: goes_on.wait(60.0), "asker"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    begun = time.monotonic()
    asyncio.run(cut_off())
    assert time.monotonic() - begun < 30, "the loop's own executor would wait for the minute"
    goes_on.set()                                        # whatever it then says, nobody is there to hear it
