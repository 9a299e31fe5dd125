"""What the outside was told: every publication on exactly the topics it belongs to, in order, and how often the same was said again.

Of CLEARANCE the yardstick is `clearance.history`, of READINESS `train.readiness`, of restricted views `restricted.revisions`, of refusals the dead letters.
A worker that is killed while it publishes leaves, at least once, a publication on some of its topics only; whoever takes over says the whole shipment again
under a new revision. Such a gap is `interrupted`, not lost, and only where just that has happened: a worker was cut short between the two.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final

import msgspec

from agents.runner.draft import REVISION_HEADER
from streams.assess.say import times_of
from streams.clearance import publish
from streams.effects import LogRecord
from streams.readiness.fold import TOPIC, content
from streams.reference.model import Agreement
from tests.chaos.logs import Logs
from tests.sim.worlds import reference, topics
from topics import registry
from topics.events.outputs import Alert, ClearanceUpdate, DeadLetter, RefusalNotice, TrainReadiness
from topics.registry import Kind

OUTWARD: Final[tuple[Kind, ...]] = ("border", "office", "territory", "status")
APART: Final[tuple[Kind, ...]] = ("restricted", "restricted_status", "readiness")
"""What has revisions besides, and none that those of the statuses have to do with."""
BESIDE: Final[tuple[Kind, ...]] = (*APART, "readiness_revisions", "refusals")
"""What is looked at besides."""
RESTORES: Final = ("clearance.status", registry.RESTRICTED_REVISIONS, registry.READINESS_REVISIONS)
"""What brings revisions back: of each key the next one is higher."""
READINESS: Final = TOPIC
BORDERS: Final = ("EXIT", "ENTRY")

Span = tuple[int, int]
"""From, to, ms UTC: when a worker may have been cut short in the middle of what it said."""
Said = tuple[str, str, int]
"""Shipment, side, revision; or run, "", revision."""


class Told(msgspec.Struct):
    """What the checks of outputs find."""

    lost: list[str] = []
    wrong: list[str] = []
    """On a topic where it does not belong, with another content than its reader may see, or with two under one revision."""
    backwards: list[str] = []
    outputs: int = 0
    """Records on topics of the outside."""
    duplicates: int = 0
    """Records of CLEARANCE that say a revision again, or what was said last, under a new one."""
    readiness_duplicates: int = 0
    """The same of READINESS."""
    interrupted: int = 0


class Publication(msgspec.Struct):
    """One word of CLEARANCE about one side, with what was known of the route then."""

    update: ClearanceUpdate
    route: tuple[ClearanceUpdate, ...]
    whole: bool
    """The same step said every side of the route."""
    next: Publication | None = None
    """Of the next step about the shipment."""
    again: bool = False
    """It says what was said last."""
    at: int = 0
    """When it was written, ms UTC."""

    @property
    def name(self) -> Said:
        return self.update.shipment, self.update.side, self.update.revision


# -- what must be where ----------------------------------------------------------------------------------------------------------
def publications(history: Iterable[LogRecord]) -> dict[Said, Publication]:
    """Every publication once, in order."""
    steps: dict[str, dict[int, dict[str, ClearanceUpdate]]] = defaultdict(dict)
    at: dict[Said, int] = {}
    for r in history:
        u = msgspec.json.decode(r.value or b"", type=ClearanceUpdate)
        steps[u.shipment].setdefault(u.revision, {}).setdefault(u.side, u)
        at.setdefault((u.shipment, u.side, u.revision), r.timestamp)
    found = {p.name: p for shipment in steps.values() for p in _steps(shipment)}
    for name, p in found.items():
        p.at = at[name]
    return found


def _steps(steps: dict[int, dict[str, ClearanceUpdate]]) -> Iterator[Publication]:
    route: dict[str, ClearanceUpdate] = {}
    before: list[Publication] = []
    for said in steps.values():
        last = {side: route.get(side) for side in said}
        route |= said
        for side in [side for side, u in route.items() if u.state == "CANCELLED" and "off_route" in u.flags]:
            del route[side]
        now = tuple(sorted(route.values(), key=lambda u: u.order))
        these = [Publication(u, now, route.keys() <= said.keys(), again=_same(last[side], u)) for side, u in said.items()]
        for one in before:
            one.next = these[0]
        before = these
        yield from these


def _same(old: ClearanceUpdate | None, new: ClearanceUpdate) -> bool:
    """Nothing in it that a reader acts on has changed: CLEARANCE would not have said it, had it known that it had."""
    return old is not None and publish.content(old) == publish.content(new) and not publish.moved(_times(old), _times(new), new.assessed_at)


def _times(u: ClearanceUpdate) -> tuple[int | None, ...]:
    return times_of(u.eta, tuple(f.due for f in u.filings))


@cache
def _exchange() -> tuple[tuple[Agreement, ...], dict[str, str]]:
    known = reference()
    return (tuple(a for _, a in sorted(known.agreements.items()) if a.kind == publish.EXCHANGE),
            {code: a.union for code, a in known.authorities.items() if a.union})


def _variants(u: ClearanceUpdate) -> list[tuple[Agreement, ...]]:
    """Agreements that hold for this shipment. Whether one does that asks for the carrier's enrolment shows in the conditions of the sides that it is about;
    of other sides it may or may not."""
    rows = _exchange()[0]
    free = tuple(a for a in rows if not (a.routes or a.goods or a.enrolment))
    if free == rows:
        return [rows]
    if any(a.enrolment and c.name.lower().startswith(f"{a.enrolment}-") for a in rows for c in u.conditions):
        return [rows]
    return [free, rows]


def due(p: Publication) -> dict[str, list[ClearanceUpdate | None]]:
    """Topic -> what may stand there of this publication; None among it: perhaps nothing."""
    u, found = p.update, dict[str, list[ClearanceUpdate | None]]()
    for authority, topic in sorted(_readers(p)):
        seen = [registry.for_reader(u, authority, rows, _exchange()[1]) for rows in _variants(u)]
        if any(one is not None for one in seen):
            found[topic] = seen
    for party in u.carriers:
        row = reference().parties.get(party)
        if row is not None and row.role in registry.WITH_STATUS:
            found[registry.status_topic(party)] = [u]
    return found


def _readers(p: Publication) -> set[tuple[str, str]]:
    own = publish.authority_topic(p.update, reference())
    if not own:
        return set()
    found = {(p.update.authority, own)}
    if p.update.kind in BORDERS:
        others: dict[str, str] = {}
        for other in p.route:
            if other.kind not in BORDERS or other.authority == p.update.authority:
                continue
            if (other.authority not in others or other.crossing == p.update.crossing) and (topic := publish.authority_topic(other, reference())):
                others[other.authority] = topic
        found |= set(others.items())
    return found


# -- what is there ---------------------------------------------------------------------------------------------------------------
class Seen(msgspec.Struct):
    """First appearances on a topic, and repeats. Every revision has one content, to the byte (tests/sim/checkers.py, `revisions`)."""

    first: dict[Said, LogRecord] = {}
    again: list[Said] = []
    backwards: list[str] = []
    differ: list[str] = []

    def add(self, r: LogRecord, name: Said, top: dict[tuple[str, str], int]) -> None:
        """`top`: highest revision by shipment and side so far in this partition."""
        if name in self.first:
            self.again.append(name)
            if r.value != self.first[name].value:
                self.differ.append(f"{r.topic}/{r.partition}/{r.offset}: {name[0]} {name[1]} has two contents of revision {name[2]}")
            return
        self.first[name] = r
        if name[2] < top.get(name[:2], 0):
            self.backwards.append(f"{r.topic}/{r.partition}/{r.offset}: {name[0]} {name[1]} falls from revision {top[name[:2]]} to {name[2]}")
        top[name[:2]] = max(name[2], top.get(name[:2], 0))


def seen(logs: Logs, topic: str) -> Seen:
    """Of a topic that carries statuses or readiness."""
    found = Seen()
    for (name, _), records in sorted(logs.parts.items()):
        top: dict[tuple[str, str], int] = {}
        for r in records if name == topic else ():
            if r.value is not None:
                found.add(r, _name(r), top)
    return found


class _Named(msgspec.Struct):
    """What names a publication, whatever its type."""

    revision: int
    shipment: str = ""
    side: str = ""
    run: str = ""
    type: str = ""


def _name(r: LogRecord) -> Said:
    named = msgspec.json.decode(r.value or b"", type=_Named)
    return (named.run, "", named.revision) if named.type == "train.readiness" else (named.shipment, named.side, named.revision)


# -- the checks ------------------------------------------------------------------------------------------------------------------
def outputs(logs: Logs, *, excusable: bool, cuts: Sequence[Span] = ()) -> Told:
    """All of it. `excusable`: CLEARANCE works at least once, so that a worker that is cut short may leave a publication on some of its topics only; `cuts`:
    when that may have been. What lies whole between two of them excuses nothing."""
    told, allowed = Told(), tuple(cuts) if excusable else ()
    said = publications(logs.topic("clearance.history"))
    names = [spec.name for kind in OUTWARD for spec in topics().by_kind(kind)]
    found = {name: seen(logs, name) for name in (*names, "clearance.history", "clearance.status")}
    told.outputs = sum(len(s.first) + len(s.again) for name, s in found.items() if name in names)
    apart = {spec.name: seen(logs, spec.name) for kind in APART for spec in topics().by_kind(kind)}
    told.backwards += [text for name, s in (found | apart).items() if name not in RESTORES for text in s.backwards]    # there checks.revisions looks
    told.wrong += [text for s in (found | apart).values() for text in s.differ]
    dues = {name: due(p) for name, p in said.items()}
    _missing(said, dues, found, told, allowed)
    begun = _begun(logs, said)
    for name in names:
        _strays(name, found[name], said, dues, begun, told, allowed)
    _status(logs, said, told, allowed)
    told.duplicates = sum(len([n for n in s.again if n[1]]) + sum(n in said and said[n].again for n in s.first) for s in found.values())
    told.duplicates += sum(len(s.again) for name, s in apart.items() if name != READINESS) + _alerts_again(logs)
    told.readiness_duplicates = _readiness_again(apart[READINESS])
    _readiness(logs, found, apart[READINESS].first, told, tuple(cuts))
    _restricted(apart, told)
    _refusals(logs, told)
    return told


Dues = dict[Said, dict[str, list[ClearanceUpdate | None]]]
Begun = dict[tuple[str, int], set[str]]


def cut(since: int, until: int, cuts: Sequence[Span]) -> bool:
    """May a worker have been cut short between these two words?"""
    return any(begin <= until and since <= end for begin, end in cuts)


def _missing(said: dict[Said, Publication], dues: Dues, found: dict[str, Seen], told: Told, cuts: Sequence[Span]) -> None:
    for name, p in said.items():
        for topic, may in dues[name].items():
            if name in found[topic].first or None in may:
                continue
            if p.next is not None and p.next.whole and cut(p.at, p.next.at, cuts):
                told.interrupted += 1
            else:
                told.lost.append(f"{topic} lacks revision {name[2]} of {name[0]} {name[1]}")


def _begun(logs: Logs, said: Mapping[Said, Publication]) -> Begun:
    """Shipment and revision -> the sides of which the step has spoken and history has not heard. What restores revisions knows them before anybody does."""
    found: Begun = defaultdict(set)
    for _, name in _restoring(logs):
        if name not in said:
            found[name[0], name[2]].add(name[1])
    return found


def _restoring(logs: Logs) -> Iterator[tuple[LogRecord, Said]]:
    """The words that restore revisions, and what each is about; marks of alerts are none."""
    for r in logs.topic("clearance.status"):
        revision = int(dict(r.headers).get(REVISION_HEADER, b"0"))
        shipment, _, side = (r.key or b"").decode().rpartition("|")
        if revision and not side.startswith(publish.MARK):
            yield r, (shipment, side, revision)


def _unheard(p: Publication, begun: Begun, cuts: Sequence[Span]) -> dict[str, list[ClearanceUpdate | None]]:
    """What is due besides, when a worker was cut short before history heard of every side of the step: others on the route are readers, too."""
    more = begun[p.update.shipment, p.update.revision] - {u.side for u in p.route}
    if not more or p.next is None or not p.next.whole or not cut(p.at, p.next.at, cuts):
        return {}
    route = (*p.route, *(u for u in p.next.route if u.side in more))
    return due(msgspec.structs.replace(p, route=tuple(sorted(route, key=lambda u: u.order))))


def _strays(topic: str, there: Seen, said: dict[Said, Publication], dues: Dues, begun: Begun, told: Told, cuts: Sequence[Span]) -> None:
    for name, r in there.first.items():
        if not name[1]:
            continue  # readiness
        where = f"{topic}/{r.partition}/{r.offset}: revision {name[2]} of {name[0]} {name[1]}"
        if name not in said:
            if _taken_back(name, r.timestamp, said, cuts):
                told.interrupted += 1
            else:
                told.wrong.append(f"{where} is not in clearance.history")
        elif (may := dues[name].get(topic) or _unheard(said[name], begun, cuts).get(topic)) is None:
            told.wrong.append(f"{where} does not belong here")
        elif msgspec.json.decode(r.value or b"", type=ClearanceUpdate) not in may or r.key != name[0].encode():
            told.wrong.append(f"{where} is not what its reader may see")


def _taken_back(name: Said, at: int, said: dict[Said, Publication], cuts: Sequence[Span]) -> bool:
    """A worker was cut short, and the first step about this shipment that history has after this one said every side again."""
    later = min((p for n, p in said.items() if n[0] == name[0] and n[2] > name[2]), key=lambda p: p.update.revision, default=None)
    return later is not None and later.whole and cut(at, later.at, cuts)


def _status(logs: Logs, said: dict[Said, Publication], told: Told, cuts: Sequence[Span]) -> None:
    """What restores revisions is written first; every one of them is in the history, or was said again."""
    for r, name in _restoring(logs):
        if name not in said:
            if _taken_back(name, r.timestamp, said, cuts):
                told.interrupted += 1
            else:
                told.lost.append(f"clearance.history lacks revision {name[2]} of {name[0]} {name[1]}")


def _alerts_again(logs: Logs) -> int:
    """Alerts of CLEARANCE that open what is open, or resolve what is resolved."""
    last, again = dict[str, tuple[str, str]](), 0
    for r in logs.topic(publish.ALERTS):
        alert = msgspec.json.decode(r.value or b"", type=Alert)
        if alert.side:
            again += last.get(alert.key) == (alert.state, alert.severity)
            last[alert.key] = (alert.state, alert.severity)
    return again


def _readiness_again(there: Seen) -> int:
    """Words about a train that say a revision again, or what was said last: what the clock alone moves is nothing new."""
    last, again = dict[str, bytes](), len(there.again)
    for (run, _, _), r in sorted(there.first.items()):
        now = content(msgspec.json.decode(r.value or b"", type=TrainReadiness))
        again += last.get(run) == now
        last[run] = now
    return again


def _readiness(logs: Logs, found: dict[str, Seen], said: dict[Said, LogRecord], told: Told, cuts: Sequence[Span]) -> None:
    """READINESS works at least once in either mode: a revision that only one of its topics has, or none yet, is made good by the next one on both, if a
    worker was cut short in between. What restores its revisions is written first."""
    there = {name: r for s in found.values() for name, r in s.first.items() if not name[1]}
    first = {_marked(r): r.timestamp for r in logs.topic(registry.READINESS_REVISIONS)}
    at = first | {name: r.timestamp for s in (there, said) for name, r in s.items()}
    mine = {name: _of_railway(r) for name, r in said.items()}
    whole = sorted(name for name, topic in mine.items() if not topic or name in there)
    for name in sorted(at):
        where = f"revision {name[2]} of {name[0]}"
        if name not in first:
            told.lost.append(f"{registry.READINESS_REVISIONS} lacks {where}")
        if name in said and name in there:
            if there[name].topic != mine[name]:
                told.wrong.append(f"{there[name].topic}: {where} belongs to {mine[name] or 'no railway'}")
            elif there[name].value != said[name].value:
                told.wrong.append(f"{mine[name]}: {where} is not what {READINESS} says")
        elif name not in said or mine[name]:
            later = (other for other in whole if other[0] == name[0] and other[2] > name[2])
            following = next((other for other in later if mine[other] == mine.get(name, mine[other])), None)
            if following is not None and cut(at[name], at[following], cuts):
                told.interrupted += 1
            else:
                told.lost.append(f"{mine.get(name, READINESS)} lacks {where}")


def _of_railway(r: LogRecord) -> str:
    """The status topic of the railway that a train runs with; empty: none has one."""
    railway = msgspec.json.decode(r.value or b"", type=TrainReadiness).railway
    row = reference().parties.get(railway)
    return registry.status_topic(railway) if row is not None and row.role == "railway" else ""


def _marked(r: LogRecord) -> Said:
    return (r.key or b"").decode(), "", int(dict(r.headers)[REVISION_HEADER])


def _restricted(apart: dict[str, Seen], told: Told) -> None:
    """The last restricted view of each side has reached its authority, and under no revision was that told anything else than what restores it."""
    last: dict[tuple[str, str], tuple[str, Said]] = {}
    for name, r in apart[registry.RESTRICTED_REVISIONS].first.items():
        topic = registry.restricted_topic(msgspec.json.decode(r.value or b"", type=ClearanceUpdate).authority)
        last[name[:2]] = topic, name
        if name in apart[topic].first and apart[topic].first[name].value != r.value:
            told.wrong.append(f"{topic}: revision {name[2]} of {name[0]} {name[1]} is not what {r.topic} says")
    told.lost += [f"{topic} lacks revision {name[2]} of {name[0]} {name[1]}" for topic, name in last.values() if name not in apart[topic].first]


def _refusals(logs: Logs, told: Told) -> None:
    """Whoever wrote what intake refused was told."""
    parties = {spec.name: spec.party for spec in topics().inbound}
    notices = {(r.topic, n.topic, n.partition, n.offset) for spec in topics().by_kind("refusals") for r in logs.topic(spec.name)
               for n in (msgspec.json.decode(r.value or b"", type=RefusalNotice),)}
    letters: Sequence[DeadLetter] = [msgspec.json.decode(r.value or b"", type=DeadLetter) for spec in topics().by_kind("dead_letters")
                                     for r in logs.topic(spec.name)]
    for x in letters:
        if x.stage == "intake" and (topic := registry.refusals_topic(parties[x.topic]), x.topic, x.partition, x.offset) not in notices:
            told.lost.append(f"{topic} does not say that {x.topic}/{x.partition}/{x.offset} was refused")
