"""One type per identifier: parse once at the edge, or refuse with the reason. And the keys and ids that are ours.

Patterns and check digits: domain reference 4.1. Keys join what the folds group by; ids of ours are hashes of the outside number
with its issuer, station and date, so that anybody who knows the document finds the same id.
"""
from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import date as Date
from typing import Final, Literal, NewType

import msgspec
from stdnum import luhn
from stdnum.cn import uscc
from stdnum.exceptions import InvalidChecksum, ValidationError

from topics.events.base import DocumentRef, TrainRef

ContainerNumber = NewType("ContainerNumber", str)
MRN = NewType("MRN", str)
LRN = NewType("LRN", str)
UicWagonNumber = NewType("UicWagonNumber", str)
Wagon1520Number = NewType("Wagon1520Number", str)
ChineseWagonNumber = NewType("ChineseWagonNumber", str)
EsrStation = NewType("EsrStation", str)
Uscc = NewType("Uscc", str)
Eori = NewType("Eori", str)
AeoCn = NewType("AeoCn", str)
CustomsOffice = NewType("CustomsOffice", str)
EaeuDeclarationNumber = NewType("EaeuDeclarationNumber", str)
PreliminaryInformationNumber = NewType("PreliminaryInformationNumber", str)
SmgsNumber = NewType("SmgsNumber", str)
TirCarnet = NewType("TirCarnet", str)
ShipmentId = NewType("ShipmentId", str)
RunId = NewType("RunId", str)
DocumentKey = NewType("DocumentKey", str)
TrainKey = NewType("TrainKey", str)
SideId = NewType("SideId", str)
CrossingId = NewType("CrossingId", str)

ID_CHARS: Final = 12
"""Base32 characters after the prefix: 60 bits, so a million shipments collide with probability below one in two million."""


class BadIdentifier(ValueError):
    """A text is not the identifier that it should be: which, the value, the reason, and whether only its check character fails."""

    def __init__(self, identifier: str, value: str, reason: str, *, check: bool = False) -> None:
        self.identifier, self.value, self.reason, self.check = identifier, value, reason, check
        super().__init__(f"{identifier} {value!r}: {reason}")


_SEPARATORS = re.compile(r"[\s\-]+")
ISO6346 = {char: value for value, char in enumerate("0123456789A BCDEFGHIJK LMNOPQRSTU VWXYZ") if char != " "}
"""Character values of ISO 6346: A is 10, multiples of 11 are left out, Z is 38. MRNs use the same."""


def compact(text: str) -> str:
    """Upper case, without blanks and hyphens: how numbers of wagons, containers and stations are compared."""
    return _SEPARATORS.sub("", text).upper()


def _shaped(identifier: str, value: str, pattern: str, shape: str) -> str:
    if not re.fullmatch(pattern, value, re.ASCII):
        raise BadIdentifier(identifier, value, f"not of the shape {shape}")
    return value


def _checked(identifier: str, value: str, expected: str, stated: str) -> None:
    if expected != stated:
        raise BadIdentifier(identifier, value, f"check character is {stated}, should be {expected}", check=True)


def _iso6346_sum(text: str) -> str:
    return str(sum(ISO6346[char] << i for i, char in enumerate(text)) % 11 % 10)


def parse_container(text: str) -> ContainerNumber:
    """ISO 6346 number: three letters of the owner, category U, J or Z, six digits, check digit."""
    value = _shaped("container", compact(text), r"[A-Z]{3}[UJZ]\d{7}", "AAAU1234567")
    _checked("container", value, _iso6346_sum(value[:-1]), value[-1])
    return ContainerNumber(value)


def parse_mrn(text: str) -> MRN:
    """Movement reference number of the EU and the common transit convention: 18 characters, the last a check digit by ISO 6346.

    An MRN of the fallback procedure ends in F and has no check digit.
    """
    value = _shaped("mrn", compact(text), r"\d{2}[A-Z]{2}[A-Z0-9]{13}[0-9F]", "two digits, country, 13 characters, check digit")
    if value[-1] != "F":
        _checked("mrn", value, _iso6346_sum(value[:-1]), value[-1])
    return MRN(value)


def parse_uic_wagon(text: str) -> UicWagonNumber:
    """UIC wagon number, 12 digits, Luhn."""
    value = _shaped("uic_wagon", compact(text), r"\d{12}", "12 digits")
    _checked("uic_wagon", value, luhn.calc_check_digit(value[:-1]), value[-1])
    return UicWagonNumber(value)


def parse_1520_wagon(text: str) -> Wagon1520Number:
    """Wagon number of the 1520 mm railways, 8 digits: weights 2,1,2,1,2,1,2, sum of the digits of the products, complement to 10."""
    value = _shaped("1520_wagon", compact(text), r"[2-9]\d{7}", "8 digits, the first 2 to 9")
    _checked("1520_wagon", value, luhn.calc_check_digit(value[:-1]), value[-1])
    return Wagon1520Number(value)


def parse_chinese_wagon(text: str) -> ChineseWagonNumber:
    """Chinese wagon number, 7 digits; no check digit is known."""
    return ChineseWagonNumber(_shaped("chinese_wagon", compact(text), r"\d{7}", "7 digits"))


def parse_wagon(text: str) -> str:
    """Any of the three wagon numbers, told apart by length. Raises BadIdentifier."""
    value = compact(text)
    parsers: dict[int, Callable[[str], str]] = {7: parse_chinese_wagon, 8: parse_1520_wagon, 12: parse_uic_wagon}
    if len(value) not in parsers:
        raise BadIdentifier("wagon", value, "neither 7, 8 nor 12 digits")
    return parsers[len(value)](value)


def _esr_sum(digits: str, first: int) -> int:
    return sum(int(digit) * (first + i) for i, digit in enumerate(digits)) % 11


def parse_esr(text: str) -> EsrStation:
    """ESR station code (1520 mm network): five digits and a check digit by weights 1..5, then 3..7, modulo 11."""
    value = _shaped("esr", compact(text), r"\d{6}", "6 digits")
    check = _esr_sum(value[:5], 1)
    if check == 10:
        check = _esr_sum(value[:5], 3) % 10
    _checked("esr", value, str(check), value[-1])
    return EsrStation(value)


def parse_uscc(text: str) -> Uscc:
    """Unified social credit code of a Chinese trader, 18 characters."""
    try:
        return Uscc(uscc.validate(compact(text)))
    except InvalidChecksum as error:
        raise BadIdentifier("uscc", text, "check character is wrong", check=True) from error
    except ValidationError as error:
        raise BadIdentifier("uscc", text, "not of the shape of a unified social credit code") from error


def parse_eori(text: str) -> Eori:
    """EORI number: country and 1 to 15 characters, no check digit."""
    return Eori(_shaped("eori", compact(text), r"[A-Z]{2}[A-Z0-9]{1,15}", "country and 1 to 15 characters"))


def parse_aeo_cn(text: str) -> AeoCn:
    """AEO code as China Customs gives it abroad: AEOCN and the 10-character customs registration."""
    return AeoCn(_shaped("aeo_cn", compact(text), r"AEOCN[A-Z0-9]{10}", "AEOCN and 10 characters"))


def parse_office(text: str) -> CustomsOffice:
    """EU and common transit customs office: country and six characters."""
    return CustomsOffice(_shaped("office", text.strip().upper(), r"[A-Z]{2}[A-Z0-9]{6}", "country and 6 characters"))


def _ddmmyy(identifier: str, value: str, digits: str) -> None:
    try:
        Date(2000 + int(digits[4:]), int(digits[2:4]), int(digits[:2]))
    except ValueError as error:
        raise BadIdentifier(identifier, value, f"{digits} is no day (DDMMYY)") from error


def parse_eaeu_declaration(text: str) -> EaeuDeclarationNumber:
    """EAEU declaration number `customs/DDMMYY/NNNNNNN`; the customs code has 8 digits in RU, 5 in BY, KZ and KG, 2 in AM."""
    value = _shaped("eaeu_declaration", text.strip().upper(), r"(\d{8}|\d{5}|\d{2})/\d{6}/[A-ZА-Я0-9]\d{6}", "customs/DDMMYY/NNNNNNN")
    _ddmmyy("eaeu_declaration", value, value.split("/")[1])
    return EaeuDeclarationNumber(value)


def parse_pi(text: str) -> PreliminaryInformationNumber:
    """Registration number of EAEU preliminary information (ПИ) `XX/DDMMYY/NNNNNNNNN`, XX the country."""
    value = _shaped("pi", text.strip().upper(), r"[A-Z]{2}/\d{6}/\d{9}", "XX/DDMMYY/NNNNNNNNN")
    _ddmmyy("pi", value, value.split("/")[1])
    return PreliminaryInformationNumber(value)


def parse_smgs(text: str) -> SmgsNumber:
    """SMGS shipment number (№ отправки), 8 digits. It repeats: station and date tell two of them apart."""
    return SmgsNumber(_shaped("smgs", compact(text), r"\d{8}", "8 digits"))


def parse_lrn(text: str) -> LRN:
    """Local reference number: up to 22 characters that the filer chose."""
    return LRN(_shaped("lrn", text.strip(), r"[!-z]{1,22}", "1 to 22 printable characters"))


def parse_tir(text: str) -> TirCarnet:
    """TIR carnet number: two letters and eight digits."""
    return TirCarnet(_shaped("tir", compact(text), r"[A-Z]{2}\d{8}", "two letters and 8 digits"))


SideKind = Literal["EXIT", "ENTRY", "OFFICE", "TERRITORY"]


class Side(msgspec.Struct, frozen=True):
    """A side id taken apart: an authority's post at a crossing, an office, or its territory."""

    kind: SideKind
    authority: str
    crossing: str = ""
    office: str = ""

    @property
    def id(self) -> SideId:
        if self.kind == "TERRITORY":
            return SideId(f"{self.authority}:TERRITORY")
        return SideId(f"{self.crossing or self.office}:{self.authority}:{self.kind}")


def side_id(crossing: str, authority: str, kind: Literal["EXIT", "ENTRY"]) -> SideId:
    """`CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY`."""
    return Side(kind, authority, crossing=crossing).id


def office_side(office: str, authority: str) -> SideId:
    """`PL301010:PL:OFFICE`."""
    return Side("OFFICE", authority, office=office).id


def territory_side(authority: str) -> SideId:
    """`RU:TERRITORY`."""
    return Side("TERRITORY", authority).id


def parse_crossing(text: str) -> CrossingId:
    """`CN-KZ-ALASHANKOU-DOSTYK`: the two countries and the two stations, upper case."""
    return CrossingId(_shaped("crossing", text, r"[A-Z]{2}-[A-Z]{2}(-[A-Z0-9]+)+", "CN-KZ-STATION-STATION"))


def parse_side(text: str) -> Side:
    """Take a side id apart. Raises BadIdentifier."""
    parts = text.split(":")
    if len(parts) == 2 and parts[1] == "TERRITORY":
        return Side("TERRITORY", _shaped("side", parts[0], r"[A-Z]{2}", "AUTHORITY:TERRITORY"))
    if len(parts) == 3 and re.fullmatch(r"[A-Z]{2}", parts[1]) and parts[0]:
        if parts[2] == "EXIT" or parts[2] == "ENTRY":
            return Side("EXIT" if parts[2] == "EXIT" else "ENTRY", parts[1], crossing=parse_crossing(parts[0]))
        if parts[2] == "OFFICE":
            return Side("OFFICE", parts[1], office=parts[0])
    raise BadIdentifier("side", text, "not of the shape PLACE:AUTHORITY:KIND")


def document_key(document: DocumentRef) -> DocumentKey:
    """`kind:number`, the key of documents.in. Numbers are compared in upper case and without blanks around them."""
    return DocumentKey(f"{document.kind}:{' '.join(document.number.upper().split())}")


def train_name(railway: str, number: str, date: str) -> TrainKey:
    """`railway/number/date`, the key of trains.in."""
    return TrainKey(f"{railway}/{number}/{date}")


def train_key(train: TrainRef) -> TrainKey:
    """`railway/number/date`: the name of a train. Two trains of one name and day share the key and are told apart by origin."""
    return train_name(train.railway, train.number, train.date)


def _hashed(prefix: str, *parts: str) -> str:
    data = "\x1f".join(" ".join(part.upper().split()) for part in parts).encode()
    return prefix + base64.b32encode(hashlib.blake2b(data, digest_size=8).digest()).decode()[:ID_CHARS]


def run_id(railway: str, number: str, date: str, origin: str = "") -> RunId:
    """Id of a train run: R and 12 base32 characters."""
    return RunId(_hashed("R", "run", railway, number, date, origin))


def shipment_id(document: DocumentRef) -> ShipmentId:
    """Id of the shipment that first moves under this transport document: S and 12 base32 characters."""
    return ShipmentId(_hashed("S", document.kind, document.issuer, document.station, document.date, document.number))


def yard_run(place: str) -> RunId:
    """Pseudo-run of the boxes that stand in a yard."""
    return RunId(f"yard:{place}")


def parse_shipment_id(text: str) -> ShipmentId:
    """Our shipment id."""
    return ShipmentId(_shaped("shipment", text.strip().upper(), r"S[A-Z2-7]{12}", "S and 12 characters"))


def parse_run_id(text: str) -> RunId:
    """Our train run id, or a yard's pseudo-run."""
    text = text.strip()
    if re.fullmatch(r"yard:\S+", text):
        return RunId(text)
    return RunId(_shaped("run", text.upper(), r"R[A-Z2-7]{12}", "R and 12 characters"))


def parse_train_key(text: str) -> TrainKey:
    """`railway/number/date`."""
    return TrainKey(_shaped("train", text.strip(), r"[a-z0-9][a-z0-9-]*/[A-Z0-9][A-Z0-9/-]*/\d{4}-\d{2}-\d{2}", "railway/number/date"))


def parse_document_key(text: str) -> DocumentKey:
    """`kind:number`."""
    return DocumentKey(_shaped("document", text.strip(), r"[a-z][a-z0-9_]{0,39}:\S.*", "kind:number"))


PARSERS: Final[dict[str, Callable[[str], str]]] = {
    "shipment": parse_shipment_id,
    "run": parse_run_id,
    "container": parse_container,
    "mrn": parse_mrn,
    "uic_wagon": parse_uic_wagon,
    "1520_wagon": parse_1520_wagon,
    "chinese_wagon": parse_chinese_wagon,
    "esr": parse_esr,
    "uscc": parse_uscc,
    "aeo_cn": parse_aeo_cn,
    "office": parse_office,
    "eaeu_declaration": parse_eaeu_declaration,
    "pi": parse_pi,
    "smgs": parse_smgs,
    "tir": parse_tir,
    "crossing": parse_crossing,
    "side": lambda text: parse_side(text).id,
    "train": parse_train_key,
    "document": parse_document_key,
    "eori": parse_eori,
    "lrn": parse_lrn,
}
"""Every identifier by its kind, the most telling first."""


def classify(text: str) -> list[str]:
    """Which identifiers a text could be, the most telling first: for `railclear status ANY-ID`. Empty when it is none."""
    found = []
    for kind, parse in PARSERS.items():
        try:
            parse(text)
        except BadIdentifier:
            continue
        found.append(kind)
    return found
