"""Clearance facts through CLEARANCE on the embedded Kafka: every fact another shipment, whose state is cold; and ten of each shipment back to back."""
from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence

import msgspec
from kafka import TopicPartition

from streams.clearance.publish import HISTORY
from streams.reference.model import Reference
from tests.bench import clearance, stopwatch
from tests.bench.beside import NOTE, Beside
from tests.bench.figures import Figure, figure, now
from tests.bench.on_kafka import Row
from tests.bench.site import Failed, Say, Site
from tests.bench.visible import offsets
from topics import registry
from topics.facts import MINUTE, Fact

TOPIC = "clearance.in"
STAGES = ("clearance",)
WORKERS = 2
"""Processes on two cores; scaling is more workers."""
LIMIT_S = 90.0
"""A run that is slower is measured over what it did until then."""
POLL_S = 0.05
REST = 4
"""So many times that long a run may take to its end."""
OFTEN = {"RAILCLEAR_COMMIT_INTERVAL_S": "0.1"}
"""The end of a run is seen by its last commit."""
SIZES = ("facts",)
"""Options that make a smaller run than the one that is promised for."""
CLOCK = ("--clock-base", str(clearance.NOW))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--facts", type=int, default=4_000, help="facts: of shipments of their own, or ten of each; per round")


class Facts:
    """Shipments that CLEARANCE knows already, and news of them. Every round brings newer news: nothing is a duplicate."""

    def __init__(self, reference: Reference, count: int) -> None:
        self.first = clearance.Told(clearance.west_a(reference))
        self.news = clearance.news(reference)
        self.cold = max(40, count)
        self.warm = max(40, count // 10)
        self.names = [(clearance.name_of(n), box) for n, box in enumerate(clearance.boxes(self.cold + self.warm))]

    def before(self) -> list[Row]:
        return [(name.encode(), self.first.of(name, box)) for name, box in self.names]

    def one_each(self, turn: int) -> list[Row]:
        told = self._told(turn)
        return [(name.encode(), told[clearance.MIX[n % len(clearance.MIX)]].of(name, box)) for n, (name, box) in enumerate(self.names[: self.cold])]

    def ten_each(self, turn: int) -> list[Row]:
        rows = []
        for k in range(len(clearance.MIX)):
            told = self._told(turn * len(clearance.MIX) + k)
            rows.append([(name.encode(), told[clearance.MIX[(n + k) % len(clearance.MIX)]].of(name, box))
                         for n, (name, box) in enumerate(self.names[self.cold :])])
        return [row for of_one in zip(*rows, strict=True) for row in of_one]

    def _told(self, turn: int) -> dict[str, clearance.Told]:
        return {name: clearance.Told([_newer(fact, turn)]) for name, fact in self.news.items()}


def _newer(fact: Fact, turn: int) -> Fact:
    """The same word again, a little later; an ETA by twenty minutes, so that it has to be said."""
    value = fact.value
    if isinstance(value, list):
        value = [t + turn % 30 * 20 * MINUTE if isinstance(t, int) else t for t in value]
    return msgspec.structs.replace(fact, at=fact.at + turn, version=fact.version + turn, id=f"{fact.id}/{turn}" if fact.id else "", value=value)


def timed(site: Site, rows: Sequence[Row], before: int, env: Mapping[str, str] | None = None) -> stopwatch.Timing:
    """New workers, restored and with nothing decoded, get all rows at once; from then until all is committed beyond `before` and readers of committed
    records have it. Raises Failed."""
    for _ in range(WORKERS):
        site.worker(STAGES, *CLOCK, "--clock-origin", str(time.time_ns() // 1000), env={**OFTEN, **(env or {})})
    site.wait()
    cpu, begun = site.cpu_s(), time.monotonic()
    site.fill(TOPIC, rows)
    measured: stopwatch.Timing | None = None
    while True:
        site.check()
        done, seconds = sum(site.committed(STAGES).values()) - before, time.monotonic() - begun
        if measured is None and done and ((done >= len(rows) and visible(site)) or seconds > LIMIT_S):
            measured = stopwatch.Timing(done, seconds, site.cpu_s() - cpu, site.rss_mb())
        if done >= len(rows) and measured is not None:
            break                                # also where the limit has ended the measurement: the next round begins with nothing waiting
        if seconds > REST * LIMIT_S:
            raise Failed(f"{done} of {len(rows)} facts in {seconds:.0f} s")
        time.sleep(POLL_S)
    site.stop_workers()
    return measured


def visible(site: Site) -> bool:
    """Does no reader of committed records lack any word of CLEARANCE's history?"""
    stable, ends = offsets(site.admin, [TopicPartition(HISTORY, n) for n in range(site.partitions_of(HISTORY))])
    return all(stable[tp] >= end for tp, end in ends.items())


def section(reference: Reference, options: argparse.Namespace, say: Say) -> dict[str, Figure]:
    facts = Facts(reference, options.facts)
    best: dict[str, stopwatch.Timing] = {}
    with Site(reference, say) as site:
        known = facts.before()
        say(f"{len(known):,} shipments are told to CLEARANCE")
        timed(site, known, 0)
        at = len(known)
        for turn in range(1, options.rounds + 1):
            for name, rows in (("another shipment each", facts.one_each(turn)), ("ten per shipment", facts.ten_each(turn))):
                timing = timed(site, rows, at)
                at += len(rows)
                say(f"{name}: {timing.per_second:,.0f}/s, {timing.us_cpu:,.0f} us CPU")
                if name not in best or timing.per_second > best[name].per_second:
                    best[name] = timing
        published = sum(site.ends(borders_of(site)).values())
        if not published:
            raise Failed("CLEARANCE has told no border anything")
        when, programs = now(), Beside(site.bootstrap, site.admin, say)
        beside = {name: programs.best(f"bench.facts.{n}", rows, options.rounds) for n, (name, rows) in enumerate(
            (("another shipment each", facts.one_each(1)), ("ten per shipment", facts.ten_each(1))))}
    note = f"{WORKERS} workers with CLEARANCE only; decoded cold, assessed, state and updates durable, offsets committed; {facts.cold:,} facts a round"
    note = f"{note}; {NOTE}; one process each"
    found: dict[str, Figure] = {}
    for name, least, aim in (("another shipment each", 1_500, 4_000), ("ten per shipment", 8_000, 15_000)):
        found[f"clearance facts on Kafka, {name}"] = figure(
            best[name].per_second, "/s", at_least=least, aim=aim, references=beside[name].rates, rounds=options.rounds, when=when,
            note=beside[name].noted(note))
        found[f"clearance facts on Kafka, {name}, CPU"] = figure(
            best[name].us_cpu, "us", references=beside[name].us_cpu, smaller_is_better=True, rounds=options.rounds, when=when,
            note=beside[name].noted("of the round whose rate is said"))
    return found


def borders_of(site: Site) -> list[str]:
    """Topics of the borders on the corridor of these shipments."""
    rows = [site.reference.crossings[crossing] for crossing in site.reference.corridors[clearance.CORRIDOR].crossings]
    topics = [registry.border_topic(row.id, side) for row in rows for side in (row.a_authority, row.b_authority)]
    return [topic for topic in topics if topic in site.known.topics]
