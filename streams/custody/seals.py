"""Locks and seals of a container as facts: every chain on its own, each reading with the side where it was taken."""
from __future__ import annotations

from collections.abc import Iterator

from streams.custody.places import distance_km, place_near, side_at, side_of_place, speaker
from streams.custody.spans import Span
from streams.kept import at_of, event_id, micros
from streams.reference.model import Reference
from streams.trains.line import line_of, located
from topics.events.sites import SealEvent
from topics.facts import EVERYWHERE, Fact, Rank
from topics.identifiers import document_key

WHAT = {
    "checked_ok": "ok", "checked_bad": "bad", "signal_lost": "lost", "signal_restored": "restored", "route_deviation": "deviation",
}
"""The model's words where they differ from the event's."""
APART_KM = 10.0
"""A reading whose coordinates lie further than this outside the geofence of the place it names counts for no side [D]."""
READ = frozenset({"reading", "checked_ok"})
PUT_ON = frozenset({"applied", "armed"})
TAKEN_OFF = frozenset({"removed", "replaced", "opened_authorised"})


def seal_facts(container: str, events: list[SealEvent], span: Span, direction: str, reference: Reference) -> Iterator[Fact]:
    """What happened to the seals while the container carried these goods."""
    mine = sorted((e for e in events if span.holds(at_of(e))), key=lambda e: (at_of(e), e.id))
    for event in mine:
        what = WHAT.get(event.what, event.what)
        if event.what == "checked_ok" and _wrong(event, mine):
            what = "wrong_id"
        source, rank = speaker(reference, event.source)
        apart = _apart_km(event, reference)
        side = _side(event, source, rank, direction, reference) if apart is None else ""  # what contradicts itself was read nowhere
        yield Fact(side=EVERYWHERE if not side.startswith("@") or what != "reading" else side, key=("seal", event.chain, what, event_id(event)),
                   at=at_of(event), source=source, rank=rank, record=event.record, version=event.version, id=event_id(event), scope=container,
                   value=_value(event, side, apart), code=event.code, dated=event.date_only)
        if side.startswith("@") and what == "ok":
            yield Fact(side=side, key=("seal", event.chain, what, event_id(event)), at=at_of(event), source=source, rank=rank, record=event.record,
                       version=event.version, id=event_id(event), scope=container, value=_value(event, side, apart), code=event.code, dated=event.date_only)


def deviations(container: str, events: list[SealEvent], span: Span, direction: str, reference: Reference) -> Iterator[Fact]:
    """GTT-11: a lock that says its own position, off the line of its corridor. `km` counts beyond what the lines themselves are coarse
    (`position_off_route_km_max`), so that a straight line between two towns accuses nobody."""
    line = line_of(reference, span.corridor, direction) if span.corridor and direction in ("west", "east") else None
    if line is None:
        return
    for event in events:
        if event.lat is None or event.lon is None or not span.holds(at_of(event)):
            continue
        beyond = located(line, event.lat, event.lon).off_km - reference.limits.position_off_route_km_max
        if beyond > 0:
            source, rank = speaker(reference, event.source)
            yield Fact(side=EVERYWHERE, key=("deviation", event_id(event)), at=at_of(event), source=source, rank=rank, record=event.record,
                       version=event.version, id=event_id(event), scope=container, value={"km": round(beyond)}, dated=event.date_only)


def _value(event: SealEvent, side: str, apart: int | None) -> dict[str, object]:
    said: dict[str, object] = {
        "seal": event.seal, "lock": event.seal, "place": event.place, "crossing": event.crossing, "side": "" if side.startswith("@") else side,
        "reader": event.source, "until": micros(event.until) if event.until else None, "act": event.act, "new": event.new_seal,
        "standard": event.standard, "document": document_key(event.document) if event.document else "", "lat": event.lat, "lon": event.lon, "apart_km": apart,
    }
    return {name: value for name, value in said.items() if value not in ("", None)}


def _side(event: SealEvent, source: str, rank: Rank, direction: str, reference: Reference) -> str:
    """Where a seal was read: by its place; by its coordinates when it names none; else at the crossing on the side of the authority that reads."""
    if not event.place and not event.crossing and event.lat is not None and event.lon is not None:
        return side_of_place(reference, place_near(reference, event.lat, event.lon), direction)
    if event.place and (side := side_of_place(reference, event.place, direction)):
        return side
    if event.crossing and rank is Rank.AUTHORITY:
        return side_at(reference, event.crossing, source, direction)
    if event.crossing and event.place == "":
        row = reference.parties.get(event.source)
        return side_at(reference, event.crossing, row.country, direction) if row is not None and row.country else ""
    return ""


def _apart_km(event: SealEvent, reference: Reference) -> int | None:
    """How far the coordinates of an event are from the place that it names, when they contradict each other."""
    if not event.place or event.lat is None or event.lon is None:
        return None
    km = distance_km(reference, event.place, event.lat, event.lon)
    return round(km) if km is not None and km > reference.places[event.place].radius_km + APART_KM else None


def _wrong(read: SealEvent, events: list[SealEvent]) -> bool:
    """Is the seal that was read none of those that are on? Unknown when nobody ever said which are."""
    on: set[str] = set()
    known = False
    for event in events:
        if event.chain != read.chain or at_of(event) > at_of(read) or event is read:
            continue
        if event.what in PUT_ON:
            on.add(event.seal)
            known = True
        elif event.what in TAKEN_OFF:
            on.discard(event.seal)
            if event.new_seal:
                on.add(event.new_seal)
                known = True
    return known and bool(on) and read.seal not in on
