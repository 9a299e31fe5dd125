"""The watch: it runs from the first record that is appended until the last is committed, and tells slow from stuck."""
from __future__ import annotations

import argparse
import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic, OffsetSpec

from agents.embedded.kafka import Broker
from tests.bench import on_kafka, stopwatch
from tests.bench.on_kafka import Filler, Input, split
from tests.bench.stopwatch import Looks, NoProgress, found_waiting, given

Committed = Callable[[], int]


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stopwatch, "time", made)
    monkeypatch.setattr(stopwatch, "cpu_seconds", lambda _: made.now / 2)
    return made


def looking(monkeypatch: pytest.MonkeyPatch, committed: Committed, code: int | None = None) -> Looks:
    monkeypatch.setattr(stopwatch, "committed", lambda *_: committed())
    child: Any = argparse.Namespace(poll=lambda: code, returncode=code, pid=1)
    admin: Any = None
    return Looks(child, io.StringIO("out of memory"), admin, "the group", [])


def test_the_watch_begins_with_the_first_record_that_is_given_and_leaves_nothing_out(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []

    def committed() -> int:
        if not begun:
            return 100 if clock.now >= 1_030 else 0                     # half a minute to start
        return 100 + min(1_000, int(clock.now - begun[0]) * 100)

    def give() -> int:
        begun.append(clock.now)
        clock.sleep(2.0)
        return 1_000

    found = given(looking(monkeypatch, committed), 100, give, 60.0)
    assert found.events == 1_000
    assert 10.0 <= found.seconds < 10.2
    assert found.cpu_s == pytest.approx(found.seconds / 2, abs=0.1)


def test_nothing_is_given_before_everything_that_waited_is_committed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    looks = looking(monkeypatch, lambda: int(clock.now - 1_000) * 10)

    def give() -> int:
        seen.append(looks.done)
        return 50

    given(looks, 100, give, 60.0)
    assert seen == [100]


def test_a_slow_program_is_measured_over_what_it_did_within_the_limit(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(looking(monkeypatch, lambda: int(clock.now - 1_000)), 1, lambda: 1_000, 50.0)
    assert found.per_second == pytest.approx(1.0, abs=0.05)
    assert found.seconds == pytest.approx(50.0, abs=1.0)


@pytest.mark.parametrize("stands_at", [1, 100, 150])
def test_a_program_that_stands_still_has_no_rate(clock: Clock, monkeypatch: pytest.MonkeyPatch, stands_at: int) -> None:
    looks = looking(monkeypatch, lambda: min(stands_at, int(clock.now - 1_000) * 10))
    with pytest.raises(NoProgress, match=f"stands still: {stands_at} records committed and none more in 20 s"):
        given(looks, 100, lambda: 900, 600.0)
    assert clock.now < 1_060


def test_a_start_with_a_backlog_may_not_stand_still_either(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = looking(monkeypatch, lambda: 70 if clock.now > 1_005 else 0)
    with pytest.raises(NoProgress, match="stands still"):
        found_waiting(looks, 0, 1_000, 120.0)


def test_a_pause_that_is_shorter_is_slowness(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = looking(monkeypatch, lambda: 100 + 100 * (clock.now >= 1_015) + 800 * (clock.now >= 1_030))
    assert given(looks, 100, lambda: 900, 120.0).seconds == pytest.approx(30.0, abs=0.2)


def test_the_time_that_giving_takes_is_no_standing_still(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []

    def give() -> int:
        clock.sleep(25.0)
        begun.append(clock.now)
        return 100

    looks = looking(monkeypatch, lambda: 100 * (clock.now > 1_001) + 100 * bool(begun and clock.now > begun[0] + 0.5))
    assert given(looks, 100, give, 120.0).events == 100


def test_a_program_that_never_commits_or_ends_is_told_apart(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoProgress, match="committed nothing in 120 s"):
        given(looking(monkeypatch, lambda: 0), 100, lambda: 900, 120.0)
    with pytest.raises(NoProgress, match="the group ended with 137: out of memory"):
        given(looking(monkeypatch, lambda: 0, 137), 100, lambda: 900, 120.0)


def test_a_backlog_is_watched_from_the_first_commit(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_waiting(looking(monkeypatch, lambda: 500 + max(0, int(clock.now - 1_030)) * 100), 500, 1_000, 120.0)
    assert (found.events, round(found.seconds)) == (900, 9)


def test_few_records_wait_and_the_rest_is_given_in_the_same_order() -> None:
    assert [len(part) for part in split(range(200_000))] == [on_kafka.FIRST, 200_000 - on_kafka.FIRST]
    assert [len(part) for part in split(range(100))] == [10, 90]
    first, rest = split(list(range(7)))
    assert [*first, *rest] == list(range(7))
    assert len(first) == 1


def test_processor_time_is_that_of_a_process_and_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]) as child:
        try:
            assert stopwatch.cpu_seconds(child.pid) >= 0
            assert stopwatch.family(child.pid) == [child.pid]
        finally:
            child.kill()


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with on_kafka.broker() as made:
        yield made


@pytest.mark.integration
def test_records_that_were_made_ready_are_appended_once_each_and_not_before(broker: Broker) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap, bootstrap_timeout_ms=20_000)
    try:
        admin.create_topics([NewTopic("made.ready", 4, 1)], wait_for_metadata=True)
        parts = [TopicPartition("made.ready", n) for n in range(4)]

        def held() -> int:
            return sum(found.offset for found in admin.list_partition_offsets(dict.fromkeys(parts, OffsetSpec.LATEST)).values())

        rows = [(f"k{n}".encode(), b"v" * 300) for n in range(20_000)]
        with Filler(broker.bootstrap, Input({"made.ready": rows}, 17), lambda _: 4) as filler:
            time.sleep(0.2)
            assert held() == 0
            assert filler.give() == 17
            assert held() == 20_000
    finally:
        admin.close()
