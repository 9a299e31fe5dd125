"""What goes wrong between a party and railclear: messages late, twice, or broken."""
from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from streams.simulate.clockwork import MINUTE, between
from streams.simulate.options import SimOptions
from streams.simulate.sent import Draft
from topics import codec
from topics.events.base import Event, Heartbeat
from topics.events.rail import PositionReported
from topics.events.sites import CrossingCondition, TerminalEvent

LATE_SHAPE = ((0.60, 2, 90), (0.30, 90, 24 * 60), (0.10, 24 * 60, 0))
"""Share of late messages and minutes of delay; 0 = up to the option's limit [D]."""
Broken = dict[str, Any]


def noisy(draft: Draft, rng: random.Random, options: SimOptions) -> Iterator[Draft]:
    """The message, perhaps late; perhaps again; perhaps with a broken one after it."""
    rates = options.rates
    if isinstance(draft.event, Heartbeat | CrossingCondition):
        yield draft
        return
    if rng.random() < rates.out_of_order:
        draft = msgspec.structs.replace(draft, at=draft.at + _delay(rng, options), story=draft.story or "late_message")
    yield draft
    if rng.random() < rates.duplicate:
        yield msgspec.structs.replace(draft, at=draft.at + between(rng, 0.1, 300), expect="duplicate", story=draft.story or "duplicate")
    if draft.event is not None and rng.random() < rates.wrong_bytes:
        name, raw = broken(draft.event, rng)
        yield msgspec.structs.replace(draft, at=draft.at + MINUTE // 2, event=None, raw=raw, expect="dead_letter", story=f"wrong:{name}")


def _delay(rng: random.Random, options: SimOptions) -> int:
    _, low, high = rng.choices(LATE_SHAPE, [share for share, _, _ in LATE_SHAPE])[0]
    most = options.late_hours_max * 60
    return round(between(rng, min(low, most), min(high or most, most)) / options.speed_up)


def broken(event: Event, rng: random.Random) -> tuple[str, bytes]:
    """A broken message of the same party and its name. Every one of them is refused at the door, whatever has been said before."""
    names = ["not_json", "unknown_type", "foreign_party", "missing_field"]
    if not event.source.startswith("customs-"):  # an authority's zone may be configured: its zone-less times are then read, not refused
        names.append("missing_zone")
    if isinstance(event, PositionReported):
        names += ["metres", "metres"]
    if isinstance(event, TerminalEvent):
        names += ["check_digit", "no_subject"]
    name = rng.choice(names)
    good: Broken = msgspec.json.decode(codec.encode(event))
    good["id"] = f"{good['id']}-X"
    if name == "not_json":
        return name, codec.encode(good)[:-9]
    return name, codec.encode(_BREAK[name](good))


def _unknown_type(good: Broken) -> Broken:
    return good | {"type": "train.teleported"}


def _missing_zone(good: Broken) -> Broken:
    return good | {"event_time": str(good["event_time"])[:19]}


def _foreign_party(good: Broken) -> Broken:
    return good | {"source": "somebody-else"}


def _missing_field(good: Broken) -> Broken:
    return {name: value for name, value in good.items() if name != "source"}


def _metres(good: Broken) -> Broken:
    return {n: v for n, v in good.items() if n != "station"} | {"lat": 5_652_300.0, "lon": 9_174_100.0}


def _check_digit(good: Broken) -> Broken:
    number = str(good["container"])
    return good | {"container": number[:-1] + str((int(number[-1]) + 1) % 10)}


def _no_subject(good: Broken) -> Broken:
    return {n: v for n, v in good.items() if n not in ("container", "train")}


_BREAK: dict[str, Callable[[Broken], Broken]] = {
    "unknown_type": _unknown_type, "missing_zone": _missing_zone, "foreign_party": _foreign_party, "missing_field": _missing_field, "metres": _metres,
    "check_digit": _check_digit, "no_subject": _no_subject,
}
