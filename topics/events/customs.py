"""What a customs authority says. One struct: the official code decides what it means (codes.toml), never our prose."""
from __future__ import annotations

from typing import Annotated

import msgspec

from topics.events.base import AuthorityCode, DocumentRef, Event, Instant, ShortText, Text, TrainRef


class CustomsNotice(Event, frozen=True, kw_only=True, tag="customs.notice"):
    """An authority's message about a document, a container, a train or the goods. `code` is required here."""

    authority: AuthorityCode
    system: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9][A-Z0-9-]{1,19}$")]
    """Code list that `code` belongs to: NCTS, AES, ICS2, CN-MANIFEST, CN-DECLARATION, EAEU-PI, EAEU-TD, CEB, ETIR, GTT, GENERIC."""
    document: DocumentRef | None = None
    """The filing or document it speaks of; None for goods, container or train as such."""
    aliases: tuple[DocumentRef, ...] = ()
    """Other numbers of the same document that this message establishes (LRN -> MRN, official number)."""
    office: ShortText = ""
    """Office code of the side that speaks, as the authority writes it."""
    reference: ShortText = ""
    """The authority's reference of a demand (control, request, hold) or of what it answers."""
    reason: ShortText = ""
    """Reason or rejection-type code."""
    path: ShortText = ""
    """Field that a rejection points at."""
    text: Text = ""
    answer_by: Instant | None = None
    valid_until: Instant | None = None
    declarant: ShortText = ""
    """Party id or identifier of the declarant that the registration names: the filer of record."""
    train: TrainRef | None = None
    """A notice about a whole train (conveyance)."""
    seal: ShortText = ""
    chain: ShortText = ""
    visit: Annotated[int, msgspec.Meta(ge=1, le=99)] | None = None
    subject: DocumentRef | None = None
    """Demands: the document that the demand is about, where it differs from `document`."""
    values: dict[str, str] = {}
    """Other official fields (release date, until when the new seal was on, partner country …). A correction of an earlier version of its
    `record` that was about something else names that: `corrected_document` (`kind:number`), `corrected_container`, `corrected_train`
    (`railway/number/date`). What the earlier version set there is then taken back."""
