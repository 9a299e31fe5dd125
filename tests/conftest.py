"""Servers for every test that needs one: started once in a session, real, on this machine."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.embedded import EmbeddedServers


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedServers]:
    """Running Kafka and PostgreSQL: `embedded.bootstrap`, `embedded.dsn`. Shared, so each test takes topic names and a schema of its own.

    Java's cache is used if this machine has it, but not recorded here: that would take a core from the tests for ten seconds."""
    with EmbeddedServers(aot="use") as servers:
        yield servers
