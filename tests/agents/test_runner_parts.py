"""A state in two records, the whole and its part: whatever of them a crash leaves, restoring gives a state that was, and goes on from there."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from agents import reference as reference_files
from agents.runner.cells import PART, BadState, Header, joined, pack, unpack
from agents.runner.partition import Partition
from streams.effects import LogRecord, PutState
from streams.fold import World
from streams.trains import TrainsFold
from streams.trains.inputs import Input, RunInputs, State
from tests.bench.positions import MINUTE, load_of, records, stamped

REFERENCE = reference_files.load(None)
FOLD = TrainsFold()
Log = list[tuple[bytes, bytes | None]]


def partition(log: Iterable[tuple[bytes, bytes | None]] = (), below: int = 0) -> Partition[State, Input]:
    made = Partition(FOLD, REFERENCE, 0)
    for key, value in log:
        made.restore(key, value)
    made.restored(below)
    return made


def written(work: Partition[State, Input], part: Sequence[LogRecord]) -> Log:
    return [pair for effect in work.batch(part) if isinstance(effect, PutState) for pair in effect.records]


def story(every_seconds: float = 120.0) -> tuple[list[str], list[list[LogRecord]]]:
    """Keys and batches: what is known of three trains, then their positions."""
    load = load_of(REFERENCE, trains=3, positions=180, every_seconds=every_seconds, seed=5)
    at = load.begins + 24 * 60 * MINUTE
    told = records("trains.in", stamped([*load.before, *load.positions], at), at)
    first = len(load.before)
    return sorted({k for k, _ in load.before}), [told[:first], *(told[n : n + 12] for n in range(first, len(told), 12))]


def states(work: Partition[State, Input], keys: Iterable[str]) -> dict[str, bytes]:
    return {key: FOLD.encode_state(state) for key in keys if (state := work.state(key)) is not None}


def runs(work: Partition[State, Input], keys: Iterable[str]) -> dict[str, dict[str, RunInputs]]:
    """What the inputs alone decide."""
    return {key: state.runs for key in keys if (state := work.state(key)) is not None}


def compacted(log: Log) -> Log:
    """As a compacted topic may hold it: the last record of each key, the parts first."""
    return sorted(dict(log).items(), key=lambda pair: not pair[0].startswith(PART.encode()))


def test_positions_write_parts_and_a_restart_reads_whole_and_part_together() -> None:
    keys, batches = story()
    work, log = partition(), Log()
    for batch in batches:
        log += written(work, batch)
        for again in (partition(log), partition(compacted(log))):
            assert states(again, keys) == states(work, keys)
            assert again.highest_offset() == work.highest_offset()
            assert again.cells.next_due() == work.cells.next_due()
    parts = [value for key, value in log if key.startswith(PART.encode()) and value is not None]
    wholes = [value for key, value in log if not key.startswith(b"\x00") and value is not None]
    assert len(parts) > 5
    assert max(map(len, parts)) * 4 < min(map(len, wholes))


def test_a_snapshot_of_the_cells_is_the_same_state() -> None:
    keys, batches = story()
    work = partition()
    for batch in batches:
        work.batch(batch)
        image = work.image()
        assert image is not None
        again = partition((key.encode(), cell) for key, cell in image.cells.items())
        assert states(again, keys) == states(work, keys)
        adopted = Partition(FOLD, REFERENCE, 0)
        adopted.adopt(image)
        adopted.restored()
        assert states(adopted, keys) == states(work, keys)


def test_a_crash_after_any_state_record_loses_nothing() -> None:
    keys, batches = story()
    whole = partition()
    for batch in batches:
        whole.batch(batch)
    wanted = runs(whole, keys)
    log: Log = []
    for n, batch in enumerate(batches):
        puts = written(partition(log), batch)
        for kept in range(len(puts)):                    # only the first `kept` records of this batch became durable; it comes again
            again = partition([*log, *puts[:kept]])
            again.batch(batch)
            if kept % 3 == 0:
                for later in batches[n + 1 :]:
                    again.batch(later)
                assert runs(again, keys) == wanted
        log += puts


def test_a_key_stepped_several_times_in_a_batch_leaves_its_whole_before_its_part() -> None:
    """After a restart inputs are stepped one by one, so parts and wholes of a key alternate within one publication; a crash may cut it anywhere."""
    keys, batches = story()
    told, log = partition(), Log()
    for batch in batches[: len(batches) // 2]:
        log += written(told, batch)
    before = states(partition(log), keys)
    rest = [record for batch in batches[len(batches) // 2 :] for record in batch]
    parts = 0
    for size in (2, 3, 5, 8, 13, 40):
        owner, known = partition(log, below=10**9), list(log)
        for first in range(0, len(rest), size):
            puts = written(owner, rest[first : first + size])
            parts += any(key.startswith(PART.encode()) for key, _ in puts)
            for kept in range(len(puts) + 1):
                again = partition([*known, *puts[:kept]])
                assert again.highest_offset() >= partition(known).highest_offset()
            known += puts
        assert states(partition(known), keys) == states(owner, keys) != before
    assert parts > 20


def test_a_whole_takes_its_part_with_it_and_an_older_part_beside_it_is_taken_back() -> None:
    _keys, batches = story()
    work, log = partition(), Log()
    for batch in batches:
        log += written(work, batch)
    part = next(n for n, (key, value) in enumerate(log) if key.startswith(PART.encode()) and value is not None)
    name = log[part][0]
    gone = next(n for n, (key, value) in enumerate(log) if n > part and key == name and value is None)
    assert any(key == name[len(PART) :] for key, _ in log[part:gone]), "a part goes when its whole is written anew, not before"
    without = [pair for n, pair in enumerate(log[:gone + 1]) if n != gone]       # a crash before the tombstone
    again = partition(without)
    assert name.decode() not in list(again.cells)
    assert (name, None) in written(again, batches[-1])


def test_a_part_without_its_whole_is_no_state() -> None:
    keys, batches = story()
    work, log = partition(), Log()
    for batch in batches[:4]:
        log += written(work, batch)
    again = partition((key, value) for key, value in log if key.startswith(PART.encode()))
    assert not states(again, keys)


def test_a_part_of_another_whole_stops_the_worker() -> None:
    _keys, batches = story(10.0)
    work, log = partition(), Log()
    for batch in batches[:3]:
        log += written(work, batch)
    last = dict(log)
    name = next(key for key, value in reversed(log) if key.startswith(PART.encode()) and value is not None and last[key] is not None)
    whole = name[len(PART) :]
    header, data = unpack(last[whole] or b"")
    with pytest.raises(BadState, match="belongs to another state"):
        partition([(whole, pack(Header(header.offset - 1, 1), data + b"x")), (name, last[name])])
    found, left = joined({whole.decode(): (header, data), name.decode(): unpack(last[name] or b"")})
    assert found[whole.decode()][2] is not None
    assert not left


def test_a_key_that_retires_leaves_neither_record() -> None:
    _keys, batches = story(10.0)
    work, log = partition(), Log()
    for batch in batches:
        log += written(work, batch)
    assert any(key.startswith(PART) for key in work.cells)
    due = REFERENCE.limits.binding_retire_days * 24 * 60 * MINUTE
    left = iter(range(50))
    log += [pair for effect in work.tick(work.now + 2 * due, lambda: next(left, None) is not None) if isinstance(effect, PutState) for pair in effect.records]
    assert all(value is None for key, value in dict(log).items() if not key.startswith(b"\x00epoch"))


def test_an_object_that_fell_out_of_the_cache_is_read_from_both_records() -> None:
    keys, batches = story(10.0)
    work = partition()
    for batch in batches[:4]:
        work.batch(batch)
    key = next(k for k in keys if work.cells.patch(k) is not None)
    state = work.state(key)
    assert state is not None
    step = FOLD.step(state, key, (), World(REFERENCE), work.now)
    assert step.state is not None
    assert not step.outputs, "a state that lost its part would say things again"
    assert FOLD.encode_state(step.state) == states(work, [key])[key]
