"""Exactly-once beside at-least-once (tests/bench/exactly_once.py) as figures: backlog, latency, processor time."""
from __future__ import annotations

import argparse
import asyncio

from agents.embedded.jars import aot_file, cache_directory, class_path
from agents.embedded.kafka import Broker
from streams.reference.model import Reference
from tests.bench import exactly_once
from tests.bench.figures import Figure, figure
from tests.bench.site import Say

PLAIN = "at-least-once"
ROWS = (("events_per_s", "events of a backlog", "/s"), ("p50_ms", "latency, p50", "ms"), ("p99_ms", "latency, p99", "ms"),
        ("worker_cpu_us", "CPU of the worker per event", "us"), ("broker_cpu_us", "CPU of the broker per event", "us"))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--eos-events", type=int, default=15_000, help="exactly-once: events of the backlog")


def section(reference: Reference, options: argparse.Namespace, say: Say) -> dict[str, Figure]:
    """The best of the rounds of every variant; each beside at-least-once in the same run."""
    cache = cache_directory()
    classpath = class_path(cache)
    wanted = argparse.Namespace(what="steady", events=options.eos_events, rate=options.rate, seconds=min(6.0, options.seconds))
    best: dict[str, dict[str, float]] = {}
    with (Broker(classpath, aot=aot_file(cache, classpath)) as strict,
          Broker(classpath, aot=aot_file(cache, classpath), conf={"transaction.partition.verification.enable": "false"}) as lax):
        for _ in range(min(2, options.rounds)):
            for variant in exactly_once.VARIANTS:
                found = asyncio.run(exactly_once.measure(variant, strict if variant.verification else lax, wanted))
                say(f"{variant.name}: {found}")
                held = best.setdefault(variant.name, found)
                best[variant.name] = {row: max(held[row], found[row]) if unit == "/s" else min(held[row], found[row]) for row, _, unit in ROWS}
    note = f"every event another key: one state record, two outputs; a backlog of {wanted.events:,}, then {wanted.rate:,.0f}/s"
    return {
        f"{name}: {title}": figure(best[name][row], unit, references={} if name == PLAIN else {PLAIN: best[PLAIN][row]}, smaller_is_better=unit != "/s",
                                   note=note)
        for name in best for row, title, unit in ROWS
    }
