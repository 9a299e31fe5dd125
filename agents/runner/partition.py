"""One partition of one fold: its keys, its time, its broadcasts; batches, ticks and sweeps become effects. No I/O.

The state in memory runs ahead of what is durable by the batches in flight. Whoever carries out the effects must therefore either carry
out all of them in order or throw this object away and restore a new one: crash-only.
"""
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import count
from typing import Generic, TypeVar, cast

import msgspec

from agents.runner.broadcasts import Broadcasts
from agents.runner.cells import OF_TRANSPORT, PART, RESERVED, BadState, Cells, Header, ObjectCache
from agents.runner.clock import Clock
from agents.runner.counters import Counters
from agents.runner.draft import KEY_HEADER, REVISION_HEADER, TOLD, Draft, covert_name, told_name
from agents.runner.limits import Limits, TooLarge
from agents.runner.shared import SHARED_MIN, Shared
from streams.effects import Effect, Record
from streams.fold import Emit, Fold, Step, World
from streams.reference.model import Reference
from topics import codec

S = TypeVar("S")
E = TypeVar("E")

SECOND = 1_000_000
AGAIN_MIN = SECOND
"""A next_due that is not in the future is moved this far, so that a tick cannot spin."""
PARKED_TICK = 3_600 * SECOND
"""When a tick's state or output would be too large, the old state stays and the tick is tried again after this."""
LOST_RECORDS_MAX = 16_000
"""No batch is larger (agents.transport.lane), and at most one was being published when its owner ended."""
LATE_STEPS_MAX = 10_000
"""So many steps of the clock at most are made up for until the first new input; a fold's own step takes less than a millisecond."""
READ_AT_ONCE = 1_000
"""So many records are decoded before others have their turn."""
KEYS_MAX = 16_384
"""Keys whose text is remembered: a partition's trains, and far fewer bytes than its state."""
_owners = count(1)

Steps = Generator[None, None, tuple[Effect, ...]]
"""Work in pieces: a key each, or some records that are decoded. Ends with its effects."""


class Input(msgspec.Struct, Generic[E], frozen=True, gc=False):
    """A decoded record."""

    record: Record
    event: E


class Image(msgspec.Struct, frozen=True):
    """State of a partition at one moment, to begin with when it comes back: every key, and the revisions the world has seen beyond them."""

    cells: dict[str, bytes]
    floors: dict[str, int]


class Partition(Generic[S, E]):
    """Call `restore` for each state record, `restored` once, then `batch`, `tick`, `sweep` in any order, one at a time."""

    def __init__(
        self,
        fold: Fold[S, E],
        reference: Reference,
        number: int,
        *,
        clock: Clock | None = None,
        cache: ObjectCache | None = None,
        limits: Limits | None = None,
        rule_pack: str = "",
    ) -> None:
        self.fold, self.reference, self.number = fold, reference, number
        self.clock, self.limits = clock or Clock(), limits or Limits()
        self.cache = cache or ObjectCache()
        self.rule_pack = rule_pack
        self.cells, self.counters = Cells(), Counters()
        self.broadcasts = Broadcasts(fold.broadcast_slot, fold.decode)
        self.now = 0
        """Highest time of this partition, microseconds UTC; never falls."""
        self._floors: dict[str, int] = {}
        self._told: dict[str, list[str]] = {}
        self._below, self._unread, self._late_left = 0, False, LATE_STEPS_MAX
        self._owner = next(_owners)
        self._left_over: dict[str, bytes | None] = {}
        self._keys: dict[bytes | None, str] = {}

    # -- restore ---------------------------------------------------------------------------------------------------------
    def restore(self, key: bytes, value: bytes | None) -> None:
        """One record of the state topic, in log order. Raises BadState."""
        name = key.decode()
        if name not in OF_TRANSPORT:
            self.cells.restore(name, value)

    def restore_revision(self, key: bytes | None, headers: Sequence[tuple[str, bytes]]) -> None:
        """One record of the revision topic, after all of the state: what the world has seen may be ahead of the state that a crash left."""
        found = dict(headers)
        if REVISION_HEADER not in found or KEY_HEADER not in found:
            return
        name, revision = found[KEY_HEADER].decode(), int(found[REVISION_HEADER])
        self.restore_floor(name, revision)
        own = key.decode() if key is not None else name
        if own != name and own.startswith(name) and revision > self.cells.revision(name):
            self.restore_floor(told_name(name, own[len(name):]), revision)

    def restore_floor(self, name: str, revision: int) -> None:
        """A revision that the world has seen."""
        self._floors[name] = max(self._floors.get(name, 0), revision)

    def image(self) -> Image | None:
        """What restoring the topic as far as it was written would give; None while something in memory was not handed over for writing."""
        return None if self._left_over else Image(self.cells.image(), dict(self._floors))

    def adopt(self, image: Image) -> None:
        """Begin with an image; then `restore` the records written since, in log order, and call `restored`."""
        self.cells.adopt(image.cells)
        self._floors = dict(image.floors)
        self.remember_revisions()

    def remember_revisions(self) -> None:
        """The revisions of all keys as they are now were seen by the world, even if a later record of a key has a lower one (a former owner's)."""
        for key, header in self.cells.headers():
            if header.revision > self._floors.get(key, 0):
                self._floors[key] = header.revision

    def restored(self, below: int = 0) -> None:
        """All records are there: order the due times, rebuild broadcasts, and go on with a sweep that a crash cut short.

        Inputs below offset `below` may have been worked on before, by an owner that ended after it had published what they said and before it had
        written its state. Nobody knows how they were cut into batches then. So they are stepped one by one, which passes through every state
        that was ever spoken of: what was said too early is said again, and so it is taken back when it no longer holds.
        """
        self._below = below
        self._unread = below > 0 and not self.fold.revision_topics  # what a step has said that has revisions is known
        self._late_left = LATE_STEPS_MAX
        overtaken = self.cells.overtaken()
        left = self.cells.restored()
        self.now = self.cells.now
        self._left_over = {**overtaken, **self.broadcasts.restored(self.cells, self.rule_pack, self.now), **dict.fromkeys(left)}
        self.cells.begin_sweep(self.broadcasts.epoch)
        self._floors = {k: v for k, v in self._floors.items() if self.cells.revision(k.partition(TOLD)[0]) < v}
        for name in sorted(self._floors):
            key, told, what = name.partition(TOLD)
            if told:
                self._told.setdefault(key, []).append(what)

    def highest_offset(self) -> int:
        """Highest input offset that any key has applied, -1 = none. At or beyond the input's end: the input topic was made anew."""
        return max((header.offset for _, header in self.cells.headers()), default=-1)

    def close(self) -> None:
        """The partition is given up: free its decoded objects."""
        self.cache.drop_owner(self._owner)

    # -- work ------------------------------------------------------------------------------------------------------------
    def batch(self, records: Sequence[Record]) -> tuple[Effect, ...]:
        """Effects of a batch: every record applied, or accounted for by offset. Poison never stops the records after it."""
        steps = self.steps(records)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return cast("tuple[Effect, ...]", end.value)

    def steps(self, records: Sequence[Record]) -> Steps:
        """The same, with places in between where something else may be done, though nothing with this partition."""
        first = records[0].offset
        if self._below:
            self._below = min(self._below, max(first, self.cells.highest + 1) + LOST_RECORDS_MAX) if self._below > first else 0
        if self._unread:
            return (yield from self._made_up(records))
        self.now = max(self.now, self.clock.now(max([r.timestamp for r in records]) * 1000))
        draft, found = self._draft(), dict[str, list[Input[E]]]()
        for at in range(0, len(records), READ_AT_ONCE):
            self._by_key(records[at : at + READ_AT_ONCE], found, draft)
            yield
        for key, inputs in found.items():
            self._inputs(key, inputs, draft)
            yield
        return self._effects(draft, records)

    def _effects(self, draft: Draft, records: Sequence[Record]) -> tuple[Effect, ...]:
        self.counters.applied += len(records) - len(draft.exceptions)
        self.counters.dead += draft.dead
        return draft.effects(records, self.now)

    def _made_up(self, records: Sequence[Record]) -> Steps:
        """What a former owner may have read, and the first that it cannot have. Before each it may have heard the clock, spoken and lost its state: keys whose
        time has come by then are stepped at that time, or what was said would never be taken back."""
        draft = self._draft()
        for n, record in enumerate(records):
            until = self.clock.now(record.timestamp * 1000)
            yield from self._late_steps(until, draft)
            if record.offset >= self._below:
                self._unread = False
                before = self._effects(draft, records[:n]) if n else draft.effects()
                return *before, *(yield from self.steps(records[n:]))
            self.now = max(self.now, until)
            self._by_key([record], found := dict[str, list[Input[E]]](), draft)
            for key, inputs in found.items():
                self._inputs(key, inputs, draft)
            yield
        return self._effects(draft, records)

    def _late_steps(self, until: int, draft: Draft) -> Generator[None, None, None]:
        while self._late_left > 0 and (due := self.cells.next_due()) is not None and due <= until:
            self._late_left -= 1
            self.now = max(self.now, due)
            self._next_due(draft)
            yield

    def due(self, now: int) -> bool:
        """Has a key's time come?"""
        head = self.cells.next_due()
        return head is not None and head <= now

    def tick(self, now: int, more: Callable[[], bool]) -> tuple[Effect, ...]:
        """Step the keys that are due at `now`, in due order, as long as `more()`. The rest stays due."""
        if now > self.now:                                # with everything read: until then the clock stands where the inputs are
            self.now, self._unread = now, False
        draft = self._draft()
        while more() and self._next_due(draft):
            pass
        return draft.effects()

    def _next_due(self, draft: Draft) -> bool:
        """Step the key that is due first; False: none is."""
        key = self.cells.pop_due(self.now)
        if key is None:
            return False
        if key.startswith(RESERVED):
            draft.puts.update(self.broadcasts.forget(key, self.cells))
        else:
            self.counters.ticks += 1
            self._quiet(key, draft)
        return True

    @property
    def sweeping(self) -> int:
        """Keys that have not yet been stepped with the latest broadcast."""
        return self.cells.sweeping

    def sweep(self, more: Callable[[], bool]) -> tuple[Effect, ...]:
        """Step the next keys with what concerns everybody, as long as `more()`. Resumable: a key's epoch is in its state header."""
        draft = self._draft()
        while more() and (key := self.cells.pop_sweep(self.broadcasts.epoch)) is not None:
            self.counters.swept += 1
            self._quiet(key, draft)
        return draft.effects()

    # -- one record, one key ----------------------------------------------------------------------------------------------
    def _draft(self) -> Draft:
        draft = Draft(self.fold.name, self.number, self.fold.state_topic, self.fold.revision_topics)
        draft.puts.update(self._left_over)
        self._left_over = {}
        return draft

    def _by_key(self, records: Sequence[Record], found: dict[str, list[Input[E]]], draft: Draft) -> None:
        """Adds the inputs of each key, in the order of the log. Poison and broadcasts are dealt with at once."""
        keys, decode, broadcasts = self._keys, self.fold.decode, self.fold.broadcasts
        for record in records:
            raw, value = record.key, record.value
            try:
                key = keys.get(raw) or self._key_of(record)
                if value is None:
                    raise codec.Refused("NO_VALUE", "$", "", "an input is never a tombstone")
                event = decode(value)
            except codec.Refused as poison:
                draft.dead_letter(record, "refused", poison.refusal)
                continue
            except RecursionError:
                draft.dead_letter(record, "refused", codec.Refusal("TOO_DEEP", "$", "", "nested too deeply to be read"))
                continue
            if broadcasts and isinstance(event, broadcasts):
                self._broadcast(record, value, event, draft)
            elif (inputs := found.get(key)) is None:
                found[key] = [Input(record, event)]
            else:
                inputs.append(Input(record, event))

    def _key_of(self, record: Record) -> str:
        """The key as text, remembered. Raises Refused."""
        key = _key_of(record)
        if len(self._keys) >= KEYS_MAX:
            self._keys.clear()
        self._keys[record.key] = key
        return key

    def _broadcast(self, record: Record, data: bytes, event: msgspec.Struct, draft: Draft) -> None:
        taken, puts = self.broadcasts.take(event, data, record.offset, self.cells, self.now)
        draft.puts.update(puts)
        if taken == "applied":
            self.counters.broadcasts += 1
            self.cells.begin_sweep(self.broadcasts.epoch)
        elif taken == "parked":
            draft.dead_letter(record, "parked", codec.Refusal("TOO_MANY_BROADCASTS"))
        else:
            draft.exception(record.offset, taken)

    def _inputs(self, key: str, inputs: Sequence[Input[E]], draft: Draft) -> None:
        cell = self.cells.get(key)
        applied = cell[0].offset if cell else -1
        fresh = inputs if inputs[0].record.offset > applied else [i for i in inputs if i.record.offset > applied]
        for known in inputs[: len(inputs) - len(fresh)]:
            self.counters.redelivered += 1
            draft.exception(known.record.offset, "redelivered")
        if not fresh:
            return
        if len(fresh) > 1 and fresh[0].record.offset < self._below:
            lost = [i for i in fresh if i.record.offset < self._below]
            for part in (*([one] for one in lost), fresh[len(lost):]):
                if part:
                    self._inputs(key, part, draft)
            return
        try:
            self._step(key, [i.event for i in fresh], fresh[-1].record.offset, draft, fresh)
        except (TooLarge, codec.Refused) as refused:
            self.cache.drop(self._owner, key)
            if len(fresh) > 1:  # one by one, so that only what is too much is parked
                for one in fresh:
                    self._inputs(key, [one], draft)
            else:
                draft.dead_letter(fresh[0].record, "parked" if isinstance(refused, TooLarge) else "refused", refused.refusal)

    def _quiet(self, key: str, draft: Draft) -> None:
        """A step without events: a tick, or a key's turn in a sweep."""
        cell = self.cells.get(key)
        assert cell is not None
        try:
            self._step(key, (), cell[0].offset, draft, ())
        except TooLarge:
            self.counters.parked_ticks += 1
            self.cache.drop(self._owner, key)
            header = msgspec.structs.replace(cell[0], due=self.now + PARKED_TICK, epoch=self.broadcasts.epoch)
            self.cells.put(key, header, cell[1])

    def _step(self, key: str, events: Sequence[E], offset: int, draft: Draft, inputs: Sequence[Input[E]]) -> None:
        cell = self.cells.get(key)
        floor = max(cell[0].revision if cell else 0, self._floors.get(key, 0))
        apart = self._floors.get(covert_name(key), 0)
        world = World(self.reference, self.broadcasts.world, floor, apart, tuple(self._told.get(key, ())))
        step = self.fold.step(self._object(key, cell), key, events, world, self.now)
        self.counters.steps += 1
        patch = self.fold.encode_patch(step.state) if cell is not None and step.changed and step.state is not None else None
        data = cell[1] if cell is not None and (patch is not None or not step.changed) else self._encoded(step)
        values = self._values(step.outputs)
        revision = max([floor, *(emit.revision for emit in step.outputs if not emit.covert)])
        if (covert := max([apart, *(emit.revision for emit in step.outputs if emit.covert)])) > apart:
            self._floors[covert_name(key)] = covert
        for outcome in step.outcomes:
            draft.outcome(inputs[outcome.index].record, outcome)
        draft.emit(key, step.outputs, values)
        self._keep(key, cell, step, data, patch, offset, revision, draft)

    def _keep(
        self, key: str, cell: tuple[Header, bytes] | None, step: Step[S], data: bytes | None, patch: bytes | None, offset: int, revision: int,
        draft: Draft,
    ) -> None:
        self._floors.pop(key, None)
        for what in self._told.pop(key, ()):
            self._floors.pop(told_name(key, what), None)
        if step.state is None:
            self._floors.pop(covert_name(key), None)
            self.cache.drop(self._owner, key)
            if cell is not None or key in draft.puts:
                self.cells.drop(key)
                draft.put(key, None)
                self._without_part(key, draft)
            return
        due = step.next_due
        if due is not None and due <= self.now:
            self.counters.due_in_past += 1
            due = self.now + AGAIN_MIN
        old = cell[0] if cell else None
        if not step.changed and old is not None and cell is not None and due == old.due and revision == old.revision:
            # Nothing to write: the epoch is kept in memory only, a restart would sweep this key once more.
            self.cells.put(key, msgspec.structs.replace(old, epoch=self.broadcasts.epoch), cell[1])
            return
        assert data is not None
        header = Header(offset, old.seq + 1 if old else 1, due, self.broadcasts.epoch, revision, self.now)
        self.cache.put(self._owner, key, step.state, len(data))
        if patch is None and not step.changed:
            patch = self.cells.patch(key)                # what is due has changed: the part says it as long as there is one
        if patch is not None:
            draft.put(PART + key, self.cells.put_part(key, header, patch))
            return
        draft.put(key, self.cells.put(key, header, data))
        self._without_part(key, draft)

    def _without_part(self, key: str, draft: Draft) -> None:
        """A whole state takes its part with it, behind it: a crash between the two leaves a part that is older, which nobody misses."""
        part = PART + key
        if part in self.cells:
            self.cells.drop(part)
            draft.put(part, None)

    def state(self, key: str) -> S | None:
        """The state of a key, read anew from its bytes; None when there is none. Raises BadState."""
        cell = self.cells.get(key)
        return None if cell is None else self._read(key, cell[1])

    def _read(self, key: str, data: bytes) -> S:
        patch = self.cells.patch(key)
        try:
            return self.fold.decode_state(data) if patch is None else self.fold.decode_patched(data, patch)
        except Exception as error:  # every decoder has errors of its own, and none of them may be taken for a fault that a restart mends
            raise BadState(f"state of {key!r} in {self.fold.state_topic}/{self.number} cannot be read by this version: {error}") from error

    def _object(self, key: str, cell: tuple[Header, bytes] | None) -> S | None:
        if cell is None:
            return None
        held: S | None = self.cache.get(self._owner, key)  # type: ignore[assignment]  # only this partition puts under its owner id
        if held is None:
            self.counters.decoded += 1
            held = self._read(key, cell[1])
            self.cache.put(self._owner, key, held, len(cell[1]))
        return held

    def _encoded(self, step: Step[S]) -> bytes | None:
        if step.state is None:
            return None
        data = self.fold.encode_state(step.state)
        if len(data) > self.limits.state_bytes_max:
            raise TooLarge("STATE_TOO_LARGE", len(data), self.limits.state_bytes_max)
        return data

    def _values(self, emits: Sequence[Emit]) -> list[bytes | None]:
        encode = codec.encode if len(emits) < SHARED_MIN else Shared().encode
        return [self._value(emit.value, encode) for emit in emits]

    def _value(self, value: msgspec.Struct | None, encode: Callable[[msgspec.Struct], bytes]) -> bytes | None:
        if value is None:
            return None
        data = encode(value)
        if len(data) > self.limits.output_bytes_max:
            raise TooLarge("OUTPUT_TOO_LARGE", len(data), self.limits.output_bytes_max)
        return data


def _key_of(record: Record) -> str:
    try:
        key = record.key.decode() if record.key is not None else ""
    except UnicodeDecodeError as error:
        raise codec.Refused("BAD_KEY", "$", record.key, "the key is not UTF-8") from error
    if not key or key.startswith(RESERVED):
        raise codec.Refused("BAD_KEY", "$", key, "the key is empty or reserved")
    return key
