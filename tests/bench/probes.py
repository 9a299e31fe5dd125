"""Which of the simulated messages after the cut certainly change what a border is told: tried out in memory."""
from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streams.simulate import Sent
from tests.bench.load import evidence_of, kind_of
from tests.bench.world import NOW, Live
from tests.sim.worlds import topics
from topics.events.rail import PositionReported

MOST = 60
"""Of each kind."""


class Line(NamedTuple):
    """Messages of a kind in the order in which they were sent, and the ids of those that are looked for. All of them must be played: what one does may
    need those before it."""

    messages: list[Sent]
    ids: frozenset[str]


def find(live: Live, kind: str, count: int) -> Line:
    """The first messages of a kind until so many came up, by their id, in an update to a border, each of another shipment: of two about one shipment the
    later may take the earlier one's place before anything is said. Tried out once: what is tried is played."""
    if kind not in live.probes:
        live.probes[kind] = _tried(live, kind)
    chosen: list[Sent] = []
    ids: set[str] = set()
    for sent, heard in live.probes[kind]:
        if len(ids) == count:
            break
        chosen.append(sent)
        if heard and sent.event is not None:
            ids.add(sent.event.id)
    return Line(chosen, frozenset(ids))


def _tried(live: Live, kind: str) -> list[tuple[Sent, bool]]:
    system, taken, found = live.system, set[bytes | None](), list[tuple[Sent, bool]]()
    names = [spec.name for spec in topics().by_kind("border")]
    read = {name: len(system.harness.topic(name)) for name in names}
    for sent in _candidates(live, kind):
        system.pour([sent], NOW)
        assert sent.event is not None, "a candidate"
        new = [r for name in names for r in system.harness.topic(name)[read[name]:]]
        read = {name: len(system.harness.topic(name)) for name in names}
        told = {r.key for r in new if sent.event.id in evidence_of(r.value or b"{}")}
        heard = bool(told) and (kind == "positions" or not told & taken)
        taken |= {r.key for r in new}
        found.append((sent, heard))
        if sum(h for _, h in found) == MOST:
            break
    return found


def _candidates(live: Live, kind: str) -> Iterator[Sent]:
    for sent in live.after:
        if sent.expect != "applied" or kind_of(sent) != kind:
            continue
        if kind == "positions" and not (isinstance(sent.event, PositionReported) and sent.event.station):
            continue
        yield sent
