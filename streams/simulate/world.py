"""The whole simulated world in sending order: trains that start one after another, what everybody says, what goes wrong on the wire.

Memory is bounded by what the trains under way will say until their next border; a journey is written page by page.
"""
from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator

from streams.reference.model import Reference
from streams.simulate.border import Border
from streams.simulate.codebook import CodeBook
from streams.simulate.desk import Desk
from streams.simulate.heartbeats import heartbeats
from streams.simulate.incidents import assign
from streams.simulate.journey import Journey, Page, Tools
from streams.simulate.loading import Loading
from streams.simulate.noise import noisy
from streams.simulate.numbers import Numbers
from streams.simulate.options import PLANNED_FROM, SimOptions
from streams.simulate.pen import Cast, Pen
from streams.simulate.rails import Rails
from streams.simulate.route import Pacer, Way, way, ways
from streams.simulate.seals import Seals
from streams.simulate.sent import Draft, Sent, sent
from streams.simulate.weather import Closures

PLANNED_AMONG = 40
"""Planned incidents are spread over at most so many of the first trains."""


def simulate(reference: Reference, rng: random.Random, options: SimOptions, start: int) -> Iterator[Sent]:
    """Every message of the simulated weeks in the order in which it is sent; `start` in microseconds UTC.

    The same reference, generator state, options and start give the same bytes. Raises ValueError when the reference lacks a party or
    corridor that the options need.
    """
    world = _World(reference, rng.getrandbits(64), options, start)
    for draft in world.drafts():
        yield sent(draft)


def expected_dead_letters(messages: Iterable[Sent]) -> int:
    """How many of these must end in dead.letters at intake."""
    return sum(1 for one in messages if one.expect == "dead_letter")


class _World:
    def __init__(self, reference: Reference, seed: int, options: SimOptions, start: int) -> None:
        self.reference, self.seed, self.options, self.start = reference, seed, options, start
        self.cast, self.book = Cast(reference), CodeBook(reference)
        self.numbers = Numbers(random.Random(f"{seed}/numbers"))
        self._ways = ways(reference, options.corridors, eastbound=options.eastbound)
        self.closures = Closures(reference, random.Random(f"{seed}/weather"), options, start, [self._way(i)[0] for i in range(min(options.trains, 40))])
        planned = options.incidents and options.trains >= PLANNED_FROM
        routes = [(i, self._way(i)[0]) for i in range(min(options.trains, PLANNED_AMONG))]
        self.empties = next((i for i, route in routes if route.direction == "east"), -1) if planned else -1
        self.plans = assign([(i, route) for i, route in routes if i != self.empties]) if planned else {}

    def _way(self, index: int) -> tuple[Way, random.Random]:
        """The way of a train and the generator that its journey goes on with. Neighbouring trains go opposite ways; with twice as many trains as
        corridors every corridor is passed both ways."""
        corridors = [c for c, direction in self._ways if direction == "west"]
        turn, place = divmod(index, len(corridors))
        east = self.options.eastbound and (place + turn) % 2 == 1
        rng = random.Random(f"{self.seed}/journey/{index}")
        return way(self.reference, corridors[place], "east" if east else "west", rng), rng

    def drafts(self) -> Iterator[Draft]:
        """In order of sending, noise included."""
        pages: list[tuple[int, int, Iterator[Page], Journey | None]] = []
        waiting: list[tuple[int, int, Draft]] = []
        wire = random.Random(f"{self.seed}/wire")
        order = 0
        begun, live = 0, 0
        beats = heartbeats(self.reference, self.cast, self.options, self.start, self._parties())
        for draft in self.closures.said(self.cast):
            order += 1
            heapq.heappush(waiting, (draft.at, order, draft))
        next_beat = next(beats, None)
        while True:
            floor = pages[0][0] if pages else self._begins(begun)
            while begun < self.options.trains and self._begins(begun) <= floor:
                order, live = order + 1, live + 1
                journey, iterator = self._journey(begun)
                heapq.heappush(pages, (self._begins(begun), order, iterator, journey))
                begun += 1
                floor = pages[0][0]
            while waiting and (waiting[0][0] < floor or (not pages and begun == self.options.trains)):
                at, _, draft = heapq.heappop(waiting)
                while next_beat is not None and next_beat.at < at:
                    yield next_beat
                    next_beat = next(beats, None)
                yield draft
            if not pages:
                if begun < self.options.trains:
                    continue
                return
            _, _, iterator, owner = heapq.heappop(pages)
            page = next(iterator, None)
            if page is not None:
                following, drafts = page
                for draft in drafts:
                    for one in noisy(draft, wire, self.options):
                        order += 1
                        heapq.heappush(waiting, (one.at, order, one))
                order += 1
                heapq.heappush(pages, (following, order, iterator, owner))
            if owner is not None:
                for begins, iterator in owner.spawned:
                    order += 1
                    heapq.heappush(pages, (begins, order, iterator, owner))
                owner.spawned.clear()

    def _begins(self, index: int) -> int:
        return self.start + round(index * self.options.stagger_hours * 3_600_000_000 / self.options.speed_up)

    def _journey(self, index: int) -> tuple[Journey, Iterator[Page]]:
        route, rng = self._way(index)
        tools = self._tools(index, route, rng)
        territory = self.options.incidents and self.options.trains >= PLANNED_FROM and index == self._territory_train()
        journey = Journey(tools, route, territory_hold=territory)
        begins = self._begins(index)
        consignments = tools.loading.consignments(route, begins, self.plans.get(index, []), empties=index == self.empties)
        return journey, journey.pages(begins, consignments)

    def _territory_train(self) -> int:
        """The first train that crosses the territory of an authority that stops goods anywhere, without a customs post of it on the way."""
        for index in range(min(self.options.trains, PLANNED_AMONG)):
            route = self._way(index)[0]
            posts = {a for p in route.passes if p.customs for a in (p.exit_authority, p.entry_authority)}
            crossed = {s.country for s in route.stops if s.kind not in ("town", "station")} - posts
            if any(a.territory and code in crossed for code, a in self.reference.authorities.items()) and index != self.empties:
                return index
        return -1

    def _tools(self, index: int, route: Way, rng: random.Random) -> Tools:
        pen = Pen(self.cast, index)
        desk = Desk(self.reference, pen, self.book, self.numbers, rng, self.options)
        seals = Seals(self.reference, pen, desk, self.numbers, rng, self.options)
        return Tools(
            reference=self.reference, options=self.options, pen=pen, desk=desk, seals=seals, numbers=self.numbers,
            border=Border(self.reference, pen, desk, seals, self.numbers, rng, self.options),
            rails=Rails(pen, route, rng, self.numbers, self.options), pacer=Pacer(self.reference, rng, self.options.speed_up),
            loading=Loading(self.reference, pen, seals, self.numbers, rng, self.options), operators=self.cast.sites, closed=self._closed())

    def _closed(self) -> Callable[[str, int], int]:
        return self.closures.may_leave

    def _parties(self) -> list[str]:
        """Who takes part: parties of the countries and places on the ways, and those of no country."""
        routes = [self._way(i)[0] for i in range(min(self.options.trains, len(self._ways) * 2))]
        places = {s.id for r in routes for s in r.stops}
        countries = {s.country for r in routes for s in r.stops}
        return self.cast.among(countries, places)
