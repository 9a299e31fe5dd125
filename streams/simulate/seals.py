"""Seals and locks: put on, read at posts, broken, replaced."""
from __future__ import annotations

import random
from typing import Any

from streams.reference.model import Reference
from streams.simulate.cargo import Box, Consignment
from streams.simulate.clockwork import MINUTE
from streams.simulate.desk import Desk, Post
from streams.simulate.incidents import strikes
from streams.simulate.numbers import Numbers
from streams.simulate.options import SimOptions
from streams.simulate.pen import Pen
from streams.simulate.zones import local
from topics.events.sites import SealEvent
from topics.registry import customs_party

LOCK = "customs_lock"


class Seals:
    """One journey's seals. The box remembers what is on it."""

    def __init__(self, reference: Reference, pen: Pen, desk: Desk, numbers: Numbers, rng: random.Random, options: SimOptions) -> None:
        self.pen, self.desk, self.numbers, self.rng, self.options = pen, desk, numbers, rng, options
        gtt = [a for a in reference.agreements.values() if a.kind == "gtt" and a.enabled]
        self.standard = next((s for a in gtt for s in a.lock_standards), "")
        self._operator = pen.cast.who("seals", "CN") if pen.cast.has("seals") else ""

    def enrol(self, box: Box, c: Consignment, at: int, place: str, authority: str) -> None:
        """A smart lock put on and armed before departure (domain 1.2, step 4)."""
        lock = box.seals[LOCK] = self.numbers.seal(LOCK)
        party = customs_party(authority)
        for what, later in (("applied", 0), ("armed", 10)):
            self.pen.say(SealEvent, party, at + later * MINUTE, key=box.number, container=box.number, chain=LOCK, seal=lock, what=what, place=place,
                         standard=self.standard, document=c.document)

    def apply(self, box: Box, chain: str, at: int, place: str, party: str) -> None:
        """A ЗПУ or navigation seal put on at a post."""
        box.seals[chain] = self.numbers.seal(chain)
        self.pen.say(SealEvent, party, at, key=box.number, container=box.number, chain=chain, seal=box.seals[chain], what="applied", place=place)

    def read(self, box: Box, post: Post, chains: tuple[str, ...], at: int, c: Consignment, place: str) -> None:
        """Every chain that this post looks at is read by its authority."""
        for chain in chains:
            if chain in box.seals:
                self._read(box, chain, post, at, c, place)
        if LOCK in box.seals and LOCK not in chains and post.authority in ("CN", "KZ"):
            self._read(box, LOCK, post, at, c, place)

    def _read(self, box: Box, chain: str, post: Post, at: int, c: Consignment, place: str) -> None:
        party, seal = customs_party(post.authority), box.seals[chain]
        if chain == LOCK:
            if not box.lock_bad and strikes(self.rng, c, "lock_broken", self.options.rates.lock_broken, post):
                self._break(box, post, at - 20 * MINUTE, place)
            elif self.rng.random() < self.options.rates.lock_silent and not c.told:
                self._silent(box, post, at - 30 * MINUTE, place)
            self._say(box, party, chain, "reading", at, post, place)
        what = "checked_bad" if chain == LOCK and box.lock_bad else "checked_ok"
        self._say(box, party, chain, what, at + self.desk.wait(0.02, 0.1), post, place, seal, story="lock_broken" if what == "checked_bad" else "")

    def _say(self, box: Box, party: str, chain: str, what: str, at: int, post: Post, place: str, seal: str = "", *, story: str = "",
             **more: Any) -> None:
        self.pen.say(SealEvent, party, at, key=box.number, story=story, container=box.number, chain=chain, seal=seal or box.seals[chain], what=what,
                     place=place, crossing=post.crossing, **more)

    def _break(self, box: Box, post: Post, at: int, place: str) -> None:
        box.lock_bad = True
        party = self._operator or customs_party(post.authority)
        self._say(box, party, LOCK, "broken", at, post, place, story="lock_broken")

    def _silent(self, box: Box, post: Post, at: int, place: str) -> None:
        party = self._operator or customs_party(post.authority)
        self._say(box, party, LOCK, "signal_lost", at, post, place, story="lock_silent")

    def replace(self, box: Box, post: Post, at: int, c: Consignment) -> int:
        """The authority opens the box under an act and puts a new seal on. Gives when it is done; documents follow at the next filing."""
        party, old, new = customs_party(post.authority), box.seals[LOCK], self.numbers.seal(LOCK)
        act, until = self.numbers.reference(post.authority), at + self.desk.wait(0.3, 1)
        self._say(box, party, LOCK, "opened_authorised", at, post, post.place, old, story="lock_broken", act=act, new_seal=new,
                  until=local(until, post.country))
        self._say(box, party, LOCK, "replaced", until, post, post.place, old, story="lock_broken", new_seal=new, act=act)
        box.seals[LOCK], box.lock_bad = new, False
        for filing in [f for (authority, _), f in c.filings.items() if authority == post.authority][-1:]:
            self.desk.amend(filing, until + self.desk.wait(0.2, 1), self.desk.content([c], post), "lock_broken")
        return until
