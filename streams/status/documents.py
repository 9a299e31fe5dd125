"""Each document's own life: sent, registered, amended, released, and how that ends (status-model section 4)."""
from __future__ import annotations

from streams.status.states import DocState, Document, evidence_of, instant_in, text_in
from streams.status.view import View, last_instant, outranks
from topics.facts import NEVER, Fact, Rank

Name = tuple[str, str]
"""(kind, number)."""
Documents = dict[Name, Document]

FILER_SAYS = frozenset({"sent", "amendment_sent"})
"""Phases that only the filer can know; every other one needs a competent authority."""
AGAINST = ("rejected", "invalidated", "revoked")
"""Phases that end something: of a day without times they count last."""
SHOWN = ("registered", "released", "ended")
"""Phases whose message explanations name."""
FOR = ("sent", "registered", "released", "ended")
REPORTED = {"registered": "registration_reported", "amended": "registration_reported", "released": "release_reported",
            "ended": "release_reported", "rejected": "rejection_reported", "invalidated": "rejection_reported",
            "revoked": "rejection_reported"}
"""Said by somebody who is not competent: a flag, never the state."""


class _Words:
    """What was said of one document, by phase."""

    __slots__ = ("dated", "own", "said", "times", "until")

    def __init__(self) -> None:
        self.times: dict[str, int] = {}
        self.own: dict[str, int] = {}
        self.said: dict[str, Fact] = {}
        self.dated: list[tuple[str, int, int]] = []
        self.until: tuple[int, int] | None = None

    def hear(self, f: Fact, phase: str, own: bool) -> None:
        at = f.at
        if f.dated:
            self.dated.append((phase, at, last_instant(f)))
            if phase in AGAINST:
                at = last_instant(f)
        held = self.times.get(phase, NEVER)
        if at > held:
            self.times[phase], self.said[phase] = at, f
        elif at == held and outranks(f, self.said[phase]):
            self.said[phase] = f
        if own:                                         # what it had open falls only by what is surely later
            at = f.at if phase in ("rejected", "invalidated") else at
            self.own[phase] = max(self.own.get(phase, NEVER), at)
        if f.value is not True and phase in ("registered", "amended"):
            until = instant_in(f.value, "valid_until")
            if until is not None and (self.until is None or (f.at, until) > self.until):
                self.until = f.at, until


def documents(view: View, now: int) -> tuple[Documents, Documents, set[str]]:
    """(every document, those that count in this visit and run, flags about what others reported).

    A visit's documents count by what was said of them since it began; a run's only when the goods leave with that run.
    """
    rules = view.rules
    every: dict[Name, _Words] = {}
    fresh: dict[Name, _Words] = {}
    flags: set[str] = set()
    consumed = rules.per_visit if view.visit_at != NEVER else frozenset()
    for f in view.of("doc"):
        _, kind, number, phase = f.key
        if phase not in FILER_SAYS and not view.competent(kind, f.source):
            if phase in REPORTED and not _elsewhere(view, kind, phase, f):
                flags.add(REPORTED[phase])
            continue
        name, own = (kind, number), f.source == rules.authority
        _words(every, name).hear(f, phase, own)
        if kind in consumed and (last_instant(f) if phase in AGAINST else f.at) > view.visit_at:
            _words(fresh, name).hear(f, phase, own)
    judged = now if view.presented_by is None else min(now, last_instant(view.presented_by))     # validity does not run on once presented
    lives = {name: _life(name, every[name], judged) for name in sorted(every)}
    if not consumed and not rules.per_run:
        return lives, lives, flags
    counting = {name: d for name, d in lives.items() if d.kind not in consumed and not (d.kind in rules.per_run and d.number != view.run)}
    counting |= {name: _life(name, words, judged) for name, words in fresh.items() if not (name[0] in rules.per_run and name[1] != view.run)}
    return lives, dict(sorted(counting.items())), flags


def _elsewhere(view: View, kind: str, phase: str, f: Fact) -> bool:
    """Another authority of the way ends a transit, or speaks of a document on which nothing is decided here: no hearsay, and nothing to us."""
    rules = view.rules
    if f.rank is not Rank.AUTHORITY:
        return False
    used = kind in rules.filings or any(member.partition(":")[2] == kind for group in rules.release for member in group)
    return not used or (phase == "ended" and kind in rules.transit)


def _words(of: dict[Name, _Words], name: Name) -> _Words:
    words = of.get(name)
    if words is None:
        words = of[name] = _Words()
    return words


def _life(name: Name, words: _Words, judged: int) -> Document:
    times = words.times.get
    sent, registered, released, ended = times("sent", NEVER), times("registered", NEVER), times("released", NEVER), times("ended", NEVER)
    rejected, invalidated, revoked = times("rejected", NEVER), times("invalidated", NEVER), times("revoked", NEVER)
    end = max(rejected, invalidated)
    proof = max(registered, released, ended)            # a release or an ending proves a registration
    in_force = released > end and released > revoked
    valid_until = words.until[1] if words.until else None
    word = max(proof, end)
    if proof > end:
        state = DocState.RELEASED if in_force else DocState.REGISTERED
        decided = "released" if in_force else "registered" if registered != NEVER else "ended" if ended == proof else "released"
        if not in_force and valid_until is not None and valid_until <= judged:
            state, word = DocState.EXPIRED, max(proof, valid_until)
    elif max(sent, end) == NEVER:
        state, decided = DocState.NONE, ""
    elif sent > end:
        state, word, decided = DocState.SENT, sent, "sent"
    else:
        state, decided = (DocState.INVALIDATED, "invalidated") if invalidated == end else (DocState.REJECTED, "rejected")
    own = words.own.get
    granted = own("released", NEVER)
    settled = max(own("rejected", NEVER), own("invalidated", NEVER), granted if granted > own("revoked", NEVER) else NEVER)
    said = {phase: evidence_of(fact) for phase, fact in words.said.items() if phase == decided or phase in SHOWN}.get
    since = registered if registered != NEVER else proof
    if words.dated:                                     # of a day: conditions must be proven after the day
        since = max([since, *(last for phase, _, last in words.dated if phase == "registered" or (registered == NEVER and phase in FOR[2:]))])
    return Document(
        name[0], name[1], state, max(since, _amended(words)), released if in_force else NEVER, ended, word, settled, own("assessed", NEVER),
        end != NEVER or revoked != NEVER, valid_until, _official(words), said(decided), said("registered"), said("released") if in_force else None,
        said("ended"), _flags(words, state, end))


def _amended(words: _Words) -> int:
    at = words.times.get("amended", NEVER)
    return max([at, *(last for phase, _, last in words.dated if phase == "amended")]) if words.dated else at


def _official(words: _Words) -> str:
    """The number that the authority gave it last, as registered before as released."""
    for phase in ("amended", *SHOWN):
        fact = words.said.get(phase)
        if fact is not None and fact.value is not True and (number := text_in(fact.value, "official")):
            return number
    return ""


def _flags(words: _Words, state: DocState, end: int) -> tuple[str, ...]:
    """Anomalies and loose ends: what the authority said last still stands."""
    times = words.times
    flags = []
    if end > times.get("released", NEVER) != NEVER or ("revoked" in times and "released" not in times):
        flags.append("out_of_sequence")                 # cancelled after release: both kept
    if state >= DocState.REGISTERED:
        asked, refused, granted = times.get("amendment_sent", NEVER), times.get("amendment_rejected", NEVER), times.get("amended", NEVER)
        if asked != NEVER and asked >= max(refused, granted):
            flags.append("amendment_pending")
        elif refused > granted:
            flags.append("amendment_rejected")
    if times.get("enquiry", NEVER) > times.get("ended", NEVER):
        flags.append("transit_enquiry")
    if words.dated and any(
        first <= times.get(other, NEVER) <= last
        for phase, first, last in words.dated for other in (FOR if phase in AGAINST else AGAINST if phase in FOR else ())
    ):
        flags.append("order_unknown")
    return tuple(flags)


def kind_states(docs: Documents) -> dict[str, DocState]:
    """Every kind as good as its best number, unless another was rejected or ran out later than the good ones were decided."""
    by_kind: dict[str, list[Document]] = {}
    for (kind, _), d in docs.items():
        by_kind.setdefault(kind, []).append(d)
    return {kind: mine[0].state if len(mine) == 1 else _kind_state(mine) for kind, mine in by_kind.items()}


def _kind_state(mine: list[Document]) -> DocState:
    best = max(d.state for d in mine)
    if best < DocState.REGISTERED:
        return best
    good = max(d.word_at for d in mine if d.alive)
    return min((d.state for d in mine if d.state in (DocState.REJECTED, DocState.EXPIRED) and d.word_at >= good), default=best)
