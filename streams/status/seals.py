"""Seal chains at one side: each stands alone (status-model section 8)."""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from streams.status.states import Reading, Seal, SealVerdict, evidence_of, instant_in, text_in
from streams.status.view import View, last_instant
from topics.facts import EVERYWHERE, NEVER, Fact, Rank

PER_LOCK_MAX = 16
"""Alarms, and openings, kept per lock; more can no longer be told apart and leave the chain UNPROVEN for good."""

ALARMS = frozenset({"tamper", "broken", "wrong_id", "bad", "checked_bad"})
GOOD = frozenset({"ok", "checked_ok"})
LOST = frozenset({"lost", "signal_lost", "battery_low"})
RESTORED = frozenset({"restored", "signal_restored"})
OPENED = "opened_authorised"
APPLIED = frozenset({"applied", "armed"})
TAKEN_OFF = frozenset({"removed", "replaced", OPENED})
READING = "reading"


class Course(NamedTuple):
    """What was put on and taken off of one chain, in time order."""

    on: tuple[str, ...]
    """Numbers of the seals that claim to be on: two, when one was added and none taken off."""
    numbers: tuple[tuple[int, str], ...]
    """(instant, number) of the first seal, and of each that an authority's opening put in its place."""
    breaches: tuple[Fact, ...]
    """Taken off, replaced, opened or doubled, and no authority did it or says that it did."""
    off: Fact | None
    """An authority has taken it off, and nothing is on since."""


def openings_of(facts: Iterable[Fact], skew: int) -> list[tuple[int, int]]:
    """Spans of an authority's openings: from its opening to its new seal, with the clocks' skew."""
    return [(f.at - skew, (f.at if (end := instant_in(f.value, "until")) is None else end) + skew)
            for f in facts if f.key[2] == OPENED and f.rank is Rank.AUTHORITY]


def lock_of(fact: Fact) -> str:
    """Number of the seal that a fact speaks of."""
    if isinstance(fact.value, str):
        return fact.value
    return text_in(fact.value, "lock") or text_in(fact.value, "seal")


def course(facts: Iterable[Fact], skew: int) -> Course:
    """How the seal of one chain was put on and changed. Only an authority's opening lets another take its place."""
    ordered = sorted(facts, key=lambda f: (f.at, f.key, f.source, f.record, f.scope, f.id))
    spans = openings_of(ordered, skew)
    on: list[str] = []
    numbers: list[tuple[int, str]] = []
    breaches: list[Fact] = []
    named: set[str] = set()
    off: Fact | None = None
    for f in ordered:
        what, number = f.key[2], lock_of(f)
        ours = f.rank is Rank.AUTHORITY or any(a <= f.at and last_instant(f) <= b for a, b in spans)
        if what in TAKEN_OFF:
            new = text_in(f.value, "new") or text_in(f.value, "new_seal") if what != "removed" else ""
            if not (ours or (new and new in named)):
                breaches.append(f)
                continue
            on = [n for n in on if n != number] if number in on else []
            if new:
                until = instant_in(f.value, "until")
                numbers.append((f.at if until is None else until, new))
                named.add(new)
                on.append(new)
            off = None if on else f
        elif number and number not in on and (what in APPLIED or (off is not None and what in GOOD)):
            if on and not (ours or number in named):
                breaches.append(f)
            else:
                numbers.append((f.at, number))
            on.append(number)
            off = None
    return Course(tuple(on), tuple(sorted(numbers)), tuple(breaches), off)


def seal_verdicts(view: View) -> tuple[SealVerdict, ...]:
    """One verdict for each chain that this side looks at."""
    chains = view.rules.chains
    if not chains:
        return ()
    facts: dict[str, list[Fact]] = {c: [] for c in chains}
    for f in view.of("seal"):
        if f.key[1] in facts:
            facts[f.key[1]].append(f)
    return tuple(_verdict(view, c, facts[c]) for c in chains)


def _verdict(view: View, chain: str, facts: list[Fact]) -> SealVerdict:
    """FAILED until an authorised opening explains it; a later good reading does not heal a broken seal."""
    if not facts:
        return SealVerdict(chain, Seal.NO_READING)
    skew = view.rules.seal_skew
    openings = openings_of(facts, skew)
    readings = sorted((_reading(view, f, openings) for f in facts), key=_order)
    failed = any(r.what in ALARMS and not r.explained for r in readings)
    good = max((r.at for r in readings if r.here and r.what in GOOD), default=NEVER)
    started = max((last_instant(f) for f in facts if f.key[2] == READING and _here(view, f)), default=NEVER)
    lost = max((last_instant(f) for f in facts if f.key[2] in LOST), default=NEVER)
    back = max((f.at for f in facts if f.key[2] in GOOD or f.key[2] in RESTORED), default=NEVER)
    overflow = _overflow(readings)
    breach = max((last_instant(f) for f in course(facts, skew).breaches), default=NEVER)
    looked = max((f.at for f in facts if f.rank is Rank.AUTHORITY and (f.key[2] in GOOD or f.key[2] == OPENED)), default=NEVER)
    if failed:
        verdict = Seal.FAILED
    elif overflow or breach >= max(looked, 0):          # until an authority has looked at it itself
        verdict = Seal.UNPROVEN
    elif started > good:
        verdict = Seal.READING
    elif lost != NEVER and lost >= back:
        verdict = Seal.UNPROVEN
    else:
        verdict = Seal.OK if good != NEVER else Seal.NO_READING
    own = any(r.here and r.what in GOOD and r.source == view.rules.authority for r in readings)
    return SealVerdict(chain, verdict, tuple(readings), own, overflow)


def _here(view: View, f: Fact) -> bool:
    """Taken at this side in this visit: what applies to every side must name this one."""
    return f.at >= view.visit_at and (f.side != EVERYWHERE or (view.rules.side != "" and text_in(f.value, "side") == view.rules.side))


def _reading(view: View, f: Fact, openings: list[tuple[int, int]]) -> Reading:
    what = f.key[2]
    explained = what in ALARMS and any(a <= f.at and last_instant(f) <= b for a, b in openings)
    return Reading(what, f.at, f.source, lock_of(f), text_in(f.value, "place"), _here(view, f), explained, evidence_of(f))


def _order(r: Reading) -> tuple[int, str, str, str, str, str, bool]:
    e = r.evidence
    return r.at, r.what, r.source, r.seal, r.place, f"{e.id}/{e.what}/{e.code}/{e.number}" if e else "", r.here


def _overflow(readings: list[Reading]) -> bool:
    if len(readings) <= PER_LOCK_MAX:
        return False
    seen: dict[tuple[bool, str], int] = {}
    for r in readings:
        if r.what in ALARMS or r.what == OPENED:
            kind = (r.what in ALARMS, r.seal)
            seen[kind] = seen.get(kind, 0) + 1
    return any(n > PER_LOCK_MAX for n in seen.values())
