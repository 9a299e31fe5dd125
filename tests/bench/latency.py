"""From the moment before a notice or a position is sent until the border's update that rests on it is read, beside a mixed load."""
from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from streams.reference.model import Reference
from tests.bench import hops, world
from tests.bench.beside import reason
from tests.bench.figures import Figure, Moment, figure, now
from tests.bench.hops import Floor, Hops
from tests.bench.load import BorderReader, Mix, Sender, latencies, quantile, tempo
from tests.bench.probes import Probes, in_mix
from tests.bench.site import GROUPS, WORKERS, Failed, Say, Site
from tests.bench.world import Live

SETTLE_S = 60.0
RATE = 1_000.0
"""Outside events a second for which latencies are promised."""
SECONDS = 40.0
"""Three rounds of it have more than a hundred words of stations that are looked for: one a second (`load.STATIONS_S`), or trains would pass stations more often
than on any day."""
FEW = 100
"""Of fewer, p99 is the slowest one."""
LIGHT = 0.25
"""Of that rate, for the latencies of railclear rather than of a queue."""
LATE_S = 60.0
"""So long after the last was sent an update is waited for; what has not come by then counts with the time until then."""


SIZES = ("seconds", "rate", "latency_shipments")
"""Options that make a smaller run than the one that is promised for."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=SECONDS, help="latency, ledger: how long the steady load lasts")
    parser.add_argument("--rate", type=float, default=RATE, help="latency, ledger: outside events a second of the steady load")
    parser.add_argument("--latency-shipments", type=int, default=7_200, help="latency, ledger: live shipments")


def copies_of(live: Live, shipments: int) -> list[int]:
    return list(range(max(1, round(shipments / live.shipments))))


def common(site: Site) -> None:
    """What concerns everybody, into the folds' topics."""
    for topic, parts in world.live().common.items():
        for partition, records in enumerate(parts):
            site.place(topic, partition, records)


def prepare(site: Site, copies: Sequence[int]) -> None:
    """The states of so many copies into the folds' topics. Before the workers start."""
    common(site)
    for n, states in enumerate(world.states(copies), 1):
        for topic, rows in states.items():
            site.fill(topic, rows)
        if n % 50 == 0:
            site.say(f"{n} of {len(copies)} copies")


def clock() -> tuple[str, ...]:
    """Railclear's time begins behind everything that is played."""
    return ("--clock-base", str(world.NOW), "--clock-origin", str(time.time_ns() // 1000))


class Heard:
    """Milliseconds from sending to reading, of all probes of one kind."""

    def __init__(self, sender: Sender, reader: BorderReader, ended: float, names: frozenset[str] | None = None) -> None:
        """`names`: of these messages only."""
        mine = {name: at for name, at in sender.at.items() if names is None or original(name) in names}
        found = latencies(mine, reader.seen)
        self.count, self.unseen = len(mine), len(mine) - len(found)
        self.ms = sorted([*found, *((ended - at) * 1000 for name, at in mine.items() if name not in reader.seen)])

    def quantile(self, share: float) -> float:
        return quantile(self.ms, share) if self.ms else float("inf")

    def __str__(self) -> str:
        return f"{self.count} probes, {self.unseen} not seen, p50 {self.quantile(0.5):.0f} ms, p99 {self.quantile(0.99):.0f} ms"


def original(name: str) -> str:
    """The simulated message that a probe is a copy of."""
    return f"J{int(name[1:6]) % world.TRAINS:05d}{name[6:]}"


async def played(site: Site, mix: Mix, rate: float, seconds: float, *, warm: bool) -> tuple[Sender, BorderReader, float]:
    """`warm`: what has changed since the cut is told first, and all is quiet again. A steady load; then until every probe is seen, or for `LATE_S`."""
    async with BorderReader(site) as reader, Sender(site) as sender:
        if warm:
            await sender.run(mix.first_news(), rate, SETTLE_S)
            await asyncio.to_thread(site.settle, SETTLE_S)
        await sender.run(iter(mix), rate, seconds)
        ended = time.monotonic() + LATE_S
        while time.monotonic() < ended and not sender.at.keys() <= reader.seen.keys():
            site.check()
            await asyncio.sleep(0.1)
        return sender, reader, time.monotonic()


LIMITS = (("notice", "notice to border update", ((0.5, 60, 30), (0.99, 300, 150))),
          ("position", "position to border update, four hops", ((0.5, 150, 80), (0.99, 600, 300))))
"""Kind of probe, name of its figures, (quantile, at least, aim)."""


BARE = ("a bare hop reads every record of the same load, sends it on and commits, in two processes in place of railclear's workers, under the same sender and "
        "reader")


class Round(NamedTuple):
    """One play."""

    heard: dict[str, Heard]
    note: str
    when: Moment


def rounds(site: Site, mix: Mix, probes: Probes, options: argparse.Namespace, over: str) -> tuple[Round, list[Round]]:
    """A quarter of the load first, then all of it several times."""
    plays = []
    for n in range(options.rounds + 1):
        rate = options.rate if n else options.rate * LIGHT
        sender, reader, ended = asyncio.run(played(site, mix, rate, options.seconds, warm=not n))
        heard = {name: Heard(sender, reader, ended, ids) for name, ids in (("notice", probes.notices), ("position", probes.places))}
        for name, one in heard.items():
            if not one.ms:
                raise Failed(f"no {name} that is looked for was sent: give it more seconds")
            site.say(f"{rate:,.0f}/s, {name}: {one}")
        rest = sum(site.lag(GROUPS).values())
        plays.append(Round(heard, f"{rate:,.0f} mixed events/s for {options.seconds:.0f} s over {over}; sender at the worst {sender.behind_s * 1000:.0f} ms "
                                  f"behind; {rest} records unread at the end{mix.said()}", now()))
        site.settle(SETTLE_S)
    return plays[0], plays[1:]


def bare(site: Site, mix: Mix, options: argparse.Namespace) -> tuple[list[Floor], str]:
    """The same rounds with bare hops in place of railclear: how late a record is on this machine when nothing is done with it. And what kept a round from
    being played; empty: nothing."""
    floors: list[Floor] = []
    try:
        with Hops(site) as running:
            for n in range(options.rounds + 1):
                rate = options.rate if n else options.rate * LIGHT
                floors.append(asyncio.run(running.play(mix, rate, options.seconds, warm=not n)))
                said = ", ".join(f"{name} p50 {floors[-1].beside(0.5)[name]:.0f} ms" for name in floors[-1].beside(0.5))
                site.say(f"{rate:,.0f}/s, {said}, {floors[-1].unseen} not seen")
    except Exception as error:  # noqa: BLE001  what was measured of railclear stands
        site.say(f"no more bare hops: {error!r}")
        return floors, reason(error)
    return floors, ""


def section(reference: Reference, options: argparse.Namespace, say: Say) -> dict[str, Figure]:
    say("simulating the trains that are copied")
    live = world.live()
    copies = copies_of(live, options.latency_shipments)
    pace = tempo(options.rate, len(copies) * world.TRAINS)
    probes = in_mix(live, len(copies), pace, options.rate * options.seconds * (options.rounds + LIGHT))
    over = f"{len(copies) * live.shipments:,} live shipments on {len(copies) * world.TRAINS:,} trains, each says its position every {pace.every / 1e6:.2f} s"
    say(f"{over}; of each copy {len(probes.notices)} notices and {len(probes.places)} words of stations can be looked for; "
        f"{probes.swallowed} more are heard of alone and not in a backlog")
    if not probes.notices or not probes.places:
        raise Failed("no simulated message changes what a border is told: give it more seconds")
    with Site(reference, say) as site:
        prepare(site, copies)
        for stages in WORKERS:
            site.worker(stages, *clock())
        say(f"ready after {site.wait():.1f} s, {'quiet' if site.settle(SETTLE_S) else 'not yet quiet'} after {SETTLE_S:.0f} s at most")
        light, full = rounds(site, Mix(live, copies, pace, stations=probes.stations, ids=probes.ids), probes, options, over)
        site.stop_workers()
        floors, why = bare(site, Mix(live, copies, pace, stations=probes.stations, ids=probes.ids), options)
    without = f"{BARE}; {len(floors)} of {options.rounds + 1} rounds of bare hops were played: {why}" if why else BARE
    found: dict[str, Figure] = {}
    for name, title, limits in LIMITS:
        best = of_one_round(full, name)
        over_all = f"{sum(r.heard[name].count for r in full)} in all {len(full)} rounds; p50 and p99 of the round with the best p50"
        for share, least, aim in limits:
            found[f"{title}, p{share * 100:.0f}"] = figure(
                best.heard[name].quantile(share), "ms", at_least=least, aim=aim, smaller_is_better=True, references=hops.best(floors[1:], share),
                rounds=len(full), when=best.when, note=_note(best, name, f"{over_all}; {without}"))
            found[f"{title}, a quarter of the load, p{share * 100:.0f}"] = figure(
                light.heard[name].quantile(share), "ms", smaller_is_better=True, references=hops.best(floors[:1], share), when=light.when,
                note=_note(light, name, f"one round: it shows railclear without a queue; {without}"))
    return found


def of_one_round(plays: Sequence[Round], name: str) -> Round:
    """The round whose p50 and p99 are said: the one with the best p50."""
    return min(plays, key=lambda play: play.heard[name].quantile(0.5))


def _note(play: Round, name: str, more: str) -> str:
    heard = play.heard[name]
    slowest = ", so that p99 is the slowest" if heard.count < FEW else ""
    return f"{heard.count} looked for{slowest}; {heard.unseen} not seen within {LATE_S:.0f} s; {play.note}; {more}"
