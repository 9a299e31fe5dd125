"""Which shipment a container carries at an instant. Containers are reused; documents overlap, come late, and rarely say when a box was empty again."""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from topics.events.internal import Binding
from topics.facts import DAY

LOOK_BACK = 14 * DAY
"""A declaration without a loading: what the container did so long before belongs to it too [D]. Notes are often declared when the train has left."""
SAME_TRIP = 10 * DAY
"""Two shipments declared this close in one direction travel together (groupage); a later one means that the box was emptied [D]: the way
takes 12 days and more (domain 7.2)."""
FOREVER = 1 << 62


class Span(NamedTuple):
    """A shipment in the container, from `start` until before `end`."""

    start: int
    end: int
    shipment: str
    bindings: tuple[Binding, ...]

    def holds(self, at: int) -> bool:
        return self.start <= at < self.end

    @property
    def direction(self) -> str:
        return next((b.direction for b in self.bindings if b.direction), "")

    @property
    def corridor(self) -> str:
        return next((b.corridor for b in self.bindings if b.corridor), "")

    @property
    def said_end(self) -> int | None:
        """When it was unloaded, as somebody says; None when it only ends because the next one begins."""
        return min((b.until for b in self.bindings if b.until is not None), default=None)


class _Draft(NamedTuple):
    since: int
    until: int | None
    firm: bool
    bindings: tuple[Binding, ...]


def spans_of(bindings: Iterable[Binding]) -> list[Span]:
    """Every shipment with its time, earliest first."""
    drafts: list[tuple[str, _Draft]] = []
    by_shipment: dict[str, list[Binding]] = {}
    for b in bindings:
        if not b.withdrawn:
            by_shipment.setdefault(b.shipment, []).append(b)
    for shipment, mine in by_shipment.items():
        drafts += [(shipment, d) for d in _merged(mine)]
    drafts.sort(key=lambda d: (d[1].since, d[0]))
    return sorted((_span(shipment, draft, drafts) for shipment, draft in drafts), key=lambda s: (s.start, s.shipment))


def _merged(mine: list[Binding]) -> list[_Draft]:
    """Bindings of one shipment by several documents are one, as far as they overlap."""
    found: list[_Draft] = []
    for b in sorted(mine, key=lambda b: (b.since, b.record)):
        last = found[-1] if found else None
        if last is None or (last.until is not None and last.until <= b.since):
            found.append(_Draft(b.since, b.until, b.firm, (b,)))
            continue
        untils = [u for u in (last.until, b.until) if u is not None]
        since = b.since if b.firm and not last.firm else last.since
        found[-1] = _Draft(since, min(untils, default=None), last.firm or b.firm, (*last.bindings, b))
    return found


def _span(shipment: str, draft: _Draft, drafts: list[tuple[str, _Draft]]) -> Span:
    """A soft beginning reaches back to the shipment before, an open end to the one after."""
    start = draft.since
    if not draft.firm:
        start -= LOOK_BACK
        for other, d in drafts:
            if d is draft or d.since > draft.since or (other != shipment and _together(d, draft)):
                continue
            start = max(start, min(d.until, draft.since) if d.until is not None else draft.since)
    end = draft.until if draft.until is not None else FOREVER
    for other, d in drafts:
        if other != shipment and d.since > draft.since and not _together(draft, d):
            end = min(end, d.since)
    return Span(start, max(end, start), shipment, draft.bindings)


def _together(one: _Draft, other: _Draft) -> bool:
    """Two shipments in one container at once: declared within a trip's time, in one direction, and not one unloaded before the other."""
    first, second = (one, other) if one.since <= other.since else (other, one)
    if first.until is not None and first.until <= second.since:
        return False
    directions = {b.direction for d in (one, other) for b in d.bindings if b.direction}
    return second.since - first.since < SAME_TRIP and len(directions) < 2
