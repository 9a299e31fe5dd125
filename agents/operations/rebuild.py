"""States of a fold made anew from the ledger, beside those that it keeps: compared key by key, and put in their place only on demand.

What is made anew is what a fold holds of its *inputs* (facts of a shipment, words under a document's number). What it has published stays as it
was, so that after a switch it says exactly the difference, with revisions and versions that go on rising.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer

from agents.ledger.queries import fact_of
from agents.places import places
from agents.runner.broadcasts import SLOT_KEY
from agents.runner.cells import INPUT_KEY, OF_TRANSPORT, RESERVED, Header, header_of, pack, unpack
from streams import clearance, documents
from streams.clearance.state import Shipment, add, newest_at
from streams.derived import after_inputs
from streams.documents.inputs import State as Document
from streams.fold import EVERYBODY, BroadcastSlot, World
from streams.kept import at_of, digest
from streams.reference.model import Reference
from topics.codec import Refused
from topics.events.internal import MaskFacts
from topics.facts import DAY

S = TypeVar("S")
REFUSED: Final[Mapping[str, str]] = {
    "trains": "of positions the ledger keeps arrivals, departures and passages only, and nothing of what a train takes over from the one it was formed from; a "
              "state made from it would know less than the one it replaces. A train that is wrong comes right with what is reported of it next",
    "custody": "the ledger keeps no movements (which train a box is on, as TRAINS says it), and when CUSTODY forgets a trip that is over depends on when they "
               "came; a state made from it would lack trains and bring back old trips. A box that is wrong comes right with the next news of its train, and "
               "what authorities and terminals said of it stands in CLEARANCE, which can be rebuilt",
    "readiness": "the ledger keeps nothing of readiness.in. It is worked out of what TRAINS, CUSTODY and CLEARANCE say, and comes right with their next word "
                 "of the run",
    "sources": "the ledger keeps nothing of sources.in. When a source last spoke comes right with its next word",
}
"""Folds that cannot be made anew from the ledger: which of their inputs it lacks, and what mends them instead."""
QUERY_SECONDS_MAX: Final = 900.0
CHUNK: Final = 2_000
SHOWN_MAX: Final = 50


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A key of which the ledger says something else than the fold's state."""

    key: str
    kind: str
    """differs; missing: the fold has no state of it; unledgered: the ledger has nothing of it (never switched)."""
    more: tuple[str, ...] = ()
    """Inputs that only the ledger has, or has a later word of; at most a few."""
    less: tuple[str, ...] = ()
    """Inputs that only the state has; at most a few."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a rebuild."""

    fold: str
    keys: int
    """Keys that both know, and that are alive."""
    same: int
    retired: int
    differences: tuple[Difference, ...]


class Kept(msgspec.Struct, Generic[S], frozen=True):
    """A state as the fold keeps it."""

    header: Header
    state: S


Made = Callable[[S | None, str, Sequence[Any], int], S | None]


class OfPartition(msgspec.Struct):
    """What concerns everybody, as one partition keeps it beside its keys (agents.runner.broadcasts)."""

    slots: dict[str, tuple[Header, bytes]] = {}
    epoch: int = 0
    """Highest that any of the runner's own records has."""
    named: bool = False
    """It says what it was made from. If not, the topic was lost and made anew, or no worker has ever had this partition."""


class Read(msgspec.Struct, Generic[S], frozen=True):
    """A state topic as a restore would see it."""

    keys: dict[str, Kept[S]]
    partitions: dict[int, OfPartition]

    @property
    def nameless(self) -> list[int]:
        """Partitions that do not say what they were made from."""
        return [number for number, held in sorted(self.partitions.items()) if not held.named]


class Recipe(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """How one fold's states are made from the ledger. All of it is pure."""

    fold: str
    decode: Callable[[bytes], S]
    encode: Callable[[S], bytes]
    made: Callable[[S | None, str, Sequence[Any], int], S | None]
    """The state from what is kept and the ledger's inputs of this key, at an instant. None: nothing that lives."""
    parts: Callable[[S], dict[str, str]]
    """Inputs by name, with what tells two contents apart."""
    stub: Callable[[S], bool]
    """Has it retired? A stub is left as it is."""


# -- clearance -----------------------------------------------------------------------------------------------------------------
def _shipment(kept: Shipment | None, key: str, facts: Sequence[Any], now: int, reference: Reference) -> Shipment | None:
    held, _, refused, _ = add((), facts)
    before = kept or Shipment()
    if kept is None and newest_at(held) + reference.limits.retire_days * DAY <= now:
        return None                                     # retired and forgotten, as it should be
    limited = tuple(sorted({*before.limited, *(side for _, side in refused)}))
    # what was said rests on the facts as they were: without its ground the next step assesses the whole
    return msgspec.structs.replace(before, facts=held, limited=limited, due_public=1, ground=None)


def _facts(state: Shipment) -> dict[str, str]:
    return {"|".join((f.side, "/".join(f.key), f.scope, f.source, f.record)): digest(f).hex() for f in state.facts}


def clearance_recipe(reference: Reference) -> Recipe[Shipment]:
    """CLEARANCE: facts of a shipment."""
    fold = clearance.ClearanceFold()
    return Recipe(fold="clearance", decode=fold.decode_state, encode=fold.encode_state, parts=_facts, stub=lambda s: s.retired_at is not None,
                  made=lambda kept, key, facts, now: _shipment(kept, key, facts, now, reference))


# -- documents -----------------------------------------------------------------------------------------------------------------
def _document(kept: Document | None, key: str, events: Sequence[Any], now: int, world: World) -> Document | None:
    state: Document | None = None
    fold = documents.DocumentsFold()
    for start in range(0, len(events), CHUNK):
        state = fold.step(state, key, events[start : start + CHUNK], world, now).state
    if state is None or (kept is None and not state.own.empty and _newest(events) + world.reference.limits.retire_days * DAY <= now):
        return None
    # what was said before the loss stands with versions that count inputs: what is said now must be above them, or nobody hears it. How many counted
    # depends on the masks that were in force then; each counted once at most
    before = kept or Document(touched=now, version=after_inputs(0, len(events) + 1))
    return msgspec.structs.replace(before, own=state.own, forwarded=state.forwarded, aliases=state.aliases, aside=state.aside, mark=state.mark)


def _newest(events: Iterable[Any]) -> int:
    return max((at_of(e) for e in events if hasattr(e, "event_time")), default=0)


def _words(state: Document) -> dict[str, str]:
    found: dict[str, str] = {}
    for layer, inputs in (("", state.own), ("masked ", state.aside)):
        for table in inputs.__struct_fields__ if inputs is not None else ():
            found |= {f"{layer}{table} {name}": digest(event).hex() for name, event in getattr(inputs, table).items()}
    for table in ("forwarded", "aliases"):
        found |= {f"{table} {name}": digest(message).hex() for name, message in getattr(state, table).items()}
    return found


def documents_recipe(reference: Reference, masks: Iterable[MaskFacts]) -> Recipe[Document]:
    """DOCUMENTS: words under a number, dealt out by the masks in force."""
    fold = documents.DocumentsFold()
    slots: dict[str, tuple[BroadcastSlot, MaskFacts]] = {}
    for mask in masks:
        slot = fold.broadcast_slot(mask)
        if slot.id not in slots or slot.order > slots[slot.id][0].order:
            slots[slot.id] = slot, mask
    world = World(reference, {name: mask for name, (_, mask) in slots.items()})
    return Recipe(fold="documents", decode=fold.decode_state, encode=fold.encode_state, parts=_words, stub=lambda s: bool(s.covers) or bool(s.canonical),
                  made=lambda kept, key, events, now: _document(kept, key, events, now, world))


# -- comparing -----------------------------------------------------------------------------------------------------------------
def compare(recipe: Recipe[S], kept: Mapping[str, Kept[S]], ledger: Mapping[str, Sequence[Any]], now: int) -> tuple[Compared, dict[str, S]]:
    """What differs, and the states to put in place of those that do. Pure."""
    differences: list[Difference] = []
    better: dict[str, S] = {}
    same = retired = keys = 0
    for key in sorted({*kept, *ledger}):
        held = kept.get(key)
        if held is not None and recipe.stub(held.state):
            retired += 1
            continue
        made = recipe.made(held.state if held is not None else None, key, ledger[key], now) if key in ledger else None
        if made is None:
            if held is not None:
                differences.append(Difference(key=key, kind="unledgered", less=tuple(sorted(recipe.parts(held.state)))[:5]))
            else:
                retired += 1
            continue
        keys += 1
        mine, theirs = (recipe.parts(held.state) if held is not None else {}), recipe.parts(made)
        if held is not None and mine == theirs:
            same += 1
            continue
        differences.append(Difference(
            key=key, kind="differs" if held is not None else "missing", more=tuple(sorted(n for n, text in theirs.items() if mine.get(n) != text))[:5],
            less=tuple(sorted(n for n in mine if n not in theirs))[:5]))
        better[key] = made
    return Compared(fold=recipe.fold, keys=keys, same=same, retired=retired, differences=tuple(differences)), better


def records(recipe: Recipe[S], kept: Mapping[str, Kept[S]], better: Mapping[str, S], now: int) -> list[tuple[str, bytes]]:
    """State records that take the place of those kept: newer by their sequence, and due at once, so that what differs is said. Pure."""
    found = []
    for key, state in sorted(better.items()):
        old = kept[key].header if key in kept else Header(offset=-1, seq=0)
        found.append((key, pack(Header(old.offset, old.seq + 1, now, old.epoch, old.revision, old.now), recipe.encode(state))))
    return found


# -- reading -------------------------------------------------------------------------------------------------------------------
async def states(consumer: AIOKafkaConsumer, topic: str, recipe: Recipe[S]) -> Read[S]:
    """Every state of the fold's topic as a restore would see it. Raises NotThere."""
    parts = await places(consumer, [topic])
    consumer.assign(parts)
    await consumer.seek_to_beginning(*parts)
    ends = await consumer.end_offsets(parts)
    found: dict[str, tuple[Header, bytes]] = {}
    partitions = {tp.partition: OfPartition() for tp in parts}
    while any([await consumer.position(tp) < end for tp, end in ends.items()]):
        for batch in (await consumer.getmany(timeout_ms=500)).values():
            for record in batch:
                key, own = (record.key or b"").decode(), partitions[record.partition]
                if key in OF_TRANSPORT:
                    own.named |= key == INPUT_KEY and record.value is not None
                elif key.startswith(SLOT_KEY):
                    _later(own.slots, key.removeprefix(SLOT_KEY), record.value)
                elif not key.startswith(RESERVED):
                    _later(found, key, record.value)
                if key.startswith(RESERVED) and key not in OF_TRANSPORT and record.value is not None:
                    own.epoch = max(own.epoch, header_of(record.value).epoch)
    return Read({key: Kept(header, recipe.decode(data)) for key, (header, data) in found.items()}, partitions)


def _later(found: dict[str, tuple[Header, bytes]], key: str, value: bytes | None) -> None:
    """One more record of a key, in log order: a late write of a former owner never wins over a newer one."""
    if value is None:
        found.pop(key, None)
        return
    cell = unpack(value)
    if key not in found or (found[key][0].offset, found[key][0].seq) <= (cell[0].offset, cell[0].seq):
        found[key] = cell


async def facts(pool: asyncpg.Pool) -> dict[str, list[Any]]:
    """All facts of the ledger by shipment, in the order of the log."""
    found: dict[str, list[Any]] = {}
    async for row in rows(pool, "select * from fact order by recorded, topic, part, off, idx"):
        found.setdefault(row["shipment"], []).append(fact_of(row))
    return found


async def events(pool: asyncpg.Pool, topic: str, decode: Callable[[bytes], Any]) -> dict[str, list[Any]]:
    """All messages of a fold's input that the ledger keeps, by key, in the order of the log. What concerns everybody is left out."""
    found: dict[str, list[Any]] = {}
    async for row in rows(pool, "select key, body, off from event where topic = $1 and key <> $2 order by recorded, part, off", topic, EVERYBODY):
        try:
            found.setdefault(row["key"], []).append(decode(row["body"].encode()))
        except Refused:                                 # the fold refused it, too: it is among the dead letters
            continue
    return found


async def rows(pool: asyncpg.Pool, sql: str, *arguments: Any) -> AsyncIterator[Any]:
    """Of one moment, a few at a time."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        async for row in connection.cursor(sql, *arguments, prefetch=CHUNK, timeout=QUERY_SECONDS_MAX):
            yield row
