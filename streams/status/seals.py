"""Seal chains at one side: each stands alone (status-model section 8)."""
from __future__ import annotations

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
READING = "reading"


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
    openings = [
        (f.at - skew, (f.at if (end := instant_in(f.value, "until")) is None else end) + skew)
        for f in facts if f.key[2] == OPENED and f.rank is Rank.AUTHORITY
    ]
    readings = sorted((_reading(view, f, openings) for f in facts), key=_order)
    failed = any(r.what in ALARMS and not r.explained for r in readings)
    good = max((r.at for r in readings if r.here and r.what in GOOD), default=NEVER)
    started = max((last_instant(f) for f in facts if f.key[2] == READING and _here(view, f)), default=NEVER)
    lost = max((last_instant(f) for f in facts if f.key[2] in LOST), default=NEVER)
    back = max((f.at for f in facts if f.key[2] in GOOD or f.key[2] in RESTORED), default=NEVER)
    overflow = _overflow(readings)
    if failed:
        verdict = Seal.FAILED
    elif overflow:
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
    lock = f.value if isinstance(f.value, str) else text_in(f.value, "lock") or text_in(f.value, "seal")
    return Reading(what, f.at, f.source, lock, text_in(f.value, "place"), _here(view, f), explained, evidence_of(f))


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
