"""The CUSTODY fold: key container, one step merges inputs and says what has changed."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from streams.codes import UNKNOWN_CODE, About, agency_facts, facts_of, limit_fact, row_of, weight_of
from streams.custody.inputs import Aside, Input, State, add, arrivals, dealt, decode, encode, silences, words
from streams.custody.places import side_of_place, speaker
from streams.custody.presence import PRESENCE, Presence, direction_of, runs_of
from streams.custody.seals import deviations, seal_facts
from streams.custody.spans import Span, spans_of
from streams.custody.trip import exit_of, joined, loading_due, trip_facts, whereabouts
from streams.derived import CLEARANCE, Saying, after_inputs, after_time, alert, closing, difference, fact
from streams.fold import BroadcastSlot, Fate, Fold, Outcome, Step, World
from streams.kept import at_of, corrected, event_id, outcome
from streams.masks import REASON, Masks, authorities, covered, mark, mask_slot, masks_of
from streams.reference.model import Reference
from topics import codec
from topics.events.customs import CustomsNotice
from topics.events.internal import Binding, CustodyIn, MaskFacts, Movement
from topics.events.sites import AgencyNotice, SealEvent, TerminalEvent
from topics.facts import DAY, EVERYWHERE, Fact

N = TypeVar("N", CustomsNotice, AgencyNotice)
NOT_BOUND = "NOT_BOUND"
LIMIT = "CUSTODY_LIMIT"
AFTER_WAITING = 7 * DAY
"""How long an authority's word that found no shipment is kept after its alert [D]."""
AT_SIDE = {"loaded": "loading_start", "unloaded": "unloading", "transloaded": "unloading"}
TOLD = frozenset({"moved_to_inspection", "unstuffed", "stuffed", "stored", "gate_in", "gate_out"})


class CustodyFold(Fold[State, Input]):
    """Key: container number."""

    name = "custody"
    input_topic = "custody.in"
    state_topic = "custody.state"
    broadcasts = (MaskFacts,)

    def decode(self, value: bytes) -> Input:
        event: Input = codec.decode(value, CustodyIn)
        return event

    def encode_state(self, state: State) -> bytes:
        return encode(state)

    def decode_state(self, data: bytes) -> State:
        return decode(data)

    def broadcast_slot(self, event: msgspec.Struct) -> BroadcastSlot:
        if not isinstance(event, MaskFacts):
            raise TypeError(f"custody takes no broadcast of type {type(event).__name__}")
        return mask_slot(event)

    def step(self, state: State | None, key: str, events: Sequence[Input], world: World, now: int) -> Step[State]:
        """Merge, derive, say the difference."""
        held, reference = state or State(), world.reference
        merged, outcomes, counted = _merged(held, events, reference, now, masks_of(world.broadcasts))
        touched = now if counted else held.touched
        limits = reference.limits
        merged, dropped = _retired(merged, touched, now, limits.binding_retire_days * DAY, limits.retire_days_max * DAY)
        if not counted and held.touched and now >= held.touched + limits.retire_days_max * DAY and not merged.bindings:
            return Step(None, closing(held.said, after_time(held.version, held.touched, now)), tuple(outcomes))
        spans = spans_of(merged.bindings.values())
        waits = [e for e in words(key, merged) if not any(s.holds(at_of(e)) for s in spans)]
        since = None if not waits else held.waiting_since if held.waiting_since is not None else now
        give_up = None if since is None else since + limits.waiting_days_max * DAY
        sayings = [*_sayings(key, merged, spans, reference)]
        if give_up is not None and now >= give_up:
            sayings.append(alert(f"UnresolvedReference/{key}", "UnresolvedReference", "warning", give_up,
                                 f"{key}: an authority's word, and no shipment is known to be in it", container=key))
        version = after_inputs(held.version, counted) if counted else after_time(held.version, held.touched, now)
        emits, said = difference(merged.said, sayings, version)
        outcomes += _fates(key, merged, events, {o.index for o in outcomes}, spans, reference, give_up)
        due = _due(merged, touched, now, give_up, limits.binding_retire_days * DAY, limits.retire_days_max * DAY)
        changed = bool(counted or emits or dropped or since != held.waiting_since)
        if not changed:
            return Step(state, (), tuple(outcomes), due, changed=False)
        after = msgspec.structs.replace(merged, version=version, touched=touched, said=said, waiting_since=since)
        return Step(after, emits, tuple(sorted(outcomes, key=lambda o: o.index)), due)


def _merged(held: State, events: Sequence[Input], reference: Reference, now: int, masks: Masks) -> tuple[State, list[Outcome], int]:
    state, outcomes, counted = held.copy() if held.mark == mark(masks) else dealt(held.copy(), masks), list[Outcome](), 0
    for index, event in enumerate(events):
        if covered(masks, event):
            state, fate = _set_aside(state, event, reference)
            counted += fate is None
            outcomes.append(Outcome(index, Fate.WAITING, REASON) if fate is None else outcome(index, fate, LIMIT))
            continue
        limited = len(state.limited)
        row = row_of(reference, event) if isinstance(event, CustomsNotice) else None
        fate = add(state, event, lambda e: weight_of(e, reference), repeatable=row is not None and row.repeatable)
        counted += fate is None or len(state.limited) > limited     # that a word was left out must be told
        if fate is not None:
            outcomes.append(outcome(index, fate, LIMIT))
    return msgspec.structs.replace(state, arrived=arrivals(held, state, now)) if counted else state, outcomes, counted


def _set_aside(state: State, event: Input, reference: Reference) -> tuple[State, Fate | None]:
    aside = state.aside or Aside().copy()
    fate = add(aside, event, lambda e: weight_of(e, reference))
    return msgspec.structs.replace(state, aside=aside), fate


def _sayings(container: str, state: State, spans: list[Span], reference: Reference) -> Iterator[Saying]:
    here = whereabouts(state)
    yield from joined(container, state, spans, here)
    for notice in words(container, state):
        if isinstance(notice, CustomsNotice) and row_of(reference, notice) is None:
            yield alert(f"UnknownCode/{notice.system}/{notice.code}/{container}", "UnknownCode", "warning", at_of(notice),
                        f"{notice.system} {notice.code}: kept without effect", container=container)
    for span in spans:
        for f in _facts(container, state, span, reference):
            yield fact(span.shipment, f)
        for f in trip_facts(container, state, span, here, reference):
            yield fact(span.shipment, f)


def _facts(container: str, state: State, span: Span, reference: Reference) -> Iterator[Fact]:
    direction = span.direction or direction_of(state, span)
    presence = Presence(state, span, reference)
    yield from _bound(container, span, reference)
    yield from presence.facts(container)
    yield from _conveyance(container, state, span)
    yield from seal_facts(container, list(state.seals.values()), span, direction, reference)
    yield from deviations(container, list(state.seals.values()), span, direction, reference)
    for event in state.terminal.values():
        if span.holds(at_of(event)):
            yield from _terminal(container, event, direction, reference, state, span)
    yield from loading_due(container, state, span, reference)
    aside = state.aside or Aside()
    apart: list[CustomsNotice | AgencyNotice] = [*aside.notices.values(), *aside.agencies.values()]
    masked = [e for e in apart if span.holds(at_of(e)) and not silences(e, container)]
    for authority in sorted(state.limited | authorities(masked)):
        yield limit_fact(authority, "", container)
    for word in words(container, state):
        if not span.holds(at_of(word)):
            continue
        if isinstance(word, AgencyNotice):
            yield from agency_facts(word, About(scopes=(container,)))
        elif (row := row_of(reference, word)) is not None:
            visit = str(presence.visit_of_authority(word.authority, at_of(word)))
            yield from facts_of(word, row, About(scopes=(container,), visit=visit))


def _bound(container: str, span: Span, reference: Reference) -> Iterator[Fact]:
    """That it carries the goods, and the seals that each document names."""
    for b in span.bindings:
        source, rank = speaker(reference, b.source)
        document = b.record.partition("#")[0]
        if b.seals:
            yield Fact(side=EVERYWHERE, key=("doc_seal", document), at=b.since, source=source, rank=rank, id=b.origin, scope=container,
                       value={"seals": list(b.seals)})
    chosen = max(span.bindings, key=lambda b: (b.firm, b.since, b.record))
    source, rank = speaker(reference, chosen.source)
    value: dict[str, object] = {
        "since": chosen.since, "until": span.said_end, "empty": any(b.empty for b in span.bindings), "act": _first(b.act for b in span.bindings),
        "replaces": _first(b.replaces for b in span.bindings), "document": chosen.record.partition("#")[0]}
    yield Fact(side=EVERYWHERE, key=("bound",), at=chosen.since, source=source, rank=rank, id=chosen.origin, scope=container, value=value)


def _first(texts: Iterator[str]) -> str:
    return next((t for t in texts if t), "")


def _conveyance(container: str, state: State, span: Span) -> Iterator[Fact]:
    """What authorities and terminals say of whole trains that it was on."""
    for run in runs_of(state.runs.values(), span):
        for f in run.conveyance:
            if f.key[0] not in PRESENCE:
                yield msgspec.structs.replace(f, scope=container)


def _terminal(container: str, event: TerminalEvent, direction: str, reference: Reference, state: State, span: Span) -> Iterator[Fact]:
    source, rank = speaker(reference, event.source)
    side = side_of_place(reference, event.place, direction)
    stage = side or (exit_of(event.place, state, span, reference) if event.what == "loaded" else "")
    told: dict[str, object] = {"place": event.place, "text": event.text[:200]} if event.text else {"place": event.place}

    def said(key: tuple[str, ...], value: bool | dict[str, object], where: str) -> Fact:
        return Fact(side=where, key=key, at=at_of(event), source=source, rank=rank, record=event.record, version=event.version, id=event_id(event),
                    scope=container, value=value, code=event.code, dated=event.date_only)

    if event.gross_kg is not None:
        mass = {"gross_kg": event.gross_kg, "tare_kg": event.tare_kg}
        yield said(("mass", event.place), {name: kg for name, kg in mass.items() if kg is not None}, EVERYWHERE)
    if event.what in AT_SIDE and stage:
        yield said((AT_SIDE[event.what],), True, stage)
    if event.what == "tallied" and side:
        yield said(("tally",), {"normal": event.normal, **told}, side)
    if event.what in TOLD:
        yield said(("terminal", event.what), told, side or EVERYWHERE)


def _fates(
    key: str, state: State, events: Sequence[Input], done: set[int], spans: list[Span], reference: Reference, give_up: int | None
) -> Iterator[Outcome]:
    spoken = words(key, state)
    for index, event in enumerate(events):
        if index in done or isinstance(event, Movement | Binding):
            continue
        if isinstance(event, CustomsNotice | AgencyNotice) and corrected(event, spoken):
            if not silences(event, key):
                yield Outcome(index, Fate.SUPERSEDED)
        elif isinstance(event, CustomsNotice) and row_of(reference, event) is None:
            yield Outcome(index, Fate.WAITING, UNKNOWN_CODE, "$.code", f"{event.system} {event.code}")
        elif not any(s.holds(at_of(event)) for s in spans):
            yield Outcome(index, Fate.WAITING, NOT_BOUND, "$.container", event.container, give_up)


def _retired(state: State, touched: int, now: int, quiet: int, idle: int) -> tuple[State, bool]:
    """Without shipments unloaded two weeks ago, and what happened to them. What was said of them stays said."""
    spans = spans_of(state.bindings.values())
    idle_out = touched + idle <= now
    over = {s.shipment for s in spans if idle_out or (s.said_end is not None and max(s.said_end, touched) + quiet <= now)}
    over -= {s.shipment for s in spans if s.said_end is None and not idle_out}
    living = [s for s in spans if s.shipment not in over]
    before = now - quiet
    arrived = state.arrived
    kept_runs = {name: r for name, r in state.runs.items() if arrived.get(name, now) > before or any(runs_of((r,), s) for s in living)}

    def lives(name: str, event: SealEvent | TerminalEvent | CustomsNotice | AgencyNotice) -> bool:
        patience = AFTER_WAITING if isinstance(event, CustomsNotice | AgencyNotice) else 0
        return arrived.get(name, now) > before - patience or any(s.holds(at_of(event)) for s in living)

    after = msgspec.structs.replace(
        state, bindings={n: b for n, b in state.bindings.items() if b.shipment not in over},
        runs=kept_runs, terminal={n: e for n, e in state.terminal.items() if lives(n, e)}, seals={n: e for n, e in state.seals.items() if lives(n, e)},
        notices=_recorded(state.notices, lives), agencies=_recorded(state.agencies, lives),
        said={n: w for n, w in state.said.items() if not (w.topic == CLEARANCE and w.key in over)})
    dropped = (len(after.bindings), len(after.runs), len(after.terminal), len(after.seals), len(after.notices), len(after.agencies)) != (
        len(state.bindings), len(state.runs), len(state.terminal), len(state.seals), len(state.notices), len(state.agencies))
    return after, dropped


def _recorded(held: dict[str, N], lives: Callable[[str, N], bool]) -> dict[str, N]:
    """Those that live, and what corrects them: else an earlier version would speak again."""
    kept = {name: e for name, e in held.items() if lives(name, e)}
    records = {(e.source, e.record) for e in kept.values() if e.record}
    return {name: e for name, e in held.items() if name in kept or (e.source, e.record) in records}


def _due(state: State, touched: int, now: int, give_up: int | None, quiet: int, idle: int) -> int | None:
    """The next time that something retires or a wait ends."""
    due = [touched + idle] if touched else []
    due += [max(s.said_end, touched) + quiet for s in spans_of(state.bindings.values()) if s.said_end is not None]
    due += [at + quiet + more for at in state.arrived.values() for more in (0, AFTER_WAITING)]
    if give_up is not None:
        due.append(give_up)
    return min((d for d in due if d > now), default=None)


__all__ = ["LIMIT", "NOT_BOUND", "CustodyFold"]
