"""Where accepted events go, what intake adds to them, and outside formats on the way in."""
from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from streams.fold import EVERY_PARTITION, Fate
from streams.intake import Intake
from streams.intake.reading import INSTANTS
from streams.intake.routing import route
from tests.streams.intake_world import BOX, CROSSING, INTAKE, NOW, REFERENCE, REGISTRY, act, consist, event, notice, position, put, record, topic_of, train
from tests.topics.samples import samples
from topics import codec
from topics.events.base import Event
from topics.events.customs import CustomsNotice
from topics.events.internal import ClearanceIn, CustodyIn, DocumentsIn, SourceHeard, SourcesIn, TrainsIn
from topics.events.operations import OperationsEvent
from topics.events.outside import OutsideEvent
from topics.events.rail import PositionReported
from topics.events.trade import FilingLodged, ShipmentDeclared

SMGS = {"kind": "smgs", "number": "31046586"}
KEY = "ktz/1402/2026-03-01"
PARENT = train("cr")

ROUTES: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    (event("train.announced", "ktz", train=train()), [("trains.in", KEY)]),
    (consist((BOX,)), [("trains.in", KEY)]),
    (position(), [("trains.in", KEY)]),
    (event("train.wagon_set_out", "ktz", train=train(), wagon="1", containers=[BOX]), [("trains.in", KEY)]),
    (event("train.rerouted", "ktz", train=train()), [("trains.in", KEY)]),
    (event("train.delayed", "ktz", train=train(), minutes=5), [("trains.in", KEY)]),
    (event("train.handed_over", "ktz", train=train(), crossing=CROSSING, giving="cr", receiving="ktz", wagons=[]), [("trains.in", KEY)]),
    (event("train.formed", "ktz", train=train(), parents=[PARENT, train()]), [("trains.in", KEY), ("trains.in", "cr/1402/2026-03-01")]),
    (notice(container=BOX, train=train()), [("documents.in", "td:T-1")]),
    (notice(document=None, container=BOX, train=train()), [("custody.in", BOX)]),
    (notice(document=None, train=train()), [("trains.in", KEY)]),
    (notice(code="CORRECTION", record="N1", version=2, container=BOX), [("documents.in", "td:T-1"), ("custody.in", BOX)]),
    (notice(code="CORRECTION", container=BOX), [("documents.in", "td:T-1")]),
    (notice(record="N1", version=2, values={"corrected_document": "td:t-9", "corrected_container": BOX, "corrected_train": KEY}),
     [("documents.in", "td:T-1"), ("documents.in", "td:T-9"), ("custody.in", BOX), ("trains.in", KEY)]),
    (event("agency.notice", "kz-vet", agency="veterinary", what="hold", container=BOX, document=SMGS), [("documents.in", "smgs:31046586")]),
    (event("agency.notice", "kz-vet", agency="veterinary", what="hold", container=BOX), [("custody.in", BOX)]),
    (event("seal.event", "locks", chain="bolt", seal="1", what="applied", container=BOX), [("custody.in", BOX)]),
    (event("terminal.event", "any-terminal", place="dostyk", what="gate_in", container=BOX, train=train()), [("custody.in", BOX)]),
    (event("terminal.event", "any-terminal", place="dostyk", what="arrived", train=train()), [("trains.in", KEY)]),
    (event("shipment.declared", "forwarder", document=SMGS), [("documents.in", "smgs:31046586")]),
    (event("container.bound", "forwarder", document=SMGS, bound="loaded", container=BOX), [("documents.in", "smgs:31046586")]),
    (event("filing.lodged", "forwarder", authority="PL", kind="ens", number="e-1", documents=[SMGS]), [("documents.in", "ens:E-1")]),
    (event("request.answered", "forwarder", authority="PL", document={"kind": "ens", "number": "e-1"}), [("documents.in", "ens:E-1")]),
    (event("document.linked", "forwarder", document=SMGS, relation="replaces", other={"kind": "cim", "number": "7"}), [("documents.in", "smgs:31046586")]),
    (event("network.crossing", "desk", crossing=CROSSING, state="closed"), [("clearance.in", "*"), ("trains.in", "*")]),
    (event("risk.indicator", "risk-kz", authority="KZ", valid_from="2026-03-01T00:00:00Z", valid_until="2026-04-01T00:00:00Z"), [("clearance.in", "*")]),
    (event("heartbeat", "ktz"), []),
    (act("operations.retract", feed="customs-kz", since="2026-02-28T00:00:00Z", until="2026-03-01T00:00:00Z", record="R-1"),
     [("operations.acts", "retract/R-1"), ("trains.in", "*"), ("custody.in", "*"), ("documents.in", "*"), ("clearance.in", "*")]),
    (act("operations.pause", feed="ktz"), [("operations.acts", "pause/ktz"), ("sources.in", "ktz")]),
    (act("operations.drain"), [("operations.acts", "drain")]),
    (act("operations.rebuild", fold="clearance", keys=3), [("operations.acts", "rebuild/clearance")]),
    (act("operations.reopen", shipment="SABCDEFGHIJKL"), [("operations.acts", "reopen/SABCDEFGHIJKL")]),
]
INPUTS = {"sources.in": SourcesIn, "operations.acts": OperationsEvent, "trains.in": TrainsIn, "custody.in": CustodyIn, "documents.in": DocumentsIn,
          "clearance.in": ClearanceIn}


@pytest.mark.parametrize(("value", "addresses"), ROUTES, ids=[f"{i}-{row[0]['type']}" for i, row in enumerate(ROUTES)])
def test_an_event_goes_where_its_subject_lives(value: dict[str, Any], addresses: list[tuple[str, str]]) -> None:
    outputs = put(value).outputs[1]
    assert [(emit.topic, emit.key) for emit in outputs] == addresses
    for emit in outputs:
        assert emit.partition == (EVERY_PARTITION if emit.key == "*" else None)
        assert emit.value is not None
        assert codec.decode(codec.encode(emit.value), INPUTS[emit.topic]) == emit.value, "its fold can read it"


def test_a_correction_of_what_cannot_be_read_is_refused() -> None:
    result = put(notice(record="N1", version=2, values={"corrected_document": "nonsense"}))
    assert [(r.code, r.path) for r in result.refusals] == [("CORRECTED_UNREADABLE", "$.values.corrected_document")]


def test_every_event_type_has_a_route() -> None:
    seen = {row[0]["type"] for row in ROUTES}
    assert seen == {str(kind.__struct_config__.tag) for kind in OutsideEvent.__args__}


def test_an_event_without_a_route_is_a_bug_not_a_refusal() -> None:
    with pytest.raises(AssertionError):
        route(Event(source="ktz", id="1", event_time=datetime(2026, 3, 1, tzinfo=UTC)))


def accepted(value: Any, party: str = "", **more: Any) -> Any:
    (emit, *_) = put(value, party, **more).outputs[1]
    return emit.value


def test_intake_stamps_the_time_of_receipt_and_ignores_what_the_sender_says_of_it() -> None:
    got = accepted(position(received_time="2020-01-01T00:00:00Z", flags=["LOOKS_GOOD"]))
    assert got.received_time == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert got.flags == ()


def test_received_may_run_on_another_clock_than_the_brokers() -> None:
    result = INTAKE.batch(topic_of("ktz"), [record(position(event_time="2026-06-01T00:00:00Z"), "ktz")], received=[NOW + 93 * 86_400_000_000])
    assert result.outcomes == ()
    assert result.heard[0].heard_at == NOW + 93 * 86_400_000_000


def test_numbers_are_written_one_way_so_that_they_are_one_key() -> None:
    assert accepted(event("seal.event", "locks", chain="bolt", seal="1", what="applied", container="csqu 305438-3")).container == BOX
    assert accepted(consist(("csqu3054383",))).wagons[0].containers == (BOX,)


@pytest.mark.parametrize(("party", "value"), [
    ("customs-kz", notice(document=None, container="CSQU3054384")),
    ("kz-vet", event("agency.notice", "kz-vet", agency="veterinary", what="hold", container="CSQU3054384")),
])
def test_a_wrong_container_number_of_an_authority_is_flagged_and_kept(party: str, value: dict[str, Any]) -> None:
    got = accepted(value, party)
    assert got.container == "CSQU3054384"
    assert got.flags == ("CONTAINER_NUMBER_INVALID",)
    assert accepted({**value, "container": BOX}, party).flags == ()


def test_quality_flags_fire_and_do_not_fire() -> None:
    assert accepted(position(train=train("cr"))).flags == ("TRAIN_OF_OTHER",)
    assert accepted(position(lat=None, lon=None, station="atlantis")).flags == ("UNMAPPED_STATION",)
    assert accepted(position(lat=None, lon=None, station="dostyk")).flags == ()
    assert accepted(event("filing.lodged", "forwarder", authority="XX", kind="ens", number="1")).flags == ("UNMAPPED_AUTHORITY",)
    assert accepted(event("filing.lodged", "forwarder", authority="PL", kind="ens", number="1")).flags == ()
    assert accepted(event("train.handed_over", "ktz", train=train(), crossing="A-B", giving="cr", receiving="ktz", wagons=[])).flags == ("UNMAPPED_CROSSING",)
    wagon = consist(("csqu3054383",))
    wagon["wagons"][0]["wagon"] = "95236197"
    assert accepted(wagon).flags == ("WAGON_NUMBER_INVALID",)
    wagon["wagons"][0]["wagon"] = "9523 6196"
    assert (accepted(wagon).flags, accepted(wagon).wagons[0].wagon) == ((), "95236196")


def test_valid_for_ever_is_no_end_of_validity() -> None:
    got = accepted(notice(valid_until="9999-12-31T23:59:59Z"))
    assert (got.valid_until, got.flags) == (None, ("VALID_FOR_EVER",))
    assert accepted(notice(valid_until="2030-01-01T00:00:00Z")).flags == ()


def test_an_agencys_country_is_filled_in() -> None:
    assert accepted(event("agency.notice", "kz-vet", agency="veterinary", what="hold", container=BOX)).authority == "KZ"


# -- zones ---------------------------------------------------------------------------------------------------------------
def test_every_time_field_of_the_contracts_is_known_to_the_zone_reader() -> None:
    found: set[str] = set()

    def walk(kind: Any) -> None:
        inspect = msgspec.inspect
        if isinstance(kind, inspect.Metadata):
            walk(kind.type)
        elif isinstance(kind, inspect.UnionType):
            for one in kind.types:
                walk(one)
        elif isinstance(kind, inspect.VarTupleType):
            walk(kind.item_type)
        elif isinstance(kind, inspect.StructType):
            for field in kind.fields:
                if b"datetime" in repr(field.type).lower().encode() and not isinstance(field.type, inspect.VarTupleType):
                    found.add(field.name)
                walk(field.type)

    walk(msgspec.inspect.type_info(OutsideEvent))
    assert found - {"received_time"} == INSTANTS


@pytest.mark.parametrize(("party", "value", "at"), [
    ("zoned-forwarder", event("shipment.declared", "zoned-forwarder", document=SMGS, event_time="2026-03-01T11:30:00"),
     datetime(2026, 3, 1, 10, 30, tzinfo=UTC)),
    ("customs-kz", notice(event_time="2026-03-01T15:30:00", answer_by="2026-03-02T15:30:00"), datetime(2026, 3, 1, 10, 30, tzinfo=UTC)),
])
def test_a_time_without_zone_is_read_in_the_configured_one_and_flagged(party: str, value: dict[str, Any], at: datetime) -> None:
    got = accepted(value, party)
    assert (got.event_time, got.flags) == (at, ("EVENT_TIME_ZONE_ASSUMED",))


@pytest.mark.parametrize(("party", "value"), [
    ("forwarder", event("shipment.declared", "forwarder", document=SMGS, event_time="2026-03-01T10:30:00")),
    ("customs-cn", notice("customs-cn", authority="CN", event_time="2026-03-01T10:30:00")),
    ("customs-kz", notice(answer_by="tomorrow")),
])
def test_without_a_configured_zone_it_is_refused(party: str, value: dict[str, Any]) -> None:
    assert put(value, party).outcomes[0].reason in ("MISSING_ZONE", "BAD_VALUE")


# -- freshness and secrecy -----------------------------------------------------------------------------------------------
def test_a_source_is_heard_once_per_batch_with_its_latest_event() -> None:
    values = [position(id=str(i), event_time=f"2026-03-01T10:{i:02}:00Z") for i in (5, 50, 20)]
    result = INTAKE.batch(topic_of("ktz"), [record(value, "ktz", offset=i) for i, value in enumerate(values)])
    (heard,) = [emit for emit in result.emits if isinstance(emit.value, SourceHeard)]
    assert (heard.topic, heard.key) == ("sources.in", "ktz")
    assert result.heard == (SourceHeard(source="ktz", last_event=NOW - 10 * 60_000_000, heard_at=NOW),)


def test_nobody_learns_that_risk_analysts_have_spoken() -> None:
    good = event("risk.indicator", "risk-kz", authority="KZ", valid_from="2026-03-01T00:00:00Z", valid_until="2026-04-01T00:00:00Z", containers=["BAD"])
    result = put(good, "risk-kz")
    assert (result.heard, result.flags) == ((), {})
    assert {emit.topic for emit in result.emits} == {"clearance.in"}
    assert {emit.topic for emit in put(b"x", "risk-kz").emits} == {"refusals.risk-kz", "dead.letters.restricted"}


# -- outside formats -----------------------------------------------------------------------------------------------------
def test_real_ncts_requests_go_through_with_a_shipment_and_a_filing_each() -> None:
    files = samples("ncts5/requests", "*.xml")
    records = [record(path.read_bytes(), "forwarder", offset=i) for i, path in enumerate(files)]
    result = INTAKE.batch(topic_of("forwarder"), records)
    assert result.outcomes == ()
    assert len(result.outputs) == 167
    for declared, filing in result.outputs:
        assert declared.topic == filing.topic == "documents.in"
        assert declared.key == filing.key
        assert isinstance(declared.value, ShipmentDeclared)
        assert isinstance(filing.value, FilingLodged)
        assert filing.value.source == "forwarder"
    assert len({outputs[0].key for outputs in result.outputs}) == 111 + 39, "movements without a number are told apart by where they came from"
    assert result.flags["NUMBER_MISSING"] == 2 * 111


def test_real_ncts_answers_count_only_from_their_authority() -> None:
    for path in samples("ncts5/responses", "*.xml"):
        data = path.read_bytes()
        own = "XI" if b"NTA.XI" in data else "GB"
        result = put(data, "customs-gb")
        assert [o.reason for o in result.outcomes] == ([] if own == "GB" else ["NOT_YOURS"])
        assert [type(emit.value) for emit in result.outputs[1]] == ([ShipmentDeclared, CustomsNotice] if own == "GB" else [])
        assert put(data, "forwarder").outcomes[0].reason == "NOT_YOUR_EVENT", "what a forwarder passes on is not the authority's word"


def test_customs_do_not_file() -> None:
    request = samples("ncts5/requests", "*ie015*")[0].read_bytes()
    assert put(request, "customs-gb").outcomes[0].reason == "NOT_YOUR_EVENT"


def test_real_finnish_positions_in_metres_are_refused_and_a_running_message_is_applied() -> None:
    metres = put(samples("digitraffic", "train-location.json")[0].read_bytes(), "vr")
    assert [(o.fate, o.reason, o.path) for o in metres.outcomes] == [(Fate.REFUSED, "POSITION_METRES", "$[0].sijainti")]
    running = put(samples("digitraffic", "train-running-message.json")[0].read_bytes(), "vr")
    assert running.outcomes == ()
    first, second = (emit.value for emit in running.outputs[1])
    assert isinstance(first, PositionReported)
    assert isinstance(second, PositionReported)
    assert (first.station, "UNMAPPED_STATION" in first.flags) == ("EPO", True)
    assert (second.station, second.flags) == ("helsinki", ())


def test_a_list_is_applied_as_far_as_it_is_good_and_repeats_are_duplicates_by_name() -> None:
    def place(lat: float, number: int = 1) -> dict[str, Any]:
        return {"junanumero": number, "lahtopaiva": "2026-03-01", "sijainti": {"latitude": lat, "longitude": 24.9}, "aikaleima": "2026-03-01T10:00:00Z"}

    repeated = put(msgspec.json.encode([place(60.1), place(60.1)]), "vr")
    assert [(o.fate, o.reason, o.path) for o in repeated.outcomes] == [(Fate.DUPLICATE, "POSITION_REPEATED", "$[1]")]
    assert (len(repeated.outputs[1]), repeated.dead_letters) == (1, ())
    mixed = put(msgspec.json.encode([place(60.1), place(6_736_100.1, 2), {**place(60.1, 3), "aikaleima": "2026-03-02T10:00:00Z"}]), "vr")
    assert len(mixed.outputs[1]) == 1
    assert [(o.fate, o.reason) for o in mixed.outcomes] == [(Fate.REFUSED, "POSITION_METRES")]
    assert [told.code for told in mixed.refusals] == ["POSITION_METRES", "EVENT_TIME_FUTURE"]
    assert len(mixed.dead_letters) == 1


@pytest.mark.parametrize(("hint", "party", "reason"), [
    (b"edifact", "forwarder", "UNKNOWN_FORMAT"), (b"digitraffic", "forwarder", "NOT_YOUR_EVENT"), (b"ncts5", "forwarder", "NOT_XML"),
    (b"json", "forwarder", "")])
def test_a_header_may_name_the_format(hint: bytes, party: str, reason: str) -> None:
    value = event("shipment.declared", party, document=SMGS)
    result = put(value, party, headers=(("railclear-format", hint),))
    assert [o.reason for o in result.outcomes] == ([reason] if reason else [])


def test_intake_serves_every_inbound_topic_and_no_other() -> None:
    intake = Intake(REFERENCE, REGISTRY)
    for spec in REGISTRY.inbound:
        assert intake.batch(spec.name, []).emits == ()
    with pytest.raises(KeyError):
        intake.batch("clearance.in", [])
