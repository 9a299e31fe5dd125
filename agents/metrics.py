"""Metrics on a registry of railclear's own: read from plain counters when Prometheus asks, never updated per event."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agents.ledger.writer import LedgerWriter
from agents.operations.holding import Holding
from agents.runner.partition import Partition
from agents.transport.batch import Batch
from agents.transport.flow import Flow, Work
from agents.transport.hub import Hub
from agents.transport.lane import Slices
from streams.effects import Effect, Publish, PublishOutcomes

KINDS = ("border", "office", "territory", "restricted", "status", "refusals", "outcomes")
"""Topics of one kind are counted together: a metric's labels must stay few."""
DEAD_LETTERS = "dead.letters"


def kind_of(topic: str) -> str:
    """The label of a topic: its kind for topics per party or border, else its name."""
    head = topic.split(".", 1)[0]
    return head if head in KINDS else topic


class Published:
    """How many records each stage of this process has published, by kind of topic."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def watch(self, flow: Flow) -> Flow:
        """The same flow, whose effects are counted."""
        inner = flow.work

        def work(tp: TopicPartition) -> Work:
            return _Counted(inner(tp), flow.name, self.counts)

        flow.work = work
        return flow


class _Counted:
    """Work that counts what it says."""

    def __init__(self, inner: Work, stage: str, counts: Counter[tuple[str, str]]) -> None:
        self._inner, self._stage, self._counts = inner, stage, counts
        self.restore, self.restore_revision = inner.restore, inner.restore_revision
        self.restored, self.highest_offset, self.close = inner.restored, inner.highest_offset, inner.close
        self.image, self.adopt, self.dump = inner.image, inner.adopt, inner.dump
        self.floors, self.restore_floors = inner.floors, inner.restore_floors

    async def process(self, batch: Batch, slices: Slices) -> Sequence[Effect]:
        return self._count(await self._inner.process(batch, slices))

    def turn(self, caught_up: bool) -> Sequence[Effect]:
        return self._count(self._inner.turn(caught_up))

    @property
    def pressing(self) -> bool:
        return self._inner.pressing

    def _count(self, effects: Sequence[Effect]) -> Sequence[Effect]:
        for effect in effects:
            if isinstance(effect, Publish):
                for send in effect.sends:
                    self._counts[self._stage, kind_of(send.topic)] += 1
            elif isinstance(effect, PublishOutcomes):
                self._counts[self._stage, "outcomes"] += 1
        return effects


class Watched(Collector):
    """Everything this process knows of itself, as metric families."""

    def __init__(self, hub: Hub, partitions: Mapping[str, Mapping[int, Partition[Any, Any]]], published: Published, ledger: LedgerWriter | None,
                 pack: str, holding: Holding | None = None) -> None:
        self.hub, self.partitions, self.published, self.ledger, self.pack = hub, partitions, published, ledger, pack
        self.holding = holding
        """Of a worker that takes in: what operators let wait."""

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        """Called by the HTTP thread: copies what may change while it reads."""
        yield from self._lanes()
        yield from self._folds()
        out = CounterMetricFamily("railclear_published_records", "Records published, by stage and kind of topic.", labels=("stage", "topic"))
        for (stage, topic), count in dict(self.published.counts).items():
            out.add_metric((stage, topic), count)
        yield out
        info = GaugeMetricFamily("railclear_rule_pack", "The rule pack that is active here.", labels=("pack",))
        info.add_metric((self.pack,), 1)
        yield info
        if self.holding is not None:
            held = GaugeMetricFamily("railclear_held_topics", "Inbound topics whose records wait by an operator's act (pause or drain).")
            held.add_metric((), len(self.holding.topics))
            since = GaugeMetricFamily("railclear_drain_since_seconds", "When all input began to be drained, seconds since the epoch; 0: it flows.")
            since.add_metric((), self.holding.draining_since / 1e6)
            yield from (held, since)
        if self.ledger is not None:
            yield from self._ledger(self.ledger)

    def _lanes(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily("railclear_lag_records", "Records of an input not yet handed over.", labels=("stage", "topic"))
        ready = GaugeMetricFamily("railclear_lanes_ready", "Partitions assigned here that are restored.", labels=("stage",))
        lanes = GaugeMetricFamily("railclear_lanes_assigned", "Partitions assigned here.", labels=("stage",))
        pending = GaugeMetricFamily("railclear_pending_batches", "Batches handed over and not yet acknowledged.", labels=("stage",))
        behind: Counter[tuple[str, str]] = Counter()
        states: dict[str, list[int]] = {}
        for lane in self.hub.health():
            behind[lane.stage, kind_of(lane.topic)] += lane.lag
            row = states.setdefault(lane.stage, [0, 0, 0])
            row[0] += 1
            row[1] += lane.ready
            row[2] += lane.pending
        for labels, count in behind.items():
            lag.add_metric(labels, count)
        for stage, (assigned, restored, waiting) in states.items():
            lanes.add_metric((stage,), assigned)
            ready.add_metric((stage,), restored)
            pending.add_metric((stage,), waiting)
        yield from (lag, lanes, ready, pending)
        unowned = GaugeMetricFamily("railclear_unowned_partitions", "Wanted partitions that no member of the group reads, when the broker was last asked.")
        census = self.hub.census
        unowned.add_metric((), len(census.orphans) + len(census.missing) if census is not None else 0)
        yield unowned
        rebalances = CounterMetricFamily("railclear_rebalances", "Rebalances of this process's group.")
        rebalances.add_metric((), self.hub.rebalances)
        yield rebalances

    def _folds(self) -> Iterator[Metric]:
        names = ("applied", "dead", "decoded", "redelivered", "steps", "swept", "ticks", "broadcasts", "parked_ticks")
        family = CounterMetricFamily("railclear_fold", "What the folds have done, by stage and kind of work.", labels=("stage", "what"))
        keys = GaugeMetricFamily("railclear_fold_keys", "Keys held, by stage.", labels=("stage",))
        for stage, partitions in self.partitions.items():
            live = list(partitions.values())
            for name in names:
                family.add_metric((stage, name), sum(getattr(p.counters, name) for p in live))
            keys.add_metric((stage,), sum(len(p.cells) for p in live))
        yield from (family, keys)

    def _ledger(self, ledger: LedgerWriter) -> Iterator[Metric]:
        connected = GaugeMetricFamily("railclear_ledger_connected", "1: PostgreSQL answers.")
        connected.add_metric((), int(ledger.connected))
        lag = GaugeMetricFamily("railclear_ledger_lag_records", "Records that are not yet in the ledger.")
        lag.add_metric((), ledger.lag)
        done = CounterMetricFamily("railclear_ledger", "What the ledger's writer has done.", labels=("what",))
        for name in ("rows_written", "records_read", "records_parked", "failures"):
            done.add_metric((name,), getattr(ledger, name))
        missed = GaugeMetricFamily("railclear_ledger_missed_records", "Offsets deleted before the ledger read them, accepted by operators; the whole ledger.")
        missed.add_metric((), ledger.records_missed)
        yield from (connected, lag, done, missed)


def registry_for(collector: Watched) -> CollectorRegistry:
    """An own registry: Faust's and the interpreter's default metrics stay out."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry
