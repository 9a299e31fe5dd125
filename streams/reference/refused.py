"""The one error of reference data: which file, which row, which field, why."""
from __future__ import annotations

import msgspec


class Where(msgspec.Struct, frozen=True):
    """A row of a file."""

    file: str
    row: str


class ReferenceRefused(ValueError):
    """Reference data that is not loaded. The worker that reads it stops with this line."""

    def __init__(self, where: Where, field: str, reason: str) -> None:
        self.file, self.row, self.field, self.reason = where.file, where.row, field, reason
        super().__init__(f"{where.file}: row {where.row or '-'}: {field or '-'}: {reason}")
