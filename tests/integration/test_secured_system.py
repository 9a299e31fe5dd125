"""The real commands on a secured broker, each account with the rights that docs/transport.md lists for it and no others: topics, a worker, an operator."""
from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.admin import ACLResourcePatternType as Pattern

from agents import provisioning
from agents import reference as reference_files
from agents.cli import root
from agents.embedded import Postgres
from agents.embedded.jars import aot_file, cache_directory, class_path
from agents.embedded.kafka import Broker
from agents.embedded.security import Secured, secure
from agents.ledger.writer import security_of
from agents.operations import safety
from agents.places import partitions_of
from agents.provisioning import ProvisioningError
from topics import registry as topic_registry
from topics.events.base import DocumentRef
from topics.identifiers import shipment_id

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
LONG = 60.0
"""Patience on a busy machine."""
PASSWORD = "a-word-for-tests-only"
KNOWN = reference_files.load(None)
REGISTRY = topic_registry.build(KNOWN.parties.values(), KNOWN.authorities.values(), KNOWN.crossings.values(), partitions=2)


class Right(NamedTuple):
    """One row of a table of docs/transport.md."""

    operations: str
    kind: str
    """topic, group, transactional id, cluster."""
    names: str
    """Of topics: as in the registry, `*` for any part. Of groups and transactional ids: `*` at the end, a prefix."""
    what_for: str

    @property
    def row(self) -> str:
        names = ", ".join(f"`{name}`" for name in self.names.split())
        return f"| {self.operations} | {self.kind} | {names} | {self.what_for} |"


INBOUND = " ".join(f"{first}.*" for first in dict.fromkeys(topic_registry.INBOUND.values()))
REVISIONS = "clearance.status restricted.revisions readiness.revisions"
WORKER = (
    Right("READ", "topic", INBOUND, "intake"),
    Right("READ, WRITE", "topic", "*.in", "inputs of the folds; the ledger reads four of them"),
    Right("READ, WRITE, DESCRIBE_CONFIGS", "topic", f"*.state {REVISIONS}", "what the folds know and have said; whether it is safe there"),
    Right("READ, WRITE", "topic", "operations.acts", "intake writes what operators decide, and every worker with it and the ledger read it"),
    Right("READ, WRITE", "topic", "clearance.history ops.alerts outcomes.*", "the ledger reads what the stages write"),
    Right("WRITE", "topic", "border.* office.* territory.* restricted.* status.* refusals.* train.readiness", "what others are told"),
    Right("WRITE", "topic", "dead.letters dead.letters.restricted", "what was refused"),
    Right("READ", "group", "railclear-*", "the groups of the stages and of the ledger; begins with the setting `group`"),
    Right("WRITE", "transactional id", "railclear-*", "in both modes: under such an id each lane is owned, see below"),
)
ADMINISTRATOR = (
    Right("CREATE", "cluster", "kafka-cluster", "`topics apply` makes what is missing"),
    Right("DESCRIBE, DESCRIBE_CONFIGS, ALTER, ALTER_CONFIGS", "topic", "*", "and brings what there is up to date (ALTER: more partitions)"),
)
OPERATOR = (
    Right("WRITE", "topic", "operations.control.*", "acts, on the desk's own topic"),
    Right("READ", "topic", "operations.acts refusals.operations-* outcomes.intake", "what becomes of them, and railclear's time"),
    Right("READ", "topic", f"{INBOUND} *.in clearance.history ops.alerts outcomes.*", "`drain`: what is behind"),
    Right("DESCRIBE", "group", "railclear-*", "`drain`: how far everybody is"),
)
TABLES = {"A worker": WORKER, "An administrator": ADMINISTRATOR, "An operator": OPERATOR}
"""By the words that the docs put before each table."""

KINDS = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "transactional id": ResourceType.TRANSACTIONAL_ID, "cluster": ResourceType.CLUSTER}


def acls(user: str, rights: Sequence[Right]) -> list[ACL]:
    """Each right as Kafka takes it: topics by name, groups and ids by prefix."""
    found = []
    for right in rights:
        for name in right.names.split():
            topics = [t for t in REGISTRY.topics if fnmatchcase(t, name)] if right.kind == "topic" and name != "*" else [name.rstrip("*") or "*"]
            assert topics, f"{name} names no topic"
            pattern = Pattern.PREFIXED if right.kind != "topic" and name.endswith("*") else Pattern.LITERAL
            found += [ACL(principal=f"User:{user}", host="*", operation=ACLOperation[operation], permission_type=ACLPermissionType.ALLOW,
                          resource_pattern=ResourcePattern(KINDS[right.kind], topic, pattern))
                      for topic in topics for operation in right.operations.split(", ")]
    return list({(a.operation, a.resource_pattern.resource_type, a.resource_pattern.resource_name): a for a in found}.values())


def test_the_docs_list_these_rights_and_no_others() -> None:
    section = (ROOT / "docs/transport.md").read_text().partition("## What Kafka's rights must allow\n")[2].partition("\n## ")[0]
    for words, rights in TABLES.items():
        table = section.partition(f"\n{words}")[2].partition("|---|---|---|---|\n")[2].partition("\n\n")[0]
        assert table.splitlines() == [right.row for right in rights], words


def test_every_topic_of_a_worker_is_in_its_rights_and_no_outside_party_gets_more() -> None:
    named = {a.resource_pattern.resource_name for a in acls("worker", WORKER) if a.resource_pattern.resource_type == ResourceType.TOPIC}
    assert named == set(REGISTRY.topics)
    written = {a.resource_pattern.resource_name for a in acls("worker", WORKER) if a.operation == ACLOperation.WRITE} - {"railclear-"}
    assert written == {t for t in REGISTRY.topics if REGISTRY.may_write(topic_registry.RAILCLEAR, t)}


class System:
    """A secured broker, PostgreSQL, and accounts on them."""

    def __init__(self, broker: Broker, made: Secured, dsn: str, logs: Path) -> None:
        self.broker, self.made, self.dsn, self.logs = broker, made, dsn, logs
        self.security = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": made.username,
                         "sasl_plain_password": made.password, "ssl_context": ssl.create_default_context(cafile=str(made.ca_file))}
        self.sent = 0

    def account(self, user: str, rights: Sequence[Right]) -> dict[str, str]:
        """A new account with these rights; the environment of whoever uses it."""
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap, **self.security)
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, password=PASSWORD, iterations=8192)])
        assert admin.create_acls(acls(user, rights))["failed"] == []
        admin.close()
        return {"RAILCLEAR_BOOTSTRAP": self.broker.bootstrap, "RAILCLEAR_DSN": self.dsn, "RAILCLEAR_PARTITIONS": "2", "RAILCLEAR_SASL_USERNAME": user,
                "RAILCLEAR_SASL_PASSWORD": PASSWORD, "RAILCLEAR_SSL_CAFILE": str(self.made.ca_file), "RAILCLEAR_SECURITY_PROTOCOL": "SASL_SSL"}

    def worker(self, log: str, account: dict[str, str], **more: str) -> subprocess.Popen[bytes]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAILCLEAR_")}
        with open(self.logs / log, "wb") as out:
            return subprocess.Popen([sys.executable, "-m", "agents.cli", "worker", "--http-port", "0"], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
                                    env={**kept, **account, **more, "TMPDIR": str(self.logs)})

    def logged(self, log: str) -> str:
        return (self.logs / log).read_text()

    async def send(self, kind: str, party: str, **fields: Any) -> None:
        self.sent += 1
        value = {"type": kind, "source": party, "id": f"e-{self.sent}", "event_time": datetime.now(UTC).isoformat(), **fields}
        producer = AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap, acks="all", **self.security)
        await producer.start()
        try:
            await producer.send_and_wait(REGISTRY.parties[party].inbound, msgspec.json.encode(value))
        finally:
            await producer.stop()

    async def said(self, topic: str, word: bytes) -> bool:
        """Whether a committed record of the topic has this in it."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.broker.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed", **self.security)
        await consumer.start()
        try:
            parts = (await partitions_of(consumer, [topic]))[topic]
            consumer.assign(parts)
            await consumer.seek_to_beginning(*parts)
            ends = await consumer.end_offsets(parts)
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    if any(word in record.value for record in records if record.value):
                        return True
            return False
        finally:
            await consumer.stop()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made, cache, logs = secure(tmp_path_factory.mktemp("secure")), cache_directory(), tmp_path_factory.mktemp("logs")
    classpath = class_path(cache)
    postgres = Postgres(tmp_path_factory.mktemp("postgres"))
    try:
        postgres.start().wait()
        with Broker(classpath, conf=made.conf, scram=made.scram, aot=aot_file(cache, classpath)) as broker:
            yield System(broker, made, postgres.dsn, logs)
    finally:
        postgres.close()


@pytest.fixture(scope="module")
def provisioned(system: System) -> dict[str, str]:
    """The administrator's account, after it has made the topics."""
    account = system.account("administrator", ADMINISTRATOR)
    run = subprocess.run([sys.executable, "-m", "agents.cli", "topics", "apply"], cwd=ROOT, env={**os.environ, **account}, capture_output=True, text=True,
                         check=False, timeout=LONG)
    assert run.returncode == 0, run.stdout + run.stderr
    return account


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command as an account."""
    def run(account: dict[str, str], *arguments: str, code: int = 0) -> Any:
        for name, value in account.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        got = root.run([*arguments, "--json"])
        said = capsys.readouterr()
        assert got == code, (got, said.out[-2000:], said.err[-2000:])
        return json.loads(said.out) if said.out.strip() else said.err

    return run


@pytest.fixture(scope="module")
def accounts(system: System, provisioned: dict[str, str]) -> dict[str, dict[str, str]]:
    return {"worker": system.account("worker", WORKER), "operator": system.account("operator", OPERATOR)}


WHY = ("--reason", "floods us", "--by", "duty officer")


@pytest.mark.parametrize(("exactly_once", "number", "box"), [("false", "72000001", "CSQU3054383"), ("true", "72000002", "MZWU2146680")])
def test_a_worker_with_all_stages_runs_with_exactly_its_rights_and_an_operator_with_his(
    system: System, accounts: dict[str, dict[str, str]], command: Callable[..., Any], exactly_once: str, number: str, box: str,
) -> None:
    log = f"worker-{exactly_once}.log"
    document = {"kind": "smgs", "number": number, "issuer": "cr", "station": "alashankou", "date": "2026-03-01"}
    ship = str(shipment_id(DocumentRef(**document)))
    worker = system.worker(log, accounts["worker"], RAILCLEAR_EXACTLY_ONCE=exactly_once)
    try:
        asyncio.run(system.send("shipment.declared", "forwarder-alpha", document=document, corridor="WEST-A", direction="west",
                                containers=[{"container": box}]))
        asyncio.run(system.send("customs.notice", "customs-kz", authority="KZ", system="GENERIC", code="HOLD", reference="H1", document=document))
        end = time.monotonic() + LONG
        for topic in ("border.cn-kz-alashankou-dostyk.kz", "status.forwarder-alpha", "clearance.history"):
            while not asyncio.run(system.said(topic, ship.encode())):
                assert time.monotonic() < end, f"nothing in {topic}:\n{system.logged(log)[-4000:]}"
                assert worker.poll() is None, system.logged(log)[-4000:]
        operator = accounts["operator"]
        assert command(operator, "pause", "ktz", *WHY)["paused"] is True
        assert command(operator, "resume", "ktz", *WHY)["was_paused"] is True
        assert set(command(operator, "drain", "--dry-run")["folds"]) > {"clearance.in"}
        assert command(operator, "drain", "--wait", "40s", *WHY)["drained"] is True
        command(operator, "drain", "--resume", *WHY)
        assert ship in json.dumps(command(operator, "status", ship)), "the ledger has it, too"
        assert worker.poll() is None
    finally:
        worker.terminate()
        code = worker.wait(LONG)
    said = system.logged(log)
    assert code == 0, said[-3000:]
    assert "uthoriz" not in said, "no right was missing"


def test_without_read_on_the_operators_acts_a_worker_refuses_and_names_the_right(system: System, provisioned: dict[str, str]) -> None:
    """It would read what operators have paused."""
    less = [right._replace(operations="WRITE") if right.names == "operations.acts" else right for right in WORKER]
    worker = system.worker("deaf.log", system.account("deaf", less), RAILCLEAR_STAGES="intake")
    assert worker.wait(LONG) == 78, system.logged("deaf.log")[-3000:]
    assert "READ on operations.acts is not granted" in system.logged("deaf.log")


def test_without_describe_configs_a_worker_says_that_it_does_not_know_whether_its_states_are_safe(
    system: System, accounts: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One broker has one replica; here that counts as many, so that settings are asked for."""
    monkeypatch.setattr(provisioning, "REPLICAS_SAFE", 1)
    system.account("blind", [right._replace(operations=right.operations.removesuffix(", DESCRIBE_CONFIGS")) for right in WORKER])

    def look(user: str) -> Any:
        security = security_of("SASL_SSL", user, PASSWORD, str(system.made.ca_file))
        return safety.look_at({"bootstrap_servers": [system.broker.bootstrap], **security}, ["clearance.state"])

    assert look("worker") == {"clearance.state": "min.insync.replicas is 1 of 1 replicas"}
    with pytest.raises(ProvisioningError, match="is DESCRIBE_CONFIGS granted"):
        look("blind")


def test_an_administrator_brings_topics_up_to_date_and_a_worker_may_not(
    system: System, provisioned: dict[str, str], accounts: dict[str, dict[str, str]], command: Callable[..., Any],
) -> None:
    """Last, because it gives inbound topics more partitions."""
    more = {"RAILCLEAR_PARTITIONS": "8"}
    assert command({**provisioned, "RAILCLEAR_PARTITIONS": "2"}, "topics", "diff")["create"] == []
    assert "uthoriz" in command({**accounts["worker"], **more}, "topics", "apply", code=2)
    admin = KafkaAdminClient(bootstrap_servers=system.broker.bootstrap, **system.security)
    admin.alter_configs([ConfigResource("TOPIC", "trains.in", {"retention.ms": "3600000"})])
    admin.close()
    plan = command({**provisioned, **more}, "topics", "apply", code=3)
    assert plan["grow"], "inbound topics grow, those of folds are refused"
    assert [a["topic"] for a in plan["alter"]] == ["trains.in"]
    after = command({**provisioned, **more}, "topics", "diff", code=3)
    assert (after["grow"], after["alter"]) == ([], [])
