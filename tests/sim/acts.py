"""What operators do in a run: acts in their own topic, as `railclear retract`, `pause`, `resume` and `drain` send them. Intake takes and routes them, and the
workers let records wait (tests/sim/cluster/follower.py). Every act is undone before the end: what must come out is
what comes out without any.

Not simulated: what a retraction sends again from the ledger (a lifted mask brings back all that the folds kept, so nothing is lost without it), and the
reopening of a retired shipment (no run is long enough for one to retire).
"""
from __future__ import annotations

import random
from typing import Any

import msgspec

from streams.effects import Send
from streams.kept import instant
from tests.sim.cluster.broker import Log
from tests.sim.inputs import START, World
from tests.sim.worlds import topics
from topics.codec import encode
from topics.events.operations import FeedPaused, FeedRetracted, InputDrained, OperatorAct

DESK = next(party for party in topics().parties.values() if party.role == "operations")
AHEAD = 120_000_000
"""So far beyond the present a retraction may reach: it masks what its feed goes on to say."""
DRAINS = 0.25
"""Of the acts that let records wait."""


class Desk:
    """The operators. An act's name is its kind and its subject; there is at most one of a name at a time."""

    def __init__(self, log: Log, world: World) -> None:
        self.log = log
        self.feeds = sorted({topics().topics[said.topic].party for said in world.said})
        self.open: dict[str, OperatorAct] = {}
        self._said = 0

    def retract(self, rng: random.Random) -> str:
        """What a feed has said counts as absent for a while, and often what it goes on to say: every shipment must be looked at, and again when the mask is
        lifted. Returns the act's name."""
        feed, now = rng.choice(self.feeds), self.log.now
        since = START if rng.random() < 0.5 else rng.randint(START, now)
        until = now + AHEAD if rng.random() < 0.7 else rng.randint(since, now)
        number = f"SIM-{self._said:04}"
        return self._begin(f"retract {number}", FeedRetracted(feed=feed, since=instant(since), until=instant(until), record=number, **self._how()))

    def wait(self, rng: random.Random) -> str:
        """Records of a feed, or of everybody, wait in their topics. Returns the act's name; empty: they do already."""
        drains, feed = rng.random() < DRAINS, rng.choice(self.feeds)
        if ("drain" if drains else f"pause {feed}") in self.open:
            return ""
        return self.drain() if drains else self.pause(feed)

    def pause(self, feed: str) -> str:
        """Records of a feed wait."""
        return self._begin(f"pause {feed}", FeedPaused(feed=feed, **self._how()))

    def drain(self) -> str:
        """Records of everybody wait."""
        return self._begin("drain", InputDrained(**self._how()))

    def undo(self, name: str) -> None:
        """The act that takes it back."""
        act = self.open.pop(name)
        if isinstance(act, FeedRetracted):
            back: dict[str, Any] = {"undone": True, "version": act.version + 1}
        else:
            back = {"paused": False} if isinstance(act, FeedPaused) else {"draining": False}
        self._send(msgspec.structs.replace(act, **back, **self._how()))

    def _begin(self, name: str, act: OperatorAct) -> str:
        self.open[name] = act
        self._send(act)
        return name

    def _how(self) -> dict[str, Any]:
        """Of two acts of one instant the later has the higher id, which decides (streams/sources.py)."""
        return {"source": DESK.id, "id": f"SIM-{self._said:04}", "event_time": instant(self.log.now), "by": "sim", "reason": "simulated"}

    def _send(self, act: OperatorAct) -> None:
        self._said += 1
        self.log.write(Send(DESK.inbound, act.id.encode(), encode(act)))
