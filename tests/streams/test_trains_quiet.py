"""TRAINS: positions that only move a train along go a short way, and end in the same bytes as the long one."""
from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta

import msgspec
import pytest

from agents import reference as reference_files
from streams import gps
from streams.fold import Step, World
from streams.kept import instant
from streams.reference.model import Reference
from streams.trains import TrainsFold, quiet
from streams.trains.inputs import Heard, Input, State
from tests.bench.positions import MINUTE, load_of
from topics import codec
from topics.events.internal import MaskFacts
from topics.events.rail import ConsistReported, HandOverSheet, PositionReported, TrainDelayed, TrainRerouted, WagonSetOut
from topics.events.sites import CrossingCondition

FOLD = TrainsFold()
QUIETLY = quiet.step
HOUR = 60 * MINUTE


@pytest.fixture(scope="module")
def reference() -> Reference:
    return reference_files.load(None)


class Twins:
    """Two states of one train: one whose object remembers, one that always goes the long way. And a third, read anew from its bytes before every step."""

    def __init__(self, reference: Reference, key: str) -> None:
        self.world, self.key = World(reference), key
        self.short: State | None = None
        self.long: State | None = None
        self.revived = self.steps = self.patched = 0

    def tell(self, events: Sequence[Input], now: int) -> Step[State]:
        before = self.short
        one = FOLD.step(self.short, self.key, [_read(e) for e in events], self.world, now)
        anew = FOLD.decode_state(FOLD.encode_state(self.long)) if self.long is not None else None
        other = FOLD.at_length(anew, self.key, events, self.world, now)
        if self.long is not None and events:
            third = QUIETLY(FOLD.decode_state(FOLD.encode_state(self.long)), self.key, [_read(e) for e in events], self.world, now)
            if third is not None and third.state is not None and one.state is not None:
                self.revived += 1
                assert (third.outcomes, third.outputs, third.next_due, third.changed) == (one.outcomes, one.outputs, one.next_due, one.changed)
                assert FOLD.encode_state(third.state) == FOLD.encode_state(one.state)
        assert one.outcomes == other.outcomes
        assert one.outputs == other.outputs
        assert (one.next_due, one.changed) == (other.next_due, other.changed)
        assert (one.state is None) == (other.state is None)
        if one.state is not None and other.state is not None:
            assert FOLD.encode_state(one.state) == FOLD.encode_state(other.state)
        self._small(before, one)
        self.short, self.long = one.state, other.state
        self.steps += 1
        return one

    def _small(self, before: State | None, step: Step[State]) -> None:
        """The small record beside the last whole one is the whole state."""
        if not step.changed or step.state is None:
            return
        patch = FOLD.encode_patch(step.state)
        if patch is None:
            self.whole = FOLD.encode_state(step.state)
            return
        self.patched += 1
        assert FOLD.encode_state(FOLD.decode_patched(self.whole, patch)) == FOLD.encode_state(step.state)


def _read(event: Input) -> Heard:
    """As it comes off the topic; what masks do is nobody's business outside."""
    return FOLD.decode(codec.encode(event))


def history(reference: Reference, seed: int) -> tuple[str, list[Input], int]:
    """One train's whole life in the order in which it comes, with all that can befall its positions."""
    rng = random.Random(seed)
    every = rng.choice((20.0, 300.0, 1_800.0))
    load = load_of(reference, trains=1, positions=140, every_seconds=every, seed=seed)
    key = load.before[0][0]
    known = [e for _, e in load.before]
    positions = [e for _, e in load.positions]
    moved: list[tuple[float, PositionReported]] = []
    for n, event in enumerate(positions):
        draw, order = rng.random(), float(n)
        if draw < 0.03:                                  # a jump
            event = msgspec.structs.replace(event, lon=(event.lon or 0.0) + 4.0)
        elif draw < 0.06:                                # at a border station, where it may be the first
            place = rng.choice([p for p in reference.places.values() if p.crossing and p.lat is not None])
            event = msgspec.structs.replace(event, lat=place.lat, lon=place.lon)
        elif draw < 0.09:                                # very late
            order += rng.uniform(3, 60)
        elif draw < 0.11:                                # reported by a station
            place = rng.choice([p for p in reference.places.values() if p.crossing and p.lat is not None])
            event = msgspec.structs.replace(event, lat=None, lon=None, station=place.id, what=rng.choice(("arrived", "departed", "passed")))
        elif draw < 0.13:                                # a correction of the source's own
            event = msgspec.structs.replace(event, record="r", version=n)
        elif draw < 0.15:                                # a clock that runs fast
            event = msgspec.structs.replace(event, event_time=event.event_time + timedelta(days=3))
        elif draw < 0.17 and moved:                      # the same id and time, another place
            event = msgspec.structs.replace(moved[-1][1], lat=(moved[-1][1].lat or 50.0) + 0.01)
        elif draw < 0.18:                                # nobody says which train of that name
            event = msgspec.structs.replace(event, train=msgspec.structs.replace(event.train, origin=""))
        moved.append((order, event))
        if rng.random() < 0.05:
            moved.append((order + rng.uniform(0, 20), event))
    moved.sort(key=lambda m: m[0])
    mixed: list[Input] = [e for _, e in moved]
    train, at = positions[0].train, positions[len(positions) // 2].event_time
    mixed.insert(rng.randrange(40, 140), TrainDelayed(source="cr", id="d", event_time=at, train=train, minutes=90))
    consist = next(e for e in known if isinstance(e, ConsistReported))
    if rng.random() < 0.5:
        mixed.insert(rng.randrange(40, 140), WagonSetOut(source="cr", id="w", event_time=at, train=train, wagon="9", containers=consist.wagons[0].containers))
    if rng.random() < 0.3:
        mixed.insert(rng.randrange(40, 140), HandOverSheet(source="cr", id="h", event_time=at, train=train, crossing="CN-KZ-ALASHANKOU-DOSTYK",
                                                            giving="cr", receiving="ktz", wagons=consist.wagons[1:]))
    if rng.random() < 0.3:
        mixed.insert(rng.randrange(40, 140), TrainRerouted(source="cr", id="r", event_time=at, train=train, crossings=("CN-KZ-KHORGOS-ALTYNKOL",)))
    return key, [*known, *mixed], load.begins


def batches(events: Sequence[Input], rng: random.Random) -> Iterator[list[Input]]:
    start = 0
    while start < len(events):
        size = rng.choice((1, 1, 2, 3, 5, 9, 20))
        yield list(events[start : start + size])
        start += size


def test_the_short_way_ends_in_the_same_state_outputs_and_outcomes(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, patched, steps, spoke, revived = 0, 0, 0, 0, 0
    real = quiet.step

    def counted(*args: object) -> Step[State] | None:
        nonlocal taken, spoke
        found = real(*args)  # type: ignore[arg-type]
        taken += found is not None
        spoke += found is not None and bool(found.outputs)
        return found

    monkeypatch.setattr(quiet, "step", counted)
    for seed in range(30):
        rng = random.Random(seed)
        key, events, begins = history(reference, seed)
        twins, now = Twins(reference, key), begins
        for batch in batches(events, rng):
            now = max(now, max(int(e.event_time.timestamp() * 1e6) for e in batch) - 3 * HOUR * rng.choice((0, 0, 1)))
            twins.tell(batch, now)
            if rng.random() < 0.05:                      # a closure becomes known, or is lifted
                closed = CrossingCondition(source="net", id=f"c{now}", event_time=instant(now), crossing="BY-PL-BREST-MALASZEWICZE",
                                           state=rng.choice(("closed", "open")), expected_until=instant(now + 500 * HOUR))
                twins.world = World(reference, {"crossing:x": closed})
                if rng.random() < 0.5:
                    twins.tell([], now)
            elif rng.random() < 0.03:                    # a feed is retracted: the train's own for a while, or another's
                since = rng.randrange(begins, now + 1)
                mask = MaskFacts(source=rng.choice((batch[0].source if isinstance(batch[0], PositionReported) else "cr", "rzd", "rzd")), since=since,
                                 until=since + HOUR, record=f"m{now}", lifted=rng.random() < 0.3)
                twins.world = World(reference, {"mask:x": mask})
                twins.tell([], now)
        patched, steps, revived = patched + twins.patched, steps + twins.steps, revived + twins.revived
    assert taken > steps // 4, "the short way is hardly ever taken"
    assert spoke > 10
    assert patched > 50
    assert revived > steps // 4


@pytest.mark.parametrize("every", [10.0, 60.0, 900.0])
def test_dense_positions_go_the_short_way(reference: Reference, every: float) -> None:
    load = load_of(reference, trains=3, positions=360, every_seconds=every, seed=7)
    quietly = 0
    for key in {k for k, _ in load.before}:
        twins = Twins(reference, key)
        twins.tell([e for k, e in load.before if k == key], load.begins)
        mine = [e for k, e in load.positions if k == key]
        for start in range(0, len(mine), 9):
            short = twins.short
            assert short is not None
            quietly += quiet.step(short, key, mine[start : start + 9], twins.world, load.begins + 90 * HOUR) is not None
            twins.tell(mine[start : start + 9], load.begins + 90 * HOUR)
    assert quietly > 20


def test_large_batches_of_dense_positions_with_all_that_befalls_them_end_the_same(reference: Reference) -> None:
    """Most positions of such a batch are passed over; repeats, late ones and ones of the same name must still be told from each other."""
    assert sum(_dense(reference, seed, rarely) for rarely in (1.0, 8.0) for seed in range(12)) > 60


def _dense(reference: Reference, seed: int, rarely: float) -> int:
    """How many batches went the short way."""
    rng = random.Random(seed)
    load = load_of(reference, trains=1, positions=1_200, every_seconds=rng.choice((5.0, 20.0)), seed=seed)
    key, mine = load.before[0][0], [e for _, e in load.positions]
    for n in range(2, len(mine)):
        draw = rng.random() * rarely
        if draw < 0.02:                                  # repeated: at once, or long after
            mine[n] = mine[rng.randrange(max(0, n - rng.choice((3, 60))), n)]
        elif draw < 0.03:                                # the name of one before, another place
            old = mine[rng.randrange(max(0, n - rng.choice((3, 60))), n)]
            mine[n] = msgspec.structs.replace(old, lat=(old.lat or 0.0) + rng.choice((0.001, 0.5, 9.0)), lon=(old.lon or 0.0) + rng.choice((0.0, 0.01)))
        elif draw < 0.035:                               # of the same instant
            mine[n] = msgspec.structs.replace(mine[n], event_time=mine[n - 1].event_time)
        elif draw < 0.04:                                # on the edge of a square
            mine[n] = msgspec.structs.replace(mine[n], lat=round(mine[n].lat or 0.0) + rng.choice((-4e-6, 4e-6, -1e-5, 0.0)))
        elif draw < 0.045:
            mine[n] = msgspec.structs.replace(mine[n], event_time=mine[n].event_time + timedelta(days=20))
        elif draw < 0.05:                                # of another source
            mine[n] = msgspec.structs.replace(mine[n], source="rzd")
    twins, now = Twins(reference, key), load.begins + 2 * HOUR
    twins.tell([e for _, e in load.before], load.begins)
    start = quietly = 0
    while start < len(mine):
        size, short = rng.choice((40, 100, 300)), twins.short
        assert short is not None
        quietly += quiet.step(short, key, [_read(e) for e in mine[start : start + size]], twins.world, now) is not None
        twins.tell(mine[start : start + size], now)
        start, now = start + size, now + HOUR
    return quietly


def test_the_short_form_of_a_position_has_the_fields_and_bounds_of_the_whole() -> None:
    short, whole = ({f.encode_name: f for f in msgspec.structs.fields(kind)} for kind in (gps.Gps, PositionReported))
    assert short.keys() == whole.keys()
    differing = {name for name in whole if short[name].type != whole[name].type or short[name].default != whole[name].default}
    assert differing == {"source", "train", "lat", "lon", "station"}, "looked up by name, or narrower"


def test_a_position_is_refused_the_same_whichever_way_it_is_read(reference: Reference) -> None:
    good = load_of(reference, trains=1, positions=1).positions[0][1]
    whole = codec.encode(good)
    for _ in range(2):                                   # its names unknown, then known
        read = FOLD.decode(whole)
        assert isinstance(read, gps.Gps)
        assert gps.whole(read) == good
    record = msgspec.structs.replace(good, record="r", version=3, code="c", flags=("F",), item="i", date_only=True)
    for other in (record, msgspec.structs.replace(good, station="x"), msgspec.structs.replace(good, lat=None), msgspec.structs.replace(good, id="\u0434\"")):
        assert FOLD.decode(codec.encode(other)) == other
    changes = (
        (b'"lat":', b'"lat":1e9,"x":'), (b'"source"', b'"sourc"'), (b'"train":{', b'"train":{"railway":7,"x":{'), (b"train.position", b"train.positions"),
        (b"X", b"\x00"), (b'"source":"', b'"source":"\xc3\x84'), (b'"source":"', b'"source":"A'), (b'"number":"', b'"number":"x'), (b'"date":"', b'"date":"1'),
        (b'"railway":"', b'"railway":"_'), (b'"lon":', b'"lon":-180.5,"x":'), (b'"speed_kmh":', b'"speed_kmh":401,"x":'), (b'"id":"', b'"id":"' + b"9" * 120),
        (b'"id":"', b'"id":"","x":"'), (b'"lat":', b'"version":-1,"lat":'), (b'"lat":', b'"what":"gone","lat":'), (b'"lat":', b'"code":7,"lat":'),
        (b'"lat":', b'"container":"' + b"x" * 201 + b'","lat":'), (b'"lat":', b'"flags":[1],"lat":'), (b'"lat":', b'"date_only":1,"lat":'),
        (b'"lat":', b'"record":7,"lat":'), (b'"lat":', b'"station":[],"lat":'), (b'"event_time":"', b'"event_time":"x'), (b'"id":"', b'"id":"\\u0000'),
        (b'"lat":', b'"received_time":"2026-03-01T12:00:00","lat":'), (b'"train":{', b'"train":{"origin":1,"x":{'), (b'"train":', b'"train":[],"x":'),
    )
    for change in changes:
        assert change[0] in whole
    for wrong in (whole[:-3], *(whole.replace(*change, 1) for change in changes)):
        with pytest.raises(codec.Refused) as short:
            FOLD.decode(wrong)
        with pytest.raises(codec.Refused) as long:
            codec.decode(wrong, Input)
        assert short.value.refusal == long.value.refusal
