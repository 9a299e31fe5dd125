"""GPS positions in railclear's own JSON: nine tenths of what comes in. The same ladder as for every event, with the rungs that cannot fail
for a position left out.

Whatever is not certain to pass, and to pass without a flag, goes the long way and gets its name there (`gate.Intake`): nothing is refused here.
"""
from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

from streams.effects import Record
from streams.fold import Emit
from streams.gps import FAULTS, TAG, decode, train_ref
from streams.intake import checks
from streams.intake.reading import FORMAT_HEADER
from streams.intake.routing import TRAINS
from topics.codec import BYTES_IN_MAX
from topics.events.base import TrainRef
from topics.events.rail import PositionReported
from topics.facts import DAY, MINUTE
from topics.formats.digitraffic import MARK
from topics.identifiers import train_key
from topics.positions import NULL_ISLAND_DEGREES
from topics.registry import PartySpec, TopicSpec

TRAINS_MAX = 4_096
"""Trains of one railway whose names are remembered."""


class _Train(NamedTuple):
    """A train's names that are good, as they were written."""

    ref: TrainRef
    key: str
    names: tuple[bytes, bytes]
    """What the record's own key may be."""


class Swift:
    """For the records of one railway's topic. What it remembers is only what it would find again."""

    __slots__ = ("_ahead", "_at", "_first", "_instant", "_last", "_near", "_party", "_trains")

    def __init__(self, party: PartySpec, near: checks.Near, ahead_minutes: int) -> None:
        self._party, self._near = party.id, near
        self._ahead = min(ahead_minutes * MINUTE, checks.AHEAD_DAYS_MAX * DAY)
        self._at, self._instant, self._first, self._last = -1, checks.EPOCH, checks.EPOCH, checks.EPOCH
        self._trains: dict[bytes, _Train] = {}

    @staticmethod
    def of(spec: TopicSpec, party: PartySpec, near: checks.Near, ahead_minutes: int) -> Swift | None:
        """None for topics on which no railway speaks."""
        return Swift(party, near, ahead_minutes) if party.role == "railway" and (not spec.accepts or TAG in spec.accepts) else None

    def judge(self, record: Record, at: int) -> tuple[PositionReported, Emit] | None:
        """The position as the folds get it and where to; None when the long way must tell."""
        data = record.value
        if data is None or data[:1] != b"{" or MARK in data or len(data) > BYTES_IN_MAX or b"\\" in data:
            return None                                  # an escape may be a NUL
        if record.headers and any(name == FORMAT_HEADER for name, _ in record.headers):
            return None
        try:
            event = decode(data)
            written = bytes(event.train)
            train = self._trains.get(written) or self._train(written)
        except FAULTS:
            return None
        if train is None or event.source != self._party or event.flags or event.container:
            return None
        if at != self._at:
            self._times(at)
        lat, lon, time = event.lat, event.lon, event.event_time
        if time > self._last or time < self._first:
            return None
        if (abs(lat) <= NULL_ISLAND_DEGREES and abs(lon) <= NULL_ISLAND_DEGREES) or not self._near(lat, lon):
            return None
        if record.key and record.key not in train.names:
            return None
        accepted = PositionReported(
            source=event.source, id=event.id, event_time=time, received_time=self._instant, code=event.code, record=event.record, version=event.version,
            item=event.item, date_only=event.date_only, train=train.ref, lat=lat, lon=lon, speed_kmh=event.speed_kmh, what=event.what)
        return accepted, Emit(TRAINS, train.key, accepted)

    def _times(self, at: int) -> None:
        """Between which instants a position that comes at `at` may be."""
        self._at, self._instant = at, checks.instant(at)
        self._first, self._last = (self._instant + timedelta(microseconds=by) for by in (-checks.AGE_DAYS_MAX * DAY, self._ahead))

    def _train(self, written: bytes) -> _Train | None:
        """None: another railway's, or of no day of the calendar. Raises what msgspec raises."""
        ref = train_ref(written)
        if ref.railway != self._party:
            return None
        try:
            date.fromisoformat(ref.date)
        except ValueError:
            return None
        key = train_key(ref)
        if len(self._trains) >= TRAINS_MAX:
            self._trains.clear()
        found = self._trains[written] = _Train(ref, key, (key.encode(), ref.number.encode()))
        return found
