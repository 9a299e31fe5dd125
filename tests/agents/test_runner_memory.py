"""A fold on the in-memory twin: fates, order, crashes between any two effects, ticks, broadcasts, limits."""
from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from agents.runner.broadcasts import EPOCH_KEY
from agents.runner.cells import Header, pack, unpack
from agents.runner.clock import Clock
from agents.runner.draft import DEAD_LETTERS
from agents.runner.limits import Limits
from agents.runner.memory import Harness, SimulatedLog, Stateless
from agents.runner.partition import Partition
from agents.transport.batch import BATCH_RECORDS_MAX
from agents.transport.lane import BACKLOG_RECORDS_MAX
from streams.effects import Ack, Effect, LogRecord, Publish, PublishOutcomes, PutState, Send, plan
from streams.fold import EVERY_PARTITION
from tests.agents.runner_toy import NO_REFERENCE, SECOND, Add, Factor, Said, Sum, Summing
from topics import codec
from topics.codec import Refused
from topics.events.outputs import BatchOutcomes, DeadLetter

KEYS = [f"k{i}" for i in range(12)]


def harness(**options: Any) -> Harness:
    return Harness([Summing()], NO_REFERENCE, **options)


def said(h: Harness, topic: str = "toy.out") -> list[Said]:
    return [msgspec.json.decode(r.value or b"", type=Said) for r in h.topic(topic)]


def fates(log: SimulatedLog, stage: str, topic: str) -> dict[tuple[int, int], str]:
    """The reader's rule: the last record that covers an offset without calling it redelivered."""
    found: dict[tuple[int, int], str] = {}
    for partition in range(log.partitions(f"outcomes.{stage}")):
        for record in log.log(f"outcomes.{stage}", partition):
            batch = msgspec.json.decode(record.value or b"", type=BatchOutcomes)
            assert batch.topic == topic
            listed = {e.offset: e.fate for e in batch.exceptions}
            for offset in range(batch.first, batch.last + 1):
                if listed.get(offset) != "redelivered":
                    found[batch.partition, offset] = listed.get(offset, "applied")
    return found


def test_every_offset_has_a_fate_and_poison_does_not_stop_what_follows() -> None:
    class Deep(Summing):
        def decode(self, value: bytes) -> Any:
            return msgspec.json.decode(value) if value.startswith(b"[[") else super().decode(value)

    h = Harness([Deep()], NO_REFERENCE, partitions=1)
    h.publish("toy.in", "a", Add(id=1, n=5))
    h.publish("toy.in", "a", b"{not json", headers=(("ce_id", b"7"),))
    h.publish("toy.in", "a", Add(id=1, n=5))
    h.publish("toy.in", "a", Add(id=2, n=-1))
    h.publish("toy.in", b"\xff", Add(id=3))
    h.publish("toy.in", None, Add(id=3))
    h.publish("toy.in", "\x00epoch", Add(id=3))
    h.publish("toy.in", "a", None)
    h.publish("toy.in", "a", b"[" * 100_000)
    h.publish("toy.in", "b", Add(id=4, n=2))
    h.run()
    assert [fates(h.log, "toy", "toy.in")[0, o] for o in range(10)] == (
        ["applied", "refused", "duplicate"] + ["refused"] * 6 + ["applied"]
    )
    letters = [msgspec.json.decode(r.value or b"", type=DeadLetter) for r in h.topic(DEAD_LETTERS)]
    assert {x.offset: x.code for x in letters} == {
        1: "NOT_JSON", 3: "NEGATIVE", 4: "BAD_KEY", 5: "BAD_KEY", 6: "BAD_KEY", 7: "NO_VALUE", 8: "TOO_DEEP"
    }  # fmt: skip
    poison = next(x for x in letters if x.offset == 1)
    assert (poison.value, poison.headers, poison.topic, poison.key) == (b"{not json", (("ce_id", b"7"),), "toy.in", b"a")
    assert h.state("toy", "a") == Sum(total=5, ids=(1,), scaled=5, revision=h.now_us)
    assert [s.total for s in said(h)] == [5, 2]


def test_the_dead_letter_of_a_restricted_message_stays_where_dispatchers_do_not_read() -> None:
    h = harness()
    h.publish("toy.in", "a", b'{"type":"risk.indicator","id":"secret"}')
    h.publish("toy.in", "a", b"poison")
    h.run()
    assert [msgspec.json.decode(r.value or b"", type=DeadLetter).offset for r in h.topic("dead.letters.restricted")] == [0]
    assert [msgspec.json.decode(r.value or b"", type=DeadLetter).value for r in h.topic(DEAD_LETTERS)] == [b"poison"]


@pytest.mark.parametrize("seed", range(40))
def test_a_crash_between_any_two_effects_loses_nothing_and_no_revision_has_two_contents(seed: int) -> None:
    rng = random.Random(seed)
    chance = rng.choice([0.0, 0.05, 0.2])
    left = 60

    def crash(stage: str, effect: Effect) -> bool:
        nonlocal left
        left -= 1
        return left > 0 and rng.random() < chance

    h = harness(partitions=3, rng=rng, crash=crash, batch_max=7)
    totals: dict[str, int] = defaultdict(int)
    for number in range(300):
        key, n = rng.choice(KEYS), rng.randint(0, 9)
        if rng.random() < 0.05:
            h.publish("toy.in", key, b"poison")
        else:
            totals[key] += n
            h.publish("toy.in", key, Add(id=number, n=n))
        if rng.random() < 0.2:
            h.log.now_us += rng.randint(0, 3_000_000)
        if rng.random() < 0.1:
            h.run()
    h.run()
    assert chance == 0 or h.crashes > 0
    for key, total in totals.items():
        state = h.state("toy", key)
        assert isinstance(state, Sum)
        assert state.total == total, f"seed {seed}"
        newest = max((s for s in said(h) if s.key == key), key=lambda s: s.revision, default=Said(key=key, total=0, scaled=0, revision=0, why=""))
        assert newest.total == total, f"seed {seed}: the state holds what was never said"
    counted = fates(h.log, "toy", "toy.in")
    assert set(counted) == {(p, o) for p in range(3) for o in range(len(h.log.log("toy.in", p)))}
    assert sum(1 for fate in counted.values() if fate == "refused") == sum(1 for r in h.topic("toy.in") if r.value == b"poison")
    for partition in range(3):
        last: dict[str, int] = {}
        contents: dict[tuple[str, int], Said] = {}
        for record in h.log.log("toy.status", partition):
            status = msgspec.json.decode(record.value or b"", type=Said)
            assert status.revision > last.get(status.key, 0), f"seed {seed}: a revision repeats or falls"
            assert contents.setdefault((status.key, status.revision), status) == status
            last[status.key] = status.revision


def test_a_restored_stage_goes_on_where_the_log_stands() -> None:
    h = harness(partitions=2)
    for number in range(20):
        h.publish("toy.in", KEYS[number % 5], Add(id=number, n=1))
    h.run()
    h.restart("toy")
    for number in range(20, 40):
        h.publish("toy.in", KEYS[number % 5], Add(id=number, n=1))
    h.run()
    assert [h.state("toy", k).total for k in KEYS[:5]] == [8] * 5  # type: ignore[attr-defined]


def test_a_redelivered_event_is_skipped_and_named_so() -> None:
    h = harness(partitions=1)
    h.publish("toy.in", "a", Add(id=1, n=5))
    h.publish("toy.in", "all", Factor(name="f", version=1, by=1))
    h.run()
    h._lanes["toy"][0].committed = 0
    h.restart("toy")
    h.run()
    batches = [msgspec.json.decode(r.value or b"", type=BatchOutcomes) for r in h.topic("outcomes.toy")]
    assert [[e.fate for e in b.exceptions] for b in batches] == [[], ["redelivered", "redelivered"]]
    assert len(said(h)) == 1


def test_a_deadline_fires_once_at_its_time_and_not_before() -> None:
    h = harness(partitions=1)
    h.publish("toy.in", "a", Add(id=1, due_in_s=60))
    h.publish("toy.in", "b", Add(id=2, due_in_s=90))
    h.advance(59)
    assert [s.why for s in said(h)] == ["events", "events"]
    h.advance(2)
    assert [(s.key, s.why) for s in said(h)[2:]] == [("a", "alarm")]
    h.advance(3600)
    assert [(s.key, s.why) for s in said(h)[2:]] == [("a", "alarm"), ("b", "alarm")]


def test_due_times_survive_a_restart_without_decoding_any_state() -> None:
    h = harness(partitions=1)
    for number, key in enumerate(KEYS):
        h.publish("toy.in", key, Add(id=number, due_in_s=60 if key == "k3" else 0))
    h.run()
    h.restart("toy")
    h.advance(61)
    assert [(s.key, s.why) for s in said(h)[len(KEYS) :]] == [("k3", "alarm")]
    assert h.partition("toy", 0).counters.decoded <= 1


def test_a_due_time_in_the_past_does_not_spin() -> None:
    class Eager(Summing):
        def step(self, *args: Any) -> Any:
            return msgspec.structs.replace(super().step(*args), next_due=1)

    h = Harness([Eager()], NO_REFERENCE, partitions=1)
    h.publish("toy.in", "a", Add(id=1))
    h.run()
    h.advance(3)
    assert h.partition("toy", 0).counters.ticks == 3


def test_a_broadcast_reaches_every_key_once_and_an_older_one_none() -> None:
    h = harness(partitions=4)
    for number, key in enumerate(KEYS):
        h.publish("toy.in", key, Add(id=number, n=2))
    h.run()
    h.advance(1)
    h.publish("toy.in", "all", Factor(name="f", version=2, by=10), partition=EVERY_PARTITION)
    h.run()
    assert {s.key: (s.scaled, s.why) for s in said(h)[len(KEYS) :]} == dict.fromkeys(KEYS, (20, "broadcast"))
    count = len(said(h))
    h.publish("toy.in", "all", Factor(name="f", version=1, by=3), partition=EVERY_PARTITION)
    h.publish("toy.in", "all", Factor(name="f", version=2, by=10), partition=EVERY_PARTITION)
    h.run()
    assert len(said(h)) == count
    last = [fates(h.log, "toy", "toy.in")[p, len(h.log.log("toy.in", p)) - i] for p in range(4) for i in (2, 1)]
    assert last == ["superseded", "duplicate"] * 4
    h.publish("toy.in", "late", Add(id=99, n=1))
    h.run()
    assert said(h)[-1].scaled == 10


@pytest.mark.parametrize("seed", range(25))
def test_broadcasts_in_any_order_with_crashes_end_the_same(seed: int) -> None:
    rng = random.Random(seed)
    left = 40

    def crash(stage: str, effect: Effect) -> bool:
        nonlocal left
        left -= 1
        return left > 0 and rng.random() < 0.1

    h = harness(partitions=2, rng=rng, crash=crash, batch_max=5)
    work: list[tuple[str, msgspec.Struct, int | None]] = [(k, Add(id=i, n=i), None) for i, k in enumerate(KEYS * 3)]
    work += [("all", Factor(name=name, version=v, by=by), EVERY_PARTITION) for name, v, by in [("f", 1, 2), ("f", 2, 5), ("g", 1, 3), ("g", 2, 7)]]
    rng.shuffle(work)
    for key, value, partition in work:
        h.publish("toy.in", key, value, partition=partition)
        if rng.random() < 0.3:
            h.run()
    h.run()
    for index, key in enumerate(KEYS):
        total = sum(range(index, 36, 12))
        state = h.state("toy", key)
        assert isinstance(state, Sum)
        assert (state.total, state.scaled) == (total, total * 35), f"seed {seed}"


def test_a_sweep_is_taken_up_again_after_a_restart() -> None:
    h = harness(partitions=1)
    for number, key in enumerate(KEYS):
        h.publish("toy.in", key, Add(id=number, n=1))
    h.run()
    h.publish("toy.in", "all", Factor(name="f", version=1, by=4))
    lane = h._lanes["toy"][0]
    record = h.log.log("toy.in", 0)[-1]
    lane.position += 1
    h._carry_out("toy", lane, h.partition("toy", 0).batch([record]))
    left = iter([True, True, False])
    h._carry_out("toy", lane, h.partition("toy", 0).sweep(lambda: next(left)))
    assert [s.scaled for s in said(h)].count(4) == 2
    h.restart("toy")
    assert h.partition("toy", 0).sweeping == len(KEYS) - 2
    h.run()
    assert [s.scaled for s in said(h)].count(4) == len(KEYS)


def test_a_broadcast_is_forgotten_when_it_says_nothing_any_more() -> None:
    h = harness(partitions=1)
    h.publish("toy.in", "all", Factor(name="f", version=1, by=4, until=h.now_us + 60 * SECOND))
    h.run()
    assert list(h.partition("toy", 0).broadcasts.world) == ["f"]
    h.advance(61)
    assert h.partition("toy", 0).broadcasts.world == {}
    assert [k for k in h.table("toy.state") if k != EPOCH_KEY] == []


def test_another_rule_pack_has_every_key_assessed_again() -> None:
    h = harness(partitions=1, rule_pack="one")
    for number, key in enumerate(KEYS):
        h.publish("toy.in", key, Add(id=number))
    h.run()
    h.restart("toy")
    assert h.partition("toy", 0).sweeping == 0
    h.rule_pack = "two"
    h.restart("toy")
    assert h.partition("toy", 0).sweeping == len(KEYS)
    h.run()
    h.restart("toy")
    assert h.partition("toy", 0).sweeping == len(KEYS)  # what did not change was not written for its epoch alone: swept once more


def test_what_makes_a_state_too_large_is_parked_with_its_bytes_and_the_rest_of_the_batch_applies() -> None:
    h = harness(partitions=1, limits=Limits(state_bytes_max=2000))
    h.publish("toy.in", "a", Add(id=1, n=1))
    h.publish("toy.in", "a", Add(id=2, n=1, pad=5000))
    h.publish("toy.in", "a", Add(id=3, n=1))
    h.publish("toy.in", "b", Add(id=4, n=1, pad=1000))
    h.run()
    assert [fates(h.log, "toy", "toy.in")[0, o] for o in range(4)] == ["applied", "parked", "applied", "applied"]
    letter = msgspec.json.decode(h.topic(DEAD_LETTERS)[0].value or b"", type=DeadLetter)
    assert (letter.code, letter.offset) == ("STATE_TOO_LARGE", 1)
    state = h.state("toy", "a")
    assert isinstance(state, Sum)
    assert state.ids == (1, 3)


def test_the_outcomes_of_a_batch_of_nothing_but_poison_fit_into_a_record() -> None:
    class Verbose(Summing):
        def decode(self, value: bytes) -> Any:
            raise Refused("A_VERY_LONG_CODE_" * 20, "$.путь" * 100, "值" * 500)

    h = Harness([Verbose()], NO_REFERENCE, partitions=1, batch_max=BATCH_RECORDS_MAX)
    for _ in range(BATCH_RECORDS_MAX):
        h.publish("toy.in", "a", b"x")
    h.run()
    (record,) = h.topic("outcomes.toy")
    assert len(record.value or b"") < 1_000_000
    assert len(h.topic(DEAD_LETTERS)) == BATCH_RECORDS_MAX


def test_a_batch_with_more_exceptions_than_fit_into_a_record_gives_several_of_their_own_ranges() -> None:
    class Picky(Summing):
        def decode(self, value: bytes) -> Any:
            if value == b"x":
                raise Refused("BAD_VALUE")
            return super().decode(value)

    h = Harness([Picky()], NO_REFERENCE, partitions=1, batch_max=BACKLOG_RECORDS_MAX)
    for n in range(9_000):
        h.publish("toy.in", "a", Add(id=n) if n % 3 == 0 else b"x")
    h.run()
    said: list[BatchOutcomes] = [codec.decode(r.value or b"", BatchOutcomes) for r in h.topic("outcomes.toy")]
    assert [(s.first, s.last, s.count) for s in said] == [(0, 3_999, 4_000), (4_000, 7_999, 4_000), (8_000, 8_999, 1_000)]
    assert [e.offset for s in said for e in s.exceptions] == [n for n in range(9_000) if n % 3]
    assert all(s.first <= e.offset <= s.last for s in said for e in s.exceptions)
    assert [s.derived for s in said[:-1]] == [0, 0]


def test_an_output_too_large_is_parked_too() -> None:
    h = harness(partitions=1, limits=Limits(output_bytes_max=40))
    h.publish("toy.in", "a", Add(id=1))
    h.run()
    assert fates(h.log, "toy", "toy.in")[0, 0] == "parked"
    assert h.state("toy", "a") is None


def test_now_is_the_highest_append_time_never_falls_and_follows_the_clock_setting() -> None:
    h = Harness([Summing()], NO_REFERENCE, Clock(origin=1_000 * SECOND, speed=60), partitions=1, now_us=1_000 * SECOND)
    h.publish("toy.in", "a", Add(id=1))
    h.log.now_us += 10 * SECOND
    h.publish("toy.in", "a", Add(id=2))
    h.log.now_us -= 5 * SECOND
    h.publish("toy.in", "b", Add(id=3))
    h.run()
    assert [s.revision for s in said(h)] == [(1_000 + 600) * SECOND] * 2
    h.restart("toy")
    assert h.partition("toy", 0).now == 1_600 * SECOND


def test_after_until_the_clock_goes_on_at_speed_one() -> None:
    clock = Clock(origin=1_000_000, speed=100.0, base=5_000_000, until=3_000_000)
    assert clock.now(2_000_000) == 105_000_000
    assert clock.now(3_000_000) == 205_000_000
    assert clock.now(3_500_000) == 205_500_000
    assert [clock.append(clock.now(at)) for at in (2_000_000, 3_000_000, 3_500_000)] == [2_000_000, 3_000_000, 3_500_000]


def test_the_clock_maps_both_ways() -> None:
    for clock in (Clock(), Clock(origin=5_000_003, speed=600.0), Clock(origin=7, speed=0.3, base=1_700_000_000_000_000)):
        for now in range(clock.now(6_000_000), clock.now(6_000_000) + 3000, 7):
            at = clock.append(now)
            assert clock.now(at) >= now > clock.now(at - 1) or clock.speed < 1


def test_the_first_outputs_are_durable_before_the_others_and_state_comes_last() -> None:
    h = harness(partitions=1)
    h.publish("toy.in", "a", Add(id=1))
    kinds = [type(e).__name__ for e in h.partition("toy", 0).batch(h.log.log("toy.in", 0))]
    assert kinds == ["Publish", "Await", "Publish", "PublishOutcomes", "Await", "PutState", "Await", "Ack"]


def test_stages_feed_each_other_and_a_stateless_one_reads_several_topics() -> None:
    def intake(records: Any) -> Any:
        sends = [Send("toy.in", r.key, r.value) for r in records]
        return plan(outputs=sends, ack=Ack(records[0].topic, records[0].partition, records[-1].offset + 1))

    second = Summing("next", "toy.said")
    h = Harness([Stateless("intake", ("one", "two"), intake), Summing(), second], NO_REFERENCE)
    h.publish("one", "a", Add(id=1, n=3))
    h.publish("two", "a", Add(id=2, n=4))
    h.run()
    state = h.state("toy", "a")
    assert isinstance(state, Sum)
    assert state.total == 7


def test_a_header_reads_older_and_newer_records() -> None:
    header = Header(7, 3, 99, 2, 1000, 50)
    assert unpack(pack(header, b"data")) == (header, b"data")
    old = msgspec.msgpack.encode([7, 3])
    assert unpack(bytes((len(old),)) + old + b"x") == (Header(7, 3), b"x")
    new = msgspec.msgpack.encode([7, 3, None, 0, 0, 0, "later field"])
    assert unpack(bytes((len(new),)) + new + b"x") == (Header(7, 3), b"x")


def test_effects_are_what_a_crash_plan_can_choose_from() -> None:
    seen: list[str] = []

    def watch(stage: str, effect: Effect) -> bool:
        seen.append(type(effect).__name__)
        return isinstance(effect, PutState) and seen.count("PutState") == 1

    h = harness(partitions=1, crash=watch)
    h.publish("toy.in", "a", Add(id=1, n=2))
    h.run()
    assert h.crashes == 1
    assert (seen.count("Publish"), seen.count("PublishOutcomes"), seen.count("PutState")) == (4, 2, 2)
    assert len(said(h)) == 2
    assert len({s.revision for s in said(h)}) == 2
    assert (Publish.__name__, PublishOutcomes.__name__) == ("Publish", "PublishOutcomes")


def _states(effects: Sequence[Effect]) -> dict[bytes, bytes | None]:
    return {key: value for effect in effects if isinstance(effect, PutState) for key, value in effect.records}


def _added(key: str, offset: int) -> LogRecord:
    return LogRecord("toy.in", 0, offset, 1_700_000_000_000 + offset, key.encode(), codec.encode(Add(id=offset)))


def test_a_state_that_a_former_owner_overtook_in_the_log_is_written_again_so_that_compaction_keeps_it() -> None:
    owner: Partition[Sum, Add | Factor] = Partition(Summing(), NO_REFERENCE, 0)
    owner.restored()
    older = _states(owner.batch([_added("k", 0)]))[b"k"]
    newer = _states(owner.batch([_added("k", 1)]))[b"k"]
    late: Partition[Sum, Add | Factor] = Partition(Summing(), NO_REFERENCE, 0)
    for value in (newer, older):  # as the log has them: the former owner's record came last
        late.restore(b"k", value)
    late.restored()
    assert _states(late.batch([_added("other", 2)]))[b"k"] == newer
    assert b"k" not in _states(late.batch([_added("other", 3)])), "once is enough"
    calm: Partition[Sum, Add | Factor] = Partition(Summing(), NO_REFERENCE, 0)
    for value in (older, newer):
        calm.restore(b"k", value)
    calm.restored()
    assert b"k" not in _states(calm.batch([_added("other", 2)]))
