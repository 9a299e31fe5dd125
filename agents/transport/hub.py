"""All flows and lanes of one process, and what health probes and metrics may ask of them."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from aiokafka.structs import TopicPartition

from agents.transport.census import STALE_S, Census
from agents.transport.flow import Flow
from agents.transport.keeper import Keeper
from agents.transport.lane import Lane, boot_clock
from streams.effects import Send

STUCK_S = 120.0
"""Watchdog: a batch that is not acknowledged for so long ends the process."""
NOT_READY_S = 60.0
"""Watchdog: some assigned partition is not ready and none has made progress, or the flow does not start, for so long."""


class LaneHealth(msgspec.Struct, frozen=True):
    """One lane as probes see it. Ages in seconds, None = never."""

    topic: str
    partition: int
    stage: str
    ready: bool
    assigned_s: float
    acked_s: float | None
    lag: int
    pending: int


def hub_of(app: Any) -> Hub:
    """The hub of a Faust app, made on first use."""
    hub: Hub | None = getattr(app, "railclear_hub", None)
    if hub is None:
        hub = app.railclear_hub = Hub()
    return hub


class Hub:
    """Flows by topic, lanes by partition. Lives on the app; nothing is global."""

    def __init__(self) -> None:
        self.flows: dict[str, Flow] = {}
        self.lanes: dict[TopicPartition, Lane] = {}
        self.wake = asyncio.Event()
        self.flow_started_at = 0.0
        """When Faust last let records flow, boot clock; 0 = not yet or stopped."""
        self.generation = -1
        self.rebalances = 0
        self.fetch_wait_ms = 100
        """How long the broker may hold a fetch that finds nothing."""
        self.transaction_retry_ms = 20
        self.census: Census | None = None
        """Who owned the wanted partitions when the broker was last asked."""
        self.keeper = Keeper("")
        self.alert: Callable[[str, str], Send] | None = None
        """Makes the alert of a refusal from where and why; None: there is nobody to tell."""

    def add(self, flow: Flow) -> None:
        """A topic has one flow per process: two stages that read the same topic need two processes (two groups). A state has one flow anywhere."""
        if flow.state_topic and any(flow.state_topic == other.state_topic for other in self.flows.values()):
            raise ValueError(f"state topic {flow.state_topic} belongs to another flow already, {flow.name} would shut it out")
        for topic in flow.topics:
            if topic in self.flows:
                raise ValueError(f"topic {topic} is read by {self.flows[topic].name} already, {flow.name} needs a process of its own")
            self.flows[topic] = flow

    def wanted_topics(self) -> set[str]:
        """Topics of which every partition must have an owner."""
        return set(self.flows)

    def known_topics(self) -> set[str]:
        """Those, and the state and revision topics."""
        return self.wanted_topics() | {t for flow in self.flows.values() for t in (flow.state_topic, *flow.revision_topics) if t}

    def unowned(self) -> list[str]:
        """What is wrong with the assignment: wanted partitions that nobody reads. A member alone cannot see it, the broker can."""
        census = self.census
        if census is None or boot_clock() - census.at > STALE_S:
            return ["the broker has not said who owns which partition"]
        if census.error:
            return [f"the broker does not show the group: {census.error}"]
        found = [f"topic {name} does not exist or may not be described" for name in census.missing]
        if census.stable:
            found += [f"{tp.topic}/{tp.partition} is read by nobody in the group" for tp in census.orphans]
        else:
            found.append("the group is being rebalanced")
        return found

    def health(self) -> list[LaneHealth]:
        """Every assigned lane."""
        now = boot_clock()
        return [
            LaneHealth(
                lane.tp.topic,
                lane.tp.partition,
                lane.flow.name if lane.flow else "",
                lane.ready,
                now - lane.progress.assigned_at,
                now - lane.progress.acked_at if lane.progress.acked_at else None,
                lane.progress.lag,
                len(lane.pending),
            )
            for lane in self.lanes.values()
        ]

    def ready(self) -> bool:
        """All assigned lanes are restored and records flow. False without an assignment: a group we may not read hangs silently."""
        return bool(self.lanes) and self.flow_started_at > 0 and all(lane.ready and not lane.closing for lane in self.lanes.values())

    def live(self) -> bool:
        """No watchdog is about to end the process."""
        return self.complaint(0.5) is None

    def complaint(self, part: float = 1.0) -> str | None:
        """What a watchdog holds against this process, with limits scaled by `part`; None = nothing."""
        now = boot_clock()
        for lane in self.lanes.values():
            if lane.stuck(STUCK_S * part):
                return f"no progress on {lane.tp}"
        if not self.lanes:
            return None
        limit = NOT_READY_S * part
        last = max(max(lane.progress.assigned_at, lane.progress.restored_at, lane.progress.ready_at) for lane in self.lanes.values())
        waiting = [lane.tp for lane in self.lanes.values() if not lane.ready]
        if now - last > limit and waiting:
            return f"{len(waiting)} assigned partitions do not become ready, the first is {waiting[0]}"
        if now - last > limit and self.flow_started_at == 0:
            return "partitions are ready but records do not flow"
        return None

    def waiting(self) -> Iterator[Lane]:
        """Lanes that may be given records."""
        return (lane for lane in self.lanes.values() if lane.wants)
