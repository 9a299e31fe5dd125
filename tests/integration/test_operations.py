"""Tools for bad days on a running system: real Kafka, real PostgreSQL, workers as processes, commands as people type them."""
from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka import KafkaAdminClient

from agents import reference as reference_files
from agents.cli import root
from agents.cli.operations import Desk
from agents.cli.rebuild import FOLDS
from agents.demo.crew import Crew
from agents.demo.play import provision
from agents.embedded import EmbeddedServers
from agents.operations.reopen import latest
from agents.places import partitions_of
from agents.runner.cells import Header, pack, unpack
from streams.clearance import ClearanceFold, Shipment
from tests.streams.border_world import demand
from topics import codec
from topics import registry as topic_registry
from topics.events.base import DocumentRef
from topics.events.internal import ShipmentFacts
from topics.events.operations import OperatorAct
from topics.facts import DAY
from topics.identifiers import shipment_id

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LONG = 90.0
"""Patience on a busy machine."""
FORWARDER, RAILWAY, CUSTOMS, TERMINAL = "forwarder-alpha", "ktz", "customs-kz", "terminal-dostyk"
BOX, OLD_BOX, THIRD_BOX, FOURTH_BOX, FIFTH_BOX, SIXTH_BOX = "CSQU3054383", "MZWU2146680", "TCLU4265789", "HLXU1234561", "MSKU1234565", "TGHU1234504"
NOW = datetime.now(UTC).replace(microsecond=0)
PROJECT = Path(__file__).resolve().parents[2]


def document(number: str) -> dict[str, str]:
    return {"kind": "smgs", "number": number, "issuer": "cr", "station": "alashankou", "date": "2026-03-01"}


def shipment(number: str) -> str:
    return str(shipment_id(DocumentRef(**document(number))))  # type: ignore[arg-type]


def ago(hours: float) -> str:
    return (NOW - timedelta(hours=hours)).isoformat()


RETIRED = "71000004"


async def retire(bootstrap: str, ship: str) -> None:
    """A shipment that retired yesterday, as CLEARANCE keeps it."""
    at = int(NOW.timestamp() * 1e6) - DAY
    stub = ClearanceFold().encode_state(Shipment(last_revision=at, retired_at=at, finals={KZ_ENTRY: "DEP"}))
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait("clearance.state", pack(Header(offset=-1, seq=1, due=at + 90 * DAY, now=at), stub), key=ship.encode())
    finally:
        await producer.stop()


class System:
    """A running system, and how a test talks to it."""

    def __init__(self, servers: EmbeddedServers, registry: topic_registry.Registry, crew: Crew) -> None:
        self.servers, self.registry, self.crew = servers, registry, crew
        self.sent = 0

    def send(self, kind: str, party: str, hours: float, /, **fields: Any) -> None:
        """An event of a party that happened so many hours ago."""
        self.sent += 1
        value = {"type": kind, "source": party, "id": f"e-{self.sent}", "event_time": ago(hours), **fields}

        async def put() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.servers.bootstrap, acks="all")
            await producer.start()
            try:
                await producer.send_and_wait(self.registry.parties[party].inbound, msgspec.json.encode(value))
            finally:
                await producer.stop()

        asyncio.run(put())

    def declare(self, number: str, box: str, hours: float) -> str:
        self.send("shipment.declared", FORWARDER, hours, document=document(number), corridor="WEST-A", direction="west", containers=[{"container": box}])
        return shipment(number)

    def query(self, sql: str, *arguments: Any) -> Any:
        async def ask() -> Any:
            connection = await asyncpg.connect(self.servers.dsn)
            try:
                return await connection.fetchval(sql, *arguments)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def until(self, what: str, found: Callable[[], Any]) -> Any:
        """Wait until something holds."""
        end = time.monotonic() + LONG
        while not (value := found()):
            assert time.monotonic() < end, f"never: {what}"
            time.sleep(0.3)
        return value

    def ends(self, *topics: str) -> dict[str, int]:
        async def ask() -> dict[str, int]:
            consumer = AIOKafkaConsumer(bootstrap_servers=self.servers.bootstrap, isolation_level="read_committed")
            await consumer.start()
            try:
                found = await consumer.end_offsets([tp for parts in (await partitions_of(consumer, topics)).values() for tp in parts])
                return {t: sum(n for tp, n in found.items() if tp.topic == t) for t in topics}
            finally:
                await consumer.stop()

        return asyncio.run(ask())

    def latest(self, ship: str, side: str) -> dict[str, Any] | None:
        """The latest ledgered status of a side."""
        body = self.query("select body from status where shipment = $1 and side like $2 order by revision desc limit 1", ship, f"%{side}")
        return None if body is None else json.loads(body)


@pytest.fixture(scope="module")
def system(embedded: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    known = reference_files.load(None)
    registry = topic_registry.build(known.parties.values(), known.authorities.values(), known.crossings.values(), partitions=2)
    provision(embedded.bootstrap, registry)
    asyncio.run(retire(embedded.bootstrap, shipment(RETIRED)))
    crew = Crew(Path(tmp_path_factory.mktemp("workers")), ["--bootstrap", embedded.bootstrap, "--partitions", "2"], {"RAILCLEAR_DSN": embedded.dsn})
    crew.start()
    try:
        crew.wait()
        yield System(embedded, registry, crew)
        crew.check()
    finally:
        crew.stop(kill=True)


@pytest.fixture
def command(system: System, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command on the system, as JSON; a refusal gives what it said on standard error."""
    monkeypatch.setenv("RAILCLEAR_PARTITIONS", "2")
    monkeypatch.setenv("RAILCLEAR_BOOTSTRAP", system.servers.bootstrap)
    monkeypatch.setenv("RAILCLEAR_DSN", system.servers.dsn)
    monkeypatch.setenv("COLUMNS", "300")
    for name in ("USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        asked = [*arguments, "--json"]
        got = root.run(asked)
        said = capsys.readouterr()
        assert got == code, (got, said.out, said.err)
        assert "Traceback" not in said.err
        return json.loads(said.out) if said.out.strip() and code != 2 else said.err

    return run


WHY = ("--reason", "its clock ran ahead", "--by", "duty officer")
KZ_ENTRY = "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY"


def held(system: System, ship: str) -> bool:
    return (system.latest(ship, KZ_ENTRY) or {}).get("state") == "HELD"


def codes(system: System, ship: str) -> set[str]:
    return {f["code"] for f in (system.latest(ship, KZ_ENTRY) or {}).get("findings", [])}


def masked(system: System, ship: str) -> bool:
    said = system.latest(ship, KZ_ENTRY)
    return said is not None and said["state"] != "HELD" and "FACTS_MASKED" in codes(system, ship)


# -- retract ------------------------------------------------------------------------------------------------------------------
def test_a_retracted_hold_counts_as_absent_until_it_is_undone_and_who_and_why_is_in_the_ledger(system: System, command: Callable[..., Any]) -> None:
    ship = system.declare("71000001", BOX, 48)
    system.send("customs.notice", CUSTOMS, 2, authority="KZ", system="GENERIC", code="HOLD", container=BOX, reference="H1")
    system.until("the hold", lambda: held(system, ship))
    span = ("--source", CUSTOMS, "--from", ago(3), "--to", ago(1))
    system.until("the ledger's copy", lambda: system.query("select count(*) from event where source = $1 and topic = 'custody.in'", CUSTOMS))
    dry = command("retract", *span, "--dry-run")
    assert (dry["events"], dry["keys"], dry["shipments"], dry["id"]) == (1, 1, 1, "")
    assert held(system, ship), "a dry run changes nothing"
    done = command("retract", *span, *WHY)
    system.until("the hold is masked, and that is said", lambda: masked(system, ship))
    listed = {r["id"]: r for r in command("retract", "--list")}
    assert (listed[done["id"]]["by"], listed[done["id"]]["reason"], listed[done["id"]]["lifted"]) == ("duty officer", "its clock ran ahead", False)
    body = json.loads(system.until("the act is in the ledger", lambda: system.query(
        "select body from event where type = 'operations.retract' and body->>'record' = $1", done["id"])))
    assert (body["by"], body["reason"], body["feed"]) == ("duty officer", "its clock ran ahead", CUSTOMS)
    command("retract", "--undo", done["id"], *WHY)
    system.until("the hold is back", lambda: held(system, ship))
    assert "lifted already" in command("retract", "--undo", done["id"], *WHY, code=2)


def test_what_a_masked_word_had_overwritten_is_sent_again_from_the_ledger(system: System, command: Callable[..., Any]) -> None:
    ship = system.declare("71000006", THIRD_BOX, 48)

    def gross() -> Any:
        value = system.query("select value from fact where shipment = $1 and key = array['mass', 'dostyk'] order by version desc limit 1", ship)
        return None if value is None else json.loads(value)["gross_kg"]

    for version, hours, kg in ((1, 9.0, 20_000.0), (2, 5.0, 9.0)):
        system.send("terminal.event", TERMINAL, hours, place="dostyk", what="weighed", container=THIRD_BOX, record="w-1", version=version, gross_kg=kg)
    system.until("the second weighing", lambda: gross() == 9.0)
    done = command("retract", "--source", TERMINAL, "--from", ago(6), "--to", ago(4), *WHY)
    assert done["events"] == 1
    assert done["resent"] >= 1
    system.until("the first weighing counts again", lambda: gross() == 20_000.0)
    assert command("retract", "--resend", done["id"])["resent"] == done["resent"]
    lifted = command("retract", "--undo", done["id"], *WHY, "--dsn", "postgresql://a@127.0.0.1:1/b")
    assert "the ledger does not answer" in lifted["not_counted"], "a mask is lifted without the ledger; how much counts again is not known then"
    system.until("the second weighing is back", lambda: gross() == 9.0)


@pytest.mark.parametrize(("arguments", "said"), [
    (("retract", "--source", "custom-kz", "--from", ago(3), "--to", ago(1), *WHY), "is no party of the registry"),
    (("retract", "--source", CUSTOMS, "--from", "2026-03-01T00:00:00", "--to", ago(1), *WHY), "has no zone"),
    (("retract", "--source", CUSTOMS, "--from", ago(1), "--to", ago(3), *WHY), "is before --from"),
    (("retract", "--source", CUSTOMS, "--from", ago(3), *WHY), "needs --from and --to"),
    (("retract", "--source", CUSTOMS, "--from", ago(3), "--to", ago(1), "--by", "x"), "--reason"),
    (("retract", "--undo", "R-nothing", *WHY), "no retraction R-nothing"),
    (("retract",), "say one of"),
    (("pause", "nobody", *WHY), "is no party of the registry"),
    (("pause", "operations-desk", *WHY), "operators' own party"),
    (("pause", RAILWAY, *WHY, "--as", FORWARDER), "is no party of operators"),
    (("reopen", BOX, *WHY), "railclear status"),
    (("drain", "--wait", "soon", *WHY), "is not a duration"),
    (("drain", "--by", "x"), "--reason"), (("drain", "--reason", "y"), "--by"),
    (("rebuild", "--fold", "trains"), "the ledger keeps arrivals, departures and passages only"),
    (("rebuild", "--fold", "custody"), "the ledger keeps no movements"),
    (("rebuild", "--fold", "everything"), "is no fold; choose clearance or documents"),
])
def test_bad_input_is_refused_with_what_to_do(command: Callable[..., Any], arguments: tuple[str, ...], said: str) -> None:
    assert said in command(*arguments, code=2)


# -- pause, drain -------------------------------------------------------------------------------------------------------------
def test_a_paused_party_waits_in_kafka_others_go_on_and_nothing_is_lost(system: System, command: Callable[..., Any]) -> None:
    done = command("pause", TERMINAL, *WHY)
    assert (done["topic"], done["paused"]) == (system.registry.parties[TERMINAL].inbound, True)
    time.sleep(1.5)
    system.send("terminal.event", TERMINAL, 1, place="dostyk", what="gate_in", container=BOX)
    mine = f"{TERMINAL}/terminal.event/e-{system.sent}"
    system.send("customs.notice", CUSTOMS, 0.5, authority="KZ", system="GENERIC", code="HOLD", container=BOX, reference="H2")
    other = f"{CUSTOMS}/customs.notice/e-{system.sent}"
    told = "select count(*) from event where event_id = $1 and topic = 'custody.in'"
    system.until("another party's word", lambda: system.query(told, other))
    assert system.query(told, mine) == 0
    stale = "select count(*) from event where type = 'source.freshness' and body->>'source' = $1 and (body->>'live')::bool is false"
    system.until("that it is stale", lambda: system.query(stale, TERMINAL))
    assert command("resume", TERMINAL, "--dry-run")["was_paused"] is True
    command("resume", TERMINAL, *WHY)
    system.until("what had waited", lambda: system.query(told, mine))


def test_a_drained_system_has_nothing_on_the_way_and_takes_nothing_until_it_is_resumed(system: System, command: Callable[..., Any]) -> None:
    ship = system.declare("71000002", OLD_BOX, 24)
    done = command("drain", "--wait", "80s", *WHY)
    assert done["drained"] is True
    assert not any(done["folds"].values())
    assert done["ledger"] == 0
    assert system.latest(ship, KZ_ENTRY), "what was taken is worked off, and in the ledger"
    before = system.ends("documents.in")
    late = system.declare("71000003", OLD_BOX, 12)
    time.sleep(2)
    assert system.ends("documents.in") == before
    assert command("drain", "--dry-run")["input"] == 1
    command("drain", "--resume", *WHY)
    system.until("what came meanwhile", lambda: system.latest(late, KZ_ENTRY))


def test_a_drain_that_cannot_end_says_so(system: System, command: Callable[..., Any]) -> None:
    assert command("drain", "--wait", "1s", *WHY, code=1)["drained"] is False
    command("drain", "--resume", *WHY)


# -- reopen -------------------------------------------------------------------------------------------------------------------
def test_a_retired_shipment_comes_alive_again_and_one_that_lives_is_left_alone(system: System, command: Callable[..., Any], monkeypatch: Any) -> None:
    ship = system.declare(RETIRED, FOURTH_BOX, 24)
    parked = "select count(*) from outcome where stage = 'clearance' and body::text like '%SHIPMENT_RETIRED%'"
    system.until("that what comes for a stub is parked", lambda: system.query(parked))
    assert system.latest(ship, KZ_ENTRY) is None
    dry = command("reopen", ship, "--dry-run")
    assert dry["facts"] > 0
    assert dry["retired"]
    through = Desk.act

    async def with_news(desk: Desk, act: OperatorAct) -> None:
        """A hold that comes while the act is on its way: it meets a stub, and the ledger was read before."""
        await through(desk, act)
        hold = demand(KZ_ENTRY, "hold", "H4", "opened", int(NOW.timestamp() * 1e6), "KZ")
        await desk.producer.send_and_wait("clearance.in", codec.encode(ShipmentFacts(shipment=ship, facts=(hold,))), key=ship.encode())

    monkeypatch.setattr(Desk, "act", with_news)
    done = command("reopen", ship, *WHY)
    assert done["facts"] == dry["facts"] + 1
    system.until("the hold", lambda: held(system, ship))
    assert "is not retired" in command("reopen", ship, *WHY, code=2)
    command("reopen", "SAAAAAAAAAAAA", *WHY, code=1)


# -- verify -------------------------------------------------------------------------------------------------------------------
def test_the_ledger_is_proven_and_what_was_changed_is_named(system: System, command: Callable[..., Any]) -> None:
    found = command("verify")
    assert found["records"] > 10
    assert not found.get("broken")
    place = system.query("select row_to_json(e) from (select topic, part, off, recorded from event where topic = 'custody.in' order by off desc limit 1) e")
    at = json.loads(place)
    where = "topic = $1 and part = $2 and off = $3"
    was = system.query(f"select source from event where {where}", at["topic"], at["part"], at["off"])
    change = f"update event set source = $4 where {where} returning 1"
    assert system.query(change, at["topic"], at["part"], at["off"], "somebody-else") == 1
    broken = command("verify", code=1)["broken"]
    assert [(b["topic"], b["partition"], b["offset"]) for b in broken] == [(at["topic"], at["part"], at["off"])]
    assert "source" in broken[0]["reason"]
    system.query(change, at["topic"], at["part"], at["off"], was)
    command("verify")


# -- shadow -------------------------------------------------------------------------------------------------------------------
def test_a_shadow_says_everything_under_its_own_names_and_nothing_to_borders_or_about_alerts(
    system: System, command: Callable[..., Any], tmp_path: Path
) -> None:
    outward = [spec.name for kind in ("border", "office", "territory", "alerts", "status", "acts") for spec in system.registry.by_kind(kind)]  # type: ignore[arg-type]
    command("topics", "apply", "--shadow")
    before = system.ends(*outward, "clearance.history", "clearance.state", "trains.in")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAILCLEAR_")}
    with open(tmp_path / "shadow.log", "wb") as log:
        worker = subprocess.Popen([sys.executable, "-m", "agents.cli", "worker", "--shadow", "--bootstrap", system.servers.bootstrap, "--partitions", "2",
                                   "--http-port", "0"], cwd=PROJECT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        system.until("the shadow's statuses", lambda: system.ends("shadow.clearance.history")["shadow.clearance.history"])
        system.until("its states", lambda: system.ends("shadow.clearance.state")["shadow.clearance.state"])
        assert worker.poll() is None, (tmp_path / "shadow.log").read_text()[-3000:]
    finally:
        worker.terminate()
        worker.wait(30)
    assert system.ends(*outward, "clearance.history", "clearance.state", "trains.in") == before
    assert not any(system.ends("shadow.ops.alerts", "shadow.border.cn-kz-alashankou-dostyk.kz").values())
    assert "shadow" in command("worker", "--shadow", "--stages", "ledger,clearance", code=2)


# -- rebuild (last: the workers stand still for it) ----------------------------------------------------------------------------
def test_a_damaged_state_is_found_switched_only_while_workers_stand_still_and_said_after_it(system: System, command: Callable[..., Any]) -> None:
    ship = system.declare("71000005", OLD_BOX, 20)
    system.send("filing.lodged", FORWARDER, 19, authority="KZ", kind="pi", number="PI-5", documents=[document("71000005")])
    system.send("customs.notice", CUSTOMS, 18, authority="KZ", system="GENERIC", code="HOLD", reference="H5", document=document("71000005"))
    system.until("the hold", lambda: held(system, ship))
    assert command("drain", "--wait", "80s", *WHY)["drained"]
    intact = command("rebuild", "--fold", "documents")
    assert intact["same"] == intact["keys"] >= 2
    assert command("rebuild", "--fold", "clearance")["differences"] == []
    assert "workers with clearance run" in command("rebuild", "--fold", "clearance", "--switch", *WHY, code=2)
    system.crew.stop()
    asyncio.run(damage(system, ship))
    found = command("rebuild", "--fold", "clearance", code=1)
    assert [(d["key"], d["kind"]) for d in found["differences"]] == [(ship, "differs")]
    assert any("demand/hold" in name for name in found["differences"][0]["more"])
    system.until("the group is empty", lambda: root.run(["rebuild", "--fold", "clearance", "--switch", *WHY]) == 0)
    assert command("rebuild", "--fold", "clearance")["differences"] == []
    before = system.latest(ship, KZ_ENTRY)
    system.crew.start()
    system.crew.wait()
    command("drain", "--resume", *WHY)
    acts = "select json_agg(body order by (body->>'version')::int)::text from event where type = 'operations.rebuild'"
    said = system.until("both acts are in the ledger", lambda: (found := json.loads(system.query(acts) or "[]"))[1:] and found)
    assert [(a["version"], a.get("begun", False), a["keys"], a["by"]) for a in said] == [(1, True, 1, "duty officer"), (2, False, 1, "duty officer")]
    assert before is not None
    assert held(system, ship)


def test_a_state_topic_that_was_lost_comes_back_from_the_ledger(system: System, command: Callable[..., Any]) -> None:
    """Workers refuse a state that does not say its input in a group that has read on: the switch says it."""
    ship = system.declare("71000006", FIFTH_BOX, 20)
    system.send("customs.notice", CUSTOMS, 18, authority="KZ", system="GENERIC", code="HOLD", reference="H6", document=document("71000006"))
    quiet = system.declare("71000007", SIXTH_BOX, 20)
    system.send("customs.notice", CUSTOMS, 15, authority="KZ", system="GENERIC", code="HOLD", reference="H7", document=document("71000007"))
    system.until("both holds", lambda: held(system, ship) and held(system, quiet))
    command("retract", "--source", CUSTOMS, "--from", ago(15.5), "--to", ago(14.5), *WHY)
    system.send("network.crossing", "network-control", 1, crossing=KZ_ENTRY.partition(":")[0], state="closed")
    system.until("the closure, and that the hold is masked", lambda: masked(system, quiet) and "CROSSING_CLOSED" in codes(system, quiet))
    assert command("drain", "--wait", "80s", *WHY)["drained"]
    for fold in FOLDS:
        assert command("rebuild", "--fold", fold)["differences"] == [], "what concerns everybody is in the ledger as the workers keep it"
    system.crew.stop()
    admin = KafkaAdminClient(bootstrap_servers=system.servers.bootstrap)
    admin.delete_topics(lost := [f"{fold}.state" for fold in FOLDS])
    system.until("the topics are gone", lambda: not set(lost) & set(admin.list_topics()))
    admin.close()
    command("topics", "apply")
    found = command("rebuild", "--fold", "clearance", code=1)
    assert (ship, "missing") in [(d["key"], d["kind"]) for d in found["differences"]]
    for slot in (f"mask:{CUSTOMS}:", "crossing:"):
        assert len({d["key"].partition(f": {slot}")[0] for d in found["differences"] if f": {slot}" in d["key"]}) == 2, "in both partitions"
    for fold in FOLDS:
        system.until("the group is empty", lambda fold=fold: root.run(["rebuild", "--fold", fold, "--switch", *WHY]) == 0)  # type: ignore[misc]
        assert command("rebuild", "--fold", fold)["differences"] == []
    before = system.query(revision := "select max(revision) from status where shipment = $1 and side = $2", quiet, KZ_ENTRY)
    system.crew.start()
    system.crew.wait()
    command("drain", "--resume", *WHY)
    system.send("customs.notice", CUSTOMS, 1, authority="KZ", system="GENERIC", code="LIFT", reference="H6", document=document("71000006"))
    system.until("the hold is lifted", lambda: not held(system, ship))
    system.send("filing.lodged", FORWARDER, 1, authority="KZ", kind="pi", number="PI-7", documents=[document("71000007")])
    system.until("news of the other", lambda: system.query(revision, quiet, KZ_ENTRY) > before)
    assert masked(system, quiet)
    told = "from status where shipment = $1 and side = $2 and revision > $3 and not (body::text like '%CROSSING_CLOSED%' and body::text like '%FACTS_MASKED%')"
    assert system.query(f"select count(*) {told}", quiet, KZ_ENTRY, before) == 0, "and never was it said otherwise"


async def damage(system: System, ship: str) -> None:
    """A state without its hold, as if a disk had given wrong bytes."""
    consumer = AIOKafkaConsumer(bootstrap_servers=system.servers.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=system.servers.bootstrap, acks="all")
    await consumer.start()
    await producer.start()
    try:
        value = await latest(consumer, "clearance.state", ship)
        assert value is not None
        header, data = unpack(value)
        fold = ClearanceFold()
        state = fold.decode_state(data)
        poorer = msgspec.structs.replace(state, facts=tuple(f for f in state.facts if f.key[0] != "demand"))
        assert len(poorer.facts) < len(state.facts)
        await producer.send_and_wait("clearance.state", pack(msgspec.structs.replace(header, seq=header.seq + 1), fold.encode_state(poorer)), key=ship.encode())
    finally:
        await consumer.stop()
        await producer.stop()
