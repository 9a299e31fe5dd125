"""How long a worker may take to stop: each of its clients, and all of it together."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

log = logging.getLogger(__name__)

STOP_S = 5.0
"""How long the consumer, or the producer, may take to stop."""


async def in_time(stopping: Awaitable[None], otherwise: str) -> None:
    """Wait for it, but not for long: what has not stopped by then ends with the process."""
    try:
        async with asyncio.timeout(STOP_S):
            await stopping
    except TimeoutError:
        log.warning("%s in %.0f s and is left", otherwise, STOP_S)
