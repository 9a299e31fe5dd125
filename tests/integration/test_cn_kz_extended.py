"""The broken lock under a fixture agreement that extends recognition to Belarus and Poland: it is withdrawn there too."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import reference as reference_files
from agents.embedded import EmbeddedServers
from streams.rules import pack_of
from tests.integration.cn_kz_world import BREST, BROKEN, BY, CLEARED, DOSTYK, HOUR, KZ, PL, SILENT, Story
from tests.integration.theatre import Cue, Heard, Theatre
from topics.registry import border_topic

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

OVERLAY = Path(__file__).parent / "overlays" / "extended"
SPEED = 4000.0
TOPICS = {KZ: border_topic(DOSTYK, "KZ"), BY: border_topic(BREST, "BY"), PL: border_topic(BREST, "PL")}
ALARM = "RecognitionWithdrawn"


def cues(story: Story) -> dict[str, Cue]:
    def state(name: str, wanted: str) -> Cue:
        def came(heard: Heard) -> bool:
            last = heard.last(story.shipments[name], KZ)
            return last is not None and last.state == wanted
        return came

    def withdrawn(heard: Heard) -> bool:
        return {a.side for a in heard.alerts if a.name == ALARM and a.shipment == story.shipments[BROKEN]} >= set(TOPICS)

    def at_borders(heard: Heard) -> bool:
        return all(any("recognition_withdrawn" in u.flags for u in heard.of(story.shipments[BROKEN], side, topic)) for side, topic in TOPICS.items())

    return {
        "all pre-cleared": lambda heard: all(state(name, "PRE_CLEARED")(heard) for name in story.shipments),
        **{f"arrived {name}": state(name, "ARRIVED") for name in story.shipments},
        "ready": lambda _: True,
        "over": lambda heard: withdrawn(heard) and at_borders(heard),
    }


@pytest.fixture(scope="module")
def played(embedded: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Story, Theatre]]:
    """Opens shortly before the train comes to Dostyk."""
    story = Story(reference_files.load(OVERLAY))
    theatre = Theatre(embedded, tmp_path_factory.mktemp("workers"), overlay=OVERLAY, opens=story.arrives - HOUR, speed=SPEED)
    try:
        theatre.open()
        lines = [line for line in story.lines if line.at <= story.read_bad]
        asyncio.run(theatre.play(lines, story.beats(theatre.opens), cues(story), "over", TOPICS.values()))
        yield story, theatre
    finally:
        theatre.close()


def test_the_agreement_of_the_overlay_is_the_one_that_the_workers_go_by(played: tuple[Story, Theatre]) -> None:
    story, theatre = played
    agreement = theatre.reference.agreements["gtt-cn-kz"]
    assert (agreement.extends_to, agreement.note) == (("BY", "PL"), "fixture of a test")
    assert {u.pack for _, u in theatre.heard.said} == {pack_of(theatre.reference)}
    assert story.reference == theatre.reference


@pytest.mark.parametrize("side", [KZ, BY, PL])
def test_recognition_is_withdrawn_at_every_side_that_relies_on_it(played: tuple[Story, Theatre], side: str) -> None:
    story, theatre = played
    words = theatre.heard.of(story.shipments[BROKEN], side, TOPICS[side])
    found = next(f for u in words for f in u.findings if f.code == "RECOGNITION_WITHDRAWN")
    assert (found.rule.partition("@")[0], found.scope) == ("REC-01", story.boxes[BROKEN])
    assert "gtt-cn-kz" in found.titles["en"] + found.texts.get("en", "")
    said = next(u for u in words if "recognition_withdrawn" in u.flags)
    assert "control_likely" in said.flags
    assert not {"HELD", "REFUSED", "CONTROL_ORDERED"} & {u.state for u in words}, "a finding decides nothing"
    alert = next(a for a in theatre.heard.alerts if a.name == ALARM and a.side == side)
    assert (alert.state, alert.shipment, bool(alert.call)) == ("open", story.shipments[BROKEN], True)


@pytest.mark.parametrize("name", [CLEARED, SILENT])
def test_boxes_whose_lock_holds_keep_their_recognition(played: tuple[Story, Theatre], name: str) -> None:
    story, theatre = played
    for side, topic in TOPICS.items():
        words = theatre.heard.of(story.shipments[name], side, topic)
        assert words
        assert not any("recognition_withdrawn" in u.flags for u in words)
