"""What the outside says of copied trains, mixed as on a working day (90 % positions, 5 % terminal and seal events, 3 % notices, 2 % filings), and who
sends it."""
from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from streams.kept import instant, micros
from streams.simulate import Sent
from tests.bench.names import Template
from tests.bench.site import Site
from tests.bench.world import TRAINS, Script
from topics import codec
from topics.events.rail import PositionReported
from topics.facts import MINUTE

SHARES = {"positions": 90, "sites": 5, "notices": 3, "filings": 2}
KIND = {"TerminalEvent": "sites", "SealEvent": "sites", "CustomsNotice": "notices", "AgencyNotice": "notices", "FilingLodged": "filings",
        "RequestAnswered": "filings"}
EVERY = 10_000_000
"""A train says its position at least every ten seconds, microseconds."""
GAP_MAX = 90 * MINUTE
"""Between two simulated positions further apart the train stood."""
STATIONS_S = 1.0
"""So many words of stations are looked for in a second. Each moves the ETAs of seventy boxes; 1,300 trains that pass a station every half an hour give
two in three seconds."""
TICK_S = 0.02
WARM = 12
"""Positions of each train before a measurement."""


class Message(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes
    probe: str = ""
    """Event id by which its effect is known again; empty: nobody looks for it."""


class Tempo(NamedTuple):
    """How trains speak so that their time passes as fast as the clock: a position every ten seconds from a hundred trains is nine a second, and what
    is said faster than that must lie closer together, or ETAs move, and borders are told, a hundred times as often as on any day."""

    every: int
    """Microseconds between two positions of a train."""
    stations: int
    """One in so many positions is a station's word that is looked for."""


def tempo(rate: float, trains: int) -> Tempo:
    """For so many mixed events a second of so many trains."""
    positions = rate * SHARES["positions"] / 100
    return Tempo(max(1, min(EVERY, round(trains / positions * 1e6))), max(1, round(positions / STATIONS_S)))


class Copies:
    """Messages after the cut, for chosen copies of the world."""

    def __init__(self, live: Script, copies: Sequence[int]) -> None:
        self.live, self.copies = live, copies
        self._numbers = {copy: live.numbers(copy) for copy in copies}
        self._runs = {copy: live.names.of_copy(copy) for copy in copies}
        self._heard: dict[tuple[str, bytes], int] = {}
        """Topic and key of a train -> up to when a station's word has told of it: it has said nothing older since."""

    def each(self, messages: Iterable[Sent], probes: frozenset[str] = frozenset()) -> Iterator[Message]:
        """Every message for every copy: all trains go on side by side."""
        for sent in messages:
            assert sent.event is not None, "no broken bytes here"
            key, value = self.live.names.template((sent.key or "").encode()), self.live.names.template(sent.value)
            for copy in self.copies:
                yield self._filled(sent, copy, key, value, probe=sent.event.id in probes)

    def stations(self, messages: Iterable[Sent], probes: frozenset[str]) -> Iterator[Message]:
        """Words of stations. What the train would have said before is not said after."""
        for sent, message in zip((sent for sent in messages for _ in self.copies), self.each(messages, probes), strict=True):
            assert sent.event is not None, "no broken bytes here"
            self._heard[message.topic, message.key or b""] = micros(sent.event.event_time)
            yield message

    def _filled(self, sent: Sent, copy: int, key: Template, value: Template, *, probe: bool) -> Message:
        numbers, shift = self._numbers[copy], copy * TRAINS
        assert sent.event is not None, "no broken bytes here"
        name = f"J{sent.train + shift:05d}{sent.event.id[6:]}" if probe else ""
        filled = self._train(copy, sent.event, sent.key or "") if isinstance(sent.event, PositionReported) else key.filled(numbers, shift)
        return Message(sent.topic, filled or None, value.filled(numbers, shift), name)

    def _train(self, copy: int, event: PositionReported, key: str) -> bytes:
        return key.replace(f"/{event.train.number}/", f"/{self._runs[copy][event.train.number]}/").encode()

    def positions(self, every: int = EVERY) -> Iterator[Message]:
        """Each train between its simulated positions."""
        for at, topic, key, event, train in dense(self.live.after, every):
            value = codec.encode(event)
            old, head = f'"number":"{event.train.number}"'.encode(), f'"J{train:05d}-'.encode()
            for copy in self.copies:
                new, run = f'"number":"{self._runs[copy][event.train.number]}"'.encode(), self._train(copy, event, key)
                if self._heard.get((topic, run), 0) >= at:
                    continue
                yield Message(topic, run, value.replace(old, new).replace(head, f'"J{train + copy * TRAINS:05d}-'.encode()))


def dense(messages: Sequence[Sent], every: int) -> Iterator[tuple[int, str, str, PositionReported, int]]:
    """(instant, topic, key, position, journey) in order of time."""
    runs: dict[str, list[Sent]] = defaultdict(list)
    for sent in messages:
        if isinstance(sent.event, PositionReported) and sent.event.lat is not None and sent.key is not None:
            runs[sent.key].append(sent)
    yield from ((at, topic, key, event, train)
                for at, _, topic, key, event, train in heapq.merge(*(_between(n, of_run, every) for n, of_run in enumerate(runs.values()))))


def _between(n: int, of_run: list[Sent], every: int) -> Iterator[tuple[int, int, str, str, PositionReported, int]]:
    fixes = sorted(((int(s.event.event_time.timestamp() * 1e6), s) for s in of_run if s.event is not None), key=lambda f: f[0])
    for (begin, sent), (end, following) in pairwise(fixes):
        a, b = sent.event, following.event
        assert isinstance(a, PositionReported), "chosen"
        assert isinstance(b, PositionReported), "chosen"
        if not 0 < end - begin <= GAP_MAX or a.lat is None or a.lon is None or b.lat is None or b.lon is None:
            continue
        for step, at in enumerate(range(begin, end, every)):
            share = (at - begin) / (end - begin)
            event = msgspec.structs.replace(a, id=f"{a.id}-{step}", event_time=instant(at), lat=round(a.lat + share * (b.lat - a.lat), 6),
                                            lon=round(a.lon + share * (b.lon - a.lon), 6))
            yield at, n, sent.topic, sent.key or "", event, sent.train


class Mix:
    """An endless mix as long as the simulated world has something to say; `dry`: kinds that had nothing left, replaced by positions."""

    def __init__(self, live: Script, copies: Sequence[int], pace: Tempo, *, stations: Sequence[Sent] = (), ids: frozenset[str] = frozenset(),
                 seed: int = 1) -> None:
        """`ids`: messages that are known again. `stations`: the positions among which some of them are."""
        self._copies, self._pace = copies, pace
        every = Copies(live, copies)
        pools: dict[str, list[Sent]] = {kind: [] for kind in SHARES if kind != "positions"}
        for sent in live.after:
            if sent.expect == "applied" and (kind := kind_of(sent)) in pools:
                pools[kind].append(sent)
        self._sources = {kind: every.each(pool, ids) for kind, pool in pools.items()}
        self._sources["stations"] = every.stations(stations, ids)
        self._sources["positions"] = every.positions(pace.every)
        self.dry: set[str] = set()
        order = [kind for kind, share in SHARES.items() for _ in range(share)]
        random.Random(seed).shuffle(order)
        self._order = order

    def __iter__(self) -> Iterator[Message]:
        positions = 0
        while True:
            for kind in self._order:
                positions += kind == "positions"
                yield self._next("stations" if kind == "positions" and positions % self._pace.stations == 0 else kind)

    def first_news(self) -> Iterator[Message]:
        """Some positions of every train: what has changed since the cut is told once, and no measurement has to carry it."""
        for _ in range(WARM * len(self._copies) * TRAINS):
            yield next(self._sources["positions"])

    def said(self) -> str:
        """For a note; empty as long as there was enough of everything."""
        return f"; ran dry and went on with positions: {', '.join(sorted(self.dry))}" if self.dry else ""

    def _next(self, kind: str) -> Message:
        found = next(self._sources[kind], None)
        if found is None:
            if kind != "stations":
                self.dry.add(kind)
            found = next(self._sources["positions"])
        return found


def kind_of(sent: Sent) -> str:
    """`positions` also stands for whatever else a railway says."""
    return KIND.get(type(sent.event).__name__, "positions")


class Sender:
    """Sends at a steady rate in the batches of one tick; what is looked for is sent apart, and when is noted."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sent = 0
        self.at: dict[str, float] = {}
        """Probe -> moment before it was sent, monotonic."""
        self.behind_s = 0.0
        """How far behind its rate it was at the worst."""
        self.ended = 0.0
        """When the last run had sent everything, monotonic."""
        self._choose = DefaultPartitioner()

    async def __aenter__(self) -> Sender:
        self.producer = AIOKafkaProducer(bootstrap_servers=self.site.bootstrap, acks=1, max_batch_size=256 << 10)
        await self.producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.producer.stop()

    async def run(self, source: Iterator[Message], rate: float, seconds: float) -> int:
        """Returns how many were sent; ends early when there is nothing left."""
        begun, count, waiting = time.monotonic(), 0, list[Any]()
        total = round(rate * seconds)
        while count < total:
            due = min(total, int((time.monotonic() - begun) * rate) + 1)
            self.behind_s = max(self.behind_s, (due - count) / rate - TICK_S)
            taken = [m for _, m in zip(range(min(due - count, 4000)), source, strict=False)]
            if not taken and due > count:
                break
            count += len(taken)
            waiting += await self._send(taken)
            if len(waiting) > 200:
                await asyncio.gather(*waiting[:100])
                del waiting[:100]
            await asyncio.sleep(TICK_S)
        await asyncio.gather(*waiting)
        self.sent += count
        self.ended = time.monotonic()
        return count

    async def _send(self, messages: Sequence[Message]) -> list[Any]:
        parts: dict[tuple[str, int], list[Message]] = defaultdict(list)
        sent = []
        for message in messages:
            every = list(range(self.site.partitions_of(message.topic)))
            part = self._choose(message.key, every, every)
            if message.probe:
                self.at[message.probe] = time.monotonic()
                sent.append(await self.producer.send(message.topic, message.value, key=message.key, partition=part))
            else:
                parts[message.topic, part].append(message)
        for (topic, part), mine in parts.items():
            batch = self.producer.create_batch()
            for message in mine:
                if batch.append(key=message.key, value=message.value, timestamp=None) is None:
                    sent.append(await self.producer.send_batch(batch, topic, partition=part))
                    batch = self.producer.create_batch()
                    batch.append(key=message.key, value=message.value, timestamp=None)
            sent.append(await self.producer.send_batch(batch, topic, partition=part))
        return sent


class _Evidence(msgspec.Struct, frozen=True):
    id: str = ""


class _Basis(msgspec.Struct, frozen=True):
    evidence: str = ""


class _Seen(msgspec.Struct, frozen=True):
    evidence: tuple[_Evidence, ...] = ()
    basis: _Basis = _Basis()


_seen = msgspec.json.Decoder(_Seen)


def evidence_of(update: bytes) -> set[str]:
    """Event ids that an update rests on."""
    said = _seen.decode(update)
    return {one.rpartition("/")[2] for one in (*(e.id for e in said.evidence), said.basis.evidence) if one}


class BorderReader:
    """Reads every border's topic as customs would, committed records only; notes when each piece of evidence was first seen."""

    def __init__(self, site: Site, begin: Literal["earliest", "latest"] = "earliest") -> None:
        """`begin`: with what was said long ago, or only with what is said from now on."""
        self.site, self._begin = site, begin
        self.seen: dict[str, float] = {}
        self.updates = 0
        self.last = 0.0
        """When the last update was seen."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> BorderReader:
        topics = [spec.name for spec in self.site.known.by_kind("border")]
        self.consumer = AIOKafkaConsumer(*topics, bootstrap_servers=self.site.bootstrap, auto_offset_reset=self._begin, isolation_level="read_committed",
                                         fetch_max_wait_ms=100)
        await self.consumer.start()
        for tp in self.consumer.assignment() if self._begin == "latest" else ():
            await self.consumer.position(tp)             # or what is said before the first fetch would be left out
        self._task = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        while True:
            for records in (await self.consumer.getmany(timeout_ms=200)).values():
                now = time.monotonic()
                self.last, self.updates = now, self.updates + len(records)
                for record in records:
                    for name in evidence_of(record.value or b"{}"):
                        self.seen.setdefault(name, now)

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.consumer.stop()


def latencies(sent: Mapping[str, float], seen: Mapping[str, float]) -> list[float]:
    """Milliseconds, sorted, of those that were seen."""
    return sorted((seen[name] - at) * 1000 for name, at in sent.items() if name in seen)


def quantile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]
