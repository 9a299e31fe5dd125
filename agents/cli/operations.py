"""`railclear retract|pause|resume|reopen`: acts of operators, each with who and why, in a topic and in the ledger."""
from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from agents.cli import where
from agents.cli.common import (
    At,
    Bootstrap,
    CliError,
    Config,
    Dsn,
    Json,
    environment,
    err,
    examples,
    out,
    parse_duration,
    parse_time,
    print_json,
    run_async,
    stamp,
)
from agents.ledger.queries import Ledger
from agents.ledger.rows import micros
from agents.operations.acts import ActRefused, NoEffectYet, act_id, acts_of, carry_out, operator_of, railclears_now
from agents.operations.lag import Lacking, lacking, listed
from agents.operations.reopen import kept, later, messages
from agents.operations.resend import FOLDS, Reach, Retraction, reach, resend
from agents.places import NotThere
from topics import codec
from topics.events.internal import ShipmentFacts
from topics.events.operations import FeedPaused, FeedRetracted, OperatorAct, ShipmentReopened
from topics.identifiers import BadIdentifier, parse_shipment_id
from topics.registry import Registry

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the ledger.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decided it. Default: the user of this terminal.")]
As = Annotated[str, typer.Option("--as", metavar="PARTY", help="The operators' party that acts, where the registry has several.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Wait = Annotated[str, typer.Option("--wait", metavar="1m", help="How long to wait for the ledger to have what the log holds when the command begins.")]
CLEARANCE = "clearance.in"
COUNTED = (*FOLDS, CLEARANCE)
"""What a retraction is counted and sent again from."""
UNANSWERED = (TimeoutError, OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""Kafka or the ledger gives no answer."""


class Desk:
    """Clients of one command, and the name of who acts."""

    def __init__(
        self, servers: where.Servers, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, ledger: Ledger | None, party: str, now: datetime
    ) -> None:
        self.servers, self.producer, self.consumer, self._ledger, self.now = servers, producer, consumer, ledger, now
        self.registry: Registry = servers.registry()
        try:
            self.party = operator_of(self.registry, party)
        except ActRefused as refused:
            raise CliError(str(refused)) from refused

    @property
    def ledger(self) -> Ledger:
        assert self._ledger is not None, "opened for this command"
        return self._ledger

    def feed(self, name: str) -> str:
        """A party that writes to railclear. Raises CliError."""
        party = self.registry.parties.get(name)
        if party is None:
            near = [p for p in sorted(self.registry.parties) if name.lower() in p][:5]
            raise CliError(f"{name!r} is no party of the registry" + (f"; near: {', '.join(near)}" if near else ""))
        if party.role == "operations":
            raise CliError(f"{name} is an operators' own party: its acts can be neither paused nor retracted")
        return name

    async def act(self, act: OperatorAct) -> None:
        """Carry it out. Raises CliError: exit code 2 when intake refuses it, 1 when nobody has taken it yet."""
        try:
            await carry_out(act, self.registry, self.producer, self.consumer)
        except ActRefused as refused:
            raise CliError(f"refused: {refused}") from refused
        except NoEffectYet as late:
            raise CliError(str(late), 1) from late

    async def tell(self, shipment: str, facts: Iterable[ShipmentFacts]) -> None:
        """Send CLEARANCE facts of a shipment."""
        for message in facts:
            await self.producer.send_and_wait(CLEARANCE, codec.encode(message), key=shipment.encode())

    async def lacking(self, topics: Sequence[str], seconds: float, *, quiet: bool) -> Lacking:
        """What the ledger lacks of what these topics hold now, after waiting for it. Raises CliError."""
        told: list[Lacking] = []

        def say(found: Lacking) -> None:
            if not quiet and seconds and found not in told[-1:]:
                err.print(f"waiting for the ledger: {listed(found)}", markup=False, soft_wrap=True)
            told.append(dict(found))

        try:
            return await lacking(self.consumer, self.ledger, topics, seconds, say)
        except NotThere as missing:
            raise CliError(str(missing)) from missing
        except asyncpg.UndefinedTableError:
            raise                                       # there is no ledger: where.ledger says so
        except UNANSWERED as error:
            raise CliError(f"how far the ledger is cannot be said: {error or type(error).__name__}", 1) from error

    async def complete(self, topics: Sequence[str], seconds: float, *, quiet: bool) -> None:
        """Wait for the ledger to have what these topics hold now. Raises CliError with exit code 1 when it has not: nothing was done yet."""
        if found := await self.lacking(topics, seconds, quiet=quiet):
            raise CliError(f"the ledger is {listed(found)} after {seconds:g} s, and what it lacks would be left out without a word: nothing was done. See "
                           "that a worker with the stage ledger runs and that PostgreSQL answers, or give it longer with --wait", 1)


async def desk(stack: AsyncExitStack, servers: where.Servers, party: str, *, ledger: bool) -> Desk:
    """Open what a command needs. Raises CliError."""
    opened = await stack.enter_async_context(where.ledger(servers)) if ledger else None
    producer = await stack.enter_async_context(where.producer(servers))
    consumer = await stack.enter_async_context(where.consumer(servers))
    return Desk(servers, producer, consumer, opened, party, await railclears_now(consumer, datetime.now(UTC)))


def who(by: str, reason: str) -> dict[str, Any]:
    """The fields of every act. Raises CliError when nobody or no reason is named."""
    known = environment()
    name = by or known.get("USER") or known.get("LOGNAME") or ""
    if not name:
        raise CliError("say who decides this with --by NAME")
    if not reason.strip():
        raise CliError("say why with --reason TEXT: it stands in the ledger")
    return {"by": name, "reason": reason.strip()}


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command(epilog=examples(
        'retract --source customs-kz --from 2026-03-01T00:00:00+05:00 --to 2026-03-01T12:00:00+05:00 --reason "clock a day ahead" --dry-run --at run/',
        'retract --undo R-0123456789ab --reason "the feed was right" --at run/', "retract --list --at run/ --json"))
    def retract(
        source: Annotated[str, typer.Option("--source", metavar="PARTY", help="The feed: a party of the registry.")] = "",
        from_: Annotated[str, typer.Option("--from", metavar="T", help="First event time that is masked: ISO 8601 with zone.")] = "",
        to: Annotated[str, typer.Option("--to", metavar="T", help="Last event time that is masked.")] = "",
        undo: Annotated[str, typer.Option("--undo", metavar="ID", help="Lift this retraction: what it masks counts again.")] = "",
        resend_: Annotated[str, typer.Option("--resend", metavar="ID", help="Only send again what this retraction had overwritten.")] = "",
        list_: Annotated[bool, typer.Option("--list", help="Show retractions, lifted ones too.")] = False,
        wait: Wait = "1m", reason: Reason = "", by: By = "", as_: As = "", dry_run: DryRun = False,
        at: At = None, bootstrap: Bootstrap = None, dsn: Dsn = None, config: Config = None, json: Json = False,
    ) -> None:
        """Mask what a feed said of a time: it counts as absent everywhere, and what it had overwritten is sent again from the ledger.

        Nothing is deleted: --undo brings it all back. Needs a ledger that has everything up to now (it is waited for, see --wait), and railclear's own
        principal for what is sent again. Exit code 1: the ledger is behind (the last line says whether the mask is in force already), or no intake runs and
        the act takes effect when one does.
        """
        seconds = parse_duration(wait)
        if sum(map(bool, (source, undo, resend_, list_))) != 1:
            raise CliError("say one of --source (with --from and --to), --undo, --resend and --list")
        span = None
        if source:
            if not (from_ and to):
                raise CliError("a retraction needs --from and --to: times of events, both included")
            span = parse_time(from_), parse_time(to)
            if span[1] < span[0]:
                raise CliError(f"--to {to} is before --from {from_}")
        said = {} if list_ or dry_run or resend_ else who(by, reason)
        servers = where.find(at, bootstrap=bootstrap, dsn=dsn, config=config, need="bootstrap")
        if list_:
            run_async(_list(servers, as_, json=json))
        elif undo or resend_:
            run_async(_again(servers, undo or resend_, said, as_, seconds, undo=bool(undo), dry_run=dry_run, json=json))
        else:
            assert span is not None
            run_async(_retract(servers, source, span, said, as_, seconds, dry_run=dry_run, json=json))

    @app.command(epilog=examples('pause ktz --reason "floods us with repeats" --at run/', "pause customs-kz --reason maintenance --dry-run --at run/"))
    def pause(
        source: Annotated[str, typer.Argument(metavar="PARTY", help="The feed: a party of the registry.")],
        reason: Reason = "", by: By = "", as_: As = "", dry_run: DryRun = False,
        at: At = None, bootstrap: Bootstrap = None, config: Config = None, json: Json = False,
    ) -> None:
        """Let one party's records wait in Kafka: nothing is lost, others go on, its freshness is stale, and an alert opens after an hour."""
        _pause(source, True, reason, by, as_, where.find(at, bootstrap=bootstrap, config=config, need="bootstrap"), dry_run=dry_run, json=json)

    @app.command(epilog=examples('resume ktz --reason "repaired" --at run/'))
    def resume(
        source: Annotated[str, typer.Argument(metavar="PARTY", help="The feed: a party of the registry.")],
        reason: Reason = "", by: By = "", as_: As = "", dry_run: DryRun = False,
        at: At = None, bootstrap: Bootstrap = None, config: Config = None, json: Json = False,
    ) -> None:
        """Read a paused party's records again, from where they were left."""
        _pause(source, False, reason, by, as_, where.find(at, bootstrap=bootstrap, config=config, need="bootstrap"), dry_run=dry_run, json=json)

    @app.command(epilog=examples('reopen SABCDEFGHIJKL --reason "late release of the broker" --at run/', "reopen SABCDEFGHIJKL --dry-run --at run/"))
    def reopen(
        shipment: Annotated[str, typer.Argument(metavar="ID", help="Shipment id, as railclear status shows it.")],
        wait: Wait = "1m", reason: Reason = "", by: By = "", as_: As = "", dry_run: DryRun = False,
        at: At = None, bootstrap: Bootstrap = None, dsn: Dsn = None, config: Config = None, json: Json = False,
    ) -> None:
        """Bring a retired shipment back to life from the ledger's facts: those that came after it retired count, too.

        Exit code 1: nothing known, or the ledger does not have everything up to now (it is waited for, see --wait).
        """
        seconds = parse_duration(wait)
        try:
            name = str(parse_shipment_id(shipment))
        except BadIdentifier as bad:
            raise CliError(f"{bad}; railclear status ANY-ID finds the shipment") from bad
        said = {} if dry_run else who(by, reason)
        servers = where.find(at, bootstrap=bootstrap, dsn=dsn, config=config, need="bootstrap")
        run_async(_reopen(servers, name, said, as_, seconds, dry_run=dry_run, json=json))


# -- retract ---------------------------------------------------------------------------------------------------------------
async def _retract(
    servers: where.Servers, feed: str, span: tuple[datetime, datetime], said: dict[str, Any], party: str, seconds: float, *, dry_run: bool, json: bool
) -> None:
    async with AsyncExitStack() as stack:
        d = await desk(stack, servers, party, ledger=True)
        what = Retraction(feed=d.feed(feed), since=span[0], until=span[1])
        await d.complete(COUNTED, seconds, quiet=json)
        counts = await _reach(d.ledger, what)
        if dry_run:
            _shown("would be masked", "", what, counts, counts.resent, json=json)
            return
        name = act_id("R")
        await d.act(FeedRetracted(source=d.party, event_time=d.now, id=name, record=name, feed=what.feed, since=what.since, until=what.until, **said))
        # The mask is in every partition now. What came before it may have been overwritten by what it masks, so the ledger must have all of that, too.
        if found := await d.lacking(FOLDS, seconds, quiet=json):
            raise CliError(f"{name} is in force, but the ledger is {listed(found)} after {seconds:g} s, so nothing was sent again yet: "
                           f"railclear retract --resend {name} when it has caught up", 1)
        sent = await resend(d.ledger.pool, d.producer, what, name)
        _shown("are masked", name, what, counts, sent, json=json)


async def _again(
    servers: where.Servers, name: str, said: dict[str, Any], party: str, seconds: float, *, undo: bool, dry_run: bool, json: bool
) -> None:
    async with AsyncExitStack() as stack:
        d = await desk(stack, servers, party, ledger=not undo or dry_run)
        act = next((a for a in await acts_of(d.consumer) if isinstance(a, FeedRetracted) and a.record == name), None)
        if act is None:
            raise CliError(f"no retraction {name}; railclear retract --list shows them")
        if act.undone:
            raise CliError(f"{name} is lifted already, by {act.by} at {stamp(micros(act.event_time))}")
        what = Retraction(feed=act.feed, since=act.since, until=act.until)
        if undo:                                        # what comes back was kept by the folds: only the counts are the ledger's
            if dry_run:
                short = sum((await d.lacking(COUNTED, 0, quiet=True)).values())
                _shown("would count again", name, what, await _reach(d.ledger, what), 0, json=json, short=short)
                return
            lifted = {**said, "id": act_id("U"), "record": name, "version": act.version + 1, "undone": True}
            await d.act(FeedRetracted(source=d.party, event_time=d.now, feed=act.feed, since=act.since, until=act.until, **lifted))
            await _lifted(d, name, what, seconds, json=json)
            return
        await d.complete(COUNTED, seconds, quiet=json)
        counts = await _reach(d.ledger, what)
        sent = counts.resent if dry_run else await resend(d.ledger.pool, d.producer, what, name)
        _shown("stay masked", name, what, counts, sent, json=json)


async def _lifted(d: Desk, name: str, what: Retraction, seconds: float, *, json: bool) -> None:
    """Say what counts again, as far as the ledger can be asked at most so long: the mask is lifted already, whatever comes of this."""
    try:
        async with asyncio.timeout(seconds), where.ledger(d.servers) as ledger:
            short = sum((await lacking(d.consumer, ledger, COUNTED, 0)).values())
            counts = await reach(ledger.pool, what)
    except (CliError, NotThere, *UNANSWERED) as error:
        why = str(error) or f"no answer within {seconds:g} s"
        if json:
            print_json({"id": name, "feed": what.feed, "since": what.since, "until": what.until, "not_counted": why})
        else:
            out.print(f"what {what.feed} said from {stamp(micros(what.since))} to {stamp(micros(what.until))} counts again: {name} is lifted. How much that "
                      f"is could not be counted: {why}", markup=False, soft_wrap=True)
        return
    _shown("count again", name, what, counts, 0, json=json, short=short)


async def _reach(ledger: Ledger, what: Retraction) -> Reach:
    try:
        return await reach(ledger.pool, what)
    except asyncpg.UndefinedTableError:
        raise                                           # there is no ledger: where.ledger says so
    except UNANSWERED as error:
        raise CliError(f"the ledger does not answer: {error or type(error).__name__}", 1) from error


def _shown(word: str, name: str, what: Retraction, counts: Reach, sent: int, *, json: bool, short: int = 0) -> None:
    """`short`: records that the ledger lacked when it counted."""
    if json:
        print_json({"id": name, "feed": what.feed, "since": what.since, "until": what.until, "events": counts.events, "keys": counts.keys,
                    "shipments": counts.shipments, "resent": sent, "first": counts.first, "last": counts.last, "ledger_behind": short})
        return
    out.print(f"{counts.events} events of {what.feed} from {stamp(micros(what.since))} to {stamp(micros(what.until))} {word}"
              f"{f' by {name}' if name else ''}", markup=False, soft_wrap=True)
    out.print(f"they reached {counts.keys} trains, containers and documents and {counts.shipments} shipments; sent again: {sent}", markup=False, soft_wrap=True)
    if short:
        out.print(f"the ledger is {short} records behind: there may be more of them")
    if name and word == "are masked":
        out.print(f"railclear retract --undo {name} brings them back", markup=False)


async def _list(servers: where.Servers, party: str, *, json: bool) -> None:
    async with AsyncExitStack() as stack:
        d = await desk(stack, servers, party, ledger=False)
        found = [a for a in await acts_of(d.consumer) if isinstance(a, FeedRetracted)]
    if json:
        print_json([{"id": a.record, "feed": a.feed, "since": a.since, "until": a.until, "lifted": a.undone, "by": a.by, "reason": a.reason,
                     "at": a.event_time} for a in found])
        return
    for a in found:
        state = "lifted" if a.undone else "in force"
        out.print(f"{a.record}  {a.feed}  {stamp(micros(a.since))} to {stamp(micros(a.until))}  {state} by {a.by} at {stamp(micros(a.event_time))}: "
                  f"{a.reason}", markup=False, soft_wrap=True)
    if not found:
        out.print("nothing was ever retracted")


# -- pause, reopen -----------------------------------------------------------------------------------------------------------
def _pause(source: str, paused: bool, reason: str, by: str, party: str, servers: where.Servers, *, dry_run: bool, json: bool) -> None:
    said = {} if dry_run else who(by, reason)

    async def work() -> None:
        async with AsyncExitStack() as stack:
            d = await desk(stack, servers, party, ledger=False)
            feed, name = d.feed(source), act_id("P")
            held = next((a.paused for a in reversed(await acts_of(d.consumer)) if isinstance(a, FeedPaused) and a.feed == feed), False)
            if not dry_run:
                await d.act(FeedPaused(source=d.party, event_time=d.now, id=name, feed=feed, paused=paused, **said))
            topic = d.registry.parties[feed].inbound
        if json:
            print_json({"id": "" if dry_run else name, "feed": feed, "topic": topic, "paused": held if dry_run else paused, "was_paused": held})
        elif dry_run:
            out.print(f"records of {topic} would {'wait' if paused else 'be read'}; now they {'wait' if held else 'are read'}")
        else:
            out.print(f"records of {topic} {'wait from now on: they are kept for 7 days' if paused else 'are read again'}")

    run_async(work())


async def _reopen(servers: where.Servers, shipment: str, said: dict[str, Any], party: str, seconds: float, *, dry_run: bool, json: bool) -> None:
    async with AsyncExitStack() as stack:
        d = await desk(stack, servers, party, ledger=True)
        try:
            state = await kept(d.consumer, shipment)
        except NotThere as missing:
            raise CliError(str(missing)) from missing
        if state is not None and state.retired_at is None:
            raise CliError(f"{shipment} is not retired: its facts count as they come")
        await d.complete((CLEARANCE,), seconds, quiet=json)
        facts = await d.ledger.facts(shipment)
        if not facts:
            raise CliError(f"the ledger holds no fact of {shipment}", 1)
        name, count = act_id("O"), len(facts)
        if not dry_run:
            act = ShipmentReopened(source=d.party, event_time=d.now, id=name, shipment=shipment, **said)
            await d.act(act)
            await d.tell(shipment, messages(shipment, facts, name, micros(act.event_time), d.party))
            # It lives now. What CLEARANCE read between the first look at the ledger and this, a stub has set aside: it is told as well.
            more, why = list[ShipmentFacts](), ""
            try:
                if short := await d.lacking((CLEARANCE,), seconds, quiet=json):
                    why = f"the ledger is {listed(short)} after {seconds:g} s"
                else:
                    more = list(later(shipment, facts, await d.ledger.facts(shipment), name))
            except (CliError, *UNANSWERED) as error:
                why = str(error) or type(error).__name__
            if why:
                raise CliError(f"{shipment} is reopened with {count} facts, but {why}. What came for it while it was being reopened may be set aside: "
                               "railclear dead-letters replay --code SHIPMENT_RETIRED sends that again", 1)
            await d.tell(shipment, more)
            count += sum(len(message.facts) for message in more)
    retired = "" if state is None or state.retired_at is None else stamp(state.retired_at)
    if json:
        print_json({"id": "" if dry_run else name, "shipment": shipment, "facts": count, "retired": retired})
    else:
        was = f"retired {retired}" if retired else "forgotten"
        out.print(f"{shipment}, {was}, {'would be' if dry_run else 'is'} reopened with {count} facts of the ledger", markup=False, soft_wrap=True)
