"""`railclear import ncts|digitraffic`: files of outside formats to the topics of their parties, as the original bytes."""
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from agents.cli import where
from agents.cli.common import At, Bootstrap, CliError, Config, Json, err, examples, out, print_json, run_async, shown
from agents.cli.import_alone import Alone, Drained
from agents.cli.import_files import FORMATS, Planned, Report, collect, judge, plan
from agents.cli.import_send import send
from agents.demo.crew import CrewError
from agents.demo.reader import NotDrained
from agents.embedded import EmbeddedError

Paths = Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, or directories that are searched for them.")]
As = Annotated[str, typer.Option("--as", metavar="PARTY", help="Send as this party, whatever the message says of its sender.")]
Keep = Annotated[Path | None, typer.Option(metavar="DIR", help="Without addresses: keep the servers' data here, for status, explain and others with --at DIR.")]
Overlay = Annotated[Path | None, typer.Option(metavar="DIR", help="A deployment's own reference files.")]
WHERE = "With --at or addresses it only sends; with neither it starts Kafka, PostgreSQL and workers, waits for every status, reports and stops."


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Real messages of other systems. " + WHERE)
    app.add_typer(group, name="import")

    @group.command(epilog=examples("import ncts messages/", "import ncts messages/ --keep run/", "import ncts IE015.xml --as forwarder-beta --at run/"), help=(
        "Send NCTS phase 5 messages (XML): requests to their filer's topic, answers to their authority's. " + WHERE + " Exit code 1: a file was not taken."))
    def ncts(
        paths: Paths, as_: As = "", keep: Keep = None, overlay: Overlay = None, at: At = None, bootstrap: Bootstrap = None, config: Config = None,
        json: Json = False,
    ) -> None:
        raise typer.Exit(_run("ncts", paths, as_, keep, overlay, at, bootstrap, config, json=json))

    @group.command(epilog=examples("import digitraffic train-location.json", "import digitraffic feeds/ --as vr --at run/"), help=(
        "Send Digitraffic train locations and running messages (JSON) to the railway's topic. " + WHERE + " Exit code 1: a file was not taken."))
    def digitraffic(
        paths: Paths, as_: As = "", keep: Keep = None, overlay: Overlay = None, at: At = None, bootstrap: Bootstrap = None, config: Config = None,
        json: Json = False,
    ) -> None:
        raise typer.Exit(_run("digitraffic", paths, as_, keep, overlay, at, bootstrap, config, json=json))


def _run(kind: str, paths: list[Path], as_: str, keep: Path | None, overlay: Path | None, at: Path | None, bootstrap: str | None, config: Path | None, *,
         json: bool) -> int:
    files = collect(paths, FORMATS[kind])
    servers = where.find(at, bootstrap=bootstrap, config=config, overlay=overlay)
    alone = not servers.settings.bootstrap
    if keep is not None and not alone:
        raise CliError("--keep is for servers that import starts itself; leave it out with --at or addresses")
    try:
        planned = plan(kind, files, as_, servers.reference, servers.registry())
    except OSError as error:
        raise CliError(f"{error.filename}: {error.strerror}") from error
    report = judge(kind, planned, servers.reference, servers.registry())
    if alone:
        return run_async(_alone(servers, planned, report, keep, json=json))
    run_async(_sent(servers, planned, report, quiet=json))
    if json:
        print_json(report)
    else:
        _print(report)
    return 1 if report.not_taken else 0


async def _sent(servers: where.Servers, planned: list[Planned], report: Report, *, quiet: bool) -> None:
    await send(servers, planned, report, quiet=quiet)


async def _alone(servers: where.Servers, planned: list[Planned], report: Report, keep: Path | None, *, json: bool) -> int:
    alone = Alone(servers, keep, say=lambda text: err.print(f"  {text}", markup=False))
    finished = False
    try:
        await alone.start()
        await send(alone.servers, planned, report, quiet=json)
        drained = await alone.drain(planned)
        finished = True
    except (EmbeddedError, CrewError, NotDrained) as error:
        raise CliError(str(error), 1) from error
    finally:
        await asyncio.shield(alone.stop(kill=not finished))
    if json:
        print_json({"report": report, "movements": drained.movements, "account": drained.account, "dead_letters": drained.dead_letters})
    else:
        _print(report)
        _print_statuses(drained)
        if keep is not None:
            out.print(f"Kept in {keep}: railclear status MRN --at {keep}", markup=False)
    return 1 if report.not_taken or drained.account.unaccounted else 0


def _print(report: Report) -> None:
    table = Table("message", "files", "events", "flagged", "refused", "repeated", title=f"{report.files} files, {report.sent} sent")
    for row in report.messages.values():
        table.add_row(row.message, str(row.files), str(row.events), str(row.flagged), str(row.refused), str(row.repeated))
    out.print(table)
    for title, counts in (("flags", report.flags), ("refusals", report.refusals), ("repeats", report.repeats), ("topics", report.topics)):
        if counts:
            out.print(f"{title}: " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())), markup=False, soft_wrap=True)
    for one in report.not_taken:
        err.print(f"not taken: {one.file}: {one.code} at {one.path}: {one.reason}", markup=False, soft_wrap=True)


def _print_statuses(drained: Drained) -> None:
    table = Table("movement", "side", "state", "flags")
    for movement in drained.movements:
        for i, side in enumerate(movement.sides):
            table.add_row(movement.document if i == 0 else "", side.side, shown(side.state), ", ".join(side.flags))
    out.print(table)
    account = drained.account
    sign = "✓" if not account.unaccounted else "✗"
    letters = ", ".join(f"{n} {name}" for name, n in sorted(drained.dead_letters.items())) or "no dead letters"
    out.print(f"{len(drained.movements)} movements have a status; {sign} {account.records} records read independently, {account.unaccounted} unaccounted for, "
              f"{letters}", soft_wrap=True)
