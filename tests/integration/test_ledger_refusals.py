"""A worker whose ledger would skip records or mix two histories: an alert, exit code 78, one line; and how a person lets it go on."""
from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiokafka.structs import TopicPartition
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from agents.cli import root
from agents.embedded import EmbeddedServers
from agents.transport.fatal import EXIT_CRASH, EXIT_REFUSED
from tests.agents.ledger_world import database, notice
from tests.agents.test_cli_kafka import records
from tests.integration.test_transport_worker import LONG, Run
from topics import codec
from topics.events.outputs import Alert

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

TP = TopicPartition("custody.in", 1)
PLACE = "custody.in/1"
WHY = ("--reason", "down for two weeks", "--by", "duty officer")


class Bench:
    """A cluster with the registry's topics, and a database of one's own."""

    def __init__(self, servers: EmbeddedServers, dsn: str, logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.bootstrap, self.dsn, self.logs, self.capsys = servers.bootstrap, dsn, logs, capsys
        self.runs: list[Run] = []
        self.admin = KafkaAdminClient(bootstrap_servers=servers.bootstrap)

    def start(self, stages: str) -> Run:
        self.runs.append(Run(self.bootstrap, self.logs, STAGES=stages, DSN=self.dsn))
        return self.runs[-1]

    def stop(self) -> None:
        for run in self.runs:
            run.process.kill()
            run.process.wait()
        self.runs.clear()

    def write(self, number: int) -> int:
        """Where it ends now."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap)
        for _ in range(number):
            put = producer.send(TP.topic, codec.encode(notice("N")), key=b"CSQU3054383", partition=TP.partition).get(LONG)
        producer.close()
        return int(put.offset) + 1

    async def _next(self) -> int:
        connection = await asyncpg.connect(self.dsn)
        try:
            return int(await connection.fetchval("select next_offset from ledger_offset where topic = $1 and part = $2", *TP) or 0)
        except asyncpg.UndefinedTableError:
            return 0
        finally:
            await connection.close()

    def read_to(self, run: Run, offset: int) -> None:
        run.until(lambda: asyncio.run(self._next()) == offset, f"a ledger that has read to {offset}")

    def refused(self, stages: str) -> str:
        """What a worker says at its end."""
        run = self.start(stages)
        assert run.process.wait(LONG) == EXIT_REFUSED, run.log.read_text()[-3000:]
        said = run.log.read_text()
        assert "Traceback" not in said
        return said.splitlines()[-1]

    def alerts(self) -> list[Alert]:
        said = [msgspec.json.decode(r.value, type=Alert) for r in records(self.bootstrap, "ops.alerts")]
        return [alert for alert in said if alert.name == "TransportRefused"]

    def __call__(self, *arguments: str, code: int = 0) -> str:
        self.capsys.readouterr()
        got = root.run([*arguments])
        said = self.capsys.readouterr()
        assert got == code, (got, said.out, said.err)
        assert "Traceback" not in said.err
        return said.out + said.err


@pytest.fixture
def bench(embedded: EmbeddedServers, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name in [n for n in os.environ if n.startswith("RAILCLEAR_")]:
        monkeypatch.delenv(name)
    dsn = asyncio.run(database(embedded.dsn))
    for name, value in {"PARTITIONS": "2", "BOOTSTRAP": embedded.bootstrap, "DSN": dsn}.items():
        monkeypatch.setenv(f"RAILCLEAR_{name}", value)
    monkeypatch.setenv("COLUMNS", "400")
    made = Bench(embedded, dsn, tmp_path, capsys)
    made("topics", "apply")
    yield made
    made.stop()
    made.admin.close()


def test_a_worker_refuses_a_gap_of_its_ledger_until_a_person_accepts_it(bench: Bench) -> None:
    assert "no ledger yet" in bench("accept-gap", PLACE, "--dry-run", code=2)
    before = bench.write(3)
    run = bench.start("ledger")
    bench.read_to(run, before)
    assert f"{PLACE} has no gap: the ledger has read it to {before}" in bench("accept-gap", PLACE, *WHY, code=2)
    bench.stop()
    run = bench.start("ledger")                         # nothing was deleted: it goes on
    now = bench.write(4)
    bench.read_to(run, now)
    bench.stop()
    end = bench.write(4)
    bench.admin.delete_records({TP: now + 2})
    gap = f"offsets {now} to {now + 1} were deleted before the ledger has read them"
    for stages in ("ledger", "intake,sources,ledger"):
        told = len(bench.alerts())
        last = bench.refused(stages)
        assert "REFUSED" in last
        assert gap in last
        assert f"railclear accept-gap {PLACE}" in last
        found = bench.alerts()
        assert len(found) == told + 1
        assert (found[-1].key, found[-1].severity, found[-1].state) == (f"TransportRefused/ledger/{PLACE}", "critical", "open")
        assert gap in found[-1].detail

    assert f"goes on at {now + 2}" not in bench("accept-gap", PLACE, "--dry-run")
    assert "no gap was ever accepted" in bench("accept-gap", "--list")
    assert "say why with --reason" in bench("accept-gap", PLACE, "--by", "duty officer", code=2)
    accepted: dict[str, Any] = json.loads(bench("accept-gap", PLACE, *WHY, "--json"))
    assert accepted == {"topic": TP.topic, "partition": TP.partition, "first": now, "last": now + 1, "accepted": True}
    listed, = json.loads(bench("accept-gap", "--list", "--json"))
    assert (listed["first"], listed["last"], listed["by"], listed["reason"]) == (now, now + 1, "duty officer", "down for two weeks")
    told = len(bench.alerts())
    run = bench.start("intake,sources,ledger")
    bench.read_to(run, end)
    assert run.process.poll() is None
    assert len(bench.alerts()) == told
    bench.stop()
    assert f"{PLACE}: offsets {now} to {now + 1} were never read; accepted by duty officer: down for two weeks" in bench("verify")


@pytest.mark.parametrize("place", ["custody.in", "custody.in/x", "/1"])
def test_what_is_no_partition_is_refused(bench: Bench, place: str) -> None:
    assert "is no TOPIC/PARTITION" in bench("accept-gap", place, *WHY, code=2)
    assert "name one partition" in bench("accept-gap", *WHY, code=2)


def test_a_topic_that_was_made_anew_is_refused_and_is_no_gap_to_accept(bench: Bench) -> None:
    before = bench.write(1)
    run = bench.start("ledger")
    bench.read_to(run, before)
    assert "the ledger has never read custody.in/9" in bench("accept-gap", "custody.in/9", *WHY, code=2)
    bench.stop()
    bench.admin.delete_topics([TP.topic])
    run.until(lambda: TP.topic not in bench.admin.list_topics(), "the end of the topic")
    bench.admin.create_topics([NewTopic(TP.topic, 2, 1)], wait_for_metadata=True)
    bench.write(before + 10)
    assert "the topic was deleted and made anew, or mirrored" in bench.refused("ledger")
    bench.admin.delete_records({TP: before + 5})
    assert "custody.in was made anew since the ledger read it: that is no gap" in bench("accept-gap", PLACE, *WHY, code=2)


def test_a_bug_of_the_ledger_is_a_crash_and_no_refusal(bench: Bench) -> None:
    async def spoil() -> None:
        connection = await asyncpg.connect(bench.dsn)
        await connection.execute("create table event (what text)")
        await connection.close()

    asyncio.run(spoil())
    told = len(bench.alerts())
    for stages in ("ledger", "intake,sources,ledger"):
        run = bench.start(stages)
        assert run.process.wait(LONG) == EXIT_CRASH, run.log.read_text()[-3000:]
        assert "FATAL the ledger's writer" in run.log.read_text()
    assert len(bench.alerts()) == told
