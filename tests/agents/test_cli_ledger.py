"""What people ask: status, train, side, explain, on a ledger that a real writer filled."""
from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from agents.cli import root
from agents.embedded import EmbeddedServers, Postgres
from agents.embedded.servers import ServersFile
from tests.agents.ledger_world import AT, World, alert, create_topics, database, fact, facts, movement, notice, shipment, update
from topics import codec
from topics.events.outputs import BasisSaid, Evidence, FreshSaid, NextAction
from topics.identifiers import run_id

pytestmark = pytest.mark.integration

KZ = "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY"
CN = "CN-KZ-ALASHANKOU-DOSTYK:CN:EXIT"
HOUR = 3_600_000_000
SHIP, OTHER, THIRD = shipment(), shipment(), shipment()
RUN = run_id("ktz", f"T{SHIP[-5:]}", "2026-03-03", "dostyk")
EVENT = f"customs-kz/customs.notice/rel-{SHIP}"
BOX = f"CSQU{SHIP[-7:]}"
TWICE = f"D{SHIP[-5:]}"
"""A train number that runs on two days."""
DAYS = {date: run_id("ktz", TWICE, date, "dostyk") for date in ("2026-03-03", "2026-03-04")}


def statuses() -> list[Any]:
    released = BasisSaid(kind="AUTHORITY", source="KZ", code="10", number="55406/040326/0000007", at=AT + HOUR, evidence=EVENT)
    common: dict[str, Any] = {"document": "smgs 30412345", "run": RUN, "authority": "KZ", "crossing": "CN-KZ-ALASHANKOU-DOSTYK", "kind": "ENTRY"}
    return [
        update(SHIP, CN, 1, "PLANNED", AT, 1, document="smgs 30412345", authority="CN", eta=(AT, AT + 2 * HOUR, AT + 4 * HOUR)),
        update(SHIP, KZ, 1, "PLANNED", AT, 2, missing_filings=("td",), eta=(AT, AT + 5 * HOUR, AT + 9 * HOUR), margin_minutes=-90, **common),
        msgspec.structs.replace(
            update(SHIP, KZ, 2, "RELEASED", AT + HOUR, 2, since=AT + HOUR, movable=True, eta=(AT, AT + 5 * HOUR, AT + 9 * HOUR), **common),
            basis=released, evidence=(Evidence(id=EVENT, source="KZ", at=AT + HOUR, code="10", key=("doc", "td", "55406/040326/0000007", "released")),),
            freshness=(FreshSaid(source="customs-kz", live=True, last_event=AT, age_minutes=3),),
            actions=(NextAction(role="carrier", what={"en": "Go on", "ru": "Следуйте"}),)),
        update(OTHER, KZ, 1, "HELD", AT + HOUR, 2, document="smgs 30412345", authority="KZ", eta=(AT, AT + 30 * HOUR, AT + 40 * HOUR)),
        update(OTHER, CN, 1, "DEPARTED", AT, 1, authority="CN"),
    ]


async def _fill(embedded: EmbeddedServers, dsn: str) -> None:
    create_topics(embedded.bootstrap)
    producer = AIOKafkaProducer(bootstrap_servers=embedded.bootstrap, acks="all")
    await producer.start()
    try:
        world = World(embedded.bootstrap, dsn, producer)
        await world.publish(*statuses())
        for ship in (SHIP, OTHER):
            await world.send("clearance.in", ship, facts(ship, fact("*", "shipment", value={"document": {"kind": "smgs", "number": f"SM{SHIP}"}}),
                                                         fact("*", "run", value=RUN, scope=BOX)))
        await world.send("clearance.in", SHIP, facts(SHIP, fact("*", "bound", scope=BOX),
                                                     fact(KZ, "doc", "td", "55406/040326/0000007", "released", at=AT + HOUR, event=EVENT, code="10")))
        await world.send("documents.in", "td:x", notice("55406/040326/0000007", event_id=f"rel-{SHIP}"))
        await world.send("custody.in", BOX, msgspec.structs.replace(movement(BOX, RUN, f"T{SHIP[-5:]}", "54321098")))
        for date, run in DAYS.items():
            await world.send("clearance.in", THIRD, facts(THIRD, fact("*", "run", value=run, scope=f"{BOX}-{date}")))
            await world.send("custody.in", f"{BOX}-{date}", msgspec.structs.replace(movement(f"{BOX}-{date}", run, TWICE, "54321098"), date=date))
        await world.send("ops.alerts", SHIP, alert(SHIP, "open", 1))
        async with world.writing():
            await world.caught_up()
    finally:
        await producer.stop()


@pytest.fixture(scope="module")
def dsn(embedded: EmbeddedServers) -> str:
    async def filled() -> str:
        made = await database(embedded.dsn)
        await _fill(embedded, made)
        return made
    return asyncio.run(filled())


class Asked:
    """One command line and what came of it."""

    def __init__(self, dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.dsn, self.capsys = dsn, capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert root.run([*arguments, "--dsn", self.dsn]) == code, self.capsys.readouterr()
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        return said.out if code == 0 else said.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def ask(dsn: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Asked:
    for name in [n for n in os.environ if n.startswith("RAILCLEAR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "400")
    return Asked(dsn, capsys)


def test_status_shows_every_side_in_order_with_signs_and_the_borders_own_time(ask: Asked) -> None:
    said = ask("status", BOX)
    assert said.index(CN) < said.index(KZ)
    assert "✓ RELEASED" in said
    assert "… PLANNED" in said
    assert "KZ 10" in said
    assert "+0500" in said
    assert "BorderStatusStale" in said
    found = ask.json("status", SHIP)
    assert [(s["side"], s["state"], s["revision"]) for s in found["sides"]] == [(CN, "PLANNED", 1), (KZ, "RELEASED", 2)]
    assert [a["name"] for a in found["alerts"]] == ["BorderStatusStale"]


def test_an_identifier_of_several_shipments_lists_them(ask: Asked) -> None:
    assert {m["shipment"] for m in ask.json("status", f"sm{SHIP}")["matches"]} == {SHIP, OTHER}
    assert {m["shipment"] for m in ask.json("explain", f"sm{SHIP}")["matches"]} == {SHIP, OTHER}
    said = ask("status", f"SM{SHIP}")
    assert f"SM{SHIP} may mean 2 shipments; ask for one of them:" in said
    assert f"  {SHIP}  (smgs SM{SHIP})" in said
    assert f"  {OTHER}  (smgs SM{SHIP})" in said


@pytest.mark.parametrize("arguments", [("status", "NOBODY0000001"), ("explain", "NOBODY0000001"), ("train", "ktz/1/2026-01-01"), ("train", "R222222222222"),
                                       ("side", "NOWHERE:XX:ENTRY")], ids=" ".join)
def test_what_is_not_known_is_said_in_a_line_with_exit_code_1(ask: Asked, arguments: tuple[str, ...]) -> None:
    assert arguments[1] in ask(*arguments, code=1)
    assert arguments[1] in ask(*arguments, "--json", code=1)


def test_a_train_is_asked_by_name_number_or_run(ask: Asked) -> None:
    number = f"T{SHIP[-5:]}"
    for name in (f"ktz/{number}/2026-03-03", number, number.lower(), RUN):
        found = ask.json("train", name)
        assert found["shipments"] == sorted((SHIP, OTHER)), name
        assert [(s["side"], s["shipments"], s["movable"], s["states"]) for s in found["sides"]] == [
            (CN, 2, 0, {"PLANNED": 1, "DEPARTED": 1}), (KZ, 2, 1, {"RELEASED": 1, "HELD": 1})]
    assert "1 of 2" in ask("train", RUN)
    assert ask.json("train", BOX)["runs"] == [RUN]  # a container names the train that it is on


def test_a_number_that_runs_on_several_days_lists_its_trains(ask: Asked) -> None:
    assert ask.json("train", TWICE)["matches"] == [{"run": DAYS[date], "train": f"ktz/{TWICE}/{date}", "shipments": 1} for date in sorted(DAYS, reverse=True)]
    said = ask("train", TWICE)
    assert f"{TWICE} may mean 2 train runs; ask for one of them:" in said
    assert f"ktz/{TWICE}/2026-03-04" in said
    assert ask.json("train", f"ktz/{TWICE}/2026-03-04")["runs"] == [DAYS["2026-03-04"]]


def test_a_side_lists_what_stands_before_it_by_arrival_and_only_what_comes_in_time(ask: Asked) -> None:
    def here(*more: str) -> list[str]:
        return [s["shipment"] for s in ask.json("side", KZ, *more)["shipments"] if s["shipment"] in (SHIP, OTHER)]
    assert here() == [SHIP, OTHER]
    assert here("--next", "12h") == [SHIP]
    assert here("--next", "10m") == []
    assert OTHER not in {s["shipment"] for s in ask.json("side", CN)["shipments"]}  # departed
    assert {KZ, CN} <= set(ask.json("side", "DOSTYK")["matches"])
    assert ask.json("side", "dostyk:kz")["side"] == KZ
    assert "as of 2026-" in ask("side", KZ)


def test_explain_says_whose_word_it_is_with_its_evidence_in_three_languages(ask: Asked) -> None:
    said = ask("explain", SHIP, "--side", "KZ:ENTRY")
    assert f"{KZ}: RELEASED" in said
    assert "55406/040326/0000007" in said
    assert EVENT in said
    assert CN not in said
    russian, chinese = ask("explain", SHIP, "--lang", "ru"), ask("explain", SHIP, "--lang", "zh")
    assert "Следуйте" in russian
    assert len({said, russian, chinese}) == 3
    found = ask.json("explain", SHIP)
    assert [s["side"] for s in found["explained"]["sides"]] == [CN, KZ]
    assert found["events"][EVENT]["body"]["code"] == "10"
    assert found["statuses"][1]["evidence"][0]["id"] == EVENT


def test_explain_as_of_returns_exactly_what_was_published_then(ask: Asked) -> None:
    published = [json.loads(codec.encode(u)) for u in statuses()]
    assert ask.json("explain", SHIP, "--as-of", "2026-03-04T04:53:20Z")["statuses"] == published[:2]
    assert ask.json("explain", SHIP, "--as-of", "2026-03-04T05:53:19.999+00:00")["statuses"] == published[:2]
    assert ask.json("explain", SHIP, "--as-of", "2026-03-04T10:53:20+05:00")["statuses"] == [published[0], published[2]]
    assert ask.json("explain", SHIP)["statuses"] == [published[0], published[2]]
    early = ask("explain", SHIP, "--as-of", "2026-03-04T04:00:00Z", code=1)
    assert "nothing was published" in early
    assert "its first status is of 2026-03-04 04:53" in early


def test_a_side_that_is_not_on_the_route_is_answered_with_those_that_are(ask: Asked) -> None:
    said = ask("explain", SHIP, "--side", "PL:ENTRY", code=1)
    assert CN in said
    assert KZ in said
    assert "several sides" in ask("explain", SHIP, "--side", "DOSTYK", code=1)


def test_a_database_without_a_ledger_is_told_as_such(embedded: EmbeddedServers, capsys: pytest.CaptureFixture[str]) -> None:
    empty = asyncio.run(database(embedded.dsn))
    assert root.run(["status", "X", "--dsn", empty]) == 2
    assert "no ledger yet" in capsys.readouterr().err


def test_a_kept_demo_that_does_not_run_is_opened_for_the_question(embedded: EmbeddedServers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `import --keep` or `demo --keep` leaves: the ledger is asked without Kafka, and nothing runs afterwards."""
    server = Postgres(tmp_path / "postgres", durable=True)
    server.start().wait()
    asyncio.run(_fill(embedded, server.dsn))
    server.stop()
    plan = ServersFile(kafka_ports=((1, 2),), postgres_port=server.port, password=server.password, kafka_version="x", postgres_major=18, partitions=2, owner=1)
    (tmp_path / "servers.json").write_bytes(msgspec.json.encode(plan))
    for _ in range(2):
        assert root.run(["status", BOX, "--at", str(tmp_path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["shipment"] == SHIP
    assert not (tmp_path / "postgres" / "data" / "postmaster.pid").exists()
    server.close()
