"""How folds keep outside events: told apart by what they say, so that a repeat is a repeat and a correction is not."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from streams.fold import Fate, Outcome
from topics.events.base import Event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
encoded = msgspec.msgpack.Encoder(order="deterministic").encode
"""The bytes that `digest` looks at."""

DIGEST_BYTES = 8
"""64 bits: two of the few hundred inputs of one key collide with probability below 10**-14."""

E = TypeVar("E", bound=Event)


def micros(instant: datetime) -> int:
    """Microseconds since the epoch, UTC."""
    return (instant - _EPOCH) // _MICRO


def instant(us: int) -> datetime:
    """The other way round."""
    return _EPOCH + timedelta(microseconds=us)


def digest(value: object) -> bytes:
    """Eight bytes that tell two values apart."""
    return hashed(encoded(value))


def hashed(data: bytes) -> bytes:
    """`digest` of what this is the encoding of."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def tag_of(event: msgspec.Struct) -> str:
    """The type of an event or message, as it is written."""
    return str(event.__struct_config__.tag)


def event_id(event: Event) -> str:
    """`source/type/id`: what dedupes, and the evidence in facts."""
    return f"{event.source}/{tag_of(event)}/{event.id}"


def at_of(event: Event) -> int:
    """Event time, microseconds UTC."""
    return micros(event.event_time)


def identity(event: Event, *, repeatable: bool = False) -> str:
    """Which input this is. The same (source, type, id) with the same content is a repeat, also when its sender stamped it anew; with
    other content it is a correction that shares the id, and both stay. A repeatable message is another one whenever its time is."""
    said = msgspec.structs.replace(event, received_time=None, flags=(), **({} if repeatable else {"event_time": _EPOCH}))
    return f"{event_id(event)}#{digest(said).hex()}"


def order(event: Event) -> tuple[int, int, str, bytes]:
    """Of two words about one thing the one with the higher order counts: version, event time, id, content."""
    return event.version, at_of(event), event.id, digest(msgspec.structs.replace(event, received_time=None, flags=()))


def speaking(words: Iterable[E], silencing: Iterable[E] = ()) -> list[E]:
    """Of what a source says under one record of its own only the highest version speaks: a corrected message takes back what it set, whatever
    it sets now. `silencing` are corrections that speak elsewhere. Words without record stand side by side, as do equal versions."""
    told = list(words)
    best: dict[tuple[str, str], int] = {}
    for e in (*told, *silencing):
        if e.record:
            best[e.source, e.record] = max(best.get((e.source, e.record), 0), e.version)
    return [e for e in told if not e.record or e.version == best[e.source, e.record]]


def corrected(event: Event, spoken: Iterable[Event]) -> bool:
    """Is this version silent, because another of its record speaks?"""
    return bool(event.record) and not any((e.source, e.record, e.version) == (event.source, event.record, event.version) for e in spoken)


def put(held: dict[str, E], slot: str, event: E) -> Fate | None:
    """Keep the highest of a slot in place. Gives DUPLICATE or SUPERSEDED when it changes nothing."""
    old = held.get(slot)
    if old is None or order(event) > order(old):
        held[slot] = event
        return None
    return Fate.DUPLICATE if order(event) == order(old) else Fate.SUPERSEDED


def keep(held: dict[str, E], event: E, most: int, *, repeatable: bool = False) -> Fate | None:
    """Keep an input beside all others of its kind, at most so many. Of a repeat that was stamped anew the first time stays. Gives REFUSED
    when the limit is reached."""
    name = identity(event, repeatable=repeatable)
    old = held.get(name)
    if old is not None:
        if at_of(event) < at_of(old):
            held[name] = event
            return None
        return Fate.DUPLICATE
    if len(held) >= most:
        return Fate.REFUSED
    held[name] = event
    return None


def keep_weightiest(
    held: dict[str, E], event: E, most: int, weight: Callable[[E], int], *, heavy: int, most_heavy: int, repeatable: bool = False
) -> tuple[Fate | None, E | None]:
    """As `keep`, but at the limit the lightest goes, of equals the latest, so that what is kept does not depend on arrival. What weighs `heavy`
    gives way to nothing but its own, far higher limit. Gives also what was left out, if anything: the new one or one that was held."""
    fate = keep(held, event, len(held) + 1, repeatable=repeatable)
    if fate is not None or len(held) <= most:
        return fate, None
    light = [name for name, e in held.items() if weight(e) < heavy]
    if not light and len(held) <= most_heavy:
        return None, None
    worst = max(light or held, key=lambda name: (-weight(held[name]), at_of(held[name]), name))
    gone = held.pop(worst)
    return (Fate.REFUSED if gone is event else None), gone


def outcome(index: int, fate: Fate, limit: str) -> Outcome:
    """The outcome of an input that changed nothing; a refusal here is a limit."""
    return Outcome(index, fate, limit if fate is Fate.REFUSED else "", "$" if fate is Fate.REFUSED else "")
