"""Two hundred seeds: everything that can go wrong around railclear does, and the eight invariants hold."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing import get_context

import pytest

from agents.app import rarely
from tests.sim.plan import KINDS, WORLDS, Plan, plan_of, without
from tests.sim.run import play
from tests.sim.simulate import Tally, Verdict, judged, replay, told

pytestmark = pytest.mark.sim

SEEDS, BLOCK, PROCESSES = 200, 2 * WORLDS, 2
HAPPENED = (
    "crashes between two effects", "lanes restored", "batches left to the next owner", "fetches that survived a rebalance",
    "publications stopped by the lease", "records of a former owner after the takeover", "records of a former owner that its successor's claim shut out",
    "former owners that ended when a claim shut them out", "records written after their worker was gone", "commits of an old generation refused",
    "former owners fenced by their transactional id", "transactions", "publications that wait for a broker", "commits without the group's broker",
    "partitions led by another broker", "workers that ended themselves", "ledger waits for the database", "ledger transactions broken off", "sweeps", "ticks",
    "sweep slices beside batches in flight", "records compacted away", "lanes restored from memory", "lanes restored from disk",
    "lanes restored from topic, revisions from where the states have them", "messages: delay", "messages: duplicate", "messages: poison",
    "messages: redeliver", "messages: reorder", "acts: retract", "acts: pause", "acts: drain",
    "looks at a topic whose records wait by an act", "steps probed for purity")
"""What two hundred seeds must really have gone through."""
EFFECTS = ("Publish", "PublishOutcomes", "PutState", "Await", "Ack")
STATES = ("EXPECTED", "FILED", "FILING_REJECTED", "ACCEPTED", "PRE_CLEARED", "ARRIVED", "CONTROL_ORDERED", "UNDER_CONTROL", "INFO_REQUESTED", "HELD", "REFUSED",
          "SEAL_CHECK", "RELEASED", "DEPARTED", "NOT_REQUIRED", "CANCELLED")


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    """Adds up what the seeds went through; the table is printed when all are done."""
    counted = Tally()
    yield counted
    print("\n" + counted.table())


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Iterator[Callable[[int], list[Verdict]]]:
    """Of the seeds of a block; all blocks that were chosen are played side by side."""
    chosen = [item.callspec.params["first"] for item in request.session.items
              if isinstance(item, pytest.Function) and item.originalname == test_the_eight_invariants_hold_whatever_goes_wrong.__name__]
    with get_context("spawn").Pool(PROCESSES, initializer=rarely) as pool:
        played = {first: pool.apply_async(judged, (range(first, first + BLOCK),)) for first in chosen}
        yield lambda first: played[first].get()


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_the_eight_invariants_hold_whatever_goes_wrong(first: int, tally: Tally, verdicts: Callable[[int], list[Verdict]]) -> None:
    failed = []
    for verdict in verdicts(first):
        tally.add(verdict)
        if not verdict.well:
            failed.append(told(verdict))
    assert not failed, "\n".join(failed)


def test_the_seeds_really_went_through_every_fault_and_state(tally: Tally) -> None:
    if tally.seeds < SEEDS:
        pytest.skip("needs all the seeds before it")
    assert [name for name in HAPPENED if not tally.seen[name]] == []
    assert [kind for kind in KINDS if not tally.kinds[f"runs with {kind}"]] == []
    assert [effect for effect in EFFECTS if not any(name.startswith("crashes of ") and name.endswith(f"before {effect}") for name in tally.seen)] == []
    assert [state for state in STATES if not tally.states[state]] == []


def digest_of(seed: int, hash_seed: str) -> str:
    """Digest of everything on the log after a run, in a process of its own."""
    code = f"from tests.sim.run import digest, play\nfrom tests.sim.plan import plan_of\nprint(digest(play(plan_of({seed}))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed})
    return done.stdout.strip()


@pytest.mark.parametrize("seed", [5, 7])
def test_a_seed_gives_the_same_bytes_in_every_process(seed: int) -> None:
    assert digest_of(seed, "1") == digest_of(seed, "2")


def test_a_trace_changes_nothing_and_tells_of_crashes_and_takeovers() -> None:
    plan, trace = plan_of(7), list[str]()
    assert play(plan, trace=trace).log.births == play(plan).log.births
    assert any("is killed" in line for line in trace)
    assert any("generation" in line and " reads " in line for line in trace)


def test_a_replay_names_what_was_left_out() -> None:
    plan = plan_of(7)
    assert replay(plan) == "python -m tests.sim --seed 7"
    smaller = without(plan, *(plan.kinds - {"crash", "zombie"}))
    assert replay(smaller) == f"python -m tests.sim --seed 7 --only {','.join(sorted(smaller.kinds))}"
    whole = Plan(seed=7, kinds=frozenset(), trains=1, leased=not plan.leased, transactional=plan.transactional)
    assert replay(whole) == f"python -m tests.sim --seed 7 --only none --trains 1 --lease {'no' if plan.leased else 'yes'}"
