"""`make bench`: railclear beside reference programs in the same run, into docs/benchmarks.json, .md and .svg.

    python -m tests.bench [--only assess,pure,positions,facts] [--rounds 3] [--seconds 20] [--shipments 720] ...

Small numbers make a small run: it shows that a benchmark works, not how fast railclear is. Its figures promise nothing, and are written only where
--directory says. Figures of sections that are left out stay as they were; each figure says of how many rounds it is the best.
Exit code 1: a promised figure was not reached, or a section has none; 130: interrupted.
"""
from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from agents import reference as reference_files
from streams.reference.model import Reference
from tests.bench import clearance, eos, facts, latency, ledger, on_kafka, transactions, whole
from tests.bench import positions as load
from tests.bench.beside import ENOUGH_S, LIMIT_S, NOTE, Beside, missing
from tests.bench.figures import DOCS, Figure, figure, now, of_code, unpromised
from tests.bench.page import save
from tests.bench.stopwatch import Timing
from tests.version import code_version
from topics import registry

TRAINS = 1_300
RATIOS = {"stock Faust": 20.0, "Quix Streams": 1.0}
"""Promised beside positions through TRAINS; a program that is not there, or fails, has no ratio, and the promise is not met."""
UP = "of workers that are up and know the trains, from the moment before the first record is appended until the last is committed"
BACKLOG = "of records that waited when the worker started, from the first commit seen; up to 16,000 of a partition are stepped one by one"
Found = dict[str, Figure]


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def positions(reference: Reference, options: argparse.Namespace) -> Found:
    """Through TRAINS, with and without intake, beside programs that keep the last value only; and with a backlog at the start."""
    often, parts = options.rounds, 2 * options.rounds + 1
    say(f"making {parts} times {options.positions:,} positions of {TRAINS:,} trains")
    said = load.load_of(reference, trains=TRAINS, positions=parts * options.positions)
    with on_kafka.broker() as broker:
        runs = on_kafka.Positions(broker.bootstrap, reference, said, options.positions, say)
        try:
            trains, then = on_kafka.through_trains(runs, often), now()
            intake, after = on_kafka.through_intake(runs, often), now()
            restart, last = restarted(runs), now()
            beside = Beside(broker.bootstrap, runs.admin, say).best("bench.positions", runs.rows, often)
        finally:
            runs.close()
    note = beside.noted(f"{UP}, {options.positions:,} a round; every program the same way, with as many records as take it at least {ENOUGH_S:.0f} s, over "
                        f"{LIMIT_S:.0f} s at most; {NOTE}")
    waited = {} if restart is None else {
        "positions through TRAINS, that waited for its start": figure(restart.per_second, "/s", when=last, note=f"{BACKLOG}, {options.positions:,} in all")}
    return {
        **waited,
        "positions through TRAINS": figure(trains.per_second, "/s", at_least=60_000, aim=100_000, references=beside.rates, least_ratios=RATIOS, rounds=often,
                                           when=then, note=note),
        "positions through TRAINS, CPU": figure(trains.us_cpu, "us", rounds=often, when=then),
        "positions through TRAINS, memory of the worker": figure(trains.rss_mb, "MB", rounds=often, when=then),
        "positions from the railway's topic, intake included": figure(intake.per_second, "/s", at_least=25_000, aim=50_000, references=beside.rates,
                                                                      rounds=often, when=after, note=note),
        "positions from the railway's topic, CPU": figure(intake.us_cpu, "us", rounds=often, when=after),
    }


def restarted(runs: on_kafka.Positions) -> Timing | None:
    """None: it failed, and the figures before it stand."""
    try:
        return on_kafka.after_restart(runs)
    except Exception:  # noqa: BLE001  nothing is promised of it
        traceback.print_exc()
        return None


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


SIZES: dict[str, tuple[str, ...]] = {
    "positions": ("positions",), "facts": facts.SIZES, "latency": latency.SIZES, "ledger": ledger.SIZES, "eos": eos.SIZES, "transactions": transactions.SIZES,
    "live": whole.SIZES,
}
"""Section -> options that make a smaller run of it than the one that is promised for."""
BESIDE = ("positions", "facts", "live")
"""Sections that have reference programs beside them."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", default=",".join(SECTIONS), help=f"sections: {', '.join(SECTIONS)}")
    made.add_argument("--positions", type=int, default=200_000)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--directory", type=Path, help="where benchmarks.json, .md and .svg are written; docs if nothing is said and the run is no small one")
    for module in (facts, latency, ledger, eos, transactions, whole):
        module.arguments(made)
    return made


def smaller(section: str, options: argparse.Namespace, usual: Callable[[str], float]) -> str:
    """What of a section is smaller than usual; empty: nothing."""
    given = {name: (getattr(options, name), usual(name)) for name in SIZES.get(section, ())}
    return ", ".join(f"{name.replace('_', '-')} {is_:g} and not {was:g}" for name, (is_, was) in given.items() if is_ < was)


def main(arguments: Sequence[str]) -> int:
    """Exit code."""
    made = parser()
    options = made.parse_args(arguments)
    chosen = [name.strip() for name in options.only.split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in SECTIONS]:
        made.error(f"no such section: {', '.join(unknown)}")
    small = {name: why for name in chosen if (why := smaller(name, options, made.get_default))}
    if small and options.directory is None:
        made.error(f"a small run ({'; '.join(f'{name}: {why}' for name, why in small.items())}) would take the place of the figures in docs: say --directory")
    for name, why in missing().items() if set(chosen) & set(BESIDE) else ():
        say(f"without {name}, {why}; what is promised beside it counts as not met")
    directory = options.directory or DOCS
    reference = reference_files.load(None)
    missed, versions = [], [code_version.__wrapped__()]
    for name in chosen:
        say(f"{name} ({chosen.index(name) + 1} of {len(chosen)})")
        before = code_version.__wrapped__()
        try:
            found = SECTIONS[name](reference, options)
        except KeyboardInterrupt:
            say(f"interrupted in {name}; its servers are stopped, figures of earlier sections are kept")
            return 130
        except Exception:  # noqa: BLE001  the other sections' figures are worth having all the same
            traceback.print_exc()
            say(f"{name} has no figures")
            missed.append(name)
            continue
        found = of_code(found, [*versions, before, code_version.__wrapped__()])
        if name in small:
            found = unpromised(found, f"a small run: {small[name]}")
        save(found, name, directory)
        for title, f in found.items():
            sign = "" if f.at_least is None else "✓ " if f.met else "✗ "
            print(f"{sign}{title}: {f.value:,.6g} {f.unit}" + (f" (promised {f.at_least:,.6g})" if f.at_least is not None else ""))
            if not f.met:
                missed.append(title)
    print(f"written: {directory / 'benchmarks.md'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
