"""The words of a status: states in ladder order, basis, a side's row of reference data, and the answers."""
from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec

from topics.facts import MINUTE, NEVER, Fact


class State(StrEnum):
    """In the order of the ladder (status-model section 7)."""

    REFUSED = "REFUSED"
    HELD = "HELD"
    UNDER_CONTROL = "UNDER_CONTROL"
    CONTROL_ORDERED = "CONTROL_ORDERED"
    NOT_REQUIRED = "NOT_REQUIRED"
    DEPARTED = "DEPARTED"
    CANCELLED = "CANCELLED"
    INFO_REQUESTED = "INFO_REQUESTED"
    RELEASED = "RELEASED"
    FILING_REJECTED = "FILING_REJECTED"
    SEAL_CHECK = "SEAL_CHECK"
    ARRIVED = "ARRIVED"
    PRE_CLEARED = "PRE_CLEARED"
    ACCEPTED = "ACCEPTED"
    FILED = "FILED"
    EXPECTED = "EXPECTED"


RUNG: dict[State | None, int] = {state: n for n, state in enumerate(State)}
"""Place on the ladder: 0 is the highest and worst."""


class Basis(StrEnum):
    """Why a state may be shown: the authority said it, an agreement grants it, or we infer it."""

    AUTHORITY = "AUTHORITY"
    AGREEMENT = "AGREEMENT"
    INFERRED = "INFERRED"


class DocState(IntEnum):
    """What a document is worth now; a higher value is better."""

    NONE = 0
    INVALIDATED = 1
    EXPIRED = 2
    REJECTED = 3
    SENT = 4
    REGISTERED = 5
    RELEASED = 6


class Seal(StrEnum):
    """Verdict on one seal chain at one side."""

    FAILED = "FAILED"
    READING = "READING"
    UNPROVEN = "UNPROVEN"
    OK = "OK"
    NO_READING = "NO_READING"


class SideRules(msgspec.Struct, frozen=True, kw_only=True):
    """One side's row of reference data, for one direction and one planned procedure. Members of release groups are written
    `presented`, `registered:K`, `released:K`, `ended:K` for a document kind K."""

    authority: str
    """Code of the authority that decides here."""
    side: str = ""
    """Side id. Seal readings that apply to every side count as taken here only when their value names this side."""
    filings: dict[str, bool] = {}
    """Kind of document -> due before arrival."""
    assessments: tuple[str, ...] = ()
    """Conditions about the filing: must be proven after it was registered or last amended."""
    conditions: tuple[str, ...] = ()
    """Other conditions before arrival."""
    release: tuple[frozenset[str], ...] = ()
    """Groups: every one needs one member."""
    decision: frozenset[str] = frozenset()
    """The group that decides on the goods; without one a side is never RELEASED."""
    by: dict[str, frozenset[str]] = {}
    """Kinds that other authorities of the union or convention handle too; without effect for kinds that decide."""
    per_visit: frozenset[str] = frozenset()
    """Kinds that one visit consumes."""
    per_run: frozenset[str] = frozenset()
    """Kinds that belong to a train run: their number is the run's."""
    transit: frozenset[str] = frozenset()
    """Kinds whose release opens a transit that must be ended."""
    chains: tuple[str, ...] = ()
    """Seal chains that this side looks at."""
    auto_release: frozenset[str] = frozenset()
    """Members that an agreement row in force grants; empty by default."""
    not_observed: frozenset[str] = frozenset()
    """Members that no connected source can deliver; never the decision."""
    presenters: frozenset[str] = frozenset()
    """Who may say presented besides the authority and the terminal of the place."""
    demands_only: bool = False
    """A TERRITORY: only what its authority demands is shown; NOT_REQUIRED when it demands nothing."""
    seal_skew: int = MINUTE
    """Clock skew between lock and authority, microseconds: an alarm this close to an authorised opening belongs to it."""


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """Whose message, which code, which number, when."""

    id: str
    """Id of the event that said it."""
    what: str
    """The fact's key, its parts joined with `/`."""
    source: str
    at: int
    code: str = ""
    number: str = ""
    """The official number that the message gave, else the source's record."""


def evidence_of(fact: Fact) -> Evidence:
    """The evidence that a fact is."""
    value = fact.value
    number = text_in(value, "official") or fact.record if isinstance(value, dict) else fact.record
    return Evidence(fact.id, "/".join(fact.key), fact.source, fact.at, fact.code, number)


def instant_in(value: object, name: str) -> int | None:
    """An instant that a fact's value gives: the value itself, or its field `name`; None when there is none."""
    if isinstance(value, dict):
        value = value.get(name)
    return value if type(value) is int else None


def text_in(value: object, name: str) -> str:
    """A text field of a fact's value, or ""."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


class Document(msgspec.Struct, frozen=True, gc=False):
    """One document's own life at this side. Instants in microseconds, NEVER when it has not happened."""

    kind: str
    number: str
    state: DocState = DocState.NONE
    registered_at: int = NEVER
    """Or last amended: conditions about the filing must be proven after it."""
    released_at: int = NEVER
    """In force; NEVER when revoked or ended with its document."""
    ended_at: int = NEVER
    """Used up."""
    word_at: int = NEVER
    """When its state was last decided."""
    settled_at: int = NEVER
    """Own authority: released, rejected or invalidated; what it had open about the document falls."""
    assessed_at: int = NEVER
    """Own authority: assessment complete; its controls and requests about the document fall."""
    stained: bool = False
    """Ever rejected, invalidated or revoked: no agreement releases on it."""
    valid_until: int | None = None
    official: str = ""
    """Official number."""
    decided_by: Evidence | None = None
    """What gave it its state."""
    registered_by: Evidence | None = None
    released_by: Evidence | None = None
    ended_by: Evidence | None = None
    flags: tuple[str, ...] = ()
    counts: bool = True
    """False: of another train run, or consumed by an earlier visit."""

    @property
    def alive(self) -> bool:
        """Registered, and neither rejected, invalidated nor run out since."""
        return self.state >= DocState.REGISTERED


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What the side's authority has, or had, open."""

    kind: str
    """hold, control, info, refusal."""
    subject: str
    """Document `kind/number` that it is about; "" = the goods as such."""
    reference: str
    scope: str
    record: str
    state: State | None
    """What shows; None for a request that is answered and not yet closed, and for what is closed."""
    opened_at: int
    """First stage that stands; for closed ones the first stage of all."""
    stage_at: int
    """Last stage."""
    answer_by: int | None = None
    answered: bool = False
    code: str = ""
    reason: str = ""
    evidence: Evidence | None = None
    """The last stage's message."""
    closed_at: int = NEVER
    closed_by: str = ""
    """closing, document, assessed, other_document or release."""


class Block(msgspec.Struct, frozen=True, gc=False):
    """Another agency's open demand: never changes the customs state, keeps the goods from moving."""

    agency: str
    reference: str
    phase: str
    """opened or discrepancy."""
    opened_at: int
    source: str
    reason: str = ""
    evidence: Evidence | None = None


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One seal event as this side sees it."""

    what: str
    at: int
    source: str
    seal: str = ""
    place: str = ""
    here: bool = False
    """Taken at this side in this visit."""
    explained: bool = False
    """An alarm inside an authorised opening."""
    evidence: Evidence | None = None


class SealVerdict(msgspec.Struct, frozen=True, gc=False):
    """One chain's verdict with every reading behind it."""

    chain: str
    verdict: Seal
    readings: tuple[Reading, ...] = ()
    own_good: bool = False
    """The side's own authority has a good reading here in this visit."""
    overflow: bool = False
    """More alarms or openings of one lock than are kept: lasting UNPROVEN."""


class Group(msgspec.Struct, frozen=True, gc=False):
    """One group of the release row."""

    members: tuple[str, ...]
    decides: bool = False
    satisfied_by: str = ""
    """The member that stands; "" = missing."""
    by_agreement: bool = False
    at: int = NEVER
    evidence: tuple[Evidence, ...] = ()
    not_checked: tuple[str, ...] = ()
    """Members that no connected source can deliver."""


class Condition(msgspec.Struct, frozen=True, gc=False):
    """One condition before arrival."""

    name: str
    proven: bool
    """Proven, and for an assessment: after the filing was registered or last amended."""
    word: str = ""
    at: int = NEVER
    evidence: Evidence | None = None


class ScopeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One scope of one side: the status and everything that explains it."""

    state: State
    basis: Basis
    flags: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    """Release groups without a member, each `a|b`."""
    not_checked: tuple[str, ...] = ()
    present: bool = False
    """Seen, handed over, presented or departed here in this visit."""
    ready: bool = False
    """Every condition before arrival holds, nothing is open and, once there, every chain has a good reading here."""
    movable: bool = False
    next_due: int | None = None
    """When the clock alone may change something, microseconds."""
    since: int = NEVER
    """Event time of the fact that brought the state; best effort, a pure function of the facts."""
    visit: str = "1"
    evidence: tuple[Evidence, ...] = ()
    """What stands behind state and basis."""
    documents: tuple[Document, ...] = ()
    open: tuple[Demand, ...] = ()
    closed: tuple[Demand, ...] = ()
    blocked_by: tuple[Block, ...] = ()
    seals: tuple[SealVerdict, ...] = ()
    groups: tuple[Group, ...] = ()
    conditions: tuple[Condition, ...] = ()

    @property
    def off_route(self) -> bool:
        """Cancelled because it goes another way."""
        return self.state is State.CANCELLED and "off_route" in self.flags


class SideStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One side of one shipment, rolled up over its scopes."""

    state: State
    basis: Basis
    """The weakest basis of the scopes that show the state."""
    counts: dict[State, int] = {}
    scopes: dict[str, ScopeStatus] = {}
    flags: frozenset[str] = frozenset()
    """Flags of every scope that counts, and `facts_limit`."""
    missing: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()
    present: bool = False
    ready: bool = False
    movable: bool = False
    blocked_by: tuple[Block, ...] = ()
    next_due: int | None = None
    since: int = NEVER
    evidence: tuple[Evidence, ...] = ()
