"""NCTS phase 5: the trader test pack's messages and made-up ones, read into events."""
from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.topics.samples import samples
from topics import codec
from topics.codec import Refused
from topics.events.base import DocumentRef
from topics.events.customs import CustomsNotice
from topics.events.trade import FilingLodged, RequestAnswered, ShipmentDeclared
from topics.formats import ncts5
from topics.formats.parsed import Parsed
from topics.identifiers import shipment_id

RECEIVED = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONDON = {"GB": ZoneInfo("Europe/London"), "XI": ZoneInfo("Europe/London")}


def read(data: bytes, **more: str) -> Parsed:
    return ncts5.read(data, received=RECEIVED, zones=LONDON, **more)


def message(number: str, inner: str, *, sender: str = "NTA.GB", recipient: str = "NTA.GB", prepared: str = "2026-02-28T10:00:00Z", root: str = "") -> bytes:
    root = root or f"CC{number}C"
    return (f'<n:{root} xmlns:n="http://ncts.dgtaxud.ec" PhaseID="NCTS5.1"><messageSender>{sender}</messageSender>'
            f"<messageRecipient>{recipient}</messageRecipient><preparationDateAndTime>{prepared}</preparationDateAndTime>"
            f"<messageIdentification>M1</messageIdentification><messageType>{root}</messageType>{inner}</n:{root}>").encode()


OPERATION = "<TransitOperation><LRN>LRN1</LRN><MRN>23GB000246YHVFYMJ0</MRN></TransitOperation>"
DEPARTURE = "<CustomsOfficeOfDeparture><referenceNumber>GB000246</referenceNumber></CustomsOfficeOfDeparture>"


def test_all_real_requests_are_read_and_none_is_dropped() -> None:
    files = samples("ncts5/requests", "*.xml")
    assert len(files) == 167
    kinds: Counter[str] = Counter()
    shipments = set()
    for path in files:
        parsed = read(path.read_bytes(), origin=path.name)
        declared, filing = parsed.events
        assert isinstance(declared, ShipmentDeclared)
        assert isinstance(filing, FilingLodged)
        assert f"_{parsed.message.lower()}_" in path.name
        assert declared.offices, "a side at every office it names"
        assert filing.authority in ("GB", "XI")
        assert filing.office[:2] == filing.authority
        assert filing.number == declared.document.number
        assert "{{" not in codec.encode(filing).decode() + codec.encode(declared).decode(), "a hole is an absent value"
        assert "EVENT_TIME_MISSING" in filing.flags
        assert filing.event_time == RECEIVED
        kinds[f"{parsed.message} {filing.action}"] += 1
        shipments.add(shipment_id(declared.document))
    assert kinds == {"IE015 lodge": 103, "IE007 arrive": 18, "IE044 arrive": 14, "IE170 present": 12, "IE014 withdraw": 12, "IE013 amend": 8}
    assert len(shipments) == 111 + 39, "111 movements without a number never merge; 39 numbers are named by the other 56 messages"


def test_all_real_answers_are_read_with_their_codes() -> None:
    files = samples("ncts5/responses", "*.xml")
    assert len(files) == 5
    found = {}
    for path in files:
        declared, notice = read(path.read_bytes()).events
        assert isinstance(declared, ShipmentDeclared)
        assert isinstance(notice, CustomsNotice)
        assert declared.tentative
        assert notice.source == f"customs-{notice.authority.lower()}"
        assert "EVENT_TIME_ZONE_ASSUMED" in notice.flags
        found[path.stem] = notice
    assert {name: notice.code for name, notice in found.items()} == {
        "CC028C": "IE028", "CC029C": "IE029", "CC056C": "IE056", "CC056C_Multiple_FunctionalError": "IE056", "CC060C": "IE060"}
    release = found["CC029C"]
    assert release.document == DocumentRef(kind="transit", number="TRATESTGB12308021209")
    assert release.aliases == (DocumentRef(kind="transit", number="23GB000246YHVFYMJ0"),)
    assert release.event_time == datetime(2023, 8, 2, 10, 54, 54, tzinfo=UTC), "British summer time; the release date has no time"
    assert release.values["TransitOperation/releaseDate"] == "2023-08-02"
    rejection = found["CC056C_Multiple_FunctionalError"]
    assert (rejection.authority, rejection.reason) == ("XI", "declaration")
    assert rejection.path == "/CC015C/HolderOfTheTransitProcedure/identificationNumber"
    assert "R0850" in rejection.text
    assert "FunctionalError[3]" in rejection.values
    assert rejection.declarant == "XI985524247819"


def test_a_real_declaration_keeps_offices_containers_seals_goods_and_holder() -> None:
    path = samples("ncts5/requests", "*xi-gb__normal__dnxi8_ie015*")[0]
    declared, filing = read(path.read_bytes()).events
    assert isinstance(declared, ShipmentDeclared)
    assert isinstance(filing, FilingLodged)
    assert declared.offices == ("XI:XI000081", "XI:XI005160")
    assert filing.documents == (DocumentRef(kind="tir", number="XN25000050"),)
    assert filing.procedure == "tir"
    box = filing.containers[0]
    assert (box.container, box.seals, box.gross_kg, box.mass_basis) == ("WGPCGR", ("1234",), 1000.0, "goods")
    assert (box.goods[0].hs, box.goods[0].packages) == ("392690", 1)
    assert "CONTAINER_NUMBER_INVALID" in filing.flags
    assert ("holder", "XI175521246821") in {(p.role, p.identifier) for p in filing.parties}
    assert filing.fields["HolderOfTheTransitProcedure/TIRHolderIdentificationNumber"] == "DK222222222", "what no field takes is kept by its name"
    assert not declared.tentative


def test_equal_messages_without_any_number_are_two_movements_from_two_places_and_one_from_one() -> None:
    inner = "<TransitOperation><LRN>{{LRN}}</LRN></TransitOperation>" + DEPARTURE
    data = message("015", inner, sender="x").replace(b"M1", b"{{messageIdentification}}")
    numbers = {read(data, origin=origin).events[0].document.number for origin in ("a/0/1", "a/0/2", "a/0/1")}  # type: ignore[attr-defined]
    assert len(numbers) == 2
    assert all("NUMBER_MISSING" in read(data, origin=o).flags for o in ("a", "b"))
    assert "{{LRN}}" not in numbers


def test_messages_with_one_message_id_but_other_content_are_not_one() -> None:
    first, second = (read(message("015", f"<TransitOperation><LRN>{lrn}</LRN></TransitOperation>{DEPARTURE}")).events[1].id for lrn in ("A", "B"))
    assert first != second


@pytest.mark.parametrize("number", sorted(ncts5.NOTICES))
def test_every_answer_of_the_mapping_table_becomes_a_notice_with_its_code(number: str) -> None:
    root = f"CD{number}A" if number == "906" else ""
    parsed = read(message(number, OPERATION + DEPARTURE, root=root))
    notice = parsed.events[1]
    assert isinstance(notice, CustomsNotice)
    assert (notice.code, notice.authority, notice.system) == (f"IE{number}", "GB", "NCTS")
    assert (parsed.speaker, parsed.party) == ("authority", "customs-gb")


@pytest.mark.parametrize(("number", "action"), sorted(ncts5.FILINGS.items()))
def test_every_message_of_a_trader_becomes_a_filing(number: str, action: str) -> None:
    parsed = read(message(number, OPERATION + DEPARTURE, sender="trader"))
    filing = parsed.events[1]
    assert isinstance(filing, FilingLodged)
    assert (filing.action, filing.number, filing.mrn) == (action, "LRN1", "23GB000246YHVFYMJ0")
    assert parsed.speaker == "filer"


def test_an_unknown_answer_of_an_office_is_kept_under_its_code_and_an_unknown_request_refused() -> None:
    notice = read(message("190", OPERATION + DEPARTURE)).events[1]
    assert isinstance(notice, CustomsNotice)
    assert notice.code == "IE190"
    with pytest.raises(Refused, match="UNKNOWN_MESSAGE"):
        read(message("190", OPERATION + DEPARTURE, sender="trader"))


def test_the_holders_answer_to_an_enquiry_is_an_answer_and_an_offices_a_notice() -> None:
    assert isinstance(read(message("141", OPERATION + DEPARTURE, sender="trader")).events[1], RequestAnswered)
    assert isinstance(read(message("141", OPERATION + DEPARTURE)).events[1], CustomsNotice)


def test_an_arrival_is_the_office_of_destinations_business() -> None:
    destination = "<CustomsOfficeOfDestinationActual><referenceNumber>PL301010</referenceNumber></CustomsOfficeOfDestinationActual>"
    filing = read(message("007", OPERATION + DEPARTURE + destination, sender="t", recipient="NTA.PL")).events[1]
    assert isinstance(filing, FilingLodged)
    assert (filing.authority, filing.office) == ("PL", "PL301010")
    assert filing.offices == ("GB:GB000246",)


def test_a_prelodged_declaration_and_an_amendment_are_told() -> None:
    operation = "<TransitOperation><LRN>L</LRN><additionalDeclarationType>{}</additionalDeclarationType></TransitOperation>"
    for letter, prelodged in (("D", True), ("A", False)):
        filing = read(message("015", operation.format(letter) + DEPARTURE, sender="t")).events[1]
        assert isinstance(filing, FilingLodged)
        assert filing.prelodged is prelodged


def test_only_a_declaration_with_its_own_number_is_the_master_data() -> None:
    mrn_only = "<TransitOperation><MRN>23GB000246YHVFYMJ0</MRN></TransitOperation>"
    for number, operation, tentative in (("015", OPERATION, False), ("013", OPERATION, False), ("013", mrn_only, True), ("007", mrn_only, True),
                                         ("170", OPERATION, True), ("014", OPERATION, True)):
        declared = read(message(number, operation + DEPARTURE, sender="t")).events[0]
        assert isinstance(declared, ShipmentDeclared)
        assert declared.tentative is tentative, (number, operation)


def test_a_time_without_zone_takes_the_authoritys_and_is_refused_where_none_is_configured() -> None:
    data = message("028", OPERATION + DEPARTURE, prepared="2026-07-01T10:00:00")
    notice = read(data).events[1]
    assert notice.event_time == datetime(2026, 7, 1, 9, tzinfo=UTC)
    assert "EVENT_TIME_ZONE_ASSUMED" in notice.flags
    with pytest.raises(Refused) as caught:
        ncts5.read(data, received=RECEIVED, zones={})
    assert (caught.value.refusal.code, caught.value.refusal.path, caught.value.refusal.value) == (
        "MISSING_ZONE", "$.preparationDateAndTime", "2026-07-01T10:00:00")
    zoned = ncts5.read(message("028", OPERATION + DEPARTURE), received=RECEIVED, zones={})
    assert "EVENT_TIME_ZONE_ASSUMED" not in zoned.flags


def test_an_hour_that_the_clock_change_repeats_is_flagged() -> None:
    assert "EVENT_TIME_AMBIGUOUS" in read(message("028", OPERATION + DEPARTURE, prepared="2025-10-26T01:30:00")).flags
    assert "EVENT_TIME_AMBIGUOUS" not in read(message("028", OPERATION + DEPARTURE, prepared="2025-10-26T02:30:00")).flags


def test_a_wrong_mrn_is_flagged_and_kept() -> None:
    parsed = read(message("028", OPERATION.replace("YHVFYMJ0", "YHVFYMJ1") + DEPARTURE))
    assert "MRN_INVALID" in parsed.flags
    assert "MRN_INVALID" not in read(message("028", OPERATION + DEPARTURE)).flags


def test_seals_of_a_container_with_its_goods_only() -> None:
    item = ("<ConsignmentItem><declarationGoodsItemNumber>{0}</declarationGoodsItemNumber><Commodity><descriptionOfGoods>g{0}</descriptionOfGoods>"
            "<GoodsMeasure><grossMass>{0}00.5</grossMass></GoodsMeasure></Commodity></ConsignmentItem>")
    box = ("<TransportEquipment><containerIdentificationNumber>{}</containerIdentificationNumber><Seal><identifier>S{}</identifier></Seal>"
           "<GoodsReference><declarationGoodsItemNumber>{}</declarationGoodsItemNumber></GoodsReference></TransportEquipment>")
    inner = (f"{OPERATION}{DEPARTURE}<Consignment>{box.format('CSQU3054383', 1, 1)}{box.format('MZWU2146680', 2, 2)}"
             f"<HouseConsignment>{item.format(1)}{item.format(2)}{item.format(3)}</HouseConsignment></Consignment>")
    parsed = read(message("015", inner, sender="t"))
    filing = parsed.events[1]
    assert isinstance(filing, FilingLodged)
    assert [(b.container, b.seals, [g.description for g in b.goods], b.gross_kg) for b in filing.containers] == [
        ("CSQU3054383", ("S1",), ["g1"], 100.5), ("MZWU2146680", ("S2",), ["g2"], 200.5)]
    assert "g3" in filing.fields["goods"], "goods that no container is named for"
    assert "CONTAINER_NUMBER_INVALID" not in parsed.flags


def test_an_item_in_two_containers_is_named_in_both_without_a_mass_that_nobody_stated() -> None:
    box = ("<TransportEquipment><containerIdentificationNumber>{}</containerIdentificationNumber>"
           "<GoodsReference><declarationGoodsItemNumber>1</declarationGoodsItemNumber></GoodsReference></TransportEquipment>")
    item = ("<ConsignmentItem><declarationGoodsItemNumber>1</declarationGoodsItemNumber><Commodity><descriptionOfGoods>g</descriptionOfGoods>"
            "<GoodsMeasure><grossMass>100</grossMass></GoodsMeasure></Commodity></ConsignmentItem>")
    boxes = box.format("CSQU3054383") + box.format("MZWU2146680")
    inner = f"{OPERATION}{DEPARTURE}<Consignment>{boxes}<HouseConsignment>{item}</HouseConsignment></Consignment>"
    filing = read(message("015", inner, sender="t")).events[1]
    assert isinstance(filing, FilingLodged)
    assert [(b.gross_kg, [(g.description, g.gross_kg) for g in b.goods]) for b in filing.containers] == [(None, [("g", None)])] * 2


def test_a_small_message_cannot_make_a_huge_event() -> None:
    box = ("<TransportEquipment><containerIdentificationNumber>CSQU3054383</containerIdentificationNumber>"
           "<GoodsReference><declarationGoodsItemNumber>1</declarationGoodsItemNumber></GoodsReference></TransportEquipment>")
    item = "<ConsignmentItem><declarationGoodsItemNumber>1</declarationGoodsItemNumber></ConsignmentItem>"
    inner = f"{OPERATION}{DEPARTURE}<Consignment>{box * 1_000}<HouseConsignment>{item * 10_000}</HouseConsignment></Consignment>"
    parsed = read(message("015", inner, sender="t"))
    assert "GOODS_CUT" in parsed.flags
    assert max(len(codec.encode(event)) for event in parsed.events) < 1_000_000


BOMB = b'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + message("015", "<TransitOperation><LRN>&b;</LRN></TransitOperation>")
LEAK = b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + message("015", "<TransitOperation><LRN>&x;</LRN></TransitOperation>")


@pytest.mark.parametrize(("data", "code"), [
    (b"", "NOT_XML"), (b"<a>", "NOT_XML"), (b"{}", "NOT_XML"), (b"<a/>", "UNKNOWN_MESSAGE"), (BOMB, "XML_DOCTYPE"), (LEAK, "XML_DOCTYPE"),
    (BOMB.decode().encode("utf-16"), "XML_DOCTYPE"), (b"<a>" * 100_000, "NOT_XML"), (b"<" * (4 * 1024 * 1024 + 1), "TOO_LARGE"),
    (message("015", "", sender="x", recipient="y"), "NO_AUTHORITY"), (message("028", OPERATION, prepared="yesterday"), "BAD_TIME"),
    (message("028", OPERATION).replace(b"ncts.dgtaxud.ec", b"other"), "UNKNOWN_MESSAGE"),
    (message("028", OPERATION)[:-3], "NOT_XML"),
])
def test_what_is_no_message_is_refused_by_name(data: bytes, code: str) -> None:
    with pytest.raises(Refused) as caught:
        read(data)
    assert caught.value.refusal.code == code


def test_a_message_with_more_further_fields_than_the_limit_says_so() -> None:
    many = "".join(f"<AdditionalInformation><code>c{i}</code></AdditionalInformation>" for i in range(ncts5.FIELDS_MAX + 1))
    assert "FIELDS_CUT" in read(message("015", f"{OPERATION}{DEPARTURE}<Consignment>{many}</Consignment>", sender="t")).flags
    assert "FIELDS_CUT" not in read(message("015", OPERATION + DEPARTURE, sender="t")).flags


def test_events_of_a_message_survive_the_codec() -> None:
    for event in read(message("029", OPERATION + DEPARTURE)).events:
        assert codec.decode(codec.encode(event), type(event)) == event
