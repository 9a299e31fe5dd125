"""Are the topics of a process still those that its lanes were prepared with? Two topics of one name are not: they have different ids."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agents.transport.census import TopicSeen
from agents.transport.fatal import Refuses
from agents.transport.lane import boot_clock

if TYPE_CHECKING:
    from agents.transport.flow import Flow

GONE_S = 20.0
"""A topic that the broker does not have, whenever it is asked in so long a time, is deleted; one that has just started may not know it yet."""


class Watch:
    """Compares each answer of the broker with the first one of an assignment."""

    def __init__(self) -> None:
        self._gone: dict[str, float] = {}
        """Since when every answer has said that a topic is not there, boot clock."""

    def anew(self) -> None:
        """A question had no answer, or there is another assignment: what was seen before says nothing of the time in between."""
        self._gone.clear()

    def wrong(self, before: Mapping[str, TopicSeen], seen: Mapping[str, TopicSeen], flows: Mapping[str, Flow]) -> tuple[str, Exception] | None:
        """The first topic that is not what it was, and what to end with: Refuses where a restart does not help. `flows`: by the topic that they read."""
        for name, was in before.items():
            now = seen.get(name)
            if now is None or not was.partitions:
                continue
            if not now.gone:
                self._gone.pop(name, None)
                if now.partitions and (error := _changed(name, was, now, flows)) is not None:
                    return name, error
            elif name not in flows and boot_clock() - self._gone.setdefault(name, boot_clock()) > GONE_S:
                return name, Refuses(f"{name} does not exist any more: it was deleted while states or revisions were kept in it")
        return None


def _changed(name: str, was: TopicSeen, now: TopicSeen, flows: Mapping[str, Flow]) -> Exception | None:
    """Keyed state does not survive it. A stage without state may go on with more partitions, and begins anew with another topic."""
    if was.id == now.id and was.partitions == now.partitions:
        return None
    keyed = name not in flows or flows[name].state_topic
    if not keyed and was.id == now.id:
        return None
    why = f"{name} had id {was.id} and {was.partitions} partitions, now {now.id} and {now.partitions}: it was changed while it was used"
    return Refuses(why) if keyed else LookupError(why)
