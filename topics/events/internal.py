"""What the folds tell each other. Only railclear writes these; every message names what it was derived from."""
from __future__ import annotations

import msgspec

from topics.events.base import DocumentRef
from topics.events.customs import CustomsNotice
from topics.events.rail import (
    ConsistReported,
    HandOverSheet,
    PositionReported,
    TrainAnnounced,
    TrainDelayed,
    TrainFormed,
    TrainRerouted,
    WagonSetOut,
)
from topics.events.sites import AgencyNotice, CrossingCondition, RiskIndicator, SealEvent, TerminalEvent
from topics.events.trade import ContainerLoaded, DocumentLinked, FilingLodged, RequestAnswered, ShipmentDeclared
from topics.facts import Fact


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of messages between folds."""

    origin: str = ""
    """Id of the outside event (source/type/id) that caused it."""


class FreshnessChanged(Message, frozen=True, kw_only=True, tag="source.freshness"):
    """A source went stale or came back. Written to every partition of clearance.in."""

    source: str
    live: bool
    since: int
    last_event: int
    """Highest event time heard from the source, microseconds UTC."""


class MaskFacts(Message, frozen=True, kw_only=True, tag="source.masked"):
    """A retracted feed: facts of `source` with event time in [since, until] count as absent. `lifted` undoes it."""

    source: str
    since: int
    until: int
    record: str
    version: int = 0
    lifted: bool = False


class Milestone(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A train at one side of its route: what has happened, or when it is expected."""

    side: str
    seen: int | None = None
    handed_over: int | None = None
    departed: int | None = None
    eta: tuple[int, int, int] | None = None
    """P10, P50, P90 of arrival, on a 15-minute grid; None once seen."""
    rank: int = 4
    """Rank (topics.facts.Rank) of who reported `seen`: 4 railway, 2 sensor position."""
    evidence: str = ""
    source: str = ""
    """Party that reported `seen`."""
    handed_evidence: str = ""
    handed_source: str = ""
    departed_rank: int = 4
    departed_evidence: str = ""
    departed_source: str = ""
    bound: tuple[str, ...] = ()
    """Which of `seen`, `departed` are not reported themselves but follow from the first evidence further on: it happened at that time
    or before. No time is invented between two positions."""
    returned: tuple[int, ...] = ()
    """Event times at which the train, or this container alone, came back here: each opens the next visit."""
    returned_evidence: str = ""
    returned_source: str = ""


class Movement(Message, frozen=True, kw_only=True, tag="movement"):
    """TRAINS -> CUSTODY, one per container on board: the train's whole present picture. Replaces earlier ones of the same run."""

    container: str
    run: str
    railway: str
    number: str
    date: str
    seq: int
    """State sequence of the run: the highest wins."""
    aboard_from: int
    aboard_to: int | None = None
    """Event time at which the container left this run (set out, handed back, next train formed)."""
    wagon: str = ""
    milestones: tuple[Milestone, ...] = ()
    off_route: tuple[str, ...] = ()
    """Sides that the run no longer passes."""
    rerouted_at: int = 0
    """When that was said."""
    position: tuple[float, float, int] | None = None
    """lat, lon, at."""
    direction: str = ""
    corridor: str = ""
    next_run: str = ""
    conveyance: tuple[Fact, ...] = ()
    """Facts from notices and terminal events about the whole train, to be added to each shipment on board."""
    history_incomplete: tuple[str, ...] = ()
    """Sides before the first place where railclear heard of the run: nothing is known of them."""
    left_reason: str = ""
    """set_out, next_run, not_on_sheet, refused, not_on_consist."""
    left_place: str = ""
    cancelled: bool = False
    """The container turned out never to have been on this run (the hand-over sheet or a correction says so)."""
    starts: str = ""
    """Place where the run begins, and `leaves`: its announced departure from there. Only of a run that was announced with both."""
    leaves: int | None = None


class Binding(Message, frozen=True, kw_only=True, tag="binding"):
    """A container carries a shipment from an instant on (intake and DOCUMENTS -> CUSTODY)."""

    container: str
    shipment: str
    record: str
    """Document that says so; versions count within it."""
    version: int
    since: int
    until: int | None = None
    source: str
    seals: tuple[str, ...] = ()
    empty: bool = False
    withdrawn: bool = False
    act: str = ""
    replaces: str = ""
    firm: bool = False
    """`since` is a loading; else only the declaration, and what the container did shortly before belongs to it too."""
    direction: str = ""
    corridor: str = ""
    crossings: tuple[str, ...] = ()


class ShipmentFacts(Message, frozen=True, kw_only=True, tag="facts"):
    """DOCUMENTS or CUSTODY -> CLEARANCE: facts for one shipment."""

    shipment: str
    facts: tuple[Fact, ...]


class DocumentBound(Message, frozen=True, kw_only=True, tag="document.bound"):
    """A document covers a shipment (whole, or a scope of it). From intake (shipment.declared) or from another document's key."""

    document: DocumentRef
    shipment: str
    scope: tuple[str, ...] = ()
    """Containers covered; empty = the whole shipment."""
    record: str
    version: int
    at: int
    source: str
    via: str = ""
    """Document key that says so."""
    path: tuple[str, ...] = ()
    """Document keys from the shipment's own document to `via`: who finds itself in it does not listen."""
    containers: tuple[str, ...] = ()
    """All containers of the shipment, as its own document says."""
    boxes: tuple[str, ...] = ()
    """Containers that the goods were loaded into or out of, as far as known."""
    owners: tuple[str, ...] = ()
    """Parties whose declarations make the shipment."""
    by: tuple[str, ...] = ()
    """Parties that say that `document` continues the shipment, one of them its owner, a railway or an authority. Empty: it only cites it."""
    cites: bool = True
    """`document` is a filing that cites it: its words count although nobody says that it continues the shipment."""
    withdrawn: bool = False


class DocumentAsked(Message, frozen=True, kw_only=True, tag="document.asked"):
    """A filing or continuing document asks the document that it cites for its shipments.

    The cited key answers with DocumentBound, now and whenever that changes.
    """

    document: DocumentRef
    """The document asked."""
    asker: DocumentRef
    """Who wants to know; the answer goes to this key."""
    scope: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    """Parties that say that the asker continues this document; the one asked knows whose word counts."""
    cites: bool = True
    """The asker is a filing that cites this document; such questions are always answered."""
    record: str = ""
    version: int = 0
    at: int
    source: str
    withdrawn: bool = False


class AliasFound(Message, frozen=True, kw_only=True, tag="document.alias"):
    """Two numbers name one document (LRN -> MRN). Each tells the other the best claim to be the canonical one that it knows of, so all numbers of a
    document settle on one: the earliest filed, else the one that a message names as its document."""

    document: DocumentRef
    """Who receives this."""
    other: DocumentRef
    """The number that is the same document."""
    at: int
    source: str
    claim: DocumentRef
    """The best canonical number that `other` knows of."""
    filed_at: int | None = None
    """When `claim` was first lodged; None = not, as far as known."""
    named: bool = False
    """`claim` stood as the document in the message that stated both."""
    limited: tuple[str, ...] = ()
    """Authorities of which words were left out under `other` because there were too many, or are masked there."""
    via: tuple[str, ...] = ()
    """Keys of the numbers by which the claim came to `other`, the claimant first. Nobody believes what came through himself, so a claim that is
    withdrawn is not kept alive by those who told each other of it."""
    told: bool = False
    """`other` only knows from others that the two are one: no evidence of it."""
    version: int = 0
    withdrawn: bool = False


class Forwarded(Message, frozen=True, kw_only=True, tag="document.forwarded"):
    """An input that came under another number of the same document, handed on to the canonical key."""

    document: DocumentRef
    """The number under which it came."""
    event: (
        CustomsNotice | FilingLodged | RequestAnswered | AgencyNotice | ShipmentDeclared | ContainerLoaded | DocumentLinked | DocumentAsked
        | DocumentBound | None
    ) = None
    record: str
    """Identity of the input at the number under which it came; versions count within it."""
    version: int
    withdrawn: bool = False


class Inherited(Message, frozen=True, kw_only=True, tag="train.inherited"):
    """TRAINS -> TRAINS: what a parent run hands to the run formed from it. Replaces earlier ones of the same parent."""

    parent: str
    child: str
    child_origin: str = ""
    """Origin under which the child is known, where its name runs twice."""
    seq: int
    milestones: tuple[Milestone, ...] = ()
    containers: tuple[str, ...] = ()
    corridor: str = ""
    direction: str = ""
    crossings: tuple[str, ...] = ()
    conveyance: tuple[Fact, ...] = ()
    formed_at: int = 0


class SourceHeard(Message, frozen=True, kw_only=True, tag="source.heard"):
    """Intake -> SOURCES, at most one per source and batch: the source has spoken."""

    source: str
    last_event: int
    heard_at: int


class SourcePaused(Message, frozen=True, kw_only=True, tag="source.paused"):
    """Intake -> SOURCES: an operator has paused a source, or lets it be read again. The latest act counts."""

    source: str
    paused: bool
    at: int
    id: str = ""
    """Id of the act: of two at one instant the higher counts."""
    reason: str = ""


class Joined(Message, frozen=True, kw_only=True, tag="aboard"):
    """CUSTODY -> READINESS: a container is on (or no longer on) a run or in a yard (run id `yard:PLACE`)."""

    run: str
    container: str
    shipment: str
    wagon: str = ""
    seq: int
    aboard: bool
    at: int
    reason: str = ""


class SideSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One side of one container, as READINESS needs it."""

    side: str
    state: str
    movable: bool
    missing: tuple[str, ...] = ()
    """Filings not registered."""
    due: int | None = None
    """The last open legal deadline, microseconds UTC."""


class StatusSummary(Message, frozen=True, kw_only=True, tag="summary"):
    """CLEARANCE -> READINESS: where the sides ahead of one container's shipment stand."""

    run: str
    shipment: str
    containers: tuple[str, ...]
    revision: int
    sides: tuple[SideSummary, ...]


class RunProfile(Message, frozen=True, kw_only=True, tag="run.profile"):
    """TRAINS -> READINESS: what the run is called, its ETAs and whether it is over."""

    run: str
    railway: str
    number: str
    date: str
    seq: int
    milestones: tuple[Milestone, ...] = ()
    corridor: str = ""
    direction: str = ""
    containers: int = 0
    over: bool = False
    next_runs: tuple[str, ...] = ()


TrainsIn = (
    TrainAnnounced | ConsistReported | PositionReported | HandOverSheet | TrainFormed | WagonSetOut | TrainRerouted | TrainDelayed
    | CustomsNotice | CrossingCondition | TerminalEvent | Inherited | MaskFacts
)
CustodyIn = Movement | Binding | SealEvent | TerminalEvent | CustomsNotice | AgencyNotice | MaskFacts
DocumentsIn = (
    FilingLodged | RequestAnswered | CustomsNotice | DocumentBound | DocumentLinked | AliasFound | ShipmentDeclared | AgencyNotice | ContainerLoaded
    | DocumentAsked | Forwarded | MaskFacts
)
ClearanceIn = ShipmentFacts | ShipmentDeclared | FreshnessChanged | MaskFacts | CrossingCondition | RiskIndicator
ReadinessIn = Joined | StatusSummary | RunProfile
SourcesIn = SourceHeard | SourcePaused
