"""What the customs-rail link (关铁通) of a side rests on: agreement, the two sides, application, answer. Looked up once per side."""
from __future__ import annotations

import msgspec

from streams.reference.model import Agreement, Reference
from streams.rules.agreements import between
from streams.rules.case import Case, Lodged, SideCase, Trip
from topics.facts import NEVER, Fact

ACKNOWLEDGED = frozenset({"gtt.partner_ack"})
RECOGNISED = frozenset({"gtt.recognised"})
INSPECTED = frozenset({"inspection"})
WAIVED = "inspection_waived"
"""The origin says that it ordered none: "not decided" is another thing, then no message comes."""
REVIEWED = frozenset({"registered", "assessed", "released"})
"""Phases of the outbound-train declaration (出境铁路列车申报单) that show that customs has reviewed it."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One enrolled use of the link."""

    agreement: Agreement
    exit: SideCase
    entry: SideCase

    @property
    def partner(self) -> str:
        return self.entry.authority


def link_of(case: Case, reference: Reference, today: str) -> Link | None:
    """The link that this side takes part in: agreement between its crossing's two authorities, route and crossing enrolled, carrier opted in."""
    trip, side = case.trip, case.side
    if side.id not in trip.links:
        trip.links[side.id] = _link(trip, side, reference, today)
    found: Link | None = trip.links[side.id]
    return found


def _link(trip: Trip, side: SideCase, reference: Reference, today: str) -> Link | None:
    if not trip.enrolled("gtt") or not side.crossing or not side.required:
        return None
    pair = [s for s in trip.sides if s.crossing == side.crossing and s.kind in ("EXIT", "ENTRY")]
    if len(pair) != 2:
        return None
    out, into = (pair[0], pair[1]) if pair[0].kind == "EXIT" else (pair[1], pair[0])
    agreement = between(reference, "gtt", out.authority, into.authority, today)
    if agreement is None or (agreement.crossings and side.crossing not in agreement.crossings):
        return None
    if agreement.routes and trip.corridor not in agreement.routes:
        return None
    return Link(agreement=agreement, exit=out, entry=into)


def opted_in_without_agreement(trip: Trip, side: SideCase, reference: Reference, today: str) -> bool:
    """Enrolled, and no border of the route has the link: said once, at the first border. The normal procedure, not an error."""
    if not trip.enrolled("gtt"):
        return False
    borders = [s for s in trip.sides if s.crossing and s.required]
    return bool(borders) and side is borders[0] and not any(link_of(Case(trip, s), reference, today) for s in borders)


def application(trip: Trip, link: Link) -> list[Fact]:
    """Words about the data-exchange application (《中哈海关"关铁通"数据交换申请》), oldest first."""
    found = {f.id + "/".join(f.key): f for s in (link.exit, link.entry) for f in s.facts if f.key[:2] == ("doc", "gtt")}
    return sorted(found.values(), key=lambda f: (f.at, f.key, f.id))


def applied_at(trip: Trip, link: Link) -> Fact | None:
    """The application: sent, or registered."""
    return next((f for f in application(trip, link) if f.key[3] in ("sent", "registered")), None)


def reviewed_at(link: Link) -> Fact | None:
    """When customs first reviewed the outbound-train declaration."""
    said = [f for f in link.exit.facts if f.key[:2] == ("doc", "conveyance") and f.key[3] in REVIEWED and f.source == link.exit.authority]
    return min(said, key=lambda f: (f.at, f.id), default=None)


def said_by_partner(trip: Trip, link: Link, names: frozenset[str]) -> Fact | None:
    """The partner's latest word under one of these condition names."""
    found = [f for s in (link.exit, link.entry) for f in s.facts if f.key[0] == "condition" and f.key[1] in names and f.source == link.partner]
    return max(found, key=lambda f: (f.at, f.id), default=None)


def acknowledged(trip: Trip, link: Link) -> Fact | None:
    """The partner's acknowledgement that it has the data set."""
    registered = [f for f in application(trip, link) if f.key[3] == "registered" and f.source == link.partner]
    said = said_by_partner(trip, link, ACKNOWLEDGED)
    every = [*registered, *([said] if said is not None else [])]
    return min(every, key=lambda f: (f.at, f.id), default=None)


def data_set(trip: Trip) -> Lodged | None:
    """The content of the application, the newest."""
    return next((f for f in reversed(trip.filings) if f.kind == "gtt"), None)


def word(fact: Fact) -> str:
    """proven, failed or unknown, as a condition fact says it."""
    value = fact.value.get("state") if isinstance(fact.value, dict) else fact.value
    return value if isinstance(value, str) else "proven" if value is True else "unknown"


def departed_origin(link: Link) -> int:
    """When the goods left the first side: locks must be armed before."""
    return link.exit.departed if link.exit.departed != NEVER else link.exit.seen
