"""What the parties say in a run: simulated trains with more incidents than usual, and what happens to their messages on the way."""
from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from streams.simulate import SimOptions
from streams.simulate.options import Rates
from tests.sim.plan import Plan
from tests.sim.poison import poisons
from tests.sim.system import HOUR
from tests.sim.worlds import START, reference, topics, world
from topics import codec
from topics.events.base import Event
from topics.events.sites import CrossingCondition, RiskIndicator
from topics.events.trade import ShipmentDeclared
from topics.registry import inbound_topic, risk_party

BUSY = Rates(
    rejection=0.12, amendment=0.15, withdrawal=0.05, mismatch=0.08, late=0.1, duplicate=0.0, out_of_order=0.0, wrong_bytes=0.0, inspection=0.25,
    inspection_aeo=0.1, discrepancy=0.3, information=0.12, hold=0.1, refusal=0.03, agency_hold=0.08, territory_hold=0.1, lock_broken=0.06, lock_silent=0.08,
    left_behind=0.05, unreleased=0.04, empty=0.08, heavy=0.08, seal_missing=0.05, dangerous=0.06, set_out=0.03)
DELAY_MAX = 72 * HOUR
AFTER = 96 * HOUR
"""From the last message as it was meant to be sent to the end of the run: what is delayed has come by then."""
FOR_GOOD = 2_000 * HOUR
"""From its beginning, so long is the first indicator of a world in force: beyond the end of the run, so that there is a view whose last word counts."""
MARK = "COVERT-MARK"
"""Stands in every risk indicator; may be seen nowhere but where analysts read."""


class Said(msgspec.Struct, frozen=True):
    """One record for the log at an instant."""

    at: int
    topic: str
    key: bytes | None
    value: bytes | None
    kind: str = ""
    """What fault made it; empty = said by a party."""


class World(msgspec.Struct, frozen=True):
    """What is said, in the order in which it is meant to be, and when the run ends."""

    said: tuple[Said, ...]
    end: int
    skews: dict[str, int]


@lru_cache(maxsize=4)
def said_in(number: int, trains: int, skewed: bool) -> World:
    """A world of at most so many trains."""
    rng = random.Random(f"world {number}")
    corridor = rng.choice(sorted(reference().corridors))
    length, boxes = rng.choice((1, 1, 1, 2)), rng.choice((1, 2, 2, 3))
    if number % 2:  # every other world is as small as it can be: two hundred seeds have minutes, not hours
        length = boxes = 1
    options = SimOptions(
        trains=min(trains, length), corridors=(corridor,), containers_min=1, containers_max=boxes, closure=False,
        position_minutes=rng.choice((0, 0, 180)), heartbeats=False, speed_up=8, late_hours_max=24, items_max=12, rates=BUSY)
    messages = world.__wrapped__(options, number)
    skews = {party: rng.randint(-240, 240) * 1_000_000 for party in sorted(topics().parties)} if skewed else {}
    said = [Said(m.at, m.topic, m.key.encode() if m.key else None, _skewed(m.event, skews) if m.event is not None and skewed else m.value) for m in messages]
    events = [m.event for m in messages if isinstance(m.event, ShipmentDeclared)]
    said += _for_everybody(rng, events, said[0].at, said[-1].at)
    said.sort(key=lambda s: s.at)
    return World(tuple(said), said[-1].at + AFTER, skews)


def _skewed(event: Event, skews: dict[str, int]) -> bytes:
    """The message of a party whose clock is wrong."""
    return codec.encode(msgspec.structs.replace(event, event_time=event.event_time + timedelta(microseconds=skews.get(event.source, 0))))


def _for_everybody(rng: random.Random, declared: list[ShipmentDeclared], since: int, until: int) -> list[Said]:
    """Closures that open again, and risk indicators: each makes every partition go through its keys."""
    found: list[Said] = []
    crossings = sorted({c for d in declared for c in d.crossings})
    for n, crossing in enumerate(rng.sample(crossings, min(2, len(crossings)))):
        start = rng.randint(since, until)
        for state, at in (("closed", start), ("open", start + rng.randint(1, 20) * HOUR)):
            said = CrossingCondition(source="network-control", id=f"SIM-{n}-{state}", event_time=_instant(at), crossing=crossing, state=state,  # type: ignore[arg-type]
                                     reason="BORDER_CLOSED" if state == "closed" else "")
            found.append(Said(at, inbound_topic("network", "network-control"), crossing.encode(), codec.encode(said)))
    for n, one in enumerate(rng.sample(declared, min(2, len(declared)))):
        row = reference().crossings[rng.choice(one.crossings)]
        authority, at = rng.choice((row.a_authority, row.b_authority)), rng.randint(since, until)
        indicator = RiskIndicator(
            source=risk_party(authority), id=f"{MARK}-{n}", event_time=_instant(at), authority=authority, valid_from=_instant(at),
            valid_until=_instant(at + (30 * HOUR if n else FOR_GOOD)),
            containers=tuple(b.container for b in one.containers), risk_class=MARK, score=0.9)
        found.append(Said(at, inbound_topic("risk", risk_party(authority)), None, codec.encode(indicator)))
    return found


def _instant(at: int) -> datetime:
    return datetime.fromtimestamp(at // 1_000_000, UTC)


def disturbed(plan: Plan, calm: World) -> list[Said]:
    """The same messages as they arrive, and what arrives beside them."""
    said = list(calm.said)
    latest = calm.end - 24 * HOUR
    if "reorder" in plan.kinds:
        rng = plan.rng("reorder")
        said = [msgspec.structs.replace(s, at=s.at + rng.randint(0, 6 * HOUR), kind="reorder") if rng.random() < 0.3 else s for s in said]
    if "delay" in plan.kinds:
        rng = plan.rng("delay")
        said = [msgspec.structs.replace(s, at=s.at + rng.randint(HOUR, DELAY_MAX), kind="delay") if rng.random() < 0.08 else s for s in said]
    if "redeliver" in plan.kinds:
        said = _redelivered(plan.rng("redeliver"), said)
    if "duplicate" in plan.kinds:
        rng = plan.rng("duplicate")
        said += [msgspec.structs.replace(s, at=s.at + rng.randint(0, rng.choice((1, 48)) * HOUR), kind="duplicate") for s in said if rng.random() < 0.15]
    if "poison" in plan.kinds:
        good = [(s.at, s.topic, s.key, s.value) for s in said]
        said += [Said(at, topic, key, value, "poison") for at, topic, key, value in poisons(plan.rng("poison"), good)]
    said = [s if s.at <= latest else msgspec.structs.replace(s, at=latest) for s in said]
    return sorted(said, key=lambda s: s.at)


def _redelivered(rng: random.Random, said: list[Said]) -> list[Said]:
    """A party loses its line for hours; what it could not send, or thinks it could not, it sends when it is back, in any order."""
    found = list(said)
    for topic in rng.sample(sorted({s.topic for s in said}), 2):
        since = rng.choice(said).at
        until = since + rng.randint(1, 30) * HOUR
        for i, s in enumerate(found):
            if s.topic == topic and since <= s.at < until:
                again = msgspec.structs.replace(s, at=until + rng.randint(0, 60) * 1_000_000, kind="redeliver")
                if rng.random() < 0.3:  # it had arrived after all
                    found.append(again)
                else:
                    found[i] = again
    return found


__all__ = ["MARK", "START", "Said", "World", "disturbed", "said_in"]
