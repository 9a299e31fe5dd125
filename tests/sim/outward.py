"""What goes out: every status in `clearance.history` is on the topics of all its readers, and they are told nothing else.

Who must hear of a status is worked out here from the registry's topics, the agreements and the history alone: the side's own authority where the registry
has a topic for that post; the carriers that the status names; and of a border side each other authority of the route that an exchange agreement lets see
it, on its border topic at the same crossing, else on its first along the route. It belongs to invariant 1: a record is not applied as long as nobody
whom it concerns has heard of it.

What may be missing is known to the record: what a worker had still to say, or to send, of a publication that it had begun when it ended (Owners.lost).
It must have been said again under a later revision.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from streams.clearance.fold import facts_of
from streams.reference.model import Agreement
from tests.sim.run import Run
from tests.sim.worlds import reference, topics
from topics import codec
from topics.events.internal import ClearanceIn, ShipmentFacts
from topics.events.outputs import ClearanceUpdate, DeadLetter, RefusalNotice
from topics.events.trade import ShipmentDeclared
from topics.registry import customs_party, refusals_topic

HISTORY, STATUS, COVERT = "clearance.history", "clearance.status", "restricted.revisions"
KINDS = ("border", "office", "territory", "status")
SHOWN_TO_ALL = ("state", "visit", "assessed_at", "movable", "present", "counts", "order", "kind", "crossing", "authority", "direction", "pack", "run",
                "document", "eta")
"""Fields that whoever is told of a status is told as they are."""
Said = tuple[str, str, int]
"""Shipment, side, revision."""


def outward(run: Run) -> list[str]:
    """1. Each published status is with all its readers, once in transactions, at least once without, and nothing is there that was not published."""
    heard = {name: list(_updates(run, name)) for name in run.log.names() if topics().topics[name].kind in KINDS} if _known(run) else {}
    history = {_said(u): u for _, u in _updates(run, HISTORY)}
    lost = {(send.topic, *_said(u)): u for send in run.cluster.owners.lost if _outward(send.topic) if (u := _update(send.value))}
    latest: dict[tuple[str, str], int] = {}
    for shipment, side, revision in history:
        latest[shipment, side] = max(revision, latest.get((shipment, side), 0))

    def excused(topic: str, said: Said) -> bool:
        return (topic, *said) in lost and latest.get(said[:2], 0) > said[2]

    there = {name: Counter(_said(u) for _, u in records) for name, records in heard.items()}
    counted = there | {HISTORY: Counter(_said(u) for _, u in _updates(run, HISTORY))}
    faults: list[str] = []
    may: dict[Said, set[str]] = {}
    for said, update, must, more in _readers(run, history, lost):
        may[said] = must | more
        faults += [f"{topic}: never heard of {_name(update)}" for topic in sorted(must)
                   if said in history and not there.get(topic, {}).get(said) and not excused(topic, said)]
    for name, records in heard.items():
        for _, update in records:
            said = _said(update)
            if said not in history and not excused(HISTORY, said):
                faults.append(f"{name}: {_name(update)}, which the history lacks")
            elif name not in may.get(said, set()):
                faults.append(f"{name}: {_name(update)}, which is not for it")
            elif said in history and (wrong := _differs(name, update, history[said])):
                faults.append(f"{name}: {_name(update)} differs from the history in {', '.join(wrong)}")
    faults += _out_of_order(run, heard)
    if run.plan.transactional:
        faults += [f"{name}: {count} times revision {said[2]} of {said[0]} {said[1]}" for name, counts in counted.items() for said, count in counts.items()
                   if count > 1]
    faults += [f"{HISTORY}: lacks {_name(u)}, which stands in {STATUS}" for _, u in _updates(run, STATUS)
               if _said(u) not in history and not excused(HISTORY, _said(u))]
    return [*faults, *_unfounded(run, history.values()), *_covert(run), *_refused(run)]


# -- who must hear -------------------------------------------------------------------------------------------------------------
def _readers(run: Run, history: dict[Said, ClearanceUpdate], lost: dict[tuple[str, str, str, int], ClearanceUpdate]
             ) -> Iterator[tuple[Said, ClearanceUpdate, set[str], set[str]]]:
    """Every status with the topics that it must be on, and those that it may be on besides. The route is that of its revision: the sides of the shipment
    that were said until then and not taken back."""
    known = dict(history) | {said: u for (topic, *_), u in lost.items() if topic == HISTORY for said in [_said(u)] if said not in history}
    known |= {_said(u): u for _, u in _updates(run, STATUS) if _said(u) not in known}
    steps: dict[str, dict[int, dict[str, ClearanceUpdate]]] = defaultdict(lambda: defaultdict(dict))
    for (shipment, side, revision), update in known.items():
        steps[shipment][revision][side] = update
    cut = {(u.shipment, u.revision) for u in lost.values()}
    declared = _declared(run)
    for shipment, revisions in steps.items():
        route, anew = dict[str, ClearanceUpdate](), dict[str, ClearanceUpdate]()
        was_cut = False
        for revision, said in sorted(revisions.items()):
            if was_cut:                  # a successor says every side again, but a step of the same lost publication does not
                anew = {}
            route, anew = ({side: u for side, u in {**before, **said}.items() if not _gone(u)} for before in (route, anew))
            was_cut = (shipment, revision) in cut
            for update in said.values():
                must, more = _topics_of(update, route.values(), declared.get(shipment, []))
                if anew.keys() != route.keys():
                    other, also = _topics_of(update, anew.values(), declared.get(shipment, []))
                    must, more = must & other, must | more | other | also
                yield _said(update), update, must, more


def _topics_of(update: ClearanceUpdate, route: Iterable[ClearanceUpdate], declared: list[_Declared]) -> tuple[set[str], set[str]]:
    must = {f"status.{party}" for party in update.carriers if f"status.{party}" in topics().topics}
    own = _own_topic(update)
    if own:
        must.add(own)
    if not own or update.kind not in ("EXIT", "ENTRY"):
        return must, set()
    first: dict[str, ClearanceUpdate] = {}
    for side in sorted(route, key=lambda u: (u.crossing != update.crossing, u.order, u.side)):
        if side.authority != update.authority and side.kind in ("EXIT", "ENTRY") and _own_topic(side):
            first.setdefault(side.authority, side)
    more = set[str]()
    for reader, side in first.items():
        sure, perhaps = _lets_see(update, reader, declared)
        (must if sure else more).update({_own_topic(side)} if sure or perhaps else ())
    return must, more


def _own_topic(update: ClearanceUpdate) -> str:
    """The registry's topic of the side's own authority; empty where it has none (a border inside a customs territory)."""
    where = {"OFFICE": "office", "TERRITORY": "territory"}.get(update.kind, f"border.{update.crossing.lower()}")
    spec = topics().topics.get(f"{where}.{update.authority.lower()}")
    return spec.name if spec is not None and spec.party == customs_party(update.authority) else ""


def _lets_see(update: ClearanceUpdate, reader: str, declared: list[_Declared]) -> tuple[bool, bool]:
    """(surely, perhaps): does an exchange agreement that is in force let the reader see this status? Not sure where it asks for a route or an enrolment
    that was declared meanwhile."""
    sure = perhaps = False
    day = datetime.fromtimestamp(update.assessed_at // 1_000_000, UTC).date().isoformat()
    for row in reference().agreements.values():
        begun = bool(row.in_force) and max(row.in_force, row.valid_from) <= day and not (row.valid_to and day >= row.valid_to)
        if row.kind != "exchange" or not row.enabled or row.suspended or not begun or "status" not in row.scope:
            continue
        if (row.crossings and update.crossing not in row.crossings) or not _between(row, update.authority, reader):
            continue
        limits = [_within(row, one) for one in declared]
        free = not (row.routes or row.enrolment or row.goods)
        heeded = any(one.source in update.carriers for one in declared)     # a feed may be masked
        sure |= free or (heeded and all(limits) and not row.goods)
        perhaps |= free or any(limits)
    return sure, perhaps


def _between(row: Agreement, giver: str, reader: str) -> bool:
    names = [{code, reference().authorities[code].union or code} for code in (giver, reader)]
    ends = row.parties[:1] if row.directional else row.parties
    return any(a in names[0] and b in names[1] for a in ends for b in row.parties if a != b)


def _within(row: Agreement, declared: _Declared) -> bool:
    return (not row.routes or declared.corridor in row.routes) and (not row.enrolment or row.enrolment in declared.enrolments)


class _Declared(msgspec.Struct, frozen=True):
    """What a party declared of a shipment as a whole."""

    corridor: str = ""
    enrolments: tuple[str, ...] = ()
    source: str = ""


def _declared(run: Run) -> dict[str, list[_Declared]]:
    """By shipment, as CLEARANCE was told: of each version."""
    found: dict[str, list[_Declared]] = defaultdict(list)
    for record in run.log.topic("clearance.in"):
        try:
            event: Any = codec.decode(record.value or b"", ClearanceIn)
        except (codec.Refused, RecursionError):
            continue
        if isinstance(event, ShipmentFacts | ShipmentDeclared):
            found[(record.key or b"").decode()] += [
                msgspec.convert({**f.value, "source": f.source}, _Declared) for f in facts_of(event) if f.key == ("shipment",) and isinstance(f.value, dict)]
    return found


# -- what they heard -----------------------------------------------------------------------------------------------------------
def _differs(name: str, told: ClearanceUpdate, published: ClearanceUpdate) -> list[str]:
    """Fields in which a reader was told something else. A carrier is told everything; an authority less, and never otherwise."""
    fields = ClearanceUpdate.__struct_fields__ if topics().topics[name].kind == "status" else SHOWN_TO_ALL
    return [field for field in fields if getattr(told, field) != getattr(published, field)]


def _out_of_order(run: Run, heard: dict[str, list[tuple[tuple[str, int, int], ClearanceUpdate]]]) -> Iterator[str]:
    """Revisions of a shipment come to each topic in their order, but for repetitions and what a former owner's brokers wrote late (tests/sim/checkers.py,
    `revisions`)."""
    for name, records in heard.items():
        highest: dict[str, int] = {}
        seen: set[Said] = set()
        for place, update in records:
            top = highest.get(update.shipment, 0)
            if update.revision < top and _said(update) not in seen and place not in run.cluster.owners.late:
                yield f"{name}: {_name(update)} after {top}"
            seen.add(_said(update))
            highest[update.shipment] = max(top, update.revision)


def _unfounded(run: Run, history: Iterable[ClearanceUpdate]) -> Iterator[str]:
    """What revisions are restored from is written before anybody hears: it knows of the last one of each side that is still on its route, and of the last
    restricted view of each shipment."""
    said: dict[tuple[str, str], ClearanceUpdate] = {}
    for u in history:
        if (u.shipment, u.side) not in said or u.revision > said[u.shipment, u.side].revision:
            said[u.shipment, u.side] = u
    kept: dict[tuple[str, str], int] = {}
    for _, u in _updates(run, STATUS):
        kept[u.shipment, u.side] = max(u.revision, kept.get((u.shipment, u.side), 0))
    yield from (f"{STATUS}: does not know of {_name(u)}" for key, u in said.items() if not _gone(u) and kept.get(key, 0) < u.revision)
    views: dict[str, int] = {}
    for _, u in _updates(run, COVERT):
        views[u.shipment] = max(u.revision, views.get(u.shipment, 0))
    for name in (name for name in run.log.names() if name.startswith("restricted.") and name != COVERT):
        yield from (f"{COVERT}: does not know of {_name(u)}, which stands in {name}" for _, u in _updates(run, name) if views.get(u.shipment, 0) < u.revision)


def _covert(run: Run) -> Iterator[str]:
    """Every restricted view reached its authority."""
    lost = {(send.topic, _said(u)) for send in run.cluster.owners.lost if send.topic.startswith("restricted.") if (u := _update(send.value))}
    views = [u for _, u in _updates(run, COVERT)]
    heard = {(name, _said(u)) for name in run.log.names() if name.startswith("restricted.") for _, u in _updates(run, name)}
    latest: dict[tuple[str, str], int] = {}
    for u in views:
        latest[u.shipment, u.side] = max(u.revision, latest.get((u.shipment, u.side), 0))
    for u in views:
        topic = f"restricted.{u.authority.lower()}"
        if (topic, _said(u)) not in heard and not ((topic, _said(u)) in lost and latest[u.shipment, u.side] > u.revision):
            yield f"{topic}: never heard of {_name(u)}"


def _refused(run: Run) -> Iterator[str]:
    """Whoever wrote what intake refused was told, and nobody of anything else."""
    parties = {spec.name: spec.party for spec in topics().inbound}
    letters = {(letter.topic, letter.partition, letter.offset) for spec in topics().by_kind("dead_letters") for r in run.log.topic(spec.name)
               for letter in (msgspec.json.decode(r.value or b"", type=DeadLetter),) if letter.stage == "intake"}
    told = {(spec.name, n.topic, n.partition, n.offset) for spec in topics().by_kind("refusals") for r in run.log.topic(spec.name)
            for n in (msgspec.json.decode(r.value or b"", type=RefusalNotice),)}
    wanted = {(refusals_topic(parties[place[0]]), *place) for place in letters}
    yield from (f"{name}: does not say that {'/'.join(map(str, place))} was refused" for name, *place in sorted(wanted - told))
    yield from (f"{name}: says that {'/'.join(map(str, place))} was refused, which no dead letter keeps" for name, *place in sorted(told - wanted))


def _known(run: Run) -> bool:
    return all(name in topics().topics for name in run.log.names())


def _outward(name: str) -> bool:
    spec = topics().topics.get(name)
    return name == HISTORY or (spec is not None and spec.kind in KINDS)


def _updates(run: Run, name: str) -> Iterator[tuple[tuple[str, int, int], ClearanceUpdate]]:
    """The statuses of a topic with their places, in the order in which they came."""
    for record in run.log.topic(name):
        if (update := _update(record.value)) is not None:
            yield (name, record.partition, record.offset), update


def _update(value: bytes | None) -> ClearanceUpdate | None:
    """A status, or None for what else a party's topic carries."""
    if value is None or not value.startswith(b'{"type":"clearance.status"'):
        return None
    return msgspec.json.decode(value, type=ClearanceUpdate)


def _said(update: ClearanceUpdate) -> Said:
    return update.shipment, update.side, update.revision


def _gone(update: ClearanceUpdate) -> bool:
    """The side is no longer on the route. Of one that only the goods have left alone its direction is known."""
    return update.state == "CANCELLED" and "off_route" in update.flags and not update.direction


def _name(update: ClearanceUpdate) -> str:
    return f"{update.shipment} {update.side} revision {update.revision} ({update.state})"
