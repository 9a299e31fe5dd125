"""Topics, publish and dead letters on a real cluster."""
from __future__ import annotations

import asyncio
import io
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka.admin import KafkaAdminClient

from agents.cli import root
from agents.embedded import EmbeddedServers
from agents.places import places
from topics import codec
from topics.events.outputs import DeadLetter

pytestmark = pytest.mark.integration

MARK = uuid.uuid4().hex[:8]
INBOUND = "trade.filings.forwarder-alpha"


class Command:
    """A command on the test's cluster, and what it printed."""

    def __init__(self, bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.bootstrap, self.capsys = bootstrap, capsys
        self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert root.run([*arguments, "--bootstrap", self.bootstrap]) == code, self.capsys.readouterr()
        said = self.capsys.readouterr()
        self.err = said.err
        assert "Traceback" not in said.err
        return said.out

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture
def command(embedded: EmbeddedServers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("RAILCLEAR_PARTITIONS", "2")
    return Command(embedded.bootstrap, capsys)


@pytest.fixture
def topics(command: Command) -> Command:
    """A cluster with the topics of the registry; another test may have made some of them with other partitions."""
    assert root.run(["topics", "apply", "--bootstrap", command.bootstrap]) in (0, 3)
    command.capsys.readouterr()
    return command


def records(bootstrap: str, topic: str) -> list[Any]:
    async def read() -> list[Any]:
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            parts = await places(consumer, [topic])
            consumer.assign(parts)
            ends, found = await consumer.end_offsets(parts), []
            await consumer.seek_to_beginning(*parts)
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for some in (await consumer.getmany(timeout_ms=500)).values():
                    found += some
            return found
        finally:
            await consumer.stop()
    return asyncio.run(read())


def test_topics_are_compared_made_and_then_as_the_registry_wants_them(command: Command) -> None:
    admin = KafkaAdminClient(bootstrap_servers=command.bootstrap)
    try:
        missing = "territory.ru" not in admin.list_topics()
    finally:
        admin.close()
    if missing:
        differs = root.run(["topics", "diff", "--bootstrap", command.bootstrap])
        command.capsys.readouterr()
        wanted = command.json("topics", "diff", code=differs)
        assert {c["topic"] for c in wanted["create"]} >= {INBOUND, "territory.ru", "border.cn-kz-alashankou-dostyk.kz"}
        assert differs == (3 if wanted["refuse"] else 1)
        assert f"create {INBOUND}: 1 partitions" in command("topics", "diff", code=differs)
        assert "create territory.ru" in command("topics", "apply", "--dry-run", code=differs)
        assert command.json("topics", "diff", code=differs) == wanted
    first = root.run(["topics", "apply", "--bootstrap", command.bootstrap])
    command.capsys.readouterr()
    after = command.json("topics", "diff", code=first)
    assert after["create"] == []
    assert first == (3 if after["refuse"] else 0)
    assert {r["code"] for r in after["refuse"]} <= {"FIXED_PARTITIONS", "FEWER_PARTITIONS"}  # made by another test with other partitions


def test_publish_sends_each_line_to_its_partys_topic_and_names_what_it_cannot_send(topics: Command, tmp_path: Path) -> None:
    heartbeat = {"type": "heartbeat", "source": "forwarder-alpha", "id": f"h-{MARK}", "event_time": "2026-03-01T12:00:00+08:00"}
    large = {"topic": INBOUND, "key": "k", "value": "x" * (5 << 20)}
    file = tmp_path / "events.jsonl"
    lines: list[str] = [
        json.dumps(heartbeat), json.dumps(large), "not json", json.dumps({"source": "nobody"}), json.dumps({"topic": "no.such.topic", "value": {}}), "",
        json.dumps({"topic": INBOUND, "key": f"k-{MARK}", "value": {"a": 1}}), json.dumps({"topic": INBOUND, "value_hex": "zz"}), "[1]",
        json.dumps({"topic": INBOUND, "key": f"k-{MARK}", "value_hex": "00ff"}), json.dumps(heartbeat | {"id": f"last-{MARK}"})]
    file.write_text("\n".join(lines) + "\n")
    said = topics.json("publish", str(file), code=1)
    assert said["published"] == 4
    assert [(r["line"], r["topic"]) for r in said["refused"]] == [(2, INBOUND), (3, ""), (4, ""), (5, "no.such.topic"), (8, INBOUND), (9, "")]
    assert said["refused"][0]["reason"] == "5242880 bytes; the broker takes 4194304 here"
    mine = [(r.key, r.value) for r in records(topics.bootstrap, INBOUND) if MARK.encode() in (r.key or b"") + r.value]
    assert sorted(mine, key=lambda kv: kv[1]) == [
        (f"k-{MARK}".encode(), b"\x00\xff"), (f"k-{MARK}".encode(), b'{"a":1}'), (None, lines[0].encode()), (None, lines[-1].encode())]
    assert "line 2: trade.filings.forwarder-alpha: 5242880 bytes; the broker takes 4194304 here" in _err(topics, str(file))


def _err(command: Command, file: str) -> str:
    command("publish", file, code=1)
    return command.err


def test_a_record_that_fits_the_registry_but_not_the_broker_is_named_too(topics: Command, tmp_path: Path) -> None:
    """The broker counts the frame around a record as well."""
    file = tmp_path / "edge.jsonl"
    file.write_text(json.dumps({"topic": INBOUND, "value": "x" * (4 << 20)}) + "\n" + json.dumps({"topic": INBOUND, "value": f"edge-{MARK}"}) + "\n")
    said = topics.json("publish", str(file), code=1)
    assert said["published"] == 1
    assert [(r["line"], r["reason"]) for r in said["refused"]] == [(1, "not sent: 4194304 bytes are more than the broker takes")]


def test_publish_reads_a_pipe(topics: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    line = json.dumps({"topic": INBOUND, "value": f"pipe-{MARK}"}).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line + b"\n")))
    assert topics.json("publish", "-") == {"published": 1, "refused": []}
    assert f"pipe-{MARK}".encode() in [r.value for r in records(topics.bootstrap, INBOUND)]


@pytest.fixture
def letters(topics: Command) -> list[DeadLetter]:
    """Two dead letters of this test's own."""
    base = int(MARK[:6], 16) + 10**9
    made = [
        DeadLetter(stage="intake", topic=INBOUND, partition=0, offset=base, timestamp=1_772_366_400_000, key=b"k", value=f"bad-{MARK}".encode(),
                   headers=(("railclear-format", b"json"),), code="NOT_JSON", path="$", reason="malformed", party="forwarder-alpha"),
        DeadLetter(stage="intake", topic=INBOUND, partition=0, offset=base + 1, timestamp=1_772_366_400_000, key=None, value=b"\xff\xfe" + MARK.encode(),
                   code=f"CODE_{MARK.upper()}", path="$.container", reason="check digit", party="forwarder-alpha")]

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=topics.bootstrap, max_request_size=9 << 20)
        await producer.start()
        for letter in (*made, made[0]):  # at least once: the same letter may lie there twice
            await producer.send_and_wait("dead.letters", codec.encode(letter))
        await producer.stop()
    asyncio.run(send())
    return made


def test_dead_letters_are_listed_shown_and_sent_again_as_they_were(topics: Command, letters: list[DeadLetter]) -> None:
    names = [f"{x.topic}/{x.partition}/{x.offset}" for x in letters]
    listed = topics.json("dead-letters", "list")
    assert [x["id"] for x in listed if x["id"] in names] == names
    assert [x["id"] for x in topics.json("dead-letters", "list", "--code", letters[1].code)] == [names[1]]
    assert names[0] not in {x["id"] for x in topics.json("dead-letters", "list", "--party", "nobody")}
    assert names[1] in topics("dead-letters", "list")
    shown = topics.json("dead-letters", "show", names[0])
    assert (shown["code"], shown["path"], shown["value"], shown["headers"]) == ("NOT_JSON", "$", f"bad-{MARK}", [["railclear-format", "json"]])
    assert "value_base64" in topics.json("dead-letters", "show", names[1])
    assert f"bad-{MARK}" in topics("dead-letters", "show", names[0])
    topics("dead-letters", "show", f"{INBOUND}/0/1", code=1)
    assert "railclear dead-letters list shows them" in topics.err

    assert topics.json("dead-letters", "replay", "--code", letters[1].code, "--dry-run") == {"replayed": 0, "chosen": [names[1]]}
    assert topics.json("dead-letters", "replay", names[0]) == {"replayed": 1, "chosen": [names[0]]}
    again, = [r for r in records(topics.bootstrap, INBOUND) if r.value == letters[0].value]
    assert again.key == b"k"
    assert dict(again.headers) == {"railclear-format": b"json", "railclear-replayed": names[0].encode()}
    assert [r for r in records(topics.bootstrap, INBOUND) if r.value == letters[1].value] == []
