"""Consequences, messages, what is waited for: in the reader's language, and nothing of the shipped reference without a word."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.explain.document import explain
from streams.explain.say import member, say, say_all, word
from streams.explain.words import GROUPS, LANGS, found
from streams.reference.model import Reference
from streams.reference.parse import parse
from tests.streams.border_world import KZ_ENTRY, PL_ENTRY, T0, demand, doc, reference
from tests.streams.test_assess_story import ARRIVAL, BY_THEN, at, broken, look, there, underway
from topics.facts import DAY, HOUR

SHIPPED: Reference = parse({p.name: p.read_bytes() for p in sorted((Path(__file__).parents[2] / "streams" / "reference").glob("*.toml"))})
CHINESE, RUSSIAN = re.compile("[一-鿿]"), re.compile("[А-Яа-яёЁ]")


@pytest.mark.parametrize("row", [r for r in SHIPPED.side_rows if r.filings], ids=lambda r: r.id)
def test_every_consequence_message_and_kind_of_the_shipped_rows_has_words(row) -> None:  # type: ignore[no-untyped-def]
    for filing in row.filings:
        assert not filing.consequence or found("cons", filing.consequence, "zh"), filing.consequence
        assert not filing.message or found("message", filing.message, "en"), filing.message
        assert found("kind", filing.kind, "ru"), filing.kind
    for one in (m for group in row.release for m in group):
        assert member(one, "zh") != one


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_words_are_given_in_three_languages_and_their_own_scripts(group: str) -> None:
    for name, words in GROUPS[group].items():
        assert len(words) == len(LANGS), name
        assert all(words), name
        assert CHINESE.search(words[1]), name
        if not (words[2].isascii() and words[2].isupper()):
            assert RUSSIAN.search(words[2]), name


@pytest.mark.parametrize(("lang", "script"), [("zh", CHINESE), ("ru", RUSSIAN)])
def test_a_deadline_names_its_consequence_in_the_language_of_the_sentence(lang: str, script: re.Pattern[str]) -> None:
    facts = [f for f in underway() if f.key[:2] != ("doc", "pi")]
    update = at(look(facts, ARRIVAL - 5 * HOUR), KZ_ENTRY)
    finding = next(f for f in update.findings if f.code == "FILING_AT_RISK")
    assert "the train waits" in finding.texts["en"]
    assert "the train waits" not in finding.texts[lang]
    action = next(a for a in update.actions if a.message == "ПИ")
    assert action.consequence["en"] == "the train waits"
    assert script.search(action.consequence[lang])
    assert "preliminary information" in action.what["en"]


def test_what_the_reference_says_otherwise_is_shown_as_it_says_it() -> None:
    update = at(look([f for f in underway() if f.key[:2] != ("doc", "ens")], T0 + 5 * HOUR), PL_ENTRY)
    action = next(a for a in update.actions if a.message == "IE3F51")
    assert action.consequence == {"en": "refused entry", "zh": "refused entry", "ru": "refused entry"}
    assert word("message", "X-1", "zh") == "X-1"
    assert member("condition-of-ours", "ru") == "condition-of-ours"


@pytest.mark.parametrize(("said", "en", "zh"), [
    ("registered:pi", "preliminary information (ПИ) registered", "预先信息（ПИ）已登记"), ("presented", "goods presented", "货物已交验"),
    ("released:td|released:import", "transit declaration (ТД) released / import declaration released", "过境报关单（ТД）已放行 / 进口申报已放行"),
    ("amended:ens", "amendment of ENS registered", "入境摘要申报（ENS）修改已登记"), ("ended", "transit ended", "过境已结束"),
    ("demand/info/R1/closed", "request R1 closed by the authority", "监管方了结要求 R1"), ("seal reading", "seal read", "封志已读取")])
def test_what_is_waited_for_is_said_in_words(said: str, en: str, zh: str) -> None:
    assert (member(said, "en"), member(said, "zh")) == (en, zh)


@pytest.mark.parametrize("lang", ["zh", "ru"])
def test_an_explanation_leaves_no_member_or_mark_of_completion_raw(lang: str) -> None:
    asked = demand("@PL/doc/ens/E1", "info", "R1", "opened", T0 + 3 * HOUR, "PL", subject="ens/E1", value={"answer_by": T0 + DAY, "reason": "invoice"})
    cases = [(there(), BY_THEN, KZ_ENTRY), ([*underway(), asked], T0 + 5 * HOUR, PL_ENTRY), (broken(), BY_THEN, PL_ENTRY)]
    for facts, now, side in cases:
        told = explain(look(facts, now).updates, facts, reference(), lang, side=side).sides[0]
        assert told.missing
        for text in (*told.missing, *(a.text for a in told.actions)):
            assert not re.search(r"\b(released|registered|amended|ended|demand)[:/]", text), text


def test_a_departure_without_a_document_names_the_kinds_and_states_in_words() -> None:
    assert say("trn.uncovered", "ru", {"kinds": "td, import"}) == "Участок за этой стороной не покрыт документом (ТД, импортная декларация)."
    said = say_all("bord.no_notice", {"state": "HELD", "hours": "26", "authority": "KZ"})
    assert (said["zh"][:10], said["ru"][:15]) == ("26 小时以来：扣留", "26 ч: задержан.")


def test_a_released_side_says_nothing_more_is_missing() -> None:
    facts = [*there(), doc("@KZ/doc/td/T1", "td", "T1", "released", ARRIVAL + HOUR, "KZ")]
    assert explain(look(facts, ARRIVAL + 2 * HOUR).updates, facts, reference(), "zh", side=KZ_ENTRY).sides[0].missing == ()
