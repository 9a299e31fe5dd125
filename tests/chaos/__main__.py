"""`python -m tests.chaos [--report PATH] [--only WORD] [--list]`: the full set, a line per scenario; exit code 1 when anything is lost or wrong."""
from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from tests.chaos import stock_faust
from tests.chaos.carry import carry
from tests.chaos.plan import Row, Scenario
from tests.chaos.report import KEY, crashed, merge, prune
from tests.chaos.scenarios import SHORT, SHORT_EXACTLY, full
from tests.version import code_version, until_now

STOCK = "stock Faust"


def main() -> int:
    """0: all well. 1: something was lost or wrong, or a run did not come to its end. 130: interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--report", type=Path, metavar="PATH", help="after each scenario write its row beside this JSON file, and the figures into it")
    parser.add_argument("--only", metavar="WORD", default="", help="scenarios whose name and mode contain this")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep every run's topics there, and each scenario's worker logs")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _as_interrupt)
    for client in ("aiokafka", "kafka"):  # that brokers are away is what is done here; a row says what came of it
        logging.getLogger(client).setLevel(logging.CRITICAL)
    chosen = [s for s in (*full(), SHORT, SHORT_EXACTLY) if arguments.only in label(s) and (arguments.only or s not in (SHORT, SHORT_EXACTLY))]
    if arguments.list:
        print("\n".join([*(label(s) for s in chosen), *([STOCK] if arguments.only in STOCK else [])]))
        return 0
    try:
        code = code_version(KEY)  # as loaded, whatever changes in the files meanwhile
        well = _run_all(chosen, arguments.report, arguments.keep, code, stock=arguments.only in STOCK)
        if arguments.report is not None and not arguments.only and until_now(code, KEY) == code:
            prune(arguments.report, code)
        return 0 if well else 1
    except KeyboardInterrupt:
        print("stopped; everything started here has been ended", file=sys.stderr)
        return 130


def _as_interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def label(scenario: Scenario) -> str:
    """How a scenario is chosen and shown."""
    return f"{scenario.name} ({scenario.mode})"


def _run_all(chosen: list[Scenario], report: Path | None, keep: Path | None, code: str, *, stock: bool) -> bool:
    well, count = True, len(chosen) + stock
    for number, scenario in enumerate(chosen, 1):
        print(f"[{number}/{count}] {label(scenario)}", flush=True)
        try:
            row = asyncio.run(carry(scenario, lambda text: print(text, flush=True), keep))
        except Exception as error:  # noqa: BLE001  # one scenario that cannot run must not hide the others
            traceback.print_exc()
            well = False
            if report is not None:
                crashed(report, scenario, error, until_now(code, KEY))
            continue
        well &= row.well
        print(f"[{number}/{count}] {line(row)}", flush=True)
        if report is not None:
            merge(report, [row], None, until_now(code, KEY))
    if stock:
        print(f"[{count}/{count}] {STOCK}, the same crash test", flush=True)
        told = _compared()
        print(f"[{count}/{count}] {STOCK}: {told['lost']} of {told['valid']} lost; railclear's transport: {told['ours_lost']}", flush=True)
        well &= told["lost"] > 0 and told["ours_lost"] == 0
        if report is not None:
            merge(report, [], told, until_now(code, KEY))
    return well


def _compared() -> dict[str, Any]:
    """What the comparison says; one that did not come to its end has shown nothing, and the rows before it stay."""
    try:
        return stock_faust.compare()
    except Exception as error:  # noqa: BLE001  as of a scenario
        traceback.print_exc()
        return {"valid": 0, "lost": 0, "ours_lost": 0, "failed": f"did not come to its end: {error!r}"}


def line(row: Row) -> str:
    """A row for people."""
    others = ", ".join(f"{stage} {count}" for stage, count in row.duplicates_of.items() if count)
    said = (f"{'ok   ' if row.well else 'WRONG'} {row.name} ({row.mode}): {row.inputs} messages of seed {row.seed}, {row.poison} poison, {row.records} "
            f"records, {row.outputs} outputs; lost {row.lost}, wrong {row.wrong_keys} + {row.wrong_outputs}, backwards {row.backwards}, repeated "
            f"{row.repeated_revisions}, duplicates {row.duplicates}, of outputs {row.output_duplicates}, of other stages {others or 0}, of readiness "
            f"{row.readiness_duplicates}, interrupted {row.interrupted}; {row.worker_restarts} restarts, progress after {row.first_progress_s} s of "
            f"{row.progress_s_max:.0f} ({row.slowest}; in all {row.no_progress_s} s); {row.seconds:.0f} s")
    return "\n    ".join([said, *row.wrongs, *row.noticed, *(f"{times} x {why}" for why, times in row.ends.items())])


if __name__ == "__main__":
    sys.exit(main())
