"""Border times and working hours are those of the post, not of its authority's capital."""
from __future__ import annotations

import pytest

from streams.explain.document import explain
from streams.network.calendar import duty_open, is_open, post_calendar, side_zone
from streams.reference.model import DutyLine, Mapped, Names, Place, Reference
from streams.rules.day import begin_of
from tests.streams.border_world import CN_EXIT, DOSTYK, KZ_ENTRY, reference
from tests.streams.test_assess_story import ARRIVAL, BY_THEN, at, look, there, underway
from tests.streams.test_rules_fire import but, night
from topics.facts import HOUR

PLACE = Place(source="M", id="dostyk", names=Names("Dostyk"), country="KZ", zone="Asia/Chita")
FAR = reference(places={"dostyk": PLACE, "xian": Place(source="D", id="xian", names=Names("Xi'an"), country="CN", zone="Asia/Urumqi")},
                mapped={("office", "CN:CNXIANXX"): Mapped(source="D", list="office", code="CN:CNXIANXX", means="xian")})
NEAR = reference()


@pytest.mark.parametrize(("ref", "offset"), [(FAR, "+09:00"), (NEAR, "+05:00")])
def test_deadlines_and_opening_times_are_in_the_time_of_the_post(ref: Reference, offset: str) -> None:
    pi = next(a for a in at(look(but(underway(), "pi"), ARRIVAL - 5 * HOUR, ref), KZ_ENTRY).actions if a.message == "ПИ")
    assert pi.by_border.endswith(offset)
    risk = next(f for f in at(look(but(underway(), "pi"), ARRIVAL - 5 * HOUR, ref), KZ_ENTRY).findings if f.code == "FILING_AT_RISK")
    assert offset in risk.texts["en"]
    closed = next(f for f in at(look(there(), night(), ref), KZ_ENTRY).findings if f.code == "POST_CLOSED")
    assert f"09:00{offset}" in closed.texts["ru"]


@pytest.mark.parametrize(("ref", "offset"), [(FAR, "+09:00"), (NEAR, "+05:00")])
def test_an_explanation_tells_times_of_the_post(ref: Reference, offset: str) -> None:
    told = explain(look(there(), BY_THEN, ref).updates, (), ref, "en", side=KZ_ENTRY)
    assert told.sides[0].since.endswith(offset)


def test_a_post_works_by_its_own_clock() -> None:
    nine_in_chita = begin_of("2026-02-03")                      # 00:00 UTC
    assert is_open(post_calendar(FAR, FAR.crossings[DOSTYK], "KZ"), nine_in_chita)
    assert not is_open(post_calendar(NEAR, NEAR.crossings[DOSTYK], "KZ"), nine_in_chita)
    line = DutyLine(source="D", authority="KZ", phone="1", crossing=DOSTYK, hours="Mo-Fr 09:00-18:00")
    assert duty_open(FAR, line, nine_in_chita)
    assert not duty_open(NEAR, line, nine_in_chita)


def test_the_zone_of_a_side_is_its_stations_its_offices_or_its_authoritys() -> None:
    assert side_zone(FAR, "KZ", DOSTYK) == "Asia/Chita"
    assert side_zone(FAR, "CN", DOSTYK) == "Asia/Shanghai", CN_EXIT
    assert side_zone(FAR, "CN", "", "CNXIANXX") == "Asia/Urumqi"
    assert side_zone(FAR, "CN", "", "CNNOWHERE") == "Asia/Shanghai"
    assert side_zone(FAR, "XX") == "UTC"
