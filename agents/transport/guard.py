"""Nothing leaves the producer while the lease is lost: not even what was handed to it in time.

A process that is stopped (SIGSTOP, a virtual machine that is moved) has batches in its producer. When it wakes they would be sent at once, behind
what the new owner has written: state would go back in the log. So the sender asks again at the last moment. What waits then is never sent when the
membership turns out to be over: the process ends, and the new owner has done that work already. Transactions need none of this, their epoch fences.
"""
# aiokafka has no types: they are Any here.
# mypy: disable-error-code="misc, no-any-return"
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

POLL_S: Final = 0.02


class Guard:
    """Of the process's idempotent producer."""

    def __init__(self, lease: Callable[[], bool]) -> None:
        self.lease = lease
        self.held = 0
        """Requests that wait for the lease."""
        self._guarded: Any = None

    def over(self, producer: Any) -> Any:
        """The producer, guarded from now on."""
        if producer is not None and producer is not self._guarded:
            self._guarded, sender = producer, producer._sender
            send = sender._send_produce_req

            async def leased(node: int, batches: Any) -> None:
                await self._wait()
                await send(node, batches)

            sender._send_produce_req = leased
        return producer

    async def _wait(self) -> None:
        if self.lease():
            return
        self.held += 1
        try:
            while not self.lease():
                await asyncio.sleep(POLL_S)
        finally:
            self.held -= 1
