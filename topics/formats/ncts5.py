"""NCTS phase 5 (customs transit): declarations, amendments, arrivals and the customs' answers, XML of DG TAXUD, into events.

Message names: domain reference 8.3 [S28]. A trader's message becomes FilingLodged, an office's answer CustomsNotice with the official code;
what the code means is the reference's business. These movements name offices only, so each also declares a shipment that has an
OFFICE side at every office it names.
"""
from __future__ import annotations

import re
from datetime import datetime, time, tzinfo
from typing import Final, Literal

import msgspec

from topics.codec import Refusal, Refused
from topics.events.base import DocumentRef, Event
from topics.events.customs import CustomsNotice
from topics.events.trade import FilingLodged, RequestAnswered, ShipmentDeclared
from topics.formats import ncts5_goods
from topics.formats.parsed import EVENT_TIME_MISSING, MRN_INVALID, NUMBER_MISSING, Parsed, Zones, content_id, read_time
from topics.formats.xml import Node, parse
from topics.identifiers import BadIdentifier, parse_mrn, parse_office

NAMESPACE: Final = "http://ncts.dgtaxud.ec"
KIND: Final = "transit"
SYSTEM: Final = "NCTS"
SHORT_MAX: Final = 200
FIELDS_MAX: Final = 400
"""Further fields kept of one message; more is flagged FIELDS_CUT."""
TEMPLATE_HOLES: Final = "TEMPLATE_HOLES"

Action = Literal["lodge", "amend", "withdraw", "present", "arrive", "correct"]

FILINGS: Final[dict[str, Action]] = {
    "007": "arrive", "013": "amend", "014": "withdraw", "015": "lodge", "044": "arrive", "170": "present",
}
"""Messages of the trader. IE044 are unloading remarks: they say that the goods are there, and its fields what was found."""

NOTICES: Final = frozenset({
    "004", "009", "019", "022", "025", "028", "029", "035", "043", "045", "051", "055", "056", "057", "060", "140", "182", "906", "917", "928",
})
"""Answers of an office. Another code sent by an office becomes a notice too: quarantined by code, never dropped."""

ENQUIRY_ANSWER: Final = "141"
"""Information about a non-arrived movement: the holder's answer to IE140, or (sent by an office) a notice."""

REJECTED: Final[dict[str, str]] = {
    "007": "arrival", "013": "amendment", "014": "invalidation", "015": "declaration", "044": "unloading_remarks", "170": "presentation",
    "141": "enquiry",
}
"""What IE056 or IE057 rejects, by its business rejection type."""

DECIDED: Final = (
    "TransitOperation/controlNotificationDateAndTime", "TransitOperation/rejectionDateAndTime", "TransitOperation/arrivalNotificationDateAndTime",
    "TransitOperation/amendmentSubmissionDateAndTime", "Invalidation/decisionDateAndTime", "Invalidation/requestDateAndTime",
    "TransitOperation/incidentNotificationDateAndTime", "preparationDateAndTime",
)
"""Where a message says when it was decided. A release or acceptance date has no time: the preparation time counts."""

DEPARTURE: Final = "CustomsOfficeOfDeparture/referenceNumber"
TRANSIT: Final = "CustomsOfficeOfTransitDeclared/referenceNumber"
EXIT: Final = "CustomsOfficeOfExitForTransitDeclared/referenceNumber"
DESTINATION: Final = ("CustomsOfficeOfDestinationActual/referenceNumber", "CustomsOfficeOfDestinationDeclared/referenceNumber",
                      "CustomsOfficeOfDestination/referenceNumber")
OTHER_OFFICES: Final = ("CustomsOfficeOfEnquiryAtDeparture/referenceNumber", "CustomsOfficeOfRecoveryAtDeparture/referenceNumber",
                        "CustomsOfficeOfIncidentRegistration/referenceNumber")
AT_DESTINATION: Final = frozenset({"007", "025", "043", "044", "057"})
"""Messages to or from the office of destination; all others are the office of departure's."""

_ROOT = re.compile(r"C[CD](\d{3})[A-Z]")
_SAYS_NOTHING = frozenset({"sequenceNumber"})


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """What every message of a movement has."""

    number: str
    code: str
    from_office: bool
    lrn: str
    mrn: str
    authority: str
    office: str
    offices: tuple[str, ...]
    at: datetime
    id: str
    source: str
    flags: tuple[str, ...]

    @property
    def document(self) -> DocumentRef:
        return DocumentRef(kind=KIND, number=self.lrn or self.mrn or f"content-{self.id.rpartition('/')[2]}")

    @property
    def aliases(self) -> tuple[DocumentRef, ...]:
        return (DocumentRef(kind=KIND, number=self.mrn),) if self.lrn and self.mrn else ()


def read(data: bytes, *, received: datetime, zones: Zones, source: str = "", origin: str = "") -> Parsed:
    """The events of one message.

    `received` stands in where the message has no time; `zones` is per authority code, for times without offset. `source` is the
    writing party, "" = the message's own default. `origin` names where the bytes came from: two equal messages without any number and
    message id, from two origins, are two movements. Raises Refused: TOO_LARGE, XML_DOCTYPE, NOT_XML, UNKNOWN_MESSAGE, NO_AUTHORITY,
    MISSING_ZONE, BAD_TIME, BAD_VALUE.
    """
    root = parse(data)
    found = _ROOT.fullmatch(root.name)
    if root.namespace != NAMESPACE or not found:
        raise Refused("UNKNOWN_MESSAGE", "$", f"{{{root.namespace}}}{root.name}", "not a message of NCTS phase 5")
    number, sender = found[1], root.text("messageSender")
    from_office = number in NOTICES or (number not in FILINGS and sender.startswith("NTA."))
    if not from_office and number not in FILINGS and number != ENQUIRY_ANSWER:
        raise Refused("UNKNOWN_MESSAGE", "$", root.name, "no message of a transit movement that railclear reads")
    head = _head(root, data, number, from_office, received, zones, source, origin)
    try:
        events = _notice(root, head, zones.get(head.authority)) if from_office else _filing(root, head)
    except msgspec.ValidationError as error:
        raise Refused("BAD_VALUE", "$", root.name, str(error)) from error
    flags = tuple(dict.fromkeys(flag for event in events for flag in event.flags))
    return Parsed(events=events, flags=flags, message=head.code, speaker="authority" if from_office else "filer", authority=head.authority,
                  party=head.source)


def _head(root: Node, data: bytes, number: str, from_office: bool, received: datetime, zones: Zones, source: str, origin: str) -> _Head:
    flags = [TEMPLATE_HOLES] if root.holes() else []
    if (stated := root.text("messageType")) and stated != root.name:
        flags.append("MESSAGE_TYPE_DIFFERS")
    lrn = root.text("TransitOperation/LRN")
    mrn, message_id = root.text("TransitOperation/MRN"), root.text("messageIdentification")
    if mrn:
        try:
            mrn = parse_mrn(mrn)
        except BadIdentifier:
            flags.append(MRN_INVALID)
    elif not lrn:
        flags.append(NUMBER_MISSING)
    offices = _offices(root)
    office = _office(root, number)
    authority = _authority(root, from_office, office, mrn)
    at, time_flags = _decided(root, received, zones.get(authority))
    anonymous = not (lrn or mrn or message_id)
    content = content_id(data, origin if anonymous else "")
    return _Head(number=number, code=f"IE{number}", from_office=from_office, lrn=lrn[:120], mrn=mrn[:120], authority=authority, office=office,
                 offices=offices, at=at, id=f"{message_id[:80] or 'content'}/{content}", source=source or _default_party(root, authority, from_office),
                 flags=(*flags, *time_flags))


def _offices(root: Node) -> tuple[str, ...]:
    """Every office named, in the order of the journey, as `AUTHORITY:CODE`."""
    codes = [node.value for path in (DEPARTURE, TRANSIT, EXIT, *DESTINATION) for node in root.all(path)]
    return tuple(dict.fromkeys(qualified(code) for code in codes if code))


def qualified(code: str) -> str:
    """`PL:PL301010`: an office code of the EU and the common transit begins with its country; any other is kept as it stands."""
    try:
        office = parse_office(code)
    except BadIdentifier:
        return code
    return f"{office[:2]}:{office}"


def _office(root: Node, number: str) -> str:
    order = (*DESTINATION, DEPARTURE) if number in AT_DESTINATION else (DEPARTURE, *OTHER_OFFICES, *DESTINATION)
    return root.text(*order)


def _authority(root: Node, from_office: bool, office: str, mrn: str) -> str:
    """The authority that is addressed or that speaks: by NTA.XX, else by the office's prefix, else by the country in the MRN."""
    national = root.text("messageSender" if from_office else "messageRecipient")
    for candidate in (national[4:6] if national.startswith("NTA.") else "", office[:2], mrn[2:4]):
        if re.fullmatch(r"[A-Z]{2}", candidate):
            return candidate
    raise Refused("NO_AUTHORITY", "$.messageSender" if from_office else "$.messageRecipient", national,
                  "no administration, office or MRN says whose message it is")


def _decided(root: Node, received: datetime, zone: tzinfo | None) -> tuple[datetime, tuple[str, ...]]:
    for path in DECIDED:
        if value := root.text(path):
            return read_time(value, "$." + path.replace("/", "."), zone)
    return received, (EVENT_TIME_MISSING,)


def _default_party(root: Node, authority: str, from_office: bool) -> str:
    """Authorities speak as `customs-xx`; a filer by its identification number."""
    if from_office:
        return f"customs-{authority.lower()}"
    trader = root.text("HolderOfTheTransitProcedure/identificationNumber", "TraderAtDestination/identificationNumber", "messageSender")
    return re.sub(r"[^a-z0-9-]", "", trader.lower())[:40].lstrip("-") or "unknown-filer"


def _rest(root: Node) -> tuple[dict[str, str], list[str]]:
    """Everything that no field of ours takes, by its official path."""
    found: dict[str, str] = {}
    for path, value in root.unread(_SAYS_NOTHING):
        if len(found) >= FIELDS_MAX:
            return found, ["FIELDS_CUT"]
        found[path] = value
    return found, []


def _declared(head: _Head, content: ncts5_goods.Content, flags: tuple[str, ...]) -> ShipmentDeclared:
    """The movement as a shipment. Only a declaration with its own number says what is in it; other messages merely mention it."""
    full = head.number in ("015", "013") and not (head.mrn and not head.lrn)
    return ShipmentDeclared(
        source=head.source, id=head.id, event_time=head.at, code=head.code, flags=flags, document=head.document, offices=head.offices,
        containers=content.containers, parties=content.parties, tentative=not full)


def _filing(root: Node, head: _Head) -> tuple[Event, ...]:
    content = ncts5_goods.read(root)
    prelodged = root.text("TransitOperation/additionalDeclarationType") == "D"
    documents = content.documents
    if carnet := root.text("TransitOperation/TIRCarnetNumber"):
        documents = (*documents, DocumentRef(kind="tir", number=carnet[:120]))
    fields, cut = _rest(root)
    if content.goods_without_container:
        fields["goods"] = msgspec.json.encode(content.goods_without_container).decode()
    flags = tuple(dict.fromkeys((*head.flags, *content.flags, *cut)))
    declared = _declared(head, content, flags)
    if head.number == ENQUIRY_ANSWER:
        answer = RequestAnswered(source=head.source, id=head.id, event_time=head.at, code=head.code, flags=flags, authority=head.authority,
                                 reference=root.text("correlationIdentifier")[:SHORT_MAX], document=head.document,
                                 text=" ".join(f"{k}={v}" for k, v in fields.items())[:4000])
        return declared, answer
    filing = FilingLodged(
        source=head.source, id=head.id, event_time=head.at, code=head.code, flags=flags, authority=head.authority, kind=KIND,
        number=head.document.number, office=head.office[:SHORT_MAX], action=FILINGS[head.number], documents=documents,
        containers=content.containers, parties=content.parties, offices=tuple(o for o in head.offices if not o.endswith(f":{head.office}")),
        procedure="tir" if carnet else KIND, fields=fields, prelodged=prelodged, mrn=head.mrn)
    return declared, filing


def _notice(root: Node, head: _Head, zone: tzinfo | None) -> tuple[Event, ...]:
    content = ncts5_goods.read(root)
    errors = [_error(node) for node in root.all("FunctionalError")] + [_error(node) for node in root.all("XMLError")]
    rejected = root.text("TransitOperation/businessRejectionType")
    values, cut = _rest(root)
    if rejected:
        values["businessRejectionType"] = rejected
    for i, error in enumerate(errors[1:], 2):
        values[f"FunctionalError[{i}]"] = f"{error.path} {error.code} {error.reason} {error.value}".strip()
    flags = tuple(dict.fromkeys((*head.flags, *content.flags, *cut)))
    limit, limit_flags = _limit(root, zone)
    first = errors[0] if errors else Refusal("")
    notice = CustomsNotice(
        source=head.source, id=head.id, event_time=head.at, code=head.code, flags=(*flags, *limit_flags), authority=head.authority, system=SYSTEM,
        document=head.document, aliases=head.aliases, office=head.office[:SHORT_MAX], reason=REJECTED.get(rejected, rejected)[:SHORT_MAX],
        path=first.path[:SHORT_MAX] if errors else "", text=" ".join((first.code, first.reason, first.value)).strip()[:4000],
        valid_until=limit, declarant=content.holder[:SHORT_MAX], values=values)
    return _declared(head, content, flags), notice


def _error(node: Node) -> Refusal:
    return Refusal(node.text("errorCode"), node.text("errorPointer", "errorLocation"), node.text("originalAttributeValue"), node.text("errorReason"))


def _limit(root: Node, zone: tzinfo | None) -> tuple[datetime | None, tuple[str, ...]]:
    """The transit's time limit is a day: it ends with that day in the authority's zone. Without a zone it stays a flag."""
    text = root.text("TransitOperation/limitDate", "TransitOperation/limitDateAndTime")
    if not text:
        return None, ()
    try:
        day = datetime.fromisoformat(text)
    except ValueError:
        return None, ("LIMIT_DATE_UNREADABLE",)
    if day.tzinfo is not None:
        return day, ()
    if zone is None:
        return None, ("LIMIT_DATE_WITHOUT_ZONE",)
    return datetime.combine(day.date(), time(23, 59, 59) if len(text) == 10 else day.time(), zone), ()
