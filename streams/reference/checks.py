"""What a reference row must satisfy by itself. `links` checks what it points at."""
from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streams.reference import words
from streams.reference.model import (
    Agreement,
    Authority,
    CodeRow,
    Corridor,
    Crossing,
    DutyLine,
    Dwell,
    Mapped,
    Party,
    Place,
    RiskRow,
    Row,
    SideRow,
    Speed,
)
from streams.reference.refused import ReferenceRefused, Where
from streams.reference.templates import check_code
from streams.reference.working import HoursRefused, parse_hours
from topics.identifiers import BadIdentifier, parse_esr

_AUTHORITY = re.compile(r"[A-Z]{2}")
_PARTY = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_PLACE = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")
_CROSSING = re.compile(r"[A-Z]{2}-[A-Z]{2}(-[A-Z0-9]+)+")
_CORRIDOR = re.compile(r"[A-Z0-9]+(-[A-Z0-9]+)*")
_UNLOCODE = re.compile(r"[A-Z]{2}[A-Z2-9]{3}")
_MEMBER = re.compile(r"presented|(registered|released|ended):([a-z_]+)")
GAUGES = frozenset({1435, 1520})


def check_row(row: Row, where: Where, shipped: bool) -> None:
    """Raises ReferenceRefused when the row is not sound by itself. Shipped rows of unsure origin must be disabled."""
    _evidence(where, "source", row.source)
    _one_of(where, "certainty", row.certainty, words.CERTAINTIES)
    begins, ends = _iso_date(where, "valid_from", row.valid_from), _iso_date(where, "valid_to", row.valid_to)
    if begins and ends and begins >= ends:
        raise ReferenceRefused(where, "valid_to", f"{row.valid_to} is not after valid_from {row.valid_from}")
    if shipped and row.enabled and "M?" in row.source.split():
        raise ReferenceRefused(where, "enabled", "a row of unsure origin [M?] is off by default")
    match row:
        case Authority():
            _authority(row, where)
        case Party():
            _match(where, "id", row.id, _PARTY)
            _one_of(where, "role", row.role, words.PARTY_ROLES)
            _zone(where, "zone", row.zone)
            _not_negative(where, "heartbeat_minutes", row.heartbeat_minutes)
        case Place():
            _place(row, where)
        case Crossing():
            _crossing(row, where)
        case Corridor():
            _corridor(row, where)
        case Speed():
            _rising(where, "km_per_hour_p50", (row.km_per_hour_p10, row.km_per_hour_p50, row.km_per_hour_p90), least=1.0)
        case Dwell():
            _one_of(where, "direction", row.direction, words.DIRECTIONS - {""})
            _rising(where, "hours_p50", (row.hours_p10, row.hours_p50, row.hours_p90), least=0.0)
        case SideRow():
            _side(row, where)
        case Agreement():
            _agreement(row, where)
        case CodeRow():
            check_code(row, where)
        case RiskRow():
            _risk(row, where)
        case DutyLine():
            _hours(where, "hours", row.hours)
        case Mapped():
            if not row.means:
                raise ReferenceRefused(where, "means", "a mapping says what its code means")


def _authority(row: Authority, where: Where) -> None:
    _match(where, "code", row.code, _AUTHORITY)
    _one_of(where, "union", row.union, words.UNIONS | {""})
    _zone(where, "zone", row.zone, needed=True)
    _all_of(where, "transit", row.transit, words.CONVENTIONS)
    _all_of(where, "systems", row.systems, words.SYSTEMS)
    try:
        re.compile(row.office_pattern)
    except re.error as error:
        raise ReferenceRefused(where, "office_pattern", f"no regular expression: {error}") from error


def _place(row: Place, where: Where) -> None:
    _match(where, "id", row.id, _PLACE)
    _match(where, "country", row.country, _AUTHORITY)
    _one_of(where, "kind", row.kind, words.PLACE_KINDS)
    _zone(where, "zone", row.zone)
    if (row.lat is None) != (row.lon is None):
        raise ReferenceRefused(where, "lon" if row.lon is None else "lat", "latitude and longitude come together or not at all")
    if row.lat is not None and row.lon is not None:
        if not -90 <= row.lat <= 90:
            raise ReferenceRefused(where, "lat", f"{row.lat} is no latitude in degrees")
        if not -180 <= row.lon <= 180:
            raise ReferenceRefused(where, "lon", f"{row.lon} is no longitude in degrees")
        if not row.coordinate_source:
            raise ReferenceRefused(where, "coordinate_source", "coordinates say where they are from")
    for gauge in row.gauge:
        if gauge not in GAUGES:
            raise ReferenceRefused(where, "gauge", f"{gauge} mm is neither 1435 nor 1520")
    if row.esr:
        try:
            parse_esr(row.esr)
        except BadIdentifier as error:
            raise ReferenceRefused(where, "esr", str(error)) from error
    if row.unlocode and (not _UNLOCODE.fullmatch(row.unlocode) or row.unlocode[:2] != row.country):
        raise ReferenceRefused(where, "unlocode", f"{row.unlocode} is no UN/LOCODE of {row.country}")
    if not 0 < row.radius_km <= 100:
        raise ReferenceRefused(where, "radius_km", "a geofence is more than 0 and at most 100 km")


def _crossing(row: Crossing, where: Where) -> None:
    _match(where, "id", row.id, _CROSSING)
    if row.a == row.b:
        raise ReferenceRefused(where, "b", "a crossing joins two stations")
    if row.a_authority == row.b_authority:
        raise ReferenceRefused(where, "b_authority", "a crossing has two authorities, one on each side")
    for name, gauge in (("gauge_a", row.gauge_a), ("gauge_b", row.gauge_b)):
        if gauge not in GAUGES:
            raise ReferenceRefused(where, name, f"{gauge} mm is neither 1435 nor 1520")
    for authority, hours in row.calendar.items():
        _hours(where, f"calendar.{authority}", hours)
    if row.gap_hours < 0:
        raise ReferenceRefused(where, "gap_hours", "a running time is not negative")


def _corridor(row: Corridor, where: Where) -> None:
    _match(where, "id", row.id, _CORRIDOR)
    if len(row.places) < 2 or not row.crossings:
        raise ReferenceRefused(where, "places", "a corridor has at least two places and one crossing")
    if len(set(row.places)) != len(row.places):
        raise ReferenceRefused(where, "places", "a corridor passes a place once")


def _side(row: SideRow, where: Where) -> None:
    _one_of(where, "kind", row.kind, words.SIDE_KINDS)
    _one_of(where, "union", row.union, words.UNIONS | {""})
    if row.authority and row.union:
        raise ReferenceRefused(where, "union", "a row is for an authority or for a union, not for both")
    _one_of(where, "direction", row.direction, words.DIRECTIONS)
    _one_of(where, "procedure", row.procedure, words.PROCEDURES)
    _one_of(where, "office_role", row.office_role, words.OFFICE_ROLES)
    if row.office_role and row.kind != "OFFICE":
        raise ReferenceRefused(where, "office_role", "only an OFFICE has one")
    _all_of(where, "chains", row.chains, words.CHAINS)
    for name, kinds in (("per_visit", row.per_visit), ("per_run", row.per_run), ("transit", row.transit), ("presenters", row.presenters),
                        ("by", tuple(row.by))):
        _all_of(where, name, kinds, words.DOCUMENT_KINDS)
    _filings(row, where)
    _release(row, where)


def _filings(row: SideRow, where: Where) -> None:
    seen: set[str] = set()
    for filing in row.filings:
        field = f"filings.{filing.kind}"
        _one_of(where, field, filing.kind, words.DOCUMENT_KINDS)
        if filing.kind in seen:
            raise ReferenceRefused(where, field, "one filing row per kind")
        seen.add(filing.kind)
        _one_of(where, f"{field}.role", filing.role, words.FILER_ROLES)
        _one_of(where, f"{field}.system", filing.system, words.SYSTEMS | {""})
        _evidence(where, f"{field}.source", filing.source)
        _one_of(where, f"{field}.certainty", filing.certainty, words.CERTAINTIES)
        _one_of(where, f"{field}.basis", filing.basis, frozenset({"legal", "operational"}))
        if (filing.lead_minutes is not None) != bool(filing.clock_ref):
            raise ReferenceRefused(where, f"{field}.clock_ref", "a lead time and the clock it is counted from come together")
        if filing.clock_ref:
            _one_of(where, f"{field}.clock_ref", filing.clock_ref, words.CLOCK_REFS)
        if filing.lead_minutes_short is not None and (filing.lead_minutes is None or filing.lead_minutes_short > filing.lead_minutes):
            raise ReferenceRefused(where, f"{field}.lead_minutes_short", "the short lead is not longer than the usual one")
        if filing.before and (filing.before == filing.kind or filing.before not in {f.kind for f in row.filings}):
            raise ReferenceRefused(where, f"{field}.before", "the other filing is one of this row")
        if filing.answer_minutes is not None and filing.answer_minutes <= 0:
            raise ReferenceRefused(where, f"{field}.answer_minutes", "an answer takes at least a minute")
        if filing.validity_days is not None and filing.validity_days <= 0:
            raise ReferenceRefused(where, f"{field}.validity_days", "a validity is at least one day")


def _release(row: SideRow, where: Where) -> None:
    """Every side has a group that decides on the goods, and only its own authority can satisfy it; a TERRITORY decides nothing."""
    if row.kind == "TERRITORY":
        if row.release or row.decision or row.filings:
            raise ReferenceRefused(where, "release", "a TERRITORY shows demands only")
        return
    if not row.decision:
        raise ReferenceRefused(where, "decision", "no group decides on the goods: the side could never be released")
    members = {member for group in row.release for member in group}
    for name, listed in (("release", members), ("decision", row.decision), ("not_observed", row.not_observed)):
        for member in listed:
            found = _MEMBER.fullmatch(member)
            if not found or (found.group(2) and found.group(2) not in words.DOCUMENT_KINDS):
                raise ReferenceRefused(where, name, f"{member!r} is no member of a release set")
    if any(not group for group in row.release):
        raise ReferenceRefused(where, "release", "an empty group")
    if not any(set(row.decision) <= set(group) for group in row.release):
        raise ReferenceRefused(where, "decision", "the deciding members stand together in one group of the release set")
    if any(not member.startswith("released:") for member in row.decision):
        raise ReferenceRefused(where, "decision", "only a release decides on the goods")
    deciding = {member.partition(":")[2] for member in row.decision}
    for kind, union in row.by.items():
        if kind in deciding:
            raise ReferenceRefused(where, "by", f"{kind} decides on the goods: only the side's own authority can say it")
        _one_of(where, "by", union, words.UNIONS | words.CONVENTIONS)
    for member in row.not_observed:
        if member in row.decision or member not in members:
            raise ReferenceRefused(where, "not_observed", f"{member} is the decision or no member of the release set")


def _agreement(row: Agreement, where: Where) -> None:
    _one_of(where, "kind", row.kind, words.AGREEMENT_KINDS)
    if len(row.parties) < 2 or len(set(row.parties)) != len(row.parties):
        raise ReferenceRefused(where, "parties", "an agreement is between two or more different parties")
    _iso_date(where, "signed", row.signed, also_month=True)
    _iso_date(where, "in_force", row.in_force)
    if row.enabled and not row.in_force:
        raise ReferenceRefused(where, "in_force", "an enabled agreement has the date since which it is in force")
    allowed = words.EXCHANGE_FIELDS if row.kind == "exchange" else words.CONTROL_TYPES | words.EXCHANGE_FIELDS
    _all_of(where, "scope", row.scope, allowed)
    for member in row.auto_release:
        found = _MEMBER.fullmatch(member)
        if not found or (found.group(2) and found.group(2) not in words.DOCUMENT_KINDS):
            raise ReferenceRefused(where, "auto_release", f"{member!r} is no member of a release set")


def _risk(row: RiskRow, where: Where) -> None:
    _one_of(where, "risk_class", row.risk_class, words.RISK_CLASSES)
    _one_of(where, "kind", row.kind, words.RISK_KINDS)
    _one_of(where, "strength", row.strength, words.STRENGTHS)
    _one_of(where, "direction", row.direction, words.DIRECTIONS)
    _one_of(where, "language", row.language, words.LANGUAGES)
    if row.kind == "hs" and not re.fullmatch(r"\d{2}|\d{4}|\d{5}|\d{6}", row.value):
        raise ReferenceRefused(where, "value", "an HS prefix has 2, 4, 5 or 6 digits")
    if row.kind == "un" and not re.fullmatch(r"\d{4}", row.value):
        raise ReferenceRefused(where, "value", "a UN number has four digits")
    if row.kind == "cas" and not _cas_ok(row.value):
        raise ReferenceRefused(where, "value", f"{row.value} is no CAS number: its check digit is wrong")


def _cas_ok(value: str) -> bool:
    if not re.fullmatch(r"\d{2,7}-\d{2}-\d", value):
        return False
    digits = value.replace("-", "")
    return sum(int(d) * i for i, d in enumerate(reversed(digits[:-1]), start=1)) % 10 == int(digits[-1])


def _evidence(where: Where, field: str, tags: str) -> None:
    """Evidence tags, separated by blanks: S01 … S141, M, M?, D, V."""
    for tag in tags.split() or [""]:
        number = int(tag[1:]) if re.fullmatch(r"S\d{2,3}", tag) else 0
        if tag not in words.SOURCE_WORDS and number not in words.SOURCE_NUMBERS:
            raise ReferenceRefused(where, field, f"{tag!r} is no evidence tag of the domain reference")


def _iso_date(where: Where, field: str, text: str, *, also_month: bool = False) -> date | None:
    if not text:
        return None
    full = f"{text}-01" if also_month and re.fullmatch(r"\d{4}-\d{2}", text) else f"{text}-01-01" if also_month and re.fullmatch(r"\d{4}", text) else text
    try:
        return date.fromisoformat(full)
    except ValueError as error:
        raise ReferenceRefused(where, field, f"{text!r} is no date") from error


def _zone(where: Where, field: str, name: str, *, needed: bool = False) -> None:
    if not name and not needed:
        return
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ReferenceRefused(where, field, f"{name!r} is no time zone") from error


def _hours(where: Where, field: str, text: str) -> None:
    try:
        parse_hours(text)
    except HoursRefused as error:
        raise ReferenceRefused(where, field, str(error)) from error


def _one_of(where: Where, field: str, value: str, allowed: frozenset[str]) -> None:
    if value not in allowed:
        raise ReferenceRefused(where, field, f"{value!r} is none of {', '.join(sorted(a for a in allowed if a))}")


def _all_of(where: Where, field: str, values: Iterable[str], allowed: frozenset[str]) -> None:
    for value in values:
        _one_of(where, field, value, allowed)


def _match(where: Where, field: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        raise ReferenceRefused(where, field, f"{value!r} does not look like {pattern.pattern}")


def _not_negative(where: Where, field: str, value: float) -> None:
    if value < 0:
        raise ReferenceRefused(where, field, "is negative")


def _rising(where: Where, field: str, values: tuple[float, float, float], *, least: float) -> None:
    if not least <= values[0] <= values[1] <= values[2]:
        raise ReferenceRefused(where, field, f"percentiles rise from at least {least}: {values}")
