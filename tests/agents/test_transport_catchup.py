"""A partition that comes back: what was kept in memory or on disk plus the tail is what the whole topic gives, whoever wrote meanwhile."""
from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka.structs import TopicPartition

from agents.runner.memory import SimulatedLog
from agents.runner.partition import Partition
from agents.runner.stage import FoldWork
from agents.transport import flow as flow_module
from agents.transport import keeper as keeper_module
from agents.transport import restore as restore_module
from agents.transport import snapshot
from agents.transport.batch import Reach, _reached
from agents.transport.flow import Flow
from agents.transport.keeper import AGE_MAX_S, KEEP_S, Keeper
from agents.transport.lane import Lane
from agents.transport.reached import REVISIONS_KEY, Reached, reached_of
from agents.transport.snapshot import Head, SnapshotError
from streams.effects import Ack, Effect, Publish, PublishOutcomes, PutState, Send
from tests.agents.runner_toy import NO_REFERENCE, Add, Factor, Said, Summing
from topics import codec

TP = TopicPartition("toy.in", 0)
REVISIONS = TopicPartition("toy.status", 0)
SECOND = 1_000_000


def a_partition(pack: str = "") -> Partition[Any, Any]:
    return Partition(Summing(), NO_REFERENCE, 0, rule_pack=pack)


FLOW = Flow("toy", ("toy.in",), lambda tp: FoldWork(a_partition()), state_topic="toy.state", revision_topics=("toy.status",))


def a_lane(partition: Partition[Any, Any], state_next: int, revision_next: int) -> Lane:
    lane = Lane(TP, 1, FLOW)
    lane.ready, lane.work, lane.ids = True, FoldWork(partition), ("i", "s", "r")
    lane.sure = {"toy.state": state_next, "toy.status": revision_next}
    return lane


class Owner:
    """One process's view of the partition in a simulated cluster: its own Keeper, a Partition while it owns."""

    def __init__(self, log: SimulatedLog, directory: Path | None = None, pack: str = "") -> None:
        self.log, self.keeper, self.pack = log, Keeper("g", directory), pack
        self.partition: Partition[Any, Any] | None = None
        self.lane = a_lane(a_partition(), 0, 0)
        self.from_memory = 0
        self.from_disk = 0
        self.tail = 0
        self.spared = 0
        """Revisions that were not read, because the state topic says that the states have them."""
        self.whole = True
        """Everything that was begun in this turn is written."""
        self.late = 0
        """State records that it got through after its successor's turn."""

    def everything(self) -> Partition[Any, Any]:
        made = a_partition(self.pack)
        for record in self.log.log("toy.state", 0):
            made.restore(record.key or b"", record.value)
        for record in self.log.log("toy.status", 0):
            made.restore_revision(record.key, record.headers)
        made.restored()
        return made

    async def take(self) -> None:
        work = FoldWork(a_partition(self.pack))
        lane = Lane(TP, 1, FLOW)
        lane.ids = ("i", "s", "r")
        state, status = self.log.log("toy.state", 0), self.log.log("toy.status", 0)

        def fits(nexts: tuple[int, ...]) -> bool:
            return nexts[0] <= len(state) and nexts[1] <= len(status)

        starts: tuple[int, ...] = (0, 0)
        self.keeper.take(FLOW, lane, fits)                 # a restore that another rebalance cuts short
        if (kept := self.keeper.take(FLOW, lane, fits)) is not None:
            work.adopt(kept.image)
            starts, self.from_memory = kept.nexts, self.from_memory + 1
        elif (head := await self.keeper.load(FLOW, lane, work, fits)) is not None:
            starts, self.from_disk = head.nexts, self.from_disk + 1
        reached: Reached | None = None
        for record in state[starts[0] :]:
            if record.key == REVISIONS_KEY:
                reached = reached_of(record.value or b"")
            work.restore(record.key or b"", record.value)
        since = starts[1]
        if reached is not None:
            assert restore_module._fits(reached, lane, [REVISIONS], {REVISIONS: len(status)})
            work.restore_floors(reached.floors)
            since = max(since, *reached.nexts)
        for record in status[since:]:
            work.restore_revision(record.key, record.headers)
        self.tail += len(state) - starts[0]
        self.spared += since - starts[1]
        work.restored()
        self.partition = work.partition
        self.lane = a_lane(work.partition, len(state), len(status))
        self.lane.marked, self.whole = {"toy.status": since}, True
        self.keeper.back(FLOW, lane)

    def reaching(self, effects: tuple[Effect, ...]) -> Sequence[Effect | Reach]:
        return FLOW._reaching(self.lane, effects)

    async def give_up(self, lost: bool) -> None:
        """`lost`: something was in flight and is not known to be written."""
        assert self.partition is not None
        lane = self.lane
        lane.submitted, lane.settled = 1, int(not lost)
        assert self.keeper.keep(lane) is not (lost or lane.foreign or bool(self.partition._left_over))
        if self.keeper.directory is not None:
            await self.keeper.write_kept(FLOW.name, TP)
        self.partition = None

    def write(self, sends: Sequence[Send]) -> None:
        for send in sends:
            if send.topic in self.lane.sure:
                self.lane.wrote(send.topic, len(self.log.log(send.topic, 0)), 1)
            self.log.append(send)

    def carry_out(self, effects: Sequence[Effect | Reach], until: int | None = None) -> int | None:
        """Write what the effects say, or only the first `until` of them (the rest is lost with this process). The offset acknowledged."""
        acked = None
        self.lane.durable = dict(self.lane.sure) if self.whole else {}
        self.whole = self.whole and until is None
        for effect in effects[:until]:
            match effect:
                case Publish(sends):
                    self.write(sends)
                case PublishOutcomes(send):
                    self.write([send])
                case PutState(topic, number, records):
                    self.write([Send(topic, key, value, number) for key, value in records])
                case Reach(floors):
                    put = _reached(self.lane, floors)
                    self.write([Send(put.topic, key, value, put.partition) for key, value in put.records] if put is not None else [])
                case Ack(_, _, end):
                    acked = end
        return acked


def seen(partition: Partition[Any, Any]) -> dict[str, Any]:
    """What matters of a partition: the epoch a key was last stepped with may be ahead of the topic, when nothing changed by it."""
    cells = {key: (cell[0].offset, cell[0].due, cell[0].revision, cell[1]) for key in partition.cells if (cell := partition.cells.get(key))}
    return {"cells": cells, "floors": partition._floors, "world": partition.broadcasts.world, "epoch": partition.broadcasts.epoch}


def feed(log: SimulatedLog, rng: random.Random, number: int) -> None:
    log.now_us += rng.randrange(2 * SECOND)
    if rng.random() < 0.06:
        value: msgspec.Struct = Factor(name=f"f{rng.randrange(2)}", version=number, by=rng.randrange(1, 4))
    else:
        value = Add(id=number, n=rng.randrange(5), due_in_s=rng.choice((0, 0, 1.5)))
    log.append(Send("toy.in", f"k{rng.randrange(8)}".encode(), codec.encode(value), 0))


async def churn(seed: int, directory: Path | None = None, zombies: bool = False) -> tuple[list[Owner], SimulatedLog]:
    """Owners take turns; some turns end with effects half carried out. After each restore the state must be that of the whole topic.

    `zombies`: what a lost owner had in its sockets may be written, and acknowledged to it, after its successor's turn.
    """
    rng = random.Random(seed)
    log = SimulatedLog(1, 1_700_000_000 * SECOND)
    packs = [f"p{n % 2}" if seed % 3 == 0 else "p" for n in range(3)]  # some runs: two rule packs at once, as in a rolling upgrade
    owners = [Owner(log, directory / str(n) if directory else None, packs[n]) for n in range(3)]
    committed = 0
    late: tuple[Owner, tuple[Effect | Reach, ...]] | None = None
    for turn in range(40):
        owner = rng.choice([o for o in owners if late is None or o is not late[0]])
        await owner.take()
        assert owner.partition is not None
        mine, whole = seen(owner.partition), seen(owner.everything())
        if owner.spared:  # of a key that has retired nobody remembers the revisions, its last owner neither: the next one has the time, which is higher
            gone = set(whole["floors"]) - set(whole["cells"])
            whole["floors"] = {key: floor for key, floor in whole["floors"].items() if key in mine["floors"] or key not in gone}
        assert mine == whole, f"seed {seed}, turn {turn}"
        lost, before, late = False, late, None
        for _ in range(rng.randrange(4)):
            for _ in range(rng.randrange(6)):
                feed(log, rng, len(log.log("toy.in", 0)))
            records = log.log("toy.in", 0)[committed : committed + rng.randrange(1, 8)]
            work: list[Sequence[Effect | Reach]] = [owner.reaching(owner.partition.batch(records))] if records else []
            work.append(owner.reaching(owner.partition.tick(log.now_us, lambda: True)))
            work.append(owner.reaching(owner.partition.sweep(lambda: rng.random() < 0.8)))
            for number, effects in enumerate(work):
                lost = lost or (bool(effects) and rng.random() < 0.1)
                if lost and zombies and before is None and effects and late is None:
                    late = owner, tuple(effect for later in work[number:] for effect in later)
                    break
                acked = owner.carry_out(effects, rng.randrange(len(effects)) if lost and effects else 0 if lost else None)
                committed = acked if acked is not None else committed
            if lost:
                break
        if late is None:
            await owner.give_up(lost)
        if before is not None:
            written = len(log.log("toy.state", 0))
            before[0].carry_out(before[1])
            before[0].late += len(log.log("toy.state", 0)) - written
            await before[0].give_up(False)
    last = Owner(log)
    await last.take()
    assert last.partition is not None
    last.carry_out(last.partition.batch(log.log("toy.in", 0)[committed:]) if committed < len(log.log("toy.in", 0)) else ())
    while last.partition.sweeping or last.partition.due(log.now_us):
        last.carry_out(last.partition.tick(log.now_us, lambda: True))
        last.carry_out(last.partition.sweep(lambda: True))
    totals: dict[str, int] = {}
    for record in log.log("toy.in", 0):
        event = codec.decode(record.value or b"", Add | Factor)
        if isinstance(event, Add):
            totals[(record.key or b"").decode()] = totals.get((record.key or b"").decode(), 0) + event.n
    have = {k: Summing().decode_state(c[1]).total for k in last.partition.cells if not k.startswith("\x00") and (c := last.partition.cells.get(k))}
    assert {k: v for k, v in have.items() if v} == {k: v for k, v in totals.items() if v}
    revisions: dict[str, int] = {}
    for record in log.log("toy.status", 0):
        said = msgspec.json.decode(record.value or b"", type=Said)
        assert zombies or said.revision > revisions.get(said.key, 0), "a revision repeats or falls"
        revisions[said.key] = said.revision
    return owners, log


async def test_owners_that_take_turns_end_with_what_the_topic_says(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tail = whole = 0
    monkeypatch.setattr(flow_module, "EVERY", 1 << 30)
    for seed in range(60):
        owners, log = await churn(seed)
        kept += sum(o.from_memory for o in owners)
        tail += sum(o.tail for o in owners)
        whole += 40 * len(log.log("toy.state", 0)) // 2
    assert kept > 800, "most turns begin with what was kept"
    assert tail < whole / 2, "and read only what was written since"


async def test_what_a_lost_owner_still_gets_through_hides_nothing_of_its_successor_from_it() -> None:
    late = 0
    for seed in range(200, 260):
        owners, _ = await churn(seed, zombies=True)
        late += sum(o.late for o in owners)
    assert late > 60, "states that a lost owner wrote after its successor's turn"


async def test_owners_with_snapshots_on_disk_and_none_in_memory_end_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "take", lambda *_: None)
    found = 0
    for seed in range(100, 112):
        owners, _ = await churn(seed, tmp_path / str(seed))
        found += sum(o.from_disk for o in owners)
    assert found > 100


async def test_a_lane_with_anything_unpublished_is_not_kept() -> None:
    keeper = Keeper("g")
    for spoil in ("pending", "submitted", "queued", "left_over", "not_ready", "none"):
        lane = a_lane(a_partition("pack" if spoil == "left_over" else ""), 0, 0)
        assert isinstance(lane.work, FoldWork)
        lane.work.restored()
        if spoil == "pending":
            lane.deliver(1, 1)
        elif spoil == "submitted":
            lane.submitted = 1
        elif spoil == "queued":
            lane.queued = 1
        elif spoil == "not_ready":
            lane.ready = False
        assert keeper.keep(lane) is (spoil == "none"), spoil


async def test_what_belongs_to_other_topics_or_has_waited_too_long_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, lane = Keeper("g"), a_lane(a_partition(), 5, 7)
    back = Lane(TP, 2, FLOW)
    back.ids = ("i", "s", "r")
    keeper.keep(lane)
    assert keeper.take(FLOW, back, lambda nexts: nexts != (5, 7)) is None, "beyond the end of the topics"
    keeper.keep(lane)
    back.ids = ("i", "other", "r")
    assert keeper.take(FLOW, back, lambda nexts: True) is None
    back.ids = ("i", "s", "r")
    keeper.keep(lane)
    kept = keeper.take(FLOW, back, lambda nexts: True)
    assert kept is not None
    assert kept.nexts == (5, 7)
    assert keeper.take(FLOW, back, lambda nexts: True) is kept, "as long as no restore has come to its end"
    keeper.back(FLOW, back)
    assert keeper.take(FLOW, back, lambda nexts: True) is None, "and no longer"
    keeper.keep(lane)
    keeper.forget()
    assert len(keeper._kept) == 1
    later = keeper_module.boot_clock() + KEEP_S + 1
    monkeypatch.setattr(keeper_module, "boot_clock", lambda: later)
    keeper.forget()
    assert keeper._kept == {}


def a_head(**other: Any) -> Head:
    given: dict[str, Any] = {"group": "g", "stage": "toy", "partition": 0, "version": "v", "ids": ("i", "s", "r"), "nexts": (3, 2),
                             "at": time.time_ns() // 1000, "count": 1}
    return Head(**{**given, **other})


def test_a_snapshot_comes_back_whole_and_any_damage_is_seen(tmp_path: Path) -> None:
    path = snapshot.file_of(tmp_path / "state", "g", "toy", 0)
    records = [(f"k{n}".encode(), bytes(n % 251 for _ in range(n % 3000))) for n in range(2000)]
    size = snapshot.write(path, a_head(floors={"a": 5}), records)
    assert size > snapshot.CHUNK, "in several pieces"
    assert snapshot.read(path) == (a_head(at=snapshot.read(path)[0].at, floors={"a": 5}), records)
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing half written is left"
    whole = path.read_bytes()
    rng = random.Random(1)
    for _ in range(200):
        at = rng.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(SnapshotError, match=r"is damaged|is not a snapshot"):
            snapshot.read(path)
    for cut in (0, 5, 20, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(SnapshotError):
            snapshot.read(path)


def test_a_crash_while_writing_leaves_the_old_snapshot(tmp_path: Path) -> None:
    path = snapshot.file_of(tmp_path, "g", "toy", 0)
    snapshot.write(path, a_head(), [(b"a", b"1")])

    def breaks() -> Any:
        yield b"a", b"2"
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        snapshot.write(path, a_head(), breaks())
    assert snapshot.read(path)[1] == [(b"a", b"1")]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"version": "w"}, "it is of format 2 and version w, wanted are 2 and v"),
        ({"format": 1}, "it is of format 1"),
        ({"group": "h"}, "it belongs to h, toy, partition 0"),
        ({"partition": 1}, "it belongs to g, toy, partition 1"),
        ({"ids": ("i", "s2", "r")}, "the topics were made anew since it was written"),
        ({"ago_s": AGE_MAX_S + 60}, "it is 12.0 hours old"),
        ({"ago_s": -3600}, "it is -1.0 hours old"),
        ({"nexts": (99, 2)}, "it reaches beyond the topics as they are now"),
        ({}, ""),
    ],
)
async def test_a_snapshot_that_does_not_fit_is_left_aside_with_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, other: dict[str, Any], says: str
) -> None:
    if "ago_s" in other:  # counted from when the test runs, not from when it was collected
        other = {"at": time.time_ns() // 1000 - other["ago_s"] * SECOND}
    keeper, lane = Keeper("g", tmp_path, "v"), Lane(TP, 1, FLOW)
    lane.ids = ("i", "s", "r")
    source = a_partition()
    source.batch([record_of_input()])
    pairs = FoldWork(source).dump(source.image())  # type: ignore[arg-type]  # nothing is left over
    snapshot.write(snapshot.file_of(tmp_path, "g", "toy", 0), a_head(**other), pairs)
    work = FoldWork(a_partition())
    with caplog.at_level(logging.WARNING):
        head = await keeper.load(FLOW, lane, work, lambda nexts: nexts[0] <= 10)
    assert (head is None) is bool(says)
    assert says in caplog.text
    assert len(work.partition.cells) == (0 if says else len(source.cells))


def record_of_input() -> Any:
    log = SimulatedLog(1, 1_700_000_000 * SECOND)
    log.append(Send("toy.in", b"a", codec.encode(Add(id=1, n=2)), 0))
    return log.log("toy.in", 0)[0]


async def test_a_held_lane_is_copied_only_when_nothing_is_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, partition = Keeper("g", tmp_path, every_s=0.0), a_partition()
    partition.batch([record_of_input()])
    lane = a_lane(partition, 4, 2)
    lane.progress.ready_at -= 1
    assert keeper.due(lane)
    lane.deliver(1, 1)
    lane.submitted = 1
    writing = asyncio.ensure_future(keeper.hold_and_write(lane))
    await asyncio.sleep(0.03)
    assert (lane.wants, writing.done()) == (False, False)
    lane.ack(1)
    lane.settled = 1
    assert await writing
    assert lane.wants
    assert not keeper.due(lane), "nothing was written since"
    lane.sure["toy.state"] = 5
    assert keeper.due(lane)
    monkeypatch.setattr(keeper_module, "HOLD_S", 0.02)
    lane.deliver(2, 1)
    assert not await keeper.hold_and_write(lane), "a lane that does not come to rest goes on without a copy"
    assert not Keeper("g").due(lane)
