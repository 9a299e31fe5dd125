"""GPS positions take a short way through intake, and come out as by the long one: the same bytes, addresses, refusals and flags."""
from __future__ import annotations

import random

import msgspec
import pytest

from agents import reference as reference_files
from streams.effects import LogRecord
from streams.intake import Intake
from streams.intake.swift import Swift
from tests.bench.positions import MINUTE, load_of
from topics import codec, registry
from topics.events.rail import PositionReported

REFERENCE = reference_files.load(None)
KNOWN = registry.build(REFERENCE.parties.values(), REFERENCE.authorities.values(), REFERENCE.crossings.values(), partitions=2)


def changed(event: PositionReported, rng: random.Random) -> bytes:
    """One thing that a position may have wrong or that makes it unusual."""
    one = msgspec.structs.replace
    train = event.train
    whole = codec.encode(event)
    structs = (
        event, one(event, lat=0.0, lon=0.0), one(event, lat=event.lon, lon=event.lat), one(event, lon=None), one(event, flags=("X",)),
        one(event, station="dostyk", lat=None, lon=None), one(event, station="nowhere"), one(event, container="RCLU0000005"),
        one(event, train=one(train, date="2026-02-31")), one(event, train=one(train, railway="rzd")), one(event, source="rzd"),
        one(event, event_time=event.event_time.replace(year=2001)), one(event, event_time=event.event_time.replace(year=2027)),
        one(event, event_time=event.event_time.replace(month=12)), one(event, received_time=event.event_time),
        one(event, code="c", record="r", version=4, item="i", date_only=True, what="passed", speed_kmh=None), one(event, id="\u0434\"\\"),
    )
    said = (
        whole[:-5], b" " + whole, b"null", b"", b'{"junanumero":' + whole[1:], msgspec.json.format(whole), whole.replace(b'Z"', b'"', 1),
        whole.replace(b'"type"', b'"x":1,"type"', 1), whole.replace(b'"id":"', b'"id":"\\u0000', 1), whole.replace(b'"lat":', b'"lat":1e6,"y":', 1),
        *(whole.replace(b'"lat":', more + b',"lat":', 1) for more in (
            b'"version":-1', b'"what":"gone"', b'"code":7', b'"record":null', b'"item":"' + b"x" * 201 + b'"', b'"flags":[1]', b'"date_only":0')),
        whole.replace(b'"number":"', b'"number":"x', 1), whole.replace(b'"date":"', b'"date":"1', 1), whole.replace(b'"origin":', b'"origin":7,"x":', 1),
        whole.replace(b'"train":{', b'"train":{ "x":[1, 2], ', 1), whole.replace(b'"speed_kmh":', b'"speed_kmh":401,"x":', 1),
    )
    return rng.choice((*said, *(codec.encode(s) for s in structs)))


@pytest.mark.parametrize("party", ["cr", "terminal-khorgos"])
def test_the_short_way_through_intake_says_what_the_long_one_says(party: str, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = next((t.name for t in KNOWN.inbound if t.party == party), next(t.name for t in KNOWN.inbound if KNOWN.parties[t.party].role == "terminal"))
    rng = random.Random(3)
    load = load_of(REFERENCE, trains=5, positions=3_000)
    records = []
    for n, (key, event) in enumerate(load.positions):
        at = int(event.event_time.timestamp() * 1e3) + MINUTE // 1_000
        value = codec.encode(event) if n % 3 == 0 else changed(event, rng)
        name = rng.choice((key.encode(), event.train.number.encode(), None, b"", b"other", b"\xff", key.lower().encode()))
        headers = rng.choice(((), (("ce_type", b"x"),), (("railclear-format", b"json"),), (("railclear-format", b"ncts5"),)))
        records.append(LogRecord(topic, 0, n, at, name, value if n % 97 else None, headers))
    gate = Intake(REFERENCE, KNOWN)
    short = gate.batch(topic, records)
    taken = []
    real = Swift.judge
    monkeypatch.setattr(Swift, "judge", lambda self, record, at: taken.append(real(self, record, at)))
    long = gate.batch(topic, records)
    assert short == long
    assert [codec.encode(e.value) for e in short.emits if e.value is not None] == [codec.encode(e.value) for e in long.emits if e.value is not None]
    if party == "cr":
        assert 100 < sum(1 for one in taken if one is not None) < 1_200
        assert short.refusals
        assert short.flags
    else:
        assert not taken
