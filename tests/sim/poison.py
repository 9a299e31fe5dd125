"""Records that are wrong: to be refused with their bytes kept, and to stop nothing."""
from __future__ import annotations

import random
from collections.abc import Callable

from tests.sim.worlds import reference
from topics.registry import FOLDS, customs_party, fold_topic, inbound_topic

One = tuple[int, str, bytes | None, bytes | None]
"""At, topic, key, value."""
FORGED = b"FORGED"
"""Stands in every forged message: nothing of it may go further than a dead letter."""


def _not_utf8(_: random.Random, one: One) -> One:
    return one[0], one[1], one[2], b"\xff\xfe\x00" + (one[3] or b"")


def _cut(rng: random.Random, one: One) -> One:
    value = one[3] or b"{}"
    return one[0], one[1], one[2], value[: rng.randint(0, len(value) - 1)]


def _tombstone(_: random.Random, one: One) -> One:
    return one[0], one[1], one[2], None


def _other_type(rng: random.Random, one: One) -> One:
    return one[0], one[1], one[2], rng.choice((b"[]", b"null", b"17", b'"text"', b'{"type":"movement"}', b'{"type":"no.such.event"}', b'{"type":1}'))


def _deep(_: random.Random, one: One) -> One:
    return one[0], one[1], one[2], b'{"type":"heartbeat","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


def _wrong_key(_: random.Random, one: One) -> One:
    return one[0], one[1], b"\xff\x00", one[3]


def _nul(_: random.Random, one: One) -> One:
    return one[0], one[1], one[2], b'{"type":"heartbeat","source":"\\u0000","id":"\\u0000","event_time":"2026-03-02T00:00:00Z"}'


def _forged(rng: random.Random, one: One) -> One:
    """A good message on another party's topic, with a number of its own. Not an analyst's: what its forger knows of it he had before."""
    if b"risk.indicator" in (one[3] or b""):
        return _cut(rng, one)
    others = [t for a in sorted(reference().authorities) if (t := inbound_topic("customs", customs_party(a))) != one[1]]
    return one[0], rng.choice(others), one[2], (one[3] or b"").replace(b'"id":"', b'"id":"' + FORGED + b"-", 1)


OUTSIDE: tuple[Callable[[random.Random, One], One], ...] = (_not_utf8, _cut, _tombstone, _other_type, _deep, _wrong_key, _nul, _forged)


def _inside(rng: random.Random, at: int) -> One:
    """In a fold's own topic, where nobody but railclear writes: another version of it might."""
    key = rng.choice((b"POISON", b"", None, b"\x00epoch", b"\xff\xff", b"MSKU0000000"))
    value = rng.choice((b"", None, b"{", b"\xff\xff", b'{"type":"facts","shipment":5}', b'{"type":"no.such.message"}', b"[" * 20_000, b'{"type":"movement"}'))
    return at, fold_topic(rng.choice(FOLDS)), key, value


def poisons(rng: random.Random, said: list[One]) -> list[One]:
    """A dozen of them between the good ones."""
    good = [one for one in said if one[3]]
    found = [rng.choice(OUTSIDE)(rng, rng.choice(good)) for _ in range(rng.randint(4, 10))]
    return [*found, *(_inside(rng, rng.choice(good)[0]) for _ in range(rng.randint(1, 5)))]
