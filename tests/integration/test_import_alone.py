"""`railclear import` as a newcomer types it: no servers, no settings, real files; statuses come out, and can be asked for afterwards."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.cli import root
from agents.embedded import read_servers
from tests.topics.samples import DATA, required
from topics.events.trade import ShipmentDeclared
from topics.formats import ncts5

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
NCTS = DATA / "ncts5"
ANSWERED = {
    "TRATESTGB12308021209": {"GB000246": "RELEASED", "XI000142": "EXPECTED"},       # IE028, then IE029: released for transit at its departure
    "TRATESTGB142308011437": {"GB000246": "CONTROL_ORDERED"},                       # IE060
    "TRATESTGB262307050928": {"GB000246": "FILING_REJECTED"},                       # IE056 about an IE015
    "TRATESTXI12308031514": {"XI000081": "FILING_REJECTED"},                        # IE056 about an IE015, with its errors
}
"""Local reference number -> office -> state, by the meaning of each answer. No request of the samples belongs to one of them."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """All sample messages of NCTS through the whole system, once; where the data is kept, and what was reported."""
    required("ncts5")
    keep = tmp_path_factory.mktemp("import") / "kept"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAILCLEAR_")}
    done = subprocess.run([sys.executable, "-m", "agents.cli", "import", "ncts", str(NCTS), "--keep", str(keep), "--json"], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return keep, json.loads(done.stdout)


def test_every_file_is_accounted_for_and_every_movement_has_a_status_at_each_office_that_it_names(kept: tuple[Path, dict[str, Any]]) -> None:
    _, said = kept
    assert (said["report"]["files"], said["report"]["sent"], said["report"]["not_taken"]) == (172, 172, [])
    assert said["account"]["unaccounted"] == 0
    assert said["dead_letters"] == {}
    assert said["account"]["refused"] + said["account"]["parked"] == 0
    # 103 declarations, of which 63 have neither LRN nor MRN; each of those is a movement of its own.
    assert len({m["shipment"] for m in said["movements"]}) == len(said["movements"]) > 103
    for movement in said["movements"]:
        assert movement["sides"], movement
        for side in movement["sides"]:
            office, authority, kind = side["side"].split(":")
            assert kind == "OFFICE"
            assert office.startswith(authority)
            assert "UNMAPPED_OFFICE" in side["flags"], "no office of Great Britain is in the network"
    assert {a for m in said["movements"] for s in m["sides"] for a in [s["side"].split(":")[1]]} >= {"GB", "XI"}


def test_answers_of_an_authority_decide_the_status_of_their_movement(kept: tuple[Path, dict[str, Any]]) -> None:
    """IE029 releases, IE060 orders a control, IE056 rejects; that they are of 2023 makes no difference."""
    found = {m["document"].split()[1]: {s["side"].split(":")[0]: s["state"] for s in m["sides"]} for m in kept[1]["movements"]}
    assert {number: found.get(number) for number in ANSWERED} == ANSWERED
    others = {s["state"] for m in kept[1]["movements"] if m["document"].split()[1] not in ANSWERED for s in m["sides"]}
    assert {"FILED", "EXPECTED", "ARRIVED"} <= others
    assert not others & {"RELEASED", "CONTROL_ORDERED", "FILING_REJECTED"}, "what no authority has answered is not decided"


def test_every_movement_has_a_status_at_each_office_that_its_messages_name(kept: tuple[Path, dict[str, Any]]) -> None:
    """A movement without a number is known by its content and its place on the topic: those are compared by the offices that they name."""
    read = [ncts5.read(p.read_bytes(), received=datetime.now(UTC), zones={"GB": UTC, "XI": UTC}) for p in sorted(NCTS.rglob("*.xml"))]
    named: dict[str, set[str]] = {}
    unnamed: Counter[frozenset[str]] = Counter()
    for declared in [next(e for e in r.events if isinstance(e, ShipmentDeclared)) for r in read]:
        offices = {office.partition(":")[2].partition(":")[0] for office in declared.offices}
        assert offices
        if "content-" in declared.document.number:
            unnamed[frozenset(offices)] += 1
        else:
            named.setdefault(declared.document.number, set()).update(offices)
    has = [(m["document"].split()[1], frozenset(s["side"].split(":")[0] for s in m["sides"])) for m in kept[1]["movements"]]
    assert {number: offices for number, offices in has if "content-" not in number} == named
    assert Counter(offices for number, offices in has if "content-" in number) == unnamed


def test_a_movement_can_be_asked_for_afterwards_and_nothing_runs_any_more(kept: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    keep, said = kept
    servers = read_servers(keep)
    assert servers is not None
    assert not servers.running
    movement = next(m for m in said["movements"] if m["document"].startswith("transit 23XI"))
    number = movement["document"].split()[1]
    assert root.run(["status", number, "--at", str(keep), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["shipment"] == movement["shipment"]
    assert [(s["side"], s["state"]) for s in found["sides"]] == [(s["side"], s["state"]) for s in movement["sides"]]
    assert root.run(["explain", number, "--at", str(keep), "--lang", "zh"]) == 0
    assert movement["shipment"] in capsys.readouterr().out


def test_the_same_input_again_makes_no_new_movement_and_loses_none(kept: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """A kept directory goes on where it was; a file that was sent before is a repeat, unless it has no number by which to know it."""
    keep, said = kept
    numbered = [m["shipment"] for m in said["movements"] if "content-" not in m["document"]]
    one = next(p for p in sorted(NCTS.rglob("*.xml")) if "ie007" in p.name)
    assert root.run(["import", "ncts", str(one), "--keep", str(keep), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["account"]["unaccounted"] == 0
    assert {m["shipment"] for m in again["movements"] if "content-" not in m["document"]} == set(numbered)
