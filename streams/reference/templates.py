"""Fact templates of code rows: which keys they may set, and when they apply. The shapes are those of the status model's fact keys."""
from __future__ import annotations

import re

from streams.reference import words
from streams.reference.model import CodeRow, FactTemplate
from streams.reference.refused import ReferenceRefused, Where

PLACEHOLDERS = frozenset({"{kind}", "{number}", "{reference}", "{subject}", "{visit}", "{chain}", "{id}"})
WHEN_FIELDS = frozenset({"reason", "office", "reference", "subject", "document", "train", "container", "seal", "chain", "path", "procedure"})
_WHEN = re.compile(r"(?P<field>[a-z_]+|values\.[A-Za-z0-9_]+)(?P<op>!?:)(?P<values>[^:]*)")
SIDES = frozenset({"", "exit", "entry", "office", "*"})


def when_parts(text: str) -> tuple[str, bool, tuple[str, ...]] | None:
    """(field, wanted, values) of a condition, None for always. `reason:015|declaration`, `reason!:013|014`. Raises ValueError."""
    if not text:
        return None
    found = _WHEN.fullmatch(text)
    if not found or (not found["field"].startswith("values.") and found["field"] not in WHEN_FIELDS):
        raise ValueError(f"{text!r} is no condition on a notice")
    return found["field"], found["op"] == ":", tuple(found["values"].split("|"))


def check_code(row: CodeRow, where: Where) -> None:
    """Raises ReferenceRefused for a code row that says nothing, says something and nothing, or sets a key that the model does not know."""
    if row.system not in words.SYSTEMS:
        raise ReferenceRefused(where, "system", f"{row.system!r} is no code list that is known here")
    if not row.code:
        raise ReferenceRefused(where, "code", "is empty")
    if row.document_kind and row.document_kind not in words.DOCUMENT_KINDS:
        raise ReferenceRefused(where, "document_kind", f"{row.document_kind!r} is no document kind")
    if not (row.facts or row.flag or row.keeps):
        raise ReferenceRefused(where, "facts", "a code sets facts, leaves a flag or is kept; this one does nothing")
    if row.keeps and row.facts:
        raise ReferenceRefused(where, "keeps", "a code that changes nothing sets no facts")
    for index, template in enumerate(row.facts):
        _check_template(template, where, f"facts[{index}]")


def _check_template(template: FactTemplate, where: Where, field: str) -> None:
    if template.side not in SIDES:
        raise ReferenceRefused(where, f"{field}.side", f"{template.side!r} is none of exit, entry, office, *")
    if template.kind and template.kind not in words.DOCUMENT_KINDS:
        raise ReferenceRefused(where, f"{field}.kind", f"{template.kind!r} is no document kind")
    try:
        when_parts(template.when)
    except ValueError as error:
        raise ReferenceRefused(where, f"{field}.when", str(error)) from error
    if not _key_ok(template.key):
        raise ReferenceRefused(where, f"{field}.key", f"{template.key!r} is no fact key of the status model")


def _key_ok(key: tuple[str, ...]) -> bool:
    match key:
        case ("doc", kind, number, phase):
            return (kind == "{kind}" or kind in words.DOCUMENT_KINDS) and number in ("{number}", "{reference}") and phase in words.PHASES
        case ("demand", kind, subject, reference, phase):
            return kind in words.DEMAND_KINDS and subject in ("", "{subject}") and reference == "{reference}" and phase in words.DEMAND_PHASES
        case (what, "{visit}"):
            return what in words.PRESENCE
        case ("seal", chain, what, "{id}"):
            return (chain == "{chain}" or chain in words.CHAINS) and what in words.SEAL_WHATS
        case ("condition", name):
            return bool(re.fullmatch(r"[a-z][a-z0-9_.]*", name))
        case _:
            return False
