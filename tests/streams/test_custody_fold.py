"""CUSTODY: containers are reused, bindings come late, seals are read, terminals weigh; what belongs to which shipment."""
from __future__ import annotations

from typing import Any

import msgspec

from streams.custody import CustodyFold
from streams.custody.spans import spans_of
from streams.documents import DocumentsFold
from streams.fold import Fate
from streams.trains import TrainsFold
from tests.streams.folds_bench import (
    BOX,
    BOX2,
    CN_EXIT,
    CN_TRAIN,
    DOSTYK,
    HOUR,
    KZ_ENTRY,
    SHIPMENT,
    SMGS,
    Bench,
    announced,
    at,
    at_terminal,
    consist,
    declared,
    loaded,
    notice,
    run_of,
    station,
    us,
)
from topics.events.base import DocumentRef
from topics.events.internal import Binding
from topics.events.rail import PlannedStop
from topics.events.sites import AgencyNotice, SealEvent
from topics.facts import DAY, Rank
from topics.identifiers import shipment_id

NEXT = DocumentRef(kind="smgs", number="77777777")
NEXT_SHIPMENT = shipment_id(NEXT)


def bench() -> Bench:
    b = Bench([TrainsFold(), DocumentsFold(), CustodyFold()])
    b.now += 300 * HOUR
    return b


def seal(hours: float, what: str, lock: str = "L1", source: str = "seals-demo", **more: Any) -> SealEvent:
    return SealEvent(**{"source": source, "id": f"{source}-{what}-{hours}-{lock}", "event_time": at(hours), "chain": "customs_lock", "seal": lock,
                        "what": what, "container": BOX, **more})


def journey() -> list[Any]:
    return [announced(), consist(20), station(100, "alashankou"), station(120, "alashankou", "departed"), station(121, "dostyk")]


# -- bindings -----------------------------------------------------------------------------------------------------------------


def test_a_late_declaration_gets_the_milestones_of_the_trip() -> None:
    b = bench().tell(*journey())
    assert not b.facts
    b.tell(declared(125))
    assert b.one(SHIPMENT, "seen", side=CN_EXIT).at == us(100)
    assert b.one(SHIPMENT, "departed", side=CN_EXIT).at == us(120)


def test_a_reused_container_gives_each_shipment_its_own_time() -> None:
    b = bench().tell(declared(), loaded(10), *journey(), loaded(130, bound="unloaded"), declared(140, document=NEXT, direction="east"))
    late = at_terminal(150, "dostyk", "presented")
    b.tell(late)
    assert b.one(SHIPMENT, "seen", side=CN_EXIT)
    assert not b.of(SHIPMENT, "presented")
    assert b.one(NEXT_SHIPMENT, "presented").side == f"{DOSTYK}:KZ:EXIT"
    assert not b.of(NEXT_SHIPMENT, "seen")


def test_a_binding_that_is_taken_back_withdraws_what_was_said() -> None:
    b = bench().tell(declared(0, (BOX,), record="s", version=1), *journey())
    assert b.of(SHIPMENT, "seen")
    b.tell(declared(1, (BOX2,), record="s", version=2))
    assert not b.of(SHIPMENT, "seen")
    assert [f.scope for f in b.of(SHIPMENT, "bound")] == [BOX2]
    assert b.facts[SHIPMENT]


def test_a_corrected_loading_moves_the_trip_to_the_other_shipment() -> None:
    right = loaded(90, document=NEXT)
    b = bench().tell(declared(), declared(80, document=NEXT, direction="east"), *journey())
    assert b.of(SHIPMENT, "departed", side=CN_EXIT) == []
    b.tell(right)
    assert b.one(NEXT_SHIPMENT, "departed").at == us(120)


def test_loading_inland_begins_what_is_due_at_the_exit_of_that_country() -> None:
    b = bench().tell(announced(), declared(1))
    expected = b.one(SHIPMENT, "loading_start", side=CN_EXIT)
    assert (expected.value, expected.source) == ([us(24), us(24)], "trains")
    b.tell(at_terminal(18, "xian", "loaded"))
    assert {(f.at, f.value) for f in b.of(SHIPMENT, "loading_start", side=CN_EXIT) if f.source != "trains"} == {(us(18), True)}
    b.tell(at_terminal(140, "duisburg", "loaded"))
    assert {f.side for f in b.of(SHIPMENT, "loading_start")} == {CN_EXIT}, "nobody leaves Germany on this trip"


def test_the_announced_departure_is_told_anew_when_it_moves_and_not_of_a_train_without_one() -> None:
    b = bench().tell(announced(), declared(1))
    b.tell(announced(2, version=2, stops=(PlannedStop(place="xian", departs=at(30)),)))
    assert b.one(SHIPMENT, "loading_start", side=CN_EXIT).value == [us(30), us(30)]
    b.tell(announced(3, version=3, stops=(PlannedStop(place="xian"),)))
    assert not b.of(SHIPMENT, "loading_start")
    assert not bench().tell(announced(stops=(PlannedStop(place="alashankou", departs=at(30)),)), declared(1)).of(SHIPMENT, "loading_start")


def test_two_shipments_in_one_container_both_get_the_trip() -> None:
    b = bench().tell(declared(), declared(5, document=NEXT), *journey())
    assert b.one(SHIPMENT, "seen", side=CN_EXIT).at == b.one(NEXT_SHIPMENT, "seen", side=CN_EXIT).at


def binding(shipment: str, since: float, until: float | None = None, **more: Any) -> Binding:
    return Binding(**{"container": BOX, "shipment": shipment, "record": f"smgs:{shipment}", "version": 1, "since": us(since),
                      "until": us(until) if until is not None else None, "source": "fwd", "direction": "west", **more})


def test_spans_do_not_overlap_when_the_box_was_emptied() -> None:
    first, second = spans_of([binding("A", 0, 100), binding("B", 110)])
    assert (first.end, second.start) == (us(100), us(100))
    assert first.start == us(0) - 14 * DAY


def test_a_shipment_weeks_later_ends_the_one_before() -> None:
    first, second = spans_of([binding("A", 0), binding("B", 24 * 30)])
    assert first.end == second.start == us(24 * 30)


def test_a_firm_loading_reaches_not_back() -> None:
    (only,) = spans_of([binding("A", 5, firm=True)])
    assert only.start == us(5)


def test_documents_of_one_shipment_are_one_span() -> None:
    (only,) = spans_of([binding("A", 0), binding("A", 50, 200, record="cim:1")])
    assert (only.end, len(only.bindings)) == (us(200), 2)


# -- swapped, refused, crossed ---------------------------------------------------------------------------------------------------


def test_a_swapped_container_hands_the_goods_on() -> None:
    """Hard case 26."""
    swap = loaded(110, BOX2, "swapped", replaces=BOX, act="ACT-5", seals=("NEW",))
    b = bench().tell(declared(), loaded(10), *journey()[:3], swap)
    old, new = (b.one(SHIPMENT, "bound", scope=box).value for box in (BOX, BOX2))
    assert isinstance(old, dict)
    assert isinstance(new, dict)
    assert (old["until"], old["act"]) == (us(110), "ACT-5")
    assert (new["since"], new["replaces"], new["act"]) == (us(110), BOX, "ACT-5")
    assert b.one(SHIPMENT, "doc_seal", scope=BOX2).value == {"seals": ["NEW"]}
    b.tell(at_terminal(112, "alashankou", "presented", BOX), at_terminal(113, "alashankou", "presented", BOX2))
    assert [f.scope for f in b.of(SHIPMENT, "presented")] == [BOX2]


def test_crossed_notices_are_put_right_in_both_timelines() -> None:
    """Hard case 27."""
    wrong = notice(50, "HOLD", None, "CN", container=BOX, reference="H", record="n", version=1)
    b = bench().tell(declared(), declared(0, (BOX2,), NEXT), wrong)
    assert b.of(SHIPMENT, "demand")
    lifted, right = (notice(60, "LIFT", None, "CN", container=BOX, reference="H"), notice(60, "HOLD", None, "CN", container=BOX2, reference="H"))
    b.tell(lifted, right)
    assert {f.key[4] for f in b.of(SHIPMENT, "demand")} == {"opened", "closed"}
    assert {f.key[4] for f in b.of(NEXT_SHIPMENT, "demand")} == {"opened"}


# -- terminals ------------------------------------------------------------------------------------------------------------------


def test_the_inspection_yard_is_no_departure() -> None:
    """Hard case 31."""
    b = bench().tell(declared(), *journey()[:3], at_terminal(105, "alashankou", "moved_to_inspection"), at_terminal(106, "alashankou", "gate_out"))
    assert not b.of(SHIPMENT, "departed")
    assert {f.key[1] for f in b.of(SHIPMENT, "terminal")} == {"moved_to_inspection", "gate_out"}


def test_a_terminal_presents_and_weighs() -> None:
    """Hard case 23."""
    b = bench().tell(declared(), at_terminal(101, "alashankou", "presented"), at_terminal(102, "alashankou", "weighed", gross_kg=27_800.0, tare_kg=3_800.0))
    fact = b.one(SHIPMENT, "presented")
    assert (fact.side, fact.rank, fact.key[1]) == (CN_EXIT, Rank.TERMINAL, "1")
    assert b.one(SHIPMENT, "mass", "alashankou").value == {"gross_kg": 27_800.0, "tare_kg": 3_800.0}


def test_an_unloaded_box_stands_in_the_yard_though_its_train_says_nothing() -> None:
    b = bench().tell(declared(), *journey(), at_terminal(125, "dostyk", "unloaded"))
    assert b.joined["yard:dostyk", BOX].aboard
    assert not b.joined[run_of(CN_TRAIN), BOX].aboard
    b.tell(at_terminal(130, "dostyk", "loaded"))
    assert not b.joined["yard:dostyk", BOX].aboard


# -- seals ------------------------------------------------------------------------------------------------------------------------


def test_a_reading_says_at_which_side() -> None:
    b = bench().tell(declared(), seal(10, "applied"), seal(121, "checked_ok", source="customs-kz", crossing=DOSTYK))
    fact = b.one(SHIPMENT, "seal", "customs_lock", "ok")
    assert isinstance(fact.value, dict)
    assert (fact.side, fact.value["side"], fact.source, fact.rank) == ("*", KZ_ENTRY, "KZ", Rank.AUTHORITY)


def test_another_lock_than_was_put_on_is_a_wrong_id() -> None:
    b = bench().tell(declared(), seal(10, "applied"), seal(121, "checked_ok", "L9", "customs-kz", crossing=DOSTYK))
    assert b.one(SHIPMENT, "seal", "customs_lock", "wrong_id")


def test_a_lock_put_on_in_an_opening_is_the_right_one() -> None:
    opening = seal(100, "opened_authorised", source="customs-cn", act="A", new_seal="L9", until=at(101), crossing=DOSTYK)
    b = bench().tell(declared(), seal(10, "applied"), opening, seal(121, "checked_ok", "L9", "customs-kz", crossing=DOSTYK))
    assert b.one(SHIPMENT, "seal", "customs_lock", "ok")
    value = b.one(SHIPMENT, "seal", "customs_lock", "opened_authorised").value
    assert isinstance(value, dict)
    assert (value["act"], value["new"], value["until"]) == ("A", "L9", us(101))


def test_a_lock_of_which_nobody_said_that_it_is_on_is_not_wrong() -> None:
    b = bench().tell(declared(), seal(121, "checked_ok", "L9", "customs-kz", crossing=DOSTYK))
    assert b.one(SHIPMENT, "seal", "customs_lock", "ok")


def test_a_chattering_lock_stays_bounded() -> None:
    b = bench().tell(declared(), *(seal(10 + n, "tamper") for n in range(40)), *(seal(10 + n, "reading") for n in range(40)))
    assert len(b.of(SHIPMENT, "seal", "customs_lock", "tamper")) == 17
    assert len(b.of(SHIPMENT, "seal", "customs_lock", "reading")) == 10


# -- notices ------------------------------------------------------------------------------------------------------------------------


def test_a_notice_about_a_box_that_carries_nothing_known_waits() -> None:
    hold = notice(50, "HOLD", None, "CN", container=BOX, reference="H")
    b = bench().tell(hold)
    assert b.fate(hold) == (Fate.WAITING, "NOT_BOUND")
    b.advance(13 * 24)
    assert not b.open_alerts()
    b.advance(25)
    assert [a.container for a in b.open_alerts("UnresolvedReference")] == [BOX]
    b.tell(declared(0))
    assert b.one(SHIPMENT, "demand").scope == BOX
    assert not b.open_alerts()


def test_a_notice_without_office_names_the_authority() -> None:
    b = bench().tell(declared(), notice(50, "HOLD", None, "CN", container=BOX, reference="H"), notice(51, "HOLD", None, "CN", container=BOX,
                                                                                                      reference="I", office="9402"))
    assert [f.side for f in b.of(SHIPMENT, "demand")] == ["@CN", "@CN/office/9402"]


def test_a_repeated_notice_about_a_box_is_one_fact() -> None:
    hold = notice(50, "HOLD", None, "CN", container=BOX, reference="H")
    b = bench().tell(declared(), hold, msgspec.structs.replace(hold, received_time=at(99)))
    assert b.fate(hold) == (Fate.DUPLICATE, "")
    assert b.one(SHIPMENT, "demand")


def test_an_unknown_code_about_a_box_sets_nothing() -> None:
    odd = notice(50, "ZZ9", None, "CN", container=BOX)
    b = bench().tell(declared(), odd)
    assert b.fate(odd) == (Fate.WAITING, "UNKNOWN_CODE")
    assert b.open_alerts("UnknownCode")
    assert not [f for f in b.living(SHIPMENT).values() if f.source == "CN"]


def test_presence_by_an_authority_counts_in_the_visit_in_which_it_falls() -> None:
    b = bench().tell(declared(), announced(), consist(20), station(100, "alashankou"), station(120, "alashankou", "departed"), station(121, "dostyk"),
                     station(130, "alashankou"), notice(131, "PRESENTED", None, "CN", container=BOX, office="CNALASHA"))
    assert b.one(SHIPMENT, "presented").key == ("presented", "2")


def test_an_agencys_control_blocks_the_box_only() -> None:
    control = AgencyNotice(source="agency-kz-phyto", id="p", event_time=at(50), agency="phyto", authority="KZ", what="control", reference="P",
                           container=BOX, crossing=DOSTYK)
    b = bench().tell(declared(0, (BOX, BOX2)), control)
    assert (b.one(SHIPMENT, "agency").scope, b.one(SHIPMENT, "agency").key[-1]) == (BOX, "opened")


# -- retirement -----------------------------------------------------------------------------------------------------------------------


def test_an_unloaded_box_is_forgotten_after_two_weeks_and_its_facts_stay() -> None:
    b = bench().tell(declared(), loaded(10), *journey(), loaded(200, bound="unloaded"))
    before = b.living(SHIPMENT)
    b.advance(30 * 24)
    assert b.living(SHIPMENT) == before
    state = CustodyFold().decode_state(b.states["custody.in", BOX])
    assert not state.bindings
    assert not state.runs
    b.advance(200 * 24)
    assert ("custody.in", BOX) not in b.states


def test_a_box_in_a_yard_for_three_weeks_is_not_forgotten() -> None:
    b = bench().tell(declared(), loaded(10), *journey()).advance(21 * 24)
    assert CustodyFold().decode_state(b.states["custody.in", BOX]).bindings


def test_more_runs_than_a_box_can_have_are_refused_by_name() -> None:
    b = bench().tell(declared())
    for n in range(33):
        b.tell(announced(0, msgspec.structs.replace(CN_TRAIN, number=f"Y{n}")))
    refused = [o for key, e, o in b.outcomes if key == BOX and o.fate is Fate.REFUSED]
    assert [o.reason for o in refused] == ["CUSTODY_LIMIT"]
    assert SMGS.kind == "smgs"


def read_at(**where: object) -> str:
    """The side of a lock's own reading."""
    b = bench().tell(declared(), seal(10, "applied"), seal(121, "checked_ok", **where))
    value = b.one(SHIPMENT, "seal", "customs_lock", "ok").value
    assert isinstance(value, dict)
    return str(value.get("side", ""))


def test_a_reading_without_a_place_is_where_its_coordinates_are() -> None:
    assert read_at(lat=45.2522, lon=82.4839) == KZ_ENTRY
    assert read_at(lat=46.9, lon=79.0) == "", "in the steppe"


def test_a_reading_whose_coordinates_contradict_its_place_counts_nowhere() -> None:
    assert read_at(place="dostyk") == KZ_ENTRY
    assert read_at(place="dostyk", lat=45.2522, lon=82.4839) == KZ_ENTRY
    assert read_at(place="dostyk", lat=55.75, lon=37.6) == ""


def deviated(lat: float, lon: float) -> list[object]:
    """How far off its corridor the lock's own position is, beyond what the lines are coarse."""
    b = bench().tell(declared(), seal(10, "applied"), seal(60, "reading", lat=lat, lon=lon))
    return [f.value for f in b.of(SHIPMENT, "deviation")]


def test_a_lock_that_says_it_is_far_off_its_corridor_has_deviated() -> None:
    assert deviated(45.9, 81.6) == [], "near the line from Dostyk, as coarse as it is"
    (value,) = deviated(30.0, 60.0)
    assert isinstance(value, dict)
    assert value["km"] > bench().rows.limits.gtt_deviation_km_max
