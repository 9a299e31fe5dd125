"""Positions on the route: matching, geofences, milestones, and positions that are not believed."""
from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.reference import load
from streams.network.match import Match, match, milestones, place_at
from streams.network.positions import LastKnown, position_fault
from streams.network.route import Route, RouteRefused, build_route, distance_km
from streams.network.sides import SideSpec, crossings_of, route_sides
from topics.facts import HOUR, MINUTE

REFERENCE = load()
NOW = int(datetime(2026, 5, 4, 12, tzinfo=UTC).timestamp()) * 1_000_000
WEST = build_route(REFERENCE, "WEST-A", "west")
EAST = build_route(REFERENCE, "WEST-A", "east")
SIDES = route_sides(REFERENCE, crossings_of(REFERENCE.corridors["WEST-A"], "west"), "west")


def at(place: str) -> tuple[float, float]:
    row = REFERENCE.places[place]
    assert row.lat is not None
    assert row.lon is not None
    return row.lat, row.lon


def here(place: str, route: Route = WEST) -> Match:
    return match(route, *at(place))


def on_segment(route: Route, segment: int, share: float) -> tuple[float, float]:
    return (float(route.start_lat[segment] + share * (route.end_lat[segment] - route.start_lat[segment])),
            float(route.start_lon[segment] + share * (route.end_lon[segment] - route.start_lon[segment])))


@settings(max_examples=60, deadline=None)
@given(segment=st.integers(0, len(WEST.start_km) - 1), share=st.floats(0, 1))
def test_a_point_of_the_line_is_matched_onto_the_line(segment: int, share: float) -> None:
    lat, lon = on_segment(WEST, segment, share)
    found = match(WEST, lat, lon)
    assert found.off_km < 3.0        # lines on the map bend a little on the ground
    near = match(WEST, lat, lon, near_segment=segment)
    assert near.off_km < 3.0


@settings(max_examples=40, deadline=None)
@given(share=st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_kilometres_grow_along_the_trunk(share: list[float]) -> None:
    trunk = sum(math.isnan(j) for j in WEST.junction_km)
    km = []
    for s in sorted(share):
        segment = min(int(s * trunk), trunk - 1)
        km.append(match(WEST, *on_segment(WEST, segment, s * trunk - segment), near_segment=segment).km)
    assert all(a <= b + 3.0 for a, b in pairwise(km))


def test_west_and_east_are_one_line_read_both_ways() -> None:
    assert WEST.length_km == pytest.approx(EAST.length_km)
    assert here("dostyk").km + here("dostyk", EAST).km == pytest.approx(WEST.length_km, abs=1.0)


def test_a_station_is_entered_by_its_geofence_and_a_town_is_not() -> None:
    assert here("dostyk").place == "dostyk"
    assert here("malaszewicze").place == "malaszewicze"
    assert here("lanzhou").place == ""
    lat, lon = at("dostyk")
    assert place_at(WEST, lat - 0.1, lon) == ""


def test_a_place_without_coordinates_is_never_matched_but_has_an_estimated_kilometre() -> None:
    zhaisan = next(s for s in WEST.stops if s.place == "zhaisan")
    assert not zhaisan.exact
    assert "zhaisan" not in WEST.fence_places
    assert WEST.km_of["aktobe"] < zhaisan.km < WEST.km_of["iletsk-1"]


def test_feeders_and_spurs_are_on_the_route_and_progress_counts_on_the_trunk() -> None:
    yiwu, lodz = here("yiwu"), here("lodz")
    assert yiwu.off_km < 1
    assert yiwu.km < 0
    assert yiwu.trunk_km == WEST.km_of["xian"]
    assert lodz.off_km < 1
    assert lodz.trunk_km == WEST.km_of["lowicz"]


def test_a_corridor_that_is_not_known_has_no_line() -> None:
    with pytest.raises(RouteRefused):
        build_route(REFERENCE, "NOWHERE", "west")


def told(before: str | None, after: str, route: Route = WEST, sides: tuple[SideSpec, ...] = SIDES) -> list[str]:
    passed = milestones(route, sides, here(before, route) if before else None, here(after, route))
    return [f"{p.side.split(':', 1)[1]} {p.what}" for p in passed]


def test_no_milestone_is_skipped_between_two_distant_positions() -> None:
    assert told("jinghe", "karaganda") == ["CN:EXIT seen", "CN:EXIT departed", "KZ:ENTRY seen", "KZ:ENTRY departed"]
    assert len(told("jinghe", "berlin")) == 2 * sum(bool(s.crossing) for s in SIDES)


def test_milestones_step_by_step_are_those_of_one_stride() -> None:
    way = ["jinghe", "alashankou", "dostyk", "aktogay", "karaganda"]
    steps = [m for a, b in pairwise(way) for m in told(a, b)]
    assert steps == told("jinghe", "karaganda")


def test_standing_still_or_going_back_passes_nothing() -> None:
    assert told("dostyk", "dostyk") == []
    assert told("karaganda", "jinghe") == []


def test_a_train_first_heard_of_under_way_gets_no_invented_past() -> None:
    assert told(None, "karaganda") == []
    assert told(None, "dostyk") == ["KZ:ENTRY seen"]


def test_a_spur_before_a_border_does_not_pass_it() -> None:
    assert told("siedlce", "lodz") == []
    assert told("lowicz", "slawkow") == []
    assert told("poznan", "berlin") == ["PL:EXIT seen", "PL:EXIT departed", "DE:ENTRY seen", "DE:ENTRY departed"]


def test_eastwards_the_far_side_comes_first() -> None:
    sides = route_sides(REFERENCE, crossings_of(REFERENCE.corridors["WEST-A"], "east"), "east")
    assert told("karaganda", "jinghe", EAST, sides) == ["KZ:EXIT seen", "KZ:EXIT departed", "CN:ENTRY seen", "CN:ENTRY departed"]


def test_a_position_exactly_on_an_edge_passes_it_once() -> None:
    edge = WEST.km_of["alashankou"] - WEST.radius_of["alashankou"]
    before, on, after = (Match(km=km, trunk_km=km, off_km=0.0, segment=0) for km in (edge - 10, edge, edge + 1))
    assert [p.what for p in milestones(WEST, SIDES, before, on)] == ["seen"]
    assert milestones(WEST, SIDES, on, after) == ()


def test_share_tells_the_time_between_two_positions() -> None:
    passed = milestones(WEST, SIDES, here("jinghe"), here("aktogay"))
    assert [p.share for p in passed] == sorted(p.share for p in passed)
    assert all(0 < p.share <= 1 for p in passed)


def fault(lat: float, lon: float, *, at: int = NOW, last: LastKnown | None = None) -> str:
    return position_fault(WEST, lat, lon, at=at, now=NOW, limits=REFERENCE.limits, last=last)[0]


def test_a_good_position_is_believed_and_matched() -> None:
    reason, found = position_fault(WEST, *at("dostyk"), at=NOW, now=NOW, limits=REFERENCE.limits)
    assert reason == ""
    assert found is not None
    assert found.place == "dostyk"
    assert position_fault(WEST, 0.0, 0.0, at=NOW, now=NOW, limits=REFERENCE.limits)[1] is None


@pytest.mark.parametrize(("lat", "lon", "reason"), [
    (5_012_345.0, 616_789.0, "POSITION_METRES"),
    (0.0, 0.0, "POSITION_NULL_ISLAND"),
    (82.4839, 45.2522, "POSITION_SWAPPED"),
    (116.4, 39.9, "POSITION_SWAPPED"),
    (-33.9, 18.4, "POSITION_OFF_ROUTE"),
    (60.17, 24.94, "POSITION_OFF_ROUTE"),
])
def test_a_position_that_cannot_be_is_refused_by_name(lat: float, lon: float, reason: str) -> None:
    assert fault(lat, lon) == reason


def test_a_position_from_the_future_is_refused_and_a_little_clock_skew_is_not() -> None:
    assert fault(*at("dostyk"), at=NOW + 365 * 24 * HOUR) == "POSITION_FUTURE"
    assert fault(*at("dostyk"), at=NOW + 5 * MINUTE) == ""


def test_a_jump_is_refused_and_a_fast_train_is_not() -> None:
    lat, lon = at("karaganda")
    last = LastKnown(lat=lat, lon=lon, at=NOW - HOUR, segment=here("karaganda").segment)
    assert distance_km(lat, lon, *at("astana")) < 200
    assert fault(*at("minsk"), last=last) == "POSITION_JUMP"
    assert fault(lat + 0.5, lon, last=last) == ""
    assert fault(lat + 0.5, lon, at=NOW - HOUR, last=last) == "POSITION_JUMP"
