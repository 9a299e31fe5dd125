"""What CLEARANCE itself costs, pure: `assess` of a West-A shipment, and a whole partition (decode, merge, assess, state bytes, output bytes) without Kafka.

Every shipment is another one with container, train and ids of its own, so nothing is answered from what was just computed for the same facts.
Times are CPU times of this process, the best of several rounds. `python -m tests.bench.clearance` prints them.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from agents import reference as reference_files
from agents.runner.cells import ObjectCache
from agents.runner.clock import Clock
from agents.runner.partition import Partition
from streams.assess import Assessment, Previous, assess
from streams.assess.memo import by_slot
from streams.clearance import ClearanceFold
from streams.effects import LogRecord
from streams.reference.model import Reference
from streams.rules import pack_of
from tests.streams import border_world as small
from tests.streams.test_assess_story import ARRIVAL, KEY, there
from topics import codec
from topics.events.internal import ShipmentFacts
from topics.facts import HOUR, MINUTE, Fact, Rank
from topics.identifiers import BadIdentifier, parse_container

CORRIDOR = "WEST-A"
NOW = ARRIVAL + HOUR
ROUNDS, WHOLE_ROUNDS, PARTITION_ROUNDS = 5, 15, 3


class Figures(msgspec.Struct, kw_only=True):
    """Microseconds of CPU per assessment, and messages per second of CPU."""

    whole: float
    one_side: dict[str, float]
    facts_cold: float
    """Every fact another shipment, whose state must be decoded and assessed whole."""
    facts_warm: float
    """Every fact another shipment, whose objects are in the cache."""
    ten: float
    """Ten facts of each shipment back to back, cold; per fact."""
    state_bytes: int
    """Of one shipment, encoded."""


def west_a(reference: Reference) -> list[Fact]:
    """A shipment of the customs-rail link that has just arrived at Dostyk, on the shipped reference: every rule applies."""
    crossings = reference.corridors[CORRIDOR].crossings
    brest = next(c for c in crossings if c.startswith("BY-PL"))
    post, next_post = reference.crossings[small.DOSTYK].offices["KZ"], reference.crossings[brest].offices["BY"]

    def real(fact: Fact) -> Fact:
        value = fact.value
        if isinstance(value, dict):
            value = {**value, **({"corridor": CORRIDOR} if "corridor" in value else {}),
                     **({"office": post, "offices": [f"BY:{next_post}"]} if value.get("office") else {})}
        side = fact.side.replace(small.BREST, brest).replace("KZ-DOSTYK", post)
        return msgspec.structs.replace(fact, side=side, value=value)

    return [real(f) for f in [*there(), small.condition("@KZ", "risk", small.T0 + 4 * HOUR, "KZ")]]


def news(reference: Reference) -> dict[str, Fact]:
    """What such a shipment hears next, each touching other sides."""
    brest = next(c for c in reference.corridors[CORRIDOR].crossings if c.startswith("BY-PL"))
    entry = f"{brest}:PL:ENTRY"
    return {
        "notice": small.doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + 40 * MINUTE, "KZ"),
        "presence": small.presence(small.KZ_ENTRY, "departed", ARRIVAL + 50 * MINUTE),
        "ahead": small.doc("@PL/doc/ens/E1", "ens", "E1", "amended", ARRIVAL + 30 * MINUTE, "PL"),
        "hold": small.demand(f"{brest}:BY:EXIT", "hold", "H1", "opened", ARRIVAL + 30 * MINUTE, "BY"),
        "eta": small.eta(entry, small.T0 + 301 * HOUR, said=ARRIVAL),
        "position": Fact(side="*", key=("position",), at=ARRIVAL + HOUR, source="trains", rank=Rank.RAILWAY, scope=small.BOX, version=1,
                         value={"run": "ktz/1"}),
        "seal": small.seal("ok", ARRIVAL + 30 * MINUTE, source="KZ", rank=Rank.AUTHORITY, place="dostyk", read_at=small.KZ_ENTRY),
        "filing": small.lodged("transit", "X1", "PL", ARRIVAL + 20 * MINUTE),
    }


MIX = ("eta", "position", "eta", "notice", "eta", "presence", "position", "seal", "ahead", "filing")
"""One fact of every kind in about the share that a simulated world has: half ETAs and positions, the rest notices, presence, seals, filings."""


def boxes(count: int) -> list[str]:
    """So many valid container numbers."""
    found: list[str] = []
    for n in range(count):
        for digit in range(10):
            try:
                found.append(str(parse_container(f"MZWU{n:06d}{digit}")))
                break
            except BadIdentifier:
                continue
    return found


def in_slots(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """As a state holds them."""
    return tuple(sorted(facts, key=by_slot))


class Told:
    """A message of any shipment, as bytes."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        self.template = codec.encode(ShipmentFacts(shipment=KEY, facts=tuple(facts)))

    def of(self, shipment: str, box: str) -> bytes:
        return self.template.replace(KEY.encode(), shipment.encode()).replace(small.BOX.encode(), box.encode())

    def facts(self, shipment: str, box: str) -> tuple[Fact, ...]:
        event = msgspec.json.decode(self.of(shipment, box), type=ShipmentFacts)
        return in_slots(event.facts)


def name_of(n: int) -> str:
    return f"S{n:012d}"


def best(work: Callable[[], object], things: int, rounds: int = ROUNDS) -> float:
    """Microseconds of CPU per thing, the best round."""
    found = float("inf")
    for _ in range(rounds):
        begun = time.process_time()
        work()
        found = min(found, time.process_time() - begun)
    return found / things * 1e6


def assessments(reference: Reference, shipments: int = 40) -> tuple[float, dict[str, float]]:
    """(whole, one more fact of each kind after an assessment) in microseconds; facts in slot order, nothing written out."""
    pack, told = pack_of(reference), Told(west_a(reference))
    each = [(name_of(n), told.facts(name_of(n), box)) for n, box in enumerate(boxes(shipments))]
    whole = best(lambda: [assess(s, facts, reference, (), NOW, pack, in_order=True) for s, facts in each], shipments, WHOLE_ROUNDS)
    before = [assess(s, facts, reference, (), NOW, pack, in_order=True) for s, facts in each]
    more: dict[str, float] = {}
    for name, fact in news(reference).items():
        after = [with_one(facts, fact, box) for (_, facts), box in zip(each, boxes(shipments), strict=True)]

        def again(after: list[tuple[Fact, ...]] = after) -> list[Assessment]:
            return [assess(s, facts, reference, (), NOW, pack, Previous(due_first=was.due_first), was.memo, in_order=True)
                    for (s, _), facts, was in zip(each, after, before, strict=True)]

        more[name] = best(again, shipments)
    return whole, more


def with_one(facts: tuple[Fact, ...], fact: Fact, box: str) -> tuple[Fact, ...]:
    """The facts with one more, or with a newer word in its slot."""
    new = msgspec.structs.replace(fact, scope=box) if fact.scope else fact
    kept = [f for f in facts if (f.side, f.key, f.scope, f.source, f.record) != (new.side, new.key, new.scope, new.source, new.record)]
    return in_slots([*kept, new])


class Desk:
    """A partition of CLEARANCE that holds so many shipments."""

    def __init__(self, reference: Reference, shipments: int, cache_bytes: int) -> None:
        self.boxes, self.offset = boxes(shipments), 0
        self.partition = Partition(ClearanceFold(), reference, 0, clock=Clock(), cache=ObjectCache(cache_bytes), rule_pack=pack_of(reference))
        self.partition.restored()
        first = Told(west_a(reference))
        self.batch([(name_of(n), first.of(name_of(n), box)) for n, box in enumerate(self.boxes)])

    def batch(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """One batch, its effects made and thrown away."""
        records = [LogRecord("clearance.in", 0, self.offset + n, NOW // 1000, key.encode(), value) for n, (key, value) in enumerate(messages)]
        self.offset += len(records)
        self.partition.batch(records)


def per_second(reference: Reference, shipments: int, cache_bytes: int, per_shipment: int) -> float:
    """Facts per second of CPU through a partition: of each shipment so many back to back, one message each."""
    told = {name: Told([fact]) for name, fact in news(reference).items()}
    found = 0.0
    for round_ in range(PARTITION_ROUNDS):
        desk = Desk(reference, shipments, cache_bytes)
        messages = [(name_of(n), told[MIX[(n + round_ + k) % len(MIX)]].of(name_of(n), box))
                    for n, box in enumerate(desk.boxes) for k in range(per_shipment)]
        begun = time.process_time()
        desk.batch(messages)
        found = max(found, len(messages) / (time.process_time() - begun))
    return found


def measure(shipments: int = 200) -> Figures:
    """All figures."""
    reference = reference_files.load(None)
    whole, one = assessments(reference)
    desk = Desk(reference, 1, 1 << 26)
    cell = desk.partition.cells.get(name_of(0))
    return Figures(
        whole=whole, one_side=one, facts_cold=per_second(reference, shipments, 0, 1), facts_warm=per_second(reference, shipments, 1 << 28, 1),
        ten=per_second(reference, shipments, 0, 10), state_bytes=len(cell[1]) if cell is not None else 0)


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(measure()), indent=2).decode())
