"""TRN: transit that is open, its time limit, and enquiries. An enquiry is a liability alert to the holder and never a hold."""
from __future__ import annotations

import math
from itertools import pairwise

from streams.network.eta import TRACK_PER_STRAIGHT_KM
from streams.reference.model import Corridor, Reference
from streams.rules import grounds
from streams.rules.case import Case, Finding, SideCase, Trip
from streams.rules.day import local
from streams.rules.hours import zone_here
from streams.rules.rule import Check, Rule, titles
from streams.status import Document
from topics.facts import DAY, HOUR, NEVER

DAYS_PER_MONTH = 30
EARTH_KM = 6371.0


def open_transits(case: Case) -> list[Document]:
    """Documents whose release here opened a transit that nobody has ended."""
    status = case.side.status
    if status is None:
        return []
    kinds = {k for rules in case.side.rules.values() for k in rules.transit}
    found: dict[tuple[str, str], Document] = {}
    for scope in status.scopes.values():
        for d in scope.documents:
            if d.kind in kinds and d.released_at != NEVER and d.ended_at == NEVER:
                found[d.kind, d.number] = d
    ended = {f.key[1:3] for s in case.trip.sides for f in s.facts if f.key[0] == "doc" and f.key[3] == "ended"}
    return [d for name, d in sorted(found.items()) if name not in ended]


def limit_of(case: Case, document: Document, reference: Reference) -> tuple[int, bool] | None:
    """(the transit's time limit, is it only our estimate). As the office of departure set it; else, in the EAEU, estimated: 2,000 km a month
    along the line and at least 7 days (Code art. 145 [M])."""
    if document.valid_until is not None:
        return document.valid_until, False
    if case.side.union != "EAEU" or document.kind != "td":
        return None
    limits = reference.limits
    km = distance_km(case.trip, case.side, reference)
    days = max(limits.eaeu_transit_days_min, math.ceil(km / limits.eaeu_transit_km_per_month * DAYS_PER_MONTH) if km is not None else 0)
    return document.released_at + days * DAY, True


def distance_km(trip: Trip, entry: SideCase, reference: Reference) -> float | None:
    """Length of track from this side to the union's next exit: along the corridor's places, as the crow flies, with the usual share for bends."""
    leave = next((s for s in trip.sides if s.order > entry.order and s.kind == "EXIT" and s.required and s.union == entry.union), None)
    corridor = reference.corridors.get(trip.corridor)
    if leave is None or corridor is None:
        return None
    if not _lines or _lines[0][0] is not reference:
        _lines[:] = [(reference, {})]                   # what the reference last asked for says, each question once
    key, known = (corridor.id, trip.direction, _place(reference, entry), _place(reference, leave)), _lines[0][1]
    if key not in known:
        known[key] = _along(reference, corridor, trip.direction, key[2], key[3])
    return known[key]


_lines: list[tuple[Reference, dict[tuple[str, str, str, str], float | None]]] = []


def _along(reference: Reference, corridor: Corridor, direction: str, *ends: str) -> float | None:
    places = list(corridor.places if direction != "east" else reversed(corridor.places))
    if not all(p in places for p in ends):
        return None
    points = [(p.lat, p.lon) for name in places[places.index(ends[0]):places.index(ends[1]) + 1]
              if (p := reference.places.get(name)) is not None and p.lat is not None and p.lon is not None]
    return sum(_km(a, b) for a, b in pairwise(points)) * TRACK_PER_STRAIGHT_KM if len(points) > 1 else None


def _place(reference: Reference, side: SideCase) -> str:
    crossing = reference.crossings.get(side.crossing)
    if crossing is None:
        return ""
    return crossing.a if crossing.a_authority == side.authority else crossing.b


def _km(a: tuple[float | None, float | None], b: tuple[float | None, float | None]) -> float:
    lat1, lon1, lat2, lon2 = (math.radians(v or 0.0) for v in (*a, *b))
    h = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(h))


def time_limit(case: Case, reference: Reference, now: int) -> Finding | None:
    """TRN-01: transit open; its limit approaches (alarms at 72 and 24 h) or is over. To the holder of the procedure. What we only estimate is said
    to be estimated and is never over: the office of departure may have set another."""
    for document in open_transits(case):
        found = limit_of(case, document, reference)
        if found is None:
            continue
        limit, estimated = found
        args = {"document": f"{document.kind} {document.official or document.number}", "limit": local(limit, zone_here(reference, case.side)),
                "estimated": "yes" if estimated else ""}
        return _stage(document, limit, args, sorted(reference.limits.transit_alarm_hours), now)
    return None


def _stage(document: Document, limit: int, args: dict[str, str], alarms: list[int], now: int) -> Finding:
    """Open, ending or over at this instant; `alarms` in hours, the smallest first."""
    evidence = (document.released_by.id,) if document.released_by is not None and document.released_by.id else ()
    form = "_estimated" if args["estimated"] else ""
    if now >= limit and form:
        return Finding(code="TRANSIT_PAST_ESTIMATE", severity="warning", at=limit, since=limit, text="trn.over_estimated", args=args, evidence=evidence)
    if now >= limit:
        return Finding(code="TRANSIT_OVER", severity="critical", at=limit, since=limit, text="trn.over", args=args, evidence=evidence,
                       alert="TransitLimitOver")
    reached = next((h for h in alarms if now >= limit - h * HOUR), None)
    if reached is not None:
        nxt = max((limit - h * HOUR for h in alarms if h < reached), default=limit)
        return Finding(code="TRANSIT_ENDING", severity="critical" if reached == alarms[0] and not form else "warning", at=limit - reached * HOUR,
                       text=f"trn.ending{form}", args={**args, "hours": str(reached)}, evidence=evidence, due=nxt, alert="TransitLimitNear")
    return Finding(code="TRANSIT_OPEN", severity="info", text=f"trn.open{form}", args=args, evidence=evidence, due=limit - alarms[-1] * HOUR)


def enquiry(case: Case, reference: Reference, now: int) -> Finding | None:
    """TRN-02: the authority enquires after goods that did not arrive (IE140), or recovers the debt (IE035): the holder is liable."""
    status = case.side.status
    if status is None or "transit_enquiry" not in status.flags:
        return None
    return Finding(code="TRANSIT_ENQUIRY", severity="critical", text="trn.enquiry", args={"authority": case.side.authority}, alert="TransitEnquiry")


def uncovered_leg(case: Case, reference: Reference, now: int) -> Finding | None:
    """TRN-03: the goods have left this entry side and no transit or import covers the leg behind it."""
    side = case.side
    if side.kind != "ENTRY" or side.left == NEVER or side.status is None or not side.rows:
        return None
    wanted = {k.partition(":")[2] for rules in side.rules.values() for k in rules.decision if k.startswith("released:")}
    if not wanted or "left_without_release" not in side.status.flags:
        return None
    living = {d.kind for scope in side.status.scopes.values() for d in scope.documents if d.alive}
    if wanted & living:
        return None
    return Finding(code="LEG_UNCOVERED", severity="critical", text="trn.uncovered", args={"kinds": ", ".join(sorted(wanted))}, alert="LegUncovered")


def _rule(number: str, check: Check, en: str, zh: str, ru: str, legal: str, version: int = 1, *, needs: int) -> Rule:
    return Rule(id=f"TRN-{number}", family="TRN", titles=titles(en, zh, ru), legal=legal, certainty="med", check=check, afterwards=True, version=version,
                needs=needs)


TRANSIT_RULES = (
    _rule("01", time_limit, "Transit open: time limit", "转运（过境）未结：期限", "Транзит открыт: срок", "EAEU Customs Code art. 145 [M]; NCTS time limit", 2,
          needs=grounds.TRANSIT),
    _rule("02", enquiry, "Transit enquiry: liability", "过境查询：担保责任", "Розыск по транзиту: ответственность", "NCTS IE140, IE035 [S28]",
          needs=grounds.ENQUIRY),
    _rule("03", uncovered_leg, "No document covers the leg", "该运段无单证覆盖", "Участок не покрыт документом", "[D]", needs=grounds.LEFT),
)
