"""House items of cross-border e-commerce: one held parcel keeps the box until it is cleared or taken out (CEB codes, domain 8.3)."""
from __future__ import annotations

import random

from streams.simulate.cargo import Consignment
from streams.simulate.codebook import Saying
from streams.simulate.desk import Desk, Post
from streams.simulate.numbers import Numbers
from streams.simulate.pen import Pen
from topics.events.base import DocumentRef
from topics.events.trade import FilingLodged

SYSTEM = "CEB"
CHECKED = 0.25
"""Share of e-commerce boxes of which one item is checked [D]."""


class Parcels:
    """Writes the clearance of items."""

    def __init__(self, pen: Pen, desk: Desk, numbers: Numbers, rng: random.Random) -> None:
        self.pen, self.desk, self.numbers, self.rng = pen, desk, numbers, rng

    def clear(self, c: Consignment, post: Post, at: int) -> int:
        """Lodge the list, check one item perhaps, release all. Gives when the last item is released; `at` where no such codes are spoken."""
        registered, released = (self.desk.book.named(post.authority, SYSTEM, code) for code in ("399", "800"))
        box = c.boxes[0]
        if registered is None or released is None or not box.items:
            return at
        document = DocumentRef(kind="ecommerce", number=self.numbers.local(c.forwarder))
        self.pen.say(FilingLodged, c.forwarder, at, key=document.number, story="ecommerce", authority=post.authority, kind="ecommerce",
                     number=document.number, office=post.office, documents=(c.document,), containers=(box.stuffing(),), parties=c.parties,
                     procedure="9810", record=document.number, version=1)
        at += self.desk.wait(0.1, 0.4)
        self._say(registered, post, document, at, box.number, "")
        held = self.rng.choice(box.items) if "ecommerce" in c.told or self.rng.random() < CHECKED else ""
        last = at
        for n, item in enumerate(box.items):
            when = at + self.desk.wait(0.05, 0.3) + n * 2_000_000
            if item == held:
                when = self._check(post, document, when, box.number, item)
            self._say(released, post, document, when, box.number, item)
            last = max(last, when)
        return last + self.desk.wait(0.05, 0.2)

    def _check(self, post: Post, document: DocumentRef, at: int, container: str, item: str) -> int:
        reference = self.numbers.reference(post.authority)
        opening = self.desk.book.named(post.authority, SYSTEM, "500")
        closing = self.desk.book.demand(post.authority, "control", "closed", "ecommerce")
        if opening is None or closing is None:
            return at
        self._say(opening, post, document, at, container, item, reference)
        at += self.desk.wait(1, 6)
        self._say(closing, post, document, at, container, item, reference)
        return at + self.desk.wait(0.1, 0.3)

    def _say(self, said: Saying, post: Post, document: DocumentRef, at: int, container: str, item: str, reference: str = "") -> None:
        self.pen.notice(post.authority, said.row, at, document=document, story="ecommerce", office=post.office, container=container, item=item,
                        reference=reference)
