"""All of railclear in one process: intake and the folds on the in-memory twin, fed with a simulated world."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from agents.intake import intake_process
from agents.runner.memory import Harness, SimulatedLog, Stateless
from streams.audit import Account, Auditor
from streams.clearance import ClearanceFold
from streams.custody import CustodyFold
from streams.documents import DocumentsFold
from streams.effects import Effect
from streams.readiness import ReadinessFold
from streams.simulate import Sent
from streams.sources import SourcesFold
from streams.trains import TrainsFold
from tests.sim.worlds import START, reference, topics
from topics.events.outputs import Alert, BatchOutcomes, ClearanceUpdate, DeadLetter

PARTITIONS = 4
MINUTE, HOUR = 60_000_000, 3_600_000_000
FRESHNESS = {"STALE", "feed_gap"}
"""How long ago a source was heard depends on when it was heard."""


class System:
    """A harness with every stage, and what it says at the end."""

    def __init__(self, rng: random.Random | None = None, crash: Callable[[str, Effect], bool] | None = None) -> None:
        registry = topics()
        counts = {spec.name: spec.partitions for spec in registry.topics.values()}
        log = SimulatedLog(PARTITIONS, now_us=START, counts=counts)
        intake = Stateless("intake", tuple(spec.name for spec in registry.inbound), intake_process(reference(), registry))
        folds = (TrainsFold(), CustodyFold(), DocumentsFold(), ClearanceFold(), ReadinessFold(), SourcesFold())
        self.harness = Harness([intake, *folds], reference(), log=log, rng=rng, crash=crash, batch_max=500)

    def play(self, messages: Iterable[Sent], *, every: int = 6 * HOUR) -> None:
        """Messages at their own time; what is due on the way is done every few hours."""
        harness = self.harness
        until = START + every
        for message in messages:
            while message.at >= until:
                harness.tick(until)
                until += every
            harness.log.now_us = max(harness.log.now_us, message.at)
            harness.publish(message.topic, message.key, message.value)
        harness.run()

    def pour(self, messages: Sequence[Sent], at: int, *, chunk: int = 1_000) -> None:
        """Messages in the given order, all of them late, at one instant."""
        self.harness.log.now_us = at
        for start in range(0, len(messages), chunk):
            for message in messages[start : start + chunk]:
                self.harness.publish(message.topic, message.key, message.value)
            self.harness.run()

    def end(self, at: int) -> None:
        self.harness.tick(at)

    # -- what it says ------------------------------------------------------------------------------------------------------
    def updates(self) -> list[ClearanceUpdate]:
        """Every status ever published, in order."""
        return [msgspec.json.decode(r.value, type=ClearanceUpdate) for r in self.harness.topic("clearance.history") if r.value is not None]

    def statuses(self) -> dict[tuple[str, str], ClearanceUpdate]:
        """The last word per shipment and side."""
        last: dict[tuple[str, str], ClearanceUpdate] = {}
        for update in self.updates():
            held = last.get((update.shipment, update.side))
            if held is None or update.revision > held.revision:
                last[update.shipment, update.side] = update
        return last

    def alerts(self) -> list[Alert]:
        return [msgspec.json.decode(r.value, type=Alert) for r in self.harness.topic("ops.alerts") if r.value is not None]

    def letters(self) -> list[DeadLetter]:
        return [msgspec.json.decode(r.value, type=DeadLetter) for r in self.harness.topic("dead.letters") if r.value is not None]

    def waiting(self) -> Counter[tuple[str, str]]:
        """Stage and reason of what was not simply applied."""
        found: Counter[tuple[str, str]] = Counter()
        for stage in ("intake", "trains", "custody", "documents", "clearance", "readiness", "sources"):
            for record in self.harness.topic(f"outcomes.{stage}"):
                said = msgspec.json.decode(record.value or b"{}", type=BatchOutcomes)
                found.update((stage, f"{one.fate}:{one.reason}") for one in said.exceptions)
        return found

    def account(self) -> Account:
        """Every record of every input, added up by the independent reader's book-keeping."""
        registry = topics()
        stages = {spec.name: "intake" for spec in registry.inbound} | {s.name: s.name.removesuffix(".in") for s in registry.by_kind("fold_in")}
        auditor = Auditor(stages)
        for name in stages:
            for partition in range(self.harness.log.partitions(name)):
                auditor.partition(name, partition)
        for name in self.harness.log.names():
            for record in self.harness.topic(name):
                if name in stages:
                    auditor.record(name, record.partition, record.offset, record.key, record.value)
                elif name.startswith("outcomes."):
                    auditor.outcome(msgspec.json.decode(record.value or b"", type=BatchOutcomes))
                elif name.startswith("dead.letters"):
                    auditor.dead_letter(msgspec.json.decode(record.value or b"", type=DeadLetter))
        return auditor.account()


def essence(statuses: dict[tuple[str, str], ClearanceUpdate]) -> dict[tuple[str, str], tuple[object, ...]]:
    """What must not depend on the order of arrival: not revisions, times of assessment, ETAs, first-known deadlines, freshness; nor sides
    that were on a route for as long as less was known, and have been taken back."""
    return {
        key: (u.visit, u.state, u.basis.kind, tuple(sorted(set(u.flags) - FRESHNESS)), u.counts, u.movable, u.present,
              u.missing_release, u.missing_filings, tuple(sorted((s.container, s.chain, s.verdict) for s in u.seals)), u.run, u.document)
        for key, u in statuses.items() if not (u.state == "CANCELLED" and "off_route" in u.flags)
    }
