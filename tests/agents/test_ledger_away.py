"""What the ledger's writer waits for, and what it leaves to the next round: without a server, because no server does it on demand."""
from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from aiokafka.structs import TopicPartition

from agents.ledger import writer as writer_module
from agents.ledger.writer import LedgerWriter

FIRST, SECOND = TopicPartition("facts", 0), TopicPartition("facts", 1)


class Rebalanced:
    """A consumer that loses its second partition while it is asked for the position of the first. Like aiokafka's it does not answer for others'."""

    def __init__(self, *, loses: bool) -> None:
        self.held, self.loses = [FIRST, SECOND], loses

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self.held)

    def highwater(self, tp: TopicPartition) -> int:
        assert tp in self.held, "Partition is not assigned"
        return 10

    async def position(self, tp: TopicPartition) -> int:
        if self.loses:
            self.held = [tp]
        return 4


def writer() -> LedgerWriter:
    return LedgerWriter("127.0.0.1:1", "postgresql://nobody@127.0.0.1:1/none", "g", ())


@pytest.mark.parametrize(("loses", "lag"), [(False, 12), (True, 7)])
async def test_a_rebalance_while_the_lag_is_measured_leaves_it_to_the_next_round(loses: bool, lag: int) -> None:
    ledger: Any = writer()
    ledger.lag = 7
    await ledger._measure_lag(Rebalanced(loses=loses))
    assert ledger.lag == lag


@pytest.mark.parametrize("error", [asyncpg.InternalClientError("another operation is in progress"), OSError("cut off")], ids=repr)
async def test_a_connection_that_is_no_good_any_more_is_made_anew(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """PostgreSQL is killed in the middle of a statement: the client may no longer know what its connection is doing."""
    ledger: Any = writer()
    connections: list[str] = []

    async def connect() -> str:
        connections.append(f"connection {len(connections)}")
        return connections[-1]

    async def act(connection: str) -> str:
        if connection == "connection 0":
            raise error
        return connection

    async def at_once(_: float) -> None: ...

    monkeypatch.setattr(ledger, "_connect", connect)
    monkeypatch.setattr(writer_module.asyncio, "sleep", at_once)
    assert await ledger._patiently(act) == "connection 1"
    assert (ledger.failures, ledger.connected) == (1, True)


async def test_what_is_no_absence_goes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger: Any = writer()

    async def connect() -> str:
        return "connection"

    async def act(_: str) -> None:
        raise asyncpg.UndefinedTableError("no such table")

    monkeypatch.setattr(ledger, "_connect", connect)
    with pytest.raises(asyncpg.UndefinedTableError):
        await ledger._patiently(act)
