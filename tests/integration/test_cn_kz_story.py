"""The customs-rail link from China to Poland, seen from outside: on Kafka's border topics, in the alerts, in the ledger and on the command line."""
from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from agents import reference as reference_files
from agents.cli import root
from agents.embedded import EmbeddedServers
from agents.ledger.queries import Ledger
from tests.integration.cn_kz_world import BROKEN, BY, CLEARED, DOSTYK, HOUR, KZ, PL, SILENT, START, Story
from tests.integration.theatre import Cue, Heard, Theatre
from topics.events.outputs import Alert, ClearanceUpdate, FindingSaid
from topics.registry import border_topic

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SPEED = 8000.0
BORDER_KZ, BORDER_BY, BORDER_PL = border_topic(DOSTYK, "KZ"), border_topic("BY-PL-BREST-MALASZEWICZE", "BY"), border_topic("BY-PL-BREST-MALASZEWICZE", "PL")
DUTY_KZ = "+000 000 0102"


def differs(update: ClearanceUpdate | None) -> FindingSaid | None:
    return next((f for f in update.findings if f.code == "SEAL_DIFFERS"), None) if update else None


def codes(update: ClearanceUpdate) -> set[str]:
    return {f.code for f in update.findings}


def cues(story: Story) -> dict[str, Cue]:
    """What each part of the script waits for: always that railclear has said what came before."""
    def state(name: str, wanted: str, *, ready: bool = False) -> Cue:
        def came(heard: Heard) -> bool:
            last = heard.last(story.shipments[name], KZ)
            return last is not None and last.state == wanted and last.ready >= ready
        return came

    def was(name: str, wanted: str) -> Cue:
        return lambda heard: any(u.state == wanted for u in heard.of(story.shipments[name], KZ))

    def finds(side: str, present: str, expected: str = "") -> Cue:
        def came(heard: Heard) -> bool:
            found = differs(heard.last(story.shipments[BROKEN], side))
            return (found.present, found.expected) == (present, expected) if found else present == ""
        return came

    def alarmed(heard: Heard) -> bool:
        return any(a.name == "NoNoticeFromAuthority" for a in heard.alerts)

    def every(*wanted: Cue) -> Cue:
        return lambda heard: all(one(heard) for one in wanted)

    new = story.new_lock
    return {
        **{f"expected {name}": was(name, "EXPECTED") for name in story.shipments},
        "expected": every(was(CLEARED, "EXPECTED"), was(BROKEN, "EXPECTED")),
        "all pre-cleared": every(*(state(name, "PRE_CLEARED") for name in story.shipments)),
        **{f"arrived {name}": state(name, "ARRIVED") for name in story.shipments},
        "ready": every(state(CLEARED, "ARRIVED", ready=True), state(SILENT, "ARRIVED", ready=True)),
        "broken": every(finds(BY, "note, TD"), finds(PL, "note, ENS")),
        "likely": lambda heard: any("control_likely" in u.flags for u in heard.of(story.shipments[BROKEN], KZ)),
        "ordered": state(BROKEN, "CONTROL_ORDERED"),
        "released": every(state(CLEARED, "RELEASED"), state(BROKEN, "RELEASED")),
        "replaced": every(finds(BY, "note, TD", new), finds(PL, "note, ENS", new)),
        "on the TD": every(finds(BY, "note", new), finds(PL, "note, ENS", new)),
        "on the note": every(finds(BY, ""), finds(PL, "ENS", new)),
        "pending": lambda heard: any("amendment_pending" in u.flags for u in heard.of(story.shipments[BROKEN], PL)),
        "over": every(alarmed, finds(BY, ""), finds(PL, ""), state(CLEARED, "DEPARTED"), state(BROKEN, "DEPARTED")),
    }


class Played:
    """The story after it was played."""

    def __init__(self, story: Story, theatre: Theatre) -> None:
        self.story, self.heard, self.servers = story, theatre.heard, theatre.servers

    def words(self, name: str, side: str, topic: str) -> list[ClearanceUpdate]:
        return self.heard.of(self.story.shipments[name], side, topic)

    def alerts(self, name: str, alert: str, side: str = "") -> list[Alert]:
        return [a for a in self.heard.alerts if a.name == alert and a.shipment == self.story.shipments[name] and side in ("", a.side)]


@pytest.fixture(scope="module")
def played(embedded: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Opens before the railway files in Kazakhstan, which waits until railclear has said what it expects there; what is older is said at once."""
    story = Story(reference_files.load())
    theatre = Theatre(embedded, tmp_path_factory.mktemp("workers"), opens=story.files - HOUR, speed=SPEED)
    try:
        theatre.open()
        lines = [line for line in story.lines if line.at <= story.leaves]
        asyncio.run(theatre.play(lines, story.beats(theatre.opens), cues(story), "over", (BORDER_KZ, BORDER_BY, BORDER_PL)))
        assert asyncio.run(theatre.written()) == 0
        yield Played(story, theatre)
    finally:
        theatre.close()


def seen(words: list[ClearanceUpdate]) -> list[str]:
    """States in the order in which they were published, a repeated one once; what freshness takes back and gives again is left out."""
    found: list[str] = []
    for u in words:
        if (not found or found[-1] != u.state) and u.state not in found:
            found.append(u.state)
    return found


# -- the border of Kazakhstan ---------------------------------------------------------------------------------------------------------------


def test_the_border_topic_tells_the_states_in_order_from_expected_to_departed(played: Played) -> None:
    words = played.words(CLEARED, KZ, BORDER_KZ)
    assert [u.revision for u in words] == sorted(u.revision for u in words)
    order = [s for s in seen(words) if s not in ("FILED", "ACCEPTED", "SEAL_CHECK")]
    assert order == ["EXPECTED", "PRE_CLEARED", "ARRIVED", "RELEASED", "DEPARTED"]
    there = [(u.ready, "SEAL_UNREAD" in codes(u)) for u in words if u.state == "ARRIVED"]
    assert there[0] == (False, True), "ready only once its lock is read there"
    assert there[-1] == (True, False)


def test_pre_cleared_rests_on_every_condition_that_can_be_met_before_arrival_and_is_no_decision(played: Played) -> None:
    first = next(u for u in played.words(CLEARED, KZ, BORDER_KZ) if u.state == "PRE_CLEARED")
    verdicts = {c.name: c.verdict for c in first.conditions}
    assert verdicts.pop("GTT-09") == "unknown", "the lock can only be read at Dostyk"
    assert {f"GTT-{n:02d}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12)} <= set(verdicts)
    assert set(verdicts.values()) == {"proven"}
    assert first.basis.kind == "INFERRED"
    assert not first.present


def test_the_release_is_the_authoritys_own_notice_and_nobody_elses_word(played: Played) -> None:
    released = [u for u in played.words(CLEARED, KZ, BORDER_KZ) if u.state == "RELEASED"]
    basis = released[0].basis
    assert (basis.kind, basis.source, basis.code, basis.evidence) == ("AUTHORITY", "KZ", "TD-RELEASED", played.story.release_id)
    assert basis.number in played.story.tds[CLEARED]
    assert released[0].movable


def test_without_the_notice_it_stays_arrived_and_an_alert_says_whom_to_call(played: Played) -> None:
    words = played.words(SILENT, KZ, BORDER_KZ)
    assert "PRE_CLEARED" in seen(words)
    assert not {"RELEASED", "DEPARTED"} & set(seen(words))
    assert (words[-1].state, words[-1].ready) == ("ARRIVED", True), "ready, and the decision is not made for the authority"
    said = played.alerts(SILENT, "NoNoticeFromAuthority")
    assert len({a.key for a in said}) == 1
    assert {a.state for a in said} == {"open"}, said
    alert = said[0]
    assert (alert.state, alert.side, alert.call, alert.call_hours) == ("open", KZ, DUTY_KZ, "24/7")
    assert "No decision of KZ: call its duty line" in alert.titles["en"]
    assert "позвонить дежурному" in alert.titles["ru"]
    assert alert.titles["zh"]
    assert words[-1].since is not None
    assert alert.at >= words[-1].since + 24 * HOUR
    waiting = words[-1].actions[0]
    assert (waiting.wait_for, waiting.call) == ("decision of KZ", DUTY_KZ)
    assert not [a for name in (CLEARED, BROKEN) for a in played.alerts(name, "NoNoticeFromAuthority")]


def test_a_border_topic_carries_its_authoritys_sides_and_others_only_as_far_as_an_agreement_row_lets_them(played: Played) -> None:
    sides = {topic: {u.side for u in played.heard.on(topic)} for topic in (BORDER_KZ, BORDER_PL)}
    assert sides[BORDER_PL] == {PL}, "no row between Poland and anybody on the way"
    assert sides[BORDER_KZ] == {KZ, BY, f"{DOSTYK}:CN:EXIT"}, "the link's data exchange, and that of the Eurasian union"
    foreign = [u for u in played.heard.on(BORDER_KZ) if u.authority != "KZ"]
    assert {u.state for u in foreign} > {"EXPECTED"}, "the rows let the status through"
    assert not any(u.findings or u.basis.source or u.conditions for u in foreign), "and not what another authority's status rests on"


# -- the lock breaks ------------------------------------------------------------------------------------------------------------------------


def test_a_lock_that_breaks_at_dostyk_is_found_there_withdraws_recognition_and_makes_control_likely(played: Played) -> None:
    words = played.words(BROKEN, KZ, BORDER_KZ)
    at = next(i for i, u in enumerate(words) if "SEAL_FAILED" in codes(u))
    found = words[at]
    assert {"SEAL_FAILED", "RECOGNITION_WITHDRAWN"} <= codes(found)
    assert {"control_likely", "recognition_withdrawn", "seal_failed:customs_lock"} <= set(found.flags)
    assert {c.name: c.verdict for c in found.conditions}["GTT-10"] == "failed"
    assert not any("control_likely" in u.flags for u in words[:at])
    assert "PRE_CLEARED" in seen(words[:at])
    for name in ("SealFailed", "RecognitionWithdrawn"):
        first = played.alerts(BROKEN, name)[0]
        assert (first.state, first.side, first.call) == ("open", KZ, DUTY_KZ)
    assert played.story.boxes[BROKEN] in played.alerts(BROKEN, "SealFailed")[0].titles["en"]


def test_the_control_is_the_authoritys_to_order_and_comes_with_its_own_code(played: Played) -> None:
    words = played.words(BROKEN, KZ, BORDER_KZ)
    likely = next(u for u in words if "control_likely" in u.flags)
    assert likely.state in ("ARRIVED", "SEAL_CHECK"), "likely is a forecast"
    ordered = next(u for u in words if u.state == "CONTROL_ORDERED")
    assert (ordered.basis.kind, ordered.basis.source, ordered.basis.code) == ("AUTHORITY", "KZ", "RED")
    assert words.index(ordered) > words.index(likely)
    assert not any(u.ready for u in words[words.index(likely):]), "it is never ready under the link again"


@pytest.mark.parametrize(("side", "topic", "told"), [
    (BY, BORDER_BY, [("note, TD", False), ("note, TD", True), ("note", True)]),
    (PL, BORDER_PL, [("note, ENS", False), ("note, ENS", True), ("ENS", True)]),
], ids=["Brest", "Małaszewicze"])
def test_later_borders_find_the_seal_differs_until_the_replacement_is_on_their_documents(
        played: Played, side: str, topic: str, told: list[tuple[str, bool]]) -> None:
    words = played.words(BROKEN, side, topic)
    findings = [found for u in words if (found := differs(u))]
    assert {f.expected for f in findings} == {"", played.story.new_lock}
    order = list(dict.fromkeys((f.present, bool(f.expected)) for f in findings))
    assert [one for one in order if one in told] == told
    assert differs(words[0]) is None, "nothing before the lock broke"
    assert differs(words[-1]) is None, "the replacement is on all documents"
    opened, resolved = played.alerts(BROKEN, "SealDiffersFromDocument", side)[0], played.alerts(BROKEN, "SealDiffersFromDocument", side)[-1]
    assert (opened.state, resolved.state) == ("open", "resolved")
    assert opened.call not in ("", DUTY_KZ)
    assert f"{played.story.locks[BROKEN]} no longer holds, and a new one is not known yet" in opened.titles["en"]
    assert "накладная" in opened.titles["ru"]
    assert "运单" in opened.titles["zh"]


def test_an_amendment_only_lodged_is_not_yet_on_the_document(played: Played) -> None:
    words = played.words(BROKEN, PL, BORDER_PL)
    pending = [u for u in words if "amendment_pending" in u.flags]
    assert pending
    assert [(f.present, f.expected) for u in pending if (f := differs(u))] == [("ENS", played.story.new_lock)] * len(pending)
    assert "amendment_pending" not in words[-1].flags


@pytest.mark.parametrize(("side", "topic"), [(BY, BORDER_BY), (PL, BORDER_PL)], ids=["Brest", "Małaszewicze"])
def test_without_an_agreement_that_extends_there_recognition_is_not_withdrawn_at_later_borders(played: Played, side: str, topic: str) -> None:
    assert not any("RECOGNITION_WITHDRAWN" in codes(u) for u in played.words(BROKEN, side, topic))


@pytest.mark.parametrize("name", [CLEARED, SILENT])
def test_a_lock_that_holds_leaves_later_borders_without_that_finding(played: Played, name: str) -> None:
    assert not any(differs(u) for side, topic in ((BY, BORDER_BY), (PL, BORDER_PL)) for u in played.words(name, side, topic))


# -- the command line on the same servers ---------------------------------------------------------------------------------------------------


class Asked:
    """A command line and what came of it."""

    def __init__(self, played: Played, capsys: pytest.CaptureFixture[str]) -> None:
        self.played, self.capsys = played, capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert root.run([*arguments, "--at", str(self.played.servers.data)]) == code, self.capsys.readouterr()
        said = self.capsys.readouterr()
        return said.out if code == 0 else said.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def ask(played: Played, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Asked:
    for name in [n for n in os.environ if n.startswith("RAILCLEAR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "400")
    return Asked(played, capsys)


def instant(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).isoformat()


def test_status_of_a_container_shows_its_sides_in_order_and_the_open_alert(ask: Asked) -> None:
    said = ask("status", ask.played.story.boxes[SILENT])
    assert ask.played.story.shipments[SILENT] in said
    assert "… ARRIVED" in said
    assert f"NoNoticeFromAuthority {KZ}" in said
    told = ask.json("status", ask.played.story.boxes[SILENT])
    route = [s["side"] for s in told["sides"]]
    assert route.index(KZ) < route.index(BY) < route.index(PL)
    assert [(a["name"], a["call"]) for a in told["alerts"] if a["side"] == KZ] == [("NoNoticeFromAuthority", DUTY_KZ)]
    sides = {s["side"]: s for s in ask.json("status", ask.played.story.boxes[CLEARED])["sides"]}
    assert sides[KZ]["state"] == "DEPARTED"
    assert sides[PL]["state"] == "ACCEPTED"


def test_status_by_configured_address_and_by_the_number_of_the_note(ask: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RAILCLEAR_DSN", ask.played.servers.dsn)
    assert root.run(["status", ask.played.story.consignments[BROKEN].document.number, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shipment"] == ask.played.story.shipments[BROKEN]


@pytest.mark.parametrize(("lang", "words"), [("en", "is withdrawn for {box}: its lock failed"), ("zh", "箱 {box} 的锁失效，依 gtt-cn-kz 的互认已撤回"),
                                             ("ru", "Признание по gtt-cn-kz для {box} отозвано: замок нарушен")])
def test_explain_tells_the_broken_lock_in_every_language(ask: Asked, lang: str, words: str) -> None:
    broke = next(u for u in ask.played.words(BROKEN, KZ, BORDER_KZ) if "SEAL_FAILED" in codes(u))
    said = ask("explain", ask.played.story.boxes[BROKEN], "--side", "KZ:ENTRY", "--as-of", instant(broke.assessed_at), "--lang", lang)
    assert KZ in said
    assert PL not in said
    assert "GTT-10" in said
    assert ask.played.story.locks[BROKEN] in said
    assert words.format(box=ask.played.story.boxes[BROKEN]) in said


def test_explain_says_whom_to_call_where_the_notice_does_not_come(ask: Asked) -> None:
    said = ask("explain", ask.played.story.boxes[SILENT], "--side", "KZ:ENTRY")
    assert "decision of KZ" in said
    assert f"{DUTY_KZ} (24/7)" in said
    assert "Computed by railclear from the facts; not a decision of any authority." in said


def test_explain_says_what_was_published_before_and_after_the_release(ask: Asked) -> None:
    words, box = ask.played.words(CLEARED, KZ, BORDER_KZ), ask.played.story.boxes[CLEARED]
    for state, basis in (("PRE_CLEARED", "INFERRED"), ("RELEASED", "AUTHORITY")):
        at = next(u for u in words if u.state == state)
        told = ask.json("explain", box, "--side", KZ, "--as-of", instant(at.assessed_at))
        status, = told["statuses"]
        assert (status["state"], status["basis"]["kind"], status["revision"]) == (state, basis, at.revision)
    released = ask("explain", box, "--side", KZ, "--as-of", instant(at.assessed_at))
    assert "TD-RELEASED" in released
    assert ask.played.story.release_id in released
    before = ask.json("explain", box, "--side", KZ, "--as-of", instant(at.assessed_at - 1))
    assert before["statuses"][0]["state"] == "ARRIVED", "an instant earlier it was not released"
    now = ask.json("explain", box, "--side", KZ)
    assert now["statuses"][0]["state"] == "DEPARTED"


def test_explain_before_the_first_status_says_so(ask: Asked) -> None:
    assert "nothing was published" in ask("explain", ask.played.story.boxes[CLEARED], "--as-of", instant(START), code=1)


def test_the_ledger_has_every_revision_of_the_border_topic(played: Played) -> None:
    async def revisions(name: str) -> dict[int, str]:
        ledger = await Ledger.open(played.servers.dsn)
        try:
            return {u.revision: u.state for u in await ledger.history(played.story.shipments[name], KZ)}
        finally:
            await ledger.close()

    for name in (CLEARED, SILENT, BROKEN):
        kept = asyncio.run(revisions(name))
        assert all(kept[u.revision] == u.state for u in played.words(name, KZ, BORDER_KZ))
