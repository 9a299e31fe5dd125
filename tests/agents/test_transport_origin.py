"""Where a lane begins to read, which input a state was made from, and what is wrong with an assignment."""
from __future__ import annotations

from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from agents.runner.cells import INPUT_KEY, unpack
from agents.runner.partition import Partition
from agents.transport.census import STALE_S, Census, TopicSeen, census_of, same_counts
from agents.transport.fatal import Refuses
from agents.transport.flow import Flow, Stateless
from agents.transport.hub import Hub
from agents.transport.lane import boot_clock
from agents.transport.origin import Bounds, InputIdentity, identity_of, record_of, same_input, start_of
from tests.agents.runner_toy import NO_REFERENCE, Summing


def test_a_lane_begins_where_the_group_stands_and_refuses_every_gap() -> None:
    assert start_of("in/0", "state/0", Bounds(7, 0, 9), 5) == 7
    assert start_of("in/0", "state/0", Bounds(9, 9, 9), 5) == 9, "everything was read, then deleted"
    assert start_of("in/0", "state/0", Bounds(None, 4, 9), -1) == 4, "a new group reads what is there"
    assert start_of("in/0", "state/0", Bounds(None, 4, 9), 3) == 4, "another group read up to here"
    for bounds, highest, says in (
        (Bounds(7, 8, 9), 5, "offsets 7 to 7 were deleted before they were read"),
        (Bounds(None, 8, 9), 5, "offsets 6 to 7 were deleted before they were read"),
        (Bounds(12, 0, 9), 5, "it is not the topic that was read"),
        (Bounds(7, 0, 9), 9, "was deleted or restored from elsewhere"),
    ):
        with pytest.raises(Refuses, match=says):
            start_of("in/0", "state/0", bounds, highest)


def test_the_input_of_a_state_is_known_by_its_id_and_an_old_broker_has_none() -> None:
    same_input("state/0", InputIdentity("in", "a"), InputIdentity("in", "a"), 5)
    same_input("state/0", InputIdentity("in", ""), InputIdentity("in", "a"), 5)
    with pytest.raises(Refuses, match="deleted and made anew, or mirrored"):
        same_input("state/0", InputIdentity("in", "a"), InputIdentity("in", "b"), 5)


def test_a_state_that_does_not_say_its_input_is_new_only_as_long_as_nothing_was_committed() -> None:
    for known, committed in ((None, None), (None, 0), (InputIdentity("in", ""), 7)):
        same_input("state/0", known, InputIdentity("in", "a"), committed)
    for now in (InputIdentity("in", "a"), InputIdentity("in", "")):
        with pytest.raises(Refuses, match="the group has committed offset 7 of in: the state topic was deleted, made anew or emptied"):
            same_input("state/0", None, now, 7)


def test_the_record_of_the_input_is_a_state_record_that_no_fold_sees() -> None:
    value = record_of(InputIdentity("in", "a"))
    assert identity_of(value) == InputIdentity("in", "a")
    assert unpack(value)[0].offset == -1
    partition: Partition[Any, Any] = Partition(Summing(), NO_REFERENCE, 0)
    partition.restore(INPUT_KEY.encode(), value)
    partition.restored()
    assert (len(partition.cells), partition.highest_offset()) == (0, -1)


def test_partition_counts_must_be_equal_and_topics_must_exist() -> None:
    same_counts("f", {"in": 4, "state": 4})
    for counts in ({"in": 4, "state": 5}, {"in": 0, "state": 0}):
        with pytest.raises(Refuses, match="state would be orphaned"):
            same_counts("f", counts)


def group(state: str, *owned: tuple[str, list[int]]) -> dict[str, Any]:
    members = [{"member_assignment": {"assigned_partitions": [{"topic": t, "partitions": p}]}} for t, p in owned]
    return {"group_state": state, "members": [*members, {"member_assignment": b""}]}


SEEN = {"a": TopicSeen("1", 2), "b": TopicSeen("2", 1), "none": TopicSeen()}


def test_a_partition_without_an_owner_anywhere_is_named() -> None:
    found = census_of(group("Stable", ("a", [0, 1]), ("b", [0])), SEEN, {"a", "b"})
    assert (found.members, found.stable, found.orphans, found.missing) == (3, True, (), ())
    found = census_of(group("Stable", ("a", [1])), SEEN, {"a", "b", "none"})
    assert (found.orphans, found.missing) == ((TopicPartition("a", 0), TopicPartition("b", 0)), ("none",))


def test_a_group_that_may_not_be_seen_is_no_group_in_a_rebalance() -> None:
    found = census_of({"error": "GroupAuthorizationFailedError", "members": [], "group_state": ""}, SEEN, {"a"})
    assert (found.error, found.stable, found.orphans) == ("GroupAuthorizationFailedError", False, ())
    hub = Hub()
    hub.census = found
    assert hub.unowned() == ["the broker does not show the group: GroupAuthorizationFailedError"]


def test_a_state_has_one_flow() -> None:
    hub = Hub()
    hub.add(Flow("f", ("a",), lambda tp: Stateless(nothing), state_topic="s"))
    hub.add(Flow("g", ("b",), lambda tp: Stateless(nothing), state_topic="t"))
    hub.add(Flow("h", ("c", "d"), lambda tp: Stateless(nothing)))
    with pytest.raises(ValueError, match="state topic t belongs to another flow already, i would shut it out"):
        hub.add(Flow("i", ("e",), lambda tp: Stateless(nothing), state_topic="t"))
    assert "e" not in hub.flows


async def nothing(batch: Any) -> tuple[()]:
    return ()


def test_a_hub_is_not_whole_without_a_fresh_stable_census_without_orphans() -> None:
    hub = Hub()
    hub.add(Flow("f", ("a",), lambda tp: Stateless(nothing), state_topic="s", revision_topics=("r",)))
    assert (hub.wanted_topics(), hub.known_topics()) == ({"a"}, {"a", "s", "r"})
    assert hub.unowned() == ["the broker has not said who owns which partition"]
    hub.census = Census(boot_clock(), 1, True, (), ())
    assert hub.unowned() == []
    hub.census = Census(boot_clock() - STALE_S - 1, 1, True, (), ())
    assert hub.unowned() == ["the broker has not said who owns which partition"]
    hub.census = Census(boot_clock(), 1, True, (TopicPartition("a", 1),), ("b",))
    assert hub.unowned() == ["topic b does not exist or may not be described", "a/1 is read by nobody in the group"]
    hub.census = Census(boot_clock(), 1, False, (TopicPartition("a", 1),), ())
    assert hub.unowned() == ["the group is being rebalanced"]
