"""The DOCUMENTS fold: key `kind:number`, one step merges inputs and says what has changed."""
from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.codes import UNKNOWN_CODE, row_of, weight_of
from streams.derived import Saying, after_inputs, after_time, alert, closing, difference
from streams.documents.derive import Picture
from streams.documents.inputs import FORWARDED_MAX, HEAVY, HEAVY_MAX, Behind, Input, Inputs, State, dealt, decode, encode, put_message, silences
from streams.documents.names import DOCUMENTS, Edge, best_claim, other_numbers, ref_of, stated_numbers, tell_others
from streams.fold import BroadcastSlot, Fate, Fold, Outcome, Step, World
from streams.kept import corrected, event_id, outcome
from streams.masks import REASON, Masks, authorities, covered, lasting, mark, mask_slot, masks_of
from streams.reference.model import Reference
from topics import codec
from topics.events.base import Event
from topics.events.customs import CustomsNotice
from topics.events.internal import AliasFound, DocumentAsked, DocumentBound, DocumentsIn, Forwarded, MaskFacts
from topics.events.sites import AgencyNotice
from topics.events.trade import ContainerLoaded, DocumentLinked, FilingLodged, RequestAnswered, ShipmentDeclared
from topics.facts import DAY
from topics.identifiers import document_key

UNRESOLVED = "UNRESOLVED_REFERENCE"
AMBIGUOUS = "IDENTITY_AMBIGUOUS"
NOT_YOURS = "NOT_YOURS"
LIMIT = "DOCUMENT_LIMIT"


class DocumentsFold(Fold[State, Input]):
    """Key: kind and number of a document."""

    name = "documents"
    input_topic = DOCUMENTS
    state_topic = "documents.state"
    broadcasts = (MaskFacts,)

    def decode(self, value: bytes) -> Input:
        event: Input = codec.decode(value, DocumentsIn)
        return event

    def encode_state(self, state: State) -> bytes:
        return encode(state)

    def decode_state(self, data: bytes) -> State:
        return decode(data)

    def broadcast_slot(self, event: msgspec.Struct) -> BroadcastSlot:
        if not isinstance(event, MaskFacts):
            raise TypeError(f"documents take no broadcast of type {type(event).__name__}")
        return mask_slot(event)

    def step(self, state: State | None, key: str, events: Sequence[Input], world: World, now: int) -> Step[State]:
        """Merge, derive, say the difference."""
        held, limits = state or State(), world.reference.limits
        merged, outcomes, counted = _merged(held, key, events, world.reference, masks_of(world.broadcasts))
        quiet, gone = held.touched + limits.retire_days * DAY, held.touched + limits.retire_days_max * DAY
        if not counted and held.touched and now >= quiet:
            return _retired(held, key, world.reference, tuple(outcomes), gone, now)
        see = _See(key, merged, world.reference)
        since = None if see.settled else held.waiting_since if held.waiting_since is not None else now
        give_up = None if since is None else since + limits.waiting_days_max * DAY
        sayings = see.sayings
        if give_up is not None and now >= give_up:
            sayings.append(alert(f"UnresolvedReference/{key}", "UnresolvedReference", "warning", give_up, f"{key}: no shipment is known for it"))
        version = after_inputs(held.version, counted) if counted else after_time(held.version, held.touched, now)
        emits, said = difference(held.said, sayings, version)
        outcomes += see.fates(events, {o.index for o in outcomes}, give_up)
        touched = now if counted else held.touched
        due = min(d for d in (give_up, touched + limits.retire_days * DAY) if d is not None and d > now) if touched else None
        changed = bool(counted or emits or since != held.waiting_since)
        if not changed:
            return Step(state, (), tuple(outcomes), due, changed=False)
        after = msgspec.structs.replace(merged, version=version, touched=touched, said=said, waiting_since=since)
        return Step(after, emits, tuple(sorted(outcomes, key=lambda o: o.index)), due)


def _merged(held: State, key: str, events: Sequence[Input], reference: Reference, masks: Masks) -> tuple[State, list[Outcome], int]:
    held = held if held.mark == mark(masks) else dealt(held, masks)
    aside = None if held.aside is None else held.aside.copy()
    own, forwarded, aliases = held.own.copy(), dict(held.forwarded), dict(held.aliases)
    outcomes: list[Outcome] = []
    counted = 0
    for index, event in enumerate(events):
        limited = len(own.limited)
        if isinstance(event, Forwarded):
            fate = put_message(forwarded, f"{document_key(event.document)}|{event.record}", event, _room(event, reference))
            if fate is Fate.REFUSED and isinstance(event.event, CustomsNotice | AgencyNotice):
                own.limited[event.event.authority] = True
        elif isinstance(event, AliasFound):
            fate = put_message(aliases, document_key(event.other), event, FORWARDED_MAX)
        elif covered(masks, event):
            aside = aside or Inputs().copy()
            fate = aside.add(event, key, reference)
            if fate is None:
                outcomes.append(Outcome(index, Fate.WAITING, REASON))
        else:
            fate = own.add(event, key, reference)
        counted += fate is None or len(own.limited) > limited       # that a word was left out must be told
        if fate is not None:
            outcomes.append(outcome(index, fate, LIMIT))
    return msgspec.structs.replace(held, own=own, forwarded=forwarded, aliases=aliases, aside=aside), outcomes, counted


def _room(event: Forwarded, reference: Reference) -> int:
    """How many handed-on inputs there may be: what stops goods has room of its own."""
    word = event.event
    heavy = isinstance(word, CustomsNotice | AgencyNotice) and weight_of(word, reference) >= HEAVY
    return FORWARDED_MAX + HEAVY_MAX if heavy else FORWARDED_MAX


class _See:
    """What a merged state adds up to: handed on to the canonical number, or said to the shipments."""

    def __init__(self, key: str, state: State, reference: Reference) -> None:
        self.key, self.reference = key, reference
        inputs = _everything(state, reference)
        masked: dict[str, bool] = {}
        if state.aside is not None:
            apart: list[CustomsNotice | AgencyNotice] = [*state.aside.notices.values(), *state.aside.agencies.values()]
            masked = authorities(apart)
        inputs.limited |= {authority: True for told in state.aliases.values() for authority in told.limited} | masked
        claim = best_claim(key, state.own, state.aliases)
        stated = stated_numbers(key, inputs)
        others = other_numbers(key, stated, state.aliases)
        self.canonical = state.canonical or claim.key
        self.picture = Picture(key, inputs, others, state.covers, reference) if self.canonical == key else None
        told: list[Saying] = list(self.picture.sayings()) if self.picture else _handed_on(key, self.canonical, state.own)
        left_out = lasting(inputs.limited) | masked         # a mask that was heard of is lifted elsewhere: told on, two numbers would hold it by each other
        reached = {self.canonical: Edge(0, "", ref_of(self.canonical))} if masked and self.canonical != key else {}
        self.sayings = tell_others(key, claim, reached | others, stated, tuple(sorted(left_out))) + told
        if self.picture is not None and _two_documents(self.picture):
            self.sayings.append(alert(f"IdentityAmbiguous/{key}", "IdentityAmbiguous", "warning", 0,
                                      f"{key}: one number, two documents, and a reference that does not say which"))

    @property
    def settled(self) -> bool:
        """Nothing waits for a shipment."""
        p = self.picture
        if p is None or not p.speaks:
            return True
        words: list[CustomsNotice | AgencyNotice] = [*p.notices, *p.agencies]
        return bool(p.cover.all()) and all(p.covers(w.document, w.container) for w in words if w.container and p.cover.of(w.document))

    def fates(self, events: Sequence[Input], done: set[int], give_up: int | None) -> list[Outcome]:
        """What became of the inputs that were taken in."""
        if self.picture is None:
            return []
        found = (self._fate(i, e, self.picture, give_up) for i, e in enumerate(events) if i not in done)
        return [o for o in found if o is not None]

    def _fate(self, index: int, event: Input, picture: Picture, give_up: int | None) -> Outcome | None:
        key = self.key
        if isinstance(event, Forwarded) and event.event is not None:
            key, event = document_key(event.document), event.event
        if isinstance(event, DocumentAsked | DocumentBound | AliasFound | Forwarded):
            return None
        if isinstance(event, CustomsNotice) and silences(event, key):
            return None
        if isinstance(event, CustomsNotice | AgencyNotice) and corrected(event, [*picture.notices, *picture.agencies]):
            return Outcome(index, Fate.SUPERSEDED)
        if not_yours(event, picture):
            return Outcome(index, Fate.REFUSED, NOT_YOURS, "$.source", event.source)
        if isinstance(event, CustomsNotice) and row_of(self.reference, event) is None:
            return Outcome(index, Fate.WAITING, UNKNOWN_CODE, "$.code", f"{event.system} {event.code}")
        document = getattr(event, "document", None)
        if picture.cover.of(document) is None:
            return Outcome(index, Fate.WAITING, AMBIGUOUS, "$.document", document.number if document else "")
        covers = picture.covers(document, event.container if isinstance(event, CustomsNotice | AgencyNotice) else "")
        if not covers and isinstance(event, FilingLodged | ShipmentDeclared | DocumentLinked) and picture.asking:
            return None                                 # its effect is the question to the documents that it cites
        if not covers:
            return Outcome(index, Fate.WAITING, UNRESOLVED, "$.document", event_id(event), give_up)
        return None


def not_yours(event: Event, picture: Picture) -> bool:
    """Said by somebody who does not own the document: another party's filing, answer or declaration."""
    if isinstance(event, FilingLodged | RequestAnswered):
        return picture.filer not in ("", event.source)
    if isinstance(event, ShipmentDeclared) and not event.tentative:
        owners = {v.owner for v in picture.cover.variants if v.owner}
        return bool(owners) and event.source not in owners
    return False


def _two_documents(picture: Picture) -> bool:
    """Something under this number may mean either of two documents."""
    if picture.cover.ambiguous:
        return True
    i = picture.inputs
    events: list[CustomsNotice | AgencyNotice | DocumentAsked | ContainerLoaded] = [
        *picture.notices, *picture.agencies, *i.asks.values(), *i.loads.values()]
    refs = [e.document for e in events]
    return len(picture.cover.roots) > 1 and any(picture.cover.of(ref) is None for ref in refs)


def _everything(state: State, reference: Reference) -> Inputs:
    """Inputs under this number and those handed on from its other numbers."""
    inputs = state.own.copy()
    for _, handed in sorted(state.forwarded.items()):
        if handed.event is not None and not handed.withdrawn:
            inputs.add(handed.event, document_key(handed.document), reference)
    return inputs


def _handed_on(key: str, canonical: str, own: Inputs) -> list[Saying]:
    """Every input under this number, for the canonical one. Nothing that was handed on is handed on again: all numbers know the canonical one."""
    me, found = ref_of(key), []
    for table in own.__struct_fields__:
        if table in ("first", "limited"):
            continue
        for name, event in getattr(own, table).items():
            record = f"{table}|{name}"
            found.append(Saying(DOCUMENTS, canonical, f"handed|{key}|{record}", Forwarded(document=me, event=event, record=record, version=0),
                                Forwarded(document=me, record=record, version=0, withdrawn=True)))
    return found


def _retired(held: State, key: str, reference: Reference, outcomes: tuple[Outcome, ...], gone: int, now: int) -> Step[State]:
    """After a month without input only the shipments behind the number stay, so that a late word still finds them; after half a year
    nothing. What was said stays said."""
    resolved = closing(held.said, after_time(held.version, held.touched, now))
    if now >= gone:
        return Step(None, resolved, outcomes)
    if held.canonical and held.own.empty and not held.said:
        return Step(held, outcomes=outcomes, next_due=gone, changed=False)
    see = _See(key, held, reference)
    covers = {s: Behind(c.scope, c.containers, c.boxes, c.owners, c.continued) for s, c in see.picture.cover.all().items()} if see.picture is not None else {}
    if not covers and see.canonical == key:
        return Step(None, resolved, outcomes)
    stub = State(version=after_time(held.version, held.touched, now), touched=held.touched, aliases=held.aliases, covers=covers, canonical=see.canonical)
    return Step(stub, resolved, outcomes, next_due=gone)
