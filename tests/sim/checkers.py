"""The eight invariants of the design, each a function that looks at a finished run and names what breaks it.

They look at the log, the database and the messages that went in; the only thing they take from railclear's own book-keeping is what it published.
"""
from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import msgspec

from agents.ledger.rows import COLUMNS, GENESIS, LogRecord, Rows
from streams.audit import Auditor
from streams.effects import LogRecord as Read
from tests.sim.cluster.broker import Place
from tests.sim.cluster.database import READ, key_of
from tests.sim.explained import explained
from tests.sim.inputs import MARK
from tests.sim.outward import outward
from tests.sim.poison import FORGED
from tests.sim.run import FOLDS, Essence, Run
from tests.sim.worlds import reference, topics
from topics import codec
from topics.events.outputs import BatchOutcomes, ClearanceUpdate, ConditionSaid, DeadLetter, RefusalNotice, TrainReadiness
from topics.registry import customs_party

FEW = 8
"""So many examples of one fault are named."""
STATE_BYTES_MAX = 768 * 1024
DUE_MAX_PER_KEY, DUE_MAX = 4, 64
DERIVED_MAX, DERIVED_HALF_MAX = 8, 9
"""Records in the folds' topics per record that came in, over a run and over each half of it; a word to everybody counts once, however many partitions
hear it. At most 6.8 and 7.4 in runs of 18 to 400 records, whatever goes wrong and however long the run."""
WORDS_MAX, WORDS_HALF_MAX = 1.0, 1.2
"""Times that a shipment speaks (a revision, whatever number of sides it moves) per record in `clearance.in`: at most 0.63 over a run and 0.66 over a half
of it. That no side says again what it said before is looked at one by one (`_said_again`); this finds what says something else all the time, by the clock
or to and fro."""
EVERYBODY = b"*"
REVISED = ("clearance.status", "clearance.history", "border.", "office.", "territory.", "status.", "restricted.", "train.readiness")
"""Beginnings of the topics on which something is said under a revision."""
BY_AUTHORITY = frozenset({"HELD", "CONTROL_ORDERED", "UNDER_CONTROL", "REFUSED", "FILING_REJECTED"})
AT_THE_BORDER = frozenset({"GTT-09"})
"""Conditions that can only be known once the goods are there (a lock read by the post)."""
COVERT_PLACES = ("risk.indicators.", "clearance.in", "clearance.state", "restricted.", "dead.letters.restricted", "refusals.risk-")
"""Topics that analysts write, or nobody but railclear and that authority reads."""


def nothing_lost(run: Run) -> list[str]:
    """1. Every record read ends in exactly one outcome, with its bytes where it was refused; nothing was committed before its outcome was durable;
    the ledger holds what the log says, no more and no less; what the log gives back is what was in memory; and what was published is with all its
    readers (tests/sim/outward.py)."""
    faults = list(_audited(run))
    for lane in run.cluster.lanes:
        part, at = run.log.part(lane.topic, lane.partition), run.cluster.committed.get(lane.place, 0)
        if part.records and at < part.next:
            faults.append(f"{lane.name}: committed {at} of {part.next}")
    faults += _early_commits(run)
    faults += _fallen_commits(run)
    faults += _ledger(run)
    faults += outward(run)
    faults += [f"{key}: the state restored is not the one that was in memory" for key in run.unrestored]
    faults += run.cluster.misrestored
    return faults


def order_does_not_matter(run: Run, calm: Essence) -> list[str]:
    """2. The last word on every side, train, alert and restricted view is what the same messages come to in good order, without faults."""
    mine = run.last()
    return [f"{shipment} {side}: {mine.get((shipment, side))}, calmly {calm.get((shipment, side))}"
            for shipment, side in sorted(mine.keys() | calm.keys()) if mine.get((shipment, side)) != calm.get((shipment, side))]


def pure_core(run: Run) -> list[str]:
    """3. A step asked again, on its state fresh from bytes, gave the same bytes and left what it was given alone (tests/sim/probe.py)."""
    return list(run.impure)


def positive_evidence(run: Run) -> list[str]:
    """4. RELEASED rests on a word of the side's own authority that came through its own topic before, or on an agreement that is switched on, with
    nothing missing and nothing open; a demand's state needs an authority; PRE_CLEARED has every condition proven and is nowhere present. Other agencies
    and territories on the way never change the customs state (status model, section 1): what they demand stands in `blocked_by`, and nothing moves."""
    arrived = _arrived(run)
    published = run.log.births_of("clearance.history")
    faults = []
    for record in run.log.topic("clearance.history"):
        u = msgspec.json.decode(record.value or b"", type=ClearanceUpdate)
        where = f"{u.shipment} {u.side} revision {u.revision}: {u.state}"
        if u.state in BY_AUTHORITY and u.basis.kind != "AUTHORITY":
            faults.append(f"{where} on {u.basis.kind}")
        if u.state == "PRE_CLEARED" and (u.present or any(not _well(c) for c in u.conditions)):
            faults.append(f"{where} after arrival, or with something unproven")
        if u.blocked_by and u.movable:
            faults.append(f"{where} and movable, though blocked by {', '.join(u.blocked_by)}")
        if u.state != "RELEASED":
            continue
        if u.basis.kind == "AGREEMENT" and not any(a.enabled and a.auto_release for a in reference().agreements.values()):
            faults.append(f"{where} by an agreement that is off")
        elif u.basis.kind == "INFERRED" or (u.missing_release and not _left(u)):
            faults.append(f"{where} on {u.basis.kind}, missing {u.missing_release} {u.flags} {[(s.scope, s.state, s.flags) for s in u.scopes]}")
        elif u.basis.kind == "AUTHORITY":
            party = customs_party(u.authority)
            born = arrived.get((party, u.basis.evidence))
            if u.basis.source != u.authority or born is None or born > published[record.partition, record.offset]:
                faults.append(f"{where} by {u.basis.source} on {u.basis.evidence!r}, which {party} had not said")
    return faults


def revisions(run: Run) -> list[str]:
    """5. In every topic a revision (of a side; of a train or yard) has one content, and of the revisions of one subject each that is new is higher than all
    before. Excused from the second, record by record: what a former owner had handed to the brokers before its successor's claim, and they wrote after it, in
    a topic that no claim covers. Its revision stood in `clearance.status` or `readiness.revisions` before the claim, so the successor's are higher, whichever
    comes first."""
    faults = []
    for name in run.log.names():
        if not name.startswith(REVISED):
            continue
        told: dict[str, dict[int, bytes]] = defaultdict(dict)
        for record in run.log.topic(name):
            if record.value is None:
                continue
            subject, revision = _revised(record)
            held = told[subject]
            late = (name, record.partition, record.offset) in run.cluster.owners.late
            if revision not in held and held and revision < max(held) and not late:
                faults.append(f"{name}: {subject} fell from {max(held)} to {revision}")
            if held.setdefault(revision, record.value) != record.value:
                faults.append(f"{name}: {subject} has two contents of revision {revision}")
    return faults


def need_to_know(run: Run) -> list[str]:
    """7. Only topics of the registry are written; covert words are seen nowhere else and forged ones no further than where they are refused; an
    authority reads its own sides and what an agreement lets it see of others; a carrier reads its own shipments; a refusal goes to the writer."""
    faults = []
    known = topics().topics
    for name in run.log.names():
        if name not in known:
            faults.append(f"{name}: a topic that nobody is granted")
            continue
        for record in run.log.topic(name):
            value = record.value or b""
            if MARK.encode() in value and not name.startswith(COVERT_PLACES):
                faults.append(f"{name}/{record.partition}/{record.offset}: shows a risk indicator")
            if FORGED in value and known[name].kind not in ("inbound", "refusals", "dead_letters"):
                faults.append(f"{name}/{record.partition}/{record.offset}: rests on a forged message")
            faults += _unknown_to(name, record)
    return faults


def bounded(run: Run) -> list[str]:
    """8. Work is counted by what comes in: no record is stepped twice where it was delivered once, no status says what was said of its side before, so many
    derived records and words of shipments per record and no more, late in a run as little as early; no state beyond its limit, no more times kept than keys
    account for, none of them over and not acted on, no sweep unfinished; the cache bounded. How many batches are in flight is the cluster's own rule here
    (tests/sim/cluster/lane.py), and nothing to check."""
    faults = []
    records = sum(run.seen[f"records to {fold.name}"] for fold in FOLDS)
    if run.steps["events"] > records:
        faults.append(f"{run.steps['events']} steps for {records} records")
    faults += _said_again(run)
    faults += _amplified(run)
    for lane in run.cluster.lanes:
        if lane.work is not None:
            cells = lane.work.cells
            faults += [f"{lane.name} {key}: state of {len(cell[1])} bytes" for key in cells if (cell := cells.get(key)) and len(cell[1]) > STATE_BYTES_MAX]
            if len(cells._due) > DUE_MAX_PER_KEY * len(cells) + DUE_MAX:
                faults.append(f"{lane.name}: {len(cells._due)} times are kept for {len(cells)} keys")
            if lane.work.due(lane.work.now):
                faults.append(f"{lane.name}: a key has been due for longer than the lane has been at rest")
            if lane.work.sweeping:
                faults.append(f"{lane.name}: {lane.work.sweeping} keys still wait for a sweep")
    if run.cluster.cache.bytes_held > run.cluster.cache.bytes_max:
        faults.append(f"decoded objects of {run.cluster.cache.bytes_held} bytes")
    return faults


def findings(run: Run, calm: Essence) -> dict[str, list[str]]:
    """Invariant -> what breaks it; empty = everything holds."""
    checks: tuple[tuple[str, Callable[[], list[str]]], ...] = (
        ("1 nothing lost", lambda: nothing_lost(run)), ("2 order does not matter", lambda: order_does_not_matter(run, calm)),
        ("3 pure core", lambda: pure_core(run)), ("4 positive evidence", lambda: positive_evidence(run)), ("5 revisions", lambda: revisions(run)),
        ("6 explained", lambda: explained(run)), ("7 need to know", lambda: need_to_know(run)), ("8 bounded", lambda: bounded(run)))
    return {name: found[:FEW] for name, check in checks if (found := check())}


# -- parts of them -------------------------------------------------------------------------------------------------------------
def _left(update: ClearanceUpdate) -> bool:
    """Has a box gone without its release? What it lacks is still said of a side whose other boxes are released."""
    return any(s.state == "DEPARTED" and "left_without_release" in s.flags for s in update.scopes)


def _well(condition: ConditionSaid) -> bool:
    return condition.verdict == "proven" or (condition.verdict == "unknown" and condition.name in AT_THE_BORDER)


def _stages() -> dict[str, str]:
    return {spec.name: "intake" for spec in topics().inbound} | {s.name: s.name.removesuffix(".in") for s in topics().by_kind("fold_in")}


def _audited(run: Run) -> tuple[str, ...]:
    stages, auditor = _stages(), Auditor(_stages())
    for name in stages:
        for partition in range(run.log.partitions(name)):
            auditor.partition(name, partition)
    for name in run.log.names():
        for record in run.log.topic(name):
            if name in stages:
                auditor.record(name, record.partition, record.offset, record.key, record.value)
            elif name.startswith("outcomes."):
                auditor.outcome(msgspec.json.decode(record.value or b"", type=BatchOutcomes))
            elif name.startswith("dead.letters"):
                letter = msgspec.json.decode(record.value or b"", type=DeadLetter)
                if letter.stage != "ledger":
                    auditor.dead_letter(letter)
    return auditor.account().faults


def _early_commits(run: Run) -> Iterator[str]:
    """Commits that came before the outcomes of what they let go."""
    said: dict[Place, list[tuple[int, int, int]]] = defaultdict(list)
    for stage in ("intake", *(fold.name for fold in FOLDS)):
        births = run.log.births_of(f"outcomes.{stage}")
        for record in run.log.topic(f"outcomes.{stage}"):
            one = msgspec.json.decode(record.value or b"", type=BatchOutcomes)
            said[one.topic, one.partition].append((births[record.partition, record.offset], one.first, one.last))
    for (topic, partition), commits in _by_place(run.cluster.commits).items():
        offsets, done, ranges = run.log.part(topic, partition).offsets, set[int](), iter(said[topic, partition])
        following = next(ranges, None)
        for at, then in commits:
            while following is not None and following[0] <= then:
                done.update(range(following[1], following[2] + 1))
                following = next(ranges, None)
            if missing := [o for o in offsets if o < at and o not in done]:
                yield f"{topic}/{partition}: committed {at} before the outcome of {missing[0]} was durable"
                break


def _fallen_commits(run: Run) -> Iterator[str]:
    """A commit below one before it: a former owner's, after which everything since would be read again."""
    for (topic, partition), commits in _by_place(run.cluster.commits).items():
        for (before, _), (after, _) in pairwise(commits):
            if after < before:
                yield f"{topic}/{partition}: committed {after} after {before}"


def _amplified(run: Run) -> Iterator[str]:
    """More said than what came in accounts for, in all or in one half of the run."""
    outside = _births(run, *(spec.name for spec in topics().inbound))
    folds = _births_once(run, *(f"{fold.name}.in" for fold in FOLDS))
    ratios = (("records in the folds' topics", folds, outside, DERIVED_MAX, DERIVED_HALF_MAX),
              ("words of shipments", _words(run), _births(run, "clearance.in"), WORDS_MAX, WORDS_HALF_MAX))
    middle = outside[len(outside) // 2]
    for what, said, heard, most, most_half in ratios:
        cut, half = bisect_left(said, middle), bisect_left(heard, middle)
        for when, many, few, limit in (("in all", len(said), len(heard), most), ("in the first half", cut, half, most_half),
                                       ("in the second half", len(said) - cut, len(heard) - half, most_half)):
            if many > limit * few + FEW:
                yield f"{many} {what} for {few} that came in, {when}"


def _said_again(run: Run) -> Iterator[str]:
    """A status that says of its side what the one before it said. Excused, where the lane has another owner since: one of the two steps was lost with the
    former owner, or is its brokers' late word, and the successor says every side again that a lost step may have spoken of."""
    claims, births, late = run.cluster.owners.claims, run.log.births_of("clearance.history"), run.cluster.owners.late
    sides: dict[tuple[str, str], dict[int, tuple[ClearanceUpdate, Read]]] = defaultdict(dict)
    for record in run.log.topic("clearance.history"):
        u = msgspec.json.decode(record.value or b"", type=ClearanceUpdate)
        sides[u.shipment, u.side].setdefault(u.revision, (msgspec.structs.replace(u, revision=0, assessed_at=0), record))
    for (shipment, side), said in sides.items():
        for before, after in pairwise(sorted(said)):
            (old, first), (new, second) = said[before], said[after]
            if old != new or any((r.topic, r.partition, r.offset) in late for r in (first, second)):
                continue
            since, until = sorted(births[r.partition, r.offset] for r in (first, second))
            if not any(since <= at <= until for at in claims["clearance", "clearance.in", first.partition]):
                yield f"{shipment} {side}: revision {after} says what {before} said"


def _words(run: Run) -> list[int]:
    """When each revision of a shipment was first heard of, in order."""
    births, first = run.log.births_of("clearance.history"), dict[tuple[str, int], int]()
    for record in run.log.topic("clearance.history"):
        u = msgspec.json.decode(record.value or b"", type=ClearanceUpdate)
        first[u.shipment, u.revision] = min(births[record.partition, record.offset], first.get((u.shipment, u.revision), 1 << 62))
    return sorted(first.values())


def _births(run: Run, *topics: str) -> list[int]:
    """When each record was written, in order."""
    return sorted(born for topic in topics for born in run.log.births_of(topic).values())


def _births_once(run: Run, *topics: str) -> list[int]:
    """The same; of a word to everybody only the copy in the first partition."""
    births = {topic: run.log.births_of(topic) for topic in topics}
    return sorted(births[topic][r.partition, r.offset] for topic in topics for r in run.log.topic(topic) if r.key != EVERYBODY or r.partition == 0)


def _by_place(commits: Iterable[tuple[str, int, int, int]]) -> dict[Place, list[tuple[int, int]]]:
    found: dict[Place, list[tuple[int, int]]] = defaultdict(list)
    for topic, partition, at, births in commits:
        found[topic, partition].append((at, births))
    return found


def _ledger(run: Run) -> list[str]:
    """The database against rows made afresh from the log."""
    rows, faults = Rows(), []
    for topic in READ:
        for n in range(run.log.partitions(topic)):
            link, part = GENESIS, run.log.part(topic, n)
            for r in part.records:
                try:
                    link = rows.add(LogRecord(r.topic, r.partition, r.offset, r.timestamp * 1000, r.key, r.value, r.headers), link)
                except codec.Refused:
                    continue
            held = run.database.offsets.get((topic, n), (0, GENESIS))
            if part.records and (held[0] <= part.offsets[-1] or held[1] != link):
                faults.append(f"ledger: {topic}/{n} read to {held[0]}, or its chain of hashes differs")
    for table in COLUMNS:
        wanted: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for row in rows.tables[table]:
            wanted.setdefault(key_of(table, row), row)
        mine = run.database.tables[table]
        if mine.keys() != wanted.keys():
            faults.append(f"ledger: {table} has {len(mine.keys() - wanted.keys())} rows too many and lacks {len(wanted.keys() - mine.keys())}")
        elif table not in ("identifier",) and mine != wanted:
            faults.append(f"ledger: rows of {table} differ")
    return faults


def _arrived(run: Run) -> dict[tuple[str, str], int]:
    """(party, event id) -> when its first copy came to the party's own topic."""
    found: dict[tuple[str, str], int] = {}
    for spec in topics().inbound:
        births = run.log.births_of(spec.name)
        for record in run.log.topic(spec.name):
            try:
                head: _Head = codec.decode(record.value or b"", _Head)
            except (codec.Refused, RecursionError):
                continue
            found.setdefault((spec.party, f"{head.source}/{head.type}/{head.id}"), births[record.partition, record.offset])
    return found


class _Head(msgspec.Struct):
    type: str = ""
    source: str = ""
    id: str = ""


def _update(record: Read) -> ClearanceUpdate | None:
    """A status, or None for what else a party's topic carries."""
    try:
        return msgspec.json.decode(record.value or b"", type=ClearanceUpdate)
    except msgspec.ValidationError:
        return None


def _revised(record: Read) -> tuple[str, int]:
    """Of what (a side of a shipment; a train or yard) something is said, and under which revision."""
    said = msgspec.json.decode(record.value or b"", type=ClearanceUpdate | TrainReadiness)
    return (f"{said.shipment} {said.side}", said.revision) if isinstance(said, ClearanceUpdate) else (said.run, said.revision)


def _unknown_to(name: str, record: Read) -> Iterator[str]:
    """What its reader must not see."""
    spec, where = topics().topics[name], f"{name}/{record.partition}/{record.offset}"
    if spec.kind in ("border", "office", "territory"):
        u = msgspec.json.decode(record.value or b"", type=ClearanceUpdate)
        if customs_party(u.authority) != spec.party and (u.actions or u.findings or u.conditions or u.filings or u.basis.source or u.basis.number or u.flags):
            yield f"{where}: shows {spec.party} the inside of {u.side}"
        if u.carriers:
            yield f"{where}: shows {spec.party} who carries"
        if spec.kind == "border" and not name.startswith(f"border.{u.crossing.lower()}.") and customs_party(u.authority) == spec.party:
            yield f"{where}: a side of another crossing, {u.side}"
    elif spec.kind == "status":
        update = _update(record)
        if update is not None and spec.party not in update.carriers:
            yield f"{where}: a shipment that does not concern {spec.party}"
    elif spec.kind == "refusals":
        notice = msgspec.json.decode(record.value or b"", type=RefusalNotice)
        if notice.party != spec.party or topics().parties[spec.party].inbound != notice.topic:
            yield f"{where}: a refusal of what {notice.party} wrote to {notice.topic}"

