"""`railclear publish FILE|-`: send events as their parties would, one JSON object a line."""
from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from agents.cli import where
from agents.cli.common import At, Bootstrap, CliError, Config, Json, Overlay, err, examples, out, print_json, run_async

IN_FLIGHT_MAX = 500
NOT_SENT = "not sent"


class Line(msgspec.Struct, frozen=True):
    """One line of the input: an event by itself (its party's topic is found by `source`), or {"topic", "key", "value"}."""

    number: int
    topic: str
    key: bytes | None
    value: bytes


class Bad(msgspec.Struct, frozen=True):
    """A line that was not sent, and why."""

    line: int
    topic: str
    reason: str


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog=examples("publish events.jsonl --at run/", "simulate --trains 1 | railclear publish - --at run/"))
    def publish(
        file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON lines; - reads standard input.")],
        at: At = None, bootstrap: Bootstrap = None, config: Config = None, overlay: Overlay = None, json: Json = False,
    ) -> None:
        """Publish events to the topics of their parties. A record that the broker would not take is named by its line."""
        servers = where.find(at, bootstrap=bootstrap, config=config, overlay=overlay, need="bootstrap")
        raise typer.Exit(run_async(_publish(servers, file, json=json)))


def lines(file: str, inbound: dict[str, str]) -> Iterator[Line | Bad]:
    """Lines of a file; those that cannot be read are named and do not stop the others. Raises CliError when there is no such file."""
    if file == "-":
        source: Any = sys.stdin.buffer
    else:
        path = Path(file)
        if not path.is_file():
            raise CliError(f"{file} is not a file")
        source = path.open("rb")
    with source:
        for number, raw in enumerate(source, 1):
            if raw.strip():
                yield _line(number, raw.rstrip(b"\r\n"), inbound)


def _line(number: int, raw: bytes, inbound: dict[str, str]) -> Line | Bad:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Bad(number, "", f"not JSON: {error}")
    if not isinstance(found, dict):
        return Bad(number, "", f"an object is needed, not {type(found).__name__}")
    if "topic" in found and ("value" in found or "value_hex" in found):
        topic, key = str(found["topic"]), found.get("key")
        try:
            value = bytes.fromhex(found["value_hex"]) if "value_hex" in found else _bytes(found["value"])
        except (ValueError, TypeError):
            return Bad(number, topic, "value_hex is not hexadecimal")
        return Line(number, topic, None if key is None else str(key).encode(), value)
    source = found.get("source")
    if not isinstance(source, str) or source not in inbound:
        return Bad(number, "", f'source {source!r} is not a party of the registry; give "topic" and "value" to send it anyway')
    return Line(number, inbound[source], None, raw)


def _bytes(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


async def _publish(servers: where.Servers, file: str, *, json: bool) -> int:
    registry = servers.registry()
    inbound = {party.id: party.inbound for party in registry.parties.values()}
    refused: list[Bad] = []
    sent = 0
    waiting: set[asyncio.Future[Bad | None]] = set()
    async with where.producer(servers) as producer:
        for line in lines(file, inbound):
            spec = registry.topics.get(line.topic)
            if isinstance(line, Bad):
                refused.append(line)
            elif spec is None:
                refused.append(Bad(line.number, line.topic, "no such topic in the registry"))
            elif len(line.value) > spec.bytes_max:
                refused.append(Bad(line.number, line.topic, f"{len(line.value)} bytes; the broker takes {spec.bytes_max} here"))
            else:
                waiting.add(asyncio.ensure_future(_send(producer, line)))
                sent += 1
            while len(waiting) >= IN_FLIGHT_MAX:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                refused += [bad for one in done if (bad := one.result()) is not None]
        refused += [bad for one in waiting if (bad := await one) is not None]
    refused.sort(key=lambda bad: bad.line)
    published = sent - sum(1 for bad in refused if bad.reason.startswith(NOT_SENT))
    if json:
        print_json({"published": published, "refused": refused})
    else:
        for bad in refused:
            err.print(f"line {bad.line}: {bad.topic}{': ' if bad.topic else ''}{bad.reason}", markup=False, soft_wrap=True)
        out.print(f"{published} published, {len(refused)} not taken")
    return 1 if refused else 0


async def _send(producer: AIOKafkaProducer, line: Line) -> Bad | None:
    """Raises nothing that concerns one record only: it is named, and the others go on."""
    try:
        await producer.send_and_wait(line.topic, line.value, key=line.key)
    except MessageSizeTooLargeError:
        return Bad(line.number, line.topic, f"{NOT_SENT}: {len(line.value)} bytes are more than the broker takes")
    except KafkaError as error:
        return Bad(line.number, line.topic, f"{NOT_SENT}: {error or type(error).__name__}")
    return None
