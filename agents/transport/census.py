"""What the broker says of topics and of the group, asked in a thread of its own: a question never holds up records.

A group member knows its own partitions only. Whether each wanted partition has an owner anywhere is the broker's to say, and so is
whether a topic is still the one that it was: two topics of one name have different ids.
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from aiokafka.structs import TopicPartition
from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError, NoError

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
GONE_S = 20.0
"""A topic that the broker has not had for so long is deleted; one that has just started may not know it yet."""
NO_TOPIC = 3
"""Kafka's error code: the topic does not exist, or may not be described."""


class TopicSeen(msgspec.Struct, frozen=True):
    """A topic as the broker has it; no partitions: it does not exist or may not be described."""

    id: str = ""
    """Differs between two topics of the same name; empty: a broker older than 2.8."""
    partitions: int = 0


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
        elif topic["error_code"] != NO_TOPIC:
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
    """Asks one after the other; every failure to ask is logged and is no more than a question without an answer."""

    def __init__(self, settings: Callable[[], Mapping[str, Any]], group: str) -> None:
        self._settings, self.group = settings, group
        self._admin: KafkaAdminClient | None = None
        self._asking = threading.Lock()
        self._closed = False
        self._said, self._said_at = "", 0.0

    async def topics(self, names: Iterable[str], timeout_s: float) -> dict[str, TopicSeen]:
        """Topics as they are now; asks until there is an answer. Raises TimeoutError."""
        wanted = frozenset(names)
        async with asyncio.timeout(timeout_s):
            while (seen := await self._ask(lambda client: topics_seen(client, wanted))) is None:
                await asyncio.sleep(0.5)
        found: dict[str, TopicSeen] = seen
        return found

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
        """In a thread that nobody waits for when the process ends: a broker that does not answer would hold it up."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def ask() -> None:
            with self._asking:
                found = self._answer(question)
            with contextlib.suppress(RuntimeError):         # the loop is closed: nobody asks any more
                loop.call_soon_threadsafe(lambda: None if answer.done() else answer.set_result(found))

        threading.Thread(target=ask, name="census", daemon=True).start()
        return await answer

    def _answer(self, question: Callable[[KafkaAdminClient], Any]) -> Any:
        if self._closed:
            return None
        try:
            self._admin = self._admin or admin(self._settings())
            return question(self._admin)
        except (KafkaError, OSError, ValueError, TimeoutError) as error:
            self._complain(f"the broker did not answer a question about {self.group}: {str(error)[:200] or repr(error)}")
            broken, self._admin = self._admin, None
            if broken is not None:
                broken.close()
            return None

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
                    self._admin.close()
            finally:
                self._asking.release()


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
