"""The transport documents of a shipment: which declares its route, which its goods, and the others to compare with (SMGS, then CIM)."""
from __future__ import annotations

import msgspec

from streams.rules.case import Content, Lodged, Trip, boxes_in
from topics.events.base import DocumentRef
from topics.facts import Fact
from topics.identifiers import shipment_id


def declared(trip: Trip) -> None:
    """Sets `declared` and `notes`. The goods are as the newest document that names their box says them; the route is that of the document under which the
    shipment began, because a note that continues it (CIM after SMGS) knows its own leg only."""
    said = sorted((f for f in trip.facts if f.key[0] == "shipment" and isinstance(f.value, dict)), key=lambda f: (f.at, f.record, f.source, f.id))
    if not said:
        return
    newest = said[-1]
    content = _content(newest)
    if len(said) > 1:
        root = _content(_root(trip, said))
        whole = [_content(f) for f in said]
        content = {
            **root, **content,
            **{name: root[name] for name in ("corridor", "direction", "crossings", "document") if name in root},
            "offices": [o for c in whole for o in c.get("offices", ())], "enrolments": [e for c in whole for e in c.get("enrolments", ())],
            "procedures": {a: p for c in whole for a, p in (c.get("procedures") or {}).items()},
            "containers": list({str(box.get("container", "")): box for c in whole for box in c.get("containers", ())}.values())}
        content["direction"] = root.get("direction", "west")
        trip.notes = [_note(f) for f in said if f is not newest]
    trip.declared = content


def _content(fact: Fact) -> Content:
    return fact.value if isinstance(fact.value, dict) else {}


def _root(trip: Trip, said: list[Fact]) -> Fact:
    """The document that the shipment's id comes from, else the first."""
    for fact in said:
        try:
            document = msgspec.convert(_content(fact).get("document"), DocumentRef)
        except msgspec.ValidationError:
            continue
        if shipment_id(document) == trip.id:
            return fact
    return said[0]


def _note(fact: Fact) -> Lodged:
    content: Content = _content(fact)
    document = content.get("document") or {}
    return Lodged(kind=str(document.get("kind", "note")), number=str(document.get("number", "")), authority="", content=content, source=fact.source,
                  at=fact.at, evidence=fact.id, by_box=boxes_in(content))
