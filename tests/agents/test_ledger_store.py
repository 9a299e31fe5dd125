"""How rows come into the tables of a real PostgreSQL: copied, or inserted where another writer had some of them in already."""
from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from agents.embedded import Postgres
from agents.ledger import schema
from agents.ledger import store as store_module
from agents.ledger.rows import GENESIS, LogRecord, Rows
from agents.ledger.store import Bounded, Offset, store
from agents.ledger.writer import AWAY
from tests.agents.ledger_world import alert, fact, facts, outcomes, update
from topics import codec

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
KZ = "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY"
AT = 1_700_000_000_000_000
TABLES = ("event", "fact", "status", "alert", "outcome")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        server.wait()
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def connection(postgres: Postgres) -> AsyncIterator[asyncpg.Connection]:
    made = await asyncpg.connect(postgres.dsn, command_timeout=2.0)
    await made.execute("drop schema public cascade; create schema public")
    await schema.create(made)
    await schema.ensure_month(made, 2023, 11)
    yield made
    made.terminate()


def said(first: int, until: int, *, version: int = 1) -> tuple[Rows, list[Offset]]:
    """Of each offset one record of each kind."""
    rows, ends = Rows(), dict[str, tuple[int, bytes]]()
    for n in range(first, until):
        for topic, value in (("clearance.in", facts("S", fact(KZ, "present", str(n), value=[n]), fact(KZ, "departed", str(n), version=version))),
                             ("clearance.history", update("S", KZ, n + 1)), ("ops.alerts", alert("S", "open", n + 1)),
                             ("outcomes.trains", outcomes("trains.in", n, n))):
            link = rows.add(LogRecord(topic, 0, n, AT + n, b"S", codec.encode(value)), ends.get(topic, (0, GENESIS))[1])
            ends[topic] = n + 1, link
    return rows, [(topic, 0, following, link) for topic, (following, link) in ends.items()]


async def counts(connection: asyncpg.Connection) -> dict[str, int]:
    return {table: await connection.fetchval(f"select count(*) from {table}") for table in TABLES}


async def offsets(connection: asyncpg.Connection) -> set[int]:
    return {row["next_offset"] for row in await connection.fetch("select next_offset from ledger_offset")}


async def content(connection: asyncpg.Connection) -> list[list[tuple[object, ...]]]:
    """All rows, when they were inserted excepted."""
    found = []
    for table in TABLES:
        rows = await connection.fetch(f"select * from {table} order by topic, off{', idx' * (table == 'fact')}")
        found.append([tuple(value for name, value in row.items() if name != "inserted") for row in rows])
    return found


async def test_rows_that_another_writer_had_in_already_stay_and_the_others_come_in(connection: asyncpg.Connection) -> None:
    await store(connection, *said(0, 4))
    first = await connection.fetch("select off, inserted from status order by off")
    await store(connection, *said(2, 6))
    assert await counts(connection) == {"event": 6, "fact": 12, "status": 6, "alert": 6, "outcome": 6}
    assert await offsets(connection) == {6}
    assert await connection.fetch("select off, inserted from status where off < 4 order by off") == first
    await store(connection, *said(0, 2))
    assert await offsets(connection) == {6}, "an offset never falls"


async def test_copied_and_inserted_rows_are_the_same(connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    ways, copy = list[str](), store_module._copy

    async def counted(*arguments: Any) -> None:
        ways.append("copied")
        await copy(*arguments)

    monkeypatch.setattr(store_module, "_copy", counted)
    await store(connection, *said(0, 4))
    copied = await content(connection)
    for table in TABLES:
        await connection.execute(f"delete from {table} where off > 0")
    await store(Bounded(connection, 30.0), *said(0, 4))  # what is left makes COPY fail
    assert await content(connection) == copied
    assert ways == ["copied"] * 5 + ["copied"], "the second time the first table says no, and all are inserted"
    assert [row["key"] for row in await connection.fetch("select key from fact where off = 1 order by idx")] == [["present", "1"], ["departed", "1"]]


async def test_of_a_batch_with_a_value_that_no_column_holds_nothing_comes_in_and_the_connection_is_still_good(connection: asyncpg.Connection) -> None:
    await store(connection, *said(0, 1))
    with pytest.raises(asyncpg.DataError, match="fact"):
        await store(connection, *said(1, 3, version=2**70))
    assert await counts(connection) == {"event": 1, "fact": 2, "status": 1, "alert": 1, "outcome": 1}
    assert await offsets(connection) == {1}
    await store(connection, *said(1, 3))
    assert await offsets(connection) == {3}


async def test_an_empty_batch_moves_only_the_offset(connection: asyncpg.Connection) -> None:
    await store(connection, Rows(), [("clearance.in", 0, 9, GENESIS)])
    assert (await offsets(connection), set((await counts(connection)).values())) == ({9}, {0})


LARGE = 8 << 20
"""Bytes of a batch: more than sockets hold, so that COPY waits for the server in the middle."""


@pytest.mark.parametrize("size", [2_000, 1 << 20])
@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_a_server_that_is_gone_in_the_middle_of_a_copy_is_noticed(connection: asyncpg.Connection, postgres: Postgres, how: str, size: int) -> None:
    """asyncpg itself waits for ever there when there is more to come than sockets hold."""
    rows, ends = Rows(), list[Offset]()
    for n in range(LARGE // size):
        link = rows.add(LogRecord("clearance.in", 0, n, AT + n, b"S", codec.encode(facts("S", fact(KZ, "present", value="x" * size)))), GENESIS)
        ends = [("clearance.in", 0, n + 1, link)]
    postgres.freeze()
    try:
        begun = time.monotonic()
        storing = asyncio.create_task(store(Bounded(connection, 3.0), rows, ends))
        await asyncio.sleep(0.3)
        if how == "killed":
            postgres.thaw()
            postgres.kill()
        with pytest.raises(AWAY):
            async with asyncio.timeout(30):
                await storing
        assert time.monotonic() - begun < 25, "its own limit, not this test's"
    finally:
        if how == "killed":
            postgres.start().wait()
        else:
            postgres.thaw()

