"""What follows from the inputs under a document's canonical number: facts for its shipments, bindings, questions and answers."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any

import msgspec

from streams.codes import FIRST_VISIT, About, agency_facts, facts_of, filing_kind, row_of
from streams.derived import Saying, alert, fact
from streams.documents.bindings import bindings_of
from streams.documents.cover import Cover, Coverage, Covers, narrowed
from streams.documents.inputs import Inputs
from streams.documents.names import DOCUMENTS, Edge, ref_of
from streams.kept import at_of, event_id, order
from streams.reference.model import Reference
from topics.events.base import DocumentRef, Event
from topics.events.internal import DocumentAsked, DocumentBound
from topics.events.trade import FilingLodged, ShipmentDeclared
from topics.facts import EVERYWHERE, WHOLE, Fact, Key, Rank, Value
from topics.identifiers import document_key

CITED_MAX = 200
"""Documents that one filing cites and is bound through; a train-wide manifest cites all consignment notes of a train."""
SAID_OF_THE_FILING = ("lodge", "correct")
"""Actions after which the filing is with the authority (again)."""


class Picture:
    """Everything that the inputs under the canonical number add up to."""

    __slots__ = ("content", "cover", "filer", "inputs", "key", "kind", "number", "others", "reference")

    def __init__(self, key: str, inputs: Inputs, others: dict[str, Edge], kept: dict[str, tuple[str, ...]], reference: Reference) -> None:
        self.key, self.inputs, self.others, self.reference = key, inputs, others, reference
        ref = ref_of(key)
        self.kind, self.number = ref.kind, ref.number
        self.cover = Coverage(key, inputs, kept)
        self.filer = filer_of(inputs)
        self.content = content_of(inputs, self.filer)

    def _about(self, cover: Cover) -> About:
        return About(kind=self.kind, number=self.number, record=self.key, scopes=cover.scope or (WHOLE,))

    @property
    def speaks(self) -> bool:
        """Has something to say of a shipment."""
        i = self.inputs
        return bool(i.filings or i.notices or i.agencies or i.answers or i.loads) or self.cover.continuing

    @property
    def asking(self) -> bool:
        """It asks other documents for their shipments."""
        return self.cover.continuing or bool(self.content is not None and self.content.documents)

    def covers(self, document: DocumentRef | None) -> Covers:
        """The shipments behind a reference; none while it is ambiguous."""
        return self.cover.of(document) or {}

    def sayings(self) -> Iterator[Saying]:
        """All that holds now."""
        yield from self._shipments()
        if self.content is not None:
            yield from self._filing(self.content)
        yield from self._answers()
        yield from self._notices()
        yield from self._questions()
        yield from self._bound()
        yield from bindings_of(self.key, self.inputs, self.cover)

    # -- facts ----------------------------------------------------------------------------------------------------------
    def _shipments(self) -> Iterator[Saying]:
        """The declaration, as master data of its own shipment or of those that it continues. A filing that is bound through the documents
        that it cites declares nothing new."""
        for v in self.cover.variants:
            shipments = [v.shipment] if v in self.cover.roots else list(self.cover.bound) if self.cover.continuing else []
            for shipment in shipments:
                yield fact(shipment, Fact(
                    side=EVERYWHERE, key=("shipment",), at=at_of(v.chosen), source=v.chosen.source, rank=Rank.FORWARDER, record=self.key,
                    id=event_id(v.chosen), value=declared_value(v.chosen), code=v.chosen.code))

    def _filing(self, content: FilingLodged) -> Iterator[Saying]:
        kind, mine = content.kind, {f.action: f for f in self.inputs.filings.values() if f.source == self.filer}
        side = f"@{content.authority}/doc/{kind}/{self.number}"
        told: list[tuple[Key, Event, Value]] = [(("filing", kind, self.number), content, self._content(content))]
        sent = [mine[a] for a in SAID_OF_THE_FILING if a in mine]
        if sent:
            told.append((("doc", kind, self.number, "sent"), max(sent, key=lambda f: (at_of(f), f.id)), True))
        for actions, phase in ((("amend", "correct"), "amendment_sent"), (("withdraw",), "withdrawal_sent")):
            found = [mine[a] for a in actions if a in mine]
            if found:
                told.append((("doc", kind, self.number, phase), max(found, key=lambda f: (at_of(f), f.id)), True))
        for action in ("present", "arrive"):
            if action in mine:
                visit = mine[action].visit
                told.append((("presented", str(visit) if visit else FIRST_VISIT), mine[action], True))
        covers = self.cover.all()
        for key, event, value in told:
            yield from self._of_filer(covers, side, key, event, value)

    def _of_filer(self, covers: Covers, side: str, key: Key, event: Event, value: Value) -> Iterator[Saying]:
        for shipment, cover in covers.items():
            for scope in (WHOLE,) if key[0] == "filing" else cover.scope or (WHOLE,):
                yield fact(shipment, Fact(side=side, key=key, at=at_of(event), source=event.source, rank=Rank.FORWARDER, record=self.key,
                                          id=event_id(event), scope=scope, value=value, code=event.code, dated=event.date_only))

    def _content(self, content: FilingLodged) -> dict[str, object]:
        said: dict[str, object] = msgspec.to_builtins(msgspec.structs.replace(content, received_time=None, flags=()))
        for name in ("type", "id", "event_time", "record", "version", "source", "code"):
            said.pop(name, None)
        said["number"] = self.number
        said["filer"] = content.source
        if self.others:
            said["official"] = sorted(edge.ref.number for edge in self.others.values())
        return said

    def _answers(self) -> Iterator[Saying]:
        """Answers of the filer of record; nobody else's count."""
        kind = self.content.kind if self.content is not None else filing_kind(ref_of(self.key))
        for answer in self.inputs.answers.values():
            if answer.source != self.filer:
                continue
            key = ("demand", "info", f"{kind}/{self.number}" if kind else "", answer.reference, "answered")
            side = f"@{answer.authority}/doc/{kind}/{self.number}" if kind else f"@{answer.authority}"
            yield from self._of_filer(self.cover.all(), side, key, answer, {"text": answer.text[:200]} if answer.text else True)

    def _notices(self) -> Iterator[Saying]:
        for notice in self.inputs.notices.values():
            row = row_of(self.reference, notice)
            if row is None:
                yield unknown_code(self.key, notice.system, notice.code, at_of(notice))
                continue
            for shipment, cover in self.covers(notice.document).items():
                yield from (fact(shipment, f) for f in facts_of(notice, row, self._about(cover)))
        for agency in self.inputs.agencies.values():
            for shipment, cover in self.covers(agency.document).items():
                yield from (fact(shipment, f) for f in agency_facts(agency, self._about(cover)))

    # -- questions and answers between documents ------------------------------------------------------------------------
    def _questions(self) -> Iterator[Saying]:
        me, asks = ref_of(self.key), dict(self.cover.asks)
        at, source = 0, ""
        if self.content is not None:
            at, source = at_of(self.content), self.content.source
            boxes = tuple(sorted({box.container for box in self.content.containers if box.container}))
            for ref in sorted(self.content.documents, key=document_key)[:CITED_MAX]:
                asks.setdefault(document_key(ref), (ref, boxes))
        asks.pop(self.key, None)
        for other in self.others:
            asks.pop(other, None)
        for cited, (ref, boxes) in sorted(asks.items()):
            ask = DocumentAsked(document=ref, asker=me, scope=boxes, record=self.key, at=at, source=source)
            yield Saying(DOCUMENTS, cited, f"ask|{self.key}|{ref.issuer}/{ref.station}/{ref.date}", ask, msgspec.structs.replace(ask, scope=(), withdrawn=True))

    def _bound(self) -> Iterator[Saying]:
        """One answer per asker and shipment, however many ways it was asked."""
        found: dict[tuple[str, str], tuple[DocumentRef, Cover, tuple[str, ...]]] = {}
        for ask in self.inputs.asks.values():
            if not ask.withdrawn:
                self._answer(found, ask.asker, ask.scope, self.covers(ask.document))
        for link in self.inputs.links.values():
            if link.relation == "merged_into":
                self._answer(found, link.other, (), self.cover.all())
        for (to, shipment), (asker, cover, scope) in sorted(found.items()):
            bound = DocumentBound(document=asker, shipment=shipment, scope=scope, record=self.key, version=0, at=0, source="", via=self.key,
                                  path=(*cover.path, self.key), containers=cover.containers)
            gone = msgspec.structs.replace(bound, scope=(), containers=(), path=(), withdrawn=True)
            yield Saying(DOCUMENTS, to, f"bound|{self.key}|{shipment}", bound, gone)

    def _answer(
        self, found: dict[tuple[str, str], tuple[DocumentRef, Cover, tuple[str, ...]]], asker: DocumentRef, asked: tuple[str, ...], covers: Covers
    ) -> None:
        to = document_key(asker)
        for shipment, cover in covers.items():
            if to == self.key or to in cover.path:
                continue
            scope = narrowed(cover, asked)
            held = found.get((to, shipment))
            if held is not None:
                scope = tuple(sorted({*scope, *held[2]})) if scope and held[2] else ()
            found[to, shipment] = asker, cover, scope


def unknown_code(key: str, system: str, code: str, at: int) -> Saying:
    """A code that nobody knows is kept, sets nothing and is told once per document."""
    return alert(f"UnknownCode/{system}/{code}/{key}", "UnknownCode", "warning", at, f"{system} {code}: kept without effect")


def declared_value(declared: ShipmentDeclared) -> dict[str, Any]:
    """The declaration as plain values; what only travels with it is left out. Its time is written in UTC: state keeps no offsets."""
    value: dict[str, Any] = msgspec.to_builtins(
        msgspec.structs.replace(declared, received_time=None, flags=(), event_time=declared.event_time.astimezone(UTC)))
    return value


def filer_of(inputs: Inputs) -> str:
    """The filer of record: the declarant that the authority's registration names, else who lodged first, then by party id."""
    parties = sorted({f.source for f in inputs.filings.values()})
    if not parties:
        return ""
    for notice in sorted((n for n in inputs.notices.values() if n.declarant), key=order, reverse=True):
        named = [p for p in parties if notice.declarant == p or notice.declarant in _identifiers(inputs, p)]
        if len(named) == 1:
            return named[0]
    firsts = {p: inputs.first.get(f"filing|{p}") for p in parties}
    return min(parties, key=lambda p: (f.at if (f := firsts[p]) is not None else 1 << 62, p))


def _identifiers(inputs: Inputs, party: str) -> set[str]:
    return {t.identifier for f in inputs.filings.values() if f.source == party for t in f.parties
            if t.identifier and t.role in ("declarant", "holder", "carrier")}


def content_of(inputs: Inputs, filer: str) -> FilingLodged | None:
    """What is lodged now: the filer's last word, whatever the action; a bare presentation or withdrawal does not replace the data."""
    mine = [f for f in inputs.filings.values() if f.source == filer]
    lodged: Iterable[FilingLodged] = [f for f in mine if f.action in ("lodge", "amend", "correct")] or mine
    return max(lodged, key=order, default=None)
