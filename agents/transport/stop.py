"""How long a worker may take to stop: each of its clients, and all of it together."""
from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from mode import Worker

from agents.transport.fatal import fatal

log = logging.getLogger(__name__)

STOP_S = 5.0
"""How long the consumer, or the producer, may take to stop."""
SLOW_S = 60.0
"""The limits of the parts add up to 45 s, and 20 s for the ledger's clients. When it takes longer than this, a log line says what it waits for."""
ENDLESS_S = 330.0
"""Five times all of them: by then it waits for something that will not end."""
NAMED_MAX = 10
"""So many tasks are named."""


async def in_time(stopping: Awaitable[None], otherwise: str) -> None:
    """Wait for it, but not for long: what has not stopped by then ends with the process."""
    try:
        async with asyncio.timeout(STOP_S):
            await stopping
    except TimeoutError:
        log.warning("%s in %.0f s and is left", otherwise, STOP_S)


class Bounded(Worker):
    """A worker of Faust's whose stop has an end. Faust cancels the tasks of its services and then waits for them, and for its threads, without a limit:
    a task that misses its cancellation would keep a process that has given up its partitions. So would a snapshot that the disk does not take: the
    interpreter waits for its thread. A worker's process ends with its stop, and the watch with the process."""

    _watched = False

    async def stop(self) -> None:
        """Watched by a thread: Faust waits for its own threads in the event loop's."""
        if not self._watched:
            self._watched = True
            threading.Thread(target=self._watch, name="stop", daemon=True).start()
        await super().stop()

    def _watch(self) -> None:
        time.sleep(SLOW_S)
        log.warning("the worker has not stopped in %.0f s, it waits for %s", SLOW_S, self._waits_for())
        time.sleep(ENDLESS_S - SLOW_S)
        fatal(f"the worker does not stop in {ENDLESS_S:.0f} s, it waits for {self._waits_for()}")

    def _waits_for(self) -> str:
        """Tasks of services first, they are what a stop waits for; each with where it stands."""
        tasks = sorted(asyncio.all_tasks(self.loop), key=lambda task: not hasattr(task, "__wrapped__"))
        return ", ".join(_standing(task) for task in tasks[:NAMED_MAX]) or "no task of its own, so for a thread"


def _standing(task: asyncio.Task[Any]) -> str:
    """The coroutines that wait for each other, outermost first, and the line at which the last one stands."""
    inner: Any = getattr(task, "__wrapped__", None) or task.get_coro()
    names = [inner.__qualname__ if inspect.iscoroutine(inner) else repr(inner)]
    while getattr(deeper := getattr(inner, "cr_await", None), "cr_frame", None) is not None:
        inner = deeper
        names.append(inner.__qualname__)
    frame = getattr(inner, "cr_frame", None)
    return " > ".join(names) + (f" ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})" if frame is not None else "")
