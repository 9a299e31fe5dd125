"""Acts of operators at intake: who may say them, about what, and what they become."""
from __future__ import annotations

import pytest

from streams.fold import EVERY_PARTITION
from tests.streams.intake_world import act, event, put
from topics.events.internal import MaskFacts, SourcePaused
from topics.events.operations import FeedRetracted

RETRACT = {"feed": "customs-kz", "since": "2026-02-28T00:00:00Z", "until": "2026-03-01T00:00:00+05:00", "record": "R-1"}


def refused(*args: object, **more: object) -> list[tuple[str, str]]:
    return [(r.code, r.path) for r in put(*args, **more).refusals]  # type: ignore[arg-type]


@pytest.mark.parametrize("party", ["forwarder", "ktz", "customs-kz", "desk", "risk-kz", "locks"])
def test_nobody_but_an_operator_acts(party: str) -> None:
    mine = act("operations.retract", **RETRACT)
    assert refused(mine, party) == [("NOT_YOURS", "$.source")]
    assert refused({**mine, "source": party}, party) == [("NOT_YOUR_EVENT", "$.type")]


def test_an_operator_says_nothing_for_a_party() -> None:
    assert refused(event("network.crossing", "ops-desk", crossing="CN-KZ-ALASHANKOU-DOSTYK", state="closed")) == [("NOT_YOUR_EVENT", "$.type")]


@pytest.mark.parametrize(("fields", "said"), [
    ({"type": "operations.pause", "feed": "nobody"}, ("UNKNOWN_PARTY", "$.feed")),
    ({"type": "operations.retract", **RETRACT, "feed": "nobody"}, ("UNKNOWN_PARTY", "$.feed")),
    ({"type": "operations.pause", "feed": "ops-desk"}, ("OWN_FEED", "$.feed")),
    ({"type": "operations.retract", **RETRACT, "until": "2026-02-27T00:00:00Z"}, ("BAD_VALUE", "$.until")),
    ({"type": "operations.pause", "feed": "ktz", "reason": ""}, ("BAD_VALUE", "$.reason")),
    ({"type": "operations.pause", "feed": "ktz", "by": ""}, ("BAD_VALUE", "$.by")),
    ({"type": "operations.reopen", "shipment": "CSQU3054383"}, ("BAD_VALUE", "$.shipment")),
    ({"type": "operations.retract", **RETRACT, "since": "2026-02-28T00:00:00"}, ("MISSING_ZONE", "$.since")),
])
def test_an_act_that_cannot_be_meant_is_refused_by_name(fields: dict[str, str], said: tuple[str, str]) -> None:
    assert refused(act(**fields)) == [said]


def test_a_retraction_is_a_mask_for_every_fold_that_keeps_what_parties_said_and_stands_among_the_acts() -> None:
    acts, *masks = put(act("operations.retract", **RETRACT)).outputs[1]
    assert isinstance(acts.value, FeedRetracted)
    assert (acts.topic, acts.value.by, acts.value.reason) == ("operations.acts", "duty officer", "the feed's clock ran ahead")
    assert {m.topic for m in masks} == {"trains.in", "custody.in", "documents.in", "clearance.in"}
    for mask in masks:
        assert mask.partition == EVERY_PARTITION
        assert isinstance(mask.value, MaskFacts)
        assert (mask.value.source, mask.value.record, mask.value.lifted) == ("customs-kz", "R-1", False)
        assert mask.value.until - mask.value.since == 19 * 3_600_000_000


def test_undoing_it_is_a_higher_version_of_the_same_act() -> None:
    mask = put(act("operations.retract", **RETRACT, version=1, undone=True)).outputs[1][1].value
    assert isinstance(mask, MaskFacts)
    assert (mask.record, mask.version, mask.lifted) == ("R-1", 1, True)


def test_a_pause_goes_to_the_source_and_counts_from_when_it_was_received() -> None:
    _, told = put(act("operations.pause", feed="ktz")).outputs[1]
    assert (told.topic, told.key) == ("sources.in", "ktz")
    assert isinstance(told.value, SourcePaused)
    assert told.value.at == 1_772_362_800_000_000


def test_that_an_operator_has_spoken_is_no_news_of_a_source() -> None:
    assert put(act("operations.drain")).heard == ()
    assert put(event("heartbeat", "ktz")).heard != ()
