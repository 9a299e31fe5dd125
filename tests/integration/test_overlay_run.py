"""A deployment's overlay on real servers: its own party, country, crossing, corridor and terminal, from provisioning to statuses on the new border topics."""
from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents import reference as reference_files
from agents.cli import root
from agents.demo.crew import Crew
from agents.embedded import EmbeddedServers
from streams.rules import pack_of
from tests.agents.test_cli_kafka import records
from topics.events.outputs import Alert, ClearanceUpdate, RefusalNotice, TrainReadiness

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

OVERLAY = Path(__file__).parent / "overlays" / "own"
CROSSING = "KZ-QX-FIXTURA-EXEMPLA"
KZ, QX = f"{CROSSING}:KZ:EXIT", f"{CROSSING}:QX:ENTRY"
BORDER_KZ, BORDER_QX = f"border.{CROSSING.lower()}.kz", f"border.{CROSSING.lower()}.qx"
OWN = ("trade.filings.forwarder-own", "refusals.forwarder-own", "status.forwarder-own", "rail.trains.exr", "terminal.events.exempla", "customs.notices.qx",
       BORDER_KZ, BORDER_QX, "office.qx", "territory.qx", "restricted.qx")
BOX, NOTE, SUMMARY, IMPORT = "CSQU3054383", "31047777", "QX-ES-1", "QX-IM-1"
NOW = datetime.now(UTC).replace(microsecond=0)
TRAIN = {"railway": "ktz", "number": "1402", "date": f"{NOW:%Y-%m-%d}"}
WAIT_S = 90.0
"""Far more than it takes: what never comes fails the test, what comes late does not."""


class Deployment:
    """Servers with the overlay's topics and workers; what its parties say goes through the command line."""

    def __init__(self, servers: EmbeddedServers, directory: Path) -> None:
        self.servers, self._file, self._count = servers, directory / "events.jsonl", 0

    def run(self, *arguments: str, overlay: Path | None = OVERLAY) -> int:
        return root.run([*arguments, "--bootstrap", self.servers.bootstrap, *(("--overlay", str(overlay)) if overlay else ())])

    def say(self, *events: dict[str, Any]) -> None:
        """Each on the topic of its party, one after the other."""
        self._file.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
        assert self.run("publish", str(self._file)) == 0

    def event(self, tag: str, source: str, minutes: int, /, **fields: Any) -> dict[str, Any]:
        """Of so many minutes before or after the test began; the clock of these workers is that of the day."""
        self._count += 1
        return {"type": tag, "source": source, "id": f"own-{self._count}", "event_time": (NOW + timedelta(minutes=minutes)).isoformat(), **fields}

    def updates(self, topic: str, side: str) -> list[ClearanceUpdate]:
        said = [msgspec.json.decode(r.value, type=ClearanceUpdate) for r in records(self.servers.bootstrap, topic) if r.value is not None]
        return [u for u in said if u.side == side]

    def until(self, topic: str, side: str, state: str, *, eta: bool = False) -> ClearanceUpdate:
        """Waits for a state on a border topic, and for an expected arrival if asked to; gives the update that says it."""
        limit = time.monotonic() + WAIT_S
        while True:
            said = self.updates(topic, side)
            found = next((u for u in said if u.state == state and (u.eta is not None or not eta)), None)
            if found is not None:
                return found
            assert time.monotonic() < limit, f"{topic} never said {state} of {side}: {[(u.state, u.flags) for u in said]}"
            time.sleep(0.3)


@pytest.fixture(scope="module")
def deployment(embedded: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(embedded, tmp_path_factory.mktemp("said"))
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("RAILCLEAR_")}
    os.environ["RAILCLEAR_PARTITIONS"] = "2"
    crew = Crew(tmp_path_factory.mktemp("workers"), ["--bootstrap", embedded.bootstrap, "--partitions", "2", "--overlay", str(OVERLAY)],
                {"RAILCLEAR_DSN": embedded.dsn})
    try:
        crew.start()
        assert made.run("topics", "apply") == 0
        crew.wait()
        yield made
    finally:
        crew.stop(kill=True)
        del os.environ["RAILCLEAR_PARTITIONS"]
        os.environ.update(before)


def shipment(d: Deployment) -> dict[str, Any]:
    goods = [{"description": "Laptop computers", "hs": "847130", "packages": 100, "gross_kg": 9000}]
    return d.event(
        "shipment.declared", "forwarder-own", -300, document={"kind": "smgs", "number": NOTE, "issuer": "ktz", "station": "almaty", "date": f"{NOW:%Y-%m-%d}"},
        corridor="OWN-1", direction="west", origin="almaty", destination="exempla-yard", procedures={"KZ": "export", "QX": "import"},
        containers=[{"container": BOX, "packages": 100, "gross_kg": 12800, "goods": goods}],
        parties=[{"role": "consignor", "name": "Own Exports", "country": "KZ"}, {"role": "consignee", "name": "Own Imports", "country": "QX"}])


def notice(d: Deployment, minutes: int, code: str, kind: str, number: str) -> dict[str, Any]:
    return d.event("customs.notice", "customs-qx", minutes, authority="QX", system="GENERIC", code=code, document={"kind": kind, "number": number},
                   office="QXEXEMPL")


def filing(d: Deployment, minutes: int, kind: str, number: str) -> dict[str, Any]:
    return d.event("filing.lodged", "forwarder-own", minutes, authority="QX", kind=kind, number=number, office="QXEXEMPL",
                   documents=[{"kind": "smgs", "number": NOTE}], containers=[{"container": BOX, "packages": 100, "gross_kg": 12800}])


@pytest.fixture(scope="module")
def passed(deployment: Deployment) -> Deployment:
    """A train that goes over the new crossing; each act waits for what the new border topics say of the one before."""
    d = deployment
    d.say(shipment(d), d.event("train.announced", "ktz", -290, train=TRAIN, corridor="OWN-1", direction="west", containers=[BOX]),
          d.event("train.consist", "ktz", -280, train=TRAIN, wagons=[{"wagon": "94768123", "containers": [BOX]}], place="almaty"),
          d.event("train.position", "ktz", -60, train=TRAIN, station="almaty", what="departed"))
    d.until(BORDER_QX, QX, "EXPECTED", eta=True)
    d.say(filing(d, -55, "entry_summary", SUMMARY), notice(d, -50, "REGISTERED", "entry_summary", SUMMARY))
    d.until(BORDER_QX, QX, "ACCEPTED")
    d.say(d.event("train.position", "ktz", -45, train=TRAIN, station="fixtura", what="arrived"))
    d.until(BORDER_KZ, KZ, "ARRIVED")
    d.say(d.event("train.position", "ktz", -40, train=TRAIN, station="fixtura", what="departed"),
          d.event("train.position", "ktz", -30, train=TRAIN, station="exempla", what="arrived"),
          d.event("terminal.event", "terminal-exempla", -20, container=BOX, place="exempla-yard", what="presented"))
    d.until(BORDER_KZ, KZ, "DEPARTED")
    d.until(BORDER_QX, QX, "ARRIVED")
    d.say(filing(d, -15, "import", IMPORT), notice(d, -12, "REGISTERED", "import", IMPORT), notice(d, -10, "RELEASED", "import", IMPORT))
    d.until(BORDER_QX, QX, "RELEASED")
    return d


def test_provisioning_makes_the_topics_of_the_overlay_and_nothing_is_left_to_do(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    assert deployment.run("topics", "diff", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert not any(plan.get(part) for part in ("create", "alter", "grow", "unset", "refuse"))
    for topic in OWN:
        assert isinstance(records(deployment.servers.bootstrap, topic), list)
    reference = reference_files.load(OVERLAY)
    assert reference.places["exempla"].lat is None, "a place may have no coordinates"


def test_statuses_across_the_new_crossing_are_on_its_border_topics(passed: Deployment) -> None:
    entry = [u.state for u in passed.updates(BORDER_QX, QX)]
    order = [s for i, s in enumerate(entry) if s not in entry[:i] and s not in ("FILED", "PRE_CLEARED")]
    assert order == ["EXPECTED", "ACCEPTED", "ARRIVED", "RELEASED"]
    assert {"ARRIVED", "DEPARTED"} <= {u.state for u in passed.updates(BORDER_KZ, KZ)}
    assert all(u.crossing == CROSSING for u in passed.updates(BORDER_QX, QX))


def test_the_release_is_the_word_of_the_overlays_own_authority(passed: Deployment) -> None:
    released = passed.until(BORDER_QX, QX, "RELEASED")
    assert (released.basis.kind, released.basis.source, released.basis.code, released.basis.number) == ("AUTHORITY", "QX", "RELEASED", IMPORT)
    assert released.pack == pack_of(reference_files.load(OVERLAY))
    assert released.pack != pack_of(reference_files.load(None)), "the overlay is part of the rule pack's hash"


def test_what_its_row_asks_for_is_said_with_the_overlays_deadline_duty_line_and_time(passed: Deployment) -> None:
    expected = passed.until(BORDER_QX, QX, "EXPECTED", eta=True)
    assert expected.missing_filings == ("entry_summary",)
    action, filing_said = expected.actions[0], next(f for f in expected.filings if f.kind == "entry_summary")
    assert (action.what["en"], action.office, action.call, action.call_hours) == (
        "Lodge entry summary and get it registered.", "QXEXEMPL", "+000 999 0001", "24/7")
    assert expected.eta is not None
    assert filing_said.due == action.by
    assert action.by is not None
    assert action.by <= expected.eta[1] - 120 * 60_000_000, "two hours before the territory, as the overlay's row says"
    assert action.by_border.endswith("+05:00"), "in the time of the overlay's authority"
    there = [f for f in passed.until(BORDER_QX, QX, "ARRIVED").filings if f.kind == "entry_summary"]
    assert [(f.numbers, f.timing) for f in there] == [((SUMMARY,), "late")], "registered less than two hours before the train was there"


def test_an_alert_is_raised_at_the_new_crossing(passed: Deployment) -> None:
    alerts = [msgspec.json.decode(r.value, type=Alert) for r in records(passed.servers.bootstrap, "ops.alerts")]
    left = [a for a in alerts if a.name == "LeftWithoutRelease"]
    assert [(a.state, a.side) for a in left] == [("open", KZ)], "nobody said that Kazakhstan released it"
    assert [(a.state, a.side, a.call) for a in alerts if a.name == "FilingAtRisk" and a.state == "open"] == [("open", QX, "+000 999 0001")]


def test_the_party_of_the_overlay_gets_its_shipments_and_is_told_what_is_refused(passed: Deployment) -> None:
    assert {u.side for u in (msgspec.json.decode(r.value, type=ClearanceUpdate) for r in records(passed.servers.bootstrap, "status.forwarder-own"))} >= {QX}
    wrong = passed.event("shipment.declared", "forwarder-alpha", -5, document={"kind": "smgs", "number": "31048888"}, containers=[])
    passed.say({"topic": "trade.filings.forwarder-own", "key": "x", "value": wrong})
    limit = time.monotonic() + WAIT_S
    while not (told := records(passed.servers.bootstrap, "refusals.forwarder-own")):
        assert time.monotonic() < limit, "nothing was refused"
        time.sleep(0.3)
    refused = msgspec.json.decode(told[0].value, type=RefusalNotice)
    assert (len(told), refused.code, refused.path, refused.message_id) == (1, "NOT_YOURS", "$.source", wrong["id"])


def test_the_train_is_counted_at_the_new_crossing(passed: Deployment) -> None:
    said = [msgspec.json.decode(r.value, type=TrainReadiness) for r in records(passed.servers.bootstrap, "train.readiness")]
    assert {s.side for t in said for s in t.sides} >= {QX}
    latest = {t.run: t for t in said}  # a run's first box may be counted before its manifest told the corridor
    assert {t.corridor for t in latest.values() if t.containers} == {"OWN-1"}


def test_the_ledger_answers_on_the_command_line(passed: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    limit = time.monotonic() + WAIT_S
    states: dict[str, str] = {}
    while states.get(QX) != "RELEASED":
        assert time.monotonic() < limit, states
        if root.run(["status", BOX, "--dsn", passed.servers.dsn, "--overlay", str(OVERLAY), "--json"]) == 0:
            states = {s["side"]: s["state"] for s in json.loads(capsys.readouterr().out)["sides"]}
        time.sleep(0.2)
    assert states[KZ] == "DEPARTED"
    assert root.run(["explain", BOX, "--side", QX, "--lang", "ru", "--dsn", passed.servers.dsn, "--overlay", str(OVERLAY)]) == 0
    said = capsys.readouterr().out
    assert QX in said
    assert IMPORT in said
    assert "+05:00" in said, "the overlay's authority has its own time"


@pytest.mark.parametrize(("file", "rows", "told"), [
    ("crossings.toml", '[{ id = "KZ-QX-NOWHERE", names = { en = "x" }, a = "nowhere", b = "dostyk", a_authority = "KZ", b_authority = "CN", '
                       'gauge_a = 1520, gauge_b = 1435, source = "D" }]', ("crossings.toml", "KZ-QX-NOWHERE", "a", "nowhere")),
    ("parties.toml", '[{ id = "own", role = "traders", names = { en = "x" }, source = "D" }]', ("parties.toml", "own", "role", "traders")),
    ("stations.toml", "[]", ("stations.toml", "is no table")),
])
def test_an_overlay_that_is_not_sound_stops_the_start_with_file_row_and_reason(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, rows: str, told: tuple[str, ...]) -> None:
    (tmp_path / file).write_text(f"rows = {rows}\n", encoding="utf-8")
    assert root.run(["worker", "--bootstrap", "127.0.0.1:1", "--stages", "trains", "--overlay", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert all(word in said for word in told), said
