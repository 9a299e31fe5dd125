"""Says the difference: what a fold works out of its inputs, against what it said before.

A fold's state is a merge of inputs in which order and repetition do not matter; what it tells others is a pure function of that state. So
it sends only what is new or changed, and takes back what no longer holds: the last word is the same whatever order the inputs came in.

Why versions look as they do. A crash may throw away a state whose outputs were already published, and the inputs then come again in other
batches. A version that counted steps could then stand on two different contents. This one counts the inputs that changed something, which
depends on the inputs alone; a step without inputs (a tick, a closure) counts the seconds since in the low bits, below the next input.
"""
from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from streams.fold import Emit
from streams.kept import digest
from topics.events.internal import (
    AliasFound,
    Binding,
    DocumentAsked,
    DocumentBound,
    Forwarded,
    FreshnessChanged,
    Inherited,
    Joined,
    Movement,
    RunProfile,
    ShipmentFacts,
)
from topics.events.outputs import Alert
from topics.facts import Fact

CLEARANCE = "clearance.in"
ALERTS = "ops.alerts"
FACTS_PER_MESSAGE_MAX = 1_000
"""A filing with a thousand house items gives more than one message; each stays far below 1 MiB."""

NAME_BYTES = 8
"""Of the hashed name of a slot; a state has a few thousand at most, so two of one name come with probability below 10**-12."""

INPUT = 1 << 24
"""Step of a version per input. 24 bits of seconds are 194 days: longer than any state lives without input."""
SECOND = 1_000_000

Speech = (
    AliasFound | Binding | DocumentAsked | DocumentBound | Forwarded | FreshnessChanged | Inherited | Joined | Movement | RunProfile | Alert
)


class Word(msgspec.Struct, frozen=True, array_like=True):
    """What was last said in a slot: to whom, a digest of the content, and what takes it back."""

    key: str
    digest: bytes
    fact: Fact | None = None
    """A fact for CLEARANCE without its value and evidence: what takes it back."""
    topic: str = CLEARANCE
    gone: Speech | None = None
    """A message that takes it back; None with no fact: nothing needs to be taken back."""


Said = dict[str, Word]
"""Hashed name of the slot -> word."""


class Saying(msgspec.Struct, frozen=True):
    """Something that holds now, without its version."""

    topic: str
    key: str
    slot: str
    """Unique among everything this state says to this topic and key."""
    value: Fact | Speech
    gone: Speech | None = None
    """What takes it back, without version; for facts it is made here."""
    counts: object = None
    """What is compared instead of the value, where a part of it may change without being said again."""


def fact(shipment: str, said: Fact) -> Saying:
    """A fact for a shipment."""
    return Saying(CLEARANCE, shipment, "\x1f".join((said.side, "/".join(said.key), said.scope, said.source, said.record)), said)


def alert(
    key: str, name: str, severity: Literal["info", "warning", "critical"], at: int, detail: str, *, run: str = "", shipment: str = "", container: str = ""
) -> Saying:
    """An alert that is open as long as it is said."""
    said = Alert(key=key, name=name, severity=severity, state="open", seq=0, at=at, detail=detail, run=run, shipment=shipment, container=container,
                 runbook=name)
    return Saying(ALERTS, key, name, said, msgspec.structs.replace(said, state="resolved"))


def after_inputs(version: int, inputs: int) -> int:
    """The version after so many inputs that changed something."""
    return (version // INPUT + inputs) * INPUT


def after_time(version: int, touched: int, now: int) -> int:
    """The version of what time alone has changed since the last input at `touched`."""
    return max(version + 1, version // INPUT * INPUT + min((now - touched) // SECOND, INPUT - 1))


def difference(said: Said, now: Iterable[Saying], version: int) -> tuple[tuple[Emit, ...], Said]:
    """What must be sent so that everybody knows what holds now, and what has then been said."""
    facts: dict[tuple[str, str], list[Fact]] = {}
    emits: list[Emit] = []
    after: Said = {}
    for name, saying in sorted(_highest(now).items()):
        value = saying.value
        compared = digest(saying.counts if saying.counts is not None else value)
        held = said.get(name)
        if held is not None and held.digest == compared:
            after[name] = held
            continue
        bare = msgspec.structs.replace(value, value=None, code="", id="") if isinstance(value, Fact) else None
        after[name] = Word(saying.key, compared, bare, saying.topic, saying.gone)
        if isinstance(value, Fact):
            facts.setdefault((saying.topic, saying.key), []).append(msgspec.structs.replace(value, version=version))
        else:
            emits.append(Emit(saying.topic, saying.key, stamped(value, version)))
    for name in sorted(said.keys() - after.keys()):
        word = said[name]
        if word.fact is not None:
            facts.setdefault((word.topic, word.key), []).append(msgspec.structs.replace(word.fact, version=version))
        elif word.gone is not None:
            emits.append(Emit(word.topic, word.key, stamped(word.gone, version)))
    return (*_messages(facts), *emits), after


def closing(said: Said, version: int) -> tuple[Emit, ...]:
    """Resolves the alerts of a state that retires: nobody else could. What was said as facts stays said."""
    return tuple(Emit(w.topic, w.key, stamped(w.gone, version)) for _, w in sorted(said.items()) if w.topic == ALERTS and w.gone is not None)


def _highest(now: Iterable[Saying]) -> dict[str, Saying]:
    """One saying per slot. Of several facts the highest version counts, then the latest (status-model section 3); of anything else any
    fixed choice will do, the order of inputs will not."""
    best: dict[str, Saying] = {}
    for saying in now:
        name = _name(saying)
        held = best.get(name)
        if held is None or _order(saying.value) > _order(held.value):
            best[name] = saying
    return best


def _name(saying: Saying) -> str:
    """A dozen characters for what would be a hundred, in every state of every container. Base64, because base85 is slow in Python."""
    text = f"{saying.topic}\x1e{saying.key}\x1e{saying.slot}"
    return base64.b64encode(hashlib.blake2b(text.encode(), digest_size=NAME_BYTES).digest()).rstrip(b"=").decode()


def _order(value: Fact | Speech) -> tuple[int, int, str, int, bytes]:
    if isinstance(value, Fact):
        return value.version, value.at, value.id, value.rank, digest(value)
    return 0, 0, "", 0, digest(value)


def _messages(facts: dict[tuple[str, str], list[Fact]]) -> Iterable[Emit]:
    for (topic, shipment), told in sorted(facts.items()):
        told.sort(key=lambda f: (f.side, f.key, f.scope, f.source, f.record))
        for start in range(0, len(told), FACTS_PER_MESSAGE_MAX):
            yield Emit(topic, shipment, ShipmentFacts(shipment=shipment, facts=tuple(told[start : start + FACTS_PER_MESSAGE_MAX])))


def stamped(message: Speech, version: int) -> Speech:
    """The message with its version, whatever its type calls it."""
    if isinstance(message, Movement | Joined | RunProfile | Inherited | Alert):
        return msgspec.structs.replace(message, seq=version)
    if isinstance(message, FreshnessChanged):
        return message
    return msgspec.structs.replace(message, version=version)
