"""What bad input gets: a named refusal with field and value, a dead letter with its bytes, a notice to the sender. And the same input, right, does not."""
from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streams.fold import Fate
from tests.streams.intake_world import BOX, BOX_2, CROSSING, INTAKE, NOW, consist, event, notice, position, put, record, topic_of, train
from topics.events.outputs import DeadLetter, RefusalNotice

SMGS = {"kind": "smgs", "number": "31046586"}


def shipment(*boxes: str, **more: Any) -> dict[str, Any]:
    return event("shipment.declared", "forwarder", **{"document": SMGS, "containers": [{"container": box} for box in boxes], **more})


def seal(**more: Any) -> dict[str, Any]:
    return event("seal.event", "locks", **{"chain": "customs_lock", "seal": "L1", "what": "reading", "container": BOX, **more})


REFUSED: list[tuple[Any, str, str, str, str]] = [
    # not readable
    (b"not json", "ktz", "NOT_JSON", "$", "not json"),
    (b"", "ktz", "NOT_JSON", "$", ""),
    (None, "ktz", "NO_VALUE", "$", ""),
    (b"\x80\x81" * 1_000_000, "ktz", "NOT_JSON", "$", "\ufffd" * 40),
    (b"x" * (4 * 1024 * 1024 + 1), "ktz", "TOO_LARGE", "$", "4194305 bytes"),
    (position(note="a\x00b"), "ktz", "NUL_BYTE", "$", ""),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "ktz", "TOO_DEEP", "$", ""),
    (b"<a/>", "forwarder", "UNKNOWN_MESSAGE", "$", "{}a"),
    (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "forwarder", "XML_DOCTYPE", "$", ""),
    # not as the contract says
    (event("train.flown", "ktz"), "ktz", "UNKNOWN_EVENT", "$.type", "train.flown"),
    (position(lat="north"), "ktz", "BAD_VALUE", "$.lat", "north"),
    (msgspec.json.encode(position()).replace(b"45.3", b"NaN"), "ktz", "NOT_JSON", "$", ""),
    (position(event_time="2026-03-01T10:59:00"), "ktz", "MISSING_ZONE", "$.event_time", "2026-03-01T10:59:00"),
    (event("train.position", "ktz", lat=1.0, lon=1.0), "ktz", "MISSING_FIELD", "$.train", ""),
    (notice(code=""), "customs-kz", "MISSING_FIELD", "$.code", ""),
    (position(train=train(date="2026-02-30")), "ktz", "BAD_VALUE", "$.train.date", "2026-02-30"),
    (shipment(BOX, document={**SMGS, "date": "yesterday"}), "forwarder", "BAD_VALUE", "$.document.date", "yesterday"),
    # check digits
    (consist((BOX, "CSQU3054384")), "ktz", "CHECK_DIGIT", "$.wagons[0].containers[1]", "CSQU3054384"),
    (shipment("CSQU3054384"), "forwarder", "CHECK_DIGIT", "$.containers[0].container", "CSQU3054384"),
    (seal(container="CSQU3054384"), "locks", "CHECK_DIGIT", "$.container", "CSQU3054384"),
    (event("terminal.event", "dostyk-terminal", place="dostyk", what="gate_in", container="CSQU3054384"), "dostyk-terminal", "CHECK_DIGIT", "$.container",
     "CSQU3054384"),
    (event("container.bound", "forwarder", document=SMGS, bound="swapped", container=BOX, replaces="CSQU3054384"), "forwarder", "CHECK_DIGIT", "$.replaces",
     "CSQU3054384"),
    (consist(("BOX-7",)), "ktz", "CONTAINER_NUMBER", "$.wagons[0].containers[0]", "BOX-7"),
    (consist((BOX,), (BOX_2, "csqu 305438-3")), "ktz", "CONTAINER_TWICE", "$.wagons[1].containers[1]", BOX),
    (event("train.announced", "ktz", train=train(), containers=[BOX, BOX]), "ktz", "CONTAINER_TWICE", "$.containers[1]", BOX),
    (shipment(BOX, BOX), "forwarder", "CONTAINER_TWICE", "$.containers[1].container", BOX),
    # who
    (position(source="cr"), "ktz", "NOT_YOURS", "$.source", "cr"),
    (notice(source="customs-kz", authority="CN"), "customs-kz", "NOT_YOURS", "$.authority", "CN"),
    (event("risk.indicator", "risk-kz", authority="CN", valid_from="2026-03-01T00:00:00Z", valid_until="2026-04-01T00:00:00Z"), "risk-kz", "NOT_YOURS",
     "$.authority", "CN"),
    (event("agency.notice", "kz-vet", agency="veterinary", authority="CN", what="hold", container=BOX), "kz-vet", "NOT_YOURS", "$.authority", "CN"),
    (event("terminal.event", "dostyk-terminal", place="warsaw", what="gate_in", container=BOX), "dostyk-terminal", "NOT_YOURS", "$.place", "warsaw"),
    (consist((BOX,), train=train("cr")), "ktz", "NOT_YOURS", "$.train.railway", "cr"),
    (event("train.handed_over", "ktz", train=train("cr"), crossing=CROSSING, giving="cr", receiving="rzd", wagons=[]), "ktz", "NOT_YOURS", "$.giving", "cr"),
    (position(source="forwarder"), "forwarder", "NOT_YOUR_EVENT", "$.type", "train.position"),
    (event("customs.notice", "forwarder", authority="KZ", system="EAEU-TD", code="X"), "forwarder", "NOT_YOUR_EVENT", "$.type", "customs.notice"),
    (event("seal.event", "forwarder", chain="bolt", seal="1", what="applied", container=BOX), "forwarder", "NOT_YOUR_EVENT", "$.type", "seal.event"),
    (event("network.crossing", "ktz", crossing=CROSSING, state="closed"), "ktz", "NOT_YOUR_EVENT", "$.type", "network.crossing"),
    # when
    (position(event_time="9999-12-31T23:59:59Z"), "ktz", "EVENT_TIME_IMPLAUSIBLE", "$.event_time", "9999-12-31 23:59:59+00:00"),
    (position(event_time="9999-12-31T23:59:59-14:00"), "ktz", "EVENT_TIME_IMPLAUSIBLE", "$.event_time", "9999-12-31 23:59:59-14:00"),
    (position(event_time="0001-01-01T00:00:00+14:00"), "ktz", "EVENT_TIME_IMPLAUSIBLE", "$.event_time", "0001-01-01 00:00:00+14:00"),
    (position(event_time="1970-01-01T00:00:00Z"), "ktz", "EVENT_TIME_IMPLAUSIBLE", "$.event_time", "1970-01-01 00:00:00+00:00"),
    (position(event_time="2027-03-01T10:59:00Z"), "ktz", "EVENT_TIME_FUTURE", "$.event_time", "2027-03-01 10:59:00+00:00"),
    (position(event_time="2026-03-01T11:10:01Z"), "ktz", "EVENT_TIME_FUTURE", "$.event_time", "2026-03-01 11:10:01+00:00"),
    (notice(answer_by="9999-12-31T00:00:00Z"), "customs-kz", "EVENT_TIME_IMPLAUSIBLE", "$.answer_by", "9999-12-31 00:00:00+00:00"),
    (event("train.announced", "ktz", train=train(), stops=[{"place": "dostyk", "arrives": "2028-01-01T00:00:00Z"}]), "ktz", "EVENT_TIME_IMPLAUSIBLE",
     "$.stops[0].arrives", "2028-01-01 00:00:00+00:00"),
    # where
    (position(lat=6736100.1, lon=380012.4), "ktz", "POSITION_METRES", "$.lat", "6736100.1,380012.4"),
    (position(lat=45.3, lon=9_000_000), "ktz", "POSITION_METRES", "$.lon", "45.3,9000000.0"),
    (position(lat=116.4, lon=39.9), "ktz", "POSITION_SWAPPED", "$.lat", "116.4,39.9"),
    (position(lat=82.4, lon=45.3), "ktz", "POSITION_SWAPPED", "$.lat", "82.4,45.3"),
    (position(lat=21.0, lon=52.2), "ktz", "POSITION_SWAPPED", "$.lat", "21.0,52.2"),
    (position(lat=0, lon=0), "ktz", "POSITION_NULL_ISLAND", "$", "0.0,0.0"),
    (position(lat=45.3, lon=200), "ktz", "POSITION_OUT_OF_RANGE", "$.lon", "45.3,200.0"),
    (seal(lat=0.0, lon=0.0), "locks", "POSITION_NULL_ISLAND", "$", "0.0,0.0"),
    (position(lon=None), "ktz", "MISSING_FIELD", "$.lon", ""),
    (position(lat=None, lon=None), "ktz", "MISSING_FIELD", "$.station", ""),
    (event("network.crossing", "desk", crossing="NO-SUCH", state="closed"), "desk", "UNKNOWN_CROSSING", "$.crossing", "NO-SUCH"),
    # too much, too little
    (consist(*[()] * 301), "ktz", "TOO_MANY_ITEMS", "$.wagons", "301"),
    (consist((BOX,) * 601), "ktz", "TOO_MANY_ITEMS", "$.wagons", "601"),
    (shipment(*[""] * 10_001), "forwarder", "TOO_MANY_ITEMS", "$.containers", "10001"),
    (notice(document=None), "customs-kz", "NO_SUBJECT", "$", "m-1"),
    (seal(container=""), "locks", "NO_SUBJECT", "$", "m-1"),
]


@pytest.mark.parametrize(("value", "party", "code", "path", "shown"), REFUSED, ids=[f"{i}-{row[2]}" for i, row in enumerate(REFUSED)])
def test_bad_input_is_refused_by_name_kept_whole_and_told_to_its_sender(value: Any, party: str, code: str, path: str, shown: str) -> None:
    headers = (("trace", b"1"),)
    result = put(value, party, headers=headers)
    assert [(o.index, o.fate, o.reason, o.path) for o in result.outcomes] == [(1, Fate.REFUSED, code, path)]
    assert result.outputs[1] == (), "nothing of it goes on"
    (letter,) = result.dead_letters
    bad = record(value, party, offset=7, headers=headers)
    assert (letter.value, letter.key, letter.headers, letter.topic, letter.partition, letter.offset, letter.timestamp) == (
        bad.value, None, headers, topic_of(party), 0, 7, bad.timestamp)
    assert (letter.code, letter.path, letter.party, letter.stage) == (code, path, party, "intake")
    (told,) = result.refusals
    assert (told.party, told.code, told.path, told.offset) == (party, code, path, 7)
    assert told.reason
    if isinstance(value, dict) and shown:
        assert told.value == shown
        assert told.message_id == "m-1"
    sent = {type(emit.value): emit.topic for emit in result.emits}
    assert sent[RefusalNotice] == f"refusals.{party}"
    assert sent[DeadLetter] == ("dead.letters.restricted" if party.startswith("risk-") else "dead.letters")


RIGHT: list[tuple[Any, str]] = [
    (position(), "ktz"), (position(event_time="2026-03-01T11:09:59Z"), "ktz"), (position(event_time="2026-02-01T05:00:00+05:00"), "ktz"),
    (position(lat=None, lon=None, station="dostyk"), "ktz"), (position(lat=10.0, lon=120.0), "ktz"), (consist((BOX, BOX_2)), "ktz"),
    (consist((), ()), "ktz"), (shipment(BOX, BOX_2, version=3), "forwarder"), (seal(lat=45.3, lon=82.4), "locks"), (notice(), "customs-kz"),
    (notice(document=None, container=BOX), "customs-kz"), (notice(document=None, train=train()), "customs-kz"),
    (event("terminal.event", "dostyk-terminal", place="dostyk", what="gate_in", container=BOX), "dostyk-terminal"),
    (event("terminal.event", "any-terminal", place="warsaw", what="gate_in", container=BOX), "any-terminal"),
    (event("agency.notice", "kz-vet", agency="veterinary", what="hold", container=BOX), "kz-vet"),
    (event("network.crossing", "desk", crossing=CROSSING, state="closed"), "desk"),
    (event("train.handed_over", "ktz", train=train("cr"), crossing=CROSSING, giving="cr", receiving="ktz", wagons=[]), "ktz"),
    (event("seal.event", "customs-kz", chain="customs_lock", seal="L1", what="checked_ok", container=BOX), "customs-kz"),
    (event("filing.lodged", "ktz", authority="CN", kind="manifest", number="M-1"), "ktz"),
    (event("heartbeat", "ktz"), "ktz"),
]


@pytest.mark.parametrize(("value", "party"), RIGHT, ids=[f"{i}-{row[0]['type']}" for i, row in enumerate(RIGHT)])
def test_good_input_is_not_refused(value: dict[str, Any], party: str) -> None:
    result = put(value, party)
    assert (result.outcomes, result.refusals, result.dead_letters) == ((), (), ())
    assert bool(result.outputs[1]) is (value["type"] != "heartbeat")


@pytest.mark.parametrize(("key", "fine"), [
    (b"1402", True), (b"ktz/1402/2026-03-01", True), (None, True), (b"", True), (b"1403", False), (b"\xff\xfe", False), (b"m-1", True), (b"ktz", True),
    (BOX.encode(), False)])
def test_a_record_key_when_present_names_what_the_payload_is_about(key: bytes | None, fine: bool) -> None:
    result = put(position(), "ktz", key=key)
    assert [(o.reason, o.path) for o in result.outcomes] == ([] if fine else [("KEY_MISMATCH", "$key")])
    assert bool(result.outputs[1]) is fine
    if not fine:
        assert result.dead_letters[0].key == key


@pytest.mark.parametrize(("value", "party", "key", "fine"), [
    (seal(), "locks", BOX, True), (seal(), "locks", "csqu 305438-3", True), (seal(), "locks", BOX_2, False),
    (notice(), "customs-kz", "T-1", True), (notice(), "customs-kz", "td:T-1", True), (notice(), "customs-kz", "T-2", False),
    (shipment(BOX), "forwarder", "31046586", True), (shipment(BOX), "forwarder", "31046587", False),
    (event("filing.lodged", "forwarder", authority="PL", kind="transit", number="L-1"), "forwarder", "L-1", True),
    (event("filing.lodged", "forwarder", authority="PL", kind="transit", number="L-1"), "forwarder", "L-2", False)])
def test_keys_of_containers_and_documents(value: dict[str, Any], party: str, key: str, fine: bool) -> None:
    assert bool(put(value, party, key=key.encode()).outputs[1]) is fine


def test_a_valid_message_of_two_megabytes_is_applied() -> None:
    goods = [{"description": "plastic toys " * 15, "hs": "950300", "packages": 1, "gross_kg": 1.5} for _ in range(9_000)]
    big = event("filing.lodged", "forwarder", authority="PL", kind="transit", number="L-1", containers=[{"container": BOX, "goods": goods}])
    assert len(msgspec.json.encode(big)) > 2_000_000
    assert len(put(big, "forwarder").outputs[1]) == 1


def test_bad_records_change_nothing_for_the_good_ones_among_them() -> None:
    good = [record(position(id=f"g{i}"), "ktz", offset=i * 2) for i in range(20)]
    mixed = sorted([*good, *(record(b"\x00garbage", "ktz", offset=i * 2 + 1) for i in range(20))], key=lambda r: r.offset)
    alone, among = INTAKE.batch(topic_of("ktz"), good), INTAKE.batch(topic_of("ktz"), mixed)
    assert [out for out in among.outputs if out] == list(alone.outputs)
    assert len(among.dead_letters) == len(among.refusals) == 20
    assert among.heard == alone.heard


def test_a_repeated_run_says_the_same_bytes() -> None:
    records = [record(row[0], "ktz", offset=i) for i, row in enumerate(REFUSED) if row[1] == "ktz"]
    first, second = (msgspec.json.encode([e.value for e in INTAKE.batch(topic_of("ktz"), records).emits]) for _ in range(2))
    assert first == second


def test_a_source_that_is_only_refused_has_not_been_heard() -> None:
    assert INTAKE.batch(topic_of("ktz"), [record(b"x", "ktz")]).heard == ()
    assert INTAKE.batch(topic_of("ktz"), [record(event("heartbeat", "ktz"), "ktz")]).heard[0].heard_at == NOW
