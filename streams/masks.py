"""Masks of retracted feeds: what a source said of a span of time counts as absent, in every fold alike, until the mask is lifted.

A mask concerns everybody, so the runner keeps it per partition beside the keys (`World.broadcasts`). A fold keeps its inputs in two layers of one
shape: those that count, and those that a mask covers. Each is the same merge, so arrival order is all one: an input that comes under a mask goes
into the layer set aside, and when the masks change both layers are dealt out anew. A slot that holds only the highest has forgotten what a
masked input overwrote; that is sent again from the ledger after the mask (agents/operations) and finds the slot free. Lifting the mask merges
the layer set aside back in: nothing that was kept is lost.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from streams.fold import BroadcastSlot
from streams.kept import at_of, digest, order
from topics.events.base import Event
from topics.events.customs import CustomsNotice
from topics.events.internal import MaskFacts
from topics.events.sites import AgencyNotice

E = TypeVar("E", bound=Event)

REASON: Final = "SOURCE_MASKED"
"""Outcome of an input that comes under a mask: it waits, without effect, until the mask is lifted."""
MASKED: Final = "mask:"
"""Before the name of a side or an authority of which words are masked: what is not known may be a demand."""


class Mask(msgspec.Struct, frozen=True, array_like=True):
    """What a source said of a closed interval of event times, microseconds UTC."""

    source: str
    since: int
    until: int


Masks = tuple[Mask, ...]


def masks_of(broadcasts: Mapping[str, msgspec.Struct]) -> Masks:
    """The masks in force, in a fixed order."""
    found = {Mask(m.source, m.since, m.until) for m in broadcasts.values() if isinstance(m, MaskFacts) and not m.lifted}
    return tuple(sorted(found, key=lambda m: (m.source, m.since, m.until))) if found else ()


def mask_slot(mask: MaskFacts) -> BroadcastSlot:
    """One slot per act of an operator; lifting it is a higher version."""
    return BroadcastSlot(f"mask:{mask.source}:{mask.record}", (mask.version, mask.since, mask.until, int(mask.lifted)))


def mark(masks: Masks) -> bytes:
    """Which masks a state was dealt out by; nothing without any."""
    return digest(masks) if masks else b""


def covers(masks: Masks, source: str, at: int) -> bool:
    """Does a mask cover what this source said of this instant?"""
    return any(m.source == source and m.since <= at <= m.until for m in masks)


def covered(masks: Masks, event: object) -> bool:
    """Does a mask cover this input? What folds tell each other is never covered: who tells it has applied the mask himself."""
    return bool(masks) and isinstance(event, Event) and covers(masks, event.source, at_of(event))


def covers_id(masks: Masks, event_id: str, at: int) -> bool:
    """The same of an input of which only the id (`source/type/id`) and the time are kept."""
    return covers(masks, event_id.partition("/")[0], at)


def dealt(table: Mapping[str, E], aside: Mapping[str, E], masks: Masks, *, highest: bool) -> tuple[dict[str, E], dict[str, E]]:
    """Inputs of a table and of its layer set aside, dealt out anew: (those that count, those that a mask covers).

    `highest`: of two in one slot the higher order stays (streams.kept.put); else they are one input, and its earliest time stays (keep).
    """
    layers: tuple[dict[str, E], dict[str, E]] = ({}, {})
    for name, event in (*table.items(), *aside.items()):
        layer = layers[covered(masks, event)]
        held = layer.get(name)
        if held is None or (order(event) > order(held) if highest else at_of(event) < at_of(held)):
            layer[name] = event
    return layers


def authorities(words: Iterable[Event]) -> dict[str, bool]:
    """Names by which a fold tells that words of these authorities are masked, as it tells that words were left out."""
    return {MASKED + word.authority: True for word in words if isinstance(word, CustomsNotice | AgencyNotice)}


def lasting(names: Mapping[str, bool]) -> dict[str, bool]:
    """Those of words that were left out for good, without masked ones."""
    return {name: True for name in names if not name.startswith(MASKED)}
