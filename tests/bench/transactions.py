"""CLEARANCE with transactions beside CLEARANCE without, on the embedded Kafka: facts a second, a notice until it is at the border, readers that stand still.

Two workers have CLEARANCE only, as for the clearance facts (tests/bench/facts.py). The modes take turns, and every round has news of its own. A reader stands
still as long as a last stable offset stands while records lie behind it; to see the worst of it a worker is killed with -9 in an open transaction.
"""
from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

import msgspec
from kafka import TopicPartition

from streams.clearance.publish import HISTORY, STATUS
from streams.reference.model import Reference
from tests.bench import clearance
from tests.bench.beside import reason
from tests.bench.facts import CLOCK, OFTEN, STAGES, TOPIC, WORKERS, Facts, borders_of, timed
from tests.bench.figures import Figure, Found, figure, now
from tests.bench.load import BorderReader, Message, Sender, latencies, quantile
from tests.bench.on_kafka import SESSION_S, Row
from tests.bench.site import Failed, Say, Site, Worker
from tests.bench.visible import Watch
from tests.streams.test_assess_story import KEY
from topics.facts import Fact

PLAIN, EXACTLY = "at-least-once", "exactly-once"
MODES = {PLAIN: {"RAILCLEAR_EXACTLY_ONCE": "false"}, EXACTLY: {"RAILCLEAR_EXACTLY_ONCE": "true"}}
RATE, SECONDS = 100.0, 10.0
"""Notices a second, each of another shipment that is cold: an eighth of what two workers can do."""
LATE_S = 20.0
"""What no border was told so long after the last notice is not waited for."""
FEW = 1_000
"""Facts among which a worker is killed: enough for a transaction that can be caught open."""
TRIES, KILL_S = 8, 90.0
"""Of two workers one is in the transaction, and it may end before the kill. No further try begins after so long."""
IN_TRANSACTION_S = 1.0
"""Whoever stands still for so long stands behind a transaction that its owner has not ended."""
LONG_S = 900.0
"""No further round begins after so long."""
QUIET_S = 120.0
"""A killed worker's partitions are taken over, and everything is read, within that."""


SIZES = ("transaction_facts", "seconds")
"""Options that make a smaller run than usual."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--transaction-facts", type=int, default=4_000, help="transactions: facts of a round")


class Seen(msgspec.Struct):
    """What the rounds of one mode have shown."""

    cold: list[float] = []
    """Facts a second, another shipment each."""
    ten: list[float] = []
    """Facts a second, ten of each shipment."""
    p50: list[float] = []
    p99: list[float] = []
    unseen: int = 0
    steady: list[float] = []
    """Seconds that a reader stood still while nothing was wrong."""
    killed: list[float] = []
    """Seconds that a reader stood still after a worker was killed in its transaction."""

    @property
    def late(self) -> tuple[float, float]:
        """p50 and p99 of the round with the best p50."""
        return min(zip(self.p50, self.p99, strict=True))


class Notices:
    """Shipments of which nothing was heard since they were told, and the notice of each, known again by its evidence."""

    def __init__(self, reference: Reference, names: Sequence[tuple[str, str]]) -> None:
        fact: Fact = clearance.news(reference)["notice"]
        self._told = clearance.Told([msgspec.structs.replace(fact, id=f"bench/{KEY}")])
        self._names = iter(names)

    def take(self, count: int) -> Iterator[Message]:
        for _, (shipment, box) in zip(range(count), self._names, strict=False):
            yield Message(TOPIC, shipment.encode(), self._told.of(shipment, box), shipment)


async def notices(site: Site, messages: Iterator[Message], rate: float, seconds: float, seen: Seen) -> None:
    """A steady rate; how late each is at a border, and how long readers stood still meanwhile."""
    async with BorderReader(site, begin="latest") as reader, Sender(site) as sender:
        with Watch(site.bootstrap, outputs(site)) as watch:
            await sender.run(messages, rate, seconds)
            ended = time.monotonic() + LATE_S
            while time.monotonic() < ended and not sender.at.keys() <= reader.seen.keys():
                site.check()
                await asyncio.sleep(0.05)
        late = latencies(sender.at, reader.seen)
    if not late:
        raise Failed("no border was told of any notice")
    seen.p50.append(quantile(late, 0.5))
    seen.p99.append(quantile(late, 0.99))
    seen.unseen += len(sender.at) - len(late)
    seen.steady.append(watch.stalls.longest)


def outputs(site: Site) -> list[TopicPartition]:
    """What CLEARANCE writes for its readers."""
    return [TopicPartition(topic, n) for topic in (STATUS, HISTORY, *borders_of(site)) for n in range(site.partitions_of(topic))]


def begin(site: Site, mode: str) -> None:
    for _ in range(WORKERS):
        site.worker(STAGES, *CLOCK, "--clock-origin", str(time.time_ns() // 1000), env={**OFTEN, **MODES[mode]})
    site.wait()


def killed(site: Site, rows: Iterator[Sequence[Row]], before: int) -> tuple[float | None, int]:
    """(seconds that readers stood still, facts that were sent): one of the workers is killed as soon as records lie behind a last stable offset. None: its
    transaction ended all the same, or it was the other's, so often that nobody waits for another try; or the other worker did not survive it."""
    sent, begun = 0, time.monotonic()
    for n in range(TRIES):
        if time.monotonic() - begun > KILL_S:
            break
        victim, died, some = site.workers[n % WORKERS], threading.Event(), next(rows)
        sent += len(some)
        try:
            stood = _stood(site, some, before + sent, victim, died)
        except Failed as error:
            site.say(f"no stall was measured: {error}")
            break
        if died.is_set() and stood > IN_TRANSACTION_S:
            return stood, sent
    return None, sent


def _stood(site: Site, some: Sequence[Row], told: int, victim: Worker, died: threading.Event) -> float:
    """Seconds that readers stood still in one try, until everything is read. Raises Failed."""
    with Watch(site.bootstrap, outputs(site), partial(_kill, victim, died)) as watch:
        site.fill(TOPIC, some)
        end = time.monotonic() + QUIET_S
        while sum(site.committed(STAGES).values()) < told or watch.stalls.held:
            for worker in site.workers:
                if worker is not victim:
                    worker.check()
            if time.monotonic() > end:
                raise Failed(f"{told - sum(site.committed(STAGES).values())} facts are unread {QUIET_S:.0f} s after a worker was killed")
            time.sleep(0.05)
    if died.is_set():
        victim.start()
        site.wait()
    return watch.stalls.longest


def caught_up(site: Site, told: int, mode: str) -> None:
    """Everything that was told is read before the next measurement begins, by new workers if the old ones have left something. Raises Failed."""
    site.stop_workers()
    if sum(site.committed(STAGES).values()) >= told:
        return
    begin(site, mode)
    end = time.monotonic() + QUIET_S
    while sum(site.committed(STAGES).values()) < told:
        site.check()
        if time.monotonic() > end:
            raise Failed(f"{told - sum(site.committed(STAGES).values())} facts stay unread")
        time.sleep(0.05)
    site.stop_workers()


def _kill(victim: Worker, died: threading.Event) -> None:
    victim.kill()
    died.set()


def section(reference: Reference, options: argparse.Namespace, say: Say) -> Found:
    facts = Facts(reference, options.transaction_facts)
    seconds = min(SECONDS, options.seconds)
    few = min(FEW, options.transaction_facts)
    each = round(RATE * seconds)
    fresh = [(clearance.name_of(len(facts.names) + n), box) for n, box in enumerate(
        clearance.boxes(len(facts.names) + each * options.rounds * len(MODES))[len(facts.names):])]
    known = [*facts.before(), *((name.encode(), facts.first.of(name, box)) for name, box in fresh)]
    heard, told = Notices(reference, fresh), len(known)
    rounds: defaultdict[str, Seen] = defaultdict(Seen)
    turns = iter(range(1, 1_000_000))
    with Site(reference, say) as site:
        say(f"{told:,} shipments are told to CLEARANCE")
        timed(site, known, 0)
        begun, played, why = time.monotonic(), 0, ""
        try:
            for played in range(options.rounds):
                if played and time.monotonic() - begun > LONG_S:
                    why = f"no further round began after {LONG_S:.0f} s"
                    break
                for mode in MODES:
                    seen = rounds[mode]
                    for rates, rows in ((seen.cold, facts.one_each(next(turns))), (seen.ten, facts.ten_each(next(turns)))):
                        rates.append(timed(site, rows, told, MODES[mode]).per_second)
                        told += len(rows)
                    begin(site, mode)
                    asyncio.run(notices(site, heard.take(each), RATE, seconds, seen))
                    told += each
                    if mode == EXACTLY:
                        stood, sent = killed(site, (facts.one_each(turn)[:few] for turn in turns), told)
                        told += sent
                        seen.killed += [] if stood is None else [stood]
                    caught_up(site, told, mode)
                    say(f"{mode}: {seen}")
        except Exception as error:
            if not played:
                raise
            say(f"no more rounds: {error!r}")   # what the rounds before have shown stands
            why = reason(error)
    return said(rounds, seconds, why)


def said(rounds: dict[str, Seen], seconds: float, why: str = "") -> Found:
    """Both modes side by side. `why` there are fewer rounds than were asked for."""
    found = dict[str, Figure | None]()
    when, workers = now(), f"{WORKERS} workers with CLEARANCE only{f'; fewer rounds than asked for: {why}' if why else ''}"
    notice = f"{workers}; {RATE:,.0f} notices/s for {seconds:.0f} s, each of another shipment whose state is cold"
    for mode, seen in rounds.items():
        plain = rounds[PLAIN]
        rows = (("clearance facts, another shipment each", seen.cold, plain.cold, f"{workers}; until offsets are committed and all is visible"),
                ("clearance facts, ten per shipment", seen.ten, plain.ten, f"{workers}; until offsets are committed and all is visible"))
        for title, mine, other, note in rows:
            found[f"CLEARANCE {mode}: {title}"] = figure(max(mine), "/s", references=_beside(mode, max(other)), rounds=len(mine), when=when, note=note,
                                                         alone=_alone(mode))
        for share, ms, plain_ms in zip(("p50", "p99"), seen.late, plain.late, strict=True):
            found[f"CLEARANCE {mode}: notice to border update, {share}"] = figure(
                ms, "ms", references=_beside(mode, plain_ms), smaller_is_better=True, rounds=len(seen.p50), when=when,
                note=f"{notice}; p50 and p99 of the round with the best p50; {seen.unseen} not seen in any round", alone=_alone(mode))
        found[f"CLEARANCE {mode}: readers stand still, nothing wrong"] = figure(
            max(seen.steady), "s", references=_beside(mode, max(plain.steady)), smaller_is_better=True, rounds=len(seen.steady), when=when,
            note=f"the longest of all rounds that a last stable offset stood while records lay behind it; {notice}", alone=_alone(mode))
    after = rounds[EXACTLY].killed
    found[f"CLEARANCE {EXACTLY}: readers stand still after kill -9 in a transaction"] = None if not after else figure(
        max(after), "s", rounds=len(after), when=when, alone="at-least-once has no transaction to be killed in",
        note=f"the longest of {', '.join(f'{s:.1f}' for s in after)}; the other worker takes over once the session of {SESSION_S} s has ended, or "
             "the broker ends the transaction after 10 s, which it looks for every 10 s")
    return found


def _alone(mode: str) -> str:
    return "the other mode stands beside it" if mode == PLAIN else ""


def _beside(mode: str, value: float) -> dict[str, float]:
    return {} if mode == PLAIN else {PLAIN: value}
