"""Sentences in Chinese, English and Russian by key: the catalogues are data, this fills them in."""
from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from streams.explain.texts_en import TEXTS as EN
from streams.explain.texts_ru import TEXTS as RU
from streams.explain.texts_zh import TEXTS as ZH

CATALOGUES: Mapping[str, Mapping[str, str]] = {"en": EN, "zh": ZH, "ru": RU}
LANGUAGES = tuple(CATALOGUES)


def say(key: str, lang: str, args: Mapping[str, object] | None = None) -> str:
    """One sentence. A key without a text is a bug and raises KeyError; an unknown language speaks English."""
    text = CATALOGUES.get(lang, EN)[key]
    return text.format_map(args) if args else text


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
    return CATALOGUES.get(lang, EN).get(f"{group}.{name}") or EN.get(f"{group}.{name}") or name
