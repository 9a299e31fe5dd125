"""Which of the simulated messages after the cut certainly change what a border is told: one copy is played in memory, as it will be played."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from agents.app import folds
from agents.intake import intake_process
from agents.runner.memory import Harness, SimulatedLog, Stateless
from streams.effects import LogRecord, Send
from streams.rules import pack_of
from streams.simulate import Sent
from tests.bench.load import Copies, Message, Mix, Tempo, evidence_of, kind_of
from tests.bench.world import NOW, Live
from tests.sim.system import PARTITIONS
from tests.sim.worlds import topics
from topics.events.rail import PositionReported

MORE, LEAST = 1.2, 3_000
"""A copy is tried that much further than it should be played, and at least so many messages: the sender gives no copy exactly its share."""
GULPS = (100, 400, 900)
"""So many messages of a copy at once, as a backlog gives them: at 1,000 events a second over 45 copies, what comes in 5 to 40 s."""


class Probes(NamedTuple):
    """Event ids by which an effect is known again, and the words of stations that are played."""

    notices: frozenset[str]
    places: frozenset[str]
    stations: Sequence[Sent]
    swallowed: int = 0
    """So many more are heard of alone, and not when a backlog is worked on at once."""

    @property
    def ids(self) -> frozenset[str]:
        return self.notices | self.places


def in_mix(live: Live, copies: int, pace: Tempo, events: float) -> Probes:
    """Of a mix of so many events over so many copies."""
    words = list(_candidates(live, "positions"))
    near = _heard(live, Copies(live, [0]).stations(words, _ids(words)))        # far from a border a word moves nothing that is told there
    stations = [sent for sent in words if sent.event is not None and sent.event.id in near]
    notices, places = _ids(_candidates(live, "notices")), _ids(stations)
    def played() -> list[Message]:
        mix = Mix(live, [0], pace, stations=stations, ids=notices | places)
        return [*mix.first_news(), *islice(mix, max(LEAST, round(events / copies * MORE)))]

    alone = _heard(live, played())
    heard = alone.intersection(*(_heard_together(live, played(), gulp) for gulp in GULPS))
    return Probes(heard & notices, heard & places, stations, len(alone - heard))


def notices(live: Live, count: int) -> tuple[list[Sent], frozenset[str]]:
    """The notices that must be played, alone and in this order, and the ids of so many of them that are looked for."""
    tried = list(_candidates(live, "notices"))
    heard = _heard(live, Copies(live, [0]).each(tried, _ids(tried)), count)
    last = max((n for n, sent in enumerate(tried) if sent.event is not None and sent.event.id in heard), default=-1)
    return tried[: last + 1], heard


def _heard(live: Live, messages: Iterable[Message], most: int = 1 << 30) -> frozenset[str]:
    """The probes that came up by their id, at once, in an update to a border; at most so many. Of several notices about one shipment the first: a later
    one may take its place before anything is said."""
    harness, taken, found = _one_copy(live), set[bytes | None](), set[str]()
    for message in messages:
        harness.publish(message.topic, message.key, message.value)
        before = {border: len(records) for border, records in _borders(harness)} if message.probe else {}
        harness.run()
        told = {r.key for border, records in (_borders(harness) if message.probe else ()) for r in records[before[border]:]
                if message.probe in evidence_of(r.value or b"{}")}
        if message.topic.startswith("rail.trains."):        # a word of a station tells of seventy boxes, of which some will do
            found |= {message.probe} if told else set()
        elif told and not told & taken:
            found.add(message.probe)
            taken |= told
        if len(found) == most:
            break
    return frozenset(found)


def _heard_together(live: Live, messages: Sequence[Message], gulp: int) -> frozenset[str]:
    """The probes that come up at all when so many messages are worked on at once: what another message takes the place of before anything is said is no
    measure of how long a border waits."""
    harness = _one_copy(live)
    for at in range(0, len(messages), gulp):
        for message in messages[at : at + gulp]:
            harness.publish(message.topic, message.key, message.value)
        harness.run()
    probes = {message.probe for message in messages if message.probe}
    return frozenset(probes & {known for _, records in _borders(harness) for r in records for known in evidence_of(r.value or b"{}")})


def _borders(harness: Harness) -> Iterator[tuple[tuple[str, int], Sequence[LogRecord]]]:
    for spec in topics().by_kind("border"):
        for n in range(harness.log.partitions(spec.name)):
            yield (spec.name, n), harness.log.log(spec.name, n)


def _one_copy(live: Live) -> Harness:
    """The first copy at the cut, in memory, with every stage before the ledger."""
    registry = topics()
    log = SimulatedLog(PARTITIONS, now_us=NOW, counts={spec.name: spec.partitions for spec in registry.topics.values()})
    for topic, parts in live.common.items():
        for partition, records in enumerate(parts):
            for key, value in records:
                log.append(Send(topic, key, value, partition))
    for topic, rows in live.copied(0).items():
        for key, value in rows:
            log.append(Send(topic, key, value, None))
    intake = Stateless("intake", tuple(spec.name for spec in registry.inbound), intake_process(live.reference, registry))
    return Harness([intake, *(fold for fold in folds().values() if fold.name != "ledger")], live.reference, log=log, rule_pack=pack_of(live.reference))


def _ids(messages: Iterable[Sent]) -> frozenset[str]:
    return frozenset(sent.event.id for sent in messages if sent.event is not None)


def _candidates(live: Live, kind: str) -> Iterator[Sent]:
    for sent in live.after:
        if sent.expect != "applied" or kind_of(sent) != kind:
            continue
        if kind == "positions" and not (isinstance(sent.event, PositionReported) and sent.event.station):
            continue
        yield sent
