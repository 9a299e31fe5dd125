"""Every check of the chaos runs: it is silent on a sound log, and it says what is wrong with one that is not."""
from __future__ import annotations

from collections.abc import Callable
from functools import cache

import msgspec
import pytest

from agents.ledger.rows import GENESIS, Rows
from agents.ledger.rows import LogRecord as LedgerRecord
from agents.runner.clock import Clock
from agents.runner.memory import Harness, SimulatedLog, Stateless
from streams.effects import LogRecord
from tests.chaos import checks
from tests.chaos.carry import KINDS
from tests.chaos.checks import check
from tests.chaos.load import Message, messages
from tests.chaos.logs import Logs
from tests.chaos.outputs import READINESS, RESTORES
from tests.chaos.reference import SETTLED_US, folds
from tests.sim.worlds import reference, topics
from topics.events.outputs import BatchOutcomes

ORIGIN = 1_800_000_000_000_000


@cache
def sound() -> tuple[Clock, dict[tuple[str, int], list[LogRecord]], dict[tuple[str, int, int], Message]]:
    """A log as a run without faults leaves it, made by the in-memory twin."""
    from agents.intake import intake_process

    what, base = messages(1, 1)
    clock = Clock(origin=ORIGIN, base=base)
    registry = topics()
    log = SimulatedLog(4, now_us=ORIGIN, counts={spec.name: spec.partitions for spec in registry.topics.values()})
    intake = Stateless("intake", tuple(spec.name for spec in registry.inbound), intake_process(reference(), registry, clock))
    harness = Harness([intake, *folds()], reference(), clock, log=log, batch_max=7)
    sent = {}
    for number, message in enumerate(what):
        log.now_us += 20_000
        harness.publish(message.topic, message.key, message.value, partition=0)
        sent[message.topic, 0, len(log.log(message.topic, 0)) - 1] = message
        if number % 5 == 0:
            harness.run()
    harness.run()
    harness.tick(log.now_us + SETTLED_US)
    parts = {(name, p): list(log.log(name, p)) for name in log.names() for p in range(log.partitions(name))}
    return clock, parts, sent


def logs() -> Logs:
    made = Logs()
    made.parts = {place: list(records) for place, records in sound()[1].items()}
    return made


def chain(log: Logs, place: tuple[str, int]) -> dict[tuple[str, int], tuple[int, bytes]]:
    rows, link = Rows(), GENESIS
    for r in log.parts[place]:
        link = rows.add(LedgerRecord(r.topic, r.partition, r.offset, r.timestamp * 1000, r.key, r.value, r.headers), link)
    return {place: (len(log.parts[place]), link)}


def fullest(log: Logs, topic: str) -> tuple[str, int]:
    return max((place for place in log.parts if place[0] == topic), key=lambda place: len(log.parts[place]))


def test_a_sound_log_has_no_fault() -> None:
    clock, _, sent = sound()
    log = logs()
    found = check(log, sent, clock, chain(log, fullest(log, "clearance.history")))
    assert found.faults == []
    assert (found.lost, found.wrong_keys, found.backwards, found.repeated_revisions, found.duplicates) == (0, 0, 0, 0, 0)
    assert (found.wrong_outputs, found.output_duplicates, found.readiness_duplicates, found.interrupted) == (0, 0, 0, 0)
    assert found.duplicates_of == dict.fromkeys(checks.OTHERS, 0)
    assert found.records > 1_000
    assert found.outputs > 3_000
    assert any(m.poison for m in sent.values())


def _drop(topic: str, which: int) -> Callable[[Logs], None]:
    def harm(log: Logs) -> None:
        del log.parts[fullest(log, topic)][which]

    return harm


def _again(topic: str) -> Callable[[Logs], None]:
    """A record that was written first is written once more at the end."""
    def harm(log: Logs) -> None:
        records = log.parts[fullest(log, topic)]
        mine = [r for r in records if (r.value is not None or topic == "readiness.revisions") and not (r.key or b"").startswith(b"\x00")]
        first = next(r for r in mine if any(x.key == r.key and x is not r for x in mine))
        records.append(msgspec.structs.replace(first, offset=records[-1].offset + 1) if isinstance(first, msgspec.Struct)
                       else first._replace(offset=records[-1].offset + 1))

    return harm


def _last_again(topic: str) -> Callable[[Logs], None]:
    def harm(log: Logs) -> None:
        records = log.parts[fullest(log, topic)]
        records.append(records[-1])

    return harm


def _of_key(topic: str) -> Callable[[Logs], None]:
    """All that was written of one key is gone."""
    def harm(log: Logs) -> None:
        place = fullest(log, topic)
        key = next(r.key for r in log.parts[place] if not (r.key or b"").startswith(b"\x00"))
        log.parts[place] = [r for r in log.parts[place] if r.key != key]

    return harm


def _all_of(start: str) -> Callable[[Logs], None]:
    """Nothing of these topics ever reached the log."""
    def harm(log: Logs) -> None:
        gone = [place for place in log.parts if place[0].startswith(start) and log.parts[place]]
        assert gone
        for place in gone:
            del log.parts[place]

    return harm


def _poison(log: Logs) -> list[str]:
    return checks.poison_not_kept(log, {place for place, message in sound()[2].items() if message.poison})


LOOKS: dict[str, Callable[[Logs], list[str]]] = {
    "acknowledged": lambda log: checks.not_in_the_log(log, sound()[2]),
    "accounted": lambda log: checks.unaccounted(log, checks.Found()),
    "poison": _poison,
    "state": lambda log: checks.wrong_state(log, sound()[0]),
    "statuses": lambda log: checks.wrong_words(log, sound()[0]),
    "state order": checks.state_backwards,
    "revisions fall": lambda log: checks.revisions(log)[0],
    "revisions repeat": lambda log: checks.revisions(log)[1],
}


@pytest.mark.parametrize(("harm", "look", "words"), [
    (_drop("rail.trains.ktz", -1), "acknowledged", "acknowledged, but not in the log"),
    (_drop("outcomes.clearance", 0), "accounted", "no outcome"),
    (_drop("dead.letters", 0), "poison", "poison, but no dead letter"),
    (_of_key("custody.state"), "state", "has no state"),
    (_of_key("clearance.history"), "statuses", "last word None"),
    (_all_of("train.readiness"), "statuses", "'train.readiness'"),
    (_all_of("status."), "statuses", "('status.cr'"),
    (_all_of("ops.alerts"), "statuses", "('ops.alerts'"),
    (_all_of("restricted."), "statuses", "('restricted."),
    (_again("documents.state"), "state order", "goes back to input"),
    (_again("clearance.status"), "revisions fall", "falls from revision"),
    (_last_again("clearance.status"), "revisions repeat", "repeats revision"),
    (_again("restricted.revisions"), "revisions fall", "restricted.revisions"),
    (_last_again("restricted.revisions"), "revisions repeat", "restricted.revisions"),
    (_again("readiness.revisions"), "revisions fall", "readiness.revisions"),
    (_last_again("readiness.revisions"), "revisions repeat", "readiness.revisions"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_is_found(harm: Callable[[Logs], None], look: str, words: str) -> None:
    log = logs()
    harm(log)
    faults = LOOKS[look](log)
    assert any(words in fault for fault in faults), faults


def test_an_input_that_never_reached_a_fold_gives_a_wrong_state() -> None:
    clock, _, _ = sound()
    log = logs()
    place = fullest(log, "documents.state")
    records = log.parts[place]
    key = max({r.key for r in records}, key=lambda k: sum(r.key == k for r in records))
    last = max(i for i, r in enumerate(records) if r.key == key)
    del records[last]
    assert any((key or b"").decode() in fault for fault in checks.wrong_state(log, clock))


def test_a_ledger_with_other_rows_is_found() -> None:
    log = logs()
    place = fullest(log, "clearance.history")
    kept = chain(log, place)
    assert checks.wrong_ledger(log, kept) == []
    del log.parts[place][3]
    assert len(checks.wrong_ledger(log, kept)) == 1


def test_a_ledger_that_has_read_more_than_these_logs_is_looked_at_again() -> None:
    log = logs()
    place = fullest(log, "clearance.history")
    kept = chain(log, place)
    assert checks.ahead(log, kept) == []
    del log.parts[place][-1]
    assert checks.ahead(log, kept) == [place]
    assert checks.ahead(log, {("ops.alerts", 7): (1, b"")}) == [("ops.alerts", 7)]


@pytest.mark.parametrize("stage", ["clearance", *checks.OTHERS])
def test_what_a_stage_has_said_twice_is_counted_by_stage(stage: str) -> None:
    log = logs()
    assert checks.said_twice(log, stage) == 0
    record = log.parts[fullest(log, f"outcomes.{stage}")][0]
    said = msgspec.json.decode(record.value or b"", type=BatchOutcomes)
    log.parts[fullest(log, f"outcomes.{stage}")].append(record)
    assert checks.said_twice(log, stage) == said.last - said.first + 1
    assert sum(checks.said_twice(log, other) for other in ("clearance", *checks.OTHERS)) == said.last - said.first + 1


def test_every_stage_that_says_what_came_of_its_inputs_is_asked() -> None:
    assert {f"outcomes.{stage}" for stage in ("clearance", *checks.OTHERS)} == {spec.name for spec in topics().by_kind("outcomes")}


def test_a_run_reads_whatever_the_checks_look_at() -> None:
    read = {spec.name for kind in KINDS for spec in topics().by_kind(kind)}
    assert {*RESTORES, READINESS, "restricted.cn", "clearance.history", "ops.alerts"} <= read
