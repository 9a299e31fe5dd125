"""Planned incidents: which consignment of which train they strike, so that a demo shows each at least once. All others strike by rate."""
from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

import msgspec

from streams.simulate.cargo import Consignment
from streams.simulate.route import Way

if TYPE_CHECKING:
    from collections.abc import Sequence


class At(Protocol):
    """A post, as far as incidents look at it."""

    @property
    def authority(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def crossing(self) -> str: ...


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One planned incident: what, and at which posts it may be."""

    what: str
    kinds: tuple[str, ...] = ("ENTRY",)
    authorities: tuple[str, ...] = ()
    """Empty = any."""
    crossing: str = ""
    direction: str = ""
    gtt: bool = False
    """Strikes an enrolled consignment."""


DOSTYK = "CN-KZ-ALASHANKOU-DOSTYK"
PLANS: tuple[Plan, ...] = (
    Plan(what="lock_broken", authorities=("KZ",), crossing=DOSTYK, direction="west", gtt=True),
    Plan(what="left_behind", authorities=("KZ",), crossing=DOSTYK, direction="west"),
    Plan(what="late"),
    Plan(what="late", authorities=("PL", "LT", "RO", "BG"), direction="west"),
    Plan(what="amendment"),
    Plan(what="amendment", authorities=("PL", "LT", "BG", "RO")),
    Plan(what="rejection", authorities=("PL", "LT", "BG", "RO"), direction="west"),
    Plan(what="rejection", kinds=("EXIT",), authorities=("CN",), direction="west"),
    Plan(what="withdrawal", authorities=("PL", "LT", "BG", "RO", "KZ", "RU"), direction="west"),
    Plan(what="information", authorities=("PL", "LT", "BG", "RO"), direction="west"),
    Plan(what="information"),
    Plan(what="inspection", authorities=("KZ", "RU", "MN"), direction="west"),
    Plan(what="inspection", authorities=("CN",), direction="east"),
    Plan(what="inspection", kinds=("EXIT",), authorities=("CN",), direction="west"),
    Plan(what="discrepancy", authorities=("PL", "LT", "BG", "RO", "RU", "KZ")),
    Plan(what="hold", authorities=("KZ", "RU", "PL")),
    Plan(what="hold", authorities=("CN",), direction="east"),
    Plan(what="refusal", authorities=("CN", "KZ", "RU")),
    Plan(what="agency_hold"),
    Plan(what="missing_notice"),
    Plan(what="left_without_release", authorities=("BY", "KZ", "RU", "MN", "GE", "AZ"), kinds=("EXIT", "ENTRY")),
    Plan(what="set_out", kinds=("LEG",), direction="west"),
    Plan(what="ecommerce", kinds=("EXIT",), authorities=("CN",), direction="west"),
    Plan(what="heavy", kinds=("ENTRY",), direction="west"),
)
"""In the order in which trains are offered to them. Territory holds and trains of empties are planned by the journey itself."""


def strikes(rng: random.Random, consignment: Consignment, what: str, rate: float, post: At) -> bool:
    """Whether this happens to this consignment here: because it is planned for this post, or by rate where nothing is planned for it.

    A consignment with a planned incident has no others by chance, so that each story stays readable.
    """
    by_chance = rng.random() < rate
    if consignment.story:
        place = consignment.story.get(what)
        if place == f"{post.crossing}:{post.authority}:{post.kind}":
            del consignment.story[what]
            consignment.told.add(what)
            return True
        return False
    return by_chance and not consignment.told


def assign(ways: Sequence[tuple[int, Way]]) -> dict[int, list[tuple[Plan, str]]]:
    """Train -> its planned incidents with the side at which each happens. Every plan goes to the train that fits and has fewest so far."""
    found: dict[int, list[tuple[Plan, str]]] = {index: [] for index, _ in ways}
    for plan in PLANS:
        fitting = [(len(found[index]), index, side) for index, way in ways if (side := _side(plan, way))]
        if fitting:
            _, index, side = min(fitting)
            found[index].append((plan, side))
    return {index: plans for index, plans in found.items() if plans}


def _side(plan: Plan, way: Way) -> str:
    """The last side of this way at which the plan may happen; empty when it does not fit."""
    if plan.direction and plan.direction != way.direction:
        return ""
    if "LEG" in plan.kinds:
        return "LEG" if len(way.stops) > 20 else ""
    best = ""
    for passed in way.passes:
        if not passed.customs or (plan.crossing and passed.crossing.id != plan.crossing):
            continue
        for authority, kind in ((passed.exit_authority, "EXIT"), (passed.entry_authority, "ENTRY")):
            if kind in plan.kinds and (not plan.authorities or authority in plan.authorities):
                best = f"{passed.crossing.id}:{authority}:{kind}"
    return best
