"""People are told when the loss of a broker could lose acknowledged states, when it no longer could, and nothing else."""
from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from kafka.admin import ConfigResource
from kafka.errors import KafkaConnectionError

from agents.operations.safety import alert_of, watch
from agents.provisioning import ProvisioningError, unsafe


async def told(*answers: Mapping[str, str] | Exception) -> list[str]:
    """What `watch` tells of these answers of the cluster, one after the other."""
    left, said, over = list(answers), list[str](), asyncio.Event()

    def look() -> Mapping[str, str]:
        if len(left) == 1:
            loop.call_soon_threadsafe(over.set)
        answer = left.pop(0) if left else {}
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def tell(faults: str) -> None:
        said.append(faults)

    loop = asyncio.get_running_loop()
    watching = asyncio.ensure_future(watch(look, tell, 0.01))
    await asyncio.wait_for(over.wait(), 30)
    await asyncio.sleep(0.1)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return said


class Cluster:
    """As kafka-python's administration client answers: of what may not be read it gives no settings, and no error."""

    def __init__(self, **topics: tuple[int, dict[str, str]]) -> None:
        self.topics = topics

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [{"name": name, "error_code": 0 if name in self.topics else 3,
                 "partitions": [{"replica_nodes": [0] * self.topics[name][0]}] if name in self.topics else []} for name in names]

    def describe_configs(self, asked: list[ConfigResource], config_filter: str) -> dict[str, Any]:
        assert config_filter == "all", "whoever set it, the cluster's default too"
        return {"topic": {r.name: {key: {"value": value} for key, value in self.topics[r.name][1].items()} for r in asked}} if asked else {}


def settings(in_sync: str, unclean: str) -> dict[str, str]:
    return {"min.insync.replicas": in_sync, "unclean.leader.election.enable": unclean}


def test_unsafe_is_one_replica_that_suffices_or_a_leader_that_lacks_something() -> None:
    cluster: Any = Cluster(well=(3, settings("2", "false")), one=(3, settings("1", "false")), unclean=(4, settings("3", "true")),
                           few=(2, settings("1", "true")), closed=(3, {}))
    assert unsafe(cluster, ["well", "one", "unclean", "few", "missing"]) == {
        "well": "", "one": "min.insync.replicas is 1 of 3 replicas", "unclean": "unclean.leader.election.enable is true"}
    assert unsafe(cluster, ["few", "missing"]) == {}
    with pytest.raises(ProvisioningError, match=r"topic closed may not be read: is DESCRIBE_CONFIGS granted\?"):
        unsafe(cluster, ["well", "closed"])


BAD = {"trains.state": "min.insync.replicas is 1 of 3 replicas", "sources.state": ""}
GOOD = {"trains.state": "", "sources.state": ""}


async def test_an_unsafe_topic_is_told_once_and_so_is_that_it_is_mended() -> None:
    said = "trains.state: min.insync.replicas is 1 of 3 replicas"
    assert await told(BAD, BAD, GOOD, GOOD, BAD) == [said, "", said]
    assert await told(GOOD, GOOD) == [""], "an alert of an earlier process is resolved"


async def test_few_replicas_and_a_cluster_that_does_not_answer_are_no_alert(caplog: pytest.LogCaptureFixture) -> None:
    assert await told({}, {}) == []
    assert await told(KafkaConnectionError("away"), KafkaConnectionError("away"), BAD) == ["trains.state: min.insync.replicas is 1 of 3 replicas"]
    assert "is not known (railclear topics diff shows it)" in caplog.text


async def test_many_topics_are_counted() -> None:
    (said,) = await told({f"t{n:02}": "x" for n in range(15)})
    assert said.startswith("t00: x; ")
    assert said.endswith("t09: x; and 5 more")


def test_the_alert_is_open_with_its_faults_and_resolved_without() -> None:
    assert (alert_of("g", "t: x", 5).state, alert_of("g", "", 6).state) == ("open", "resolved")
    assert alert_of("g", "t: x", 5).key == alert_of("g", "", 6).key == "TopicsUnsafe/g"
