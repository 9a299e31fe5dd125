"""The fold against the walker, the fold against itself in other orders, and planted faults that the walker must find."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from streams.status import DocState, Seal, State, demands, documents, ladder, release, seals, view
from streams.status.documents import Documents
from streams.status.ladder import Rung, Scope
from streams.status.states import Basis, Condition, Document
from tests.sim.oracle import compare
from tests.sim.oracle.compare import Disagreement, shuffles, walk
from topics.facts import NEVER, Fact

HISTORIES = 5_000
SHUFFLES = 2_500


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_a_history_walked_in_order_shows_what_its_facts_fold_to(seed: int) -> None:
    tally = walk(0, HISTORIES, seed)
    assert tally.histories == HISTORIES
    assert tally.states() == {s.name for s in State}, "a state was never reached"
    assert tally.reached["RELEASED", "AGREEMENT"], "no release by agreement"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [21, 22, 23, 24])
def test_equal_times_versions_records_and_withdrawals_fold_alike_in_any_order(seed: int) -> None:
    shuffles(0, SHUFFLES, seed)


Fault = Callable[[pytest.MonkeyPatch], None]


def anyone_is_competent(m: pytest.MonkeyPatch) -> None:
    m.setattr(view.View, "competent", lambda self, kind, source: True)


def masks_are_ignored(m: pytest.MonkeyPatch) -> None:
    m.setattr(view, "_unmasked", lambda facts: [f for f in facts if f.key[0] != "mask"])


def a_date_is_taken_for_a_time(m: pytest.MonkeyPatch) -> None:
    for module in (view, documents, demands):
        m.setattr(module, "last_instant", lambda f: f.at)


def a_rejection_of_the_same_day_lifts_a_hold(m: pytest.MonkeyPatch) -> None:
    real = documents._life

    def lifting(name: documents.Name, words: Any, judged: int) -> Document:
        last = max((at for p in ("rejected", "invalidated") if (at := words.times.get(p, NEVER)) and p in words.own), default=NEVER)
        life = real(name, words, judged)
        return structs.replace(life, settled_at=max(life.settled_at, last))

    m.setattr(documents, "_life", lifting)


def one_good_number_hides_a_later_rejection(m: pytest.MonkeyPatch) -> None:
    m.setattr(documents, "_kind_state", lambda mine: max(d.state for d in mine))


def an_agreement_overrules_the_authority(m: pytest.MonkeyPatch) -> None:
    m.setattr(release, "_stained", lambda members, every: False)


def an_agreement_needs_no_reading_of_its_own(m: pytest.MonkeyPatch) -> None:
    m.setattr(ladder, "agreement_holds", lambda view, ready, verdicts: ready and view.presented != NEVER)


def an_amendment_keeps_old_assessments(m: pytest.MonkeyPatch) -> None:
    real: Callable[[Any, int], tuple[Condition, ...]] = ladder._conditions
    m.setattr(ladder, "_conditions", lambda view, registered_at: real(view, NEVER))


def a_broken_lock_is_not_noticed(m: pytest.MonkeyPatch) -> None:
    m.setattr(seals, "ALARMS", frozenset())


def a_closing_without_reference_closes_nothing(m: pytest.MonkeyPatch) -> None:
    m.setattr(demands, "_bare", lambda heard, closings: set())


def an_answer_is_not_heard(m: pytest.MonkeyPatch) -> None:
    m.setattr(demands._Heard, "answer", lambda self, subject, reference: NEVER)


def another_matter_without_reference_answers_too(m: pytest.MonkeyPatch) -> None:
    m.setattr(demands._Heard, "answer", lambda self, subject, reference: max((t for (_, r), t in self.answered.items() if r == reference), default=NEVER))


def a_discrepancy_falls_with_a_routine_release(m: pytest.MonkeyPatch) -> None:
    real = demands._closings

    def forgetful(name: demands.Name, demand: Any, *rest: Any) -> list[tuple[int, str]]:
        found, kept = demand.times.pop("discrepancy", None), dict(demand.times)
        if not kept:
            demand.times["opened"] = found
        try:
            return real(name, demand, *rest)
        finally:
            demand.times.pop("opened", None) if not kept else None
            if found is not None:
                demand.times["discrepancy"] = found

    m.setattr(demands, "_closings", forgetful)


def a_release_outlives_its_document(m: pytest.MonkeyPatch) -> None:
    real = documents._life

    def undying(name: documents.Name, words: Any, judged: int) -> Document:
        life = real(name, words, judged)
        return structs.replace(life, state=DocState.RELEASED, released_at=words.times["released"]) if "released" in words.times else life

    m.setattr(documents, "_life", undying)


def a_used_up_document_still_releases(m: pytest.MonkeyPatch) -> None:
    real = release._proof

    def generous(view: view.View, member: str, docs: Documents, kinds: dict[str, DocState]) -> release.Proof | None:
        unspent = {n: structs.replace(d, ended_at=NEVER) for n, d in docs.items()} if member.startswith("released:") else docs
        return real(view, member, unspent, kinds)

    m.setattr(release, "_proof", generous)


def a_forwarder_undoes_a_departure(m: pytest.MonkeyPatch) -> None:
    real = view.View._was_here

    def credulous(self: view.View, f: Fact, presenting: bool) -> None:
        real(self, f, presenting)
        self.back = max(self.back, f.at)

    m.setattr(view.View, "_was_here", credulous)


def validity_runs_on_when_presented(m: pytest.MonkeyPatch) -> None:
    real = documents.documents

    def running_on(seen: view.View, now: int) -> tuple[Documents, Documents, set[str]]:
        by, seen.presented_by = seen.presented_by, None
        try:
            return real(seen, now)
        finally:
            seen.presented_by = by

    m.setattr(ladder, "documents", running_on)


def every_run_is_the_same_run(m: pytest.MonkeyPatch) -> None:
    m.setitem(compare.RULES, "exit", structs.replace(compare.RULES["exit"], per_run=frozenset()))


def a_visit_consumes_nothing(m: pytest.MonkeyPatch) -> None:
    m.setitem(compare.RULES, "entry", structs.replace(compare.RULES["entry"], per_visit=frozenset()))


def agencies_are_not_heard(m: pytest.MonkeyPatch) -> None:
    m.setattr(ladder, "blocks", lambda view: ())


def a_release_stands_above_a_hold(m: pytest.MonkeyPatch) -> None:
    real = ladder.climb

    def hasty(s: Scope) -> Rung:
        return Rung(State.RELEASED, Basis.AUTHORITY, NEVER, ()) if s.release.granted and s.route == "on" else real(s)

    m.setattr(ladder, "climb", hasty)


def a_lost_signal_is_good(m: pytest.MonkeyPatch) -> None:
    m.setattr(seals, "LOST", frozenset())


def departures_are_never_checked(m: pytest.MonkeyPatch) -> None:
    m.setattr(ladder, "_had_leave", lambda s, index, scope: True)


FAULTS: list[Fault] = [
    anyone_is_competent, masks_are_ignored, a_date_is_taken_for_a_time, a_rejection_of_the_same_day_lifts_a_hold,
    one_good_number_hides_a_later_rejection, an_agreement_overrules_the_authority, an_agreement_needs_no_reading_of_its_own,
    an_amendment_keeps_old_assessments, a_broken_lock_is_not_noticed, a_closing_without_reference_closes_nothing, an_answer_is_not_heard,
    another_matter_without_reference_answers_too, a_discrepancy_falls_with_a_routine_release, a_release_outlives_its_document,
    a_used_up_document_still_releases, a_forwarder_undoes_a_departure, validity_runs_on_when_presented, every_run_is_the_same_run,
    a_visit_consumes_nothing, agencies_are_not_heard, a_release_stands_above_a_hold, a_lost_signal_is_good, departures_are_never_checked,
]
FOUND_WITHIN = 4_000
"""Histories of one seed in which every planted fault shows; most show within fifty."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_a_planted_fault_is_found(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    with pytest.raises(Disagreement):
        walk(0, FOUND_WITHIN, 11)


def test_a_fold_that_depends_on_order_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = view.Index._fill

    def first_come(self: view.Index, facts: list[Fact]) -> None:
        seen: set[tuple[str, ...]] = set()
        real(self, [f for f in facts if f.key not in seen and not seen.add(f.key)])  # type: ignore[func-returns-value]

    monkeypatch.setattr(view.Index, "_fill", first_come)
    with pytest.raises(Disagreement):
        shuffles(0, 200, 21)


def test_the_seal_verdicts_have_five_words() -> None:
    assert {s.value for s in Seal} == {"FAILED", "READING", "UNPROVEN", "OK", "NO_READING"}
