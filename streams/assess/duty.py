"""Whom to call: the register of duty lines per crossing and authority, in escalation order."""
from __future__ import annotations

from streams.reference.model import DutyLine, Reference

_known: list[tuple[Reference, dict[tuple[str, str], tuple[str, str]]]] = []


def line_for(reference: Reference, authority: str, crossing: str = "") -> tuple[str, str]:
    """(number, hours) of the first duty line of an authority, the crossing's own before its general one; ("", "") when none is known."""
    if not _known or _known[0][0] is not reference:
        _known[:] = [(reference, {})]                   # what the reference last asked for says, each question once
    lines = _known[0][1]
    found = lines.get((authority, crossing))
    if found is None:
        found = lines[authority, crossing] = _looked_up(reference, authority, crossing)
    return found


def _looked_up(reference: Reference, authority: str, crossing: str) -> tuple[str, str]:
    best: DutyLine | None = None
    for line in reference.duty:
        if line.enabled and line.authority == authority and line.crossing in ("", crossing) and (best is None or _rank(line) < _rank(best)):
            best = line
    return (best.phone, best.hours) if best else ("", "")


def _rank(line: DutyLine) -> tuple[bool, int, str]:
    return not line.crossing, line.order, line.phone
