"""Asking the ledger, and proving that it is what was written."""
from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from agents.embedded import EmbeddedServers
from agents.ledger.rows import instant
from tests.agents.ledger_world import AT, World, alert, create_topics, database, fact, facts, movement, notice, shipment, update
from topics.events.base import DocumentRef
from topics.events.internal import AliasFound

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

KZ = "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY"
CN = "CN-KZ-ALASHANKOU-DOSTYK:CN:EXIT"
MINUTE = 60_000_000


@pytest_asyncio.fixture(loop_scope="session")
async def world(embedded: EmbeddedServers) -> AsyncIterator[World]:
    create_topics(embedded.bootstrap)
    producer = AIOKafkaProducer(bootstrap_servers=embedded.bootstrap, acks="all", max_request_size=9 << 20)
    await producer.start()
    yield World(embedded.bootstrap, await database(embedded.dsn), producer)
    await producer.stop()


async def written(world: World) -> None:
    async with world.writing():
        await world.caught_up()


async def found(world: World, identifier: str) -> dict[str, str]:
    """Shipment -> kind of the match."""
    async with world.ledger() as ledger:
        return {ship: kind for ship, kind, _ in await ledger.find(identifier)}


async def test_a_shipment_is_found_by_every_number_that_people_may_have(world: World) -> None:
    ship, run = shipment(), f"R{shipment()[1:]}"
    tail = ship[-4:]
    await world.send("clearance.in", ship, facts(
        ship,
        fact("*", "bound", scope=f"TEMU{tail}67", value={"since": AT}, source="custody"),
        fact("*", "shipment", value={"document": {"kind": "smgs", "number": f"SM-{tail}"}, "containers": [{"container": f"MSKU{tail}"}]}, source="fwd-a"),
        fact(KZ, "doc", "td", f"10/{tail}", "registered", value={"official": f"55406/040326/{tail}"}),
        fact(KZ, "filing", "transit", f"LRN {tail}", source="fwd-a", value={
            "mrn": f"26PL{tail}", "official": [f"26-OFF-{tail}"], "containers": [{"container": f"OOLU{tail}"}]}),
        fact("*", "run", value=run, source="trains", scope=f"TEMU{tail}67")))
    await world.send("custody.in", "box", movement(f"TEMU{tail}67", run, f"81{tail}", f"5432 {tail}"))
    await world.send("documents.in", "td:x", notice(f"10/{tail}", f"OFFICIAL/{tail}"))
    same = AliasFound(document=DocumentRef(kind="transit", number=f"LRN {tail}"),
                      other=DocumentRef(kind="transit", number=f"26PL-ALIAS-{tail}"), claim=DocumentRef(kind="transit", number="c"),
                      at=AT, source="customs-pl")
    await world.send("documents.in", "transit:x", same)
    await written(world)
    expected = {
        ship: "shipment", ship.lower(): "shipment", f"TEMU{tail}67": "container", f"temu {tail} 67": "container", f"MSKU{tail}": "container",
        f"SM-{tail}": "smgs", f"sm{tail}": "smgs", f"smgs:SM-{tail}": "smgs", f"10/{tail}": "td", f"55406/040326/{tail}": "td", f"LRN {tail}": "transit",
        f"26PL{tail}": "transit", f"26-OFF-{tail}": "transit", f"OFFICIAL/{tail}": "td",
        f"26PL-ALIAS-{tail}": "transit", run: "run", f"81{tail}": "train",
        f"ktz/81{tail}/2026-03-03": "train", f"5432{tail}": "wagon",
    }
    for identifier, kind in expected.items():
        assert await found(world, identifier) == {ship: kind}, identifier
    for stranger in (f"OOLU{tail}", f"td:SM-{tail}", f"rzd/81{tail}/2026-03-03", f"ktz/81{tail}/2026-03-04", "NOTHING", "", ":", "%"):
        assert await found(world, stranger) == {}, stranger
    async with world.ledger() as ledger:
        assert await ledger.on_run(run) == [ship]
        assert await ledger.runs_named("ktz", f"81{tail}", "2026-03-03") == [run]
        assert await ledger.runs_named("", f"81{tail}", "") == [run]
        assert await ledger.runs_named("rzd", f"81{tail}", "2026-03-03") == []


async def test_a_reused_container_means_several_shipments_and_the_newest_comes_first(world: World) -> None:
    old, new = shipment(), shipment()
    box = f"BOXU{old[-7:]}"
    await world.send("clearance.in", old, facts(old, fact("*", "bound", scope=box, at=AT)))
    await world.send("clearance.in", new, facts(new, fact("*", "bound", scope=box, at=AT + MINUTE)))
    await written(world)
    async with world.ledger() as ledger:
        assert await ledger.find(box) == [(new, "container", box), (old, "container", box)]


async def test_a_withdrawn_fact_ties_nothing(world: World) -> None:
    ship = shipment()
    await world.send("clearance.in", ship, facts(ship, fact("*", "bound", scope=f"GONE{ship[-7:]}", value=None)))
    await written(world)
    assert await found(world, f"GONE{ship[-7:]}") == {}


async def test_statuses_as_of_an_instant_are_exactly_those_published_until_then(world: World) -> None:
    ship = shipment()
    said = [update(ship, CN, 1, "PLANNED", AT, 1), update(ship, KZ, 2, "PLANNED", AT, 2), update(ship, CN, 3, "RELEASED", AT + MINUTE, 1),
            update(ship, KZ, 4, "HELD", AT + 2 * MINUTE, 2), update(ship, KZ, 4, "HELD", AT + 2 * MINUTE, 2),
            update(ship, KZ, 5, "RELEASED", AT + 3 * MINUTE, 2)]
    await world.publish(*said)
    await written(world)
    async with world.ledger() as ledger:
        async def at(minutes: float) -> list[tuple[str, int]]:
            return [(u.state, u.revision) for u in await ledger.statuses(ship, instant(AT) + timedelta(minutes=minutes))]
        assert await ledger.statuses(ship) == [said[2], said[5]]
        assert await at(-1) == []
        assert await at(0) == [("PLANNED", 1), ("PLANNED", 2)]
        assert await at(1.5) == [("RELEASED", 3), ("PLANNED", 2)]
        assert await at(2) == [("RELEASED", 3), ("HELD", 4)]
        assert await at(99) == [("RELEASED", 3), ("RELEASED", 5)]
        assert [u.revision for u in await ledger.history(ship, KZ)] == [2, 4, 5]
        assert ship in {u.shipment for u in await ledger.at_side(KZ)}
        assert CN in await ledger.sides_like("dostyk:cn")
        assert await ledger.sides_like("no%such_side") == []


async def test_evidence_is_found_by_its_id_and_facts_come_back_as_they_were_said(world: World) -> None:
    ship = shipment()
    said = notice(f"T{ship}", event_id=f"e-{ship}")
    known = (fact(KZ, "doc", "td", f"T{ship}", "registered", event=f"customs-kz/customs.notice/e-{ship}", record="r", version=7, scope="X", code="10",
                  dated=True), fact("*", "eta", value=[1, 2, 3]), fact("*", "present", value=None), fact("*", "route", value={"b": 1.0, "a": "ж"}))
    await world.send("documents.in", "td:x", said)
    await world.send("custody.in", "box", said)  # a copy elsewhere: the first counts
    await world.send("clearance.in", ship, facts(ship, *known))
    await written(world)
    async with world.ledger() as ledger:
        events = await ledger.events([f"customs-kz/customs.notice/e-{ship}", "nobody/nothing/1"])
        assert set(events) == {f"customs-kz/customs.notice/e-{ship}"}
        assert events[f"customs-kz/customs.notice/e-{ship}"]["body"]["document"] == {"kind": "td", "number": f"T{ship}"}
        assert await ledger.facts(ship) == list(known)
        assert await ledger.facts(ship, instant(AT)) == []


async def test_an_alert_counts_by_its_last_word(world: World) -> None:
    ship = shipment()
    for said in (alert(ship, "open", 1), alert(ship, "resolved", 2), alert(ship, "open", 1, "LockBroken")):
        await world.send("ops.alerts", said.key, said)
    await written(world)
    async with world.ledger() as ledger:
        assert [a.name for a in await ledger.alerts(ship)] == ["LockBroken"]
        assert {a.name for a in await ledger.alerts(ship, open_only=False)} == {"LockBroken", "BorderStatusStale"}
        assert ship in {a.shipment for a in await ledger.alerts()}


TAMPERED = {
    "a body was changed": ("update status set body = (replace(body::text, 'HELD', 'PLANNED'))::json where shipment = $1 and revision = 3", 2, "link"),
    "a column was changed": ("update status set state = 'RELEASED' where shipment = $1 and revision = 3", 2, "column state"),
    "the time was changed": ("update status set recorded = recorded + interval '1 microsecond' where shipment = $1 and revision = 3", 2, "link"),
    "a row was taken out": ("delete from status where shipment = $1 and revision = 3", 3, "link"),
    "the last row was taken out": ("delete from status where shipment = $1 and revision = 5", 3, "are gone"),
    "a fact was changed": ("update fact set value = 'false' where shipment = $1 and idx = 0", 0, "fact rows"),
    "a fact was taken out": ("delete from fact where shipment = $1 and idx = 1", 0, "fact rows"),
    "a fact was put in": ("insert into fact select shipment, side, key, scope, source, record, version, rank, at, event_id, code, value, dated, recorded, "
                          "inserted, topic, part, off + 1000000, idx from fact where shipment = $1 and idx = 0", 1_000_000, "without the record"),
}


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def sound(embedded: EmbeddedServers) -> AsyncIterator[tuple[World, str, int, tuple[int, int]]]:
    """A ledger with five revisions and two facts of a shipment: where its first status and its facts lie. Copied before it is tampered with."""
    create_topics(embedded.bootstrap)
    producer = AIOKafkaProducer(bootstrap_servers=embedded.bootstrap, acks="all")
    await producer.start()
    world, ship = World(embedded.bootstrap, await database(embedded.dsn), producer), shipment()
    offsets = [await world.send("clearance.history", ship, update(ship, KZ, revision, "HELD"), partition=0) for revision in range(1, 6)]
    place = await world.send("clearance.in", ship, facts(ship, fact(KZ, "present"), fact(KZ, "departed")))
    await written(world)
    yield world, ship, offsets[0][1], place
    await producer.stop()


@pytest.mark.parametrize("how", TAMPERED)
async def test_the_chain_names_the_first_broken_link(embedded: EmbeddedServers, sound: tuple[World, str, int, tuple[int, int]], how: str) -> None:
    original, ship, first, place = sound
    statement, distance, reason = TAMPERED[how]
    world = World(original.bootstrap, await database(embedded.dsn, original.dsn.rpartition("/")[2]), original.producer)
    async with world.ledger() as ledger:
        before = await ledger.verify()
        assert before.broken == ()
        assert before.records > 5
        await world.sql(statement, ship)
        broken, = (await ledger.verify()).broken
    expected = ("clearance.in", *place) if "fact" in statement else ("clearance.history", 0, first)
    assert (broken.topic, broken.partition, broken.offset) == (*expected[:2], expected[2] + distance)
    assert reason in broken.reason


async def test_rows_of_a_partition_that_has_no_offset_are_named(world: World) -> None:
    await world.publish(update(shipment(), KZ, 1))
    await written(world)
    await world.sql("delete from ledger_offset where topic = 'clearance.history'")
    async with world.ledger() as ledger:
        assert [(b.topic, b.reason) for b in (await ledger.verify()).broken] == [("clearance.history", "no offset is kept for this partition")]


async def test_the_ledger_is_read_while_its_database_refuses_writes(world: World) -> None:
    """Questions must be answered from a standby."""
    ship = shipment()
    await world.publish(update(ship, KZ, 1))
    await written(world)
    name = world.dsn.rpartition("/")[2]
    await world.sql(f"alter database {name} set default_transaction_read_only = on")
    async with world.ledger() as ledger:
        assert [u.shipment for u in await ledger.statuses(ship)] == [ship]
        assert (await ledger.verify()).broken == ()
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await ledger.pool.execute("delete from status")

