"""Where an accepted event goes: topic and key, one table for all events (design section 3)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Final

from streams.fold import EVERY_PARTITION, EVERYBODY, Emit
from streams.kept import event_id, micros
from topics.codec import Refused
from topics.events.base import DocumentRef, Event, Heartbeat, TrainRef
from topics.events.customs import CustomsNotice
from topics.events.internal import MaskFacts, SourcePaused
from topics.events.operations import FeedPaused, FeedRetracted, FoldRebuilt, InputDrained, OperatorAct, ShipmentReopened
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
from topics.identifiers import BadIdentifier, compact, document_key, parse_document_key, parse_train_key, train_key
from topics.registry import ACTS, fold_topic

TRAINS: Final = fold_topic("trains")
CUSTODY: Final = fold_topic("custody")
DOCUMENTS: Final = fold_topic("documents")
CLEARANCE: Final = fold_topic("clearance")
MASKED: Final = (TRAINS, CUSTODY, DOCUMENTS, CLEARANCE)
"""Folds that keep what outside parties said."""

CORRECTION: Final = "CORRECTION"
"""Code of a message that corrects an earlier one (codes.toml)."""
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
    if isinstance(event, OperatorAct):
        return _of_operators(event)
    return tuple(Emit(topic, key, event) for topic, key in _addresses(event))


def _of_operators(act: OperatorAct) -> tuple[Emit, ...]:
    """The act itself for those who keep and watch acts, and what it means for the folds."""
    if isinstance(act, FeedRetracted):
        mask = MaskFacts(source=act.feed, since=micros(act.since), until=micros(act.until), record=act.record or act.id, version=act.version,
                         lifted=act.undone, origin=event_id(act))
        told = tuple(Emit(topic, EVERYBODY, mask, partition=EVERY_PARTITION) for topic in MASKED)
        return (Emit(ACTS, f"retract/{mask.record}", act), *told)
    if isinstance(act, FeedPaused):
        at = micros(act.received_time or act.event_time)
        pause = SourcePaused(source=act.feed, paused=act.paused, at=at, id=act.id, reason=act.reason[:200], origin=event_id(act))
        return (Emit(ACTS, f"pause/{act.feed}", act), Emit(fold_topic("sources"), act.feed, pause))
    if isinstance(act, ShipmentReopened):
        return (Emit(ACTS, f"reopen/{act.shipment}", act),)
    if isinstance(act, FoldRebuilt):
        return (Emit(ACTS, f"rebuild/{act.fold}", act),)
    assert isinstance(act, InputDrained), type(act)
    return (Emit(ACTS, "drain", act),)


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
        return _of_notice(event)
    if isinstance(event, AgencyNotice):
        return (_first(event, event.document, event.container, None),)
    if isinstance(event, TerminalEvent):
        return (_first(event, None, event.container, event.train),)
    if isinstance(event, SealEvent):
        return (_first(event, None, event.container, None),)
    raise AssertionError(f"no route for {type(event).__name__}")


def _of_notice(event: CustomsNotice) -> tuple[Address, ...]:
    """To its subject; a correction also to whatever the corrected message may have been about. There it only silences the earlier version."""
    corrected = _corrected(event) if event.record else []
    if event.document is None and not event.container and event.train is None and corrected:
        return tuple(dict.fromkeys(corrected))
    return tuple(dict.fromkeys((_first(event, event.document, event.container, event.train), *corrected)))


def _document(text: str) -> str:
    kind, _, number = parse_document_key(text).partition(":")
    return document_key(DocumentRef(kind=kind, number=number))


CORRECTED: Final[tuple[tuple[str, str, Callable[[str], str]], ...]] = (
    ("corrected_document", DOCUMENTS, _document), ("corrected_container", CUSTODY, compact), ("corrected_train", TRAINS, parse_train_key))
"""Official fields that name what the corrected message was about."""


def _corrected(event: CustomsNotice) -> list[Address]:
    found: list[Address] = []
    if event.code == CORRECTION:
        found += [(CUSTODY, event.container)] if event.container else []
        found += [(TRAINS, train_key(event.train))] if event.train is not None else []
    for name, topic, read in CORRECTED:
        if said := event.values.get(name, ""):
            try:
                found.append((topic, read(said)))
            except BadIdentifier as bad:
                raise Refused("CORRECTED_UNREADABLE", f"$.values.{name}", said, str(bad)) from bad
    return found


def _first(event: Event, document: DocumentRef | None, container: str, train: TrainRef | None) -> Address:
    """A document knows its shipments best, then the container, then the train."""
    if document is not None:
        return DOCUMENTS, document_key(document)
    if container:
        return CUSTODY, container
    if train is not None:
        return TRAINS, train_key(train)
    raise Refused("NO_SUBJECT", "$", event.id, "names no document, container or train")
