"""`docs/reliability.json`: one file, a part per kind of run; this writes the part `chaos` and leaves the others alone.

A run that failed does not disappear when the scenario is run again: a row counts `runs` and `failures` of one version of the code, and `failed` keeps the
reasons of each. Whoever finds out why one failed writes it into its `explained`, by hand; the part is `well` when one version
has run the whole set and every failure is explained.
"""
from __future__ import annotations

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from agents.embedded.jars import kafka_version
from tests.bench.figures import Figure, figure
from tests.chaos.plan import Row, Scenario
from tests.chaos.scenarios import full

KEY: Final = "chaos"
ROOT: Final = Path(__file__).resolve().parents[2]
REPORT: Final = "docs/reliability.json"
ADDED: Final = ("inputs", "outputs", "lost", "wrong_keys", "wrong_outputs", "backwards", "repeated_revisions", "duplicates", "output_duplicates", "interrupted")
"""What is added up over the runs of one version."""
NOTHING: Final = {
    "messages lost": ("lost", "messages"), "keys with a wrong state, status or ledger": ("wrong_keys", "keys"),
    "outputs where they do not belong": ("wrong_outputs", "records"), "states and revisions that go backwards": ("backwards", "records"),
    "revisions said twice": ("repeated_revisions", "records")}
"""Figures that must be 0 in either mode."""
STOCK: Final = "stock Faust"


def merge(path: Path, rows: list[Row], stock: dict[str, Any] | None, code: str) -> None:
    """Put these rows into the file. A row of the same name, mode and version goes on with what is counted; one of another version is replaced."""
    def put(part: dict[str, Any]) -> None:
        held = _held(part)
        for row in rows:
            plain = msgspec.to_builtins(row)
            held[row.name, row.mode] = plain | _measured(code) | _tally(held.get((row.name, row.mode)), plain, row.wrongs, code)
        part["rows"] = list(held.values())
        if stock is not None:
            part["stock_faust"] = stock | _measured(code)

    _write(path, put, code)


def crashed(path: Path, scenario: Scenario, error: BaseException, code: str) -> None:
    """A run that did not come to its end is a failed run; the row of the last one that did stays."""
    def put(part: dict[str, Any]) -> None:
        held, name = _held(part), (scenario.name, scenario.mode)
        before = held.get(name)
        row = before if before is not None and before.get("version") == code else {"name": scenario.name, "mode": scenario.mode} | _measured(code)
        held[name] = row | _tally(before, {}, (f"did not come to its end: {error!r}",), code)
        part["rows"] = list(held.values())

    _write(path, put, code)


def prune(path: Path, code: str) -> None:
    """After a full run: rows of other versions go."""
    _write(path, lambda part: part.update(rows=[row for row in part.get("rows", []) if row.get("version") == code]), code)


def figures(part: dict[str, Any], code: str) -> dict[str, Figure]:
    """One entry per single figure, over all runs of this version that the rows count. Those of other versions are no part of it."""
    rows = [row for row in part.get("rows", []) if row.get("version") == code]
    runs, failures, inputs = (sum(_of(row, name) for row in rows) for name in ("runs", "failures", "inputs"))
    over = f"over {runs} runs, {inputs} messages from outside"
    found = {name: figure(sum(_of(row, field) for row in rows), unit, at_least=0, smaller_is_better=True, note=over) for name, (field, unit) in NOTHING.items()}
    found["runs that failed"] = figure(failures, "runs", at_least=0, smaller_is_better=True, note=over)
    for field, unit in (("duplicates", "inputs"), ("output_duplicates", "records")):
        for mode in ("at least once", "exactly once"):
            mine = [row for row in rows if row["mode"] == mode]
            found[f"{field.replace('_', ' ')}, {mode}"] = figure(
                sum(_of(row, field) for row in mine), unit, at_least=0 if mode == "exactly once" else None, smaller_is_better=True,
                note=f"over {sum(_of(row, 'runs') for row in mine)} runs, {sum(_of(row, 'outputs') for row in mine)} records for the outside")
    slow = max((row for row in rows if row.get("progress_s_max")), key=lambda row: _longest(row) / row["progress_s_max"], default=None)
    if slow is not None:
        found["longest wait for progress after an act"] = figure(
            _longest(slow), "s", at_least=slow["progress_s_max"], smaller_is_better=True,
            note=f"of the row nearest to its bound, over its {slow['runs']} runs: {slow['name']}, {slow['mode']}")
    stock = part.get("stock_faust", {})
    if stock.get("version") == code and not stock.get("failed"):
        found["messages lost in the crash test that stock Faust fails"] = figure(
            stock["ours_lost"], "messages", at_least=0, references={STOCK: stock["lost"]}, smaller_is_better=True, note=f"of {stock['valid']} valid ones")
    return {name: msgspec.structs.replace(one, version=code) for name, one in found.items()}


def well(part: dict[str, Any], code: str) -> bool:
    """Every scenario of the full set, and the comparison, done by one version that did not change meanwhile; nothing wrong in any of them."""
    mine = {(row["name"], row["mode"]) for row in part.get("rows", []) if row.get("version") == code}
    stock = part.get("stock_faust", {})
    told = stock.get("version") == code and stock.get("lost", 0) > 0 and stock.get("ours_lost") == 0
    whole = {(s.name, s.mode) for s in full()} <= mine and told and ".." not in code
    return whole and all(row["well"] for row in part["rows"])


def _longest(row: dict[str, Any]) -> float:
    """Of all runs of a row."""
    return float(row.get("longest_s", row["first_progress_s"]))


def _write(path: Path, put: Callable[[dict[str, Any]], None], code: str) -> None:
    whole: dict[str, Any] = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
    part: dict[str, Any] = whole.setdefault(KEY, {})
    put(part)
    part["well"] = well(part, code)
    part["figures"] = msgspec.to_builtins(figures(part, code))
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")
    fresh.replace(path)


def _held(part: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["name"], row["mode"]): row for row in part.get("rows", [])}


def _measured(code: str) -> dict[str, Any]:
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "version": code, "kafka": kafka_version(), "python": platform.python_version(),
            "processors": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1)}


def _tally(before: dict[str, Any] | None, row: dict[str, Any], reasons: tuple[str, ...], code: str) -> dict[str, Any]:
    """Runs, failures and sums of this version, the present run included."""
    old = before if before is not None and before.get("version") == code else {}
    failed = list(old.get("failed", []))
    if reasons:
        failed.append({"at": datetime.now(UTC).isoformat(timespec="seconds"), "reasons": list(reasons), "explained": ""})
    sums = {name: old.get("sums", {}).get(name, 0) + row.get(name, 0) for name in ADDED}
    longest = max(old.get("longest_s", 0.0), row.get("first_progress_s", 0.0))
    return {"runs": old.get("runs", 0) + 1, "longest_s": longest,
            "failures": len(failed), "failed": failed, "sums": sums, "well": all(one["explained"] for one in failed)}


def _of(row: dict[str, Any], name: str) -> int:
    """Of all runs of a row; rows of before this was counted are one run."""
    if name in ("runs", "failures"):
        return int(row.get(name, 1 if name == "runs" else not row["well"]))
    return int(row.get("sums", row).get(name, 0))
