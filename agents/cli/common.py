"""What every command shares: errors without tracebacks, times with zones, JSON or tables, colours that survive colour-blindness."""
from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import typer
from rich.console import Console, ConsoleDimensions

from topics import codec

T = TypeVar("T")

WIDTH = 160
"""Columns of tables that go to a file or a pipe: there no terminal says how wide it is."""

err = Console(stderr=True, highlight=False)


class _Out(Console):
    @property  # type: ignore[misc]  # rich's setter is not wanted here
    def size(self) -> ConsoleDimensions:
        if self.is_terminal or "COLUMNS" in os.environ:
            return super().size
        return ConsoleDimensions(WIDTH, 25)


out = _Out(highlight=False)

# Blue, orange, vermilion and grey of the Okabe-Ito palette; every colour is doubled by a sign, so that none is needed.
STYLES = {"good": "#0072B2", "open": "#E69F00", "bad": "#D55E00 bold", "quiet": "dim"}
SIGNS = {"good": "✓", "open": "…", "bad": "✗", "quiet": "·"}
GOOD = frozenset({"RELEASED", "DEPARTED", "NOT_REQUIRED", "PRE_CLEARED"})
BAD = frozenset({"HELD", "REFUSED", "FILING_REJECTED", "CONTROL_ORDERED", "UNDER_CONTROL", "INFO_REQUESTED"})


class CliError(Exception):
    """Something the user can mend. The text says what to do."""

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
At = Annotated[Path | None, typer.Option("--at", metavar="DIR", help="A running or kept demo (its --keep directory).")]
Bootstrap = Annotated[str | None, typer.Option("--bootstrap", metavar="HOST:PORT", help="Kafka address (or RAILCLEAR_BOOTSTRAP).")]
Dsn = Annotated[str | None, typer.Option("--dsn", metavar="URL", help="PostgreSQL address of the ledger (or RAILCLEAR_DSN).")]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings file (TOML).")]
Overlay = Annotated[Path | None, typer.Option("--overlay", metavar="DIR", help="A deployment's own parties, crossings and terminals (or RAILCLEAR_OVERLAY).")]


def examples(*lines: str) -> str:
    """The end of a command's help: how it is typed, one per line."""
    return "Examples:" + "".join(f"\n\n  railclear {line}" for line in lines)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; Ctrl-C cancels and lets `finally` blocks run."""
    return asyncio.run(work)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(codec.encode(value).decode() + "\n")
    sys.stdout.flush()


def style_of(state: str) -> str:
    """Which of good, open, bad, quiet a state is shown as."""
    return "good" if state in GOOD else "bad" if state in BAD else "quiet" if state in ("CANCELLED",) else "open"


def shown(state: str) -> str:
    """A state with its sign and colour, as rich markup."""
    kind = style_of(state)
    return f"[{STYLES[kind]}]{SIGNS[kind]} {state}[/]"


def stamp(at: int | None, zone: str = "UTC") -> str:
    """An instant with its zone, to the minute; empty when unknown or before every event."""
    if at is None or at <= 0:
        return ""
    moment = datetime.fromtimestamp(at / 1_000_000, UTC).astimezone(ZoneInfo(zone))
    return moment.strftime("%Y-%m-%d %H:%M %z")


def parse_time(text: str) -> datetime:
    """An ISO 8601 time with zone. Raises CliError."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise CliError(f"{text!r} is not a time; write it as 2026-11-25T18:00:00+01:00") from error
    if moment.tzinfo is None:
        raise CliError(f"{text!r} has no zone; write it as {text}+00:00 or with the zone you mean")
    return moment.astimezone(UTC)


UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(text: str) -> float:
    """`90s`, `15m`, `12h`, `2d` or a number of seconds, as seconds. Raises CliError."""
    number, unit = (text[:-1], UNITS[text[-1]]) if text and text[-1] in UNITS else (text, 1)
    try:
        seconds = float(number) * unit
    except ValueError as error:
        raise CliError(f"{text!r} is not a duration; write 90s, 15m, 12h or 2d") from error
    if not 0 < seconds < 1e9:
        raise CliError(f"a duration must be more than nothing and finite, not {text!r}")
    return seconds


def environment() -> dict[str, str]:
    """The process's environment; the only place of the command line that reads it."""
    return dict(os.environ)


def as_builtins(value: object) -> Any:
    """Structs to plain dicts and lists, for JSON answers that are put together."""
    return msgspec.to_builtins(value)
