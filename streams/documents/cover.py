"""Which shipments a document covers: its own, those of the documents that it continues, those of the documents that it cites.

One number may name two documents (SMGS numbers repeat): then only issuer, station and date tell which is meant, and a reference that leaves
them out means neither.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from streams.documents.inputs import Behind, First, Inputs
from streams.kept import order
from topics.events.base import DocumentRef
from topics.events.trade import ShipmentDeclared
from topics.identifiers import document_key, shipment_id

CONTINUING = frozenset({"replaces", "continues", "split_of"})


class Cover(NamedTuple):
    """How a document covers a shipment."""

    scope: tuple[str, ...] = ()
    """Containers; empty = the whole shipment."""
    path: tuple[str, ...] = ()
    """Keys of the documents between the shipment's own and this one."""
    containers: tuple[str, ...] = ()
    """All containers of the shipment."""
    boxes: tuple[str, ...] = ()
    """Containers that its goods were loaded into or out of."""
    owners: tuple[str, ...] = ()
    """Parties whose declarations make the shipment."""
    continued: bool = False
    """This document continues the shipment, and somebody who may say so does: its goods are the shipment's."""

    def holds(self, container: str) -> bool:
        """Is this one of its containers, as far as known?"""
        return container in self.containers or container in self.boxes or container in self.scope


Covers = dict[str, Cover]
Trusted = Callable[[str], bool]
"""Railways and authorities: their word on what continues what counts for everybody."""


class Claim(NamedTuple):
    """That this document continues another."""

    ref: DocumentRef
    boxes: tuple[str, ...]
    """The containers that it takes over; empty = all."""
    by: tuple[str, ...]


class Variant(NamedTuple):
    """One document of this number."""

    marks: tuple[str, str, str]
    chosen: ShipmentDeclared
    """What counts of its declarations."""
    owner: str
    """Party whose declaration it is; empty when it is only mentioned."""
    first: First

    @property
    def shipment(self) -> str:
        return shipment_id(self.chosen.document)


def marks_of(document: DocumentRef) -> tuple[str, str, str]:
    """Issuer, station and date: what tells two documents of one number apart."""
    return document.issuer.upper(), document.station.upper(), document.date


def _agree(one: tuple[str, str, str], other: tuple[str, str, str]) -> bool:
    return all(a == b or not a or not b for a, b in zip(one, other, strict=True))


class Coverage:
    """What the inputs under a number say of the shipments behind it."""

    __slots__ = ("ambiguous", "bound", "claims", "continuing", "key", "loads", "trusted", "variants")

    def __init__(self, key: str, inputs: Inputs, kept: dict[str, Behind], trusted: Trusted) -> None:
        self.key, self.trusted = key, trusted
        self.ambiguous = False
        self.variants = self._variants(inputs)
        self.loads = [(e.document, {e.container, e.replaces} - {""}) for e in inputs.loads.values()]
        self.claims = self._claims(inputs)
        """By key: what this document continues, as its own owner, a railway or an authority says; where nobody has declared it, as anybody
        says. Whether it does is decided where the shipment's owner is known."""
        self.continuing = bool(self.claims)
        self.bound = self._bound(inputs, kept)

    @property
    def owners(self) -> tuple[str, ...]:
        """Parties that declare this document."""
        return tuple(sorted({v.owner for v in self.variants if v.owner}))

    def _claims(self, inputs: Inputs) -> dict[str, Claim]:
        said: list[Claim] = [
            Claim(link.other, self._boxes() if link.relation == "split_of" else (), (link.source,))
            for _, link in sorted(inputs.links.items()) if link.relation in CONTINUING]
        said += [Claim(ref, (), (v.chosen.source,)) for v in self.variants for ref in v.chosen.continues]
        found: dict[str, Claim] = {}
        for claim in said:
            name = document_key(claim.ref)
            held = found.get(name)
            found[name] = claim if held is None else Claim(claim.ref, claim.boxes, tuple(sorted({*held.by, *claim.by})))
        found.pop(self.key, None)
        owners = self.owners
        return {name: c for name, c in found.items() if not owners or any(p in owners or self.trusted(p) for p in c.by)}

    def _boxes(self) -> tuple[str, ...]:
        return tuple(sorted({box.container for v in self.variants for box in v.chosen.containers if box.container}))

    def _variants(self, inputs: Inputs) -> list[Variant]:
        """Documents of this number, the most telling declarations first. What agrees with two of them says nothing of either."""
        by_marks: dict[tuple[str, str, str], list[str]] = {}
        for name, declared in inputs.declared.items():
            by_marks.setdefault(marks_of(declared.document), []).append(name)
        groups: list[tuple[list[tuple[str, str, str]], list[str]]] = []
        for marks in sorted(by_marks, key=lambda m: (sum(1 for part in m if not part), m)):
            fitting = [g for g in groups if all(_agree(marks, other) for other in g[0])]
            if len(fitting) > 1:
                self.ambiguous = True
            elif fitting:
                fitting[0][0].append(marks)
                fitting[0][1].extend(by_marks[marks])
            else:
                groups.append(([marks], list(by_marks[marks])))
        return [_variant(inputs, marks[0], sorted(names)) for marks, names in groups]

    def _bound(self, inputs: Inputs, kept: dict[str, Behind]) -> Covers:
        found: Covers = {s: Cover(b.scope, ("",), b.containers, b.boxes, b.owners, b.continued) for s, b in kept.items()}
        for bound in sorted(inputs.bounds.values(), key=lambda b: (len(b.path), b.path, b.via)):
            continued = self._consents(bound.by)
            if bound.withdrawn or self.key in bound.path or not (bound.cites or continued):
                continue
            held = found.get(bound.shipment, Cover(bound.scope, bound.path, bound.containers))
            scope = tuple(sorted({*held.scope, *bound.scope})) if held.scope and bound.scope else ()
            owners = {*held.owners, *bound.owners, *(self.owners if continued else ())}
            found[bound.shipment] = Cover(
                scope, held.path, held.containers or bound.containers, tuple(sorted({*held.boxes, *bound.boxes})), tuple(sorted(owners)),
                held.continued or continued)
        if len(found) == 1:
            found = {s: c._replace(boxes=tuple(sorted({*c.boxes, *self._loaded(None)}))) for s, c in found.items()}
        return found

    def _consents(self, by: tuple[str, ...]) -> bool:
        """Its goods become part of a shipment only by a word of who declared it, or of a railway or authority."""
        return bool(by) and (not self.owners or any(p in self.owners or self.trusted(p) for p in by))

    def _loaded(self, v: Variant | None) -> set[str]:
        """Containers loaded or unloaded under this number, of one of its documents."""
        return {box for ref, boxes in self.loads if v is None or _agree(v.marks, marks_of(ref)) for box in boxes}

    @property
    def roots(self) -> list[Variant]:
        """Variants that make a shipment of their own: nothing says that they continue or belong to another document."""
        return [] if self.continuing or self.bound else self.variants

    def all(self) -> Covers:
        """Every shipment behind this number."""
        return {**self.bound, **{v.shipment: self._own(v) for v in self.roots}}

    def of(self, document: DocumentRef | None) -> Covers | None:
        """The shipments behind this reference. None when it may mean two documents; empty when nothing is known."""
        roots = self.roots
        if not roots:
            return self.bound
        marks = marks_of(document) if document is not None and document_key(document) == self.key else ("", "", "")
        fitting = [v for v in roots if v.marks == marks] or [v for v in roots if _agree(v.marks, marks)]
        if len(fitting) > 1:
            return None
        return {v.shipment: self._own(v) for v in fitting}

    def _own(self, v: Variant) -> Cover:
        return Cover(containers=tuple(sorted(box.container for box in v.chosen.containers if box.container)),
                     boxes=tuple(sorted(self._loaded(v))), owners=(v.owner,) if v.owner else ())


def _variant(inputs: Inputs, marks: tuple[str, str, str], names: Iterable[str]) -> Variant:
    firm = [n for n in names if not inputs.declared[n].tentative]
    firsts = {n: inputs.first[f"declared|{n}"] for n in names}
    if firm:
        chosen = min(firm, key=lambda n: (firsts[n].at, inputs.declared[n].source, n))
        owner = inputs.declared[chosen].source
        mine = [n for n in firm if inputs.declared[n].source == owner]
        best = max((inputs.declared[n] for n in mine), key=order)
        return Variant(marks, best, owner, min((firsts[n] for n in mine), key=lambda f: (f.at, f.id)))
    best = max((inputs.declared[n] for n in names), key=order)
    return Variant(marks, best, "", min(firsts.values(), key=lambda f: (f.at, f.id)))


def narrowed(cover: Cover, asked: tuple[str, ...]) -> tuple[str, ...]:
    """The part of a cover that somebody asks for: all of it when they name no containers, or all of them."""
    if not asked or (cover.containers and set(cover.containers) <= set(asked)):
        return cover.scope
    mine = set(cover.scope or cover.containers)
    common = tuple(sorted(set(asked) & mine))
    return common or tuple(sorted(asked))

