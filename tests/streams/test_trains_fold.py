"""TRAINS and CUSTODY: milestones, hand-over sheets, formation, set-outs, reroutes, arrival times, identity, positions that are not believed."""
from __future__ import annotations

from typing import Any

import pytest

from streams.custody import CustodyFold
from streams.documents import DocumentsFold
from streams.fold import Fate
from streams.trains import TrainsFold
from tests.streams.folds_bench import (
    BOX,
    BOX2,
    BOX3,
    BREST,
    BY_EXIT,
    CN_EXIT,
    CN_TRAIN,
    DOSTYK,
    HOUR,
    KZ_ENTRY,
    KZ_TRAIN,
    PL_ENTRY,
    SHIPMENT,
    Bench,
    announced,
    at,
    at_terminal,
    consist,
    declared,
    formed,
    gps,
    near,
    notice,
    rail,
    run_of,
    sheet,
    station,
    train,
    us,
)
from topics.events.rail import PlannedStop, TrainDelayed, TrainRerouted, WagonSetOut
from topics.events.sites import CrossingCondition
from topics.facts import Rank

CN_RUN, KZ_RUN = run_of(CN_TRAIN), run_of(KZ_TRAIN)
ALL = (BOX, BOX2, BOX3)


def bench() -> Bench:
    b = Bench([TrainsFold(), DocumentsFold(), CustodyFold()])
    b.now += 400 * HOUR                                  # everything told here has happened
    return b


def shipped(*boxes: str) -> Bench:
    return bench().tell(declared(0, boxes or (BOX,)))


def presence(b: Bench, side: str, scope: str = BOX) -> dict[str, int]:
    """Of presence the earliest word, of departure the latest."""
    found: dict[str, int] = {}
    for head in ("seen", "handed_over", "presented", "departed"):
        for f in b.of(SHIPMENT, head, side=side, scope=scope):
            name = "/".join(f.key)
            found[name] = f.at if head == "departed" else min(found.get(name, f.at), f.at)
    return found


# -- milestones ---------------------------------------------------------------------------------------------------------------


def test_station_events_make_milestones() -> None:
    b = shipped().tell(announced(), station(100, "alashankou"), station(120, "alashankou", "departed"), station(121, "dostyk"))
    assert presence(b, CN_EXIT) == {"seen/1": us(100), "departed/1": us(120)}
    assert presence(b, KZ_ENTRY) == {"seen/1": us(121)}
    fact = b.one(SHIPMENT, "seen", side=CN_EXIT)
    assert (fact.source, fact.rank, fact.value) == ("cr", Rank.RAILWAY, True)


def test_gps_inside_the_geofence_is_a_sensors_word() -> None:
    b = shipped().tell(announced(), near(100, "jinghe"), near(110, "alashankou"))
    fact = b.one(SHIPMENT, "seen", side=CN_EXIT)
    assert (fact.at, fact.rank) == (us(110), Rank.SENSOR)


def test_sparse_positions_skip_no_side_and_invent_no_time() -> None:
    b = shipped().tell(announced(), near(50, "urumqi"), near(170, "astana"))
    for side in (CN_EXIT, KZ_ENTRY):
        assert presence(b, side) == {"seen/1": us(170), "departed/1": us(170)}
        assert all(f.value == {"bound": True} for f in b.of(SHIPMENT, "departed", side=side))


def test_leaving_the_first_of_two_stations_of_a_side_is_no_departure_from_it() -> None:
    side = "BY-PL-BREST-MALASZEWICZE:PL:ENTRY"
    b = shipped().tell(announced(), station(300, "terespol"), station(301, "terespol", "departed"))
    assert presence(b, side) == {"seen/1": us(300)}
    b.tell(station(302, "malaszewicze"), station(320, "malaszewicze", "departed"))
    assert presence(b, side) == {"seen/1": us(300), "departed/1": us(320)}


def test_a_reported_time_replaces_the_bound() -> None:
    b = shipped().tell(announced(), near(50, "urumqi"), near(170, "astana"), station(120, "alashankou", "departed"))
    assert b.one(SHIPMENT, "departed", side=CN_EXIT).at == us(120)
    assert b.one(SHIPMENT, "departed", side=CN_EXIT).value is True


def test_a_train_already_under_way_gets_no_past() -> None:
    b = shipped().tell(near(170, "astana"), announced(180, stops=(), containers=(BOX,)), consist(175))
    assert not presence(b, CN_EXIT)
    assert not presence(b, KZ_ENTRY)
    assert {f.side for f in b.of(SHIPMENT, "flag", "HISTORY_INCOMPLETE")} == {CN_EXIT, KZ_ENTRY}


def test_an_announcement_before_the_first_position_is_history_enough() -> None:
    b = shipped().tell(announced(), near(170, "astana"))
    assert not b.of(SHIPMENT, "flag", "HISTORY_INCOMPLETE")


def test_positions_before_the_announcement_wait_and_then_count() -> None:
    early = station(100, "alashankou")
    b = shipped().tell(early)
    assert b.fate(early) == (Fate.WAITING, "ROUTE_UNKNOWN")
    b.tell(announced())
    assert presence(b, CN_EXIT) == {"seen/1": us(100)}


def test_a_train_that_is_never_announced_alerts() -> None:
    b = shipped().tell(station(100, "alashankou")).advance(13 * 24)
    assert not b.open_alerts("UnresolvedReference")
    b.advance(25)
    assert b.open_alerts("UnresolvedReference")


def test_an_inner_border_is_not_required() -> None:
    b = shipped().tell(announced())
    assert b.one(SHIPMENT, "route", side="KZ-RU-ZHAISAN-ILETSK:RU:ENTRY").value == "not_required"
    assert b.one(SHIPMENT, "route", side=KZ_ENTRY).value == "on"


def test_a_corrected_station_event_changes_the_milestone_and_its_repeat_does_not() -> None:
    """Hard case 6."""
    first = station(100, "alashankou", record="m-1", version=1)
    better = station(98, "alashankou", record="m-1", version=2)
    b = shipped().tell(announced(), first, better)
    assert presence(b, CN_EXIT) == {"seen/1": us(98)}
    b.tell(better, first)
    assert b.fate(better) == (Fate.DUPLICATE, "")
    assert b.fate(first) == (Fate.SUPERSEDED, "")
    assert presence(b, CN_EXIT) == {"seen/1": us(98)}


# -- positions that are not believed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lat", "lon", "hours", "reason"), [
    (10.0, 100.0, 60.0, "POSITION_OFF_ROUTE"), (43.8, 87.6, 9000.0, "POSITION_FUTURE"), (52.1, 23.7, 51.0, "POSITION_JUMP")])
def test_a_wrong_position_is_refused_by_name(lat: float, lon: float, hours: float, reason: str) -> None:
    """Hard case 13."""
    wrong = gps(hours, lat, lon)
    b = shipped().tell(announced(), near(45, "turpan"), near(50, "urumqi"), near(55, "shihezi"), wrong)
    assert b.fate(wrong) == (Fate.REFUSED, reason)
    assert not presence(b, PL_ENTRY)
    assert not presence(b, CN_EXIT)


def test_a_first_position_that_all_others_contradict_is_dropped_after_all() -> None:
    odd = near(90, "malaszewicze")
    b = shipped().tell(announced(), odd)
    assert b.fate(odd) is None
    assert presence(b, PL_ENTRY)
    b.tell(near(100, "kuytun"), near(104, "jinghe"), near(108, "alashankou"))
    assert presence(b, CN_EXIT)["seen/1"] == us(108)
    assert not presence(b, PL_ENTRY)


def test_a_position_before_the_train_was_formed_is_another_trains() -> None:
    early = station(100, "dostyk", "departed", KZ_TRAIN)
    b = shipped().tell(formed(130), early)
    assert b.fate(early) == (Fate.REFUSED, "POSITION_BEFORE_DEPARTURE")


def test_believable_positions_are_applied() -> None:
    good = near(50, "urumqi")
    assert shipped().tell(announced(), good).fate(good) is None


# -- hand-over ----------------------------------------------------------------------------------------------------------------


def test_the_sheet_wins_over_the_announced_consist() -> None:
    """Hard case 15."""
    b = bench().tell(declared(0, ALL), announced(0, boxes=(BOX, BOX2)), consist(20, boxes=(BOX, BOX2)), station(120, "alashankou", "departed"),
                     sheet(122, boxes=(BOX, BOX3)))
    assert presence(b, KZ_ENTRY, BOX)["handed_over/1"] == us(122)
    assert presence(b, KZ_ENTRY, BOX3)["handed_over/1"] == us(122)
    assert not presence(b, KZ_ENTRY, BOX2)
    assert b.joined[CN_RUN, BOX2].reason == "not_on_sheet"
    assert b.joined[CN_RUN, BOX3].aboard
    (alert,) = b.open_alerts("ConsistDiffers")
    assert alert.run == CN_RUN
    assert f"extra: {BOX3}" in alert.detail
    assert f"missing: {BOX2}" in alert.detail


def test_a_box_that_was_only_announced_was_never_on_the_train() -> None:
    b = bench().tell(declared(0, (BOX, BOX2)), announced(0, boxes=(BOX, BOX2)), consist(20, boxes=(BOX,)), station(100, "alashankou"))
    assert presence(b, CN_EXIT, BOX)
    assert not presence(b, CN_EXIT, BOX2)
    assert b.joined[CN_RUN, BOX2].reason == "cancelled"


def test_a_sheet_as_announced_raises_nothing() -> None:
    b = shipped().tell(announced(), consist(20), sheet(122))
    assert not b.open_alerts()


def test_another_wagon_is_a_difference() -> None:
    b = shipped().tell(announced(), consist(20), sheet(122, wagons=consist(0).wagons[:0] + formed(0).wagons))
    assert b.open_alerts("ConsistDiffers")[0].detail == f"other wagon: {BOX}"


def test_a_refused_box_goes_back_and_opens_the_next_visit() -> None:
    """Hard case 30."""
    b = bench().tell(declared(0, (BOX, BOX2)), announced(0, boxes=(BOX, BOX2)), consist(20, boxes=(BOX, BOX2)), station(100, "alashankou"),
                     station(120, "alashankou", "departed"), sheet(122, boxes=(BOX,), refused=(BOX2,)))
    assert b.one(SHIPMENT, "visit").value == "2"
    assert (b.one(SHIPMENT, "visit").side, b.one(SHIPMENT, "visit").scope, b.one(SHIPMENT, "visit").at) == (CN_EXIT, BOX2, us(122))
    assert presence(b, CN_EXIT, BOX2) == {"seen/1": us(100), "departed/1": us(120), "seen/2": us(122)}
    assert not presence(b, KZ_ENTRY, BOX2)
    assert presence(b, CN_EXIT, BOX) == {"seen/1": us(100), "departed/1": us(120)}
    assert b.joined[CN_RUN, BOX2].reason == "refused"
    assert b.joined["yard:alashankou", BOX2].aboard


def test_a_train_that_comes_back_opens_the_next_visit() -> None:
    b = shipped().tell(announced(), consist(20), station(100, "alashankou"), station(120, "alashankou", "departed"), station(121, "dostyk"),
                       station(130, "alashankou"))
    assert b.one(SHIPMENT, "visit", side=CN_EXIT).at == us(130)
    assert presence(b, CN_EXIT)["seen/2"] == us(130)
    b.tell(station(140, "alashankou", "departed"))
    assert presence(b, CN_EXIT)["departed/2"] == us(140)


def test_a_late_report_of_leaving_is_no_return() -> None:
    b = shipped().tell(announced(), station(100, "alashankou"), near(119, "dostyk"), station(120, "alashankou", "departed"))
    assert not b.of(SHIPMENT, "visit")


# -- formation ----------------------------------------------------------------------------------------------------------------


def test_the_box_changes_trains_at_the_gauge_break() -> None:
    b = shipped().tell(announced(), consist(20), station(121, "dostyk"), formed(140), station(145, "dostyk", "departed", KZ_TRAIN))
    assert presence(b, KZ_ENTRY) == {"seen/1": us(121), "departed/1": us(145)}
    assert not b.joined[CN_RUN, BOX].aboard
    assert b.joined[KZ_RUN, BOX].aboard
    assert b.one(SHIPMENT, "run", side=KZ_ENTRY).value == KZ_RUN
    assert b.one(SHIPMENT, "run", side=CN_EXIT).value == CN_RUN
    assert b.profiles[CN_RUN].next_runs == (KZ_RUN,)


def test_positions_of_the_child_before_it_is_formed_wait() -> None:
    early = station(145, "dostyk", "departed", KZ_TRAIN)
    b = shipped().tell(announced(), consist(20), station(121, "dostyk"), early)
    assert b.fate(early) == (Fate.WAITING, "ROUTE_UNKNOWN")
    b.tell(formed(140))
    assert presence(b, KZ_ENTRY)["departed/1"] == us(145)


def test_a_split_sends_each_box_with_its_train() -> None:
    """Hard case 11: some today, some tomorrow."""
    second = train("1406", "ktz", "dostyk", "2026-03-06")
    b = bench().tell(declared(0, ALL), announced(0, boxes=ALL), consist(20, boxes=ALL), formed(140, boxes=(BOX, BOX2), reason="split"),
                     formed(164, second, boxes=(BOX3,), reason="split"))
    assert [b.joined[KZ_RUN, x].aboard for x in (BOX, BOX2)] == [True, True]
    assert b.joined[run_of(second), BOX3].aboard
    assert b.of(SHIPMENT, "eta", side=PL_ENTRY, scope=BOX)[0].value != b.of(SHIPMENT, "eta", side=PL_ENTRY, scope=BOX3)[0].value


def test_a_renumbered_train_takes_everything_along() -> None:
    renamed = train("2002", "rzd", "iletsk-1", "2026-03-08")
    b = bench().tell(declared(0, ALL), formed(140, boxes=ALL), formed(240, renamed, (KZ_TRAIN,), (), "iletsk-1", reason="renumbered", wagons=()))
    assert [b.joined[run_of(renamed), x].aboard for x in ALL] == [True] * 3
    assert [b.joined[KZ_RUN, x].aboard for x in ALL] == [False] * 3


def test_two_trains_merge_into_one() -> None:
    other, together = train("X8003", "cr", "chengdu"), train("1500", "ktz", "dostyk", "2026-03-06")
    b = bench().tell(declared(0, ALL), announced(0, boxes=(BOX,)), consist(10, boxes=(BOX,)), announced(1, other, (BOX2, BOX3)),
                     consist(11, other, (BOX2, BOX3)), formed(140, together, (CN_TRAIN, other), (), wagons=(), reason="merge"))
    assert all(b.joined[run_of(together), x].aboard for x in ALL)


def test_a_set_out_wagon_leaves_its_box_behind() -> None:
    """Hard case 16."""
    out = rail(WagonSetOut, 60, CN_TRAIN, wagon="W2", containers=(BOX2,), place="urumqi", reason="hot box")
    b = bench().tell(declared(0, (BOX, BOX2)), announced(0, boxes=(BOX, BOX2)), consist(20, boxes=(BOX, BOX2)), station(50, "urumqi"), out,
                     station(100, "alashankou"))
    assert not presence(b, CN_EXIT, BOX2)
    assert presence(b, CN_EXIT, BOX)
    assert b.joined["yard:urumqi", BOX2].aboard
    assert (b.joined[CN_RUN, BOX2].aboard, b.joined[CN_RUN, BOX2].reason) == (False, "set_out")
    assert b.one(SHIPMENT, "eta", scope=BOX2).side == CN_EXIT
    assert b.one(SHIPMENT, "position", scope=BOX2).value == {"run": "yard:urumqi", "place": "urumqi"}
    assert b.profiles[CN_RUN].containers == 1


def test_a_box_left_behind_takes_the_next_train() -> None:
    """Hard case 17."""
    out = rail(WagonSetOut, 130, CN_TRAIN, wagon="W2", containers=(BOX2,), place="dostyk", reason="customs")
    follows = train("1410", "ktz", "dostyk", "2026-03-09")
    b = bench().tell(declared(0, (BOX, BOX2)), announced(0, boxes=(BOX, BOX2)), consist(20, boxes=(BOX, BOX2)), station(121, "dostyk"), out,
                     formed(140, boxes=(BOX,)), formed(200, follows, boxes=(BOX2,), reason="split"), station(205, "dostyk", "departed", follows))
    assert b.joined[run_of(follows), BOX2].aboard
    assert not b.joined.get(("yard:dostyk", BOX2), b.joined[CN_RUN, BOX2]).aboard
    assert presence(b, KZ_ENTRY, BOX2)["departed/1"] == us(205)


# -- reroute, arrival times, closures -------------------------------------------------------------------------------------------


def test_a_reroute_takes_sides_off_the_route() -> None:
    b = shipped().tell(announced(), consist(20), station(100, "alashankou"), station(120, "alashankou", "departed"),
                       rail(TrainRerouted, 200, CN_TRAIN, crossings=("KZ-RU-ZHAISAN-ILETSK", "RU-BY-KRASNOYE-OSINOVKA", "BY-PL-BRUZGI-KUZNICA")))
    assert b.one(SHIPMENT, "route", side=PL_ENTRY).value == "off"
    assert b.one(SHIPMENT, "route", side=PL_ENTRY).at == us(200)
    assert b.one(SHIPMENT, "route", side=CN_EXIT).value == "on"
    assert presence(b, CN_EXIT) == {"seen/1": us(100), "departed/1": us(120)}


def test_arrival_times_stand_on_the_grid_and_in_order() -> None:
    b = shipped().tell(announced(), consist(20), station(50, "urumqi"))
    etas = {f.side: f.value for f in b.of(SHIPMENT, "eta")}
    grid = 15 * 60 * 1_000_000
    assert all(isinstance(v, list) and v == sorted(v) and all(t % grid == 0 for t in v) for v in etas.values())
    middle = [etas[s][1] for s in (CN_EXIT, KZ_ENTRY, BY_EXIT, PL_ENTRY)]  # type: ignore[index,call-overload]
    assert middle == sorted(middle)
    assert middle[0] > us(50)


def test_a_side_that_is_reached_has_no_arrival_time() -> None:
    b = shipped().tell(announced(), consist(20), station(100, "alashankou"))
    assert CN_EXIT not in {f.side for f in b.of(SHIPMENT, "eta")}
    assert KZ_ENTRY in {f.side for f in b.of(SHIPMENT, "eta")}


def test_nothing_is_said_while_nothing_changes_on_the_grid() -> None:
    b = shipped().tell(announced(), consist(20), station(50, "urumqi"))
    before = len(b.emitted)
    same = gps(50.0, 43.80, 87.60)
    b.tell(same)
    assert b.fate(same) is None
    assert not [e for e in b.emitted[before:] if e.topic in ("custody.in", "clearance.in")]


def closed(hours: float, state: str = "closed", **more: Any) -> CrossingCondition:
    return CrossingCondition(**{"source": "network-demo", "id": f"c{hours}{state}", "event_time": at(hours), "crossing": BREST, "state": state, **more})


def test_a_closed_crossing_has_no_arrival_behind_it_until_it_opens() -> None:
    """Hard case 12."""
    b = shipped().tell(announced(), consist(20), station(50, "urumqi"))
    free = b.one(SHIPMENT, "eta", side=PL_ENTRY).value
    b.tell(closed(60))
    assert not b.of(SHIPMENT, "eta", side=PL_ENTRY)
    assert b.of(SHIPMENT, "eta", side=BY_EXIT)
    b.tell(closed(70, expected_until=at(2000)))
    assert b.one(SHIPMENT, "eta", side=PL_ENTRY).value[0] >= us(2000)  # type: ignore[index,call-overload]
    b.tell(closed(80, "open"))
    assert b.one(SHIPMENT, "eta", side=PL_ENTRY).value == free


def test_a_closure_of_the_other_direction_changes_nothing() -> None:
    b = shipped().tell(announced(), consist(20), station(50, "urumqi"), closed(60, direction="east"))
    assert b.of(SHIPMENT, "eta", side=PL_ENTRY)


def test_a_delay_that_the_position_does_not_show_moves_arrivals() -> None:
    b = shipped().tell(announced(), consist(20), station(50, "urumqi"))
    before = b.one(SHIPMENT, "eta", side=CN_EXIT).value[1]  # type: ignore[index,call-overload]
    b.tell(rail(TrainDelayed, 51, CN_TRAIN, minutes=300, cause="WEATHER_WIND"))
    assert b.one(SHIPMENT, "eta", side=CN_EXIT).value[1] == before + 5 * HOUR  # type: ignore[index,call-overload]
    b.tell(rail(TrainDelayed, 40, CN_TRAIN, minutes=600, cause="WEATHER_WIND"))
    assert b.one(SHIPMENT, "eta", side=CN_EXIT).value[1] == before + 5 * HOUR  # type: ignore[index,call-overload]


def test_before_departure_the_timetable_counts() -> None:
    b = shipped().tell(announced(0, stops=(PlannedStop(place="xian", departs=at(30)),)), consist(20))
    early = b.one(SHIPMENT, "eta", side=CN_EXIT).value[1]  # type: ignore[index,call-overload]
    b.tell(announced(1, stops=(PlannedStop(place="xian", departs=at(54)),), version=2))
    assert b.one(SHIPMENT, "eta", side=CN_EXIT).value[1] == early + 24 * HOUR  # type: ignore[index,call-overload]


# -- identity and whole trains --------------------------------------------------------------------------------------------------


def test_a_train_number_used_twice_is_never_guessed() -> None:
    """Hard case 20."""
    one, two, vague = train("X9", "cr", "xian"), train("X9", "cr", "chengdu"), train("X9", "cr")
    unclear = station(100, "alashankou", "arrived", vague)
    b = bench().tell(declared(0, (BOX, BOX2)), announced(0, one, (BOX,)), announced(0, two, (BOX2,)), unclear)
    assert b.fate(unclear) == (Fate.WAITING, "IDENTITY_AMBIGUOUS")
    assert b.open_alerts("IdentityAmbiguous")
    assert not presence(b, CN_EXIT, BOX)
    assert not presence(b, CN_EXIT, BOX2)
    b.tell(station(101, "alashankou", "arrived", two))
    assert not presence(b, CN_EXIT, BOX)
    assert presence(b, CN_EXIT, BOX2)


def test_a_train_that_runs_once_needs_no_origin() -> None:
    b = shipped().tell(announced(), station(100, "alashankou", "arrived", train("X8001", "cr")))
    assert presence(b, CN_EXIT) == {"seen/1": us(100)}
    assert not b.open_alerts()


def test_a_notice_about_the_whole_train_is_that_runs_conveyance() -> None:
    b = shipped().tell(announced(), consist(20), notice(110, "ATP", None, "CN", "CN-CONVEYANCE", train=CN_TRAIN))
    fact = b.one(SHIPMENT, "doc", "conveyance")
    assert fact.key == ("doc", "conveyance", CN_RUN, "released")
    assert (fact.source, fact.scope) == ("CN", BOX)


def test_a_hold_on_a_whole_train_is_about_its_conveyance() -> None:
    b = shipped().tell(announced(), consist(20), notice(110, "HOLD", None, "CN", train=CN_TRAIN, reference="H"))
    assert b.one(SHIPMENT, "demand").key == ("demand", "hold", f"conveyance/{CN_RUN}", "H", "opened")


def test_a_terminals_word_about_a_whole_train_reaches_every_box() -> None:
    b = shipped().tell(announced(), consist(20), at_terminal(101, "alashankou", "presented", "", train=CN_TRAIN))
    fact = b.one(SHIPMENT, "presented", side=CN_EXIT)
    assert (fact.source, fact.rank) == ("terminal-alashankou", Rank.TERMINAL)


def test_a_run_retires_after_two_weeks() -> None:
    b = shipped().tell(announced(), consist(20))
    assert ("trains.in", "cr/X8001/2026-03-01") in b.states
    before = b.living(SHIPMENT)
    b.advance(15 * 24)
    assert ("trains.in", "cr/X8001/2026-03-01") not in b.states
    assert b.living(SHIPMENT) == before


def test_the_closure_of_one_crossing_leaves_others_alone() -> None:
    b = shipped().tell(announced(), consist(20), station(50, "urumqi"), CrossingCondition(
        source="network-demo", id="c", event_time=at(60), crossing="PL-DE-RZEPIN-FRANKFURT", state="closed"))
    assert b.of(SHIPMENT, "eta", side=PL_ENTRY)
    assert DOSTYK in {f.side.split(":")[0] for f in b.of(SHIPMENT, "eta")}
