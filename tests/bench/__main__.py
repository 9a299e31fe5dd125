"""`make bench`: railclear's own code beside a reference program in the same run, best of three, into docs/benchmarks.md.

The reference is what no such program can do without: decoding the same bytes with msgspec. Figures of a noisy machine mean little by
themselves; the ratios do. Benchmarks on Kafka with other stream processors beside it come with the reliability work.
"""
from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agents import reference as reference_files
from agents.app import folds
from agents.intake import intake_process
from agents.runner.clock import Clock
from agents.runner.memory import Harness, Stateless
from streams.effects import LogRecord
from streams.intake import Intake
from streams.simulate import SimOptions, simulate
from topics import codec, registry
from topics.events.internal import TrainsIn
from topics.events.outside import OutsideEvent

START = 1_772_409_600_000_000
ROUNDS = 3
OUT = Path(__file__).resolve().parent.parent.parent / "docs" / "benchmarks.md"


class Figure(msgspec.Struct):
    """One line of the report."""

    name: str
    per_second: float
    reference: str
    reference_per_second: float

    @property
    def ratio(self) -> float:
        return self.per_second / self.reference_per_second


def best(work: Callable[[], int]) -> float:
    """Things done per second, the best of three rounds."""
    found = 0.0
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        count = work()
        found = max(found, count / (time.perf_counter() - begun))
    return found


def measure(trains: int) -> list[Figure]:
    """All figures for a simulated world of so many trains."""
    reference = reference_files.load(None)
    known = registry.build(reference.parties.values(), reference.authorities.values(), reference.crossings.values(), partitions=2)
    sent = list(simulate(reference, random.Random(1), SimOptions(trains=trains).calm(), START))
    print(f"{len(sent)} messages of {trains} trains", file=sys.stderr)
    by_topic: dict[str, list[LogRecord]] = defaultdict(list)
    for n, message in enumerate(sent):
        key = None if message.key is None else message.key.encode()
        by_topic[message.topic].append(LogRecord(message.topic, 0, n, message.at // 1000, key, message.value))
    decoder = msgspec.json.Decoder(OutsideEvent)
    raw = best(lambda: sum(1 for records in by_topic.values() for r in records if decoder.decode(r.value or b"")))
    gate = Intake(reference, known)
    figures = [Figure("intake: decode, judge, stamp, route (events)", best(lambda: sum(len(gate.batch(t, rs).outputs) for t, rs in by_topic.items())),
                      "msgspec decode of the same bytes", raw)]

    def whole() -> int:
        harness = Harness([Stateless("intake", tuple(s.name for s in known.inbound), intake_process(reference, known)), *folds().values()],
                          reference, Clock(), partitions=2, now_us=START)
        for n, message in enumerate(sent, 1):
            harness.log.now_us = max(harness.log.now_us, message.at)
            harness.publish(message.topic, message.key, message.value)
            if n % 200 == 0:
                harness.run()
        harness.run()
        return len(sent)

    figures.append(Figure("the whole path in memory: intake and all folds (outside events)", best(whole), "msgspec decode of the same bytes", raw))
    figures += _folds(reference, known, sent, raw)
    return figures


def _folds(reference: object, known: registry.Registry, sent: list[object], raw: float) -> list[Figure]:
    """TRAINS alone on its own input: positions are nine tenths of the load."""
    from streams.intake.routing import route
    from streams.reference.model import Reference

    assert isinstance(reference, Reference)
    inputs: list[tuple[int, str, bytes]] = []
    for message in sent:
        event = getattr(message, "event", None)
        if event is not None:
            inputs += [(message.at, e.key, codec.encode(e.value)) for e in route(event) if e.topic == "trains.in" and e.value is not None]  # type: ignore[attr-defined]
    decoder = msgspec.json.Decoder(TrainsIn)
    plain = best(lambda: sum(1 for _, _, value in inputs if decoder.decode(value)))

    def trains() -> int:
        harness = Harness([folds()["trains"]], reference, Clock(), partitions=2, now_us=START)
        for n, (at, key, value) in enumerate(inputs, 1):
            harness.log.now_us = max(harness.log.now_us, at)
            harness.publish("trains.in", key, value)
            if n % 2000 == 0:
                harness.run()
        harness.run()
        return len(inputs)

    return [Figure("TRAINS: match, milestones, ETA, state, outputs (its inputs)", best(trains), "msgspec decode of the same bytes", plain)]


def report(figures: list[Figure], trains: int) -> str:
    """The page."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    lines = ["# Benchmarks", "", f"`make bench`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}; {trains} simulated trains, calm; best of {ROUNDS}.", "",
             "In memory, one process, no Kafka: what railclear's own code costs. The reference decodes the same bytes in the same run and does nothing else.",
             "", "| What | per second | Reference | per second | Ratio |", "|---|---|---|---|---|"]
    lines += [f"| {f.name} | {f.per_second:,.0f} | {f.reference} | {f.reference_per_second:,.0f} | {f.ratio:.3f} |" for f in figures]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--trains", type=int, default=2, help="trains in the simulated world")
    options = parser.parse_args()
    page = report(measure(options.trains), options.trains)
    OUT.write_text(page, encoding="utf-8")
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
