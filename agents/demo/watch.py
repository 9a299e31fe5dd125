"""Follows what railclear says: statuses, readiness and alerts, as a subscriber would."""
from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer

from topics.events.outputs import Alert, TrainReadiness

TOPICS = ("clearance.history", "train.readiness", "ops.alerts")


class _Update(msgspec.Struct):
    """The few fields of a status that the summary counts: the rest is not decoded."""

    shipment: str
    side: str
    state: str
    revision: int
    assessed_at: int = 0
    corridor: str = ""


class Watch:
    """What has been said so far."""

    def __init__(self, began: float) -> None:
        """`began`: monotonic instant from which `first_status_s` counts (the brokers are up)."""
        self.began = began
        self.first_status_s: float | None = None
        self.updates = 0
        self.published: Counter[str] = Counter()
        """Published updates per state."""
        self.last: dict[tuple[str, str], tuple[int, str]] = {}
        """(shipment, side) -> revision, state."""
        self.trains: dict[str, TrainReadiness] = {}
        self.alerts: dict[str, Alert] = {}
        self.raised: Counter[str] = Counter()
        self.now = 0
        """Highest railclear time seen, microseconds UTC."""
        self._update = msgspec.json.Decoder(_Update)
        self._train = msgspec.json.Decoder(TrainReadiness)
        self._alert = msgspec.json.Decoder(Alert)

    def take(self, topic: str, value: bytes) -> None:
        """One record."""
        if topic == "clearance.history":
            u = self._update.decode(value)
            if self.first_status_s is None:
                self.first_status_s = time.monotonic() - self.began
            self.updates += 1
            self.published[u.state] += 1
            self.now = max(self.now, u.assessed_at)
            if u.revision > self.last.get((u.shipment, u.side), (0, ""))[0]:
                self.last[u.shipment, u.side] = (u.revision, u.state)
        elif topic == "train.readiness":
            t = self._train.decode(value)
            if t.revision >= (self.trains[t.run].revision if t.run in self.trains else 0):
                self.trains[t.run] = t
        else:
            a = self._alert.decode(value)
            self.raised[a.name] += a.state == "open" and (a.key not in self.alerts or self.alerts[a.key].state == "resolved")
            if a.key not in self.alerts or a.seq >= self.alerts[a.key].seq:
                self.alerts[a.key] = a

    @property
    def shipments(self) -> int:
        return len({shipment for shipment, _ in self.last})

    def states_now(self) -> Counter[str]:
        """How many sides are in each state now."""
        return Counter(state for _, state in self.last.values())

    def worth_asking(self) -> tuple[str, str, str]:
        """A shipment (rather one that an authority stopped), a side (the busiest) and a train as `RAILWAY/NUMBER/DATE`: empty when there is none."""
        stopped = ("HELD", "CONTROL_ORDERED", "UNDER_CONTROL", "REFUSED", "FILING_REJECTED")
        shipment = min(((s[1] not in stopped, key[0]) for key, s in self.last.items()), default=(True, ""))[1]
        side = max(Counter(side for _, side in self.last).items(), key=lambda found: (found[1], found[0]), default=("", 0))[0]
        train = max((t for t in self.trains.values() if t.railway and t.number), key=lambda t: (t.containers, t.run), default=None)
        return shipment, side, f"{train.railway}/{train.number}/{train.date}" if train else ""

    async def follow(self, bootstrap: str, security: dict[str, Any] | None = None) -> None:
        """Until cancelled."""
        consumer = AIOKafkaConsumer(*TOPICS, bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
                                    isolation_level="read_committed", fetch_max_wait_ms=200, max_partition_fetch_bytes=4 << 20, **(security or {}))
        try:
            await consumer.start()
            while True:
                for tp, records in (await consumer.getmany(timeout_ms=300, max_records=2000)).items():
                    for record in records:
                        if record.value is not None:
                            self.take(tp.topic, record.value)
                await asyncio.sleep(0)
        finally:
            async with asyncio.timeout(5):
                await consumer.stop()


