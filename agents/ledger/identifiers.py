"""Which outside identifiers a fact or message ties to a shipment: what `railclear status ANY-ID` finds. Pure."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from topics import codec
from topics.events.customs import CustomsNotice
from topics.events.internal import AliasFound
from topics.events.trade import DocumentLinked, FilingLodged
from topics.facts import Fact
from topics.identifiers import compact


def lookup(value: str) -> str:
    """How identifiers are compared: in capitals, without blanks and hyphens."""
    return compact(value)


def identifiers(fact: Fact) -> list[tuple[str, str]]:
    """(kind, value) of everything in this fact by which people may ask for its shipment."""
    head = fact.key[0] if fact.key else ""
    found: list[tuple[str, str]] = []
    if head == "bound" and fact.scope:
        found.append(("container", fact.scope.partition("/")[0]))
    elif head in ("doc", "filing") and len(fact.key) >= 3:
        found.append((fact.key[1], fact.key[2]))
        if isinstance(fact.value, dict):
            # Not its containers: a manifest names every box of the train, and each would mean every shipment on it.
            found += [(fact.key[1], number) for name in ("number", "mrn", "official") for number in _texts(fact.value.get(name))]
    elif head == "run" and isinstance(fact.value, str):
        found.append(("run", fact.value))
    elif head == "shipment" and isinstance(fact.value, dict):
        document = fact.value.get("document")
        if isinstance(document, dict) and document.get("number"):
            found.append((str(document.get("kind", "document")), str(document["number"])))
        found += _containers(fact.value)
    return [pair for pair in dict.fromkeys(found) if pair[1]]


def _texts(value: object) -> list[str]:
    if isinstance(value, list):
        return [text for text in value if isinstance(text, str)]
    return [value] if isinstance(value, str) else []


def _containers(content: dict[str, Any]) -> list[tuple[str, str]]:
    listed = content.get("containers")
    if not isinstance(listed, list):
        return []
    return [("container", str(box["container"])) for box in listed if isinstance(box, dict) and box.get("container")]


def _of_notice(data: bytes) -> list[tuple[str, str]]:
    said: CustomsNotice = codec.decode(data, CustomsNotice)
    return [(said.document.number, other.number) for other in said.aliases] if said.document else []


def _of_filing(data: bytes) -> list[tuple[str, str]]:
    said: FilingLodged = codec.decode(data, FilingLodged)
    return [(said.number, said.mrn)] if said.mrn else []


def _of_alias(data: bytes) -> list[tuple[str, str]]:
    said: AliasFound = codec.decode(data, AliasFound)
    return [] if said.withdrawn else [(said.document.number, said.other.number)]


def _of_link(data: bytes) -> list[tuple[str, str]]:
    said: DocumentLinked = codec.decode(data, DocumentLinked)
    return [(said.document.number, said.other.number)] if said.relation == "alias" else []


_ALIASES: Final[dict[str, Callable[[bytes], list[tuple[str, str]]]]] = {
    "customs.notice": _of_notice, "filing.lodged": _of_filing, "document.alias": _of_alias, "document.linked": _of_link,
}


def aliases_of(kind: str, data: bytes) -> list[tuple[str, str]]:
    """Pairs of numbers, as they are looked up, that name one document. Raises topics.codec.Refused."""
    read = _ALIASES.get(kind)
    pairs = [(lookup(a), lookup(b)) for a, b in read(data)] if read else []
    return [(a, b) for a, b in pairs if a and b and a != b]
