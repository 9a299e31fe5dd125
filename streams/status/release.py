"""The release row of a side: which group is satisfied by which member, and what an agreement grants (section 6)."""
from __future__ import annotations

from msgspec import structs

from streams.status.documents import Documents
from streams.status.states import DocState, Evidence, Group, Seal, SealVerdict, evidence_of
from streams.status.view import View
from topics.facts import NEVER

Proof = tuple[int, tuple[Evidence, ...]]
"""When a member came to stand, and by what."""


class Release:
    """The groups of one scope, judged."""

    __slots__ = ("decided", "granted", "groups", "missing", "not_checked")

    def __init__(self, view: View, docs: Documents, every: Documents, kinds: dict[str, DocState], agreed: bool) -> None:
        rules = view.rules
        self.groups: list[Group] = []
        self.missing: list[Group] = []
        self.not_checked: set[str] = set()
        self.decided = False
        for group in rules.release:
            decides = bool(group & rules.decision)
            skipped = frozenset() if decides else group & rules.not_observed       # never the decision
            self.not_checked |= skipped
            members = (group & rules.decision if decides else group) - skipped
            if not members:
                continue
            self.decided |= decides
            gift = agreed and bool(members & rules.auto_release) and not _stained(members, every)
            judged = _judge(view, members, docs, kinds) or Group(tuple(sorted(members)), by_agreement=gift)
            judged = structs.replace(judged, decides=decides, not_checked=tuple(sorted(skipped)))
            self.groups.append(judged)
            if not judged.satisfied_by:
                self.missing.append(judged)
        self.granted = self.decided and all(g.by_agreement for g in self.missing)


def _judge(view: View, members: frozenset[str], docs: Documents, kinds: dict[str, DocState]) -> Group | None:
    """By the first member that stands; None when none does."""
    names = tuple(sorted(members))
    for member in names:
        proof = _proof(view, member, docs, kinds)
        if proof is not None:
            return Group(names, satisfied_by=member, at=proof[0], evidence=proof[1])
    return None


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


def _stained(members: frozenset[str], every: Documents) -> bool:
    """Never by agreement against a word the authority has once said about a document of this group."""
    about = {m.partition(":")[2] for m in members}
    return any(d.stained for d in every.values() if d.kind in about)


def agreement_holds(view: View, ready: bool, seals: tuple[SealVerdict, ...]) -> bool:
    """Ready, presented, and every chain has a good reading by this authority at this side."""
    return ready and view.presented != NEVER and bool(seals) and all(s.verdict is Seal.OK and s.own_good for s in seals)
