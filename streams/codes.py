"""An authority's code becomes facts: the templates of its row filled from the notice (domain 8.3). Shared by DOCUMENTS, CUSTODY and TRAINS.

Texts are never guessed: a code without a row, or whose row is switched off or not valid on that day, sets nothing.
"""
from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streams.kept import event_id, instant, micros
from streams.masks import MASKED
from streams.reference.model import CodeRow, FactTemplate, Reference
from streams.reference.templates import when_parts
from streams.reference.words import DOCUMENT_KINDS
from topics.events.base import DocumentRef
from topics.events.customs import CustomsNotice
from topics.events.sites import AgencyNotice
from topics.facts import EVERYWHERE, WHOLE, Fact, Key, Rank, Value
from topics.identifiers import document_key

UNKNOWN_CODE = "UNKNOWN_CODE"
FIRST_VISIT = "1"
NARROWED = frozenset({"exit", "entry", "office"})
PHASE_OF_FLAG: Mapping[str, str] = {"transit_enquiry": "enquiry"}
"""Flags that belong to the life of a document: the status model reads them as a phase."""
OF_AN_AMENDMENT = frozenset({"013", "amendment"})
STOPPING = frozenset({"rejected", "revoked", "invalidated", "ended"})
"""Phases of a document that end what it was good for."""
AGENCY_WORDS: Mapping[str, tuple[str, str]] = {
    "hold": ("hold", "opened"), "control": ("control", "opened"), "refusal": ("refusal", "opened"), "discrepancy": ("control", "discrepancy"),
    "conform": ("control", "closed"), "lift": ("", "closed"), "certificate": ("", "certificate"),
}
"""Word of an agency -> (kind of demand, phase). A conform result speaks of a control only; a lift names no kind."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a notice is about, as the fold that keeps it knows: the canonical document, or the run, or only the goods."""

    kind: str = ""
    """Kind of the canonical document; `conveyance` for a notice about a whole train; empty for goods or a container as such."""
    number: str = ""
    """Its number; the run id for a train."""
    record: str = ""
    """What makes the sender's slots its own: the document's key, or a run id. Empty in CUSTODY, where the scope does."""
    scopes: tuple[str, ...] = (WHOLE,)
    """Scopes of the document; a container named by the notice takes their place."""
    visit: str = FIRST_VISIT
    """Visit in which a presence counts when the notice names none."""


def row_of(reference: Reference, notice: CustomsNotice) -> CodeRow | None:
    """The row of a notice's code on its day; None when nobody knows the code."""
    row = reference.codes.get((notice.system, notice.code))
    day = notice.event_time.date().isoformat()
    if row is None or not row.enabled or (row.valid_from and day < row.valid_from) or (row.valid_to and day >= row.valid_to):
        return None
    return row


def weight_of(word: CustomsNotice | AgencyNotice, reference: Reference) -> int:
    """How much is lost when it is left out where there are too many: 2 what stops goods or takes a release back, 0 what sets nothing or is one
    of many readings, else 1. To lose a release or a closing leaves goods stopped; to lose a hold would let them go."""
    if isinstance(word, AgencyNotice):
        return 2 if AGENCY_WORDS[word.what][1] in ("opened", "discrepancy") else 1
    row = row_of(reference, word)
    if row is None or not row.facts:
        return 0
    return max(_weight(t) for t in row.facts)


def _weight(template: FactTemplate) -> int:
    key = template.key
    if key[0] == "demand":
        return 1 if key[-1] in ("closed", "answered") else 2
    if key[0] == "seal":
        return 0 if key[2] in ("ok", "reading") else 2
    return 2 if (key[0] == "doc" and key[-1] in STOPPING) or template.value == "failed" else 1


def facts_of(notice: CustomsNotice, row: CodeRow, about: About) -> tuple[Fact, ...]:
    """The facts that a notice sets; its flag when it sets none."""
    templates = [t for t in row.facts if _holds(t, notice)]
    facts = [f for t in templates for f in _filled(notice, row, t, about)]
    if row.flag and not templates:
        facts += _flagged(notice, row, about)
    return tuple(facts)


def agency_facts(notice: AgencyNotice, about: About) -> tuple[Fact, ...]:
    """Another agency's word: holds, lifts and certificates of its own, at its side of the crossing."""
    side = f"@{notice.authority}/office/{notice.crossing}" if notice.crossing else f"@{notice.authority}"
    kind, phase = AGENCY_WORDS[notice.what]
    key = ("agency", notice.agency, kind, notice.reference, phase)
    record = _record(about.record, notice.record) + ("" if notice.reference or phase == "certificate" else f"@{event_id(notice)}")
    value: Value = {"reason": notice.reason, "what": notice.what} if notice.reason else {"what": notice.what}
    return tuple(
        Fact(side=side, key=key, at=micros(notice.event_time), source=notice.source, record=record, version=notice.version, id=event_id(notice),
             scope=scope, value=value, code=notice.code, dated=notice.date_only)
        for scope in _scopes(notice.container, notice.item, about))


def limit_fact(authority: str, record: str, scope: str) -> Fact:
    """That words of this country's authorities were left out because there were too many, or are masked (`mask:` before the name): its sides
    are neither movable nor ready."""
    code = authority.removeprefix(MASKED)
    return Fact(side=EVERYWHERE, key=("limit" if code == authority else "masked", code), at=0, source="railclear", rank=Rank.SENSOR, record=record, scope=scope)


def filing_kind(document: DocumentRef | None, row: CodeRow | None = None) -> str:
    """Kind of a filing under which facts speak of a document: the row's where the notice names only a number; empty for a transport document."""
    if document is not None and document.kind in DOCUMENT_KINDS:
        return document.kind
    return row.document_kind if row is not None else ""


def _record(prefix: str, record: str) -> str:
    return f"{prefix}#{record}" if prefix and record else prefix or record


def _scopes(container: str, item: str, about: About) -> tuple[str, ...]:
    if not container:
        return about.scopes
    return (f"{container}/{item}" if item else container,)


def _holds(template: FactTemplate, notice: CustomsNotice) -> bool:
    condition = when_parts(template.when)
    if condition is None:
        return True
    field, wanted, values = condition
    return (_field(notice, field) in values) is wanted


def _field(notice: CustomsNotice, field: str) -> str:
    if field.startswith("values."):
        return notice.values.get(field.removeprefix("values."), "")
    found = getattr(notice, field, None)
    if isinstance(found, DocumentRef):
        return found.kind
    return found if isinstance(found, str) else "" if found is None else "yes"


def _filled(notice: CustomsNotice, row: CodeRow, template: FactTemplate, about: About) -> list[Fact]:
    kind = template.kind or (about.kind if about.kind in DOCUMENT_KINDS else "") or row.document_kind or about.kind
    when = f"@{micros(notice.event_time)}" if row.repeatable else ""
    number = about.number or notice.reference
    words = {
        "kind": kind, "number": number, "reference": notice.reference, "subject": _subject(notice, kind, about),
        "visit": str(notice.visit) if notice.visit else about.visit, "chain": notice.chain, "id": event_id(notice) + when,
    }
    key = tuple(part if not part.startswith("{") else words[part[1:-1]] for part in template.key)
    side = _side(notice, template.side, kind, about)
    sides = _seal_sides(key[2], side) if key[0] == "seal" else (side,)
    return [f for where in sides for f in _facts(notice, key, _value(notice, template, key), where, about)]


def _seal_sides(what: str, side: str) -> tuple[str, ...]:
    """An alarm or opening concerns every side; that a reading has begun only its own; a good one proves the lock everywhere, and is a
    reading of its own side."""
    if what == "reading":
        return (side,)
    return (EVERYWHERE, side) if what == "ok" and side != EVERYWHERE else (EVERYWHERE,)


def _flagged(notice: CustomsNotice, row: CodeRow, about: About) -> list[Fact]:
    kind = about.kind if about.kind in DOCUMENT_KINDS else row.document_kind
    phase = PHASE_OF_FLAG.get(row.flag, "amendment_rejected" if row.flag == "rejection_of_part" and notice.reason in OF_AN_AMENDMENT else "")
    side = _side(notice, "", kind, about)
    found: list[Fact] = []
    if phase and about.number:
        found = _facts(notice, ("doc", kind, about.number, phase), _common(notice), side, about)
    value: Value = {"code": notice.code, "reason": notice.reason} if notice.reason else {"code": notice.code}
    return found + _facts(notice, ("flag", row.flag), value, side, about)


def _facts(notice: CustomsNotice, key: Key, value: Value, side: str, about: About) -> list[Fact]:
    """One fact per scope. Demands without reference are told apart by the message: two holds must not share a slot, nor their lifts."""
    record = _record(about.record, notice.record) + (f"@{event_id(notice)}" if key[0] == "demand" and not notice.reference else "")
    return [
        Fact(side=side, key=key, at=micros(notice.event_time), source=notice.authority, rank=Rank.AUTHORITY, record=record,
             version=notice.version, id=event_id(notice), scope=scope, value=value, code=notice.code, dated=notice.date_only)
        for scope in _scopes(notice.container, notice.item, about)
    ]


def _subject(notice: CustomsNotice, kind: str, about: About) -> str:
    """What a demand is about: the document that the notice singles out, else its own; a train's is the run's conveyance document; a
    transport document stands for the goods as such."""
    if notice.subject is not None and notice.subject.kind in DOCUMENT_KINDS:
        own = about.number and document_key(notice.subject) == (document_key(notice.document) if notice.document else "")
        return f"{notice.subject.kind}/{about.number if own else _number(notice.subject)}"
    if not about.number or kind not in DOCUMENT_KINDS:
        return ""
    return f"{kind}/{about.number}"


def _number(document: DocumentRef) -> str:
    return document_key(document).partition(":")[2]


def _side(notice: CustomsNotice, narrowed: str, kind: str, about: About) -> str:
    if narrowed == EVERYWHERE:
        return EVERYWHERE
    if notice.office:
        return f"@{notice.authority}/office/{notice.office}"
    if narrowed in NARROWED:
        return f"@{notice.authority}/{narrowed}"
    if kind in DOCUMENT_KINDS and about.number and kind != "conveyance":
        return f"@{notice.authority}/doc/{kind}/{about.number}"
    return f"@{notice.authority}"


def _common(notice: CustomsNotice) -> dict[str, object]:
    """What explanations and deadlines need of a message; what it does not say is left out."""
    said: dict[str, object] = {
        "official": official_number(notice), "reason": notice.reason, "path": notice.path, "text": notice.text[:200], "office": notice.office,
        "answer_by": micros(notice.answer_by) if notice.answer_by else None,
        "valid_until": micros(notice.valid_until) if notice.valid_until else None,
    }
    return {name: value for name, value in said.items() if value not in ("", None)}


def official_number(notice: CustomsNotice) -> str:
    """The number that the authority gave: the last other number that the message establishes, else the one under which it came."""
    if notice.aliases:
        return notice.aliases[-1].number
    return notice.document.number if notice.document is not None else notice.reference


def _value(notice: CustomsNotice, template: FactTemplate, key: Key) -> Value:
    if key[0] in ("seen", "handed_over", "presented", "departed"):
        return True
    if key[0] == "condition":
        return template.value or "proven"
    if key[0] == "seal":
        return _seal(notice)
    common = _common(notice)
    if key[0] == "doc":
        common.pop("answer_by", None)
    else:
        common.pop("valid_until", None)
    if template.value and template.value not in ("valid_until", "answer_by"):
        common["value"] = template.value
    return common


def _seal(notice: CustomsNotice) -> dict[str, object]:
    """A lock as the authority's notice names it; the end of an opening and the new seal are among its official fields."""
    said: dict[str, object] = {
        "seal": notice.seal, "lock": notice.seal, "reader": notice.source, "act": notice.values.get("act", "") or notice.reference,
        "new": notice.values.get("new_seal", ""), "place": notice.values.get("place", ""), "office": notice.office, "reason": notice.reason,
    }
    if until := notice.values.get("until", ""):
        said["until"] = _instant(until)
    return {name: value for name, value in said.items() if value not in ("", None)}


def _instant(text: str) -> int | None:
    """An official field that is a time with its zone; anything else says nothing."""
    try:
        return micros(msgspec.convert(text, type(instant(0))))
    except (msgspec.ValidationError, TypeError):
        return None
