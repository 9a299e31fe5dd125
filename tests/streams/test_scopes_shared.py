"""Boxes and house items that see the same facts are assessed once: what is said of each is what was said when each was looked at by itself."""
from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import msgspec
import pytest

from streams.assess import Assessment, assess, findings
from streams.assess import filings as filing_module
from streams.assess.presence import HEADS, presence
from streams.assess.presence import _passage as passage_of
from streams.reference.model import FilingRow, Reference, SideRow
from streams.rules import pack_of
from streams.rules.case import OURS, SideCase
from streams.status import SideRules, rollup, scope_status, side_status
from streams.status.ladder import assess as assess_scope
from streams.status.view import Index
from tests.streams.border_world import BOX, KZ_ENTRY, OTHER_BOX, PL_ENTRY, ROWS, T0, bound, demand, doc
from tests.streams.border_world import presence as seen
from tests.streams.border_world import reference as world
from tests.streams.test_assess_story import ARRIVAL, KEY, there
from tests.streams.test_short_ways import REFERENCES, Teller
from topics.facts import HOUR, WHOLE, Fact, Rank, merge

ITEMS = [f"{BOX}/I{n}" for n in range(6)] + [f"{OTHER_BOX}/I{n}" for n in range(2)]
SEEDS = range(40)


def facts_of(rng: random.Random) -> tuple[list[Fact], int]:
    """A shipment of two boxes with house items, of some of which something is said; and when."""
    teller = Teller(rng, calm=True)
    teller.now = ARRIVAL + rng.choice((-40, 1, 30)) * HOUR
    told = [*there(), *(bound(s) for s in (OTHER_BOX, *ITEMS) if rng.random() < 0.8)]
    for _ in range(rng.randint(0, 25)):
        fact = teller.any()
        told.append(msgspec.structs.replace(fact, scope=rng.choice(ITEMS)) if fact.scope and rng.random() < 0.5 else fact)
    return list(merge({}, told).values()), teller.now


@contextmanager
def each_by_itself() -> Iterator[None]:
    def scopes(index: Index, names: list[str], rules: SideRules, now: int, _: object) -> dict[str, object]:
        return {name: assess_scope(index, name, rules, now) for name in names}

    with (patch.object(rollup, "_scopes", scopes), patch.object(filing_module, "_alike", lambda *_: None),
          patch.object(findings, "boxed", lambda _, proven: proven)):
        yield


def assessed(facts: list[Fact], reference: Reference, now: int) -> Assessment:
    return assess(KEY, facts, reference, (), now, pack_of(reference))


@pytest.mark.parametrize("reference", REFERENCES, ids=("quiet", "busy"))
def test_what_is_said_of_every_side_is_the_same_as_when_each_scope_is_looked_at(reference: Reference) -> None:
    shared = several = 0
    for seed in SEEDS:
        facts, now = facts_of(random.Random(seed))
        found = assessed(facts, reference, now)
        with each_by_itself():
            expected = assessed(facts, reference, now)
        assert found.updates == expected.updates, f"seed {seed}"
        assert found.alerts == expected.alerts, f"seed {seed}"
        assert found.next_due == expected.next_due, f"seed {seed}"
        for side, other in zip(found.sides, expected.sides, strict=True):
            assert [(f.kind, f.due, f.timing, f.filer, f.waived) for f in side.filings] == [
                (f.kind, f.due, f.timing, f.filer, f.waived) for f in other.filings], f"seed {seed}, {side.id}"
            if side.status is not None:
                several += len(side.status.scopes) > 2
                shared += len(side.status.scopes) - len({id(s) for s in side.status.scopes.values()})
    assert several > 50, "sides with several scopes"
    assert shared > 200, "scopes that were not looked at again"


def test_an_item_of_which_nothing_is_said_stands_where_its_box_stands_and_not_where_another_box_does() -> None:
    cleared = frozenset({"released:td"})
    rules = SideRules(authority="KZ", filings={"td": True}, release=(cleared,), decision=cleared)
    facts = merge({}, [doc("s", "td", "T1", "released", ARRIVAL, "KZ", scope=BOX), seen("s", "departed", ARRIVAL + HOUR, scope=OTHER_BOX)])
    status = side_status(facts, ITEMS, rules, ARRIVAL + 2 * HOUR)
    assert {name: status.scopes[name] for name in ITEMS} == {name: scope_status(facts, name, rules, ARRIVAL + 2 * HOUR) for name in ITEMS}
    assert status.scopes[ITEMS[0]] is status.scopes[ITEMS[1]]
    assert status.scopes[ITEMS[0]].state != status.scopes[ITEMS[-1]].state


def test_an_item_passes_as_its_box_does_unless_something_is_said_of_it() -> None:
    own = f"{BOX}/I1"
    for whole in ((), (seen(KZ_ENTRY, "seen", ARRIVAL - HOUR, scope=WHOLE),)):
        facts = [*whole, seen(KZ_ENTRY, "seen", ARRIVAL), seen(KZ_ENTRY, "departed", ARRIVAL + HOUR, scope=own)]
        side = SideCase(KZ_ENTRY, "KZ", "ENTRY", 1)
        side.facts = facts
        presence(side, [*ITEMS, WHOLE])
        for name in (*ITEMS, WHOLE):
            names = {WHOLE, name.split("/", 1)[0], name}
            assert side.passages[name] == passage_of([f for f in facts if f.scope in names and f.key[0] in HEADS]), name
        assert side.passages[own] != side.passages[ITEMS[0]]


def test_news_of_one_item_leaves_the_others_as_they_stood() -> None:
    reference = REFERENCES[0]
    now = ARRIVAL + HOUR
    facts = [*there(), *(bound(s) for s in ITEMS), *(doc(KZ_ENTRY, "td", f"T{n}", "sent", ARRIVAL, "fwd", scope=s) for n, s in enumerate(ITEMS))]
    before = assessed(facts, reference, now)
    more = [*facts, doc(KZ_ENTRY, "td", "T0", "released", ARRIVAL + HOUR // 2, "KZ", scope=ITEMS[0])]
    looked: list[str] = []

    def counting(index: Index, scope: str, rules: SideRules, at: int) -> object:
        looked.append(scope)
        return assess_scope(index, scope, rules, at)

    with patch.object(rollup, "assess", counting):
        after = assess(KEY, more, reference, (), now, pack_of(reference), memo=before.memo)
    assert looked == [ITEMS[0]]
    assert after.updates == assessed(more, reference, now).updates
    assert after.updates != before.updates


def test_a_term_that_runs_out_is_looked_at_again() -> None:
    reference = REFERENCES[0]
    ask = demand(KZ_ENTRY, "info", "R1", "opened", ARRIVAL, "KZ", value={"answer_by": ARRIVAL + 5 * HOUR, "reason": "x"}, scope=ITEMS[0])
    facts = [*there(), *(bound(s) for s in ITEMS), ask, doc(KZ_ENTRY, "td", "T1", "sent", ARRIVAL, "fwd", scope=ITEMS[1])]
    before = assessed(facts, reference, ARRIVAL + HOUR)
    late = ARRIVAL + 6 * HOUR
    more = [*facts, doc(KZ_ENTRY, "td", "T1", "registered", ARRIVAL, "KZ", scope=ITEMS[1])]
    after = assess(KEY, more, reference, (), late, pack_of(reference), memo=before.memo)
    assert after.updates == assessed(more, reference, late).updates
    (side,) = (s for s in after.sides if s.id == KZ_ENTRY)
    assert side.status is not None
    assert "answer_overdue" in side.status.scopes[ITEMS[0]].flags


@pytest.mark.parametrize("scope", [ITEMS[2], OTHER_BOX])
def test_scopes_with_times_of_their_own_are_not_taken_for_alike(scope: str) -> None:
    """An unloading moves no state, but a filing may be due by it: here it was unloaded too soon."""
    unloaded = SideRow(source="D", id="eu-entry", union="EU", kind="ENTRY", filings=(FilingRow(kind="ens", lead_minutes=60, clock_ref="unloading"),),
                       release=(("released:transit",),), decision=("released:transit",))
    reference = world(side_rows=(unloaded, *(row for row in ROWS if row.id != "eu-entry")))
    early = Fact(side=PL_ENTRY, key=("unloading",), at=T0 + HOUR, source="term", rank=Rank.TERMINAL, scope=scope)
    told = [*there(), *(bound(s) for s in (OTHER_BOX, *ITEMS)), early, msgspec.structs.replace(early, scope=BOX, at=T0 + 9 * HOUR)]
    facts = list(merge({}, told).values())
    found = assessed(facts, reference, ARRIVAL)
    with each_by_itself():
        expected = assessed(facts, reference, ARRIVAL)
    assert [s.filings for s in found.sides] == [s.filings for s in expected.sides]
    (filing,) = (f for s in found.sides if s.id == PL_ENTRY for f in s.filings)
    assert filing.due == T0, "of the scope that was unloaded first, not of the first scope"


def test_an_item_that_only_the_authority_names_is_not_proven_by_what_its_box_has_proven() -> None:
    unknown = f"{BOX}/UNKNOWN"
    named = doc("CN-KZ-ALASHANKOU-DOSTYK:CN:EXIT", "declaration", "D9", "registered", ARRIVAL - 30 * HOUR, "CN", scope=unknown)
    facts = [*there(), *(bound(s) for s in ITEMS), named]
    for told, box_level in ((facts, False), (facts[:-1], True)):
        found = assessed(told, REFERENCES[0], ARRIVAL)
        with each_by_itself():
            expected = assessed(told, REFERENCES[0], ARRIVAL)
        side = found.sides[0]
        ours = {f.scope for f in side.facts if f.source == OURS}
        assert (ITEMS[0] in ours) != box_level
        assert ITEMS[-1] not in ours, "of the other box the authority has named none"
        assert found.updates == expected.updates
        assert side.status is not None
        assert (unknown in side.status.scopes) != box_level
