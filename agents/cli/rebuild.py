"""`railclear rebuild`: a fold's states made anew from the ledger, compared with those that it keeps, and put in their place on demand."""
from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated, Any

import msgspec
import typer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.cli import rebuild_switch as switching
from agents.cli import where
from agents.cli.common import At, Bootstrap, CliError, Config, Dsn, Json, examples, out, print_json, run_async, stamp
from agents.cli.operations import As, By, Reason, desk, who
from agents.ledger.rows import micros
from agents.operations import everybody
from agents.operations import rebuild as making
from agents.operations.acts import acts_of
from agents.operations.drain import Gauge, NotThere, committed
from agents.places import places
from streams.clearance import ClearanceFold
from streams.documents import DocumentsFold
from streams.fold import Fold
from topics.events.operations import FoldRebuilt

FOLDS = ("clearance", "documents")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog=examples("rebuild --fold clearance --at run/", 'rebuild --fold documents --switch --reason "a disk gave wrong bytes" --at run/'))
    def rebuild(
        fold: Annotated[str, typer.Option("--fold", metavar="|".join(FOLDS), help="Which fold's states.")],
        switch: Annotated[bool, typer.Option("--switch", help="Put the new states in place of those that differ. Its workers must stand still.")] = False,
        reason: Reason = "", by: By = "", as_: As = "",
        at: At = None, bootstrap: Bootstrap = None, dsn: Dsn = None, config: Config = None, json: Json = False,
    ) -> None:
        """Make the states of a fold anew from the ledger beside the old ones, and show what differs. Changes nothing without --switch.

        Two folds can be rebuilt: of clearance and documents the ledger has every input. The other four are refused, with what mends them instead: it lacks
        positions between stations and what a train inherits from the one it was formed from (trains), movements and with them when a trip that is over is
        forgotten (custody), and all inputs of readiness and sources.

        What concerns everybody (retractions, closures, fresh and stale sources, indicators) is compared and comes back with them.

        A switch says who, why and how much before it writes the first state, and again when all are written. One that was cut short is ended by the next.
        Intake takes both acts when it runs again. After it the fold says exactly the difference.

        Exit code 0: nothing differs, or it was switched; 1: something differs, or Kafka failed in the middle of a switch.
        """
        if fold in making.REFUSED:
            raise CliError(f"{fold} cannot be rebuilt from the ledger: {making.REFUSED[fold]}")
        if fold not in FOLDS:
            raise CliError(f"--fold {fold!r} is no fold; choose {' or '.join(FOLDS)} (the ledger lacks inputs of {', '.join(sorted(making.REFUSED))})")
        said = who(by, reason) if switch else {}
        servers = where.find(at, bootstrap=bootstrap, dsn=dsn, config=config, need="bootstrap")
        raise typer.Exit(run_async(_rebuild(servers, fold, said, as_, switch=switch, json=json)))


async def _rebuild(servers: where.Servers, fold: str, said: dict[str, Any], party: str, *, switch: bool, json: bool) -> int:
    async with AsyncExitStack() as stack:
        d = await desk(stack, servers, party, ledger=True)
        admin = AIOKafkaAdminClient(bootstrap_servers=servers.settings.bootstrap, **servers.security())
        try:
            await admin.start()
            stack.push_async_callback(admin.close)
            outlook = await stack.enter_async_context(where.consumer(servers))
            behind = (await Gauge(d.registry, servers.settings.group, admin, d.consumer, outlook, d.ledger).measure()).ledger
            if switch:
                await _stands_still(admin, servers.settings.group, fold, behind)
            now = micros(d.now)
            kind: Fold[Any, Any] = ClearanceFold() if fold == "clearance" else DocumentsFold()
            parts = [tp.partition for tp in await places(d.consumer, [kind.input_topic])]
            told = await everybody.told(d.ledger.pool, kind, parts, await acts_of(d.consumer))
            recipe: making.Recipe[Any]
            if fold == "clearance":
                recipe, ledger = making.clearance_recipe(servers.reference), await making.facts(d.ledger.pool)
            else:
                recipe = making.documents_recipe(servers.reference, told.masks())
                ledger = await making.events(d.ledger.pool, kind.input_topic, kind.decode)
            found: making.Read[Any] = await making.states(d.consumer, kind.state_topic, recipe)
            compared, better = making.compare(recipe, found.keys, ledger, now)
            lacking, words = everybody.compare(told, found.partitions, now)
            compared = msgspec.structs.replace(compared, differences=(*lacking, *compared.differences))
            begun = await switching.unfinished(d, fold)
            put = switching.Put(kind, words, making.records(recipe, found.keys, better, now), found.nameless)
            if switch and (put.something or begun):
                await switching.carry_out(d, put, begun, said)
                begun = None
        except NotThere as missing:
            raise CliError(str(missing)) from missing
        except KafkaError as error:
            raise CliError(f"Kafka does not answer: {error or type(error).__name__}", 1) from error
    return _told(compared, len(better) if switch else 0, len(words) if switch else 0, behind, begun, json=json, switch=switch)


async def _stands_still(admin: AIOKafkaAdminClient, prefix: str, fold: str, behind: int) -> None:
    """Raises CliError while a worker of this fold runs (it would write its own states over the new ones), or the ledger lacks something."""
    topic = f"{fold}.in"
    for group, *_ in await admin.list_consumer_groups():
        if not group.startswith(f"{prefix}-") or group in (f"{prefix}-ledger",) or group.startswith(f"{prefix}-shadow"):
            continue
        if not any(tp.topic == topic for tp in await admin.list_consumer_group_offsets(group)):
            continue
        for answer in await admin.describe_consumer_groups([group]):
            if any(described[5] for described in answer.groups):
                raise CliError(f"workers with {fold} run (group {group}): railclear drain, stop them, then switch")
    if behind:
        raise CliError("the ledger is behind: railclear drain before the workers are stopped, so that it has everything")
    if any(tp.topic == topic for tp in await committed(admin, prefix)) is False:
        raise CliError(f"nobody has ever read {topic} in the groups of {prefix}: is this the right deployment?")


def _told(found: making.Compared, switched: int, words: int, behind: int, begun: FoldRebuilt | None, *, json: bool, switch: bool) -> int:
    differing = [x for x in found.differences if x.kind != "unledgered"]
    if json:
        print_json({**msgspec.structs.asdict(found), "switched": switched, "everybody": words, "ledger_behind": behind,
                    "cut_short": begun.record if begun else ""})
    else:
        for x in found.differences[: making.SHOWN_MAX]:
            inputs = f"; only in the ledger or later there: {', '.join(x.more)}" if x.more else ""
            out.print(f"{x.key} {x.kind}{inputs}{f'; only in the state: {chr(44).join(x.less)}' if x.less else ''}", markup=False, soft_wrap=True)
        if len(found.differences) > making.SHOWN_MAX:
            out.print(f"… and {len(found.differences) - making.SHOWN_MAX} more (--json shows all)")
        out.print(f"{found.fold}: {found.keys} alive in both, {found.same} the same, {len(differing)} differ, {found.retired} retired; {switched} switched"
                  + (f", and {words} words that concern everybody" if words else "")
                  + (f"; the ledger is {behind} records behind" if behind else ""), markup=False, soft_wrap=True)
        if begun:
            out.print(f"{begun.record}, begun by {begun.by} at {stamp(micros(begun.event_time))}, was cut short: run it again with --switch", markup=False,
                      soft_wrap=True)
    return 0 if switch or not differing else 1
