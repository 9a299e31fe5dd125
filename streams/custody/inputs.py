"""What CUSTODY keeps of one container: a merge of its inputs in which order and repetition do not matter."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, TypeVar

import msgspec

from streams import masks as masking
from streams.derived import Said
from streams.fold import Fate
from streams.kept import at_of, digest, identity, keep, keep_weightiest, order, put, speaking, tag_of
from streams.masks import Masks
from streams.squeeze import CUSTODY, loosened, squeezed
from topics.events.customs import CustomsNotice
from topics.events.internal import Binding, Movement
from topics.events.sites import AgencyNotice, SealEvent, TerminalEvent

BINDINGS_MAX = 32
RUNS_MAX = 32
"""Train runs of one container: a trip takes three to six."""
TERMINAL_MAX = 200
NOTICES_MAX = 200
HEAVY, HEAVY_MAX = 2, 600
"""What stops goods gives way to nothing but its own limit."""
LOCKS_MAX = 32
"""Different seals and locks."""
ALARMS_MAX = 17
"""Alarms, and openings, kept per lock: one more than the status model tells apart, so that it sees that there were more."""
EARLIEST_READINGS, LATEST_READINGS = 2, 8
"""Other readings kept per lock and kind."""
ALARMING = frozenset({"tamper", "broken", "checked_bad", "opened_authorised"})

T = TypeVar("T", Movement, Binding)
W = TypeVar("W", CustomsNotice, AgencyNotice)
Input = Movement | Binding | SealEvent | TerminalEvent | CustomsNotice | AgencyNotice


class Aside(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Inputs that masks cover, in tables as those of the state."""

    terminal: dict[str, TerminalEvent] = {}
    seals: dict[str, SealEvent] = {}
    notices: dict[str, CustomsNotice] = {}
    agencies: dict[str, AgencyNotice] = {}
    limited: dict[str, bool] = {}

    def copy(self) -> Aside:
        """A copy whose tables may be changed."""
        return Aside(terminal=dict(self.terminal), seals=dict(self.seals), notices=dict(self.notices), agencies=dict(self.agencies),
                     limited=dict(self.limited))


class State(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """The state of one key."""

    SWELLS: ClassVar[int] = 25
    version: int = 0
    touched: int = 0
    """`now` of the last step with an input that changed something."""
    bindings: dict[str, Binding] = {}
    """Record and shipment -> highest version."""
    runs: dict[str, Movement] = {}
    """Run -> highest sequence."""
    terminal: dict[str, TerminalEvent] = {}
    seals: dict[str, SealEvent] = {}
    notices: dict[str, CustomsNotice] = {}
    agencies: dict[str, AgencyNotice] = {}
    arrived: dict[str, int] = {}
    """Run, or name of an event -> `now` when its word came: what is forgotten goes by this, because old events may come late."""
    said: Said = {}
    limited: dict[str, bool] = {}
    """Authorities of which a word was left out because there were too many."""
    waiting_since: int | None = None
    """When it first had an authority's word and no shipment to say it of."""
    aside: Aside | None = None
    """What masks cover: kept, without effect."""
    mark: bytes = b""
    """The masks by which the inputs were dealt out (streams.masks)."""

    def copy(self) -> State:
        """A copy whose tables may be changed."""
        return msgspec.structs.replace(self, bindings=dict(self.bindings), runs=dict(self.runs), terminal=dict(self.terminal),
                                       seals=dict(self.seals), notices=dict(self.notices), agencies=dict(self.agencies),
                                       limited=dict(self.limited), aside=self.aside.copy() if self.aside is not None else None)


def arrivals(before: State, after: State, now: int) -> dict[str, int]:
    """When each input came that is kept; a run's latest picture counts."""
    found = {name: now if run is not before.runs.get(name) else before.arrived.get(name, now) for name, run in after.runs.items()}
    aside = after.aside or Aside()
    for table in (after.terminal, after.seals, after.notices, after.agencies, aside.terminal, aside.seals, aside.notices, aside.agencies):
        found |= {name: before.arrived.get(name, now) for name in table}
    return found


def dealt(state: State, masks: Masks) -> State:
    """The inputs dealt out anew, as these masks want it: those that count and those set aside, in tables that may be changed."""
    away = state.aside or Aside()
    terminal = masking.dealt(state.terminal, away.terminal, masks, highest=True)
    notices = masking.dealt(state.notices, away.notices, masks, highest=False)
    agencies = masking.dealt(state.agencies, away.agencies, masks, highest=False)
    seals: tuple[dict[str, SealEvent], dict[str, SealEvent]] = ({}, {})
    for seal in sorted((*state.seals.values(), *away.seals.values()), key=order):
        _seal(seals[masking.covered(masks, seal)], seal)
    aside = Aside(terminal=terminal[1], seals=seals[1], notices=notices[1], agencies=agencies[1], limited=dict(away.limited))
    return msgspec.structs.replace(state, terminal=terminal[0], seals=seals[0], notices=notices[0], agencies=agencies[0],
                                   aside=aside if aside != Aside() else None, mark=masking.mark(masks))


def add(state: State | Aside, event: Input, weight: Callable[[CustomsNotice | AgencyNotice], int], *, repeatable: bool = False) -> Fate | None:
    """Merge one input into a copied state. None when it changed something; REFUSED means that a limit is reached."""
    match event:
        case Movement() if isinstance(state, State):
            return _message(state.runs, event.run, event, lambda m: m.seq, RUNS_MAX)
        case Binding() if isinstance(state, State):
            return _message(state.bindings, f"{event.record}|{event.shipment}", event, lambda m: m.version, BINDINGS_MAX)
        case SealEvent():
            return _seal(state.seals, event)
        case TerminalEvent():
            return recorded(state.terminal, event, TERMINAL_MAX)
        case CustomsNotice():
            return _word(state, state.notices, event, weight, repeatable)
        case AgencyNotice():
            return _word(state, state.agencies, event, weight)
    raise TypeError(f"custody keeps no {tag_of(event)}")


def silences(event: CustomsNotice | AgencyNotice, container: str) -> bool:
    """Is it a correction that speaks under another key, and only takes back here what it corrects?"""
    return event.document is not None or event.container != container


def words(container: str, state: State) -> list[CustomsNotice | AgencyNotice]:
    """What authorities and agencies say of this container, as last corrected."""
    notices = list(state.notices.values())
    elsewhere = [e for e in notices if silences(e, container)]
    return [*speaking((e for e in notices if not silences(e, container)), elsewhere), *speaking(state.agencies.values())]


def _word(
    state: State | Aside, held: dict[str, W], event: W, weight: Callable[[CustomsNotice | AgencyNotice], int], repeatable: bool = False
) -> Fate | None:
    fate, gone = keep_weightiest(held, event, NOTICES_MAX, weight, heavy=HEAVY, most_heavy=HEAVY_MAX, repeatable=repeatable)
    if gone is not None:
        state.limited[gone.authority] = True
    return fate


def recorded(held: dict[str, TerminalEvent], event: TerminalEvent, most: int) -> Fate | None:
    """With a record of its source the highest version counts, else every event on its own."""
    if not event.record:
        return keep(held, event, most)
    name = f"{event.source}#{event.record}#{event.what}"
    if name not in held and len(held) >= most:
        return Fate.REFUSED
    return put(held, name, event)


def _message(held: dict[str, T], name: str, message: T, version: Callable[[T], int], most: int) -> Fate | None:
    """Keep the highest version of what another fold says; a withdrawal stays, so that what it withdraws cannot come back late."""
    old = held.get(name)
    if old is None:
        if len(held) >= most:
            return Fate.REFUSED
        held[name] = message
        return None
    if (version(message), digest(message)) > (version(old), digest(old)):
        held[name] = message
        return None
    return Fate.DUPLICATE if message == old else Fate.SUPERSEDED


def _seal(held: dict[str, SealEvent], event: SealEvent) -> Fate | None:
    name = identity(event)
    if name in held:
        return keep(held, event, len(held))
    locks = {(e.chain, e.seal) for e in held.values()}
    if (event.chain, event.seal) not in locks and len(locks) >= LOCKS_MAX:
        return Fate.REFUSED
    held[name] = event
    same = [(at_of(e), n) for n, e in held.items() if (e.chain, e.seal, e.what) == (event.chain, event.seal, event.what)]
    for dropped in _beyond(sorted(same), event.what in ALARMING):
        del held[dropped]
    return None if name in held else Fate.SUPERSEDED


def _beyond(readings: list[tuple[int, str]], alarming: bool) -> Iterable[str]:
    """Those that are not kept: of alarms the later ones, of other readings the middle. What is kept does not depend on arrival."""
    if alarming:
        return [name for _, name in readings[ALARMS_MAX:]]
    return [name for _, name in readings[EARLIEST_READINGS:-LATEST_READINGS]] if len(readings) > EARLIEST_READINGS + LATEST_READINGS else []


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(State)


def encode(state: State) -> bytes:
    return squeezed(_encoder.encode(state), CUSTODY)


def decode(data: bytes) -> State:
    return _decoder.decode(loosened(data))
