"""One train from its origin to its destinations: the train runs, stands at posts, is re-formed; boxes that stay behind follow later.

A journey is a set of generators that yield (floor, page): no later page of the same generator has a message before `floor`.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from streams.reference.model import Place, Reference
from streams.simulate.border import NEVER_GOES, Border, office_of, site_of
from streams.simulate.cargo import Box, Consignment
from streams.simulate.clockwork import MINUTE
from streams.simulate.desk import Desk, Post
from streams.simulate.loading import Loading
from streams.simulate.numbers import Numbers
from streams.simulate.options import SimOptions
from streams.simulate.pen import Pen
from streams.simulate.rails import Part, Rails
from streams.simulate.route import Call, Pacer, Pass, Way
from streams.simulate.seals import Seals
from streams.simulate.sent import Draft
from topics.events.sites import TerminalEvent
from topics.events.trade import ContainerLoaded

Page = tuple[int, list[Draft]]
Closed = Callable[[str, int], int]
"""(crossing, instant) -> when a train that wants to leave then may: later when the crossing is closed."""
TERRITORY_STAY_HOURS = (72.0, 330.0)
"""Decree 1374: two to four weeks reported (S78), shortened so that it ends within a demo [D]."""


class Tools(msgspec.Struct, frozen=True):
    """What all pages of one journey are written with."""

    reference: Reference
    options: SimOptions
    pen: Pen
    desk: Desk
    border: Border
    seals: Seals
    rails: Rails
    pacer: Pacer
    numbers: Numbers
    loading: Loading
    operators: dict[str, str]
    closed: Closed


class Journey:
    """Drives the parts of one train."""

    def __init__(self, tools: Tools, way: Way, *, territory_hold: bool) -> None:
        self.t, self.way = tools, way
        self.rng = tools.desk.rng
        self.spawned: list[tuple[int, Iterator[Page]]] = []
        """Parts that came into being and are not yet driven by the world: (floor, generator)."""
        self._parts = 0
        self._hold_planned = territory_hold

    # -- the beginning ----------------------------------------------------------------------------------------------------------
    def pages(self, start: int, consignments: list[Consignment]) -> Iterator[Page]:
        """The whole train from `start`, when it is announced."""
        leaves = start + self.t.desk.wait(30, 44)
        origin = self.way.stops[0]
        part = Part(self.t.rails.name(origin.country, leaves, origin.id), consignments, formed_at=start)
        self.t.rails.couple(part, 1435 if 1435 in origin.gauge or not origin.gauge else origin.gauge[0], origin.country)
        self.t.loading.declare(part, self.way, start, leaves)
        self.t.loading.load(part, self.way, start, leaves, site_of(self.t.reference.places, self.t.operators, origin))
        self.t.rails.announce(part, start + self.t.desk.wait(0.1, 1), self._plan(leaves))
        self.t.rails.consist(part, leaves - self.t.desk.wait(1, 2), 0)
        yield from self._drive(part, 0, leaves, start + self.t.desk.wait(3, 5))

    def _plan(self, leaves: int) -> list[Call]:
        """A timetable of border stations and the destination, from average figures."""
        calls, at = [Call(0, leaves, leaves)], leaves
        borders = {i for p in self.way.passes for i in (p.exit_at, p.entry_at)} | {len(self.way.stops) - 1}
        for i in range(1, len(self.way.stops)):
            at += self.t.pacer.running(self.way.stops[i - 1], self.way.stops[i])
            if i in borders:
                calls.append(Call(i, at, at + self.t.desk.wait(4, 12)))
                at = calls[-1].departs
        return calls

    # -- running ----------------------------------------------------------------------------------------------------------------
    def _drive(self, part: Part, stop: int, leaves: int, since: int) -> Iterator[Page]:
        """From a stop at which the train is ready to leave, to the end of the way. Nothing is filed before `since`."""
        passed = self.way.customs_from(stop + 1 if self._just_passed(stop) else stop)
        if passed is None:
            last = len(self.way.stops) - 1
            part, arrives = self._run(part, stop, last, leaves)
            if part.consignments:
                self._arrive(part, arrives, since)
            yield NEVER_GOES, self.t.pen.page()
            return
        part, arrives = self._run(part, stop, passed.exit_at, leaves)
        if not part.consignments:
            yield NEVER_GOES, self.t.pen.page()
            return
        yield from self._exit(part, passed, arrives, since)

    def _just_passed(self, stop: int) -> bool:
        return any(p.entry_at == stop or p.formed_at == stop for p in self.way.passes)

    def _run(self, part: Part, stop: int, until: int, at: int) -> tuple[Part, int]:
        """Along the line, over inner borders, where the train changes its name. Gives the train as it arrives, and when."""
        for i in range(stop, until):
            a, b = self.way.stops[i], self.way.stops[i + 1]
            arrives = at + self.t.pacer.running(a, b)
            inner = next((p for p in self.way.passes if not p.customs and i + 1 in (p.exit_at, p.entry_at)), None)
            self.t.rails.run(part, Call(i, at, at), Call(i + 1, arrives, arrives))
            at = arrives
            if inner is not None:
                stay = self.t.pacer.dwell(inner, self.way.direction)
                at += stay[0] if i + 1 == inner.exit_at else stay[2]
                if i + 1 == inner.entry_at:
                    part = self._renumber(part, i + 1, at - 10 * MINUTE, b)
            elif b.kind != "town" and i + 1 < until:
                at += self.t.desk.wait(0.3, 2)
                self._incidents_on_the_way(part, i + 1, at, b)
            if not part.consignments:
                break
        return part, at

    def _renumber(self, part: Part, stop: int, at: int, place: Place) -> Part:
        child = Part(self.t.rails.name(place.country, at, place.id), part.consignments, formed_at=at, number=part.number)
        self.t.rails.form(child, [part], at, stop, "renumbered")
        return child

    def _incidents_on_the_way(self, part: Part, stop: int, at: int, place: Place) -> None:
        """Territory holds in Russia, wagons set out."""
        authority = self.t.reference.authorities.get(place.country)
        rates = self.t.options.rates
        crossing_ru = authority is not None and authority.territory and place.kind != "station"
        for c in list(part.consignments):
            planned = self._hold_planned and not c.story and len(c.boxes) == 1 and not c.empty
            transit = c.procedures.get(place.country) == "transit"
            if crossing_ru and transit and not c.empty and (planned or self.rng.random() < rates.territory_hold):
                self._hold_planned = False
                self._territory_hold(part, c, stop, at, place)
            elif c.story.get("set_out") == "LEG" or self.rng.random() < rates.set_out:
                c.story.pop("set_out", None)
                self._leave(part, [c], stop, at - 5 * MINUTE, at + self.t.desk.wait(10, 40), "hot box", "set_out")

    def _territory_hold(self, part: Part, c: Consignment, stop: int, at: int, place: Place) -> None:
        """An authority stops a container in transit, far from any border, and lets it go weeks later."""
        post = Post(authority=place.country, kind="TERRITORY", office="", country=place.country, place=place.id, since=at, arrives=at, leaves=at)
        reference, box = self.t.numbers.reference(place.country), c.boxes[0]
        if not self.t.desk.demand(post, "hold", "opened", at - 20 * MINUTE, reference, filing=None, container=box.number, reason="DECREE-1374",
                                  story="territory_hold"):
            return
        until = at + self.t.desk.wait(*TERRITORY_STAY_HOURS)
        self.t.desk.demand(post, "hold", "closed", until, reference, filing=None, container=box.number, story="territory_hold")
        self._leave(part, [c], stop, at - 5 * MINUTE, until + self.t.desk.wait(4, 12), "customs hold", "territory_hold")

    def _leave(self, part: Part, stay: Sequence[Consignment], stop: int, at: int, until: int, reason: str, story: str) -> None:
        """Wagons set out here at `at`; another train takes them on at `until`."""
        place = self.way.stops[stop]
        self.t.rails.set_out(part, [b for c in stay for b in c.boxes], at, place.id, reason, story=story)
        for c in stay:
            part.consignments = [other for other in part.consignments if other is not c]
        self.spawned.append((until, self._follow(part, list(stay), stop, until, story)))

    def _follow(self, parent: Part, consignments: list[Consignment], stop: int, at: int, story: str) -> Iterator[Page]:
        """The train that takes on what had stayed behind."""
        place = self.way.stops[stop]
        child = self._part(place.country, at, place, consignments)
        self.t.rails.form(child, [parent], at, stop, "split", story=story)
        yield at, self.t.pen.page()
        yield from self._drive(child, stop, at + self.t.desk.wait(0.5, 2), at)

    def _part(self, country: str, at: int, place: Place, consignments: list[Consignment]) -> Part:
        self._parts += 1
        return Part(self.t.rails.name(country, at, place.id), consignments, formed_at=at, number=self._parts)

    # -- borders ----------------------------------------------------------------------------------------------------------------
    def _post(self, passed: Pass, authority: str, kind: str, stop: int, since: int, arrives: int, leaves: int) -> Post:
        place = self.way.stops[stop]
        return Post(authority=authority, kind=kind, office=office_of(self.t.reference, passed.crossing.id, authority), crossing=passed.crossing.id,
                    place=place.id, country=place.country, since=since, arrives=arrives, leaves=leaves)

    def _exit(self, part: Part, passed: Pass, arrives: int, since: int) -> Iterator[Page]:
        """The post at which the goods leave a country."""
        stay, _, _ = self.t.pacer.dwell(passed, self.way.direction)
        leaves = self.t.closed(passed.crossing.id, arrives + stay)
        if leaves > arrives + stay:
            self.t.rails.delayed(part, arrives + 10 * MINUTE, leaves - arrives - stay, "BORDER_CLOSED", passed.exit_at, story="closure")
        post = self._post(passed, passed.exit_authority, "EXIT", passed.exit_at, since, arrives, leaves)
        site = site_of(self.t.reference.places, self.t.operators, self.way.stops[passed.exit_at])
        if {passed.exit_authority, passed.entry_authority} == {"CN", "KZ"}:
            self.t.loading.lock_at([(c, b) for c in part.consignments for b in c.boxes], passed.exit_authority, arrives + 5 * MINUTE, site[0])
        may = self.t.border.visit(part, post, self._onward(passed), site)
        leaves, go, later, never = self._sorted_out(part, may, leaves)
        if never or later:
            self._stay_behind(part, post, passed, later, never, may, leaves)
        part.consignments = go
        if not go:
            yield NEVER_GOES, self.t.pen.page()
            return
        if passed.formed_at <= passed.exit_at:
            part = self._reload(part, passed, passed.exit_at, leaves - 20 * MINUTE, site)[0]
        self.t.border.conveyance(part, post, leaves)
        yield from self._cross(part, passed, leaves, since)

    def _stay_behind(self, part: Part, post: Post, passed: Pass, later: list[Consignment], never: list[Consignment], may: dict[int, int], leaves: int) -> None:
        """Boxes that the exit post has not released in time: some follow, some never do."""
        place = self.way.stops[passed.exit_at]
        self.t.rails.set_out(part, [b for c in (*later, *never) for b in c.boxes], leaves - 30 * MINUTE, place.id, "not released")
        if later:
            at = max(max(may[id(c)] for c in later) + self.t.desk.wait(3, 10), leaves + self.t.desk.wait(1, 4))
            self.spawned.append((at, self._leave_later(part, post, passed, later, at)))

    def _leave_later(self, parent: Part, post: Post, passed: Pass, consignments: list[Consignment], at: int) -> Iterator[Page]:
        place = self.way.stops[passed.exit_at]
        child = self._part(place.country, at, place, consignments)
        self.t.rails.form(child, [parent], at, passed.exit_at, "split", before=True, story="left_behind")
        leaves = at + self.t.desk.wait(2.6, 5)
        self.t.border.conveyance(child, msgspec.structs.replace(post, since=at, arrives=at, leaves=leaves), leaves)
        yield at, self.t.pen.page()
        yield from self._cross(child, passed, leaves, at)

    def _cross(self, part: Part, passed: Pass, leaves: int, since: int) -> Iterator[Page]:
        """From one post to the other, and what happens there until the next railway's train leaves."""
        gap, stay = self.t.pacer.dwell(passed, self.way.direction)[1:]
        arrives = leaves + max(gap, self.t.desk.wait(0.3, 0.5))
        self.t.rails.run(part, Call(passed.exit_at, leaves, leaves), Call(passed.entry_at, arrives, arrives))
        stop = passed.formed_at if passed.formed_at > passed.exit_at else passed.entry_at
        at = arrives
        if stop > passed.entry_at:
            onward = arrives + self.t.desk.wait(0.4, 1)
            at = onward + self.t.desk.wait(0.3, 0.6)
            self.t.rails.run(part, Call(passed.entry_at, onward, onward), Call(stop, at, at))
        if passed.gauge_break and stay > self.t.desk.wait(30, 40):
            self.t.rails.delayed(part, at + 30 * MINUTE, stay // 2, "GAUGE_CHANGE_QUEUE", stop)
        post = self._post(passed, passed.entry_authority, "ENTRY", passed.entry_at, since, at, arrives + stay)
        receiving = self.t.pen.cast.who("railway", self.way.stops[stop].country)
        self.t.rails.hand_over(part, passed, arrives + self.t.desk.wait(0.2, 0.6), receiving)
        site = site_of(self.t.reference.places, self.t.operators, self.way.stops[stop])
        may = self.t.border.visit(part, post, self._onward(passed, entered=True), site)
        leaves, go, later, never = self._sorted_out(part, may, arrives + stay)
        self._store([*later, *never], site, leaves)
        part.consignments = go
        if later:
            ready = max(max(may[id(c)] for c in later) + self.t.desk.wait(4, 12), leaves + self.t.desk.wait(1, 4))
            self.spawned.append((leaves, self._form_later(part, passed, stop, later, ready, site)))
        if not go:
            yield NEVER_GOES, self.t.pen.page()
            return
        children = self._reload(part, passed, stop, leaves - 30 * MINUTE, site)
        self._seal_up(passed, children, leaves, site)
        for child in children:
            self.t.border.conveyance(child, post, leaves)
        for n, child in enumerate(children[1:], start=1):
            later_at = leaves + n * self.t.desk.wait(4, 9)
            self.spawned.append((arrives, self._drive(child, stop, later_at, arrives)))
        yield arrives, self.t.pen.page()
        yield from self._drive(children[0], stop, leaves, arrives)

    def _form_later(self, parent: Part, passed: Pass, stop: int, consignments: list[Consignment], at: int, site: tuple[str, str]) -> Iterator[Page]:
        """Boxes that were held at the entry post go with a later train."""
        straggling = Part(parent.train, consignments, formed_at=at, number=parent.number)
        child = self._reload(straggling, passed, stop, at, site, story="left_behind")[0]
        yield at, self.t.pen.page()
        yield from self._drive(child, stop, at + self.t.desk.wait(1, 4), at)

    def _sorted_out(self, part: Part, may: dict[int, int], leaves: int) -> tuple[int, list[Consignment], list[Consignment], list[Consignment]]:
        """When the train leaves (it waits some hours for the last), who goes, who follows, who never does."""
        patience = leaves + self.t.desk.wait(4, 7)
        go = [c for c in part.consignments if may[id(c)] <= patience]
        later = [c for c in part.consignments if patience < may[id(c)] < NEVER_GOES]
        never = [c for c in part.consignments if may[id(c)] >= NEVER_GOES]
        return max([leaves, *(may[id(c)] + 15 * MINUTE for c in go)]), go, later, never

    def _onward(self, passed: Pass, *, entered: bool = False) -> tuple[str, ...]:
        """The office at which this territory is left again; none when it is the last one: then each consignment has its own office."""
        after = self.way.customs_from(passed.entry_at + 1) if entered else passed
        return (f"{after.exit_authority}:{office_of(self.t.reference, after.crossing.id, after.exit_authority)}",) if after is not None else ()

    def _reload(self, part: Part, passed: Pass, stop: int, at: int, site: tuple[str, str], *, story: str = "") -> list[Part]:
        """The next railway's train or trains, each box on its new wagon."""
        place = self.way.stops[stop]
        country = place.country if stop >= passed.entry_at else self.way.stops[passed.entry_at].country
        crossing, west = passed.crossing, self.way.direction == "west"
        gauge = crossing.gauge_b if west else crossing.gauge_a
        groups = self._groups(part.consignments) if passed.gauge_break else [part.consignments]
        children = [self._part(country, at, place, group) for group in groups]
        for child in children:
            if passed.gauge_break:
                self.t.rails.couple(child, gauge, country)
                self._transload(child, site, at)
            self.t.rails.form(child, [part], at, stop, "gauge_break" if passed.gauge_break else "renumbered", before=stop < passed.entry_at, story=story)
        return children

    def _groups(self, consignments: Sequence[Consignment]) -> list[list[Consignment]]:
        """Shorter trains: 55 become 41 and 14."""
        groups: list[list[Consignment]] = [[]]
        for c in consignments:
            if groups[-1] and sum(len(o.boxes) for o in groups[-1]) + len(c.boxes) > self.t.options.wagons_1520_max:
                groups.append([])
            groups[-1].append(c)
        return groups

    def _transload(self, child: Part, site: tuple[str, str], at: int) -> None:
        place, operator = site
        if not operator:
            return
        for n, c in enumerate(child.consignments):
            for box in c.boxes:
                done = at - (len(child.consignments) - n) * 3 * MINUTE // 2
                if c.story.pop("heavy", ""):
                    box.true_gross_kg = box.gross_kg * 1.25
                    c.told.add("heavy")
                if abs(box.true_gross_kg - box.gross_kg) > 0.05 * box.gross_kg:
                    self.t.border.weigh(box, place, operator, done - 5 * MINUTE, c, "heavy")
                self.t.pen.say(TerminalEvent, operator, done, key=box.number, container=box.number, place=place, what="transloaded", wagon=box.wagon,
                               train=child.train)

    def _seal_up(self, passed: Pass, children: Sequence[Part], leaves: int, site: tuple[str, str]) -> None:
        """ЗПУ on some of the boxes that enter the EAEU."""
        authority = self.t.reference.authorities.get(passed.entry_authority)
        if authority is None or authority.union != "EAEU":
            return
        for child in children:
            for box in child.boxes:
                if "zpu" not in box.seals and not box.empty and self.rng.random() < 0.25:
                    self.t.seals.apply(box, "zpu", leaves - 45 * MINUTE, site[0], child.railway)

    def _store(self, consignments: Sequence[Consignment], site: tuple[str, str], at: int) -> None:
        place, operator = site
        for box in (b for c in consignments for b in c.boxes) if operator else ():
            self.t.pen.say(TerminalEvent, operator, at, key=box.number, container=box.number, place=place, what="stored")

    # -- the end -----------------------------------------------------------------------------------------------------------------
    def _arrive(self, part: Part, arrives: int, since: int) -> None:
        """Unloaded at the destination; transit ends and the goods are declared at the office there."""
        stop = self.way.stops[-1]
        place, operator = site_of(self.t.reference.places, self.t.operators, stop)
        offices = sorted({o for c in part.consignments for o in c.offices})
        for office in offices:
            authority, _, code = office.partition(":")
            here = [c for c in part.consignments if office in c.offices]
            post = Post(authority=authority, kind="OFFICE", office=code, place=place, country=stop.country, since=since, arrives=arrives,
                        leaves=arrives + self.t.desk.wait(12, 30))
            self.t.border.visit(Part(part.train, here, part.formed_at), post, (), (place, operator), office_role="destination")
        boxes: list[tuple[Consignment, Box]] = [(c, b) for c in part.consignments for b in c.boxes]
        for c, box in boxes if operator else ():
            at = arrives + self.t.desk.wait(2, 9)
            self.t.pen.say(TerminalEvent, operator, at, key=box.number, container=box.number, place=place, what="unloaded", train=part.train)
            self.t.pen.say(ContainerLoaded, operator, at + self.t.desk.wait(30, 60), key=box.number, container=box.number, document=c.document,
                           bound="unloaded")
