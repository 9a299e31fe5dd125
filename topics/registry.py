"""Every topic as a value, and who may read and write it: a pure function of the parties, authorities and crossings.

Provisioning, ACLs, the AsyncAPI document and the checks of the API all derive from here. Nothing registers itself.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, Protocol

import msgspec

from topics.codec import BYTES_IN_MAX
from topics.disclosure import for_reader as for_reader

Kind = Literal["inbound", "fold_in", "state", "border", "office", "territory", "restricted", "status", "refusals", "outcomes", "dead_letters",
               "clearance_status", "restricted_status", "readiness_revisions", "clearance_history", "readiness", "alerts", "acts"]

RAILCLEAR: Final = "railclear"
"""Principal of railclear's own workers: the only writer of everything that is not inbound."""
OPS: Final = "ops"
"""Principal of the dispatchers' board and of alert delivery."""

FOLDS: Final = ("trains", "custody", "documents", "clearance", "readiness", "sources")
STAGES: Final = ("intake", *FOLDS)
"""Every stage writes one `outcomes.<stage>` record per batch."""

PARTITIONS: Final = 24
"""Partitions of a fold's input and state, fixed at creation. A demo takes 4."""

DEAD_LETTERS: Final = "dead.letters"
ACTS: Final = "operations.acts"
"""What operators have done, as accepted: workers read it to know what is paused, the ledger keeps it."""
RESTRICTED_DEAD_LETTERS: Final = "dead.letters.restricted"
RESTRICTED_REVISIONS: Final = "restricted.revisions"
READINESS_REVISIONS: Final = "readiness.revisions"

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
BYTES_STATE_MAX: Final = 1024 * 1024
"""A key's state is at most 768 kB; the header and a margin are above it."""
BYTES_DEAD_MAX: Final = 8 * 1024 * 1024
"""Bytes travel in base64 in a dead letter, so that the largest input (4 MiB) and its headers still fit."""
BYTES_FOLD_MAX: Final = BYTES_IN_MAX + 64 * 1024
"""What intake adds (flags, received time) must not make a full-size input too large."""
assert BYTES_DEAD_MAX > BYTES_IN_MAX * 4 // 3 + 512 * 1024
assert BYTES_STATE_MAX > 768 * 1024
NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?")


class PartyLike(Protocol):
    """What the registry needs of a party row."""

    @property
    def id(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def country(self) -> str: ...


class AuthorityLike(Protocol):
    """What the registry needs of an authority row."""

    @property
    def code(self) -> str: ...


class CrossingLike(Protocol):
    """What the registry needs of a crossing row."""

    @property
    def id(self) -> str: ...
    @property
    def a_authority(self) -> str: ...
    @property
    def b_authority(self) -> str: ...
    @property
    def customs_border(self) -> bool: ...


class BadRegistry(ValueError):
    """The rows do not give a sound set of topics: names clash, an id is not usable in a topic's name, a role is unknown."""


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One topic. `config` holds Kafka's own settings, as strings on both ways."""

    name: str
    kind: Kind
    partitions: int
    config: dict[str, str]
    fixed_partitions: bool = False
    """Never grown: keys live where they were first hashed to."""
    writers: tuple[str, ...] = (RAILCLEAR,)
    readers: tuple[str, ...] = (RAILCLEAR,)
    key: str = ""
    """What the record key is."""
    accepts: tuple[str, ...] = ()
    """Tags of the events that may come in, or of what goes out."""
    bytes_max: int = BYTES_IN_MAX
    description: str = ""
    party: str = ""
    """Whose topic it is: the writing party of an inbound topic, the reading one of an outward topic; empty for internal ones."""


class PartySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A principal outside railclear and where it writes and is answered."""

    id: str
    role: str
    country: str
    """Country, or for authorities and their analysts the authority code."""
    inbound: str
    refusals: str
    status: str = ""


RAIL_TAGS = ("train.announced", "train.consist", "train.position", "train.handed_over", "train.formed", "train.wagon_set_out", "train.rerouted",
             "train.delayed")
TRADE_TAGS = ("shipment.declared", "document.linked", "filing.lodged", "request.answered", "container.bound")

ACCEPTS: Final[dict[str, tuple[str, ...]]] = {
    "railway": (*RAIL_TAGS, *TRADE_TAGS, "seal.event", "heartbeat"),
    "terminal": ("terminal.event", "seal.event", "container.bound", "heartbeat"),
    "seals": ("seal.event", "heartbeat"),
    "trade": (*TRADE_TAGS, "heartbeat"),
    "customs": ("customs.notice", "agency.notice", "seal.event", "heartbeat"),
    "agency": ("agency.notice", "heartbeat"),
    "risk": ("risk.indicator", "heartbeat"),
    "network": ("network.crossing", "heartbeat"),
    "operations": ("operations.retract", "operations.pause", "operations.drain", "operations.reopen", "operations.rebuild",
                   "heartbeat"),
}
"""What each role may say. A railway is also a carrier: it issues consignment notes, files and reads ЗПУ seals (FilingRow.role `railway`)."""

INBOUND: Final[dict[str, str]] = {
    "railway": "rail.trains",
    "terminal": "terminal.events",
    "seals": "seals.events",
    "trade": "trade.filings",
    "customs": "customs.notices",
    "agency": "agency.notices",
    "risk": "risk.indicators",
    "network": "network.control",
    "operations": "operations.control",
}
"""First words of a role's inbound topics; the party (or authority) follows."""

SHARE: Final[dict[str, int]] = {"railway": 4, "terminal": 8, "seals": 4, "trade": 4, "customs": 8}
"""Partitions of an inbound topic = those of the folds divided by this, at least 1; roles not named have one. Growing them is harmless:
nothing relies on the partitioning of outside topics."""

WITH_STATUS: Final = ("railway", "trade")
"""Roles that get their own shipments' statuses on `status.<party>`."""


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """All topics by name and all outside parties by id."""

    topics: dict[str, TopicSpec]
    parties: dict[str, PartySpec]

    def may_read(self, party: str, topic: str) -> bool:
        """Whether this principal may read this topic; a topic that does not exist is read by nobody."""
        spec = self.topics.get(topic)
        return spec is not None and party in spec.readers

    def may_write(self, party: str, topic: str) -> bool:
        """Whether this principal may write this topic."""
        spec = self.topics.get(topic)
        return spec is not None and party in spec.writers

    @property
    def inbound(self) -> tuple[TopicSpec, ...]:
        """Topics that intake reads, by name."""
        return tuple(spec for _, spec in sorted(self.topics.items()) if spec.kind == "inbound")

    def by_kind(self, kind: Kind) -> tuple[TopicSpec, ...]:
        """All topics of a kind, by name."""
        return tuple(spec for _, spec in sorted(self.topics.items()) if spec.kind == kind)


def customs_party(authority: str) -> str:
    """Party id of an authority's customs service."""
    return f"customs-{authority.lower()}"


def risk_party(authority: str) -> str:
    """Party id of an authority's risk analysts: the only readers and writers of its restricted facts."""
    return f"risk-{authority.lower()}"


def inbound_topic(role: str, party: str) -> str:
    """The one topic that a party writes: `customs.notices.kz` for customs-kz, `rail.trains.ktz` for ktz."""
    return f"{INBOUND[role]}.{party.removeprefix(f'{role}-')}"


def border_topic(crossing: str, authority: str) -> str:
    """`border.cn-kz-alashankou-dostyk.kz`."""
    return f"border.{crossing.lower()}.{authority.lower()}"


def office_topic(authority: str) -> str:
    return f"office.{authority.lower()}"


def territory_topic(authority: str) -> str:
    return f"territory.{authority.lower()}"


def restricted_topic(authority: str) -> str:
    return f"restricted.{authority.lower()}"


def status_topic(party: str) -> str:
    return f"status.{party}"


def refusals_topic(party: str) -> str:
    return f"refusals.{party}"


def outcomes_topic(stage: str) -> str:
    return f"outcomes.{stage}"


def fold_topic(fold: str) -> str:
    """Input of a fold: `trains.in`."""
    return f"{fold}.in"


def state_topic(fold: str) -> str:
    """Compacted state of a fold: `trains.state`."""
    return f"{fold}.state"


def side_topic(side_kind: str, authority: str, crossing: str = "") -> str:
    """Where a side's status goes: its border, office or territory topic."""
    if side_kind == "OFFICE":
        return office_topic(authority)
    return territory_topic(authority) if side_kind == "TERRITORY" else border_topic(crossing, authority)


_APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}
"""Of inputs it is the time that folds go by, of outputs the recorded time in the ledger: never a producer's own clock."""


def _deleted(days: int, bytes_max: int, **more: str) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS), "max.message.bytes": str(bytes_max), **_APPEND_TIME, **more}


TOMBSTONES_MS: Final = 2 * DAY_MS
"""So long a deleted key's tombstone stays after it was compacted: twice Kafka's default, and far longer than the oldest image that a restore begins with
(`agents.transport.keeper.AGE_MAX_S`): an image with the key and a log without its tombstone would bring the key back."""
SEGMENT_BYTES: Final = 64 << 20
SEGMENT_MS: Final = HOUR_MS
"""The segment that is written to is never compacted: by Kafka's defaults up to 1 GiB or a week of superseded states, and every restore would read them all."""
DIRTY_RATIO: Final = "0.2"
"""Compacted again when a fifth is not (default: half): a restore reads a quarter more than what lives at most, and the last hour or two. Each state is then
rewritten some five times, which is little beside what a fetch of a restore costs."""
assert SEGMENT_BYTES >= 8 * BYTES_STATE_MAX


def _compacted(bytes_max: int) -> dict[str, str]:
    return {"cleanup.policy": "compact", "min.compaction.lag.ms": str(HOUR_MS), "max.message.bytes": str(bytes_max), "segment.bytes": str(SEGMENT_BYTES),
            "segment.ms": str(SEGMENT_MS), "min.cleanable.dirty.ratio": DIRTY_RATIO, "delete.retention.ms": str(TOMBSTONES_MS)}


def _inbound(party: PartySpec, partitions: int) -> TopicSpec:
    share = SHARE.get(party.role)
    return TopicSpec(
        name=party.inbound, kind="inbound", partitions=max(1, partitions // share) if share else 1,
        config=_deleted(7, BYTES_IN_MAX), writers=(party.id,), key="any; if it is a business key, that of the payload",
        accepts=ACCEPTS[party.role], party=party.id, description=f"What {party.id} ({party.role}) says. Railclear reads, refusals go to {party.refusals}.")


def _outward(name: str, kind: Kind, readers: tuple[str, ...], *, partitions: int, key: str, days: int, accepts: tuple[str, ...], description: str,
             bytes_max: int = BYTES_STATE_MAX, party: str = "") -> TopicSpec:
    return TopicSpec(name=name, kind=kind, partitions=partitions, config=_deleted(days, bytes_max), readers=(*readers, RAILCLEAR), key=key,
                     accepts=accepts, bytes_max=bytes_max, description=description, party=party)


_STATUS_TAGS = ("clearance.status",)


def _of_party(party: PartySpec, partitions: int) -> list[TopicSpec]:
    out = [
        _inbound(party, partitions),
        _outward(party.refusals, "refusals", (party.id,), partitions=1, key="message id", days=30, accepts=("refusal",), party=party.id,
                 description=f"Which messages of {party.id} were refused: code, field path, value, own message id."),
    ]
    if party.status:
        out.append(_outward(party.status, "status", (party.id,), partitions=max(1, partitions // 8), key="shipment or run id", days=7,
                            accepts=(*_STATUS_TAGS, "train.readiness"), party=party.id, description=f"Statuses of the shipments that concern {party.id}."))
    return out


def _of_authority(code: str, partitions: int) -> list[TopicSpec]:
    customs, few = customs_party(code), max(1, partitions // 8)
    return [
        _outward(office_topic(code), "office", (customs,), partitions=few, key="shipment", days=7, accepts=_STATUS_TAGS, party=customs,
                 description=f"Statuses of sides at inland offices of {code}."),
        _outward(territory_topic(code), "territory", (customs,), partitions=few, key="shipment", days=7, accepts=_STATUS_TAGS, party=customs,
                 description=f"Demands of {code} on goods that cross its territory."),
        _outward(restricted_topic(code), "restricted", (customs, risk_party(code)), partitions=1, key="shipment", days=7, accepts=_STATUS_TAGS,
                 party=customs, description=f"Restricted view of {code}, computed apart: indicators, scores, campaigns. Never public."),
    ]


def _of_crossing(crossing: CrossingLike, partitions: int) -> list[TopicSpec]:
    if not crossing.customs_border:
        return []
    return [
        _outward(border_topic(crossing.id, code), "border", (customs_party(code),), partitions=max(1, partitions // 8), key="shipment", days=7,
                 accepts=_STATUS_TAGS, party=customs_party(code), description=f"Statuses of the side of {code} at {crossing.id}.")
        for code in sorted({crossing.a_authority, crossing.b_authority})
    ]


def _internal(partitions: int) -> list[TopicSpec]:
    out = []
    for fold in FOLDS:
        out.append(TopicSpec(name=fold_topic(fold), kind="fold_in", partitions=partitions, fixed_partitions=True, bytes_max=BYTES_FOLD_MAX,
                             config=_deleted(7, BYTES_FOLD_MAX), key=_FOLD_KEYS[fold], description=f"Input of the fold {fold}."))
        out.append(TopicSpec(name=state_topic(fold), kind="state", partitions=partitions, fixed_partitions=True, bytes_max=BYTES_STATE_MAX,
                             config=_compacted(BYTES_STATE_MAX), key=_FOLD_KEYS[fold], description=f"State of the fold {fold}, one record per key."))
    out += [
        TopicSpec(name=outcomes_topic(stage), kind="outcomes", partitions=1, config=_deleted(7, BYTES_STATE_MAX), bytes_max=BYTES_STATE_MAX,
                  key="topic/partition", accepts=("outcomes",), description=f"What became of every record that {stage} read, one record per batch.")
        for stage in STAGES
    ]
    return out


_FOLD_KEYS: Final = {"trains": "railway/number/date", "custody": "container", "documents": "kind:number", "clearance": "shipment", "readiness": "run",
                     "sources": "party"}


def _common(partitions: int) -> list[TopicSpec]:
    return [
        TopicSpec(name="clearance.status", kind="clearance_status", partitions=partitions, fixed_partitions=True, bytes_max=BYTES_STATE_MAX,
                  config=_compacted(BYTES_STATE_MAX), readers=(OPS, RAILCLEAR), key="shipment|side", accepts=_STATUS_TAGS,
                  description="Latest published status of every side of every shipment: restores revisions. Internal: no outside party reads it."),
        TopicSpec(name=RESTRICTED_REVISIONS, kind="restricted_status", partitions=partitions, fixed_partitions=True, bytes_max=BYTES_STATE_MAX,
                  config=_compacted(BYTES_STATE_MAX), key="shipment", accepts=_STATUS_TAGS,
                  description="The latest restricted view of a shipment, of whatever authority: restores their revisions. Covert: nobody else reads it."),
        TopicSpec(name=READINESS_REVISIONS, kind="readiness_revisions", partitions=partitions, fixed_partitions=True, bytes_max=BYTES_STATE_MAX,
                  config=_compacted(BYTES_STATE_MAX), readers=(OPS, RAILCLEAR), key="run", accepts=(),
                  description="Revisions of train.readiness, as headers without a value: restores them. Internal: no outside party reads it."),
        _outward("clearance.history", "clearance_history", (OPS,), partitions=partitions, key="shipment", days=7, accepts=_STATUS_TAGS,
                 description="Every published status. Internal: the ledger reads it."),
        _outward("train.readiness", "readiness", (OPS,), partitions=max(1, partitions // 8), key="run", days=7, accepts=("train.readiness",),
                 description="How ready the boxes on board a train are for every side ahead."),
        _outward("ops.alerts", "alerts", (OPS,), partitions=1, key="alert key", days=30, accepts=("ops.alert",),
                 description="Alerts that open and resolve; the ledger and Alertmanager take them from here."),
        TopicSpec(name=ACTS, kind="acts", partitions=1, config={**_compacted(BYTES_STATE_MAX), **_APPEND_TIME}, bytes_max=BYTES_STATE_MAX,
                  readers=(OPS, RAILCLEAR), key="what the act is about", accepts=ACCEPTS["operations"],
                  description="Acts of operators as accepted, the latest of each subject: what is paused, drained, retracted, reopened."),
        TopicSpec(name=DEAD_LETTERS, kind="dead_letters", partitions=1, config=_deleted(30, BYTES_DEAD_MAX), bytes_max=BYTES_DEAD_MAX,
                  readers=(OPS, RAILCLEAR), key="topic/partition/offset", accepts=("dead.letter",),
                  description="Refused records with their bytes, headers, position and reason."),
        TopicSpec(name=RESTRICTED_DEAD_LETTERS, kind="dead_letters", partitions=1, config=_deleted(30, BYTES_DEAD_MAX), bytes_max=BYTES_DEAD_MAX,
                  key="topic/partition/offset", accepts=("dead.letter",),
                  description="Refused records of risk analysts: covert by construction, so not where dispatchers read."),
    ]


def dead_letters_topic(role: str) -> str:
    """Where the refused record of a party of this role goes."""
    return RESTRICTED_DEAD_LETTERS if role == "risk" else DEAD_LETTERS


def _parties(parties: Iterable[PartyLike], authorities: Iterable[AuthorityLike]) -> dict[str, PartySpec]:
    """Every outside party. Customs and risk analysts of each authority exist without a row of their own."""
    found: dict[str, PartySpec] = {}
    rows = [(party.id, party.role, party.country) for party in parties]
    named = {row[0] for row in rows}
    for authority in authorities:
        implied = ((customs_party(authority.code), "customs"), (risk_party(authority.code), "risk"))
        rows += [(name, role, authority.code) for name, role in implied if name not in named]
    for name, role, country in sorted(rows):
        if role not in INBOUND:
            raise BadRegistry(f"party {name}: unknown role {role!r}")
        if name in found or name in (RAILCLEAR, OPS):
            raise BadRegistry(f"party {name}: the id is taken")
        found[name] = PartySpec(id=name, role=role, country=country, inbound=inbound_topic(role, name), refusals=refusals_topic(name),
                                status=status_topic(name) if role in WITH_STATUS else "")
    return found


def build(
    parties: Iterable[PartyLike], authorities: Iterable[AuthorityLike], crossings: Iterable[CrossingLike], *, partitions: int = PARTITIONS
) -> Registry:
    """All topics of a deployment. The same rows in any order give the same registry. Raises BadRegistry."""
    authorities = tuple(authorities)
    people = _parties(parties, authorities)
    specs: list[TopicSpec] = _internal(partitions) + _common(partitions)
    for party in people.values():
        specs += _of_party(party, partitions)
    for authority in sorted({authority.code for authority in authorities}):
        specs += _of_authority(authority, partitions)
    for crossing in crossings:
        specs += _of_crossing(crossing, partitions)
    topics: dict[str, TopicSpec] = {}
    for spec in sorted(specs, key=lambda spec: spec.name):
        if not NAME.fullmatch(spec.name):
            raise BadRegistry(f"topic {spec.name!r}: not a name of lower-case letters, digits, hyphens and dots")
        if spec.name in topics:
            raise BadRegistry(f"topic {spec.name!r}: two specifications")
        topics[spec.name] = spec
    return Registry(topics=topics, parties=people)
