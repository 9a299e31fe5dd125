"""Simulated worlds that several tests look at, made once."""
from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from streams.reference.model import Reference
from streams.reference.parse import parse
from streams.simulate import Sent, SimOptions, simulate
from topics import registry
from topics.registry import Registry

START = 1_772_409_600_000_000
"""2026-03-02T00:00Z."""
DATA = Path(__file__).resolve().parents[2] / "streams" / "reference"


@cache
def reference() -> Reference:
    """The shipped reference."""
    return parse({path.name: path.read_bytes() for path in sorted(DATA.glob("*.toml"))})


@cache
def topics() -> Registry:
    """The registry of the shipped reference."""
    shipped = reference()
    return registry.build(shipped.parties.values(), shipped.authorities.values(), shipped.crossings.values(), partitions=4)


@cache
def world(options: SimOptions, seed: int = 1) -> tuple[Sent, ...]:
    """All messages of a world."""
    return tuple(simulate(reference(), random.Random(seed), options, START))


DEMO = SimOptions(trains=12, position_minutes=180)
"""The smallest world with every planned incident."""
