"""Revisions of restricted views survive a crash between outputs and state, and no public number depends on them."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agents.runner.cells import ObjectCache
from agents.runner.clock import Clock
from agents.runner.partition import Partition
from streams.clearance import ClearanceFold
from streams.effects import Effect, LogRecord, Publish, PutState, Send
from streams.rules import pack_of
from tests.streams.border_world import T0
from tests.streams.test_clearance_covert import KEY, REF, WAITING, indicator
from topics import codec
from topics.events.internal import ShipmentFacts
from topics.events.outputs import ClearanceUpdate
from topics.facts import DAY, HOUR
from topics.registry import RESTRICTED_REVISIONS

Bench = Partition[Any, Any]
NOW = T0 + 4 * HOUR
FACTS = ShipmentFacts(shipment=KEY, facts=tuple(WAITING))
BEGINS = indicator(T0 + HOUR, T0 + 5 * DAY)


def a_partition(states: Sequence[tuple[bytes, bytes | None]] = (), revisions: Sequence[Send] = ()) -> Bench:
    made: Bench = Partition(ClearanceFold(), REF, 0, clock=Clock(), cache=ObjectCache(1 << 24), rule_pack=pack_of(REF))
    for key, value in states:
        made.restore(key, value)
    for send in revisions:
        made.restore_revision(send.key, send.headers)
    made.restored()
    return made


def record(offset: int, event: msgspec.Struct, at: int) -> LogRecord:
    return LogRecord("clearance.in", 0, offset, at // 1000, KEY.encode(), codec.encode(event))


def sends(effects: Sequence[Effect]) -> list[Send]:
    return [send for e in effects if isinstance(e, Publish) for send in e.sends]


def puts(effects: Sequence[Effect]) -> list[tuple[bytes, bytes | None]]:
    return [put for e in effects if isinstance(e, PutState) for put in e.records]


def restricted(said: Sequence[Send]) -> list[ClearanceUpdate]:
    return [codec.decode(s.value, ClearanceUpdate) for s in said if s.topic == "restricted.kz" and s.value is not None]


def public(said: Sequence[Send]) -> list[Send]:
    return [s for s in said if not s.topic.startswith("restricted.")]


def test_a_view_that_a_crash_left_without_state_is_not_said_again_under_its_revision() -> None:
    before = a_partition()
    states = puts(before.batch([record(0, FACTS, NOW)]))
    states += puts(before.batch([record(1, BEGINS, NOW + 60_000_000)]))
    lost = sends(before.sweep(lambda: True))                     # its state is never written
    said = restricted(lost)
    assert [u.side for u in said] == ["CN-KZ-ALASHANKOU-DOSTYK:KZ:ENTRY"]
    restoring = [s for s in lost if s.topic == RESTRICTED_REVISIONS]
    assert [(s.partition, s.value == codec.encode(u)) for s, u in zip(restoring, said, strict=True)] == [(0, True)]
    again = [restricted(sends(a_partition(states, known).sweep(lambda: True))) for known in ((), restoring)]
    assert [u.revision for u in again[0]] == [said[0].revision], "without the topic the revision would come twice"
    assert [u.side for u in again[1]] == [said[0].side]
    known = [s for s in sends(a_partition(states, restoring).sweep(lambda: True)) if s.topic == RESTRICTED_REVISIONS]
    every = [codec.decode(s.value or b"", ClearanceUpdate) for s in known]
    assert [u.revision for u in every] == [said[0].revision + 1 + n for n in range(len(every))], "each authority of the route is told anew"
    assert again[1][0] in every
    after = a_partition(states, restoring)
    image = after.image()
    assert image is None or image.floors, "what is kept in memory or on disk knows it, too"


def test_a_former_owners_view_and_the_covert_floor_move_no_public_revision() -> None:
    first = a_partition()
    states = puts(first.batch([record(0, FACTS, NOW)])) + puts(first.batch([record(1, BEGINS, NOW + 60_000_000)]))
    high = Send(RESTRICTED_REVISIONS, KEY.encode(), b"{}", 0, (("railclear-revision", b"9000000000000000000"), ("railclear-key", KEY.encode() + b"\0covert")))
    later = ShipmentFacts(shipment=KEY, facts=tuple(msgspec.structs.replace(f, version=9, at=NOW + 2 * HOUR, id="x") for f in WAITING[2:3]))
    plain, moved = (a_partition(states, known) for known in ((), (high,)))
    for made in (plain, moved):
        made.sweep(lambda: True)
    without, with_it = (sends(made.batch([record(2, later, NOW + 3 * HOUR)])) for made in (plain, moved))
    assert public(with_it) == public(without)
    assert public(without), "it said something"


def test_the_record_that_restores_goes_with_the_stub_and_only_where_there_was_one() -> None:
    for told in (False, True):
        made = a_partition()
        made.batch([record(0, FACTS, NOW)])
        if told:
            made.batch([record(1, BEGINS, NOW + 60_000_000)])
            assert restricted(sends(made.sweep(lambda: True)))
        gone: list[Send] = []
        for day in range(1, 1200):
            gone += sends(made.tick(NOW + day * DAY, lambda: True))
        assert made.state(KEY) is None, "retired, and its stub is gone"
        tombs = [s for s in gone if s.topic == RESTRICTED_REVISIONS and s.value is None]
        assert len(tombs) == int(told)
