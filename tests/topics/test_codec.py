"""JSON in and out: golden bytes decode for ever, any event survives the round trip, refusals name field and value."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topics import codec
from topics.codec import Refused
from topics.events.base import Event
from topics.events.outside import OutsideEvent

GOLDEN = Path(__file__).parent / "golden"
EVENTS: tuple[type[Event], ...] = get_args(OutsideEvent)
TAGS = {str(kind.__struct_config__.tag): kind for kind in EVENTS}


def test_every_event_type_has_golden_bytes() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(TAGS), "a new event needs golden bytes, an old one keeps them"


@pytest.mark.parametrize("tag", sorted(TAGS))
def test_golden_bytes_decode_and_lose_nothing(tag: str) -> None:
    data = (GOLDEN / f"{tag}.json").read_bytes()
    event: Event = codec.decode(data, OutsideEvent)
    assert type(event) is TAGS[tag]
    written = msgspec.json.decode(codec.encode(event))
    golden = msgspec.json.decode(data)
    assert {name: written.get(name) for name in golden} == golden, "no field of old bytes is dropped or changed"


@pytest.mark.parametrize("tag", sorted(TAGS))
def test_a_newer_writers_unknown_field_is_ignored(tag: str) -> None:
    raw = msgspec.json.decode((GOLDEN / f"{tag}.json").read_bytes())
    assert codec.decode(msgspec.json.encode({**raw, "field_of_the_future": {"a": [1]}}), OutsideEvent) == codec.decode(msgspec.json.encode(raw), OutsideEvent)


def text(pattern: str | None, low: int, high: int) -> st.SearchStrategy[str]:
    if pattern:
        return st.from_regex(pattern, fullmatch=True).filter(lambda t: "\n" not in t)
    return st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=low, max_size=min(high, 40))


def of(kind: msgspec.inspect.Type) -> st.SearchStrategy[object]:
    """Values of a contract's type, within its constraints."""
    i = msgspec.inspect
    if isinstance(kind, i.Metadata):
        return of(kind.type)
    if isinstance(kind, i.UnionType):
        return st.one_of([of(one) for one in kind.types])
    if isinstance(kind, i.StructType):
        required = {f.name: of(f.type) for f in kind.fields if f.required}
        optional = {f.name: of(f.type) for f in kind.fields if not f.required}
        return st.fixed_dictionaries(required, optional=optional).map(lambda fields: kind.cls(**fields))
    if isinstance(kind, i.VarTupleType):
        return st.lists(of(kind.item_type), max_size=2).map(tuple)
    if isinstance(kind, i.DictType):
        return st.dictionaries(text(None, 1, 10), of(kind.value_type), max_size=2)
    return scalar(kind)


def scalar(kind: msgspec.inspect.Type) -> st.SearchStrategy[object]:
    i = msgspec.inspect
    if isinstance(kind, i.StrType):
        return text(kind.pattern, kind.min_length or 0, kind.max_length or 40)
    if isinstance(kind, i.LiteralType):
        return st.sampled_from(kind.values)
    if isinstance(kind, i.BoolType):
        return st.booleans()
    if isinstance(kind, i.NoneType):
        return st.none()
    if isinstance(kind, i.IntType):
        return st.integers(kind.ge if kind.ge is not None else -(2**53), kind.le if kind.le is not None else 2**53)
    if isinstance(kind, i.FloatType):
        low = kind.ge if kind.ge is not None else kind.gt
        high = kind.le if kind.le is not None else None
        return st.floats(low, high, exclude_min=kind.gt is not None, allow_nan=False, allow_infinity=False)
    assert isinstance(kind, i.DateTimeType), kind
    offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
    return st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.one_of(st.just(UTC), offsets))  # noqa: DTZ001  # bounds are naive by contract


@pytest.mark.parametrize("tag", sorted(TAGS))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_any_event_survives_the_round_trip(tag: str, data: st.DataObject) -> None:
    event = data.draw(of(msgspec.inspect.type_info(TAGS[tag])))
    written = codec.encode(event)
    back: Event = codec.decode(written, OutsideEvent)
    assert back == event
    assert codec.encode(back) == written, "the same event gives the same bytes"


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        codec.decode(data, OutsideEvent)
    assert caught.value.refusal.code


BEAT = '"type":"heartbeat","source":"ktz","id":"1","event_time":"2026-01-01T00:00:00Z"'


@pytest.mark.parametrize(("raw", "code", "path", "value"), [
    ('{"type":"train.flown"}', "UNKNOWN_EVENT", "$.type", "train.flown"),
    ('{"source":"ktz"}', "MISSING_FIELD", "$.type", ""),
    ('{"type":"heartbeat","source":"ktz","event_time":"2026-01-01T00:00:00Z"}', "MISSING_FIELD", "$.id", ""),
    ('{"type":"heartbeat","source":"ktz","id":"1","event_time":"2026-01-01T00:00:00"}', "MISSING_ZONE", "$.event_time", "2026-01-01T00:00:00"),
    ('{"type":"heartbeat","source":"ktz","id":1,"event_time":"2026-01-01T00:00:00Z"}', "BAD_VALUE", "$.id", "1"),
    ('{"type":"heartbeat","source":"KTZ","id":"1","event_time":"2026-01-01T00:00:00Z"}', "BAD_VALUE", "$.source", "KTZ"),
    ('{"type":"heartbeat","source":"ktz","id":"1","event_time":"32nd of May"}', "BAD_VALUE", "$.event_time", "32nd of May"),
    ('{"type":"heartbeat","source":"ktz","id":"1","event_time":NaN}', "NOT_JSON", "$", None),
    ("[1]", "BAD_VALUE", "$", "[1]"),
    ("not json", "NOT_JSON", "$", "not json"),
    ("", "NOT_JSON", "$", ""),
    ("{" + BEAT.replace('"1"', '"a\\u0000b"') + "}", "NUL_BYTE", "$", ""),
    ('{"deep":' + "[" * 100_000 + "]" * 100_000 + f",{BEAT}}}", "TOO_DEEP", "$", None),
    (" " * (codec.BYTES_IN_MAX + 1), "TOO_LARGE", "$", f"{codec.BYTES_IN_MAX + 1} bytes"),
])
def test_a_refusal_names_code_field_and_value(raw: str, code: str, path: str, value: str | None) -> None:
    with pytest.raises(Refused) as caught:
        codec.decode(raw.encode(), OutsideEvent)
    refusal = caught.value.refusal
    assert (refusal.code, refusal.path) == (code, path)
    assert value is None or refusal.value == value
    assert refusal.reason


def test_the_same_heartbeat_without_a_fault_is_read() -> None:
    assert codec.decode(("{" + BEAT + "}").encode(), OutsideEvent).id == "1"
    assert codec.decode((" " * (codec.BYTES_IN_MAX - 200) + "{" + BEAT + "}").encode(), OutsideEvent).id == "1"
