"""Turns log records into ledger rows. Pure: no database, no clock."""
from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from topics import codec
from topics.events.internal import ShipmentFacts
from topics.events.outputs import Alert, BatchOutcomes, ClearanceUpdate
from topics.facts import Fact

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GENESIS = b"\x00" * 32


class LogRecord(msgspec.Struct, frozen=True):
    """One record of a topic as it was read: `timestamp` is the broker's append time, microseconds UTC."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Rows(msgspec.Struct):
    """Column lists per table, ready for unnest."""

    event: list[tuple[Any, ...]] = []
    fact: list[tuple[Any, ...]] = []
    status: list[tuple[Any, ...]] = []
    alert: list[tuple[Any, ...]] = []
    outcome: list[tuple[Any, ...]] = []
    identifier: list[tuple[Any, ...]] = []

    def count(self) -> int:
        return sum(len(getattr(self, f)) for f in self.__struct_fields__)

    def months(self) -> set[tuple[int, int]]:
        """Months of recorded time that the rows fall into."""
        found: set[tuple[int, int]] = set()
        for name, at in (("event", 8), ("fact", 13), ("status", 7), ("alert", 8), ("outcome", 7)):
            found |= {(row[at].year, row[at].month) for row in getattr(self, name)}
        return found


def instant(at: int) -> datetime:
    """Microseconds UTC to a datetime with zone; clamped to what a timestamp column can hold."""
    return EPOCH + timedelta(microseconds=max(0, min(at, 253_402_300_799_000_000)))


def micros(at: datetime) -> int:
    """A datetime with zone to microseconds UTC, exactly."""
    delta = at - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def chain(previous: bytes, record: LogRecord) -> bytes:
    """The next link: sha256 over the previous hash and the record's place, key and bytes."""
    digest = hashlib.sha256(previous)
    for part in (f"{record.topic}/{record.partition}/{record.offset}".encode(), record.key or b"", record.value or b""):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def rows_of(records: Iterable[LogRecord], previous: bytes) -> tuple[Rows, bytes]:
    """Rows of consecutive records of one (topic, partition), and the last hash.

    Raises topics.codec.Refused for a record that no contract describes: the caller parks it.
    """
    rows, link = Rows(), previous
    for record in records:
        link = chain(link, record)
        if record.value is None:
            continue
        if record.topic == "clearance.history":
            _status(rows, record, link)
        elif record.topic == "ops.alerts":
            _alert(rows, record, link)
        elif record.topic.startswith("outcomes."):
            _outcome(rows, record, link)
        else:
            _event(rows, record, link)
    return rows, link


def _json(value: object) -> str:
    return codec.encode(value).decode()


def _status(rows: Rows, record: LogRecord, link: bytes) -> None:
    update: ClearanceUpdate = codec.decode(record.value or b"", ClearanceUpdate)
    rows.status.append((
        update.shipment, update.side, update.visit, update.revision, update.state, update.basis.kind, instant(update.assessed_at),
        instant(record.timestamp), update.pack, (record.value or b"").decode(), record.topic, record.partition, record.offset, link,
    ))


def _alert(rows: Rows, record: LogRecord, link: bytes) -> None:
    alert: Alert = codec.decode(record.value or b"", Alert)
    rows.alert.append((
        alert.key, alert.seq, alert.name, alert.severity, alert.state, alert.shipment, alert.side, instant(alert.at),
        instant(record.timestamp), (record.value or b"").decode(), record.topic, record.partition, record.offset, link,
    ))


def _outcome(rows: Rows, record: LogRecord, link: bytes) -> None:
    said: BatchOutcomes = codec.decode(record.value or b"", BatchOutcomes)
    rows.outcome.append((
        said.stage, said.topic, said.partition, said.first, said.last, said.count, _json(said.exceptions), instant(record.timestamp),
        record.topic, record.partition, record.offset, link,
    ))


def _event(rows: Rows, record: LogRecord, link: bytes) -> None:
    body = msgspec.json.decode(record.value or b"{}")
    if not isinstance(body, dict):
        raise codec.Refused("BAD_VALUE", "$", type(body).__name__, "a message is an object")
    kind = str(body.get("type", ""))
    source, event_id = str(body.get("source", "")), str(body.get("id") or body.get("origin") or "")
    event_time = body.get("event_time")
    at = msgspec.convert(event_time, datetime) if isinstance(event_time, str) else None
    key = (record.key or b"").decode("utf-8", "replace")
    rows.event.append((
        record.topic, record.partition, record.offset, key, kind, source, event_id, at, instant(record.timestamp),
        (record.value or b"").decode(), link,
    ))
    if kind == "facts":
        said: ShipmentFacts = codec.decode(record.value or b"", ShipmentFacts)
        for index, fact in enumerate(said.facts):
            _fact(rows, record, link, said.shipment, index, fact)


def _fact(rows: Rows, record: LogRecord, link: bytes, shipment: str, index: int, fact: Fact) -> None:
    at = instant(fact.at)
    rows.fact.append((
        shipment, fact.side, list(fact.key), fact.scope, fact.source, fact.record, fact.version, int(fact.rank), at, fact.id, fact.code,
        None if fact.value is None else _json(fact.value), fact.dated, instant(record.timestamp), record.topic, record.partition,
        record.offset, index, link,
    ))
    if fact.value is not None:
        rows.identifier += [(kind, value, shipment, at) for kind, value in identifiers(fact)]


def identifiers(fact: Fact) -> list[tuple[str, str]]:
    """Outside identifiers that this fact ties to its shipment: what `railclear status ANY-ID` finds."""
    head = fact.key[0] if fact.key else ""
    if head == "bound" and fact.scope:
        return [("container", fact.scope)]
    if head == "doc" and len(fact.key) == 4:
        named = [(fact.key[1], fact.key[2])]
        if isinstance(fact.value, str) and fact.value:
            named.append((fact.key[1], fact.value))
        return named
    if head == "run" and isinstance(fact.value, str):
        return [("run", fact.value)]
    if head == "alias" and isinstance(fact.value, str):
        return [("alias", fact.value)]
    if head == "shipment" and isinstance(fact.value, dict):
        document = fact.value.get("document")
        if isinstance(document, dict) and document.get("number"):
            return [(str(document.get("kind", "document")), str(document["number"]))]
    return []
