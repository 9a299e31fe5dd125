"""What the chaos runs leave: a row per scenario and mode in `docs/reliability-runs.json`, figures in `docs/reliability.json` (tests/reliability.py).

A run that failed does not disappear when the scenario is run again: a row counts `runs` and `failures` of one version of the code, and `failed` keeps the
reasons of each. The part is `well` when one version has run the whole set and the comparison, and no run of it has failed.
"""
from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from agents.embedded.jars import kafka_version
from tests import reliability
from tests.bench.figures import Figure, Moment, figure, now
from tests.chaos.checks import OTHERS
from tests.chaos.plan import Row, Scenario
from tests.chaos.scenarios import full

KEY: Final = "chaos"
ADDED: Final = ("inputs", "outputs", "lost", "wrong_keys", "wrong_outputs", "backwards", "repeated_revisions", "duplicates", "output_duplicates",
                "readiness_duplicates", "interrupted")
"""What is added up over the runs of one version; and of every other stage what it said twice."""
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
    """One entry per single figure: over all runs of this version that the rows count, and of each scenario, whichever version has run it last."""
    found = {name: msgspec.structs.replace(one, version=code) for name, one in (*_summed(part, code).items(), *_compared(part, code).items())}
    for row in part.get("rows", []):
        found |= _of_scenario(row)
    return found


def _summed(part: dict[str, Any], code: str) -> dict[str, Figure]:
    rows = [row for row in part.get("rows", []) if row.get("version") == code]
    runs, failures, inputs = (sum(_of(row, name) for row in rows) for name in ("runs", "failures", "inputs"))
    over = f"over {runs} runs, {inputs} messages from outside"
    found = {name: figure(sum(_of(row, field) for row in rows), unit, at_least=0, smaller_is_better=True, note=over) for name, (field, unit) in NOTHING.items()}
    set_ = {(s.name, s.mode) for s in full()}
    found["scenarios run"] = figure(len(set_ & {(row["name"], row["mode"]) for row in rows}), "scenarios", at_least=len(set_), note=over)
    found["runs that failed"] = figure(failures, "runs", at_least=0, smaller_is_better=True, note=over)
    for mode in ("at least once", "exactly once"):
        mine = [row for row in rows if row["mode"] == mode]
        over = f"over {sum(_of(row, 'runs') for row in mine)} runs, {sum(_of(row, 'outputs') for row in mine)} records for the outside"
        limit = 0 if mode == "exactly once" else None

        def twice(field: str, unit: str, limit: int | None, mine: list[dict[str, Any]] = mine, over: str = over) -> Figure:
            return figure(sum(_of(row, field) for row in mine), unit, at_least=limit, smaller_is_better=True, note=over)

        found[f"inputs of CLEARANCE said twice, {mode}"] = twice("duplicates", "inputs", limit)
        found[f"outputs of CLEARANCE said again, {mode}"] = twice("output_duplicates", "records", limit)
        if (ended := [row for row in mine if _ended(row)]) and all("duplicates_of" in row for row in ended):
            found |= {f"inputs of {stage.upper()} said twice, {mode}": twice(_twice(stage), "inputs", None) for stage in OTHERS}
            found[f"outputs of READINESS said again, {mode}"] = twice("readiness_duplicates", "records", None)
    slow = max((row for row in rows if row.get("progress_s_max")), key=lambda row: _longest(row) / row["progress_s_max"], default=None)
    if slow is not None:
        found["longest wait for progress after an act"] = figure(
            _longest(slow), "s", at_least=slow["progress_s_max"], smaller_is_better=True,
            note=f"of the row nearest to its bound, over its {slow['runs']} runs: {slow['name']}, {slow['mode']}")
    return found


def _compared(part: dict[str, Any], code: str) -> dict[str, Figure]:
    stock = part.get("stock_faust", {})
    if stock.get("version") != code or stock.get("failed"):
        return {}
    return {"messages lost in the crash test that stock Faust fails": figure(
        stock["ours_lost"], "messages", at_least=0, references={STOCK: stock["lost"]}, smaller_is_better=True, when=_when(stock),
        note=f"of {stock['valid']} valid ones")}


def _of_scenario(row: dict[str, Any]) -> dict[str, Figure]:
    """Of a row that has come to its end: what was lost, and how long nothing went on."""
    if not _ended(row):
        return {}
    over, where = f"over {row['runs']} runs, {_of(row, 'inputs')} messages from outside", f"{row['name']}, {row['mode']}"
    found = {f"lost, {where}": figure(_of(row, "lost"), "messages", at_least=0, smaller_is_better=True, when=_when(row), note=over)}
    if row.get("progress_s_max"):
        found[f"wait for progress, {where}"] = figure(
            _longest(row), "s", at_least=row["progress_s_max"], smaller_is_better=True, when=_when(row), note=f"the longest {over}")
    return {name: msgspec.structs.replace(one, version=row["version"]) for name, one in found.items()}


def well(part: dict[str, Any], code: str) -> bool:
    """Every scenario of the full set, and the comparison, done by one version that did not change meanwhile; nothing wrong in any of them."""
    mine = {(row["name"], row["mode"]) for row in part.get("rows", []) if row.get("version") == code}
    stock = part.get("stock_faust", {})
    told = stock.get("version") == code and stock.get("lost", 0) > 0 and stock.get("ours_lost") == 0
    whole = {(s.name, s.mode) for s in full()} <= mine and told and ".." not in code
    return whole and all(row["well"] for row in part["rows"])


def _ended(row: dict[str, Any]) -> bool:
    """Has any run of it come to its end?"""
    return "first_progress_s" in row


def _longest(row: dict[str, Any]) -> float:
    """Of all runs of a row."""
    return float(row["longest_s"])


def _write(path: Path, put: Callable[[dict[str, Any]], None], code: str) -> None:
    part = reliability.part_of(path, KEY) or {}
    put(part)
    part["well"] = well(part, code)
    reliability.save(path, KEY, part, figures(part, code))


def _held(part: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["name"], row["mode"]): row for row in part.get("rows", [])}


def _measured(code: str) -> dict[str, Any]:
    return {**msgspec.structs.asdict(now()), "version": code, "kafka": kafka_version(), "python": platform.python_version(), "processors": os.cpu_count()}


def _when(measured: dict[str, Any]) -> Moment:
    return Moment(measured["at"], measured["load_average"])


def _tally(before: dict[str, Any] | None, row: dict[str, Any], reasons: tuple[str, ...], code: str) -> dict[str, Any]:
    """Runs, failures and sums of this version, the present run included."""
    old = before if before is not None and before.get("version") == code else {}
    failed = list(old.get("failed", []))
    if reasons:
        failed.append({"at": now().at, "reasons": list(reasons)})
    counted = row | {_twice(stage): count for stage, count in row.get("duplicates_of", {}).items()}
    sums = {name: old.get("sums", {}).get(name, 0) + counted.get(name, 0) for name in (*ADDED, *map(_twice, OTHERS))}
    longest = max(old.get("longest_s", 0.0), row.get("first_progress_s", 0.0))
    return {"runs": old.get("runs", 0) + 1, "longest_s": longest, "failures": len(failed), "failed": failed, "sums": sums, "well": not failed}


def _twice(stage: str) -> str:
    return f"duplicates of {stage}"


def _of(row: dict[str, Any], name: str) -> int:
    """Of all runs of a row."""
    return int(row[name] if name in ("runs", "failures") else row["sums"].get(name, 0))
