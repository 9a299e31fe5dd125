"""Invariant 2: whatever order facts come in, however often they are repeated, the status is the same. Any facts, sensible or not."""
from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.status import side_status
from tests.sim.oracle.compare import RULES
from tests.sim.oracle.rows import CUSTOMS, FORWARDER, LOCK, RAILWAY, TERMINAL, UNION
from topics.facts import DAY, EVERYWHERE, HOUR, Fact, Key, Rank, Value, merge

INSTANTS = st.integers(0, 12).map(lambda n: n * 8 * HOUR)
KINDS = ["pi", "td", "import", "declaration", "conveyance", "export", "transit", "paper"]
NUMBERS = ["1", "2", "r1"]


def key(*parts: list[str] | str) -> st.SearchStrategy[Key]:
    return st.tuples(*(st.just(p) if isinstance(p, str) else st.sampled_from(p) for p in parts))


KEYS = st.one_of(
    key("doc", KINDS, NUMBERS, ["sent", "registered", "amended", "assessed", "rejected", "released", "revoked", "invalidated", "ended", "enquiry",
                                "amendment_sent", "amendment_rejected"]),
    key("demand", ["hold", "control", "info", "refusal", "other"], ["", "td/1", "pi/1", "conveyance/r1"], ["", "a"],
        ["opened", "started", "discrepancy", "closed", "answered"]),
    key(["seen", "handed_over", "presented", "departed"], ["1", "2"]),
    key("seal", "lock", ["ok", "reading", "lost", "restored", "tamper", "opened_authorised"], ["e1", "e2"]),
    key("condition", ["risk", "gtt"]),
    key("agency", ["veterinary", "phyto"], ["", "hold", "control"], ["", "v"], ["opened", "closed", "discrepancy", "certificate"]),
    key(["route", "visit", "run", "mask"]),
)
SPANS = st.fixed_dictionaries({"source": st.sampled_from([CUSTOMS, RAILWAY]), "since": INSTANTS, "until": INSTANTS})
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.just(True), st.none(), st.sampled_from(["proven", "failed", "off", "on", "not_required", "r1"]), INSTANTS, st.integers(1, 2), SPANS,
    st.fixed_dictionaries({"official": st.sampled_from(["A", "B"]), "valid_until": INSTANTS}))
FACTS = st.builds(
    Fact, side=st.sampled_from(["side", EVERYWHERE]), key=KEYS, at=INSTANTS, source=st.sampled_from([CUSTOMS, UNION, FORWARDER, RAILWAY, TERMINAL, LOCK]),
    rank=st.sampled_from(list(Rank)), record=st.sampled_from(["", "m1"]), version=st.integers(0, 1), id=st.sampled_from(["x", "y", "z"]),
    scope=st.sampled_from(["", "A", "B", "B/1"]), value=VALUES, code=st.sampled_from(["", "PAS"]), dated=st.booleans())


@settings(max_examples=300, deadline=None)
@given(st.lists(FACTS, max_size=30), st.sampled_from(sorted(RULES)), st.randoms(use_true_random=False), INSTANTS)
def test_any_order_and_any_repetition_of_any_facts_gives_one_status(facts: list[Fact], name: str, rng: random.Random, now: int) -> None:
    again = facts + rng.choices(facts, k=len(facts) // 2) if facts else facts
    rng.shuffle(again)
    cut = rng.randint(0, len(again))
    one, other = merge({}, facts), merge(merge(merge({}, again[cut:]), again[:cut]), again[cut:])
    assert one == other
    assert side_status(one, ["A", "B"], RULES[name], now) == side_status(other, ["A", "B"], RULES[name], now)


@settings(max_examples=200, deadline=None)
@given(st.lists(FACTS, max_size=30), st.sampled_from(sorted(RULES)), INSTANTS)
def test_nothing_changes_with_the_clock_before_next_due(facts: list[Fact], name: str, now: int) -> None:
    merged = merge({}, facts)
    status = side_status(merged, ["A"], RULES[name], now)
    just_before = 10 * DAY if status.next_due is None else status.next_due - 1
    assert side_status(merged, ["A"], RULES[name], just_before) == status
