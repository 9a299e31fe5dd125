"""What one assessment leaves to the next, so that only what a new fact can touch is looked at again.

A memo is no state: it is never written, changes no result, and whoever has none assesses the whole. It is not changed once it is made.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from streams.assess.filings import filings_of
from streams.assess.findings import Raised, amends, over, proofs, said_of
from streams.assess.presence import presence
from streams.assess.resolve import filing_order
from streams.assess.route import REACHED
from streams.assess.rows import period_of
from streams.assess.say import NOTHING, Say
from streams.assess.scopes import INNER
from streams.assess.touch import Touched, touched
from streams.reference.model import Reference
from streams.rules.case import SideCase, Trip
from topics.facts import EVERYWHERE, NEVER, WHOLE, Fact, Rank

TRANSMISSION = "GTT-06"
"""The one condition that looks at an ETA."""


class Memo:
    """An assessment and everything that it depended on."""

    __slots__ = ("broadcasts", "due_first", "facts", "limited", "now", "pack", "period", "raised", "reference", "says", "standing", "trip")

    def __init__(
        self, facts: tuple[Fact, ...], reference: Reference, broadcasts: tuple[msgspec.Struct, ...], now: int, pack: str, due_first: dict[str, int],
        limited: tuple[str, ...], trip: Trip, raised: Raised, says: tuple[Say, ...], standing: frozenset[str] = NOTHING
    ) -> None:
        self.facts, self.reference, self.broadcasts, self.now, self.pack, self.due_first = facts, reference, broadcasts, now, pack, due_first
        self.limited, self.trip, self.raised, self.says = limited, trip, raised, says
        self.period = period_of(reference, now)
        self.standing = standing
        """Sides that stand as they were said and were not assessed: only what is kept of them is known."""

    @property
    def weight(self) -> int:
        """Facts and statuses that it holds: about 700 bytes of memory each, as measured of one box and of two hundred items."""
        return len(self.facts) + sum(len(say.side.status.scopes) for say in self.says if say.side.status is not None)

    def amending(self, side: str) -> bool:
        """Does this side ask to amend a document? Whether it may be, the other sides that it serves have a say in."""
        if side in self.standing:
            return next((s.amends for s in self.says if s.side.id == side), True)
        return amends(self.raised, side)

    def holds(
        self, reference: Reference, broadcasts: tuple[msgspec.Struct, ...], now: int, pack: str, due_first: dict[str, int], limited: tuple[str, ...]
    ) -> bool:
        """Is everything as it was that concerns all sides? Agreements, rows and rules change with the period only."""
        return (
            self.reference is reference and self.pack == pack and now >= self.now and self.period == period_of(reference, now) and self.limited == limited
            and self.broadcasts == broadcasts and self.due_first == due_first)


class Derived:
    """The shipment as it is now, with the sides that must be assessed anew."""

    __slots__ = ("anew", "before", "pairs", "raised", "says", "standing", "stood", "trip", "was")

    def __init__(
        self, trip: Trip, anew: list[SideCase], raised: Raised, says: dict[str, Say], before: dict[str, SideCase], was: Raised, pairs: set[str],
        standing: frozenset[str], stood: frozenset[str]
    ) -> None:
        self.trip, self.anew, self.raised, self.says, self.before, self.was, self.pairs = trip, anew, raised, says, before, was, pairs
        self.standing, self.stood = standing, stood
        """Sides that were not assessed: not now either, not before."""

    def undisturbed(self) -> None:
        """Once the conditions are proven: of a side that was touched through the customs-rail link only, and of which the link says what it
        said, everything stands as it did."""
        same = {name for name in self.pairs if name not in self.raised.findings and self._alike(name)}
        if not same:
            return
        self.standing |= same & self.stood
        self.anew[:] = [side for side in self.anew if side.id not in same]
        self.raised.take(self.was, same)
        _put(self.trip, {name: self.before[name] for name in same})

    def _alike(self, name: str) -> bool:
        if name in self.stood:
            return said_of(self.raised.conditions.get(name, ())) == self.says[name].said
        return said_alike(self.raised, self.was, name)

    def spreads(self) -> bool:
        """Has an amendment come or gone? Other sides look at those that are pending (SEAL-04)."""
        return any(pending(side) != pending(self.before[side.id]) for side in self.anew)


def said_alike(one: Raised, other: Raised, side: str) -> bool:
    """Do the conditions of a side say the same in both?"""
    mine, yours = one.conditions.get(side, ()), other.conditions.get(side, ())
    return len(mine) == len(yours) and all(a[0] is b[0] and a[1] == b[1] for a, b in zip(mine, yours, strict=True))


def pending(side: SideCase) -> set[tuple[str, str]]:
    """Documents whose amendment the authority has not answered."""
    if side.status is None:
        return set()
    return {(d.kind, d.number) for s in side.status.scopes.values() for d in s.documents if "amendment_pending" in d.flags}


def derived(
    memo: Memo, living: Sequence[Fact], reference: Reference, broadcasts: tuple[msgspec.Struct, ...], now: int, pack: str,
    due_first: dict[str, int], limited: tuple[str, ...]
) -> Derived | None:
    """What is left to do; None when everything is."""
    if not memo.holds(reference, broadcasts, now, pack, due_first, limited):
        return None
    had, has = set(map(id, memo.facts)), set(map(id, living))
    new, gone = [f for f in living if id(f) not in had], [f for f in memo.facts if id(f) not in has]
    old = memo.trip
    hits = touched(old, [*new, *gone], set(map(id, new)), memo.amending) if _same_shape(memo, living, new, gone) else None
    if hits is None:
        return None
    otherwise, moving = _otherwise(memo, {f.id for f in (*new, *gone)}, now), set(hits.moved)
    hits.anew |= otherwise
    hits.anew |= {name for side in hits.moved if (pair := _pair(old, side)) & memo.standing for name in pair}
    hits.anew |= {name for side in hits.moved & hits.anew for name in _pair(old, side)}
    hits.moved -= hits.anew
    trip = old.again(list(living), now)
    if hits.lodged:
        trip.filings = sorted([*trip.filings, *hits.lodged], key=filing_order)
    if hits.positions:
        trip.any["position"] = [f for f in living if f.side == EVERYWHERE and f.key[0] == "position"]
    placed = _placed(old, hits, set(map(id, new)), set(map(id, gone)))
    before = {s.id: s for s in old.sides}
    raised = memo.raised.again(())
    sides: dict[str, SideCase] = {}
    for name in sorted(hits.moved):
        side = _moved(trip, before[name], placed[name], raised, reference, due_first, now)
        if side is None:
            hits.anew |= _pair(trip, name)
        else:
            sides[name] = side
    _put(trip, sides)
    again = _acknowledged(trip, sides, hits.anew, raised, reference, now)
    if any(before[name].kind == "TERRITORY" for name in hits.anew):
        return None
    for name in hits.anew:
        sides[name] = before[name].again(placed.get(name, before[name].placed), trip.shared)
    _put(trip, sides)
    raised = raised.again(hits.anew)
    says = {s.side.id: s for s in memo.says}
    for side in trip.sides:
        if (side.id in sides or side.id in again) and side.id not in hits.anew:
            says[side.id] = Say(trip, side, raised, reference, pack, like=says[side.id])
    pairs = {name for name in hits.pairs & hits.anew if name not in otherwise and name not in moving}
    return Derived(trip, [s for s in trip.sides if s.id in hits.anew], raised, says, before, memo.raised, pairs, memo.standing - hits.anew, memo.standing)


def _pair(trip: Trip, side: str) -> set[str]:
    """This side and, where the customs-rail link applies, the other one of its crossing: the link looks at the ETA of its entry side."""
    link = trip.links.get(side)
    return {side} if link is None else {link.exit.id, link.entry.id}


def _same_shape(memo: Memo, living: Sequence[Fact], new: Sequence[Fact], gone: Sequence[Fact]) -> bool:
    """Do the parties, the offices that are named and the sides that were reached stay the same?"""
    trip = memo.trip
    lost = {f.source for f in gone if f.rank is Rank.RAILWAY} & trip.railways - {f.source for f in new if f.rank is Rank.RAILWAY}
    if lost and not lost <= {f.source for f in living if f.rank is Rank.RAILWAY}:
        return False
    left = {f.side for f in gone} & trip.reached
    if not _all_in(left, (f.side for f in (*new, *living) if f.key[0] in REACHED)):
        return False                                    # a side that was there only because the goods reached it
    offices = {f.side for f in new if "/office/" in f.side} ^ {f.side for f in gone if "/office/" in f.side}
    return _all_in(offices, (f.side for f in memo.facts)) and _all_in(offices, (f.side for f in living))


def _all_in(wanted: set[str], sides: Iterable[str]) -> bool:
    """Does each of them come up? Looks no further than it must."""
    missing = set(wanted)
    if missing:
        for side in sides:
            missing.discard(side)
            if not missing:
                break
    return not missing


def _otherwise(memo: Memo, events: set[str], now: int) -> set[str]:
    """Sides that change by the clock, and those whose findings name an event that says something else now."""
    return {
        say.side.id for say in memo.says
        if (say.until is not None and now >= say.until) or (say.waits and now != memo.now) or not say.named.isdisjoint(events)}


def _placed(old: Trip, hits: Touched, new: set[int], gone: set[int]) -> dict[str, list[Fact]]:
    """The facts of each touched side, in slot order."""
    more: dict[str, list[Fact]] = {}
    for fact, sides in hits.places:
        if id(fact) in new:
            for side in sides:
                more.setdefault(side.id, []).append(fact)
    found = {}
    for side in old.sides:
        if side.id in hits.anew or side.id in hits.moved:
            kept = [f for f in side.placed if id(f) not in gone]
            found[side.id] = sorted([*kept, *more[side.id]], key=by_slot) if side.id in more else kept
    return found


def by_slot(f: Fact) -> tuple[str, tuple[str, ...], str, str, str]:
    """Order of the slots."""
    return f.side, f.key, f.scope, f.source, f.record


def _put(trip: Trip, sides: dict[str, SideCase]) -> None:
    """Sides that take the place of those of the same id."""
    trip.sides = [sides.get(s.id, s) for s in trip.sides]
    for name, link in trip.links.items():
        if link is not None and (link.exit.id in sides or link.entry.id in sides):
            trip.links[name] = msgspec.structs.replace(
                link, exit=sides.get(link.exit.id, link.exit), entry=sides.get(link.entry.id, link.entry))


def _moved(
    trip: Trip, before: SideCase, placed: list[Fact], raised: Raised, reference: Reference, due_first: dict[str, int], now: int
) -> SideCase | None:
    """The side with another ETA; None when that changes more than times that ride on it."""
    side = before.moved(placed, trip.shared)
    presence(side, [s for s in before.passages if s != WHOLE] or [WHOLE])
    if side.status is INNER or (side.eta == before.eta and side.passages == before.passages):
        return side
    if side.eta is None or before.eta is None or side.seen != NEVER or any(rule.per == "filing" for rule, _ in raised.findings.get(side.id, ())):
        return None
    side.filings = filings_of(trip, side, reference, due_first, now)
    same = len(side.filings) == len(before.filings) and all(
        a.kind == b.kind and a.timing == b.timing and (a.due is None) == (b.due is None) for a, b in zip(side.filings, before.filings, strict=True))
    return side if same else None


def _acknowledged(
    trip: Trip, moved: dict[str, SideCase], anew: set[str], raised: Raised, reference: Reference, now: int
) -> set[str]:
    """The customs-rail link looks at the ETA of its entry side: both its sides hear of it. Gives those of which only a due time moves."""
    again: set[str] = set()
    for name in sorted(moved):
        link = trip.links.get(name)
        if link is None:
            continue
        pair = (link.exit, link.entry)
        if any(s.id in anew for s in pair) or not all(_due_only(trip, s, raised, reference, now) for s in pair):
            anew.update(s.id for s in pair)
        else:
            again.update(s.id for s in pair)
    return again


def _due_only(trip: Trip, side: SideCase, raised: Raised, reference: Reference, now: int) -> bool:
    said = raised.conditions.get(side.id, [])
    places = [n for n, (rule, _) in enumerate(said) if rule.id == TRANSMISSION]
    if not places:
        return True
    found = list(proofs(trip, side, (said[places[0]][0],), reference, now, {}))
    if len(found) != len(places):
        return False
    new = list(said)
    for n, (rule, _, finding) in zip(places, found, strict=True):
        if msgspec.structs.replace(finding, due=said[n][1].due) != said[n][1]:
            return False
        new[n] = (rule, finding)
    raised.conditions[side.id] = new
    standing = () if over(side) else new
    raised.due[side.id] = [f.due for _, f in (*standing, *raised.findings.get(side.id, ())) if f.due is not None]
    return True
