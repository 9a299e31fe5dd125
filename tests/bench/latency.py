"""From the moment before a notice or a position is sent until the border's update that rests on it is read, beside a mixed load."""
from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence

from streams.reference.model import Reference
from streams.simulate import Sent
from tests.bench import world
from tests.bench.figures import Figure, figure
from tests.bench.load import BorderReader, Mix, Sender, latencies, quantile
from tests.bench.probes import find
from tests.bench.site import SPLIT, Say, Site
from tests.bench.world import Live

NOTICES, STATIONS = 60, 20
"""Kinds of probe in one copy of the world, at most."""
SETTLE_S = 60.0
LATE_S = 60.0
"""So long after the last was sent an update is waited for; what has not come by then counts with the time until then."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=30.0, help="latency, ledger: how long the steady load lasts")
    parser.add_argument("--rate", type=float, default=1_000.0, help="latency, ledger: outside events a second of the steady load")
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

    def __init__(self, sender: Sender, reader: BorderReader, names: frozenset[str], ended: float) -> None:
        mine = {name: at for name, at in sender.at.items() if name[6:] in names}
        found = latencies(mine, reader.seen)
        self.count, self.unseen = len(mine), len(mine) - len(found)
        self.ms = sorted([*found, *((ended - at) * 1000 for name, at in mine.items() if name not in reader.seen)])

    def quantile(self, share: float) -> float:
        return quantile(self.ms, share) if self.ms else float("inf")

    def __str__(self) -> str:
        return f"{self.count} probes, {self.unseen} not seen, p50 {self.quantile(0.5):.0f} ms, p99 {self.quantile(0.99):.0f} ms"


def tails(probes: Sequence[Sent]) -> frozenset[str]:
    """What an id has behind the number of its journey: the same in every copy."""
    return frozenset(p.event.id[6:] for p in probes if p.event is not None)


async def played(site: Site, live: Live, copies: Sequence[int], probes: Sequence[Sent], rate: float, seconds: float, *,
                 warm: bool = True) -> tuple[Sender, BorderReader, Mix, float]:
    """What has changed since the cut, then quiet; a steady load; then until every probe is seen, or for `LATE_S`."""
    mix = Mix(live, copies, probes=probes)
    async with BorderReader(site) as reader, Sender(site) as sender:
        await sender.run(mix.first_news(), rate, SETTLE_S)
        if warm:
            await asyncio.to_thread(site.settle, SETTLE_S)
        await sender.run(iter(mix), rate, seconds)
        ended = time.monotonic() + LATE_S
        while time.monotonic() < ended and not sender.at.keys() <= reader.seen.keys():
            site.check()
            await asyncio.sleep(0.1)
        return sender, reader, mix, time.monotonic()


def section(reference: Reference, options: argparse.Namespace, say: Say) -> dict[str, Figure]:
    say("simulating the trains that are copied")
    live = world.live()
    notices, stations = find(live, "notices", NOTICES), find(live, "positions", STATIONS)
    copies = copies_of(live, options.latency_shipments)
    say(f"{len(copies) * live.shipments:,} shipments on {len(copies) * live.running:,} trains; of each copy {len(notices)} notices and {len(stations)} "
        "positions are looked for")
    best: dict[str, Heard] = {}
    with Site(reference, say) as site:
        prepare(site, copies)
        for stages in SPLIT:
            site.worker(stages, *clock())
        say(f"ready after {site.wait():.1f} s, {'quiet' if site.settle(SETTLE_S) else 'not yet quiet'} after {SETTLE_S:.0f} s at most")
        sender, reader, mix, ended = asyncio.run(played(site, live, copies, [*notices, *stations], options.rate, options.seconds))
        for name, probes in (("notice", notices), ("position", stations)):
            best[name] = Heard(sender, reader, tails(probes), ended)
            say(f"{name}: {best[name]}")
        rest = site.lag(SPLIT)
    note = (f"{options.rate:,.0f} mixed events/s for {options.seconds:.0f} s over {len(copies) * live.shipments:,} live shipments; sender at the worst "
            f"{sender.behind_s * 1000:.0f} ms behind; {sum(rest.values())} records unread at the end{mix.said()}")
    found: dict[str, Figure] = {}
    for name, title, limits in (("notice", "notice to border update", ((0.5, 60, 30), (0.99, 300, 150))),
                                ("position", "position to border update, four hops", ((0.5, 150, 80), (0.99, 600, 300)))):
        heard = best[name]
        for share, least, aim in limits:
            found[f"{title}, p{share * 100:.0f}"] = figure(
                heard.quantile(share), "ms", at_least=least, aim=aim, smaller_is_better=True,
                note=f"{heard.count} looked for, {heard.unseen} not seen within {LATE_S:.0f} s; {note}")
    return found
