"""What the broker says of topics and of the group, asked in a thread of its own: a question never holds up records.

A group member knows its own partitions only. Whether each wanted partition has an owner anywhere is the broker's to say, and so is
whether a topic is still the one that it was: two topics of one name have different ids.
"""
from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from aiokafka.structs import TopicPartition
from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError, NoError

from agents.threads import asked_apart
from agents.transport.fatal import Refuses
from agents.transport.lane import boot_clock

log = logging.getLogger(__name__)

REQUEST_MS = 10_000
CENSUS_S = 10.0
"""How often the broker is asked."""
CENSUS_EAGER_S = 0.5
"""And while something is not as wanted: at the start, in a rebalance."""
STALE_S = 60.0
"""A census older than this says nothing about now."""
REPEAT_S = 60.0
NO_TOPIC = 3
"""Kafka's error code: there is no topic of this name."""
LASTING = (0, NO_TOPIC, 17, 29)
"""And those that will be the same when it is asked again: a name that cannot be, a topic that may not be described."""


class TopicSeen(msgspec.Struct, frozen=True):
    """A topic as the broker has it; no partitions: it does not exist, may not be described, or the broker cannot tell for now."""

    id: str = ""
    """Differs between two topics of the same name; empty: a broker older than 2.8."""
    partitions: int = 0
    error: int = 0
    """Kafka's code of why there are none."""

    @property
    def gone(self) -> bool:
        """Does the broker say that there is no such topic? Only then: who may no longer look must not take it for deleted."""
        return self.error == NO_TOPIC


class Census(msgspec.Struct, frozen=True):
    """Who owns the wanted partitions."""

    at: float
    """Boot clock seconds."""
    members: int
    stable: bool
    """Owners are known only while no rebalance is under way."""
    orphans: tuple[TopicPartition, ...]
    """Wanted partitions that no member of the group owns."""
    missing: tuple[str, ...]
    """Wanted topics that do not exist or may not be described."""
    error: str = ""
    """The broker does not show the group; the reason, e.g. a missing right."""


def admin(client: Mapping[str, Any]) -> KafkaAdminClient:
    """An administration client from aiokafka's settings. Raises KafkaError when no broker answers."""
    named = ("security_protocol", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password", "ssl_context")
    return KafkaAdminClient(
        bootstrap_servers=list(client["bootstrap_servers"]), bootstrap_timeout_ms=REQUEST_MS, request_timeout_ms=REQUEST_MS,
        **{name: client[name] for name in named if client.get(name) is not None},
    )  # fmt: skip


def topics_seen(client: KafkaAdminClient, names: Iterable[str]) -> dict[str, TopicSeen]:
    """Ids and partition counts, every asked name included. Raises KafkaError."""
    seen = {name: TopicSeen() for name in names}
    for topic in client.describe_topics(sorted(seen)):
        if not topic["error_code"]:
            seen[topic["name"]] = TopicSeen(str(topic["topic_id"] or ""), len(topic["partitions"]))
        else:
            seen[topic["name"]] = TopicSeen(error=topic["error_code"])
            if topic["error_code"] != NO_TOPIC:
                log.warning("the broker does not describe %s: error %s", topic["name"], topic["error_code"])
    return seen


def census_of(group: Mapping[str, Any], seen: Mapping[str, TopicSeen], wanted: Iterable[str]) -> Census:
    """Compare what the members of a group own with what somebody must own."""
    if group.get("error"):
        return Census(boot_clock(), 0, False, (), (), str(group["error"]))
    owned = set()
    for member in group["members"]:
        assignment = member["member_assignment"]
        for topic in assignment["assigned_partitions"] if isinstance(assignment, Mapping) else ():
            owned |= {TopicPartition(topic["topic"], number) for number in topic["partitions"]}
    every = sorted(wanted)
    orphans = [tp for name in every for number in range(seen[name].partitions) if (tp := TopicPartition(name, number)) not in owned]
    missing = tuple(name for name in every if not seen[name].partitions)
    return Census(boot_clock(), len(group["members"]), group["group_state"] == "Stable", tuple(orphans), missing)


class Observer:
    """Asks one after the other. A broker that fails to answer is logged, and is no more than a question without an answer; a bug is raised to who asked."""

    def __init__(self, settings: Callable[[], Mapping[str, Any]], group: str) -> None:
        self._settings, self.group = settings, group
        self._admin: KafkaAdminClient | None = None
        self._asking = threading.Lock()
        self._closed = False
        self._said, self._said_at = "", 0.0

    async def topics(self, names: Iterable[str], timeout_s: float) -> dict[str, TopicSeen]:
        """Topics as they are now; asks until there is an answer to each: what the broker cannot tell for now must not be refused. Raises TimeoutError."""
        wanted = frozenset(names)
        async with asyncio.timeout(timeout_s):
            while True:
                seen: dict[str, TopicSeen] | None = await self._ask(lambda client: topics_seen(client, wanted))
                if seen is not None and all(topic.error in LASTING for topic in seen.values()):
                    return seen
                await asyncio.sleep(0.5)

    async def census(self, wanted: Iterable[str], known: Iterable[str] = ()) -> tuple[Census, dict[str, TopicSeen]] | None:
        """One look at the group, and at the wanted and the other known topics; None when the broker gave no answer."""
        names = frozenset(wanted)
        every = names | frozenset(known)

        def look(client: KafkaAdminClient) -> tuple[Census, dict[str, TopicSeen]]:
            seen = topics_seen(client, every)
            census = census_of(client.describe_groups([self.group])[self.group], seen, names)
            if census.error:
                self._complain(f"the broker does not show group {self.group}: {census.error}")
            return census, seen

        found: tuple[Census, dict[str, TopicSeen]] | None = await self._ask(look)
        return found

    async def _ask(self, question: Callable[[KafkaAdminClient], Any]) -> Any:
        def ask() -> Any:
            with self._asking:
                return None if self._closed else self._answer(question)

        return await asked_apart(ask, "census")

    def _answer(self, question: Callable[[KafkaAdminClient], Any]) -> Any:
        try:
            self._admin = self._admin or admin(self._settings())
            return question(self._admin)
        except Exception as error:
            broken, self._admin = self._admin, None
            if broken is not None:
                self._shut(broken)
            if self._closed:
                return None
            if not _unanswered(error):
                raise
            self._complain(f"the broker did not answer a question about {self.group}: {str(error)[:200] or repr(error)}")
            return None

    def _shut(self, client: KafkaAdminClient) -> None:
        """Free its connections, which may be half open, half closed."""
        try:
            client.close()
        except Exception as error:  # noqa: BLE001  it is not used any more, whatever becomes of it
            log.warning("a client of the census does not close: %r", error)

    def _complain(self, said: str) -> None:
        """The same thing once a minute."""
        if said != self._said or boot_clock() - self._said_at > REPEAT_S:
            self._said, self._said_at = said, boot_clock()
            log.warning("%s", said)

    def close(self) -> None:
        """Ask nothing more. A question that is under way keeps its connection: the process ends with both."""
        self._closed = True
        if self._asking.acquire(blocking=False):
            try:
                if self._admin is not None:
                    self._shut(self._admin)
            finally:
                self._asking.release()


def _unanswered(error: Exception) -> bool:
    """Is it the broker's, or the connection's? kafka-python names a connection that closes under a request with a bare RuntimeError."""
    return isinstance(error, (KafkaError, OSError, ValueError)) or (type(error) is RuntimeError and "closed" in str(error))


def same_counts(flow_name: str, counts: Mapping[str, int]) -> None:
    """A key's state lives in the partition that its inputs go to. Raises Refuses when counts differ."""
    if len(set(counts.values())) != 1 or 0 in counts.values():
        said = ", ".join(f"{topic} has {n}" for topic, n in counts.items())
        raise Refuses(f"stage {flow_name} needs topics of equal partition counts, but {said}: state would be orphaned")


def leave(client: Mapping[str, Any], group: str, instance: str) -> None:
    """Remove a static member from its group, so that the others take its partitions over at once. Raises Refuses, KafkaError."""
    asked = admin(client)
    try:
        answers = asked.remove_group_members(group, [MemberToRemove(group_instance_id=instance)])
    finally:
        asked.close()
    for error in answers.values():
        if error is not None and error is not NoError:
            raise Refuses(f"member {instance} of group {group} is not removed: {error.__name__}")
