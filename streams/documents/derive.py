"""What follows from the inputs under a document's canonical number: facts for its shipments, bindings, questions and answers."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any

import msgspec

from streams.codes import FIRST_VISIT, About, agency_facts, facts_of, filing_kind, limit_fact, row_of
from streams.derived import Saying, alert, fact
from streams.documents.bindings import bindings_of
from streams.documents.cover import Cover, Coverage, Covers, narrowed
from streams.documents.inputs import Behind, Inputs
from streams.documents.names import DOCUMENTS, Edge, ref_of
from streams.documents.slim import FIELDS_CUT, GOODS_CUT
from streams.kept import at_of, event_id, order, speaking
from streams.reference.model import Reference
from topics.events.base import DocumentRef, Event
from topics.events.customs import CustomsNotice
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

    __slots__ = ("agencies", "content", "cover", "filer", "inputs", "key", "kind", "notices", "number", "others", "reference")

    def __init__(self, key: str, inputs: Inputs, others: dict[str, Edge], kept: dict[str, Behind], reference: Reference) -> None:
        self.key, self.inputs, self.others, self.reference = key, inputs, others, reference
        ref = ref_of(key)
        self.kind, self.number = ref.kind, ref.number
        self.cover = Coverage(key, inputs, kept, self._trusted)
        self.notices = speaking(inputs.notices.values(), inputs.silencing.values())
        self.agencies = speaking(inputs.agencies.values())
        self.filer = filer_of(inputs, self.notices)
        self.content = content_of(inputs, self.filer)

    def _trusted(self, party: str) -> bool:
        row = self.reference.parties.get(party)
        return party.startswith("customs-") or (row is not None and row.role in ("railway", "customs"))

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

    def covers(self, document: DocumentRef | None, container: str = "") -> Covers:
        """The shipments behind a reference; none while it is ambiguous. With a container only those that it carries: a manifest of a whole
        train covers other people's goods too. A box that no shipment of the document is known to have belongs to the only one that the
        document can be about; else nobody is told until it is known."""
        covers = self.cover.of(document) or {}
        if not container:
            return covers
        named = {shipment: cover for shipment, cover in covers.items() if cover.holds(container)}
        return named or (covers if len(covers) == 1 and self._of_one else {})

    @property
    def _of_one(self) -> bool:
        """The document can be about one shipment only: it is the shipment's own, or a filing that cites a single document."""
        cited = {document_key(d) for f in self.inputs.filings.values() for d in f.documents} | self.cover.claims.keys()
        return bool(self.cover.roots) or len(cited) == 1

    def sayings(self) -> Iterator[Saying]:
        """All that holds now."""
        yield from self._shipments()
        if self.content is not None:
            yield from self._filing(self.content)
        yield from self._answers()
        yield from self._notices()
        yield from self._limited()
        yield from self._questions()
        yield from self._bound()
        yield from bindings_of(self.key, self.inputs, self.cover)

    # -- facts ----------------------------------------------------------------------------------------------------------
    def _shipments(self) -> Iterator[Saying]:
        """The declaration, as master data of its own shipment or of those that it continues. A filing that is bound through the documents
        that it cites declares nothing new."""
        for v in self.cover.variants:
            shipments = [v.shipment] if v in self.cover.roots else [s for s, c in self.cover.bound.items() if c.continued]
            for shipment in shipments:
                yield fact(shipment, Fact(
                    side=EVERYWHERE, key=("shipment",), at=at_of(v.chosen), source=v.chosen.source, rank=Rank.FORWARDER, record=self.key,
                    id=event_id(v.chosen), value=declared_value(v.chosen), code=v.chosen.code))
                if GOODS_CUT in v.chosen.flags:
                    yield fact(shipment, Fact(side=EVERYWHERE, key=("flag", GOODS_CUT), at=at_of(v.chosen), source=v.chosen.source, rank=Rank.FORWARDER,
                                              record=self.key, id=event_id(v.chosen), value={"document": self.key}))

    def _filing(self, content: FilingLodged) -> Iterator[Saying]:
        kind, mine = content.kind, {f.action: f for f in self.inputs.filings.values() if f.source == self.filer}
        side = f"@{content.authority}/doc/{kind}/{self.number}"
        told: list[tuple[Key, Event, Value]] = [(("filing", kind, self.number), content, True)]
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
        told += [(("flag", name), content, {"document": self.key}) for name in (GOODS_CUT, FIELDS_CUT) if name in content.flags]
        covers = self.cover.all()
        for key, event, value in told:
            yield from self._of_filer(covers, side, key, event, value)

    def _of_filer(self, covers: Covers, side: str, key: Key, event: Event, value: Value) -> Iterator[Saying]:
        for shipment, cover in covers.items():
            if key[0] == "filing" and isinstance(event, FilingLodged):
                value = self._content(event, cover)
            for scope in (WHOLE,) if key[0] == "filing" else cover.scope or (WHOLE,):
                yield fact(shipment, Fact(side=side, key=key, at=at_of(event), source=event.source, rank=Rank.FORWARDER, record=self.key,
                                          id=event_id(event), scope=scope, value=value, code=event.code, dated=event.date_only))

    def _content(self, content: FilingLodged, cover: Cover) -> dict[str, object]:
        """What it states, of this shipment: a manifest of a whole train names other people's goods too."""
        boxes = content.containers if self._of_one else tuple(b for b in content.containers if not b.container or cover.holds(b.container))
        said: dict[str, object] = msgspec.to_builtins(msgspec.structs.replace(content, containers=boxes, received_time=None, flags=()))
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
        for notice in self.notices:
            row = row_of(self.reference, notice)
            if row is None:
                yield unknown_code(self.key, notice.system, notice.code, at_of(notice))
                continue
            for shipment, cover in self.covers(notice.document, notice.container).items():
                yield from (fact(shipment, f) for f in facts_of(notice, row, self._about(cover)))
        for agency in self.agencies:
            for shipment, cover in self.covers(agency.document, agency.container).items():
                yield from (fact(shipment, f) for f in agency_facts(agency, self._about(cover)))

    def _limited(self) -> Iterator[Saying]:
        """That not everything an authority said is kept: what is missing may be a demand."""
        for authority in self.inputs.limited:
            for shipment, cover in self.cover.all().items():
                for scope in cover.scope or (WHOLE,):
                    yield fact(shipment, limit_fact(authority, self.key, scope))

    # -- questions and answers between documents ------------------------------------------------------------------------
    def _questions(self) -> Iterator[Saying]:
        me, at, source = ref_of(self.key), 0, ""
        asks = {name: DocumentAsked(document=c.ref, asker=me, scope=c.boxes, by=c.by, cites=False, at=0, source="")
                for name, c in self.cover.claims.items()}
        if self.content is not None:
            at, source = at_of(self.content), self.content.source
            boxes = tuple(sorted({box.container for box in self.content.containers if box.container}))
            for ref in sorted(self.content.documents, key=document_key)[:CITED_MAX]:
                name = document_key(ref)
                asks[name] = msgspec.structs.replace(asks[name], cites=True) if name in asks else DocumentAsked(
                    document=ref, asker=me, scope=boxes, at=0, source="")
        for own in (self.key, *self.others):
            asks.pop(own, None)
        for cited, asked in sorted(asks.items()):
            ref = asked.document
            ask = msgspec.structs.replace(asked, record=self.key, at=at, source=source)
            gone = msgspec.structs.replace(ask, scope=(), by=(), cites=True, withdrawn=True)
            yield Saying(DOCUMENTS, cited, f"ask|{self.key}|{ref.issuer}/{ref.station}/{ref.date}", ask, gone)

    def _bound(self) -> Iterator[Saying]:
        """One answer per asker and shipment, however many ways it was asked."""
        found: dict[tuple[str, str], DocumentBound] = {}
        for _, ask in sorted(self.inputs.asks.items()):
            if not ask.withdrawn:
                self._answer(found, ask.asker, ask, self.covers(ask.document))
        for _, link in sorted(self.inputs.links.items()):
            if link.relation == "merged_into":
                ask = DocumentAsked(document=link.document, asker=link.other, by=(link.source,), cites=False, at=0, source="")
                self._answer(found, link.other, ask, self.cover.all())
        for (to, shipment), bound in sorted(found.items()):
            gone = msgspec.structs.replace(bound, scope=(), containers=(), boxes=(), owners=(), by=(), path=(), cites=True, withdrawn=True)
            yield Saying(DOCUMENTS, to, f"bound|{self.key}|{shipment}", bound, gone)

    def _answer(self, found: dict[tuple[str, str], DocumentBound], asker: DocumentRef, ask: DocumentAsked, covers: Covers) -> None:
        """That another document continues a shipment counts when the shipment's owner, a railway or an authority says so, too."""
        to = document_key(asker)
        for shipment, cover in covers.items():
            if to == self.key or to in cover.path:
                continue
            by = ask.by if any(p in cover.owners or self._trusted(p) for p in ask.by) else ()
            if not by and not ask.cites:
                continue
            scope, cites = narrowed(cover, ask.scope), ask.cites
            held = found.get((to, shipment))
            if held is not None:
                scope = tuple(sorted({*scope, *held.scope})) if scope and held.scope else ()
                by, cites = tuple(sorted({*by, *held.by})), cites or held.cites
            found[to, shipment] = DocumentBound(
                document=asker if held is None else held.document, shipment=shipment, scope=scope, record=self.key, version=0, at=0, source="",
                via=self.key, path=(*cover.path, self.key), containers=cover.containers, boxes=cover.boxes, owners=cover.owners, by=by, cites=cites)


def unknown_code(key: str, system: str, code: str, at: int) -> Saying:
    """A code that nobody knows is kept, sets nothing and is told once per document."""
    return alert(f"UnknownCode/{system}/{code}/{key}", "UnknownCode", "warning", at, f"{system} {code}: kept without effect")


def declared_value(declared: ShipmentDeclared) -> dict[str, Any]:
    """The declaration as plain values; what only travels with it is left out. Its time is written in UTC: state keeps no offsets."""
    value: dict[str, Any] = msgspec.to_builtins(
        msgspec.structs.replace(declared, received_time=None, flags=(), event_time=declared.event_time.astimezone(UTC)))
    return value


def filer_of(inputs: Inputs, notices: Iterable[CustomsNotice]) -> str:
    """The filer of record: the declarant that the authority's registration names, else who lodged first, then by party id."""
    parties = sorted({f.source for f in inputs.filings.values()})
    if not parties:
        return ""
    for notice in sorted((n for n in notices if n.declarant), key=order, reverse=True):
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
