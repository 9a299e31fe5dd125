"""Acts on brokers: what they do to one broker comes one after another, to several at the same time."""
from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from tests.chaos.carry import Run
from tests.chaos.plan import Act, Scenario


class Broker:
    """It is up a moment after its start; killed before, its start fails as a real one's does. `after`: it is up only when that one has been killed."""

    def __init__(self, after: Broker | None = None) -> None:
        self.starts = self.kills = 0
        self.killed = threading.Event()
        self.after = after

    def kill(self) -> None:
        self.kills += 1
        self.killed.set()

    def start(self) -> None:
        self.starts += 1

    def wait(self) -> None:
        before = self.kills
        if self.after is None:
            time.sleep(0.3)
        elif not self.after.killed.wait(20):
            raise TimeoutError("the other broker was left alone for so long")
        if self.kills != before:
            raise RuntimeError("ended while starting")


class Brokers:
    """As much of a site as an act on brokers needs."""

    def __init__(self, *brokers: Broker) -> None:
        self.brokers = brokers
        self.quorum = self

    def broker(self, node: int) -> Broker:
        return self.brokers[node - 1]

    def node(self, whom: str) -> int:
        return int(whom.removeprefix("broker:"))

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


def test_acts_on_two_brokers_overlap() -> None:
    two = Broker()
    one = Broker(after=two)
    carry_out(Brokers(one, two), Act(0, "kill", "broker:1"), Act(0.1, "kill", "broker:2"))
    assert (one.starts, two.starts) == (1, 1)
