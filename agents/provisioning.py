"""Topics as the registry wants them: describe, compare, apply. Running it again changes nothing.

Never done here: deleting a topic, changing the partition count of a topic with fixed partitions, fewer partitions, another replication factor.
What is wanted but not done is a named refusal.
"""
from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Protocol

import msgspec
from kafka import KafkaAdminClient
from kafka.admin import AlterConfigOp, ConfigResource, NewTopic
from kafka.errors import KafkaError

TIMEOUT_MS: Final = 30_000
"""For one request to the cluster: creating some hundred topics takes seconds on a small machine."""
READY_MS: Final = 60_000
"""Until new topics have a leader for every partition."""
SETTLE_S: Final = 30.0


UNCLEAN: Final = "unclean.leader.election.enable"
IN_SYNC: Final = "min.insync.replicas"
REPLICAS_SAFE: Final = 3
"""From so many replicas on a topic survives the loss of a broker only if more than one of them has what was acknowledged."""


def safe(replication: int) -> dict[str, str]:
    """Settings of every topic that follow from its replicas: what was acknowledged is on all of them but one at least, and no replica that lacks it ever
    leads. By Kafka's defaults one replica suffices, so that the loss of one disk can lose what was acknowledged to everybody."""
    return {UNCLEAN: "false", IN_SYNC: str(max(1, replication - 1))}


class TopicLike(Protocol):
    """What provisioning needs of a `TopicSpec`."""

    @property
    def name(self) -> str: ...
    @property
    def partitions(self) -> int: ...
    @property
    def config(self) -> dict[str, str]: ...
    @property
    def fixed_partitions(self) -> bool: ...


class ProvisioningError(Exception):
    """The cluster did not do what the plan says; the text names the topic and the cluster's answer."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as the cluster has it. `config`: only what was set on the topic itself."""

    partitions: int
    replication: int
    config: dict[str, str]


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """A topic that is missing."""

    topic: str
    partitions: int
    replication: int
    config: dict[str, str]


class Grow(msgspec.Struct, frozen=True, kw_only=True):
    """More partitions, for topics on whose partitioning nothing relies."""

    topic: str
    before: int
    after: int


class Alter(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that have another value (or none, then `before` is empty)."""

    topic: str
    before: dict[str, str]
    after: dict[str, str]


class Unset(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the topic that the registry does not know: back to the cluster's default."""

    topic: str
    before: dict[str, str]


RefusalCode = Literal["FIXED_PARTITIONS", "FEWER_PARTITIONS", "REPLICATION"]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry wants and provisioning does not do, and why."""

    topic: str
    code: RefusalCode
    has: int
    wants: int

    @property
    def reason(self) -> str:
        """For people."""
        what = "replicas" if self.code == "REPLICATION" else "partitions"
        return f"has {self.has} {what}, wanted are {self.wants}: {_REASONS[self.code]}"


_REASONS: Final[dict[RefusalCode, str]] = {
    "FIXED_PARTITIONS": "its keys live where they were first hashed to, so the count is fixed at creation; keep the count, or migrate to a new deployment",
    "FEWER_PARTITIONS": "Kafka cannot take partitions away",
    "REPLICATION": "replicas are moved with Kafka's own reassignment",
}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What `apply` would do, in order of topic names, and what it refuses."""

    create: tuple[Create, ...] = ()
    grow: tuple[Grow, ...] = ()
    alter: tuple[Alter, ...] = ()
    unset: tuple[Unset, ...] = ()
    refuse: tuple[Refused, ...] = ()

    @property
    def empty(self) -> bool:
        """The cluster has what the registry wants: nothing to do and nothing refused."""
        return not (self.create or self.grow or self.alter or self.unset or self.refuse)

    def lines(self) -> list[str]:
        """For people, one change a line."""
        out = [f"create {c.topic}: {c.partitions} partitions, {c.replication} replicas, {_settings(c.config)}" for c in self.create]
        out += [f"grow   {g.topic}: {g.before} -> {g.after} partitions" for g in self.grow]
        out += [f"alter  {a.topic}: {name} {a.before.get(name, '(default)')} -> {value}" for a in self.alter for name, value in sorted(a.after.items())]
        out += [f"unset  {u.topic}: {name} {value} -> (default)" for u in self.unset for name, value in sorted(u.before.items())]
        out += [f"refuse {r.topic}: {r.code}: {r.reason}" for r in self.refuse]
        return out


def _settings(config: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(config.items())) or "default settings"


def compare(specs: Iterable[TopicLike], observed: Mapping[str, Observed], *, replication: int) -> Plan:
    """What is missing to have `specs`, each with what is safe for the replicas that it has; topics that the registry does not know are left alone."""
    create, grow, alter, unset, refuse = [], [], [], [], []
    for spec in sorted(specs, key=lambda spec: spec.name):
        has = observed.get(spec.name)
        if has is None:
            create.append(Create(topic=spec.name, partitions=spec.partitions, replication=replication, config={**spec.config, **safe(replication)}))
            continue
        wants = {**spec.config, **safe(has.replication)}  # not the wanted replicas: a topic with one would take no record any more
        if spec.partitions != has.partitions:
            if spec.fixed_partitions or spec.partitions < has.partitions:
                code: RefusalCode = "FIXED_PARTITIONS" if spec.fixed_partitions else "FEWER_PARTITIONS"
                refuse.append(Refused(topic=spec.name, code=code, has=has.partitions, wants=spec.partitions))
            else:
                grow.append(Grow(topic=spec.name, before=has.partitions, after=spec.partitions))
        if has.replication != replication:
            refuse.append(Refused(topic=spec.name, code="REPLICATION", has=has.replication, wants=replication))
        if changed := {name: value for name, value in wants.items() if has.config.get(name) != value}:
            alter.append(Alter(topic=spec.name, before={name: has.config[name] for name in changed if name in has.config}, after=changed))
        if unknown := {name: value for name, value in has.config.items() if name not in wants}:
            unset.append(Unset(topic=spec.name, before=unknown))
    return Plan(create=tuple(create), grow=tuple(grow), alter=tuple(alter), unset=tuple(unset), refuse=tuple(refuse))


def observe(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, Observed]:
    """These topics as the cluster has them; those that do not exist are left out. Raises ProvisioningError."""
    try:
        # Asking for a missing topic is no error here, but asking for its settings looks like a topic with none: so in this order.
        found = {t["name"]: t for t in admin.describe_topics(sorted(names)) if not _missing(t)}
        described = admin.describe_configs([ConfigResource("TOPIC", name) for name in found], config_filter="modified") if found else {"topic": {}}
    except KafkaError as error:
        raise ProvisioningError(f"the cluster does not describe its topics: {_short(error)}") from error
    return {
        name: Observed(partitions=len(topic["partitions"]), replication=len(topic["partitions"][0]["replica_nodes"]),
                       config={key: entry["value"] for key, entry in described["topic"][name].items()})
        for name, topic in found.items()
    }


def unsafe(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, str]:
    """Those of these topics that have replicas enough, and why the loss of a broker may lose acknowledged records of it all the same (empty: it may not), by
    what holds in the cluster whoever set it. Topics with fewer replicas are nobody's surprise and left out. Raises ProvisioningError."""
    try:
        copies = {t["name"]: len(t["partitions"][0]["replica_nodes"]) for t in admin.describe_topics(sorted(names)) if not _missing(t)}
        many = [name for name, count in copies.items() if count >= REPLICAS_SAFE]
        asked = [ConfigResource("TOPIC", name, {UNCLEAN: None, IN_SYNC: None}) for name in many]
        described = admin.describe_configs(asked, config_filter="all").get("topic", {}) if asked else {}
    except KafkaError as error:
        raise ProvisioningError(f"the cluster does not describe its topics: {_short(error)}") from error
    found = {}
    for name in many:
        has = {key: entry["value"] for key, entry in described.get(name, {}).items()}
        if not has.keys() >= {IN_SYNC, UNCLEAN}:        # the client gives no error here, only no settings
            raise ProvisioningError(f"the settings of topic {name} may not be read: is DESCRIBE_CONFIGS granted?")
        faults = []
        if int(has[IN_SYNC]) < 2:
            faults.append(f"{IN_SYNC} is {has[IN_SYNC]} of {copies[name]} replicas")
        if has[UNCLEAN] != "false":
            faults.append(f"{UNCLEAN} is {has[UNCLEAN]}")
        found[name] = " and ".join(faults)
    return found


UNKNOWN_TOPIC: Final = 3


def _missing(topic: Mapping[str, Any]) -> bool:
    if topic["error_code"] not in (0, UNKNOWN_TOPIC):
        raise ProvisioningError(f"topic {topic['name']}: the cluster answers with error {topic['error_code']}")
    return bool(topic["error_code"])


def plan(admin: KafkaAdminClient, specs: Iterable[TopicLike], *, replication: int) -> Plan:
    """What `apply` would do now. Changes nothing: this is the dry run. Raises ProvisioningError."""
    specs = tuple(specs)
    return compare(specs, observe(admin, (spec.name for spec in specs)), replication=replication)


def apply(admin: KafkaAdminClient, plan: Plan) -> None:
    """Do what the plan says, save what it refuses. Each topic stands alone: of a refused one the settings are still altered. Raises ProvisioningError
    with all failures; what succeeded stays, and the next plan has the rest."""
    failed = _create(admin, plan.create) + _grow(admin, plan.grow) + _configure(admin, plan)
    if failed:
        raise ProvisioningError("; ".join(failed))
    _settle(admin, plan)


def _create(admin: KafkaAdminClient, wanted: tuple[Create, ...]) -> list[str]:
    if not wanted:
        return []
    topics = [NewTopic(c.topic, c.partitions, c.replication, topic_configs=c.config) for c in wanted]
    try:
        answer = admin.create_topics(topics, timeout_ms=TIMEOUT_MS, raise_errors=False)
        failed = {t["name"]: t["error_message"] or f"error {t['error_code']}" for t in answer["topics"] if t["error_code"]}
        admin.wait_for_topics([c.topic for c in wanted if c.topic not in failed], timeout_ms=READY_MS)
    except KafkaError as error:
        return [f"topics are not created: {_short(error)}"]
    return [f"topic {name} is not created: {why}" for name, why in failed.items()]


def _grow(admin: KafkaAdminClient, wanted: tuple[Grow, ...]) -> list[str]:
    failed = []
    for grow in wanted:
        try:
            admin.create_partitions({grow.topic: grow.after}, timeout_ms=TIMEOUT_MS)
        except KafkaError as error:
            failed.append(f"topic {grow.topic} does not grow to {grow.after} partitions: {_short(error)}")
    return failed


def _configure(admin: KafkaAdminClient, plan: Plan) -> list[str]:
    changes: dict[str, dict[str, Any]] = {}
    for alter in plan.alter:
        changes.setdefault(alter.topic, {}).update(alter.after)
    for unset in plan.unset:
        changes.setdefault(unset.topic, {}).update(dict.fromkeys(unset.before, (AlterConfigOp.DELETE, None)))
    if not changes:
        return []
    try:
        answer = admin.alter_configs([ConfigResource("TOPIC", name, change) for name, change in sorted(changes.items())])["topic"]
    except (KafkaError, ValueError) as error:  # ValueError: a setting that the cluster does not know
        return [f"settings are not altered: {_short(error)}"]
    return [f"topic {name} does not take its settings: {said}" for name, said in answer.items() if said != "OK"]


def _settle(admin: KafkaAdminClient, plan: Plan) -> None:
    """Until a look at the cluster shows what was done: it answers from a copy that is some milliseconds behind. Raises ProvisioningError."""
    changed = {c.topic for part in (plan.create, plan.grow, plan.alter, plan.unset) for c in part}
    end = time.monotonic() + SETTLE_S
    while changed and not _shows(observe(admin, changed), plan):
        if time.monotonic() > end:
            raise ProvisioningError(f"the cluster does not show the changes after {SETTLE_S:.0f} s")
        time.sleep(0.01)


def _shows(observed: Mapping[str, Observed], plan: Plan) -> bool:
    return (
        all(c.topic in observed for c in plan.create)
        and all(observed[g.topic].partitions == g.after for g in plan.grow)
        and all(observed[a.topic].config.get(name) == value for a in plan.alter for name, value in a.after.items())
        and not any(name in observed[u.topic].config for u in plan.unset for name in u.before)
    )


def _short(error: Exception) -> str:
    return str(error).split(" Request:", 1)[0][:300]  # the client's text embeds the whole request
