"""Each checker finds what it is for in a run that was spoilt on purpose, and nothing in the run as it was."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agents.runner.cells import RESERVED
from streams.effects import LogRecord, Send
from streams.sources import SourcesFold, State
from tests.sim.checkers import findings
from tests.sim.cluster.cluster import Cluster, Livelock
from tests.sim.plan import plan_of, without
from tests.sim.probe import Probe
from tests.sim.run import Essence, Run, calm_of, play
from topics import codec
from topics.events.outputs import Alert, BasisSaid, ClearanceUpdate, ConditionSaid, RefusalNotice, TrainReadiness

pytestmark = pytest.mark.sim

PLAN = without(plan_of(5), "zombie", "rebalance")


@pytest.fixture
def run() -> Run:
    return play(PLAN)


@pytest.fixture(scope="module")
def calm() -> Essence:
    return calm_of(PLAN)


def told(run: Run, update: ClearanceUpdate, topic: str = "clearance.history", value: bytes | None = None) -> None:
    run.log.write(Send(topic, update.shipment.encode(), value or codec.encode(update)))


def first_of(run: Run, topic: str, what: bytes = b"{") -> tuple[list[LogRecord], int]:
    """The records of a partition that holds one which says this, and where in it."""
    for n in range(run.log.partitions(topic)):
        records = run.log.part(topic, n).records
        for i, record in enumerate(records):
            if record.value and what in record.value:
                return records, i
    raise AssertionError(f"{topic} is empty")


def outcomes_vanish(run: Run, _: Essence) -> None:
    for record in list(run.log.part("outcomes.custody", 0).records):
        run.log.part("outcomes.custody", 0).records[record.offset] = msgspec.structs.replace(record, topic="gone")
    part = run.log.part("outcomes.custody", 0)
    del part.records[0], part.offsets[0], part.born[0]


def a_dead_letter_differs(run: Run, _: Essence) -> None:
    part = run.log.part("dead.letters", 0)
    value = msgspec.json.decode(part.records[0].value or b"{}")
    part.records[0] = msgspec.structs.replace(part.records[0], value=msgspec.json.encode({**value, "value": "AAAA"}))


def a_commit_comes_early(run: Run, _: Essence) -> None:
    topic, partition, at, _births = run.cluster.commits[0]
    run.cluster.commits.insert(0, (topic, partition, at, 0))


def the_ledger_lacks_a_row(run: Run, _: Essence) -> None:
    run.database.tables["fact"].popitem()


def the_ledger_has_a_row_too_many(run: Run, _: Essence) -> None:
    run.database.tables["run"]["nobody",] = ("nobody", "x", "1", "2026-01-01")


def a_state_is_not_restored(run: Run, _: Essence) -> None:
    run.unrestored.append("custody/0 MSKU0000000")


def a_last_word_differs(run: Run, calm: Essence) -> None:
    last = max(run.statuses().values(), key=lambda u: u.revision)
    told(run, msgspec.structs.replace(last, revision=last.revision + 1, state="FILED" if last.state != "FILED" else "ARRIVED"))


def a_step_is_impure(run: Run, _: Essence) -> None:
    run.impure.append("custody X: the same step on the same bytes gave something else (state)")


def a_release_is_invented(run: Run, _: Essence) -> None:
    last = max(run.statuses().values(), key=lambda u: u.revision)
    basis = BasisSaid(kind="AUTHORITY", source=last.authority, evidence=f"customs-{last.authority.lower()}/customs.notice/NEVER-SAID")
    told(run, msgspec.structs.replace(last, revision=last.revision + 1, state="RELEASED", basis=basis, missing_release=()))


def a_hold_without_authority(run: Run, _: Essence) -> None:
    last = max(run.statuses().values(), key=lambda u: u.revision)
    told(run, msgspec.structs.replace(last, revision=last.revision + 1, state="HELD", basis=BasisSaid(kind="INFERRED")))


def a_blocked_side_may_move(run: Run, _: Essence) -> None:
    last = max(run.statuses().values(), key=lambda u: u.revision)
    told(run, msgspec.structs.replace(last, revision=last.revision + 1, blocked_by=("RU:TERRITORY",), movable=True))


def a_pre_clearance_lacks_a_proof(run: Run, _: Essence) -> None:
    last = max(run.statuses().values(), key=lambda u: u.revision)
    failed = ConditionSaid(name="GTT-02", verdict="failed")
    told(run, msgspec.structs.replace(last, revision=last.revision + 1, state="PRE_CLEARED", present=False, conditions=(failed,)))


def a_revision_has_two_contents(run: Run, _: Essence) -> None:
    last = max(run.statuses().values(), key=lambda u: u.revision)
    told(run, msgspec.structs.replace(last, order=last.order + 1))


def a_revision_falls(run: Run, _: Essence) -> None:
    last = max(run.statuses().values(), key=lambda u: u.revision)
    told(run, msgspec.structs.replace(last, revision=last.revision - 1_000_000_000_000))


def ready(run: Run, topic: str) -> TrainReadiness:
    """The last word on a train there."""
    said = [msgspec.json.decode(r.value, type=TrainReadiness) for r in run.log.topic(topic) if r.value and b'"type":"train.readiness"' in r.value]
    return max(said, key=lambda one: one.revision)


def railway_of(run: Run) -> str:
    return next(n for n in run.log.names() if n.startswith("status.") and any(b'"type":"train.readiness"' in (r.value or b"") for r in run.log.topic(n)))


def a_train_has_two_pictures_of_a_revision(run: Run, _: Essence) -> None:
    last = ready(run, "train.readiness")
    run.log.write(Send("train.readiness", last.run.encode(), codec.encode(msgspec.structs.replace(last, at=last.at + 1))))


def a_trains_revision_falls(run: Run, _: Essence) -> None:
    last = ready(run, "train.readiness")
    run.log.write(Send("train.readiness", last.run.encode(), codec.encode(msgspec.structs.replace(last, revision=last.revision - 1_000_000_000_000))))


def a_railway_reads_two_pictures_of_a_revision(run: Run, _: Essence) -> None:
    last = ready(run, name := railway_of(run))
    run.log.write(Send(name, last.run.encode(), codec.encode(msgspec.structs.replace(last, at=last.at + 1))))


def a_railways_revision_falls(run: Run, _: Essence) -> None:
    last = ready(run, name := railway_of(run))
    run.log.write(Send(name, last.run.encode(), codec.encode(msgspec.structs.replace(last, revision=last.revision - 1_000_000_000_000))))


def the_ledger_tells_another_past(run: Run, _: Essence) -> None:
    table = run.database.tables["status"]
    for key, row in list(table.items()):
        table[key] = tuple(v.replace('"shipment":"', '"shipment":"X', 1) if isinstance(v, str) else v for v in row)


def the_evidence_is_gone(run: Run, _: Essence) -> None:
    run.database.tables["event"].clear()


def a_status_rests_on_nothing(run: Run, _: Essence) -> None:
    """Every published status says another count than its facts give."""
    for n in range(run.log.partitions("clearance.history")):
        part = run.log.part("clearance.history", n)
        for i, record in enumerate(part.records):
            update = msgspec.json.decode(record.value or b"", type=ClearanceUpdate)
            part.records[i] = msgspec.structs.replace(record, value=codec.encode(msgspec.structs.replace(update, counts={"ARRIVED": 77})))


def drop(run: Run, topic: str, value: bytes | None = None) -> ClearanceUpdate:
    """Take a status of a topic out of the log, every copy of it; the last, if none is named."""
    gone = value or [r.value for r in run.log.topic(topic) if b'"type":"clearance.status"' in (r.value or b"")][-1] or b""
    for n in range(run.log.partitions(topic)):
        part = run.log.part(topic, n)
        for at in [at for at, r in enumerate(part.records) if r.value == gone][::-1]:
            del part.records[at], part.offsets[at], part.born[at]
    return msgspec.json.decode(gone, type=ClearanceUpdate)


def named(run: Run, start: str) -> str:
    return next(n for n in run.log.names() if n.startswith(start) and any(b'"type":"clearance.status"' in (r.value or b"") for r in run.log.topic(n)))


def a_border_never_hears(run: Run, _: Essence) -> None:
    drop(run, named(run, "border."))


def a_carrier_never_hears(run: Run, _: Essence) -> None:
    drop(run, named(run, "status."))


def the_history_lacks_a_status(run: Run, _: Essence) -> None:
    drop(run, "clearance.history")


def a_border_hears_of_another_state(run: Run, _: Essence) -> None:
    records, i = first_of(run, named(run, "border."))
    update = msgspec.json.decode(records[i].value or b"", type=ClearanceUpdate)
    records[i] = msgspec.structs.replace(records[i], value=codec.encode(msgspec.structs.replace(update, movable=not update.movable)))


def a_border_hears_what_was_never_published(run: Run, _: Essence) -> None:
    records, i = first_of(run, topic := named(run, "border."))
    update = msgspec.json.decode(records[i].value or b"", type=ClearanceUpdate)
    told(run, msgspec.structs.replace(update, revision=update.revision + 10**15), topic)


def a_border_hears_late(run: Run, _: Essence) -> None:
    """Its first status comes after all others of the shipment."""
    records, i = first_of(run, topic := named(run, "border."))
    told(run, drop(run, topic, records[i].value), topic)


def a_border_hears_of_another_crossing(run: Run, _: Essence) -> None:
    records, i = first_of(run, topic := named(run, "border."))
    told(run, msgspec.json.decode(records[i].value or b"", type=ClearanceUpdate), next(n for n in run.log.names() if n.startswith("border.") and n != topic))


def an_authority_never_sees_its_restricted_view(run: Run, _: Essence) -> None:
    """Nobody ever wrote to it what the view's revision says."""
    last = max(run.statuses().values(), key=lambda u: u.revision)
    told(run, msgspec.structs.replace(last, revision=last.revision + 1), "restricted.revisions")


def a_commit_falls_back(run: Run, _: Essence) -> None:
    topic, partition, at, births = run.cluster.commits[-1]
    run.cluster.commits.append((topic, partition, at - 1, births))


def a_secret_shows(run: Run, _: Essence) -> None:
    last = max(run.statuses().values(), key=lambda u: u.revision)
    told(run, msgspec.structs.replace(last, revision=last.revision + 1, document="COVERT-MARK"))


def a_forged_word_counts(run: Run, _: Essence) -> None:
    records, i = first_of(run, "clearance.in")
    records[i] = msgspec.structs.replace(records[i], value=(records[i].value or b"") + b" FORGED")


def a_topic_nobody_is_granted(run: Run, _: Essence) -> None:
    run.log.write(Send("elsewhere", b"k", b"{}"))


def an_authority_sees_the_inside_of_another(run: Run, _: Essence) -> None:
    topic = next(n for n in run.log.names() if n.startswith("border."))
    records, i = first_of(run, topic)
    update = msgspec.json.decode(records[i].value or b"", type=ClearanceUpdate)
    records[i] = msgspec.structs.replace(records[i], value=codec.encode(msgspec.structs.replace(update, authority="ZZ", flags=("held_by_others",))))


def a_carrier_reads_of_others(run: Run, _: Essence) -> None:
    records, i = first_of(run, next(n for n in run.log.names() if n.startswith("status.")), b'"type":"clearance.status"')
    update = msgspec.json.decode(records[i].value or b"", type=ClearanceUpdate)
    records[i] = msgspec.structs.replace(records[i], value=codec.encode(msgspec.structs.replace(update, carriers=())))


def work_grows(run: Run, _: Essence) -> None:
    run.steps["events"] += 1_000_000


def a_time_is_kept_for_every_tick(run: Run, _: Essence) -> None:
    cells = next(lane.work.cells for lane in run.cluster.lanes if lane.work is not None and len(lane.work.cells) > 1)
    cells._due += [(1 << 62, "k")] * (4 * len(cells) + 65)


def what_is_due_is_left(run: Run, _: Essence) -> None:
    lane, due = min(((lane, due) for lane in run.cluster.lanes if lane.work is not None and (due := lane.work.cells.next_due()) is not None),
                    key=lambda found: found[1])
    assert lane.work is not None
    lane.work.now = due[0] if isinstance(due, tuple) else due


def said_twice(run: Run) -> None:
    """The last word on a side once more, under a revision of its own, by all who read it."""
    last = max(run.statuses().values(), key=lambda u: u.revision)
    told(run, msgspec.structs.replace(last, revision=last.revision + 1, assessed_at=last.assessed_at + 1))


def a_side_is_said_again(run: Run, _: Essence) -> None:
    said_twice(run)


def it_says_something_else_with_each_fact(run: Run, _: Essence) -> None:
    last = max(run.statuses().values(), key=lambda u: u.revision)
    for n in range(1, 2 * len(run.log.topic("clearance.in"))):
        told(run, msgspec.structs.replace(last, revision=last.revision + n, margin_minutes=n))


def trains_are_told_otherwise(run: Run, _: Essence) -> None:
    records, i = first_of(run, "train.readiness", b'"sides":[{')
    last = max((msgspec.json.decode(r.value or b"", type=TrainReadiness) for r in records if r.key == records[i].key), key=lambda said: said.revision)
    said = msgspec.structs.replace(last, revision=last.revision + 1, over=not last.over)
    run.log.write(Send("train.readiness", last.run.encode(), codec.encode(said)))


def an_alert_stays_open(run: Run, _: Essence) -> None:
    said = Alert(key="X/1", name="X", severity="warning", state="open", seq=1 << 62, at=1)
    run.log.write(Send("ops.alerts", b"X/1", codec.encode(said)))


def nobody_says_what_was_refused(run: Run, _: Essence) -> None:
    name = next(n for n in run.log.names() if n.startswith("refusals.") and run.log.topic(n))
    part = next(p for n in range(run.log.partitions(name)) if (p := run.log.part(name, n)).records)
    told = msgspec.json.decode(part.records[0].value or b"", type=RefusalNotice)
    for at in [at for at, r in enumerate(part.records) if f'"offset":{told.offset}'.encode() in (r.value or b"")][::-1]:
        del part.records[at], part.offsets[at], part.born[at]


def a_sweep_never_ends(run: Run, _: Essence) -> None:
    lane = next(lane for lane in run.cluster.lanes if lane.work is not None and any(not key.startswith(RESERVED) for key in lane.work.cells))
    assert lane.work is not None
    lane.work.cells.begin_sweep(lane.work.broadcasts.epoch + 1)


SPOILT: tuple[tuple[str, Callable[[Run, Essence], None]], ...] = (
    ("1 nothing lost", outcomes_vanish), ("1 nothing lost", a_dead_letter_differs), ("1 nothing lost", a_commit_comes_early),
    ("1 nothing lost", the_ledger_lacks_a_row), ("1 nothing lost", the_ledger_has_a_row_too_many), ("1 nothing lost", a_state_is_not_restored),
    ("1 nothing lost", a_commit_falls_back), ("1 nothing lost", a_border_never_hears), ("1 nothing lost", a_carrier_never_hears),
    ("1 nothing lost", the_history_lacks_a_status), ("1 nothing lost", a_border_hears_of_another_state),
    ("1 nothing lost", a_border_hears_what_was_never_published), ("1 nothing lost", a_border_hears_late),
    ("1 nothing lost", a_border_hears_of_another_crossing), ("1 nothing lost", an_authority_never_sees_its_restricted_view),
    ("2 order does not matter", a_last_word_differs), ("3 pure core", a_step_is_impure),
    ("4 positive evidence", a_release_is_invented), ("4 positive evidence", a_hold_without_authority),
    ("4 positive evidence", a_blocked_side_may_move), ("4 positive evidence", a_pre_clearance_lacks_a_proof),
    ("5 revisions", a_revision_has_two_contents), ("5 revisions", a_revision_falls), ("5 revisions", a_train_has_two_pictures_of_a_revision),
    ("5 revisions", a_trains_revision_falls), ("5 revisions", a_railway_reads_two_pictures_of_a_revision), ("5 revisions", a_railways_revision_falls),
    ("6 explained", the_ledger_tells_another_past), ("6 explained", the_evidence_is_gone), ("6 explained", a_status_rests_on_nothing),
    ("7 need to know", a_secret_shows), ("7 need to know", a_forged_word_counts), ("7 need to know", a_topic_nobody_is_granted),
    ("7 need to know", an_authority_sees_the_inside_of_another), ("7 need to know", a_carrier_reads_of_others),
    ("2 order does not matter", trains_are_told_otherwise), ("2 order does not matter", an_alert_stays_open),
    ("1 nothing lost", nobody_says_what_was_refused), ("8 bounded", a_time_is_kept_for_every_tick), ("8 bounded", what_is_due_is_left),
    ("8 bounded", work_grows), ("8 bounded", a_sweep_never_ends), ("8 bounded", a_side_is_said_again), ("8 bounded", it_says_something_else_with_each_fact))


def test_no_checker_fires_on_a_good_run(run: Run, calm: Essence) -> None:
    assert findings(run, calm) == {}


@pytest.mark.parametrize(("invariant", "spoil"), SPOILT, ids=[spoil.__name__ for _, spoil in SPOILT])
def test_each_checker_fires_on_a_run_that_was_spoilt(invariant: str, spoil: Callable[[Run, Essence], None], run: Run, calm: Essence) -> None:
    spoil(run, calm)
    assert invariant in findings(run, calm)


@pytest.mark.parametrize("topic", ["train.readiness", "status."])
def test_a_trains_revision_that_falls_is_excused_when_a_former_owner_wrote_it_late(topic: str, run: Run, calm: Essence) -> None:
    name = railway_of(run) if topic == "status." else topic
    last = ready(run, name)
    place = run.log.places(Send(name, last.run.encode(), None))[0]
    late = codec.encode(msgspec.structs.replace(last, revision=last.revision - 1_000_000_000_000))
    run.cluster.owners.late.add((*place, run.log.append(Send(name, last.run.encode(), late), place)))
    assert "5 revisions" not in findings(run, calm)


def test_a_word_said_again_after_a_claim_is_excused(run: Run, calm: Essence) -> None:
    clearance = [lane for lane in run.cluster.lanes if lane.stage == "clearance"]
    for lane in clearance:
        run.cluster.owners.claim(lane, tuple(lane.own))
    said_twice(run)
    assert "8 bounded" not in findings(run, calm)


class Forgetful(SourcesFold):
    """Remembers how often it was asked: no two answers are the same."""

    asked = 0

    def step(self, state: State | None, key: str, events: Any, world: Any, now: int) -> Any:
        self.asked += 1
        return super().step(state, key, events, world, now if self.asked % 2 else now + 10 * 86_400_000_000)


@pytest.mark.parametrize(("fold", "impure"), [(SourcesFold, False), (Forgetful, True)])
def test_the_probe_sees_a_fold_that_answers_differently_the_second_time(fold: type[SourcesFold], impure: bool) -> None:
    from streams.fold import World
    from tests.sim.worlds import reference
    faults: list[str] = []
    probe = Probe(fold(), random.Random(1), 1.0, faults, Counter())
    probe.step(State(heard_at=1, last_event=1, live=True, known=True), "ktz", (), World(reference()), 2)
    assert bool(faults) is impure


def test_a_system_that_never_comes_to_rest_is_a_failure(run: Run) -> None:
    cluster: Cluster = run.cluster
    cluster.round = lambda: True  # type: ignore[method-assign]
    with pytest.raises(Livelock):
        cluster.settle(50)
