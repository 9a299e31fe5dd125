"""Where an accepted event goes: topic and key, one table for all events (design section 3)."""
from __future__ import annotations

from typing import Final

from streams.fold import EVERY_PARTITION, Emit
from topics.codec import Refused
from topics.events.base import DocumentRef, Event, Heartbeat, TrainRef
from topics.events.customs import CustomsNotice
from topics.events.rail import (
    ConsistReported,
    HandOverSheet,
    PositionReported,
    TrainAnnounced,
    TrainDelayed,
    TrainFormed,
    TrainRerouted,
    WagonSetOut,
)
from topics.events.sites import AgencyNotice, CrossingCondition, RiskIndicator, SealEvent, TerminalEvent
from topics.events.trade import ContainerLoaded, DocumentLinked, FilingLodged, RequestAnswered, ShipmentDeclared
from topics.identifiers import document_key, train_key
from topics.registry import fold_topic

TRAINS: Final = fold_topic("trains")
CUSTODY: Final = fold_topic("custody")
DOCUMENTS: Final = fold_topic("documents")
CLEARANCE: Final = fold_topic("clearance")
EVERYBODY: Final = "*"
"""Key of what concerns everybody: one copy to every partition."""

Address = tuple[str, str]
OF_A_TRAIN = TrainAnnounced | ConsistReported | PositionReported | HandOverSheet | WagonSetOut | TrainRerouted | TrainDelayed
OF_A_DOCUMENT = ShipmentDeclared | DocumentLinked | RequestAnswered | ContainerLoaded


def route(event: Event) -> tuple[Emit, ...]:
    """Records for the folds; a heartbeat gives none. Raises Refused NO_SUBJECT when the event names nothing to go by."""
    if isinstance(event, Heartbeat):
        return ()
    if isinstance(event, CrossingCondition):
        return (_everybody(CLEARANCE, event), _everybody(TRAINS, event))
    if isinstance(event, RiskIndicator):
        return (_everybody(CLEARANCE, event),)
    return tuple(Emit(topic, key, event) for topic, key in _addresses(event))


def _everybody(topic: str, event: Event) -> Emit:
    return Emit(topic, EVERYBODY, event, partition=EVERY_PARTITION)


def _addresses(event: Event) -> tuple[Address, ...]:
    if isinstance(event, TrainFormed):
        return tuple(dict.fromkeys((TRAINS, train_key(train)) for train in (event.train, *event.parents)))
    if isinstance(event, OF_A_TRAIN):
        return ((TRAINS, train_key(event.train)),)
    if isinstance(event, OF_A_DOCUMENT):
        return ((DOCUMENTS, document_key(event.document)),)
    if isinstance(event, FilingLodged):
        return ((DOCUMENTS, document_key(DocumentRef(kind=event.kind, number=event.number))),)
    if isinstance(event, CustomsNotice):
        return (_first(event, event.document, event.container, event.train),)
    if isinstance(event, AgencyNotice):
        return (_first(event, event.document, event.container, None),)
    if isinstance(event, TerminalEvent):
        return (_first(event, None, event.container, event.train),)
    if isinstance(event, SealEvent):
        return (_first(event, None, event.container, None),)
    raise AssertionError(f"no route for {type(event).__name__}")


def _first(event: Event, document: DocumentRef | None, container: str, train: TrainRef | None) -> Address:
    """A document knows its shipments best, then the container, then the train."""
    if document is not None:
        return DOCUMENTS, document_key(document)
    if container:
        return CUSTODY, container
    if train is not None:
        return TRAINS, train_key(train)
    raise Refused("NO_SUBJECT", "$", event.id, "names no document, container or train")
