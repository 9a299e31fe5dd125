"""What an owner said before it ended, and of which it wrote no state, is said again and taken back when it no longer holds."""
from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.structs import TopicPartition

from agents.runner.cells import BadState, Header, pack
from agents.runner.partition import LOST_RECORDS_MAX, Partition
from agents.transport import restore as restore_module
from agents.transport.keeper import Keeper
from agents.transport.lane import BACKLOG_RECORDS_MAX, Lane
from streams.effects import Ack, Effect, LogRecord, Publish, PutState
from streams.fold import Emit, Fold, Step, World
from tests.agents.runner_toy import NO_REFERENCE
from topics import codec

KEY = "k"


class Only(msgspec.Struct, frozen=True, tag="only", tag_field="type"):
    """From now on these names hold, and no others."""

    names: tuple[str, ...]


class Word(msgspec.Struct, frozen=True):
    holds: bool


class Held(msgspec.Struct, frozen=True):
    names: tuple[str, ...] = ()


class Telling(Fold[Held, Only]):
    """Says which names hold, each when it begins and when it ends."""

    name, input_topic, state_topic = "tell", "tell.in", "tell.state"
    broadcasts = ()

    def __init__(self) -> None:
        self.steps: list[int] = []

    def decode(self, value: bytes) -> Only:
        return codec.decode(value, Only)

    def encode_state(self, state: Held) -> bytes:
        return msgspec.msgpack.encode(state)

    def decode_state(self, data: bytes) -> Held:
        return msgspec.msgpack.decode(data, type=Held)

    def step(self, state: Held | None, key: str, events: Sequence[Only], world: World, now: int) -> Step[Held]:
        self.steps.append(len(events))
        before, after = set(state.names if state else ()), set(events[-1].names)
        words = [Emit("tell.out", f"{key}/{name}", Word(holds=name in after)) for name in sorted(before ^ after)]
        return Step(Held(tuple(sorted(after))), tuple(words))


def records(*said: tuple[str, ...], first: int = 0) -> list[LogRecord]:
    return [LogRecord("tell.in", 0, first + n, 1_772_409_600_000, KEY.encode(), codec.encode(Only(names))) for n, names in enumerate(said)]


class Heard:
    """What a reader of the outputs ends with."""

    def __init__(self) -> None:
        self.last: dict[str, bool] = {}

    def take(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Publish):
                for send in effect.sends:
                    self.last[(send.key or b"").decode()] = msgspec.json.decode(send.value or b"", type=Word).holds

    @property
    def holds(self) -> list[str]:
        return sorted(name for name, holds in self.last.items() if holds)


def owner(fold: Telling, below: int, states: Sequence[Effect] = ()) -> Partition[Any, Any]:
    made: Partition[Any, Any] = Partition(fold, NO_REFERENCE, 0)
    for effect in states:
        if isinstance(effect, PutState):
            for key, value in effect.records:
                made.restore(key, value)
    made.restored(below)
    return made


@pytest.mark.parametrize(("below", "ends"), [(2, ["k/b"]), (0, ["k/a", "k/b"])])
def test_what_a_lost_batch_has_said_is_taken_back_although_the_next_one_is_cut_otherwise(below: int, ends: list[str]) -> None:
    """Without stepping one by one (`below` = 0) nobody would ever take `a` back."""
    heard = Heard()
    heard.take(owner(Telling(), 0).batch(records(("a",))))            # its state is lost
    heard.take(owner(Telling(), below).batch(records(("a",), ("b",))))
    assert heard.holds == ends


def test_only_what_may_have_been_worked_on_is_stepped_one_by_one() -> None:
    fold = Telling()
    again = owner(fold, 3)
    again.batch(records(("a",), ("b",), ("c",), ("d",), ("e",)))
    again.batch(records(("f",), ("g",), first=5))
    assert fold.steps == [1, 1, 1, 2, 2]


def test_no_batch_is_larger_than_what_is_stepped_one_by_one() -> None:
    assert LOST_RECORDS_MAX >= BACKLOG_RECORDS_MAX
    fold = Telling()
    again = owner(fold, 10**9)
    again.batch(records(("a",), ("b",), first=100))
    far = 100 + LOST_RECORDS_MAX
    again.batch(records(("c",), ("d",), ("e",), first=far - 1))
    again.batch(records(("f",), ("g",), first=far + 5))
    assert fold.steps == [1, 1, 1, 2, 2]


def test_the_lost_batch_is_looked_for_behind_what_the_state_has_applied_not_behind_what_is_committed() -> None:
    """A commit may be far behind: what it lacks and the state has was written, and the batch that was lost comes after it."""
    fold = Telling()
    before = owner(fold, 0)
    states = before.batch(records(("a",), first=LOST_RECORDS_MAX + 50))
    fold.steps.clear()
    again = owner(fold, 10**9, states)
    again.batch(records(("z",), first=100))                           # known: the state has more
    again.batch(records(("b",), ("c",), first=LOST_RECORDS_MAX + 200))
    again.batch(records(("d",), ("e",), first=2 * LOST_RECORDS_MAX + 60))
    assert fold.steps == [1, 1, 2]


def test_a_state_that_cannot_be_read_ends_the_process_for_good_and_says_which() -> None:
    fold = Telling()
    again = owner(fold, 0, [PutState("tell.state", 0, ((KEY.encode(), pack(Header(offset=3, seq=1), b"\x01\xff?")),))])
    with pytest.raises(BadState, match=r"state of 'k' in tell\.state/0 cannot be read by this version"):
        again.batch(records(("a",), first=7))


def test_what_is_in_the_state_already_is_skipped_as_ever() -> None:
    fold = Telling()
    effects = owner(fold, 0).batch(records(("a",), ("b",)))
    heard = Heard()
    heard.take(effects)
    heard.take(owner(fold, 3, effects).batch(records(("a",), ("b",), ("c",))))
    assert (fold.steps, heard.holds) == ([2, 1], ["k/c"])


class Waiting(Telling):
    """Says that a key is late an hour after its last word, until the next one."""

    def step(self, state: Held | None, key: str, events: Sequence[Only], world: World, now: int) -> Step[Held]:
        self.steps.append(len(events))
        late, was = not events, "late" in (state.names if state else ())
        words = [Emit("tell.out", key, Word(holds=late))] if late is not was else []
        return Step(Held(("late",) if late else ()), tuple(words), next_due=None if late else now + HOUR)


HOUR = 3_600_000_000


def at(hours: float, *said: tuple[str, ...], first: int) -> list[LogRecord]:
    return [msgspec.structs.replace(r, timestamp=r.timestamp + int(hours * 3_600_000)) for r in records(*said, first=first)]


@pytest.mark.parametrize(("hours", "below", "ends", "steps"), [
    (2.0, 1, [], [1, 0, 0, 1]),                # its time came before the next word: late is said and taken back
    (0.5, 1, ["k"], [1, 0, 1]),                # it had not come when the next word did: the clock was wrong then, and nothing is to be made up for
    (2.0, 0, ["k"], [1, 0, 1]),                # nobody may have spoken
])
def test_what_a_lost_tick_has_said_is_taken_back_although_the_next_word_comes_first(hours: float, below: int, ends: list[str], steps: list[int]) -> None:
    heard, fold = Heard(), Waiting()
    before = owner(fold, 0)
    effects = before.batch(records(("a",)))
    heard.take(before.tick(before.now + HOUR, lambda: True))           # its state is lost
    heard.take(owner(fold, below, effects).batch(at(hours, ("b",), first=1)))
    assert (heard.holds, fold.steps) == (ends, steps)


def test_the_clock_is_made_up_for_between_what_was_there_and_what_is_new_and_only_once() -> None:
    heard, fold = Heard(), Waiting()
    again = owner(fold, 2, owner(fold, 0).batch(records(("a",))))
    fold.steps.clear()
    effects = again.batch([*at(0.5, ("b",), first=1), *at(2.0, ("c",), ("d",), first=2)])
    heard.take(effects)
    assert (heard.holds, fold.steps) == ([], [1, 0, 2])
    assert [e.next for e in effects if isinstance(e, Ack)] == [2, 4]
    again.batch(at(9.0, ("e",), first=4))
    assert fold.steps == [1, 0, 2, 1], "from here on the clock is heard in its own time"


def test_what_a_lost_tick_has_said_between_two_words_that_were_there_is_taken_back() -> None:
    """The former owner heard the clock, and of the word that lay behind it in the topic nothing any more (seed 1109)."""
    heard, fold = Heard(), Waiting()
    before = owner(fold, 0)
    states = before.batch(records(("a",)))
    heard.take(before.tick(before.now + HOUR, lambda: True))           # its state is lost
    fold.steps.clear()
    again = owner(fold, 3, states)
    effects = again.batch([*at(1.4, ("b",), first=1), *at(1.5, ("c",), first=2)])
    heard.take(effects)
    assert (heard.holds, fold.steps) == ([], [0, 1, 1])
    assert [e.next for e in effects if isinstance(e, Ack)] == [3], "one batch is one publication"
    heard.take(again.batch(at(9.0, ("d",), first=3)))
    assert (heard.holds, fold.steps) == ([], [0, 1, 1, 0, 1])


def test_a_tick_where_the_inputs_are_does_not_end_the_making_up() -> None:
    heard, fold = Heard(), Waiting()
    before = owner(fold, 0)
    states = before.batch(records(("a",)))
    heard.take(before.tick(before.now + HOUR, lambda: True))
    again = owner(fold, 2, states)
    again.tick(again.now, lambda: True)
    heard.take(again.batch(at(1.5, ("b",), first=1)))
    assert heard.holds == []


def test_no_more_is_made_up_than_can_have_been_read() -> None:
    fold = Waiting()
    again = owner(fold, 10**9, owner(fold, 0).batch(records(("a",))))
    fold.steps.clear()
    again.batch(at(0.1, ("b",), first=5))
    far = 5 + LOST_RECORDS_MAX
    again.batch([*at(2.0, ("c",), first=far), *at(4.0, ("d",), ("e",), first=far + 1)])
    assert fold.steps == [1, 0, 3], "before the first that nobody has read, and not after it"


def test_a_tick_of_its_own_ends_the_making_up() -> None:
    fold = Waiting()
    again = owner(fold, 1, owner(fold, 0).batch(records(("a",))))
    again.tick(again.now + 1, lambda: True)
    fold.steps.clear()
    again.batch(at(2.0, ("b",), first=1))
    assert fold.steps == [1]


@pytest.mark.parametrize(("exactly_once", "below"), [(False, 77), (True, 0)])
async def test_a_restore_tells_how_far_the_input_reached_when_the_former_owner_was_shut_out(
    monkeypatch: pytest.MonkeyPatch, exactly_once: bool, below: int,
) -> None:
    """Of an unfinished transaction nothing was heard."""
    here, told = TopicPartition("tell.in", 0), list[int]()

    class Consumer:
        def __init__(self, **_: Any) -> None:
            self._fetcher = SimpleNamespace(_records={}, _proc_fetch_request=None)

        async def start(self) -> None: ...
        async def stop(self) -> None: ...
        async def beginning_offsets(self, topics: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
            return dict.fromkeys(topics, 0)

        async def end_offsets(self, topics: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
            return {tp: 77 if tp == here else 0 for tp in topics}

        async def position(self, _: TopicPartition) -> int:
            return 0

        def assign(self, _: Any) -> None: ...
        def seek(self, *_: Any) -> None: ...

    monkeypatch.setattr(restore_module, "AIOKafkaConsumer", Consumer)
    flow: Any = SimpleNamespace(name="tell", state_topic="tell.state", revision_topics=("tell.status",), exactly_once=exactly_once)
    work: Any = SimpleNamespace(restored=told.append)
    lane = Lane(here, 1, None)
    await restore_module.restore({}, flow, lane, work, Keeper("g"))
    assert told == [below]
    assert "tell.in" not in lane.sure, "only what is ours"
