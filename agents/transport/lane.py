"""A lane: one assigned partition in one group generation, with its batches in flight and its commit position.

A new generation always gets new lanes; an old lane can never publish or commit again.
"""
from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiokafka.structs import TopicPartition

if TYPE_CHECKING:
    from agents.transport.claim import Fence
    from agents.transport.flow import Flow, Work

MAX_INFLIGHT = 2
"""Batches of a lane handed over and not yet acknowledged: one being published while the next is worked on."""
BACKLOG_RECORDS_MAX = 16_000
"""Records of a keyed lane that are fetched at once when it is behind and quick: what is done per key of a batch is then done for more of its records."""
BATCH_S = 0.5
"""And no more than are worked on in about so long, going by the batches before: what they say is published when all is worked on."""
SLICE_S = 0.02
"""After so long others of the process have their turn."""
QUICKER = 4
"""So many times the last batch, at most, the next one may be because that one was quick."""
SHORT_S = 0.05
"""A batch that is expected to take no longer does not wait for those that take long."""
FIRST_RECORDS = 200
"""As long as nobody knows how long a record takes: the first after a restart in a backlog may take milliseconds each."""
LEAST_RECORDS = 20
"""However long they take."""
QUIET_S = 1.0
"""A lane that was asked for records and gave none for this long has no backlog, whatever offsets its markers take."""


def boot_clock() -> float:
    """Seconds that go on while the machine is suspended (CLOCK_MONOTONIC stops then, and a lease would look fresh)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Progress:
    """What `/ready`, `/live` and the metrics read of a lane. Instants are `boot_clock` seconds, 0 = not yet."""

    __slots__ = (
        "acked_at",
        "assigned_at",
        "batches",
        "highwater",
        "position",
        "publish_seconds",
        "ready_at",
        "records",
        "restored_at",
        "restored_records",
        "sends",
        "source",
        "state_bytes",
        "state_records",
    )

    def __init__(self) -> None:
        self.assigned_at = boot_clock()
        self.ready_at = self.acked_at = self.restored_at = self.publish_seconds = 0.0
        self.batches = self.records = self.sends = self.state_records = self.state_bytes = self.restored_records = 0
        self.source = ""
        """Where the restore began: `memory`, `disk` or `topic`."""
        self.position = -1
        """Next offset that will be handed over; -1 = unknown."""
        self.highwater = -1

    @property
    def lag(self) -> int:
        """Records (and transaction markers) not yet handed over; 0 while unknown."""
        return max(0, self.highwater - self.position) if self.position >= 0 and self.highwater >= 0 else 0


class Slices:
    """The time of one batch, divided: what it takes by itself, and when others should have their turn."""

    __slots__ = ("_before", "_began", "_wanted", "known")

    def __init__(self, wanted: Callable[[], bool] = lambda: True) -> None:
        """`wanted`: is it still to be brought to its end?"""
        self._began, self._before, self._wanted = time.perf_counter(), 0.0, wanted
        self.known = 0
        """Records of the batch that had been worked on before, and took next to no time."""

    @property
    def over(self) -> bool:
        """Has this slice lasted long enough?"""
        return time.perf_counter() - self._began > SLICE_S

    @property
    def seconds(self) -> float:
        """Without what others did meanwhile."""
        return self._before + time.perf_counter() - self._began

    async def give_way(self) -> bool:
        """Everybody who waits has a turn; then a new slice begins. False: nobody wants the rest any more, nor what was done."""
        self._before = self.seconds
        await asyncio.sleep(0)
        self._began = time.perf_counter()
        return self._wanted()


class Lane:
    """State of one partition of one generation. `ready`: restored, may be read. `closing`: being given up. `open`: may publish, commit."""

    def __init__(self, tp: TopicPartition, generation: int, flow: Flow | None) -> None:
        self.tp, self.generation, self.flow = TopicPartition(*tp), generation, flow
        self.ready = self.closing = False
        self.open = True
        self.work: Work | None = None
        self.lock = asyncio.Lock()
        """Held while a batch or a turn is worked on: never two at a time."""
        self.turn_due = False
        """A turn was refused because a batch was being worked on: it comes right behind that one."""
        self.order = asyncio.Lock()
        """Held by the batch that is worked on next, while others' long ones are; a turn may come before it."""
        self.tail: asyncio.Future[None] | None = None
        """The last publication of the chain; each waits for the one before."""
        self.turn_tail: asyncio.Future[None] | None = None
        """The last publication of a turn (ticks, sweep): at most one is in flight, beside the batches."""
        self.task: asyncio.Future[None] | None = None
        self.producer: Any = None
        """Exactly-once: this lane's own transactional producer."""
        self.fence: Fence | None = None
        """At least once, with state: the producer id under which this lane alone writes its state and revisions."""
        self.touch_at = math.inf
        """When the coordinator must see again that the claim still stands, boot clock."""
        self.assignment: Any = None
        """aiokafka's Assignment object that this lane belongs to."""
        self.pending: dict[int, bool] = {}
        """Next offset of each delivered batch -> acknowledged, in delivery order."""
        self.since = 0.0
        """When the oldest pending batch became the oldest, monotonic seconds."""
        self.next: int | None = None
        """End of the contiguous acknowledged prefix."""
        self.committed: int | None = None
        self.delivered_at = boot_clock()
        self.holding = False
        """Given no new records for a moment: its state is about to be copied."""
        self.submitted = self.settled = 0
        """Publications begun, and those whose every record is durable."""
        self.queued = 0
        """Batches handed over whose work has not begun."""
        self.ids: tuple[str, ...] = ()
        """Topic ids of input, state and revision topics."""
        self.sure: dict[str, int] = {}
        """Of the state and the revision topics: everything below this offset is in memory. Never too high, see `wrote`."""
        self.durable: dict[str, int] = {}
        """`sure` when the publication under way began, everything before it being durable as a whole; empty: it is not."""
        self.marked: dict[str, int] = {}
        """Revision topic -> up to where the state topic says that the states have its revisions (`agents.transport.reached`)."""
        self.unsaid = 0
        """Revisions unmarked when it was last found that there is too much to say; 0 = there is not."""
        self.foreign = False
        """Somebody else wrote between our own records, or may have: memory and topic may differ."""
        self.broken = False
        """Work on it has raised: its memory is ahead of all that it will ever say. It works on nothing more and is never kept."""
        self.overtaken = False
        """Somebody else certainly did."""
        self.pace = 0.0
        """Seconds of work per record, of late; 0 = unknown."""
        self.idle_position = -1
        """Exactly-once: the position that was last committed without records."""
        self.progress = Progress()

    def deliver(self, end: int, records: int) -> None:
        """A batch that ends before offset `end` is handed over."""
        if not self.pending:
            self.since = time.monotonic()
        self.pending[end] = False
        self.delivered_at = boot_clock()
        self.progress.batches += 1
        self.progress.records += records

    def takes_long(self, records: int) -> bool:
        """Is so much to be worked on for long, as far as known? Work without keys is quick and is never divided."""
        return self.flow is not None and bool(self.flow.state_topic) and (not self.pace or records * self.pace > SHORT_S)

    def worked(self, seconds: float, records: int) -> None:
        """So long a batch was worked on.

        What is done once per key of a batch makes a record of a larger one quicker: a slower pace is believed by half, a quicker one at once, though no
        more than `QUICKER` times, in case these records were quick by chance. The first is measured against what `FIRST_RECORDS` supposes.
        """
        each, before = seconds / records, self.pace or BATCH_S / FIRST_RECORDS
        self.pace = max(each, before / QUICKER) if each < before else (before + each) / 2 if self.pace else each

    def room(self, usual: int) -> int:
        """Records that it may be given at once. A stage without keys is quick and gains nothing by more than `usual`."""
        if self.flow is None or not self.flow.state_topic:
            return usual
        if not self.pace:
            return FIRST_RECORDS
        return max(LEAST_RECORDS, min(BACKLOG_RECORDS_MAX, int(BATCH_S / self.pace)))

    def ack(self, end: int) -> None:
        """Everything of that batch is durable. Only a contiguous prefix moves the commit position."""
        if end in self.pending:
            self.pending[end] = True
        while self.pending and self.pending[first := next(iter(self.pending))]:
            self.next = first
            del self.pending[first]
            self.since = time.monotonic()
        self.progress.acked_at = boot_clock()

    def rest(self, position: int) -> None:
        """Nothing is in flight and the reader stands at `position`: what lies before it is transaction markers, and is done with too.

        Committing it keeps the group's offset from falling below a log whose last records were read and then deleted.
        """
        if not self.pending and self.next is not None and position > self.next:
            self.next = position

    def wrote(self, topic: str, offset: int, count: int) -> None:
        """`count` records of ours lie at `offset`. Without transactions they must follow ours or what was restored, without a gap.

        A worker that was cut off may still get a request through after its successor has written; what the successor wrote is then below our
        own records and not in our memory. Such a lane is never kept. An unknown offset (-1: a broker that has it already and has forgotten where) may be
        a gap, too, and what follows it cannot be told any more. Transactions fence, and leave markers.
        """
        if offset == self.sure[topic] or (self.flow is not None and self.flow.exactly_once and offset > self.sure[topic]):
            self.sure[topic] = offset + count
        else:
            self.overtaken = self.overtaken or (offset >= 0 and not self.foreign)
            self.foreign = True

    @property
    def unmarked(self) -> int:
        """Revisions written since the state topic last said how far the states have them."""
        return sum(self.sure[topic] - at for topic, at in self.marked.items())

    @property
    def held(self) -> bool:
        """Do operators let its records wait?"""
        return self.flow is not None and self.tp.topic in self.flow.held

    @property
    def wants(self) -> bool:
        """May it be given another batch? Credit based: this is the only back-pressure."""
        if self.held:
            return False
        return self.ready and not self.closing and not self.holding and len(self.pending) < MAX_INFLIGHT

    @property
    def clean(self) -> bool:
        """All that was ever begun here is durable, and nothing else was written meanwhile: memory is what Kafka has."""
        return not self.foreign and not self.broken and not self.pending and not self.queued and not self.in_flight and self.submitted == self.settled

    @property
    def in_flight(self) -> bool:
        return self.lock.locked() or (self.tail is not None and not self.tail.done())

    @property
    def caught_up(self) -> bool:
        """No backlog: only then may the clock say that something did not happen in time."""
        if self.pending or not self.ready:
            return False
        if self.progress.highwater >= 0 and self.progress.position >= self.progress.highwater:
            return True
        return boot_clock() - self.delivered_at > QUIET_S

    def stuck(self, seconds: float) -> bool:
        """Has the oldest batch waited longer than this for its acknowledgement?"""
        return bool(self.pending) and time.monotonic() - self.since > seconds
