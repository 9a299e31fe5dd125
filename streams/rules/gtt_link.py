"""What the customs-rail link (关铁通) of a side rests on: agreement, the two sides, application, answer. Looked up once per side."""
from __future__ import annotations

import msgspec

from streams.reference.model import Agreement, Reference
from streams.rules.agreements import between
from streams.rules.case import OURS, Case, Lodged, SideCase, Trip
from topics.facts import NEVER, WHOLE, Fact

ACKNOWLEDGED = frozenset({"gtt.partner_ack"})
RECOGNISED = frozenset({"gtt.recognised"})
INSPECTED = frozenset({"inspection"})
WAIVED = "inspection_waived"
"""The origin says that it ordered none: "not decided" is another thing, then no message comes."""
CITED = "/doc/gtt/"
"""In the side of a fact: the application that the message cites."""
ENDING = frozenset({"rejected", "invalidated", "revoked"})
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


def linked(side: SideCase, name: str) -> list[Fact]:
    """What the link's rules look at of what is said at a side, under one name: gtt, conveyance, condition, control. Sorted out once per side."""
    if side.linked is None:
        side.linked = {}
        for f in side.facts:
            head, kind = f.key[0], f.key[1] if len(f.key) > 1 else ""
            if f.source != OURS and ((head == "doc" and kind in ("gtt", "conveyance")) or head == "condition" or (head == "demand" and kind == "control")):
                side.linked.setdefault("condition" if head == "condition" else kind, []).append(f)
    found: list[Fact] = side.linked.get(name, [])
    return found


def about(fact: Fact, scope: str) -> bool:
    """Does a word concern this scope: said of it, of the box that it is in, or of the whole shipment? Never that of another box."""
    return fact.scope in (WHOLE, scope, scope.split("/", 1)[0])


def words(trip: Trip, side: SideCase, name: str, scope: str) -> list[Fact]:
    """What is said of a scope under one name. What cites an application concerns only the boxes that it names."""
    return [f for f in linked(side, name) if about(f, scope) and (CITED not in f.side or _names(trip, f.side.partition(CITED)[2], scope))]


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """The data-exchange application (《中哈海关"关铁通"数据交换申请》) of one scope, by its document's life."""

    sent: Fact | None = None
    """First sent or registered since the last end of any."""
    ended: Fact | None = None
    """What ended it last: rejected, invalidated or revoked by one of the two authorities."""
    registered: tuple[Fact, ...] = ()
    """The partner's registrations that still count."""


def application(trip: Trip, link: Link, scope: str) -> Application:
    """How far the application of this scope is. One that an authority has rejected proves nothing until it is lodged again."""
    authorities = (link.exit.authority, link.partner)
    lives: dict[str, list[Fact]] = {}
    for side in (link.exit, link.entry):
        for f in words(trip, side, "gtt", scope):
            if _names(trip, f.key[2], scope):
                lives.setdefault(f.key[2], []).append(f)
    sent: list[Fact] = []
    ends: list[Fact] = []
    for said in lives.values():
        end = max((f for f in said if f.key[3] in ENDING and f.source in authorities), key=_order, default=None)
        after = end.at if end is not None else NEVER
        sent += [f for f in said if f.at > after and (f.key[3] == "sent" or (f.key[3] == "registered" and f.source in authorities))]
        ends += [end] if end is not None else []
    return Application(
        sent=min(sent, key=_order, default=None), ended=max(ends, key=_order, default=None),
        registered=tuple(sorted((f for f in sent if f.key[3] == "registered" and f.source == link.partner), key=_order)))


def _names(trip: Trip, number: str, scope: str) -> bool:
    """Does the application of this number name the scope, as far as its content is known?"""
    return all(f.covers(scope) for f in trip.filings if f.kind == "gtt" and f.number == number)


def _order(f: Fact) -> tuple[int, tuple[str, ...], str]:
    return f.at, f.key, f.id


def reviewed_at(link: Link, scope: str) -> Fact | None:
    """When customs first reviewed the outbound-train declaration of the train that carries this scope."""
    said = [f for f in linked(link.exit, "conveyance") if f.key[3] in REVIEWED and f.source == link.exit.authority and about(f, scope)]
    return min(said, key=lambda f: (f.at, f.id), default=None)


def last_word(said: list[Fact], scope: str) -> Fact | None:
    """The latest word on a scope. A failure of this box stands until a word names the box: what is said of the whole does not lift it."""
    own = max((f for f in said if f.scope != WHOLE and about(f, scope)), key=lambda f: (f.at, f.id), default=None)
    whole = max((f for f in said if f.scope == WHOLE), key=lambda f: (f.at, f.id), default=None)
    if own is None or whole is None:
        return own or whole
    return own if word(own) == "failed" or own.at >= whole.at else whole


def said_by_partner(trip: Trip, link: Link, names: frozenset[str], scope: str) -> Fact | None:
    """The partner's latest word on this scope under one of these condition names."""
    found = [f for s in (link.exit, link.entry) for f in words(trip, s, "condition", scope) if f.key[1] in names and f.source == link.partner]
    return last_word(found, scope)


def acknowledged(trip: Trip, link: Link, applied: Application, scope: str) -> Fact | None:
    """The partner's acknowledgement that it has the data set of this scope, later than whatever ended an application before."""
    said = said_by_partner(trip, link, ACKNOWLEDGED, scope)
    after = applied.ended.at if applied.ended is not None else NEVER
    every = [*applied.registered, *([said] if said is not None and word(said) == "proven" and said.at > after else [])]
    return min(every, key=lambda f: (f.at, f.id), default=None)


def data_set(trip: Trip, scope: str) -> Lodged | None:
    """The content of the application that covers this scope, the newest."""
    return next((f for f in reversed(trip.filings) if f.kind == "gtt" and f.covers(scope)), None)


def word(fact: Fact) -> str:
    """proven, failed or unknown, as a condition fact says it."""
    value = fact.value.get("state") if isinstance(fact.value, dict) else fact.value
    return value if isinstance(value, str) else "proven" if value is True else "unknown"


def departed_origin(link: Link, scope: str) -> int:
    """When a scope left the first side: locks must be armed before."""
    here = link.exit.at(scope)
    return here.departed if here.departed != NEVER else here.seen
