"""Exactly-once beside at-least-once (tests/bench/exactly_once.py) as figures: backlog, latency, processor time, readers that see nothing new.

CLEARANCE itself in both modes is measured in tests/bench/transactions.py.
"""
from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from agents.embedded.jars import aot_file, cache_directory, class_path
from agents.embedded.kafka import Broker
from streams.reference.model import Reference
from tests.bench import exactly_once
from tests.bench.beside import reason
from tests.bench.exactly_once import VARIANTS, Variant
from tests.bench.figures import Figure, Found, Moment, figure, now
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
    of: str = ""
    """Of the round that is the best in that figure; empty: in this one."""
    note: str = ""


ONE_ROUND = "p50 and p99 of the round with the best p50"
LONGEST = "the longest of all rounds"
ROWS = (
    Row("events_per_s", "events of a backlog", "/s"), Row("p50_ms", "latency, p50", "ms", note=ONE_ROUND),
    Row("p99_ms", "latency, p99", "ms", of="p50_ms", note=ONE_ROUND),
    Row("worker_cpu_us", "CPU of the worker per event", "us"), Row("broker_cpu_us", "CPU of the broker per event", "us"),
    Row("not_enough_replicas", "answers NotEnoughReplicas", "answers", worst=True, note="the most of any round"),
)
STALLS = (
    Row("killed_silence_s", "nothing new for a reader after kill -9 of one of two workers", "s", worst=True, note=LONGEST),
    Row("open_transaction_silence_s", "nothing new for a reader behind a transaction that nobody ends", "s", worst=True, note=LONGEST),
)
Seen = dict[str, list[dict[str, float]]]
"""Variant -> what each of its rounds has shown."""


SIZES = ("eos_events", "seconds", "rate")
"""Options that make a smaller run than usual."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--eos-events", type=int, default=exactly_once.EVENTS, help="exactly-once: events of the backlog")


def chosen(row: Row, rounds: Sequence[Mapping[str, float]]) -> float:
    """The best of the rounds, or the worst where that is what matters."""
    if row.of:
        return min(rounds, key=lambda found: found[row.of])[row.name]
    values = [found[row.name] for found in rounds]
    return max(values) if row.worst or row.unit == "/s" else min(values)


def section(reference: Reference, options: argparse.Namespace, say: Say) -> Found:
    """Every variant once per round, in turn; each beside at-least-once in the same run."""
    cache = cache_directory()
    classpath = class_path(cache)
    wanted = argparse.Namespace(what="steady", events=options.eos_events, rate=options.rate, seconds=min(6.0, options.seconds))
    stalling = argparse.Namespace(**{**vars(wanted), "what": "stall"})
    with (Broker(classpath, aot=aot_file(cache, classpath)) as strict,
          Broker(classpath, aot=aot_file(cache, classpath), conf={"transaction.partition.verification.enable": "false"}) as lax):

        def measured(variant: Variant, what: argparse.Namespace) -> dict[str, float]:
            return asyncio.run(exactly_once.measure(variant, strict if variant.verification else lax, what))

        rounds, why = played(options.rounds, VARIANTS, lambda variant: measured(variant, wanted), say)
        when = now()
        try:
            stalls, after = played(options.rounds, [v for v in VARIANTS if v.name in (PLAIN, SHIPPED)], lambda variant: measured(variant, stalling), say)
        except Exception as error:  # noqa: BLE001  the figures before stand
            say(f"no stall was measured: {error!r}")
            stalls, after = {}, ""
    note = (f"every event another key: one state record, two outputs; a backlog of {wanted.events:,}, from its first record until the last is committed and "
            f"visible; then {wanted.rate:,.0f}/s{why}")
    silent = said(STALLS, stalls, now(), f"{wanted.rate / 4:,.0f} events/s{after}") if stalls else {f"{SHIPPED}: {row.title}": None for row in STALLS}
    return {**said(ROWS, rounds, when, note), **silent}


def played(rounds: int, variants: Sequence[Variant], measured: Callable[[Variant], dict[str, float]], say: Say) -> tuple[Seen, str]:
    """What every variant has shown in every round, and for a note why there are fewer: what came before a failure stands. The first round raises."""
    seen: Seen = {variant.name: [] for variant in variants}
    for n in range(rounds):
        for variant in variants:
            try:
                found = measured(variant)
            except Exception as error:
                if not n:
                    raise
                say(f"no more rounds: {error!r}")
                return seen, f"; fewer rounds than asked for: {variant.name}: {reason(error)}"
            say(f"{variant.name}: {found}")
            seen[variant.name].append(found)
    return seen, ""


def said(rows: Sequence[Row], rounds: Seen, when: Moment, note: str) -> dict[str, Figure]:
    """Each figure of each variant beside that of at-least-once."""
    best = {name: {row.name: chosen(row, found) for row in rows if row.name in found[0]} for name, found in rounds.items()}
    return {
        f"{name}: {row.title}": figure(
            found[row.name], row.unit, references={} if name == PLAIN or row.name not in best[PLAIN] else {PLAIN: best[PLAIN][row.name]},
            smaller_is_better=row.unit != "/s", rounds=len(rounds[name]), when=when, note="; ".join(part for part in (row.note, note) if part),
            alone=_alone(name, row, best[PLAIN]))
        for name, found in best.items() for row in rows if row.name in found
    }


def _alone(name: str, row: Row, plain: Mapping[str, float]) -> str:
    if name == PLAIN:
        return "the transactional variants stand beside it"
    return "" if row.name in plain else "at-least-once has no transactions"
