"""`railclear simulate`: the seeded simulator's events as JSON lines, for a file or a pipe."""
from __future__ import annotations

import random
import sys
from typing import Annotated

import typer

from agents import reference as reference_files
from agents.cli.common import CliError, Overlay, examples, parse_time
from agents.ledger.rows import micros
from streams.reference.refused import ReferenceRefused
from topics import codec


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog=examples("simulate --trains 2 --seed 7 > events.jsonl", "simulate --trains 1 --clean | railclear publish - --at run/"))
    def simulate(
        trains: Annotated[int, typer.Option(min=1, max=2000, help="How many trains.")] = 2,
        seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
        start: Annotated[str, typer.Option(help="When the first train is announced, ISO 8601 with zone.")] = "2026-03-02T00:00:00+08:00",
        clean: Annotated[bool, typer.Option("--clean", help="No incidents, no duplicates, no disorder, no wrong bytes.")] = False,
        overlay: Overlay = None,
        json: Annotated[bool, typer.Option("--json", help="JSON lines: it prints nothing else.")] = True,
    ) -> None:
        """Print simulated events, one JSON object a line: {"topic", "key", "value" or "value_hex", "at", "expect"}."""
        from streams.simulate import SimOptions
        from streams.simulate import simulate as simulated

        options = SimOptions(trains=trains)
        if clean:
            options = options.calm()
        moment = micros(parse_time(start))
        if moment <= 0:
            raise CliError("--start must be after 1970")
        try:
            reference = reference_files.load(overlay)
        except (ReferenceRefused, NotADirectoryError) as error:
            raise CliError(str(error)) from error
        write = sys.stdout.write
        for sent in simulated(reference, random.Random(seed), options, moment):
            line = {"topic": sent.topic, "key": sent.key, "at": sent.at, "expect": sent.expect}
            try:
                line["value"] = sent.value.decode("utf-8")
            except UnicodeDecodeError:
                line["value_hex"] = sent.value.hex()
            write(codec.encode(line).decode() + "\n")
