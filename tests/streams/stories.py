"""How a story about one side is told: facts by the hour, the state and flags they add up to."""
from __future__ import annotations

from collections.abc import Iterable

from streams.status import ScopeStatus, SideStatus, State, scope_status, side_status
from tests.sim.oracle.compare import RULES
from tests.sim.oracle.rows import CUSTOMS, FORWARDER, LOCK, RAILWAY, TERMINAL, UNION
from topics.facts import HOUR, WHOLE, Fact, Rank, Value, merge

SPEAKERS = {CUSTOMS: Rank.AUTHORITY, UNION: Rank.AUTHORITY, FORWARDER: Rank.FORWARDER, RAILWAY: Rank.RAILWAY, TERMINAL: Rank.TERMINAL,
            LOCK: Rank.SENSOR, "rules": Rank.SENSOR, "trains": Rank.RAILWAY, "operator": Rank.RAILWAY}


def at(hour: float, *key: str, source: str = CUSTOMS, rank: Rank | None = None, scope: str = WHOLE, value: Value = True, record: str = "",
       version: int = 0, code: str = "", dated: bool = False, side: str = "side", id: str = "") -> Fact:
    """A fact at an hour; who says it gives the rank."""
    return Fact(side=side, key=key, at=int(hour * HOUR), source=source, rank=SPEAKERS.get(source, Rank.AUTHORITY) if rank is None else rank,
                record=record, version=version, id=id or f"{hour}{scope}{key}", scope=scope, value=value, code=code, dated=dated)


def side(rules: str, *facts: Fact, boxes: Iterable[str] = (), now: float = 99) -> SideStatus:
    return side_status(merge({}, facts), boxes, RULES[rules], int(now * HOUR))


def state(rules: str, *facts: Fact, boxes: Iterable[str] = (), now: float = 99) -> State:
    return side(rules, *facts, boxes=boxes, now=now).state


def scope(rules: str, *facts: Fact, name: str = WHOLE, now: float = 99) -> ScopeStatus:
    return scope_status(merge({}, facts), name, RULES[rules], int(now * HOUR))


def flags(*facts: Fact, rules: str = "entry", now: float = 99) -> frozenset[str]:
    return scope(rules, *facts, now=now).flags


def doc(hour: float, kind: str, number: str, phase: str, **more: object) -> Fact:
    return at(hour, "doc", kind, number, phase, **more)  # type: ignore[arg-type]


def hold(hour: float, subject: str = "", ref: str = "h", phase: str = "opened", **more: object) -> Fact:
    return at(hour, "demand", "hold", subject, ref, phase, **more)  # type: ignore[arg-type]


PI = doc(1, "pi", "1", "registered")
PRESENTED = at(2, "presented", "1", source=TERMINAL)
HERE = (PI, PRESENTED)
TD = doc(5, "td", "1", "released")
AWAY = at(8, "departed", "1", source=RAILWAY)
RISK = at(3, "condition", "risk", source="rules", value="proven")
GTT = at(3, "condition", "gtt", source="rules", value="proven")
LOCK_READ = at(3, "seal", "lock", "ok")
