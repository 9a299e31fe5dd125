"""What READINESS keeps of one run: who is on board, where their sides stand, what the train is called and when it gets there."""
from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from streams.squeeze import loosened, squeezed
from topics.events.internal import Joined, RunProfile, SideSummary, StatusSummary
from topics.facts import DAY

CONTAINERS_MAX = 1_000
"""Boxes of a run or yard, those that left included; the oldest that left go first. A train has about sixty, a yard some hundreds."""
SUMMARIES_MAX = 1_000
FORGOTTEN = 90 * DAY
"""CUSTODY forgets a box 180 days after its last word, unless a deployment says otherwise."""

Inbound = Joined | StatusSummary | RunProfile


class Stood(msgspec.Struct, frozen=True, array_like=True):
    """How one container stands at its sides, at a revision of its shipment."""

    revision: int
    sides: tuple[SideSummary, ...]


class Run(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """The state of one key."""

    SWELLS: ClassVar[int] = 22
    profile: RunProfile | None = None
    joined: dict[str, Joined] = {}
    """Container -> the newest word. Which shipment is in it may become known, or change, while it is on board."""
    summaries: dict[str, Stood] = {}
    """`container|shipment` -> how it stands; without a container: every box of the shipment."""
    shown: bytes = b""
    """Digest of what was last published."""
    shown_at: int = 0
    revision: int = 0
    heard_at: int = 0
    """When the run last changed, by append time."""


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Run)


def encode(state: Run) -> bytes:
    return squeezed(_encoder.encode(state))


def decode(data: bytes) -> Run:
    """States were once keyed by `container|shipment`; of two words about one container the newer one counts."""
    run = _decoder.decode(loosened(data))
    if all(key == event.container for key, event in run.joined.items()):
        return run
    words = sorted(run.joined.values(), key=lambda j: (j.seq, j.at))
    return msgspec.structs.replace(run, joined={j.container: j for j in words})


def merge(held: Run, events: Iterable[Inbound]) -> tuple[Run, list[bool]]:
    """(state, for each event whether it changed something). The newest word of each thing stays, so order does not matter."""
    profile, joined, summaries = held.profile, dict(held.joined), dict(held.summaries)
    news: list[bool] = []
    for event in events:
        if isinstance(event, RunProfile):
            new = profile is None or _newer((event.seq,), event, (profile.seq,), profile)
            profile = event if new else profile
        elif isinstance(event, Joined):
            old = joined.get(event.container)
            new = old is None or _later(event, old)
            if new:
                joined[event.container] = event
        else:
            new = _hear(event, summaries)
        news.append(new)
    state = msgspec.structs.replace(held, profile=profile, joined=_bounded(joined), summaries=_aboard_first(summaries, joined))
    return state, news


def _hear(event: StatusSummary, summaries: dict[str, Stood]) -> bool:
    """Did it say something new of any of its containers?"""
    said = Stood(event.revision, event.sides)
    new = False
    for box in event.containers or ("",):
        key = f"{box}|{event.shipment}"
        held = summaries.get(key)
        if held is None or _newer((said.revision,), said, (held.revision,), held):
            summaries[key], new = said, True
    return new


def _later(event: Joined, held: Joined) -> bool:
    """The higher sequence; but a box that CUSTODY has forgotten since it left comes back, to a yard, with sequences that begin anew."""
    apart = event.at - held.at
    if abs(apart) > FORGOTTEN and not (held if apart > 0 else event).aboard:
        return apart > 0
    return _newer((event.seq, event.at), event, (held.seq, held.at), held)


def _newer(order: tuple[int, ...], event: msgspec.Struct, held_order: tuple[int, ...], held: msgspec.Struct) -> bool:
    """A higher sequence, or at the same one a fixed choice between two contents."""
    if order != held_order:
        return order > held_order
    return event != held and _encoder.encode(event) > _encoder.encode(held)


def _bounded(joined: dict[str, Joined]) -> dict[str, Joined]:
    if len(joined) <= CONTAINERS_MAX:
        return joined
    kept = sorted(joined.items(), key=lambda item: (item[1].aboard, item[1].at, item[0]))[-CONTAINERS_MAX:]
    return dict(sorted(kept))


def _aboard_first(summaries: dict[str, Stood], joined: dict[str, Joined]) -> dict[str, Stood]:
    """Bounded; what is said of boxes that are not on board goes first."""
    if len(summaries) <= SUMMARIES_MAX:
        return summaries
    aboard = {name for j in joined.values() if j.aboard for name in (f"{j.container}|{j.shipment}", f"|{j.shipment}")}
    kept = sorted(summaries.items(), key=lambda item: (item[0] in aboard, item[1].revision, item[0]))[-SUMMARIES_MAX:]
    return dict(sorted(kept))
