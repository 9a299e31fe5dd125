"""The independent reader's book-keeping: every record read by a stage ends in exactly one outcome.

It knows the log and the outcomes, never railclear's own counters. Under at-least-once a range may be published again after a crash: what
the state already held is then called `redelivered`, which is no outcome of its own, because the real one stands in an earlier record
(agents/runner/draft.py). None at all, only `redelivered`, or two that differ, is a fault.
"""
from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from itertools import combinations
from typing import Final

import msgspec

from streams.fold import EVERYBODY
from topics.events.outputs import BatchOutcomes, DeadLetter

Place = tuple[str, int]
APPLIED = "applied"
REPEATED = (APPLIED, "waiting", "duplicate")
"""Said of one offset, these are one outcome, the first of them: what was applied before a crash is a repeat after it; and what waits for a word that
follows it is applied at once when, after a crash, both come in one batch."""
BY_OTHERS = "POSITION_JUMP"
"""A position is believed or not by those around it (`streams.trains.line`). What was applied before a crash may be refused after it, when more of them
come in one batch: then it is refused, and a dead letter keeps it. Its train ends the same either way."""
TAG: Final = b'{"type":"'
TO_ALL: Final = EVERYBODY.encode()
"""Key of what goes to every partition of a topic: promised once, and there once per partition."""
INTAKE: Final = frozenset({"intake"})
WRITERS: Final[dict[str, frozenset[str]]] = {
    "movement": frozenset({"trains"}), "run.profile": frozenset({"trains"}), "train.inherited": frozenset({"trains"}),
    "aboard": frozenset({"custody"}), "facts": frozenset({"custody", "documents"}), "binding": frozenset({"documents"}),
    "document.bound": frozenset({"documents"}), "document.asked": frozenset({"documents"}), "document.alias": frozenset({"documents"}),
    "document.forwarded": frozenset({"documents"}), "summary": frozenset({"clearance"}), "source.freshness": frozenset({"sources"}),
}
"""Which stages say what the folds are told, by the message's type. What is not named comes from intake; what has no type may be anybody's."""


class Account(msgspec.Struct, frozen=True):
    """The result: everything is well when `unaccounted` is 0."""

    records: int
    outcomes: int
    applied: int
    duplicates: int
    superseded: int
    waiting: int
    refused: int
    parked: int
    dead_letters: int
    unaccounted: int
    faults: tuple[str, ...] = ()
    """The first 50 faults, in words."""


class Auditor:
    """Fed with every record of every input and internal topic, every outcome and every dead letter, in any order."""

    def __init__(self, stage_of: dict[str, str]) -> None:
        """`stage_of`: topic -> stage that must account for its records."""
        self._stage_of = stage_of
        self._records: dict[Place, set[int]] = defaultdict(set)
        self._digests: dict[tuple[str, int, int], bytes] = {}
        self._said: dict[Place, list[BatchOutcomes]] = defaultdict(list)
        self._letters: dict[tuple[str, int, int], list[bytes]] = defaultdict(list)
        self._begins: dict[Place, int] = {}
        self._told: Counter[str] = Counter()
        """Type -> records in the folds' topics."""
        self._told_all: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
        """(topic, type) -> partition -> records for everybody."""
        self._outcomes = 0

    def partition(self, topic: str, partition: int) -> None:
        """A partition that there is, though it may hold nothing: what goes to everybody must be in it, too."""
        self._records.setdefault((topic, partition), set())

    def begins(self, topic: str, partition: int, offset: int) -> None:
        """The first offset that a partition still holds: what lay before it has gone with retention, and is not missed."""
        self._begins[topic, partition] = offset

    def record(self, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """A record that lies in a topic which a stage consumes."""
        self._records[topic, partition].add(offset)
        self._digests[topic, partition, offset] = _digest(key, value)
        if topic.endswith(".in"):
            if key == TO_ALL:
                self._told_all[topic, _type(value)][partition] += 1
            else:
                self._told[_type(value)] += 1

    def outcome(self, said: BatchOutcomes) -> None:
        """One record of an `outcomes.<stage>` topic."""
        self._outcomes += 1
        self._said[said.topic, said.partition].append(said)

    def dead_letter(self, letter: DeadLetter) -> None:
        """One record of `dead.letters`."""
        self._letters[letter.topic, letter.partition, letter.offset].append(_digest(letter.key, letter.value))

    def account(self) -> Account:
        """Adds everything up."""
        faults: list[str] = []
        counts: dict[str, int] = defaultdict(int)
        for place, offsets in self._records.items():
            fates = self._fates(place, faults)
            for offset in sorted(offsets):
                fate = self._fate(place, offset, fates.get(offset), faults)
                counts[fate] += 1
        counts["unaccounted"] += self._vanished(faults) + self._not_derived(faults)
        letters = len(self._letters)
        records = sum(map(len, self._records.values()))
        return Account(
            records=records, outcomes=self._outcomes, applied=counts[APPLIED], duplicates=counts["duplicate"], superseded=counts["superseded"],
            waiting=counts["waiting"], refused=counts["refused"], parked=counts["parked"], dead_letters=letters, unaccounted=counts["unaccounted"],
            faults=tuple(faults[:50]),
        )

    def _vanished(self, faults: list[str]) -> int:
        """Offsets that a stage says it has read, and that the log does not have."""
        missing: set[tuple[str, int, int]] = set()
        for place, said in self._said.items():
            held, begins = self._records.get(place, set()), self._begins.get(place, 0)
            for one in said:
                absent = {o for low, high in one.absent for o in range(low, high + 1)}
                gone = {o for o in range(max(one.first, begins), one.last + 1) if o not in held and o not in absent}
                missing |= {(*place, o) for o in gone}
        faults += [f"{topic}/{partition}/{offset}: a stage has an outcome for it, the log has no record" for topic, partition, offset in sorted(missing)]
        return len(missing)

    def _not_derived(self, faults: list[str]) -> int:
        """Records that batches say they published to the folds' topics, and that are not there, by who writes what: what one stage did not lose makes up
        for nothing of another's. A range that was worked on again after a crash counts with what it said last; ticks publish without an outcome, so there
        may be more, never fewer. What several stages say is one's or another's: for no set of stages may there be fewer than they have promised."""
        if any(self._begins.values()):
            return 0
        promised, there = self._promised(), self._there()
        missing = 0
        for size in range(1, len(promised) + 1):
            for stages in combinations(sorted(promised), size):
                said = sum(promised[stage] for stage in stages)
                found = sum(n for tag, n in there.items() if not tag or WRITERS.get(tag, INTAKE).intersection(stages))
                if said - found > missing:
                    faults.append(f"{', '.join(stages)} published {said} records to *.in topics, {found} that may be theirs are there")
                    missing = said - found
        return missing

    def _promised(self) -> Counter[str]:
        """Stage -> records for the folds' topics that its batches say they have published."""
        promised: Counter[str] = Counter()
        for said in self._said.values():
            last: list[BatchOutcomes] = []
            for one in said:
                last = [other for other in last if other.last < one.first or other.first > one.last]
                last.append(one)
            for one in last:
                promised[one.stage] += one.derived
        return promised

    def _there(self) -> Counter[str]:
        """Type -> words in the folds' topics; what goes to everybody counts as often as in the partition that has it least often."""
        found = Counter(self._told)
        for (topic, tag), counts in self._told_all.items():
            found[tag] += min(counts[partition] for name, partition in self._records if name == topic)
        return found

    def _fates(self, place: Place, faults: list[str]) -> dict[int, set[str]]:
        fates: dict[int, set[str]] = defaultdict(set)
        stage = self._stage_of.get(place[0], "")
        for said in self._said.get(place, []):
            if said.stage != stage:
                faults.append(f"{place[0]}/{place[1]}: outcome by stage {said.stage!r}, expected {stage!r}")
                continue
            special = {e.offset: BY_OTHERS if e.reason == BY_OTHERS else e.fate for e in said.exceptions}
            for offset in range(said.first, said.last + 1):
                if (fate := special.get(offset, APPLIED)) != "redelivered":
                    fates[offset].add(fate)
        return fates

    def _fate(self, place: Place, offset: int, fates: set[str] | None, faults: list[str]) -> str:
        topic, partition = place
        where = f"{topic}/{partition}/{offset}"
        if not fates:
            faults.append(f"{where}: no outcome")
            return "unaccounted"
        if BY_OTHERS in fates:
            fates = {"refused"} if fates <= {APPLIED, BY_OTHERS} else fates
        if len(fates) > 1 and not fates.issubset(REPEATED):
            faults.append(f"{where}: two outcomes that differ, {', '.join(sorted(fates))}")
            return "unaccounted"
        fate = next((said for said in REPEATED if said in fates), None) or next(iter(fates))
        if fate in ("refused", "parked"):
            letters = self._letters.get((topic, partition, offset))
            if not letters:
                faults.append(f"{where}: {fate}, but no dead letter keeps it")
                return "unaccounted"
            if any(letter != self._digests[topic, partition, offset] for letter in letters):
                faults.append(f"{where}: its dead letter does not hold the original bytes")
                return "unaccounted"
        return fate


def _type(value: bytes | None) -> str:
    """What a message of railclear's own says it is: its first field. Empty: it says nothing."""
    if value is None or not value.startswith(TAG):
        return ""
    return value[len(TAG) : value.find(b'"', len(TAG))].decode(errors="replace")


def _digest(key: bytes | None, value: bytes | None) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in (key, value):
        digest.update(b"-" if part is None else b"+" + len(part).to_bytes(8, "big") + part)
    return digest.digest()
