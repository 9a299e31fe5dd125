"""All of railclear over as many live shipments as the corridors have: restore, failover, a closure's sweep, a load for minutes, memory, work per event."""
from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from agents.app import folds
from streams.kept import instant
from streams.reference.model import Reference
from tests.bench import world
from tests.bench.beside import LEAST, reason
from tests.bench.latency import SETTLE_S, clock, common
from tests.bench.load import BorderReader, Copies, Message, Mix, Sender, tempo
from tests.bench.on_kafka import ROOT, Row
from tests.bench.probes import notices
from tests.bench.site import GROUPS, WORKERS, Failed, Say, Site, Worker
from tests.bench.world import Live
from topics import codec, registry
from topics.events.sites import CrossingCondition
from topics.facts import DAY

SHIPMENTS, RATE, SECONDS, AIM = 72_000, 4_000.0, 300.0, 10_000.0
"""What the figures are promised for; and up to how many events a second they are looked for."""
ENOUGH = 0.97
"""Copies come whole, and a sender is never quite on time."""
DRAIN_S = 120.0
"""What is still unread so long after the load is not waited for."""
RUNG_S = 10.0
RUNG_DRAIN_S = 3.0
"""A rate is sustained if everything is read so soon after it."""
RUNG_LEAST = 250.0
FAILOVER_S = 120.0
GETMANY = "bare getmany"
SWEEP_S = 60.0
SPREAD_S = 4.0
"""Over so long after a closure notices are sent."""
SWEPT_MIN = 100
"""Keys that are swept while twenty notices are sent, or the sweep was over, and the round says nothing."""
SWEPT = re.compile(r'^railclear_fold_total\{stage="[^"]*",what="swept"\} (\S+)', re.MULTILINE)
NOTICES = 40
IDLE_S = 5.0
EVERY_S = 2.0
"""Memory is looked at so often."""
SIZES = ("shipments", "load_rate", "load_seconds", "seconds", "rate")
"""Options that make a smaller run than the one that is promised for."""
PARTS = (100, 10, 1)
"""Work per event is measured over this part of the live shipments, and over all."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shipments", type=int, default=SHIPMENTS, help="live: shipments; a hundredth and a tenth of them, too")
    parser.add_argument("--load-rate", type=float, default=RATE, help="live: outside events a second; then twice as many for a tenth of the time")
    parser.add_argument("--load-seconds", type=float, default=SECONDS, help="live: how long")


class NothingLeft(Failed):
    """Every notice has been played."""


class Closure(NamedTuple):
    """One round."""

    ms: list[float]
    """Of the notices, sorted."""
    note: str
    """What was closed, and what came of it."""
    swept: int
    """Keys that the sweep passed while notices were sent."""


class Whole:
    """The measurements, in an order in which each leaves the next what it needs."""

    def __init__(self, live: Live, site: Site, copies: Sequence[int], few: int, options: argparse.Namespace, say: Say) -> None:
        """The first `few` copies are those whose events are played for the work per event: their notices may have been heard."""
        self.live, self.site, self.copies, self.options, self.say = live, site, copies, options, say
        played, ids = notices(live, NOTICES)
        self._fresh = Copies(live, copies[few:] or copies).each(played, ids)

    def probes(self, count: int) -> list[Message]:
        """The next notices that nobody has seen yet, with what must be sent before them."""
        found: list[Message] = []
        while sum(bool(m.probe) for m in found) < count and (message := next(self._fresh, None)) is not None:
            found.append(message)
        return found

    # -- restore and failover --------------------------------------------------------------------------------------------------
    def start(self) -> list[float]:
        """Seconds from the start of the processes until every partition is restored, with `kill -9` in between. At the first the broker has yet to make
        its own topics of groups and transactions, and reads what it has just been given from a cold start."""
        found, clocked = list[float](), clock()
        for again in range(self.options.rounds):
            for worker in self.site.workers:
                worker.kill()
            begun = time.monotonic()
            if again:
                for worker in self.site.workers:
                    worker.start()
            else:
                for n, stages in enumerate(WORKERS):
                    self.site.worker(stages, *clocked, "--instance", f"bench-{n}")
            self.site.wait()
            found.append(time.monotonic() - begun)
            self.say(f"restored in {found[-1]:.1f} s, {self.site.rss_mb():,.0f} MB")
        return found

    def failovers(self) -> list[float]:
        """Of each round the slower of the workers."""
        found: list[float] = []
        for _ in range(self.options.rounds):
            found.append(max(asyncio.run(self.failover(worker)) for worker in self.site.workers))
            self.say(f"failover: {found[-1]:.1f} s")
            self.site.wait()
            self.site.settle(SETTLE_S)
        return found

    async def failover(self, worker: Worker) -> float:
        """Seconds from kill -9 until every notice that was sent then has reached its border."""
        async with BorderReader(self.site, begin="latest") as reader, Sender(self.site) as sender:
            begun = time.monotonic()
            await asyncio.to_thread(worker.kill)
            notices = self.probes(10)
            if not any(message.probe for message in notices):
                raise NothingLeft("no notice is left that could be looked for")
            await sender.run(iter(notices), 200.0, len(notices) / 200)
            worker.start()
            while not sender.at.keys() <= reader.seen.keys() and time.monotonic() - begun < FAILOVER_S:
                self.site.check()
                await asyncio.sleep(0.05)
            seen = [reader.seen.get(name, time.monotonic()) for name in sender.at]
        return max(seen, default=time.monotonic()) - begun

    def read_bare(self) -> tuple[dict[str, float], str]:
        """(seconds, what to note): the same state topics by as many processes that only read, from their start until they have ended; the best of the
        rounds."""
        try:
            best, size = self._read_bare()
        except Exception as error:  # noqa: BLE001  what was measured of railclear stands
            self.say(f"{GETMANY} has no figure: {error!r}")
            return {}, f"{GETMANY} not measured: {reason(error)}"
        return {GETMANY: best}, f"{GETMANY}: as many processes read the same topics and decode nothing, {size / best / 2**20:,.0f} MB/s"

    def _read_bare(self) -> tuple[float, int]:
        topics = [fold.state_topic for stage, fold in folds().items() if any(stage in stages for stages in WORKERS)]
        best, size = float("inf"), 0
        for _ in range(self.options.rounds):
            begun = time.monotonic()
            running = [subprocess.Popen([sys.executable, "-m", "tests.bench.reference.read_all", self.site.bootstrap, str(n), str(len(WORKERS)), *topics],
                                        cwd=ROOT, stdout=subprocess.PIPE, text=True) for n in range(len(WORKERS))]
            said = [process.communicate()[0] for process in running]
            if any(process.returncode for process in running):
                raise Failed("the states cannot be read by bare aiokafka")
            best, size = min(best, time.monotonic() - begun), sum(map(int, said))
            self.say(f"{GETMANY} of the states: {best:.1f} s, {size / best / 2**20:,.0f} MB/s")
        return best, size

    # -- a closure -------------------------------------------------------------------------------------------------------------
    def closures(self) -> list[Closure]:
        """As many rounds as were asked for, or as there are notices that nobody has seen; one at least. Raises Failed."""
        found: list[Closure] = []
        for n in range(self.options.rounds):
            try:
                found.append(asyncio.run(self.closure(n)))
            except NothingLeft:
                if not found:
                    raise
                break
            self.say(f"notice during a sweep: {found[-1].ms[-1]:,.0f} ms; {found[-1].note}")
        return found

    async def closure(self, turn: int) -> Closure:
        """Notices that are sent in the first seconds after a closure; then it is open again, and all is quiet. Raises NothingLeft."""
        crossing, journeys = self.live.ahead.most_common(1)[0]
        async with BorderReader(self.site, begin="latest") as reader, Sender(self.site) as sender:
            await sender.run(iter([condition(self.site.reference, crossing, "closed", 2 * turn)]), 100.0, 0.01)
            notices, before = self.probes(20), await asyncio.to_thread(swept, self.site.workers)
            await sender.run(iter(notices), len(notices) / SPREAD_S, SPREAD_S)
            passed = await asyncio.to_thread(swept, self.site.workers) - before
            end = time.monotonic() + SWEEP_S
            while time.monotonic() < end and not sender.at.keys() <= reader.seen.keys():
                await asyncio.sleep(0.05)
            ended = time.monotonic()
            # Open again, or the ETAs of all would move for minutes.
            await sender.run(iter([condition(self.site.reference, crossing, "open", 2 * turn + 1)]), 100.0, 0.01)
            await asyncio.to_thread(self.site.settle, SWEEP_S)
            note = (f"{crossing} closed, {journeys * len(self.copies)} trains before it; {len(sender.at)} notices in the {SPREAD_S:.0f} s after it, "
                    f"{len(sender.at.keys() - reader.seen.keys())} not seen in {SWEEP_S:.0f} s; {passed:,} keys swept while they were sent, "
                    f"{reader.updates:,} border updates on the whole")
        if not sender.at:
            raise NothingLeft("no notice is left that could be looked for")
        return Closure(sorted((reader.seen.get(name, ended) - at) * 1000 for name, at in sender.at.items()), note, passed)

    # -- load ------------------------------------------------------------------------------------------------------------------
    def sustained(self, mix: Iterator[Message]) -> float:
        """The highest rate of the rounds; every round but the first begins with the last rung that was kept up with before, and goes on until one is not."""
        best, rungs = 0.0, ladder(self.options.load_rate)
        for _ in range(self.options.rounds):
            best = max(best, asyncio.run(self.kept_up(mix, rungs)))
            rungs = [rung for rung in rungs if rung >= best / 2] or rungs[-1:]
        return best

    async def kept_up(self, mix: Iterator[Message], rungs: Sequence[float]) -> float:
        """The highest of these rates, one after the other, at which everything is read a moment after it was sent; 0: not even the first. Ends where more
        cannot be sent."""
        best = 0.0
        async with Sender(self.site) as sender:
            for rate in rungs:
                begun = time.monotonic()
                sent = await sender.run(mix, rate, min(RUNG_S, self.options.load_seconds))
                real = sent / (time.monotonic() - begun)
                drained = await asyncio.to_thread(self.site.drained, GROUPS, RUNG_DRAIN_S, steady=1)
                self.say(f"{rate:,.0f}/s wanted, {real:,.0f}/s sent: {'kept up with' if drained is not None else 'too much'}")
                if drained is None:
                    await asyncio.to_thread(self.site.drained, GROUPS, DRAIN_S)
                    break
                if real < ENOUGH * rate:
                    best = max(best, real)
                    break
                best = rate
        return best

    async def load(self, mix: Iterator[Message]) -> tuple[float, int, int, float | None, float]:
        """(events/s sent, records unread at the end of the load, records unread when the wait ends, seconds until nothing was, most memory in MB)."""
        watching = asyncio.create_task(self._memory())
        rate, seconds = self.options.load_rate, self.options.load_seconds
        async with Sender(self.site) as sender:
            begun = time.monotonic()
            sent = await sender.run(mix, rate, seconds)
            real = sent / (time.monotonic() - begun)
            self.say(f"{real:,.0f}/s for {seconds:.0f} s; now {2 * rate:,.0f}/s for {seconds / 10:.0f} s")
            await sender.run(mix, 2 * rate, seconds / 10)
        behind = sum((await asyncio.to_thread(self.site.lag, GROUPS)).values())
        took = await asyncio.to_thread(self.site.drained, GROUPS, DRAIN_S)
        rest = sum((await asyncio.to_thread(self.site.lag, GROUPS)).values())
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return real, behind, rest, took, self._most

    async def _memory(self) -> None:
        self._most = 0.0
        while True:
            self._most = max(self._most, await asyncio.to_thread(self.site.rss_mb))
            await asyncio.sleep(EVERY_S)


def swept(workers: Sequence[Worker]) -> int:
    """Keys that sweeps have passed, by the metrics."""
    return sum(int(float(count)) for worker in workers for count in SWEPT.findall(worker.metrics()))


def chosen(closures: Sequence[Closure]) -> tuple[Closure, int]:
    """(the best of the rounds in which a sweep was running, how many these are); without any the best of all, and 0."""
    running = [one for one in closures if one.swept >= SWEPT_MIN]
    return min(running or closures, key=lambda one: one.ms[-1]), len(running)


def ladder(promised: float) -> list[float]:
    """Rates, each twice the one before; the promised one is among them, and the last is as far beyond it as the aim is."""
    most = promised * AIM / RATE
    rungs = [min(RUNG_LEAST, promised)]
    while rungs[-1] < most:
        rate = min(2 * rungs[-1], most)
        rungs.append(promised if rungs[-1] < promised < rate else rate)
    return rungs


def condition(reference: Reference, crossing: str, state: Literal["open", "closed"], seconds: int) -> Message:
    """The network's control closes it both ways, or opens it again so many seconds later."""
    party = next(p.id for p in reference.parties.values() if p.role == "network")
    event = CrossingCondition(source=party, id=f"bench-{state}-{seconds}", event_time=instant(world.NOW + seconds * 1_000_000), crossing=crossing, state=state,
                              reason="BORDER_CLOSED" if state == "closed" else "", expected_until=instant(world.NOW + 2 * DAY) if state == "closed" else None)
    return Message(registry.inbound_topic("network", party), None, codec.encode(event))


def mixed_rows(live: Live, copies: Sequence[int], rate: float) -> list[Row]:
    """The mix as one topic, for programs that read one."""
    mix = Mix(live, copies, tempo(rate, len(copies) * world.TRAINS), seed=3)
    return [(message.key or b"", message.value) for message in islice(mix, LEAST)]


async def work(site: Site, live: Live, copies: Sequence[int], options: argparse.Namespace) -> float:
    """Microseconds of the workers' CPU per outside event, without what they take when nothing comes; the best of the rounds. The events are always those of
    the same few trains, however many others there are."""
    rate, seconds = options.rate / 5, min(20.0, options.seconds)
    mix = Mix(live, copies, tempo(rate, len(copies) * world.TRAINS))
    async with Sender(site) as sender:
        await sender.run(mix.first_news(), rate, SETTLE_S)
        await asyncio.to_thread(site.drained, GROUPS, SETTLE_S)
        await asyncio.to_thread(site.settle, SETTLE_S)
        found: list[float] = []
        for _ in range(options.rounds):
            before, begun = site.cpu_s(), time.monotonic()
            await asyncio.sleep(IDLE_S)
            idle = (site.cpu_s() - before) / (time.monotonic() - begun)
            before, begun = site.cpu_s(), time.monotonic()
            sent = await sender.run(iter(mix), rate, seconds)
            await asyncio.to_thread(site.drained, GROUPS, DRAIN_S)
            found.append(max(0.0, site.cpu_s() - before - idle * (time.monotonic() - begun)) / sent * 1e6)
            await asyncio.to_thread(site.settle, SETTLE_S)
        return min(found)


def fill(site: Site, states: Sequence[dict[str, list[Row]]]) -> None:
    """All states, topic by topic."""
    common(site)
    for topic in sorted({topic for of_copy in states for topic in of_copy}):
        site.fill(topic, [row for of_copy in states for row in of_copy.get(topic, ())])
