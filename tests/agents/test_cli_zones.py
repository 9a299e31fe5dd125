"""Border times are shown in the time of the border, not in that of the authority's capital."""
from __future__ import annotations

import pytest
from rich.console import Console

from agents.cli import ask, where
from agents.settings import Settings
from topics.events.outputs import BasisSaid, ClearanceUpdate

AT = 1_772_366_400_000_000
"""2026-03-01 12:00 UTC."""


def said(authority: str, crossing: str, kind: str) -> ClearanceUpdate:
    return ClearanceUpdate(shipment="S1", side=f"{crossing}:{authority}:{kind}", revision=1, state="ARRIVED", basis=BasisSaid(kind="INFERRED"), since=AT,
                           authority=authority, crossing=crossing, kind=kind, eta=(AT, AT, AT))


@pytest.mark.parametrize(("update", "time"), [
    (said("RU", "CN-RU-MANZHOULI-ZABAIKALSK", "ENTRY"), "2026-03-01 21:00 +0900"),
    (said("CN", "CN-RU-MANZHOULI-ZABAIKALSK", "EXIT"), "2026-03-01 20:00 +0800"),
    (said("KZ", "CN-KZ-ALASHANKOU-DOSTYK", "ENTRY"), "2026-03-01 17:00 +0500"),
    (said("RU", "", "TERRITORY"), "2026-03-01 15:00 +0300"),
    (said("ZZ", "", "TERRITORY"), "2026-03-01 12:00 +0000")])
def test_a_side_is_shown_in_the_time_of_its_own_station(update: ClearanceUpdate, time: str) -> None:
    servers = where.Servers(Settings())
    console = Console(width=300)
    with console.capture() as shown:
        console.print(ask.table([update], servers.zone))
    assert shown.get().count(time) == 2
