"""Finnish rail open data: real samples and made-up ones."""
from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tests.topics.samples import samples
from topics.codec import Refused
from topics.events.rail import PositionReported
from topics.formats import digitraffic
from topics.formats.parsed import Parsed

RECEIVED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(data: bytes | object, **more: object) -> Parsed:
    raw = data if isinstance(data, bytes) else msgspec.json.encode(data)
    settings = {"stations": {"HKI": "helsinki"}, "zones": {}, **more}
    return digitraffic.read(raw, source="vr", received=RECEIVED, **settings)  # type: ignore[arg-type]


def place(lat: object = 60.17, lon: object = 24.94, **more: object) -> dict[str, object]:
    return {"junanumero": 9931, "lahtopaiva": "2026-03-01", "sijainti": {"longitude": lon, "latitude": lat}, "nopeus": 74,
            "aikaleima": "2026-03-01T08:17:50.000Z", "yhteys": "OK", **more}


def test_the_real_location_list_is_in_metres_and_repeats_itself() -> None:
    data = samples("digitraffic", "train-location.json")[0].read_bytes()
    assert digitraffic.looks_like(data)
    parsed = read(data)
    assert [(r.code, r.path) for r in parsed.refusals] == [("POSITION_METRES", "$[0].sijainti")]
    assert [(r.code, r.path) for r in parsed.repeats] == [("POSITION_REPEATED", "$[1]")]
    assert parsed.events == ()


def test_the_real_running_messages_name_stations() -> None:
    data = samples("digitraffic", "train-running-message.json")[0].read_bytes()
    assert digitraffic.looks_like(data)
    first, second = read(data).events
    assert isinstance(first, PositionReported)
    assert isinstance(second, PositionReported)
    assert (first.train.number, first.train.date, first.station) == ("8593", "2015-09-24", "EPO")
    assert "UNMAPPED_STATION" in first.flags
    assert (second.station, second.flags) == ("helsinki", ())
    assert first.event_time == datetime(2015, 9, 24, 21, 0, 56, 48_000, tzinfo=UTC)
    assert (first.record, first.version, first.what) == ("1269441928", 5322983063, "at")


def test_degrees_are_a_position_and_a_bad_connection_a_flag() -> None:
    (event,) = read([place(yhteys="NOK")]).events
    assert isinstance(event, PositionReported)
    assert (event.lat, event.lon, event.speed_kmh, event.flags) == (60.17, 24.94, 74.0, ("CONNECTION_BAD",))
    assert read([place()]).events[0].flags == ()


def test_one_bad_item_does_not_touch_the_others() -> None:
    parsed = read([place(), place(lat=0, lon=0, junanumero=2), place(lat=100.5, lon=60, junanumero=3), 5, {}, place(junanumero=4, lat="60"),
                   place(junanumero="x y"), place(junanumero=6, aikaleima="2026-03-01T08:00:00")])
    assert len(parsed.events) == 1
    assert [(r.code, r.path) for r in parsed.refusals] == [
        ("POSITION_NULL_ISLAND", "$[1].sijainti"), ("POSITION_SWAPPED", "$[2].sijainti"), ("BAD_VALUE", "$[3]"), ("MISSING_FIELD", "$[4].junanumero"),
        ("BAD_VALUE", "$[5].sijainti.latitude"), ("BAD_VALUE", "$[6].junanumero"), ("MISSING_ZONE", "$[7].aikaleima")]


def test_a_zone_configured_for_the_railway_reads_a_time_without_one() -> None:
    (event,) = read([place(aikaleima="2026-03-01T10:00:00")], zones={"vr": ZoneInfo("Europe/Helsinki")}).events
    assert event.event_time == datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(("data", "code"), [(b"[", "NOT_JSON"), (b"\xff", "NOT_JSON"), (msgspec.json.encode([1] * 5_001), "TOO_MANY_ITEMS")])
def test_what_cannot_be_read_at_all_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(Refused) as caught:
        read(data)
    assert caught.value.refusal.code == code


def test_our_own_json_is_not_taken_for_it() -> None:
    assert not digitraffic.looks_like(b'{"type":"train.position"}')
    assert not digitraffic.looks_like(b'<a>"junanumero"</a>')
