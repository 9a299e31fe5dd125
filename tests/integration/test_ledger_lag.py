"""Commands that count or send again from the ledger, while it lacks what the log has: they wait, then refuse and say how far behind it is."""
from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from agents.cli import operations, root
from agents.embedded import EmbeddedServers
from tests.agents.ledger_world import fact, facts, notice, shipment
from tests.agents.test_cli_kafka import records
from tests.integration.test_transport_worker import Run
from topics import codec
from topics.events.operations import FeedRetracted, OperatorAct

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SPAN = ("--source", "customs-kz", "--from", "2026-03-04T00:00:00+05:00", "--to", "2026-03-05T00:00:00+05:00")
WHY = ("--reason", "its clock ran ahead", "--by", "duty officer")
SHIP = shipment()


class Bench:
    """A cluster with topics, commands on it, and a ledger that is behind while no worker runs."""

    def __init__(self, servers: EmbeddedServers, logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.servers, self.logs, self.capsys = servers, logs, capsys
        self.run: Run | None = None
        self.err = ""

    def start(self) -> None:
        self.run = Run(self.servers.bootstrap, self.logs, STAGES="ledger", DSN=self.servers.dsn)

    def stop(self) -> None:
        if self.run is not None:
            self.run.process.kill()
            self.run.process.wait()
        self.run = None

    def write(self, topic: str, key: str, value: msgspec.Struct) -> None:
        asyncio.run(self.put(topic, key, value))

    async def put(self, topic: str, key: str, value: msgspec.Struct) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.servers.bootstrap, acks="all")
        await producer.start()
        try:
            await producer.send_and_wait(topic, codec.encode(value), key=key.encode())
        finally:
            await producer.stop()

    def __call__(self, *arguments: str, code: int = 0) -> str:
        self.capsys.readouterr()
        got = root.run([*arguments])
        said = self.capsys.readouterr()
        self.err = said.err
        assert got == code, (got, said.out, said.err)
        assert "Traceback" not in said.err
        return said.out

    def until(self, what: str, sql: str, wanted: int) -> None:
        async def found() -> int:
            connection = await asyncpg.connect(self.servers.dsn)
            try:
                return int(await connection.fetchval(sql))
            except asyncpg.UndefinedTableError:
                return -1
            finally:
                await connection.close()

        assert self.run is not None
        self.run.until(lambda: asyncio.run(found()) == wanted, what)


@pytest.fixture
def bench(embedded: EmbeddedServers, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("COLUMNS", "400")
    for name, value in {"PARTITIONS": "2", "BOOTSTRAP": embedded.bootstrap, "DSN": embedded.dsn}.items():
        monkeypatch.setenv(f"RAILCLEAR_{name}", value)
    made = Bench(embedded, tmp_path, capsys)
    made("topics", "apply")
    yield made
    made.stop()


def test_a_ledger_that_is_behind_is_waited_for_and_what_it_lacks_is_never_left_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start()
    bench.write("custody.in", "CSQU3054383", notice("TD-1", event_id="n-1", container="CSQU3054383"))
    bench.until("the first notice", "select count(*) from event where topic = 'custody.in'", 1)
    assert json.loads(bench("retract", *SPAN, "--dry-run", "--json"))["events"] == 1, "nothing is behind"
    bench.stop()
    bench.write("custody.in", "CSQU3054383", notice("TD-1", event_id="n-2", container="CSQU3054383"))
    bench.write("clearance.in", SHIP, facts(SHIP, fact("CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY", "demand", "hold", event="e-1")))

    # Nobody writes the ledger: the commands refuse, say what it lacks, and have done nothing.
    for more in (("--dry-run",), WHY):
        bench("retract", *SPAN, "--wait", "1s", *more, code=1)
        assert "the ledger is 2 records behind (clearance.in 1, custody.in 1) after 1 s" in bench.err
        assert "nothing was done" in bench.err
        assert "--wait" in bench.err
    bench("reopen", SHIP, "--wait", "1s", *WHY, code=1)
    assert "the ledger is 1 records behind (clearance.in 1)" in bench.err
    assert not records(bench.servers.bootstrap, "operations.control.desk"), "no act was sent"

    # It comes back while a command waits: nothing is left out.
    later = threading.Timer(2.0, bench.start)
    later.start()
    said = bench("retract", *SPAN, "--dry-run", "--wait", "90s")
    later.join()
    assert said.startswith("2 events of customs-kz")
    assert "waiting for the ledger: 2 records behind (clearance.in 1, custody.in 1)" in bench.err
    bench.stop()

    # It falls behind between the counts and the mask: the mask is in force, and the rest is left to --resend.
    acts: list[FeedRetracted] = []

    async def carried_out(desk: operations.Desk, act: OperatorAct) -> None:
        assert isinstance(act, FeedRetracted)
        acts.append(act)
        await bench.put("custody.in", "CSQU3054383", notice("TD-2", event_id="n-3", container="CSQU3054383"))
        await bench.put("operations.acts", "retract/1", act)

    monkeypatch.setattr(operations.Desk, "act", carried_out)
    bench("retract", *SPAN, "--wait", "1s", *WHY, code=1)
    name = acts[0].record
    assert f"{name} is in force, but the ledger is 1 records behind (custody.in 1) after 1 s" in bench.err
    assert f"railclear retract --resend {name} when it has caught up" in bench.err
    bench("retract", "--resend", name, "--wait", "1s", code=1)
    assert "the ledger is 1 records behind (custody.in 1)" in bench.err
    bench.start()
    assert json.loads(bench("retract", "--resend", name, "--wait", "90s", "--json"))["events"] == 3
    bench.stop()

    # Lifting a mask needs no ledger: it is not held up, and says that its counts may be short (of this notice, and of the one that comes with the act).
    bench.write("custody.in", "CSQU3054383", notice("TD-2", event_id="n-4", container="CSQU3054383"))
    told: dict[str, Any] = json.loads(bench("retract", "--undo", name, *WHY, "--json"))
    assert (told["events"], told["ledger_behind"]) == (3, 2)
    assert acts[-1].undone


def test_commands_that_wait_for_the_ledger_refuse_what_is_no_time(bench: Bench) -> None:
    bench("retract", *SPAN, "--wait", "soon", *WHY, code=2)
    assert "is not a duration" in bench.err
    bench("reopen", SHIP, "--wait", "soon", *WHY, code=2)
    assert "is not a duration" in bench.err
