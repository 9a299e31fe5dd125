"""What forwarders, carriers and declarants say: shipments, filings and answers."""
from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from topics.events.base import AuthorityCode, DocumentRef, Event, Frozen, Name, ShortText, Text

Mass = Annotated[float, msgspec.Meta(gt=0, le=10_000_000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]


class TraderRef(Frozen, frozen=True, kw_only=True):
    """A trader in a role, with the identifier that the filing's regime uses (USCC, EORI, AEO code …)."""

    role: Literal["consignor", "consignee", "declarant", "carrier", "holder", "importer", "exporter", "seller", "buyer"]
    name: ShortText = ""
    identifier: ShortText = ""
    aeo: ShortText = ""
    """AEO code as stated in the document: it counts only under the role where it stands."""
    country: ShortText = ""


class Goods(Frozen, frozen=True, kw_only=True):
    """A goods line."""

    description: Text
    hs: Annotated[str, msgspec.Meta(pattern=r"^\d{0,13}$")] = ""
    """Harmonised System digits without dots; 6, 8, 10 or 13 of them, as far as known."""
    packages: Count | None = None
    gross_kg: Mass | None = None
    un: Annotated[str, msgspec.Meta(pattern=r"^(\d{4})?$")] = ""
    cas: ShortText = ""


class Stuffing(Frozen, frozen=True, kw_only=True):
    """One container of a shipment with what the document says of it."""

    container: ShortText
    seals: tuple[ShortText, ...] = ()
    """Seal numbers written in the document."""
    goods: tuple[Goods, ...] = ()
    packages: Count | None = None
    gross_kg: Mass | None = None
    """Goods plus tare, unless `mass_basis` says goods only."""
    mass_basis: Literal["goods", "goods_tare"] = "goods_tare"
    empty: bool = False
    iso_type: ShortText = ""
    reefer_setpoint_c: float | None = None


class ShipmentDeclared(Event, frozen=True, kw_only=True, tag="shipment.declared"):
    """A consignment under one transport document: the master data of a shipment. Later versions replace earlier ones."""

    document: DocumentRef
    """The transport document under which the goods move first; our shipment id derives from it."""
    corridor: ShortText = ""
    direction: Literal["west", "east"] = "west"
    crossings: tuple[str, ...] = ()
    """Crossing ids in order; empty = those of the corridor."""
    offices: tuple[str, ...] = ()
    """OFFICE sides on the route: office codes of departure, destination, transit, inland clearance, as `AUTHORITY:CODE`."""
    origin: ShortText = ""
    destination: ShortText = ""
    containers: tuple[Stuffing, ...] = ()
    parties: tuple[TraderRef, ...] = ()
    procedures: dict[str, str] = {}
    """Planned procedure per authority: `{"PL": "transit"}`; transit, import, warehouse, export, undecided."""
    enrolments: tuple[str, ...] = ()
    """Facilitations the carrier opted in to: gtt, fast_clearance, green_lane, tez …"""
    continues: tuple[DocumentRef, ...] = ()
    """Documents whose shipments this one continues unchanged (reconsignment SMGS -> CIM)."""
    tentative: bool = False
    """Derived from a message that only mentions the movement (an arrival notification, an authority's answer): it makes a shipment only
    if no other document of the same number or alias does, and never replaces the content of one that is not tentative."""


class DocumentLinked(Event, frozen=True, kw_only=True, tag="document.linked"):
    """One document takes the place of, continues or splits another: the shipment's timeline goes on unbroken."""

    document: DocumentRef
    relation: Literal["replaces", "continues", "split_of", "merged_into", "alias"]
    other: DocumentRef


class FilingLodged(Event, frozen=True, kw_only=True, tag="filing.lodged"):
    """Data lodged with an authority, or amended, presented or withdrawn there. Lodging proves nothing: the authority registers."""

    authority: AuthorityCode
    kind: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    """Filing kind of the side's row: manifest, loading_manifest, declaration, conveyance, gtt, pi, td, ens, transit, import …"""
    number: Name
    """Own reference of the filer (LRN) or the official number where already known."""
    office: ShortText = ""
    action: Literal["lodge", "amend", "withdraw", "present", "arrive", "correct"] = "lodge"
    documents: tuple[DocumentRef, ...] = ()
    """Transport documents (or earlier filings) that this filing covers: they bind it to shipments."""
    containers: tuple[Stuffing, ...] = ()
    parties: tuple[TraderRef, ...] = ()
    offices: tuple[ShortText, ...] = ()
    """Further offices named (destination, transit, exit), as `AUTHORITY:CODE`."""
    procedure: ShortText = ""
    visit: Annotated[int, msgspec.Meta(ge=1, le=99)] | None = None
    fields: dict[str, str] = {}
    """Other fields of the message by their official name: what next actions point at."""
    prelodged: bool = False
    train: ShortText = ""
    mrn: ShortText = ""


class RequestAnswered(Event, frozen=True, kw_only=True, tag="request.answered"):
    """The filer of record answers an authority's request."""

    authority: AuthorityCode
    reference: ShortText = ""
    """The authority's reference of the request."""
    document: DocumentRef
    text: Text = ""


class ContainerLoaded(Event, frozen=True, kw_only=True, tag="container.bound"):
    """A container carries a shipment from here on, or no longer does: intervals, because boxes are reused."""

    document: DocumentRef
    bound: Literal["loaded", "unloaded", "swapped"]
    replaces: ShortText = ""
    """swapped: the container whose goods went into this one; needs a customs-supervised transfer record in `act`."""
    act: ShortText = ""
    seals: tuple[ShortText, ...] = ()


TradeEvent = ShipmentDeclared | DocumentLinked | FilingLodged | RequestAnswered | ContainerLoaded
