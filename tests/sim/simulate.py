"""Seeds: play, check, shrink what fails, and add up what happened."""
from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from agents.runner.cells import BadState
from tests.sim.checkers import findings
from tests.sim.cluster.lane import GOOD, Semantics
from tests.sim.plan import Plan, plan_of, without
from tests.sim.run import Run, calm_of, play
from topics.codec import Refused

BREAKS = (ArithmeticError, AssertionError, AttributeError, BadState, LookupError, Refused, RuntimeError, TypeError, ValueError)
"""What broken code raises."""
RAISED = "raised"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one seed."""

    plan: Plan
    findings: dict[str, list[str]]
    """Invariant -> what breaks it; empty = well."""
    seen: Counter[str] = Counter()
    """Faults that really happened and what the cluster did."""
    states: Counter[str] = Counter()
    published: int = 0
    records: int = 0
    seconds: float = 0.0
    """Process CPU."""

    @property
    def well(self) -> bool:
        return not self.findings


def judge(plan: Plan, semantics: Semantics = GOOD, trace: list[str] | None = None) -> Verdict:
    """Play a plan and look at what is left."""
    began = time.process_time()
    try:
        run = play(plan, semantics, trace)
        calm = calm_of(plan)
        found = findings(run, calm)
    except BREAKS as error:
        said = traceback.format_exception(error)
        return Verdict(plan=plan, findings={RAISED: ["".join(said[-4:])]}, seconds=time.process_time() - began)
    return Verdict(plan=plan, findings=found, seen=_seen(run), states=Counter(u.state for u in run.updates()),
                   published=len(run.log.topic("clearance.history")), records=run.log.births, seconds=time.process_time() - began)


def judged(seeds: range) -> list[Verdict]:
    """Seeds one after the other, in a process of its own perhaps."""
    return [judge(plan_of(seed)) for seed in seeds]


def _seen(run: Run) -> Counter[str]:
    seen = Counter(run.seen)
    seen["steps probed for purity"] += run.steps["probed"]
    seen["shipments told in transactions" if run.plan.transactional else "shipments told at least once"] += len({u.shipment for u in run.updates()})
    return seen


def shrunk(plan: Plan, semantics: Semantics = GOOD) -> Verdict:
    """The same seed with as few kinds of faults and trains as still break one of the same invariants."""
    best = judge(plan, semantics)
    names = set(best.findings)
    for smaller in _smaller(plan):
        candidate = smaller(best.plan)
        if candidate != best.plan and names & set((verdict := judge(candidate, semantics)).findings):
            best = verdict
    return best


def _smaller(plan: Plan) -> Iterator[Callable[[Plan], Plan]]:
    yield lambda p: msgspec.structs.replace(p, trains=1)
    for kind in sorted(plan.kinds):
        yield lambda p, kind=kind: without(p, kind)  # type: ignore[misc]


def replay(plan: Plan) -> str:
    """The command that plays a plan again, exactly."""
    parts = [f"python -m tests.sim --seed {plan.seed}"]
    whole = plan_of(plan.seed)
    if plan.kinds != whole.kinds:
        parts.append(f"--only {','.join(sorted(plan.kinds)) or 'none'}")
    if plan.trains != whole.trains:
        parts.append(f"--trains {plan.trains}")
    if plan.leased != whole.leased:
        parts.append(f"--lease {'yes' if plan.leased else 'no'}")
    if plan.transactional != whole.transactional:
        parts.append(f"--transactions {'yes' if plan.transactional else 'no'}")
    return " ".join(parts)


def told(verdict: Verdict, semantics: Semantics = GOOD) -> str:
    """What failed and how to play it again, shrunk."""
    lines = [f"seed {verdict.plan.seed} fails ({', '.join(sorted(verdict.plan.kinds))}; {'exactly once' if verdict.plan.transactional else 'at least once'}; "
             f"{'with' if verdict.plan.leased else 'without'} lease)"]
    for name, found in verdict.findings.items():
        lines += [f"  {name}", *(f"    {one}" for one in found[:4])]
    small = shrunk(verdict.plan, semantics)
    lines += [f"  replay: {replay(verdict.plan)}", f"  shrunk: {replay(small.plan)}  ({', '.join(sorted(small.findings))})"]
    return "\n".join(lines)


class Tally:
    """Many seeds added up."""

    def __init__(self) -> None:
        self.seeds = self.published = self.records = 0
        self.seconds = 0.0
        self.seen: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.failures: list[int] = []

    def add(self, verdict: Verdict) -> None:
        self.seeds += 1
        self.seconds += verdict.seconds
        self.published += verdict.published
        self.records += verdict.records
        self.seen += verdict.seen
        self.states += verdict.states
        self.kinds.update(f"runs with {kind}" for kind in verdict.plan.kinds)
        self.kinds["runs with transactions"] += verdict.plan.transactional
        if not verdict.well:
            self.failures.append(verdict.plan.seed)

    def report(self) -> dict[str, object]:
        """For docs/reliability-runs.json."""
        return {"seeds": self.seeds, "failures": sorted(self.failures), "records": self.records, "statuses_published": self.published,
                "cpu_seconds": round(self.seconds, 1), "faults": dict(sorted((self.kinds + self.seen).items())), "states": dict(sorted(self.states.items()))}

    @classmethod
    def of(cls, report: dict[str, object]) -> Tally:
        """Go on from a report."""
        tally = cls()
        kept = msgspec.convert(report, _Report)
        tally.seeds, tally.published, tally.records, tally.seconds = kept.seeds, kept.statuses_published, kept.records, kept.cpu_seconds
        tally.seen, tally.states = Counter(kept.faults), Counter(kept.states)
        tally.failures = list(kept.failures)
        return tally

    def table(self) -> str:
        """What really happened, as a table."""
        lines = [f"{self.seeds} seeds, {self.records} records, {self.published} statuses, {self.seconds:.0f} s of CPU, {len(self.failures)} failures",
                 "faults that really happened and what came of them:"]
        lines += [f"  {name:58} {count:>10}" for name, count in sorted((self.kinds + self.seen).items())]
        lines += ["states reached:", "  " + ", ".join(f"{state} {count}" for state, count in sorted(self.states.items()))]
        return "\n".join(lines)


class _Report(msgspec.Struct):
    seeds: int
    failures: list[int]
    records: int
    statuses_published: int
    cpu_seconds: float
    faults: dict[str, int]
    states: dict[str, int]
