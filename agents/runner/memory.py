"""The in-memory twin of the worker: the same folds, partitions and effects on topics that are lists, in one process, deterministic.

A whole system test publishes records, lets the stages run until nobody has anything left to do, and reads topics. Time is the
harness's: `now_us` is the append time of what is published. A crash plan ends a stage between any two effects; what was not yet
awaited may or may not have reached the log (decided by the caller's `random.Random`); the stage then restores from the log.
"""
from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
from aiokafka.partitioner import murmur2

from agents.runner.cells import ObjectCache
from agents.runner.clock import Clock
from agents.runner.limits import Limits
from agents.runner.partition import Partition
from streams.effects import Ack, Await, Effect, Headers, LogRecord, Publish, PublishOutcomes, PutState, Record, Send
from streams.fold import EVERY_PARTITION, Fold
from streams.reference.model import Reference
from topics import codec

AnyFold = Fold[Any, Any]
Process = Callable[[Sequence[Record]], Sequence[Effect]]
"""A stateless stage on one batch of one partition: the effects, the last an Ack (`streams.effects.plan`)."""


class Stateless(msgspec.Struct, frozen=True):
    """A stage without keys, e.g. intake: reads several topics."""

    name: str
    topics: tuple[str, ...]
    process: Process


class Crash(Exception):
    """The planned crash of a stage; the harness catches it and restores the stage."""


class SimulatedLog:
    """Topics as lists of records per partition. Append time is the log's own `now_us`, as LogAppendTime is the broker's."""

    def __init__(self, partitions: int = 4, now_us: int = 0, counts: Mapping[str, int] | None = None) -> None:
        self.now_us = now_us
        self._default, self._counts = partitions, dict(counts or {})
        self._logs: dict[str, list[list[LogRecord]]] = {}

    def partitions(self, topic: str) -> int:
        return self._counts.get(topic, self._default)

    def log(self, topic: str, partition: int) -> list[LogRecord]:
        """The records of one partition (the list itself)."""
        return self._topic(topic)[partition]

    def _topic(self, topic: str) -> list[list[LogRecord]]:
        if topic not in self._logs:
            self._logs[topic] = [[] for _ in range(self.partitions(topic))]
        return self._logs[topic]

    def topic(self, name: str) -> list[LogRecord]:
        """All records of a topic by append time, partition, offset."""
        return sorted((r for part in self._logs.get(name, []) for r in part), key=lambda r: (r.timestamp, r.partition, r.offset))

    def names(self) -> list[str]:
        return sorted(self._logs)

    def append(self, send: Send) -> None:
        """Write one record, or one to every partition."""
        parts = self._topic(send.topic)
        if send.partition == EVERY_PARTITION:
            chosen: Iterable[int] = range(len(parts))
        elif send.partition is not None:
            chosen = (send.partition,)
        else:
            chosen = ((murmur2(send.key or b"") & 0x7FFFFFFF) % len(parts),)
        for n in chosen:
            log = parts[n]
            log.append(LogRecord(send.topic, n, len(log), self.now_us // 1000, send.key, send.value, send.headers))


class _Lane:
    """One partition of one stage: its position, what it has committed, its state object."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.position = self.committed = 0
        self.work: Partition[Any, Any] | None = None


class Harness:
    """Runs stages on a SimulatedLog.

    `crash` is asked before each effect: True ends that stage there. `rng` decides batch cuts,
    which lane runs next and what of an unawaited write survives a crash; without it everything is in order and in whole batches.
    """

    def __init__(
        self,
        stages: Sequence[AnyFold | Stateless],
        reference: Reference,
        clock: Clock | None = None,
        *,
        log: SimulatedLog | None = None,
        partitions: int = 4,
        now_us: int = 1_700_000_000_000_000,
        rng: random.Random | None = None,
        crash: Callable[[str, Effect], bool] | None = None,
        batch_max: int = 500,
        limits: Limits | None = None,
        rule_pack: str = "",
    ) -> None:
        self.log = log or SimulatedLog(partitions, now_us)
        self.reference, self.clock, self.rule_pack = reference, clock or Clock(), rule_pack
        self.limits, self.rng, self.crash, self.batch_max = limits or Limits(), rng, crash, batch_max
        self.crashes = 0
        self.cache = ObjectCache()
        self._folds: dict[str, AnyFold] = {}
        self._stateless: dict[str, Stateless] = {}
        self._lanes: dict[str, list[_Lane]] = {}
        for stage in stages:
            if isinstance(stage, Stateless):
                self._stateless[stage.name] = stage
                topics: tuple[str, ...] = stage.topics
            else:
                self._folds[stage.name] = stage
                topics = (stage.input_topic,)
            self._lanes[stage.name] = [_Lane(t, n) for t in topics for n in range(self.log.partitions(t))]
            self._restore(stage.name)

    # -- the outside -------------------------------------------------------------------------------------------------------
    @property
    def now_us(self) -> int:
        """The log's clock, microseconds UTC (before `clock` maps it)."""
        return self.log.now_us

    def publish(
        self,
        topic: str,
        key: str | bytes | None,
        value: msgspec.Struct | bytes | None,
        *,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """Append one record: a contract struct, or raw bytes (poison, outside formats). Nothing runs until `run`."""
        data = codec.encode(value) if isinstance(value, msgspec.Struct) else value
        self.log.append(Send(topic, key.encode() if isinstance(key, str) else key, data, partition, headers))

    def topic(self, name: str) -> list[LogRecord]:
        """All records of a topic by append time, partition, offset."""
        return self.log.topic(name)

    def table(self, name: str) -> dict[str, bytes]:
        """A compacted topic as its last value per key; tombstoned keys are gone."""
        last: dict[str, bytes | None] = {}
        for record in self.topic(name):
            last[(record.key or b"").decode()] = record.value
        return {k: v for k, v in last.items() if v is not None}

    def advance(self, seconds: float) -> None:
        """Let time pass, with every tick that falls due on the way, in due order."""
        self.tick(self.now_us + int(seconds * 1_000_000))

    def tick(self, now_us: int) -> None:
        """Move the log's clock to `now_us`, stopping at each due time on the way, and run until quiescent."""
        self.run()
        while (due := self._next_due(now_us)) is not None:
            self.log.now_us = max(self.log.now_us, due)
            self._tick_once()
            self.run()
        self.log.now_us = max(self.log.now_us, now_us)
        self.run()

    def run(self) -> None:
        """Until no stage has input left, no sweep is unfinished and nothing is due now."""
        busy = True
        while busy:
            busy = False
            for name, lane in self._order():
                busy |= self._attempt(name, lane)
            busy |= self._tick_once()

    def restart(self, name: str) -> None:
        """Throw a stage's memory away and restore it from the log (kill -9)."""
        for lane in self._lanes[name]:
            lane.position = lane.committed
        self._restore(name, again=True)

    def state(self, name: str, key: str) -> object | None:
        """The decoded state of one key of a fold, or None."""
        for lane in self._lanes[name]:
            if lane.work is not None and (found := lane.work.state(key)) is not None:
                return cast("object", found)
        return None

    def partition(self, name: str, number: int) -> Partition[Any, Any]:
        """The live partition of a fold, for its counters."""
        work = self._lanes[name][number].work
        assert work is not None
        return work

    # -- the inside --------------------------------------------------------------------------------------------------------
    def _order(self) -> list[tuple[str, _Lane]]:
        lanes = [(name, lane) for name, all_of in self._lanes.items() for lane in all_of]
        if self.rng is not None:
            self.rng.shuffle(lanes)
        return lanes

    def _attempt(self, name: str, lane: _Lane) -> bool:
        """One batch and one slice of a sweep; True if there was anything to do."""
        log = self.log.log(lane.topic, lane.partition)
        did = False
        if lane.position < len(log):
            size = self.batch_max if self.rng is None else self.rng.randint(1, self.batch_max)
            records = log[lane.position : lane.position + size]
            lane.position += len(records)
            stage = self._stateless.get(name)
            self._carry_out(name, lane, stage.process(records) if stage else self._work(lane).batch(records))
            did = True
        if lane.work is not None and lane.work.sweeping:
            self._carry_out(name, lane, lane.work.sweep(_at_most(50)))
            did = True
        return did

    def _work(self, lane: _Lane) -> Partition[Any, Any]:
        assert lane.work is not None
        return lane.work

    def _tick_once(self) -> bool:
        did = False
        now = self.clock.now(self.log.now_us)
        for name, lane in self._order():
            if lane.work is not None and lane.work.due(now):
                self._carry_out(name, lane, lane.work.tick(now, _at_most(50)))
                did = True
        return did

    def _next_due(self, until_us: int) -> int | None:
        """The log time of the next due time at or before `until_us`, later than now."""
        dues = [d for lanes in self._lanes.values() for lane in lanes if lane.work and (d := lane.work.cells.next_due()) is not None]
        if not dues:
            return None
        at = self.clock.append(min(dues))
        return at if at <= until_us else None

    def _carry_out(self, name: str, lane: _Lane, effects: Sequence[Effect]) -> None:
        unawaited: list[Send] = []
        try:
            for effect in effects:
                if self.crash is not None and self.crash(name, effect):
                    raise Crash
                match effect:
                    case Publish(sends):
                        unawaited += sends
                    case PublishOutcomes(send):
                        unawaited.append(send)
                    case PutState(topic, partition, records):
                        unawaited += [Send(topic, key, value, partition) for key, value in records]
                    case Await():
                        self._land(unawaited)
                        unawaited = []
                    case Ack(_, _, position):
                        lane.committed = position
            self._land(unawaited)
        except Crash:
            self.crashes += 1
            if self.rng is not None:
                self._land([s for s in unawaited if self.rng.random() < 0.5])
            self.restart(name)

    def _land(self, sends: Sequence[Send]) -> None:
        for send in sends:
            self.log.append(send)

    def _restore(self, name: str, *, again: bool = False) -> None:
        """`again`: somebody may have worked on what was not acknowledged."""
        fold = self._folds.get(name)
        if fold is None:
            return
        for lane in self._lanes[name]:
            if lane.work is not None:
                lane.work.close()
            work = Partition(
                fold,
                self.reference,
                lane.partition,
                clock=self.clock,
                cache=self.cache,
                limits=self.limits,
                rule_pack=self.rule_pack,
            )
            for record in self.log.log(fold.state_topic, lane.partition):
                work.restore(record.key or b"", record.value)
            for topic in fold.revision_topics:
                for record in self.log.log(topic, lane.partition):
                    work.restore_revision(record.key, record.headers)
            read = self.log.log(fold.input_topic, lane.partition) if again else []
            work.restored(read[-1].offset + 1 if read else 0)
            lane.work = work


def _at_most(n: int) -> Callable[[], bool]:
    left = iter(range(n))
    return lambda: next(left, None) is not None
