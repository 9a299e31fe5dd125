"""Plays a script to running workers: each message at its time on its party's own topic, some only when what they wait for has been published. Hears what
the border topics, the status topics and the alerts say, as their readers would."""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from agents import reference as reference_files
from agents.demo.crew import SPLIT, Crew
from agents.demo.play import provision
from agents.demo.reader import Reader
from agents.embedded import EmbeddedServers
from agents.ledger.writer import TOPICS as LEDGER_TOPICS
from agents.runner.clock import Clock
from agents.settings import group_of
from streams.reference.model import Reference
from streams.simulate.sent import Draft
from tests.integration.cn_kz_world import Line, later
from topics import codec
from topics import registry as topic_registry
from topics.events.outputs import Alert, ClearanceUpdate

PARTITIONS = 2
CUE_SECONDS_MAX = 90.0
"""Far beyond what any cue takes, on any machine: a cue that is never given fails the test, a slow one does not."""
LEAD_SECONDS = 4.0
Cue = Callable[["Heard"], bool]


class Heard:
    """What has been published so far, in the order of each topic."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ClearanceUpdate]] = []
        self.alerts: list[Alert] = []

    def on(self, topic: str) -> list[ClearanceUpdate]:
        """All of a topic."""
        return [u for t, u in self.said if t == topic]

    def of(self, shipment: str, side: str, topic: str = "clearance.history") -> list[ClearanceUpdate]:
        """One side of one shipment, oldest first."""
        return [u for t, u in self.said if t == topic and u.shipment == shipment and u.side == side]

    def last(self, shipment: str, side: str) -> ClearanceUpdate | None:
        return next(iter(self.of(shipment, side)[::-1]), None)

    def take(self, topic: str, value: bytes) -> None:
        if topic == "ops.alerts":
            self.alerts.append(msgspec.json.decode(value, type=Alert))
        else:
            self.said.append((topic, msgspec.json.decode(value, type=ClearanceUpdate)))


class Theatre:
    """Topics and workers of one deployment on embedded servers, with a clock of its own."""

    def __init__(self, servers: EmbeddedServers, directory: Path, *, overlay: Path | None = None, opens: int = 0, speed: float = 1.0) -> None:
        """`opens`: railclear's time when the clock starts, microseconds; 0: the time of the day."""
        self.servers, self.opens, self.overlay = servers, opens, overlay
        self.reference: Reference = reference_files.load(overlay)
        known = self.reference
        self.registry = topic_registry.build(known.parties.values(), known.authorities.values(), known.crossings.values(), partitions=PARTITIONS)
        origin = int((time.time() + LEAD_SECONDS) * 1_000_000)
        self.clock = Clock(origin=origin, speed=speed, base=opens) if opens else Clock()
        arguments = ["--bootstrap", servers.bootstrap, "--partitions", str(PARTITIONS)]
        arguments += ["--overlay", str(overlay)] if overlay else []
        arguments += ["--clock-origin", str(origin), "--clock-base", str(opens), "--clock-speed", str(speed)] if opens else []
        self.crew = Crew(directory, arguments, {"RAILCLEAR_DSN": servers.dsn, "RAILCLEAR_SESSION_TIMEOUT_S": "30"})
        self.heard = Heard()
        self._given: set[str] = set()
        """Cues that have come. What they waited for may be over when the next line with the same cue is due."""

    @property
    def now(self) -> int:
        """Railclear's time."""
        return self.clock.now(int(time.time() * 1_000_000))

    def open(self) -> None:
        """Workers start while the topics are made; returns when all are ready."""
        self.crew.start()
        provision(self.servers.bootstrap, self.registry)
        self.crew.wait()

    def close(self) -> None:
        self.crew.stop(kill=True)

    # -- the play --------------------------------------------------------------------------------------------------------------------
    async def play(self, lines: Iterable[Line], beats: Iterator[Draft], cues: dict[str, Cue], end: str, listen: Iterable[str]) -> None:
        """Until the cue `end`, which comes after the last line. What is older than the opening is said at once and waits for nothing."""
        producer = AIOKafkaProducer(bootstrap_servers=self.servers.bootstrap, acks="all", linger_ms=5)
        await producer.start()
        others = [asyncio.create_task(self._listen(("clearance.history", "ops.alerts", *listen))), asyncio.create_task(self._beat(producer, beats))]
        try:
            shift = max(0, self.now - self.opens)
            for line in lines:
                if line.cue and line.at >= self.opens:
                    shift = max(shift, await self._cue(line.cue, cues, others) - line.at)
                await self._until(line.at + shift)
                event = later(line.event, timedelta(microseconds=shift))
                await producer.send(line.topic, codec.encode(event), key=line.key.encode() or None)
                if line.cue:
                    await producer.flush()
            await producer.flush()
            await self._cue(end, cues, others)
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await producer.stop()

    async def _until(self, at: int) -> None:
        """Until railclear's clock shows `at`."""
        while (left := at - self.now) > 0:
            await asyncio.sleep(min(left / self.clock.speed / 1_000_000, 0.5) + 0.001)

    async def _cue(self, name: str, cues: dict[str, Cue], others: Iterable[asyncio.Task[None]]) -> int:
        """Waits for a cue; gives railclear's time when it came."""
        limit = time.monotonic() + CUE_SECONDS_MAX
        while name not in self._given and not cues[name](self.heard):
            self.crew.check()
            for task in others:
                if task.done():
                    task.result()
            if time.monotonic() > limit:
                last = {(u.shipment, u.side): (u.state, u.ready, [(f.code, f.present, f.expected) for f in u.findings]) for _, u in self.heard.said}
                raise AssertionError(f"the cue {name!r} never came. Last words: {last}. Alerts: {[(a.name, a.state, a.side) for a in self.heard.alerts]}")
            await asyncio.sleep(0.02)
        self._given.add(name)
        return self.now

    async def _beat(self, producer: AIOKafkaProducer, beats: Iterator[Draft]) -> None:
        """Heartbeats go on whatever the script waits for."""
        for beat in beats:
            await self._until(beat.at)
            await producer.send(beat.topic, codec.encode(beat.event), key=beat.key.encode())

    async def _listen(self, topics: Iterable[str]) -> None:
        consumer = AIOKafkaConsumer(*topics, bootstrap_servers=self.servers.bootstrap, group_id=None, auto_offset_reset="earliest",
                                    isolation_level="read_committed", fetch_max_wait_ms=50)
        await consumer.start()
        try:
            while True:
                for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                    for record in records:
                        if record.value is not None:
                            self.heard.take(tp.topic, record.value)
                await asyncio.sleep(0)
        finally:
            await asyncio.wait_for(consumer.stop(), 5)

    async def written(self) -> int:
        """Waits for the ledger; how many records it has not."""
        reader = Reader(self.servers.bootstrap, self.registry, tuple(group_of("railclear", stages) for stages in SPLIT), LEDGER_TOPICS)
        return await reader.ledger_behind(self.servers.dsn)
