"""Counts the work that a simulated world makes: sides that are assessed, rules that are asked, what is decoded, encoded and published.

Nothing of it changes what is computed: the functions are called as ever, and counted. A count is the same in every run; times are for `make bench`.
`python -m tests.sim.counting` prints the bounds of tests/sim/test_cost.py as they would be set now.
"""
from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from agents import reference as reference_files
from agents.ledger import rows as ledger
from agents.ledger.rows import GENESIS, LogRecord, Rows
from streams.assess import Previous, assess
from streams.effects import Effect, Publish, PutState
from streams.rules import RULES, pack_of
from streams.simulate import Sent, SimOptions
from streams.simulate.options import Rates
from tests.bench import clearance
from tests.sim.cluster.database import READ
from tests.sim.system import HOUR, PARTITIONS, System
from tests.sim.worlds import world
from tests.streams.test_assess_story import KEY
from topics import codec

FOLDS = ("trains", "custody", "documents", "clearance", "readiness", "sources")
INBOUND = ("rail.", "trade.", "customs.", "terminal.", "seals.", "agency.", "network.", "risk.")
CORE, FOLD, SAY = "streams.assess.core", "streams.clearance.fold", "streams.assess.say"
Note = Callable[[Counter[str], tuple[Any, ...], Any], None]


def _sides(calls: Counter[str], given: tuple[Any, ...], _: Any) -> None:
    calls["sides assessed"] += len(given[1])
    calls["scopes assessed"] += sum(len(side.rules) for side in given[1])


def _memo(calls: Counter[str], _: tuple[Any, ...], result: Any) -> None:
    calls["memos that did not hold"] += result is None


def _resumed(calls: Counter[str], _: tuple[Any, ...], result: Any) -> None:
    calls["states not resumed"] += result is None


def _times(name: str) -> Note:
    def note(calls: Counter[str], _: tuple[Any, ...], __: Any) -> None:
        calls[name] += 1

    return note


def _proven(calls: Counter[str], given: tuple[Any, ...], _: Any) -> None:
    calls["sides proven"] += len(given[1])


WATCHED: tuple[tuple[str, str, Note], ...] = (
    (CORE, "assess", _times("assessed again as a whole")),      # by itself, when what a memo spared turns out to be needed
    (CORE, "trip_of", _times("whole assessments")),
    (CORE, "derived", _memo),
    (CORE, "prove", _proven),
    (CORE, "judge", _sides),
    (FOLD, "resumed", _resumed),
    (SAY, "update_of", _times("updates written out")),
    ("streams.intake.swift", "decode", _times("intake decodes")),
)
"""Module, function, what is counted of a call."""
CODECS = (("streams.intake.reading", "intake"), ("agents.intake.flow", "intake"), ("agents.ledger.rows", "ledger"), ("agents.ledger.identifiers", "ledger"))
"""Modules of which every decode and every encode is counted, and as whose."""


class _Codec:
    """`topics.codec`, or a decoder, as a module sees it that is counted."""

    def __init__(self, of: Any, calls: Counter[str], whose: str) -> None:
        self._of, self._calls, self._whose = of, calls, whose

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)

    def decode(self, *given: Any) -> Any:
        self._calls[f"{self._whose} decodes"] += 1
        return self._of.decode(*given)

    def encode(self, *given: Any) -> Any:
        self._calls[f"{self._whose} encodes"] += 1
        return self._of.encode(*given)


class Calls:
    """Counts while it watches."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    @contextmanager
    def watching(self, folds: Sequence[Any] = ()) -> Iterator[None]:
        """CLEARANCE's functions, the checks of all rules, what intake and the ledger decode and encode, and what these folds do."""
        with pytest.MonkeyPatch.context() as patch:
            for module, whose in CODECS:
                patch.setattr(importlib.import_module(module), "codec", _Codec(codec, self.counted, whose))
            patch.setattr(ledger, "_envelope", _Codec(ledger._envelope, self.counted, "ledger"))
            for module, name, note in WATCHED:
                self._watch(patch, importlib.import_module(module), name, note)
            for fold in folds:
                self._watch(patch, fold, "decode", _times("inputs decoded"))
                self._watch(patch, fold, "encode_state", _times("states encoded"))
            checks = [rule.check for rule in RULES]
            for rule in RULES:
                msgspec.structs.force_setattr(rule, "check", self._noting(rule.check, _times("rules asked")))
            try:
                yield
            finally:
                for rule, check in zip(RULES, checks, strict=True):
                    msgspec.structs.force_setattr(rule, "check", check)

    def _watch(self, patch: pytest.MonkeyPatch, holder: Any, name: str, note: Note) -> None:
        patch.setattr(holder, name, self._noting(getattr(holder, name), note))

    def _noting(self, function: Callable[..., Any], note: Note) -> Callable[..., Any]:
        def noting(*given: Any, **more: Any) -> Any:
            result = function(*given, **more)
            note(self.counted, given, result)
            return result

        return noting


class Played:
    """A world that is played once, with everything counted, on a system whose cache of decoded states holds so many bytes."""

    def __init__(self, cache_bytes: int) -> None:
        self.calls = Calls()
        self.system = System(crash=self._effect)
        self.system.harness.cache.bytes_max = cache_bytes

    def play(self, messages: Sequence[Sent]) -> dict[str, float]:
        """Per message from outside."""
        with self.calls.watching([self.system.harness.partition(name, 0).fold for name in FOLDS]):
            self.system.play(messages)
            self.system.end(messages[-1].at + 24 * HOUR)
            self._ledger()
        return {name: n / len(messages) for name, n in (self.calls.counted + self._log() + self._counters()).items()}

    def _effect(self, _: str, effect: Effect) -> bool:
        """The harness asks before each effect whether the stage crashes: never."""
        self.calls.counted["publishes"] += isinstance(effect, Publish)
        self.calls.counted["state writes"] += isinstance(effect, PutState)
        return False

    def _ledger(self) -> None:
        """The rows of everything that the ledger reads."""
        rows = Rows()
        for topic in READ:
            for r in self.system.harness.topic(topic):
                rows.add(LogRecord(r.topic, r.partition, r.offset, r.timestamp * 1000, r.key, r.value, r.headers), GENESIS)
        self.calls.counted["ledger rows"] += sum(map(len, rows.tables.values()))

    def _log(self) -> Counter[str]:
        """Records and bytes of everything that railclear wrote."""
        found: Counter[str] = Counter()
        for name in self.system.harness.log.names():
            if name.startswith(INBOUND):
                continue
            kind = "state" if name.endswith(".state") else "derived" if name.endswith(".in") else "outcomes" if name.startswith("outcomes.") else "said"
            records = self.system.harness.topic(name)
            size = sum(len(r.value or b"") + len(r.key or b"") for r in records)
            found += Counter({f"{kind} records": len(records), f"{kind} bytes": size, "bytes": size})
        return found

    def _counters(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for name in FOLDS:
            counters = [self.system.harness.partition(name, n).counters for n in range(PARTITIONS)]
            found += Counter({f"{name} steps": sum(c.steps for c in counters), "states decoded": sum(c.decoded for c in counters)})
        return found


WORLDS = {
    "trains": SimOptions(trains=2, containers_min=5, containers_max=5, position_minutes=60, heartbeats=True, closure=False),
    "house items": SimOptions(
        trains=1, containers_min=1, containers_max=1, eastbound=False, position_minutes=0, heartbeats=False, closure=False, items_min=200, items_max=200,
        rates=Rates(ecommerce=1.0, empty=0.0, dangerous=0.0)),
}
"""Two trains with all sorts of goods; and one box with two hundred house items, each released by a notice of its own."""
CACHE_BYTES = 64 << 10
"""Too small for the states, so that they are decoded and memos made from them again."""
ROOM = 1.03
"""A bound is so many times what was measured when it was set: the world is fixed, and nothing but the program moves a count."""


def measured(name: str) -> dict[str, float]:
    """What a fixed world costs per message from outside."""
    return Played(CACHE_BYTES).play(world(WORLDS[name]))


TOLD = ("sides proven", "sides assessed", "rules asked", "whole assessments", "updates written out")


def of_news() -> dict[str, tuple[int, ...]]:
    """What one more fact costs a shipment of the customs-rail link that has just arrived, by kind of news, in the order of TOLD; first what the whole costs."""
    known = reference_files.load(None)
    pack, facts = pack_of(known), clearance.in_slots(clearance.west_a(known))
    calls = Calls()
    with calls.watching():
        before = assess(KEY, facts, known, (), clearance.NOW, pack, in_order=True)
        written = len(before.updates)
    found = {"whole": tuple(calls.counted[name] for name in TOLD)}
    for kind, fact in clearance.news(known).items():
        after, calls = clearance.with_one(facts, fact, fact.scope), Calls()
        with calls.watching():
            step = assess(KEY, after, known, (), clearance.NOW, pack, Previous(due_first=before.due_first), before.memo, in_order=True)
            assert len(step.updates) == written, "no side comes or goes"
        found[kind] = tuple(calls.counted[name] for name in TOLD)
    return found


def bound_of(count: float) -> float:
    """Four digits, with room."""
    return float(f"{count * ROOM:.4g}")


if __name__ == "__main__":
    for one in WORLDS:
        print(f"{one}:", *(f'    "{name}": {bound_of(count):g},' for name, count in sorted(measured(one).items())), sep="\n")
    for name, calls in of_news().items():
        print(f'    "{name}": {calls},')
