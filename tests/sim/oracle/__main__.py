"""Soak: `python -m tests.sim.oracle COUNT SEED [FIRST]`. Prints a line per thousand; go on later by giving the last one as FIRST."""
from __future__ import annotations

import sys

from tests.sim.oracle.compare import Tally, shuffles, walk

STEP = 1000


def main(arguments: list[str]) -> None:
    count, seed = (int(arguments[0]) if arguments else 2000), (int(arguments[1]) if len(arguments) > 1 else 1)
    first = int(arguments[2]) if len(arguments) > 2 else 0
    tally = Tally()
    for at in range(first, count, STEP):
        size = min(STEP, count - at)
        walk(at, size, seed, tally)
        shuffles(at // 2, size // 2, seed)
        micros = tally.seconds / tally.folds * 1e6
        print(f"seed {seed}: {at + size} of {count}; {tally.folds} folds, 0 disagreements, {micros:.0f} us a scope", flush=True)
    print("reached:", ", ".join(f"{state} ({basis.lower()}) {n}" for (state, basis), n in sorted(tally.reached.items())))


if __name__ == "__main__":
    main(sys.argv[1:])
