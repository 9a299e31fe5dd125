"""`python -m tests.sim.oracle`: sets the walker against the fold, and the fold against itself in other orders, over many histories.

    python -m tests.sim.oracle 300000 [--report FILE [--again]] [--seed 1]    histories up to 300000, from where the report ends

Prints a line per thousand. The exit code is 1 when a history is told in two ways, or was that the report tells of. A report is a JSON file of figures, and
one beside it, `FILE-runs`, whose `oracle` says what all histories so far came to, which version compared which of them, and the next one; what else they
hold stays. The same command goes on there; --again forgets it and begins anew.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.reliability import Course, OutOfStep
from tests.sim.oracle.compare import Disagreement, Tally, shuffles, walk
from tests.sim.oracle.report import SECTION, Compared, course, write
from tests.version import code_version

STEP = 1000


def main(arguments: list[str]) -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.oracle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=2000, metavar="COUNT", help="histories up to COUNT")
    parser.add_argument("--seed", type=int, default=1, help="of all histories")
    parser.add_argument("--from", dest="first", type=int, metavar="K", help="begin with history K; with a report only where that ends (default), else 0")
    parser.add_argument("--again", action="store_true", help="forget what the report holds of the oracle")
    parser.add_argument("--report", type=Path, help="JSON file for docs/reliability.json")
    chosen = parser.parse_args(arguments)
    try:
        begun, found = course(chosen.report, chosen.seed, chosen.first, again=chosen.again, version=code_version(SECTION))
    except OutOfStep as error:
        print(error, file=sys.stderr)
        return 2
    return _many(begun, found, chosen.count)


def _many(course: Course, found: Compared, end: int) -> int:
    if course.first >= end:
        print(f"histories up to {course.first} are compared; --again begins anew")
    if mixed := course.mixed(end):
        print(mixed)
    for at in range(course.first, end, STEP):
        stop = min(at + STEP, end)
        tally, wrongs, orders = Tally(), list[str](), range(at // 2, stop // 2)
        for number in range(at, stop):
            wrongs += _wrong(partial(walk, number, 1, found.seed, tally))
        for number in orders:
            wrongs += _wrong(partial(shuffles, number, 1, found.seed))
        found.add(tally, stop - at, len(orders), wrongs)
        print(f"seed {found.seed}: {stop} of {end}; {found.folds} folds, {found.disagreements} disagreements, "
              f"{found.seconds / max(1, found.folds) * 1e6:.0f} us a scope", flush=True)
        write(course, found, stop)
    print("reached:", ", ".join(f"{name} {n}" for name, n in found.reached.items()))
    return 1 if found.disagreements else 0


def _wrong(compare: Callable[[], object]) -> list[str]:
    """What it disagrees about, said at once; empty when it does not."""
    try:
        compare()
    except Disagreement as wrong:
        print(wrong, flush=True)
        return [str(wrong)]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
