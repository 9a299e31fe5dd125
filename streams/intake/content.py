"""Container and wagon numbers of an event: made comparable, refused or flagged, and never twice in one list."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from topics.codec import Refused
from topics.events.base import Event
from topics.events.rail import ConsistReported, HandOverSheet, TrainAnnounced, TrainFormed, WagonLoad, WagonSetOut
from topics.events.sites import RiskIndicator
from topics.events.trade import ContainerLoaded, FilingLodged, ShipmentDeclared, Stuffing
from topics.formats.parsed import CONTAINER_NUMBER_INVALID
from topics.identifiers import BadIdentifier, compact, parse_container, parse_wagon

E = TypeVar("E", bound=Event)

CONTAINER_TWICE: Final = "CONTAINER_TWICE"
WAGON_NUMBER_INVALID: Final = "WAGON_NUMBER_INVALID"
"""A wagon number whose check digit is wrong: kept, because the wagon is only where a container stands."""
WAGONS_MAX: Final = 300
ABOARD_MAX: Final = 600
"""Containers of one train; a 71-wagon train carries some 140."""


class Numbers:
    """Judges the numbers of one event. Strict (railclear's own events of railways, trade, terminals, seal operators): a wrong number is
    refused. Otherwise (authorities' notices, outside formats) it is flagged and kept, because the sender cannot mend it."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.flags: list[str] = []

    def box(self, number: str, path: str) -> str:
        """A container number in its comparable form; "" stays "". Raises Refused CHECK_DIGIT or CONTAINER_NUMBER."""
        if not number:
            return ""
        try:
            return parse_container(number)
        except BadIdentifier as error:
            if self.strict:
                raise Refused("CHECK_DIGIT" if error.check else "CONTAINER_NUMBER", path, number, error.reason) from error
        self.flags.append(CONTAINER_NUMBER_INVALID)
        return compact(number)

    def boxes(self, numbers: Iterable[str], path: str) -> tuple[str, ...]:
        """A list of container numbers."""
        return tuple(self.box(number, f"{path}[{i}]") for i, number in enumerate(numbers))

    def once(self, numbers: Iterable[tuple[str, str]]) -> None:
        """Each (number, path) at most once. Raises Refused CONTAINER_TWICE when strict, else flags."""
        seen: set[str] = set()
        for number, path in numbers:
            if number and number in seen:
                if self.strict:
                    raise Refused(CONTAINER_TWICE, path, number, "a container is in one place only")
                self.flags.append(CONTAINER_TWICE)
            seen.add(number)

    def wagon(self, number: str) -> str:
        """A wagon number; digits alone are compared without blanks and hyphens."""
        value = compact(number)
        if not value.isdigit() or len(value) not in (8, 12):
            return number.strip()
        try:
            return parse_wagon(value)
        except BadIdentifier:
            self.flags.append(WAGON_NUMBER_INVALID)
            return value

    def wagons(self, loads: tuple[WagonLoad, ...]) -> tuple[WagonLoad, ...]:
        """Wagons with what is on them. Raises Refused CONTAINER_TWICE, TOO_MANY_ITEMS and as `box`."""
        limit("$.wagons", len(loads), WAGONS_MAX)
        limit("$.wagons", sum(len(load.containers) for load in loads), ABOARD_MAX)
        out = tuple(
            msgspec.structs.replace(load, wagon=self.wagon(load.wagon), containers=self.boxes(load.containers, f"$.wagons[{i}].containers"))
            for i, load in enumerate(loads))
        self.once((box, f"$.wagons[{i}].containers[{j}]") for i, load in enumerate(out) for j, box in enumerate(load.containers))
        return out

    def stuffings(self, stuffings: tuple[Stuffing, ...]) -> tuple[Stuffing, ...]:
        """Containers of a shipment or filing."""
        out = tuple(msgspec.structs.replace(s, container=self.box(s.container, f"$.containers[{i}].container")) for i, s in enumerate(stuffings))
        self.once((s.container, f"$.containers[{i}].container") for i, s in enumerate(out))
        return out


def limit(path: str, count: int, most: int) -> None:
    """Raises Refused TOO_MANY_ITEMS."""
    if count > most:
        raise Refused("TOO_MANY_ITEMS", path, count, f"at most {most}")


def with_numbers(event: E, numbers: Numbers) -> E:
    """The event with comparable container and wagon numbers. Raises Refused."""
    changes: dict[str, object] = {"container": numbers.box(event.container, "$.container")}
    if isinstance(event, ConsistReported | HandOverSheet | TrainFormed):
        changes["wagons"] = numbers.wagons(event.wagons)
    if isinstance(event, HandOverSheet):
        changes["refused"] = numbers.boxes(event.refused, "$.refused")
    if isinstance(event, TrainAnnounced | WagonSetOut | RiskIndicator):
        boxes = numbers.boxes(event.containers, "$.containers")
        numbers.once((box, f"$.containers[{i}]") for i, box in enumerate(boxes))
        changes["containers"] = boxes
    if isinstance(event, TrainAnnounced):
        limit("$.containers", len(event.containers), ABOARD_MAX)
    if isinstance(event, WagonSetOut):
        changes["wagon"] = numbers.wagon(event.wagon)
    if isinstance(event, ShipmentDeclared | FilingLodged):
        changes["containers"] = numbers.stuffings(event.containers)
    if isinstance(event, ContainerLoaded):
        changes["replaces"] = numbers.box(event.replaces, "$.replaces")
    return msgspec.structs.replace(event, **changes)
