"""One run of the demo from the first server to the last sum."""
from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient
from rich.console import Console
from rich.live import Live

from agents import provisioning
from agents import reference as reference_files
from agents.demo.board import board
from agents.demo.crew import SPLIT, Crew
from agents.demo.driver import Driver
from agents.demo.reader import NotDrained, Reader
from agents.demo.watch import Watch
from agents.embedded import EmbeddedServers
from agents.ledger.writer import TOPICS as LEDGER_TOPICS
from agents.settings import group_of
from agents.threads import asked_apart
from streams.audit import Account
from streams.reference.model import Reference
from streams.simulate import SimOptions, compressed, default_speed, simulate
from streams.simulate.pace import window_hours
from topics import registry as topic_registry
from topics.registry import Registry

START = 1_772_409_600_000_000
"""Railclear's time at which the simulated world begins: 2026-03-02T00:00Z, so that a seed gives the same bytes on any day."""
LEAD_SECONDS = 5.0
"""Between the start of the workers and the first message: the workers' clocks count from there."""
REFRESH_HZ = 2.0
MESSAGES_A_TRAIN = 2500
"""Outside messages of one simulated train with a position every two hours (measured)."""
MESSAGES_A_SECOND_MAX = 350
"""Outside messages that two cores carry through every stage, Kafka and PostgreSQL beside them (measured, with room)."""
POSITION_MINUTES = 120.0
"""A position every two hours besides station events (domain 7.6: a few per day and wagon): weeks are played in a minute."""


class DemoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for."""

    seconds: float = 90.0
    """How long simulated messages are played, wall time."""
    trains: int = 13
    seed: int = 1
    speed: float = 0.0
    """Simulated seconds per wall second; 0 = so that whole journeys fit."""
    partitions: int = 4
    keep: Path | None = None
    overlay: Path | None = None
    """A deployment's own reference files; its corridors and parties take part."""
    json: bool = False


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of `--json`."""

    trains: int
    """Journeys from end to end."""
    train_runs: int
    """Trains as railways name them: a journey is renumbered at every border, split and re-formed at gauge breaks."""
    shipments: int
    statuses: dict[str, int]
    """State -> published updates with it."""
    sides: int
    updates: int
    dead_letters: int
    expected_dead_letters: int
    waiting: int
    unaccounted: int
    first_status_s: float | None
    corridors: list[str]
    records: int
    alerts: dict[str, int]
    ledger_behind: int
    speed: float
    faults: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """Nothing lost, everything in the ledger, dead letters as many as were meant to be."""
        return self.unaccounted == 0 and self.ledger_behind == 0 and self.dead_letters == self.expected_dead_letters


class Demo:
    """Holds everything that must be stopped again."""

    def __init__(self, options: DemoOptions, console: Console) -> None:
        self.options, self.console = options, console
        self.servers = EmbeddedServers(keep=options.keep, partitions=options.partitions, on_progress=self._say)
        self.crew: Crew | None = None
        self.worth_asking = ("", "", "")
        """After a run: a shipment, a side and a train to ask the other commands about."""

    def _say(self, text: str) -> None:
        self.console.print(f"  {text}", markup=False)

    async def run(self) -> Summary:
        """Play, drain, audit. Raises EmbeddedError, CrewError, NotDrained."""
        options, loop = self.options, asyncio.get_running_loop()
        reference = reference_files.load(options.overlay)
        await loop.run_in_executor(None, self.servers.start)
        up = time.monotonic()
        registry = topic_registry.build(
            reference.parties.values(), reference.authorities.values(), reference.crossings.values(), partitions=self.servers.partitions)
        watch = Watch(up)
        wanted = SimOptions(trains=options.trains, position_minutes=POSITION_MINUTES)
        speed = options.speed or fitting_speed(wanted, options.seconds)
        begin = time.time() + LEAD_SECONDS
        monotonic_begin = time.monotonic() + LEAD_SECONDS
        self.crew = self._crew(int(begin * 1_000_000), speed)
        await loop.run_in_executor(None, self.crew.start)
        # Workers wait for their topics, and Ctrl-C does not: a request under way tries for half a minute to reach a broker that was stopped.
        await asked_apart(lambda: provision(self.servers.bootstrap, registry), "topics")
        self._say(f"{len(registry.topics)} topics made")
        self._say(f"{len(SPLIT)} worker processes starting; simulated time runs {speed:,.0f} times as fast")
        return await self._play(reference, registry, wanted, speed, monotonic_begin, watch)

    def _crew(self, origin: int, speed: float) -> Crew:
        until = origin + int(self.options.seconds * 1_000_000)
        clock = ["--clock-origin", str(origin), "--clock-base", str(START), "--clock-speed", str(speed), "--clock-until", str(until)]
        where = ["--bootstrap", self.servers.bootstrap, "--partitions", str(self.servers.partitions)]
        if self.options.overlay is not None:
            where += ["--overlay", str(self.options.overlay.resolve())]
        return Crew(self.servers.data / "workers", [*where, *clock], {"RAILCLEAR_DSN": self.servers.dsn, "RAILCLEAR_SESSION_TIMEOUT_S": "30"})

    async def _play(self, reference: Reference, registry: Registry, wanted: SimOptions, speed: float, begin: float, watch: Watch) -> Summary:
        producer = AIOKafkaProducer(bootstrap_servers=self.servers.bootstrap, acks="all", enable_idempotence=True, max_request_size=8 << 20, linger_ms=5)
        await producer.start()
        driver = Driver(producer)
        messages = compressed(simulate(reference, random.Random(self.options.seed), wanted, START), speed, START)
        following = asyncio.create_task(watch.follow(self.servers.bootstrap))
        playing = asyncio.create_task(driver.play(messages, begin, self.options.seconds))
        try:
            await self._show(driver, watch, playing, following, begin)
            return await self._sum_up(registry, driver, watch, speed)
        finally:
            for task in (playing, following):
                task.cancel()
            await asyncio.gather(playing, following, return_exceptions=True)
            async with asyncio.timeout(3):
                await producer.stop()

    async def _show(self, driver: Driver, watch: Watch, playing: asyncio.Task[None], following: asyncio.Task[None], begin: float) -> None:
        """The live table, or a line now and then where there is no terminal, until all is played."""
        live = Live(console=self.console, refresh_per_second=REFRESH_HZ, transient=True) if self.console.is_terminal else None
        said = time.monotonic()
        if live is not None:
            live.start()
        try:
            while not playing.done():
                if following.done():
                    following.result()
                if self.crew is not None:
                    self.crew.check()
                elapsed = time.monotonic() - begin
                headline = f"railclear demo   {max(0.0, elapsed):.0f} of {self.options.seconds:.0f} s   {driver.sent} messages sent   Ctrl-C stops"
                if live is not None:
                    live.update(board(watch, headline))
                elif time.monotonic() - said > 10:
                    said = time.monotonic()
                    self._say(f"{headline}   {watch.updates} status updates")
                await asyncio.sleep(0.5)
            playing.result()
        finally:
            if live is not None:
                live.stop()

    async def _sum_up(self, registry: Registry, driver: Driver, watch: Watch, speed: float) -> Summary:
        self._say(f"{driver.sent} messages sent; draining")
        groups = tuple(group_of("railclear", stages) for stages in SPLIT)
        outcomes = tuple(spec.name for spec in registry.by_kind("outcomes"))
        reader = Reader(self.servers.bootstrap, registry, groups, (*LEDGER_TOPICS, *outcomes))
        await reader.drained()
        behind = await reader.ledger_behind(self.servers.dsn)
        self._say("drained; the independent reader reads the whole log")
        final = Watch(watch.began)
        account = await reader.account(final.take)
        final.first_status_s, final.alerts, final.raised, final.trains = watch.first_status_s, watch.alerts, watch.raised, watch.trains
        self.worth_asking = final.worth_asking()
        return summary(account, driver, final, behind, speed)

    async def stop(self, *, kill: bool) -> None:
        """Everything down within 5 s; temporary data removed."""
        loop = asyncio.get_running_loop()
        if self.crew is not None:
            await loop.run_in_executor(None, lambda: self.crew.stop(kill=kill) if self.crew else None)
        await loop.run_in_executor(None, self.servers.stop)


def fitting_speed(wanted: SimOptions, seconds: float) -> float:
    """As fast as whole journeys need, but no faster than two cores keep up with: late processing would look like late filings."""
    hours = window_hours(wanted)
    return min(default_speed(wanted, seconds), hours * 3600 / (wanted.trains * MESSAGES_A_TRAIN / MESSAGES_A_SECOND_MAX))


def summary(account: Account, driver: Driver, watch: Watch, behind: int, speed: float) -> Summary:
    """The numbers of the run."""
    corridors = sorted({t.corridor for t in watch.trains.values() if t.corridor})
    return Summary(
        trains=len(driver.journeys), train_runs=sum(not t.run.startswith("yard:") for t in watch.trains.values()), shipments=watch.shipments,
        statuses=dict(sorted(watch.published.items())), sides=len(watch.last), updates=watch.updates, dead_letters=account.dead_letters,
        expected_dead_letters=driver.dead_letters_expected, waiting=account.waiting, unaccounted=account.unaccounted,
        first_status_s=round(watch.first_status_s, 1) if watch.first_status_s is not None else None, corridors=corridors, records=account.records,
        alerts=dict(sorted(watch.raised.items())), ledger_behind=behind, speed=round(speed, 1), faults=account.faults,
    )


def provision(bootstrap: str, registry: Registry) -> None:
    """Make the topics of a fresh cluster, or bring those of a kept one up to date."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=20_000)
    try:
        plan = provisioning.plan(admin, registry.topics.values(), replication=1)
        provisioning.apply(admin, plan)
    finally:
        admin.close()


__all__ = ["Demo", "DemoOptions", "NotDrained", "Summary"]
