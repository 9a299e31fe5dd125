"""Branches of the customs-rail link's rules, each by the code that it says, and what says another one in its place."""
from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from streams.assess import Assessment
from streams.reference.model import Reference
from tests.streams.border_world import BOX, CN_EXIT, GTT, KZ_ENTRY, T0, condition, demand, reference, seal
from tests.streams.test_assess_story import ARRIVAL, REF, at, look, underway, verdicts
from tests.streams.test_rules_fire import but, with_shipment
from topics.facts import HOUR, MINUTE, Fact, Rank

NOW = T0 + 5 * HOUR
LIMIT = ARRIVAL - reference().limits.gtt_ack_minutes_min * MINUTE
INSPECTED = [*but(underway(), "inspection_waived"), condition(CN_EXIT, "inspection", T0 + 2 * HOUR, "CN")]
OPENED = seal("opened_authorised", T0 + 4 * HOUR, source="CN", rank=Rank.AUTHORITY, act="A-1", until=T0 + 4 * HOUR + MINUTE)
CONTROL = demand(CN_EXIT, "control", "C1", "opened", T0 + 3 * HOUR, "CN")
CLOSED = demand(CN_EXIT, "control", "C1", "closed", T0 + 4 * HOUR, "CN")


def strayed(km: float) -> Fact:
    """A lock's own position, off the line of its corridor."""
    return Fact(side="*", key=("deviation", "locks/p"), at=T0 + 4 * HOUR, source="locks", rank=Rank.SENSOR, scope=BOX, id="locks/p", value={"km": km})


def agreed(**more: object) -> Reference:
    return reference(agreements={GTT.id: msgspec.structs.replace(GTT, **more)})


def said(found: Assessment, side: str = KZ_ENTRY) -> dict[str, str]:
    """Rule -> code of its condition at this side."""
    assert found.memo is not None
    return {rule.id: finding.code for rule, finding in found.memo.raised.conditions.get(side, ())}


def here(facts: list[Fact], now: int = NOW, ref: Reference = REF) -> Callable[[], Assessment]:
    return lambda: look(facts, now, ref)


BRANCHES = {
    # code: (rule, verdict, where it is said, where not, what is said there)
    "GTT_NO_ACK": ("GTT-06", "failed", here(but(underway(), "gtt.partner_ack"), LIMIT), here(but(underway(), "gtt.partner_ack"), LIMIT - 1),
                   "GTT_NO_ACK_YET"),
    "GTT_NO_ETA": ("GTT-06", "unknown", here([f for f in underway() if f.key != ("eta",) or f.side != KZ_ENTRY]), here(underway()), "GTT_ACKNOWLEDGED"),
    "GTT_OPENED_SINCE": ("GTT-07", "failed", here([*INSPECTED, OPENED], ref=agreed(seal_continuity=False)),
                         here([*INSPECTED, OPENED], ref=agreed(seal_continuity=True)), "GTT_INSPECTED"),
    "GTT_INSPECTION_OPEN": ("GTT-07", "unknown", here([*but(underway(), "inspection_waived"), CONTROL]),
                            here([*but(underway(), "inspection_waived"), CONTROL, CLOSED]), "GTT_INSPECTED"),
    "GTT_LOCK_STANDARD_UNKNOWN": (
        "GTT-03", "unknown", here([*but(underway(), "seal"), seal("armed", T0 + 8, standard="")], ref=agreed(lock_standards=("GTT-LOCK",))),
        here(underway(), ref=agreed(lock_standards=("GTT-LOCK",))), "GTT_LOCK"),
    "GTT_DEVIATION": ("GTT-11", "failed", here([*underway(), strayed(26)]), here([*underway(), strayed(25)]), "GTT_ON_ROUTE"),
    "GTT_SEAL_UNPROVEN": ("GTT-10", "unknown", here([*underway(), seal("lost", T0 + 4 * HOUR)]),
                          here([*underway(), seal("lost", T0 + 4 * HOUR), seal("restored", T0 + 4 * HOUR + 1)]), "GTT_SEAL_INTACT"),
}


@pytest.mark.parametrize("code", sorted(BRANCHES))
def test_a_branch_of_the_link_says_its_code_and_only_where_it_holds(code: str) -> None:
    rule, verdict, fires, silent, instead = BRANCHES[code]
    assert said(fires())[rule] == code
    assert verdicts(at(fires(), KZ_ENTRY))[rule] == verdict
    assert said(silent())[rule] == instead


def test_a_carrier_that_opted_in_on_a_route_without_the_link_is_told_once_at_the_first_border() -> None:
    without = look(underway(), NOW, reference(agreements={}))
    assert [(u.side, f.severity) for u in without.updates for f in u.findings if f.code == "GTT_NOT_HERE"] == [(CN_EXIT, "info")]
    assert not [f for u in look(underway(), NOW).updates for f in u.findings if f.code == "GTT_NOT_HERE"]
    not_asked = look(with_shipment(underway(), enrolments=[]), NOW, reference(agreements={}))
    assert not [f for u in not_asked.updates for f in u.findings if f.code == "GTT_NOT_HERE"]
