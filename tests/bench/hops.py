"""How late a record is on this machine when nothing is done with it: bare hops from topic to topic under the same load, in place of railclear's workers."""
from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

import msgspec
from aiokafka import AIOKafkaConsumer
from kafka.admin import NewTopic

from tests.bench.load import Mix, Sender, latencies, quantile
from tests.bench.on_kafka import PARTITIONS, ROOT
from tests.bench.site import WORKERS, Failed, Site

GROUP, HOPS = "bench.hop", 4
"""As many as a position has to the border: intake, TRAINS, CUSTODY, CLEARANCE."""
NAMES = {1: "bare hop", HOPS: "four bare hops"}
"""Hop -> the reference that it is."""
ASSIGNED_S = 60.0
LATE_S = 30.0
ID = re.compile(rb'"id":"([^"]+)"')
"""Of the message itself, which says it first."""


class Floor(msgspec.Struct, frozen=True):
    """Milliseconds from sending to reading, sorted, by hop; and of how many nothing was seen."""

    ms: dict[int, list[float]]
    unseen: int

    def beside(self, share: float) -> dict[str, float]:
        """Reference -> that quantile."""
        return {NAMES[hop]: quantile(ms, share) for hop, ms in self.ms.items() if ms}


def best(floors: Iterable[Floor], share: float) -> dict[str, float]:
    """That quantile of each reference in the round that had the best median of it: p50 and p99 are of one round, as railclear's own are."""
    rounds, found = list(floors), dict[str, float]()
    for hop, name in NAMES.items():
        if played := [floor.ms[hop] for floor in rounds if floor.ms[hop]]:
            found[name] = quantile(min(played, key=lambda ms: quantile(ms, 0.5)), share)
    return found


class Hops:
    """As many processes as railclear has workers, each with all hops; all of the outside's topics lead into the first."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.site.admin.create_topics([NewTopic(f"{GROUP}.{n}", PARTITIONS, 1) for n in range(1, HOPS + 1)], wait_for_metadata=True)
        command = [sys.executable, "-m", "tests.bench.reference.hop", self.site.bootstrap, GROUP, str(HOPS), *(spec.name for spec in self.site.known.inbound)]
        with (self.site.directory / "hops.log").open("ab") as out:
            self._processes = [subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out) for _ in WORKERS]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def check(self) -> None:
        """Raises Failed when one has ended by itself."""
        if any(process.poll() is not None for process in self._processes):
            raise Failed(f"a bare hop ended:\n{(self.site.directory / 'hops.log').read_text()[-2000:]}")

    async def play(self, mix: Mix, rate: float, seconds: float, *, warm: bool) -> Floor:
        """The steady load of railclear's own rounds. `warm`: first until the last hop hands something on. Raises Failed."""
        async with HopReader(self.site) as reader, Sender(self.site) as sender:
            limit = time.monotonic() + ASSIGNED_S
            while warm and not reader.seen[HOPS]:
                self.check()
                if time.monotonic() > limit:
                    raise Failed("the bare hops hand nothing on")
                await sender.run(mix.first_news(), rate, 1.0)
            await sender.run(iter(mix), rate, seconds)
            ended = time.monotonic() + LATE_S
            while time.monotonic() < ended and not sender.at.keys() <= reader.seen[HOPS].keys():
                self.check()
                await asyncio.sleep(0.1)
            return floor_of(sender.at, reader.seen)


def floor_of(sent: Mapping[str, float], seen: Mapping[int, Mapping[str, float]]) -> Floor:
    """Of everything that is looked for."""
    return Floor({hop: latencies(sent, of) for hop, of in seen.items()}, len(sent.keys() - seen[HOPS].keys()))


class HopReader:
    """Reads what the first and the last hop hand on, from now on, as a border is read; notes when each message was first seen."""

    def __init__(self, site: Site) -> None:
        self.seen: dict[int, dict[str, float]] = {hop: {} for hop in NAMES}
        self._consumer = AIOKafkaConsumer(*(f"{GROUP}.{hop}" for hop in NAMES), bootstrap_servers=site.bootstrap, auto_offset_reset="latest",
                                          isolation_level="read_committed", fetch_max_wait_ms=100)

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        for tp in self._consumer.assignment():
            await self._consumer.position(tp)
        self._task = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        while True:
            for tp, records in (await self._consumer.getmany(timeout_ms=200)).items():
                now, seen = time.monotonic(), self.seen[int(tp.topic.rpartition(".")[2])]
                for record in records:
                    if (found := ID.search(record.value or b"")) is not None:
                        seen.setdefault(found[1].decode(), now)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()
