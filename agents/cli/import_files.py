"""Which files go where, and what intake will say of them: the same pure code that the workers run, on this side of the topic."""
from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from agents.cli.common import CliError
from streams.effects import LogRecord
from streams.intake import Intake
from streams.intake.reading import FORMAT_HEADER
from streams.reference.model import Reference
from topics.codec import Refusal, Refused
from topics.formats import digitraffic, ncts5
from topics.registry import PartySpec, Registry, customs_party

FORMATS: Final = {"ncts": ".xml", "digitraffic": ".json"}
"""Command -> suffix of the files that a directory is searched for."""
HEADERS: Final = {"ncts": b"ncts5", "digitraffic": digitraffic.FORMAT.encode()}
OTHER_FILERS: Final = "filer-ncts"
FINNISH_RAILWAY: Final = "vr"
FILE_HEADER: Final = "railclear-file"
SHOWN_MAX: Final = 200


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One file on its way. An empty `topic`: it has nowhere to go, and `why` says so."""

    file: str
    data: bytes
    message: str
    topic: str = ""
    party: str = ""
    code: str = ""
    path: str = "$"
    why: str = ""
    headers: tuple[tuple[str, bytes], ...] = ()


class NotTaken(msgspec.Struct, frozen=True, kw_only=True):
    """A file, or a part of one, that was refused."""

    file: str
    code: str
    path: str
    reason: str


class MessageRow(msgspec.Struct, kw_only=True):
    """Counts of one message type."""

    message: str
    files: int = 0
    events: int = 0
    flagged: int = 0
    """Files with at least one quality flag."""
    refused: int = 0
    repeated: int = 0


class Report(msgspec.Struct, kw_only=True):
    """What became of the files."""

    files: int = 0
    sent: int = 0
    events: int = 0
    messages: dict[str, MessageRow] = {}
    flags: dict[str, int] = {}
    refusals: dict[str, int] = {}
    repeats: dict[str, int] = {}
    topics: dict[str, int] = {}
    not_taken: list[NotTaken] = []


def collect(paths: list[Path], suffix: str) -> list[Path]:
    """Files in a stable order, each once. Raises CliError."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() == suffix))
        elif path.exists():
            found[path] = None
        else:
            raise CliError(f"{path} does not exist")
    if not found:
        raise CliError(f"no {suffix} file in {', '.join(map(str, paths))}")
    return list(found)


def zones(reference: Reference) -> dict[str, tzinfo]:
    """Zones of those whose times carry none, as intake has them."""
    found: dict[str, tzinfo] = {a.code: ZoneInfo(a.zone) for a in reference.authorities.values() if a.naive_times and a.zone}
    return found | {p.id: ZoneInfo(p.zone) for p in reference.parties.values() if p.zone}


class _AnyZone(dict[str, tzinfo]):
    """To find out who speaks, any zone will do; whether a time without one counts is intake's to judge."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, default or UTC)


def plan(kind: str, files: list[Path], as_: str, reference: Reference, registry: Registry) -> list[Planned]:
    """Where every file goes. Raises CliError when --as names nobody, OSError when a file cannot be read."""
    if as_ and as_ not in registry.parties:
        raise CliError(f"--as {as_!r} is no party of the registry; there are {', '.join(sorted(registry.parties))}")
    known = _AnyZone(zones(reference))
    return [(_ncts if kind == "ncts" else _digitraffic)(str(file), file.read_bytes(), as_, registry, known) for file in files]


def _to(file: str, data: bytes, message: str, party: PartySpec, kind: str) -> Planned:
    headers = ((FORMAT_HEADER, HEADERS[kind]), (FILE_HEADER, Path(file).name.encode()[:SHOWN_MAX]))
    return Planned(file=file, data=data, message=message, topic=party.inbound, party=party.id, headers=headers)


def _ncts(file: str, data: bytes, as_: str, registry: Registry, known: Mapping[str, tzinfo]) -> Planned:
    try:
        parsed = ncts5.read(data, received=datetime.now(UTC), zones=known, origin=file)
    except Refused as refused:
        # Who sent it is not known; told explicitly, it goes the way of everything: refused by intake, kept as a dead letter.
        if as_:
            return _to(file, data, "unreadable", registry.parties[as_], "ncts")
        return Planned(file=file, data=data, message="unreadable", code=refused.refusal.code, path=refused.refusal.path,
                       why=f"{refused.refusal.reason or refused.refusal.value}; --as PARTY sends it all the same")
    if as_:
        return _to(file, data, parsed.message, registry.parties[as_], "ncts")
    if parsed.speaker == "authority":
        party = registry.parties.get(customs_party(parsed.authority))
        why = f"{parsed.authority} is no authority of the registry: add it to the overlay"
    else:
        party = _filer(parsed.party, registry)
        why = f"the filer {parsed.party!r} is no party of the registry: add it to the overlay, or give --as PARTY"
    if party is None:
        return Planned(file=file, data=data, message=parsed.message, code="NO_PARTY", path="$.messageSender", why=why)
    return _to(file, data, parsed.message, party, "ncts")


def _filer(named: str, registry: Registry) -> PartySpec | None:
    """The filer by its identification number if it is a party, else the party that stands for those without a topic of their own."""
    return registry.parties.get(named) or registry.parties.get(OTHER_FILERS)


def _digitraffic(file: str, data: bytes, as_: str, registry: Registry, known: Mapping[str, tzinfo]) -> Planned:
    party = registry.parties.get(as_ or FINNISH_RAILWAY)
    if party is None:
        return Planned(file=file, data=data, message=digitraffic.FORMAT, code="NO_PARTY", why=f"no {FINNISH_RAILWAY!r} in the registry: give --as PARTY")
    return _to(file, data, digitraffic.FORMAT, party, "digitraffic")


def judge(kind: str, planned: list[Planned], reference: Reference, registry: Registry) -> Report:
    """What intake says of these records, file by file."""
    intake, now = Intake(reference, registry), int(time.time() * 1000)
    report = Report()
    flags: Counter[str] = Counter()
    for index, one in enumerate(planned):
        report.files += 1
        row = report.messages.setdefault(one.message, MessageRow(message=one.message))
        row.files += 1
        if not one.topic:
            _refused(report, row, NotTaken(file=one.file, code=one.code, path=one.path, reason=one.why))
            continue
        record = LogRecord(one.topic, 0, index, now, None, one.data, one.headers)
        result = intake.batch(one.topic, [record])
        events = len({(type(e.value), getattr(e.value, "id", "")) for emits in result.outputs for e in emits})
        report.events += events
        row.events += events
        row.flagged += bool(result.flags)
        flags.update(result.flags)
        for notice in result.refusals:
            _refused(report, row, NotTaken(file=one.file, code=notice.code, path=notice.path, reason=notice.reason or notice.value))
        for repeat in _repeats(kind, one, reference):
            row.repeated += 1
            report.repeats[repeat.code] = report.repeats.get(repeat.code, 0) + 1
    report.flags = dict(flags)
    return report


def _repeats(kind: str, one: Planned, reference: Reference) -> tuple[Refusal, ...]:
    """Parts that repeat another part. Intake's outcome of a record names them only where nothing worse is to be named."""
    if kind != "digitraffic":
        return ()
    try:
        return digitraffic.read(one.data, source=one.party, received=datetime.now(UTC), stations={}, zones=zones(reference)).repeats
    except Refused:
        return ()


def _refused(report: Report, row: MessageRow, one: NotTaken) -> None:
    row.refused += 1
    report.refusals[one.code] = report.refusals.get(one.code, 0) + 1
    report.not_taken.append(one)
