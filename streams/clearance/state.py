"""What CLEARANCE keeps of one shipment: its facts in slots, and what it has last said of each side."""
from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from typing import ClassVar, Literal

import msgspec

from streams.assess.memo import Memo
from streams.clearance.kept import Ground
from streams.squeeze import CLEARANCE, loosened, squeezed
from topics.facts import DAY, Fact, Slot, slot_of, supersedes

FACTS_PER_SCOPE_MAX = 256
"""Facts of one scope at one side; one more is refused as FACTS_LIMIT. A block train's note has fifty boxes, so the side as a whole
takes more than one box may."""
FACTS_MAX = 6_000
"""Facts of one shipment: about 120 bytes each, so that the state stays below 768 kB."""
FACTS_MORE = 64
"""As many more, of a scope as of a shipment, are kept of what may stop goods: notes and readings are refused before a hold is."""
BYTES_PER_FACT_USUAL = 120
BYTES_STATE_MAX = 768 * 1024
assert (FACTS_MAX + FACTS_MORE) * BYTES_PER_FACT_USUAL < BYTES_STATE_MAX
AGAINST = frozenset({"revoked", "rejected", "invalidated"})
"""Words about a document that take something back."""

Severity = Literal["info", "warning", "critical"]
Limited = tuple[int, str]
"""(index of the fact in its message, side)."""


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """What was last published of one side."""

    revision: int
    digest: bytes
    state: str
    times: tuple[int | None, ...] = ()
    """Instants that ride on the ETA, as they were shown: (P10, P50, P90) and the deadline of each filing."""


class OpenAlert(msgspec.Struct, frozen=True, array_like=True):
    """An alert that is open."""

    name: str
    severity: Severity
    side: str


class Shipment(msgspec.Struct, frozen=True, array_like=True, kw_only=True, dict=True):
    """The state of one key. A retired shipment is a stub: no facts, only the final states.

    Beside what is written it may carry the memo of its last assessment (`remember`), which is no part of it: not encoded, not compared,
    not copied to a changed state.
    """

    SWELLS: ClassVar[int] = 59
    facts: tuple[Fact, ...] = ()
    """In slot order."""
    shown: dict[str, Shown] = {}
    last_revision: int = 0
    due_first: dict[str, int] = {}
    alerts: dict[str, OpenAlert] = {}
    alert_seq: int = 0
    summaries: dict[str, bytes] = {}
    """Run -> digest of the summary last sent."""
    restricted: dict[str, Shown] = {}
    """Side -> what its authority's restricted view last showed; own revisions."""
    limited: tuple[str, ...] = ()
    """Sides that have refused facts (FACTS_LIMIT)."""
    retired_at: int | None = None
    finals: dict[str, str] = {}
    """Stub: side -> final state."""
    heard: bytes = b""
    """Digest of the public broadcasts and the rule pack at the last public word."""
    due_public: int | None = None
    """When the clock alone may change a public word, as it stood at the last one."""
    heard_at: int = 0
    """Time of the last step that brought something new: from it retirement counts, never from event times alone, which may be years old.
    It decides when this state ends, and nothing that is said."""
    ground: Ground | None = None
    """What is kept of the last public assessment, so that the next one need not look at every side. It changes nothing that is said."""
    covert_revision: int = 0
    """Highest revision of a restricted view that this state has said: the world has seen a higher one when a step was lost."""


def memo_of(state: Shipment | None) -> Memo | None:
    """What the last assessment left; None for a state that was just decoded."""
    found: Memo | None = state.__dict__.get("memo") if state is not None else None
    return found


def remember(state: Shipment, memo: Memo | None) -> None:
    """Lets the next step of this state go on from here. Its bytes and its answers are the same without."""
    state.__dict__["memo"] = memo


MEMOS_WEIGHT_MAX = 100_000
"""Of the last assessments that a process remembers, all together (`Memo.weight`): about 70 MB, a thousand shipments of a single box."""


class Shelf:
    """The shipments assessed last. Only they keep a memo; of all others it is dropped."""

    __slots__ = ("_held", "_most", "_weight")

    def __init__(self, weight_max: int = MEMOS_WEIGHT_MAX) -> None:
        self._held: OrderedDict[str, tuple[Shipment, int]] = OrderedDict()
        self._most, self._weight = weight_max, 0

    def put(self, key: str, state: Shipment, memo: Memo | None) -> None:
        """Remember what this shipment's assessment leaves to its next one."""
        remember(state, memo)
        weight = memo.weight if memo is not None else 0
        _, before = self._held.pop(key, (None, 0))
        self._held[key] = state, weight
        self._weight += weight - before
        while self._weight > self._most and len(self._held) > 1:
            _, (oldest, gone) = self._held.popitem(last=False)
            self._weight -= gone
            oldest.__dict__.pop("memo", None)


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Shipment)


def encode(state: Shipment) -> bytes:
    return squeezed(_encoder.encode(state), CLEARANCE)


def decode(data: bytes) -> Shipment:
    return _decoder.decode(loosened(data))


def add(held: tuple[Fact, ...], new: Iterable[Fact]) -> tuple[tuple[Fact, ...], list[Fact], list[Limited], int]:
    """Merge facts into slots: (facts in slot order, those that changed something, those refused by a limit, how many were superseded).

    Merging keeps the highest of each slot, so order, repetition and lateness do not matter.
    """
    facts = list(held)
    changed: list[Fact] = []
    refused: list[Limited] = []
    superseded = 0
    for index, fact in enumerate(new):
        slot: Slot = slot_of(fact)
        at = bisect_left(facts, slot, key=slot_of)
        old = facts[at] if at < len(facts) and slot_of(facts[at]) == slot else None
        if old is not None:
            if supersedes(fact, old):
                facts[at] = fact
                changed.append(fact)
            elif fact != old:
                superseded += 1
        elif len(facts) >= FACTS_MAX + _more(fact) or _crowded(facts, fact, FACTS_PER_SCOPE_MAX + _more(fact)):
            refused.append((index, fact.side))
        else:
            facts.insert(at, fact)
            changed.append(fact)
    return tuple(facts) if changed else held, changed, refused, superseded


def _more(fact: Fact) -> int:
    """How many more than usual are kept of such: a word that may keep goods where they are comes in when another is refused."""
    return FACTS_MORE if fact.key[0] in ("demand", "agency") or (fact.key[0] == "doc" and fact.key[-1] in AGAINST) else 0


def _crowded(facts: list[Fact], fact: Fact, limit: int) -> bool:
    """Has this scope at this side as many facts as are kept?"""
    if len(facts) < limit:
        return False
    begin = bisect_left(facts, fact.side, key=_side)
    end = bisect_right(facts, fact.side, lo=begin, key=_side)
    return sum(f.scope == fact.scope for f in facts[begin:end]) >= limit


def _side(fact: Fact) -> str:
    return fact.side


def newest_at(facts: Iterable[Fact]) -> int:
    """Event time of the newest fact; 0 without any."""
    return max((f.at for f in facts), default=0)


def retire_at(state: Shipment, terminal_at: int | None, transit_open: bool, days: int, days_max: int) -> int | None:
    """When the shipment retires: `days` after its last side became final and no transit is open, at the latest `days_max` after its last word.

    Both count from the later of event time and hearing, so that what is told years afterwards is still said, and kept as long as any other.
    """
    if not state.facts:
        return None
    last = max(newest_at(state.facts), state.heard_at)
    latest = last + days_max * DAY
    if terminal_at is None or transit_open:
        return latest
    return min(latest, max(terminal_at, last) + days * DAY)
