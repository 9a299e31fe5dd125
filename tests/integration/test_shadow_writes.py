"""A shadow without production beside it: whatever it does (statuses, refusals, dead letters, claims, transactions, a refusal to read), nothing that is
production's has a record, a group, a transactional id or a table afterwards."""
from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition
from kafka import KafkaAdminClient
from kafka.structs import OffsetAndMetadata

from agents import reference as reference_files
from agents.cli import root
from agents.embedded import EmbeddedServers
from agents.operations import shadow
from agents.settings import STAGES, group_of
from agents.transport.claim import OWNERS
from agents.transport.fatal import EXIT_REFUSED
from tests.agents.test_cli_kafka import records
from tests.integration.test_operations import BOX, CUSTOMS, FORWARDER, ago, document
from tests.integration.test_transport_worker import LONG, Run
from topics import registry as topic_registry

pytestmark = [pytest.mark.integration, pytest.mark.timeout(450)]

KNOWN = reference_files.load(None)
REGISTRY = topic_registry.build(KNOWN.parties.values(), KNOWN.authorities.values(), KNOWN.crossings.values(), partitions=2)
FOLDS = tuple(stage for stage in STAGES if stage != "ledger")
GROUP = group_of("railclear" + shadow.GROUP, FOLDS)
FIRST_ACTS = ("shadow.outcomes.clearance", "shadow.clearance.status", f"shadow.refusals.{FORWARDER}", "shadow.dead.letters", "shadow.dead.letters.restricted")


@pytest.fixture(scope="module")
def cluster(embedded: EmbeddedServers) -> EmbeddedServers:
    os.environ["RAILCLEAR_PARTITIONS"] = "2"
    try:
        assert root.run(["topics", "apply", "--bootstrap", embedded.bootstrap]) == 0
        assert root.run(["topics", "apply", "--shadow", "--bootstrap", embedded.bootstrap]) == 0
    finally:
        del os.environ["RAILCLEAR_PARTITIONS"]
    asyncio.run(_speak(embedded.bootstrap))
    return embedded


async def _speak(bootstrap: str) -> None:
    """A shipment that is held, what is no message, and a word of risk analysts that is none."""
    declared = {"type": "shipment.declared", "source": FORWARDER, "id": "e-1", "event_time": ago(48), "document": document("72000001"), "corridor": "WEST-A",
                "direction": "west", "containers": [{"container": BOX}]}
    notice = {"type": "customs.notice", "source": CUSTOMS, "id": "e-2", "event_time": ago(2), "authority": "KZ", "system": "GENERIC", "code": "HOLD",
              "container": BOX, "reference": "H1"}
    told = [(FORWARDER, msgspec.json.encode(declared)), (CUSTOMS, msgspec.json.encode(notice)), (FORWARDER, b"{no message"), ("risk-kz", b"{no message")]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for party, value in told:
            await producer.send_and_wait(REGISTRY.parties[party].inbound, value)
    finally:
        await producer.stop()


@pytest.fixture(scope="module")
def admin(cluster: EmbeddedServers) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    yield client
    client.close()


def written(admin: KafkaAdminClient) -> set[str]:
    """Topics that anything was ever written to, markers of claims and transactions among it: read uncommitted."""
    names = [name for name in admin.list_topics() if not name.startswith("__")]
    places = {TopicPartition(t["name"], p["partition_index"]): -1 for t in admin.describe_topics(names) for p in t["partitions"]}
    return {tp.topic for tp, end in admin.list_partition_offsets(places).items() if end.offset}


def test_a_shadow_that_refuses_and_is_refused_writes_nothing_of_productions(cluster: EmbeddedServers, admin: KafkaAdminClient, tmp_path: Path) -> None:
    """Exactly once: CLEARANCE writes in transactions and the other folds under claims, so that both ways of writing are seen."""
    shadowed = {"SHADOW": "true", "STAGES": ",".join(FOLDS), "DSN": cluster.dsn, "DATA_DIR": str(tmp_path / "data"), "EXACTLY_ONCE": "true"}
    runs: list[Run] = []
    try:
        runs.append(run := Run(cluster.bootstrap, tmp_path, **shadowed))
        run.until(lambda: run.ready()[0] == 200 and set(FIRST_ACTS) <= written(admin), "its own words")
        run.process.terminate()
        assert run.process.wait(LONG) == 0
        assert group_of("railclear", FOLDS) not in {p.name.partition(".")[0] for p in (tmp_path / "data" / "state").iterdir()}, "nor a snapshot"
        tp = TopicPartition("shadow.sources.in", 1)
        admin.alter_group_offsets(GROUP, {tp: OffsetAndMetadata(7_000, "", -1)})
        runs.append(again := Run(cluster.bootstrap, tmp_path, **shadowed))
        assert again.process.wait(LONG) == EXIT_REFUSED, again.log.read_text()[-3000:]
    finally:
        for run in runs:
            run.process.kill()
            run.process.wait()
    inbound = {spec.name for spec in REGISTRY.inbound}
    assert {name for name in written(admin) - inbound if not name.startswith(shadow.PREFIX)} == set()
    assert not records(cluster.bootstrap, "ops.alerts")
    assert {listed["group_id"] for listed in admin.list_groups()} == {GROUP}
    ids = {one.transactional_id for some in admin.list_transactions().values() for one in some}
    assert len(ids) >= 10, "every keyed lane has one"
    assert {name for name in ids if not name.startswith(f"{OWNERS}{shadow.PREFIX}")} == set()
    assert asyncio.run(_tables(cluster.dsn)) == []


async def _tables(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("select tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')")
        return [row["tablename"] for row in rows]
    finally:
        await connection.close()
