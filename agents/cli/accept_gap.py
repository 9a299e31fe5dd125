"""`railclear accept-gap`: the ledger goes on without records that Kafka deleted before it had read them. A person decides, and it is kept who and why."""
from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated, Any

import asyncpg
import typer
from aiokafka.structs import TopicPartition
from kafka.errors import KafkaError

from agents.cli import where
from agents.cli.common import At, Bootstrap, CliError, Config, Dsn, Json, examples, out, print_json, run_async, stamp
from agents.cli.operations import UNANSWERED, By, DryRun, Reason, who
from agents.ledger import gaps, schema
from agents.ledger.origin import another
from agents.ledger.rows import micros
from agents.places import NotThere, places
from agents.transport.census import topics_seen

Place = Annotated[str, typer.Argument(metavar="TOPIC/PARTITION", help="As the refusal names it.")]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("accept-gap", epilog=examples('accept-gap custody.in/3 --reason "down for two weeks" --at run/', "accept-gap custody.in/3 --dry-run",
                                               "accept-gap --list --json"))
    def accept_gap(
        place: Place = "",
        list_: Annotated[bool, typer.Option("--list", help="What was accepted so far, with who and why; changes nothing.")] = False,
        reason: Reason = "", by: By = "", dry_run: DryRun = False,
        at: At = None, bootstrap: Bootstrap = None, dsn: Dsn = None, config: Config = None, json: Json = False,
    ) -> None:
        """Let the ledger go on where a partition begins now, when records before that were deleted before it had read them.

        Its writer refuses such a gap (exit code 78, alert TransportRefused). What is missing stays missing: put it back from its source first if you can.
        Refused where there is no gap, and for a topic that was made anew. Start the worker again afterwards.
        """
        if bool(place) == list_:
            raise CliError("name one partition as TOPIC/PARTITION, or ask with --list")
        said = {} if list_ or dry_run else who(by, reason)
        servers = where.find(at, bootstrap=bootstrap, dsn=dsn, config=config, need="dsn" if list_ else "bootstrap")
        run_async(_list(servers, json=json) if list_ else _accept(servers, _parsed(place), said, dry_run=dry_run, json=json))


def _parsed(place: str) -> TopicPartition:
    topic, _, number = place.rpartition("/")
    if not topic or not number.isdecimal():
        raise CliError(f"{place!r} is no TOPIC/PARTITION, as in custody.in/3")
    return TopicPartition(topic, int(number))


async def _ledgers(stack: AsyncExitStack, servers: where.Servers) -> asyncpg.Connection:
    """A connection to a ledger that has the tables of this version."""
    ledger = await stack.enter_async_context(where.ledger(servers))
    await ledger.offsets()
    connection = await stack.enter_async_context(ledger.pool.acquire())
    await schema.create(connection)
    return connection


async def _accept(servers: where.Servers, tp: TopicPartition, said: dict[str, Any], *, dry_run: bool, json: bool) -> None:
    async with AsyncExitStack() as stack:
        connection = await _ledgers(stack, servers)
        consumer = await stack.enter_async_context(where.consumer(servers))
        name = f"{tp.topic}/{tp.partition}"
        try:
            known = (await gaps.known(connection)).get(tuple(tp))
            if known is None:
                raise CliError(f"the ledger has never read {name}: it begins with what is there")
            if tp not in await places(consumer, [tp.topic]):
                raise CliError(f"{tp.topic} has no partition {tp.partition}")
            if another(known.topic_id, _id(servers, tp.topic)):
                raise CliError(f"{tp.topic} was made anew since the ledger read it: that is no gap. Give this deployment a new database")
            begin = (await consumer.beginning_offsets([tp]))[tp]
            if begin <= known.reached:
                raise CliError(f"{name} has no gap: the ledger has read it to {known.reached}, and it begins at {begin}")
            if not dry_run and not await gaps.accept(connection, tp.topic, tp.partition, known.reached, begin, said["by"], said["reason"]):
                raise CliError(f"the ledger has gone on with {name} meanwhile: nothing was changed", 1)
        except asyncpg.UndefinedTableError:
            raise                                       # there is no ledger: where.ledger says so
        except NotThere as missing:
            raise CliError(str(missing)) from missing
        except (KafkaError, *UNANSWERED) as error:
            raise CliError(f"Kafka or the ledger does not answer: {error or type(error).__name__}", 1) from error
    if json:
        print_json({"topic": tp.topic, "partition": tp.partition, "first": known.reached, "last": begin - 1, "accepted": not dry_run})
    else:
        out.print(f"{name}: the ledger {'would go' if dry_run else 'goes'} on at {begin} without offsets {known.reached} to {begin - 1}", markup=False,
                  soft_wrap=True)


def _id(servers: where.Servers, topic: str) -> str:
    with where.admin(servers) as client:
        return topics_seen(client, [topic])[topic].id


async def _list(servers: where.Servers, *, json: bool) -> None:
    async with AsyncExitStack() as stack:
        found = await gaps.accepted(await _ledgers(stack, servers))
    if json:
        print_json(found)
        return
    for gap in found:
        out.print(f"{gap.topic}/{gap.partition}  offsets {gap.first} to {gap.last}  accepted by {gap.by} at {stamp(micros(gap.at))}: {gap.reason}",
                  markup=False, soft_wrap=True)
    if not found:
        out.print("no gap was ever accepted")
