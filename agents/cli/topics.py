"""`railclear topics diff|apply`: what the registry wants and what the cluster has."""
from __future__ import annotations

from typing import Annotated

import typer

from agents import provisioning
from agents.cli import where
from agents.cli.common import At, Bootstrap, Config, Json, Overlay, examples, out, print_json
from agents.operations import shadow as shadows

Shadow = Annotated[bool, typer.Option("--shadow", help="The topics of workers that run with --shadow, instead of production's.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Topics of the registry against those of the cluster.")
    app.add_typer(group, name="topics")

    @group.command(epilog=examples("topics diff --bootstrap 127.0.0.1:9092", "topics diff --at run/ --json"))
    def diff(at: At = None, bootstrap: Bootstrap = None, config: Config = None, overlay: Overlay = None, shadow: Shadow = False, json: Json = False) -> None:
        """Show what apply would do. Exit code 0: nothing to do; 1: something; 3: something that apply refuses."""
        raise typer.Exit(_run(where.find(at, bootstrap=bootstrap, config=config, overlay=overlay, need="bootstrap"), apply=False, shadow=shadow, json=json))

    @group.command(epilog=examples("topics apply --bootstrap 127.0.0.1:9092", "topics apply --dry-run --bootstrap 127.0.0.1:9092"))
    def apply(
        at: At = None, bootstrap: Bootstrap = None, config: Config = None, overlay: Overlay = None, shadow: Shadow = False, json: Json = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show, as diff does.")] = False,
    ) -> None:
        """Create and alter topics. Partitions of *.in and state topics are never changed. Exit code 3: something was refused."""
        servers = where.find(at, bootstrap=bootstrap, config=config, overlay=overlay, need="bootstrap")
        raise typer.Exit(_run(servers, apply=not dry_run, shadow=shadow, json=json))


def _run(servers: where.Servers, *, apply: bool, shadow: bool, json: bool) -> int:
    with where.admin(servers) as admin:
        specs = shadows.topics(servers.registry()) if shadow else servers.registry().topics.values()
        plan = provisioning.plan(admin, specs, replication=servers.settings.replication)
        if apply and not plan.empty:
            provisioning.apply(admin, plan)
    if json:
        print_json(plan)
    else:
        for line in plan.lines():
            out.print(line, markup=False)
        if plan.empty:
            out.print("The cluster has what the registry wants.")
    if plan.refuse:
        return 3
    return 0 if apply or plan.empty else 1
