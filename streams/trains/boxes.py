"""Which containers are on a run, from when to when. A plan gives way to the first list of wagons, a list to the next, and the hand-over sheet
to nothing: what is not on it is not on the train."""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from streams.kept import at_of, event_id, order
from streams.trains.inputs import RunInputs
from streams.trains.stones import sheets_of
from topics.events.internal import Inherited
from topics.events.rail import HandOverSheet, TrainFormed, WagonLoad


class Aboard(NamedTuple):
    """One container on a run."""

    since: int
    until: int | None = None
    wagon: str = ""
    reason: str = ""
    place: str = ""
    next_train: TrainFormed | None = None
    planned: bool = False
    """Only announced: no list of wagons has named it yet."""
    cancelled: bool = False
    refused_at: str = ""
    """Crossing at which the receiving railway refused it."""
    missed_at: str = ""
    """Crossing at whose hand-over sheet it was missing."""


class Differs(NamedTuple):
    """A hand-over sheet that is not what was announced."""

    sheet: HandOverSheet
    extra: tuple[str, ...]
    missing: tuple[str, ...]
    moved: tuple[str, ...]


class _Word(NamedTuple):
    at: int
    rank: int
    """Of two words of one instant: plan, list, sheet, then what leaves."""
    id: str
    kind: str
    wagons: tuple[tuple[str, str], ...]
    """(container, wagon)."""
    source: object


Boxes = dict[str, Aboard]


def boxes_of(inputs: RunInputs) -> tuple[Boxes, list[Differs]]:
    """Every container that was ever said to be on the run, and the sheets that differ from what was known before."""
    boxes: Boxes = {}
    differing: list[Differs] = []
    listed = False
    words = sorted(_words(inputs), key=lambda w: w[:3])
    start = min((w.at for w in words if w.kind in ("plan", "list", "sheet")), default=0)
    for word in words:
        if word.kind == "plan":
            _planned(boxes, word)
        elif word.kind == "out":
            _out(boxes, word)
        else:
            if isinstance(word.source, HandOverSheet) and (d := _differs(boxes, word, word.source)) is not None:
                differing.append(d)
            _listed(boxes, word, word.at if listed else start)
            listed = True
            if isinstance(word.source, HandOverSheet):
                _refused(boxes, word.source)
    return boxes, differing


def _words(inputs: RunInputs) -> Iterable[_Word]:
    announced = max(inputs.announced.values(), key=order, default=None)
    if announced is not None and announced.containers:
        heard = inputs.first.at if inputs.first is not None else at_of(announced)
        yield _Word(min(heard, at_of(announced)), 0, announced.id, "plan", tuple((c, "") for c in announced.containers), announced)
    for formed in inputs.formed.values():
        if formed.wagons:
            yield _Word(at_of(formed), 1, event_id(formed), "list", _loads(formed.wagons), formed)
    if not any(f.wagons for f in inputs.formed.values()):
        together = [i for _, i in sorted(inputs.inherited.items())]
        if any(i.containers for i in together):
            at = max(i.formed_at for i in together)
            yield _Word(at, 1, "inherited", "list", tuple((c, "") for c in sorted({c for i in together for c in i.containers})), together)
    for consist in inputs.consists.values():
        if consist.wagons:
            yield _Word(at_of(consist), 2, event_id(consist), "list", _loads(consist.wagons), consist)
    for sheet in sheets_of(inputs).values():
        if sheet.wagons or sheet.refused:
            yield _Word(at_of(sheet), 3, event_id(sheet), "sheet", _loads(sheet.wagons), sheet)
    for out in inputs.set_outs.values():
        yield _Word(at_of(out), 4, event_id(out), "out", tuple((c, out.wagon) for c in out.containers), out)
    for child in inputs.spawned.values():
        yield _Word(at_of(child), 5, event_id(child), "out", _loads(child.wagons), child)


def _loads(wagons: Iterable[WagonLoad]) -> tuple[tuple[str, str], ...]:
    return tuple((c, w.wagon) for w in wagons for c in w.containers if c)


def _planned(boxes: Boxes, word: _Word) -> None:
    for container, _ in word.wagons:
        boxes.setdefault(container, Aboard(word.at, planned=True))


def _listed(boxes: Boxes, word: _Word, since: int) -> None:
    """A whole list: what is on it is aboard, what is not has left, or was never there when it was only planned."""
    sheet = word.kind == "sheet"
    for container, wagon in word.wagons:
        held = boxes.get(container)
        if held is None or held.until is not None or held.cancelled:
            boxes[container] = Aboard(word.at if held is not None else since, wagon=wagon)
        else:
            boxes[container] = held._replace(wagon=wagon or held.wagon, planned=False)
    named = {c for c, _ in word.wagons} | (set(word.source.refused) if isinstance(word.source, HandOverSheet) else set())
    for container, held in boxes.items():
        if container not in named and held.until is None and not held.cancelled:
            reason = "not_on_sheet" if sheet else "not_on_consist"
            crossing = word.source.crossing if isinstance(word.source, HandOverSheet) else ""
            boxes[container] = held._replace(until=word.at, reason=reason, cancelled=held.planned, missed_at=crossing)


def _refused(boxes: Boxes, sheet: HandOverSheet) -> None:
    """Refused by the receiving railway: back on the giving side, off this run."""
    for container in sheet.refused:
        held = boxes.get(container, Aboard(at_of(sheet)))
        boxes[container] = held._replace(until=at_of(sheet), reason="refused", refused_at=sheet.crossing, planned=False)


def _out(boxes: Boxes, word: _Word) -> None:
    """Set out, or gone with a train formed from this one; a child without a list takes everything that is still aboard."""
    child = word.source if isinstance(word.source, TrainFormed) else None
    leaving = [c for c, _ in word.wagons] or [c for c, held in boxes.items() if child is not None and held.until is None and not held.cancelled]
    place = getattr(word.source, "place", "")
    for container in leaving:
        held = boxes.get(container)
        if held is None:
            continue
        if held.until is None and not held.cancelled:
            boxes[container] = held._replace(until=word.at, reason="next_run" if child else "set_out", place=place, next_train=child, planned=False)
        elif child is not None and held.next_train is None and held.until is not None and held.until <= word.at:
            boxes[container] = held._replace(next_train=child)


def _differs(boxes: Boxes, word: _Word, sheet: HandOverSheet) -> Differs | None:
    """Against what was known before; with nothing known there is nothing to differ from."""
    before = {c: held for c, held in boxes.items() if held.until is None and not held.cancelled}
    if not before:
        return None
    on = dict(word.wagons)
    extra = tuple(sorted((set(on) | set(sheet.refused)) - set(before)))
    missing = tuple(sorted(set(before) - set(on) - set(sheet.refused)))
    moved = tuple(sorted(c for c, wagon in on.items() if c in before and wagon and before[c].wagon and wagon != before[c].wagon))
    return Differs(sheet, extra, missing, moved) if extra or missing or moved else None


def taken_over(boxes: Boxes, child: TrainFormed, others: Iterable[TrainFormed]) -> tuple[str, ...]:
    """What a child without a list of its own gets: all that was aboard when it was formed and that no other child names."""
    if child.wagons:
        return ()
    elsewhere = {c for other in others for w in other.wagons for c in w.containers}
    at = at_of(child)
    return tuple(sorted(c for c, held in boxes.items()
                        if c not in elsewhere and not held.cancelled and held.since <= at and (held.until is None or held.until >= at)))


__all__ = ["Aboard", "Boxes", "Differs", "Inherited", "boxes_of", "taken_over"]
