"""`python -m tests.sim`: plays one seed, or many.

    python -m tests.sim --seed 17 [--trace] [--only crash,zombie] [--trains 1]   one seed, exactly as it always is
    python -m tests.sim --soak 10000 [--report FILE [--again]] [--jobs 2]         seeds up to 10000, from where the report ends

The exit code is 1 when a seed fails, or has failed that the report tells of. A report is a JSON file of figures, and one beside it, `FILE-runs`, whose
`simulation` says what all seeds so far came to, which version played which of them, and the next seed; what else they hold stays. The same command goes on
there; --again forgets it and begins anew.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import msgspec

from agents.app import rarely
from tests.reliability import Course, OutOfStep
from tests.sim.plan import KINDS, WORLDS, plan_of
from tests.sim.report import SECTION, course, write
from tests.sim.simulate import Tally, Verdict, judge, judged, told
from tests.version import code_version

LINE_EVERY = 40


def main(arguments: list[str]) -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="play one seed")
    parser.add_argument("--only", help="with --seed: only these kinds of faults, separated by commas; none = no faults")
    parser.add_argument("--trains", type=int, help="with --seed: at most so many trains")
    parser.add_argument("--lease", choices=("yes", "no"), help="with --seed: whether a paused worker heeds its lease")
    parser.add_argument("--transactions", choices=("yes", "no"), help="with --seed: whether CLEARANCE publishes in transactions")
    parser.add_argument("--trace", action="store_true", help="with --seed: what happened, line by line")
    parser.add_argument("--soak", type=int, default=200, metavar="N", help="seeds up to N")
    parser.add_argument("--from", dest="first", type=int, metavar="K", help="begin with seed K; with a report only where that ends (default), else 0")
    parser.add_argument("--again", action="store_true", help="forget what the report holds of the simulation")
    parser.add_argument("--report", type=Path, help="JSON file for docs/reliability.json")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        return _one(chosen)
    try:
        begun, tally = course(chosen.report, chosen.first, again=chosen.again, version=code_version(SECTION))
    except OutOfStep as error:
        print(error, file=sys.stderr)
        return 2
    return _many(begun, tally, chosen.soak, chosen.jobs)


def _one(chosen: argparse.Namespace) -> int:
    plan = plan_of(chosen.seed)
    if chosen.only is not None:
        kinds = frozenset(chosen.only.split(",")) - {"none", ""}
        if unknown := kinds - set(KINDS):
            print(f"no such faults: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}", file=sys.stderr)
            return 2
        plan = msgspec.structs.replace(plan, kinds=kinds)
    if chosen.trains is not None:
        plan = msgspec.structs.replace(plan, trains=chosen.trains)
    if chosen.lease is not None:
        plan = msgspec.structs.replace(plan, leased=chosen.lease == "yes")
    if chosen.transactions is not None:
        plan = msgspec.structs.replace(plan, transactional=chosen.transactions == "yes")
    trace: list[str] | None = [] if chosen.trace else None
    verdict = judge(plan, trace=trace)
    print("\n".join(trace or ()))
    tally = Tally()
    tally.add(verdict)
    print(tally.table())
    if not verdict.well:
        print(told(verdict))
    return 0 if verdict.well else 1


def _many(course: Course, tally: Tally, end: int, jobs: int) -> int:
    first = course.first
    if first >= end:
        print(f"seeds up to {first} are played; --again begins anew")
    if mixed := course.mixed(end):
        print(mixed)
    began, done = time.monotonic(), first
    for verdicts in _verdicts(first, end, jobs):
        for verdict in verdicts:
            tally.add(verdict)
            if not verdict.well:
                print(told(verdict), flush=True)
        done += len(verdicts)
        if (done - first) % LINE_EVERY < WORLDS or done >= end:
            pace = (done - first) / (time.monotonic() - began)
            print(f"{done} of {end}: {len(tally.failures)} failures, {pace:.1f} seeds/s", flush=True)
            write(course, tally, done)
    print(tally.table())
    return 1 if tally.failures else 0


def _verdicts(first: int, end: int, jobs: int) -> Iterator[list[Verdict]]:
    """In order of seeds, a world's at a time."""
    blocks = [range(at, min(end, at - at % WORLDS + WORLDS)) for at in sorted({first, *range(first - first % WORLDS + WORLDS, end, WORLDS)}) if at < end]
    if jobs < 2:
        rarely()
        yield from map(judged, blocks)
        return
    context = get_context("forkserver")    # a child that is replaced is forked from what was loaded at first, whatever changes on the disk meanwhile
    context.set_forkserver_preload(["tests.sim.simulate", "agents.app"])
    with context.Pool(jobs, initializer=rarely, maxtasksperchild=100) as pool:
        yield from pool.imap(judged, blocks)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
