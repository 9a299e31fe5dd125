"""How fresh the sources are that a side depends on: stale is said, silence is never "cleared"."""
from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from streams.rules.case import SideCase, Trip
from topics.events.internal import FreshnessChanged, MaskFacts
from topics.events.outputs import FreshSaid
from topics.facts import EVERYWHERE, Fact, Rank


class Sources(msgspec.Struct, frozen=True):
    """What is known of each source, from the broadcasts."""

    said: Mapping[str, FreshnessChanged]

    def stale(self, source: str) -> bool:
        known = self.said.get(source)
        return known is not None and not known.live


def sources_of(broadcasts: Iterable[msgspec.Struct]) -> Sources:
    return Sources({b.source: b for b in broadcasts if isinstance(b, FreshnessChanged)})


MASKED = "mask:"
"""Before the name of a side, as facts name it, of which an authority's or agency's words are masked."""
SAYING = frozenset({"doc", "demand", "agency", "condition"})
"""Heads of the words by which authorities and agencies decide."""


def unmasked(facts: Iterable[Fact], broadcasts: Iterable[msgspec.Struct]) -> tuple[list[Fact], tuple[str, ...]]:
    """The living facts: withdrawn ones and those of a retracted feed (closed interval of event times) count as absent. And the sides that an
    absent word of an authority is about: nothing is free because somebody took back what he said."""
    masks = [
        ({m.source, m.source.removeprefix("customs-").upper()} if m.source.startswith("customs-") else {m.source}, m.since, m.until)
        for m in broadcasts if isinstance(m, MaskFacts) and not m.lifted
    ]
    living = [f for f in facts if f.value is not None]
    if not masks:
        return living, ()
    absent = [f for f in living if any(f.source in names and since <= f.at <= until for names, since, until in masks)]
    if not absent:
        return living, ()
    gone = set(map(id, absent))
    sides = {f.side if f.side != EVERYWHERE else f"@{f.source}" for f in absent if f.key[0] in SAYING}
    return [f for f in living if id(f) not in gone], tuple(sorted(MASKED + side for side in sides))


def freshness(trip: Trip, side: SideCase, sources: Sources) -> tuple[FreshSaid, ...]:
    """The side's authority, and whoever reported the goods here. `known` is false when nothing was ever heard from it."""
    if not side.required:
        return ()
    heard: dict[str, int] = {}
    for fact in side.facts:
        if fact.rank in (Rank.RAILWAY, Rank.TERMINAL) and fact.key[0] in ("seen", "handed_over", "presented", "departed", "run"):
            heard[fact.source] = max(heard.get(fact.source, 0), fact.at)
    party = f"customs-{side.authority.lower()}"
    own = max((f.at for f in side.facts if f.source == side.authority), default=0)
    names = [party, *sorted(n for n in heard if n in trip.reference.parties)]
    found = []
    for name in names:
        said = sources.said.get(name)
        last = own if name == party else heard.get(name, 0)
        live = said.live if said else last > 0
        found.append(FreshSaid(                         # of a live source only its word here is known: it may have spoken of others since
            source=name, live=live, last_event=max(last, said.last_event if said and not live else 0) or None,
            known=said is not None or last > 0))
    return tuple(found)
