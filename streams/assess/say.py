"""What is said of one side: its update, written out only when somebody asks for it, and what may be known without it."""
from __future__ import annotations

from collections.abc import Callable

from streams.assess.actions import ACTIONS_MAX
from streams.assess.findings import Raised
from streams.assess.scopes import INNER
from streams.assess.updates import flags_of, update_of
from streams.reference.model import Reference
from streams.rules.bord import waiting_since
from streams.rules.case import SideCase, Trip
from topics.events.outputs import ClearanceUpdate
from topics.facts import NEVER

UNKNOWN = (None, None, None)
NOTHING: frozenset[str] = frozenset()


class Say:
    """One side as it was assessed. Several assessments share one as long as nothing in it can have changed."""

    __slots__ = ("_crowded", "_digest", "_parts", "_update", "flags", "named", "side", "times", "until", "waits")

    def __init__(self, trip: Trip, side: SideCase, raised: Raised, reference: Reference, pack: str, like: Say | None = None) -> None:
        """`like`: what was said before of this side, when only its ETA and what rides on it has changed since."""
        assert side.status is not None
        self.side = side
        self._parts: tuple[Trip, Raised, Reference, str] | None = (trip, raised, reference, pack)
        self._update: ClearanceUpdate | None = None
        self._crowded = False
        self._digest: bytes | None = like._digest if like is not None and not like._crowded else None
        self.flags: frozenset[str] = frozenset()
        if like is not None:
            self.flags = like.flags
        elif side.status is not INNER:
            self.flags = frozenset(flags_of(trip, side, side.status, raised))
        self.times = times_of(side.eta if side.seen == NEVER else None, tuple(f.due for f in side.filings))
        if side.status is INNER and side.id not in raised.findings:
            self.named, self.until, self.waits = NOTHING, None, False
            return
        self.named = like.named if like is not None else evidence_named(raised, side)
        self.until = until_of(side, raised, trip.now)
        self.waits = _waits(side, reference)

    @property
    def update(self) -> ClearanceUpdate:
        """The side's status, revision 0."""
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


def until_of(side: SideCase, raised: Raised, now: int) -> int | None:
    """Until when the clock alone changes nothing of this side; None = never."""
    assert side.status is not None
    due = [d for d in raised.due.get(side.id, ()) if d > now]
    due += [s.next_due for s in side.status.scopes.values() if s.next_due is not None]
    due += [f.due_next for f in side.filings if f.due_next is not None and f.due_next > now]
    return min(due, default=None)


def _waits(side: SideCase, reference: Reference) -> bool:
    """The goods wait at a post with working hours: what is said changes when it opens and closes."""
    crossing = reference.crossings.get(side.crossing)
    return crossing is not None and side.authority in crossing.calendar and waiting_since(side) != NEVER
