"""Blocking questions that must not hold up the end of a process."""
from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def asked_apart(question: Callable[[], T], name: str) -> T:
    """The answer, from a thread that nobody waits for when the process ends: a broker that does not answer would hold it up. Raises what `question` raises."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(say: Callable[[Any], None], found: object) -> None:
        if not answer.done():
            say(found)

    def ask() -> None:
        say: Callable[[Any], None] = answer.set_result
        found: object
        try:
            found = question()
        except Exception as error:  # noqa: BLE001  whatever it is, who asked must hear of it: without an answer he would wait for ever
            say, found = answer.set_exception, error
        with contextlib.suppress(RuntimeError):             # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(tell, say, found)

    threading.Thread(target=ask, name=name, daemon=True).start()
    return await answer
