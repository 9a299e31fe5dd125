"""Real input to a cluster: the original bytes of every sample file on the topic of its party, every oddity named."""
from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agents.cli import root
from agents.cli import where as servers_of
from agents.cli.import_files import collect, judge, plan
from agents.embedded import EmbeddedServers
from agents.settings import Settings
from tests.agents.test_cli_kafka import records
from tests.topics.samples import DATA, required

pytestmark = pytest.mark.integration

NCTS, DIGITRAFFIC = DATA / "ncts5", DATA / "digitraffic"
SERVERS = servers_of.Servers(Settings(partitions=2))


@pytest.fixture(scope="module", autouse=True)
def _real_input() -> None:
    required("ncts5", "digitraffic")


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("RAILCLEAR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAILCLEAR_PARTITIONS", "2")


@pytest.fixture(scope="module")
def cluster(embedded: EmbeddedServers) -> str:
    assert root.run(["topics", "apply", "--bootstrap", embedded.bootstrap]) in (0, 3)
    return embedded.bootstrap


def test_every_ncts_sample_is_read_and_has_a_topic_and_every_oddity_is_named() -> None:
    files = collect([NCTS], ".xml")
    planned = plan("ncts", files, "", SERVERS.reference, SERVERS.registry())
    report = judge("ncts", planned, SERVERS.reference, SERVERS.registry())
    assert (report.files, report.refusals, report.not_taken) == (172, {}, [])
    assert {m: row.files for m, row in report.messages.items()} == {
        "IE007": 18, "IE013": 8, "IE014": 12, "IE015": 103, "IE044": 14, "IE170": 12, "IE028": 1, "IE029": 1, "IE056": 2, "IE060": 1}
    assert {p.topic for p in planned if p.message in ("IE028", "IE029", "IE056", "IE060")} == {"customs.notices.gb", "customs.notices.xi"}
    assert {p.topic for p in planned if p.message in ("IE007", "IE013", "IE014", "IE015", "IE044", "IE170")} == {"trade.filings.filer-ncts"}
    assert {"TEMPLATE_HOLES", "EVENT_TIME_MISSING", "NUMBER_MISSING", "CONTAINER_NUMBER_INVALID"} <= set(report.flags)


def test_the_original_bytes_arrive_with_a_header_that_names_the_format(cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {topic: len(records(cluster, topic)) for topic in ("trade.filings.filer-ncts", "customs.notices.gb", "customs.notices.xi")}
    assert root.run(["import", "ncts", str(NCTS), "--bootstrap", cluster, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["files"], report["sent"], report["not_taken"]) == (172, 172, [])
    arrived: Counter[bytes] = Counter()
    for topic, known in before.items():
        fresh: list[Any] = records(cluster, topic)[known:]
        assert len(fresh) == report["topics"][topic]
        assert all(dict(r.headers)["railclear-format"] == b"ncts5" for r in fresh)
        arrived.update(r.value for r in fresh)
    assert arrived == Counter(p.read_bytes() for p in NCTS.rglob("*.xml"))


def test_digitraffic_in_metres_is_refused_and_a_near_duplicate_counted_by_name(cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert root.run(["import", "digitraffic", str(DIGITRAFFIC), "--bootstrap", cluster, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["files"], report["sent"], report["topics"]) == (2, 2, {"rail.trains.vr": 2})
    assert report["refusals"] == {"POSITION_METRES": 1}
    assert report["repeats"] == {"POSITION_REPEATED": 1}
    assert [(Path(n["file"]).name, n["path"]) for n in report["not_taken"]] == [("train-location.json", "$[0].sijainti")]
    assert report["messages"]["digitraffic"]["events"] == 2


def test_as_sends_in_the_name_of_another_party(cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = next(p for p in sorted(NCTS.rglob("*.xml")) if "ie015" in p.name)
    assert root.run(["import", "ncts", str(one), "--as", "broker-pl", "--bootstrap", cluster, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["topics"] == {"trade.filings.broker-pl": 1}


def test_an_answer_in_the_name_of_a_forwarder_is_not_taken(cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = next(p for p in sorted(NCTS.rglob("*.xml")) if "responses" in p.parts)
    assert root.run(["import", "ncts", str(answer), "--as", "broker-pl", "--bootstrap", cluster, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["refusals"] == {"NOT_YOUR_EVENT": 1}
    assert report["sent"] == 1  # the dead letter and the sender's refusal come from intake, as for every record


def test_a_file_that_is_no_message_is_named_and_the_others_are_sent(cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.xml").write_text("<html/>")
    (tmp_path / "b.XML").write_bytes(b"\x00\xff garbage")
    good = next(iter(sorted((NCTS / "requests").glob("*.xml"))))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.xml").write_bytes(good.read_bytes())
    (tmp_path / "notes.txt").write_text("not looked at in a directory")
    assert root.run(["import", "ncts", str(tmp_path), "--bootstrap", cluster, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["files"], report["sent"]) == (3, 1)
    assert {Path(n["file"]).name: n["code"] for n in report["not_taken"]} == {"a.xml": "UNKNOWN_MESSAGE", "b.XML": "NOT_XML"}
    assert root.run(["import", "ncts", str(tmp_path), "--bootstrap", cluster]) == 1
    said = capsys.readouterr()
    assert "a.xml: UNKNOWN_MESSAGE" in said.err
    assert "3 files, 1 sent" in said.out


def test_an_authority_that_the_registry_does_not_know_is_said_so(tmp_path: Path) -> None:
    answer = next(p for p in sorted(NCTS.rglob("*.xml")) if "responses" in p.parts)
    other = tmp_path / "x.xml"
    other.write_bytes(answer.read_bytes().replace(b"NTA.GB", b"NTA.ZZ").replace(b"NTA.XI", b"NTA.ZZ"))
    planned, = plan("ncts", [other], "", SERVERS.reference, SERVERS.registry())
    assert (planned.topic, planned.code) == ("", "NO_PARTY")
    assert "ZZ is no authority of the registry" in planned.why
