"""A valid event of 2 MB is applied: neither DOCUMENTS nor CLEARANCE parks it."""
from __future__ import annotations

import msgspec
import pytest

from streams.documents.slim import BYTES_KEPT, slim
from tests.sim.system import START, System
from tests.streams.folds_bench import BOX, BOX2, SHIPMENT, at, declared, filing
from topics import codec
from topics.events.outputs import ClearanceUpdate
from topics.events.trade import FilingLodged, Goods, ShipmentDeclared, Stuffing
from topics.registry import DEAD_LETTERS, inbound_topic

TWO_MB = 2 * 1024 * 1024
FORWARDER = "forwarder-alpha"
BATTERIES = Goods(description="lithium batteries", hs="850760", un="3480", packages=2)


def lines(n: int, text: str = "x", codes: int = 10_000) -> tuple[Goods, ...]:
    return tuple(Goods(description=f"{text * 160} {i}", hs=f"{i % codes:06d}", packages=1, gross_kg=1.0) for i in range(n))


def boxes(n: int, text: str = "x") -> tuple[Stuffing, ...]:
    return (Stuffing(container=BOX, goods=lines(n // 2, text), gross_kg=20_000.0),
            Stuffing(container=BOX2, goods=(*lines(n // 2, text), BATTERIES), gross_kg=20_000.0))


def size(event: msgspec.Struct) -> int:
    return len(codec.encode(event))


def test_what_is_short_is_kept_as_it_is() -> None:
    small = declared(boxes=(BOX,))
    assert slim(small) == small
    assert slim(filing(1, containers=boxes(20))).flags == ()


@pytest.mark.parametrize("text", ["x", "货"])
def test_of_a_long_one_dangerous_goods_and_totals_stay(text: str) -> None:
    long = filing(1, containers=boxes(9_000, text))
    kept = slim(long)
    assert len(msgspec.msgpack.encode(kept)) <= BYTES_KEPT
    assert kept.flags == ("GOODS_CUT",)
    assert [b.packages for b in kept.containers] == [4_500, 4_502]
    assert kept.containers[1].goods[0].un == "3480"
    assert all(len(b.goods) > 20 for b in kept.containers)
    assert slim(kept) == kept


def test_lines_of_one_code_are_put_together_before_any_is_left_out() -> None:
    kept = slim(filing(1, containers=(Stuffing(container=BOX, goods=lines(9_000, codes=10)),)))
    assert kept.flags == ()
    assert [(g.packages, g.gross_kg) for g in kept.containers[0].goods] == [(900, 900.0)] * 10


def test_long_fields_are_cut_and_flagged() -> None:
    kept = slim(filing(1, fields={f"f{n:04d}": "v" * 3_000 for n in range(700)}))
    assert kept.flags == ("FIELDS_CUT",)
    assert len(msgspec.msgpack.encode(kept)) <= BYTES_KEPT


@pytest.fixture(scope="module")
def played() -> tuple[System, ShipmentDeclared, list[FilingLodged]]:
    note = msgspec.structs.replace(declared(source=FORWARDER), containers=boxes(10_000))
    filings = [filing(1, kind, f"{kind}-1", authority, containers=boxes(10_000), source=FORWARDER)
               for kind, authority in (("pi", "KZ"), ("td", "KZ"), ("ens", "PL"), ("transit", "PL"), ("manifest", "CN"), ("declaration", "CN"))]
    system = System()
    system.harness.log.now_us = max(START, int(at(2).timestamp()) * 1_000_000)
    for event in (note, *filings):
        assert size(event) > TWO_MB
        system.harness.publish(inbound_topic("trade", FORWARDER), None, event)
    system.harness.run()
    return system, note, filings


def test_a_declaration_and_filings_of_two_megabytes_are_applied(played: tuple[System, ShipmentDeclared, list[FilingLodged]]) -> None:
    system, _, filings = played
    assert system.harness.topic(DEAD_LETTERS) == []
    account = system.account()
    assert (account.parked, account.faults, account.unaccounted) == (0, (), 0)
    updates = [codec.decode(v, ClearanceUpdate) for k, v in system.harness.table("clearance.status").items() if k.startswith(SHIPMENT)]
    assert updates
    assert all("GOODS_CUT" in u.flags for u in updates)
    assert {f.kind for u in updates for f in u.filings if f.state != "NONE"} >= {f.kind for f in filings} - {"transit"}


def test_no_state_and_no_message_comes_near_its_limit(played: tuple[System, ShipmentDeclared, list[FilingLodged]]) -> None:
    system, _, _ = played
    for name in ("documents.state", "clearance.state", "custody.state"):
        assert max(len(r.value or b"") for r in system.harness.topic(name)) < 700 * 1024, name
    assert max(len(r.value or b"") for r in system.harness.topic("clearance.in")) < 700 * 1024
