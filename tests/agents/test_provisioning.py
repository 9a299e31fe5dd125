"""Topics against a real cluster."""
from __future__ import annotations

import uuid
from collections.abc import Iterator

import msgspec
import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from agents import provisioning
from agents.embedded import EmbeddedServers
from agents.provisioning import Observed, ProvisioningError, compare, safe
from topics import registry
from topics.registry import TopicSpec

pytestmark = pytest.mark.integration

DAY_MS = "86400000"


@pytest.fixture(scope="module")
def admin(embedded: EmbeddedServers) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=embedded.bootstrap, bootstrap_timeout_ms=30_000)
    yield client
    client.close()


@pytest.fixture
def spec() -> TopicSpec:
    return TopicSpec(name=f"provisioning.{uuid.uuid4().hex[:12]}", kind="inbound", partitions=2, config={"retention.ms": DAY_MS, "cleanup.policy": "delete"})


def settled(admin: KafkaAdminClient, *specs: TopicSpec) -> None:
    provisioning.apply(admin, provisioning.plan(admin, specs, replication=1))
    assert provisioning.plan(admin, specs, replication=1).empty


def test_a_missing_topic_is_created_with_its_settings_and_then_nothing_is_left_to_do(admin: KafkaAdminClient, spec: TopicSpec) -> None:
    plan = provisioning.plan(admin, [spec], replication=1)
    assert [c.topic for c in plan.create] == [spec.name]
    assert plan.lines() == [f"create {spec.name}: 2 partitions, 1 replicas, cleanup.policy=delete, min.insync.replicas=1, retention.ms={DAY_MS}, "
                            "unclean.leader.election.enable=false"]
    provisioning.apply(admin, plan)
    assert provisioning.observe(admin, [spec.name]) == {spec.name: Observed(partitions=2, replication=1, config=spec.config | safe(1))}
    after = provisioning.plan(admin, [spec], replication=1)
    assert after.empty
    assert after.lines() == []


def test_a_dry_run_changes_nothing(admin: KafkaAdminClient, spec: TopicSpec) -> None:
    provisioning.plan(admin, [spec], replication=1)
    assert provisioning.observe(admin, [spec.name]) == {}


def test_a_changed_setting_is_altered_and_one_that_the_registry_no_longer_names_is_unset(admin: KafkaAdminClient, spec: TopicSpec) -> None:
    settled(admin, spec)
    wanted = msgspec.structs.replace(spec, config={"retention.ms": "7200000", "max.message.bytes": "2000000"})
    plan = provisioning.plan(admin, [wanted], replication=1)
    assert plan.lines() == [
        f"alter  {spec.name}: max.message.bytes (default) -> 2000000",
        f"alter  {spec.name}: retention.ms {DAY_MS} -> 7200000",
        f"unset  {spec.name}: cleanup.policy delete -> (default)",
    ]
    provisioning.apply(admin, plan)
    assert provisioning.observe(admin, [spec.name])[spec.name].config == wanted.config | safe(1)
    assert provisioning.plan(admin, [wanted], replication=1).empty


def test_an_inbound_topic_grows(admin: KafkaAdminClient, spec: TopicSpec) -> None:
    settled(admin, spec)
    wanted = msgspec.structs.replace(spec, partitions=5)
    assert provisioning.plan(admin, [wanted], replication=1).lines() == [f"grow   {spec.name}: 2 -> 5 partitions"]
    settled(admin, wanted)
    assert provisioning.observe(admin, [spec.name])[spec.name].partitions == 5


@pytest.mark.parametrize("partitions", [1, 4])
def test_another_partition_count_of_a_fixed_topic_is_refused_and_its_settings_are_still_altered(
    admin: KafkaAdminClient, spec: TopicSpec, partitions: int
) -> None:
    fixed = msgspec.structs.replace(spec, fixed_partitions=True)
    settled(admin, fixed)
    wanted = msgspec.structs.replace(fixed, partitions=partitions, config={**spec.config, "retention.ms": "7200000"})
    plan = provisioning.plan(admin, [wanted], replication=1)
    assert [(r.topic, r.code, r.has, r.wants) for r in plan.refuse] == [(spec.name, "FIXED_PARTITIONS", 2, partitions)]
    assert not plan.empty
    assert not plan.grow
    provisioning.apply(admin, plan)
    seen = provisioning.observe(admin, [spec.name])[spec.name]
    assert seen.partitions == 2
    assert seen.config["retention.ms"] == "7200000"
    left = provisioning.plan(admin, [wanted], replication=1)
    assert left.lines()[0].startswith(f"refuse {spec.name}: FIXED_PARTITIONS: has 2 partitions, wanted are {partitions}")
    assert len(left.lines()) == 1


def test_a_fixed_topic_with_the_wanted_count_is_not_refused(admin: KafkaAdminClient, spec: TopicSpec) -> None:
    settled(admin, msgspec.structs.replace(spec, fixed_partitions=True))


def test_fewer_partitions_and_other_replicas_are_refused(spec: TopicSpec) -> None:
    has = {spec.name: Observed(partitions=3, replication=1, config=spec.config | safe(1))}
    plan = compare([spec], has, replication=3)
    assert [(r.code, r.has, r.wants) for r in plan.refuse] == [("FEWER_PARTITIONS", 3, 2), ("REPLICATION", 1, 3)]
    assert compare([spec], {spec.name: Observed(partitions=2, replication=3, config=spec.config | safe(3))}, replication=3).empty


def test_what_is_acknowledged_is_on_all_replicas_but_one_and_no_other_ever_leads(spec: TopicSpec) -> None:
    assert [safe(n)["min.insync.replicas"] for n in (1, 2, 3, 5)] == ["1", "1", "2", "4"]
    (made,) = compare([spec], {}, replication=3).create
    assert made.config == spec.config | {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}
    older = {spec.name: Observed(partitions=2, replication=3, config=spec.config | {"unclean.leader.election.enable": "true"})}
    assert compare([spec], older, replication=3).lines() == [f"alter  {spec.name}: min.insync.replicas (default) -> 2",
                                                              f"alter  {spec.name}: unclean.leader.election.enable true -> false"]
    single = compare([spec], {spec.name: Observed(partitions=2, replication=1, config=spec.config)}, replication=3)
    assert [a.after["min.insync.replicas"] for a in single.alter] == ["1"], "with two it would take no record any more"


def test_a_topic_that_was_made_before_is_altered_to_what_is_safe_and_to_what_a_restore_needs(admin: KafkaAdminClient, spec: TopicSpec) -> None:
    state = registry.build([], [], [], partitions=2).topics["trains.state"]
    before = {"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000", "max.message.bytes": state.config["max.message.bytes"]}
    admin.create_topics([NewTopic(spec.name, 2, 1, topic_configs=before)], wait_for_metadata=True)
    wanted = msgspec.structs.replace(state, name=spec.name)
    plan = provisioning.plan(admin, [wanted], replication=1)
    assert set(plan.alter[0].after) == {"segment.ms", "segment.bytes", "min.cleanable.dirty.ratio", "delete.retention.ms", "min.insync.replicas",
                                        "unclean.leader.election.enable"}
    provisioning.apply(admin, plan)
    assert provisioning.observe(admin, [spec.name])[spec.name].config == wanted.config | safe(1)
    assert provisioning.plan(admin, [wanted], replication=1).empty


def test_topics_with_few_replicas_are_nobodys_surprise(admin: KafkaAdminClient, spec: TopicSpec) -> None:
    settled(admin, spec)
    assert provisioning.unsafe(admin, [spec.name, "no.such.topic"]) == {}


def test_a_topic_that_the_registry_does_not_know_is_left_alone(admin: KafkaAdminClient, spec: TopicSpec) -> None:
    other = msgspec.structs.replace(spec, name=f"{spec.name}.other")
    settled(admin, spec, other)
    settled(admin, spec)
    assert set(provisioning.observe(admin, [spec.name, other.name])) == {spec.name, other.name}


@pytest.mark.parametrize("config", [{"retention.ms": "soon"}, {"retention.milliseconds": "1"}])
def test_what_the_cluster_does_not_take_is_an_error_that_names_the_topic_and_the_others_are_made(
    admin: KafkaAdminClient, spec: TopicSpec, config: dict[str, str]
) -> None:
    wrong = msgspec.structs.replace(spec, name=f"{spec.name}.wrong", config=config)
    with pytest.raises(ProvisioningError, match=wrong.name):
        provisioning.apply(admin, provisioning.plan(admin, [spec, wrong], replication=1))
    assert set(provisioning.observe(admin, [spec.name, wrong.name])) == {spec.name}


@pytest.mark.parametrize("config", [{"retention.ms": "soon"}, {"retention.milliseconds": "1"}])
def test_a_setting_that_an_existing_topic_does_not_take_is_an_error(admin: KafkaAdminClient, spec: TopicSpec, config: dict[str, str]) -> None:
    settled(admin, spec)
    with pytest.raises(ProvisioningError, match=next(iter(config))):
        provisioning.apply(admin, provisioning.plan(admin, [msgspec.structs.replace(spec, config=config)], replication=1))


def test_more_replicas_than_brokers_is_an_error(admin: KafkaAdminClient, spec: TopicSpec) -> None:
    with pytest.raises(ProvisioningError, match=spec.name):
        provisioning.apply(admin, provisioning.plan(admin, [spec], replication=2))


class Row(msgspec.Struct, frozen=True):
    id: str = ""
    role: str = "railway"
    country: str = "KZ"
    code: str = ""
    a_authority: str = "CN"
    b_authority: str = "KZ"
    customs_border: bool = True


def test_a_whole_registry_is_settled_by_one_apply(admin: KafkaAdminClient) -> None:
    authorities = [Row(code="CN"), Row(code="KZ")]
    specs = registry.build([Row(id="ktz")], authorities, [Row(id="CN-KZ-ALASHANKOU-DOSTYK")], partitions=4).topics.values()
    wanted = [msgspec.structs.replace(spec, name=f"whole.{spec.name}") for spec in specs]  # the cluster is shared with other tests
    assert len(wanted) > 30
    settled(admin, *wanted)
