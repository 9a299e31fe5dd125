"""Several numbers of one document (LRN, MRN, national number): which of them is the canonical one.

Every number tells the others that it was stated with the best claim it knows of. Claims only get better, so whatever the order of messages
all numbers settle on one: the earliest filed; without a filing the one that a message names as its document; then by name.
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


class Claim(NamedTuple):
    """A number's claim to be the canonical one; the smallest wins."""

    filed_at: int
    unnamed: bool
    key: str


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
    return Claim(min(filed, default=NEVER_FILED), not named, key)


def best_claim(key: str, own: Inputs, aliases: Mapping[str, AliasFound]) -> Claim:
    """The best claim that this number knows of."""
    told = (Claim(NEVER_FILED if a.filed_at is None else a.filed_at, not a.named, document_key(a.claim)) for a in aliases.values() if not a.withdrawn)
    return min((own_claim(key, own), *told))


def other_numbers(key: str, inputs: Inputs, aliases: Mapping[str, AliasFound]) -> dict[str, Edge]:
    """Keys of the other numbers that were stated together with this one."""
    found: dict[str, Edge] = {}

    def add(edge: Edge) -> None:
        other = document_key(edge.ref)
        if other != key and (other not in found or edge[:2] < found[other][:2]):
            found[other] = edge

    for notice in inputs.notices.values():
        if notice.aliases:
            for ref in (notice.document, *notice.aliases):
                if ref is not None:
                    add(Edge(at_of(notice), notice.source, ref))
    for filing in inputs.filings.values():
        if filing.mrn:
            add(Edge(at_of(filing), filing.source, DocumentRef(kind=filing.kind, number=filing.mrn)))
    for link in inputs.links.values():
        if link.relation == "alias":
            add(Edge(at_of(link), link.source, link.other))
    for told in aliases.values():
        if not told.withdrawn:
            add(Edge(told.at, told.source, told.other))
    return found


def tell_others(key: str, claim: Claim, others: Mapping[str, Edge], limited: tuple[str, ...]) -> list[Saying]:
    """The best claim, to every other number; and of which authorities words were left out under any of them."""
    me = ref_of(key)
    found = []
    for other, edge in sorted(others.items()):
        said = AliasFound(document=ref_of(other), other=me, at=edge.at, source=edge.source, claim=ref_of(claim.key),
                          filed_at=None if claim.filed_at == NEVER_FILED else claim.filed_at, named=not claim.unnamed,
                          limited=limited)
        gone = AliasFound(document=ref_of(other), other=me, at=edge.at, source=edge.source, claim=me, withdrawn=True)
        found.append(Saying(DOCUMENTS, other, f"alias|{key}", said, gone))
    return found
