"""The composition root: settings in, an app with its stages out. Nobody imports this but the command line."""
from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents import metrics
from agents import reference as reference_files
from agents.http.health import HealthServer, Verdict
from agents.intake import intake_flow
from agents.ledger.writer import LedgerWriter, security_of
from agents.operations import safety, shadow
from agents.operations.holding import Holding, catch_up, follow
from agents.runner.cells import ObjectCache
from agents.runner.clock import Clock
from agents.runner.partition import Partition
from agents.runner.stage import fold_flow
from agents.settings import Settings, SettingsError, group_of, required
from agents.transport import census, faust_app, faust_plugin
from agents.transport.fatal import Refuses, fatal
from agents.transport.flow import Flow
from agents.transport.hub import Hub, hub_of
from streams.clearance import ClearanceFold
from streams.clearance.publish import ALERTS
from streams.custody import CustodyFold
from streams.documents import DocumentsFold
from streams.effects import Send
from streams.fold import Fold
from streams.intake import STAGE as INTAKE
from streams.readiness import ReadinessFold
from streams.reference.model import Reference
from streams.rules import pack_of
from streams.sources import SourcesFold
from streams.trains import TrainsFold
from topics import codec
from topics import registry as topic_registry
from topics.events.outputs import Alert
from topics.registry import ACTS, Registry

log = logging.getLogger(__name__)
TOPICS_SECONDS_MAX = 60.0
CACHE_BYTES = 256 << 20
"""Decoded states of one process: beyond it the least recently used are kept as bytes only."""


YOUNG_OBJECTS = 50_000
"""The garbage collector looks for cycles only after so many more objects were made than freed (Python: 700). States and memos are a million long-lived
objects without cycles: looking at them so often took a fifth of the processor's time."""


def rarely() -> None:
    """Cycles are looked for rarely, and never among what there is now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)


def folds() -> dict[str, Fold[Any, Any]]:
    """Every fold by its stage name."""
    made: Sequence[Fold[Any, Any]] = (TrainsFold(), CustodyFold(), DocumentsFold(), ClearanceFold(), ReadinessFold(), SourcesFold())
    return {fold.name: fold for fold in made}


def group_name(settings: Settings) -> str:
    """Consumer group of a worker with these settings. Members of one group must read the same topics, so the set of stages is part of its name; a shadow
    has groups of its own."""
    return group_of(settings.group + (shadow.GROUP if settings.shadow else ""), settings.stages)


def leave(settings: Settings) -> str:
    """Remove a static member from the group of its stages (a shadow's from the shadow's): the others take its partitions over at once. Returns the group.

    Raises SettingsError, Refuses, KafkaError.
    """
    required(settings, "bootstrap", "instance")
    s, group = settings, group_name(settings)
    security = security_of(s.security_protocol, s.sasl_username, s.sasl_password, s.ssl_cafile)
    census.leave({"bootstrap_servers": s.bootstrap.split(","), **security}, group, s.instance)
    return group


class Worker:
    """One process's stages, health endpoints and ledger writer."""

    def __init__(self, settings: Settings) -> None:
        required(settings, "bootstrap", *(("dsn",) if "ledger" in settings.stages else ()))
        self.settings = settings
        self.reference: Reference = reference_files.load(Path(settings.overlay) if settings.overlay else None)
        self.registry: Registry = topic_registry.build(
            self.reference.parties.values(), self.reference.authorities.values(), self.reference.crossings.values(), partitions=settings.partitions)
        self.pack = pack_of(self.reference)
        if settings.pack and settings.pack != self.pack:
            raise SettingsError(f"pack: the active rule pack is {settings.pack}, this worker has {self.pack}: deploy the same version and overlay everywhere")
        self.clock = Clock(origin=settings.clock_origin, speed=settings.clock_speed, base=settings.clock_base, until=settings.clock_until)
        self.partitions: dict[str, dict[int, Partition[Any, Any]]] = {}
        self.published = metrics.Published()
        self.ledger: LedgerWriter | None = self._ledger() if "ledger" in settings.stages else None
        self.holding = Holding(self.registry)
        self.flows = [self.published.watch(flow) for flow in self._placed(self._flows())]
        self.hub = Hub()
        self.on_started: Callable[[dict[str, object]], None] | None = None
        """Told once, when the worker runs: `health` (address), `group`, `stages`, `pack`."""
        self._own_data = "" if settings.data_dir or not self.flows else tempfile.mkdtemp(prefix="railclear-faust-")
        self.app: Any = self._app() if self.flows else None
        self.health = HealthServer(self, metrics.registry_for(metrics.Watched(self.hub, self.partitions, self.published, self.ledger, self.pack,
                                                                                self.holding if INTAKE in settings.stages else None)),
                                   settings.http_host, settings.http_port)

    def _ledger(self) -> LedgerWriter:
        s = self.settings
        from agents.settings import STAGES

        stages = tuple(stage for stage in STAGES if stage != "ledger")
        return LedgerWriter(s.bootstrap, s.dsn, s.group, stages, command_timeout_s=s.command_timeout_s,
                            security=security_of(s.security_protocol, s.sasl_username, s.sasl_password, s.ssl_cafile), alert=self._refusal)

    def _flows(self) -> list[Flow]:
        chosen, cache = self.settings.stages, ObjectCache(CACHE_BYTES)
        flows: list[Flow] = []
        if "intake" in chosen:
            flows.append(intake_flow(self.reference, self.registry, self.clock))
        for name, fold in folds().items():
            if name in chosen:
                live = self.partitions.setdefault(name, {})
                flows.append(fold_flow(fold, self.reference, clock=self.clock, cache=cache, rule_pack=self.pack, partitions=live,
                                       sweep_rate=self.settings.sweep_rate * self.settings.clock_speed,
                                       exactly_once=self.settings.exactly_once and name == "clearance"))
        return flows

    def _placed(self, flows: list[Flow]) -> list[Flow]:
        """Flows that let wait what operators want to wait; in the shadow, where they are told to."""
        names = shadow.Names(self.registry)
        placed = [shadow.shadowed(flow, names) for flow in flows] if self.settings.shadow else flows
        for flow in placed:
            if flow.name == INTAKE:
                flow.held = self.holding.topics
        return placed

    @property
    def group(self) -> str:
        """Consumer group of this worker's stages."""
        return group_name(self.settings)

    @property
    def state_topics(self) -> set[str]:
        """Where the stages of this worker keep what they know and what they have said."""
        return {topic for flow in self.flows for topic in (flow.state_topic, *flow.revision_topics) if topic}

    def _app(self) -> Any:
        s = self.settings
        secure = s.security_protocol == "SASL_SSL"
        app = faust_app.build(faust_app.TransportSettings(
            group=self.group, bootstrap=s.bootstrap, session_timeout_s=s.session_timeout_s, heartbeat_s=s.heartbeat_s, commit_interval_s=s.commit_interval_s,
            fetch_wait_ms=s.fetch_wait_ms, sasl_username=s.sasl_username if secure else "", sasl_password=s.sasl_password if secure else "",
            ssl_cafile=s.ssl_cafile, data_dir=s.data_dir or self._own_data, instance=s.instance, compression=s.compression.replace("none", ""),
            snapshot_dir=str(Path(s.data_dir) / "state") if s.data_dir else "", snapshot_s=s.snapshot_s, version=self.pack,
        ))
        for flow in self.flows:
            faust_plugin.register(app, flow)
        self.hub = hub_of(app)
        self.hub.alert = None if s.shadow else self._refusal  # the only record that is not an effect of a stage: nobody renames it for a shadow
        if self.ledger is not None:
            app.task(self._write_ledger)
        if INTAKE in s.stages:
            app.task(self._follow_acts)
        if not s.shadow and self.state_topics:
            app.task(self._watch_safety)
        return app

    def _refusal(self, where: str, why: str) -> Send:
        """What people are told when this worker refuses to read a partition."""
        at = self.clock.now(time.time_ns() // 1000)
        alert = Alert(key=f"TransportRefused/{where}", name="TransportRefused", severity="critical", state="open", seq=at, at=at, detail=why,
                      runbook="TransportRefused")
        return Send(ALERTS, alert.key.encode(), codec.encode(alert))

    async def _follow_acts(self) -> None:
        """What operators pause and drain takes effect within a second, in every worker with intake."""
        s = self.settings
        try:
            await follow(self.holding, s.bootstrap, security_of(s.security_protocol, s.sasl_username, s.sasl_password, s.ssl_cafile))
        except Refuses as error:
            fatal("the acts of operators", error)

    async def _watch_safety(self) -> None:
        """People are told when the loss of a broker could lose states of this worker, and when it no longer could."""
        s, topics = self.settings, self.state_topics
        client = {"bootstrap_servers": s.bootstrap.split(","), **security_of(s.security_protocol, s.sasl_username, s.sasl_password, s.ssl_cafile)}

        async def tell(faults: str) -> None:
            await safety.send(client, ALERTS, safety.alert_of(self.group, faults, self.clock.now(time.time_ns() // 1000)))

        await safety.watch(lambda: safety.look_at(client, topics), tell)

    async def _write_ledger(self) -> None:
        """A refusal, or a failure of the writer that is not PostgreSQL being away, ends the process as it does in any stage."""
        assert self.ledger is not None, "only registered with a ledger"
        try:
            await self.ledger.run()
        except Exception as error:  # noqa: BLE001  whatever it is, the next process reads what is not written yet
            fatal("the ledger's writer", error)

    # -- the probe ---------------------------------------------------------------------------------------------------------
    def live(self) -> Verdict:
        """Progress, not just a socket: what a watchdog would soon end the process for."""
        complaint = self.hub.complaint(0.5)
        return Verdict(complaint is None, (complaint,) if complaint else ())

    def ready(self) -> Verdict:
        """Every topic of this worker has lanes here or elsewhere, and those here are restored and moving."""
        reasons = []
        if self.flows:
            lanes = self.hub.health()
            if not self.hub.rebalances:  # a killed static member still counts as an owner: its successor must have joined
                reasons.append("it has not joined its group yet")
            elif not lanes and self.hub.unowned():  # a spare member of a complete group is well
                reasons.append("no partition is assigned: is the group readable, do the topics exist?")
            reasons += [f"{lane.topic}/{lane.partition} is not restored" for lane in lanes if not lane.ready][:20]
            if lanes and self.hub.flow_started_at == 0:
                reasons.append("records do not flow yet")
            reasons += self.hub.unowned()[:20]
            if (complaint := self.hub.complaint(0.5)) is not None:
                reasons.append(complaint)
        if self.ledger is not None and not self.ledger.connected:
            reasons.append("the ledger has no connection to PostgreSQL (statuses flow all the same)")
        critical = [r for r in reasons if not r.startswith("the ledger") or not self.flows]
        return Verdict(not critical, tuple(reasons), {"lanes": len(self.hub.lanes), "pack": self.pack})

    # -- running ---------------------------------------------------------------------------------------------------------
    def topics(self) -> set[str]:
        """Topics that must exist before this worker can do anything: a consumer waits for a missing one without a word."""
        needed = {topic for flow in self.flows for topic in flow.topics} | self.state_topics
        return needed | set(self.ledger.topics if self.ledger is not None else ()) | ({ACTS} if INTAKE in self.settings.stages else set())

    async def _administrator(self, security: Mapping[str, Any], end: float) -> AIOKafkaAdminClient:
        """A client that has found the cluster. Raises SettingsError when none answers until then."""
        bootstrap, told = self.settings.bootstrap, False
        while True:
            admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, **security)
            try:
                await admin.start()
                return admin
            except KafkaError as error:
                await admin.close()
                if time.monotonic() > end:
                    raise SettingsError(f"Kafka at {bootstrap} does not answer, or does not let this account in: {error or type(error).__name__}") from error
                if not told:
                    log.warning("Kafka at %s does not answer yet (%s); trying again for a minute", bootstrap, error or type(error).__name__)
                told = True
                await asyncio.sleep(0.5)

    async def _await_topics(self) -> None:
        """Raises SettingsError when Kafka does not answer, or topics are still missing, after a minute."""
        s, begun = self.settings, time.monotonic()
        security = security_of(s.security_protocol, s.sasl_username, s.sasl_password, s.ssl_cafile)
        admin = await self._administrator(security, begun + TOPICS_SECONDS_MAX)
        try:
            while missing := sorted(self.topics() - set(await admin.list_topics())):
                if time.monotonic() - begun > TOPICS_SECONDS_MAX:
                    raise SettingsError(f"{len(missing)} topics are missing, the first is {missing[0]}: make them with railclear topics apply")
                await asyncio.sleep(0.2)
        finally:
            await admin.close()
        if INTAKE in s.stages:
            try:
                await catch_up(self.holding, s.bootstrap, security)
            except Refuses as error:
                fatal("the acts of operators", error)
        rarely()

    def run(self) -> None:
        """Until SIGTERM or SIGINT. Ends the process. Raises SettingsError when the port of its health is taken or the cluster lacks topics."""
        s = self.settings
        try:
            self.health.start()
        except OSError as error:
            raise SettingsError(f"http_port {s.http_port} on {s.http_host}: {error.strerror or error}. Name another one with --http-port") from error
        try:
            asyncio.run(self._await_topics())
            log.info("worker with %s: health on http://%s:%d, rule pack %s", ", ".join(s.stages), s.http_host, self.health.port, self.pack[:12])
            if self.on_started is not None:
                self.on_started({"health": f"http://{s.http_host}:{self.health.port}", "group": self.group, "stages": s.stages, "pack": self.pack})
            if self.app is not None:
                faust_app.run(self.app, self.settings.log_level.lower())
            elif self.ledger is not None:
                asyncio.run(self._write_ledger())
        except KeyboardInterrupt:
            log.info("interrupted")
        finally:
            self.health.stop()
            if self._own_data:
                shutil.rmtree(self._own_data, ignore_errors=True)  # nothing in it is needed again
