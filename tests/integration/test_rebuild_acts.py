"""A switch of `railclear rebuild` says who, why and how much before it writes the first state: real Kafka and PostgreSQL, no workers (they stand still)."""
from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import TopicPartition
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from agents import reference as reference_files
from agents.cli import rebuild_switch, root
from agents.demo.play import provision
from agents.embedded import EmbeddedServers
from streams.fold import EVERYBODY
from tests.agents.ledger_world import World, shipment
from tests.streams.border_world import demand
from topics import codec
from topics import registry as topic_registry
from topics.events.internal import MaskFacts, ShipmentFacts
from topics.events.operations import FoldRebuilt, OperationsEvent
from topics.facts import DAY

pytestmark = pytest.mark.integration

DESK = "operations.control.desk"
SIDE = "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY"
WHY = ("--reason", "a disk gave wrong bytes", "--by", "duty officer")
NOW = time.time_ns() // 1000


@asynccontextmanager
async def reader(bootstrap: str, topic: str, group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    """Assigned both partitions; with a group it is no member of it."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, p) for p in range(1 if topic == DESK else 2)])
        yield consumer
    finally:
        await consumer.stop()


async def held(bootstrap: str, topic: str) -> list[Any]:
    """Every record of a topic."""
    found = list[Any]()
    async with reader(bootstrap, topic) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
    return found


async def prepare(servers: EmbeddedServers) -> None:
    """A ledger that has a shipment's hold and a mask, and groups that have read both folds' inputs; no state of anything."""
    producer = AIOKafkaProducer(bootstrap_servers=servers.bootstrap, acks="all")
    await producer.start()
    try:
        world, ship = World(servers.bootstrap, servers.dsn, producer), shipment()
        world.group = "railclear"
        await world.send("clearance.in", ship, ShipmentFacts(shipment=ship, facts=(demand(SIDE, "hold", "H1", "opened", NOW - DAY, "KZ"),)))
        mask = MaskFacts(source="customs-kz", since=NOW - 9 * DAY, until=NOW - 8 * DAY, record="R-1", version=0)
        for part in range(2):
            await world.send("clearance.in", EVERYBODY, mask, part)
            await world.send("documents.in", EVERYBODY, mask, part)
        async with world.writing():
            await world.caught_up()
        for fold in ("clearance", "documents"):
            async with reader(servers.bootstrap, f"{fold}.in", "railclear-0123abcd") as consumer:
                await consumer.commit(await consumer.end_offsets(consumer.assignment()))
    finally:
        await producer.stop()


class System:
    """Servers without workers, and the command on them."""

    def __init__(self, servers: EmbeddedServers, capsys: pytest.CaptureFixture[str]) -> None:
        self.servers, self.capsys = servers, capsys

    def rebuild(self, fold: str, *arguments: str, code: int = 0) -> Any:
        self.capsys.readouterr()
        got = root.run(["rebuild", "--fold", fold, *arguments, "--json"])
        said = self.capsys.readouterr()
        assert got == code, (got, said.out, said.err)
        assert "Traceback" not in said.err
        return json.loads(said.out) if said.out.strip() else said.err

    def acts(self) -> list[FoldRebuilt]:
        return [codec.decode(record.value, OperationsEvent) for record in asyncio.run(held(self.servers.bootstrap, DESK))]

    def states(self, fold: str) -> int:
        return len(asyncio.run(held(self.servers.bootstrap, f"{fold}.state")))

    def takes(self, fold: str, bytes_max: int) -> None:
        """What the broker takes into the fold's state."""
        admin = KafkaAdminClient(bootstrap_servers=self.servers.bootstrap)
        admin.alter_configs([ConfigResource("TOPIC", f"{fold}.state", {"max.message.bytes": str(bytes_max)})])
        admin.close()


@pytest.fixture(scope="module")
def prepared(embedded: EmbeddedServers) -> EmbeddedServers:
    known = reference_files.load(None)
    provision(embedded.bootstrap, topic_registry.build(known.parties.values(), known.authorities.values(), known.crossings.values(), partitions=2))
    asyncio.run(prepare(embedded))
    return embedded


@pytest.fixture
def system(prepared: EmbeddedServers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> System:
    for name, value in (("PARTITIONS", "2"), ("BOOTSTRAP", prepared.bootstrap), ("DSN", prepared.dsn)):
        monkeypatch.setenv(f"RAILCLEAR_{name}", value)
    for name in ("USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    return System(prepared, capsys)


def counts(act: FoldRebuilt) -> tuple[int, int, int]:
    return act.keys, act.everybody, act.partitions


def test_a_dry_run_and_a_refused_switch_leave_no_act_and_no_state(system: System) -> None:
    assert system.rebuild("clearance", code=1)["switched"] == 0
    assert "--reason" in system.rebuild("clearance", "--switch", "--by", "x", code=2)
    assert "is no party of operators" in system.rebuild("clearance", "--switch", *WHY, "--as", "ktz", code=2)
    assert "BAD_VALUE at $.by" in system.rebuild("clearance", "--switch", "--reason", "r", "--by", "x" * 121, code=2), "intake would refuse it later"

    async def while_a_worker_runs(work: Callable[[], Any]) -> Any:
        member = AIOKafkaConsumer("clearance.in", bootstrap_servers=system.servers.bootstrap, group_id="railclear-0123abcd", enable_auto_commit=False)
        await member.start()
        try:
            return await asyncio.to_thread(work)
        finally:
            await member.stop()

    assert "workers with clearance run" in asyncio.run(while_a_worker_runs(lambda: system.rebuild("clearance", "--switch", *WHY, code=2)))
    assert (system.acts(), system.states("clearance")) == ([], 0)


def test_a_switch_that_is_cut_off_before_the_first_state_has_left_its_act_and_the_next_one_completes_it(system: System) -> None:
    system.takes("clearance", 1)
    assert "was cut short ([Error 10] MessageSizeTooLargeError)" in system.rebuild("clearance", "--switch", *WHY, code=1)
    meant, = system.acts()
    assert (meant.begun, meant.version, meant.by, meant.reason, meant.fold) == (True, 1, "duty officer", "a disk gave wrong bytes", "clearance")
    assert counts(meant) == (1, 2, 2), "a shipment, a mask in both partitions, and both say what they were made from"
    assert system.states("clearance") == 0
    assert system.rebuild("clearance", code=1)["cut_short"] == meant.record
    system.takes("clearance", 1 << 20)
    assert system.rebuild("clearance", "--switch", "--reason", "once more", "--by", "relief")["switched"] == 1
    assert [(a.record, a.version, a.begun, a.by, counts(a)) for a in system.acts()[1:]] == [
        (meant.record, 2, True, "relief", (1, 2, 2)), (meant.record, 3, False, "relief", (1, 2, 2))]
    assert len({a.id for a in system.acts()}) == 3, "none is taken for a repeat of another"
    assert system.states("clearance") == 5
    after = system.rebuild("clearance")
    assert (after["differences"], after["cut_short"]) == ([], "")
    assert system.rebuild("clearance", "--switch", *WHY)["switched"] == 0
    assert len(system.acts()) == 3, "where nothing differs there is nothing to say"


def test_a_switch_that_is_cut_off_before_its_last_word_is_ended_by_the_next_one_with_what_it_meant(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    say = rebuild_switch._say

    async def once(desk: Any, act: FoldRebuilt) -> None:
        if not act.begun:
            raise KafkaConnectionError("the line is cut")
        await say(desk, act)

    with monkeypatch.context() as patched:
        patched.setattr(rebuild_switch, "_say", once)
        assert "the line is cut" in system.rebuild("documents", "--switch", *WHY, code=1)
    meant = system.acts()[-1]
    assert (meant.begun, meant.fold, counts(meant)) == (True, "documents", (0, 2, 2))
    assert system.states("documents") == 4
    assert system.rebuild("documents")["cut_short"] == meant.record
    before = len(system.acts())
    assert system.rebuild("documents", "--switch", *WHY)["switched"] == 0
    assert [(a.record, a.version, a.begun, counts(a)) for a in system.acts()[before:]] == [(meant.record, 2, False, (0, 2, 2))]
    assert system.states("documents") == 4
    assert system.rebuild("documents")["cut_short"] == ""
