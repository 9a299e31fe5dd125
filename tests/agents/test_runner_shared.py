"""Messages of one step that hold the same tuples are encoded as each would be alone."""
from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agents.runner.shared import Shared
from topics import codec
from topics.events.internal import Milestone, Movement, ShipmentFacts
from topics.facts import Fact, Rank


def movement(n: int, milestones: tuple[Milestone, ...], conveyance: tuple[Fact, ...] = ()) -> Movement:
    return Movement(container=f"C{n}", run="R", railway="cr", number="X1", date="2026-03-01", seq=n, aboard_from=1, milestones=milestones,
                    conveyance=conveyance)


def test_the_bytes_are_those_of_the_codec_shared_or_not() -> None:
    one = tuple(Milestone(side=f"s{n}", eta=(1, 2, 3), evidence="é") for n in range(3))
    other = (*one[:2], Milestone(side="z", seen=5))
    fact = Fact(side="s", key=("k",), at=1, source="cr", rank=Rank.RAILWAY, record="r", version=1, id="i")
    messages: Sequence[msgspec.Struct] = [
        *(movement(n, one) for n in range(4)), *(movement(n, other, (fact,)) for n in range(4)), movement(8, ()), movement(9, one, (fact,)),
        *(ShipmentFacts(shipment="S", facts=(fact,) * n) for n in range(3))]
    shared = Shared()
    assert [shared.encode(m) for m in messages] == [codec.encode(m) for m in messages]


def test_a_tuple_that_is_gone_is_not_taken_for_another_in_its_place() -> None:
    shared = Shared()
    for n in range(200):
        message = movement(n, (Milestone(side=f"s{n}"),))
        assert shared.encode(message) == codec.encode(message)
