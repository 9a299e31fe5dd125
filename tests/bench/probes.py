"""Which of the simulated messages after the cut certainly change what a border is told: tried out in memory."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from streams.simulate import Sent
from tests.bench.load import evidence_of, kind_of
from tests.bench.world import NOW, Live
from tests.sim.worlds import topics
from topics.events.rail import PositionReported

MOST = 60
"""Of each kind."""


def find(live: Live, kind: str, count: int) -> list[Sent]:
    """The first messages of a kind, at most so many, whose id comes up in an update to a border, each of another shipment: of two about one shipment the
    later may take the earlier one's place before anything is said. Tried out once: what is tried is played, so the next one is tried on top of it."""
    if kind not in live.probes:
        live.probes[kind] = list(islice(_found(live, kind), MOST))
    return live.probes[kind][:count]


def _found(live: Live, kind: str) -> Iterator[Sent]:
    system, taken = live.system, set[bytes | None]()
    names = [spec.name for spec in topics().by_kind("border")]
    read = {name: len(system.harness.topic(name)) for name in names}
    for sent in _candidates(live, kind):
        system.pour([sent], NOW)
        assert sent.event is not None, "a candidate"
        new = [r for name in names for r in system.harness.topic(name)[read[name]:]]
        read = {name: len(system.harness.topic(name)) for name in names}
        told = {r.key for r in new if sent.event.id in evidence_of(r.value or b"{}")}
        if told and (kind == "positions" or not told & taken):
            taken |= told
            yield sent


def _candidates(live: Live, kind: str) -> Iterator[Sent]:
    for sent in live.after:
        if sent.expect != "applied" or kind_of(sent) != kind:
            continue
        if kind == "positions" and not (isinstance(sent.event, PositionReported) and sent.event.station):
            continue
        yield sent
