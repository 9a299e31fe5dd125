"""Which shipments a document covers: its own, those of the documents that it continues, those of the documents that it cites.

One number may name two documents (SMGS numbers repeat): then only issuer, station and date tell which is meant, and a reference that leaves
them out means neither.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from streams.documents.inputs import First, Inputs
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


Covers = dict[str, Cover]


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

    __slots__ = ("ambiguous", "asks", "bound", "continuing", "key", "variants")

    def __init__(self, key: str, inputs: Inputs, kept: dict[str, tuple[str, ...]]) -> None:
        self.key = key
        self.ambiguous = False
        self.variants = self._variants(inputs)
        self.bound = self._bound(inputs, kept)
        self.asks: dict[str, tuple[DocumentRef, tuple[str, ...]]] = {}
        """Documents that this one continues, with the containers that it takes over."""
        for link in inputs.links.values():
            if link.relation in CONTINUING:
                boxes = self._boxes() if link.relation == "split_of" else ()
                self.asks[document_key(link.other)] = (link.other, boxes)
        for v in self.variants:
            self.asks.update({document_key(ref): (ref, ()) for ref in v.chosen.continues})
        self.asks.pop(key, None)
        self.continuing = bool(self.asks)

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

    def _bound(self, inputs: Inputs, kept: dict[str, tuple[str, ...]]) -> Covers:
        found: Covers = {shipment: Cover(scope, ("",)) for shipment, scope in kept.items()}
        for bound in sorted(inputs.bounds.values(), key=lambda b: (len(b.path), b.path, b.via)):
            if bound.withdrawn or self.key in bound.path:
                continue
            held = found.get(bound.shipment)
            if held is None:
                found[bound.shipment] = Cover(bound.scope, bound.path, bound.containers)
            else:
                scope = tuple(sorted({*held.scope, *bound.scope})) if held.scope and bound.scope else ()
                found[bound.shipment] = Cover(scope, held.path, held.containers or bound.containers)
        return found

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
        return Cover(containers=tuple(sorted(box.container for box in v.chosen.containers if box.container)))


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

