"""`railclear dead-letters list|show|replay`: what was refused, why, and sending it again once the reason is gone."""
from __future__ import annotations

import base64
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from agents.cli import where
from agents.cli.common import At, Bootstrap, CliError, Config, Json, examples, out, print_json, run_async, stamp
from agents.places import NotThere, places
from topics.events.outputs import DeadLetter

TOPIC = "dead.letters"
Ref = Annotated[str, typer.Argument(metavar="ID", help="TOPIC/PARTITION/OFFSET of the original record, as list prints it.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Records that were refused: kept whole, with position and reason.")
    app.add_typer(group, name="dead-letters")

    @group.command("list", epilog=examples("dead-letters list --at run/", "dead-letters list --at run/ --code CHECK_DIGIT --json"))
    def list_(
        at: At = None, bootstrap: Bootstrap = None, config: Config = None, json: Json = False,
        code: Annotated[str, typer.Option(help="Only this refusal code.")] = "",
        party: Annotated[str, typer.Option(help="Only this sender.")] = "",
    ) -> None:
        """List dead letters, oldest first."""
        letters = run_async(read(where.find(at, bootstrap=bootstrap, config=config, need="bootstrap")))
        letters = [x for x in letters if (not code or x.code == code) and (not party or x.party == party)]
        if json:
            print_json([summary(x) for x in letters])
            return
        table = Table("received", "stage", "code", "field", "sender", "reason")
        table.add_column("id: hand it to show and replay", no_wrap=True)
        for x in letters:
            table.add_row(stamp(x.timestamp * 1000), x.stage, x.code, x.path, x.party, x.reason[:80], name(x))
        out.print(table)
        out.print(f"{len(letters)} dead letters")

    @group.command(epilog=examples("dead-letters show trade.filings.fwd-a/0/17 --at run/"))
    def show(ref: Ref, at: At = None, bootstrap: Bootstrap = None, config: Config = None, json: Json = False) -> None:
        """Show one dead letter with its original bytes and headers."""
        letter = one(run_async(read(where.find(at, bootstrap=bootstrap, config=config, need="bootstrap"))), ref)
        shown = summary(letter) | {"headers": [[k, None if v is None else v.decode("utf-8", "replace")] for k, v in letter.headers]}
        value = letter.value or b""
        try:
            shown["value"] = value.decode("utf-8")
        except UnicodeDecodeError:
            shown["value_base64"] = base64.b64encode(value).decode()
        if json:
            print_json(shown)
            return
        for key, text in shown.items():
            out.print(f"{key:>12}  {text}", markup=False)

    @group.command(epilog=examples("dead-letters replay trade.filings.fwd-a/0/17 --at run/", "dead-letters replay --code NOT_YOURS --dry-run --at run/"))
    def replay(
        ref: Annotated[str, typer.Argument(metavar="[ID]", help="One dead letter; or choose with --code or --party.")] = "",
        at: At = None, bootstrap: Bootstrap = None, config: Config = None, json: Json = False,
        code: Annotated[str, typer.Option(help="All with this refusal code.")] = "",
        party: Annotated[str, typer.Option(help="All of this sender.")] = "",
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    ) -> None:
        """Send dead letters again to the topic they came from. What is refused again becomes a dead letter again."""
        if not (ref or code or party):
            raise CliError("say which: an ID, --code or --party")
        servers = where.find(at, bootstrap=bootstrap, config=config, need="bootstrap")
        letters = run_async(read(servers))
        chosen = [one(letters, ref)] if ref else [x for x in letters if (not code or x.code == code) and (not party or x.party == party)]
        if not dry_run:
            run_async(send_again(servers, chosen))
        if json:
            print_json({"replayed": 0 if dry_run else len(chosen), "chosen": [name(x) for x in chosen]})
        else:
            out.print(f"{len(chosen)} {'would be' if dry_run else 'were'} sent again")


def name(letter: DeadLetter) -> str:
    """How a dead letter is called: the place of the original record."""
    return f"{letter.topic}/{letter.partition}/{letter.offset}"


def summary(letter: DeadLetter) -> dict[str, object]:
    """Everything but the bytes."""
    return {"id": name(letter), "received": stamp(letter.timestamp * 1000), "stage": letter.stage, "code": letter.code, "path": letter.path,
            "reason": letter.reason, "party": letter.party, "bytes": len(letter.value or b"")}


def one(letters: list[DeadLetter], ref: str) -> DeadLetter:
    """The letter of that name. Raises CliError with exit code 1."""
    for letter in letters:
        if name(letter) == ref:
            return letter
    raise CliError(f"no dead letter {ref!r}; railclear dead-letters list shows them", 1)


async def read(servers: where.Servers) -> list[DeadLetter]:
    """All dead letters of the cluster, once each, oldest first."""
    found: dict[str, DeadLetter] = {}
    async with where.consumer(servers) as consumer:
        try:
            partitions = await places(consumer, [TOPIC])
        except NotThere as missing:
            raise CliError(str(missing)) from missing
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    if record.value is not None:
                        letter: DeadLetter = msgspec.json.decode(record.value, type=DeadLetter)
                        found.setdefault(f"{letter.stage} {name(letter)}", letter)
    return list(found.values())


async def send_again(servers: where.Servers, letters: list[DeadLetter]) -> None:
    """Original bytes and key, to the original topic, with a header that says so."""
    async with where.producer(servers) as producer:
        for letter in letters:
            headers = [(k, v) for k, v in letter.headers if v is not None] + [("railclear-replayed", name(letter).encode())]
            await producer.send_and_wait(letter.topic, letter.value, key=letter.key, headers=headers)
