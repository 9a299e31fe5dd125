"""`railclear drain|verify`: bring everything on the way to its end; prove that the ledger is what was written."""
from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated, Any

import typer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.cli import where
from agents.cli.common import At, Bootstrap, CliError, Config, Dsn, Json, err, examples, out, parse_duration, print_json, run_async
from agents.cli.operations import As, By, DryRun, Reason, desk, who
from agents.operations.acts import act_id
from agents.operations.drain import Behind, Gauge, NotThere, drained
from topics.events.operations import InputDrained


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command(epilog=examples('drain --reason "new version" --at run/', 'drain --resume --reason "new version runs" --at run/', "drain --dry-run --json"))
    def drain(
        resume: Annotated[bool, typer.Option("--resume", help="Take input again.")] = False,
        wait: Annotated[str, typer.Option("--wait", metavar="10m", help="How long to wait for the end of what is on the way.")] = "10m",
        reason: Reason = "", by: By = "", as_: As = "", dry_run: DryRun = False,
        at: At = None, bootstrap: Bootstrap = None, dsn: Dsn = None, config: Config = None, json: Json = False,
    ) -> None:
        """Take no more input, and wait until no fold and not the ledger is behind. What comes meanwhile waits in Kafka until --resume.

        Exit code 1: something is still behind when the time is over; input stays untaken.
        """
        seconds = parse_duration(wait)
        said = {} if dry_run else who(by, reason)
        servers = where.find(at, bootstrap=bootstrap, dsn=dsn, config=config, need="bootstrap")
        raise typer.Exit(run_async(_drain(servers, said, seconds, as_, resume=resume, dry_run=dry_run, json=json)))

    @app.command(epilog=examples("verify --at run/", "verify --dsn postgresql://… --json"))
    def verify(at: At = None, dsn: Dsn = None, config: Config = None, json: Json = False) -> None:
        """Recompute the ledger's hash chains and compare every row with its record. Exit code 1: something does not fit, named by place."""
        servers = where.find(at, dsn=dsn, config=config, need="dsn")
        raise typer.Exit(run_async(_verify(servers, json=json)))


async def _drain(servers: where.Servers, said: dict[str, Any], seconds: float, party: str, *, resume: bool, dry_run: bool, json: bool) -> int:
    async with AsyncExitStack() as stack:
        d = await desk(stack, servers, party, ledger=bool(servers.settings.dsn))
        name = "" if dry_run else act_id("D")
        if not dry_run:
            await d.act(InputDrained(source=d.party, event_time=d.now, id=name, draining=not resume, **said))
        if resume:
            if json:
                print_json({"draining": dry_run, "id": name})
            else:
                out.print("input would be taken again" if dry_run else "input is taken again")
            return 0
        admin = AIOKafkaAdminClient(bootstrap_servers=servers.settings.bootstrap, **servers.security())
        try:
            await admin.start()
            stack.push_async_callback(admin.close)
            outlook = await stack.enter_async_context(where.consumer(servers))
            gauge = Gauge(d.registry, servers.settings.group, admin, d.consumer, outlook, d.ledger if servers.settings.dsn else None)
            if dry_run:
                return _told(await gauge.measure(), drained_=False, dry_run=True, json=json)
            last: list[Behind] = []
            found = await drained(gauge, seconds, lambda now: _progress(now, last, quiet=json))
        except NotThere as missing:
            raise CliError(str(missing)) from missing
        except KafkaError as error:
            raise CliError(f"Kafka does not say how far everybody is: {error or type(error).__name__}", 1) from error
    return _told(found or last[-1], drained_=found is not None, dry_run=False, json=json)


def _progress(now: Behind, last: list[Behind], *, quiet: bool) -> None:
    if not quiet and (not last or now != last[-1]):
        behind = ", ".join(f"{topic} {n}" for topic, n in now.folds.items() if n) or "no fold"
        err.print(f"behind: {behind}; ledger {now.ledger if now.ledger >= 0 else 'unknown'}; waiting outside {now.input}", markup=False, soft_wrap=True)
    last.append(now)


def _told(now: Behind, *, drained_: bool, dry_run: bool, json: bool) -> int:
    if json:
        print_json({"drained": drained_, "folds": now.folds, "ledger": now.ledger, "input": now.input})
    elif drained_:
        out.print(f"drained: no fold is behind, the ledger has everything; {now.input} records wait outside until railclear drain --resume", soft_wrap=True)
    else:
        behind = ", ".join(f"{topic} {n}" for topic, n in now.folds.items() if n) or "no fold"
        out.print(f"{'now' if dry_run else 'not drained'}: behind are {behind}; ledger {now.ledger if now.ledger >= 0 else 'unknown'}; {now.input} records "
                  "wait outside", markup=False, soft_wrap=True)
    return 0 if drained_ or dry_run else 1


async def _verify(servers: where.Servers, *, json: bool) -> int:
    async with where.ledger(servers) as ledger:
        found = await ledger.verify()
    if json:
        print_json(found)
    else:
        for fault in found.broken:
            out.print(f"{fault.topic}/{fault.partition}/{fault.offset}: {fault.reason}", markup=False, soft_wrap=True)
        for gap in found.gaps:
            out.print(f"{gap.topic}/{gap.partition}: offsets {gap.first} to {gap.last} were never read; accepted by {gap.by}: {gap.reason}", markup=False,
                      soft_wrap=True)
        fits = "every link and row fits" if not found.broken else f"{len(found.broken)} do not fit"
        out.print(f"{found.records} records in {found.partitions} partitions: {fits}")
    return 1 if found.broken else 0
