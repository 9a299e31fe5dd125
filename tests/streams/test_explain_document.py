"""`explain`: whose word, which rule, which event, what was not checked, what to do: in three languages."""
from __future__ import annotations

import re
import string

import pytest

from streams.assess import stamp
from streams.explain.document import explain
from streams.explain.say import CATALOGUES, say_all
from streams.rules import RULES
from tests.streams.border_world import KZ_ENTRY, PL_ENTRY, T0, doc, presence, reference
from tests.streams.test_assess_shipped import look as look_shipped
from tests.streams.test_assess_shipped import on, shipped
from tests.streams.test_assess_story import ARRIVAL, BY_THEN, at, broken, look, there, underway
from topics.events.internal import FreshnessChanged
from topics.facts import HOUR

REF = reference()


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("lang", sorted(CATALOGUES))
def test_every_catalogue_has_the_same_sentences_with_the_same_places_to_fill(lang: str) -> None:
    english = CATALOGUES["en"]
    assert set(CATALOGUES[lang]) == set(english)
    for key, text in CATALOGUES[lang].items():
        assert fields(text) <= fields(english[key]), key
    if lang != "en":
        same = [k for k in english if CATALOGUES[lang][k] == english[k]]
        assert same == [], "untranslated"


@pytest.mark.parametrize("lang", ["en", "zh", "ru"])
def test_every_rule_has_a_title_in_three_languages_a_legal_source_and_a_certainty(lang: str) -> None:
    for rule in RULES:
        assert rule.titles[lang], rule.id
        assert rule.legal, rule.id
        assert rule.certainty in ("high", "med", "low"), rule.id


def test_a_release_names_message_code_number_and_both_times() -> None:
    facts = [*there(), doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + HOUR, "KZ", code="TD-RELEASED", value={"official": "55100/010226/0000001"})]
    update = stamp(at(look(facts, ARRIVAL + 2 * HOUR), KZ_ENTRY), 7, ARRIVAL + 2 * HOUR)
    found = explain(update, facts, REF, "en").sides[0]
    assert found.state == "RELEASED"
    assert re.search(r"Message of KZ: code TD-RELEASED, number 55100/010226/0000001, \S+\+05:00 \(\S+\+00:00\)", found.basis.text)
    assert found.basis.evidence == ("KZ/td/T1/released",)


def test_what_is_computed_says_that_it_is_no_decision_and_shows_each_condition_with_rule_law_and_event() -> None:
    update = stamp(at(look(underway(), T0 + 5 * HOUR), KZ_ENTRY), 7, T0 + 5 * HOUR)
    found = explain(update, underway(), REF, "en").sides[0]
    assert "not a decision" in found.basis.text
    late = next(c for c in found.conditions if c.rule.startswith("GTT-02"))
    assert (late.verdict, "2018/166" in late.legal, late.certainty, late.evidence) == ("proven", True, "high", ("fwd/gtt/G1/sent",))


def test_every_condition_shown_says_what_asks_for_it() -> None:
    """A rule of ours, or the row of the side: risk cleared by the authority, its feed live."""
    facts = on(underway())
    asked = {c.name: c.rule for c in at(look_shipped(underway(), T0 + 5 * HOUR), KZ_ENTRY).conditions}
    assert asked["risk"] == "kz-entry-cn-transit/risk"
    assert all(asked.values()), asked
    stale = FreshnessChanged(source="customs-kz", live=False, since=T0, last_event=T0)
    update = at(look(underway(), T0 + 5 * HOUR, broadcasts=(stale,)), KZ_ENTRY)
    named = {c.name: c.rule for c in update.conditions}
    assert not [name for name, rule in named.items() if not rule]
    shown = explain(stamp(at(look_shipped(underway(), T0 + 5 * HOUR), KZ_ENTRY), 7, T0 + 5 * HOUR), facts, shipped(), "en").sides[0]
    assert "kz-entry-cn-transit/risk" in {c.rule for c in shown.conditions}


def test_a_side_that_the_goods_have_left_names_the_release_under_which_they_left() -> None:
    td = doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + HOUR, "KZ", code="TD-RELEASED")
    gone = [*there(), presence(KZ_ENTRY, "departed", ARRIVAL + 2 * HOUR)]
    left = at(look([*gone, td], ARRIVAL + 3 * HOUR), KZ_ENTRY)
    assert left.state == "DEPARTED"
    assert "KZ/td/T1/released" in {e.id for e in left.evidence}
    without = at(look(gone, ARRIVAL + 3 * HOUR), KZ_ENTRY)
    assert without.state == "DEPARTED"
    assert not [e for e in without.evidence if e.key[:2] == ("doc", "td")]


@pytest.mark.parametrize(("lang", "word"), [("en", "Next actions"), ("zh", "下一步"), ("ru", "Что делать")])
def test_the_text_is_in_the_readers_language(lang: str, word: str) -> None:
    facts = [f for f in underway() if f.key[:2] != ("doc", "ens")]
    update = stamp(at(look(facts, T0 + 5 * HOUR), PL_ENTRY), 7, T0 + 5 * HOUR)
    text = explain(update, facts, REF, lang).text()
    assert word in text
    assert "IE3F51" in text
    assert update.pack[:12] in text


def test_seals_are_shown_with_every_reading() -> None:
    update = at(look(broken(), BY_THEN), KZ_ENTRY)
    seals = explain(update, broken(), REF, "en").sides[0].seals
    assert [s.text.split()[1] for s in seals[1:]] == ["applied,", "armed,", "tamper,"]


def test_one_side_may_be_asked_for_alone() -> None:
    updates = look(underway(), T0 + 5 * HOUR).updates
    assert [s.side for s in explain(updates, (), REF, "en", side=KZ_ENTRY).sides] == [KZ_ENTRY]
    assert len(explain(updates, (), REF, "en").sides) == len(updates)


def test_a_key_without_a_text_is_a_bug() -> None:
    with pytest.raises(KeyError):
        say_all("no.such.key")
