"""Which messages are looked for: those that a border hears of even when a backlog is worked on at once."""
from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streams.effects import LogRecord
from tests.bench import probes
from tests.bench.load import Message
from tests.sim.worlds import topics

BORDER = topics().by_kind("border")[0].name


class Told:
    """The log of `LastOfEachKey`: one partition of each topic."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []

    def partitions(self, topic: str) -> int:
        return 1

    def log(self, topic: str, partition: int) -> list[LogRecord]:
        return self.records if topic == BORDER else []


class LastOfEachKey:
    """Stands for the system in memory: of what has come since the last run, the border hears of each key's last message only."""

    def __init__(self) -> None:
        self.waiting: dict[bytes | None, str] = {}
        self.log = Told()

    def publish(self, topic: str, key: bytes | None, value: bytes) -> None:
        self.waiting[key] = value.decode()

    def run(self) -> None:
        for key, name in self.waiting.items():
            said = msgspec.json.encode({"evidence": [{"id": f"topic/{name}"}]})
            self.log.records.append(LogRecord(BORDER, 0, len(self.log.records), 0, key, said, ()))
        self.waiting = {}


@pytest.mark.parametrize(("gulp", "heard"), [(1, {"a", "b", "c"}), (2, {"b", "c"}), (100, {"b", "c"})])
def test_what_another_message_takes_the_place_of_before_anything_is_said_is_not_looked_for(gulp: int, heard: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_one_copy", lambda _: LastOfEachKey())
    messages = [Message("t", b"one", b"a", "a"), Message("t", b"one", b"b", "b"), Message("t", b"two", b"c", "c"), Message("t", b"three", b"d", "")]
    live: Any = None
    assert set(probes._heard_together(live, messages, gulp)) == heard
