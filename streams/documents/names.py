"""Several numbers of one document (LRN, MRN, national number): which of them is the canonical one.

Every number tells the others that it was stated with the best claim it knows of. Whatever the order of messages all numbers settle on one: the earliest
filed; without a filing the one that a message names as its document; then by name. What was stated may be masked, and is then no longer stated: so a
claim says by which numbers it came, and nobody believes one that came through himself; and who only heard that two numbers are one is no evidence of it.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from streams.derived import Saying
from streams.documents.inputs import Inputs
from streams.kept import at_of
from topics.events.base import DocumentRef
from topics.events.internal import AliasFound
from topics.identifiers import document_key

DOCUMENTS = "documents.in"
NEVER_FILED = 1 << 62
VIA_MAX = 32
"""Numbers through which a claim may come; a document has two or three [D]."""


class Claim(NamedTuple):
    """A number's claim to be the canonical one; the smallest wins."""

    filed_at: int
    unnamed: bool
    key: str
    via: tuple[str, ...]
    """Keys of the numbers by which it came, the claimant first."""


class Edge(NamedTuple):
    """Another number of the same document, and who said so first."""

    at: int
    source: str
    ref: DocumentRef


def ref_of(key: str) -> DocumentRef:
    """The document of a key."""
    kind, _, number = key.partition(":")
    return DocumentRef(kind=kind, number=number)


def own_claim(key: str, own: Inputs) -> Claim:
    """What speaks for this number: when something was first filed or declared under it, and whether a message names it beside others."""
    filed = [f.at for name, f in own.first.items() if name.startswith("filing|") or (name.startswith("declared|") and not name.endswith("|t"))]
    named = any(n.aliases and n.document is not None and document_key(n.document) == key for n in own.notices.values())
    return Claim(min(filed, default=NEVER_FILED), not named, key, (key,))


def best_claim(key: str, own: Inputs, aliases: Mapping[str, AliasFound]) -> Claim:
    """The best claim that this number knows of; of several ways by which it came the shortest."""
    told = (Claim(NEVER_FILED if a.filed_at is None else a.filed_at, not a.named, document_key(a.claim), (*a.via, key))
            for a in aliases.values() if not a.withdrawn and key not in a.via and len(a.via) < VIA_MAX)
    return min((own_claim(key, own), *told), key=lambda claim: (*claim[:3], len(claim.via), claim.via))


def stated_numbers(key: str, inputs: Inputs) -> dict[str, Edge]:
    """Keys of the other numbers that were stated together with this one under it, or under a number that hands on to it."""
    found: dict[str, Edge] = {}
    for notice in inputs.notices.values():
        if notice.aliases:
            for ref in (notice.document, *notice.aliases):
                if ref is not None:
                    _add(found, key, Edge(at_of(notice), notice.source, ref))
    for filing in inputs.filings.values():
        if filing.mrn:
            _add(found, key, Edge(at_of(filing), filing.source, DocumentRef(kind=filing.kind, number=filing.mrn)))
    for link in inputs.links.values():
        if link.relation == "alias":
            _add(found, key, Edge(at_of(link), link.source, link.other))
    return found


def other_numbers(key: str, stated: Mapping[str, Edge], aliases: Mapping[str, AliasFound]) -> dict[str, Edge]:
    """These, and the numbers under which this one was stated."""
    found = dict(stated)
    for told in aliases.values():
        if not (told.withdrawn or told.told):
            _add(found, key, Edge(told.at, told.source, told.other))
    return found


def _add(found: dict[str, Edge], key: str, edge: Edge) -> None:
    """Who said so first counts."""
    other = document_key(edge.ref)
    if other != key and (other not in found or edge[:2] < found[other][:2]):
        found[other] = edge


def tell_others(key: str, claim: Claim, others: Mapping[str, Edge], stated: Mapping[str, Edge], limited: tuple[str, ...]) -> list[Saying]:
    """The best claim, to every other number, and of which authorities words were left out. `stated`: those for which there is evidence here."""
    me = ref_of(key)
    found = []
    for other, edge in sorted(others.items()):
        said = AliasFound(document=ref_of(other), other=me, at=edge.at, source=edge.source, claim=ref_of(claim.key),
                          filed_at=None if claim.filed_at == NEVER_FILED else claim.filed_at, named=not claim.unnamed,
                          limited=limited, via=claim.via, told=other not in stated)
        gone = AliasFound(document=ref_of(other), other=me, at=edge.at, source=edge.source, claim=me, withdrawn=True)
        found.append(Saying(DOCUMENTS, other, f"alias|{key}", said, gone))
    return found
