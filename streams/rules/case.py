"""What a rule is shown: one shipment (`Trip`), one of its sides (`SideCase`), and where it asks for one, a scope or a filing.

Everything here is computed once per assessment from facts; a rule reads it and changes nothing.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from streams.network.deadlines import Timing
from streams.network.sides import SideSpec
from streams.reference.model import FilingRow, Reference, SideRow
from streams.status import DocState, Document, ScopeStatus, SideRules, SideStatus
from streams.status.view import Index
from topics.events.sites import CrossingCondition
from topics.facts import NEVER, WHOLE, Fact

OURS = "railclear"
"""Source of the conditions that our rules prove."""

Content = Mapping[str, Any]
"""A filing's or shipment's content as plain builtins (topics.events.trade, as builtins)."""

Verdict = Literal["", "proven", "failed", "unknown"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule has to say. With a verdict it is a condition; shown as a finding when `severity` is set."""

    code: str
    severity: Literal["", "info", "warning", "critical"] = ""
    verdict: Verdict = ""
    at: int = NEVER
    """Event time of what proves or breaks it."""
    text: str = ""
    """Key of the sentence in the message catalogues; empty = the rule's title."""
    args: dict[str, str] = {}
    scope: str = WHOLE
    evidence: tuple[str, ...] = ()
    field: str = ""
    present: str = ""
    expected: str = ""
    since: int | None = None
    due: int | None = None
    """When the clock alone changes this finding, microseconds UTC."""
    flags: tuple[str, ...] = ()
    """Flags that it leaves on the side."""
    alert: str = ""
    """CamelCase alert that it raises; empty = none."""


class Lodged(msgspec.Struct, frozen=True, kw_only=True):
    """One filing as its filer lodged it."""

    kind: str
    number: str
    authority: str
    content: Content
    source: str
    at: int
    evidence: str
    scope: str = WHOLE
    sides: tuple[str, ...] = ()
    """Sides that it serves by its offices."""

    @property
    def name(self) -> str:
        return f"{self.kind} {self.number}"

    by_box: dict[str, Content] = {}
    """Its containers by number."""

    def covers(self, scope: str) -> bool:
        """Does it cover this scope? One that names no container covers all."""
        return scope == WHOLE or not self.by_box or scope.split("/", 1)[0] in self.by_box

    def boxes(self) -> dict[str, Content]:
        """Containers of this filing by number."""
        return self.by_box


def boxes_in(content: Content) -> dict[str, Content]:
    """The containers that a filing or note names, by number."""
    return {str(box.get("container", "")): box for box in content.get("containers", ())}


class Passage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one scope passes a side in its current visit, microseconds UTC; NEVER = not known."""

    seen: int = NEVER
    presented: int = NEVER
    departed: int = NEVER
    """When it left; NEVER while it is there, or is there again."""
    eta: tuple[int, int, int] | None = None
    """(P10, P50, P90)."""
    run: str = ""
    """The run that it leaves with."""


NOWHERE = Passage()


class FilingCase(msgspec.Struct, frozen=True, kw_only=True):
    """A filing that a side's row asks for, and how far it is."""

    kind: str
    row: FilingRow
    state: DocState
    documents: tuple[Document, ...] = ()
    filer: str = ""
    due: int | None = None
    due_first_known: int | None = None
    timing: Timing = ""
    registered_at: int | None = None
    waived: str = ""
    due_next: int | None = None
    """When the clock alone changes `timing`."""
    arrived: bool = False
    """The goods that it is asked for are at the side, or have left it."""

    @property
    def registered(self) -> bool:
        return self.state >= DocState.REGISTERED


class SideCase:
    """One side of the route with everything known of it."""

    __slots__ = (
        "authority", "classes", "crossing", "departed", "direction", "eta", "facts", "filings", "fresh", "id", "index", "kind", "left", "linked",
        "mapped", "names", "office", "office_role", "order", "passages", "placed", "presented", "procedures", "required", "rows", "rules", "run", "seen",
        "spec", "stale", "status", "summaries", "travel", "union")

    def __init__(self, id: str, authority: str, kind: str, order: int, *, crossing: str = "", office: str = "", direction: str = "",
                 required: bool = True, mapped: bool = True, union: str = "", spec: SideSpec | None = None) -> None:
        self.id, self.authority, self.kind, self.order = id, authority, kind, order
        self.crossing, self.office, self.direction, self.required, self.mapped, self.union = crossing, office, direction, required, mapped, union
        self.names: frozenset[str] = frozenset((office, crossing)) - {""}
        """Codes by which messages call it: office code, crossing id, place ids."""
        self.office_role = ""
        """OFFICE: departure, destination, inland."""
        self.spec = spec or SideSpec(id=id, authority=authority, kind=kind, order=order, crossing=crossing, office=office, customs_border=required)
        self.facts: list[Fact] = []
        self.rows: dict[str, SideRow | None] = {}
        """Scope -> row of reference data."""
        self.rules: dict[str, SideRules] = {}
        self.procedures: dict[str, str] = {}
        self.status: SideStatus | None = None
        self.filings: tuple[FilingCase, ...] = ()
        self.eta: tuple[int, int, int] | None = None
        self.seen = self.presented = NEVER
        """When the first box came, when the last was presented."""
        self.departed = NEVER
        """When the last box left; NEVER while one is there or still comes."""
        self.left = NEVER
        """When the last box left of those that have."""
        self.passages: dict[str, Passage] = {}
        """Scope -> how it passes this side."""
        self.run = ""
        self.stale = False
        self.fresh: tuple[Any, ...] = ()
        self.placed: list[Fact] = []
        """Facts about this side in particular, in slot order: `facts` without those of every side and our own conditions."""
        self.classes: list[Any] | None = None
        """What the restricted rules find here, looked for once."""
        self.index: Index | None = None
        """What the scopes of a side with several see, by which they were assessed."""
        self.linked: dict[str, list[Fact]] | None = None
        """What the customs-rail link's rules look at, sorted out once."""
        self.summaries: dict[str, Any] = {}
        """Container -> where it stands here, for train readiness, computed once."""
        self.travel: Any = None
        """Runs and departures that are said here, for train readiness, looked up once."""

    def again(self, placed: list[Fact], shared: list[Fact]) -> SideCase:
        """The same side of the route with other facts, nothing concluded yet."""
        side = SideCase.__new__(SideCase)
        for name in PLACE:
            setattr(side, name, getattr(self, name))
        side.placed, side.facts = placed, placed + shared
        side.rows, side.rules, side.procedures = {}, {}, {}
        side.status, side.eta, side.classes, side.travel, side.linked, side.index = None, None, None, None, None, None
        side.filings, side.fresh, side.summaries = (), (), {}
        side.seen = side.presented = side.departed = side.left = NEVER
        side.passages = {}
        side.run, side.stale = "", False
        return side

    def moved(self, placed: list[Fact], shared: list[Fact]) -> SideCase:
        """The same side, everything concluded but what hangs on its ETA."""
        side = SideCase.__new__(SideCase)
        for name in SideCase.__slots__:
            setattr(side, name, getattr(self, name))
        side.placed, side.facts = placed, placed + shared + self.facts[len(self.placed) + len(shared):]
        side.summaries = {}
        return side

    @property
    def arrived(self) -> bool:
        """Seen, handed over or presented, or already gone."""
        return self.seen != NEVER or self.left != NEVER

    def at(self, scope: str) -> Passage:
        """How a scope passes this side; of the whole shipment, or of one of which nothing particular is known, as all of it does."""
        found = self.passages.get(scope) if scope != WHOLE else None
        if found is None:
            found = Passage(seen=self.seen, presented=self.presented, departed=self.departed, eta=self.eta, run=self.run)
        return found

    def scope(self, name: str) -> ScopeStatus | None:
        """Status of a scope; the whole shipment's when nothing particular is known."""
        if self.status is None:
            return None
        return self.status.scopes.get(name) or self.status.scopes.get(WHOLE)

    def of(self, head: str, scope: str | None = None) -> list[Fact]:
        """Living facts by the head of their key; with a scope only those that apply to it."""
        return [f for f in self.facts if f.key[0] == head and (scope is None or f.scope in (WHOLE, scope))]


PLACE = ("authority", "crossing", "direction", "id", "kind", "mapped", "names", "office", "office_role", "order", "required", "spec", "union")
"""What a side is, whatever is said of it."""


class Trip:
    """One shipment: what was declared, what was lodged, its sides in route order."""

    __slots__ = ("any", "boxes", "by_id", "chains", "closures", "corridor", "declared", "direction", "facts", "filings", "id", "links", "lost", "notes", "now",
                 "numbers", "opted", "parties", "railways", "reached", "reference", "seal_facts", "shared", "sides")

    def __init__(self, id: str, facts: list[Fact], reference: Reference, now: int) -> None:
        self.id, self.facts, self.reference, self.now = id, facts, reference, now
        self.declared: Content = {}
        self.boxes: dict[str, Content] = {}
        """Containers of the shipment: what the note says of each (empty when it says nothing)."""
        self.filings: list[Lodged] = []
        self.notes: list[Lodged] = []
        """Earlier transport documents, to compare with the one that `boxes` comes from."""
        self.sides: list[SideCase] = []
        self.any: dict[str, list[Fact]] = {}
        """Facts that apply to every side, by the head of their key."""
        self.corridor = self.direction = ""
        self.parties: tuple[str, ...] = ()
        self.by_id: dict[str, Fact] = {f.id: f for f in facts if f.id}
        """Event id -> a fact that it gave."""
        self.seal_facts: dict[str, list[Fact]] | None = None
        self.chains: dict[str, Any] = {}
        """Container -> its seal chains, computed once."""
        self.links: dict[str, Any] = {}
        """Side -> what the customs-rail link between its two authorities rests on, computed once."""
        self.closures: dict[str, CrossingCondition] = {}
        """Crossing -> what its operator said last of it."""
        self.lost: list[Any] = []
        """Facts that name no side of the route."""
        self.shared: list[Fact] = []
        """Facts of every side that a side's status looks at."""
        self.railways: frozenset[str] = frozenset()
        """Railways that have said anything."""
        self.reached: frozenset[str] = frozenset()
        """Sides that are there only because the goods reached them."""
        self.numbers: dict[str, str] = {}
        """Container -> what is wrong with its number ("" = nothing), looked at once."""
        self.opted: dict[str, bool] = {}
        """Facilitation -> whether the carrier opted in, looked up once."""

    def again(self, facts: list[Fact], now: int) -> Trip:
        """The same shipment with more facts that change nothing of what it is: no document, no box, no side of its route."""
        trip = Trip.__new__(Trip)
        for name in Trip.__slots__:
            setattr(trip, name, getattr(self, name))
        trip.facts, trip.now = facts, now
        trip.by_id = {f.id: f for f in facts if f.id}
        trip.any, trip.links = dict(self.any), dict(self.links)
        return trip

    def side(self, id: str) -> SideCase | None:
        return next((s for s in self.sides if s.id == id), None)

    def before(self, side: SideCase) -> list[SideCase]:
        """Sides that come earlier on the route."""
        return [s for s in self.sides if s.order < side.order]

    def enrolled(self, facilitation: str) -> bool:
        """Did the carrier opt in to it for this shipment?"""
        known = self.opted.get(facilitation)
        if known is None:
            known = self.opted[facilitation] = self._enrolled(facilitation)
        return known

    def _enrolled(self, facilitation: str) -> bool:
        if facilitation in self.declared.get("enrolments", ()):
            return True
        return any(f.key == ("condition", f"{facilitation}.enrolled") and f.value == "proven" for f in self.facts if f.key[0] == "condition")

    def sealed(self) -> dict[str, list[Fact]]:
        """Scope -> what is said of its seals, in slot order."""
        if self.seal_facts is None:
            self.seal_facts = {}
            for fact in self.facts:
                if fact.key[0] == "seal":
                    self.seal_facts.setdefault(fact.scope, []).append(fact)
        return self.seal_facts

    def seals(self, scope: str) -> list[Fact]:
        """Seal facts of a container (those of the shipment apply too), oldest first."""
        sealed = self.sealed()
        found = sealed.get(scope, [])
        if scope != WHOLE and WHOLE in sealed:
            found = found + sealed[WHOLE]
        return sorted(found, key=lambda f: (f.at, f.key, f.source, f.id))

    def covering(self, kind: str, scope: str = WHOLE) -> list[Lodged]:
        """Filings of a kind that cover a scope."""
        return [f for f in self.filings if f.kind == kind and f.covers(scope)]


class Case(msgspec.Struct, frozen=True):
    """What one call of a rule is about."""

    trip: Trip
    side: SideCase
    scope: str = WHOLE
    filing: FilingCase | None = None

    @property
    def status(self) -> ScopeStatus | None:
        """Status of the scope at this side; None while conditions are being proven."""
        return self.side.scope(self.scope)
