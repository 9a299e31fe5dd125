"""The independent reader sees what is missing."""
from __future__ import annotations

from streams.audit import Auditor
from topics.events.outputs import BatchOutcomes, DeadLetter, ExceptionalOutcome


def auditor(*, refused: bool = False, letter: bytes | None = b"x") -> Auditor:
    made = Auditor({"rail.trains.ktz": "intake", "trains.in": "trains"})
    for offset in range(5):
        made.record("rail.trains.ktz", 0, offset, b"k", b"x")
    exceptions = (ExceptionalOutcome(offset=3, fate="refused"),) if refused else ()
    made.outcome(BatchOutcomes(stage="intake", topic="rail.trains.ktz", partition=0, first=0, last=4, count=5, exceptions=exceptions))
    if refused and letter is not None:
        made.dead_letter(DeadLetter(stage="intake", topic="rail.trains.ktz", partition=0, offset=3, timestamp=0, key=b"k", value=letter, code="NOT_JSON"))
    return made


def test_a_range_that_covers_every_record_accounts_for_all() -> None:
    account = auditor().account()
    assert (account.records, account.applied, account.unaccounted) == (5, 5, 0)


def test_one_record_without_an_outcome_is_seen() -> None:
    made = auditor()
    made.record("rail.trains.ktz", 0, 5, None, b"y")
    assert made.account().unaccounted == 1
    assert made.account().faults == ("rail.trains.ktz/0/5: no outcome",)


def test_a_record_of_a_fold_needs_an_outcome_of_that_fold() -> None:
    made = auditor()
    made.record("trains.in", 2, 0, None, b"z")
    made.outcome(BatchOutcomes(stage="custody", topic="trains.in", partition=2, first=0, last=0, count=1))
    assert made.account().unaccounted == 1
    made.outcome(BatchOutcomes(stage="trains", topic="trains.in", partition=2, first=0, last=0, count=1))
    assert made.account().unaccounted == 0


def test_a_range_published_again_after_a_crash_is_one_outcome() -> None:
    made = auditor()
    repeats = (ExceptionalOutcome(offset=0, fate="duplicate"), ExceptionalOutcome(offset=1, fate="duplicate"))
    made.outcome(BatchOutcomes(stage="intake", topic="rail.trains.ktz", partition=0, first=0, last=1, count=2, exceptions=repeats))
    assert made.account().unaccounted == 0


def test_only_redelivered_is_no_outcome() -> None:
    made = auditor()
    made.record("rail.trains.ktz", 0, 5, None, b"y")
    made.outcome(BatchOutcomes(stage="intake", topic="rail.trains.ktz", partition=0, first=4, last=5, count=2,
                               exceptions=(ExceptionalOutcome(offset=4, fate="redelivered"), ExceptionalOutcome(offset=5, fate="redelivered"))))
    assert made.account().unaccounted == 1


def test_two_outcomes_that_differ_are_a_fault() -> None:
    made = auditor()
    said = (ExceptionalOutcome(offset=1, fate="superseded"),)
    made.outcome(BatchOutcomes(stage="intake", topic="rail.trains.ktz", partition=0, first=1, last=1, count=1, exceptions=said))
    assert made.account().unaccounted == 1


def test_waiting_before_a_crash_and_applied_after_it_in_a_longer_batch_is_one_outcome() -> None:
    made = auditor()
    said = (ExceptionalOutcome(offset=1, fate="waiting"),)
    made.outcome(BatchOutcomes(stage="intake", topic="rail.trains.ktz", partition=0, first=1, last=1, count=1, exceptions=said))
    assert (made.account().unaccounted, made.account().applied, made.account().waiting) == (0, 5, 0)


def test_a_position_that_is_no_longer_believed_after_a_crash_is_refused_once_and_needs_its_dead_letter() -> None:
    """Positions are judged by those around them, and after a crash more of them come in one batch. Any other refusal of what was applied is a fault."""
    for reason, lettered, faults in (("POSITION_JUMP", True, 0), ("POSITION_JUMP", False, 1), ("POSITION_OFF_ROUTE", True, 1)):
        made = auditor()
        said = (ExceptionalOutcome(offset=1, fate="refused", reason=reason),)
        made.outcome(BatchOutcomes(stage="intake", topic="rail.trains.ktz", partition=0, first=1, last=1, count=1, exceptions=said))
        if lettered:
            made.dead_letter(DeadLetter(stage="intake", topic="rail.trains.ktz", partition=0, offset=1, timestamp=0, key=b"k", value=b"x", code=reason))
        account = made.account()
        assert (account.unaccounted, account.refused) == (faults, 1 - faults), reason


def test_a_refusal_needs_a_dead_letter_with_the_original_bytes() -> None:
    assert auditor(refused=True).account().unaccounted == 0
    assert auditor(refused=True, letter=None).account().unaccounted == 1
    assert auditor(refused=True, letter=b"changed").account().unaccounted == 1


def test_a_record_that_vanished_from_the_log_is_seen_though_its_outcome_covers_it() -> None:
    made = Auditor({"trains.in": "trains"})
    for offset in (0, 1, 3, 4):
        made.record("trains.in", 0, offset, b"k", b"x")
    made.outcome(BatchOutcomes(stage="trains", topic="trains.in", partition=0, first=0, last=4, count=5))
    account = made.account()
    assert account.unaccounted == 1
    assert account.faults == ("trains.in/0/2: a stage has an outcome for it, the log has no record",)


def test_offsets_that_never_held_a_record_or_went_with_retention_are_not_missed() -> None:
    made = Auditor({"trains.in": "trains"})
    for offset in (2, 4):
        made.record("trains.in", 0, offset, b"k", b"x")
    made.begins("trains.in", 0, 2)
    made.outcome(BatchOutcomes(stage="trains", topic="trains.in", partition=0, first=0, last=4, count=4, absent=((3, 3),)))
    assert made.account().unaccounted == 0


def derived(count: int, *again: int) -> Auditor:
    made = Auditor({"rail.trains.ktz": "intake", "trains.in": "trains"})
    made.record("rail.trains.ktz", 0, 0, b"k", b"x")
    for promised in (count, *again):
        made.outcome(BatchOutcomes(stage="intake", topic="rail.trains.ktz", partition=0, first=0, last=0, count=1, derived=promised))
    for offset in range(2):
        made.record("trains.in", 0, offset, b"k", b"x")
    made.outcome(BatchOutcomes(stage="trains", topic="trains.in", partition=0, first=0, last=1, count=2))
    return made


def test_a_derived_record_that_never_reached_the_log_is_seen() -> None:
    assert derived(2).account().unaccounted == 0
    assert derived(1).account().unaccounted == 0, "a tick publishes too"
    assert derived(3).account().unaccounted == 1


def test_what_is_worked_on_again_after_a_crash_promises_once() -> None:
    assert derived(2, 2).account().unaccounted == 0
    assert derived(3, 2).account().unaccounted == 0
    assert derived(2, 3).account().unaccounted == 1


def of_stages(summaries: int, movements: int, promised: int) -> Auditor:
    """TRAINS has published one movement and CLEARANCE so many summaries as it says; this many are there."""
    made = Auditor({"trains.in": "trains", "clearance.in": "clearance", "readiness.in": "readiness", "custody.in": "custody"})
    for stage, derived in (("trains", 1), ("clearance", promised)):
        made.record(f"{stage}.in", 0, 0, b"k", b"x" if stage == "trains" else b'{"type":"risk.indicator"}')
        made.outcome(BatchOutcomes(stage=stage, topic=f"{stage}.in", partition=0, first=0, last=0, count=1, derived=derived))
    for topic, count, value in (("custody.in", movements, b'{"type":"movement"}'), ("readiness.in", summaries, b'{"type":"summary"}')):
        for offset in range(count):
            made.record(topic, 0, offset, b"k", value)
            made.outcome(BatchOutcomes(stage=topic[:-3], topic=topic, partition=0, first=offset, last=offset, count=1))
    return made


def test_what_one_stage_says_makes_up_for_nothing_that_another_has_lost() -> None:
    assert of_stages(2, 9, 2).account().unaccounted == 0
    found = of_stages(0, 9, 3).account()
    assert found.unaccounted == 2, "a record without a type may be anybody's"
    assert found.faults == ("clearance published 3 records to *.in topics, 1 that may be theirs are there",)


def test_what_goes_to_everybody_was_promised_once_and_must_be_in_every_partition() -> None:
    def told(*partitions: int) -> Auditor:
        made = Auditor({"sources.in": "sources", "clearance.in": "clearance"})
        made.record("sources.in", 0, 0, b"ktz", b'{"type":"source.heard"}')
        made.outcome(BatchOutcomes(stage="sources", topic="sources.in", partition=0, first=0, last=0, count=1, derived=2))
        for partition in (0, 1):
            made.record("clearance.in", partition, 0, b"*", b'{"type":"network.crossing"}')
            made.outcome(BatchOutcomes(stage="clearance", topic="clearance.in", partition=partition, first=0, last=2, count=3, absent=((1, 2),)))
        for n, partition in enumerate(partitions):
            made.record("clearance.in", partition, 1 + n // 2, b"*", b'{"type":"source.freshness"}')
            made.outcome(BatchOutcomes(stage="clearance", topic="clearance.in", partition=partition, first=1 + n // 2, last=1 + n // 2, count=1))
        return made

    assert told(0, 1, 0, 1).account().unaccounted == 0
    assert told(0, 1, 0).account().unaccounted == 1
    beside = told(0, 1, 0, 1)
    beside.partition("clearance.in", 2)
    assert beside.account().unaccounted == 2, "nothing at all is in the third"
