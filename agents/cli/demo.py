"""`railclear demo`: the whole system on this machine, fed by the simulator."""
from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from agents.cli.common import CliError, Json, Overlay, err, out, parse_duration, print_json, shown
from agents.demo.crew import CrewError
from agents.demo.play import Demo, DemoOptions, NotDrained, Summary
from agents.embedded import EmbeddedError
from streams.reference.refused import ReferenceRefused


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Examples:  railclear demo   |   railclear demo --for 60s --trains 24 --json   |   railclear demo --keep run/  "
                        "(then, in another terminal: railclear status CONTAINER --at run/)")
    def demo(
        for_: Annotated[str, typer.Option("--for", metavar="60s", help="How long simulated trains run, wall time.")] = "90s",
        trains: Annotated[int, typer.Option(min=1, max=400, help="How many trains; 13 is one for every corridor.")] = 13,
        speed: Annotated[float, typer.Option(min=0, max=1_000_000, help="Simulated seconds per second; 0: so that whole journeys fit.")] = 0.0,
        seed: Annotated[int, typer.Option(help="The same seed gives the same trains.")] = 1,
        keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep all data here; other commands join with --at DIR.")] = None,
        stay: Annotated[bool, typer.Option("--stay", help="After the summary keep everything running until Ctrl-C.")] = False,
        overlay: Overlay = None, json: Json = False,
    ) -> None:
        """Start Kafka, PostgreSQL and the workers, run simulated trains through them, and account for every record.

        Exit codes: 0 all well, 1 something was lost or unexpected (the summary says what), 130 interrupted.
        """
        options = DemoOptions(seconds=parse_duration(for_), trains=trains, speed=speed, seed=seed, keep=keep, overlay=overlay, json=json)
        raise typer.Exit(asyncio.run(_demo(options, stay=stay)))


async def _demo(options: DemoOptions, *, stay: bool) -> int:
    console = Console(stderr=True, highlight=False)
    demo = Demo(options, console)
    main = asyncio.current_task()
    assert main is not None, "runs in a task"
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, main.cancel)
    finished = False
    try:
        summary = await demo.run()
        finished = True
        _print(summary, json=options.json)
        if options.keep is not None or stay:
            _hint(demo.worth_asking, options.keep or demo.servers.data)
        if stay:
            err.print("Everything keeps running. Ctrl-C stops.")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return 0 if summary.well else 1
    except asyncio.CancelledError:
        err.print("railclear: interrupted, stopping everything")
        return 130
    except (EmbeddedError, CrewError, NotDrained) as error:
        raise CliError(str(error), 1) from error
    except (ReferenceRefused, NotADirectoryError) as error:
        raise CliError(str(error)) from error
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        await demo.stop(kill=not finished or options.keep is None)


def _print(summary: Summary, *, json: bool) -> None:
    if json:
        print_json(summary)
        return
    table = Table("state", "updates published", title="Statuses")
    for state, count in summary.statuses.items():
        table.add_row(shown(state), str(count))
    out.print(table)
    out.print(f"{summary.trains} journeys in {summary.train_runs} train runs, {summary.shipments} shipments, {summary.sides} sides, {summary.updates} updates, "
              f"first status after {summary.first_status_s} s")
    out.print(f"alerts: {', '.join(f'{n} {name}' for name, n in summary.alerts.items()) or 'none'}")
    out.print(f"dead letters: {summary.dead_letters} (the simulator sent {summary.expected_dead_letters} bad records), waiting: {summary.waiting}")
    sign = "✓" if summary.well else "✗"
    out.print(f"{sign} {summary.records} records read independently, {summary.unaccounted} unaccounted for; ledger behind by {summary.ledger_behind}")
    for fault in summary.faults:
        out.print(f"  {fault}", markup=False)


def _hint(asked: tuple[str, str, str], data: Path) -> None:
    """Commands to copy, with names that this run really has."""
    lines = zip(("explain", "side", "train"), asked, strict=True)
    err.print("Ask it, here or from another terminal:")
    for command, name in lines:
        if name:
            err.print(f"  railclear {command} {name} --at {data}", markup=False, soft_wrap=True)
