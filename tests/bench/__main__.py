"""`make bench`: railclear beside reference programs in the same run, into docs/benchmarks.json, .md and .svg.

    python -m tests.bench [--only assess,pure,positions,facts] [--rounds 3] [--seconds 20] [--shipments 720] ...

Small numbers make a small run: it shows that a benchmark works, not how fast railclear is. Its figures promise nothing, and are written only where
--directory says. Figures of sections that are left out stay as they were, with their own version and time; each figure says of how many rounds it is the
best. The end counts what was met and missed.

Exit codes: 0 every section ran and every figure was measured, met or not; 1 a section, a figure or a reference beside which something is promised was not
measured; 2 cannot do this as asked; 130 interrupted.
"""
from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents import reference as reference_files
from streams.reference.model import Reference
from tests.bench import clearance, eos, facts, latency, ledger, live, on_kafka, transactions, whole
from tests.bench import positions as load
from tests.bench.beside import ENOUGH_S, LIMIT_S, NOTE, Beside, missing
from tests.bench.figures import DOCS, Figure, Found, figure, measured, now, of_code, unpromised
from tests.bench.page import save
from tests.bench.stopwatch import Timing
from tests.version import code_version
from topics import registry

TRAINS = 1_300
RATIOS = {"stock Faust": 20.0, "Quix Streams": 1.0}
"""Promised beside positions through TRAINS; a program that is not there, or fails, has no ratio, and the promise is not met."""
AIM_RATIOS = {"raw": 0.35, "Kafka Streams": 1.0}
"""Aimed at beside the same. Kafka Streams keeps the last value only: less work than ours."""
UP = "of workers that are up and know the trains, from the moment before the first record is appended until the last is committed"
BACKLOG = "of records that waited when the worker started, from the first commit seen; up to 16,000 of a partition are stepped one by one"
IN_MEMORY = "a function of railclear's own in memory, which no other program has; beside others it is measured on Kafka"


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
            programs = Beside(broker.bootstrap, runs.admin, say)
            beside, inbound = programs.best("bench.positions", runs.rows, often), programs.best("bench.inbound", runs.inbound, often)
        finally:
            runs.close()
    note = (f"{UP}, {options.positions:,} a round; every program the same way, with as many records as take it at least {ENOUGH_S:.0f} s, over "
            f"{LIMIT_S:.0f} s at most; {NOTE}")
    note, said_to = beside.noted(note), inbound.noted(f"{note}; they read what the railways say, in one topic")
    same = "of the round whose rate is said"
    return {
        "positions through TRAINS, that waited for its start": None if restart is None else figure(
            restart.per_second, "/s", when=last, note=f"{BACKLOG}, {options.positions:,} in all",
            alone="the other programs take a backlog as they take anything else, which is said beside positions through TRAINS"),
        "positions through TRAINS": figure(trains.per_second, "/s", at_least=60_000, aim=100_000, references=beside.rates, least_ratios=RATIOS,
                                           aim_ratios=AIM_RATIOS, rounds=often, when=then, note=note),
        "positions through TRAINS, CPU": figure(trains.us_cpu, "us", references=beside.us_cpu, smaller_is_better=True, rounds=often, when=then,
                                                note=beside.noted(same)),
        "positions through TRAINS, memory of the worker": figure(trains.rss_mb, "MB", references=beside.rss_mb, smaller_is_better=True, rounds=often, when=then,
                                                                 note=beside.noted(same)),
        "positions from the railway's topic, intake included": figure(intake.per_second, "/s", at_least=25_000, aim=50_000, references=inbound.rates,
                                                                      rounds=often, when=after, note=said_to),
        "positions from the railway's topic, CPU": figure(intake.us_cpu, "us", references=inbound.us_cpu, smaller_is_better=True, rounds=often, when=after,
                                                          note=inbound.noted(same)),
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
    return {"TRAINS without a broker, CPU per position": figure(trains, "us", rounds=options.rounds, alone=IN_MEMORY),
            "intake without a broker, CPU per position": figure(gate, "us", rounds=options.rounds, alone=IN_MEMORY)}


def assess(reference: Reference, options: argparse.Namespace) -> Found:
    """`assess` of a West-A shipment and CLEARANCE's partition, in memory."""
    found = clearance.measure()
    one = sorted(found.one_side.items())
    return {
        "assess, whole": figure(found.whole, "us", at_least=400, aim=150, smaller_is_better=True, rounds=clearance.WHOLE_ROUNDS, alone=IN_MEMORY),
        **{f"assess, one more fact: {name}": figure(us, "us", at_least=120, aim=50, smaller_is_better=True, rounds=clearance.ROUNDS, alone=IN_MEMORY)
           for name, us in one},
        "clearance facts in memory, another shipment each": figure(
            found.facts_cold, "/s of CPU", rounds=clearance.PARTITION_ROUNDS, note="decoded, assessed whole, encoded", alone=IN_MEMORY),
        "clearance facts in memory, ten per shipment": figure(found.ten, "/s of CPU", rounds=clearance.PARTITION_ROUNDS, alone=IN_MEMORY),
    }


Section = Callable[[Reference, argparse.Namespace], Found]


def _telling(section: Callable[[Reference, argparse.Namespace, Callable[[str], None]], Found]) -> Section:
    """A section of a module of its own, which says how it goes on."""
    return lambda reference, options: section(reference, options, say)


SECTIONS: dict[str, Section] = {
    "assess": assess, "pure": pure, "positions": positions, "facts": _telling(facts.section), "latency": _telling(latency.section),
    "ledger": _telling(ledger.section), "eos": _telling(eos.section), "transactions": _telling(transactions.section), "live": _telling(live.section),
}


SIZES: dict[str, tuple[str, ...]] = {
    "positions": ("positions",), "facts": facts.SIZES, "latency": latency.SIZES, "ledger": ledger.SIZES, "eos": eos.SIZES, "transactions": transactions.SIZES,
    "live": whole.SIZES,
}
"""Section -> options that make a smaller run of it than the one that is promised for."""
BESIDE = ("positions", "facts", "live")
"""Sections that have reference programs beside them."""
MINUTES = {"assess": 2, "pure": 1, "positions": 16, "facts": 12, "latency": 12, "ledger": 18, "eos": 16, "transactions": 18, "live": 45}
"""Section -> how long it takes on two cores, about; together no longer than two hours and a half."""


def parser() -> argparse.ArgumentParser:
    last = ", ".join(f"{name} {minutes}" for name, minutes in MINUTES.items())
    made = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                   epilog=f"Minutes on two cores with nothing beside it, about: {last}; {sum(MINUTES.values())} in all.")
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
    tally, versions = Tally(), [code_version.__wrapped__()]
    for name in chosen:
        say(f"{name} ({chosen.index(name) + 1} of {len(chosen)}), about {MINUTES[name]} min")
        begun, before = time.monotonic(), code_version.__wrapped__()
        try:
            told = SECTIONS[name](reference, options)
        except KeyboardInterrupt:
            say(f"interrupted in {name}; its servers are stopped, figures of earlier sections are kept")
            return 130
        except Exception:  # noqa: BLE001  the other sections' figures are worth having all the same
            traceback.print_exc()
            say(f"{name} has no figures")
            tally.unmeasured.append(f"section {name}")
            continue
        say(f"{name} took {(time.monotonic() - begun) / 60:.1f} min")
        found = of_code(measured(told), [*versions, before, code_version.__wrapped__()])
        if name in small:
            found = unpromised(found, f"a small run: {small[name]}")
        save(found, name, directory)
        tally.unmeasured += [title for title, f in told.items() if f is None]
        for title, f in found.items():
            tally.add(title, f)
            sign = "" if not f.promised else "✓ " if f.met else "✗ "
            print(f"{sign}{title}: {f.value:,.6g} {f.unit}" + (f" (promised {f.at_least:,.6g})" if f.at_least is not None else ""))
    print(f"{tally}\nwritten: {directory / 'benchmarks.md'}")
    return 1 if tally.unmeasured else 0


@dataclass
class Tally:
    """What came of the promised figures."""

    met: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    """Sections, figures, and references beside which something is promised or aimed at."""

    def add(self, title: str, f: Figure) -> None:
        if f.promised:
            (self.met if f.met else self.missed).append(title)
        self.unmeasured += [f"{title}, beside {name}" for name in f.lacking]

    def __str__(self) -> str:
        lines = [f"promised figures: {len(self.met)} met, {len(self.missed)} missed"]
        lines += [f"  missed: {title}" for title in self.missed]
        lines += [f"  NOT MEASURED: {title}" for title in self.unmeasured]
        return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
