"""Which row of reference data a side takes, per scope by planned procedure, and the rules that the ladder reads from it."""
from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection

import msgspec

from streams.network.sides import SideSpec, in_force, route_sides, side_row, side_rules
from streams.reference.model import FilingRow, Reference, SideRow
from streams.rules import RULES
from streams.rules.case import SideCase, Trip
from streams.rules.day import begin_of, day_of
from streams.rules.doc import too_heavy
from streams.status import SideRules
from topics.facts import WHOLE

UNDECIDED = "undecided"
EMPTY = "empty"
PROCEDURE_KINDS = {"transit": "transit", "import": "import", "warehouse": "warehouse", "export": "export", "td": "transit", "dt": "export"}
"""A lodged filing of this kind shows the procedure of the boxes that it covers."""
BOOKS_MAX = 4
KEPT_MAX = 20_000
"""Answers kept per reference and kind of question; then all are forgotten and looked up anew."""
Named = tuple[tuple[SideSpec, frozenset[str]], ...]


class Book:
    """Rows looked up in one reference, each kept: the same question comes with every message. Holds nothing but what the reference says."""

    __slots__ = ("dates", "granting", "kinds", "last", "reference", "routes", "rows", "rules")

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        days = {d for r in reference.side_rows for d in (r.valid_from, r.valid_to)} | {d for r in RULES for d in (r.valid_from, r.valid_to)}
        days |= {d for a in reference.agreements.values() for d in (a.valid_from, a.valid_to, a.in_force)}
        self.granting = tuple(a for a in reference.agreements.values() if a.auto_release)
        self.dates = sorted(days - {""})
        """Days on which a row, an agreement or a rule begins or ends."""
        self.last = ("", 0)
        """The day last asked for and its period."""
        self.kinds: dict[tuple[str, str, str, int], tuple[frozenset[str], frozenset[str]]] = {}
        self.routes: dict[tuple[tuple[str, ...], str, tuple[str, ...]], Named] = {}
        self.rows: dict[tuple[str, str, str, int], SideRow | None] = {}
        self.rules: dict[tuple[str, str, int, tuple[str, ...], tuple[str, ...]], SideRules] = {}

    def handled(self, side: SideCase, now: int) -> frozenset[str]:
        """Kinds of documents that a row which this side may take asks for or releases on."""
        return self._asked(side, now)[0]

    def members(self, side: SideCase, now: int) -> frozenset[str]:
        """Members of the release groups of the rows that this side may take, each `phase:kind`."""
        return self._asked(side, now)[1]

    def _asked(self, side: SideCase, now: int) -> tuple[frozenset[str], frozenset[str]]:
        """(kinds, release members) of the rows that this side takes under any procedure, where it has none of its own the fallback row."""
        key = (side.id, side.office_role, side.direction, period_of(self.reference, now))
        found = self.kinds.get(key)
        if found is None:
            if len(self.kinds) > KEPT_MAX:
                self.kinds.clear()
            named = sorted({r.procedure for r in self.reference.side_rows if r.kind == side.kind} | {UNDECIDED})
            rows = [] if side.kind == "OFFICE" and not side.mapped else [r for p in named if (r := _row(side, p, self, now)) is not None]
            members = frozenset(m for r in rows for group in r.release for m in group)
            kinds = frozenset({m.partition(":")[2] for m in members} | {f.kind for r in rows for f in r.filings})
            found = self.kinds[key] = kinds, members
        return found

    def specs(self, crossings: tuple[str, ...], direction: str, offices: tuple[str, ...]) -> Named:
        """The sides of a route, each with the names by which messages call it. Crossings that the network does not have are left out."""
        key = (crossings, direction, offices)
        found = self.routes.get(key)
        if found is None:
            if len(self.routes) > KEPT_MAX:
                self.routes.clear()
            known = [c for c in crossings if c in self.reference.crossings]
            found = self.routes[key] = tuple((s, names_of(self.reference, s)) for s in route_sides(self.reference, known, direction, offices))
        return found


def names_of(reference: Reference, spec: SideSpec) -> frozenset[str]:
    """How messages call this side: office code, crossing id, place id, and the other places of its country at the crossing."""
    names = {spec.office, spec.crossing, spec.place}
    if spec.crossing:
        names |= {p.id for p in reference.places.values() if p.crossing == spec.crossing and p.country == spec.authority}
    return frozenset(names - {""})


_books: dict[int, Book] = {}


def book_of(reference: Reference) -> Book:
    """The book of this reference object."""
    book = _books.get(id(reference))
    if book is None or book.reference is not reference:
        if len(_books) >= BOOKS_MAX:
            _books.clear()
        book = _books[id(reference)] = Book(reference)
    return book


def period_of(reference: Reference, now: int) -> int:
    """Number of the period in which an instant lies: within one the same rows, agreements and rules are valid every day."""
    book, day = book_of(reference), day_of(now)
    if book.last[0] != day:
        book.last = day, bisect_right(book.dates, day)
    return book.last[1]


def period_ends(reference: Reference, now: int) -> int | None:
    """When the next row, agreement or rule begins or ends: the first instant of that day, UTC. None = nothing changes any more."""
    dates = book_of(reference).dates
    n = bisect_right(dates, day_of(now))
    return begin_of(dates[n]) if n < len(dates) else None


def procedure_of(trip: Trip, side: SideCase, scope: str) -> str:
    """Planned procedure of a scope: what a filing that serves this side says, else the shipment's plan, else undecided."""
    for lodged in reversed(trip.filings):
        if lodged.kind in PROCEDURE_KINDS and side.id in lodged.sides and lodged.covers(scope):
            return str(lodged.content.get("procedure") or PROCEDURE_KINDS[lodged.kind])
    plan = trip.declared.get("procedures") or {}
    return str(plan.get(side.authority) or UNDECIDED)


def is_empty(trip: Trip, scope: str) -> bool:
    """Declared empty, and nothing says otherwise: the box, or every box of the shipment."""
    if scope != WHOLE:
        return _empty(trip, scope.split("/", 1)[0])
    return bool(trip.boxes) and all(_empty(trip, box) for box in trip.boxes)


def _empty(trip: Trip, box: str) -> bool:
    """Who declares a box empty is believed until a scale, his own figures or a filing that states its goods say otherwise: loaded goods must
    not leave as empties do."""
    if not trip.boxes.get(box, {}).get("empty"):
        return False
    return too_heavy(trip, box) is None and not any(f.boxes().get(box, {}).get("goods") for f in trip.filings)


def waived(trip: Trip, asked: FilingRow, scope: str, procedure: str) -> str:
    """Why this filing is not required of this scope; "" when it is. A waiver shortens the list, it makes no side NOT_REQUIRED."""
    if EMPTY in asked.waived_for and is_empty(trip, scope):
        return EMPTY
    if procedure in asked.waived_for:
        return procedure
    if asked.enrolment and not trip.enrolled(asked.enrolment):
        return f"not enrolled: {asked.enrolment}"
    return ""


def begins_transit(side: SideCase) -> bool:
    """Has this office, the first of its authority, released for transit? What it takes to leave an office of departure the convention says,
    wherever it is: that release (IE029)."""
    return side.office_role == "departure" and any(
        f.key[:2] == ("doc", "transit") and f.key[3] == "released" and f.source == side.authority for f in side.placed)


def row_of(trip: Trip, side: SideCase, scope: str, book: Book, now: int) -> SideRow | None:
    """The row of a scope; for empties the row for empties where there is one. An office that the network does not know has none: what it is
    there for is not known, until it releases for transit."""
    if side.kind == "OFFICE" and not side.mapped and not begins_transit(side):
        return None
    procedure = side.procedures[scope]
    if is_empty(trip, scope):
        row = _row(side, EMPTY, book, now)
        if row is not None and row.procedure == EMPTY:
            return row
    return _row(side, procedure, book, now)


def _row(side: SideCase, procedure: str, book: Book, now: int) -> SideRow | None:
    key = (side.id, side.office_role + "/" + side.direction, procedure, period_of(book.reference, now))
    if key not in book.rows:
        if len(book.rows) > KEPT_MAX:
            book.rows.clear()
        book.rows[key] = side_row(book.reference, side.spec, side.direction, procedure, now)
    return book.rows[key]


def rules_of(trip: Trip, side: SideCase, scope: str, row: SideRow | None, book: Book, now: int) -> SideRules:
    """The ladder's form of a row, without what an agreement adds."""
    gone: tuple[str, ...] = ()
    filers: tuple[str, ...] = ()
    if row is not None:
        procedure = side.procedures[scope]
        gone = tuple(f.kind for f in row.filings if not f.enrolment and waived(trip, f, scope, procedure))
        if row.presenters:
            filers = tuple(sorted({f"{f.kind}={f.source}" for f in trip.filings if f.kind in row.presenters and side.id in f.sides}))
    key = (side.id, row.id if row else "", period_of(book.reference, now), gone, filers)
    rules = book.rules.get(key)
    if rules is None:
        if len(book.rules) > KEPT_MAX:
            book.rules.clear()
        rules = book.rules[key] = side_rules(book.reference, side.spec, row, waived=gone, filers=_by_kind(filers))
    granted = auto_release(trip, side, book.reference, now)
    return msgspec.structs.replace(rules, auto_release=granted) if granted else rules


def _by_kind(filers: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in filers:
        kind, _, source = pair.partition("=")
        found.setdefault(kind, []).append(source)
    return found


def auto_release(trip: Trip, side: SideCase, reference: Reference, now: int) -> frozenset[str]:
    """Release members that an agreement in force for this side, crossing, route and these goods grants: none by default."""
    granted: set[str] = set()
    for a in book_of(reference).granting:
        if not in_force(a, now) or not {side.authority, side.union} & set(a.parties):
            continue
        if (a.crossings and side.crossing not in a.crossings) or (a.routes and trip.corridor not in a.routes) or not covers(trip, a.goods):
            continue
        granted |= set(a.auto_release)
    return frozenset(granted)


def covers(trip: Trip, prefixes: tuple[str, ...]) -> bool:
    """Are all the shipment's goods of these HS chapters? No prefixes: any goods; goods unknown: no."""
    if not prefixes:
        return True
    codes = [str(line.get("hs", "")) for box in trip.boxes.values() for line in box.get("goods", ())]
    return bool(codes) and all(any(code.startswith(p) for p in prefixes) for code in codes)


MADE_MAX = 4_096
_more: dict[tuple[int, tuple[str, ...], tuple[str, ...]], tuple[SideRules, SideRules]] = {}


def with_conditions(rules: SideRules, names: tuple[str, ...], chains: tuple[str, ...] = ()) -> SideRules:
    """The same row with more conditions before arrival and chains to look at; the same object for the same question."""
    key = (id(rules), names, chains)
    known = _more.get(key)
    if known is None or known[0] is not rules:
        if len(_more) >= MADE_MAX:
            _more.clear()
        made = msgspec.structs.replace(
            rules, conditions=tuple(dict.fromkeys(rules.conditions + names)), chains=tuple(dict.fromkeys(rules.chains + chains)))
        known = _more[key] = rules, made
    return known[1]
