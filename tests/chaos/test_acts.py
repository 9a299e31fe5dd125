"""Acts on brokers come one after another, each when all brokers are back; what one act does to several is done to them at the same time."""
from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from agents.embedded.processes import EmbeddedError
from tests.chaos.carry import Run
from tests.chaos.plan import Act, Scenario


class Broker:
    """It is up a moment after its start; killed before, its start fails as a real one's does."""

    def __init__(self) -> None:
        self.starts = self.kills = 0
        self.up = True

    def kill(self) -> None:
        self.kills += 1
        self.up = False

    def start(self) -> None:
        self.starts += 1

    def wait(self) -> None:
        before = self.kills
        time.sleep(0.3)
        if self.kills != before:
            raise RuntimeError("ended while starting")
        self.up = True


class Brokers:
    """As much of a site as an act on brokers needs."""

    def __init__(self, *brokers: Broker) -> None:
        self.brokers = brokers
        self.quorum = self
        self.together: list[int] = []
        """How many were up when an act looked whom it means."""
        self.synced = 0

    def broker(self, node: int) -> Broker:
        return self.brokers[node - 1]

    def node(self, whom: str) -> int:
        self.together.append(sum(b.up for b in self.brokers))
        return int(whom.removeprefix("broker:"))

    def wait_whole(self) -> None:
        """All are in sync a moment after they are up."""
        time.sleep(0.1)
        assert all(b.up for b in self.brokers)
        self.synced += 1

    def start_broker(self, broker: Broker) -> None:
        broker.start()


def carry_out(brokers: Any, *acts: Act) -> None:
    async def all_at_once() -> None:
        run = Run(Scenario(name="n", acts=acts, should_s=1), lambda _: None, None, brokers)
        begun = time.monotonic()
        await asyncio.gather(*(run._act(act, begun) for act in acts))

    asyncio.run(all_at_once())


def test_a_broker_that_starts_again_is_not_killed_by_the_next_act_before_it_is_up() -> None:
    one = Broker()
    carry_out(Brokers(one), Act(0, "kill", "broker:1"), Act(0.1, "kill", "broker:1"))
    assert (one.kills, one.starts) == (2, 2)


def test_a_broker_is_left_alone_until_the_one_before_it_is_back_and_in_sync() -> None:
    brokers = Brokers(Broker(), Broker())
    carry_out(brokers, Act(0, "kill", "broker:1"), Act(0.1, "kill", "broker:2"))
    assert [b.starts for b in brokers.brokers] == [1, 1]
    assert (brokers.together, brokers.synced) == ([2, 2], 2)


def test_one_act_on_two_brokers_takes_both_away_at_once() -> None:
    downs: list[int] = []

    class Counting(Brokers):
        def start_broker(self, broker: Broker) -> None:
            downs.append(sum(not b.up for b in self.brokers))
            super().start_broker(broker)

    brokers = Counting(Broker(), Broker(), Broker())
    carry_out(brokers, Act(0, "kill", "two brokers"), Act(0.1, "kill", "broker:1"))
    assert downs == [2, 2, 1]
    assert brokers.together == [3]


def test_when_one_act_fails_those_that_wait_for_their_broker_are_not_begun() -> None:
    class NeverWhole(Brokers):
        closed = False

        def wait_whole(self) -> None:
            raise EmbeddedError("not in sync")

        def supervise(self) -> None: ...

    class Load:
        async def run(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    brokers: Any = NeverWhole(Broker(), Broker())
    acts = (Act(0, "kill", "broker:1"), Act(0.1, "kill", "broker:2"), Act(30, "kill", "broker:2"))
    run = Run(Scenario(name="n", acts=acts, should_s=1, seconds=30), lambda _: None, None, brokers)
    load: Any = Load()
    begun = time.monotonic()
    with pytest.raises(EmbeddedError):
        asyncio.run(run._play(load))
    assert time.monotonic() - begun < 15
    assert [b.kills for b in brokers.brokers] == [1, 0]


class Process:
    """Dies when it is killed, or has ended by itself just before."""

    def __init__(self, code: int) -> None:
        self.code = code

    def wait(self) -> int:
        return self.code


class Place:
    """A worker's place: the first one is down when it is to be killed, the second ends by itself, the third dies of the kill."""

    name = "worker-0"

    def __init__(self) -> None:
        self.looks = self.kills = 0
        self.codes = [70, -9]

    @property
    def running(self) -> bool:
        self.looks += 1
        return self.looks > 3

    @property
    def process(self) -> Process:
        return Process(self.codes[self.kills - 1 if self.kills else 0])

    def signal(self, number: int) -> None:
        self.kills += 1


class Workers:
    def __init__(self, died: int) -> None:
        self.workers, self.ended = [Place()], list[int]()
        self.exits = {"-9": died}


def killed(died: int) -> Run:
    act = Act(0, "kill", "worker:0")
    workers: Any = Workers(died)
    run = Run(Scenario(name="n", acts=(act,), should_s=1), lambda _: None, None, workers)
    asyncio.run(run._act(act, time.monotonic()))
    run._killed()
    return run


def test_a_kill_waits_for_a_worker_that_is_down_and_counts_when_one_has_died_of_it() -> None:
    run = killed(1)
    assert (run.kills, len(run.instants), len(run.cuts), run.faults) == (1, 1, 1, [])
    assert killed(0).faults == ["1 workers were killed here, 0 have died of it"]


def test_a_part_that_has_passed_to_another_broker_meanwhile_is_looked_up_again() -> None:
    one, two = Broker(), Broker()

    class Passing(Brokers):
        """The first act makes broker 2 the leader."""

        def node(self, whom: str) -> int:
            return 2 if whom == "coordinator" and one.kills else 1

    carry_out(Passing(one, two), Act(0, "kill", "broker:1"), Act(0.1, "kill", "coordinator"))
    assert (one.kills, two.kills) == (1, 1)
