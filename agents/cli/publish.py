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
from agents.cli.common import At, Bootstrap, CliError, Config, Json, err, out, print_json, run_async

IN_FLIGHT_MAX = 500


class Line(msgspec.Struct, frozen=True):
    """One line of the input: an event by itself (its party's topic is found by `source`), or {"topic", "key", "value"}."""

    number: int
    topic: str
    key: bytes | None
    value: bytes


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Examples:  railclear publish events.jsonl --at run/   |   railclear simulate | railclear publish - --at run/")
    def publish(
        file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON lines; - reads standard input.")],
        at: At = None, bootstrap: Bootstrap = None, config: Config = None, json: Json = False,
    ) -> None:
        """Publish events to the topics of their parties. A record that the broker would not take is named by its line."""
        servers = where.find(at, bootstrap=bootstrap, config=config, need="bootstrap")
        raise typer.Exit(run_async(_publish(servers, file, json=json)))


def lines(file: str, inbound: dict[str, str]) -> Iterator[Line]:
    """Lines of a file. Raises CliError naming the line that cannot be read."""
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


def _line(number: int, raw: bytes, inbound: dict[str, str]) -> Line:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CliError(f"line {number}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise CliError(f"line {number}: an object is needed, not {type(found).__name__}")
    if "topic" in found and ("value" in found or "value_hex" in found):
        try:
            value = bytes.fromhex(found["value_hex"]) if "value_hex" in found else _bytes(found["value"])
        except (ValueError, TypeError) as error:
            raise CliError(f"line {number}: value_hex is not hexadecimal") from error
        key = found.get("key")
        return Line(number, str(found["topic"]), None if key is None else str(key).encode(), value)
    source = found.get("source")
    if source not in inbound:
        raise CliError(f"line {number}: source {source!r} is not a party of the registry; give \"topic\" and \"value\" to send it anyway")
    return Line(number, inbound[source], None, raw)


def _bytes(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


async def _publish(servers: where.Servers, file: str, *, json: bool) -> int:
    registry = servers.registry()
    inbound = {party.id: party.inbound for party in registry.parties.values()}
    producer = AIOKafkaProducer(bootstrap_servers=servers.settings.bootstrap, acks="all", enable_idempotence=True, max_request_size=64 << 20,
                                **servers.security())
    try:
        await asyncio.wait_for(producer.start(), 30)
    except (TimeoutError, KafkaError) as error:
        raise CliError(f"Kafka at {servers.settings.bootstrap} does not answer: {error}") from error
    sent, refused, waiting = 0, [], set()
    try:
        for line in lines(file, inbound):
            spec = registry.topics.get(line.topic)
            if spec is None:
                refused.append({"line": line.number, "topic": line.topic, "reason": "no such topic in the registry"})
                continue
            if len(line.value) > spec.bytes_max:
                refused.append({"line": line.number, "topic": line.topic, "reason": f"{len(line.value)} bytes; the broker takes {spec.bytes_max} here"})
                continue
            waiting.add(asyncio.ensure_future(_send(producer, line, refused)))
            sent += 1
            if len(waiting) >= IN_FLIGHT_MAX:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting:
            await asyncio.wait(waiting)
    finally:
        await asyncio.wait_for(producer.stop(), 30)
    sent -= sum(1 for r in refused if r.get("sent"))
    if json:
        print_json({"published": sent, "refused": refused})
    else:
        for r in refused:
            err.print(f"line {r['line']}: {r['topic']}: {r['reason']}", markup=False)
        out.print(f"{sent} published, {len(refused)} not taken")
    return 1 if refused else 0


async def _send(producer: AIOKafkaProducer, line: Line, refused: list[dict[str, Any]]) -> None:
    try:
        await producer.send_and_wait(line.topic, line.value, key=line.key)
    except MessageSizeTooLargeError:
        refused.append({"line": line.number, "topic": line.topic, "reason": f"{len(line.value)} bytes: larger than the broker takes", "sent": True})
    except KafkaError as error:
        refused.append({"line": line.number, "topic": line.topic, "reason": str(error) or type(error).__name__, "sent": True})


