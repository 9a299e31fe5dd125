"""Exactly-once beside at-least-once (tests/bench/exactly_once.py) as figures: backlog, latency, processor time, readers that see nothing new.

CLEARANCE itself in both modes is measured in tests/bench/transactions.py.
"""
from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from agents.embedded.jars import aot_file, cache_directory, class_path
from agents.embedded.kafka import Broker
from streams.reference.model import Reference
from tests.bench import exactly_once
from tests.bench.figures import Figure, Moment, figure, now
from tests.bench.site import Say

PLAIN = "at-least-once"
SHIPPED = "exactly-once, verification, 20 ms"
"""The variant that a worker has when the switch is on."""


class Row(msgspec.Struct, frozen=True):
    """One figure of a variant: how it is called, and which of the rounds is said."""

    name: str
    title: str
    unit: str
    worst: bool = False
    note: str = ""


ROWS = (
    Row("events_per_s", "events of a backlog", "/s"), Row("p50_ms", "latency, p50", "ms"), Row("p99_ms", "latency, p99", "ms"),
    Row("worker_cpu_us", "CPU of the worker per event", "us"), Row("broker_cpu_us", "CPU of the broker per event", "us"),
    Row("not_enough_replicas", "answers NotEnoughReplicas", "answers", worst=True, note="the most of any round"),
)
STALLS = (
    Row("killed_silence_s", "nothing new for a reader after kill -9 of one of two workers", "s", note="one round"),
    Row("open_transaction_silence_s", "nothing new for a reader behind a transaction that nobody ends", "s", note="one round"),
)


SIZES = ("eos_events", "seconds", "rate")
"""Options that make a smaller run than usual."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--eos-events", type=int, default=exactly_once.EVENTS, help="exactly-once: events of the backlog")


def chosen(row: Row, rounds: Sequence[Mapping[str, float]]) -> float:
    """The best of the rounds, or the worst where that is what matters."""
    values = [found[row.name] for found in rounds]
    return max(values) if row.worst or row.unit == "/s" else min(values)


def section(reference: Reference, options: argparse.Namespace, say: Say) -> dict[str, Figure]:
    """Every variant once per round, in turn; each beside at-least-once in the same run."""
    cache = cache_directory()
    classpath = class_path(cache)
    wanted = argparse.Namespace(what="steady", events=options.eos_events, rate=options.rate, seconds=min(6.0, options.seconds))
    stalling = argparse.Namespace(**{**vars(wanted), "what": "stall"})
    rounds: dict[str, list[dict[str, float]]] = {}
    stalls: dict[str, dict[str, float]] = {}
    with (Broker(classpath, aot=aot_file(cache, classpath)) as strict,
          Broker(classpath, aot=aot_file(cache, classpath), conf={"transaction.partition.verification.enable": "false"}) as lax):
        for _ in range(options.rounds):
            for variant in exactly_once.VARIANTS:
                found = asyncio.run(exactly_once.measure(variant, strict if variant.verification else lax, wanted))
                say(f"{variant.name}: {found}")
                rounds.setdefault(variant.name, []).append(found)
        when = now()
        for variant in exactly_once.VARIANTS:
            if variant.name in (PLAIN, SHIPPED):
                stalls[variant.name] = asyncio.run(exactly_once.measure(variant, strict, stalling))
                say(f"{variant.name}: {stalls[variant.name]}")
    note = (f"every event another key: one state record, two outputs; a backlog of {wanted.events:,}, from its first record until the last is committed and "
            f"visible; then {wanted.rate:,.0f}/s")
    best = {name: {row.name: chosen(row, found) for row in ROWS} for name, found in rounds.items()}
    return {**said(ROWS, best, len(next(iter(rounds.values()))), when, note), **said(STALLS, stalls, 1, now(), f"{wanted.rate / 4:,.0f} events/s")}


def said(rows: Sequence[Row], best: Mapping[str, Mapping[str, float]], rounds: int, when: Moment, note: str) -> dict[str, Figure]:
    """Each figure of each variant beside that of at-least-once."""
    return {
        f"{name}: {row.title}": figure(
            found[row.name], row.unit, references={} if name == PLAIN or row.name not in best[PLAIN] else {PLAIN: best[PLAIN][row.name]},
            smaller_is_better=row.unit != "/s", rounds=rounds, when=when, note="; ".join(part for part in (row.note, note) if part))
        for name, found in best.items() for row in rows if row.name in found
    }
