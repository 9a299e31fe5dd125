"""The sides of a route in the order they are passed, and the row of reference data that each of them takes."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from streams.reference.model import Agreement, Corridor, Reference, Row, SideRow
from streams.status import SideRules
from topics.identifiers import office_side, side_id, territory_side


class UnknownCrossing(ValueError):
    """A route names a crossing that the network does not have."""


class SideSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One authority's post on one route."""

    id: str
    authority: str
    kind: str
    """EXIT, ENTRY, OFFICE, TERRITORY."""
    order: int
    """Position on the route, from 0."""
    crossing: str = ""
    office: str = ""
    place: str = ""
    """Station or office place; empty when the network does not know it."""
    office_role: str = ""
    """OFFICE: departure, destination, inland."""
    customs_border: bool = True
    """False: a border inside a customs territory. The side is NOT_REQUIRED and only shows movement."""


def crossings_of(corridor: Corridor, direction: str) -> tuple[str, ...]:
    """Crossing ids in the order they are passed; `direction` is west or east."""
    return corridor.crossings if direction != "east" else tuple(reversed(corridor.crossings))


def route_sides(
    reference: Reference, crossings: Iterable[str], direction: str, offices: Iterable[str] = (), territories: Collection[str] | None = None,
) -> tuple[SideSpec, ...]:
    """Every side of a route: borders (both posts of each, inner ones too), offices and territories, in the order they are passed.

    `crossings` in the order of travel; `offices` as `AUTHORITY:CODE` or `AUTHORITY:CODE:ROLE`; `territories` are the authorities that may act
    anywhere on their territory, by default those that the reference says. Raises UnknownCrossing.
    """
    borders = [side for crossing in crossings for side in _posts(reference, crossing, direction)]
    acting = {a.code for a in reference.authorities.values() if a.territory} if territories is None else set(territories)
    listed = tuple(offices)
    route = list(borders)
    for authority in dict.fromkeys(s.authority for s in borders if s.authority in acting):
        first = next(i for i, s in enumerate(route) if s.authority == authority)
        spec = SideSpec(id=territory_side(authority), authority=authority, kind="TERRITORY", order=0)
        route.insert(first if route[first].kind == "EXIT" else first + 1, spec)
    for office in listed:
        authority, _, rest = office.partition(":")
        code, _, role = rest.partition(":")
        at, guessed = _office_position(reference, route, authority, office, listed)
        place = reference.mapped.get(("office", f"{authority}:{code}"))
        route.insert(at, SideSpec(id=office_side(code, authority), authority=authority, kind="OFFICE", order=0, office=code,
                                  place=place.means if place else "", office_role=role or guessed))
    return tuple(msgspec.structs.replace(spec, order=i) for i, spec in enumerate(route))


def _posts(reference: Reference, crossing_id: str, direction: str) -> tuple[SideSpec, SideSpec]:
    crossing = reference.crossings.get(crossing_id)
    if crossing is None:
        raise UnknownCrossing(f"{crossing_id!r} is no crossing of the network")
    ends = ((crossing.a_authority, crossing.a), (crossing.b_authority, crossing.b))
    (out, out_place), (into, into_place) = ends if direction != "east" else ends[::-1]
    return (
        SideSpec(id=side_id(crossing_id, out, "EXIT"), authority=out, kind="EXIT", order=0, crossing=crossing_id, place=out_place,
                 office=crossing.offices.get(out, ""), customs_border=crossing.customs_border),
        SideSpec(id=side_id(crossing_id, into, "ENTRY"), authority=into, kind="ENTRY", order=0, crossing=crossing_id, place=into_place,
                 office=crossing.offices.get(into, ""), customs_border=crossing.customs_border),
    )


def _office_position(
    reference: Reference, route: list[SideSpec], authority: str, office: str, listed: tuple[str, ...],
) -> tuple[int, str]:
    """Where an office stands on the route and which role it has there, when the document does not say."""
    borders = [(i, s) for i, s in enumerate(route) if s.kind in ("EXIT", "ENTRY")]
    if not borders:
        return len(route), "departure" if office == listed[0] else "destination"
    start, end = borders[0][1].authority, borders[-1][1].authority
    if _same_territory(reference, authority, start):
        own = [i for i, s in borders if s.authority == authority and s.kind == "ENTRY"]
        return (own[0] + 1 if own else 0), "departure"
    entries = [i for i, s in borders if s.authority == authority and s.kind == "ENTRY"]
    at = entries[-1] + 1 if entries else len(route)
    while at < len(route) and route[at].kind == "OFFICE" and route[at].authority == authority:
        at += 1
    if not _same_territory(reference, authority, end):
        return at, "inland"
    later = any(_same_territory(reference, other.partition(":")[0], authority) for other in listed[listed.index(office) + 1:])
    return at, "departure" if later else "destination"


def _same_territory(reference: Reference, one: str, other: str) -> bool:
    """Whether two authorities belong to one customs territory."""
    a, b = reference.authorities.get(one), reference.authorities.get(other)
    return one == other or (a is not None and b is not None and bool(a.union) and a.union == b.union)


def day_of(at: int) -> str:
    """ISO date (UTC) of an instant in microseconds: what validity dates are compared with."""
    return datetime.fromtimestamp(at // 1_000_000, tz=UTC).date().isoformat()


def valid_on(row: Row, day: str) -> bool:
    """Whether a row is switched on and valid on an ISO date."""
    return row.enabled and (not row.valid_from or row.valid_from <= day) and (not row.valid_to or day < row.valid_to)


def in_force(agreement: Agreement, at: int) -> bool:
    """Whether an agreement is in force at an instant: enabled, dated, begun, neither over nor suspended."""
    day = day_of(at)
    return valid_on(agreement, day) and bool(agreement.in_force) and agreement.in_force <= day and not agreement.suspended


def side_row(reference: Reference, spec: SideSpec, direction: str, procedure: str, at: int) -> SideRow | None:
    """The most specific row valid at `at`: authority before crossing before union before office role before procedure before direction.

    None only for a reference without the fallback rows ("others").
    """
    authority = reference.authorities.get(spec.authority)
    have = ((32, "authority", spec.authority), (16, "crossing", spec.crossing), (8, "union", authority.union if authority else ""),
            (4, "office_role", spec.office_role), (2, "procedure", procedure), (1, "direction", direction))
    day = day_of(at)
    best: tuple[int, str, SideRow] | None = None
    for row in reference.side_rows:
        if row.kind != spec.kind or not valid_on(row, day) or any(getattr(row, name) not in ("", value) for _, name, value in have):
            continue
        score = sum(weight for weight, name, _ in have if getattr(row, name))
        if best is None or (score, row.id) > best[:2]:
            best = score, row.id, row
    return best[2] if best else None


def waived_kinds(row: SideRow, features: Collection[str]) -> frozenset[str]:
    """Filings that are not required for goods with these features (empty, transit, import …)."""
    return frozenset(f.kind for f in row.filings if set(f.waived_for) & set(features))


def members_of(reference: Reference, union_or_convention: str) -> frozenset[str]:
    """Authorities of a union, or of a transit convention; a union takes part in a convention through its members."""
    return frozenset(
        a.code for a in reference.authorities.values() if a.union == union_or_convention or union_or_convention in a.transit)


def side_rules(
    reference: Reference, spec: SideSpec, row: SideRow | None, agreements: Iterable[Agreement] = (), *,
    waived: Collection[str] = (), filers: Mapping[str, Collection[str]] | None = None, conditions: tuple[str, ...] = (), chains: tuple[str, ...] = (),
) -> SideRules:
    """The ladder's form of a row.

    `agreements` in force for this pair and these goods grant their auto_release; `waived` kinds leave filings and release groups (never the
    decision); `filers` are the filers of record per document kind, who may say `presented` where the row names the kind. Filings of a
    facilitation are not required, so they are left out here and keep only their deadline.
    """
    if row is None:
        return SideRules(authority=spec.authority, side=spec.id, demands_only=spec.kind == "TERRITORY", conditions=conditions, chains=chains)
    gone = {f"{phase}:{kind}" for kind in waived for phase in ("registered", "released", "ended")}
    decision = frozenset(row.decision)
    groups = (frozenset(group) - (gone - decision) for group in row.release)
    return SideRules(
        authority=spec.authority, side=spec.id,
        filings={f.kind: f.before_arrival for f in row.filings if not f.enrolment and f.kind not in waived},
        assessments=row.assessments, conditions=tuple(dict.fromkeys(row.conditions + conditions)),
        release=tuple(group for group in groups if group), decision=decision,
        by={kind: members_of(reference, group) for kind, group in row.by.items()},
        per_visit=frozenset(row.per_visit), per_run=frozenset(row.per_run), transit=frozenset(row.transit),
        chains=tuple(dict.fromkeys(row.chains + chains)),
        auto_release=frozenset(m for a in agreements if _party_to(reference, a, spec.authority) for m in a.auto_release),
        not_observed=frozenset(row.not_observed),
        presenters=frozenset(p for kind in row.presenters for p in (filers or {}).get(kind, ())),
        demands_only=row.kind == "TERRITORY")


def _party_to(reference: Reference, agreement: Agreement, authority: str) -> bool:
    row = reference.authorities.get(authority)
    return authority in agreement.parties or (row is not None and bool(row.union) and row.union in agreement.parties)
