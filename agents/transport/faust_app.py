"""A Faust app for the batch transport, every setting named with its reason, and how to run it."""
from __future__ import annotations

import logging
import ssl
import tempfile
from pathlib import Path
from typing import Any

import faust
import msgspec

from agents.transport import faust_plugin
from agents.transport.batch import BATCH_RECORDS_MAX
from agents.transport.fatal import EXIT_CRASH
from agents.transport.hub import hub_of
from agents.transport.keeper import Keeper
from agents.transport.stop import Bounded

log = logging.getLogger(__name__)

MEBIBYTE = 1 << 20


class TransportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the transport needs to know of a deployment."""

    group: str
    """Consumer group, client id."""
    bootstrap: str
    """`host:port,host:port`"""
    session_timeout_s: float = 10.0
    """A dead worker's partitions move after this; the lease ends 2 s earlier."""
    heartbeat_s: float = 1.0
    commit_interval_s: float = 0.5
    fetch_wait_ms: int = 100
    sasl_username: str = ""
    """With it: SASL_SSL and SCRAM-SHA-512."""
    sasl_password: str = ""
    ssl_cafile: str = ""
    instance: str = ""
    """Static membership under this name (a crash stays in the group until the session ends); empty: dynamic, who ends leaves at once."""
    compression: str = ""
    """Of everything that is written: `lz4`, `zstd`, or empty for none."""
    transaction_retry_ms: int = 20
    """Exactly-once: a broker that is still writing the markers of the transaction before asks for another try; aiokafka's own 100 ms show in the p99."""
    data_dir: str = ""
    """Faust's own files; empty: a temporary directory (nothing in it is needed again)."""
    snapshot_dir: str = ""
    """Where lanes leave their state for a shorter restore; empty: nowhere."""
    snapshot_s: float = 300.0
    version: str = ""
    """Rule pack and state format: snapshots of another are not used."""


def build(settings: TransportSettings) -> Any:
    """An app without agents: add stages with `agents.runner.stage.register`, then `run` it."""
    app = faust.App(
        settings.group,
        broker=";".join(f"{faust_plugin.SCHEME}://{address.strip()}" for address in settings.bootstrap.split(",")),
        broker_credentials=_credentials(settings),
        datadir=settings.data_dir or tempfile.mkdtemp(prefix="railclear-faust-"),
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_s,
        broker_request_timeout=max(40.0, settings.session_timeout_s),  # rides out a broker's restart; Faust needs session <= request
        broker_commit_interval=settings.commit_interval_s,
        broker_max_poll_records=BATCH_RECORDS_MAX,  # a batch of that many takes about 40 ms; more only adds latency
        consumer_max_fetch_size=4 * MEBIBYTE,  # per partition and fetch: the largest input still comes alone
        consumer_auto_offset_reset="none",  # lanes choose where to begin; an offset that the log does not have must never be skipped silently
        consumer_group_instance_id=settings.instance or None,
        producer_compression_type=settings.compression or None,
        producer_linger=0,  # batches are built by hand, waiting only delays them
        producer_max_batch_size=512 * 1024,
        producer_max_request_size=9 * MEBIBYTE,  # a dead letter of a 4 MiB input is up to 6 MiB of base64 and names
        producer_request_timeout=40.0,
        stream_wait_empty=False,  # Faust would wait for its own acks, which mean nothing here
        stream_buffer_maxsize=4096,  # counts batches; the credit of each lane is the bound, so one stage never blocks another's intake
        table_standby_replicas=0,  # else Faust's own assignor, which plans for tables that we do not have
        topic_allow_declare=False,  # topics are made by `topics apply`, never by a worker
        topic_disable_leader=True,  # no leader topic: nothing needs a leader, and it needs CREATE rights
        web_enabled=False,  # listens on all addresses without authentication; we have our own endpoints
        TableManager=faust_plugin.Tables,
        autodiscover=False,  # stages are registered by the composition root
        worker_redirect_stdouts=False,
    )
    hub = hub_of(app)
    hub.fetch_wait_ms, hub.transaction_retry_ms = settings.fetch_wait_ms, settings.transaction_retry_ms
    hub.keeper = Keeper(settings.group, Path(settings.snapshot_dir) if settings.snapshot_dir else None, settings.version, settings.snapshot_s)
    return app


class Worker(Bounded, faust.Worker):
    """Faust's, with an end to its stop."""


def run(app: Any, loglevel: str = "info") -> None:
    """Run until SIGTERM or SIGINT; ends the process. Level info or debug only: with warn and error Faust sets the root logger to DEBUG."""
    worker = Worker(app, loglevel="debug" if loglevel.lower() == "debug" else "info", quiet=True)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        if not ended.code:
            raise
        # Faust's own services end like this (1) when one of them crashes; to who restarts us it is the crash of any other part.
        log.critical("FATAL a service of the worker crashed: %r", ended.__context__ or worker.crash_reason or app.crash_reason)
        raise SystemExit(EXIT_CRASH) from ended


def _credentials(settings: TransportSettings) -> Any:
    if not settings.sasl_username:
        return None
    return faust.SASLCredentials(
        username=settings.sasl_username,
        password=settings.sasl_password,
        mechanism="SCRAM-SHA-512",
        ssl_context=ssl.create_default_context(cafile=settings.ssl_cafile or None),
    )
