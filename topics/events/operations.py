"""What railclear's own operators say on a bad day: acts as data, on a topic of their own, with who and why. Nobody else may say them."""
from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from topics.events.base import Event, Instant, Name, PartyId, ShortText, Text


class OperatorAct(Event, frozen=True, kw_only=True):
    """Base of acts: `event_time` is when it was decided."""

    by: Name
    """The person who decided it, as the deployment names its people."""
    reason: Annotated[Text, msgspec.Meta(min_length=1)]
    """Why: it stands in the ledger for ever."""


class FeedRetracted(OperatorAct, frozen=True, kw_only=True, tag="operations.retract"):
    """What `feed` said of the time from `since` to `until` (event times, both included) counts as absent. `record` is the act's own id;
    with `undone` and a higher version it counts again."""

    feed: PartyId
    since: Instant
    until: Instant
    undone: bool = False


class FeedPaused(OperatorAct, frozen=True, kw_only=True, tag="operations.pause"):
    """Records of `feed` wait in Kafka from now on, or are read again (`paused` false). The latest act counts."""

    feed: PartyId
    paused: bool = True


class InputDrained(OperatorAct, frozen=True, kw_only=True, tag="operations.drain"):
    """No input is taken from anybody, so that everything on the way comes to its end; or input is taken again. The latest act counts."""

    draining: bool = True


class ShipmentReopened(OperatorAct, frozen=True, kw_only=True, tag="operations.reopen"):
    """A retired shipment comes alive again from the ledger's facts."""

    shipment: Annotated[ShortText, msgspec.Meta(pattern=r"^S[A-Z2-7]{12}$")]


class FoldRebuilt(OperatorAct, frozen=True, kw_only=True, tag="operations.rebuild"):
    """States of a fold are put in place of those that differed from the ledger, while its workers stand still. It is said twice: before the first state is
    written (`begun`), and with the same `record` and a higher version when all are. A record that ends with `begun` was cut short."""

    fold: Literal["clearance", "documents"]
    keys: Annotated[int, msgspec.Meta(ge=0)]
    """How many states of keys."""
    everybody: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many words that concern everybody (masks, closures, freshness, indicators), over all partitions."""
    partitions: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many partitions got the name of their input: the topic had been lost."""
    begun: bool = False


OperationsEvent = FeedRetracted | FeedPaused | InputDrained | ShipmentReopened | FoldRebuilt
