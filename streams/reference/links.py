"""What reference rows point at must exist: places, crossings, authorities, unions, parties, corridors."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from streams.reference import words
from streams.reference.model import (
    Agreement,
    Authority,
    Corridor,
    Crossing,
    DutyLine,
    Dwell,
    Mapped,
    Party,
    Place,
    Reference,
    Row,
    SideRow,
    Speed,
)
from streams.reference.refused import ReferenceRefused, Where


def check_links(reference: Reference, row: Row, where: Where) -> None:
    """Raises ReferenceRefused when the row names something that the reference does not have, or contradicts it."""
    match row:
        case Authority():
            if row.holidays and row.holidays != row.code:
                raise ReferenceRefused(where, "holidays", f"the calendar of {row.code} is {row.code}, not {row.holidays}")
        case Party():
            _known(where, "places", row.places, reference.places)
            if row.country:
                _known(where, "country", (row.country,), reference.authorities)
        case Place():
            _place(reference, row, where)
        case Crossing():
            _crossing(reference, row, where)
        case Corridor():
            _corridor(reference, row, where)
        case Speed():
            _known(where, "country", (row.country,), reference.authorities)
        case Dwell():
            _known(where, "crossing", (row.crossing,), reference.crossings)
        case SideRow():
            _known(where, "authority", filter(None, (row.authority,)), reference.authorities)
            _known(where, "crossing", filter(None, (row.crossing,)), reference.crossings)
        case Agreement():
            if row.kind != "aeo_mra":        # a partner of an AEO arrangement need not lie on any corridor
                _known(where, "parties", (p for p in row.parties if p not in words.UNIONS), reference.authorities)
            _known(where, "extends_to", row.extends_to, reference.authorities)
            _known(where, "crossings", row.crossings, reference.crossings)
            _known(where, "routes", row.routes, reference.corridors)
        case DutyLine():
            _known(where, "authority", filter(None, (row.authority,)), reference.authorities)
            _known(where, "crossing", filter(None, (row.crossing,)), reference.crossings)
            _known(where, "substitute", filter(None, (row.substitute,)), {line.function for line in reference.duty})
        case Mapped(list="office"):
            _known(where, "means", (row.means,), reference.places)
            _known(where, "code", (row.code.partition(":")[0],), reference.authorities)
        case _:
            pass


def _known(where: Where, field: str, names: Iterable[str], known: Mapping[str, object] | set[str]) -> None:
    for name in names:
        if name not in known:
            raise ReferenceRefused(where, field, f"{name!r} is not known")


def _place(reference: Reference, row: Place, where: Where) -> None:
    _known(where, "country", (row.country,), reference.authorities)
    _known(where, "operator", filter(None, (row.operator,)), reference.parties)
    if row.operator and row.id not in reference.parties[row.operator].places:
        raise ReferenceRefused(where, "operator", f"{row.operator} does not speak for {row.id}")
    if not row.crossing:
        return
    _known(where, "crossing", (row.crossing,), reference.crossings)
    crossing = reference.crossings[row.crossing]
    if row.country not in (crossing.a_authority, crossing.b_authority):
        raise ReferenceRefused(where, "crossing", f"{row.crossing} is no crossing of {row.country}")


def _crossing(reference: Reference, row: Crossing, where: Where) -> None:
    _known(where, "a", (row.a,), reference.places)
    _known(where, "b", (row.b,), reference.places)
    _known(where, "a_authority", (row.a_authority,), reference.authorities)
    _known(where, "b_authority", (row.b_authority,), reference.authorities)
    _known(where, "transload_west", filter(None, (row.transload_west,)), reference.places)
    _known(where, "transload_east", filter(None, (row.transload_east,)), reference.places)
    one, other = reference.authorities[row.a_authority], reference.authorities[row.b_authority]
    inside = bool(one.union) and one.union == other.union
    if inside is row.customs_border:
        raise ReferenceRefused(where, "customs_border", "a border is a customs border unless both sides are in one customs union")
    for name, place, authority in (("a", row.a, one), ("b", row.b, other)):
        if reference.places[place].crossing not in ("", row.id):
            raise ReferenceRefused(where, name, f"{place} belongs to another crossing")
        if row.sea is False and reference.places[place].country != authority.code:
            raise ReferenceRefused(where, name, f"{place} is not in {authority.code}")
    for field, by_authority in (("offices", row.offices), ("calendar", row.calendar)):
        _known(where, field, by_authority, {row.a_authority, row.b_authority})
    for code, office in row.offices.items():
        pattern = reference.authorities[code].office_pattern
        if pattern and not re.fullmatch(pattern, office):
            raise ReferenceRefused(where, f"offices.{code}", f"{office!r} is no office code of {code}: {pattern}")


def _corridor(reference: Reference, row: Corridor, where: Where) -> None:
    _known(where, "places", row.places, reference.places)
    _known(where, "crossings", row.crossings, reference.crossings)
    index = {place: i for i, place in enumerate(row.places)}
    last = -1
    for crossing_id in row.crossings:
        crossing = reference.crossings[crossing_id]
        here = index.get(crossing.a, -1)
        if here < max(last, 0) or index.get(crossing.b, -1) != here + 1:
            raise ReferenceRefused(where, "crossings", f"the stations of {crossing_id} do not follow each other in this corridor, in order")
        last = here + 1
    passed = {reference.places[p].country for p in row.places}
    named = {c for crossing_id in row.crossings for c in (reference.crossings[crossing_id].a_authority, reference.crossings[crossing_id].b_authority)}
    if passed - named:
        raise ReferenceRefused(where, "crossings", f"passes {', '.join(sorted(passed - named))} without a crossing")
    for field, ways, end in (("feeders", row.feeders, -1), ("spurs", row.spurs, 0)):
        for hub, way in ways.items():
            _known(where, f"{field}.{hub}", (hub, *way), reference.places)
            if len(way) < 2 or way[end] not in index or way[0 if end else -1] != hub:
                raise ReferenceRefused(where, f"{field}.{hub}", "leads from the hub to a place of the corridor, or from there to it")
    _ends(where, "origins", row.origins, index, row.feeders)
    _ends(where, "destinations", row.destinations, index, row.spurs)


def _ends(where: Where, field: str, hubs: tuple[str, ...], trunk: Mapping[str, int], ways: Mapping[str, tuple[str, ...]]) -> None:
    for hub in hubs:
        if hub not in trunk and hub not in ways:
            raise ReferenceRefused(where, field, f"{hub!r} is neither on the corridor nor joined to it")
