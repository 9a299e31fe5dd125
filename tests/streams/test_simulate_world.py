"""The simulated world as a whole: the same for the same seed, everything in it, everything acceptable where it should be."""
from __future__ import annotations

import random
from collections import Counter, defaultdict

import msgspec
import pytest

from streams.effects import LogRecord
from streams.intake import Intake
from streams.simulate import Rates, Sent, SimOptions, compressed, default_speed, expected_dead_letters, simulate
from streams.simulate.incidents import PLANS
from tests.sim.worlds import DEMO, START, reference, topics, world
from topics import codec
from topics.events.base import Event, Heartbeat
from topics.events.customs import CustomsNotice
from topics.events.internal import ClearanceIn, CustodyIn, DocumentsIn, TrainsIn
from topics.events.rail import PositionReported, TrainAnnounced, TrainFormed
from topics.events.sites import CrossingCondition, SealEvent, TerminalEvent
from topics.events.trade import FilingLodged, ShipmentDeclared
from topics.identifiers import (
    parse_aeo_cn,
    parse_container,
    parse_eaeu_declaration,
    parse_eori,
    parse_mrn,
    parse_pi,
    parse_smgs,
    parse_uscc,
    parse_wagon,
)

HOUR = 3_600_000_000


def of(kind: type[Event], messages: tuple[Sent, ...] | None = None) -> list[Event]:
    return [m.event for m in (world(DEMO) if messages is None else messages) if isinstance(m.event, kind) and m.expect == "applied"]


def notices() -> list[CustomsNotice]:
    return [n for n in of(CustomsNotice) if isinstance(n, CustomsNotice)]


# -- the same, in order ----------------------------------------------------------------------------------------------------
def test_the_same_seed_gives_the_same_bytes() -> None:
    again = list(simulate(reference(), random.Random(1), DEMO, START))
    assert [(m.at, m.topic, m.key, m.value, m.expect) for m in again] == [(m.at, m.topic, m.key, m.value, m.expect) for m in world(DEMO)]


def test_another_seed_gives_another_world() -> None:
    other = [m.value for m in simulate(reference(), random.Random(2), SimOptions(trains=1, heartbeats=False), START)]
    mine = [m.value for m in simulate(reference(), random.Random(1), SimOptions(trains=1, heartbeats=False), START)]
    assert other != mine


def test_messages_come_in_the_order_in_which_they_are_sent_and_never_before_they_happen() -> None:
    last = START
    for message in world(DEMO):
        assert message.at >= last
        last = message.at
        if message.event is not None:
            assert message.event.event_time.timestamp() * 1e6 <= message.at + 1


def test_a_first_message_needs_no_more_than_the_first_train() -> None:
    endless = SimOptions(trains=1_000, position_minutes=0)
    messages = simulate(reference(), random.Random(3), endless, START)
    seen = {next(messages).train for _ in range(300)}
    assert max(seen) <= 3


# -- who, where ------------------------------------------------------------------------------------------------------------
def test_twice_as_many_trains_as_corridors_pass_every_corridor_both_ways() -> None:
    options = SimOptions(trains=2 * len(reference().corridors), containers_min=1, containers_max=2, position_minutes=0, heartbeats=False)
    found = {(a.corridor, a.direction) for a in of(TrainAnnounced, world(options)) if isinstance(a, TrainAnnounced)}
    assert found == {(corridor, direction) for corridor in reference().corridors for direction in ("west", "east")}


def test_fewer_trains_take_turns_over_the_corridors() -> None:
    found = [a.corridor for a in of(TrainAnnounced) if isinstance(a, TrainAnnounced)]
    assert len(found) == len(set(found)) == DEMO.trains
    assert {a.direction for a in of(TrainAnnounced) if isinstance(a, TrainAnnounced)} == {"west", "east"}


def test_asked_for_one_corridor_only_that_one_is_used() -> None:
    options = SimOptions(trains=2, corridors=("WEST-K",), containers_min=2, containers_max=3, position_minutes=0)
    assert {a.corridor for a in of(TrainAnnounced, world(options)) if isinstance(a, TrainAnnounced)} == {"WEST-K"}


def test_a_corridor_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no corridor"):
        next(simulate(reference(), random.Random(1), SimOptions(corridors=("NOWHERE",)), START))


def test_trains_carry_forty_to_fifty_five_boxes_and_are_shorter_behind_a_gauge_break() -> None:
    for train in of(TrainAnnounced):
        assert isinstance(train, TrainAnnounced)
        assert DEMO.containers_min <= len(train.containers) <= DEMO.containers_max
    formed = [f for f in of(TrainFormed) if isinstance(f, TrainFormed) and f.reason == "gauge_break"]
    assert max(len(f.wagons) for f in formed) <= DEMO.wagons_1520_max
    by_parent = Counter(p for f in formed for p in f.parents)
    assert max(by_parent.values()) >= 2


def test_every_event_decodes_and_is_written_by_the_owner_of_its_topic() -> None:
    for message in world(DEMO):
        if message.event is None:
            continue
        kind = type(message.event)
        assert codec.decode(message.value, kind) == message.event
        spec = topics().topics[message.topic]
        assert spec.party == message.event.source
        assert kind.__struct_config__.tag in spec.accepts


def test_events_of_the_world_are_events_of_the_folds() -> None:
    union = TrainsIn | CustodyIn | DocumentsIn | ClearanceIn
    for message in world(DEMO)[:2_000]:
        if message.event is not None and not isinstance(message.event, Heartbeat):
            assert codec.decode(message.value, union) == message.event


# -- identifiers -----------------------------------------------------------------------------------------------------------
def test_numbers_have_right_check_digits() -> None:
    for declared in of(ShipmentDeclared):
        assert isinstance(declared, ShipmentDeclared)
        parse_smgs(declared.document.number)
        for box in declared.containers:
            parse_container(box.container)
        for trader in declared.parties:
            if trader.identifier:
                (parse_uscc if trader.country == "CN" else parse_eori)(trader.identifier)
            if trader.aeo:
                parse_aeo_cn(trader.aeo)
    for formed in of(TrainFormed):
        assert isinstance(formed, TrainFormed)
        for load in formed.wagons:
            parse_wagon(load.wagon)


def test_registration_numbers_have_the_authority_s_form() -> None:
    parsers = {"pi": parse_pi, "td": parse_eaeu_declaration, "ens": parse_mrn, "transit": parse_mrn, "export": parse_mrn}
    seen = set()
    for notice in notices():
        for alias in notice.aliases:
            union = reference().authorities[notice.authority].union
            if alias.kind == "transit" and union == "EAEU":
                continue
            if alias.kind in parsers:
                parsers[alias.kind](alias.number)
                seen.add(alias.kind)
    assert seen == set(parsers)


def test_a_container_and_a_document_number_are_given_once() -> None:
    boxes = Counter(box.container for d in of(ShipmentDeclared) if isinstance(d, ShipmentDeclared) for box in d.containers)
    assert max(boxes.values()) == 1
    lodged = Counter((f.kind, f.number) for f in of(FilingLodged) if isinstance(f, FilingLodged) and f.action == "lodge")
    assert max(lodged.values()) == 1


def test_message_ids_are_unique_unless_the_message_is_a_repeat() -> None:
    ids = Counter((m.event.source, m.event.id) for m in world(DEMO) if m.event is not None and m.expect == "applied")
    assert max(ids.values()) == 1
    first = {(m.topic, m.value) for m in world(DEMO) if m.expect == "applied"}
    assert all((m.topic, m.value) in first for m in world(DEMO) if m.expect == "duplicate")


# -- authorities -----------------------------------------------------------------------------------------------------------
def test_every_code_is_one_of_the_authority_s_systems() -> None:
    for notice in notices():
        assert notice.system in reference().authorities[notice.authority].systems
        assert (notice.system, notice.code) in reference().codes


def test_an_authority_registers_only_what_was_lodged_there_before() -> None:
    when = {(f.authority, f.kind, f.number): f.event_time for f in of(FilingLodged) if isinstance(f, FilingLodged) and f.action == "lodge"}
    for notice in notices():
        if notice.aliases and notice.document is not None:
            assert when[notice.authority, notice.document.kind, notice.document.number] < notice.event_time


def test_what_an_authority_opens_and_closes_carries_the_same_reference() -> None:
    closings = {"LIFT": "HOLD", "INFO-CLOSED": "INFO"}
    opened = {(n.authority, n.reference): n.event_time for n in notices() if n.reference and n.code not in closings}
    closed = [n for n in notices() if n.code in closings]
    assert closed
    for notice in closed:
        assert opened[notice.authority, notice.reference] <= notice.event_time


# -- incidents -------------------------------------------------------------------------------------------------------------
def test_every_planned_incident_is_told_in_a_demo() -> None:
    stories = {m.story for m in world(DEMO)}
    silent = {"missing_notice", "left_without_release"}
    wanted = {plan.what for plan in PLANS} - silent | {"territory_hold", "closure", "duplicate", "late_message"}
    assert wanted <= stories


def test_in_a_calm_world_nothing_of_it_happens() -> None:
    stories = {m.story for m in world(SimOptions(trains=2, containers_min=5, containers_max=8, position_minutes=0).calm())}
    assert stories == {""}


def test_the_broken_lock_is_opened_under_an_act_and_replaced() -> None:
    told = [m.event for m in world(DEMO) if m.story == "lock_broken" and isinstance(m.event, SealEvent) and m.expect == "applied"]
    opened = next(e for e in told if e.what == "opened_authorised" and e.place == "dostyk")
    whats = [e.what for e in sorted(told, key=lambda e: e.event_time) if e.container == opened.container]
    assert whats == ["broken", "checked_bad", "opened_authorised", "replaced"]
    assert opened.act
    assert opened.new_seal
    assert opened.until is not None
    later = [f for f in of(FilingLodged) if isinstance(f, FilingLodged) and f.event_time > opened.event_time
             and any(box.container == opened.container and opened.new_seal in box.seals for box in f.containers)]
    assert later


def test_a_box_left_behind_goes_with_a_later_train() -> None:
    formed = [m.event for m in world(DEMO) if m.story == "left_behind" and isinstance(m.event, TrainFormed)]
    assert any(f.place == "dostyk" for f in formed)


def test_the_crossing_closes_and_opens_again() -> None:
    states = [c.state for c in of(CrossingCondition) if isinstance(c, CrossingCondition)]
    assert states == ["closed", "open"]


def test_a_train_of_empties_runs_in_a_demo() -> None:
    assert any(isinstance(a, TrainAnnounced) and a.empty for a in of(TrainAnnounced))


def test_a_hold_on_territory_is_said_by_russia_of_a_container_without_office() -> None:
    held = [m.event for m in world(DEMO) if m.story == "territory_hold" and isinstance(m.event, CustomsNotice)]
    assert {n.authority for n in held} == {"RU"}
    assert all(n.container and not n.office and n.document is None for n in held)


# -- rates -----------------------------------------------------------------------------------------------------------------
def test_shares_of_repeats_and_late_messages_are_as_asked() -> None:
    counted = [m for m in world(DEMO) if not isinstance(m.event, Heartbeat)]
    repeats = sum(m.expect == "duplicate" for m in counted) / len(counted)
    late = sum(m.event is not None and m.at - m.event.event_time.timestamp() * 1e6 > 100_000_000 and m.expect == "applied" for m in counted) / len(counted)
    assert 0.010 <= repeats <= 0.020
    assert 0.030 <= late <= 0.050


def test_shares_of_rejections_and_amendments_are_within_the_figures_of_the_domain() -> None:
    lodged = [f for f in of(FilingLodged) if isinstance(f, FilingLodged) and f.action == "lodge" and len(f.documents) == 1]
    amended = [f for f in of(FilingLodged) if isinstance(f, FilingLodged) and f.action == "amend"]
    rejected = [m for m in world(DEMO) if isinstance(m.event, CustomsNotice) and m.story == "rejection" and m.event.path]
    assert 0.04 <= len(amended) / len(lodged) <= 0.12
    assert 0.015 <= len(rejected) / len(lodged) <= 0.05


def test_no_rate_no_event() -> None:
    options = SimOptions(trains=1, containers_min=5, containers_max=5, incidents=False, closure=False,
                         rates=Rates(duplicate=0.0, out_of_order=0.0, wrong_bytes=0.0, ecommerce=0.0))
    messages = world(options)
    assert all(m.expect == "applied" for m in messages)
    assert not any(m.story in ("late_message", "ecommerce", "closure") for m in messages)


# -- at the door -----------------------------------------------------------------------------------------------------------
def test_intake_refuses_exactly_the_messages_that_are_meant_to_be_refused() -> None:
    intake = Intake(reference(), topics())
    batches: dict[str, list[Sent]] = defaultdict(list)
    for message in world(DEMO):
        batches[message.topic].append(message)
    refused = 0
    for topic, messages in batches.items():
        records = [LogRecord(topic, 0, n, m.at // 1000, m.key.encode() if m.key else None, m.value) for n, m in enumerate(messages)]
        result = intake.batch(topic, records, [m.at for m in messages])
        letters = {letter.offset for letter in result.dead_letters}
        assert letters == {n for n, m in enumerate(messages) if m.expect == "dead_letter"}
        assert not result.flags
        refused += len(letters)
    assert refused == expected_dead_letters(world(DEMO)) > 20


def test_every_kind_of_wrong_message_is_refused_by_its_own_name() -> None:
    options = SimOptions(trains=2, containers_min=20, containers_max=25, rates=Rates(wrong_bytes=0.2))
    intake = Intake(reference(), topics())
    found: dict[str, set[str]] = defaultdict(set)
    for message in world(options):
        if message.expect == "dead_letter":
            result = intake.batch(message.topic, [LogRecord(message.topic, 0, 0, message.at // 1000, None, message.value)], [message.at])
            found[message.story].add(result.dead_letters[0].code)
    assert found == {
        "wrong:not_json": {"NOT_JSON"}, "wrong:unknown_type": {"UNKNOWN_EVENT"}, "wrong:missing_zone": {"MISSING_ZONE"}, "wrong:foreign_party": {"NOT_YOURS"},
        "wrong:missing_field": {"MISSING_FIELD"}, "wrong:metres": {"POSITION_METRES"}, "wrong:check_digit": {"CHECK_DIGIT"},
        "wrong:no_subject": {"NO_SUBJECT"},
    }


# -- played ----------------------------------------------------------------------------------------------------------------
def test_a_demo_of_a_minute_is_bearable_for_two_cores() -> None:
    options = SimOptions(trains=12)
    per_second = Counter(int(paced.offset) for paced in compressed(world(options), default_speed(options), START))
    assert max(per_second.values()) <= 1_500
    assert sum(n for second, n in per_second.items() if second < 60) >= 0.9 * len(world(options))


def test_thinner_positions_make_fewer_messages() -> None:
    thin = SimOptions(trains=1, position_minutes=0, containers_min=2, containers_max=2, heartbeats=False)
    thick = msgspec.structs.replace(thin, position_minutes=30)
    assert not [p for p in of(PositionReported, world(thin)) if isinstance(p, PositionReported) and p.lat is not None]
    assert len(world(thick)) > len(world(thin)) + 100


def test_terminals_speak_for_their_own_places_only() -> None:
    parties = reference().parties
    for event in of(TerminalEvent):
        assert isinstance(event, TerminalEvent)
        assert event.place in parties[event.source].places
