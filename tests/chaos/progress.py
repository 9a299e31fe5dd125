"""How long nothing happened after a fault, from the outcomes in the log."""
from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from agents.demo.reader import stage_of
from streams.effects import LogRecord
from tests.chaos.logs import Logs
from tests.sim.worlds import topics
from topics.events.outputs import BatchOutcomes


class Progress(msgspec.Struct, frozen=True):
    """Seconds that a partition with something to read waited for its next outcome, the worst of all."""

    after_act: float = 0.0
    """Since the last act before that outcome on anything that it needs: how long it takes to come back when one is left alone."""
    in_all: float = 0.0
    """Since the first act after which it stood: acts that follow each other faster than a worker starts add up here."""
    where: str = ""
    """Which partition that was, and after which act."""


def outcomes(logs: Logs) -> list[tuple[LogRecord, BatchOutcomes]]:
    """Every outcome record of every stage."""
    return [(r, msgspec.json.decode(r.value or b"", type=BatchOutcomes)) for spec in topics().by_kind("outcomes") for r in logs.topic(spec.name)]


def progress(logs: Logs, instants_ms: Iterable[int], beside_ms: Iterable[int] = ()) -> Progress:
    """`instants_ms`: when waiting counts from, ms UTC, of each act; `beside_ms`: of acts on what no partition depends on. After these waiting counts, too,
    but what a partition waits for is not begun anew by them."""
    depends = sorted(instants_ms)
    instants = sorted((*depends, *beside_ms))
    waits = list(_waits(logs, instants))
    if not waits:
        return Progress()

    def begun(instant: int, at: int) -> int:
        """The last act before the outcome that may have thrown the partition back, else the one after which it stood."""
        return max(instant, next(iter(depends[: bisect_right(depends, at)][-1:]), instant))

    after, act, place = max((at - max(begun(instant, at), since), bisect_right(instants, at), place) for place, since, instant, at in waits)
    return Progress(after_act=round(after / 1000, 1), in_all=round(max(at - max(instant, since) for _, since, instant, at in waits) / 1000, 1),
                    where=f"{place[0]}/{place[1]} after act {act} of {len(instants)}")


def _waits(logs: Logs, instants: list[int]) -> Iterator[tuple[tuple[str, int], int, int, int]]:
    """(partition, append time of its oldest record without an outcome, or of its next; act; time of the outcome), for each partition and act."""
    stages, done = stage_of(topics()), defaultdict[tuple[str, int], list[tuple[int, int]]](list)
    for r, said in outcomes(logs):
        done[said.topic, said.partition].append((r.timestamp, said.last))
    for place, records in logs.parts.items():
        for instant in instants if place[0] in stages else ():
            before = max((last for at, last in done[place] if at < instant), default=-1)
            waiting = next((r for r in records if r.offset > before), None)
            if waiting is None:
                continue
            answered = min((at for at, last in done[place] if last >= waiting.offset and at >= instant), default=None)
            if answered is not None:
                yield place, waiting.timestamp, instant, answered
