"""Whom to call: the register of duty lines per crossing and authority, in escalation order."""
from __future__ import annotations

from streams.reference.model import DutyLine, Reference


def line_for(reference: Reference, authority: str, crossing: str = "") -> tuple[str, str]:
    """(number, hours) of the first duty line of an authority, the crossing's own before its general one; ("", "") when none is known."""
    best: DutyLine | None = None
    for line in reference.duty:
        if line.enabled and line.authority == authority and line.crossing in ("", crossing) and (best is None or _rank(line) < _rank(best)):
            best = line
    return (best.phone, best.hours) if best else ("", "")


def _rank(line: DutyLine) -> tuple[bool, int, str]:
    return not line.crossing, line.order, line.phone
