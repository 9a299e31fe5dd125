"""What is said of one side: its update, written out only when somebody asks for it, and what may be known without it."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from streams.assess.actions import ACTIONS_MAX
from streams.assess.findings import Raised
from streams.assess.scopes import INNER
from streams.assess.updates import flags_of, update_of
from streams.reference.model import Reference
from streams.rules.bord import waiting_since
from streams.rules.case import SideCase, Trip
from streams.rules.hours import never_closes
from topics.events.outputs import ClearanceUpdate
from topics.facts import NEVER

UNKNOWN = (None, None, None)
HOURS = "BORD-03"
"""The one rule that looks at working hours; it says when to look again."""
NOTHING: frozenset[str] = frozenset()


class Named(Protocol):
    """Names of events."""

    def isdisjoint(self, other: Iterable[str], /) -> bool:
        """Is none of these surely among them?"""


class Say:
    """One side as it was assessed. Several assessments share one as long as nothing in it can have changed."""

    __slots__ = (
        "_behind", "_crowded", "_digest", "_parts", "_update", "amends", "bare", "due", "flags", "kept", "named", "said", "side", "times", "until", "waits")

    def __init__(self, trip: Trip, side: SideCase, raised: Raised, reference: Reference, pack: str, like: Say | None = None) -> None:
        """`like`: what was said before of this side, when only its ETA and what rides on it has changed since."""
        assert side.status is not None
        self.side = side
        self._parts: tuple[Trip, Raised, Reference, str] | None = (trip, raised, reference, pack)
        self._update: ClearanceUpdate | None = None
        self._behind: Callable[[str], ClearanceUpdate] | None = None
        self.amends = False
        """Asks to amend a document, where only that is known."""
        self.said = b""
        """Digest of its conditions, where only that is known."""
        self.kept: Any = None
        """What a state keeps of it, made once."""
        self._crowded = False
        self._digest: bytes | None = like._digest if like is not None and not like._crowded else None
        self.flags: frozenset[str] = frozenset()
        if like is not None:
            self.flags = like.flags
        elif side.status is not INNER:
            self.flags = frozenset(flags_of(trip, side, side.status, raised))
        self.times = times_of(side.eta if side.seen == NEVER else None, tuple(f.due for f in side.filings))
        self.named: Named
        self.bare = side.status is INNER and side.id not in raised.findings
        """A border inside a customs territory of which nothing is said."""
        if self.bare:
            self.named, self.until, self.due, self.waits = NOTHING, None, None, False
            return
        self.named = like.named if like is not None else evidence_named(raised, side)
        self.until, self.due = until_of(side, raised, trip.now)
        self.waits = _waits(side, reference, raised)

    @classmethod
    def standing(
        cls, side: SideCase, digest: bytes, times: tuple[int | None, ...], until: int | None, due: int | None, named: Named, flags: frozenset[str],
        behind: Callable[[str], ClearanceUpdate], said: bytes, amends: bool, kept: Any
    ) -> Say:
        """A side that stands as it was said and was not assessed: `behind` gives its update, at the price of the whole."""
        say = cls.__new__(cls)
        say.side, say._digest, say.times, say.until, say.due, say.named, say.flags = side, digest, times, until, due, named, flags
        say.amends = amends
        say._parts, say._update, say._behind, say._crowded, say.bare, say.waits, say.said, say.kept = None, None, behind, True, False, False, said, kept
        return say

    def remembers(self, digest: bytes) -> None:
        """What the digest of its update is, by the last word about it."""
        self._digest = digest

    @property
    def update(self) -> ClearanceUpdate:
        """The side's status, revision 0."""
        if self._update is None and self._behind is not None:
            self._update, self._behind = self._behind(self.side.id), None
        if self._update is None:
            assert self._parts is not None
            (trip, raised, reference, pack), self._parts = self._parts, None        # what it is made of is not kept any longer
            self._update = update_of(trip, self.side, raised, reference, pack, self.flags)
        return self._update

    def digest(self, of: Callable[[ClearanceUpdate], bytes]) -> bytes:
        """What `of` makes of the update, computed once. It must not depend on the times that ride on the ETA."""
        if self._digest is None:
            self._digest = of(self.update)
            self._crowded = len(self.update.actions) >= ACTIONS_MAX         # which of them are left out depends on their times
        return self._digest


def times_of(eta: tuple[int, int, int] | None, dues: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Instants that ride on the ETA: (P10, P50, P90) and the deadline of each filing."""
    return (*(eta or UNKNOWN), *dues)


def evidence_named(raised: Raised, side: SideCase) -> frozenset[str]:
    """Events that conditions and findings of a side name."""
    return frozenset(i for _, f in (*raised.conditions.get(side.id, ()), *raised.findings.get(side.id, ())) for i in f.evidence)


def until_of(side: SideCase, raised: Raised, now: int) -> tuple[int | None, int | None]:
    """(until when the clock alone changes nothing of this side, when it has to be looked at again); None = never. What stood before arrival and
    nobody can mend any more has no due time, and changes by the clock all the same."""
    assert side.status is not None
    dues = [d for d in raised.due.get(side.id, ()) if d > now]
    dues += [f.due_next for f in side.filings if f.due_next is not None and f.due_next > now]
    own = side.status.next_due
    due = min([*dues, own] if own is not None else dues, default=None)
    dues += [f.due for _, f in raised.conditions.get(side.id, ()) if f.due is not None and f.due > now]
    return min([*dues, *(s.next_due for s in side.status.scopes.values() if s.next_due is not None)], default=None), due


def _waits(side: SideCase, reference: Reference, raised: Raised) -> bool:
    """The goods wait at a post with working hours of which it is not known when it opens or closes next: what is said may change at any time."""
    return (waiting_since(side) != NEVER and not never_closes(reference, reference.crossings.get(side.crossing), side.authority)
            and not any(rule.id == HOURS and f.due is not None for rule, f in raised.findings.get(side.id, ())))
