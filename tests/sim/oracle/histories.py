"""Random histories of one scope of one side, in the order in which things happen."""
from __future__ import annotations

import random

import msgspec

from tests.sim.oracle.rows import CUSTOMS, FORWARDER, LOCK, RAILWAY, TERMINAL, TICK, UNION, Row
from topics.facts import DAY, HOUR, Fact, Key, Rank, Value

SIDE = "side"
LENGTH_MAX = 32
CHANCE_OF_DATED_HISTORY = 0.15
CHANCE_OF_MASKED_HISTORY = 0.15

PHASES = {"registered": 18, "released": 16, "rejected": 3, "invalidated": 2, "amended": 2, "revoked": 2, "ended": 1, "assessed": 1}
"""What an authority says of a document, and how often."""


class Author:
    """Writes one history."""

    def __init__(self, rng: random.Random, row: Row) -> None:
        self.rng, self.row = rng, row
        members = {m.partition(":")[2] for g in row.release for m in g if ":" in m} | set(row.filings)
        self.kinds = sorted(members) or ["paper"]
        self.tick, self.visit, self.event = 0, "1", 0
        self.dated = rng.random() < CHANCE_OF_DATED_HISTORY
        self.masked = rng.random() < CHANCE_OF_MASKED_HISTORY
        self.dated_days: set[int] = set()
        self.masks: list[Fact] = []
        self.told: list[Fact] = []

    @property
    def now(self) -> int:
        return self.tick * TICK + HOUR           # never the first instant of a day: a date alone must not tie with a time

    def say(self, key: Key, source: str = CUSTOMS, rank: Rank = Rank.AUTHORITY, value: Value = True, *, datable: bool = False,
            record: str = "") -> None:
        at, dated = self.now, False
        if datable and self.dated and self.rng.random() < 0.3 and at // DAY not in self.dated_days:
            self.dated_days.add(at // DAY)
            at, dated = at // DAY * DAY, True
        self.told.append(Fact(side=SIDE, key=key, at=at, source=source, rank=rank, id=f"e{self.event}", record=record, value=value, dated=dated))

    def write(self) -> list[Fact]:
        for event in range(self.rng.randint(1, LENGTH_MAX)):
            self.event = event
            self.tick += self.rng.randint(1, 4)
            if self.masked and self.rng.random() < 0.06:
                self.mask()
            else:
                self.happen(self.rng.random())
        return self.told

    def happen(self, c: float) -> None:
        if c < 0.51:
            self.document(c < 0.12)
        elif c < 0.59:
            names = self.row.assessments + self.row.conditions or ("risk",)
            self.say(("condition", self.rng.choice(names)), "rules", Rank.SENSOR, self.rng.choices(["proven", "failed"], [6, 1])[0])
        elif c < 0.75:
            self.move(c)
        elif c < 0.91:
            self.demand()
        elif c < 0.93:
            self.agency()
        else:
            self.seal()

    def document(self, lodged: bool) -> None:
        kind, number = self.paper()
        if lodged:
            self.say(("doc", kind, number, "sent"), FORWARDER, Rank.FORWARDER)
            return
        phase = self.rng.choices(list(PHASES), list(PHASES.values()))[0]
        source, rank = self.rng.choices([(CUSTOMS, Rank.AUTHORITY), (UNION, Rank.AUTHORITY), (FORWARDER, Rank.FORWARDER)], [90, 6, 4])[0]
        until = phase == "registered" and self.rng.random() < 0.1
        self.say(("doc", kind, number, phase), source, rank, self.now + self.rng.randint(1, 60) * TICK if until else True, datable=True)

    def paper(self) -> tuple[str, str]:
        kind = self.rng.choice(self.kinds)
        return kind, self.rng.choice(["r1", "r2"] if kind in self.row.per_run else ["1", "1", "2"])

    def move(self, c: float) -> None:
        if c < 0.67:
            what = self.rng.choice(["seen", "handed_over"])
            self.say((what, self.visit), *self.rng.choices([(RAILWAY, Rank.RAILWAY), (FORWARDER, Rank.FORWARDER)], [6, 1])[0])
            if self.rng.random() < 0.6:
                self.tick += 1
                self.say(("presented", self.visit), *self.rng.choices([(TERMINAL, Rank.TERMINAL), (FORWARDER, Rank.FORWARDER)], [6, 1])[0])
        elif c < 0.70:
            self.say(("departed", self.visit), RAILWAY, Rank.RAILWAY, datable=True)
        elif c < 0.71:
            self.visit = "2"
            self.say(("visit",), RAILWAY, Rank.RAILWAY, 2)
        elif c < 0.74:
            self.say(("run",), RAILWAY, Rank.RAILWAY, self.rng.choice(["r1", "r1", "r2"]))
        else:
            self.say(("route",), "trains", Rank.RAILWAY, self.rng.choice(["on", "on", "off", "not_required"]))

    def demand(self) -> None:
        kind = self.rng.choice(["hold", "control", "control", "info", "refusal"])
        phases = {"control": ["opened", "started", "discrepancy", "closed", "closed"], "info": ["opened", "answered", "closed"]}
        source, rank = (CUSTOMS, Rank.AUTHORITY) if self.rng.random() < 0.9 else (FORWARDER, Rank.FORWARDER)
        about, reference = self.rng.choice(["", "/".join(self.paper())]), self.rng.choice(["", "a", "b"])
        self.say(("demand", kind, about, reference, self.rng.choice(phases.get(kind, ["opened", "closed"]))), source, rank, datable=True)

    def agency(self) -> None:
        agency, reference = self.rng.choice(["veterinary", "phyto"]), self.rng.choice(["", "v1"])
        kind, phase = self.rng.choice([("hold", "opened"), ("control", "opened"), ("refusal", "opened"), ("control", "discrepancy"),
                                       ("control", "closed"), ("", "closed"), ("", "closed"), ("", "certificate")])
        self.say(("agency", agency, kind, reference, phase), f"{agency}-kz", Rank.AUTHORITY, record="" if reference else f"@e{self.event}")

    def seal(self) -> None:
        what = self.rng.choice(["reading", "ok", "ok", "ok", "lost", "restored", "tamper", "opened_authorised"])
        key = ("seal", "lock", what) + ((f"e{self.event}",) if what in ("tamper", "opened_authorised") else ())
        opened = what == "opened_authorised"
        source, rank = (CUSTOMS, Rank.AUTHORITY) if opened or self.rng.random() < 0.6 else (LOCK, Rank.SENSOR)
        self.say(key, source, rank, self.now + self.rng.randint(0, 5) * TICK if opened else True)

    def mask(self) -> None:
        """A feed is retracted for a while, or a retraction is lifted."""
        if self.masks and self.rng.random() < 0.3:
            old = self.rng.choice(self.masks)
            self.told.append(msgspec.structs.replace(old, at=self.now, version=1, id=f"e{self.event}", value=None))
            return
        since, source = self.rng.randint(0, self.now), self.rng.choice([CUSTOMS, RAILWAY, LOCK, TERMINAL])
        span: dict[str, object] = {"source": source, "since": since, "until": since + self.rng.randint(1, 30) * TICK}
        name = f"e{self.event}"
        self.masks.append(Fact(side=SIDE, key=("mask",), at=self.now, source="operator", rank=Rank.RAILWAY, record=name, id=name, value=span))
        self.told.append(self.masks[-1])


def random_history(rng: random.Random, row: Row) -> list[Fact]:
    """Things that happen, in the order in which they happen."""
    return Author(rng, row).write()
