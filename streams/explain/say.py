"""Sentences in Chinese, English and Russian by key: the catalogues are data, this fills them in."""
from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from streams.explain.texts_en import TEXTS as EN
from streams.explain.texts_ru import TEXTS as RU
from streams.explain.texts_zh import TEXTS as ZH
from streams.explain.words import ARGUMENTS, found

CATALOGUES: Mapping[str, Mapping[str, str]] = {"en": EN, "zh": ZH, "ru": RU}
LANGUAGES = tuple(CATALOGUES)


def say(key: str, lang: str, args: Mapping[str, object] | None = None) -> str:
    """One sentence. A key without a text is a bug and raises KeyError; an unknown language speaks English. What fills it is said in the same
    language where there is a word for it."""
    text = CATALOGUES.get(lang, EN)[key]
    return text.format_map({name: _filled(name, v, lang) for name, v in args.items()}) if args else text


def _filled(name: str, value: object, lang: str) -> object:
    if name == "kinds":
        return ", ".join(word("kind", kind, lang) for kind in str(value).split(", "))
    if name == "papers":
        return ", ".join(word("paper", paper, lang) for paper in str(value).split(", "))
    return word(ARGUMENTS[name], str(value), lang) if name in ARGUMENTS else value


def has(key: str) -> bool:
    """Is there a sentence for this key?"""
    return key in EN


def say_all(key: str, args: Mapping[str, str] | None = None) -> dict[str, str]:
    """One sentence in every language."""
    return dict(_said(key, tuple(sorted((args or {}).items()))))


@lru_cache(maxsize=4096)
def _said(key: str, args: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    filled = dict(args)
    return tuple((lang, say(key, lang, filled)) for lang in LANGUAGES)


def word(group: str, name: str, lang: str) -> str:
    """The word for a state, filing kind or role (`state.HELD`); the name itself where the catalogue has none."""
    return CATALOGUES.get(lang, EN).get(f"{group}.{name}") or EN.get(f"{group}.{name}") or found(group, name, lang) or name


def word_all(group: str, name: str) -> dict[str, str]:
    """The word in every language."""
    return {lang: word(group, name, lang) for lang in LANGUAGES}


def member(text: str, lang: str) -> str:
    """What is waited for, in words: `released:td|released:import`, `presented`, `demand/info/R1/closed`; each as it is where there is no word."""
    return " / ".join(_member(one, lang) for one in text.split("|"))


def _member(one: str, lang: str) -> str:
    phase, _, kind = one.partition(":")
    if one.startswith("demand/"):
        phase, kind = "demand", one.split("/")[2]
    elif one == "ended":
        phase = "done.ended"
    text = found("member", phase, lang)
    return text.format(kind=word("kind", kind, lang)) if text and (kind or "{kind}" not in text) else one
