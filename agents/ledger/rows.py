"""Turns log records into ledger rows. Pure: no database, no clock."""
from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from agents.ledger.identifiers import aliases_of, identifiers, lookup
from topics import codec
from topics.events.internal import Movement, ShipmentFacts
from topics.events.outputs import Alert, BatchOutcomes, ClearanceUpdate

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
GENESIS: Final = b"\x00" * 32
"""The link before the first."""
AT_MIN: Final = -62_135_596_800_000_000
AT_MAX: Final = 253_402_300_799_000_000
"""Years 1 to 9999: what a datetime can say."""

COLUMNS: Final[dict[str, dict[str, str]]] = {
    "event": {"topic": "text", "part": "int4", "off": "int8", "key": "text", "type": "text", "source": "text", "event_id": "text",
              "event_time": "timestamptz", "recorded": "timestamptz", "body": "json", "hash": "bytea"},
    "fact": {"shipment": "text", "side": "text", "key": "json", "scope": "text", "source": "text", "record": "text", "version": "int8", "rank": "int2",
             "at": "timestamptz", "event_id": "text", "code": "text", "value": "json", "dated": "bool", "recorded": "timestamptz", "topic": "text",
             "part": "int4", "off": "int8", "idx": "int4"},
    "status": {"shipment": "text", "side": "text", "visit": "int4", "revision": "int8", "state": "text", "basis": "text", "assessed_at": "timestamptz",
               "recorded": "timestamptz", "pack": "text", "body": "json", "topic": "text", "part": "int4", "off": "int8", "hash": "bytea"},
    "alert": {"key": "text", "seq": "int8", "name": "text", "severity": "text", "state": "text", "shipment": "text", "side": "text", "at": "timestamptz",
              "recorded": "timestamptz", "body": "json", "topic": "text", "part": "int4", "off": "int8", "hash": "bytea"},
    "outcome": {"stage": "text", "of_topic": "text", "of_part": "int4", "first_off": "int8", "last_off": "int8", "records": "int4", "exceptions": "int4",
                "recorded": "timestamptz", "body": "json", "topic": "text", "part": "int4", "off": "int8", "hash": "bytea"},
    "identifier": {"lookup": "text", "kind": "text", "value": "text", "shipment": "text", "since": "timestamptz"},
    "alias": {"lookup": "text", "other": "text"},
    "run": {"run": "text", "railway": "text", "number": "text", "date": "text"},
    "carried": {"wagon": "text", "run": "text", "container": "text"},
}
"""Columns that a writer fills, in the order of the tuples below. An array of a fact's key cannot nest in unnest, so it travels as JSON."""
PARTITIONED: Final = ("event", "fact", "status", "alert", "outcome")
LOOKUPS: Final = {"identifier": 4, "alias": 2, "run": 1, "carried": 3}
"""Tables where a row may come again, with the length of their primary key (their first columns)."""

ON_THE_WAY: Final = frozenset({"arrived", "departed", "passed"})
"""Positions that are a milestone; those between stations stay in Kafka."""


class LogRecord(msgspec.Struct, frozen=True):
    """One record of a topic as it was read: `timestamp` is its time in Kafka, microseconds UTC."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def place(self) -> tuple[str, int]:
        return self.topic, self.partition


class _Envelope(msgspec.Struct):
    """What is asked of every event before the rest."""

    type: str = ""
    source: str = ""
    id: str = ""
    event_time: datetime | None = None
    what: str = ""


_envelope = msgspec.json.Decoder(_Envelope)


def table_of(topic: str) -> str:
    """The table that holds a topic's records whole."""
    if topic == "clearance.history":
        return "status"
    if topic == "ops.alerts":
        return "alert"
    return "outcome" if topic.startswith("outcomes.") else "event"


def instant(at: int) -> datetime:
    """Microseconds UTC to a datetime with zone; clamped to what a datetime can hold."""
    return EPOCH + timedelta(microseconds=max(AT_MIN, min(at, AT_MAX)))


def micros(at: datetime) -> int:
    """A datetime with zone to microseconds UTC, exactly."""
    delta = at - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def chain(previous: bytes, record: LogRecord) -> bytes:
    """The next link: sha256 over the previous one and the record's place, time, key (where the ledger keeps it) and bytes."""
    key = _key(record).encode() if table_of(record.topic) == "event" else b""
    digest = hashlib.sha256(previous)
    for part in (f"{record.topic}/{record.partition}/{record.offset}@{record.timestamp}".encode(), key, record.value or b""):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


class Rows:
    """Rows per table, from records added one by one."""

    def __init__(self) -> None:
        self.tables: dict[str, list[tuple[Any, ...]]] = {table: [] for table in COLUMNS}

    def count(self) -> int:
        """Rows of the tables that only grow."""
        return sum(len(self.tables[table]) for table in PARTITIONED)

    def months(self) -> set[tuple[int, int]]:
        """Months of recorded time that the rows fall into."""
        found: set[tuple[int, int]] = set()
        for table in PARTITIONED:
            at = list(COLUMNS[table]).index("recorded")
            found |= {(row[at].year, row[at].month) for row in self.tables[table]}
        return found

    def add(self, record: LogRecord, link: bytes) -> bytes:
        """Rows of one record; the link after it. What is not kept whole leaves the link as it is.

        Raises topics.codec.Refused for a record that no contract describes or that no text column can hold; then nothing was added.
        """
        if record.value is None:
            return link
        table = table_of(record.topic)
        try:
            text = record.value.decode()
        except UnicodeDecodeError as error:
            raise codec.Refused("NOT_JSON", "$", repr(record.value[:40]), "not UTF-8") from error
        if "\x00" in text or "\\u0000" in text:
            raise codec.Refused("NUL_BYTE", "$", "", "a NUL is not text")
        if table == "event":
            return self._event(record, text, link)
        following = chain(link, record)
        if table == "status":
            self._status(record, text, following)
        elif table == "alert":
            self._alert(record, text, following)
        else:
            self._outcome(record, text, following)
        return following

    def _status(self, record: LogRecord, text: str, link: bytes) -> None:
        u: ClearanceUpdate = codec.decode(record.value or b"", ClearanceUpdate)
        self.tables["status"].append((
            u.shipment, u.side, u.visit, u.revision, u.state, u.basis.kind, instant(u.assessed_at), instant(record.timestamp), u.pack, text,
            record.topic, record.partition, record.offset, link))

    def _alert(self, record: LogRecord, text: str, link: bytes) -> None:
        a: Alert = codec.decode(record.value or b"", Alert)
        self.tables["alert"].append((
            a.key, a.seq, a.name, a.severity, a.state, a.shipment, a.side, instant(a.at), instant(record.timestamp), text,
            record.topic, record.partition, record.offset, link))

    def _outcome(self, record: LogRecord, text: str, link: bytes) -> None:
        said: BatchOutcomes = codec.decode(record.value or b"", BatchOutcomes)
        self.tables["outcome"].append((
            said.stage, said.topic, said.partition, said.first, said.last, said.count, len(said.exceptions), instant(record.timestamp), text,
            record.topic, record.partition, record.offset, link))

    def _event(self, record: LogRecord, text: str, link: bytes) -> bytes:
        try:
            head = _envelope.decode(record.value or b"")
        except (msgspec.DecodeError, RecursionError) as error:
            raise codec.Refused("BAD_VALUE", "$", text[:40], str(error)) from error
        if head.type == "movement":
            self._movement(record)
            return link
        if head.type == "train.inherited" or (head.type == "train.position" and head.what not in ON_THE_WAY):
            return link
        said: ShipmentFacts | None = codec.decode(record.value or b"", ShipmentFacts) if head.type == "facts" else None
        aliases = aliases_of(head.type, record.value or b"")
        following = chain(link, record)
        event_id = f"{head.source}/{head.type}/{head.id}" if head.id else ""
        at = None if head.event_time is None or head.event_time.tzinfo is None else head.event_time
        self.tables["event"].append((record.topic, record.partition, record.offset, _key(record), head.type, head.source, event_id, at,
                                     instant(record.timestamp), text, following))
        self.tables["alias"] += [pair for a, b in aliases for pair in ((a, b), (b, a))]
        if said is not None:
            self._facts(record, said)
        return following

    def _facts(self, record: LogRecord, said: ShipmentFacts) -> None:
        for index, fact in enumerate(said.facts):
            at = instant(fact.at)
            self.tables["fact"].append((
                said.shipment, fact.side, codec.encode(fact.key).decode(), fact.scope, fact.source, fact.record, fact.version, int(fact.rank), at, fact.id,
                fact.code, None if fact.value is None else codec.encode(fact.value).decode(), fact.dated, instant(record.timestamp), record.topic,
                record.partition, record.offset, index))
            if fact.value is not None:
                self.tables["identifier"] += [(lookup(value), kind, value, said.shipment, at) for kind, value in identifiers(fact)]

    def _movement(self, record: LogRecord) -> None:
        said: Movement = codec.decode(record.value or b"", Movement)
        self.tables["run"].append((said.run, said.railway, said.number, said.date))
        if said.wagon:
            self.tables["carried"].append((lookup(said.wagon), said.run, said.container))


def _key(record: LogRecord) -> str:
    return (record.key or b"").decode("utf-8", "replace").replace("\x00", "\ufffd")
