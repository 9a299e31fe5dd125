"""What only one authority may know, and when it begins, moves no public byte: the public speaks on public input and at public due times."""
from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from streams.assess import assess
from streams.clearance import ClearanceFold, Shipment
from streams.fold import World
from streams.network.calendar import Calendar, is_open, next_close
from streams.reference.working import parse_hours
from streams.rules import pack_of
from streams.rules.day import begin_of, day_of, moment
from tests.streams.border_world import BOX, CN_EXIT, GTT, KZ_ENTRY, T0, bound, doc, eta, presence, reference, shipment
from topics import codec
from topics.events.internal import FreshnessChanged, ShipmentFacts
from topics.events.outputs import ClearanceUpdate
from topics.events.sites import RiskIndicator
from topics.facts import DAY, HOUR, MINUTE, Fact, Rank

FOLD, REF, KEY = ClearanceFold(), reference(), "SAAAAAAAAAAAA"
WAITING = [shipment(enrolments=[]), bound(), doc(KZ_ENTRY, "pi", "P1", "registered", T0, "KZ"),
           presence(KZ_ENTRY, "presented", T0 + 3 * HOUR, source="term", rank=Rank.TERMINAL)]
Said = tuple[int, str, str, bytes]


def indicator(begins: int, until: int) -> RiskIndicator:
    return RiskIndicator(source="risk-kz", id="i1", event_time=moment(T0), authority="KZ", valid_from=moment(begins), valid_until=moment(until),
                         containers=(BOX,), score=0.9)


def play(facts: list[Fact], until: int, *said: msgspec.Struct, more: Sequence[tuple[int, list[Fact]]] = ()) -> list[Said]:
    """Steps the key whenever it is due or something arrives; gives what the public hears, with the time."""
    world = World(REF, {FOLD.broadcast_slot(b).id: b for b in said})
    state: Shipment | None = None
    heard: list[Said] = []
    arriving, now, due = [(T0 + 4 * HOUR, facts), *more], T0, None
    while now <= until:
        now = min([t for t, _ in arriving[:1]] + ([due] if due is not None else []), default=until + 1)
        if now > until:
            break
        new = arriving.pop(0)[1] if arriving and arriving[0][0] == now else []
        step = FOLD.step(state, KEY, [ShipmentFacts(shipment=KEY, facts=tuple(new))] if new else [], world, now)
        state, due = step.state, step.next_due
        heard += [(now, e.topic, e.key, codec.encode(e.value)) for e in step.outputs if e.value is not None and not e.topic.startswith("restricted")]
    return heard


@pytest.mark.parametrize("begins", [T0 + 5 * HOUR, T0 + 11 * HOUR, T0 + 23 * HOUR])
def test_an_indicator_that_begins_while_the_post_closes_moves_nothing_public(begins: int) -> None:
    plain = play(WAITING, T0 + 60 * HOUR)
    assert play(WAITING, T0 + 60 * HOUR, indicator(begins, begins + 7 * HOUR)) == plain
    updates: list[ClearanceUpdate] = [codec.decode(value, ClearanceUpdate) for _, topic, _, value in plain if topic == "clearance.history"]
    codes = {f.code for u in updates for f in u.findings}
    assert "POST_CLOSED" in codes, "it closes in that time"


def test_a_post_that_closes_while_goods_wait_is_said_when_it_closes() -> None:
    first = next(now for now, topic, _, value in play(WAITING, T0 + 60 * HOUR)
                 if topic == "clearance.history" and b"POST_CLOSED" in value)
    calendar = Calendar(parse_hours("Mo-Fr 09:00-18:00"), "Asia/Almaty")
    assert is_open(calendar, first - 1)
    assert not is_open(calendar, first)


def test_a_small_move_of_the_eta_that_was_not_worth_saying_is_not_said_because_an_indicator_ends() -> None:
    facts = [shipment(enrolments=[]), bound(), eta(KZ_ENTRY, T0 + 48 * HOUR)]
    more = [(T0 + 5 * HOUR, [eta(KZ_ENTRY, T0 + 50 * HOUR, said=T0 + 5 * HOUR)])]
    plain = play(facts, T0 + 30 * HOUR, more=more)
    assert play(facts, T0 + 30 * HOUR, indicator(T0 + HOUR, T0 + 29 * HOUR), more=more) == plain


def test_a_public_broadcast_is_heard_at_once_and_one_about_somebody_else_writes_nothing() -> None:
    first = FOLD.step(None, KEY, [ShipmentFacts(shipment=KEY, facts=tuple(WAITING))], World(REF), T0 + 4 * HOUR)
    quiet = FreshnessChanged(source="customs-kz", live=False, since=T0, last_event=T0)
    told = FOLD.step(first.state, KEY, [], World(REF, {"fresh:customs-kz": quiet}), T0 + 4 * HOUR + MINUTE)
    assert any(b"SOURCE_STALE" in codec.encode(e.value) for e in told.outputs if e.value is not None)
    other = msgspec.structs.replace(quiet, source="customs-de")
    untold = FOLD.step(first.state, KEY, [], World(REF, {"fresh:customs-de": other}), T0 + 4 * HOUR + MINUTE)
    assert (untold.outputs, untold.changed) == ((), False)


def test_the_day_on_which_a_row_or_agreement_ends_is_a_due_time() -> None:
    tomorrow = day_of(T0 + DAY)
    ending = reference(agreements={GTT.id: msgspec.structs.replace(GTT, valid_to=tomorrow)})
    facts = [shipment(), bound()]
    due = [assess(KEY, facts, ref, (), T0, pack_of(ref)).next_due for ref in (ending, REF)]
    assert due == [begin_of(tomorrow), None]
    before, after = ({c.name for u in assess(KEY, facts, ending, (), now, "p").updates if u.side == CN_EXIT for c in u.conditions}
                     for now in (begin_of(tomorrow) - 1, begin_of(tomorrow)))
    assert "GTT-02" in before
    assert "GTT-02" not in after


@pytest.mark.parametrize(("hours", "at", "closes"), [
    ("Mo-Fr 09:00-18:00", "2026-02-03T10:00", "2026-02-03T18:00"), ("Mo-Fr 09:00-18:00", "2026-02-03T18:00", None),
    ("Mo-Fr 09:00-18:00", "2026-02-07T10:00", None), ("24/7", "2026-02-03T10:00", None)])
def test_when_a_post_stops_working(hours: str, at: str, closes: str | None) -> None:
    def instant(text: str) -> int:
        return begin_of(text) + int(text[11:13]) * HOUR
    assert next_close(Calendar(parse_hours(hours), "UTC"), instant(at)) == (instant(closes) if closes else None)
