"""The log: partitions with sparse offsets on three brokers whose clocks differ and which can be away."""
from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

from aiokafka.partitioner import murmur2

from streams.effects import LogRecord, Send
from streams.fold import EVERY_PARTITION

BROKERS = 3
Place = tuple[str, int]
"""Topic and partition."""
COMPACTION_LAG_MS = 3_600_000


class Part:
    """One partition: records, the order in which they came to be among all records of the log, and the next offset."""

    __slots__ = ("born", "leader", "next", "offsets", "records")

    def __init__(self, leader: int) -> None:
        self.records: list[LogRecord] = []
        self.offsets: list[int] = []
        self.born: list[int] = []
        self.next = 0
        self.leader = leader


class Log:
    """Topics of the simulated cluster. `now` is the true time; an append time is that of the leader's clock."""

    def __init__(self, now: int, partitions: int, counts: Mapping[str, int], skews: Sequence[int] = (0,) * BROKERS) -> None:
        self.now, self.skews = now, tuple(skews)
        self.away: set[int] = set()
        self.births = 0
        """Records ever written: the clock of what came before what."""
        self._default, self._counts = partitions, dict(counts)
        self._topics: dict[str, list[Part]] = {}

    # -- topics ------------------------------------------------------------------------------------------------------------
    def partitions(self, topic: str) -> int:
        return self._counts.get(topic, self._default)

    def part(self, topic: str, partition: int) -> Part:
        return (self._topics.get(topic) or self._parts(topic))[partition]

    def _parts(self, topic: str) -> list[Part]:
        found = self._topics.get(topic)
        if found is None:
            first = crc32(topic.encode())
            found = self._topics[topic] = [Part((first + n) % BROKERS) for n in range(self.partitions(topic))]
        return found

    def names(self) -> list[str]:
        return sorted(self._topics)

    def topic(self, name: str) -> list[LogRecord]:
        """All records of a topic, in the order in which they came to be."""
        pairs = [(born, record) for part in self._topics.get(name, []) for born, record in zip(part.born, part.records, strict=True)]
        return [record for _, record in sorted(pairs, key=lambda pair: pair[0])]

    def births_of(self, topic: str) -> dict[tuple[int, int], int]:
        """(partition, offset) -> when it came to be."""
        return {(n, o): b for n, part in enumerate(self._topics.get(topic, [])) for o, b in zip(part.offsets, part.born, strict=True)}

    # -- reading -----------------------------------------------------------------------------------------------------------
    def reachable(self, topic: str, partition: int) -> bool:
        return self.part(topic, partition).leader not in self.away

    def read(self, topic: str, partition: int, position: int, most: int) -> list[LogRecord]:
        """The next records from an offset on."""
        part = self.part(topic, partition)
        start = bisect_left(part.offsets, position)
        return part.records[start : start + most]

    # -- writing -----------------------------------------------------------------------------------------------------------
    def places(self, send: Send) -> list[Place]:
        """Where a record goes."""
        count = self.partitions(send.topic)
        if send.partition == EVERY_PARTITION:
            return [(send.topic, n) for n in range(count)]
        if send.partition is not None:
            return [(send.topic, send.partition)]
        return [(send.topic, (murmur2(send.key or b"") & 0x7FFFFFFF) % count)]

    def append(self, send: Send, place: Place) -> int:
        """Write one record; its offset."""
        part = self.part(*place)
        self.births += 1
        offset = part.next
        at = (self.now + self.skews[part.leader]) // 1000
        part.records.append(LogRecord(place[0], place[1], offset, at, send.key, send.value, send.headers))
        part.offsets.append(offset)
        part.born.append(self.births)
        part.next += 1
        return offset

    def write(self, send: Send) -> None:
        """Write one record to wherever it goes, whether or not a broker is away (a producer outside retries until it is back)."""
        for place in self.places(send):
            self.append(send, place)

    def mark(self, places: Iterable[Place]) -> None:
        """End of a transaction: its marker takes an offset in every partition that it touched."""
        for topic, partition in places:
            self.part(topic, partition).next += 1

    # -- what brokers do ---------------------------------------------------------------------------------------------------
    def fail_over(self, broker: int) -> int:
        """The partitions of a broker that is away are led by others; how many."""
        moved = 0
        for parts in self._topics.values():
            for n, part in enumerate(parts):
                if part.leader == broker:
                    part.leader = next(b for b in ((broker + 1 + n) % BROKERS, (broker + 2 + n) % BROKERS) if b != broker)
                    moved += 1
        return moved

    def compact(self, topic: str) -> int:
        """Of each key only its last record stays, of those that are older than the compaction lag; how many went."""
        gone = 0
        for part in self._topics.get(topic, []):
            latest = (self.now + min(self.skews)) // 1000 - COMPACTION_LAG_MS
            old = next((i for i, r in enumerate(part.records) if r.timestamp > latest), len(part.records))
            last: dict[bytes, int] = {r.key or b"": i for i, r in enumerate(part.records[:old])}
            kept = [i for i, r in enumerate(part.records) if i >= old or last[r.key or b""] == i]
            gone += len(part.records) - len(kept)
            part.records = [part.records[i] for i in kept]
            part.offsets = [part.offsets[i] for i in kept]
            part.born = [part.born[i] for i in kept]
        return gone


def by_place(log: Log, sends: Iterable[Send]) -> dict[Place, list[Send]]:
    """Sends per partition, each partition's in order: what an idempotent producer keeps."""
    found: dict[Place, list[Send]] = defaultdict(list)
    for send in sends:
        for place in log.places(send):
            found[place].append(send)
    return found
