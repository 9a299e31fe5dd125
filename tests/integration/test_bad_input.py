"""Bad input on the real path: each record is refused by name, told to its sender, kept whole; what stands around it is applied."""
from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from agents import reference as reference_files
from agents.demo.crew import SPLIT, Crew
from agents.demo.play import provision
from agents.demo.reader import Reader
from agents.embedded import EmbeddedServers
from agents.places import places
from agents.settings import group_of
from topics import registry as topic_registry
from topics.events.outputs import ClearanceUpdate, DeadLetter, RefusalNotice

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

FORWARDER, RAILWAY, CUSTOMS = "forwarder-alpha", "ktz", "customs-kz"
BOXES = ("CSQU3054383", "MZWU2146680")
NOW = datetime.now(UTC).replace(microsecond=0).isoformat()


def event(kind: str, source: str, number: int, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "source": source, "id": f"bad-{number}", "event_time": NOW, **fields}


def shipment(number: int, box: str = BOXES[0], **fields: Any) -> dict[str, Any]:
    document = {"kind": "smgs", "number": f"3104{number:04d}", "issuer": "cr", "station": "alashankou", "date": "2026-03-01"}
    return event("shipment.declared", FORWARDER, number, document=document, corridor="WEST-A", direction="west", containers=[{"container": box}], **fields)


def position(number: int, **fields: Any) -> dict[str, Any]:
    train = {"railway": RAILWAY, "number": "1402", "date": NOW[:10]}
    return event("train.position", RAILWAY, number, **{"train": train, "lat": 45.25, "lon": 82.48, **fields})


def consist(number: int, *boxes: str) -> dict[str, Any]:
    return event("train.consist", RAILWAY, number, train={"railway": RAILWAY, "number": "1402", "date": NOW[:10]},
                 wagons=[{"wagon": "94768123", "containers": list(boxes)}])


def raw(value: object) -> bytes:
    return value if isinstance(value, bytes) else msgspec.json.encode(value)


def without_zone(value: dict[str, Any]) -> dict[str, Any]:
    return value | {"event_time": NOW[:19]}


def big(number: int, **fields: Any) -> dict[str, Any]:
    """A valid declaration of two megabytes: many goods lines."""
    goods = [{"description": f"machine parts {n} " + "x" * 120, "hs": "847989", "packages": 1, "gross_kg": 10.5} for n in range(10_000)]
    value = shipment(number, BOXES[1], **fields)
    value["containers"] = [{"container": BOXES[1], "goods": goods}]
    assert 1_900_000 < len(raw(value)) < 3_900_000
    return value


# party, key, value, code of the refusal ("" = applied), field path
SENT: tuple[tuple[str, str | None, object, str, str], ...] = (
    (FORWARDER, None, shipment(1), "", ""),
    (FORWARDER, None, b"{this is not json", "NOT_JSON", "$"),
    (FORWARDER, None, shipment(2) | {"containers": "none"}, "BAD_VALUE", "$.containers"),
    (FORWARDER, None, without_zone(shipment(3)), "MISSING_ZONE", "$.event_time"),
    (FORWARDER, None, shipment(4) | {"type": "shipment.teleported"}, "UNKNOWN_EVENT", "$.type"),
    (FORWARDER, None, shipment(5, "CSQU3054384"), "CHECK_DIGIT", "$.containers[0].container"),
    (FORWARDER, None, shipment(6) | {"source": "forwarder-beta"}, "NOT_YOURS", "$.source"),
    (FORWARDER, "MZWU2146680-other", shipment(7), "KEY_MISMATCH", "$key"),
    (FORWARDER, None, b"\x00\xff" * 1_000_000, "", "garbage"),
    (FORWARDER, None, big(8), "", ""),
    (FORWARDER, None, raw(shipment(9)).replace(b'"bad-9"', b'"bad\\u0000-9"'), "NUL_BYTE", "$"),
    (FORWARDER, None, shipment(10) | {"event_time": "9999-01-01T00:00:00Z"}, "", "time"),
    (FORWARDER, None, shipment(11), "", ""),
    (RAILWAY, None, position(20), "", ""),
    (RAILWAY, None, raw(position(21)).replace(b"45.25", b"NaN"), "NOT_JSON", "$"),
    (RAILWAY, None, position(22, lat=5_012_345.0, lon=9_181_234.0), "POSITION_METRES", "$.lat"),
    (RAILWAY, None, consist(23, BOXES[0], BOXES[1], BOXES[0]), "CONTAINER_TWICE", "$.wagons[0].containers[2]"),
    (RAILWAY, None, consist(24, *BOXES), "", ""),
    (CUSTOMS, None, event("customs.notice", CUSTOMS, 30, authority="KZ", system="GENERIC", code="HOLD", container=BOXES[0], reference="H1"), "", ""),
    (CUSTOMS, None, event("customs.notice", CUSTOMS, 31, authority="CN", system="GENERIC", code="HOLD", container=BOXES[0]), "NOT_YOURS", "$.authority"),
)


class Told:
    """What came out, read from outside."""

    def __init__(self) -> None:
        self.notices: dict[str, list[RefusalNotice]] = defaultdict(list)
        self.letters: list[DeadLetter] = []
        self.updates: list[ClearanceUpdate] = []
        self.places: list[tuple[str, int, int]] = []


@pytest.fixture(scope="module")
def told(embedded: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    known = reference_files.load(None)
    registry = topic_registry.build(known.parties.values(), known.authorities.values(), known.crossings.values(), partitions=2)
    provision(embedded.bootstrap, registry)
    crew = Crew(Path(tmp_path_factory.mktemp("workers")), ["--bootstrap", embedded.bootstrap, "--partitions", "2"], {"RAILCLEAR_DSN": embedded.dsn})
    crew.start()
    try:
        crew.wait()
        yield asyncio.run(play(embedded.bootstrap, registry))
    finally:
        crew.stop(kill=True)


async def play(bootstrap: str, registry: topic_registry.Registry) -> Told:
    found = Told()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_request_size=8 << 20)
    await producer.start()
    for party, key, value, _, _ in SENT:
        topic = registry.parties[party].inbound
        done = await producer.send_and_wait(topic, raw(value), key=key.encode() if key else None, partition=0, headers=[("trace", b"t-1")])
        found.places.append((topic, 0, done.offset))
    await producer.stop()
    reader = Reader(bootstrap, registry, tuple(group_of("railclear", stages) for stages in SPLIT), ())
    await reader.drained()
    assert (await reader.account()).unaccounted == 0
    await read(bootstrap, [registry.parties[p].refusals for p in (FORWARDER, RAILWAY, CUSTOMS)] + ["dead.letters", "clearance.history"], found)
    return found


async def read(bootstrap: str, topics: list[str], found: Told) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest", max_partition_fetch_bytes=16 << 20)
    await consumer.start()
    try:
        partitions = await places(consumer, topics)
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        limit = time.monotonic() + 60
        while any([await consumer.position(tp) < end for tp, end in ends.items()]) and time.monotonic() < limit:
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    if tp.topic.startswith("refusals."):
                        found.notices[tp.topic].append(msgspec.json.decode(record.value, type=RefusalNotice))
                    elif tp.topic == "dead.letters":
                        found.letters.append(msgspec.json.decode(record.value, type=DeadLetter))
                    else:
                        found.updates.append(msgspec.json.decode(record.value, type=ClearanceUpdate))
    finally:
        await consumer.stop()


@pytest.mark.parametrize("index", range(len(SENT)), ids=[f"{i}-{row[3] or row[4] or 'applied'}" for i, row in enumerate(SENT)])
def test_each_record_ends_as_it_should(told: Told, index: int) -> None:
    party, _, value, code, path = SENT[index]
    place = told.places[index]
    letters = [x for x in told.letters if (x.topic, x.partition, x.offset) == place]
    notices = [n for n in told.notices[f"refusals.{party}"] if (n.topic, n.partition, n.offset) == place]
    if not code and not path:
        assert letters == []
        assert notices == []
        return
    assert len(letters) == 1
    assert len(notices) == 1
    assert letters[0].value == raw(value), "the original bytes"
    assert ("trace", b"t-1") in letters[0].headers
    assert letters[0].code == notices[0].code
    if code:
        assert (notices[0].code, notices[0].path) == (code, path)
    else:
        assert notices[0].code in {"garbage": {"NUL_BYTE", "NOT_JSON"}, "time": {"EVENT_TIME_FUTURE", "EVENT_TIME_IMPLAUSIBLE"}}[path]
    if b"bad-" in raw(value) and code not in ("NUL_BYTE", "NOT_JSON"):
        assert notices[0].message_id.startswith("bad-"), "the sender finds its own message again"


def test_the_shipments_around_the_bad_records_have_statuses_and_the_hold_is_on_one_of_them(told: Told) -> None:
    documents = {u.document for u in told.updates}
    assert {"smgs 31040001", "smgs 31040008", "smgs 31040011"} <= documents
    assert not documents & {f"smgs 3104{n:04d}" for n in (2, 3, 4, 5, 6, 7, 9, 10)}
    assert any(u.state == "HELD" and u.basis.kind == "AUTHORITY" for u in told.updates)
