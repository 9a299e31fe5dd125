"""Counts the work that a simulated world makes: sides that are assessed, rules that are asked, what is decoded, encoded and published.

Nothing of it changes what is computed: the functions are called as ever, and counted. A count is the same in every run; times are for `make bench`.
`python -m tests.sim.counting` prints the bounds of tests/sim/test_cost.py as they would be set now.
"""
from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from streams.effects import Effect, Publish, PutState
from streams.rules import RULES
from streams.simulate import Sent, SimOptions
from tests.sim.system import HOUR, PARTITIONS, System
from tests.sim.worlds import world

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
)
"""Module, function, what is counted of a call."""


class Counting:
    """A world is played once, with everything counted, on a system whose cache of decoded states holds so many bytes."""

    def __init__(self, cache_bytes: int) -> None:
        self.calls: Counter[str] = Counter()
        self.system = System(crash=self._effect)
        self.system.harness.cache.bytes_max = cache_bytes

    def play(self, messages: Sequence[Sent]) -> dict[str, float]:
        """Per message from outside."""
        with pytest.MonkeyPatch.context() as patch:
            for module, name, note in WATCHED:
                self._watch(patch, importlib.import_module(module), name, note)
            for name in FOLDS:
                fold = self.system.harness.partition(name, 0).fold
                self._watch(patch, fold, "decode", _times("inputs decoded"))
                self._watch(patch, fold, "encode_state", _times("states encoded"))
            checks = [rule.check for rule in RULES]
            for rule in RULES:
                msgspec.structs.force_setattr(rule, "check", self._counted(rule.check, _times("rules asked")))
            try:
                self.system.play(messages)
                self.system.end(messages[-1].at + 24 * HOUR)
            finally:
                for rule, check in zip(RULES, checks, strict=True):
                    msgspec.structs.force_setattr(rule, "check", check)
        return {name: n / len(messages) for name, n in (self.calls + self._log() + self._counters()).items()}

    def _effect(self, _: str, effect: Effect) -> bool:
        """The harness asks before each effect whether the stage crashes: never."""
        self.calls["publishes"] += isinstance(effect, Publish)
        self.calls["state writes"] += isinstance(effect, PutState)
        return False

    def _watch(self, patch: pytest.MonkeyPatch, holder: Any, name: str, note: Note) -> None:
        patch.setattr(holder, name, self._counted(getattr(holder, name), note))

    def _counted(self, function: Callable[..., Any], note: Note) -> Callable[..., Any]:
        def counted(*given: Any, **more: Any) -> Any:
            result = function(*given, **more)
            note(self.calls, given, result)
            return result

        return counted

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


OPTIONS = SimOptions(trains=2, containers_min=5, containers_max=5, position_minutes=60, heartbeats=True, closure=False)
CACHE_BYTES = 64 << 10
"""Too small for the states, so that they are decoded and memos made from them again."""
ROOM = 1.03
"""A bound is so many times what was measured when it was set: the world is fixed, and nothing but the program moves a count."""


def measured() -> dict[str, float]:
    """What the fixed world costs per message from outside."""
    return Counting(CACHE_BYTES).play(world(OPTIONS))


def bound_of(count: float) -> float:
    """Four digits, with room."""
    return float(f"{count * ROOM:.4g}")


if __name__ == "__main__":
    for name, count in sorted(measured().items()):
        print(f'    "{name}": {bound_of(count):g},')
