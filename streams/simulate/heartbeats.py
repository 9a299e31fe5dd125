"""Heartbeats of the parties that take part, often enough that silence means something."""
from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from streams.reference.model import Reference
from streams.simulate.clockwork import minutes
from streams.simulate.options import SimOptions
from streams.simulate.pen import Cast
from streams.simulate.sent import Draft
from streams.simulate.zones import local
from topics.events.base import Heartbeat

OFTEN_ENOUGH = 0.9
"""Share of the freshness limit between two heartbeats."""
UNKNOWN_MINUTES = 720


def heartbeats(reference: Reference, cast: Cast, options: SimOptions, start: int, parties: Sequence[str]) -> Iterator[Draft]:
    """Without end, in order of time; nothing when the options want none."""
    if not options.heartbeats:
        return
    queue: list[tuple[int, int, str, int]] = []
    for n, party in enumerate(parties):
        limit = reference.limits.freshness_minutes.get(cast.role(party), UNKNOWN_MINUTES)
        step = max(minutes(limit * OFTEN_ENOUGH), minutes(30))
        queue.append((start + (n * 7_919_000_000) % step, n, party, step))
    heapq.heapify(queue)
    count = 0
    while queue:
        at, n, party, step = heapq.heappop(queue)
        count += 1
        yield Draft(at=at, topic=cast.topic(party), key=party, train=-1,
                    event=Heartbeat(source=party, id=f"HB-{count:07d}", event_time=local(at, cast.country(party))))
        heapq.heappush(queue, (at + step, n, party, step))
