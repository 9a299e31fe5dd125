"""The ledger on the embedded PostgreSQL: how fast a backlog becomes rows while statuses flow beside it, and how much slower they get meanwhile."""
from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from kafka import TopicPartition
from kafka.errors import KafkaError, NoError
from kafka.structs import OffsetAndMetadata

from agents.ledger.rows import GENESIS, LogRecord, Rows
from agents.ledger.writer import TOPICS
from agents.settings import group_of
from agents.transport.origin import INPUT_KEY, InputIdentity, record_of
from streams.reference.model import Reference
from tests.bench import world
from tests.bench.beside import reason
from tests.bench.figures import Figure, Moment, figure, now
from tests.bench.latency import LIGHT, SETTLE_S, Heard, clock, copies_of, played, prepare
from tests.bench.load import Mix, tempo
from tests.bench.on_kafka import Row
from tests.bench.probes import in_mix
from tests.bench.reference import copy
from tests.bench.site import GROUPS, LEDGER, WORKERS, Failed, Say, Site, Worker
from tests.bench.world import Live
from topics.registry import state_topic

WRITTEN = re.compile(r'^railclear_ledger_total\{what="rows_written"\} (\S+)', re.MULTILINE)
DRAIN_S = 240.0
"""A backlog that takes longer is measured over what was written until then."""
ROWS = 1_000_000
COPY, COPIED = "bare COPY", 200_000
"""The reference, and so many rows for it: seconds."""
LOOK_S = 0.2
COORDINATOR_S = 30.0
PARTS = 2 + 2 * LIGHT
"""So much of the load is played in a round: a quarter of it and all of it, without the ledger and beside it; and all once before, to warm up."""
PLAY_S = 30.0
"""No play is longer: all rounds must find notices that have not been said yet."""
QUIET_S, QUIET_MAX_S = 2.0, 60.0
"""A ledger that has written nothing for so long has nothing left; no longer is waited for it."""


SIZES = ("rows", "seconds", "rate", "latency_shipments")
"""Options that make a smaller run than the one that is promised for."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=ROWS, help="ledger: rows of the backlog")


class Backlog:
    """What the folds of the simulated trains were told and have said, as often as it takes: the real mix of tables and sizes."""

    def __init__(self, live: Live, rows: int) -> None:
        log = live.system.harness.log
        self.records = {topic: [(r.key or b"", r.value) for r in log.topic(topic) if r.value is not None] for topic in TOPICS}
        self.one = rows_of(self.records)
        """Of one time over."""
        self.each = self.one.count()
        self.times = max(1, -(-rows // self.each))
        self.rows = self.times * self.each

    def parts(self) -> Iterator[tuple[str, list[Row]]]:
        for _ in range(self.times):
            yield from ((topic, records) for topic, records in self.records.items() if records)


def rows_of(records: Mapping[str, Sequence[Row]]) -> Rows:
    """What the ledger makes of them."""
    rows = Rows()
    for topic, of_topic in records.items():
        for n, (key, value) in enumerate(of_topic):
            rows.add(LogRecord(topic, 0, n, 1_700_000_000_000_000, key, value), GENESIS)
    return rows


def skip(site: Site, groups: Sequence[Sequence[str]]) -> None:
    """The folds begin behind the backlog: only the ledger reads it. Their states say of which input they are, as they would had they read it. Raises Failed."""
    for stages in groups:
        ends = {tp: OffsetAndMetadata(end, "", -1) for tp, end in site.ends(t for t in site.inputs(stages) if t.endswith(".in")).items()}
        for tp in ends:
            site.place(state_topic(tp.topic.removesuffix(".in")), tp.partition, [(INPUT_KEY, record_of(InputIdentity(tp.topic, "")))])
        limit = time.monotonic() + COORDINATOR_S
        while (wrong := _set(site, group_of("railclear", tuple(stages)), ends)) is not None:
            if time.monotonic() > limit:
                raise Failed(f"the offsets of {', '.join(stages)} cannot be set: {wrong}")
            time.sleep(LOOK_S)                       # the broker makes and loads its topic of offsets when it is first asked


def _set(site: Site, group: str, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> str | None:
    """What stood in the way; None: nothing."""
    try:
        answers = site.admin.alter_group_offsets(group, offsets)
    except KafkaError as error:
        return repr(error)
    return next((answer.__name__ for answer in answers.values() if answer is not NoError), None)


def written(worker: Worker) -> int:
    """Rows that a ledger's writer has committed, by its metrics."""
    found = WRITTEN.search(worker.metrics())
    return int(float(found[1])) if found else 0


class Watch:
    """Rows over time, from the first written."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.looks: list[tuple[float, int]] = []

    async def run(self, rows: int) -> None:
        end = time.monotonic() + DRAIN_S
        while time.monotonic() < end:
            self.worker.check()
            count = await asyncio.to_thread(written, self.worker)
            if count:
                self.looks.append((time.monotonic(), count))
                if count >= rows:
                    return
            await asyncio.sleep(LOOK_S)

    def rest(self) -> None:
        """Until it has nothing left to write, so that it does not go on in the next round."""
        end, count, since = time.monotonic() + QUIET_MAX_S, -1, time.monotonic()
        while time.monotonic() < end and time.monotonic() - since < QUIET_S:
            self.worker.check()
            if (found := written(self.worker)) != count:
                count, since = found, time.monotonic()
            time.sleep(LOOK_S)

    def per_second(self, until: float = float("inf")) -> float:
        looks = [look for look in self.looks if look[0] <= until]
        if len(looks) < 2:
            return 0.0
        (begun, first), (ended, last) = looks[0], looks[-1]
        return (last - first) / (ended - begun)


def copied_bare(dsn: str, rows: Rows, times: int, rounds: int, say: Say) -> tuple[dict[str, float], str]:
    """(rows a second of bare COPY, the best of the rounds; what kept one from being measured, empty: nothing)."""
    found: dict[str, float] = {}
    for _ in range(rounds):
        try:
            found[COPY] = max(found.get(COPY, 0.0), asyncio.run(copy.measured(dsn, rows, times)))
        except Exception as error:  # noqa: BLE001  what is measured of railclear stands without it
            say(f"{COPY} has no more figures: {error!r}")
            return found, reason(error)
        say(f"bare COPY: {found[COPY]:,.0f} rows/s")
    return found, ""


def section(reference: Reference, options: argparse.Namespace, say: Say) -> dict[str, Figure]:
    say("simulating the trains that are copied")
    live = world.live()
    backlog = Backlog(live, options.rows)
    options = argparse.Namespace(**{**vars(options), "seconds": min(PLAY_S, options.seconds)})
    copies = copies_of(live, options.latency_shipments)
    pace = tempo(options.rate, len(copies) * world.TRAINS)
    probes = in_mix(live, len(copies), pace, (PARTS * options.rounds + 1) * options.rate * options.seconds)
    with Site(reference, say, postgres=True) as site:
        assert site.postgres is not None, "asked for"
        times = max(1, min(backlog.times, -(-COPIED // backlog.each)))
        copied, failed = copied_bare(site.postgres.dsn, backlog.one, times, options.rounds, say)
        prepare(site, copies)
        desk = Desk(site, backlog, Mix(live, copies, pace, ids=probes.notices), options)
        played, why = rounds(desk, options.rounds)
    note = (f"beside {options.rate:,.0f} mixed events/s for {options.seconds:.0f} s over {len(copies) * live.shipments:,} live shipments; a backlog of "
            f"{backlog.rows:,} rows: what the simulated trains have given the ledger, {backlog.times} times over, with the same shipments; each round on top "
            f"of the rows of those before{why}")
    bare = (f"{COPY}: rows ready in memory into the same tables with the same indexes, before the load and with nothing beside it, best of {options.rounds}; "
            f"nothing read, decoded, hashed or looked up{f'; a round failed: {failed}' if failed else ''}")
    return said(played, copied, backlog.rows, note, bare)


class Round(NamedTuple):
    """One play."""

    alone: Heard
    beside: Heard
    rate: float
    """Rows a second beside the load."""
    whole: float
    """Rows a second of the backlog to its end, or to what is waited for."""
    took: float
    """Seconds from the first row to the last."""
    last: int
    """Rows that were in by then."""
    when: Moment
    light: tuple[Heard, Heard]
    """Without the ledger and beside it, a quarter of the load."""
    left: int = 0
    """Rows that were still to be written when that ended."""

    @property
    def slower(self) -> float:
        """Per cent, of the median of a notice to its border."""
        return slower(self.alone, self.beside)


def slower(alone: Heard, beside: Heard) -> float:
    """Per cent, of the medians."""
    return (beside.quantile(0.5) / alone.quantile(0.5) - 1) * 100


class Desk:
    """One broker and one PostgreSQL, on which round follows round."""

    def __init__(self, site: Site, backlog: Backlog, mix: Mix, options: argparse.Namespace) -> None:
        self.site, self.backlog, self.mix, self.options = site, backlog, mix, options
        self._clock = clock()
        self._warm = False

    def play(self) -> Round:
        """A backlog behind which the folds begin; the load without the ledger, then beside it. Raises Failed."""
        site, options = self.site, self.options
        site.stop_workers()
        for n, (topic, rows) in enumerate(self.backlog.parts()):
            site.fill(topic, rows)
            if n % 100 == 99:
                site.say(f"backlog: {n // len(TOPICS)} of {self.backlog.times} parts")
        skip(site, GROUPS)
        for stages in WORKERS:
            site.worker(stages, *self._clock)
        site.wait()
        site.settle(SETTLE_S)
        if not self._warm:                          # first news of a shipment cost more than later ones: not measured
            asyncio.run(_alone(site, self.mix, options, warm=True))
            site.settle(SETTLE_S)
            self._warm = True
        light = argparse.Namespace(**{**vars(options), "rate": options.rate * LIGHT})
        calm, alone = asyncio.run(_alone(site, self.mix, light)), asyncio.run(_alone(site, self.mix, options))
        site.say(f"notice to border update without the ledger: {alone}; at a quarter of the load {calm}")
        site.settle(SETTLE_S)
        assert site.postgres is not None, "asked for"
        watch = Watch(site.worker(LEDGER, env={"RAILCLEAR_DSN": site.postgres.dsn}))
        site.wait()
        drained = asyncio.run(_beside(site, self.mix, (options, light), watch, self.backlog.rows))
        beside, when = drained.full, now()
        site.say(f"notice to border update beside the draining ledger: {beside}; at a quarter of the load {drained.light}")
        if len(watch.looks) < 2 or not alone.ms or not beside.ms or not calm.ms or not drained.light.ms:
            raise Failed("the ledger has written nothing, or no notice was sent: give it more seconds")
        (begun, _), (ended, last) = watch.looks[0], watch.looks[-1]
        rate = watch.per_second(drained.ended)
        site.say(f"{last:,} rows, {rate:,.0f}/s beside the load, {watch.per_second():,.0f}/s on the whole")
        watch.rest()
        return Round(alone, beside, rate, watch.per_second(), ended - begun, last, when, (calm, drained.light), drained.left)


def rounds(desk: Desk, count: int) -> tuple[list[Round], str]:
    """(what was played, what to note of fewer rounds). The first that fails raises."""
    played: list[Round] = []
    for _ in range(count):
        try:
            played.append(desk.play())
        except Exception as error:
            if not played:
                raise
            desk.site.say(f"no more rounds: {error!r}")
            return played, f"; fewer rounds than asked for: {reason(error)}"
    return played, ""


def said(played: Sequence[Round], copied: Mapping[str, float], rows: int, note: str, bare: str) -> dict[str, Figure]:
    """Each figure of the round that was best at it."""
    beside, whole = max(played, key=lambda one: one.rate), max(played, key=lambda one: one.whole)
    calm, quiet, often = min(played, key=lambda one: one.slower), min(played, key=lambda one: slower(*one.light)), len(played)
    return {
        "ledger, rows beside a steady load": figure(
            beside.rate, "/s", at_least=20_000, aim=40_000, references=copied, rounds=often, when=beside.when, note=f"{note}; {bare}"),
        "ledger, rows of a backlog to its end": figure(whole.whole, "/s", references=copied, rounds=often, when=whole.when, note=f"{note}; {bare}"),
        "ledger, draining a backlog": figure(
            whole.took, "s", rounds=often, when=whole.when, note=f"{min(whole.last, rows):,} of {rows:,} rows were in by then",
            alone=f"{COPY} stands beside the rows of a backlog to its end, of which this is the time"),
        "ledger, statuses slower while it drains a backlog": figure(
            calm.slower, "%", at_least=15, aim=5, smaller_is_better=True, rounds=often, when=calm.when,
            note=f"p50 of notice to border update: {calm.alone.quantile(0.5):.0f} ms without, {calm.beside.quantile(0.5):.0f} ms beside, of the same round; "
                 f"{note}", alone="railclear is compared with itself"),
        "ledger, statuses slower while it drains a backlog, a quarter of the load": figure(
            slower(*quiet.light), "%", smaller_is_better=True, rounds=often, when=quiet.when,
            note=f"p50 of notice to border update: {quiet.light[0].quantile(0.5):.0f} ms without, {quiet.light[1].quantile(0.5):.0f} ms beside, of the same "
                 f"round, after all of the load; {quiet.left:,} rows were still to be written when it ended; "
                 f"{note}", alone="railclear is compared with itself"),
    }


async def _alone(site: Site, mix: Mix, options: argparse.Namespace, *, warm: bool = False) -> Heard:
    return Heard(*await played(site, mix, options.rate, options.seconds, warm=warm))


class Drained(NamedTuple):
    """What was heard while the ledger drained."""

    full: Heard
    ended: float
    """When all of the load ended, monotonic seconds."""
    light: Heard
    """At a quarter of the load, after that: what is promised is measured while there surely is a backlog."""
    left: int
    """Rows that were still to be written when that ended; none: the ledger was through before it."""


async def _beside(site: Site, mix: Mix, loads: tuple[argparse.Namespace, argparse.Namespace], watch: Watch, rows: int) -> Drained:
    """The same loads while the ledger drains; then the ledger alone until it is through."""
    watching = asyncio.create_task(watch.run(rows))
    try:
        sender, reader, ended = await played(site, mix, loads[0].rate, loads[0].seconds, warm=False)
        light = Heard(*await played(site, mix, loads[1].rate, loads[1].seconds, warm=False))
        left = max(0, rows - (watch.looks[-1][1] if watch.looks else 0))
        await watching
    finally:
        watching.cancel()
    return Drained(Heard(sender, reader, ended), sender.ended, light, left)
