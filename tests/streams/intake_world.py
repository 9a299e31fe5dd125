"""A small reference and what a test needs to put records through intake."""
from __future__ import annotations

from typing import Any

import msgspec

from streams.effects import LogRecord
from streams.intake import Intake, IntakeResult
from streams.reference.model import Authority, Crossing, Limits, Mapped, Names, Party, Place, Reference
from topics import registry
from topics.facts import HOUR

NOW_MS = 1_772_362_800_000
"""2026-03-01T11:00:00Z: append time of every record."""
NOW = NOW_MS * 1000
BOX, BOX_2 = "CSQU3054383", "MZWU2146680"
CROSSING = "CN-KZ-ALASHANKOU-DOSTYK"


def _party(id: str, role: str, country: str = "", **more: Any) -> Party:
    return Party(id=id, role=role, names=Names(id), country=country, source="D", **more)


def _place(id: str, country: str, lat: float | None = None, lon: float | None = None) -> Place:
    return Place(id=id, names=Names(id), country=country, lat=lat, lon=lon, source="D")


def _authority(code: str, zone: str, naive: bool = False) -> Authority:
    return Authority(code=code, names=Names(code), zone=zone, naive_times=naive, source="D")


PARTIES = (
    _party("ktz", "railway", "KZ"), _party("cr", "railway", "CN"), _party("vr", "railway", "FI", zone="Europe/Helsinki"),
    _party("dostyk-terminal", "terminal", "KZ", places=("dostyk",)), _party("any-terminal", "terminal", "KZ"), _party("locks", "seals", "CN"),
    _party("forwarder", "trade", "DE"), _party("zoned-forwarder", "trade", "DE", zone="Europe/Berlin"), _party("kz-vet", "agency", "KZ"),
    _party("desk", "network"), _party("ops-desk", "operations"),
)

REFERENCE = Reference(
    version="test",
    authorities={a.code: a for a in (_authority("CN", "Asia/Shanghai"), _authority("KZ", "Asia/Almaty", naive=True), _authority("PL", "Europe/Warsaw"),
                                     _authority("GB", "Europe/London", naive=True), _authority("XI", "Europe/London", naive=True))},
    parties={p.id: p for p in PARTIES},
    places={p.id: p for p in (_place("dostyk", "KZ", 45.25, 82.48), _place("warsaw", "PL", 52.2, 21.0), _place("helsinki", "FI", 60.17, 24.94),
                              _place("nowhere", "KZ"))},
    crossings={CROSSING: Crossing(id=CROSSING, names=Names(CROSSING), a="alashankou", b="dostyk", a_authority="CN", b_authority="KZ", gauge_a=1435,
                                  gauge_b=1520, source="D")},
    corridors={}, side_rows=(), agreements={}, codes={}, speeds={}, dwells={}, duty=(), risks=(),
    mapped={("station.digitraffic", "HKI"): Mapped(list="station.digitraffic", code="HKI", means="helsinki", source="D")}, limits=Limits(),
)
REGISTRY = registry.build(PARTIES, REFERENCE.authorities.values(), REFERENCE.crossings.values(), partitions=4)
INTAKE = Intake(REFERENCE, REGISTRY)


def topic_of(party: str) -> str:
    return REGISTRY.parties[party].inbound


def event(type: str, source: str, **fields: Any) -> dict[str, Any]:
    """An event as a party writes it: one minute before it is received."""
    return {"type": type, "source": source, "id": "m-1", "event_time": "2026-03-01T10:59:00Z", **fields}


def act(type: str, **fields: Any) -> dict[str, Any]:
    """What an operator does, and why."""
    return event(type, "ops-desk", **{"by": "duty officer", "reason": "the feed's clock ran ahead", **fields})


def train(railway: str = "ktz", **more: Any) -> dict[str, Any]:
    return {"railway": railway, "number": "1402", "date": "2026-03-01", **more}


def position(source: str = "ktz", **fields: Any) -> dict[str, Any]:
    return event("train.position", source, **{"train": train(source), "lat": 45.3, "lon": 82.4, **fields})


def consist(*boxes: tuple[str, ...], source: str = "ktz", **fields: Any) -> dict[str, Any]:
    wagons = [{"wagon": f"wagon-{i}", "containers": list(row)} for i, row in enumerate(boxes)]
    return event("train.consist", source, **{"train": train(source), "wagons": wagons, **fields})


def notice(source: str = "customs-kz", **fields: Any) -> dict[str, Any]:
    return event("customs.notice", source, **{"authority": "KZ", "system": "EAEU-TD", "code": "TD10", "document": {"kind": "td", "number": "T-1"}, **fields})


def record(value: Any, party: str = "ktz", *, offset: int = 0, key: bytes | None = None, headers: tuple[tuple[str, bytes], ...] = ()) -> LogRecord:
    data = value if isinstance(value, bytes) or value is None else msgspec.json.encode(value)
    return LogRecord(topic_of(party), 0, offset, NOW_MS, key, data, headers)


def put(value: Any, party: str = "", *, key: bytes | None = None, headers: tuple[tuple[str, bytes], ...] = ()) -> IntakeResult:
    """One record, between two good ones of the same party: they must be applied whatever the middle one is."""
    party = party or (value["source"] if isinstance(value, dict) else "ktz")
    beat = event("heartbeat", party)
    records = [record(beat, party, offset=6), record(value, party, offset=7, key=key, headers=headers), record(beat, party, offset=8)]
    result = INTAKE.batch(topic_of(party), records)
    assert {outcome.index for outcome in result.outcomes} <= {1}, "records around a bad one are applied"
    return result


__all__ = ["BOX", "BOX_2", "CROSSING", "HOUR", "INTAKE", "NOW", "REFERENCE", "REGISTRY", "act", "consist", "event", "notice", "position", "put",
           "record", "train"]
