"""Which container carries which shipment from when to when, as the documents say: declared, loaded, unloaded, swapped."""
from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import msgspec

from streams.derived import Saying
from streams.documents.cover import Coverage, Variant
from streams.documents.inputs import Inputs
from streams.kept import at_of, event_id
from topics.events.internal import Binding
from topics.events.trade import ContainerLoaded, Stuffing
from topics.identifiers import BadIdentifier, parse_container

CUSTODY = "custody.in"


class Span(NamedTuple):
    """One time that a container carries the goods."""

    since: int
    until: int | None
    start: ContainerLoaded | None
    """None: declared, not yet loaded as far as known."""
    end: ContainerLoaded | None


@lru_cache(maxsize=65_536)
def identifies(container: str) -> bool:
    """Does this number tell one box from all others? One that is not of ISO 6346 (a filler, a slip of the pen) stands in any number of
    declarations at once: it is flagged in its own shipment and ties nothing to it."""
    try:
        parse_container(container)
    except BadIdentifier:
        return False
    return True


def bindings_of(key: str, inputs: Inputs, cover: Coverage) -> Iterator[Saying]:
    """A binding per container and loading. Of a document that continues several shipments nobody knows which box is whose: none."""
    for v in cover.variants:
        if v in cover.roots:
            yield from _of_shipment(key, inputs, v, v.shipment, [e for e in inputs.loads.values() if v.shipment in (cover.of(e.document) or {})])
        elif len(continued := [s for s, c in cover.bound.items() if c.continued]) == 1:
            yield from _of_shipment(key, inputs, v, continued[0], list(inputs.loads.values()))
    if not cover.variants and len(cover.bound) == 1:
        yield from _of_shipment(key, inputs, None, next(iter(cover.bound)), list(inputs.loads.values()))


def _of_shipment(key: str, inputs: Inputs, v: Variant | None, shipment: str, loads: list[ContainerLoaded]) -> Iterator[Saying]:
    stuffed = {box.container: box for box in v.chosen.containers if box.container} if v is not None else {}
    named = sorted(filter(identifies, {*stuffed, *(e.container for e in loads if e.container), *(e.replaces for e in loads if e.replaces)}))
    for container in named:
        declared_at = v.first.at if v is not None and container in stuffed else None
        for n, span in enumerate(spans(container, declared_at, loads)):
            binding = _binding(key, shipment, container, stuffed.get(container), v, span, n)
            gone = msgspec.structs.replace(binding, seals=(), withdrawn=True, corridor="", crossings=())
            yield Saying(CUSTODY, container, f"binding|{binding.record}|{shipment}", binding, gone)


def spans(container: str, declared_at: int | None, loads: list[ContainerLoaded]) -> list[Span]:
    """From each loading to the unloading or swap after it; a container that is only declared carries the goods from then on."""
    starts = sorted((at_of(e), event_id(e), e) for e in loads if e.container == container and e.bound in ("loaded", "swapped"))
    ends = sorted((at_of(e), event_id(e), e) for e in loads if (e.container == container and e.bound == "unloaded") or e.replaces == container)
    if not starts:
        if declared_at is None:
            return []
        last = next(((at, e) for at, _, e in ends if at > declared_at), None) or (ends and (ends[-1][0], ends[-1][2])) or (None, None)
        since = declared_at if last[0] is None else min(declared_at, last[0])
        return [Span(since, last[0], None, last[1])]
    found: list[Span] = []
    for at, _, start in starts:
        if found and (found[-1].until is None or at < found[-1].until):
            continue                                    # said to be loaded again while it is loaded
        end = next(((t, e) for t, _, e in ends if t > at), (None, None))
        found.append(Span(at, end[0], start, end[1]))
    return found


def _binding(key: str, shipment: str, container: str, box: Stuffing | None, v: Variant | None, span: Span, n: int) -> Binding:
    start, declared = span.start, v.chosen if v is not None else None
    return Binding(
        container=container, shipment=shipment, record=f"{key}#{n}" if n else key, version=0, since=span.since, until=span.until,
        source=start.source if start else declared.source if declared else "", origin=event_id(start) if start else event_id(declared) if declared else "",
        seals=(start.seals if start else ()) or (box.seals if box else ()), empty=box.empty if box else False, act=_act(span),
        replaces=start.replaces if start else "", firm=start is not None, direction=declared.direction if declared else "",
        corridor=declared.corridor if declared else "", crossings=declared.crossings if declared else ())


def _act(span: Span) -> str:
    """The customs-supervised transfer record under which goods came in or went out."""
    return (span.start.act if span.start else "") or (span.end.act if span.end else "")
