"""The ledger's writer on a real Kafka and PostgreSQL: every row once, whatever ends in between."""
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from agents.embedded import EmbeddedServers, Postgres
from agents.ledger.rows import instant
from agents.ledger.writer import LedgerRefused, LedgerWriter
from tests.agents.ledger_world import (
    AT,
    LONG,
    STAGES,
    World,
    alert,
    create_topics,
    database,
    fact,
    facts,
    movement,
    notice,
    outcomes,
    shipment,
    until,
    update,
)
from topics import codec
from topics.events.rail import PositionReported
from topics.facts import NEVER

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

ROOT = Path(__file__).resolve().parents[2]
KZ = "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY"
CN = "CN-KZ-ALASHANKOU-DOSTYK:CN:EXIT"


@pytest_asyncio.fixture(loop_scope="session")
async def producer(embedded: EmbeddedServers) -> AsyncIterator[AIOKafkaProducer]:
    create_topics(embedded.bootstrap)
    made = AIOKafkaProducer(bootstrap_servers=embedded.bootstrap, acks="all", max_request_size=9 << 20)
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def world(embedded: EmbeddedServers, producer: AIOKafkaProducer) -> World:
    return World(embedded.bootstrap, await database(embedded.dsn), producer)


async def test_every_kind_of_record_becomes_a_row_with_its_three_times(world: World) -> None:
    ship, before = shipment(), datetime.now(UTC)
    said = notice("55/040326/0000001", event_id=f"n-{ship}")
    await world.send("documents.in", "td:1", said)
    await world.send("clearance.in", ship, facts(ship, fact(KZ, "doc", "td", "55/040326/0000001", "registered", at=AT, event="customs-kz/customs.notice/1")))
    await world.send("clearance.history", ship, update(ship, KZ, 1, at=AT + 7))
    await world.send("ops.alerts", ship, alert(ship, "open", 1))
    await world.send("outcomes.documents", "documents.in/0", outcomes(f"of-{ship}", 3, 5))
    async with world.writing():
        await world.caught_up()
    event, = await world.sql("select * from event where event_id = $1", f"customs-kz/customs.notice/n-{ship}")
    assert (event["type"], event["source"], event["event_time"]) == ("customs.notice", "customs-kz", said.event_time)
    one, = await world.sql("select * from fact where shipment = $1", ship)
    assert (one["side"], one["key"], one["at"], one["value"]) == (KZ, ["doc", "td", "55/040326/0000001", "registered"], instant(AT), "true")
    status, = await world.sql("select * from status where shipment = $1", ship)
    assert (status["revision"], status["state"], status["assessed_at"], status["pack"]) == (1, "LODGED", instant(AT + 7), "pack-1")
    warned, = await world.sql("select * from alert where shipment = $1", ship)
    assert (warned["name"], warned["state"], warned["at"]) == ("BorderStatusStale", "open", instant(AT))
    outcome, = await world.sql("select * from outcome where of_topic = $1", f"of-{ship}")
    assert (outcome["first_off"], outcome["last_off"], outcome["records"], outcome["exceptions"]) == (3, 5, 3, 1)
    for row in (event, one, status, warned, outcome):
        # Broker and test share the machine's clock, but not to the millisecond.
        assert (before - row["recorded"]).total_seconds() < 1
        assert row["recorded"] <= row["inserted"] <= datetime.now(UTC)


async def test_movements_and_positions_between_stations_leave_no_event_but_name_train_and_wagon(world: World) -> None:
    run = f"R{shipment()[1:]}"
    await world.send("custody.in", "TEMU1234567", movement("TEMU1234567", run, "8101", "5432-1098"))
    def position(what: str, number: str) -> PositionReported:
        return PositionReported(source="ktz", id=f"{what}-{run}", event_time=datetime(2026, 3, 4, tzinfo=UTC),
                                train={"railway": "ktz", "number": number, "date": "2026-03-03"}, station="KZ-DOSTYK", what=what)  # type: ignore[arg-type]
    await world.send("trains.in", "ktz/8101/2026-03-03", position("at", "8101"))
    await world.send("trains.in", "ktz/8101/2026-03-03", position("arrived", "8101"))
    async with world.writing():
        await world.caught_up()
    assert [r["number"] for r in await world.sql("select number from run where run = $1", run)] == ["8101"]
    assert [r["wagon"] for r in await world.sql("select wagon from carried where run = $1", run)] == ["54321098"]
    assert [r["event_id"] for r in await world.sql("select event_id from event where event_id like $1", f"%{run}")] == [f"ktz/train.position/arrived-{run}"]
    assert await world.sql("select from event where type = 'movement'") == []


async def test_a_partition_per_month_is_made_for_the_time_of_the_records(world: World) -> None:
    ship, now = shipment(), datetime.now(UTC)
    await world.publish(update(ship, KZ, 1))
    async with world.writing():
        await world.caught_up()
    made = {r["relname"] for r in await world.sql("select relname from pg_class where relkind = 'r' and relispartition")}
    month = f"{now.year:04d}_{now.month:02d}"
    assert {f"{table}_{month}" for table in ("event", "fact", "status", "alert", "outcome")} <= made
    assert [r["t"] for r in await world.sql("select tableoid::regclass::text as t from status where shipment = $1", ship)] == [f"status_{month}"]


async def test_a_nul_and_what_no_column_holds_are_parked_and_the_rows_around_them_are_there(world: World) -> None:
    ship = shipment()
    bad = [
        ("NOT_JSON", "clearance.history", b"\xff\xfe"),
        ("NUL_BYTE", "clearance.in", b'{"type":"facts","shipment":"' + ship.encode() + b'","facts":[],"origin":"a\\u0000b"}'),
        ("BAD_VALUE", "ops.alerts", b'{"type":"ops.alert","key":1}'),
        ("BAD_VALUE", "documents.in", b"[1]"),
        ("LEDGER_DATA", "clearance.in", None),
    ]
    huge = facts(ship, fact(KZ, "doc", "td", "X", "registered", version=2**70))
    places = []
    for index, (_, topic, data) in enumerate(bad):
        await world.publish(update(ship, KZ, 2 * index + 1))
        await world.send("clearance.in", ship, facts(ship, fact(KZ, "present", value=index)), partition=0)
        partition, offset = await world.send(topic, ship, data if data is not None else huge, partition=0)
        places.append((topic, partition, offset))
        await world.send("clearance.in", ship, facts(ship, fact(KZ, "present", value=index + 100)), partition=0)
        await world.publish(update(ship, KZ, 2 * index + 2))
    async with world.writing() as writer:
        await world.caught_up()
        assert writer.records_parked >= len(bad)
    assert [r["revision"] for r in await world.sql("select revision from status where shipment = $1 order by revision", ship)] == list(range(1, 11))
    kept = {int(r["value"]) for r in await world.sql("select value::text from fact where shipment = $1 and key = '{present}'", ship)}
    assert kept == {*range(5), *range(100, 105)}
    letters = {(x.topic, x.partition, x.offset): x for x in await world.dead_letters() if x.stage == "ledger"}
    for (code, _, data), place in zip(bad, places, strict=True):
        assert letters[place].code == code
        if data is not None:
            assert letters[place].value == data
    async with world.ledger() as ledger:
        assert (await ledger.verify()).broken == ()


async def test_instants_at_the_ends_of_time_are_kept_exactly(world: World) -> None:
    ship = shipment()
    ends = (fact(KZ, "present", at=NEVER), fact(KZ, "departed", at=AT + 1), fact(KZ, "doc", "td", "N", "until", at=2**62))
    await world.send("clearance.in", ship, facts(ship, *ends))
    async with world.writing():
        await world.caught_up()
    async with world.ledger() as ledger:
        assert [f.at for f in await ledger.facts(ship)] == [NEVER, AT + 1, 253_402_300_799_000_000]


async def test_a_writer_that_is_killed_over_and_over_leaves_no_row_twice_and_none_out(world: World) -> None:
    """kill -9 at many moments: between the rows and the offset there is no moment, because they are one transaction."""
    ship, number = shipment(), 3000
    for i in range(number):
        await world.producer.send("clearance.history", codec.encode(update(ship, KZ if i % 2 else CN, i)), key=ship.encode())
    await world.producer.flush()

    def child(group: str) -> subprocess.Popen[bytes]:  # in a group of its own, so that none waits for the session of a dead one to end
        return subprocess.Popen([sys.executable, "-m", "tests.agents.ledger_child", world.bootstrap, world.dsn, group], cwd=ROOT,
                                env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def rows() -> int:
        with contextlib.suppress(Exception):
            return int((await world.sql("select count(*) as n from status where shipment = $1", ship))[0]["n"])
        return 0

    for kill_after in (0.0, 0.05, 0.2):
        process = child(f"{world.group}-{kill_after}")
        try:
            begun = await rows()

            async def moved(begun: int = begun, process: subprocess.Popen[bytes] = process) -> bool:
                return await rows() != begun or process.poll() is not None
            await until(moved, "the writer wrote nothing")
            await asyncio.sleep(kill_after)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        for i in range(200):
            await world.producer.send("clearance.history", codec.encode(update(ship, KZ, number + i)), key=ship.encode())
        number += 200
        await world.producer.flush()
    async with world.writing():
        await world.caught_up()
    found = await world.sql("select count(*), count(distinct (part, off)), count(distinct revision) from status where shipment = $1", ship)
    assert tuple(found[0]) == (number, number, number)
    async with world.ledger() as ledger:
        assert (await ledger.verify()).broken == ()


async def test_kafka_remembering_another_offset_than_the_database_loses_nothing(world: World) -> None:
    """The database was restored from an older backup: it decides, and the chain goes on unbroken."""
    ship = shipment()
    await world.publish(*(update(ship, KZ, i) for i in range(5)))
    async with world.writing():
        await world.caught_up()
        await asyncio.sleep(2.5)  # until Kafka knows, too
    await world.sql("delete from status where shipment = $1 and revision >= 2", ship)
    row, = await world.sql("select part, off, hash from status where shipment = $1 and revision = 1", ship)
    await world.sql("update ledger_offset set next_offset = $1, hash = $2 where topic = 'clearance.history' and part = $3",
                    row["off"] + 1, row["hash"], row["part"])
    async with world.writing():
        await world.caught_up()
    assert [r["revision"] for r in await world.sql("select revision from status where shipment = $1 order by 1", ship)] == list(range(5))
    async with world.ledger() as ledger:
        assert (await ledger.verify()).broken == ()


async def test_a_topic_that_was_made_anew_under_the_ledger_is_refused_by_name(world: World) -> None:
    async with world.writing():
        await world.caught_up()
    await world.sql("insert into ledger_offset (topic, part, next_offset, hash) values ('ops.alerts', 0, 1000000000, '') "
                    "on conflict (topic, part) do update set next_offset = excluded.next_offset")
    writer = LedgerWriter(world.bootstrap, world.dsn, world.group, STAGES)
    with pytest.raises(LedgerRefused, match=r"ops\.alerts/0 ends at \d+, but the ledger has read it to 1000000000"):
        await asyncio.wait_for(writer.run(), LONG)


def signal_all(postmaster: int, what: signal.Signals) -> None:
    """Its children lead sessions of their own."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    for pid in (postmaster, *map(int, children)):
        with contextlib.suppress(ProcessLookupError):  # a child that has just ended
            os.kill(pid, what)


async def test_postgresql_stopped_frozen_or_killed_is_waited_for_and_then_caught_up_with(embedded: EmbeddedServers, producer: AIOKafkaProducer) -> None:
    """The log meanwhile takes records as ever: nothing but the ledger waits."""
    with Postgres() as server:
        world, ship, revision = World(embedded.bootstrap, server.dsn, producer), shipment(), 0
        async with world.writing(command_timeout_s=2.0) as writer:
            await world.caught_up()
            for how in ("stopped", "killed", "frozen"):
                assert server.process is not None
                if how == "stopped":
                    server.stop()
                elif how == "killed":
                    server.kill()
                else:
                    signal_all(server.process.pid, signal.SIGSTOP)
                failures = writer.failures
                for _ in range(20):
                    revision += 1
                    await world.publish(update(ship, KZ, revision))

                async def noticed(failures: int = failures) -> bool:
                    return writer.failures > failures and not writer.connected
                await until(noticed, f"PostgreSQL {how}: the writer did not notice")
                if how == "frozen":
                    signal_all(server.process.pid, signal.SIGCONT)
                else:
                    server.start().wait()
                await world.caught_up()
                assert writer.connected
                found = await world.sql("select revision from status where shipment = $1 order by revision", ship)
                assert [r["revision"] for r in found] == list(range(1, revision + 1)), how
        async with world.ledger() as ledger:
            assert (await ledger.verify()).broken == ()


async def test_two_writers_share_the_partitions_and_write_each_record_once(world: World) -> None:
    ship = shipment()
    other = World(world.bootstrap, world.dsn, world.producer)
    other.group = world.group
    async with world.writing(), other.writing():
        for i in range(100):
            await world.send("documents.in", f"td:{i}", notice(f"T-{ship}-{i}", event_id=f"{ship}-{i}"))
        await world.caught_up()
    found = await world.sql("select count(*) as n, count(distinct event_id) as ids from event where event_id like $1", f"%/{ship}-%")
    assert tuple(found[0]) == (100, 100)
    async with world.ledger() as ledger:
        assert (await ledger.verify()).broken == ()
