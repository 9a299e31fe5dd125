"""Many live shipments quickly: a few simulated trains are run through every stage in memory up to an instant, then their states and what is said of them
afterwards are copied under other numbers as often as it takes.

What a state has told is kept as digests, which a copy does not share. Every state therefore says once again what it says (a step without input, its
outputs thrown away), so that its next news is told as a difference, as on any other day. What the stages have published before is in no topic: only
states are there, as after a compaction.
"""
from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import msgspec
from aiokafka.partitioner import DefaultPartitioner

from agents import reference as reference_files
from agents.app import folds
from agents.runner.broadcasts import EPOCH_KEY, SLOT_KEY
from agents.runner.cells import RESERVED, Header, joined, pack, unpack
from streams.fold import Fold, World
from streams.rules import pack_of
from streams.simulate import Rates, SimOptions
from streams.simulate.incidents import PLANS
from streams.simulate.sent import sent
from streams.simulate.world import _World
from streams.squeeze import loosened, squeezed
from tests.bench.names import Names, Recorder, Template
from tests.bench.on_kafka import Row
from tests.sim.system import PARTITIONS, System
from tests.sim.worlds import START
from topics.events.rail import HandOverSheet
from topics.facts import DAY

TRAINS = 3
"""Simulated trains; the others are copies."""
BOXES = 73
"""Of each train, so that 1,300 trains have 72,000 shipments."""
CUT = START + 10 * DAY
"""By then all of them are under way, each somewhere else."""
WINDOW = 4 * DAY
"""So much of what is said after the cut is played; railclear's clock begins behind it, so that nothing is from the future."""
NOW = CUT + WINDOW
STAGES = ("trains", "custody", "documents", "clearance", "readiness")
ITEMS, SHARE = 200, 0.01
"""House items of one shipment in a hundred."""
OPTIONS = SimOptions(trains=TRAINS, stagger_hours=48.0, closure=False, incidents=False, items_min=ITEMS, items_max=ITEMS, containers_min=BOXES,
                     containers_max=BOXES, rates=Rates(ecommerce=0.0, wrong_bytes=0.0, duplicate=0.01))
"""Which shipments have house items is planned, not left to chance (`PARCELS`)."""
PARCELS = {0: 1, 2: 1}
"""Simulated train that goes west -> its shipments with house items: together one in a hundred of all that are copied, rounded up."""
SEED = 3
WORKERS = 2
PLACES = list(range(PARTITIONS))
_partition = DefaultPartitioner()


class State(NamedTuple):
    """One key's state as it is copied."""

    stage: str
    key: Template
    data: Template
    squeezed: bool
    """Does the fold keep it squeezed?"""


class Script:
    """What the simulated trains say, before anybody has heard it (a second or two)."""

    def __init__(self, seed: int = SEED) -> None:
        self.reference = reference_files.load(None)
        world = _World(self.reference, seed, OPTIONS, START)
        parcels = next(plan for plan in PLANS if plan.what == "ecommerce")
        world.plans = {train: [(parcels, "")] * count for train, count in PARCELS.items()}
        world.numbers = numbers = Recorder(random.Random(f"{seed}/numbers"))
        self.messages = [sent(draft) for draft in world.drafts()]
        self.names = Names(numbers, self.messages, TRAINS)
        self.after = [m for m in self.messages if CUT < m.at <= NOW and m.train >= 0]

    def numbers(self, copy: int) -> list[bytes]:
        """The numbers of a copy, as templates want them."""
        return [new.encode() for new in self.names.of_copy(copy).values()]


def with_items(shipments: int) -> int:
    """So many of these have house items."""
    return math.ceil(shipments * SHARE)


class Live(Script):
    """The simulated trains at the cut, ready to be copied."""

    def __init__(self, seed: int = SEED) -> None:
        super().__init__(seed)
        self.system = system = System()
        system.pour([m for m in self.messages if m.at <= CUT], NOW)
        self.ahead = Counter(crossing for crossing, _ in {
            (m.event.crossing, m.train) for m in self.messages if m.at > CUT and isinstance(m.event, HandOverSheet)})
        """Crossing -> simulated trains that have not passed it."""
        self.states = list(self._states(system))
        self.common = {fold.state_topic: [self._common(fold, n) for n in range(PARTITIONS)] for fold in folds().values()}
        """State topic -> per partition what concerns everybody there: sources as they were last heard, closures. Not copied."""
        self.shipments = sum(s.stage == "clearance" for s in self.states)

    def _states(self, system: System) -> Iterator[State]:
        made = folds()
        for stage in STAGES:
            fold = made[stage]
            cells = {key: unpack(value) for key, value in system.harness.table(fold.state_topic).items()}
            for key, (_, data, patch) in sorted(joined(cells)[0].items()):
                if key.startswith(RESERVED):
                    continue
                state = fold.decode_state(data) if patch is None else fold.decode_patched(data, patch)
                whole = fold.encode_state(state)
                plain = loosened(whole)
                yield State(stage, self.names.template(key.encode()), self.names.template(plain), plain != whole)

    def _common(self, fold: Fold[Any, Any], partition: int) -> list[Row]:
        """As written by a worker with this rule pack, and nothing read of the inputs that a new broker has."""
        last = {r.key: r.value for r in self.system.harness.log.log(fold.state_topic, partition) if r.key is not None}
        head = Header(offset=-1, seq=1, epoch=self.system.harness.partition(fold.name, partition).broadcasts.epoch, now=NOW)
        found: list[Row] = [(EPOCH_KEY.encode(), pack(head, pack_of(self.reference).encode()))]
        for key, value in last.items():
            if value is not None and (fold.name == "sources" or key.startswith(SLOT_KEY.encode())) and key != EPOCH_KEY.encode():
                header, data = unpack(value)
                found.append((key, pack(msgspec.structs.replace(header, offset=-1, seq=1), data)))
        return found

    def copied(self, copy: int) -> dict[str, list[Row]]:
        """State topic -> records of one copy."""
        numbers, journey = self.numbers(copy), copy * TRAINS
        out: dict[str, list[Row]] = {}
        for state in self.states:
            fold = _folds()[state.stage]
            key = state.key.filled(numbers, journey)
            data = state.data.filled(numbers, journey)
            around = self.system.harness.partition(state.stage, _partition(key, PLACES, PLACES)).broadcasts
            value = _settled(fold, key.decode(), squeezed(data) if state.squeezed else data, World(self.reference, around.world), around.epoch)
            if value is not None:
                out.setdefault(fold.state_topic, []).append((key, value))
        return out


@cache
def live() -> Live:
    """Made once in a process (half a minute)."""
    return Live()


@cache
def _folds() -> dict[str, Fold[Any, Any]]:
    return folds()


def _settled(fold: Fold[Any, Any], key: str, data: bytes, world: World, epoch: int) -> bytes | None:
    """The state record of a copy."""
    state = fold.decode_state(data)
    if "said" in state.__struct_fields__:
        state = msgspec.structs.replace(state, said={})
    if "heard" in state.__struct_fields__:
        state = msgspec.structs.replace(state, heard=b"")
    step = fold.step(state, key, (), world, NOW)
    if step.state is None:
        return None
    revision = max((emit.revision for emit in step.outputs if not emit.covert), default=0)
    due = None if step.next_due is None else max(NOW, step.next_due)
    return pack(Header(offset=-1, seq=1, due=due, epoch=epoch, revision=revision, now=NOW), fold.encode_state(step.state))


_made: dict[int, dict[str, list[Row]]] = {}


def _copied(copy: int) -> dict[str, list[Row]]:
    return live().copied(copy)


def states(copies: Iterable[int]) -> Iterator[dict[str, list[Row]]]:
    """State topic -> records, copy by copy; made on all cores, and kept until `forget`."""
    live()                                          # before the processes fork, so that all have it
    chosen = list(copies)
    fresh = [copy for copy in chosen if copy not in _made]
    if len(fresh) < 2 * WORKERS:
        _made.update((copy, _copied(copy)) for copy in fresh)
        fresh = []
    yield from (_made[copy] for copy in chosen if copy in _made)
    if fresh:
        with ProcessPoolExecutor(WORKERS) as pool:
            for copy, of_copy in zip(fresh, pool.map(_copied, fresh, chunksize=1), strict=True):
                _made[copy] = of_copy
                yield of_copy


def forget() -> None:
    """Frees the memory of the copies."""
    _made.clear()
