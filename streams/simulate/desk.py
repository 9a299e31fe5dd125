"""Filings and how an authority answers them: registered or rejected, amended, asked about, assessed, released. Holds and checks of goods."""
from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from streams.reference.model import FilingRow, Reference
from streams.simulate.cargo import Consignment, Filing
from streams.simulate.clockwork import hours
from streams.simulate.codebook import CodeBook, Saying
from streams.simulate.numbers import Numbers
from streams.simulate.options import SimOptions
from streams.simulate.pen import Pen
from streams.simulate.zones import local
from topics.events.base import DocumentRef, TrainRef
from topics.events.trade import FilingLodged, RequestAnswered, Stuffing
from topics.identifiers import run_id, train_key

MRN_KINDS = frozenset({"ens", "exs", "export", "reexport", "transit", "next_transit", "import", "warehouse", "temporary_storage"})
PATHS = {"ens": "Consignment.HouseConsignment[1].GoodsItem[1].Commodity.descriptionOfGoods", "transit": "Consignment.grossMass", "td": "Графа 31",
         "declaration": "GName", "manifest": "Consignment.TransportEquipment.SealID"}
"""Fields that rejections usually point at; names as the systems write them where known [M]."""
SLOW_TD = (0.5, 2.0)
"""Hours until a transit declaration is registered in Kazakhstan; Tez needs about half an hour (S83, S85)."""


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """An authority's post as one train meets it."""

    authority: str
    kind: str
    office: str
    crossing: str = ""
    place: str = ""
    country: str
    since: int
    """Nothing is filed here before."""
    arrives: int
    leaves: int
    """When the train would leave if nothing is in the way."""


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What is going to happen to a filing."""

    reject: bool = False
    amend: bool = False
    inform: bool = False
    withdraw: bool = False
    story: str = ""


class Desk:
    """Writes what filers and authorities say about documents and goods."""

    def __init__(self, reference: Reference, pen: Pen, book: CodeBook, numbers: Numbers, rng: random.Random, options: SimOptions) -> None:
        self.reference, self.pen, self.book, self.numbers, self.rng, self.options = reference, pen, book, numbers, rng, options

    def wait(self, low: float, high: float) -> int:
        """A random time between so many hours, in microseconds; shorter in a sped-up world."""
        return hours(self.rng.uniform(low, high) / self.options.speed_up)

    # -- filings -----------------------------------------------------------------------------------------------------------
    def filer(self, row: FilingRow, authority: str, consignment: Consignment, railway: str) -> str:
        """Who can legally file: the railway as carrier, else the forwarder for the trader."""
        cast = self.pen.cast
        if row.role == "sea_carrier" and cast.has("trade", ""):
            return next((p for p in cast.of("trade") if not cast.country(p)), consignment.forwarder)
        if row.role in ("railway", "carrier"):
            return cast.who("railway", authority) if cast.has("railway", authority) else railway
        return cast.who("trade", authority) if cast.has("trade", authority) else consignment.forwarder

    def file(self, row: FilingRow, post: Post, consignments: Sequence[Consignment], at: int, filer: str, life: Life, *, offices: tuple[str, ...] = (),
             train: TrainRef | None = None, procedure: str = "") -> tuple[Filing, int]:
        """Lodge at `at` and live through what follows. Gives the filing and when it is settled (registered, nothing asked any more)."""
        filing = Filing(kind=row.kind, own=DocumentRef(kind=row.kind, number=self.numbers.local(filer)), authority=post.authority, filer=filer,
                        office=post.office)
        content = self.content(consignments, post, row, offices=offices, train=train, procedure=procedure)
        self._lodge(filing, at, content, life.story)
        if life.reject and (said := self.book.document(post.authority, row.kind, "rejected")) is not None:
            at = self._rejected(filing, said, at, content, life.story)
        settled = self._register(filing, post, row, at, life.story)
        if life.withdraw:
            settled = self._withdrawn(filing, post, row, settled, content)
        if life.inform:
            settled = self._asked(filing, post, settled, life.story)
        if life.amend:
            settled = self.amend(filing, settled + self.wait(0.2, 2), content, life.story)
        return filing, settled

    def content(self, consignments: Sequence[Consignment], post: Post, row: FilingRow | None = None, *, offices: tuple[str, ...] = (),
                train: TrainRef | None = None, procedure: str = "") -> dict[str, Any]:
        """What a filing states of the consignments as they are now."""
        return {
            "office": post.office, "offices": offices, "documents": tuple(c.document for c in consignments),
            "containers": self._stated(consignments), "parties": consignments[0].parties, "procedure": procedure,
            "train": train_key(train) if train else "", "fields": {name: self._field(name, consignments[0]) for name in (row.fields[:12] if row else ())},
        }

    def _stated(self, consignments: Sequence[Consignment]) -> tuple[Stuffing, ...]:
        """What the boxes hold as the filing has it: sometimes a package more than the note says, or another goods code."""
        boxes = [box.stuffing() for c in consignments for box in c.boxes]
        first = boxes[0]
        if len(consignments) == 1 and first.goods and first.packages and self.rng.random() < self.options.rates.mismatch:
            wrong = msgspec.structs.replace(first.goods[0], hs=first.goods[0].hs[:4] + "90")
            changed: dict[str, Any] = {"goods": (wrong, *first.goods[1:])} if self.rng.random() < 0.5 else {"packages": first.packages + 1}
            boxes[0] = msgspec.structs.replace(first, **changed)
        return tuple(boxes)

    def conveyance(self, row: FilingRow, post: Post, train: TrainRef, filer: str, at: int, consignments: Sequence[Consignment]) -> None:
        """The declaration of the train itself: its number is the run's, so that it counts only for boxes that leave with it."""
        number = run_id(train.railway, train.number, train.date, train.origin)
        self.pen.say(FilingLodged, filer, at, key=number, authority=post.authority, kind=row.kind, number=number, office=post.office, record=number,
                     version=1, documents=tuple(c.document for c in consignments), train=train_key(train))

    def _field(self, name: str, consignment: Consignment) -> str:
        """A value for a mandatory field; what the containers say is not repeated."""
        box = consignment.boxes[0]
        known = {"hs": box.goods[0].hs if box.goods else "", "packages": str(box.packages), "gross": f"{box.gross_kg:.0f}"}
        lower = name.lower()
        return next((value for word, value in known.items() if word in lower and value), "stated")

    def _lodge(self, filing: Filing, at: int, content: dict[str, Any], story: str, action: str = "lodge") -> None:
        self.pen.say(FilingLodged, filing.filer, at, key=filing.own.number, story=story, authority=filing.authority, kind=filing.kind,
                     number=filing.own.number, action=action, record=filing.own.number, version=filing.version, **content)

    def _rejected(self, filing: Filing, said: Saying, at: int, content: dict[str, Any], story: str) -> int:
        """Rejected, corrected, filed again under a new reference. Gives when."""
        at += self.wait(0.1, 1.0)
        self.pen.notice(filing.authority, said.row, at, document=filing.own, story=story or "rejection", office=filing.office,
                        path=PATHS.get(filing.kind, "$"), text="The field does not agree with the transport document.", **_also(said))
        filing.own = DocumentRef(kind=filing.kind, number=self.numbers.local(filing.filer))
        at += self.wait(0.5, 3.0)
        self._lodge(filing, at, content, story or "rejection")
        return at

    def _withdrawn(self, filing: Filing, post: Post, row: FilingRow, at: int, content: dict[str, Any]) -> int:
        """Withdrawn by its filer, invalidated, filed again under a new reference. Gives when the new one is registered."""
        said = self.book.document(post.authority, row.kind, "invalidated", post.kind)
        if said is None:
            return at
        at += self.wait(0.3, 1.5)
        self._lodge(filing, at, content, "withdrawal", action="withdraw")
        at += self.wait(0.1, 0.5)
        self.pen.notice(post.authority, said.row, at, document=filing.known_as, story="withdrawal", office=post.office, **_also(said))
        filing.own, filing.official = DocumentRef(kind=filing.kind, number=self.numbers.local(filing.filer)), None
        at += self.wait(0.5, 2)
        self._lodge(filing, at, content, "withdrawal")
        return self._register(filing, post, row, at, "withdrawal")

    def _register(self, filing: Filing, post: Post, row: FilingRow, at: int, story: str) -> int:
        slow = filing.kind == "td" and self.rng.random() >= self.options.rates.tez
        at += self.wait(*SLOW_TD) if slow else self.wait(0.05, 0.5)
        said = self.book.document(post.authority, filing.kind, "registered")
        if said is None:
            return at
        filing.official, filing.registered_at = self.official(filing, at), at
        valid = local(at + row.validity_days * hours(24), post.country) if row.validity_days else None
        self.pen.notice(post.authority, said.row, at, document=filing.own, aliases=(filing.official,), story=story, office=post.office,
                        declarant=filing.filer, valid_until=valid, **_also(said))
        return at

    def official(self, filing: Filing, at: int) -> DocumentRef:
        """The registration number in the authority's own form."""
        n, authority = self.numbers, filing.authority
        union = self.reference.authorities[authority].union if authority in self.reference.authorities else ""
        if filing.kind == "pi":
            number = n.pi(authority, at)
        elif union == "EAEU":
            number = n.eaeu(eaeu_office(authority, filing.office), at)
        elif filing.kind in MRN_KINDS:
            number = n.mrn(filing.kind, authority, at)
        elif filing.kind == "declaration":
            number = n.chinese(filing.office if filing.office.isdigit() else "9400", at)
        else:
            number = n.official(authority, filing.kind, at)
        return DocumentRef(kind=filing.kind, number=number)

    def _asked(self, filing: Filing, post: Post, at: int, story: str) -> int:
        """A request for information, its answer, and that the authority is satisfied."""
        opening = self.book.demand(post.authority, "info", "opened", filing.kind)
        if opening is None:
            return at
        at += self.wait(0.2, 2)
        reference = self.numbers.reference(post.authority)
        story = story or "information"
        self.pen.notice(post.authority, opening.row, at, document=filing.known_as, story=story, office=post.office, reference=reference,
                        answer_by=local(at + hours(24), post.country), text="State consignee and value of the goods.", **_also(opening))
        at += self.wait(0.5, 5)
        self.pen.say(RequestAnswered, filing.filer, at, key=filing.own.number, story=story, authority=post.authority, reference=reference,
                     document=filing.own, text="Invoice and contract attached.")
        at += self.wait(0.2, 1.5)
        closing = self.book.demand(post.authority, "info", "closed", filing.kind) or self.book.document(post.authority, filing.kind, "assessed")
        if closing is not None:
            self.pen.notice(post.authority, closing.row, at, document=filing.known_as, story=story, office=post.office, reference=reference, **_also(closing))
        return at

    def amend(self, filing: Filing, at: int, content: dict[str, Any], story: str) -> int:
        """The filer amends, the authority registers the amendment. Gives when; `at` when the authority has no code for it."""
        said = self.book.document(filing.authority, filing.kind, "amended")
        if said is None:
            return at
        filing.version += 1
        self._lodge(filing, at, content, story or "amendment", action="amend")
        at += self.wait(0.1, 1)
        self.pen.notice(filing.authority, said.row, at, document=filing.known_as, story=story or "amendment", office=filing.office, **_also(said))
        return at

    def tell(self, filing: Filing, post: Post, phase: str, at: int, *, story: str = "", container: str = "", said: Saying | None = None) -> bool:
        """The authority says one phase of a document. False when no code of its systems does."""
        said = said or self.book.document(post.authority, filing.kind, phase, post.kind)
        if said is None:
            return False
        self.pen.notice(post.authority, said.row, at, document=filing.known_as, story=story, office=post.office, container=container, **_also(said))
        return True

    def about_train(self, post: Post, train: TrainRef, phase: str, kind: str, at: int, *, story: str = "") -> bool:
        """The same about a whole train."""
        said = self.book.document(post.authority, kind, phase, post.kind)
        if said is None:
            return False
        self.pen.notice(post.authority, said.row, at, story=story, office=post.office, train=train, **_also(said))
        return True

    # -- demands about the goods --------------------------------------------------------------------------------------------
    def demand(self, post: Post, what: str, phase: str, at: int, reference: str, *, filing: Filing | None, container: str, reason: str = "",
               story: str = "") -> bool:
        """A control, hold or refusal: opened, started, discrepancy, closed. Names the document where the code is about one, else the container."""
        said = self.book.demand(post.authority, what, phase, filing.kind if filing else "")
        if said is None:
            return False
        extra = _also(said)
        extra.setdefault("reason", reason)
        document = filing.known_as if filing and (said.about_document or not container) else None
        self.pen.notice(post.authority, said.row, at, document=document, story=story, office=post.office, reference=reference, container=container, **extra)
        return True


def eaeu_office(authority: str, office: str) -> str:
    """Customs code in declaration numbers: 8 digits in Russia, 5 elsewhere; a neutral office code is filled up."""
    digits = "".join(char for char in office if char.isdigit())
    size = 8 if authority == "RU" else 5
    return (digits + "57505010")[:size] if len(digits) < size else digits[:size]


def _also(said: Saying, reason: str = "") -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if said.reason or reason:
        extra["reason"] = said.reason or reason
    if said.values:
        extra["values"] = said.values
    return extra
