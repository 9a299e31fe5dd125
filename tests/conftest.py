"""Servers for every test that needs one: real, on this machine, new for each module."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.app import rarely
from agents.embedded import EmbeddedServers


def pytest_collection_finish() -> None:
    """As in a worker: what is loaded by now stays, and looking at it again and again takes a fifth of the time."""
    rarely()


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedServers]:
    """Running Kafka and PostgreSQL: `embedded.bootstrap`, `embedded.dsn`. Shared by the tests of a module only: modules make the registry's topics with
    partition counts of their own, and two seconds of start are cheaper than a test that depends on who came before it.

    Java's cache is used if this machine has it, but not recorded here: that would take a core from the tests for ten seconds."""
    with EmbeddedServers(aot="use") as servers:
        yield servers
