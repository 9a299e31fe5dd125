"""What railclear says outward: status updates, readiness, alerts, refusals, dead letters, outcomes.

`ClearanceUpdate` is the one status contract; what goes to a border, office, territory or party topic is the same struct with the
sides that its reader may see (registry.py). Readers key on (shipment, side) and keep the highest revision.
"""
from __future__ import annotations

from typing import Literal

import msgspec


class Out(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of outward messages."""


class V(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of their nested values."""


class Evidence(V, frozen=True, kw_only=True):
    """An event that a status rests on: whose message, code, number, time."""

    id: str
    source: str
    at: int
    code: str = ""
    key: tuple[str, ...] = ()
    number: str = ""
    value: str = ""


class BasisSaid(V, frozen=True, kw_only=True):
    """AUTHORITY (its message, with code and number), AGREEMENT (a row with auto_release) or INFERRED (computed, not a decision)."""

    kind: Literal["AUTHORITY", "AGREEMENT", "INFERRED"]
    source: str = ""
    code: str = ""
    number: str = ""
    at: int | None = None
    evidence: str = ""


class ConditionSaid(V, frozen=True, kw_only=True):
    """A condition and what is known of it."""

    name: str
    verdict: Literal["proven", "failed", "unknown"]
    rule: str = ""
    titles: dict[str, str] = {}
    legal: str = ""
    certainty: str = ""
    evidence: tuple[str, ...] = ()
    detail: str = ""
    detail_args: dict[str, str] = {}


class FindingSaid(V, frozen=True, kw_only=True):
    """What a rule found. Explains and warns; never decides."""

    rule: str
    code: str
    severity: Literal["info", "warning", "critical"]
    titles: dict[str, str]
    """en, zh, ru."""
    texts: dict[str, str] = {}
    legal: str = ""
    certainty: str = ""
    side: str = ""
    scope: str = ""
    evidence: tuple[str, ...] = ()
    field: str = ""
    present: str = ""
    expected: str = ""
    since: int | None = None


class NextAction(V, frozen=True, kw_only=True):
    """WHO · WHAT · WHERE · BY WHEN · ELSE · DONE WHEN · CALL (design section 4)."""

    role: str
    party: str = ""
    """Filer of record or the party of that role; empty when unknown."""
    message: str = ""
    code: str = ""
    field: str = ""
    present: str = ""
    expected: str = ""
    what: dict[str, str] = {}
    """Sentence in en, zh, ru."""
    system: str = ""
    office: str = ""
    by: int | None = None
    by_border: str = ""
    """The same instant in the border's own time, ISO with offset."""
    hours_left: float | None = None
    legal: bool = False
    consequence: dict[str, str] = {}
    done_when: str = ""
    call: str = ""
    call_hours: str = ""
    wait_for: str = ""
    usual_hours: float | None = None
    call_after: int | None = None
    side: str = ""
    scope: str = ""
    rule: str = ""


class SealSaid(V, frozen=True, kw_only=True):
    """A seal chain of a container with every reading."""

    chain: str
    container: str
    verdict: str
    readings: tuple[Evidence, ...] = ()


class FilingSaid(V, frozen=True, kw_only=True):
    """A required or lodged filing of this side."""

    kind: str
    state: str
    numbers: tuple[str, ...] = ()
    filer: str = ""
    due: int | None = None
    due_first_known: int | None = None
    timing: Literal["", "open", "at_risk", "overdue", "late", "in_time"] = ""
    registered_at: int | None = None
    required: bool = True
    before_arrival: bool = True
    valid_until: int | None = None
    waived: str = ""


class FreshSaid(V, frozen=True, kw_only=True):
    """How fresh a source is that this status depends on."""

    source: str
    live: bool
    last_event: int | None = None
    age_minutes: int | None = None
    known: bool = True
    """False: nothing was ever heard from it, so its silence says nothing."""


class ScopeSaid(V, frozen=True, kw_only=True):
    """The state of one container or house item at this side."""

    scope: str
    state: str
    basis: str
    flags: tuple[str, ...] = ()
    movable: bool = False


class ClearanceUpdate(Out, frozen=True, kw_only=True, tag="clearance.status"):
    """The status of one shipment at one side (visit) at one revision."""

    shipment: str
    side: str
    visit: int = 1
    revision: int
    state: str
    basis: BasisSaid
    flags: tuple[str, ...] = ()
    counts: dict[str, int] = {}
    scopes: tuple[ScopeSaid, ...] = ()
    """Per container; at most 200, `scopes_more` counts the rest."""
    scopes_more: int = 0
    since: int | None = None
    movable: bool = False
    ready: bool = False
    blocked_by: tuple[str, ...] = ()
    present: bool = False
    missing_filings: tuple[str, ...] = ()
    missing_release: tuple[str, ...] = ()
    filings: tuple[FilingSaid, ...] = ()
    conditions: tuple[ConditionSaid, ...] = ()
    findings: tuple[FindingSaid, ...] = ()
    not_checked: tuple[str, ...] = ()
    seals: tuple[SealSaid, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    actions: tuple[NextAction, ...] = ()
    freshness: tuple[FreshSaid, ...] = ()
    eta: tuple[int, int, int] | None = None
    margin_minutes: int | None = None
    """Minutes from `assessed_at` to the first open deadline, which moves with the ETA; negative = it is over."""
    run: str = ""
    document: str = ""
    """The transport document it moves under, as `kind number`."""
    order: int = 0
    """Position of the side on the route."""
    authority: str = ""
    kind: str = ""
    crossing: str = ""
    office: str = ""
    direction: str = ""
    assessed_at: int = 0
    pack: str = ""
    """Rule pack: hash of RULES and reference."""
    carriers: tuple[str, ...] = ()
    """Parties (railways, forwarders) that this shipment concerns: who gets it on status.<party>."""


class Alert(Out, frozen=True, kw_only=True, tag="ops.alert"):
    """Something a person must know. Opens and resolves by `key`."""

    key: str
    """Stable identity: name/shipment/side …"""
    name: str
    """CamelCase name as in Prometheus and the runbooks."""
    severity: Literal["info", "warning", "critical"]
    state: Literal["open", "resolved"]
    seq: int
    at: int
    titles: dict[str, str] = {}
    shipment: str = ""
    side: str = ""
    run: str = ""
    container: str = ""
    rule: str = ""
    call: str = ""
    call_hours: str = ""
    detail: str = ""
    runbook: str = ""


class ReadinessSide(V, frozen=True, kw_only=True):
    """One side ahead of a train."""

    side: str
    total: int
    movable: int
    held: int
    missing: int
    """Containers with a filing not registered that is due before arrival."""
    missing_kinds: dict[str, int] = {}
    states: dict[str, int] = {}
    eta: tuple[int, int, int] | None = None
    margin_minutes: int | None = None
    """Minutes from `at` to the first open deadline of a box on board; negative = it is over."""
    seen: int | None = None
    departed: int | None = None


class TrainReadiness(Out, frozen=True, kw_only=True, tag="train.readiness"):
    """How ready the boxes on board are for every side ahead: "41 of 43 movable, 1 held, 1 ENS missing"."""

    run: str
    railway: str
    number: str
    date: str
    revision: int
    containers: int
    sides: tuple[ReadinessSide, ...]
    corridor: str = ""
    direction: str = ""
    at: int = 0
    over: bool = False


class RefusalNotice(Out, frozen=True, kw_only=True, tag="refusal"):
    """To the sender: which of your messages was refused, why, where."""

    party: str
    code: str
    path: str
    value: str = ""
    """The offending value, cut to 200 characters."""
    reason: str = ""
    message_id: str = ""
    topic: str
    partition: int
    offset: int
    at: int


class DeadLetter(Out, frozen=True, kw_only=True, tag="dead.letter"):
    """The original record, kept whole: bytes, headers, position and reason."""

    stage: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    code: str
    path: str = ""
    reason: str = ""
    party: str = ""


class ExceptionalOutcome(V, frozen=True, kw_only=True):
    """An input that was not simply applied."""

    offset: int
    fate: Literal["duplicate", "superseded", "waiting", "refused", "parked", "redelivered"]
    """redelivered: read again after a crash and already held; its real fate stands in an earlier record that covers this offset."""
    reason: str = ""
    path: str = ""
    until: int | None = None


class BatchOutcomes(Out, frozen=True, kw_only=True, tag="outcomes"):
    """One per batch and stage, before its ack: every offset in [first, last] was applied, except those listed.

    A range may be published again after a crash. The fate of an offset is the last record that covers it without calling it redelivered.
    """

    stage: str
    topic: str
    partition: int
    first: int
    last: int
    count: int
    exceptions: tuple[ExceptionalOutcome, ...] = ()
    absent: tuple[tuple[int, int], ...] = ()
    """Ranges of offsets inside [first, last] that hold no record (transaction markers, compaction)."""
    at: int = 0
    derived: int = 0
    """How many records this batch published to `*.in` topics."""


class SourceStatus(Out, frozen=True, kw_only=True, tag="source.status"):
    """Freshness of a writing party, as intake's watcher knows it."""

    source: str
    live: bool
    since: int
    last_event: int


Outward = ClearanceUpdate | Alert | TrainReadiness | RefusalNotice | DeadLetter | BatchOutcomes | SourceStatus
