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

import msgspec

from agents.app import folds
from streams.kept import instant
from streams.reference.model import Reference
from tests.bench import world
from tests.bench.beside import LEAST, NOTE, Beside, reason
from tests.bench.figures import Figure, figure, now
from tests.bench.latency import SETTLE_S, clock, common, copies_of
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

    async def failover(self, worker: Worker) -> float:
        """Seconds from kill -9 until every notice that was sent then has reached its border."""
        async with BorderReader(self.site, begin="latest") as reader, Sender(self.site) as sender:
            begun = time.monotonic()
            await asyncio.to_thread(worker.kill)
            notices = self.probes(10)
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
    async def sustained(self, mix: Iterator[Message]) -> float:
        """The highest rate, doubling up to the promised one and then to the aim, at which everything is read a moment after it was sent; 0: not even the
        least. Ends where more cannot be sent."""
        best, rungs = 0.0, ladder(self.options.load_rate)
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
    """Microseconds of the workers' CPU per outside event, without what they take when nothing comes. The events are always those of the same few trains,
    however many others there are."""
    rate, seconds = options.rate / 5, min(20.0, options.seconds)
    mix = Mix(live, copies, tempo(rate, len(copies) * world.TRAINS))
    async with Sender(site) as sender:
        await sender.run(mix.first_news(), rate, SETTLE_S)
        await asyncio.to_thread(site.drained, GROUPS, SETTLE_S)
        await asyncio.to_thread(site.settle, SETTLE_S)
        before, begun = site.cpu_s(), time.monotonic()
        await asyncio.sleep(IDLE_S)
        idle = (site.cpu_s() - before) / (time.monotonic() - begun)
        before, begun = site.cpu_s(), time.monotonic()
        sent = await sender.run(iter(mix), rate, seconds)
        await asyncio.to_thread(site.drained, GROUPS, DRAIN_S)
        return max(0.0, site.cpu_s() - before - idle * (time.monotonic() - begun)) / sent * 1e6


def fill(site: Site, states: Sequence[dict[str, list[Row]]]) -> None:
    """All states, topic by topic."""
    common(site)
    for topic in sorted({topic for of_copy in states for topic in of_copy}):
        site.fill(topic, [row for of_copy in states for row in of_copy.get(topic, ())])


def section(reference: Reference, options: argparse.Namespace, say: Say) -> dict[str, Figure]:
    say("simulating the trains that are copied")
    live = world.live()
    copies = copies_of(live, options.shipments)
    states = []
    for n, of_copy in enumerate(world.states(copies), 1):
        states.append(of_copy)
        if n % 50 == 0:
            say(f"{n} of {len(copies)} copies made")
    few = copies[: max(1, len(copies) // PARTS[0])]
    us: dict[int, float] = {}
    for part in PARTS[:-1]:
        count = max(1, len(copies) // part)
        with Site(reference, say) as site:
            fill(site, states[:count])
            for stages in WORKERS:
                site.worker(stages, *clock())
            site.wait()
            site.settle(SETTLE_S)
            us[part] = asyncio.run(work(site, live, few, options))
            say(f"{count * live.shipments:,} live shipments: {us[part]:,.0f} us CPU per event")
    with Site(reference, say) as site:
        fill(site, states)
        size = sum(len(value) for of_copy in states for rows in of_copy.values() for _, value in rows)
        states.clear()
        world.forget()
        return _over_all(Whole(live, site, copies, len(few), options, say), few, us, size)


def _over_all(whole: Whole, few: Sequence[int], us: dict[int, float], size: int) -> dict[str, Figure]:
    site, live, say, options = whole.site, whole.live, whole.say, whole.options
    shipments, trains = len(whole.copies) * live.shipments, len(whole.copies) * world.TRAINS
    over = (f"{shipments:,} live shipments on {trains:,} trains, copied from {live.shipments} simulated ones with {world.BOXES} boxes a train, states put "
            f"into their topics; {len(WORKERS)} workers")
    say(f"{shipments:,} shipments on {trains:,} trains")
    starts = whole.start()
    restore = min(starts)
    restored = now()
    site.settle(SETTLE_S)
    bare, read_note = whole.read_bare()
    us[1] = asyncio.run(work(site, live, few, options))
    say(f"{shipments:,} live shipments: {us[1]:,.0f} us CPU per event")
    failover = max(asyncio.run(whole.failover(worker)) for worker in site.workers)
    over_again = now()
    say(f"failover: {failover:.1f} s")
    site.wait()
    site.settle(SETTLE_S)
    closures = whole.closures()
    closed = now()
    sweep, running = chosen(closures)
    mix = Mix(live, whole.copies, tempo(options.load_rate, trains), seed=2)
    every = iter(mix)
    best = asyncio.run(whole.sustained(every))
    sustained = now()
    real, behind, rest, took, most = asyncio.run(whole.load(every))
    say(f"{real:,.0f}/s sent, {behind:,} records unread after it, {'none' if took is not None else f'{rest:,}'} after "
        f"{DRAIN_S if took is None else took:.0f} s; {most:,.0f} MB")
    loaded = now()
    site.stop_workers()
    beside = Beside(site.bootstrap, site.admin, say).best("bench.mix", mixed_rows(live, whole.copies, options.load_rate), options.rounds)
    late = took if took is not None else DRAIN_S * behind / max(1, behind - rest)
    load = (f"{over}; {real:,.0f} events/s for {options.load_seconds:.0f} s, then {2 * options.load_rate:,.0f}/s for {options.load_seconds / 10:.0f} s: "
            f"{behind:,} records unread at the end{mix.said()}")
    spread = (max(us.values()) / max(1.0, min(us.values())) - 1) * 100
    found = {
        "live: events a second that are kept up with": figure(
            best, "/s", at_least=4_000, aim=AIM, references=beside.rates, when=sustained,
            note=beside.noted(f"{over}; {NOTE}, and read the same mix, one process each; doubling from {RUNG_LEAST:.0f}/s to "
                              f"{ladder(options.load_rate)[-1]:,.0f}/s, each {RUNG_S:.0f} s, all read {RUNG_DRAIN_S:.0f} s later; 0: not even the first")),
        "live: nothing unread after the load": figure(
            late, "s", at_least=60, aim=30, smaller_is_better=True, when=loaded,
            note=load + ("" if took is not None else f"; {rest:,} still unread after {DRAIN_S:.0f} s, the rest reckoned from the rate until then")),
        "live: memory of all workers": figure(most / 1024, "GB", at_least=1.5, aim=1, smaller_is_better=True, when=loaded, note=load),
        "live: restore from compacted topics": figure(
            restore, "s", at_least=6, aim=3, smaller_is_better=True, references=bare, rounds=len(starts), when=restored,
            note=f"from the start of the processes until all partitions are ready, best of {', '.join(f'{s:.1f}' for s in starts)}; {size >> 20:,} MB; {over}; "
            f"{read_note}"),
        "live: failover after kill -9, restarted in place": figure(
            failover, "s", at_least=10, aim=5, smaller_is_better=True, when=over_again,
            note=f"until all notices sent at that moment are at their borders; the slower of {len(WORKERS)} workers, static members; {over}"),
        "live: notice that arrives during a sweep": figure(
            sweep.ms[-1], "ms", at_least=1_000, aim=300, smaller_is_better=True, rounds=max(1, running), when=closed,
            note=f"the slowest; {len(closures) - running} of {len(closures)} rounds do not count: no sweep was running; {sweep.note}"),
        "live: CPU per event, spread over a hundredth, a tenth and all shipments": figure(
            spread, "%", at_least=25, aim=10, smaller_is_better=True, note=f"events of the same {len(few) * world.TRAINS} trains each time; {over}"),
    }
    for part, cost in us.items():
        name = {100: "a hundredth of the shipments", 10: "a tenth of the shipments", 1: "all shipments"}[part]
        found[f"live: CPU per event, {name}"] = figure(cost, "us")
    if not running:
        name = "live: notice that arrives during a sweep"
        found[name] = msgspec.structs.replace(found[name], met=False)
    if real < ENOUGH * options.load_rate:
        name = "live: nothing unread after the load"
        found[name] = msgspec.structs.replace(found[name], met=False, note=f"the load could not even be sent at {options.load_rate:,.0f}/s; {found[name].note}")
    return found
