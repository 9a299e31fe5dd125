"""What DOCUMENTS keeps of one document: a merge of its inputs in which order and repetition do not matter."""
from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeVar

import msgspec

from streams import masks as masking
from streams.codes import row_of, weight_of
from streams.derived import Said
from streams.documents.slim import slim
from streams.fold import Fate
from streams.kept import at_of, digest, event_id, identity, keep, keep_weightiest, put, tag_of
from streams.masks import Masks
from streams.reference.model import Reference
from streams.squeeze import DOCUMENTS, loosened, squeezed
from topics.events.base import DocumentRef, Event
from topics.events.customs import CustomsNotice
from topics.events.internal import AliasFound, DocumentAsked, DocumentBound, Forwarded
from topics.events.sites import AgencyNotice
from topics.events.trade import ContainerLoaded, DocumentLinked, FilingLodged, RequestAnswered, ShipmentDeclared
from topics.identifiers import document_key

NOTICES_MAX = 200
"""Notices of one document; a busy transit has about twenty. What stops goods gives way to nothing but its own limit."""
HEAVY, HEAVY_MAX = 2, 600
TEXT_KEPT = 200
"""Characters of a notice's free text: so many are in its facts."""
ANSWERS_MAX = 50
LOADS_MAX = 400
"""Loadings and unloadings: a block train's note has fifty boxes, each loaded, unloaded and perhaps swapped."""
LODGING = frozenset({"lodge", "amend", "correct"})
"""Actions that make a party the filer."""
PARTIES_MAX = 8
"""Parties that lodge or declare under one number."""
LINKS_MAX = 50
ASKS_MAX = 300
"""Documents that cite this one."""
BOUNDS_MAX = 300
"""Shipments of a document, by every way that leads to them: a train-wide manifest covers all consignments of a train."""
FORWARDED_MAX = 400

Input = (
    FilingLodged | RequestAnswered | CustomsNotice | DocumentBound | DocumentLinked | AliasFound | ShipmentDeclared | AgencyNotice | ContainerLoaded
    | DocumentAsked | Forwarded
)
W = TypeVar("W", CustomsNotice, AgencyNotice)
M = TypeVar("M", DocumentAsked, DocumentBound, AliasFound, Forwarded)


class First(msgspec.Struct, frozen=True, array_like=True):
    """The earliest word of a party: decides who owns a document."""

    at: int
    id: str


class Inputs(msgspec.Struct, array_like=True):
    """Inputs under one number. Merged in place while a step works on a copy."""

    declared: dict[str, ShipmentDeclared] = {}
    """Source and variant of the number -> the highest version."""
    filings: dict[str, FilingLodged] = {}
    """Source and action -> the highest version."""
    first: dict[str, First] = {}
    """`filing|source`, `declared|source|variant` -> the earliest."""
    notices: dict[str, CustomsNotice] = {}
    answers: dict[str, RequestAnswered] = {}
    agencies: dict[str, AgencyNotice] = {}
    loads: dict[str, ContainerLoaded] = {}
    links: dict[str, DocumentLinked] = {}
    asks: dict[str, DocumentAsked] = {}
    """Key of the asker, and how it names this document -> highest version."""
    bounds: dict[str, DocumentBound] = {}
    """Key that says so, shipment, and the number that it was told -> highest version. An answer to another number of this document has
    versions of its own."""
    silencing: dict[str, CustomsNotice] = {}
    """Corrections that speak under another key: here they only silence what they correct."""
    limited: dict[str, bool] = {}
    """Authorities of which a word was left out because there were too many."""

    def copy(self) -> Inputs:
        """A copy whose tables may be changed."""
        return Inputs(*(dict(getattr(self, name)) for name in self.__struct_fields__))

    @property
    def empty(self) -> bool:
        return not any(getattr(self, name) for name in self.__struct_fields__)

    def add(self, event: Event | DocumentAsked | DocumentBound, key: str, reference: Reference) -> Fate | None:
        """Merge one input that came under this key. None when it changed something, else why not; REFUSED means that a limit is reached."""
        match event:
            case CustomsNotice() if silences(event, key):
                return keep(self.silencing, event, NOTICES_MAX)
            case CustomsNotice():
                row = row_of(reference, event)
                repeatable = row is not None and row.repeatable
                return self._word(self.notices, msgspec.structs.replace(event, text=event.text[:TEXT_KEPT]), reference, repeatable)
            case FilingLodged():
                return self._filing(slim(event))
            case ShipmentDeclared():
                return self._declared(slim(event))
            case RequestAnswered():
                return keep(self.answers, event, ANSWERS_MAX)
            case AgencyNotice():
                return self._word(self.agencies, msgspec.structs.replace(event, reason=event.reason[:TEXT_KEPT]), reference)
            case ContainerLoaded():
                return self._load(event)
            case DocumentLinked():
                return self._link(event)
            case DocumentAsked():
                return put_message(self.asks, f"{document_key(event.asker)}|{variant(event.document)}", event, ASKS_MAX)
            case DocumentBound():
                return put_message(self.bounds, f"{event.via}|{event.shipment}|{document_key(event.document)}", event, BOUNDS_MAX)
        raise TypeError(f"documents keep no {tag_of(event)}")

    def _word(self, held: dict[str, W], event: W, reference: Reference, repeatable: bool = False) -> Fate | None:
        fate, gone = keep_weightiest(
            held, event, NOTICES_MAX, lambda e: weight_of(e, reference), heavy=HEAVY, most_heavy=HEAVY_MAX, repeatable=repeatable)
        if gone is not None:
            self.limited[gone.authority] = True
        return fate

    def _filing(self, event: FilingLodged) -> Fate | None:
        if _crowded(self.first, "filing|", event.source):
            return Fate.REFUSED
        earlier = event.action in LODGING and _earlier(self.first, f"filing|{event.source}", event)
        fate = put(self.filings, f"{event.source}|{event.action}", event)
        return None if earlier else fate

    def _declared(self, event: ShipmentDeclared) -> Fate | None:
        if _crowded(self.first, "declared|", event.source):
            return Fate.REFUSED
        name = f"{event.source}|{variant(event.document)}|{'t' if event.tentative else ''}"
        earlier = _earlier(self.first, f"declared|{name}", event)
        fate = put(self.declared, name, event)
        return None if earlier else fate

    def _load(self, event: ContainerLoaded) -> Fate | None:
        name = f"{event.source}#{event.record}" if event.record else identity(event, repeatable=True)
        if name not in self.loads and len(self.loads) >= LOADS_MAX:
            return Fate.REFUSED
        return put(self.loads, name, event)

    def _link(self, event: DocumentLinked) -> Fate | None:
        name = f"{event.source}|{event.relation}|{document_key(event.other)}"
        if name not in self.links and len(self.links) >= LINKS_MAX:
            return Fate.REFUSED
        return put(self.links, name, event)


def silences(event: CustomsNotice, key: str) -> bool:
    """Is it a correction that is about something else, and only takes back here what it corrects?"""
    return event.document is None or document_key(event.document) != key


def put_message(held: dict[str, M], name: str, message: M, most: int) -> Fate | None:
    """Keep the highest version of what another key says; a withdrawal stays, so that what it withdraws cannot come back late."""
    old = held.get(name)
    if old is None:
        if len(held) >= most:
            return Fate.REFUSED
        held[name] = message
        return None
    if (message.version, digest(message)) > (old.version, digest(old)):
        held[name] = message
        return None
    return Fate.DUPLICATE if message == old else Fate.SUPERSEDED


def _crowded(first: dict[str, First], prefix: str, source: str) -> bool:
    parties = {name.split("|")[1] for name in first if name.startswith(prefix)}
    return source not in parties and len(parties) >= PARTIES_MAX


def _earlier(first: dict[str, First], name: str, event: Event) -> bool:
    held, mine = first.get(name), First(at_of(event), event_id(event))
    if held is not None and (held.at, held.id) <= (mine.at, mine.id):
        return False
    first[name] = mine
    return True


def _first(table: dict[str, First], name: str, mine: First) -> None:
    held = table.get(name)
    if held is None or (mine.at, mine.id) < (held.at, held.id):
        table[name] = mine


def variant(document: DocumentRef) -> str:
    """What tells two documents of one number apart."""
    return "/".join((document.issuer, document.station, document.date)).strip("/").upper()


class Behind(msgspec.Struct, frozen=True, array_like=True):
    """A shipment behind a document that has retired."""

    scope: tuple[str, ...]
    containers: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    continued: bool = False


class State(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """The state of one key."""

    SWELLS: ClassVar[int] = 26
    version: int = 0
    touched: int = 0
    """`now` of the last step with an input that changed something."""
    own: Inputs = msgspec.field(default_factory=Inputs)
    forwarded: dict[str, Forwarded] = {}
    """Other number and its record of the input -> highest version."""
    aliases: dict[str, AliasFound] = {}
    """Other number -> the best claim that it told."""
    said: Said = {}
    waiting_since: int | None = None
    """When it first had something to say and no shipment to say it of."""
    covers: dict[str, Behind] = {}
    """Stub only: shipment -> what was known of it when the document retired."""
    canonical: str = ""
    """Stub only: the canonical key as it was when the document retired."""
    aside: Inputs | None = None
    """What masks cover of the inputs under this number: kept, without effect."""
    mark: bytes = b""
    """The masks by which the inputs were dealt out (streams.masks)."""


def dealt(state: State, masks: Masks) -> State:
    """The inputs under this number dealt out anew, as these masks want it. Of what only folds say nothing moves. The earliest word of a party is
    the earliest of those that are kept."""
    away = state.aside or Inputs()
    own, aside = state.own.copy(), Inputs(limited=dict(away.limited))
    for name, highest in TABLES.items():
        for layer, table in zip((own, aside), masking.dealt(getattr(state.own, name), getattr(away, name), masks, highest=highest), strict=True):
            setattr(layer, name, table)
    own.first = {}
    for held in (state.own, away):
        for name, first in held.first.items():
            _first(aside.first if masking.covers_id(masks, first.id, first.at) else own.first, name, first)
    for layer in (own, aside):
        for filing in layer.filings.values():
            if filing.action in LODGING:
                _earlier(layer.first, f"filing|{filing.source}", filing)
        for name, said in layer.declared.items():
            _earlier(layer.first, f"declared|{name}", said)
    return msgspec.structs.replace(state, own=own, aside=None if aside.empty else aside, mark=masking.mark(masks))


TABLES: Mapping[str, bool] = {"declared": True, "filings": True, "notices": False, "answers": False, "agencies": False, "loads": True, "links": True,
                              "silencing": False}
"""Tables of what outside parties say, and whether the highest of a slot stays (else what comes again is one input, with its earliest time)."""


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(State)


def encode(state: State) -> bytes:
    return squeezed(_encoder.encode(state), DOCUMENTS)


def decode(data: bytes) -> State:
    return _decoder.decode(loosened(data))
