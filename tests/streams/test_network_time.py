"""Arrival times, working hours, deadlines: each fires and does not."""
from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.reference import load
from streams.network.calendar import (
    add_working_hours,
    border_time,
    calendar_of,
    duty_open,
    expected_decision,
    is_open,
    next_open,
    zone_of,
)
from streams.network.deadlines import ClockTime, clocks, deadline, lead_minutes, timing, timing_changes
from streams.network.eta import arrivals
from streams.network.route import build_route
from streams.network.sides import crossings_of, route_sides
from streams.reference.model import DutyLine, FilingRow
from streams.reference.working import HoursRefused, parse_hours
from topics.facts import DAY, HOUR, MINUTE

REFERENCE = load()


def us(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


NOW = us("2026-05-04T12:00")
WEST = build_route(REFERENCE, "WEST-A", "west")
SIDES = route_sides(REFERENCE, crossings_of(REFERENCE.corridors["WEST-A"], "west"), "west")
CN_EXIT, KZ_ENTRY = "CN-KZ-ALASHANKOU-DOSTYK:CN:EXIT", "CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY"
PL_ENTRY = "BY-PL-BREST-MALASZEWICZE:PL:ENTRY"


@settings(max_examples=60, deadline=None)
@given(km=st.floats(-1500, 9000), corridor=st.sampled_from(sorted(REFERENCE.corridors)), direction=st.sampled_from(["west", "east"]))
def test_percentiles_rise_and_sides_come_in_order_on_the_grid(km: float, corridor: str, direction: str) -> None:
    route = build_route(REFERENCE, corridor, direction)
    sides = route_sides(REFERENCE, crossings_of(REFERENCE.corridors[corridor], direction), direction)
    etas = list(arrivals(REFERENCE, route, sides, km, NOW).values())
    for p10, p50, p90 in etas:
        assert p10 <= p50 <= p90
        assert p10 % (15 * MINUTE) == p50 % (15 * MINUTE) == p90 % (15 * MINUTE) == 0
    for earlier, later in pairwise(etas):
        assert all(a <= b for a, b in zip(earlier, later, strict=True))


@settings(max_examples=40, deadline=None)
@given(km=st.floats(0, 2500), ahead=st.floats(1, 200))
def test_the_nearer_the_sooner(km: float, ahead: float) -> None:
    one, other = (arrivals(REFERENCE, WEST, SIDES, k, NOW) for k in (km, km + ahead))
    assert other[PL_ENTRY][1] <= one[PL_ENTRY][1]


def test_sides_behind_and_territories_get_no_eta() -> None:
    etas = arrivals(REFERENCE, WEST, SIDES, WEST.km_of["karaganda"], NOW)
    assert KZ_ENTRY not in etas
    assert PL_ENTRY in etas
    assert "RU:TERRITORY" not in etas


def test_the_whole_trip_takes_about_as_long_as_is_reported() -> None:
    """14 to 16 days Duisburg to Chongqing, 10 to 16 for full-timetable trains (S57, S58, S75)."""
    etas = arrivals(REFERENCE, WEST, SIDES, 0.0, NOW)
    days = (etas["PL-DE-RZEPIN-FRANKFURT:DE:ENTRY"][1] - NOW) / DAY
    assert 8 < days < 16


def test_the_dwell_counts_from_when_the_train_came() -> None:
    km = WEST.km_of["alashankou"]
    fresh = arrivals(REFERENCE, WEST, SIDES, km, NOW, seen={CN_EXIT: NOW})
    waited = arrivals(REFERENCE, WEST, SIDES, km, NOW, seen={CN_EXIT: NOW - 6 * HOUR})
    assert CN_EXIT not in fresh
    assert waited[KZ_ENTRY][1] == fresh[KZ_ENTRY][1] - 6 * HOUR


def test_a_delay_and_a_closure_move_what_lies_behind_them_and_nothing_else() -> None:
    km = WEST.km_of["urumqi"]
    plain = arrivals(REFERENCE, WEST, SIDES, km, NOW)
    late = arrivals(REFERENCE, WEST, SIDES, km, NOW, delay_minutes=120)
    closed = arrivals(REFERENCE, WEST, SIDES, km, NOW, closed_until={"BY-PL-BREST-MALASZEWICZE": NOW + 30 * DAY})
    assert late[CN_EXIT][1] == plain[CN_EXIT][1] + 2 * HOUR
    assert closed[KZ_ENTRY] == plain[KZ_ENTRY]
    assert closed[PL_ENTRY][0] >= NOW + 30 * DAY


def test_a_sea_leg_takes_its_passage_not_the_speed_of_a_train() -> None:
    route = build_route(REFERENCE, "MIDDLE-AKTAU", "west")
    sides = route_sides(REFERENCE, crossings_of(REFERENCE.corridors["MIDDLE-AKTAU"], "west"), "west")
    etas = arrivals(REFERENCE, route, sides, route.km_of["gori"], NOW)
    gap = REFERENCE.crossings["GE-RO-POTI-CONSTANTA"].gap_hours
    assert etas["GE-RO-POTI-CONSTANTA:RO:ENTRY"][0] - etas["GE-RO-POTI-CONSTANTA:GE:EXIT"][0] >= gap * HOUR


@pytest.mark.parametrize("text", ["always", "Mo-Fr 8:00-18:00", "Mo-Fr 18:00-08:00", "Fr-Mo 08:00-18:00", "Mo 08:00-12:00; Mo 11:00-13:00", "Mo 08:00-25:00"])
def test_hours_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(HoursRefused):
        parse_hours(text)


WARSAW = calendar_of(REFERENCE.authorities["PL"], "Mo-Fr 08:00-18:00")


def pl(text: str) -> int:
    return us(text, "Europe/Warsaw")


def test_inspection_rests_at_night_on_weekends_and_on_holidays() -> None:
    assert is_open(WARSAW, pl("2026-05-05T09:00"))
    assert not is_open(WARSAW, pl("2026-05-05T18:00"))
    assert next_open(WARSAW, pl("2026-05-05T20:00")) == pl("2026-05-06T08:00")
    assert next_open(WARSAW, pl("2026-05-08T19:00")) == pl("2026-05-11T08:00")
    assert next_open(WARSAW, pl("2026-11-11T09:00")) == pl("2026-11-12T08:00")      # Independence Day, a Wednesday


def test_expected_decisions_count_working_hours_only() -> None:
    assert add_working_hours(WARSAW, pl("2026-05-08T16:00"), 4) == pl("2026-05-11T10:00")
    always = calendar_of(REFERENCE.authorities["KZ"], "24/7")
    assert add_working_hours(always, NOW, 4) == NOW + 4 * HOUR
    crossing = REFERENCE.crossings["CN-KZ-ALASHANKOU-DOSTYK"]
    assert expected_decision(REFERENCE, crossing, "KZ", NOW, 24) == NOW + DAY
    by_day = msgspec.structs.replace(crossing, calendar={"KZ": "Mo-Fr 09:00-18:00"})
    assert expected_decision(REFERENCE, by_day, "KZ", us("2026-05-04T17:00", "Asia/Almaty"), 2) == us("2026-05-05T10:00", "Asia/Almaty")


def test_a_post_that_never_opens_is_never_expected() -> None:
    shut = msgspec.structs.replace(WARSAW, hours=msgspec.structs.replace(WARSAW.hours, spans=((),) * 7))
    assert next_open(shut, NOW) is None
    assert add_working_hours(shut, NOW, 1) is None


def test_summer_time_changes_do_not_shift_opening() -> None:
    sunday = calendar_of(REFERENCE.authorities["PL"], "Mo-Su 08:00-18:00")
    assert next_open(sunday, pl("2026-03-28T20:00")) == us("2026-03-29T06:00")
    assert next_open(sunday, pl("2026-10-24T20:00")) == us("2026-10-25T07:00")


def test_duty_lines_have_the_hours_of_their_authority() -> None:
    line = DutyLine(source="D", authority="KZ", phone="+000", hours="Mo-Fr 08:00-18:00")
    assert duty_open(REFERENCE, line, us("2026-05-04T08:30", "Asia/Almaty"))
    assert not duty_open(REFERENCE, line, us("2026-05-04T07:30", "Asia/Almaty"))


def test_border_time_is_the_stations_own() -> None:
    zabaikalsk = REFERENCE.places["zabaikalsk"]
    assert border_time(NOW, zone_of(REFERENCE, zabaikalsk, "RU")) == "2026-05-04T21:00+09:00"
    assert border_time(NOW, zone_of(REFERENCE, REFERENCE.places["dostyk"], "KZ")) == "2026-05-04T17:00+05:00"
    assert border_time(NOW, zone_of(REFERENCE, None, "PL")) == "2026-05-04T14:00+02:00"


ENS = FilingRow(kind="ens", lead_minutes=120, lead_minutes_short=60, clock_ref="eta_office_of_first_entry")
ENTRY = next(s for s in SIDES if s.id == PL_ENTRY)
ETA = (NOW + 6 * HOUR, NOW + 8 * HOUR, NOW + 12 * HOUR)
MARGIN = 120


def known(arrived: int | None = None, eta: tuple[int, int, int] | None = ETA) -> dict[str, ClockTime]:
    return clocks(ENTRY, eta, arrived)


def test_a_deadline_is_the_clock_less_the_lead() -> None:
    due = deadline(ENS, known())
    assert due is not None
    assert (due.due_at, due.earliest, due.final) == (ETA[1] - 2 * HOUR, ETA[0] - 2 * HOUR, False)
    arrived = deadline(ENS, known(NOW + 9 * HOUR))
    assert arrived is not None
    assert (arrived.due_at, arrived.final) == (NOW + 7 * HOUR, True)


def test_the_short_lead_holds_where_trains_are_formed_at_the_border() -> None:
    assert lead_minutes(ENS, REFERENCE.crossings["BY-PL-BREST-MALASZEWICZE"]) == 60
    assert lead_minutes(ENS, REFERENCE.crossings["BY-PL-BRUZGI-KUZNICA"]) == 120
    assert lead_minutes(ENS, REFERENCE.crossings["BY-PL-BREST-MALASZEWICZE"], formed_here=False) == 120


def test_without_a_lead_or_a_clock_there_is_no_deadline() -> None:
    assert deadline(FilingRow(kind="td"), known()) is None
    assert deadline(ENS, known(eta=None)) is None
    assert timing(None, NOW, None, MARGIN) == ""


def test_before_arrival_a_filing_is_open_or_at_risk_but_never_late() -> None:
    due = deadline(ENS, known())
    assert timing(due, NOW, None, MARGIN) == "open"
    assert timing(due, NOW + 2 * HOUR + 1, None, MARGIN) == "at_risk"
    assert timing(due, NOW + 30 * HOUR, None, MARGIN) == "at_risk"
    assert timing(due, NOW, NOW, MARGIN) == "in_time"
    assert timing(due, NOW, ETA[1] - HOUR, MARGIN) == "at_risk"


def test_late_is_judged_against_the_actual_arrival_and_the_registration() -> None:
    due = deadline(ENS, known(NOW + 9 * HOUR))
    assert timing(due, NOW + 10 * HOUR, NOW + 7 * HOUR, MARGIN) == "in_time"
    assert timing(due, NOW + 10 * HOUR, NOW + 7 * HOUR + 1, MARGIN) == "late"
    assert timing(due, NOW + 10 * HOUR, None, MARGIN) == "overdue"


def test_a_slipped_eta_moves_the_deadline_and_asks_for_nothing() -> None:
    slipped = deadline(ENS, known(eta=(ETA[0] + DAY, ETA[1] + DAY, ETA[2] + DAY)))
    assert timing(slipped, NOW + 10 * HOUR, None, MARGIN) == "open"
    assert timing(slipped, NOW + 10 * HOUR, NOW, MARGIN) == "in_time"


def test_a_time_after_the_clock_is_a_negative_lead() -> None:
    tally = FilingRow(kind="tally", lead_minutes=-360, clock_ref="unloading")
    due = deadline(tally, {"unloading": ClockTime(actual=NOW)})
    assert due is not None
    assert due.due_at == NOW + 6 * HOUR
    assert timing(due, NOW + 7 * HOUR, None, MARGIN) == "overdue"
    assert timing(due, NOW + 7 * HOUR, NOW + 5 * HOUR, MARGIN) == "in_time"


@settings(max_examples=80, deadline=None)
@given(now=st.integers(-20, 20), arrived=st.none() | st.integers(-20, 20))
def test_timing_changes_names_the_next_instant_at_which_the_clock_alone_changes_it(now: int, arrived: int | None) -> None:
    due = deadline(ENS, known(NOW + arrived * HOUR if arrived is not None else None))
    at = NOW + now * HOUR
    change = timing_changes(due, at, None, MARGIN)
    if change is None:
        assert timing(due, at, None, MARGIN) == timing(due, at + 100 * DAY, None, MARGIN)
    else:
        assert change > at
        assert timing(due, at, None, MARGIN) == timing(due, change - 1, None, MARGIN) != timing(due, change, None, MARGIN)


def test_registered_filings_do_not_change_by_the_clock() -> None:
    assert timing_changes(deadline(ENS, known()), NOW, NOW, MARGIN) is None


def test_gtt_application_is_due_before_the_review_of_the_train_declaration() -> None:
    row = next(r for r in REFERENCE.side_rows if r.id == "cn-exit-kz")
    gtt = next(f for f in row.filings if f.kind == "gtt")
    review = NOW + 3 * HOUR
    due = deadline(gtt, {"train_decl_review": ClockTime(actual=review)})
    assert due is not None
    assert timing(due, NOW + 4 * HOUR, review, MARGIN) == "in_time"
    assert timing(due, NOW + 4 * HOUR, review + 1, MARGIN) == "late"


def test_between_the_posts_half_the_dwell_and_the_gap_are_counted_once() -> None:
    etas = arrivals(REFERENCE, WEST, SIDES, WEST.km_of["urumqi"], NOW)
    crossing, dwell = REFERENCE.crossings["CN-KZ-ALASHANKOU-DOSTYK"], REFERENCE.dwells["CN-KZ-ALASHANKOU-DOSTYK", "west"]
    between = (etas[KZ_ENTRY][1] - etas[CN_EXIT][1]) / HOUR
    assert between == pytest.approx(dwell.hours_p50 / 2 + crossing.gap_hours, abs=0.125)
