"""Next actions: WHO · WHAT · WHERE · BY WHEN · ELSE · DONE WHEN · CALL (design section 4).

Never to a party who cannot legally do it, never an expired option. If nobody can act: "wait for X, usually n h, call after T".
"""
from __future__ import annotations

from collections.abc import Iterator

from streams.assess.duty import line_for
from streams.assess.findings import AMENDING, Raised
from streams.explain.say import say_all, word_all
from streams.reference.model import Reference
from streams.rules.bord import call_after, waiting_since
from streams.rules.case import Case, FilingCase, Finding, Lodged, SideCase, Trip
from streams.rules.day import local
from streams.rules.hours import zone_here
from streams.status import Demand, DocState, State
from topics.events.outputs import NextAction
from topics.facts import NEVER, WHOLE

ACTIONS_MAX = 40
DONE = frozenset({State.DEPARTED, State.NOT_REQUIRED, State.CANCELLED})
DECIDED = frozenset({DocState.RELEASED, DocState.REJECTED, DocState.INVALIDATED})
ONCE = frozenset({"ens"})
"""Cannot be amended after presentation or an announced control (UCC art. 129)."""
SAME_AS = {"exporter": "consignor", "importer": "consignee"}
"""Who stands for a role where the documents do not name it."""
DIGITS = frozenset({"HS_SHORT", "HS_MISSING"})


class _Desk:
    """Where an action is done and whom to call there."""

    __slots__ = ("line", "reference", "side", "trip", "zone")

    def __init__(self, trip: Trip, side: SideCase, reference: Reference) -> None:
        self.trip, self.side, self.reference = trip, side, reference
        self.line: tuple[str, str] | None = None
        self.zone = zone_here(reference, side)

    @property
    def duty(self) -> tuple[str, str]:
        """(number, hours) of the duty line."""
        if self.line is None:
            self.line = line_for(self.reference, self.side.authority, self.side.crossing)
        return self.line

    def who(self, role: str) -> str:
        """The party in that role, when no filing of its own names it: as the shipment's documents state it."""
        if role == "railway":
            return railway_of(self.trip, self.side.authority, self.reference)
        stated = SAME_AS.get(role, role)
        found = next((p for p in self.trip.declared.get("parties", ()) if p.get("role") in (role, stated)), None)
        return str(found.get("identifier") or found.get("name") or "") if found is not None else ""

    def action(self, text: str, args: dict[str, str], *, role: str, party: str = "", by: int | None = None, message: str = "", code: str = "",
               field: str = "", present: str = "", expected: str = "", system: str = "", legal: bool = False, consequence: str = "",
               done_when: str = "", scope: str = WHOLE, rule: str = "") -> NextAction:
        return NextAction(
            role=role, party=party or self.who(role), message=message, code=code, field=field, present=present, expected=expected, what=say_all(text, args),
            system=system, office=self.side.office or self.side.crossing, by=by, by_border=local(by, self.zone) if by is not None else "",
            legal=legal, consequence=word_all("cons", consequence) if consequence else {}, done_when=done_when, call=self.duty[0],
            call_hours=self.duty[1], side=self.side.id, scope=scope, rule=rule)


def railway_of(trip: Trip, country: str, reference: Reference) -> str:
    """The railway of this country: the one that has spoken, else the only one there is. Another country's may not act here."""
    own = sorted(p.id for p in reference.parties.values() if p.role == "railway" and p.country == country)
    spoken = [p for p in own if p in trip.parties]
    return spoken[0] if spoken else own[0] if len(own) == 1 else ""


def actions_of(trip: Trip, side: SideCase, raised: Raised, reference: Reference) -> tuple[NextAction, ...]:
    """What is to be done at this side by whom until when; the most urgent first."""
    status = side.status
    if status is None or not side.required or (status.state in DONE and "file_again" not in status.flags):
        return ()
    desk = _Desk(trip, side, reference)
    found = [*_answers(trip, desk)]
    if status.state is not State.RELEASED:
        found += _filings(desk)
    for rule, finding in [*raised.conditions.get(side.id, ()), *raised.findings.get(side.id, ())]:
        found += _of_finding(trip, desk, finding, f"{rule.id}@{rule.version}")
    found.sort(key=lambda a: (a.by is None, a.by or 0, a.role, a.message, a.field, a.scope))
    if not found:
        found = _waiting(trip, desk, reference)
    return tuple(found[:ACTIONS_MAX])


def _answers(trip: Trip, desk: _Desk) -> Iterator[NextAction]:
    """Requests of the authority that the filer of record has not answered."""
    seen: set[tuple[str, str]] = set()
    assert desk.side.status is not None
    for scope, status in desk.side.status.scopes.items():
        for d in status.open:
            if d.kind != "info" or d.answered or (d.subject, d.reference) in seen:
                continue
            seen.add((d.subject, d.reference))
            yield desk.action(
                "act.answer", {"reference": d.reference or "-", "reason": d.reason or d.code or "-"}, role="declarant", party=_filer(trip, d),
                by=d.answer_by, code=d.code, legal=True, done_when=f"demand/info/{d.reference}/closed", scope=scope if len(desk.side.rules) > 1 else WHOLE)


def _filer(trip: Trip, demand: Demand) -> str:
    kind, _, number = demand.subject.partition("/")
    return next((f.source for f in trip.filings if f.kind == kind and f.number == number), "")


def _filings(desk: _Desk) -> Iterator[NextAction]:
    """Filings that somebody must lodge, or lodge again."""
    for f in desk.side.filings:
        if f.waived or f.registered or f.state is DocState.SENT:
            continue
        if f.row.enrolment and f.timing in ("overdue", "late"):
            continue                                    # too late for the facilitation: the normal procedure needs nothing
        yield _filing(desk, f)


def _filing(desk: _Desk, f: FilingCase) -> NextAction:
    text = {DocState.REJECTED: "act.refile", DocState.EXPIRED: "act.renew"}.get(f.state, "act.file")
    rejected = next((d for d in f.documents if d.state is DocState.REJECTED), None)
    code = rejected.decided_by.code if rejected is not None and rejected.decided_by is not None else ""
    path = next((str(x.value.get("path", "")) for x in desk.side.facts if rejected is not None
                 and x.key == ("doc", f.kind, rejected.number, "rejected") and isinstance(x.value, dict)), "")
    return desk.action(
        text, {"message": f.row.message or f.kind, "code": code or "-", "path": path or "-"}, role=f.row.role, party=f.filer, by=f.due,
        message=f.row.message or f.kind, code=code, field=path, present="" if f.state is DocState.NONE else f.state.name,
        expected="REGISTERED", system=f.row.system, legal=f.row.basis == "legal" and f.due is not None, consequence=f.row.consequence,
        done_when=f"registered:{f.kind}", rule="ADV")


def _of_finding(trip: Trip, desk: _Desk, finding: Finding, rule: str) -> Iterator[NextAction]:
    """What a finding asks somebody to do."""
    side, code, args = desk.side, finding.code, finding.args
    if code in AMENDING:
        status = side.scope(finding.scope)
        if status is not None and status.state in (State.RELEASED, *DONE):
            return                                      # decided here: what the papers say no longer moves anything at this side
        for lodged in _to_amend(trip, side, finding):
            yield _amend(desk, lodged, finding, rule)
    elif code == "SEAL_UNPROVEN":
        yield desk.action("act.look", args, role="terminal", message="seal.event", expected="checked_ok | checked_bad", done_when="seal reading",
                          scope=finding.scope, rule=rule)
    elif code == "PROCEDURE_UNDECIDED":
        yield desk.action("act.decide", args, role="consignee", by=side.eta[1] if side.eta else None, done_when="procedure", scope=finding.scope, rule=rule)
    elif code in ("TRANSIT_ENDING", "TRANSIT_OVER", "TRANSIT_PAST_ESTIMATE"):
        yield desk.action("act.end_transit_estimated" if args.get("estimated") else "act.end_transit", args, role="holder", done_when="ended", rule=rule,
                          legal=not args.get("estimated"))
    elif code == "NO_NEXT_TRAIN":
        yield desk.action("act.plan_train", {}, role="railway", done_when="run", rule=rule)
    elif code == "GTT_NO_LOCK" and rule.startswith("GTT-03") and side.kind == "EXIT" and side.departed == NEVER:
        yield desk.action("act.lock", {"box": finding.scope or "-"}, role="carrier", by=side.eta[1] if side.eta else None, done_when="seal armed",
                          scope=finding.scope, rule=rule)


def _to_amend(trip: Trip, side: SideCase, finding: Finding) -> list[Lodged]:
    """Filings of this side that carry the wrong field and may still be amended."""
    kind = finding.field.partition(".")[0]
    wanted = [f for f in trip.filings if side.id in f.sides and (f.kind == kind or finding.code in ("SEAL_DIFFERS", "WEIGHED_DIFFERS"))
              and f.covers(finding.scope)]
    if finding.code == "SEAL_DIFFERS":
        wanted = [f for f in wanted if f.boxes().get(finding.scope, {}).get("seals") and finding.expected not in f.boxes()[finding.scope]["seals"]]
    return [f for f in wanted if amendable(side, f.kind) and not decided(trip, f)]


def decided(trip: Trip, lodged: Lodged) -> bool:
    """Has an authority that it serves released it, ended it, or turned it down? Then there is nothing to amend: file anew, or nothing."""
    return any(
        d.kind == lodged.kind and d.number == lodged.number and (d.ended_at != NEVER or d.state in DECIDED)
        for side in trip.sides if side.id in lodged.sides and side.status is not None
        for scope in side.status.scopes.values() for d in scope.documents)


def amendable(side: SideCase, kind: str) -> bool:
    """May a filing of this kind still be amended here? An ENS not after presentation or an announced control (UCC art. 129)."""
    if side.departed != NEVER:
        return False
    if kind not in ONCE:
        return True
    return side.presented == NEVER and not any(f.key[0] == "demand" and f.key[1] == "control" for f in side.facts)


def _amend(desk: _Desk, lodged: Lodged, finding: Finding, rule: str) -> NextAction:
    filing = next((f for f in desk.side.filings if f.kind == lodged.kind), None)
    field = finding.field if finding.field.startswith(lodged.kind) else f"{lodged.kind}.{finding.field}"
    present, expected = finding.args.get("old", "") or finding.present, finding.expected
    text = "act.amend_digits" if finding.code in DIGITS else "act.amend" if expected else "act.amend_seal" if finding.code == "SEAL_DIFFERS" else "act.amend_so"
    return desk.action(
        text, {"document": lodged.name, "field": field, "present": present or "-", "expected": expected, "digits": finding.args.get("digits", "")},
        role=filing.row.role if filing else "declarant", party=lodged.source, by=filing.due if filing and not desk.side.arrived else None,
        message=(filing.row.message if filing else "") or lodged.kind, field=field, present=present, expected=expected,
        system=filing.row.system if filing else "", done_when=f"amended:{lodged.kind}", scope=finding.scope, rule=rule)


def _waiting(trip: Trip, desk: _Desk, reference: Reference) -> list[NextAction]:
    """Nobody can act: wait for the authority, usually so long, call after that."""
    side = desk.side
    if waiting_since(side) == NEVER or side.status is None:
        return []
    dwell = reference.dwells.get((side.crossing, side.direction))
    usual = dwell.hours_p50 if dwell is not None else None
    when = call_after(Case(trip, side), reference)
    usual_text = f"{usual:g}" if usual is not None else "?"
    return [NextAction(
        role="", what=say_all("act.wait", {"authority": side.authority, "hours": usual_text, "call_after": local(when, desk.zone) if when else "-"}),
        office=side.office or side.crossing, wait_for=f"decision of {side.authority}", usual_hours=usual, call_after=when, call=desk.duty[0],
        call_hours=desk.duty[1], side=side.id, done_when="|".join(side.status.missing))]
