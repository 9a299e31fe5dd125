"""`make bench`: railclear beside reference programs in the same run, into docs/benchmarks.json, .md and .svg.

    python -m tests.bench [--only assess,pure,positions,facts] [--rounds 3] [--seconds 20] [--shipments 720] ...

Small numbers make a small run: it shows that a benchmark works, not how fast railclear is.
Figures of sections that are left out stay as they were; each figure says of how many rounds it is the best.
Exit code 1: a promised figure was not reached; 130: interrupted.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aiokafka.errors import KafkaError as ClientError
from kafka.errors import KafkaError as BrokerError

from agents import reference as reference_files
from agents.embedded.processes import EmbeddedError
from streams.reference.model import Reference
from tests.bench import clearance, eos, facts, latency, ledger, on_kafka, stopwatch, transactions, whole
from tests.bench import positions as load
from tests.bench.beside import NOTE, Beside
from tests.bench.figures import DOCS, Figure, figure, now
from tests.bench.page import save
from tests.bench.site import Failed
from topics import registry

TRAINS = 1_300
FAILURES = (Failed, stopwatch.NoProgress, EmbeddedError, BrokerError, ClientError, TimeoutError)
"""What ends a section and not the run: a process, a server or the machine did not do its part in time."""
Found = dict[str, Figure]


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def positions(reference: Reference, options: argparse.Namespace) -> Found:
    """Through TRAINS, with and without intake, beside programs that keep the last value only."""
    say(f"making {2 * options.rounds} times {options.positions:,} positions of {TRAINS:,} trains")
    said = load.load_of(reference, trains=TRAINS, positions=2 * options.rounds * options.positions)
    with on_kafka.broker() as broker:
        runs = on_kafka.Positions(broker.bootstrap, reference, said, options.positions, say)
        try:
            beside = Beside(broker.bootstrap, runs.admin, say).best("bench.positions", runs.rows, options.rounds, least=0)
            trains, then = on_kafka.through_trains(runs, options.rounds), now()
            intake = on_kafka.through_intake(runs, options.rounds)
        finally:
            runs.close()
    often = options.rounds
    ratios = {"stock Faust": 20.0, "Quix Streams": 1.0}
    return {
        "positions through TRAINS": figure(trains.per_second, "/s", at_least=60_000, aim=100_000, references=beside,
                                           least_ratios={n: r for n, r in ratios.items() if n in beside}, rounds=often, when=then, note=NOTE),
        "positions through TRAINS, CPU": figure(trains.us_cpu, "us", rounds=often, when=then),
        "positions through TRAINS, memory of the worker": figure(trains.rss_mb, "MB", rounds=often, when=then),
        "positions from the railway's topic, intake included": figure(intake.per_second, "/s", at_least=25_000, aim=50_000, references=beside, rounds=often),
        "positions from the railway's topic, CPU": figure(intake.us_cpu, "us", rounds=often),
    }


def pure(reference: Reference, options: argparse.Namespace) -> Found:
    """Positions in memory: what the stages cost without a broker."""
    known = registry.build(reference.parties.values(), reference.authorities.values(), reference.crossings.values(), partitions=4)
    said = load.load_of(reference, trains=TRAINS, positions=24_000)
    trains = min(load.trains_cost(reference, said, partitions=4).us for _ in range(options.rounds))
    gate = min(load.intake_cost(reference, known, said).us for _ in range(options.rounds))
    return {"TRAINS without a broker, CPU per position": figure(trains, "us", rounds=options.rounds),
            "intake without a broker, CPU per position": figure(gate, "us", rounds=options.rounds)}


def assess(reference: Reference, options: argparse.Namespace) -> Found:
    """`assess` of a West-A shipment and CLEARANCE's partition, in memory."""
    found = clearance.measure()
    one = sorted(found.one_side.items())
    return {
        "assess, whole": figure(found.whole, "us", at_least=400, aim=150, smaller_is_better=True, rounds=clearance.WHOLE_ROUNDS),
        **{f"assess, one more fact: {name}": figure(us, "us", at_least=120, aim=50, smaller_is_better=True, rounds=clearance.ROUNDS) for name, us in one},
        "clearance facts in memory, another shipment each": figure(
            found.facts_cold, "/s of CPU", rounds=clearance.PARTITION_ROUNDS, note="without a broker; decoded, assessed whole, encoded"),
        "clearance facts in memory, ten per shipment": figure(found.ten, "/s of CPU", rounds=clearance.PARTITION_ROUNDS),
    }


Section = Callable[[Reference, argparse.Namespace], Found]


def _telling(section: Callable[[Reference, argparse.Namespace, Callable[[str], None]], Found]) -> Section:
    """A section of a module of its own, which says how it goes on."""
    return lambda reference, options: section(reference, options, say)


SECTIONS: dict[str, Section] = {
    "assess": assess, "pure": pure, "positions": positions, "facts": _telling(facts.section), "latency": _telling(latency.section),
    "ledger": _telling(ledger.section), "eos": _telling(eos.section), "transactions": _telling(transactions.section), "live": _telling(whole.section),
}


def main(arguments: Sequence[str]) -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"sections: {', '.join(SECTIONS)}")
    parser.add_argument("--positions", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=DOCS, help="where benchmarks.json, .md and .svg are written")
    for module in (facts, latency, ledger, eos, transactions, whole):
        module.arguments(parser)
    options = parser.parse_args(arguments)
    chosen = [name.strip() for name in options.only.split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in SECTIONS]:
        parser.error(f"no such section: {', '.join(unknown)}")
    reference = reference_files.load(None)
    missed = []
    for name in chosen:
        say(f"{name} ({chosen.index(name) + 1} of {len(chosen)})")
        try:
            found = SECTIONS[name](reference, options)
        except FAILURES as error:   # the other sections' figures are worth having all the same
            say(f"{name} has no figures: {error!r}")
            missed.append(name)
            continue
        except KeyboardInterrupt:
            say(f"interrupted in {name}; its servers are stopped, figures of earlier sections are kept")
            return 130
        save(found, name, options.directory)
        for title, f in found.items():
            sign = "" if f.at_least is None else "✓ " if f.met else "✗ "
            print(f"{sign}{title}: {f.value:,.6g} {f.unit}" + (f" (promised {f.at_least:,.6g})" if f.at_least is not None else ""))
            if not f.met:
                missed.append(title)
    print(f"written: {options.directory / 'benchmarks.md'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
