"""GPS positions in railclear's own JSON: nine tenths of what comes in. The same ladder as for every event, with the rungs that cannot fail
for a position left out.

Whatever is not certain to pass, and to pass without a flag, goes the long way and gets its name there (`gate.Intake`): nothing is refused here.
"""
from __future__ import annotations

from datetime import date, datetime

import msgspec

from streams.effects import Record
from streams.fold import Emit
from streams.intake import checks
from streams.intake.reading import FORMAT_HEADER
from streams.intake.routing import TRAINS
from topics.codec import BYTES_IN_MAX
from topics.events.outside import OutsideEvent
from topics.events.rail import PositionReported
from topics.facts import DAY, MINUTE
from topics.formats.digitraffic import MARK
from topics.identifiers import train_key
from topics.positions import NULL_ISLAND_DEGREES
from topics.registry import PartySpec, TopicSpec

TAG = "train.position"
DATES_MAX = 4_096
_decode = msgspec.json.Decoder(OutsideEvent).decode


class Swift:
    """For the records of one batch of a railway."""

    __slots__ = ("_ahead", "_at", "_dates", "_instant", "_near", "_party")

    def __init__(self, party: PartySpec, near: checks.Near, ahead_minutes: int) -> None:
        self._party, self._near = party.id, near
        self._ahead = min(ahead_minutes * MINUTE, checks.AHEAD_DAYS_MAX * DAY)
        self._at, self._instant = -1, checks.EPOCH
        self._dates: set[str] = set()

    @staticmethod
    def of(spec: TopicSpec, party: PartySpec, near: checks.Near, ahead_minutes: int) -> Swift | None:
        """None for topics on which no railway speaks."""
        return Swift(party, near, ahead_minutes) if party.role == "railway" and (not spec.accepts or TAG in spec.accepts) else None

    def judge(self, record: Record, at: int) -> tuple[PositionReported, Emit] | None:
        """The position as the folds get it and where to; None when the long way must tell."""
        data = record.value
        if data is None or data[:1] != b"{" or MARK in data or len(data) > BYTES_IN_MAX or b"\x00" in data or b"\\u0000" in data:
            return None
        if record.headers and any(name == FORMAT_HEADER for name, _ in record.headers):
            return None
        try:
            event = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if type(event) is not PositionReported or event.container or event.flags or event.station or event.lat is None or event.lon is None:
            return None
        train, lat, lon = event.train, event.lat, event.lon
        if event.source != self._party or train.railway != self._party:
            return None
        early = checks.micros(event.event_time) - at
        if early > self._ahead or -early > checks.AGE_DAYS_MAX * DAY:
            return None
        if (abs(lat) <= NULL_ISLAND_DEGREES and abs(lon) <= NULL_ISLAND_DEGREES) or not self._near(lat, lon):
            return None
        if train.date not in self._dates and not self._dated(train.date):
            return None
        key = train_key(train)
        if record.key and record.key not in (key.encode(), train.number.encode()):
            return None
        accepted = msgspec.structs.replace(event, received_time=self._received(at), flags=())
        return accepted, Emit(TRAINS, key, accepted)

    def _received(self, at: int) -> datetime:
        if at != self._at:
            self._at, self._instant = at, checks.instant(at)
        return self._instant

    def _dated(self, day: str) -> bool:
        try:
            date.fromisoformat(day)
        except ValueError:
            return False
        if len(self._dates) < DATES_MAX:
            self._dates.add(day)
        return True
