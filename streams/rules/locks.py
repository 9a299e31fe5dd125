"""A container's seal chain as rules need it: what is on, since when, what broke it. Chains are separate (status-model section 8)."""
from __future__ import annotations

import msgspec

from streams.rules.case import Trip
from streams.status.seals import ALARMS, APPLIED, GOOD, LOST, OPENED, RESTORED, course, openings_of
from streams.status.states import text_in
from topics.facts import MINUTE, NEVER, Fact

CUSTOMS_LOCK = "customs_lock"
SKEW = MINUTE
DEVIATION = frozenset({"route_deviation", "deviation"})


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """One chain of one container. Instants in microseconds, NEVER when it has not happened."""

    name: str
    scope: str
    seal: str = ""
    """Number of the seal that is on: the last applied or put on in an authorised opening."""
    first: str = ""
    """Number of the first seal of the trip."""
    armed_at: int = NEVER
    armed: Fact | None = None
    standard: str = ""
    consignment: str = ""
    failed: Fact | None = None
    """First alarm outside every authorised opening."""
    lost: Fact | None = None
    """Signal or battery lost and nothing good since."""
    opened: Fact | None = None
    """Last authorised opening."""
    deviated: Fact | None = None
    replaced_at: int = NEVER
    """When the seal that is on took the place of another."""
    both_on: tuple[str, ...] = ()
    """Numbers of seals that claim to be on at once: two applied and neither taken off in an authority's opening."""
    breached: Fact | None = None
    """First time that it was taken off, replaced, opened or doubled outside every opening of an authority. A good reading heals nothing."""
    off: Fact | None = None
    """The authority took it off, and nothing was put on since."""

    @property
    def intact(self) -> bool:
        return self.armed_at != NEVER and self.failed is None and self.lost is None and self.breached is None and self.off is None


def chains_of(trip: Trip, scope: str) -> list[Chain]:
    """Every chain of a container that anything was said of, by name."""
    known: list[Chain] | None = trip.chains.get(scope)
    if known is None:
        by_name: dict[str, list[Fact]] = {}
        for fact in trip.seals(scope):
            by_name.setdefault(fact.key[1], []).append(fact)
        known = trip.chains[scope] = [_chain(name, scope, by_name[name]) for name in sorted(by_name)]
    return known


def chain_of(trip: Trip, scope: str, name: str = CUSTOMS_LOCK) -> Chain | None:
    """The chain of this name; None when nothing was said of it."""
    return next((c for c in chains_of(trip, scope) if c.name == name), None)


def _chain(name: str, scope: str, facts: list[Fact]) -> Chain:
    openings, went = openings_of(facts, SKEW), course(facts, SKEW)
    applied = [f for f in facts if f.key[2] in APPLIED]
    failed = [f for f in facts if f.key[2] in ALARMS and not any(a <= f.at <= b for a, b in openings)]
    lost = [f for f in facts if f.key[2] in LOST]
    good = max((f.at for f in facts if f.key[2] in GOOD or f.key[2] in RESTORED), default=NEVER)
    numbers = went.numbers
    armed = applied[0] if applied else None
    return Chain(
        name=name, scope=scope, seal=numbers[-1][1] if numbers else "", first=numbers[0][1] if numbers else "",
        armed_at=armed.at if armed else NEVER, armed=armed, standard=next((s for f in applied if (s := text_in(f.value, "standard"))), ""),
        consignment=next((s for f in applied if (s := text_in(f.value, "document"))), ""), failed=failed[0] if failed else None,
        lost=lost[-1] if lost and lost[-1].at >= good else None, opened=next((f for f in reversed(facts) if f.key[2] == OPENED), None),
        deviated=next((f for f in facts if f.key[2] in DEVIATION), None),
        replaced_at=numbers[-1][0] if len({n for _, n in numbers}) > 1 else NEVER, both_on=went.on if len(went.on) > 1 else (),
        breached=went.breaches[0] if went.breaches else None, off=went.off)
