"""Which servers a command talks to: `--at DIR` (a running or kept demo), or configured addresses; else a clear line and exit code 2.

The servers of a kept demo run for as long as the command does.
"""
from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.conn import collect_hosts
from aiokafka.errors import KafkaError as ClientError
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from agents import embedded
from agents import reference as reference_files
from agents.cli.common import CliError, environment, err
from agents.embedded.processes import is_free
from agents.ledger.queries import Ledger
from agents.ledger.writer import security_of
from agents.provisioning import ProvisioningError
from agents.settings import Settings, load
from streams.network.calendar import side_zone
from streams.reference.model import Reference
from streams.reference.refused import ReferenceRefused
from topics import registry
from topics.events.outputs import ClearanceUpdate
from topics.registry import Registry

REACH_S = 30.0
ADMIN_S = 5.0
_opened = ExitStack()
"""Servers of a kept demo that this command started."""

HOW = "give --at DIR (a running or kept demo), or {flag}, or {env}, or --config FILE"


class Servers:
    """Addresses, and what follows from them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def reference(self) -> Reference:
        """Raises CliError when the overlay is not sound."""
        try:
            return reference_files.load(Path(self.settings.overlay) if self.settings.overlay else None)
        except (ReferenceRefused, NotADirectoryError) as error:
            raise CliError(str(error)) from error

    def registry(self) -> Registry:
        """The topics of this deployment."""
        known = self.reference
        return registry.build(known.parties.values(), known.authorities.values(), known.crossings.values(), partitions=self.settings.partitions)

    def zone(self, said: ClearanceUpdate) -> str:
        """Time zone in which a side's people live."""
        return side_zone(self.reference, said.authority, said.crossing, said.office)

    def security(self) -> dict[str, Any]:
        """aiokafka's security arguments."""
        s = self.settings
        return security_of(s.security_protocol, s.sasl_username, s.sasl_password, s.ssl_cafile)


def find(
    at: Path | None, *, bootstrap: str | None = None, dsn: str | None = None, config: Path | None = None, overlay: Path | None = None, need: str = "",
) -> Servers:
    """Raises CliError when there is nothing to talk to. `need`: bootstrap or dsn; empty: whichever of the two the caller's options name."""
    arguments: dict[str, Any] = {"bootstrap": bootstrap, "dsn": dsn}
    if at is not None:
        arguments = _joined(at, need)
    if overlay is not None:
        arguments["overlay"] = str(overlay)
    settings = load(arguments, environment(), config)
    for name in ("bootstrap", "dsn"):
        if need == name and not getattr(settings, name):
            server = "Kafka" if name == "bootstrap" else "PostgreSQL"
            raise CliError(f"no {server} to talk to: " + HOW.format(flag=f"--{name}", env=f"RAILCLEAR_{name.upper()}"))
    return Servers(settings)


def _joined(at: Path, need: str) -> dict[str, Any]:
    """Addresses of a demo's servers; those of a kept one are started for this command. Raises CliError."""
    try:
        found = embedded.read_servers(at)
        if found is not None and found.running:
            return {"bootstrap": found.bootstrap, "dsn": found.dsn, "partitions": found.partitions}
        if found is None or not need:
            raise CliError(f"{at} holds no running demo: railclear demo --keep {at} --stay starts one there")
        if need == "dsn":
            err.print(f"opening the ledger that is kept in {at} …", markup=False)
            port = found.postgres_port if is_free(found.postgres_port) else None
            server = embedded.Postgres(at / "postgres", port=port, password=found.password, durable=True)
            _opened.callback(server.close)
            server.start().wait()
            return {"dsn": server.dsn, "partitions": found.partitions}
        err.print(f"starting the servers that are kept in {at} …", markup=False)
        servers = _opened.enter_context(embedded.EmbeddedServers(keep=at, brokers=len(found.kafka_ports), aot="use"))
    except embedded.EmbeddedError as error:
        raise CliError(str(error)) from error
    return {"bootstrap": servers.bootstrap, "dsn": servers.dsn, "partitions": servers.partitions}


def close() -> None:
    """Stop what `find` started; called once, at the end of a command."""
    _opened.close()


@asynccontextmanager
async def ledger(servers: Servers) -> AsyncIterator[Ledger]:
    """The ledger, opened and closed. Raises CliError when it cannot be reached."""
    if not servers.settings.dsn:
        raise CliError("no PostgreSQL to talk to: " + HOW.format(flag="--dsn", env="RAILCLEAR_DSN"))
    try:
        opened = await Ledger.open(servers.settings.dsn, servers.settings.command_timeout_s)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise CliError(f"the ledger does not answer: {error}") from error
    try:
        yield opened
    except asyncpg.UndefinedTableError as error:
        raise CliError("the database has no ledger yet: a worker with the stage ledger makes it") from error
    finally:
        await opened.close()


def _answering(bootstrap: str) -> list[str]:
    """Those of the servers that take a connection: kafka-python leaves the socket of one that does not open. Raises TimeoutError when none does
    within ADMIN_S, ValueError for what is no address."""
    hosts = collect_hosts(bootstrap, randomize=False)
    until = time.monotonic() + ADMIN_S
    while True:
        found = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port, _ in hosts if _connects(host, port)]
        if found:
            return found
        if time.monotonic() >= until:
            raise TimeoutError("no server takes a connection")
        time.sleep(0.2)


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=ADMIN_S):
            return True
    except OSError:
        return False


@contextmanager
def admin(servers: Servers) -> Iterator[KafkaAdminClient]:
    """Kafka's admin client. Raises CliError when Kafka cannot be reached."""
    s = servers.settings
    if not s.bootstrap:
        raise CliError("no Kafka to talk to: " + HOW.format(flag="--bootstrap", env="RAILCLEAR_BOOTSTRAP"))
    security: dict[str, Any] = {}
    if s.security_protocol != "PLAINTEXT":
        security = {"security_protocol": s.security_protocol, "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": s.sasl_username,
                    "sasl_plain_password": s.sasl_password, "ssl_cafile": s.ssl_cafile}
    try:
        client = KafkaAdminClient(bootstrap_servers=_answering(s.bootstrap), bootstrap_timeout_ms=int(ADMIN_S * 1000), **security)
    except (KafkaError, OSError, ValueError) as error:
        raise CliError(f"Kafka at {s.bootstrap} does not answer: {error}") from error
    try:
        yield client
    except ProvisioningError as error:
        raise CliError(str(error)) from error
    finally:
        client.close()


@asynccontextmanager
async def producer(servers: Servers) -> AsyncIterator[AIOKafkaProducer]:
    """Sends anything that the broker may take. Raises CliError when Kafka cannot be reached."""
    made = AIOKafkaProducer(bootstrap_servers=servers.settings.bootstrap, acks="all", enable_idempotence=True, max_request_size=64 << 20,
                            **servers.security())
    async with _started(made, servers):
        yield made


@asynccontextmanager
async def consumer(servers: Servers) -> AsyncIterator[AIOKafkaConsumer]:
    """Reads what is committed, from the beginning, without a group. Raises CliError when Kafka cannot be reached."""
    made = AIOKafkaConsumer(bootstrap_servers=servers.settings.bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
                            isolation_level="read_committed", max_partition_fetch_bytes=16 << 20, **servers.security())
    async with _started(made, servers):
        yield made


@asynccontextmanager
async def _started(client: AIOKafkaProducer | AIOKafkaConsumer, servers: Servers) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(REACH_S):
            await client.start()
    except (TimeoutError, OSError, ValueError, KafkaError, ClientError) as error:
        await client.stop()
        raise CliError(f"Kafka at {servers.settings.bootstrap} does not answer: {error or type(error).__name__}") from error
    try:
        yield
    finally:
        async with asyncio.timeout(REACH_S):
            await client.stop()
