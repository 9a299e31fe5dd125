"""The release row of a side: which group is satisfied by which member, and what an agreement grants (section 6)."""
from __future__ import annotations

from functools import cache

from streams.status.documents import Documents
from streams.status.states import DocState, Evidence, Group, Seal, SealVerdict, evidence_of
from streams.status.view import View
from topics.facts import NEVER

Proof = tuple[int, tuple[Evidence, ...]]
"""When a member came to stand, and by what."""
Row = tuple[tuple[str, ...], bool, tuple[str, ...]]
"""(members, decides, members that no source can deliver)."""


@cache
def row_of(release: tuple[frozenset[str], ...], decision: frozenset[str], not_observed: frozenset[str]) -> tuple[Row, ...]:
    """The groups as they are asked for: of the one that decides only what decides, and never left out."""
    row = []
    for group in release:
        decides = bool(group & decision)
        skipped: frozenset[str] = frozenset() if decides else group & not_observed
        row.append((tuple(sorted((group & decision if decides else group) - skipped)), decides, tuple(sorted(skipped))))
    return tuple(row)


class Release:
    """The groups of one scope, judged."""

    __slots__ = ("decided", "granted", "groups", "missing", "not_checked")

    def __init__(self, view: View, docs: Documents, every: Documents, kinds: dict[str, DocState], agreed: bool) -> None:
        rules = view.rules
        self.groups: list[Group] = []
        self.missing: list[Group] = []
        self.not_checked: set[str] = set()
        self.decided = False
        for names, decides, unseen in row_of(rules.release, rules.decision, rules.not_observed):
            self.not_checked.update(unseen)
            if not names:
                continue
            self.decided |= decides
            member, at, evidence = _standing(view, names, docs, kinds)
            gift = not member and agreed and not rules.auto_release.isdisjoint(names) and not _stained(names, every)
            judged = Group(names, decides, member, gift, at, evidence, unseen)
            self.groups.append(judged)
            if not member:
                self.missing.append(judged)
        self.granted = self.decided and all(g.by_agreement for g in self.missing)


def _standing(view: View, names: tuple[str, ...], docs: Documents, kinds: dict[str, DocState]) -> tuple[str, int, tuple[Evidence, ...]]:
    """The first member that stands, since when and by what; "" when none does."""
    for member in names:
        proof = _proof(view, member, docs, kinds)
        if proof is not None:
            return member, proof[0], proof[1]
    return "", NEVER, ()


def _proof(view: View, member: str, docs: Documents, kinds: dict[str, DocState]) -> Proof | None:
    """Does this member stand? A release needs every living number of its kind; what is used up releases nothing more."""
    if member == "presented":
        return (view.presented, (evidence_of(view.presented_by),)) if view.presented_by is not None else None
    what, _, kind = member.partition(":")
    if kind not in kinds:
        return None
    living = [d for d in docs.values() if d.kind == kind and d.alive]
    if what == "ended":
        if not living or any(d.ended_at == NEVER for d in living):
            return None
        return max(d.ended_at for d in living), tuple(d.ended_by for d in living if d.ended_by)
    if kinds[kind] < DocState.REGISTERED:
        return None
    if what == "registered":
        return max(d.registered_at for d in living), tuple(e for d in living if (e := d.registered_by or d.decided_by))
    unspent = [d for d in living if d.ended_at == NEVER]
    if what != "released" or not unspent or any(d.state is not DocState.RELEASED for d in unspent):
        return None
    return max(d.released_at for d in unspent), tuple(d.released_by for d in unspent if d.released_by)


def _stained(members: tuple[str, ...], every: Documents) -> bool:
    """Never by agreement against a word the authority has once said about a document of this group."""
    about = {m.partition(":")[2] for m in members}
    return any(d.stained for d in every.values() if d.kind in about)


def agreement_holds(view: View, ready: bool, seals: tuple[SealVerdict, ...]) -> bool:
    """Ready, presented, and every chain has a good reading by this authority at this side."""
    return ready and view.presented != NEVER and bool(seals) and all(s.verdict is Seal.OK and s.own_good for s in seals)
