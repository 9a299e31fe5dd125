"""Three brokers: a state topic that may lose what was acknowledged is an alert of the worker, until `topics apply` has mended it."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from agents import provisioning
from agents import reference as reference_files
from agents.embedded.quorum import Quorum
from agents.settings import group_of
from tests.agents.test_cli_kafka import records
from tests.integration.test_transport_worker import LONG, Run
from topics import registry
from topics.events.outputs import Alert

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore::ResourceWarning")]

KNOWN = reference_files.load(None)
TOPICS = registry.build(KNOWN.parties.values(), KNOWN.authorities.values(), KNOWN.crossings.values(), partitions=2).topics
SPECS = [TOPICS[name] for name in ("sources.in", "sources.state", "outcomes.sources", "dead.letters", "ops.alerts")]
STATE = "sources.state"


@pytest.fixture(scope="module")
def quorum() -> Iterator[Quorum]:
    with Quorum() as made:
        yield made


def alerts(bootstrap: str) -> list[Alert]:
    return [msgspec.json.decode(record.value, type=Alert) for record in records(bootstrap, "ops.alerts")]


def test_an_unsafe_state_topic_is_an_alert_until_apply_has_mended_it(quorum: Quorum, tmp_path: Path) -> None:
    admin = KafkaAdminClient(bootstrap_servers=quorum.bootstrap.split(","))
    provisioning.apply(admin, provisioning.plan(admin, SPECS, replication=3))
    assert provisioning.observe(admin, [STATE])[STATE].config.items() >= {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}.items()
    assert provisioning.unsafe(admin, [STATE]) == {STATE: ""}
    admin.alter_configs([ConfigResource("TOPIC", STATE, {"min.insync.replicas": "1", "unclean.leader.election.enable": "true"})])
    fault = "min.insync.replicas is 1 of 3 replicas and unclean.leader.election.enable is true"

    runs: list[Run] = []
    try:
        runs.append(run := Run(quorum.bootstrap, tmp_path, STAGES="sources"))
        run.until(lambda: bool(alerts(quorum.bootstrap)), "the alert")
        run.until(lambda: run.ready()[0] == 200, "ready all the same")
        run.process.terminate()
        assert run.process.wait(LONG) == 0
        plan = provisioning.plan(admin, SPECS, replication=3)
        assert plan.lines() == [f"alter  {STATE}: min.insync.replicas 1 -> 2", f"alter  {STATE}: unclean.leader.election.enable true -> false"]
        provisioning.apply(admin, plan)
        runs.append(again := Run(quorum.bootstrap, tmp_path, STAGES="sources"))
        again.until(lambda: len(alerts(quorum.bootstrap)) > 1, "the end of the alert")
    finally:
        for one in runs:
            one.process.kill()
            one.process.wait()
        admin.close()
    key = f"TopicsUnsafe/{group_of('railclear', ('sources',))}"
    assert [(a.key, a.severity, a.state, a.detail) for a in alerts(quorum.bootstrap)] == [
        (key, "warning", "open", f"{STATE}: {fault}"), (key, "warning", "resolved", "")]
