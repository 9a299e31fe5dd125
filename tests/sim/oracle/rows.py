"""Rows of reference data as the walker reads them, one for each kind of side."""
from __future__ import annotations

from dataclasses import dataclass, field

from topics.facts import HOUR

CUSTOMS, UNION, FORWARDER, RAILWAY, TERMINAL, LOCK = "KZ", "RU", "fwd-a", "rail-ktz", "term-dostyk", "lock-operator"
TICK = 4 * HOUR
"""Histories happen on ticks; a lock's clock may be one tick off."""


def some(*members: str) -> frozenset[str]:
    return frozenset(members)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The walker's own idea of a side's row."""

    authority: str = CUSTOMS
    filings: dict[str, bool] = field(default_factory=dict)
    assessments: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    release: tuple[frozenset[str], ...] = ()
    decision: frozenset[str] = frozenset()
    by: dict[str, frozenset[str]] = field(default_factory=dict)
    per_visit: frozenset[str] = frozenset()
    per_run: frozenset[str] = frozenset()
    transit: frozenset[str] = frozenset()
    chains: tuple[str, ...] = ()
    auto_release: frozenset[str] = frozenset()
    not_observed: frozenset[str] = frozenset()
    presenters: frozenset[str] = frozenset()
    demands_only: bool = False
    seal_skew: int = TICK


ROWS = {
    "entry": Row(
        filings={"pi": True, "td": False}, assessments=("risk",),
        release=(some("registered:pi"), some("presented"), some("released:td", "released:import")),
        decision=some("released:td", "released:import"), per_visit=some("pi"), chains=("lock",), transit=some("td")),
    "exit": Row(
        filings={"manifest": True, "declaration": True}, assessments=("risk",), conditions=("gtt",),
        release=(some("released:declaration"), some("released:manifest"), some("released:conveyance")),
        decision=some("released:declaration"), per_run=some("conveyance")),
    "blind": Row(
        filings={"manifest": True, "declaration": True},
        release=(some("released:declaration"), some("released:manifest")), decision=some("released:declaration"),
        not_observed=some("released:manifest")),
    "export": Row(
        filings={"dt": True}, release=(some("released:dt"), some("released:leave")), decision=some("released:leave"), by={"dt": some(UNION)}),
    "leaving": Row(
        filings={"export": True}, release=(some("released:export", "released:exs"), some("presented"), some("released:exit")),
        decision=some("released:exit"), by={"export": some(UNION)}, presenters=some(FORWARDER)),
    "agreed": Row(
        filings={"pi": True}, conditions=("gtt",), release=(some("presented"), some("released:td")), decision=some("released:td"),
        auto_release=some("released:td"), chains=("lock",)),
    "office": Row(release=(some("released:transit"),), decision=some("released:transit"), transit=some("transit")),
    "arrival": Row(
        release=(some("ended:transit"), some("released:import", "released:next")), decision=some("released:import", "released:next"),
        by={"transit": some(UNION)}, transit=some("transit")),
    "territory": Row(demands_only=True),
}
