"""A worker over TLS with SCRAM and rights that refuse by default: it runs with exactly what it needs, and says so when a right is missing."""
from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType, ScramMechanism, UserScramCredentialUpsertion
from kafka.admin import ACLResourcePatternType as Pattern

from agents.embedded.jars import aot_file, cache_directory, class_path
from agents.embedded.kafka import Broker
from agents.embedded.security import Secured, secure
from agents.transport.claim import OWNERS
from agents.transport.fatal import EXIT_CRASH, EXIT_REFUSED
from tests.integration.runner_bench import LONG, Bench, Load, check_nothing_lost

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

USER, PASSWORD = "railclear-worker", "a-word-for-tests-only"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Secured]]:
    made = secure(tmp_path_factory.mktemp("secure"))
    cache = cache_directory()
    classpath = class_path(cache)
    with Broker(classpath, conf=made.conf, scram=made.scram, aot=aot_file(cache, classpath)) as broker:
        yield broker, made


@pytest_asyncio.fixture(loop_scope="session")
async def bench(secured: tuple[Broker, Secured], tmp_path: Path) -> AsyncIterator[Bench]:
    broker, made = secured
    security = {
        "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": made.username,
        "sasl_plain_password": made.password, "ssl_context": ssl.create_default_context(cafile=str(made.ca_file)),
    }  # fmt: skip
    async with Bench(broker.bootstrap, tmp_path, security=security) as bench:
        admin = bench.admin()
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, password=PASSWORD, iterations=8192)])
        admin.close()
        yield bench


def right(operation: ACLOperation, kind: ResourceType, name: str, pattern: Pattern = Pattern.LITERAL) -> ACL:
    return ACL(principal=f"User:{USER}", host="*", operation=operation, permission_type=ACLPermissionType.ALLOW,
               resource_pattern=ResourcePattern(kind, name, pattern))


def rights(bench: Bench, *, inputs: bool = True) -> list[ACL]:
    """What a worker with one fold needs, and nothing else."""
    name, fold = bench.name, bench.fold
    found = [right(ACLOperation.READ, ResourceType.TOPIC, t) for t in (fold.state_topic, *fold.revision_topics, *([f"{name}.in"] if inputs else []))]
    outputs = (fold.state_topic, *fold.revision_topics, f"{name}.out", f"outcomes.{name}", "dead.letters")
    found += [right(ACLOperation.WRITE, ResourceType.TOPIC, t) for t in outputs]
    found.append(right(ACLOperation.READ, ResourceType.GROUP, name))
    found += [right(ACLOperation.WRITE, ResourceType.TRANSACTIONAL_ID, f"{OWNERS}{name}", Pattern.PREFIXED)]
    return found


def client(secured: tuple[Broker, Secured], password: str = PASSWORD) -> dict[str, Any]:
    return {"sasl_username": USER, "sasl_password": password, "ssl_cafile": str(secured[1].ca_file)}


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_a_worker_runs_over_tls_with_exactly_the_rights_it_needs(bench: Bench, secured: tuple[Broker, Secured], exactly_once: bool) -> None:
    admin = bench.admin()
    assert admin.create_acls(rights(bench))["failed"] == []
    admin.close()
    load = Load(bench, 31)
    worker = bench.worker(exactly_once=exactly_once, **client(secured))
    await load.run(2)
    worker.kill()
    bench.worker(exactly_once=exactly_once, **client(secured))
    await load.run(1)
    await check_nothing_lost(bench, load)
    assert "AuthorizationFailed" not in bench.logged(), "describing its own group and topics needs no more rights"


async def test_without_the_right_to_read_its_input_a_worker_does_not_run_on_in_silence(bench: Bench, secured: tuple[Broker, Secured]) -> None:
    admin = bench.admin()
    assert admin.create_acls([*rights(bench, inputs=False), right(ACLOperation.DESCRIBE, ResourceType.TOPIC, f"{bench.name}.in")])["failed"] == []
    admin.close()
    worker = bench.worker(**client(secured))
    assert worker.wait(LONG) not in (0, EXIT_REFUSED), bench.said_by_workers()
    assert "TopicAuthorizationFailed" in bench.logged()


async def test_without_the_right_to_read_its_group_a_worker_ends_and_says_so_instead_of_hanging_in_silence(
    bench: Bench, secured: tuple[Broker, Secured],
) -> None:
    admin = bench.admin()
    assert admin.create_acls([r for r in rights(bench) if r.resource_pattern.resource_type != ResourceType.GROUP])["failed"] == []
    admin.close()
    worker = bench.worker(**client(secured))
    assert worker.wait(LONG) == EXIT_CRASH, bench.said_by_workers()
    assert "GroupAuthorizationFailed" in bench.logged()


async def test_without_the_right_to_write_its_state_a_worker_refuses_and_names_it(bench: Bench, secured: tuple[Broker, Secured]) -> None:
    admin = bench.admin()
    state = bench.fold.state_topic
    granted = [r for r in rights(bench) if (r.operation, r.resource_pattern.resource_name) != (ACLOperation.WRITE, state)]
    assert len(granted) == len(rights(bench)) - 1
    assert admin.create_acls(granted)["failed"] == []
    admin.close()
    worker = bench.worker(**client(secured))
    assert worker.wait(LONG) == EXIT_REFUSED, bench.said_by_workers()
    assert re.search(rf"WRITE on .*{re.escape(state)}.* is not granted", bench.logged())


async def test_without_the_right_to_its_transactional_ids_a_worker_refuses_since_it_could_shut_nobody_out(
    bench: Bench, secured: tuple[Broker, Secured],
) -> None:
    admin = bench.admin()
    granted = [r for r in rights(bench) if r.resource_pattern.resource_type != ResourceType.TRANSACTIONAL_ID]
    assert admin.create_acls(granted)["failed"] == []
    admin.close()
    worker = bench.worker(**client(secured))
    assert worker.wait(LONG) == EXIT_REFUSED, bench.said_by_workers()
    assert f"WRITE on transactional id {OWNERS}{bench.fold.state_topic}-" in bench.logged()


async def test_a_wrong_password_ends_the_worker_and_its_log_says_why(bench: Bench, secured: tuple[Broker, Secured]) -> None:
    worker = bench.worker(**client(secured, "wrong"))
    assert worker.wait(LONG) != 0
    assert "SaslAuthenticationFailed" in bench.logged()
