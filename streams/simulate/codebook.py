"""Which official code says what: the code rows of the reference read backwards, from the fact to the code that sets it."""
from __future__ import annotations

from collections.abc import Iterable

import msgspec

from streams.reference.model import CodeRow, FactTemplate, Reference, SideRow

COMMON = (
    "BLA", "BLR", "EDC", "CDC", "CPI", "PAS", "ATP", "TD-RELEASED", "IE004", "IE022", "IE025", "IE028", "IE029", "IE056", "IE060", "IE3N03", "IE3Q02", "IE3R01",
)
"""Where several codes set the same fact, these are the usual ones."""


class Saying(msgspec.Struct, frozen=True):
    """A code and what else the notice must carry for the code to set the fact."""

    row: CodeRow
    reason: str = ""
    values: dict[str, str] = {}
    about_document: bool = False
    """A demand about the document that the notice names, not about the goods."""


class CodeBook:
    """Codes by authority and meaning. None where no code of the authority's systems says it: then it stays unsaid."""

    def __init__(self, reference: Reference) -> None:
        self._systems = {a.code: a.systems for a in reference.authorities.values()}
        self._rows: dict[str, list[CodeRow]] = {}
        for (system, _), row in sorted(reference.codes.items()):
            self._rows.setdefault(system, []).append(row)
        self._found: dict[tuple[str, ...], Saying | None] = {}

    def document(self, authority: str, kind: str, phase: str, at: str = "") -> Saying | None:
        """A code that says of a document of this kind: registered, rejected, amended, released, ended, assessed … `at`: kind of the side that
        says it (some codes speak of an office or an exit only)."""
        asked = (authority, "doc", kind, phase, at)
        if asked not in self._found:
            self._found[asked] = self._best(authority, ("doc", phase, at.lower()), kind)
        return self._found[asked]

    def demand(self, authority: str, what: str, phase: str, kind: str = "") -> Saying | None:
        """A code that opens, starts, closes … a control, hold, request or refusal; about a document of `kind`, or the goods."""
        asked = (authority, "demand", what, phase, kind)
        if asked not in self._found:
            self._found[asked] = self._best(authority, ("demand", what, phase), kind)
        return self._found[asked]

    def presented(self, authority: str, kind: str = "") -> Saying | None:
        """A code by which the authority itself says that the goods are there."""
        asked = (authority, "presented", kind)
        if asked not in self._found:
            self._found[asked] = self._best(authority, ("presented",), kind)
        return self._found[asked]

    def condition(self, authority: str, name: str, kind: str = "") -> Saying | None:
        """A code that proves a condition."""
        asked = (authority, "condition", name, kind)
        if asked not in self._found:
            self._found[asked] = self._best(authority, ("condition", name), kind)
        return self._found[asked]

    def named(self, authority: str, system: str, code: str) -> Saying | None:
        """One code by its name, if the authority speaks that system."""
        if system not in self._systems.get(authority, ()):
            return None
        return next((Saying(row) for row in self._rows.get(system, ()) if row.code == code), None)

    def _best(self, authority: str, what: tuple[str, ...], kind: str) -> Saying | None:
        best: tuple[tuple[int, int, int, int, str], Saying] | None = None
        for order, system in enumerate(self._systems.get(authority, ())):
            for row in self._rows.get(system, ()):
                for template in row.facts:
                    fit = _fit(row, template, what, kind)
                    if fit is None:
                        continue
                    said = _saying(row, template)
                    rank = (-fit, int(row.code not in COMMON), len(row.facts), order, row.code)
                    if best is None or rank < best[0]:
                        best = rank, said
        return best[1] if best else None


def _fit(row: CodeRow, template: FactTemplate, what: tuple[str, ...], kind: str) -> int | None:
    """How well a template says it; None when it does not."""
    key = template.key
    if key[0] != what[0] or template.value == "failed":
        return None
    if key[0] == "doc" and (key[3] != what[1] or template.side not in ("", "*", what[2]) or key[2] != "{number}"):
        return None
    if key[0] == "demand" and (key[1], key[4]) != what[1:]:
        return None
    if key[0] == "condition" and key[1] != what[1]:
        return None
    of = template.kind or (key[1] if key[0] == "doc" and key[1] != "{kind}" else row.document_kind)
    if of and kind and of != kind:
        return None
    if of and not kind:
        return None if key[0] == "doc" else 0
    return 2 if of and of == kind else 1


def _saying(row: CodeRow, template: FactTemplate) -> Saying:
    """With the first value of the template's condition."""
    field, _, value = template.when.partition(":")
    first = value.split("|")[0]
    if field.endswith("!"):
        field = ""
    return Saying(row, reason=first if field == "reason" else "", values={field.removeprefix("values."): first} if field.startswith("values.") else {},
                  about_document=template.key[0] == "demand" and template.key[2] == "{subject}")


def side_row(rows: Iterable[SideRow], *, authority: str, union: str, kind: str, direction: str, procedure: str, crossing: str = "",
             office_role: str = "") -> SideRow | None:
    """The most specific row of a side, as the assessment chooses it."""
    best: tuple[int, str, SideRow] | None = None
    for row in rows:
        if row.kind != kind or not row.enabled or (office_role and row.office_role and row.office_role != office_role):
            continue
        score = 0
        for weight, wanted, have in ((16, row.authority, authority), (8, row.crossing, crossing), (4, row.union, union), (2, row.procedure, procedure),
                                     (1, row.direction, direction)):
            if wanted and wanted != have:
                break
            score += weight if wanted else 0
        else:
            if best is None or (score, row.id) > best[:2]:
                best = score, row.id, row
    return best[2] if best else None
