"""Collects what one batch, tick or slice of a sweep says, and turns it into effects.

How every offset is accounted for. Each batch publishes one `outcomes.<stage>` record before its state: every offset in [first, last]
that holds a record was applied, except those listed. After a crash a range is read again, possibly cut into other batches, and its
outcomes are published again. An input that the key's state already holds is then listed as `redelivered`: because outcomes are durable
before state, its real fate stands in an earlier record. So the fate of an offset is **the last record that covers it and does not call
it redelivered**, and an offset that no record covers, or that all call redelivered, was lost. Records of one input partition have one
key, hence one order.
"""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from streams.effects import Ack, Effect, PublishOutcomes, PutState, Record, Send, plan
from streams.fold import Emit, Fate, Outcome
from topics import codec
from topics.events.outputs import BatchOutcomes, DeadLetter, ExceptionalOutcome

DEAD_LETTERS = "dead.letters"
RESTRICTED_DEAD_LETTERS = "dead.letters.restricted"
COVERT = b'"type":"risk.indicator"'
"""Bytes of a restricted message: whatever becomes of it, dispatchers must not see that it exists (design section 5)."""
OUTCOMES = "outcomes."
REVISION_HEADER = "railclear-revision"
"""Decimal revision of the record."""
KEY_HEADER = "railclear-key"
"""State key of the fold that published it; the record's own key may be finer (shipment and side)."""

TOLD = "\0told\0"
"""Between a state key and the rest of a record's own key, in the name of a revision that a lost step has published."""

EXCEPTIONS_MAX = 4000
"""Of one outcomes record; a batch with more gives several, each of its own range of offsets. At most 230 bytes each: below 1 MiB."""
REASON_MAX, PATH_MAX = 50, 70
"""Bytes of an exception's reason and path in the outcomes record; the dead letter has them whole."""

FateName = Literal["duplicate", "superseded", "waiting", "refused", "parked", "redelivered"]
_FATES: dict[Fate, FateName] = {
    Fate.DUPLICATE: "duplicate",
    Fate.SUPERSEDED: "superseded",
    Fate.WAITING: "waiting",
    Fate.REFUSED: "refused",
    Fate.PARKED: "parked",
}


def covert_name(key: str) -> str:
    """Under which the covert revisions of a key are counted."""
    return f"{key}\0covert"


def told_name(key: str, what: str) -> str:
    """Under which the revision of one record of a key is counted, as long as its state does not know of it."""
    return f"{key}{TOLD}{what}"


class Draft:
    """What will be published for one piece of work of one partition."""

    def __init__(self, stage: str, partition: int, state_topic: str, revision_topics: tuple[str, ...]) -> None:
        self.stage, self.partition = stage, partition
        self.state_topic, self.revision_topics = state_topic, revision_topics
        self.first: list[Send] = []
        self.outputs: list[Send] = []
        self.puts: dict[str, bytes | None] = {}
        self.exceptions: dict[int, ExceptionalOutcome] = {}
        self.dead = 0

    def emit(self, key: str, emits: Sequence[Emit], values: Sequence[bytes | None]) -> None:
        """Outputs of one step with their encoded values."""
        for emit, value in zip(emits, values, strict=True):
            headers = emit.headers
            if emit.revision:
                headers = (*headers, (REVISION_HEADER, str(emit.revision).encode()), (KEY_HEADER, (covert_name(key) if emit.covert else key).encode()))
            partition = emit.partition
            if partition is None and emit.topic in self.revision_topics:
                partition = self.partition
            send = Send(emit.topic, emit.key.encode(), value, partition, headers)
            (self.first if emit.first else self.outputs).append(send)

    def put(self, name: str, value: bytes | None) -> None:
        """A state record, behind all others so far: of a key written twice the order of the last time counts, or a part could come before its whole."""
        self.puts.pop(name, None)
        self.puts[name] = value

    def exception(self, offset: int, fate: FateName, reason: str = "", path: str = "", until: int | None = None) -> None:
        """This input was not simply applied."""
        said = ExceptionalOutcome(offset=offset, fate=fate, reason=_cut(reason, REASON_MAX), path=_cut(path, PATH_MAX), until=until)
        self.exceptions[offset] = said

    def outcome(self, record: Record, outcome: Outcome) -> None:
        """What the fold said of one input. What it refuses or parks keeps its original bytes."""
        fate = _FATES[outcome.fate]
        if fate in ("refused", "parked"):
            self.dead_letter(record, fate, codec.Refusal(outcome.reason, outcome.path, outcome.value))
        else:
            self.exception(record.offset, fate, outcome.reason, outcome.path, outcome.until)

    def dead_letter(self, record: Record, fate: FateName, refusal: codec.Refusal) -> None:
        """The whole record with position and reason, so that it can be looked at and played again."""
        letter = DeadLetter(
            stage=self.stage,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp,
            key=record.key,
            value=record.value,
            headers=tuple((name, value) for name, value in record.headers),
            code=refusal.code,
            path=refusal.path,
            reason=refusal.reason or refusal.value,
        )
        topic = RESTRICTED_DEAD_LETTERS if COVERT in (record.value or b"") else DEAD_LETTERS
        self.outputs.append(Send(topic, f"{record.topic}-{record.partition}-{record.offset}".encode(), codec.encode(letter)))
        self.exception(record.offset, fate, refusal.code, refusal.path)
        self.dead += 1

    def effects(self, records: Sequence[Record] = (), now: int = 0) -> tuple[Effect, ...]:
        """In the order that loses nothing; with `records`, their outcomes and their acknowledgement."""
        state = PutState(self.state_topic, self.partition, tuple((k.encode(), v) for k, v in self.puts.items())) if self.puts else None
        if not records:
            return plan(first=self.first, outputs=self.outputs, state=state)
        derived = sum(1 for send in self.outputs if send.topic.endswith(".in"))
        ack = Ack(records[0].topic, self.partition, records[-1].offset + 1)
        *more, outcomes = self._outcomes(records, now, derived)
        effects = plan(first=self.first, outputs=self.outputs, outcomes=outcomes, state=state, ack=ack)
        if more:
            at = next(n for n, effect in enumerate(effects) if isinstance(effect, PublishOutcomes))
            effects = (*effects[:at], *map(PublishOutcomes, more), *effects[at:])
        return effects

    def _outcomes(self, records: Sequence[Record], now: int, derived: int) -> list[Send]:
        """One record, unless so much of the batch was not simply applied that it would not fit."""
        size = len(records) if len(self.exceptions) <= EXCEPTIONS_MAX else EXCEPTIONS_MAX
        said = [self.exceptions[offset] for offset in sorted(self.exceptions)]
        found: list[Send] = []
        start = 0
        for first in range(0, len(records), size):
            part = records[first : first + size]
            end = start
            while end < len(said) and said[end].offset <= part[-1].offset:
                end += 1
            found.append(outcomes_of(self.stage, part, tuple(said[start:end]), now, derived if first + size >= len(records) else 0))
            start = end
        return found


def outcomes_of(stage: str, records: Sequence[Record], exceptions: tuple[ExceptionalOutcome, ...], now: int, derived: int = 0) -> Send:
    """The `outcomes.<stage>` record of one batch (records of one partition, in offset order, at least one)."""
    topic, partition = records[0].topic, records[0].partition
    said = BatchOutcomes(
        stage=stage,
        topic=topic,
        partition=partition,
        first=records[0].offset,
        last=records[-1].offset,
        count=len(records),
        exceptions=exceptions,
        absent=_absent(records),
        at=now,
        derived=derived,
    )
    return Send(OUTCOMES + stage, f"{topic}-{partition}".encode(), codec.encode(said))


def _cut(text: str, size: int) -> str:
    return text if len(text) * 4 <= size else text.encode()[:size].decode(errors="ignore")


def _absent(records: Sequence[Record]) -> tuple[tuple[int, int], ...]:
    """Ranges of offsets inside the batch that hold no record (transaction markers, compaction)."""
    if records[-1].offset - records[0].offset + 1 == len(records):
        return ()
    pairs = pairwise(records)
    return tuple((a.offset + 1, b.offset - 1) for a, b in pairs if b.offset > a.offset + 1)


__all__ = [
    "DEAD_LETTERS", "KEY_HEADER", "OUTCOMES", "RESTRICTED_DEAD_LETTERS", "REVISION_HEADER", "TOLD", "Draft", "FateName", "covert_name",
    "outcomes_of", "told_name",
]
