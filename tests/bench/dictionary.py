"""`python -m tests.bench.dictionary FROM`: trains the dictionaries of states (`streams.squeeze`), numbered from FROM on.

Of simulated trains at several ages; the benchmarks copy other trains, from another seed. States that were written with a dictionary need it for ever:
this refuses to write over one.
"""
from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import zstandard

from agents.app import folds
from agents.runner.cells import RESERVED, joined, unpack
from streams.simulate.sent import sent
from streams.simulate.world import _World
from streams.squeeze import LEVEL, loosened
from tests.bench.names import Recorder
from tests.bench.world import OPTIONS
from tests.sim.system import System
from tests.sim.worlds import START, reference
from topics.facts import DAY

STAGES = ("documents", "custody", "clearance")
"""In the order of their numbers."""
SEEDS = (11, 12, 13, 14)
DAYS = (3, 8, 14)
BYTES = 64 << 10
FOLDER = Path(__file__).resolve().parents[2] / "streams" / "dictionaries"


def states() -> Iterator[tuple[str, bytes]]:
    """(stage, plain bytes) of every state at every age."""
    for seed in SEEDS:
        world = _World(reference(), seed, OPTIONS, START)
        world.numbers = Recorder(random.Random(f"{seed}/numbers"))
        messages = [sent(draft) for draft in world.drafts()]
        system, begin = System(), 0
        for day in DAYS:
            until = START + day * DAY
            end = next((n for n, m in enumerate(messages) if m.at > until), len(messages))
            system.pour(messages[begin:end], until)
            begin = end
            for stage, fold in folds().items():
                cells = {key: unpack(value) for key, value in system.harness.table(fold.state_topic).items()} if stage in STAGES else {}
                for key, (_, data, patch) in sorted(joined(cells)[0].items()):
                    if not key.startswith(RESERVED):
                        yield stage, loosened(data if patch is None else fold.encode_state(fold.decode_patched(data, patch)))
            print(f"seed {seed}, day {day}", file=sys.stderr)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.dictionary", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=int, metavar="FROM", help=f"number of the dictionary of {STAGES[0]}; the others follow")
    first = parser.parse_args(arguments).first
    paths = {stage: FOLDER / f"{first + n}.zstd" for n, stage in enumerate(STAGES)}
    if there := [path.name for path in paths.values() if path.exists()]:
        print(f"{', '.join(there)}: states may have been written with it, so it stays; take a higher number", file=sys.stderr)
        return 2
    samples = defaultdict[str, list[bytes | bytearray | memoryview]](list)
    for stage, data in states():
        samples[stage].append(data)
    FOLDER.mkdir(exist_ok=True)
    for stage, path in paths.items():
        trained = zstandard.train_dictionary(BYTES, samples[stage], level=LEVEL)
        path.write_bytes(trained.as_bytes())
        print(f"{path.name}: {stage}, {len(samples[stage]):,} states, {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
