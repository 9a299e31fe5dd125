"""Live operation as figures (tests/bench/whole.py measures). What fails costs its own figures and no others."""
from __future__ import annotations

import argparse
import asyncio
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from streams.reference.model import Reference
from tests.bench import whole, world
from tests.bench.beside import NOTE, Beside, References, reason
from tests.bench.figures import Figure, Found, Moment, figure, now
from tests.bench.latency import SETTLE_S, clock, copies_of
from tests.bench.load import Mix, tempo
from tests.bench.site import WORKERS, Say, Site
from tests.bench.whole import AIM, DRAIN_S, ENOUGH, PARTS, RUNG_DRAIN_S, RUNG_LEAST, RUNG_S, Whole, ladder, work

T = TypeVar("T")
RESTORE, FAILOVER, SWEEP = "live: restore from compacted topics", "live: failover after kill -9, restarted in place", "live: notice that arrives during a sweep"
RATE, UNREAD, MEMORY = "live: events a second that are kept up with", "live: nothing unread after the load", "live: memory of all workers"
SPREAD = "live: CPU per event, spread over a hundredth, a tenth and all shipments"
COSTS = {part: f"live: CPU per event, {name}" for part, name in ((100, "a hundredth of the shipments"), (10, "a tenth of the shipments"), (1, "all shipments"))}
NAMES = (RESTORE, FAILOVER, SWEEP, RATE, UNREAD, MEMORY, SPREAD, *COSTS.values())


class Costs(NamedTuple):
    """Microseconds of CPU per event."""

    us: Mapping[int, float]
    """Part of the shipments -> that."""
    trains: int
    """The events are of so many."""
    when: Moment


def section(reference: Reference, options: argparse.Namespace, say: Say) -> Found:
    say("simulating the trains that are copied")
    live = world.live()
    copies = copies_of(live, options.shipments)
    states = []
    for n, of_copy in enumerate(world.states(copies), 1):
        states.append(of_copy)
        if n % 50 == 0:
            say(f"{n} of {len(copies)} copies made")
    few = copies[: max(1, len(copies) // PARTS[0])]
    us: dict[int, float] = {}
    for part in PARTS[:-1]:
        count = max(1, len(copies) // part)

        def cost(count: int = count) -> float:
            with Site(reference, say) as site:
                whole.fill(site, states[:count])
                for stages in WORKERS:
                    site.worker(stages, *clock())
                site.wait()
                site.settle(SETTLE_S)
                return asyncio.run(work(site, live, few, options))

        if (found := tried(say, COSTS[part], cost)) is not None:
            us[part] = found
            say(f"{count * live.shipments:,} live shipments: {us[part]:,.0f} us CPU per event")
    with Site(reference, say) as site:
        whole.fill(site, states)
        size = sum(len(value) for of_copy in states for rows in of_copy.values() for _, value in rows)
        states.clear()
        world.forget()
        return over_all(Whole(live, site, copies, len(few), options, say), few, us, size)


def tried(say: Say, what: str, measure: Callable[[], T]) -> T | None:
    """None: it failed, which is said; the other figures stand."""
    try:
        return measure()
    except Exception as error:  # noqa: BLE001  an hour of other figures is worth having all the same
        traceback.print_exc()
        say(f"not measured: {what}: {reason(error)}")
        return None


def over_all(played: Whole, few: Sequence[int], us: dict[int, float], size: int) -> Found:
    """In an order in which each measurement leaves the next what it needs. Raises Failed when the workers do not even start."""
    live, say, options = played.live, played.say, played.options
    shipments, trains = len(played.copies) * live.shipments, len(played.copies) * world.TRAINS
    over = (f"{shipments:,} live shipments on {trains:,} trains, copied from {live.shipments} simulated ones with {world.BOXES} boxes a train, states put "
            f"into their topics; {len(WORKERS)} workers")
    say(f"{shipments:,} shipments on {trains:,} trains")
    found = dict[str, Figure | None].fromkeys(NAMES)
    found |= restored(played, size, over)
    if (cost := tried(say, COSTS[1], lambda: asyncio.run(work(played.site, live, few, options)))) is not None:
        us[1] = cost
        say(f"{shipments:,} live shipments: {cost:,.0f} us CPU per event")
    costs = Costs(us, len(few) * world.TRAINS, now())
    mix = Mix(live, played.copies, tempo(options.load_rate, trains), seed=2)
    found |= tried(say, FAILOVER, lambda: failed_over(played, over)) or {}
    found |= tried(say, SWEEP, lambda: swept(played)) or {}
    every = iter(mix)
    best = tried(say, RATE, lambda: played.sustained(every))
    kept_up = now()
    found |= tried(say, UNREAD, lambda: loaded(played, mix, over)) or {}
    played.site.stop_workers()
    beside = Beside(played.site.bootstrap, played.site.admin, say).best(
        "bench.mix", whole.mixed_rows(live, played.copies, options.load_rate), options.rounds)
    if best is not None:
        found[RATE] = figure(
            best, "/s", at_least=4_000, aim=AIM, references=beside.rates, rounds=options.rounds, when=kept_up,
            note=beside.noted(f"{over}; {NOTE}, and read the same mix, one process each; doubling from {RUNG_LEAST:.0f}/s to "
                              f"{ladder(options.load_rate)[-1]:,.0f}/s, each {RUNG_S:.0f} s, all read {RUNG_DRAIN_S:.0f} s later; 0: not even the first"))
    return found | costed(costs, beside, over, options.rounds)


def restored(played: Whole, size: int, over: str) -> dict[str, Figure]:
    starts = played.start()
    when = now()
    played.site.settle(SETTLE_S)
    bare, note = played.read_bare()
    return {RESTORE: figure(
        min(starts), "s", at_least=6, aim=3, smaller_is_better=True, references=bare, rounds=len(starts), when=when,
        note=f"from the start of the processes until all partitions are ready, best of {', '.join(f'{s:.1f}' for s in starts)}; {size >> 20:,} MB; {over}; "
             f"{note}")}


def failed_over(played: Whole, over: str) -> dict[str, Figure]:
    seconds = played.failovers()
    return {FAILOVER: figure(
        min(seconds), "s", at_least=10, aim=5, smaller_is_better=True, rounds=len(seconds),
        note=f"until all notices sent at that moment are at their borders; in each round the slower of {len(WORKERS)} workers, static members: "
             f"{', '.join(f'{s:.1f}' for s in seconds)}; {over}", alone="until a border is told, and no other program here tells one")}


def swept(played: Whole) -> dict[str, Figure]:
    """A round in which no sweep was running reaches no promise."""
    closures = played.closures()
    best, running = whole.chosen(closures)
    made = figure(best.ms[-1], "ms", at_least=1_000, aim=300, smaller_is_better=True, rounds=max(1, running),
                  note=f"the slowest; {len(closures) - running} of {len(closures)} rounds do not count: no sweep was running; {best.note}",
                  alone="no other program here sweeps all keys when a crossing closes")
    return {SWEEP: made if running else msgspec.structs.replace(made, met=False)}


def loaded(played: Whole, mix: Mix, over: str) -> dict[str, Figure]:
    """A load that could not even be sent reaches no promise."""
    options, begun = played.options, time.monotonic()
    real, behind, rest, took, most = asyncio.run(played.load(iter(mix)))
    minutes, when = (time.monotonic() - begun) / 60, now()
    played.say(f"{real:,.0f}/s sent, {behind:,} records unread after it, {'none' if took is not None else f'{rest:,}'} after "
               f"{DRAIN_S if took is None else took:.0f} s; {most:,.0f} MB")
    late = took if took is not None else DRAIN_S * behind / max(1, behind - rest)
    note = (f"{over}; {real:,.0f} events/s for {options.load_seconds:.0f} s, then {2 * options.load_rate:,.0f}/s for {options.load_seconds / 10:.0f} s: "
            f"{behind:,} records unread at the end{mix.said()}; one round, for it takes {minutes:.0f} minutes")
    still = "" if took is not None else f"; {rest:,} still unread after {DRAIN_S:.0f} s, the rest reckoned from the rate until then"
    unread = figure(late, "s", at_least=60, aim=30, smaller_is_better=True, when=when, note=note + still,
                    alone="the programs that read the same mix stand beside the rate that is kept up with")
    if real < ENOUGH * options.load_rate:
        unread = msgspec.structs.replace(unread, met=False, note=f"the load could not even be sent at {options.load_rate:,.0f}/s; {unread.note}")
    return {UNREAD: unread, MEMORY: figure(most / 1024, "GB", at_least=1.5, aim=1, smaller_is_better=True, when=when, note=note,
                                           alone="no other program here holds the state of shipments")}


def costed(costs: Costs, beside: References, over: str, rounds: int) -> dict[str, Figure]:
    """Work per event, and how little it grows with the shipments."""
    found = {COSTS[part]: figure(us, "us", references=beside.us_cpu, smaller_is_better=True, rounds=rounds, when=costs.when,
                                 note=beside.noted(f"{NOTE}, and read the same mix, whatever the number of shipments")) for part, us in costs.us.items()}
    if costs.us.keys() == COSTS.keys():
        spread = (max(costs.us.values()) / max(1.0, min(costs.us.values())) - 1) * 100
        found[SPREAD] = figure(spread, "%", at_least=25, aim=10, smaller_is_better=True, rounds=rounds, when=costs.when,
                               note=f"of each the best of the rounds; events of the same {costs.trains} trains each time; {over}",
                               alone="railclear is compared with itself")
    return found
