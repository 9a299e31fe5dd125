"""What the benchmarks send: one shipment in a hundred with 200 house items, and the mix of a working day."""
from __future__ import annotations

from collections import Counter, defaultdict
from copy import copy
from itertools import islice

import msgspec
import pytest

from tests.bench import whole
from tests.bench.load import SHARES, Message, Mix, kind_of, tempo
from tests.bench.world import ITEMS, PARCELS, TRAINS, Script, with_items
from topics.events.customs import CustomsNotice
from topics.events.rail import PositionReported
from topics.events.sites import AgencyNotice, SealEvent, TerminalEvent
from topics.events.trade import FilingLodged, RequestAnswered, ShipmentDeclared

COPIES = 2
KINDS = {PositionReported: "positions", TerminalEvent: "sites", SealEvent: "sites", CustomsNotice: "notices", AgencyNotice: "notices", FilingLodged: "filings",
         RequestAnswered: "filings"}
TAGS = {event.__struct_config__.tag: kind for event, kind in KINDS.items()}


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


def test_one_shipment_in_a_hundred_has_two_hundred_house_items_and_no_other_has_any(script: Script) -> None:
    boxes, items = dict[str, str](), defaultdict[str, set[str]](set)
    for message in script.messages:
        if isinstance(message.event, ShipmentDeclared):
            boxes |= {stuffing.container: message.event.document.number for stuffing in message.event.containers}
        elif item := getattr(message.event, "item", ""):
            items[boxes[message.event.container]].add(item)  # type: ignore[union-attr]
    shipments = len(set(boxes.values()))
    assert {len(of_one) for of_one in items.values()} == {ITEMS} == {200}
    assert len(items) == sum(PARCELS.values()) == with_items(shipments)
    assert (with_items(100), with_items(101)) == (1, 2)


def test_what_is_sent_has_the_shares_of_a_working_day_for_as_long_as_the_longest_load(script: Script) -> None:
    trains = round(whole.SHIPMENTS / 160) * TRAINS
    each = round((whole.RATE * whole.SECONDS * 1.2 + 3 * whole.RUNG_S * sum(whole.ladder(whole.RATE))) / trains * TRAINS)
    mix = Mix(script, range(COPIES), tempo(whole.RATE, trains))
    sent = Counter(kind(message) for message in islice(mix, COPIES * each))
    assert mix.dry == set()
    assert {name: round(100 * count / sent.total()) for name, count in sent.items()} == SHARES == {"positions": 90, "sites": 5, "notices": 3, "filings": 2}


def test_kinds_that_have_run_dry_are_said_and_replaced_by_positions(script: Script) -> None:
    few = copy(script)
    few.after = [sent for sent in script.after if kind_of(sent) != "filings"]
    mix = Mix(few, [0], tempo(whole.RATE, TRAINS))
    sent = Counter(kind(message) for message in islice(mix, 1_000))
    assert mix.dry == {"filings"}
    assert sent == {"positions": 920, "sites": 50, "notices": 30}
    assert mix.said() == "; ran dry and went on with positions: filings"


def kind(message: Message) -> str:
    return TAGS[msgspec.json.decode(message.value)["type"]]
