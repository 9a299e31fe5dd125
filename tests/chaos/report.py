"""`docs/reliability.json`: one file, a part per kind of run; this writes the part `chaos` and leaves the others alone."""
from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from agents.embedded.jars import kafka_version
from tests.chaos.plan import Row

KEY = "chaos"


def merge(path: Path, rows: list[Row], stock: dict[str, Any] | None, version: str) -> None:
    """Put these rows into the file; a row of the same name and mode is replaced, so a set may be run in parts."""
    whole: dict[str, Any] = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
    part: dict[str, Any] = whole.get(KEY, {})
    held = {(row["name"], row["mode"]): row for row in part.get("rows", [])}
    measured = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "version": version, "kafka": kafka_version(), "python": platform.python_version(),
        "processors": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1)}
    held |= {(row.name, row.mode): msgspec.to_builtins(row) | {"well": row.well, **measured} for row in rows}
    part["rows"] = list(held.values())
    if stock is not None:
        part["stock_faust"] = stock | measured
    part["well"] = all(row["well"] for row in part["rows"])
    whole[KEY] = part
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")
    fresh.replace(path)
