"""Words of which the short ways of CLEARANCE once knew less than the long one: each touches sides that it does not name."""
from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streams.clearance import ClearanceFold
from streams.fold import World
from streams.reference.model import Mapped
from tests.streams.border_world import BOX, PL_ENTRY, T0, box, doc, lodged, presence, shipment
from tests.streams.test_assess_story import KEY, there
from tests.streams.test_short_ways import back, busy, told_alike, whole_step
from topics.events.internal import ShipmentFacts
from topics.events.outputs import ClearanceUpdate
from topics.facts import HOUR, MINUTE, Fact, Rank

OFFICE = "PL-WARSAW"
MAPPED = Mapped(source="D", list="office", code=f"PL:{OFFICE}", means="warsaw")
HEAVY = [box(gross_kg=26_000.0, packages=7)]
"""Another mass than declared elsewhere: somebody must amend."""


def two_posts() -> Any:
    """Poland has the entry and an office of its own on the way."""
    ref = busy()
    return msgspec.structs.replace(ref, mapped={**ref.mapped, ("office", f"PL:{OFFICE}"): MAPPED})


REF = two_posts()
BEGIN = [*(f for f in there() if f.key != ("shipment",)), shipment(offices=[f"PL:{OFFICE}", "DE:DE004851"])]
IMPORT = lodged("import", "I1", "PL", T0 + HOUR, office="PL301010", offices=[f"PL:{OFFICE}", "DE:DE004851"])
FREED = doc("@PL/doc/td/T1", "td", "T1", "released", T0 + 59 * HOUR, "PL")
SHARED = [*(f for f in BEGIN if f.key != ("filing", "ens", "E1")),
          lodged("ens", "E1", "PL", T0 + HOUR, office="PL301010", offices=[f"PL:{OFFICE}"], containers=HEAVY),
          doc(PL_ENTRY, "ens", "E1", "released", T0 + 10 * HOUR, "PL"),
          msgspec.structs.replace(doc(PL_ENTRY, "ens", "E1", "registered", T0 + 30 * HOUR, "PL"), record="r2")]
LEFT = msgspec.structs.replace(presence(PL_ENTRY, "departed", T0 + 40 * HOUR), key=("departed", "2"))
SECOND_VISIT = Fact(side=PL_ENTRY, key=("visit",), at=T0 + 20 * HOUR, source="ktz", rank=Rank.RAILWAY, scope=BOX, value="2", version=1)
NEW_RAILWAY = Fact(side="*", key=("position",), at=T0 + 59 * HOUR, source="pkp", rank=Rank.RAILWAY, scope=BOX, version=1, value={"run": "pkp/1"})

CASES: dict[str, tuple[list[Fact], Fact, bool]] = {
    "a release that names no side of its authority": ([*BEGIN, IMPORT], doc("@PL/doc/import/I1", "import", "I1", "released", T0 + 59 * HOUR, "PL"), True),
    "another authority's document is released": (BEGIN, FREED, True),
    "that word is withdrawn": ([*BEGIN, FREED], msgspec.structs.replace(FREED, value=None, version=9), True),
    "a second visit takes back what was decided": (SHARED, SECOND_VISIT, True),
    "the same where the goods have left": ([*SHARED, LEFT], SECOND_VISIT, True),
    "a railway that is named for the first time by a position": (BEGIN, NEW_RAILWAY, True),
    "a word about one side": (BEGIN, doc("@KZ/doc/td/T1", "td", "T1", "released", T0 + 59 * HOUR, "KZ"), False),
}


@pytest.mark.parametrize("name", CASES)
def test_what_touches_sides_that_it_does_not_name_reaches_them_warm_and_cold(name: str) -> None:
    begin, news, far = CASES[name]
    told = [[ShipmentFacts(shipment=KEY, facts=tuple(facts))] for facts in (begin, [news])]
    fold, later = ClearanceFold(), T0 + 60 * HOUR + MINUTE
    first = fold.step(None, KEY, told[0], World(REF), T0 + 60 * HOUR)
    assert first.state is not None
    warm = fold.step(first.state, KEY, told[1], World(REF), later)
    cold = ClearanceFold().step(back(first.state), KEY, told[1], World(REF), later)
    whole = whole_step(ClearanceFold(), first.state, told[1], World(REF), later)
    assert (told_alike(warm, whole), told_alike(cold, whole)) == ("", "")
    said = {e.value.side for e in whole.outputs if isinstance(e.value, ClearanceUpdate) and e.topic == "clearance.history"}
    assert said, "it changes something"
    assert bool(said - {news.side}) >= far
