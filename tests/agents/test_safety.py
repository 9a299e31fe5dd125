"""People are told when the loss of a broker could lose acknowledged states, when it no longer could, and nothing else."""
from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ConfigResource
from kafka.errors import KafkaConnectionError

from agents.operations.safety import alert_of, watch
from agents.provisioning import ProvisioningError, unsafe

ROOT = Path(__file__).resolve().parents[2]


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


async def test_no_error_of_a_client_ends_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    """Clients raise what nobody has listed: a closed connection's RuntimeError, an answer of another shape."""
    said = "trains.state: min.insync.replicas is 1 of 3 replicas"
    assert await told(RuntimeError("the client is closed"), IndexError(), BAD) == [said]
    assert "is not known (railclear topics diff shows it): the client is closed" in caplog.text
    assert "IndexError()" in caplog.text


async def test_an_alert_that_cannot_be_told_is_told_at_the_next_look() -> None:
    said, over = list[str](), asyncio.Event()

    async def tell(faults: str) -> None:
        said.append(faults)
        if len(said) == 1:
            raise RuntimeError("the producer is closed")
        over.set()

    watching = asyncio.ensure_future(watch(lambda: BAD, tell, 0.01))
    await asyncio.wait_for(over.wait(), 30)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert said == ["trains.state: min.insync.replicas is 1 of 3 replicas"] * 2


HANGS = """
import asyncio, time
from agents.operations.safety import watch

async def main():
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    def look():
        loop.call_soon_threadsafe(asked.set)
        time.sleep(300)
    async def tell(faults):
        pass
    watching = asyncio.ensure_future(watch(look, tell))
    await asked.wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    print("stopped", flush=True)

asyncio.run(main())
"""


def test_a_look_that_hangs_holds_up_no_stop() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], cwd=ROOT, capture_output=True, text=True, timeout=150, check=True)
    assert (done.stdout, done.stderr) == ("stopped\n", "")


async def test_many_topics_are_counted() -> None:
    (said,) = await told({f"t{n:02}": "x" for n in range(15)})
    assert said.startswith("t00: x; ")
    assert said.endswith("t09: x; and 5 more")


def test_the_alert_is_open_with_its_faults_and_resolved_without() -> None:
    assert (alert_of("g", "t: x", 5).state, alert_of("g", "", 6).state) == ("open", "resolved")
    assert alert_of("g", "t: x", 5).key == alert_of("g", "", 6).key == "TopicsUnsafe/g"
